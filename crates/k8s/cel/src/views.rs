//! JSON as values, with the schema that says what it is.

use std::collections::BTreeSet;

use serde_json::{Map as JsonMap, Value as Json};

use crate::escape::{escape, unescape};
use crate::schema::Schema;
use crate::time;
use crate::value::{List, Map, Text, Value, error, no_overload, plain as show};

/// JSON as it is, without a schema.
pub(crate) fn plain(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(v) => Value::Bool(*v),
        Json::Number(v) => match v.as_i64() {
            Some(v) => Value::Int(v),
            None => Value::Double(v.as_f64().unwrap_or_default()),
        },
        Json::String(v) => Value::String(Text::Lent(v)),
        Json::Array(v) => Value::List(List::Json(v)),
        Json::Object(v) => Value::Map(Map::Json(v)),
    }
}

fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(v) if v.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

/// JSON as its schema says.
pub(crate) fn view<'a>(json: &'a Json, schema: &'a Schema) -> Value<'a> {
    if json.is_null() {
        return if schema.nullable {
            Value::Null
        } else {
            error("invalid data, got null for schema with nullable=false")
        };
    }
    if schema.int_or_string {
        return match json {
            Json::String(v) => Value::String(Text::Lent(v)),
            Json::Number(v) if v.is_i64() => Value::Int(v.as_i64().unwrap_or_default()),
            _ => {
                error("invalid data, expected XIntOrString value to be either a string or integer")
            }
        };
    }
    match (schema.ty.as_str(), json) {
        ("object", Json::Object(v)) => Value::Map(Map::View(
            v,
            if schema.embedded {
                schema.rooted()
            } else {
                schema
            },
        )),
        ("object", _) => {
            error("invalid data, expected a map for the provided schema with type=object")
        }
        ("array", Json::Array(v)) => {
            if schema.items.is_none() {
                return error("invalid array type, expected Items with a non-empty Schema");
            }
            match schema.list_type.as_deref() {
                None | Some("" | "map" | "set" | "atomic") => Value::List(List::View(v, schema)),
                Some(other) => error(format!(
                    "invalid x-kubernetes-list-type, expected 'map', 'set' or 'atomic' but got {other}"
                )),
            }
        }
        ("array", _) => {
            error("invalid data, expected an array for the provided schema with type=array")
        }
        ("string", Json::String(v)) => formatted(Text::Lent(v), &schema.format),
        ("string", other) => error(format!(
            "invalid data, expected string, got {}",
            go_type(other)
        )),
        ("number", Json::Number(v)) => Value::Double(v.as_f64().unwrap_or_default()),
        ("number", other) => error(format!(
            "invalid data, expected float, got {}",
            go_type(other)
        )),
        ("integer", Json::Number(v)) if v.is_i64() => Value::Int(v.as_i64().unwrap_or_default()),
        ("integer", other) => error(format!(
            "invalid data, expected int, got {}",
            go_type(other)
        )),
        ("boolean", Json::Bool(v)) => Value::Bool(*v),
        ("boolean", other) => error(format!(
            "invalid data, expected bool, got {}",
            go_type(other)
        )),
        _ if schema.preserve => Value::Preserved(json),
        (other, _) => error(format!(
            "invalid type, expected object, array, number, integer, boolean or string, or no type with x-kubernetes-int-or-string or x-kubernetes-preserve-unknown-fields is true, got {other}"
        )),
    }
}

fn formatted<'a>(text: Text<'a>, format: &str) -> Value<'a> {
    match format {
        "duration" => match crate::formats::duration(&text) {
            Some(v) => Value::Duration(v),
            None => error(format!(
                "Invalid duration {}: unable to parse {} as duration",
                &*text, &*text
            )),
        },
        "date" => match time::parse_date(&text) {
            Some(v) => Value::Timestamp(v),
            None => error(format!("Invalid date formatted string {}", &*text)),
        },
        "date-time" if text.is_empty() => Value::Timestamp(time::Timestamp::at(0)),
        "date-time" => match time::parse_timestamp(&text, true) {
            Some(v) => Value::Timestamp(v),
            None => error(format!("Invalid date-time formatted string {}", &*text)),
        },
        "byte" => match crate::formats::base64(&text) {
            Some(v) => Value::Bytes(v.into()),
            None => error(format!("Invalid byte formatted string {}", &*text)),
        },
        _ => Value::String(text),
    }
}

