//! What does not fit a schema, in the words of Kubernetes' own validator.
//!
//! An update is let off what it did not change: where a part that can be told from its siblings is as it was, its errors are
//! dropped. Items of lists can be told apart by their keys only.

mod alternatives;
mod numbers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use self::alternatives::check_junctors;
use self::numbers::check_number;
use super::{additional, formats, is_set, list_keys, texts};
use crate::{FieldError, FieldProblem};

/// Checks an object; `apiVersion` and `kind` are never let off.
pub(crate) fn validate(new: &Value, old: Option<&Value>, schema: &Value) -> Vec<FieldError> {
    ratcheted(new, old, schema, "").finish("")
}

/// Checks a part of an object on its own; `at` is where it stands.
pub(crate) fn validate_at(
    new: &Value,
    old: Option<&Value>,
    schema: &Value,
    at: &str,
) -> Vec<FieldError> {
    ratcheted(new, old, schema, "").finish(at)
}

/// What was found, and how much fitted: alternatives are told apart by it.
#[derive(Default)]
struct Found {
    // each with the text by which it is told from others
    errors: Vec<(String, Error)>,
    fits: usize,
}

enum Error {
    /// About a field, with a path below the root.
    Field(FieldError),
    /// About none.
    Plain,
}

impl Found {
    fn add(&mut self, text: String, error: Error) {
        if self.errors.iter().all(|(known, _)| *known != text) {
            self.errors.push((text, error));
        }
    }

    fn field(&mut self, path: &str, problem: FieldProblem, value: Option<Value>, text: String) {
        let error = FieldError::new(path, problem, value, text.clone());
        self.add(text, Error::Field(error));
    }

    fn invalid(&mut self, path: &str, value: Value, why: &str) {
        let text = format!("{path} in body {why}");
        self.field(path, FieldProblem::Invalid, Some(value), text);
    }

    fn kind(&mut self, path: &str, wanted: &str, found: &str) {
        let text = format!("{path} in body must be of type {wanted}: {found:?}");
        self.field(path, FieldProblem::TypeInvalid, Some(json!(found)), text);
    }

    fn plain(&mut self, text: String) {
        self.add(text, Error::Plain);
    }

    fn merge(&mut self, other: Self) {
        for (text, error) in other.errors {
            self.add(text, error);
        }
        self.fits += other.fits;
    }

    fn finish(self, at: &str) -> Vec<FieldError> {
        self.errors
            .into_iter()
            .map(|(text, error)| match error {
                Error::Field(mut error) => {
                    let own = error.path.strip_prefix('.').unwrap_or(&error.path);
                    error.path = match (at, own) {
                        ("", "") => "<nil>".to_owned(),
                        ("", own) => own.to_owned(),
                        (at, "") => at.to_owned(),
                        (at, own) => format!("{at}.{own}"),
                    };
                    error
                }
                Error::Plain => {
                    let at = if at.is_empty() { "<nil>" } else { at };
                    FieldError::invalid(at, json!(""), text)
                }
            })
            .collect()
    }
}

/// A number as Go has it.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    let number = value.as_number()?;
    Some(match number.as_i64() {
        Some(int) => Number::Int(int),
        None => Number::Float(number.as_f64()?),
    })
}

/// The JSON type of a value, and the format that goes with it.
fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(_) => match number(value) {
            Some(Number::Int(_)) => ("integer", "int64"),
            _ => ("number", "float64"),
        },
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

fn is_whole(float: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    if !float.is_finite() || float.abs() > LARGEST {
        return false;
    }
    let whole = float.trunc();
    let difference = (float - whole).abs();
    difference == 0.0 || difference / (float.abs() + whole.abs()) < f64::MIN_POSITIVE
}

/// Checks a part; where it is as it was, its errors are dropped.
fn ratcheted(value: &Value, old: Option<&Value>, schema: &Value, path: &str) -> Found {
    let mut found = check(value, old, schema, path);
    if !found.errors.is_empty() && old.is_some_and(|old| same(value, old, schema)) {
        found.errors.clear();
    }
    found
}

/// Is a part as it was? Items that have keys may have changed places.
fn same(new: &Value, old: &Value, schema: &Value) -> bool {
    match (new, old) {
        (Value::Array(new), Value::Array(old)) => {
            if new.len() != old.len() {
                return false;
            }
            let Some(items) = schema.get("items").filter(|_| is_map(schema)) else {
                return new == old;
            };
            new.iter()
                .all(|item| correlate(item, old, schema).is_some_and(|old| same(item, old, items)))
        }
        (Value::Object(new), Value::Object(old)) => {
            new.len() == old.len()
                && new.iter().all(|(name, value)| {
                    match (old.get(name), property_or_rest(schema, name)) {
                        (Some(old), Some(schema)) => same(value, old, schema),
                        _ => false,
                    }
                })
        }
        _ => new == old,
    }
}

