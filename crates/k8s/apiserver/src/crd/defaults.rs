//! Every default of a schema must be one that the schema lets pass.

use serde_json::{Value, json};

use super::structure::properties;
use crate::FieldError;
use crate::structural::{self, META_FIELDS, is_set};

/// What is said of a default with unknown fields.
pub(super) const UNKNOWN: &str = "must not have unknown fields";

/// Checks the defaults of a structural schema.
pub(super) fn check(schema: &Value, pruned: bool, path: &str, errors: &mut Vec<FieldError>) {
    below(schema, true, None, pruned, path, errors);
}

/// `around` makes the object that a default within metadata is a part of.
fn below(
    schema: &Value,
    root: bool,
    around: Option<&dyn Fn(Value) -> Value>,
    pruned: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let embedded = root || is_set(schema, "x-kubernetes-embedded-resource");
    let around = around.filter(|_| !embedded);
    if let Some(default) = schema.get("default").filter(|value| !value.is_null()) {
        let at = format!("{path}.default");
        match around {
            Some(around) => within_meta(schema, default, around, &at, errors),
            None => on_its_own(schema, default, embedded, pruned, &at, errors),
        }
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let at = format!("{path}.items");
        let wrap = around.map(|around| move |inner: Value| around(json!([inner])));
        let wrap = wrap.as_ref().map(|wrap| wrap as &dyn Fn(Value) -> Value);
        below(items, false, wrap, pruned, &at, errors);
    }
    for (name, property) in properties(schema) {
        let at = format!("{path}.properties[{name}]");
        let outer = move |inner: Value| {
            let mut object = json!({"apiVersion": "validation/v1", "kind": "Validation"});
            object[name.as_str()] = inner;
            object
        };
        let inner = around.map(|around| {
            move |inner: Value| {
                let mut object = json!({});
                object[name.as_str()] = inner;
                around(object)
            }
        });
        let wrap: Option<&dyn Fn(Value) -> Value> =
            if embedded && META_FIELDS.contains(&name.as_str()) {
                Some(&outer)
            } else {
                inner.as_ref().map(|inner| inner as &dyn Fn(Value) -> Value)
            };
        below(property, false, wrap, pruned, &at, errors);
    }
}

fn within_meta(
    schema: &Value,
    default: &Value,
    around: &dyn Fn(Value) -> Value,
    at: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut object = around(default.clone());
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let problem = match structural::coerce(&mut object, &open, true) {
        Err(error) => Some(error.to_string()),
        Ok(_) => {
            let found = structural::validate_embedded(&object, &open, true);
            let texts: Vec<String> = found.iter().map(FieldError::to_string).collect();
            match texts.as_slice() {
                [] => None,
                [one] => Some(one.clone()),
                many => Some(format!("[{}]", many.join(", "))),
            }
        }
    };
    match problem {
        Some(problem) => errors.push(FieldError::invalid(
            at,
            default.clone(),
            format!("must result in valid metadata: {problem}"),
        )),
        None => errors.extend(structural::validate_at(default, None, schema, at)),
    }
}

fn on_its_own(
    schema: &Value,
    default: &Value,
    embedded: bool,
    pruned: bool,
    at: &str,
    errors: &mut Vec<FieldError>,
) {
    if pruned {
        let mut without = default.clone();
        structural::prune_part(&mut without, schema, embedded);
        if without != *default {
            errors.push(FieldError::invalid(at, default.clone(), UNKNOWN));
        }
    }
    let prefixed = |mut error: FieldError| {
        error.path = if error.path.is_empty() {
            at.to_owned()
        } else {
            format!("{at}.{}", error.path)
        };
        error
    };
    let mut object = default.clone();
    if let Err(error) = structural::coerce(&mut object, schema, embedded) {
        errors.push(prefixed(error));
        return;
    }
    let found = structural::validate_embedded(&object, schema, embedded);
    if found.is_empty() {
        let misfits = structural::validate_at(default, None, schema, at);
        if misfits.is_empty() {
            let compiled = k8s_cel::rules::compile_stored(schema);
            let budget = k8s_cel::rules::RUNTIME_BUDGET;
            let broken = k8s_cel::rules::validate(&compiled, default, None, budget);
            errors.extend(broken.errors.into_iter().map(|error| {
                let mut error = FieldError::from(error);
                if error.path == "<nil>" {
                    error.path.clear();
                }
                prefixed(error)
            }));
        }
        errors.extend(misfits);
    } else {
        errors.extend(found.into_iter().map(prefixed));
    }
}
