//! Is a schema structural: does it say of every value what it is, before it restricts it?

use serde_json::{Map, Value, json};

use crate::FieldError;
use crate::structural::is_set;

/// Where in a schema a part stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The type that a schema names.
pub(super) fn kind(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or("")
}

/// Its properties.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// The schemas of a junctor.
pub(super) fn parts<'a>(schema: &'a Value, junctor: &str) -> &'a [Value] {
    schema
        .get(junctor)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(schema: &'a Value, field: &str) -> &'a str {
    schema.get(field).and_then(Value::as_str).unwrap_or("")
}

fn is_there(schema: &Value, field: &str) -> bool {
    schema.get(field).is_some_and(|value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    })
}

/// What no structural schema has at all, wherever it stands.
pub(super) fn unsupported(schema: &Value) -> Option<String> {
    const FIELDS: [&str; 7] = [
        "id",
        "$schema",
        "$ref",
        "patternProperties",
        "dependencies",
        "additionalItems",
        "definitions",
    ];
    for field in FIELDS {
        if is_there(schema, field) {
            let name = if field == "$schema" { "schema" } else { field };
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
    }
    if schema.get("items").is_some_and(Value::is_array) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
        return Some(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
                .to_owned(),
        );
    }
    below(schema).find_map(unsupported)
}

/// Every schema directly below one.
pub(super) fn below(schema: &Value) -> impl Iterator<Item = &Value> {
    let one = ["not", "items", "additionalProperties"]
        .into_iter()
        .filter_map(|field| schema.get(field))
        .filter(|value| value.is_object());
    let many = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .flat_map(|junctor| parts(schema, junctor));
    one.chain(many)
        .chain(properties(schema).map(|(_, value)| value))
}

/// Does this hold for a schema, or for any below it?
pub(super) fn any(schema: &Value, holds: &dyn Fn(&Value) -> bool) -> bool {
    holds(schema) || below(schema).any(|inner| any(inner, holds))
}

/// Finds where a schema is not structural.
pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, &mut errors);
    junctors(schema, schema, path, path, &mut errors);
    errors.sort_by_key(FieldError::to_string);
    errors
}

fn either() -> Value {
    json!([{"type": "integer"}, {"type": "string"}])
}

