//! What the API server's refusals mean.

use std::error::Error;

use http::{HeaderMap, StatusCode};
use k8s_cluster::{ClusterError, ErrorKind, FieldConflict};
use serde_json::Value;

/// No answer came, or it broke off.
pub(crate) fn transport(source: &dyn Error) -> ClusterError {
    let mut message = format!("the API server does not answer: {source}");
    let mut next = source.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        next = cause.source();
    }
    ClusterError::new(ErrorKind::Unavailable, message)
}

/// The answer was a refusal.
pub(crate) fn of_answer(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> ClusterError {
    let status = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let retry = headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut error = of_status(code.as_u16(), &status, retry);
    if error.message.is_empty() {
        let text = String::from_utf8_lossy(body);
        let text = text.trim().chars().take(300).collect::<String>();
        error.message = if text.is_empty() {
            code.to_string()
        } else {
            text
        };
    }
    error
}

/// Reads a `Status` object.
pub(crate) fn of_status(code: u16, status: &Value, retry_after: Option<u64>) -> ClusterError {
    let text = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let message = text("/message").to_owned();
    let kind = kind(code, status, &message, retry_after);
    let message = match kind {
        ErrorKind::Forbidden => crate::rights::explained(&message),
        _ => message,
    };
    ClusterError { kind, message }
}

fn kind(code: u16, status: &Value, message: &str, retry_after: Option<u64>) -> ErrorKind {
    let text = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let denied = message.contains("admission webhook") && message.contains("denied the request")
        || message.contains("ValidatingAdmissionPolicy")
        || message.contains("violates PodSecurity");
    match code {
        400..=499 if denied => ErrorKind::Admission,
        404 if text("/details/name").is_empty() => ErrorKind::UnknownKind,
        // of a namespace that was itself asked for, see `Inner::call`
        404 if text("/details/kind") == "namespaces" => ErrorKind::NamespaceMissing,
        404 => ErrorKind::NotFound,
        409 => {
            let conflicts: Vec<FieldConflict> = causes(status)
                .filter(|cause| {
                    cause.get("reason").and_then(Value::as_str) == Some("FieldManagerConflict")
                })
                .map(|cause| FieldConflict {
                    manager: manager(text_of(cause, "message")),
                    field: text_of(cause, "field").to_owned(),
                })
                .collect();
            if conflicts.is_empty() {
                ErrorKind::Conflict
            } else {
                ErrorKind::FieldConflict(conflicts)
            }
        }
        422 => {
            let fixed: Vec<String> = causes(status)
                .filter(|cause| immutable(text_of(cause, "message")))
                .map(|cause| text_of(cause, "field").to_owned())
                .collect();
            if !fixed.is_empty() || immutable(message) {
                return ErrorKind::Immutable { fields: fixed };
            }
            ErrorKind::Invalid {
                fields: fields(status),
            }
        }
        400 => ErrorKind::Invalid {
            fields: fields(status),
        },
        401 => ErrorKind::Unauthorized,
        // the namespace is on its way out: it will be gone, or somebody makes it again
        403 if message.contains("because it is being terminated") => ErrorKind::Unavailable,
        403 => ErrorKind::Forbidden,
        410 => ErrorKind::Expired,
        429 => {
            let seconds = status
                .pointer("/details/retryAfterSeconds")
                .and_then(Value::as_u64);
            ErrorKind::TooManyRequests {
                retry_after_ms: retry_after.or(seconds).unwrap_or(0).saturating_mul(1000),
            }
        }
        408 | 500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

fn text_of<'a>(cause: &'a Value, key: &str) -> &'a str {
    cause.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn causes(status: &Value) -> impl Iterator<Item = &Value> {
    status
        .pointer("/details/causes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn fields(status: &Value) -> Vec<String> {
    causes(status)
        .map(|cause| text_of(cause, "field").to_owned())
        .filter(|field| !field.is_empty())
        .collect()
}

fn immutable(message: &str) -> bool {
    message.contains("field is immutable")
        || message.contains("Forbidden: updates to")
        || message.contains("may not be changed")
        || message.contains("is immutable after creation")
}

/// Reads the manager out of `conflict with "kubectl" using apps/v1`.
fn manager(message: &str) -> String {
    message.split('"').nth(1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(code: u16, status: Value, expected: ErrorKind) {
        assert_eq!(
            of_status(code, &status, None).kind,
            expected,
            "{code} {status}"
        );
    }

    #[test]
    fn tells_refusals_apart() {
        check(
            404,
            json!({"message": "deployments.apps \"a\" not found", "details": {"name": "a", "kind": "deployments"}}),
            ErrorKind::NotFound,
        );
        check(
            404,
            json!({"message": "namespaces \"a\" not found", "details": {"name": "a", "kind": "namespaces"}}),
            ErrorKind::NamespaceMissing,
        );
        check(
            404,
            json!({"message": "the server could not find the requested resource", "details": {}}),
            ErrorKind::UnknownKind,
        );
        check(
            409,
            json!({"reason": "Conflict", "details": {"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"hpa\" using apps/v1", "field": ".spec.replicas"}]}}),
            ErrorKind::FieldConflict(vec![FieldConflict {
                manager: "hpa".to_owned(),
                field: ".spec.replicas".to_owned(),
            }]),
        );
        check(409, json!({"reason": "AlreadyExists"}), ErrorKind::Conflict);
        check(
            422,
            json!({"message": "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: {}: field is immutable",
                "details": {"causes": [{"message": "Invalid value: {}: field is immutable", "field": "spec.selector"}]}}),
            ErrorKind::Immutable {
                fields: vec!["spec.selector".to_owned()],
            },
        );
        check(
            422,
            json!({"message": "StatefulSet.apps \"a\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
                "details": {"causes": [{"message": "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden", "field": "spec"}]}}),
            ErrorKind::Immutable {
                fields: vec!["spec".to_owned()],
            },
        );
        check(
            422,
            json!({"details": {"causes": [{"message": "Required value", "field": "spec.template"}]}}),
            ErrorKind::Invalid {
                fields: vec!["spec.template".to_owned()],
            },
        );
        check(
            403,
            json!({"message": "admission webhook \"policy.example.org\" denied the request: no"}),
            ErrorKind::Admission,
        );
        check(
            403,
            json!({"message": "configmaps is forbidden: User \"x\" cannot create"}),
            ErrorKind::Forbidden,
        );
        check(
            429,
            json!({"details": {"retryAfterSeconds": 3}}),
            ErrorKind::TooManyRequests {
                retry_after_ms: 3_000,
            },
        );
        check(410, json!({}), ErrorKind::Expired);
        check(503, json!({}), ErrorKind::Unavailable);
        check(
            403,
            json!({"message": "unable to create new content in namespace a because it is being terminated"}),
            ErrorKind::Unavailable,
        );
    }
}