fn is_map(schema: &Value) -> bool {
    schema.get("x-kubernetes-list-type") == Some(&json!("map"))
}

fn property_or_rest<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema
        .get("properties")
        .and_then(|all| all.get(name))
        .or_else(|| additional(schema))
}

/// Finds the item that had the same keys.
fn correlate<'a>(item: &Value, old: &'a [Value], schema: &Value) -> Option<&'a Value> {
    let keys = texts(schema.get("x-kubernetes-list-map-keys"));
    let wanted = list_keys(item, &keys);
    old.iter().find(|old| list_keys(old, &keys) == wanted)
}

fn check(value: &Value, old: Option<&Value>, schema: &Value, path: &str) -> Found {
    let mut found = Found::default();
    let either = is_set(schema, "x-kubernetes-int-or-string");
    let types: Vec<&str> = if either {
        vec!["integer", "string"]
    } else {
        let own = schema.get("type").and_then(Value::as_str);
        own.filter(|own| !own.is_empty()).into_iter().collect()
    };
    let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
    let format = if formats::is_supported(&types, format) {
        format
    } else {
        ""
    };
    if value.is_null() {
        found.merge(check_type(value, schema, &types, format, path));
        found.merge(check_enum(value, schema, path));
        return found;
    }
    // every check counts, and so does that it was one
    if !types.is_empty() || !format.is_empty() {
        found.merge(check_type(value, schema, &types, format, path));
        found.fits += 1;
    }
    found.merge(check_junctors(value, old, schema, path));
    found.fits += 1;
    match value {
        Value::String(text) => {
            found.merge(check_text(text, schema, path));
            found.fits += 1;
            if !format.is_empty() && formats::is_known(format) {
                if !formats::fits(format, text) {
                    let why = format!("{path} in body must be of type {format}: {}", quote(text));
                    found.field(path, FieldProblem::TypeInvalid, Some(value.clone()), why);
                }
                found.fits += 1;
            }
        }
        Value::Number(_) => {
            if let Some(number) = number(value) {
                found.merge(check_number(number, value, schema, &types, format, path));
                found.fits += 1;
            }
        }
        Value::Array(list) => {
            found.merge(check_list(list, old, schema, path));
            found.fits += 1;
        }
        _ => {}
    }
    found.merge(check_enum(value, schema, path));
    found.fits += 1;
    if let Value::Object(map) = value {
        found.merge(check_map(map, old, schema, path));
        found.fits += 1;
    }
    found.fits += 1;
    found
}

/// A text as Go's `%q` has it, near enough for what JSON can hold.
fn quote(text: &str) -> String {
    base_yaml::go::quote(text)
}

fn check_type(value: &Value, schema: &Value, types: &[&str], format: &str, path: &str) -> Found {
    let mut found = Found::default();
    let all = || types.join(",");
    if value.is_null() {
        if types.is_empty() || types.contains(&"null") || is_set(schema, "nullable") {
            found.fits = 1;
        } else {
            found.kind(path, &all(), "null");
        }
        return found;
    }
    let (kind, own) = kind_of(value);
    let whole_float = matches!(number(value), Some(Number::Float(float)) if is_whole(float))
        && types.contains(&"integer");
    let int_as_float = kind == "integer" && types.contains(&"number");
    let fits = types.contains(&kind) || whole_float || int_as_float;
    let text_or_list = matches!(value, Value::String(_) | Value::Array(_));
    if !(text_or_list || format.is_empty() || fits || own == format) {
        found.kind(path, format, own);
        return found;
    }
    let numeric = types.contains(&"number") || types.contains(&"integer");
    if !numeric && !format.is_empty() && text_or_list || fits {
        found.fits = 1;
        return found;
    }
    found.kind(path, &all(), kind);
    found
}

/// A value as an enum has it: Go converts numbers to the type of what they are compared with.
fn equals(value: &Value, known: &Value) -> bool {
    match (number(value), number(known)) {
        (Some(Number::Int(a)), Some(Number::Float(b))) => a as f64 == b,
        (Some(Number::Float(a)), Some(Number::Int(b))) => a.trunc() == b as f64,
        _ => value == known,
    }
}

