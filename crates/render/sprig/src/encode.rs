//! Data as text: base 32 and 64, JSON, YAML, TOML.

use std::collections::BTreeMap;

use base_yaml::go as yaml;
use roadstead_template::{Call, FuncError, Function, List, Map, Str, Type, Value};

use crate::codec::{Unwritten, to_json, to_yaml, to_yaml_pretty};
use crate::go::json::{self, Json};
use crate::objects::time_value;
use crate::table::{ANY, STR};
use crate::toml::{self, Toml};
use crate::values::{Outcome, any, failed, reserve, text};

const TABLES: Type = Type::Slice(&Type::DICT);

pub(crate) const ROWS: &[Function] = &[
    Function::pure("b64enc", STR, |_, args| {
        use base64::Engine as _;
        let source = text(args, 0);
        Ok(Value::from(
            base64::engine::general_purpose::STANDARD.encode(&*source),
        ))
    }),
    Function::pure("b64dec", STR, |_, args| {
        Ok(decode64(&text(args, 0)).map_or_else(Value::from, Value::str))
    }),
    Function::pure("b32enc", STR, |_, args| {
        Ok(Value::str(encode32(&text(args, 0))))
    }),
    Function::pure("b32dec", STR, |_, args| {
        Ok(decode32(&text(args, 0)).map_or_else(Value::from, Value::str))
    }),
    Function::pure("toJson", ANY, |_, args| {
        quiet(to_json(any(args, 0), true, false))
    }),
    Function::pure("mustToJson", ANY, |_, args| {
        loud(to_json(any(args, 0), true, false))
    }),
    Function::pure("toPrettyJson", ANY, |_, args| {
        quiet(to_json(any(args, 0), true, true))
    }),
    Function::pure("mustToPrettyJson", ANY, |_, args| {
        loud(to_json(any(args, 0), true, true))
    }),
    Function::pure("toRawJson", ANY, |_, args| {
        loud(to_json(any(args, 0), false, false))
    }),
    Function::pure("mustToRawJson", ANY, |_, args| {
        loud(to_json(any(args, 0), false, false))
    }),
    Function::pure("mustFromJson", STR, |call, args| {
        let source = text(args, 0);
        reserve(call, source.len().saturating_mul(4))?;
        let read = json::parse(&source).map_err(failed)?;
        match read.error {
            Some(error) => Err(failed(error)),
            None => Ok(json_value(read.value)),
        }
    }),
    Function::pure("fromJson", STR, from_json),
    Function::pure("fromJsonArray", STR, from_json_array),
    Function::pure("toYaml", ANY, |_, args| {
        quiet(to_yaml(any(args, 0)).map(trimmed))
    }),
    Function::pure("toYamlPretty", ANY, |_, args| {
        quiet(to_yaml_pretty(any(args, 0)).map(trimmed))
    }),
    Function::pure("fromYaml", STR, from_yaml),
    Function::pure("fromYamlArray", STR, from_yaml_array),
    Function::pure("toToml", ANY, |_, args| {
        let value = any(args, 0);
        match toml::write(value) {
            Ok(text) => Ok(Value::str(text)),
            Err(message) if value.is_untyped_nil() => Err(failed(message)),
            Err(message) => Ok(Value::from(message)),
        }
    }),
    Function::pure("fromToml", STR, |call, args| {
        let source = text(args, 0);
        reserve(call, source.len().saturating_mul(4))?;
        Ok(match toml::parse(&source) {
            Ok(table) => table_value(table).into(),
            Err(message) => error_map(&message),
        })
    }),
];

/// What Helm 4 has more than Helm 3.
pub(crate) const HELM4_ROWS: &[Function] = &[
    Function::pure("mustToYaml", ANY, |_, args| {
        loud(to_yaml(any(args, 0)).map(trimmed))
    }),
    Function::pure("mustToToml", ANY, |_, args| {
        toml::write(any(args, 0)).map(Value::str).map_err(failed)
    }),
];

fn trimmed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Errors become an empty text, as templates have it; bounds stay errors.
fn quiet(written: Result<String, Unwritten>) -> Outcome {
    match written {
        Ok(text) => Ok(Value::from(text)),
        Err(Unwritten::Go(_)) => Ok(Value::from("")),
        Err(Unwritten::Bound(error)) => Err(error),
    }
}

fn loud(written: Result<String, Unwritten>) -> Outcome {
    written.map(Value::from).map_err(Unwritten::error)
}

fn error_map(message: &str) -> Value {
    Value::dict([("Error", Value::from(message))])
}

fn error_list(message: &str) -> Value {
    Value::list(vec![Value::from(message)])
}

