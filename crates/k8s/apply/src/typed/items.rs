//! What identifies an item of an associative list.

use std::cmp::Ordering;

use serde_json::Value;

use crate::fieldpath::{PathElement, compare_values};
use crate::schema::{Ty, TypeId};

/// What identifies an item, borrowed: its value in a set, or those of its keys.
///
/// Matching items is most of the work, so it does without path elements of its own.
#[derive(Debug, Clone)]
pub(crate) enum Identity<'a> {
    One(&'a Value),
    Keys(Vec<Option<&'a Value>>),
}

impl Ord for Identity<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::One(a), Self::One(b)) => compare_values(a, b),
            (Self::Keys(a), Self::Keys(b)) => {
                for (a, b) in a.iter().zip(b) {
                    let order = match (a, b) {
                        (Some(a), Some(b)) => compare_values(a, b),
                        (a, b) => a.is_some().cmp(&b.is_some()),
                    };
                    if order != Ordering::Equal {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            (Self::One(_), Self::Keys(_)) => Ordering::Less,
            (Self::Keys(_), Self::One(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Identity<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Identity<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Identity<'_> {}

/// Returns what identifies a list item, if anything does; `keys` are empty for a set.
pub(crate) fn identity<'a>(
    ty: Ty<'a>,
    item: TypeId,
    keys: &[Box<str>],
    value: &'a Value,
) -> Option<Identity<'a>> {
    match keys {
        [] => matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
            .then_some(Identity::One(value)),
        [key] => key_value(ty.at(item), value, key).map(Identity::One),
        keys => {
            let item = ty.at(item);
            let values: Vec<Option<&Value>> =
                keys.iter().map(|key| key_value(item, value, key)).collect();
            values
                .iter()
                .any(Option::is_some)
                .then_some(Identity::Keys(values))
        }
    }
}

/// The value of a key field of an item, or its default.
fn key_value<'a>(item: Ty<'a>, value: &'a Value, key: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    map.get(key)
        .or_else(|| item.declared(key).and_then(|field| field.default.as_ref()))
}

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
    match value {
        Value::Object(_) => {}
        Value::Null => {
            return Err("associative list with keys may not have a null element".to_owned());
        }
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    }
    let item = ty.at(item);
    let mut found: Vec<(Box<str>, Value)> = keys
        .iter()
        .filter_map(|key| Some((key.clone(), key_value(item, value, key)?.clone())))
        .collect();
    if found.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
        ));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(found.into()))
}