fn check_enum(value: &Value, schema: &Value, path: &str) -> Found {
    let mut found = Found::default();
    let Some(known) = schema.get("enum").and_then(Value::as_array) else {
        return found;
    };
    let fits = known
        .iter()
        .any(|known| !known.is_null() && !value.is_null() && equals(value, known));
    if known.is_empty() || fits {
        return found;
    }
    let known: Vec<String> = known
        .iter()
        .map(|known| match known {
            Value::String(text) => quote(text),
            other => quote(&base_yaml::go::to_json(other, true)),
        })
        .collect();
    let text = format!("{path} in body should be one of {}", known.join(" "));
    let detail = format!("supported values: {}", known.join(", "));
    let error = FieldError::new(
        path,
        FieldProblem::NotSupported,
        Some(value.clone()),
        detail,
    );
    found.add(text, Error::Field(error));
    found
}

fn list<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

thread_local! {
    /// Compiled patterns: a memo of a pure function.
    static COMPILED: RefCell<BTreeMap<String, Rc<Result<base_regexp::Compiled, String>>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// How many patterns a thread keeps.
const KEPT: usize = 256;

fn compiled(pattern: &str) -> Rc<Result<base_regexp::Compiled, String>> {
    COMPILED.with_borrow_mut(|known| {
        if let Some(found) = known.get(pattern) {
            return Rc::clone(found);
        }
        if known.len() >= KEPT {
            known.clear();
        }
        let made = Rc::new(base_regexp::compile(pattern.as_bytes()));
        known.insert(pattern.to_owned(), Rc::clone(&made));
        made
    })
}

fn check_text(text: &str, schema: &Value, path: &str) -> Found {
    let mut found = Found::default();
    let length = text.chars().count() as u64;
    if let Some(max) = schema.get("maxLength").and_then(Value::as_u64)
        && length > max
    {
        let about = format!("{path} in body should be at most {max} chars long");
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        let error = FieldError::new(path, FieldProblem::TooLong, None, detail);
        found.add(about, Error::Field(error));
        return found;
    }
    if let Some(min) = schema.get("minLength").and_then(Value::as_u64)
        && length < min
    {
        let why = format!("should be at least {min} chars long");
        found.invalid(path, json!(text), &why);
        return found;
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !pattern.is_empty()
    {
        match compiled(pattern).as_ref() {
            Ok(made) if made.regex.is_match(text.as_bytes()) => {}
            Ok(_) => found.invalid(path, json!(text), &format!("should match '{pattern}'")),
            Err(error) => {
                let why = format!("should match '{pattern}, but pattern is invalid: {error}'");
                found.invalid(path, json!(text), &why);
            }
        }
    }
    found
}

fn check_list(items: &[Value], old: Option<&Value>, schema: &Value, path: &str) -> Found {
    let mut found = Found::default();
    if let Some(own) = schema.get("items").filter(|own| own.is_object()) {
        let before = old.and_then(Value::as_array).filter(|_| is_map(schema));
        for (index, item) in items.iter().enumerate() {
            let old = before.and_then(|before| correlate(item, before, schema));
            found.merge(ratcheted(item, old, own, &format!("{path}[{index}]")));
        }
    }
    let length = items.len() as u64;
    if let Some(min) = schema.get("minItems").and_then(Value::as_u64)
        && length < min
    {
        let why = format!("should have at least {min} items");
        found.invalid(path, json!(length), &why);
    }
    if let Some(max) = schema.get("maxItems").and_then(Value::as_u64)
        && length > max
    {
        found.too_many(path, length, max, "items");
    }
    if is_set(schema, "uniqueItems")
        && items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].contains(item))
    {
        found.invalid(path, json!(""), "shouldn't contain duplicates");
    }
    found.fits += 1;
    found
}

impl Found {
    fn too_many(&mut self, path: &str, length: u64, max: u64, what: &str) {
        let text = format!("{path} in body should have at most {max} {what}");
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        let error = FieldError::new(path, FieldProblem::TooMany, Some(json!(length)), detail);
        self.add(text, Error::Field(error));
    }
}

