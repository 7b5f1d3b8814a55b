//! Finding and setting, with kustomize's rules for nulls, styles and nodes that are not there.

use std::sync::Arc;

use base_yaml::go;

use super::{Id, Kind, Node, Step, Style, Tag, Tree};
use crate::diag::Fault;

/// Sets, replaces or (without an element) takes out the items of a list that have these values at these keys.
pub(crate) struct ElementSetter<'a> {
    pub(crate) element: Option<Id>,
    pub(crate) keys: &'a [String],
    pub(crate) values: &'a [Arc<str>],
}

impl Tree {
    /// The value of a field; the first of that name.
    pub(crate) fn field(&self, map: Id, name: &str) -> Option<Id> {
        self.entry(map, name).map(|(_, value)| value)
    }

    /// The key and value of a field.
    pub(crate) fn entry(&self, map: Id, name: &str) -> Option<(Id, Id)> {
        let node = self.get(map);
        if node.kind != Kind::Map {
            return None;
        }
        let mut fields = node.inner.chunks_exact(2);
        let found = fields.find(|field| &**self.text(field[0]) == name)?;
        Some((found[0], found[1]))
    }

    /// The names of a map's fields, in the order of the text.
    pub(crate) fn names(&self, map: Id) -> impl Iterator<Item = &Arc<str>> {
        let node = self.get(map);
        let inner = if node.kind == Kind::Map {
            &node.inner[..]
        } else {
            &[]
        };
        inner.chunks_exact(2).map(|field| self.text(field[0]))
    }

    fn fault(&self, id: Id, text: impl Into<String>) -> Fault {
        let node = self.get(id);
        Fault::new(text).at(node.line, node.column)
    }

    /// Complains about a node of another kind; null is of every kind.
    pub(crate) fn want(&self, id: Id, kind: Kind) -> Step<()> {
        let node = self.get(id);
        if node.is_null() || node.kind == kind {
            return Ok(());
        }
        let shown = |kind| match kind {
            Kind::Scalar => "a single value",
            Kind::Seq => "a list",
            Kind::Map => "a map",
        };
        let text = format!("expected {}, found {}", shown(kind), shown(node.kind));
        Err(self.fault(id, text))
    }

    /// A field of what may be a map.
    pub(crate) fn get_field(&self, id: Id, name: &str) -> Step<Option<Id>> {
        if self.get(id).is_null() {
            return Ok(None);
        }
        self.want(id, Kind::Map)?;
        Ok(self.field(id, name))
    }

