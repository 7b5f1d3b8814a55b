//! Writing: plain keys first, then tables, each group sorted; what nests below an array is written inline.

use roadstead_template::{Underlying, Value};

use super::{MAX_DEPTH, dotted, escaped, key};
use crate::go::strconv::format_float;
use crate::objects::{DurationObject, TimeObject, VersionObject};

const NIL_ELEMENT: &str = "toml: cannot encode array with nil element";

/// What a value is to TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Nil,
    Plain,
    Array,
    Table,
    Tables,
}

/// A value with the table that it stands for taken out.
enum Shape {
    Plain,
    Array(Vec<Value>),
    Table(Vec<(Vec<u8>, Value)>),
}

fn shape(value: &Value) -> Shape {
    if let Some(list) = value.as_list() {
        return Shape::Array(list.items().into_owned());
    }
    if let Some(map) = value.as_map() {
        let entries = map.entries().into_iter();
        return Shape::Table(entries.map(|(key, value)| (key.to_vec(), value)).collect());
    }
    if let Value::Object(object) = value
        && !is_text(value)
        && let Underlying::Struct(fields) = object.underlying()
    {
        let fields = fields.into_iter().filter(|field| field.exported);
        return Shape::Table(
            fields
                .map(|field| (field.name.as_bytes().to_vec(), field.value))
                .collect(),
        );
    }
    Shape::Plain
}

/// Whether the value says itself in text.
fn is_text(value: &Value) -> bool {
    value.downcast::<TimeObject>().is_some() || value.downcast::<VersionObject>().is_some()
}

fn sort(value: &Value, depth: usize) -> Result<Sort, String> {
    if value.is_nil() {
        return Ok(Sort::Nil);
    }
    if depth > MAX_DEPTH {
        return Err(format!("toml: values nest more than {MAX_DEPTH} deep"));
    }
    Ok(match shape(value) {
        Shape::Table(_) => Sort::Table,
        Shape::Array(items) => {
            let mut all = !items.is_empty();
            for item in &items {
                match sort(item, depth + 1)? {
                    Sort::Nil => return Err(NIL_ELEMENT.to_owned()),
                    Sort::Table => {}
                    _ => all = false,
                }
            }
            if all { Sort::Tables } else { Sort::Array }
        }
        Shape::Plain => match value {
            Value::Complex(..) => return Err("unsupported type: complex128".to_owned()),
            _ => Sort::Plain,
        },
    })
}

/// Writes a value. The error is the library's text, or what its panic says.
pub fn write(value: &Value) -> Result<Vec<u8>, String> {
    if value.is_untyped_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
    }
    let mut writer = Writer { out: Vec::new() };
    writer.encode(&[], value)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn line(&mut self) {
        if !self.out.is_empty() {
            self.out.push(b'\n');
        }
    }

    fn indent(&mut self, keys: &[Vec<u8>]) {
        self.out
            .extend(vec![b' '; 2 * keys.len().saturating_sub(1)]);
    }

    fn encode(&mut self, keys: &[Vec<u8>], value: &Value) -> Result<(), String> {
        match sort(value, keys.len())? {
            Sort::Nil => Ok(()),
            Sort::Table => {
                if keys.len() == 1 {
                    self.line();
                }
                if !keys.is_empty() {
                    self.indent(keys);
                    self.out.push(b'[');
                    self.out.extend(dotted(keys));
                    self.out.push(b']');
                    self.line();
                }
                self.table(keys, value, false)
            }
            Sort::Tables => {
                if keys.is_empty() {
                    let message = "toml: top-level values must be Go maps or structs";
                    return Err(message.to_owned());
                }
                if let Shape::Array(items) = shape(value) {
                    for item in items {
                        self.line();
                        self.indent(keys);
                        self.out.extend(b"[[");
                        self.out.extend(dotted(keys));
                        self.out.extend(b"]]");
                        self.line();
                        self.table(keys, &item, false)?;
                    }
                }
                Ok(())
            }
            Sort::Plain | Sort::Array => self.pair(keys, value, false),
        }
    }

    fn pair(&mut self, keys: &[Vec<u8>], value: &Value, inline: bool) -> Result<(), String> {
        let Some(last) = keys.last() else {
            return self.element(value, 0);
        };
        self.indent(keys);
        self.out.extend(key(last));
        self.out.extend(b" = ");
        self.element(value, keys.len())?;
        if !inline {
            self.line();
        }
        Ok(())
    }

    fn table(&mut self, keys: &[Vec<u8>], value: &Value, inline: bool) -> Result<(), String> {
        let Shape::Table(entries) = shape(value) else {
            return Ok(());
        };
        let (mut plain, mut tables) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            match sort(&value, keys.len() + 1)? {
                Sort::Table | Sort::Tables => tables.push((key, value)),
                _ => plain.push((key, value)),
            }
        }
        if inline {
            self.out.push(b'{');
        }
        let more = !tables.is_empty();
        for (group, more) in [(plain, more), (tables, false)] {
            let count = group.len();
            for (index, (key, value)) in group.into_iter().enumerate() {
                if value.is_nil() {
                    continue;
                }
                if inline {
                    self.pair(&[key], &value, true)?;
                    if more || index + 1 != count {
                        self.out.extend(b", ");
                    }
                } else {
                    let mut inner = keys.to_vec();
                    inner.push(key);
                    self.encode(&inner, &value)?;
                }
            }
        }
        if inline {
            self.out.push(b'}');
        }
        Ok(())
    }

    fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        self.out.extend(escaped(text));
        self.out.push(b'"');
    }

    fn element(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("toml: values nest more than {MAX_DEPTH} deep"));
        }
        if let Some(time) = value.downcast::<TimeObject>() {
            self.out.extend(time.0.toml());
            return Ok(());
        }
        if let Some(duration) = value.downcast::<DurationObject>() {
            self.quoted(crate::go::duration::to_string(duration.0).as_bytes());
            return Ok(());
        }
        if let Some(version) = value.downcast::<VersionObject>() {
            self.quoted(version.0.to_string().as_bytes());
            return Ok(());
        }
        match shape(value) {
            Shape::Table(_) => return self.inline_table(value, depth),
            Shape::Array(items) => {
                self.out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.extend(b", ");
                    }
                    self.element(item, depth + 1)?;
                }
                self.out.push(b']');
                return Ok(());
            }
            Shape::Plain => {}
        }
        match value {
            Value::Str(text) => self.quoted(text),
            Value::Bool(value) => self.out.extend(value.to_string().as_bytes()),
            Value::Int(int) => self.out.extend(int.as_i128().to_string().as_bytes()),
            Value::Float(float) => self.out.extend(float_text(*float).as_bytes()),
            Value::Object(object) => match object.underlying() {
                Underlying::Str(text) => self.quoted(&text),
                Underlying::Int(int) => self.out.extend(int.as_i128().to_string().as_bytes()),
                Underlying::Float(float) => self.out.extend(float_text(float).as_bytes()),
                Underlying::Bool(value) => self.out.extend(value.to_string().as_bytes()),
                _ => return Err(format!("unexpected type: {}", object.type_name())),
            },
            _ => return Err(format!("unexpected type: {}", value.type_name())),
        }
        Ok(())
    }

    fn inline_table(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        // The depth goes on counting through keys that are never written.
        let keys = vec![Vec::new(); depth];
        self.table(&keys, value, true)
    }
}

fn float_text(value: f64) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() {
            "-nan"
        } else {
            "nan"
        }
        .to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let text = format_float(value);
    if text.contains(['e', '.']) {
        text
    } else {
        text + ".0"
    }
}
