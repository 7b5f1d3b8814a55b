//! Replacements: a field of one object, or a value, put into fields of others.

use serde::Deserialize;
use serde_json::Value;

use super::Selector;
use crate::diag::Fault;
use crate::id::{Gvk, ResId};
use crate::node::{Found, Kind, MAX_DEPTH, Node, Step, Tree, parse_one, smart_split, to_text};
use crate::objects::Objects;
use crate::resource::Item;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Replacement {
    pub(crate) source: Option<Source>,
    pub(crate) targets: Option<Vec<Target>>,
    pub(crate) source_value: Option<String>,
}

/// Where the value is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Source {
    group: String,
    version: String,
    kind: String,
    name: String,
    namespace: String,
    field_path: String,
    options: Option<Options>,
}

/// Where it is put.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Target {
    select: Option<Selector>,
    reject: Vec<Selector>,
    field_paths: Vec<String>,
    options: Option<Options>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    delimiter: String,
    index: i64,
    create: bool,
}

const NAME: &str = "metadata.name";

pub(super) fn replace(objects: &mut Objects, all: &[Replacement]) -> Step<()> {
    for (number, one) in all.iter().enumerate() {
        one.apply(objects)
            .map_err(|fault| fault.within(&format!("replacement {number}")))?;
    }
    Ok(())
}

impl Replacement {
    fn apply(&self, objects: &mut Objects) -> Step<()> {
        let Some(targets) = &self.targets else {
            return Err(Fault::new("it has no targets"));
        };
        let value = match (&self.source, &self.source_value) {
            (None, None) => return Err(Fault::new("it has neither source nor sourceValue")),
            (Some(_), Some(_)) => {
                return Err(Fault::new("it has both source and sourceValue"));
            }
            (None, Some(value)) => Tree::new(Node::scalar(value.as_str())),
            (Some(source), None) => source.value(objects)?,
        };
        for target in targets {
            target.put(objects, &value)?;
        }
        Ok(())
    }
}

/// What an object is and was called, as selectors see it.
fn ids(item: &Item) -> Vec<ResId> {
    let mut out = vec![ResId {
        cluster: false,
        ..item.id()
    }];
    out.extend(item.previous());
    out
}

impl Source {
    fn value(&self, objects: &Objects) -> Step<Tree> {
        let wanted = Gvk {
            group: self.group.as_str().into(),
            version: self.version.as_str().into(),
            kind: self.kind.as_str().into(),
        };
        let own = ResId {
            gvk: wanted,
            name: self.name.as_str().into(),
            namespace: self.namespace.as_str().into(),
            cluster: false,
        };
        let fits = |id: &ResId| {
            (own.name.is_empty() || own.name == id.name)
                && (own.namespace.is_empty() || own.place() == id.place())
                && id.gvk.selected_by(&own.gvk)
        };
        let found: Vec<&Item> = objects
            .iter()
            .filter(|item| ids(item).iter().any(fits))
            .collect();
        let shown = |items: &[&Item]| {
            let ids = items.iter().map(|item| item.id().to_string());
            ids.collect::<Vec<_>>()
        };
        let item = match found[..] {
            [item] => item,
            [] => {
                let kin: Vec<_> = objects
                    .iter()
                    .filter(|item| self.kind.is_empty() || *item.kind() == *self.kind)
                    .collect();
                let text = format!("source {own} is no object");
                return Err(Fault::new(text).candidates(shown(&kin)));
            }
            _ => {
                let text = format!("source {own} is several objects");
                return Err(Fault::new(text).candidates(shown(&found)));
            }
        };
        let path = match self.field_path.as_str() {
            "" => NAME,
            path => path,
        };
        let tree = &item.tree;
        let at = tree
            .lookup(tree.root, &smart_split(path, '.'))
            .map_err(|fault| item.blame(fault.within(&format!("source field {path:?}"))))?;
        let Some(at) = at.filter(|&at| !tree.get(at).is_empty()) else {
            let text = format!("source field {path:?} is not in {}", item.id());
            return Err(Fault::new(text).candidates(near(tree, path)));
        };
        let mut value = tree.part(at);
        if let Some(options) = self.options.as_ref().filter(|o| !o.delimiter.is_empty()) {
            let root = value.root;
            if value.get(root).kind != Kind::Scalar {
                let text = format!("delimiter needs a single value at {path:?}");
                return Err(Fault::new(text));
            }
            let text = value.text(root).clone();
            let parts: Vec<&str> = go_split(&text, &options.delimiter);
            let part = usize::try_from(options.index)
                .ok()
                .and_then(|i| parts.get(i));
            let Some(part) = part else {
                let text = format!(
                    "index {} is asked for, but {text:?} has {} parts",
                    options.index,
                    parts.len()
                );
                return Err(Fault::new(text));
            };
            value.get_mut(root).text = (*part).into();
        }
        Ok(value)
    }
}

fn go_split<'a>(text: &'a str, delimiter: &str) -> Vec<&'a str> {
    text.split(delimiter).collect()
}

/// The fields that are where a path stops.
fn near(tree: &Tree, path: &str) -> Vec<String> {
    let parts = smart_split(path, '.');
    for end in (0..parts.len()).rev() {
        if let Ok(Some(at)) = tree.lookup(tree.root, &parts[..end]) {
            let head = parts[..end].join(".");
            let names = tree.names(at).map(|name| {
                if head.is_empty() {
                    name.to_string()
                } else {
                    format!("{head}.{name}")
                }
            });
            return names.take(10).collect();
        }
    }
    Vec::new()
}

