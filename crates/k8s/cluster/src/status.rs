//! What Kubernetes' `Status` errors mean.

use serde_json::Value;

use crate::{ClusterError, ErrorKind, FieldConflict};

impl ClusterError {
    /// Reads a `Status` object, as API servers answer with when they refuse a request about an object of `kind`.
    ///
    /// Kubernetes tells some refusals apart only by their words; the words that are looked for are those of kube-apiserver
    /// 1.36, and a refusal that is worded otherwise falls back to the kind that its code has.
    pub fn from_status(status: &Value, kind: &str) -> Self {
        let message = text(status, "/message");
        let found = match judge(status, message) {
            ErrorKind::NamespaceMissing if kind == "Namespace" => ErrorKind::NotFound,
            found => found,
        };
        Self::new(found, message)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn causes(status: &Value) -> &[Value] {
    status
        .pointer("/details/causes")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn judge(status: &Value, message: &str) -> ErrorKind {
    if message.contains("admission webhook") && message.contains("denied the request")
        || message.contains("ValidatingAdmissionPolicy")
        || message.contains("violates PodSecurity")
    {
        return ErrorKind::Admission;
    }
    match status.get("code").and_then(Value::as_u64).unwrap_or(0) {
        400 => ErrorKind::Invalid {
            fields: fields(status, |_| true),
        },
        401 => ErrorKind::Unauthorized,
        403 if ends(status) => ErrorKind::NamespaceMissing,
        403 => ErrorKind::Forbidden,
        404 => missing(status),
        409 => conflict(status),
        410 => ErrorKind::Expired,
        422 => invalid(status),
        413 => ErrorKind::Invalid { fields: Vec::new() },
        429 => ErrorKind::TooManyRequests {
            retry_after_ms: status
                .pointer("/details/retryAfterSeconds")
                .and_then(Value::as_u64)
                .unwrap_or(0)
                .saturating_mul(1000),
        },
        // no waiting makes the object fit its type
        500 if message.contains("failed to create typed patch object") => {
            ErrorKind::Invalid { fields: Vec::new() }
        }
        408 | 500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// Is the namespace on its way out? It may come again, as one that is missing.
fn ends(status: &Value) -> bool {
    causes(status)
        .iter()
        .any(|cause| text(cause, "/reason") == "NamespaceTerminating")
}

fn missing(status: &Value) -> ErrorKind {
    let name = text(status, "/details/name");
    if name.is_empty() {
        // A path that nothing is served under: the kind is unknown. An object that is missing is named.
        ErrorKind::UnknownKind
    } else if text(status, "/details/kind") == "namespaces" {
        ErrorKind::NamespaceMissing
    } else {
        ErrorKind::NotFound
    }
}

fn conflict(status: &Value) -> ErrorKind {
    let fields: Vec<FieldConflict> = causes(status)
        .iter()
        .filter(|cause| text(cause, "/reason") == "FieldManagerConflict")
        .map(|cause| {
            let words = text(cause, "/message");
            // conflict with "manager" using apps/v1 at 2026-01-01T00:00:00Z
            let manager = words.split('"').nth(1).unwrap_or(words);
            FieldConflict {
                manager: manager.to_owned(),
                field: text(cause, "/field").to_owned(),
            }
        })
        .collect();
    if fields.is_empty() {
        ErrorKind::Conflict
    } else {
        ErrorKind::FieldConflict(fields)
    }
}

fn is_immutable(words: &str) -> bool {
    [
        "field is immutable",
        "is immutable",
        "may not change once set",
        "updates to statefulset spec for fields other than",
        "pod updates may not change fields other than",
        "may not be changed",
        "cannot be changed",
        "cannot change roleRef",
        "is immutable after creation",
    ]
    .iter()
    .any(|part| words.contains(part))
}

/// The fields that causes with certain words name.
fn fields(status: &Value, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut fields: Vec<String> = causes(status)
        .iter()
        .filter(|cause| wanted(text(cause, "/message")))
        .map(|cause| text(cause, "/field").to_owned())
        .filter(|field| !field.is_empty())
        .collect();
    fields.dedup();
    fields
}

fn invalid(status: &Value) -> ErrorKind {
    let immutable = fields(status, is_immutable);
    if immutable.is_empty() && !is_immutable(text(status, "/message")) {
        ErrorKind::Invalid {
            fields: fields(status, |_| true),
        }
    } else {
        ErrorKind::Immutable { fields: immutable }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: Value, expected: ErrorKind) {
        let error = ClusterError::from_status(&status, "ConfigMap");
        assert_eq!(error.kind, expected, "{status}");
        assert_eq!(error.message, text(&status, "/message"));
    }

    #[test]
    fn refusals_are_told_apart() {
        check(
            json!({"code": 404, "message": "the server could not find the requested resource", "details": {}}),
            ErrorKind::UnknownKind,
        );
        check(
            json!({"code": 404, "message": "configmaps \"a\" not found", "details": {"name": "a", "kind": "configmaps"}}),
            ErrorKind::NotFound,
        );
        check(
            json!({"code": 404, "message": "namespaces \"a\" not found", "details": {"name": "a", "kind": "namespaces"}}),
            ErrorKind::NamespaceMissing,
        );
        check(
            json!({"code": 403, "message": "being terminated", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}),
            ErrorKind::NamespaceMissing,
        );
        check(json!({"code": 403, "message": "no"}), ErrorKind::Forbidden);
        check(
            json!({"code": 403, "message": "admission webhook \"a.b\" denied the request: no"}),
            ErrorKind::Admission,
        );
        check(
            json!({"code": 409, "message": "m", "details": {"causes": [{"reason": "FieldManagerConflict",
                "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas"}]}}),
            ErrorKind::FieldConflict(vec![FieldConflict {
                manager: "kubectl".to_owned(),
                field: ".spec.replicas".to_owned(),
            }]),
        );
        check(json!({"code": 409, "message": "m"}), ErrorKind::Conflict);
        check(
            json!({"code": 422, "message": "m", "details": {"causes": [
                {"message": "Invalid value: {}: field is immutable", "field": "spec.selector"},
                {"message": "Required value", "field": "spec.b"}]}}),
            ErrorKind::Immutable {
                fields: vec!["spec.selector".to_owned()],
            },
        );
        check(
            json!({"code": 422, "message": "m", "details": {"causes": [
                {"message": "Invalid value: {}: cannot change roleRef", "field": "roleRef"}]}}),
            ErrorKind::Immutable {
                fields: vec!["roleRef".to_owned()],
            },
        );
        check(
            json!({"code": 422, "message": "m", "details": {"causes": [{"message": "Required value", "field": "a"}]}}),
            ErrorKind::Invalid {
                fields: vec!["a".to_owned()],
            },
        );
        check(
            json!({"code": 429, "message": "m", "details": {"retryAfterSeconds": 2}}),
            ErrorKind::TooManyRequests {
                retry_after_ms: 2000,
            },
        );
        check(
            json!({"code": 500, "message": "failed to create typed patch object (a/b; v1, Kind=C): .d: field not declared in schema"}),
            ErrorKind::Invalid { fields: Vec::new() },
        );
        check(
            json!({"code": 413, "message": "m"}),
            ErrorKind::Invalid { fields: Vec::new() },
        );
        check(json!({"code": 410, "message": "m"}), ErrorKind::Expired);
        check(json!({"code": 503, "message": "m"}), ErrorKind::Unavailable);
        let missing =
            json!({"code": 404, "message": "m", "details": {"name": "a", "kind": "namespaces"}});
        assert_eq!(
            ClusterError::from_status(&missing, "Namespace").kind,
            ErrorKind::NotFound
        );
        check(json!({"code": 418, "message": "m"}), ErrorKind::Other);
    }
}