    /// What lies at a path.
    pub(crate) fn lookup(&self, from: Id, path: &[String]) -> Step<Option<Id>> {
        let mut at = from;
        for part in clean(path) {
            let found = match index(part) {
                Some(index) => {
                    let items = self.items(at)?;
                    match usize::try_from(index) {
                        Ok(index) => items.get(index).copied(),
                        Err(_) => {
                            let text = format!("a list's index cannot be negative: {index}");
                            return Err(self.fault(at, text));
                        }
                    }
                }
                None if part == "-" => match self.items(at)?.last() {
                    Some(&last) => Some(last),
                    None => return Err(self.fault(at, "the list is empty, there is no last item")),
                },
                None if part == "*" => {
                    return Err(self.fault(at, "* cannot stand in the path of a source"));
                }
                None if is_list_index(part) => {
                    let (name, value) = split_index(part)?;
                    self.element(at, &[name.to_owned()], &[value.into()])?
                }
                None => self.get_field(at, part)?,
            };
            match found {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// What lies at a path of field names, made if it is not there; nothing if a null is in the way.
    pub(crate) fn lookup_create(
        &mut self,
        from: Id,
        kind: Kind,
        path: &[&str],
    ) -> Step<Option<Id>> {
        let mut at = from;
        for (number, part) in path.iter().enumerate() {
            if self.get(at).is_null() {
                return Ok(None);
            }
            self.want(at, Kind::Map)?;
            at = match self.field(at, part) {
                Some(found) => found,
                None => {
                    let last = number + 1 == path.len();
                    let made = self.add(Node::new(if last { kind } else { Kind::Map }));
                    self.set_field(at, part, made)?;
                    made
                }
            };
        }
        Ok(Some(at))
    }

    /// A list's items.
    pub(crate) fn items(&self, list: Id) -> Step<&[Id]> {
        self.want(list, Kind::Seq)?;
        Ok(&self.get(list).inner)
    }

    /// The first item of a list that has these values at these keys; without a key, the first that is the value.
    pub(crate) fn element(
        &self,
        list: Id,
        keys: &[String],
        values: &[Arc<str>],
    ) -> Step<Option<Id>> {
        self.want(list, Kind::Seq)?;
        let items = &self.get(list).inner;
        let first = values.first().map_or("", |value| &**value);
        if keys.first().is_none_or(String::is_empty) {
            return Ok(items.iter().copied().find(|&i| &**self.text(i) == first));
        }
        if keys.len() != values.len() {
            return Err(self.fault(list, "an item has not all of the keys that items merge by"));
        }
        Ok(items.iter().copied().find(|&item| {
            let node = self.get(item);
            !node.is_null()
                && node.kind == Kind::Map
                && keys.iter().zip(values).all(|(key, value)| {
                    let found = self.field(item, key);
                    found.is_some_and(|found| self.text(found) == value)
                })
        }))
    }

    pub(crate) fn set_element(&mut self, list: Id, setter: &ElementSetter<'_>) -> Step<()> {
        self.want(list, Kind::Seq)?;
        let first = |texts: Option<&str>| texts.is_some_and(|text| !text.is_empty());
        let by_field = first(setter.keys.first().map(String::as_str))
            && first(setter.values.first().map(|value| &**value));
        let mut kept = Vec::new();
        let mut matched = false;
        for item in self.get(list).inner.clone() {
            let node = self.get(item);
            if node.is_null() || node.kind == Kind::Map && node.inner.is_empty() {
                continue;
            }
            if node.kind != Kind::Map && by_field {
                kept.push(item);
                continue;
            }
            let mut found = true;
            let mut last = None;
            for (number, key) in setter.keys.iter().enumerate() {
                if let Some(value) = setter.values.get(number) {
                    last = self.matches(item, key, value)?;
                }
                if last.is_none() {
                    found = false;
                    break;
                }
            }
            if !found {
                if !setter.values.is_empty() {
                    kept.push(item);
                }
                continue;
            }
            matched = true;
            kept.extend(setter.element);
        }
        let element = setter.element.filter(|&e| !self.get(e).is_null());
        if !matched {
            kept.extend(element);
        }
        self.get_mut(list).inner = kept;
        Ok(())
    }

    /// A field that has a value, or, without a name, a scalar that is it. An empty value is any.
    fn matches(&self, id: Id, name: &str, value: &str) -> Step<Option<Id>> {
        if self.get(id).is_null() {
            return Ok(None);
        }
        if name.is_empty() {
            self.want(id, Kind::Scalar)?;
            return Ok((&**self.text(id) == value).then_some(id));
        }
        self.want(id, Kind::Map)?;
        let found = self.field(id, name);
        Ok(found.filter(|&found| value.is_empty() || &**self.text(found) == value))
    }

    /// Takes out a field; the first of that name.
    pub(crate) fn clear(&mut self, map: Id, name: &str) -> Step<()> {
        self.want(map, Kind::Map)?;
        let node = self.get(map);
        if node.kind != Kind::Map {
            return Ok(());
        }
        let at = node
            .inner
            .chunks_exact(2)
            .position(|field| &**self.text(field[0]) == name);
        if let Some(at) = at {
            self.get_mut(map).inner.drain(at * 2..at * 2 + 2);
        }
        Ok(())
    }

    /// Sets a field to a node, which stays shared; a null takes the field out.
    pub(crate) fn set_field(&mut self, map: Id, name: &str, value: Id) -> Step<()> {
        self.set_styled(map, name, value, Style::Plain)
    }

    /// Sets a field, whose key is written in a style if it is new.
    pub(crate) fn set_styled(&mut self, map: Id, name: &str, value: Id, key: Style) -> Step<()> {
        self.quote(value);
        let node = self.get(value);
        if node.is_null() && !node.keep {
            return self.clear(map, name);
        }
        if self.get(map).is_null() {
            return Ok(());
        }
        self.want(map, Kind::Map)?;
        match self.field(map, name) {
            Some(known) => {
                let style = self.get(known).style;
                self.get_mut(value).style = style;
                self.overwrite(known, value);
            }
            None => {
                let key = self.add(Node {
                    style: key,
                    ..Node::scalar(name)
                });
                self.get_mut(map).inner.extend([key, value]);
            }
        }
        Ok(())
    }

    /// Sets what stands at a scalar's place.
    pub(crate) fn set_scalar(&mut self, at: Id, value: Id) -> Step<()> {
        self.quote(value);
        self.want(at, Kind::Scalar)?;
        if self.get(value).is_null() {
            return Ok(());
        }
        let style = self.get(at).style;
        self.get_mut(value).style = style;
        self.overwrite(at, value);
        Ok(())
    }

    /// Puts a node's content at another's place, which keeps where it was read.
    pub(crate) fn overwrite(&mut self, at: Id, value: Id) {
        if at == value {
            return;
        }
        let mut node = self.get(value).clone();
        if node.line == 0 {
            (node.line, node.column) = (self.get(at).line, self.get(at).column);
        }
        *self.get_mut(at) = node;
    }

    /// Quotes a string that older readers take for something else.
    fn quote(&mut self, value: Id) {
        let node = self.get(value);
        if node.is_stringy() && node.style == Style::Plain && go::reads_as_other(&node.text) {
            self.get_mut(value).style = Style::Double;
        }
    }

    /// Sets a text at a path of field names.
    pub(crate) fn set_text(&mut self, path: &[&str], text: &str) -> Step<()> {
        let (last, before) = match path.split_last() {
            Some(split) => split,
            None => return Ok(()),
        };
        let Some(map) = self.lookup_create(self.root, Kind::Map, before)? else {
            return Ok(());
        };
        let value = self.add(Node::scalar(text));
        self.set_field(map, last, value)
    }

    /// A text in the metadata; empty if it is not there.
    pub(crate) fn meta(&self, name: &str) -> Arc<str> {
        let found = self
            .field(self.root, "metadata")
            .filter(|&meta| !self.get(meta).is_empty())
            .and_then(|meta| self.field(meta, name))
            .filter(|&found| !self.get(found).is_empty());
        found.map_or_else(|| "".into(), |found| self.text(found).clone())
    }

    /// Labels or annotations, as texts.
    pub(crate) fn meta_map(&self, name: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let map = self
            .field(self.root, "metadata")
            .filter(|&meta| !self.get(meta).is_empty())
            .and_then(|meta| self.field(meta, name));
        self.texts(map)
    }

    /// A map's fields as texts; later ones of the same name win.
    pub(crate) fn texts(&self, map: Option<Id>) -> Vec<(Arc<str>, Arc<str>)> {
        let Some(map) = map.filter(|&map| self.get(map).kind == Kind::Map) else {
            return Vec::new();
        };
        let fields = self.get(map).inner.chunks_exact(2);
        let mut out: Vec<_> = fields
            .map(|field| (self.text(field[0]).clone(), self.text(field[1]).clone()))
            .collect();
        out.reverse();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out.dedup_by(|a, b| a.0 == b.0);
        out
    }

    /// Sets labels or annotations: sorted, and all of them strings.
    pub(crate) fn set_meta_map(&mut self, name: &str, map: &[(Arc<str>, Arc<str>)]) -> Step<()> {
        let Some(meta) = self.lookup_create(self.root, Kind::Map, &["metadata"])? else {
            return Ok(());
        };
        self.clear(meta, name)?;
        if map.is_empty() {
            return Ok(());
        }
        let Some(at) = self.lookup_create(meta, Kind::Map, &[name])? else {
            return Ok(());
        };
        for (key, value) in map {
            let value = self.add(Node::string(value.clone()));
            self.set_field(at, key, value)?;
        }
        Ok(())
    }
}

/// Makes a string node with a tag.
pub(crate) fn tagged(text: &str, tag: Tag) -> Node {
    Node {
        tag,
        ..Node::scalar(text)
    }
}

fn clean(path: &[String]) -> impl Iterator<Item = &str> {
    path.iter().map(|p| p.trim()).filter(|p| !p.is_empty())
}

/// A path part that is a number.
pub(super) fn index(part: &str) -> Option<i64> {
    part.parse().ok()
}

/// `[name=value]`
pub(super) fn is_list_index(part: &str) -> bool {
    part.starts_with('[') && part.ends_with(']')
}

/// The name and value of `[name=value]`.
pub(super) fn split_index(part: &str) -> Step<(&str, &str)> {
    let inner = part.strip_suffix(']').unwrap_or(part);
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    inner.split_once('=').ok_or_else(|| {
        Fault::new(format!(
            "{part:?} in a path must hold name=value, or be a number without brackets"
        ))
    })
}
