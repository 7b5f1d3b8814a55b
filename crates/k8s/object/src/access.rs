//! Reading and writing the parts of an object that every kind has.

use serde_json::{Map, Value};

/// An object's metadata as a JSON map.
pub type Meta = Map<String, Value>;

/// Returns `apiVersion`, or an empty text.
pub fn api_version(object: &Value) -> &str {
    object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns `kind`, or an empty text.
pub fn kind(object: &Value) -> &str {
    object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns `metadata`, if it is a map.
pub fn meta(object: &Value) -> Option<&Meta> {
    object.get("metadata")?.as_object()
}

/// Returns `metadata`, made if it is missing; `None` if the object is no map or `metadata` is something else.
pub fn meta_mut(object: &mut Value) -> Option<&mut Meta> {
    object
        .as_object_mut()?
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}

fn meta_str<'a>(object: &'a Value, key: &str) -> &'a str {
    meta(object)
        .and_then(|meta| meta.get(key)?.as_str())
        .unwrap_or_default()
}

/// Returns `metadata.name`, or an empty text.
pub fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

/// Returns `metadata.namespace`, or an empty text.
pub fn namespace(object: &Value) -> &str {
    meta_str(object, "namespace")
}

/// Returns `metadata.uid`, or an empty text.
pub fn uid(object: &Value) -> &str {
    meta_str(object, "uid")
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    meta(object)
        .and_then(|meta| meta.get(field)?.as_object())
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Walks the labels.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    entries(object, "labels")
}

/// Walks the annotations.
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    entries(object, "annotations")
}

/// Returns one label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    meta(object)?.get("labels")?.get(key)?.as_str()
}

/// Returns one annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    meta(object)?.get("annotations")?.get(key)?.as_str()
}

fn set(object: &mut Value, field: &str, key: &str, value: &str) {
    if let Some(meta) = meta_mut(object) {
        let map = meta
            .entry(field)
            .or_insert_with(|| Value::Object(Map::new()));
        if !map.is_object() {
            *map = Value::Object(Map::new());
        }
        if let Some(map) = map.as_object_mut() {
            map.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set(object, "labels", key, value);
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set(object, "annotations", key, value);
}

/// Is this a `v1 List` or a typed list (`…List` with `items`)?
pub fn is_list(object: &Value) -> bool {
    kind(object).ends_with("List") && object.get("items").is_some_and(Value::is_array)
}

/// Takes a list apart; anything else comes back as the one item.
pub fn list_items(object: Value) -> Vec<Value> {
    if !is_list(&object) {
        return vec![object];
    }
    match object {
        Value::Object(mut map) => match map.remove("items") {
            Some(Value::Array(items)) => items.into_iter().flat_map(list_items).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
