//! Bodies in protobuf, as kubectl's typed clients send them: read into JSON by one table of all built-in types.
//!
//! Answers are JSON always: every client that sends protobuf accepts it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Status, time_text};

const TABLE: &str = include_str!("builtin.protos");
const MAGIC: &[u8] = b"k8s\0";
const DEPTH: usize = 64;

/// What a field holds.
enum Holds {
    Text,
    Bool,
    Integer,
    Float,
    Bytes,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Raw,
    Texts,
    /// Of a definition's schema: a schema, or something simpler.
    SchemaOrBool,
    SchemaOrList,
    SchemaOrTexts,
    List(Box<Holds>),
    Map(Box<Holds>),
    Message(&'static str),
}

struct Field {
    /// `~`: its fields stand beside its own.
    name: &'static str,
    /// Is it left out where it is empty?
    optional: bool,
    holds: Holds,
}

type Fields = BTreeMap<u64, Field>;

struct Types {
    kinds: BTreeMap<(&'static str, &'static str), &'static str>,
    types: BTreeMap<&'static str, Fields>,
}

fn holds(text: &'static str) -> Holds {
    match text {
        "s" => Holds::Text,
        "b" => Holds::Bool,
        "i" => Holds::Integer,
        "d" => Holds::Float,
        "y" => Holds::Bytes,
        "Time" => Holds::Time,
        "MicroTime" => Holds::MicroTime,
        "Duration" => Holds::Duration,
        "Quantity" => Holds::Quantity,
        "IntOrString" => Holds::IntOrString,
        "Raw" => Holds::Raw,
        "Texts" => Holds::Texts,
        "SchemaOrBool" => Holds::SchemaOrBool,
        "SchemaOrList" => Holds::SchemaOrList,
        "SchemaOrTexts" => Holds::SchemaOrTexts,
        _ => match (text.strip_prefix('*'), text.strip_prefix('%')) {
            (Some(inner), _) => Holds::List(Box::new(holds(inner))),
            (_, Some(inner)) => Holds::Map(Box::new(holds(inner))),
            _ => Holds::Message(text),
        },
    }
}

fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut out = Types {
            kinds: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        let mut last = "";
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let parts: Vec<&str> = line.split_whitespace().collect();
            match parts.as_slice() {
                ["=", api_version, kind, name] => {
                    out.kinds.insert((api_version, kind), name);
                }
                [number, name, text] => {
                    if let (Ok(number), Some(fields)) = (number.parse(), out.types.get_mut(last)) {
                        let field = Field {
                            name: name.trim_end_matches('?'),
                            optional: name.ends_with('?'),
                            holds: holds(text),
                        };
                        fields.insert(number, field);
                    }
                }
                [name] => {
                    last = name;
                    out.types.insert(name, Fields::new());
                }
                _ => {}
            }
        }
        out
    })
}

/// A value on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

struct Reader<'a>(&'a [u8]);

fn broken() -> Status {
    Status::bad_request("the object provided is not valid protobuf")
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, Status> {
        let mut out = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            if shift < 64 {
                out |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err(broken())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Status> {
        if count > self.0.len() {
            return Err(broken());
        }
        let (out, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(out)
    }

    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Status> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(
                self.take(8)?.try_into().map_err(|_| broken())?,
            )),
            2 => {
                let count = usize::try_from(self.varint()?).map_err(|_| broken())?;
                Wire::Bytes(self.take(count)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(
                self.take(4)?.try_into().map_err(|_| broken())?,
            )),
            _ => return Err(broken()),
        };
        Ok(Some((tag >> 3, wire)))
    }
}

fn text(bytes: &[u8]) -> Result<String, Status> {
    String::from_utf8(bytes.to_vec()).map_err(|_| broken())
}

/// Reads the fields of a small message: numbers, and texts as bytes.
fn parts(bytes: &[u8]) -> Result<BTreeMap<u64, Wire<'_>>, Status> {
    let (mut reader, mut out) = (Reader(bytes), BTreeMap::new());
    while let Some((number, wire)) = reader.next()? {
        out.insert(number, wire);
    }
    Ok(out)
}

