//! Kubernetes quantities, as far as comparing requests with what a node has needs them.

use serde_json::Value;

/// Reads a quantity in thousandths of its unit; `None` if it is none.
pub(crate) fn thousandths(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match unit {
        "m" => 0.001,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let thousandths = (number * factor * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    Some(thousandths as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_compare() {
        for (text, expected) in [
            (json!("250m"), Some(250)),
            (json!("2"), Some(2000)),
            (json!(2), Some(2000)),
            (json!("0.5"), Some(500)),
            (json!("1Ki"), Some(1_024_000)),
            (json!("1M"), Some(1_000_000_000)),
            (json!("x"), None),
            (json!("5Zz"), None),
            (json!(null), None),
        ] {
            assert_eq!(thousandths(&text), expected, "{text}");
        }
    }
}
