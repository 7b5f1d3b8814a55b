//! Strategic merge, with the order and the corner cases that kustomize has.
//!
//! Lists merge where the schema says so, by its keys; new items come first, then those of the patch that were there, then
//! the others. All other lists are replaced. `$patch: delete`, `replace` and `merge` are directives, and a null takes a
//! field away.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diag::Fault;
use crate::node::{ElementSetter, Id, Kind, Node, Step, Style, Tag, Tree};
use crate::schema::{Schema, Spot};

const DIRECTIVE: &str = "$patch";

/// Merges a patch into a document; both hang in one tree. Nothing is left if the patch says so.
pub(crate) fn merge(tree: &mut Tree, dest: Id, src: Id, schema: &Schema) -> Step<Option<Id>> {
    let mut walker = Walker { tree, schema };
    walker.walk(Some(dest), Some(src), None)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Walker<'a> {
    tree: &'a mut Tree,
    schema: &'a Schema,
}

impl<'a> Walker<'a> {
    fn is_null(&self, id: Option<Id>) -> bool {
        id.is_none_or(|id| self.tree.get(id).is_null())
    }

    fn walk(
        &mut self,
        dest: Option<Id>,
        src: Option<Id>,
        spot: Option<Spot<'a>>,
    ) -> Step<Option<Id>> {
        let there: Vec<Id> = [dest, src]
            .into_iter()
            .flatten()
            .filter(|&id| !self.tree.get(id).is_null())
            .collect();
        let spot = spot.or_else(|| there.iter().find_map(|&id| self.spot_of(id)));
        let Some(kind) = there.first().map(|&id| self.tree.get(id).kind) else {
            return self.map(dest, src, spot);
        };
        for &id in &there {
            self.tree.want(id, kind)?;
        }
        match kind {
            Kind::Map => self.map(dest, src, spot),
            Kind::Scalar => Ok(src.or(dest)),
            Kind::Seq => match spot.and_then(Spot::merges) {
                Some(keys) => self.list(dest, src, spot, keys),
                None => Ok(src.or(dest)),
            },
        }
    }

