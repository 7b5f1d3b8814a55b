//! What identifies an item of an associative list.

use serde_json::Value;

use crate::fieldpath::PathElement;
use crate::schema::{Shape, Ty, TypeId};

/// Returns the path element of a list item; `keys` are empty for a set.
pub(crate) fn item_element(
    ty: Ty<'_>,
    item: TypeId,
    keys: &[Box<str>],
    value: &Value,
) -> Result<PathElement, String> {
    if keys.is_empty() {
        return match value {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => {
                Err("not supported: associative list with lists as elements".to_owned())
            }
            Value::Null => Err(
                "associative list without keys has an element that's an explicit null".to_owned(),
            ),
            _ => Ok(PathElement::Value(value.clone())),
        };
    }
    let map = match value {
        Value::Object(map) => map,
        Value::Null => {
            return Err("associative list with keys may not have a null element".to_owned());
        }
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let item = ty.at(item);
    let mut found: Vec<(Box<str>, Value)> = Vec::with_capacity(keys.len());
    for key in keys {
        let value = map.get(&**key).cloned().or_else(|| {
            matches!(item.shape(), Shape::Struct { .. })
                .then(|| item.declared(key)?.default.clone())
                .flatten()
        });
        if let Some(value) = value {
            found.push((key.clone(), value));
        }
    }
    if found.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
        ));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(found.into()))
}
