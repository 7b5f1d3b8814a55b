//! From documents to values.

use base_json::Value;

use crate::GoError;

pub(crate) fn first(text: &[u8], _strict: bool) -> Result<Value, GoError> {
    let text = String::from_utf8_lossy(text);
    let documents = crate::build::documents(&text, "").map_err(|e| {
        GoError::at(
            format!("yaml: line {}: {}", e.line, e.message),
            e.line,
            e.column,
        )
    })?;
    Ok(documents
        .into_iter()
        .next()
        .map_or(Value::Null, |d| d.value))
}
