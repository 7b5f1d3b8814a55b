//! Fields taken out of a value.

use serde_json::{Map, Value};

use super::{Walk, item_element, walk};
use crate::fieldpath::FieldSet;
use crate::schema::Ty;

/// Takes fields out of an object; what loses all it had becomes null.
pub(crate) fn remove(value: Value, fields: &FieldSet, ty: Ty<'_>) -> Value {
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
                        Some(node) => Some(remove(value, &node.children, ty.at(item))),
                        None => Some(value),
                    }
                })
                .collect();
            if left.is_empty() {
                Value::Null
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
                        let value = remove(value, &node.children, ty.below(&key));
                        Some((key, value))
                    }
                    None => Some((key, value)),
                })
                .collect();
            if left.is_empty() {
                Value::Null
            } else {
                Value::Object(left)
            }
        }
        // an atomic list or map cannot lose a part of itself
        (Walk::Leaf, Value::Array(_) | Value::Object(_)) => Value::Null,
        (_, value) => value,
    }
}
