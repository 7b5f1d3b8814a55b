//! What the API server's refusals mean.

use std::error::Error;

use http::{HeaderMap, StatusCode};
use k8s_cluster::{ClusterError, ErrorKind};
use serde_json::{Value, json};

use crate::connection::PATIENCE;

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

/// Nothing came for too long.
pub(crate) fn silent() -> ClusterError {
    let seconds = PATIENCE.as_secs();
    ClusterError::new(
        ErrorKind::Unavailable,
        format!("the API server has not answered for {seconds} s"),
    )
}

/// The answer was a refusal. Flow control and proxies refuse in plain words, everything else with a `Status`.
pub(crate) fn of_answer(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> ClusterError {
    let status = serde_json::from_slice::<Value>(body)
        .ok()
        .filter(|status| k8s_object::kind(status) == "Status");
    let mut error = match status {
        Some(mut status) => {
            // what the connection says counts
            status["code"] = json!(code.as_u16());
            ClusterError::from_status(&status, "")
        }
        None => {
            let text = String::from_utf8_lossy(body);
            let text: String = text.trim().chars().take(300).collect();
            let message = if text.is_empty() {
                code.to_string()
            } else {
                format!("{code}: {text}")
            };
            ClusterError::from_status(&json!({"code": code.as_u16(), "message": message}), "")
        }
    };
    if error.message.is_empty() {
        error.message = code.to_string();
    }
    if error.kind == ErrorKind::Forbidden {
        error.message = crate::rights::explained(&error.message);
    }
    let pause = headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let (ErrorKind::TooManyRequests { retry_after_ms }, Some(pause)) = (&mut error.kind, pause) {
        *retry_after_ms = pause.saturating_mul(1000);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, pause: &'static str, body: &str, expected: &ErrorKind, words: &str) {
        let mut headers = HeaderMap::new();
        if !pause.is_empty() {
            let value = http::HeaderValue::from_static(pause);
            headers.insert(http::header::RETRY_AFTER, value);
        }
        let code = StatusCode::from_u16(code).expect("a code");
        let error = of_answer(code, &headers, body.as_bytes());
        assert_eq!(&error.kind, expected, "{body}");
        assert_eq!(error.message, words, "{body}");
    }

    #[test]
    fn reads_answers_with_and_without_a_status() {
        let pause = |retry_after_ms| ErrorKind::TooManyRequests { retry_after_ms };
        check(
            429,
            "1",
            "Too many requests, please try again later.\n",
            &pause(1000),
            "429 Too Many Requests: Too many requests, please try again later.",
        );
        check(
            429,
            "3",
            r#"{"kind": "Status", "message": "wait", "details": {"retryAfterSeconds": 2}}"#,
            &pause(3000),
            "wait",
        );
        check(
            409,
            "",
            r#"{"kind": "Status", "message": "exists", "reason": "AlreadyExists"}"#,
            &ErrorKind::Conflict,
            "exists",
        );
        check(
            404,
            "",
            "404 page not found\n",
            &ErrorKind::UnknownKind,
            "404 Not Found: 404 page not found",
        );
        check(
            502,
            "",
            "<html>Bad Gateway</html>",
            &ErrorKind::Unavailable,
            "502 Bad Gateway: <html>Bad Gateway</html>",
        );
        check(
            503,
            "",
            "",
            &ErrorKind::Unavailable,
            "503 Service Unavailable",
        );
    }
}
