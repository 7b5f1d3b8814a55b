//! One step of a path.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use serde_json::Value;

/// One step of a path into an object.
#[derive(Debug, Clone)]
pub enum PathElement {
    /// A field of a map.
    Field(Box<str>),
    /// The item of an associative list that has these values in its key fields (sorted by name).
    Key(Box<[(Box<str>, Value)]>),
    /// The item of a set that has this value.
    Value(Value),
    /// The item at this place of a list.
    Index(i64),
}

/// A text that is no path element of FieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no path element of managed fields: {reason}")]
pub struct ElementError {
    text: String,
    reason: &'static str,
}

impl PathElement {
    /// Makes the element of a field.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// Makes the element of a list item from its key fields.
    pub fn key<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut fields: Vec<(Box<str>, Value)> = fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields.into())
    }

    /// Writes it as a FieldsV1 key: `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:0`.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let mut text = String::from("k:");
                for (at, (name, value)) in fields.iter().enumerate() {
                    text.push(if at == 0 { '{' } else { ',' });
                    // a name is written as the JSON text that it is
                    let _ = write!(text, "{}:{value}", Value::from(&**name));
                }
                text.push('}');
                text
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads a FieldsV1 key.
    pub fn decode(text: &str) -> Result<Self, ElementError> {
        let error = |reason| ElementError {
            text: text.to_owned(),
            reason,
        };
        match text.split_at_checked(2) {
            Some(("f:", name)) => Ok(Self::field(name)),
            Some(("k:", json)) => match serde_json::from_str(json) {
                Ok(Value::Object(map)) if !map.is_empty() => Ok(Self::Key(
                    map.into_iter()
                        .map(|(name, value)| (name.into_boxed_str(), value))
                        .collect(),
                )),
                _ => Err(error("a key is a JSON object with at least one field")),
            },
            Some(("v:", json)) => serde_json::from_str(json)
                .map(Self::Value)
                .map_err(|_| error("a value is JSON")),
            Some(("i:", index)) => index
                .parse()
                .map(Self::Index)
                .map_err(|_| error("an index is a whole number")),
            _ => Err(error("it begins with none of f:, k:, v:, i:")),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_fields(
                a.iter().map(|(name, value)| (&**name, value)),
                b.iter().map(|(name, value)| (&**name, value)),
            ),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

/// Writes a value as the library of the real one does: what is no scalar has no braces.
fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Array(items) => {
            f.write_str("[")?;
            for (at, item) in items.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { "," })?;
                write_value(f, item)?;
            }
            f.write_str("]")
        }
        Value::Object(map) => map.iter().try_for_each(|(name, value)| {
            write!(f, "{name}=")?;
            write_value(f, value)
        }),
        scalar => write!(f, "{scalar}"),
    }
}

/// Writes the element as kubectl prints it: `.name`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}=")?;
                    write_value(f, value)?;
                }
                f.write_str("]")
            }
            Self::Value(value) => {
                f.write_str("[=")?;
                write_value(f, value)?;
                f.write_str("]")
            }
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Orders JSON values: numbers (by value, `1` is `1.0`), strings, booleans, lists, maps, null.
pub(crate) fn compare_values(a: &Value, b: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            for (a, b) in a.iter().zip(b) {
                match compare_values(a, b) {
                    Ordering::Equal => {}
                    other => return other,
                }
            }
            a.len().cmp(&b.len())
        }
        (Value::Object(a), Value::Object(b)) => compare_fields(
            a.iter().map(|(name, value)| (name.as_str(), value)),
            b.iter().map(|(name, value)| (name.as_str(), value)),
        ),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_numbers(a: &serde_json::Number, b: &serde_json::Number) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => match (a.as_u64(), b.as_u64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&b.as_f64().unwrap_or_default()),
        },
    }
}

fn compare_fields<'a>(
    mut a: impl Iterator<Item = (&'a str, &'a Value)>,
    mut b: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match a.0.cmp(b.0).then_with(|| compare_values(a.1, b.1)) {
                Ordering::Equal => {}
                other => return other,
            },
        }
    }
}

/// Are two values the same, where `1` and `1.0` are?
pub(crate) fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((ka, va), (kb, vb))| ka == kb && same_value(va, vb))
        }
        _ => a == b,
    }
}