impl Target {
    fn put(&self, objects: &mut Objects, value: &Tree) -> Step<()> {
        let Some(select) = &self.select else {
            return Err(Fault::new("a target has no select"));
        };
        let name = [NAME.to_owned()];
        let paths = if self.field_paths.is_empty() {
            &name[..]
        } else {
            &self.field_paths
        };
        let select = select.compile()?;
        let rejects = self.reject.iter().map(Selector::compile);
        let rejects = rejects.collect::<Step<Vec<_>>>()?;
        for at in 0..objects.len() {
            let item = &objects.items[at];
            let marked =
                select.marked(item) && !rejects.iter().any(|r| r.marks_any() && r.marked(item));
            if !marked {
                continue;
            }
            let ids = ids(item);
            let rejected = rejects
                .iter()
                .any(|r| r.names_any() && ids.iter().any(|id| r.fits(id)));
            if rejected || !ids.iter().any(|id| select.fits(id)) {
                continue;
            }
            let item = objects.get_mut(at);
            for path in paths {
                self.put_at(&mut item.tree, path, value)
                    .map_err(|fault| item.blame(fault.within(&format!("target field {path:?}"))))?;
            }
        }
        Ok(())
    }

    fn put_at(&self, tree: &mut Tree, path: &str, value: &Tree) -> Step<()> {
        let kind = value.get(value.root).kind;
        let create = self.options.as_ref().is_some_and(|o| o.create);
        let create = create.then_some(kind);
        let parts = smart_split(path, '.');
        if parts.len() + value.depth(value.root) > MAX_DEPTH {
            return Err(Fault::new("the value would lie too deep"));
        }
        if put_inside(tree, path, value, create)?.is_some() {
            return Ok(());
        }
        let root = tree.root;
        let found = match tree.matching(root, &parts, create)? {
            Found::Here(found) => found,
            Found::Inside(_) => return Ok(()),
        };
        if found.is_empty() {
            let text = "there is no such field";
            let hint = "say options.create to make it";
            return Err(Fault::new(text).candidates(near(tree, path)).hint(hint));
        }
        for at in found {
            self.set(tree, at, value)?;
        }
        Ok(())
    }

    fn set(&self, tree: &mut Tree, at: u32, value: &Tree) -> Step<()> {
        let value_root = value.get(value.root);
        let scalar = tree.get(at).kind == Kind::Scalar;
        let mut text = value_root.text.clone();
        if let Some(options) = self.options.as_ref().filter(|o| !o.delimiter.is_empty()) {
            if !scalar {
                return Err(Fault::new("delimiter needs a single value"));
            }
            let old = tree.text(at).clone();
            let mut parts = go_split(&old, &options.delimiter);
            match usize::try_from(options.index) {
                Err(_) => parts.insert(0, &text),
                Ok(index) => match parts.get_mut(index) {
                    Some(part) => *part = &text,
                    None => parts.push(&text),
                },
            }
            text = parts.join(&options.delimiter).into();
        }
        if scalar {
            tree.get_mut(at).text = text;
        } else {
            let value = tree.take(value, value.root);
            tree.overwrite(at, value);
        }
        Ok(())
    }
}

/// Puts the value into YAML or JSON that a field holds as a text; nothing if the path does not lead there.
fn put_inside(tree: &mut Tree, path: &str, value: &Tree, create: Option<Kind>) -> Step<Option<()>> {
    let parts = smart_split(path, '.');
    for end in 1..parts.len() {
        let Ok(Some(field)) = tree.lookup(tree.root, &parts[..end]) else {
            continue;
        };
        if tree.get(field).kind != Kind::Scalar {
            continue;
        }
        let text = tree.text(field).clone();
        let Ok(parsed) = parse_one(text.as_bytes()) else {
            continue;
        };
        let Some(mut inner) = parsed else {
            return Ok(None);
        };
        let root = inner.root;
        let found = match inner.matching(root, &parts[end..], create) {
            Ok(Found::Here(found)) if !found.is_empty() => found,
            _ => return Ok(None),
        };
        for at in found {
            if inner.get(at).kind == Kind::Scalar {
                inner.get_mut(at).text = value.get(value.root).text.clone();
            } else {
                let value = inner.take(value, value.root);
                inner.overwrite(at, value);
            }
        }
        let written = if text.trim_start().starts_with(['{', '[']) {
            let Ok(json) = inner.to_value() else {
                return Ok(None);
            };
            if text.contains('\n') && text.contains("  ") {
                let mut out = String::new();
                pretty(&json, 0, &mut out);
                out
            } else {
                base_yaml::go::to_json(&json, true)
            }
        } else {
            to_text(&inner, root).trim().to_owned()
        };
        tree.get_mut(field).text = written.into();
        return Ok(Some(()));
    }
    Ok(None)
}

/// Writes JSON as Go does with an indent of two.
fn pretty(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { ",\n" } else { "\n" });
                out.push_str(&pad);
                pretty(item, depth + 1, out);
            }
            out.push('\n');
            out.push_str(&end);
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (number, (name, item)) in fields.into_iter().enumerate() {
                out.push_str(if number > 0 { ",\n" } else { "\n" });
                out.push_str(&pad);
                base_yaml::go::json_string(out, name.as_bytes(), true);
                out.push_str(": ");
                pretty(item, depth + 1, out);
            }
            out.push('\n');
            out.push_str(&end);
            out.push('}');
        }
        other => out.push_str(&base_yaml::go::to_json(other, true)),
    }
}
