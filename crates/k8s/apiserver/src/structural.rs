//! Values held against an OpenAPI v3 schema: defaults, types, enums, required fields, bounds.
//!
//! Not here: rules in CEL, patterns and formats.

use serde_json::{Map, Value, json};

use crate::{FieldError, FieldProblem};

/// Fills in the schema's defaults, below values that are there.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    if let Some(wanted) = property.get("default") {
                        let missing = match map.get(name) {
                            None => true,
                            Some(Value::Null) => property["nullable"] != json!(true),
                            Some(_) => false,
                        };
                        if missing {
                            map.insert(name.clone(), wanted.clone());
                        }
                    }
                    if let Some(value) = map.get_mut(name) {
                        default(value, property);
                    }
                }
            }
            if let Some(rest) = schema.get("additionalProperties").filter(|s| s.is_object()) {
                for (name, value) in map.iter_mut() {
                    if schema["properties"].get(name).is_none() {
                        default(value, rest);
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|value| default(value, items));
            }
        }
        _ => {}
    }
}

/// Checks an object; `apiVersion`, `kind` and `metadata` are the server's own business. A part that is as it was
/// before is not checked again.
pub(crate) fn validate(new: &Value, old: Option<&Value>, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let empty = Map::new();
    let map = new.as_object().unwrap_or(&empty);
    for (name, value) in map {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(property) = schema["properties"].get(name) {
            let old = old.and_then(|old| old.get(name));
            check(value, old, property, name, &mut errors);
        }
    }
    required(map, schema, "", &mut errors);
    errors
}

fn required(map: &Map<String, Value>, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in schema["required"].as_array().into_iter().flatten() {
        let Some(name) = name.as_str() else { continue };
        if !map.contains_key(name) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(
    value: &Value,
    old: Option<&Value>,
    schema: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) || (value.is_null() && schema["nullable"] == json!(true)) {
        return;
    }
    let found = type_name(value);
    let int_or_string = schema["x-kubernetes-int-or-string"] == json!(true);
    if let Some(wanted) = schema["type"].as_str().filter(|wanted| !wanted.is_empty()) {
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        let fits = wanted == found
            || (wanted == "number" && found == "integer")
            || (wanted == "integer" && found == "number" && whole);
        if !fits {
            errors.push(FieldError::new(
                path,
                FieldProblem::TypeInvalid,
                Some(json!(found)),
                format!("{path} in body must be of type {wanted}: {:?}", found),
            ));
            return;
        }
    } else if int_or_string && !matches!(found, "integer" | "string") {
        errors.push(FieldError::new(
            path,
            FieldProblem::TypeInvalid,
            Some(json!(found)),
            format!("{path} in body must be of type integer,string: {found:?}"),
        ));
        return;
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<String> = known.iter().map(Value::to_string).collect();
        errors.push(FieldError::new(
            path,
            FieldProblem::NotSupported,
            Some(value.clone()),
            format!("supported values: {}", known.join(", ")),
        ));
    }
    match value {
        Value::Number(number) => {
            bounds(number.as_f64().unwrap_or(0.0), value, schema, path, errors)
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if schema["maxLength"].as_u64().is_some_and(|max| length > max) {
                errors.push(FieldError::new(
                    path,
                    FieldProblem::TooLong,
                    None,
                    format!("may not be more than {} bytes", schema["maxLength"]),
                ));
            }
            if schema["minLength"].as_u64().is_some_and(|min| length < min) {
                errors.push(FieldError::invalid(
                    path,
                    value.clone(),
                    format!(
                        "{path} in body should be at least {} chars long",
                        schema["minLength"]
                    ),
                ));
            }
        }
        Value::Array(list) => {
            let length = list.len() as u64;
            if schema["maxItems"].as_u64().is_some_and(|max| length > max) {
                errors.push(FieldError::new(
                    path,
                    FieldProblem::TooMany,
                    Some(json!(length)),
                    format!("must have at most {} items", schema["maxItems"]),
                ));
            }
            if schema["minItems"].as_u64().is_some_and(|min| length < min) {
                errors.push(FieldError::invalid(
                    path,
                    json!(length),
                    format!(
                        "{path} in body should have at least {} items",
                        schema["minItems"]
                    ),
                ));
            }
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    let old = old.and_then(|old| old.get(index));
                    check(item, old, items, &format!("{path}[{index}]"), errors);
                }
            }
            unique(list, schema, path, errors);
        }
        Value::Object(map) => {
            required(map, schema, path, errors);
            for (name, value) in map {
                let old = old.and_then(|old| old.get(name));
                if let Some(property) = schema["properties"].get(name) {
                    check(value, old, property, &join(path, name), errors);
                } else if let Some(rest) =
                    schema.get("additionalProperties").filter(|s| s.is_object())
                {
                    check(value, old, rest, &join(path, name), errors);
                }
            }
        }
        _ => {}
    }
}

