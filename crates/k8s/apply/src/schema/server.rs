//! What an API server makes of a built-in object: how its Go types keep emptiness, and what it sets where nothing is said.

use serde_json::{Map, Value};

use super::{Field, Quantity, Scalar, Shape, Ty, TypeRef, When};

/// Takes away what a typed object does not keep: nulls, and emptiness that is the same as absence. Quantities take their
/// canonical form.
pub fn drop_empty(value: &mut Value, ty: &TypeRef) {
    drop_at(value, ty.ty());
}

fn drop_at(value: &mut Value, ty: Ty<'_>) {
    match (ty.shape(), value) {
        (Shape::Struct { rest, .. }, Value::Object(map)) => map.retain(|key, value| {
            let Some(field) = ty.declared(key) else {
                if let Some(rest) = rest {
                    drop_at(value, ty.at(*rest));
                }
                return true;
            };
            if value.is_null() {
                // what is free JSON may be null
                return matches!(ty.at(field.ty).shape(), Shape::Any) && !field.kept.pointer;
            }
            drop_at(value, ty.at(field.ty));
            keeps(field, value, ty)
        }),
        (Shape::Map { element, .. }, Value::Object(map)) => {
            let element = ty.at(*element);
            map.retain(|_, value| {
                if value.is_null() {
                    match element.shape() {
                        Shape::Scalar(Scalar::String) => *value = Value::from(""),
                        Shape::Any => {}
                        _ => return false,
                    }
                }
                drop_at(value, element);
                true
            });
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            for value in items {
                if value.is_null() {
                    match ty.at(*item).shape() {
                        Shape::Struct { .. } => *value = Value::Object(Map::new()),
                        Shape::Scalar(Scalar::String) => *value = Value::from(""),
                        _ => {}
                    }
                }
                drop_at(value, ty.at(*item));
            }
        }
        (Shape::Scalar(Scalar::Quantity), value) => canonical(value),
        _ => {}
    }
}

/// Writes a quantity as Kubernetes writes it.
fn canonical(value: &mut Value) {
    let parsed = match &*value {
        Value::String(text) => text.trim().parse::<Quantity>(),
        Value::Number(number) => number.to_string().parse(),
        _ => return,
    };
    if let Ok(quantity) = parsed {
        let text = quantity.to_string();
        if *value != *text {
            *value = Value::String(text);
        }
    }
}

fn keeps(field: &Field, value: &Value, ty: Ty<'_>) -> bool {
    if field.kept.zero == Some(Value::Null) && value.as_array().is_some_and(Vec::is_empty) {
        return false;
    }
    if field.kept.pointer || field.kept.zero.is_some() {
        return true;
    }
    match value {
        Value::String(text) => !text.is_empty() || matches!(ty.at(field.ty).shape(), Shape::Any),
        Value::Number(number) => {
            number.as_f64() != Some(0.0)
                || !matches!(
                    ty.at(field.ty).shape(),
                    Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double)
                )
        }
        Value::Bool(on) => *on || matches!(ty.at(field.ty).shape(), Shape::Any),
        Value::Array(items) => !items.is_empty() || matches!(ty.at(field.ty).shape(), Shape::Any),
        Value::Object(map) => {
            !map.is_empty()
                || !matches!(
                    ty.at(field.ty).shape(),
                    Shape::Map { .. } | Shape::Struct { .. }
                )
        }
        Value::Null => false,
    }
}

/// Sets what the API server sets where nothing is said: `terminationMessagePath`, `replicas`, a probe's period.
///
/// What hangs on more than a sibling field is not in the table: the pull policy by the image's tag, requests by limits.
pub fn set_defaults(value: &mut Value, ty: &TypeRef) {
    set_at(value, ty.ty());
}

pub(crate) fn set_at(value: &mut Value, ty: Ty<'_>) {
    match (ty.shape(), value) {
        (Shape::Struct { fields, rest, .. }, Value::Object(map)) => {
            // a condition looks at what the first round has set
            for conditional in [false, true] {
                for field in fields {
                    let Some(default) = &field.kept.set else {
                        continue;
                    };
                    if field.kept.when.is_some() != conditional {
                        continue;
                    }
                    if let Some(when) = &field.kept.when
                        && !holds(when, map)
                    {
                        continue;
                    }
                    let absent = match map.get(&*field.name) {
                        None => true,
                        Some(value) => {
                            !field.kept.pointer && field.kept.zero.as_ref() == Some(value)
                        }
                    };
                    if absent {
                        map.insert(field.name.to_string(), default.clone());
                    }
                }
            }
            // a struct that is always there is filled in although nobody wrote it
            for field in fields {
                if matches!(field.kept.zero, Some(Value::Object(_)))
                    && !map.contains_key(&*field.name)
                {
                    let mut made = Value::Object(Map::new());
                    set_at(&mut made, ty.at(field.ty));
                    if made.as_object().is_some_and(|made| !made.is_empty()) {
                        map.insert(field.name.to_string(), made);
                    }
                }
            }
            for (key, value) in map {
                match ty.declared(key) {
                    Some(field) => set_at(value, ty.at(field.ty)),
                    None => {
                        if let Some(rest) = rest {
                            set_at(value, ty.at(*rest));
                        }
                    }
                }
            }
        }
        (Shape::Map { element, .. }, Value::Object(map)) => {
            map.values_mut()
                .for_each(|value| set_at(value, ty.at(*element)));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| set_at(value, ty.at(*item)));
        }
        _ => {}
    }
}

fn holds(when: &When, map: &Map<String, Value>) -> bool {
    let text = map
        .get(&*when.field)
        .and_then(Value::as_str)
        .unwrap_or_default();
    when.texts.iter().any(|known| **known == *text) == when.is
}

/// Writes what Kubernetes writes even where it is empty: `status: {}`, `rules: null`.
///
/// With `inner` only inside of lists, maps and optional parts: what stands there belongs to who wrote these. The rest of
/// it was there before anybody wrote anything.
pub fn write_empty(value: &mut Value, ty: &TypeRef, inner: bool) {
    write_at(value, ty.ty(), !inner, inner);
}

fn write_at(value: &mut Value, ty: Ty<'_>, here: bool, inner: bool) {
    match (ty.shape(), value) {
        (Shape::Struct { fields, rest, .. }, Value::Object(map)) => {
            if here {
                for field in fields {
                    if let Some(zero) = &field.kept.zero
                        && !map.contains_key(&*field.name)
                    {
                        map.insert(field.name.to_string(), zero.clone());
                    }
                }
            }
            for (key, value) in map {
                match ty.declared(key) {
                    Some(field) => {
                        let below = here || inner && field.kept.pointer;
                        write_at(value, ty.at(field.ty), below, inner);
                    }
                    None => {
                        if let Some(rest) = rest {
                            write_at(value, ty.at(*rest), here, inner);
                        }
                    }
                }
            }
        }
        (Shape::Map { element, .. }, Value::Object(map)) => {
            map.values_mut()
                .for_each(|value| write_at(value, ty.at(*element), true, inner));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| write_at(value, ty.at(*item), true, inner));
        }
        _ => {}
    }
}
