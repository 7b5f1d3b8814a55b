//! Labels, annotations, replicas, and values added at paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Selector;
use super::namespace::{self, Subjects};
use crate::diag::Fault;
use crate::fieldspec::FieldSpec;
use crate::node::{Kind, Node, Step, Tag, tagged};
use crate::objects::Objects;

/// Sets entries of maps. One node hangs at all places of an object where an entry is new, as with kustomize, so that a
/// later change of one is a change of all.
pub(super) fn entries(
    objects: &mut Objects,
    entries: &BTreeMap<String, String>,
    specs: &[FieldSpec],
) -> Step<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let create = Some((Kind::Map, Tag::Map));
    for at in 0..objects.len() {
        if objects.items[at].gone {
            continue;
        }
        let fits = |spec: &&FieldSpec| spec.fits(&objects.items[at].tree);
        let specs: Vec<&FieldSpec> = specs.iter().filter(fits).collect();
        if specs.is_empty() {
            continue;
        }
        let item = objects.get_mut(at);
        for (name, text) in entries {
            let value = item.tree.add(tagged(text, Tag::Str));
            for spec in &specs {
                spec.visit(&mut item.tree, &create, &mut |tree, map| {
                    tree.set_field(map, name, value)
                })
                .map_err(|fault| fault.within(&objects_id(item)))?;
            }
        }
    }
    Ok(())
}

fn objects_id(item: &crate::resource::Item) -> String {
    item.id().to_string()
}

/// Sets how many there are of what is or was called so.
pub(super) fn replicas(
    objects: &mut Objects,
    name: &str,
    count: i64,
    specs: &[FieldSpec],
) -> Step<()> {
    let mut any = false;
    for spec in specs {
        let found = objects.called(name, |id| id.gvk.selected_by(&spec.gvk));
        for at in found {
            any = true;
            let item = objects.get_mut(at);
            let value = item.tree.add(tagged(&count.to_string(), Tag::Int));
            let create = Some((Kind::Scalar, Tag::Int));
            spec.visit(&mut item.tree, &create, &mut |tree, at| {
                tree.set_scalar(at, value)
            })
            .map_err(|fault| item.blame(fault))?;
        }
    }
    if any {
        return Ok(());
    }
    let kinds: Vec<&str> = specs.iter().map(|spec| &*spec.gvk.kind).collect();
    let kin = objects.iter().filter(|item| kinds.contains(&&*item.kind()));
    let kin = kin.map(|item| item.id().to_string());
    let text = format!("no {} is called {name:?}", kinds.join(", "));
    Err(Fault::new(text).candidates(kin))
}

/// Adds a value to fields, or to paths in fields.
pub(super) fn value_add(
    objects: &mut Objects,
    value: &str,
    targets: &[(Option<Selector>, String, i64)],
) -> Step<()> {
    for (selector, path, position) in targets {
        let selected = match selector {
            Some(selector) => selector.select(objects)?,
            None => (0..objects.len()).collect(),
        };
        for at in selected {
            let item = objects.get_mut(at);
            if path == "metadata/namespace" {
                namespace::set_one(item, value, &[], false, Subjects::Default)?;
                continue;
            }
            let parts = crate::node::split_path(path);
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            if parts.len() > crate::node::MAX_DEPTH {
                return Err(Fault::new(format!("fieldPath has {} parts", parts.len())));
            }
            let root = item.tree.root;
            let Some(field) = item.tree.lookup_create(root, Kind::Scalar, &parts)? else {
                continue;
            };
            item.tree.want(field, Kind::Scalar)?;
            let text = match usize::try_from(*position) {
                Ok(position) if position > 0 => {
                    insert_part(item.tree.text(field), position - 1, value)
                }
                _ => value.to_owned(),
            };
            let value = item.tree.add(Node::scalar(text));
            item.tree.set_scalar(field, value)?;
        }
    }
    Ok(())
}

/// Puts a part into a path; at its end if it has fewer parts.
fn insert_part(path: &str, position: usize, part: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<Arc<str>> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(Arc::from)
        .collect();
    parts.insert(position.min(parts.len()), part.into());
    let joined = parts.join("/");
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}