fn check_map(map: &Map<String, Value>, old: Option<&Value>, schema: &Value, path: &str) -> Found {
    let mut found = Found::default();
    let length = map.len() as u64;
    if let Some(min) = schema.get("minProperties").and_then(Value::as_u64)
        && length < min
    {
        let why = format!("should have at least {min} properties");
        found.invalid(path, json!(length), &why);
    }
    if let Some(max) = schema.get("maxProperties").and_then(Value::as_u64)
        && length > max
    {
        found.too_many(path, length, max, "properties");
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let known = |name: &str| properties.and_then(|all| all.get(name));
    // whether the version and the kind are as they were cannot be seen: both were made into the same
    let before = |name: &str| {
        old.filter(|_| !path.is_empty() || !matches!(name, "kind" | "apiVersion"))
            .and_then(|old| old.get(name))
    };
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (name, value) in map {
        if known(name).is_some() {
            continue;
        }
        if closed {
            let text = format!("{path}.{name} in body is a forbidden property");
            found.field(path, FieldProblem::Invalid, Some(json!(name)), text);
        } else if let Some(rest) = additional(schema) {
            let at = format!("{path}.{name}");
            found.merge(ratcheted(value, before(name), rest, &at));
        }
    }
    for (name, property) in properties.into_iter().flatten() {
        if let Some(value) = map.get(name) {
            let at = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            found.merge(ratcheted(value, before(name), property, &at));
        }
    }
    for name in texts(schema.get("required")) {
        if !map.contains_key(name) {
            let at = format!("{path}.{name}");
            let text = format!("{at} in body is required");
            found.add(text, Error::Field(FieldError::required(at, "")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &Value, old: Option<Value>, value: Value, expected: &[&str]) {
        let found: Vec<String> = validate(&value, old.as_ref(), schema)
            .iter()
            .map(FieldError::to_string)
            .collect();
        assert_eq!(found, expected, "{value}");
    }

    fn schema() -> Value {
        json!({"type": "object", "required": ["spec"], "properties": {"spec": {
        "type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 5},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "port": {"x-kubernetes-int-or-string": true},
            "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
            "when": {"type": "string", "format": "date-time"},
            "step": {"type": "number", "multipleOf": 0.5},
            "any": {"type": "object", "additionalProperties": {"type": "number"}, "maxProperties": 2},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer", "maximum": 3}}}},
            "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "not": {"required": ["c"]}},
        }}}})
    }

    #[test]
    fn finds_what_does_not_fit() {
        let s = schema();
        check(
            &s,
            None,
            json!({"spec": {"size": 2, "port": "http", "any": {"a": 1}}}),
            &[],
        );
        check(&s, None, json!({}), &["spec: Required value"]);
        check(
            &s,
            None,
            json!({"spec": {}}),
            &["spec.size: Required value"],
        );
        check(
            &s,
            None,
            json!({"spec": {"size": "2"}}),
            &[
                r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
            ],
        );
        check(
            &s,
            None,
            json!({"spec": {"size": 9, "color": "green", "code": "A", "when": "now", "step": 0.3}}),
            &[
                r#"spec.code: Invalid value: "A": spec.code in body should be at least 2 chars long"#,
                r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
                "spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5",
                "spec.step: Invalid value: 0.3: spec.step in body should be a multiple of 0.5",
                r#"spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now""#,
            ],
        );
        check(
            &s,
            None,
            json!({"spec": {"size": 1, "port": 1.5, "any": {"a": 1, "b": "x", "c": 2}, "code": "ABC"}}),
            &[
                "spec.any: Too many: 3: must have at most 2 items",
                r#"spec.any.b: Invalid value: "string": spec.any.b in body must be of type number: "string""#,
                r#"spec.code: Invalid value: "ABC": spec.code in body should match '^[a-z]+$'"#,
                r#"spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number""#,
            ],
        );
        check(
            &s,
            None,
            json!({"spec": {"size": 4_000_000_000_u64, "one": {"a": "1", "b": "2"}}}),
            &[
                r#"<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.size"#,
                "spec.size: Invalid value: 4000000000: spec.size in body should be less than or equal to 5",
            ],
        );
        check(
            &s,
            None,
            json!({"spec": {"size": 1, "one": {}}}),
            &[
                r#"<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.one.a: Required value",
            ],
        );
    }

    #[test]
    fn what_did_not_change_is_let_off() {
        let s = schema();
        let old = json!({"spec": {"size": 9, "color": "green", "parts": [{"id": "a", "n": 9}, {"id": "b", "n": 9}]}});
        check(&s, Some(old.clone()), old.clone(), &[]);
        check(
            &s,
            Some(old.clone()),
            json!({"spec": {"size": 9, "color": "green", "parts": [{"id": "b", "n": 8}, {"id": "a", "n": 9}]}}),
            &[
                "spec.parts[0].n: Invalid value: 8: spec.parts[0].n in body should be less than or equal to 3",
            ],
        );
        check(
            &s,
            Some(old),
            json!({"spec": {"size": 8, "color": "green"}}),
            &["spec.size: Invalid value: 8: spec.size in body should be less than or equal to 5"],
        );
    }
}