/// A made value where the schema of a list's elements says what it should be.
pub(crate) fn typed<'a>(value: &Value<'a>, schema: &'a Schema) -> Value<'a> {
    let go = |value: &Value<'_>| match value {
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Uint(_) => "uint64",
        Value::Double(_) => "float64",
        Value::String(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::Duration(_) => "time.Duration",
        Value::Timestamp(_) => "time.Time",
        Value::List(List::Json(_)) => "[]interface {}",
        Value::List(_) => "[]ref.Val",
        Value::Map(Map::Json(_)) => "map[string]interface {}",
        Value::Map(_) => "map[ref.Val]ref.Val",
        Value::Null => "structpb.NullValue",
        _ => "interface {}",
    };
    if schema.int_or_string {
        return match value {
            Value::String(_) | Value::Int(_) => value.clone(),
            _ => {
                error("invalid data, expected XIntOrString value to be either a string or integer")
            }
        };
    }
    match (schema.ty.as_str(), value) {
        ("object", Value::Map(Map::Json(v))) => Value::Map(Map::View(
            v,
            if schema.embedded {
                schema.rooted()
            } else {
                schema
            },
        )),
        ("object", _) => {
            error("invalid data, expected a map for the provided schema with type=object")
        }
        ("array", Value::List(List::Json(v))) => Value::List(List::View(v, schema)),
        ("array", _) => {
            error("invalid data, expected an array for the provided schema with type=array")
        }
        ("string", Value::String(v)) => formatted(v.clone(), &schema.format),
        ("string", other) => error(format!("invalid data, expected string, got {}", go(other))),
        ("number", Value::Double(_)) => value.clone(),
        #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
        ("number", Value::Int(v)) => Value::Double(*v as f64),
        ("number", other) => error(format!("invalid data, expected float, got {}", go(other))),
        ("integer", Value::Int(_)) => value.clone(),
        ("integer", other) => error(format!("invalid data, expected int, got {}", go(other))),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("boolean", other) => error(format!("invalid data, expected bool, got {}", go(other))),
        _ => value.clone(),
    }
}

/// A field of an object, by the name that expressions give it.
pub(crate) fn field<'a>(
    object: &'a JsonMap<String, Json>,
    schema: &'a Schema,
    name: &str,
) -> Option<Value<'a>> {
    let is_object = schema.properties.is_some();
    let unescaped;
    let name = if is_object {
        unescaped = unescape(name)?;
        &unescaped
    } else {
        name
    };
    let json = object.get(name)?;
    if is_object && json.is_null() {
        return None;
    }
    Some(view(json, schema.property(name)?))
}

pub(crate) fn keys<'a>(object: &'a JsonMap<String, Json>, schema: &'a Schema) -> Vec<Value<'a>> {
    let is_object = schema.properties.is_some();
    object
        .keys()
        .filter(|key| schema.property(key).is_some())
        .map(|key| {
            if is_object && let Some(escaped) = escape(key) {
                return Value::String(Text::Made(escaped.into()));
            }
            Value::String(Text::Lent(key))
        })
        .collect()
}

/// Equality of data without a schema.
pub(crate) fn same_json(json: &Json, other: &Value<'_>) -> bool {
    match other {
        Value::Preserved(other) => json == *other,
        Value::Map(Map::View(v, _) | Map::Json(v)) => json.as_object() == Some(v),
        Value::List(List::View(v, _) | List::Json(v)) => {
            json.as_array().map(Vec::as_slice) == Some(v)
        }
        other => {
            plain(json).to_string() == other.to_string() && !json.is_object() && !json.is_array()
        }
    }
}

/// What tells the elements of a list of type map apart.
fn map_key(value: &Value<'_>, schema: &Schema) -> Option<String> {
    let native = value.native();
    let Value::Map(map) = &native else {
        return None;
    };
    let parts: Vec<String> = schema
        .escaped_keys
        .iter()
        .map(|key| {
            let key = Value::String(Text::Made(key.as_str().into()));
            match map.find(&key) {
                Ok(Some(value)) => value.native().to_string(),
                _ => "nil".into(),
            }
        })
        .collect();
    Some(parts.join("\u{0}"))
}

pub(crate) fn list_equal<'a>(list: &List<'a>, other: &Value<'a>) -> Value<'a> {
    let schema = list.schema();
    let Value::List(b) = other else {
        return match (schema, other) {
            (None, _) => Value::Bool(false),
            (Some(_), Value::Error(_)) => other.clone(),
            (Some(_), _) => no_overload(),
        };
    };
    if list.len() != b.len() {
        return Value::Bool(false);
    }
    match schema.map(|s| (s, s.list_type.as_deref())) {
        Some((schema, Some("map"))) => {
            let mut known = std::collections::BTreeMap::new();
            for value in list.iter() {
                known.insert(map_key(&value, schema), value);
            }
            for value in b.iter() {
                let Some(ours) = known.get(&map_key(&value, schema)) else {
                    return Value::Bool(false);
                };
                let equal = ours.equal(&value);
                if !matches!(equal, Value::Bool(true)) {
                    return equal;
                }
            }
            Value::Bool(true)
        }
        Some((_, Some("set"))) => {
            let known = natives(list);
            Value::Bool(b.iter().all(|v| known.contains(&v.native().to_string())))
        }
        Some(_) => {
            for (x, y) in list.iter().zip(b.iter()) {
                let equal = x.equal(&y);
                if !matches!(equal, Value::Bool(true)) {
                    return equal;
                }
            }
            Value::Bool(true)
        }
        None => {
            let mut fault = None;
            for (x, y) in list.iter().zip(b.iter()) {
                match x.equals(&y) {
                    Value::Bool(false) => return Value::Bool(false),
                    e @ Value::Error(_) if matches!(list, List::Values(_, true)) => {
                        fault.get_or_insert(e);
                    }
                    _ => {}
                }
            }
            fault.unwrap_or(Value::Bool(true))
        }
    }
}