fn invariants(schema: &Value, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    if schema.is_null() {
        return;
    }
    let own = kind(schema);
    let items = schema.get("items").filter(|items| items.is_object());
    if own == "array" && items.is_none() {
        let at = format!("{path}.items");
        errors.push(FieldError::required(at, "must be specified"));
    }
    if let Some(items) = items {
        invariants(items, Level::Item, &format!("{path}.items"), errors);
    }
    for (name, inner) in properties(schema) {
        let at = format!("{path}.properties[{name}]");
        invariants(inner, Level::Field, &at, errors);
    }
    let rest = schema
        .get("additionalProperties")
        .filter(|rest| !rest.is_null());
    if let Some(rest) = rest {
        let at = format!("{path}.additionalProperties");
        if level == Level::Root {
            let why = "must not be used at the root";
            errors.push(FieldError::forbidden(at.clone(), why));
        }
        if rest.is_object() {
            invariants(rest, Level::Field, &at, errors);
        }
    }
    let (int_or_string, open, embedded) = (
        is_set(schema, "x-kubernetes-int-or-string"),
        is_set(schema, "x-kubernetes-preserve-unknown-fields"),
        is_set(schema, "x-kubernetes-embedded-resource"),
    );
    for (mark, set) in [
        ("x-kubernetes-preserve-unknown-fields", open),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if int_or_string && set {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(
                format!("{path}.{mark}"),
                json!(true),
                why,
            ));
        }
    }
    let skip_any = schema.get("anyOf") == Some(&either());
    let skip_first = parts(schema, "allOf")
        .first()
        .is_some_and(|first| first.get("anyOf") == Some(&either()));
    validation(schema, skip_any, skip_first, path, errors);
    let at = format!("{path}.type");
    if embedded && own != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if own.is_empty() {
            FieldError::required(at, why)
        } else {
            FieldError::invalid(at, json!(own), why)
        });
    } else if own.is_empty() && !int_or_string && !open {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at, why));
    }
    if embedded && rest.is_some() {
        errors.push(FieldError::forbidden(
            format!("{path}.additionalProperties"),
            "must not be used if x-kubernetes-embedded-resource is set",
        ));
    }
    if level == Level::Root && !own.is_empty() && own != "object" {
        let at = format!("{path}.type");
        errors.push(FieldError::invalid(
            at,
            json!(own),
            "must be object at the root",
        ));
    }
    let whole = level == Level::Root || embedded;
    let field = |name: &str| schema.get("properties").and_then(|all| all.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(inner) = field(name).filter(|inner| whole && kind(inner) != "string") {
            errors.push(FieldError::invalid(
                format!("{path}.properties[{name}].type"),
                json!(kind(inner)),
                "must be string",
            ));
        }
    }
    if let Some(meta) = field("metadata") {
        let at = format!("{path}.properties[metadata]");
        metadata(meta, whole, level, &at, errors);
    }
    if embedded && !open && properties(schema).next().is_none() {
        errors.push(FieldError::required(
            format!("{path}.properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
}

fn metadata(meta: &Value, whole: bool, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    if whole && kind(meta) != "object" {
        let at = format!("{path}.type");
        errors.push(FieldError::invalid(at, json!(kind(meta)), "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let names_only = properties(meta).all(|(name, _)| name == "name" || name == "generateName");
    let others = meta
        .as_object()
        .into_iter()
        .flatten()
        .any(|(field, value)| {
            !matches!(field.as_str(), "type" | "default" | "properties")
                && is_there(meta, field)
                && value != &json!(false)
        });
    if others || !names_only {
        errors.push(FieldError::forbidden(
            path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

/// Checks what restricts values.
fn validation(
    schema: &Value,
    skip_any: bool,
    skip_first: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        if junctor == "anyOf" && skip_any {
            continue;
        }
        for (index, part) in parts(schema, junctor).iter().enumerate() {
            let skip = junctor == "allOf" && skip_first && index == 0;
            nested(part, skip, &format!("{path}.{junctor}[{index}]"), errors);
        }
    }
    if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
        nested(not, false, &format!("{path}.not"), errors);
    }
    let pattern = text(schema, "pattern");
    if let Err(error) = base_regexp::compile(pattern.as_bytes()) {
        errors.push(FieldError::invalid(
            format!("{path}.pattern"),
            json!(pattern),
            format!("must be a valid regular expression, but isn't: {error}"),
        ));
    }
}

/// Checks what restricts values below a junctor: it may not say what they are.
fn nested(schema: &Value, skip_any: bool, path: &str, errors: &mut Vec<FieldError>) {
    validation(schema, skip_any, false, path, errors);
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        nested(items, false, &format!("{path}.items"), errors);
    }
    for (name, inner) in properties(schema) {
        let at = format!("{path}.properties[{name}]");
        nested(inner, false, &at, errors);
    }
    let mut forbid = |field: &str, state: &str| {
        let why = format!("must be {state} to be structural");
        errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
    };
    let value = |field: &str| schema.get(field).filter(|value| !value.is_null());
    if !kind(schema).is_empty() {
        forbid("type", "empty");
    }
    if value("additionalProperties").is_some_and(|rest| rest != &json!(false)) {
        forbid("additionalProperties", "undefined");
    }
    if value("default").is_some() {
        forbid("default", "undefined");
    }
    for field in ["title", "description"] {
        if !text(schema, field).is_empty() {
            forbid(field, "empty");
        }
    }
    for field in [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if is_set(schema, field) {
            forbid(field, "false");
        }
    }
    for field in ["x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if value(field).is_some() {
            forbid(field, "undefined");
        }
    }
    for field in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
        if is_there(schema, field) {
            forbid(field, "empty");
        }
    }
    let meta = schema.get("properties").and_then(|all| all.get("metadata"));
    if meta.is_some() {
        errors.push(FieldError::forbidden(
            format!("{path}.properties[metadata]"),
            "must not be specified in a nested context",
        ));
    }
}

/// What is restricted below a junctor must be there outside of it.
fn junctors(rules: &Value, schema: &Value, path: &str, from: &str, errors: &mut Vec<FieldError>) {
    if let Some(not) = rules.get("not").filter(|not| not.is_object()) {
        counterpart(not, Some(schema), path, &format!("{from}.not"), errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, part) in parts(rules, junctor).iter().enumerate() {
            let from = format!("{from}.{junctor}[{index}]");
            counterpart(part, Some(schema), path, &from, errors);
        }
    }
}

fn counterpart(
    rules: &Value,
    schema: Option<&Value>,
    path: &str,
    from: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(schema) = schema else {
        let why = format!("because it is defined in {from}");
        errors.push(FieldError::required(path, why));
        return;
    };
    junctors(rules, schema, path, from, errors);
    if let Some(items) = rules.get("items").filter(|items| items.is_object()) {
        let own = schema.get("items").filter(|items| items.is_object());
        let (path, from) = (format!("{path}.items"), format!("{from}.items"));
        counterpart(items, own, &path, &from, errors);
    }
    let empty = Map::new();
    let own = schema.get("properties").and_then(Value::as_object);
    let own = own.unwrap_or(&empty);
    for (name, inner) in properties(rules) {
        let path = format!("{path}.properties[{name}]");
        let from = format!("{from}.properties[{name}]");
        counterpart(inner, own.get(name), &path, &from, errors);
    }
}
