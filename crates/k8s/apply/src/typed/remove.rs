//! Fields taken out of a value.

use serde_json::{Map, Value};

use super::{Walk, item_element, walk};
use crate::fieldpath::FieldSet;
use crate::schema::Ty;

/// What stays where something lost all it had.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Emptied {
    /// Null, which counts as a field that is set. What is kept is worked out with this.
    Null,
    /// An empty list or map: such a place is only reached when somebody owns it for itself. Kubernetes stores null here,
    /// which its structs then read as absent, so that the next apply changes the object again.
    Hollow,
}

impl Emptied {
    fn or(self, hollow: Value) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Hollow => hollow,
        }
    }
}

/// Takes fields out of an object.
pub(crate) fn remove(value: Value, fields: &FieldSet, ty: Ty<'_>, emptied: Emptied) -> Value {
    if fields.is_empty() {
        return value;
    }
    match (walk(ty, &value), value) {
        (Walk::List { item, keys }, Value::Array(items)) => {
            let left: Vec<Value> = items
                .into_iter()
                .filter_map(|value| {
                    let node = item_element(ty, item, keys, &value)
                        .ok()
                        .and_then(|element| fields.get(&element));
                    match node {
                        Some(node) if node.member => None,
                        Some(node) => Some(remove(value, &node.children, ty.at(item), emptied)),
                        None => Some(value),
                    }
                })
                .collect();
            if left.is_empty() {
                emptied.or(Value::Array(left))
            } else {
                Value::Array(left)
            }
        }
        (Walk::Map, Value::Object(map)) => {
            let left: Map<String, Value> = map
                .into_iter()
                .filter_map(|(key, value)| match fields.get_field(&key) {
                    Some(node) if node.member => None,
                    Some(node) => {
                        let value = remove(value, &node.children, ty.below(&key), emptied);
                        Some((key, value))
                    }
                    None => Some((key, value)),
                })
                .collect();
            if left.is_empty() {
                emptied.or(Value::Object(left))
            } else {
                Value::Object(left)
            }
        }
        // an atomic list or map cannot lose a part of itself
        (Walk::Leaf, value @ (Value::Array(_) | Value::Object(_))) => emptied.or(value),
        (_, value) => value,
    }
}
