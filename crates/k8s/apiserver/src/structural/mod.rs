//! Values held against a structural OpenAPI v3 schema, as custom resources are: unknown fields, nulls, defaults, embedded
//! objects, and what does not fit.

mod embedded;
mod formats;
mod generated;
mod lists;
mod value;

use serde_json::{Map, Value};

pub(crate) use embedded::{coerce, misfit as meta_misfit, validate_embedded};
pub(crate) use formats::is_supported as format_is_supported;
pub(crate) use generated::from_json_schema;
pub(crate) use lists::validate_lists;
pub(crate) use value::{validate, validate_at};

/// What every object has, whatever its schema says.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Is this mark of a schema set?
pub(crate) fn is_set(schema: &Value, mark: &str) -> bool {
    schema.get(mark) == Some(&Value::Bool(true))
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// The schema of the fields that have none of their own.
pub(crate) fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|s| s.is_object())
}

/// Does it say anything of the fields that have no schema of their own, if only that they may be?
fn has_additional(schema: &Value) -> bool {
    schema
        .get("additionalProperties")
        .is_some_and(|value| !value.is_null())
}

fn default_of(schema: &Value) -> Option<&Value> {
    schema.get("default").filter(|value| !value.is_null())
}

fn is_null_in_vain(value: &Value, schema: &Value) -> bool {
    value.is_null() && !is_set(schema, "nullable")
}

/// Fills in the schema's defaults, below values that are there.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                let Some(wanted) = default_of(property) else {
                    continue;
                };
                let missing = map
                    .get(name)
                    .is_none_or(|value| is_null_in_vain(value, property));
                if missing {
                    map.insert(name.clone(), wanted.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(property) = properties.and_then(|all| all.get(name)) {
                    default(value, property);
                } else if let Some(rest) = additional(schema) {
                    if is_null_in_vain(value, rest) {
                        *value = default_of(rest).cloned().unwrap_or_default();
                    }
                    default(value, rest);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for value in list {
                    if is_null_in_vain(value, items) {
                        *value = default_of(items).cloned().unwrap_or_default();
                    }
                    default(value, items);
                }
            }
        }
        _ => {}
    }
}

/// Removes nulls where the schema allows none and has no default in their place.
pub(crate) fn drop_nulls(value: &mut Value, schema: Option<&Value>) {
    match value {
        Value::Object(map) => {
            let below = |name: &str| {
                let schema = schema?;
                property(schema, name).or_else(|| additional(schema))
            };
            map.retain(|name, value| {
                below(name).is_none_or(|schema| {
                    !is_null_in_vain(value, schema) || default_of(schema).is_some()
                })
            });
            for (name, value) in map.iter_mut() {
                drop_nulls(value, below(name));
            }
        }
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.get("items"));
            list.iter_mut().for_each(|value| drop_nulls(value, items));
        }
        _ => {}
    }
}

/// Removes the fields that the schema does not know; returns their paths, sorted.
pub(crate) fn prune(object: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_below(object, Some(schema), "", true, &mut unknown);
    unknown.sort();
    unknown
}

/// Removes the fields of a part that its schema does not know.
pub(crate) fn prune_part(value: &mut Value, schema: &Value, embedded: bool) {
    prune_below(value, Some(schema), "", embedded, &mut Vec::new());
}

fn below_name(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn prune_below(
    value: &mut Value,
    schema: Option<&Value>,
    path: &str,
    root: bool,
    unknown: &mut Vec<String>,
) {
    let open = schema.is_some_and(|schema| is_set(schema, "x-kubernetes-preserve-unknown-fields"));
    match value {
        Value::Object(map) => {
            let embedded = root
                || schema.is_some_and(|schema| is_set(schema, "x-kubernetes-embedded-resource"));
            map.retain(|name, value| {
                if schema.is_some() && embedded && META_FIELDS.contains(&name.as_str()) {
                    return true;
                }
                let here = below_name(path, name);
                if let Some(own) = schema.and_then(|schema| property(schema, name)) {
                    prune_below(value, Some(own), &here, false, unknown);
                } else if let Some(schema) = schema.filter(|schema| has_additional(schema)) {
                    if !open || additional(schema).is_some() {
                        prune_below(value, additional(schema), &here, false, unknown);
                    }
                } else if !open {
                    unknown.push(here);
                    return false;
                }
                true
            });
        }
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.get("items"));
            // what is kept as it comes is kept below as well, where nothing else is said
            if open && items.is_none() {
                return;
            }
            for (index, value) in list.iter_mut().enumerate() {
                prune_below(value, items, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

/// A list of texts.
pub(crate) fn texts(value: Option<&Value>) -> Vec<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The keys of a list that is a map, as they stand in one of its items.
pub(crate) fn list_keys(item: &Value, keys: &[&str]) -> Map<String, Value> {
    keys.iter()
        .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, value: Value, unknown: &[&str], expected: Value) {
        let mut value = value;
        assert_eq!(prune(&mut value, schema), unknown, "{value}");
        drop_nulls(&mut value, Some(schema));
        default(&mut value, schema);
        assert_eq!(value, expected);
    }

    #[test]
    fn objects_are_made_to_fit() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "n": {"type": "string", "nullable": true},
            "d": {"type": "integer", "default": 7},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"k": {"type": "string"}}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "string", "default": "z"}}}},
            "any": {"type": "object", "additionalProperties": true},
            "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }}}});
        check(
            &schema,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "other": 1, "spec": {
                "a": null, "n": null, "d": null, "b": 1,
                "list": [{"x": "1", "y": 2}],
                "free": {"p": {"q": 1}, "known": {"k": "1", "l": 2}},
                "map": {"m": {"u": 1}}, "any": {"w": {"v": 1}},
                "inner": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "data": 1, "spec": {}},
            }}),
            &[
                "other",
                "spec.any.w.v",
                "spec.b",
                "spec.free.known.l",
                "spec.inner.data",
                "spec.list[0].y",
                "spec.map.m.u",
            ],
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "spec": {
                "n": null, "d": 7, "list": [{"x": "1"}],
                "free": {"p": {"q": 1}, "known": {"k": "1"}},
                "map": {"m": {"y": "z"}}, "any": {"w": {}},
                "inner": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "spec": {}},
            }}),
        );
    }
}
