//! Variables: `$(NAME)` in fields, with values from other objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diag::Fault;
use crate::fieldspec::FieldSpec;
use crate::id::ResId;
use crate::node::{Id, Kind, Step, Style, Tag, Tree, smart_split};
use crate::objects::Objects;

/// A variable: the field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Var {
    pub(crate) name: Arc<str>,
    pub(crate) object: ResId,
    pub(crate) path: String,
}

/// Marks the objects that variables are of; more than one is an error.
pub(crate) fn mark(objects: &mut Objects, vars: &[Var]) -> Step<()> {
    for var in vars {
        let wanted = &var.object;
        let found = objects.called(&wanted.name, |id| {
            if wanted.namespace.is_empty() {
                wanted.same_name(id)
            } else {
                wanted.same(id)
            }
        });
        match found[..] {
            [] => {}
            [at] => objects.get_mut(at).marks.vars.push(var.name.clone()),
            _ => {
                let ids = found.iter().map(|&at| objects.items[at].id().to_string());
                let text = format!("var {:?} could be of several objects", var.name);
                return Err(Fault::new(text).candidates(ids));
            }
        }
    }
    Ok(())
}

enum Given {
    Str(Arc<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A map or a list, which stands for nothing.
    Other,
}

/// Puts the variables' values in.
pub(crate) fn resolve(
    objects: &mut Objects,
    vars: &BTreeMap<Arc<str>, Var>,
    specs: &[FieldSpec],
) -> Step<()> {
    if vars.is_empty() {
        return Ok(());
    }
    let mut values = BTreeMap::new();
    for (name, var) in vars {
        values.insert(name.clone(), value(objects, var)?);
    }
    for at in 0..objects.len() {
        let fits = |spec: &&FieldSpec| {
            let tree = &objects.items[at].tree;
            let spec = FieldSpec {
                create: false,
                ..(*spec).clone()
            };
            spec.fits(tree) && spec.reaches(tree)
        };
        let specs: Vec<&FieldSpec> = specs.iter().filter(fits).collect();
        if specs.is_empty() {
            continue;
        }
        let item = objects.get_mut(at);
        for spec in specs {
            let done = spec.visit(&mut item.tree, &None, &mut |tree, at| {
                place(tree, at, &values)
            });
            done.map_err(|fault| item.blame(fault))?;
        }
    }
    Ok(())
}

fn value(objects: &Objects, var: &Var) -> Step<Given> {
    let item = objects
        .iter()
        .find(|item| item.marks.vars.contains(&var.name));
    let Some(item) = item else {
        let kin = objects.iter().filter(|item| item.name() == var.object.name);
        let kin = kin.map(|item| item.id().to_string());
        let text = format!("var {:?}: no object is called {}", var.name, var.object);
        return Err(Fault::new(text).candidates(kin));
    };
    let tree = &item.tree;
    let found = tree.lookup(tree.root, &with_indexes(&var.path));
    let Ok(Some(found)) = found else {
        let text = format!(
            "var {:?}: field {:?} is not in {}",
            var.name,
            var.path,
            item.id()
        );
        return Err(Fault::new(text));
    };
    let node = tree.get(found);
    if node.kind != Kind::Scalar {
        return Ok(Given::Other);
    }
    let text = &node.text;
    let bad = || {
        Fault::new(format!(
            "var {:?}: {text:?} in {} is not what its tag says",
            var.name,
            item.id()
        ))
    };
    Ok(match node.tag {
        Tag::Int => Given::Int(text.parse().map_err(|_| bad())?),
        Tag::Float => Given::Float(text.parse().map_err(|_| bad())?),
        Tag::Bool => match &**text {
            "true" | "True" | "TRUE" => Given::Bool(true),
            "false" | "False" | "FALSE" => Given::Bool(false),
            _ => return Err(bad()),
        },
        _ => Given::Str(text.clone()),
    })
}

/// `a.b[0].c` as parts.
fn with_indexes(path: &str) -> Vec<String> {
    let mut out = Vec::new();
    for part in smart_split(path, '.') {
        let inner = part
            .strip_suffix(']')
            .and_then(|part| part.rsplit_once('['));
        match inner {
            Some((name, number))
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                if !name.is_empty() {
                    out.push(name.to_owned());
                }
                out.push(number.to_owned());
            }
            _ => out.push(part),
        }
    }
    out
}

fn place(tree: &mut Tree, at: Id, values: &BTreeMap<Arc<str>, Given>) -> Step<()> {
    let node = tree.get(at);
    if node.is_null() {
        return Ok(());
    }
    match node.kind {
        Kind::Scalar => {
            if node.is_stringy() {
                expand(tree, at, values);
            }
            Ok(())
        }
        Kind::Map => {
            for field in node.inner.clone().chunks_exact(2) {
                let key = tree.get(field[0]);
                if !key.is_stringy() {
                    let text = format!("key {:?} is no string", key.text);
                    return Err(Fault::new(text).at(key.line, key.column));
                }
                if tree.get(field[1]).is_stringy() {
                    expand(tree, field[1], values);
                }
            }
            Ok(())
        }
        Kind::Seq => {
            for item in node.inner.clone() {
                let node = tree.get(item);
                if !node.is_stringy() {
                    let text = "an item is no string, where variables may stand";
                    return Err(Fault::new(text).at(node.line, node.column));
                }
                expand(tree, item, values);
            }
            Ok(())
        }
    }
}

fn expand(tree: &mut Tree, at: Id, values: &BTreeMap<Arc<str>, Given>) {
    let text = tree.text(at).clone();
    let node = tree.get_mut(at);
    node.style = Style::Plain;
    node.tagged = false;
    let whole = text
        .strip_prefix("$(")
        .and_then(|rest| rest.strip_suffix(')'));
    if let Some(value) = whole.and_then(|name| values.get(name)) {
        let (new, tag): (Arc<str>, Tag) = match value {
            Given::Str(value) => (value.clone(), Tag::Str),
            Given::Int(int) => (int.to_string().into(), Tag::Int),
            Given::Bool(flag) => (flag.to_string().into(), Tag::Bool),
            Given::Float(float) => (float.to_string().into(), Tag::Float),
            Given::Other => (text, Tag::Str),
        };
        (node.text, node.tag) = (new, tag);
        return;
    }
    node.tag = Tag::Str;
    if text.contains('$') {
        node.text = replaced(&text, values).into();
    }
}

fn replaced(text: &str, values: &BTreeMap<Arc<str>, Given>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        match name {
            Some((name, after)) => {
                match values.get(name) {
                    Some(Given::Str(value)) => out.push_str(value),
                    Some(Given::Int(int)) => out.push_str(&int.to_string()),
                    Some(Given::Bool(flag)) => out.push_str(&flag.to_string()),
                    Some(Given::Float(float)) => {
                        out.push_str(&base_yaml::go::format_g(*float));
                    }
                    Some(Given::Other) | None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_as_kubernetes_does() {
        let values = BTreeMap::from([("A".into(), Given::Str("x".into()))]);
        for (text, wanted) in [
            ("$(A)-$(A)", "x-x"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A$", "$A$"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(replaced(text, &values), wanted, "{text}");
        }
    }
}
