//! Values with Go's types, as go-yaml version 3 gives them.

use crate::emit::{Key, Writer, compare, sort_by_key};
use crate::time::Timestamp;

/// What go-yaml version 3 decodes into an `interface{}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Any {
    /// `nil`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint64`, for what is larger than an `int`.
    Uint(u64),
    /// `float64`.
    Float(f64),
    /// `string`.
    Str(String),
    /// A `string` that is not UTF-8; only `!!binary` makes one.
    Bytes(Vec<u8>),
    /// `time.Time`.
    Time(Timestamp),
    /// `[]interface{}`.
    List(Vec<Any>),
    /// `map[string]interface{}`, or `map[interface{}]interface{}` if a key is no string; in the order of the text.
    Map(Vec<(Any, Any)>),
}

impl Any {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Bool(flag) => Key::Bool(*flag),
            Self::Int(int) => Key::Int(*int),
            Self::Uint(int) => Key::Uint(*int),
            Self::Float(float) => Key::Float(*float),
            Self::Str(text) => Key::Str(text),
            _ => Key::Null,
        }
    }
}

impl Writer {
    /// Writes a value with Go's types, with all that is in it, keys in Go's order.
    pub fn any(&mut self, value: &Any) {
        match value {
            Any::Null => self.null(),
            Any::Bool(flag) => self.bool(*flag),
            Any::Int(int) => self.int(*int),
            Any::Uint(int) => self.uint(*int),
            Any::Float(float) => self.float(*float),
            Any::Str(text) => self.str(text),
            Any::Bytes(bytes) => self.bytes(bytes),
            Any::Time(time) => self.bare(&time.to_string()),
            Any::List(items) => {
                self.begin_seq(items.len());
                for item in items {
                    self.any(item);
                }
                self.end();
            }
            Any::Map(fields) => {
                let stack = self.stack();
                let mut sorted: Vec<&(Any, Any)> = fields.iter().collect();
                sort_by_key(&mut sorted, |a, b| compare(&a.0.key(), &b.0.key(), stack));
                self.begin_map(fields.len());
                for (key, value) in sorted {
                    self.any(key);
                    self.any(value);
                }
                self.end();
            }
        }
    }
}
