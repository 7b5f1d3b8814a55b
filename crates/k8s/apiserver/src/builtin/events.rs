//! Events: one store behind two forms, that of `v1` (which is stored) and that of `events.k8s.io/v1`.

use serde_json::{Value, json};

use crate::FieldError;
use crate::resource::StoredAs;

/// The names of fields in `v1` and in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// How the newer form is stored: as the older.
pub(super) const STORED: StoredAs = StoredAs {
    group: "",
    version: "v1",
    to: |event| {
        rename(event, |(old, new)| (new, old));
        fill(event, false);
    },
    from: |event| {
        rename(event, |names| names);
        // the old form always says who reports, the new one only if there is somebody
        if let Some(map) = event.as_object_mut() {
            map.retain(|key, value| !key.starts_with("reporting") || *value != "");
        }
    },
};

fn rename(
    event: &mut Value,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = event.as_object_mut() else {
        return;
    };
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

/// Fills in what Kubernetes always shows.
pub(super) fn fill(event: &mut Value, new: bool) {
    let Some(map) = event.as_object_mut() else {
        return;
    };
    for (old, other) in [
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
    ] {
        let name = if new {
            NAMES
                .iter()
                .find(|(name, _)| *name == old)
                .map_or(old, |(_, new)| new)
        } else {
            old
        };
        map.entry(name).or_insert(other);
    }
    map.entry("eventTime").or_insert(Value::Null);
    if !new {
        map.entry("reportingComponent").or_insert(json!(""));
        map.entry("reportingInstance").or_insert(json!(""));
    }
}

/// What an Event of the old form must hold.
pub(super) fn check_old(event: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let about = &event["involvedObject"]["namespace"];
    let own = k8s_object::namespace(event);
    let about = about.as_str().unwrap_or_default();
    // what lives in no namespace is told of in the default one
    if about == own || (about.is_empty() && own == "default") {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "involvedObject.namespace",
        json!(about),
        "does not match event.namespace",
    )]
}

/// What an Event of the new form must hold when it is made.
pub(super) fn check_new(event: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_some() {
        return errors;
    }
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    if text("eventTime").is_empty() {
        errors.push(FieldError::required("eventTime", ""));
    }
    for field in [
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        if errors.is_empty() && text(field).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    if !matches!(text("type"), "Normal" | "Warning") {
        errors.push(FieldError::invalid(
            "type",
            json!(text("type")),
            format!("has invalid value: {}", text("type")),
        ));
    }
    errors
}
