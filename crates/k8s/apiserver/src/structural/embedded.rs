//! Whole objects inside of others (`x-kubernetes-embedded-resource`): their type and metadata are as strict as outside.

use serde_json::{Map, Value, json};

use super::{additional, below_name, is_set, property};
use crate::registry::checks;
use crate::{FieldError, NameRule, ResourceDef};

/// Checks the types in the metadata of embedded objects, and drops what metadata does not know; returns the paths of that.
/// The root is one only if `root` says so.
pub(crate) fn coerce(
    object: &mut Value,
    schema: &Value,
    root: bool,
) -> Result<Vec<String>, FieldError> {
    let mut unknown = Vec::new();
    coerce_below(object, Some(schema), "", root, &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn coerce_below(
    value: &mut Value,
    schema: Option<&Value>,
    path: &str,
    root: bool,
    unknown: &mut Vec<String>,
) -> Result<(), FieldError> {
    let Some(schema) = schema else { return Ok(()) };
    match value {
        Value::Object(map) => {
            if root || is_set(schema, "x-kubernetes-embedded-resource") {
                coerce_object(map, path, unknown)?;
            }
            for (name, value) in map {
                if let Some(own) = property(schema, name) {
                    coerce_below(value, Some(own), &below_name(path, name), false, unknown)?;
                } else if let Some(rest) = additional(schema) {
                    coerce_below(
                        value,
                        Some(rest),
                        &format!("{path}[{name}]"),
                        false,
                        unknown,
                    )?;
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter_mut().enumerate() {
                let at = format!("{path}[{index}]");
                coerce_below(value, schema.get("items"), &at, false, unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn coerce_object(
    map: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), FieldError> {
    for name in ["apiVersion", "kind"] {
        if let Some(value) = map.get(name).filter(|value| !value.is_string()) {
            let at = below_name(path, name);
            return Err(FieldError::invalid(at, value.clone(), "must be a string"));
        }
    }
    let Some(meta) = map.get_mut("metadata") else {
        return Ok(());
    };
    let at = below_name(path, "metadata");
    if let Some(problem) = misfit(meta) {
        return Err(FieldError::invalid(at, meta.clone(), problem));
    }
    if meta.is_null() {
        *meta = json!({});
        return Ok(());
    }
    for field in k8s_apply::schema::unknown_fields(meta, &meta_type()) {
        unknown.push(format!("{at}.{field}"));
    }
    k8s_apply::schema::prune(meta, &meta_type());
    // what is empty is not written
    if let Some(meta) = meta.as_object_mut() {
        meta.retain(|_, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        });
    }
    Ok(())
}

fn meta_type() -> k8s_apply::schema::TypeRef {
    k8s_apply::schema::Schemas::builtin()
        .named("meta.v1.ObjectMeta")
        .unwrap_or_else(k8s_apply::schema::TypeRef::deduced)
}

/// What of metadata has another type than it should.
pub(crate) fn misfit(meta: &Value) -> Option<String> {
    if meta.is_null() || meta.is_object() {
        return k8s_apply::schema::decode_problem(meta, &meta_type());
    }
    let found = match meta {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        _ => "array",
    };
    Some(format!(
        "json: cannot unmarshal {found} into Go value of type v1.ObjectMeta"
    ))
}

/// Checks embedded objects; the root is one only if `root` says so.
pub(crate) fn validate_embedded(object: &Value, schema: &Value, root: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_below(object, Some(schema), "", root, &mut errors);
    errors
}

fn validate_below(
    value: &Value,
    schema: Option<&Value>,
    path: &str,
    root: bool,
    errors: &mut Vec<FieldError>,
) {
    let Some(schema) = schema else { return };
    match value {
        Value::Object(map) => {
            if root || is_set(schema, "x-kubernetes-embedded-resource") {
                validate_object(map, path, errors);
            }
            for (name, value) in map {
                if let Some(own) = property(schema, name) {
                    validate_below(value, Some(own), &below_name(path, name), false, errors);
                } else if let Some(rest) = additional(schema) {
                    let at = format!("{path}[{name}]");
                    validate_below(value, Some(rest), &at, false, errors);
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                let at = format!("{path}[{index}]");
                validate_below(value, schema.get("items"), &at, false, errors);
            }
        }
        _ => {}
    }
}

fn validate_object(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let at = below_name(path, name);
        match map.get(name) {
            None => errors.push(FieldError::required(at, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(at, json!(text), "must not be empty"));
            }
            Some(Value::String(text)) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let why = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(at, json!(text), why));
                }
            }
            Some(Value::String(text)) => {
                let problems = checks::name_problems(NameRule::Label1035, &text.to_lowercase());
                if !problems.is_empty() {
                    let problem = problems.join(",");
                    let why = format!("may have mixed case, but should otherwise match: {problem}");
                    errors.push(FieldError::invalid(at, json!(text), why));
                }
            }
            Some(other) => errors.push(FieldError::invalid(at, other.clone(), "must be a string")),
        }
    }
    let Some(meta) = map.get("metadata") else {
        return;
    };
    let at = below_name(path, "metadata");
    if let Some(problem) = misfit(meta) {
        errors.push(FieldError::invalid(at, meta.clone(), problem));
        return;
    }
    let mut def = ResourceDef::new("", "v1", "", "", true);
    def.names = NameRule::PathSegment;
    let mut meta = meta.clone();
    if let Some(meta) = meta.as_object_mut() {
        let named = meta.get("name").and_then(Value::as_str);
        if named.is_none_or(str::is_empty) {
            meta.insert("name".to_owned(), json!("fakename"));
        }
    }
    for mut error in checks::metadata(&def, &json!({"metadata": meta}), None) {
        if let Some(rest) = error.path.strip_prefix("metadata") {
            error.path = format!("{at}{rest}");
        }
        errors.push(error);
    }
}
