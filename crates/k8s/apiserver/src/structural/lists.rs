//! Lists that are sets or maps hold each member once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{additional, list_keys, texts};
use crate::FieldError;

/// Finds members that stand twice, anywhere in an object.
pub(crate) fn validate_lists(object: &Value, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(object, schema, "", &mut errors);
    errors
}

fn check(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties");
            for (name, value) in map {
                if let Some(rest) = additional(schema) {
                    check(value, rest, &format!("{path}[{name}]"), errors);
                }
                if let Some(own) = properties.and_then(|all| all.get(name)) {
                    check(value, own, &super::below_name(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => {
                    for index in repeated(list.iter().cloned()) {
                        let at = format!("{path}[{index}]");
                        errors.push(FieldError::duplicate(at, list[index].clone()));
                    }
                }
                Some("map") => check_keys(list, schema, path, errors),
                _ => {}
            }
            if let Some(items) = schema.get("items") {
                for (index, value) in list.iter().enumerate() {
                    check(value, items, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn check_keys(list: &[Value], schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in list.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            errors.push(FieldError::invalid(
                format!("{path}[{index}]"),
                item.clone(),
                "must be an object for an array of list-type map",
            ));
            return;
        }
    }
    let keys = texts(schema.get("x-kubernetes-list-map-keys"));
    let identities: Vec<Value> = list
        .iter()
        .map(|item| Value::Object(list_keys(item, &keys)))
        .collect();
    for index in repeated(identities.iter().cloned()) {
        let at = format!("{path}[{index}]");
        errors.push(FieldError::duplicate(at, identities[index].clone()));
    }
}

/// Where something stands for the second time. What stands oftener is told once.
fn repeated(items: impl Iterator<Item = Value>) -> Vec<usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for (index, item) in items.enumerate() {
        // a float is another thing than an integer, as it is in Go
        let count = seen.entry(json!(item).to_string()).or_default();
        *count += 1;
        if *count == 2 {
            out.push(index);
        }
    }
    out
}