fn bounds(number: f64, value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |why: String| {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            format!("{path} in body should be {why}"),
        ));
    };
    if let Some(min) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == json!(true);
        if number < min || (exclusive && number <= min) {
            let equal = if exclusive { "" } else { " or equal to" };
            refuse(format!("greater than{equal} {}", schema["minimum"]));
        }
    }
    if let Some(max) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == json!(true);
        if number > max || (exclusive && number >= max) {
            let equal = if exclusive { "" } else { " or equal to" };
            refuse(format!("less than{equal} {}", schema["maximum"]));
        }
    }
}

/// Lists that are sets or maps hold each member once.
fn unique(list: &[Value], schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let keys: Vec<&str> = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Vec::new(),
        Some("map") => schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
        _ => return,
    };
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        let identity = if keys.is_empty() {
            item.clone()
        } else {
            keys.iter()
                .map(|key| {
                    (
                        (*key).to_owned(),
                        item.get(*key).cloned().unwrap_or_default(),
                    )
                })
                .collect::<Map<String, Value>>()
                .into()
        };
        if !seen.insert(identity.to_string()) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), identity));
        }
    }
}

/// Turns a JSON schema as generators write it into the structural form: references are put in place, `null` becomes
/// `nullable`, alternatives of constants become an enum, other alternatives are left open.
pub(crate) fn from_json_schema(schema: &Value) -> Value {
    let definitions = schema
        .get("$defs")
        .or_else(|| schema.get("definitions"))
        .or_else(|| schema.pointer("/components/schemas"))
        .cloned()
        .unwrap_or_default();
    flatten(schema, &definitions, 0)
}

fn flatten(schema: &Value, definitions: &Value, depth: usize) -> Value {
    let open = || json!({"x-kubernetes-preserve-unknown-fields": true});
    // a type that holds itself is left open where it would never end
    if depth > 24 {
        return open();
    }
    let Some(map) = schema.as_object() else {
        return open();
    };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        let mut out = flatten(&definitions[name], definitions, depth + 1);
        if let (Some(out), Some(text)) = (out.as_object_mut(), map.get("description")) {
            out.insert("description".to_owned(), text.clone());
        }
        return with_default(out, map);
    }
    if let Some([one]) = map
        .get("allOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        let mut out = flatten(one, definitions, depth + 1);
        if let (Some(out), Some(text)) = (out.as_object_mut(), map.get("description")) {
            out.insert("description".to_owned(), text.clone());
        }
        return with_default(out, map);
    }
    let mut out = Map::new();
    if let Some(choices) = map
        .get("anyOf")
        .or_else(|| map.get("oneOf"))
        .and_then(Value::as_array)
    {
        out = alternatives(choices, definitions, depth);
    }
    for (key, value) in map {
        match key.as_str() {
            "$schema" | "$defs" | "definitions" | "title" | "anyOf" | "oneOf" | "components"
            | "$id" | "$comment" | "examples" => {}
            "type" => match value {
                Value::Array(types) => {
                    let real: Vec<&Value> = types.iter().filter(|ty| *ty != "null").collect();
                    if real.len() < types.len() {
                        out.insert("nullable".to_owned(), json!(true));
                    }
                    match real.as_slice() {
                        [one] => {
                            out.insert(key.clone(), (*one).clone());
                        }
                        _ => {
                            out.insert(
                                "x-kubernetes-preserve-unknown-fields".to_owned(),
                                json!(true),
                            );
                        }
                    }
                }
                value => {
                    out.insert(key.clone(), value.clone());
                }
            },
            "const" => {
                out.insert("enum".to_owned(), json!([value]));
            }
            "properties" => {
                let properties: Map<String, Value> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), flatten(value, definitions, depth + 1)))
                    .collect();
                out.insert(key.clone(), Value::Object(properties));
            }
            "items" => {
                out.insert(key.clone(), flatten(value, definitions, depth + 1));
            }
            "additionalProperties" => match value {
                Value::Bool(true) => {
                    out.insert(
                        "x-kubernetes-preserve-unknown-fields".to_owned(),
                        json!(true),
                    );
                }
                Value::Bool(false) => {}
                value => {
                    out.insert(key.clone(), flatten(value, definitions, depth + 1));
                }
            },
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    if out
        .keys()
        .all(|key| key == "description" || key == "default")
    {
        out.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            json!(true),
        );
    }
    Value::Object(out)
}

