//! What Go programs see: `sigs.k8s.io/yaml` over go-yaml version 2, go-yaml version 3, and `encoding/json`, with their
//! results, their texts and their errors.

use std::cmp::Ordering;

use base_json::{Map, Value};

pub use crate::any::Any;
pub use crate::emit::Writer;
pub use crate::error::GoError;
pub use crate::node::{
    NodeKind, Nodes, ScalarStyle, nodes, plain_fits, reads_as_other, scalar_v3, tag_v3,
};
pub use crate::resolve::Stack;
pub use crate::syntax::go_quote as quote;
pub use crate::time::Timestamp;

use crate::emit::{Key, compare, sort_by_key};
use crate::number;

/// Reads the first document as `sigs.k8s.io/yaml.Unmarshal` into an `interface{}`: a key that stands twice has its last
/// value, scalars follow YAML 1.1, an empty text is null. Integers are kept where Go would hold a float64.
///
/// The error is Go's: `error converting YAML to JSON: yaml: line 3: did not find expected key`.
pub fn unmarshal(text: &[u8]) -> Result<Value, GoError> {
    yaml_to_json(text).map_err(converting)
}

/// Reads as `sigs.k8s.io/yaml.UnmarshalStrict` does: as [`unmarshal`], but a key that stands twice is an error.
pub fn unmarshal_strict(text: &[u8]) -> Result<Value, GoError> {
    yaml_to_json_strict(text).map_err(converting)
}

/// Reads as `sigs.k8s.io/yaml.YAMLToJSON` does; the error is without what `Unmarshal` puts before it.
pub fn yaml_to_json(text: &[u8]) -> Result<Value, GoError> {
    crate::decode::first(text, false)
}

/// Reads as `sigs.k8s.io/yaml.YAMLToJSONStrict` does.
pub fn yaml_to_json_strict(text: &[u8]) -> Result<Value, GoError> {
    crate::decode::first(text, true)
}

fn converting(error: GoError) -> GoError {
    error.within("error converting YAML to JSON")
}

/// Reads the first document as go-yaml version 3's `Unmarshal` into an `interface{}`: `yes` is a string, a date is a time,
/// a key that stands twice is an error.
pub fn unmarshal_v3(text: &[u8]) -> Result<Any, GoError> {
    crate::decode3::first(text)
}

/// Writes as `sigs.k8s.io/yaml.Marshal` does (Helm's `toYaml`, but for the line break at the end).
pub fn to_yaml(value: &Value) -> Result<String, GoError> {
    let mut writer = Writer::sigs();
    writer.value(value);
    // what cannot pass through JSON has its place in that JSON
    writer.finish().or_else(|error| {
        let value = crate::decode::first(to_json(value, true).as_bytes(), false)?;
        let mut writer = Writer::sigs();
        writer.value(&value);
        writer.finish().map_err(|_| error)
    })
}

/// Writes as go-yaml version 3's encoder with this indent does (Helm's `toYamlPretty` has 2): floats stay floats.
pub fn to_yaml_v3(value: &Value, indent: usize) -> Result<String, GoError> {
    let mut writer = Writer::v3(indent);
    writer.value(value);
    writer.finish()
}

impl Writer {
    /// Writes a value with all that is in it, keys in Go's order.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(flag) => self.bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), _, _) => self.int(int),
                (None, Some(int), _) => self.uint(int),
                (None, None, float) => self.float(float.unwrap_or_default()),
            },
            Value::String(text) => self.str(text),
            Value::Array(items) => {
                self.begin_seq(items.len());
                for item in items {
                    self.value(item);
                }
                self.end();
            }
            Value::Object(map) => self.map(map),
        }
    }

    fn map(&mut self, map: &Map<String, Value>) {
        self.begin_map(map.len());
        let mut fields: Vec<(&str, &Value)> = map.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let stack = self.stack();
        sort_by_key(&mut fields, |a, b| {
            compare(&Key::Str(a.0), &Key::Str(b.0), stack)
        });
        for (key, value) in fields {
            self.str(key);
            self.value(value);
        }
        self.end();
    }
}

/// Compares two keys as go-yaml does when it sorts a map. The order is not total: `a2`, `a10` and `a1b` go round.
pub fn natural_order(a: &str, b: &str, stack: Stack) -> Ordering {
    compare(&Key::Str(a), &Key::Str(b), stack)
}

/// Sorts a map's entries as go-yaml writes them.
pub fn sort_entries<T: Copy>(entries: &mut [T], stack: Stack, key: impl Fn(&T) -> &str) {
    sort_by_key(entries, |a, b| natural_order(key(a), key(b), stack));
}

/// Writes a float as Go's `encoding/json` does (`1e+21`, `1e-7`, `1000000`); nothing for what JSON cannot say.
pub fn json_float(float: f64) -> Option<String> {
    number::json_text(float)
}

/// Writes a float as Go's `%v` and `strconv.FormatFloat(f, 'g', -1, 64)` do (`1e+06`, `+Inf`, `NaN`).
pub fn format_g(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number::go_g(float)
    }
}

/// Writes a value as Go's `json.Marshal` does: compact, keys sorted by bytes, `<`, `>` and `&` escaped if `html` is set.
pub fn to_json(value: &Value, html: bool) -> String {
    let mut out = String::new();
    write_json(&mut out, value, html);
    out
}

fn write_json(out: &mut String, value: &Value, html: bool) {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => {
                out.push_str(&json_float(float).unwrap_or_else(|| "null".to_owned()));
            }
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => json_string(out, text.as_bytes(), html),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(out, item, html);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            for (index, (key, item)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json_string(out, key.as_bytes(), html);
                out.push(':');
                write_json(out, item, html);
            }
            out.push('}');
        }
        Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}

/// Appends a Go string as `encoding/json` quotes it; bytes that are not UTF-8 become `\ufffd`.
pub fn json_string(out: &mut String, bytes: &[u8], html: bool) {
    use std::fmt::Write as _;
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid();
        let mut from = 0;
        for (at, c) in text.char_indices() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => "",
                '<' | '>' | '&' if html => "",
                _ => continue,
            };
            out.push_str(&text[from..at]);
            from = at + c.len_utf8();
            if short.is_empty() {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            } else {
                out.push_str(short);
            }
        }
        out.push_str(&text[from..]);
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}