    /// The schema of what says its kind itself.
    fn spot_of(&self, id: Id) -> Option<Spot<'a>> {
        let kind = self.tree.field(id, "kind")?;
        let version = self.tree.field(id, "apiVersion")?;
        self.schema
            .of_kind(self.tree.text(version), self.tree.text(kind))
    }

    fn map(
        &mut self,
        dest: Option<Id>,
        src: Option<Id>,
        spot: Option<Spot<'a>>,
    ) -> Step<Option<Id>> {
        let Some(dest) = self.visit_map(dest, src)? else {
            return Ok(None);
        };
        let mut names: BTreeSet<Arc<str>> = self.tree.names(dest).cloned().collect();
        if let Some(src) = src {
            names.extend(self.tree.names(src).cloned());
        }
        for name in names {
            let old = self.tree.entry(dest, &name);
            let new = src.and_then(|src| self.tree.entry(src, &name));
            let inner = spot.and_then(|spot| spot.field(&name));
            let value = self.walk(old.map(|e| e.1), new.map(|e| e.1), inner)?;
            let style = |entry: Option<(Id, Id)>| {
                entry
                    .filter(|entry| Some(entry.1) == value)
                    .map(|entry| self.tree.get(entry.0).style)
            };
            let style = style(new).or_else(|| style(old)).unwrap_or(Style::Plain);
            match value {
                Some(value) => self.tree.set_styled(dest, &name, value, style)?,
                None => self.tree.clear(dest, &name)?,
            }
        }
        Ok(Some(dest))
    }

    fn visit_map(&mut self, dest: Option<Id>, src: Option<Id>) -> Step<Option<Id>> {
        if self.is_null(dest) {
            let directive = match src {
                Some(src) => self.directive(src).ok(),
                None => Some(Directive::Merge),
            };
            if directive == Some(Directive::Delete) {
                return Ok(None);
            }
            if let (None, Some(dest)) = (src, dest)
                && !self.tree.text(dest).is_empty()
            {
                let node = Node {
                    tag: Tag::Null,
                    keep: true,
                    ..Node::scalar(self.tree.text(dest).clone())
                };
                return Ok(Some(self.tree.add(node)));
            }
            return Ok(src);
        }
        if let Some(src) = src {
            if self.tree.get(src).is_null() {
                return Ok(None);
            }
            match self.directive(src)? {
                Directive::Delete => return Ok(None),
                Directive::Replace => return Ok(Some(src)),
                Directive::Merge => {}
            }
        }
        Ok(dest)
    }

    /// What a patch says to do with its place; the word is taken out.
    fn directive(&mut self, patch: Id) -> Step<Directive> {
        let tree = &mut *self.tree;
        let node = tree.get(patch);
        let unknown = |tree: &Tree, at: Id| {
            let node = tree.get(at);
            let text = format!(
                "{DIRECTIVE} is {:?}; it may be delete, replace or merge",
                node.text
            );
            Err(Fault::new(text).at(node.line, node.column))
        };
        let of = |text: &str| match text {
            "delete" => Some(Directive::Delete),
            "replace" => Some(Directive::Replace),
            "merge" => Some(Directive::Merge),
            _ => None,
        };
        match node.kind {
            Kind::Map => {
                let Some(word) = tree.field(patch, DIRECTIVE) else {
                    return Ok(Directive::Merge);
                };
                let Some(found) = of(tree.text(word)) else {
                    return unknown(tree, word);
                };
                tree.clear(patch, DIRECTIVE)?;
                Ok(found)
            }
            Kind::Seq => {
                let items = node.inner.iter();
                let word = items
                    .copied()
                    .find_map(|item| Some((item, tree.field(item, DIRECTIVE)?)));
                let Some((item, word)) = word.filter(|w| tree.get(w.0).inner.len() <= 2) else {
                    return Ok(Directive::Merge);
                };
                let _ = item;
                let text = tree.text(word).clone();
                let Some(found) = of(&text) else {
                    return unknown(tree, word);
                };
                let setter = ElementSetter {
                    element: None,
                    keys: &[DIRECTIVE.to_owned()],
                    values: &[text],
                };
                tree.set_element(patch, &setter)?;
                Ok(found)
            }
            Kind::Scalar => {
                let text = format!("{:?} stands where a map or a list is merged", node.text);
                Err(Fault::new(text).at(node.line, node.column))
            }
        }
    }

    fn list(
        &mut self,
        dest: Option<Id>,
        src: Option<Id>,
        spot: Option<Spot<'a>>,
        keys: &[String],
    ) -> Step<Option<Id>> {
        let dest = if self.is_null(dest) {
            src
        } else {
            match src {
                Some(src) if self.tree.get(src).is_null() => None,
                Some(src) => match self.directive(src)? {
                    Directive::Delete => None,
                    Directive::Replace => Some(src),
                    Directive::Merge => dest,
                },
                None => dest,
            }
        };
        let Some(dest) = dest else { return Ok(None) };
        if keys.is_empty() {
            let mut seen = Vec::new();
            for list in src.into_iter().chain([dest]) {
                for item in self.tree.get(list).inner.clone() {
                    let value = vec![self.tree.text(item).clone()];
                    if !seen.contains(&value) {
                        seen.push(value);
                    }
                }
            }
            return self.items(dest, src, spot, &[String::new()], seen);
        }
        let mut seen: Vec<Vec<Arc<str>>> = Vec::new();
        for list in src.into_iter().chain([dest]) {
            for &item in &self.tree.get(list).inner {
                let value = |key: &String| {
                    let found = self.tree.field(item, key);
                    let found = found.filter(|&found| !self.tree.get(found).is_empty());
                    found.map_or_else(|| "".into(), |found| self.tree.text(found).clone())
                };
                let values: Vec<_> = keys.iter().map(value).collect();
                if !seen.contains(&values) {
                    seen.push(values);
                }
            }
        }
        self.items(dest, src, spot, keys, seen)
    }

    fn items(
        &mut self,
        mut dest: Id,
        src: Option<Id>,
        spot: Option<Spot<'a>>,
        keys: &[String],
        mut all: Vec<Vec<Arc<str>>>,
    ) -> Step<Option<Id>> {
        let inner = spot.and_then(Spot::items);
        if keys.len() > 1 {
            unify(&mut all);
        }
        let added = self.tree.add(Node::new(Kind::Seq));
        let mut valid = Vec::new();
        for values in &all {
            let (valid_keys, valid_values) = narrow(&all, values, keys);
            let (own_keys, own_values) = narrow(
                std::slice::from_ref(&valid_values),
                &valid_values,
                &valid_keys,
            );
            let find = |list: Option<Id>| match list {
                Some(list) if self.tree.get(list).kind == Kind::Seq => self
                    .tree
                    .element(list, &own_keys, &own_values)
                    .ok()
                    .flatten(),
                _ => None,
            };
            let (old, new) = (find(Some(dest)), find(src));
            let value = self.walk(old, new, inner)?;
            let gone = value.is_none_or(|value| {
                let node = self.tree.get(value);
                node.is_null() || node.kind == Kind::Map && node.inner.is_empty()
            });
            let setter = ElementSetter {
                element: None,
                keys: &valid_keys,
                values: &valid_values,
            };
            match value {
                Some(value) if !gone => {
                    for (key, text) in valid_keys.iter().zip(&valid_values) {
                        let has = self.tree.field(value, key).is_some();
                        let wants = !has && !text.is_empty() && !key.is_empty();
                        if wants && self.tree.get(value).kind == Kind::Map {
                            let text = self.tree.add(Node::scalar(text.clone()));
                            self.tree.set_field(value, key, text)?;
                        }
                    }
                    let setter = ElementSetter {
                        element: Some(value),
                        ..setter
                    };
                    self.tree.set_element(added, &setter)?;
                }
                _ => self.tree.set_element(dest, &setter)?,
            }
            valid = valid_keys;
        }
        if !all.is_empty() {
            self.append(added, dest, &valid)?;
            dest = added;
        }
        if self.tree.get(dest).is_null() {
            return Ok(None);
        }
        Ok(Some(dest))
    }

    /// Puts a list's items behind another's; those that are in both stay where they are in the first.
    fn append(&mut self, to: Id, from: Id, keys: &[String]) -> Step<()> {
        let first = keys.first().map_or("", String::as_str);
        for item in self.tree.get(from).inner.clone() {
            if first.is_empty() {
                let values = [self.tree.text(item).clone()];
                let setter = ElementSetter {
                    element: Some(item),
                    keys: &[String::new()],
                    values: &values,
                };
                self.tree.set_element(to, &setter)?;
                continue;
            }
            let mut values = Vec::new();
            for key in keys {
                match self.tree.get_field(item, key)? {
                    Some(found) => values.push(self.tree.text(found).clone()),
                    None => self.tree.get_mut(to).inner.push(item),
                }
            }
            let mut setter = ElementSetter {
                element: None,
                keys,
                values: &values,
            };
            if keys.len() > 1 {
                self.tree.set_element(to, &setter)?;
            }
            setter.element = Some(item);
            self.tree.set_element(to, &setter)?;
        }
        Ok(())
    }
}

