//! The fields that a value sets.

use serde_json::Value;

use super::{Walk, item_element, walk};
use crate::fieldpath::{FieldSet, PathElement};
use crate::schema::{Shape, Ty};

/// Returns the set of fields that an object sets.
pub(crate) fn field_set(value: &Value, ty: Ty<'_>) -> FieldSet {
    collect(value, ty).1
}

/// Returns whether the value is a leaf, and what is below it.
pub(crate) fn collect(value: &Value, ty: Ty<'_>) -> (bool, FieldSet) {
    let mut set = FieldSet::new();
    // an item that lost its keys cannot be named, and yet its list is there
    let mut nameless = false;
    match (walk(ty, value), value) {
        (Walk::Leaf, _) => return (true, set),
        (Walk::List { item, keys }, Value::Array(items)) => {
            for value in items {
                match item_element(ty, item, keys, value) {
                    Ok(element) => {
                        let (_, children) = collect(value, ty.at(item));
                        set.push(element, true, children);
                    }
                    Err(_) => nameless = true,
                }
            }
            set.nodes.sort_by(|a, b| a.element.cmp(&b.element));
            // an item that stands twice is owned as one thing
            set.nodes.dedup_by(|later, first| {
                let twice = later.element == first.element;
                if twice {
                    first.children = FieldSet::new();
                }
                twice
            });
        }
        (Walk::Map, Value::Object(map)) => {
            set.nodes.reserve(map.len());
            for (key, value) in map {
                let (below, declared) = ty.below_declared(key);
                let (leaf, children) = collect(value, below);
                let empty = value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
                let member = leaf || empty || !declared;
                set.push(PathElement::field(key), member, children);
            }
        }
        _ => {}
    }
    (nameless, set)
}

/// Adds to a set the declared fields that lead to its members.
pub(crate) fn with_named_parents(mut set: FieldSet, ty: Ty<'_>) -> FieldSet {
    add_named_parents(&mut set, ty);
    set
}

fn add_named_parents(set: &mut FieldSet, ty: Ty<'_>) {
    for node in set
        .nodes
        .iter_mut()
        .filter(|node| !node.children.is_empty())
    {
        let below = match (&node.element, ty.shape()) {
            (PathElement::Field(name), _) => {
                let (below, declared) = ty.below_declared(name);
                node.member |= declared;
                below
            }
            (PathElement::Key(_), Shape::List { item, .. }) => ty.at(*item),
            _ => Ty { id: None, ..ty },
        };
        add_named_parents(&mut node.children, below);
    }
}