fn natives(list: &List<'_>) -> BTreeSet<String> {
    match list {
        List::View(v, _) => v.iter().map(|json| plain(json).to_string()).collect(),
        List::Added(v, _) => v.iter().map(|v| v.native().to_string()).collect(),
        _ => BTreeSet::new(),
    }
}

pub(crate) fn map_equal<'a>(map: &Map<'a>, other: &Value<'a>) -> Value<'a> {
    let Value::Map(b) = other else {
        return match (map, other) {
            (Map::View(..), Value::Error(_)) => other.clone(),
            (Map::View(..), _) => no_overload(),
            _ => Value::Bool(false),
        };
    };
    if map.len() != b.len() {
        return Value::Bool(false);
    }
    if let Map::View(v, schema) = map {
        for (key, json) in *v {
            if schema.property(key).is_some() {
                let name = Value::String(Text::Lent(key));
                let (Ok(ours), Ok(theirs)) = (map.find(&name), b.find(&name)) else {
                    return no_overload();
                };
                match (ours, theirs) {
                    (None, None) => {}
                    (Some(x), Some(y)) => {
                        let equal = x.equal(&y);
                        if !matches!(equal, Value::Bool(true)) {
                            return equal;
                        }
                    }
                    _ => return Value::Bool(false),
                }
            } else {
                let Map::View(theirs, _) = b else {
                    return no_overload();
                };
                if theirs.get(key).is_some_and(|other| other != json) {
                    return Value::Bool(false);
                }
            }
        }
        return Value::Bool(true);
    }
    for key in map.keys() {
        let (Ok(Some(x)), Ok(y)) = (map.find(&key), b.find(&key)) else {
            return Value::Bool(false);
        };
        match y {
            Some(y) if !matches!(x.equals(&y), Value::Bool(false)) => {}
            _ => return Value::Bool(false),
        }
    }
    Value::Bool(true)
}

/// `+` of a list whose schema says what that means.
pub(crate) fn add<'a>(list: &List<'a>, schema: &'a Schema, other: &List<'a>) -> Value<'a> {
    let native = |list: &List<'a>| -> Vec<Value<'a>> {
        match list {
            List::View(v, _) => v.iter().map(plain).collect(),
            List::Added(v, _) => v.to_vec(),
            other => other.iter().map(|v| v.native()).collect(),
        }
    };
    let mut elements = native(list);
    match schema.list_type.as_deref() {
        Some("map") => {
            let mut places = std::collections::BTreeMap::new();
            for (i, element) in elements.iter().enumerate() {
                places.insert(map_key(element, schema), i);
            }
            for element in native(other) {
                match places.get(&map_key(&element, schema)) {
                    Some(at) => elements[*at] = element,
                    None => elements.push(element),
                }
            }
        }
        Some("set") => {
            let mut known: BTreeSet<String> = elements.iter().map(ToString::to_string).collect();
            for element in native(other) {
                if known.insert(element.to_string()) {
                    elements.push(element);
                }
            }
        }
        _ => elements.extend(native(other)),
    }
    Value::List(List::Added(std::sync::Arc::new(elements), schema))
}

/// `in` of a list.
pub(crate) fn contains<'a>(list: &List<'a>, value: &Value<'a>) -> Value<'a> {
    let mut fault = None;
    for element in list.iter() {
        let equal = if list.schema().is_some() {
            element.equal(value)
        } else {
            value.equal(&element)
        };
        match equal {
            Value::Bool(true) => return equal,
            e @ Value::Error(_) if list.schema().is_some() => {
                fault.get_or_insert(e);
            }
            _ => {}
        }
    }
    fault.unwrap_or(Value::Bool(false))
}

/// The element of a list at an index of any numeric type.
pub(crate) fn index<'a>(
    list: &List<'a>,
    index: &Value<'a>,
) -> Result<Option<Value<'a>>, Value<'a>> {
    let unsupported = || error(format!("unsupported index value {} in list", show(index)));
    let at = match index {
        Value::Int(v) => *v,
        Value::Double(v) => crate::value::lossless_int(*v).ok_or_else(unsupported)?,
        Value::Uint(v) => i64::try_from(*v).map_err(|_| unsupported())?,
        other => {
            return Err(error(format!(
                "unsupported index type '{}' in list",
                other.type_name()
            )));
        }
    };
    let Some(at) = usize::try_from(at).ok().filter(|at| *at < list.len()) else {
        return Ok(None);
    };
    if list.schema().is_some() && !matches!(index, Value::Int(_)) {
        return Ok(Some(error(format!("unsupported index: {}", show(index)))));
    }
    Ok(list.get(at))
}