/// Leaves out keys that no item has a value for.
fn narrow(
    all: &[Vec<Arc<str>>],
    values: &[Arc<str>],
    keys: &[String],
) -> (Vec<String>, Vec<Arc<str>>) {
    let used = |at: usize| {
        all.iter()
            .any(|values| values.get(at).is_some_and(|value| !value.is_empty()))
    };
    let any = (0..keys.len()).any(used);
    if !any {
        return (keys.to_vec(), values.to_vec());
    }
    let kept = keys.iter().enumerate().filter(|(at, _)| used(*at));
    let values = values
        .iter()
        .enumerate()
        .filter(|(at, value)| !value.is_empty() || used(*at));
    (
        kept.map(|(_, key)| key.clone()).collect(),
        values.map(|(_, value)| value.clone()).collect(),
    )
}

/// Fills what one item leaves open from another that has the rest in common.
fn unify(all: &mut [Vec<Arc<str>>]) {
    for i in 0..all.len() {
        let own = all[i].clone();
        for j in 0..all.len() {
            if let Some(both) = both(&own, &all[j]) {
                all[i].clone_from(&both);
                all[j] = both;
            }
        }
    }
}

fn both(a: &[Arc<str>], b: &[Arc<str>]) -> Option<Vec<Arc<str>>> {
    if a.len() != b.len() {
        return None;
    }
    let mut common = false;
    let mut out = Vec::new();
    for (a, b) in a.iter().zip(b) {
        if a == b {
            common = true;
            out.push(a.clone());
        } else if a.is_empty() {
            out.push(b.clone());
        } else if b.is_empty() {
            out.push(a.clone());
        } else {
            return None;
        }
    }
    common.then_some(out)
}