fn json_value(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => value.into(),
        Json::Number(number) => number.into(),
        Json::String(text) => Value::str(text),
        Json::Array(items) => Value::list(items.into_iter().map(json_value).collect()),
        Json::Object(fields) => json_map(fields).into(),
    }
}

fn json_map(fields: BTreeMap<Vec<u8>, Json>) -> Map {
    let fields = fields.into_iter();
    fields
        .map(|(key, value)| (Str::from(key), json_value(value)))
        .collect()
}

fn cannot_be(kind: &str, wanted: Type) -> String {
    format!("json: cannot unmarshal {kind} into Go value of type {wanted}")
}

fn from_json(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let source = text(args, 0);
    reserve(call, source.len().saturating_mul(4))?;
    let read = match json::parse(&source) {
        Ok(read) => read,
        Err(message) => return Ok(error_map(&message)),
    };
    let map = match read.value {
        Json::Object(fields) => json_map(fields),
        Json::Null if read.error.is_none() => Map::nil(Type::DICT),
        // A number that does not fit its own type is refused as a number first.
        Json::Null => return Ok(error_map(&cannot_be("number", Type::DICT))),
        other => return Ok(error_map(&cannot_be(other.kind(), Type::DICT))),
    };
    if let Some(message) = read.error {
        let _ = map.insert("Error", Value::from(message));
    }
    Ok(map.into())
}

fn from_json_array(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let source = text(args, 0);
    reserve(call, source.len().saturating_mul(4))?;
    Ok(match json::parse(&source) {
        Err(message) => error_list(&message),
        Ok(json::Read {
            value: Json::Null,
            error: Some(_),
        }) => error_list(&cannot_be("number", Type::LIST)),
        Ok(json::Read {
            error: Some(message),
            ..
        }) => error_list(&message),
        Ok(json::Read {
            value: Json::Null, ..
        }) => Value::List(List::nil(Type::LIST)),
        Ok(json::Read {
            value: Json::Array(items),
            ..
        }) => Value::list(items.into_iter().map(json_value).collect()),
        Ok(read) => error_list(&cannot_be(read.value.kind(), Type::LIST)),
    })
}

fn yaml_value(value: serde_json::Value) -> Value {
    use serde_json::Value as Tree;
    match value {
        Tree::Null => Value::Nil,
        Tree::Bool(value) => value.into(),
        Tree::Number(number) => number.as_f64().unwrap_or(0.0).into(),
        Tree::String(text) => Value::from(text),
        Tree::Array(items) => Value::list(items.into_iter().map(yaml_value).collect()),
        Tree::Object(fields) => yaml_map(fields).into(),
    }
}

fn yaml_map(fields: serde_json::Map<String, serde_json::Value>) -> Map {
    let fields = fields.into_iter();
    fields
        .map(|(key, value)| (Str::from(key), yaml_value(value)))
        .collect()
}

/// Reads YAML where a map or a list is wanted. The error is Go's.
fn read_yaml(
    call: &mut Call<'_>,
    source: &[u8],
    wanted: Type,
) -> Result<Result<serde_json::Value, String>, FuncError> {
    reserve(call, source.len().saturating_mul(4))?;
    let value = match yaml::unmarshal(source) {
        Ok(value) => value,
        Err(error) => return Ok(Err(error.text)),
    };
    let kind = match &value {
        serde_json::Value::Object(_) if wanted == Type::DICT => return Ok(Ok(value)),
        serde_json::Value::Array(_) if wanted == Type::LIST => return Ok(Ok(value)),
        serde_json::Value::Null => return Ok(Ok(value)),
        serde_json::Value::Object(_) => "object",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
    };
    let message = cannot_be(kind, wanted);
    Ok(Err(format!(
        "error unmarshaling JSON: while decoding JSON: {message}"
    )))
}

fn from_yaml(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    Ok(match read_yaml(call, &text(args, 0), Type::DICT)? {
        Ok(serde_json::Value::Object(fields)) => yaml_map(fields).into(),
        Ok(_) => Map::new().into(),
        Err(message) => error_map(&message),
    })
}

fn from_yaml_array(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    Ok(match read_yaml(call, &text(args, 0), Type::LIST)? {
        Ok(serde_json::Value::Array(items)) => {
            Value::list(items.into_iter().map(yaml_value).collect())
        }
        Ok(_) => Value::list(Vec::new()),
        Err(message) => error_list(&message),
    })
}

fn table_value(table: BTreeMap<Vec<u8>, Toml>) -> Map {
    let fields = table.into_iter();
    fields
        .map(|(key, value)| (Str::from(key), toml_value(value)))
        .collect()
}

