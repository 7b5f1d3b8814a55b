//! Values: how they are given, put together and checked.

pub(crate) mod coalesce;
mod effort;
pub(crate) mod frozen;
pub(crate) mod layers;
pub(crate) mod schema;
pub(crate) mod strvals;

use serde_json::Value;

/// The name of the Go type that holds a value.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