fn signed(wire: Option<&Wire<'_>>) -> i64 {
    match wire {
        // negative numbers stand as their two's complement
        Some(Wire::Varint(number)) => *number as i64,
        _ => 0,
    }
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, Status> {
    let parts = parts(bytes)?;
    let (seconds, nanos) = (signed(parts.get(&1)), signed(parts.get(&2)));
    if parts.is_empty() || (seconds == 0 && nanos == 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| broken())?;
    let at = Timestamp::new(seconds, nanos).map_err(|_| broken())?;
    Ok(json!(if micro {
        at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    } else {
        time_text(at)
    }))
}

/// Reads a schema inside of a schema.
fn schema(bytes: &[u8], depth: usize) -> Result<Value, Status> {
    message("apiextensions.v1.JSONSchemaProps", bytes, depth + 1).map(Value::Object)
}

/// A number as JSON has it: whole ones without a point.
fn float(number: f64) -> Value {
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE {
        json!(number as i64)
    } else {
        json!(number)
    }
}

fn read(holds: &Holds, wire: &Wire<'_>, depth: usize) -> Result<Value, Status> {
    let bytes = match wire {
        Wire::Bytes(bytes) => Some(*bytes),
        _ => None,
    };
    let bytes = || bytes.ok_or_else(broken);
    let first = |bytes| -> Result<Value, Status> {
        match parts(bytes)?.get(&1) {
            Some(Wire::Bytes(inner)) => Ok(json!(text(inner)?)),
            _ => Ok(Value::Null),
        }
    };
    Ok(match holds {
        Holds::Text => json!(text(bytes()?)?),
        Holds::Bool => json!(signed(Some(wire)) != 0),
        Holds::Integer => json!(signed(Some(wire))),
        Holds::Float => match wire {
            Wire::Fixed64(bits) => float(f64::from_bits(*bits)),
            Wire::Fixed32(bits) => float(f32::from_bits(*bits).into()),
            _ => return Err(broken()),
        },
        Holds::Bytes => json!(base64::engine::general_purpose::STANDARD.encode(bytes()?)),
        Holds::Time => time(bytes()?, false)?,
        Holds::MicroTime => time(bytes()?, true)?,
        Holds::Duration => json!(format!("{}ns", signed(parts(bytes()?)?.get(&1)))),
        Holds::Quantity => match first(bytes()?)? {
            Value::Null => json!("0"),
            quantity => quantity,
        },
        Holds::IntOrString => {
            let parts = parts(bytes()?)?;
            match (signed(parts.get(&1)), parts.get(&3)) {
                (0, _) => json!(signed(parts.get(&2))),
                (_, Some(Wire::Bytes(inner))) => json!(text(inner)?),
                _ => json!(""),
            }
        }
        Holds::Raw => match parts(bytes()?)?.get(&1) {
            Some(Wire::Bytes(inner)) => serde_json::from_slice(inner).map_err(|_| broken())?,
            _ => Value::Null,
        },
        Holds::Texts => {
            let (mut reader, mut out) = (Reader(bytes()?), Vec::new());
            while let Some((_, wire)) = reader.next()? {
                if let Wire::Bytes(inner) = wire {
                    out.push(json!(text(inner)?));
                }
            }
            Value::Array(out)
        }
        Holds::SchemaOrBool => {
            let parts = parts(bytes()?)?;
            match parts.get(&2) {
                Some(Wire::Bytes(inner)) => schema(inner, depth)?,
                _ => json!(signed(parts.get(&1)) != 0),
            }
        }
        Holds::SchemaOrList | Holds::SchemaOrTexts => {
            let (mut reader, mut one, mut list) = (Reader(bytes()?), Value::Null, Vec::new());
            while let Some((number, wire)) = reader.next()? {
                match (number, wire) {
                    (1, Wire::Bytes(inner)) => one = schema(inner, depth)?,
                    (2, Wire::Bytes(inner)) if matches!(holds, Holds::SchemaOrTexts) => {
                        list.push(json!(text(inner)?));
                    }
                    (2, Wire::Bytes(inner)) => list.push(schema(inner, depth)?),
                    _ => {}
                }
            }
            if list.is_empty() {
                one
            } else {
                Value::Array(list)
            }
        }
        Holds::Message(name) => Value::Object(message(name, bytes()?, depth + 1)?),
        // they are gathered where the message is read
        Holds::List(inner) | Holds::Map(inner) => read(inner, wire, depth)?,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    }
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Status> {
    if depth > DEPTH {
        return Err(broken());
    }
    let fields = types().types.get(name).ok_or_else(broken)?;
    let (mut reader, mut out) = (Reader(bytes), Map::new());
    while let Some((number, wire)) = reader.next()? {
        let Some(field) = fields.get(&number) else {
            continue;
        };
        match (&field.holds, &wire) {
            (Holds::Map(inner), Wire::Bytes(entry)) => {
                let parts = parts(entry)?;
                let key = match parts.get(&1) {
                    Some(Wire::Bytes(key)) => text(key)?,
                    _ => String::new(),
                };
                let value = match parts.get(&2) {
                    Some(value) => read(inner, value, depth)?,
                    None => read(inner, &Wire::Bytes(&[]), depth)?,
                };
                let slot = out.entry(field.name).or_insert_with(|| json!({}));
                slot[key] = value;
            }
            (Holds::List(inner), wire) => {
                let slot = out.entry(field.name).or_insert_with(|| json!([]));
                let Value::Array(list) = slot else { continue };
                match (&**inner, wire) {
                    // numbers may stand packed
                    (Holds::Integer, Wire::Bytes(packed)) => {
                        let mut packed = Reader(packed);
                        while !packed.0.is_empty() {
                            list.push(json!(packed.varint()? as i64));
                        }
                    }
                    (inner, wire) => list.push(read(inner, wire, depth)?),
                }
            }
            (holds, wire) => {
                let value = read(holds, wire, depth)?;
                match value {
                    Value::Object(inner) if field.name == "~" => out.extend(inner),
                    value if (field.optional && is_empty(&value)) || value.is_null() => {}
                    value => {
                        out.insert(field.name.to_owned(), value);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Reads an object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Status> {
    let unknown = parts(body.strip_prefix(MAGIC).ok_or_else(|| {
        Status::bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    })?)?;
    let (Some(Wire::Bytes(meta)), Some(Wire::Bytes(raw))) = (unknown.get(&1), unknown.get(&2))
    else {
        return Err(broken());
    };
    let meta = parts(meta)?;
    let of = |number: u64| match meta.get(&number) {
        Some(Wire::Bytes(bytes)) => text(bytes),
        _ => Ok(String::new()),
    };
    let (api_version, kind) = (of(1)?, of(2)?);
    // the options of a delete stand in every group
    let name = types()
        .kinds
        .get(&(api_version.as_str(), kind.as_str()))
        .or_else(|| types().kinds.get(&("v1", kind.as_str())))
        .ok_or_else(|| Status::unsupported_media_type(&["application/json", "application/yaml"]))?;
    let mut out = message(name, raw, 0)?;
    out.insert("apiVersion".to_owned(), json!(api_version));
    out.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn reads_what_a_typed_client_sends() {
        let meta = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let data = [field(1, b"color"), field(2, b"red")].concat();
        // name, an empty generateName, an empty creationTimestamp
        let object_meta = [field(1, b"settings"), field(2, b""), field(8, b"")].concat();
        let raw = [field(1, &object_meta), field(2, &data)].concat();
        let body = [MAGIC.to_vec(), field(1, &meta), field(2, &raw)].concat();
        assert_eq!(
            decode(&body).expect("decodes"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": "red"}})
        );
        for cut in 0..body.len() {
            // nothing that is cut off may panic
            let _ = decode(&body[..cut]);
        }
        assert!(decode(b"{}").is_err());
    }

    #[test]
    fn reads_the_schemas_of_definitions() {
        fn long(number: u8, bytes: &[u8]) -> Vec<u8> {
            // the numbers of a schema's fields take two bytes
            let tag = [number << 3 | 2 | 0x80, number >> 4];
            [
                &tag[..],
                &[u8::try_from(bytes.len()).expect("short")],
                bytes,
            ]
            .concat()
        }
        let text = field(5, b"string");
        let default = field(8, &field(1, b"\"x\""));
        let maximum = [&[9 << 3 | 1][..], &10_f64.to_le_bytes()].concat();
        let inner = [text.clone(), default, maximum].concat();
        let schema = [
            field(5, b"object"),
            long(24, &[field(2, &text), field(2, &text)].concat()),
            long(29, &[field(1, b"a"), field(2, &inner)].concat()),
            long(30, &[1 << 3, 1]),
            long(32, &[field(1, b"a"), field(2, &field(2, b"b"))].concat()),
            long(33, &field(2, &text)),
        ]
        .concat();
        let found = message("apiextensions.v1.JSONSchemaProps", &schema, 0).expect("decodes");
        assert_eq!(
            Value::Object(found),
            json!({
                "type": "object",
                "items": [{"type": "string"}, {"type": "string"}],
                "properties": {"a": {"type": "string", "default": "x", "maximum": 10}},
                "additionalProperties": true,
                "dependencies": {"a": ["b"]},
                "additionalItems": {"type": "string"},
            })
        );
    }

    #[test]
    fn every_type_of_the_table_is_there() {
        fn names(holds: &Holds) -> Option<&'static str> {
            match holds {
                Holds::Message(name) => Some(name),
                Holds::List(inner) | Holds::Map(inner) => names(inner),
                _ => None,
            }
        }
        let types = types();
        for (name, fields) in &types.types {
            for field in fields.values() {
                if let Some(inner) = names(&field.holds) {
                    assert!(types.types.contains_key(inner), "{name} refers to {inner}");
                }
            }
        }
        assert!(
            types
                .kinds
                .values()
                .all(|name| types.types.contains_key(name))
        );
        assert!(types.kinds.len() > 50);
    }
}