fn toml_value(value: Toml) -> Value {
    match value {
        Toml::String(text) => Value::str(text),
        Toml::Integer(value) => Value::int64(value),
        Toml::Float(value) => value.into(),
        Toml::Bool(value) => value.into(),
        Toml::Time(time) => time_value(time),
        Toml::Array(items) => Value::list(items.into_iter().map(toml_value).collect()),
        Toml::Table(table) => table_value(table).into(),
        Toml::Tables(tables) => {
            let tables = tables.into_iter().map(|table| table_value(table).into());
            List::typed(TABLES, tables.collect()).into()
        }
    }
}

/// Reads base 64. The error is Go's text.
pub(crate) fn decode64(source: &[u8]) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let line = |at: usize| matches!(source.get(at), Some(b'\n' | b'\r'));
    let mut out = Vec::with_capacity(source.len() / 4 * 3);
    let mut at = 0;
    loop {
        let (mut bits, mut count) = (0_u32, 0);
        while count < 4 {
            let Some(&byte) = source.get(at) else {
                if count == 0 {
                    return Ok(out);
                }
                return illegal(at - count);
            };
            at += 1;
            if let Some(value) = value(byte) {
                bits = bits << 6 | u32::from(value);
                count += 1;
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                continue;
            }
            if byte != b'=' || count < 2 {
                return illegal(at - 1);
            }
            if count == 2 {
                while line(at) {
                    at += 1;
                }
                match source.get(at) {
                    None => return illegal(source.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return illegal(at - 1),
                }
            }
            while line(at) {
                at += 1;
            }
            if at < source.len() {
                return illegal(at);
            }
            let bytes = (bits << (6 * (4 - count))).to_be_bytes();
            out.extend_from_slice(&bytes[1..count]);
            return Ok(out);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
}

const ALPHABET32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn encode32(source: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(source.len().div_ceil(5) * 8);
    for part in source.chunks(5) {
        let mut bytes = [0_u8; 8];
        bytes[3..3 + part.len()].copy_from_slice(part);
        let bits = u64::from_be_bytes(bytes);
        let letters = (part.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = bits >> (35 - 5 * index) & 31;
            out.push(if index < letters {
                ALPHABET32[digit as usize]
            } else {
                b'='
            });
        }
    }
    out
}

fn decode32(source: &[u8]) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    let source: Vec<u8> = source
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let length = source.len();
    let mut out = Vec::with_capacity(length / 8 * 5);
    let mut at = 0;
    while at < length {
        let (mut bits, mut count, mut end) = (0_u64, 0, false);
        while count < 8 {
            let Some(&byte) = source.get(at) else {
                return illegal(length - count);
            };
            at += 1;
            let left = length - at;
            if byte == b'=' && count >= 2 && left < 8 {
                if left + count < 7 {
                    return illegal(length);
                }
                for index in 0..7 - count {
                    if left > index && source[at + index] != b'=' {
                        return illegal(at + index - 1);
                    }
                }
                if matches!(count, 3 | 6) {
                    return illegal(at - 1);
                }
                end = true;
                break;
            }
            let digit = ALPHABET32
                .iter()
                .zip(0..)
                .find(|(letter, _)| **letter == byte);
            let Some((_, digit)) = digit else {
                return illegal(at - 1);
            };
            bits |= (digit as u64) << (35 - 5 * count);
            count += 1;
        }
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[3..3 + count * 5 / 8]);
        if end {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_gos() {
        for (text, expected) in [
            ("aGk=", Ok("hi")),
            ("aG\nk=\n", Ok("hi")),
            ("", Ok("")),
            ("aGk", Err(0)),
            ("aGVsbG8", Err(4)),
            ("a", Err(0)),
            ("aGk=x", Err(4)),
            ("a=", Err(1)),
            ("aG=x", Err(2)),
            ("aG=", Err(3)),
            ("a-==", Err(1)),
        ] {
            let found = decode64(text.as_bytes());
            let expected = expected
                .map(|text| text.as_bytes().to_vec())
                .map_err(|at: usize| format!("illegal base64 data at input byte {at}"));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn base32_comes_back() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            let coded = encode32(text.as_bytes());
            assert_eq!(coded.len() % 8, 0);
            assert_eq!(decode32(&coded), Ok(text.as_bytes().to_vec()));
        }
        assert_eq!(encode32(b"foobar"), b"MZXW6YTBOI======");
        assert!(decode32(b"MZ=").is_err() && decode32(b"mz======").is_err());
    }
}