fn with_default(mut out: Value, map: &Map<String, Value>) -> Value {
    if let (Some(out), Some(value)) = (out.as_object_mut(), map.get("default")) {
        out.insert("default".to_owned(), value.clone());
    }
    out
}

fn alternatives(choices: &[Value], definitions: &Value, depth: usize) -> Map<String, Value> {
    let nullable = choices.iter().any(|choice| choice["type"] == "null");
    let real: Vec<Value> = choices
        .iter()
        .filter(|choice| choice["type"] != "null")
        .map(|choice| flatten(choice, definitions, depth + 1))
        .collect();
    let mut out = Map::new();
    let enums: Option<Vec<Value>> = real
        .iter()
        .map(|choice| choice.get("enum")?.as_array().cloned())
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.concat());
    let types: std::collections::BTreeSet<&str> = real
        .iter()
        .filter_map(|choice| choice["type"].as_str())
        .collect();
    match (real.as_slice(), enums) {
        ([one], _) => out = one.as_object().cloned().unwrap_or_default(),
        (_, Some(values)) if !real.is_empty() => {
            out.insert("type".to_owned(), real[0]["type"].clone());
            out.insert("enum".to_owned(), Value::Array(values));
        }
        _ if types.iter().copied().eq(["integer", "string"]) => {
            out.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
        }
        _ if types.len() == 1 && types.contains("object") => {
            // one of several shapes: every shape's fields may stand, none must
            let mut properties = Map::new();
            let mut closed = true;
            for choice in &real {
                closed &= choice.get("properties").is_some();
                for (name, property) in choice["properties"].as_object().into_iter().flatten() {
                    properties
                        .entry(name.clone())
                        .and_modify(|known| {
                            if known != property {
                                *known = json!({"x-kubernetes-preserve-unknown-fields": true});
                            }
                        })
                        .or_insert_with(|| property.clone());
                }
            }
            out.insert("type".to_owned(), json!("object"));
            if closed {
                out.insert("properties".to_owned(), Value::Object(properties));
            } else {
                out.insert(
                    "x-kubernetes-preserve-unknown-fields".to_owned(),
                    json!(true),
                );
            }
        }
        _ => {
            out.insert(
                "x-kubernetes-preserve-unknown-fields".to_owned(),
                json!(true),
            );
        }
    }
    if nullable {
        out.insert("nullable".to_owned(), json!(true));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, expected: &[&str]) {
        let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {
        "type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 5},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "port": {"x-kubernetes-int-or-string": true},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "x-kubernetes-list-type": "set"},
            "any": {"type": "object", "additionalProperties": {"type": "number"}},
        }}}});
        let mut value = value;
        default(&mut value, &schema);
        let found: Vec<String> = validate(&value, None, &schema)
            .iter()
            .map(FieldError::to_string)
            .collect();
        assert_eq!(found, expected, "{value}");
        assert!(
            validate(&value, Some(&value), &schema)
                .iter()
                .all(|e| e.path == "spec")
        );
    }

    #[test]
    fn finds_what_does_not_fit() {
        check(
            json!({"spec": {"size": 2, "port": "http", "any": {"a": 1}}}),
            &[],
        );
        check(json!({}), &["spec: Required value"]);
        check(json!({"spec": {}}), &["spec.size: Required value"]);
        check(
            json!({"spec": {"size": "2"}}),
            &[
                r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
            ],
        );
        check(
            json!({"spec": {"size": 9, "color": "green"}}),
            &[
                r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
                "spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5",
            ],
        );
        check(
            json!({"spec": {"size": 1, "tags": ["a", "a"], "port": 1.5}}),
            &[
                r#"spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number""#,
                r#"spec.tags[1]: Duplicate value: "a""#,
            ],
        );
    }

    #[test]
    fn generated_schemas_become_structural() {
        let schema = json!({"$schema": "x", "title": "T", "type": "object",
            "properties": {
                "a": {"$ref": "#/$defs/A", "description": "the a"},
                "b": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]},
                "c": {"oneOf": [{"const": "x", "type": "string"}, {"const": "y", "type": "string"}]},
                "d": {"type": ["integer", "null"]},
                "e": true,
            },
            "$defs": {"A": {"type": "object", "properties": {"n": {"type": "string"}}, "additionalProperties": false}}});
        assert_eq!(
            from_json_schema(&schema),
            json!({"type": "object", "properties": {
                "a": {"type": "object", "properties": {"n": {"type": "string"}}, "description": "the a"},
                "b": {"type": "object", "properties": {"n": {"type": "string"}}, "nullable": true},
                "c": {"type": "string", "enum": ["x", "y"]},
                "d": {"type": "integer", "nullable": true},
                "e": {"x-kubernetes-preserve-unknown-fields": true},
            }})
        );
    }
}
