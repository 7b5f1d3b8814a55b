//! kubectl's annotation of what it applied last, which its server-side apply respects and keeps in step.

use serde_json::Value;

use crate::error::Conflict;
use crate::managed;
use crate::schema::{TypeRef, validate};
use crate::typed;

/// The annotation in which kubectl keeps what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Kubernetes' limit on the size of all annotations of an object.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Leaves out the conflicts with what kubectl applied client-side and nobody changed since.
pub(crate) fn unexcused(base: &Value, conflicts: Vec<Conflict>, schema: &TypeRef) -> Vec<Conflict> {
    let last = k8s_object::annotation(base, LAST_APPLIED)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|last| k8s_object::api_version(last) == k8s_object::api_version(base));
    let Some(last) = last else {
        return conflicts;
    };
    let ty = schema.ty();
    // a live list with an item twice excuses nothing either
    if !validate(&last, ty).is_empty() || !validate(base, ty).is_empty() {
        return conflicts;
    }
    let difference = typed::compare(&last, base, ty);
    let allowed = typed::field_set(&last, ty)
        .difference(&difference.modified)
        .difference(&difference.added)
        .difference(&difference.removed);
    conflicts
        .into_iter()
        .filter(|conflict| !allowed.has(&conflict.path.0))
        .collect()
}

/// Writes JSON as Go does, so that the annotation is the same to the byte.
fn html_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Keeps kubectl's annotation in step with what it applies server-side.
pub(crate) fn renew(object: &mut Value, config: &Value) {
    let mut config = managed::without(config);
    if let Some(meta) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        match meta.get_mut("annotations") {
            Some(Value::Object(annotations)) => drop(annotations.remove(LAST_APPLIED)),
            Some(_) => drop(meta.remove("annotations")),
            None => {}
        }
    }
    let text = html_safe(&format!("{config}\n"));
    let size: usize = k8s_object::annotations(object)
        .filter(|(key, _)| *key != LAST_APPLIED)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size + LAST_APPLIED.len() + text.len() <= MAX_ANNOTATIONS {
        k8s_object::set_annotation(object, LAST_APPLIED, &text);
    } else if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
}
