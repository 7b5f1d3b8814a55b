//! Values at run time. Objects are looked at where they lie; nothing of them is copied.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use crate::libraries::Object;
use crate::schema::Schema;
use crate::time::Timestamp;
use crate::types::Type;
use crate::views;

/// Text, of an object or made.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Part of an object.
    Lent(&'a str),
    /// Made.
    Made(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Text::Lent(text) => text,
            Text::Made(text) => text,
        }
    }
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number with a sign.
    Int(i64),
    /// A number without a sign.
    Uint(u64),
    /// A double.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    /// A moment.
    Timestamp(Timestamp),
    /// A type, by its name.
    Type(Arc<str>),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// A value, or none.
    Optional(Option<Arc<Value<'a>>>),
    /// A value of the Kubernetes libraries.
    Object(Object),
    /// What has no schema.
    Preserved(&'a Json),
    /// What went wrong.
    Error(Arc<str>),
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Made of values; was it by `+`?
    Values(Arc<Vec<Value<'a>>>, bool),
    /// Being made by a macro.
    Growing(Arc<Vec<Value<'a>>>),
    /// JSON without a schema.
    Json(&'a [Json]),
    /// JSON with the schema of the list.
    View(&'a [Json], &'a Schema),
    /// A list with a schema to which something was added.
    Added(Arc<Vec<Value<'a>>>, &'a Schema),
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Made of values.
    Entries(Arc<BTreeMap<Key, Value<'a>>>),
    /// Being made by a macro.
    Growing(Arc<BTreeMap<Key, Value<'a>>>),
    /// JSON without a schema.
    Json(&'a JsonMap<String, Json>),
    /// JSON with its schema.
    View(&'a JsonMap<String, Json>, &'a Schema),
}

/// What a map can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A boolean.
    Bool(bool),
    /// A number with a sign.
    Int(i64),
    /// A number without a sign.
    Uint(u64),
    /// A double, by its bits.
    Double(u64),
    /// Text.
    String(Arc<str>),
    /// Anything else, which is found only as what it shows.
    Other(String),
}

/// Why an evaluation ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It cost more than it may.
    Cost,
    /// The real one breaks here.
    Internal(String),
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cancelled::Cost => f.write_str("operation cancelled: actual cost limit exceeded"),
            Cancelled::Internal(message) => write!(f, "internal error: {message}"),
        }
    }
}

pub(crate) fn error<'a>(message: impl Into<Arc<str>>) -> Value<'a> {
    Value::Error(message.into())
}

pub(crate) fn no_overload<'a>() -> Value<'a> {
    error("no such overload")
}

pub(crate) fn text<'a>(text: impl Into<Arc<str>>) -> Value<'a> {
    Value::String(Text::Made(text.into()))
}

pub(crate) fn list(values: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List::Values(Arc::new(values), false))
}

impl Key {
    pub(crate) fn of(value: &Value<'_>) -> Result<Key, Cancelled> {
        Ok(match value {
            Value::Bool(v) => Key::Bool(*v),
            Value::Int(v) => Key::Int(*v),
            Value::Uint(v) => Key::Uint(*v),
            Value::Double(v) => Key::Double(if *v == 0.0 { 0.0_f64 } else { *v }.to_bits()),
            Value::String(v) => Key::String((**v).into()),
            Value::Bytes(_) => {
                return Err(Cancelled::Internal(
                    "runtime error: hash of unhashable type types.Bytes".into(),
                ));
            }
            other => Key::Other(other.to_string()),
        })
    }

    pub(crate) fn value<'a>(&self) -> Value<'a> {
        match self {
            Key::Bool(v) => Value::Bool(*v),
            Key::Int(v) => Value::Int(*v),
            Key::Uint(v) => Value::Uint(*v),
            Key::Double(v) => Value::Double(f64::from_bits(*v)),
            Key::String(v) => Value::String(Text::Made(v.clone())),
            Key::Other(v) => text(v.as_str()),
        }
    }
}

/// The whole number that a double is.
#[expect(clippy::cast_possible_truncation, reason = "within the bounds")]
pub(crate) fn double_to_int(v: f64) -> Option<i64> {
    (v.is_finite() && v > -9_223_372_036_854_775_808.0 && v < 9_223_372_036_854_775_808.0)
        .then_some(v as i64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the bounds"
)]
pub(crate) fn double_to_uint(v: f64) -> Option<u64> {
    (v.is_finite() && (0.0..18_446_744_073_709_551_616.0).contains(&v)).then_some(v as u64)
}

#[expect(clippy::cast_precision_loss, reason = "as Go compares them")]
pub(crate) fn lossless_int(v: f64) -> Option<i64> {
    double_to_int(v).filter(|i| *i as f64 == v)
}

#[expect(clippy::cast_precision_loss, reason = "as Go compares them")]
fn lossless_uint(v: f64) -> Option<u64> {
    double_to_uint(v).filter(|i| *i as f64 == v)
}

impl<'a> List<'a> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self {
            List::Values(v, _) | List::Added(v, _) | List::Growing(v) => v.len(),
            List::Json(v) | List::View(v, _) => v.len(),
        }
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a place.
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        Some(match self {
            List::Values(v, _) | List::Growing(v) => v.get(at)?.clone(),
            List::Json(v) => views::plain(v.get(at)?),
            List::View(v, schema) => match &schema.items {
                Some(items) => views::view(v.get(at)?, items),
                None => views::plain(v.get(at)?),
            },
            List::Added(v, schema) => match &schema.items {
                Some(items) => views::typed(v.get(at)?, items),
                None => v.get(at)?.clone(),
            },
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).map_while(|at| self.get(at))
    }

    pub(crate) fn schema(&self) -> Option<&'a Schema> {
        match self {
            List::View(_, schema) | List::Added(_, schema) => Some(schema),
            _ => None,
        }
    }
}

impl<'a> Map<'a> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Map::Entries(v) | Map::Growing(v) => v.len(),
            Map::Json(v) | Map::View(v, _) => v.len(),
        }
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key; an error where the map cannot be asked for such a key.
    pub(crate) fn find(&self, key: &Value<'a>) -> Result<Option<Value<'a>>, Cancelled> {
        Ok(match self {
            Map::Entries(v) | Map::Growing(v) => {
                if v.is_empty() {
                    return Ok(None);
                }
                find(v, key)?
            }
            Map::Json(v) => match key {
                Value::String(key) => v.get(&**key).map(views::plain),
                _ => None,
            },
            Map::View(v, schema) => match key {
                Value::String(key) => views::field(v, schema, key),
                Value::Error(_) => Some(key.clone()),
                _ => Some(no_overload()),
            },
        })
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Entries(v) | Map::Growing(v) => v.keys().map(Key::value).collect(),
            Map::Json(v) => v
                .keys()
                .map(|k| Value::String(Text::Lent(k.as_str())))
                .collect(),
            Map::View(v, schema) => views::keys(v, schema),
        }
    }
}

fn find<'a>(
    map: &BTreeMap<Key, Value<'a>>,
    key: &Value<'a>,
) -> Result<Option<Value<'a>>, Cancelled> {
    if let Value::Double(v) = key
        && v.is_nan()
    {
        return Ok(None);
    }
    if let Some(value) = map.get(&Key::of(key)?) {
        return Ok(Some(value.clone()));
    }
    let other = match key {
        Value::Double(v) => lossless_int(*v)
            .and_then(|i| map.get(&Key::Int(i)))
            .or_else(|| lossless_uint(*v).and_then(|u| map.get(&Key::Uint(u)))),
        Value::Int(v) => u64::try_from(*v).ok().and_then(|u| map.get(&Key::Uint(u))),
        Value::Uint(v) => i64::try_from(*v).ok().and_then(|i| map.get(&Key::Int(i))),
        _ => None,
    };
    Ok(other.cloned())
}

impl<'a> Value<'a> {
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The run-time name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Type(_) => "type",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Object(object) => object.type_name(),
            Value::Preserved(_) => "unknown",
            Value::Error(_) => "error",
        }
    }

    /// How many characters, bytes, elements or entries it has.
    pub(crate) fn size(&self) -> Option<usize> {
        Some(match self {
            Value::String(v) => v.chars().count(),
            Value::Bytes(v) => v.len(),
            Value::List(v) => v.len(),
            Value::Map(v) => v.len(),
            _ => return None,
        })
    }

    /// The same without its schema, as what lies in an optional value is seen.
    pub(crate) fn native(&self) -> Value<'a> {
        match self {
            Value::List(List::View(v, _)) => Value::List(List::Json(v)),
            Value::List(List::Added(v, _)) => Value::List(List::Values(v.clone(), false)),
            Value::Map(Map::View(v, _)) => Value::Map(Map::Json(v)),
            Value::Preserved(json) => views::plain(json),
            Value::Optional(Some(v)) => v.native(),
            Value::Optional(None) => Value::Null,
            other => other.clone(),
        }
    }

    /// Is it of a type, as far as its first element tells?
    pub(crate) fn is_of(&self, ty: &Type) -> bool {
        match (ty, self) {
            (Type::Dyn | Type::Param(_), _) => true,
            (Type::List(of), Value::List(v)) => v.get(0).is_none_or(|first| first.is_of(of)),
            (Type::Map(key, value), Value::Map(v)) => v.keys().first().is_none_or(|first| {
                first.is_of(key) && matches!(v.find(first), Ok(Some(found)) if found.is_of(value))
            }),
            _ => ty.runtime_name() == self.type_name(),
        }
    }

    /// `==`, with null first.
    pub(crate) fn equals(&self, other: &Value<'a>) -> Value<'a> {
        let (a, b) = (matches!(self, Value::Null), matches!(other, Value::Null));
        if a || b {
            return Value::Bool(a == b);
        }
        self.equal(other)
    }

    pub(crate) fn is_equal(&self, other: &Value<'a>) -> bool {
        matches!(self.equal(other), Value::Bool(true))
    }

    /// The equality of the left side's type.
    pub(crate) fn equal(&self, other: &Value<'a>) -> Value<'a> {
        use Value::{
            Bool, Bytes, Double, Duration, Error, Int, List, Map, Null, Object, Optional,
            Preserved, String, Timestamp, Type, Uint,
        };
        match (self, other) {
            (Error(_), _) => self.clone(),
            (Null, _) => Bool(matches!(other, Null)),
            (Bool(a), Bool(b)) => Bool(a == b),
            (Int(_) | Uint(_) | Double(_), Int(_) | Uint(_) | Double(_)) => {
                Bool(compare_numbers(self, other) == Some(0))
            }
            (String(a), String(b)) => Bool(**a == **b),
            (Bytes(a), Bytes(b)) => Bool(a == b),
            (Duration(a), Duration(b)) => Bool(a == b),
            (Timestamp(a), Timestamp(b)) => Bool(a.instant() == b.instant()),
            (Type(a), Type(b)) => Bool(a == b),
            (Optional(a), Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equal(b),
                (a, b) => Bool(a.is_none() && b.is_none()),
            },
            (Object(a), _) => a.equal(other),
            (Preserved(a), _) => Bool(views::same_json(a, other)),
            (List(a), _) => views::list_equal(a, other),
            (Map(a), _) => views::map_equal(a, other),
            _ => Bool(false),
        }
    }

    /// -1, 0 or 1; an error where the two have no order.
    pub(crate) fn compare(&self, other: &Value<'a>) -> Value<'a> {
        use std::cmp::Ordering;
        let order = match (self, other) {
            (
                Value::Int(_) | Value::Uint(_) | Value::Double(_),
                Value::Int(_) | Value::Uint(_) | Value::Double(_),
            ) => {
                return match compare_numbers(self, other) {
                    Some(order) => Value::Int(order),
                    None => error("NaN values cannot be ordered"),
                };
            }
            (Value::Double(v), _) if v.is_nan() => return error("NaN values cannot be ordered"),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.instant().cmp(&b.instant()),
            (_, Value::Error(_)) => return other.clone(),
            _ => return no_overload(),
        };
        Value::Int(match order {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Go compares them")]
fn compare_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<i64> {
    let order = |o: std::cmp::Ordering| o as i64;
    let doubles = |a: f64, b: f64| a.partial_cmp(&b).map(|o| o as i64);
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => order(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => order(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => u64::try_from(*a).map_or(-1, |a| order(a.cmp(b))),
        (Value::Uint(a), Value::Int(b)) => u64::try_from(*b).map_or(1, |b| order(a.cmp(&b))),
        (Value::Double(a), Value::Double(b)) => doubles(*a, *b)?,
        (Value::Double(a), Value::Int(b)) => doubles(*a, *b as f64)?,
        (Value::Int(a), Value::Double(b)) => doubles(*a as f64, *b)?,
        (Value::Double(a), Value::Uint(b)) => doubles(*a, *b as f64)?,
        (Value::Uint(a), Value::Double(b)) => doubles(*a as f64, *b)?,
        _ => return None,
    })
}

/// In one line, with the keys of maps in order.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Int(v) => write!(f, "{v}"),
            Value::Uint(v) => write!(f, "{v}u"),
            Value::Double(v) if v.is_nan() => f.write_str("double NaN"),
            Value::Double(v) if v.is_infinite() => {
                write!(f, "double {}Inf", if *v > 0.0 { '+' } else { '-' })
            }
            Value::Double(v) => write!(f, "double {}", crate::show::exponential(*v, None)),
            Value::String(v) => write!(f, "{}", Json::from(&**v)),
            Value::Bytes(v) => {
                use base64::Engine as _;
                write!(
                    f,
                    "bytes {}",
                    base64::engine::general_purpose::STANDARD.encode(v)
                )
            }
            Value::Duration(v) => write!(f, "duration {v}"),
            Value::Timestamp(v) => write!(f, "timestamp {}", Timestamp { offset: 0, ..*v }.show()),
            Value::Type(v) => write!(f, "type {v}"),
            Value::List(v) => {
                f.write_str("[")?;
                for (i, element) in v.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{element}")?;
                }
                f.write_str("]")
            }
            Value::Map(v) => {
                let mut parts: Vec<String> = v
                    .keys()
                    .iter()
                    .map(|key| match v.find(key) {
                        Ok(Some(value)) => format!("{key}: {value}"),
                        _ => format!("{key}: error no such key: {}", plain(key)),
                    })
                    .collect();
                parts.sort();
                write!(f, "{{{}}}", parts.join(", "))
            }
            Value::Optional(None) => f.write_str("optional.none"),
            Value::Optional(Some(v)) => write!(f, "optional({v})"),
            Value::Object(v) => write!(f, "{v}"),
            Value::Preserved(_) => f.write_str("other unknown"),
            Value::Error(v) => write!(f, "error {v}"),
        }
    }
}

/// `%v` of what can be a key.
pub(crate) fn plain(value: &Value<'_>) -> String {
    match value {
        Value::String(v) => v.to_string(),
        Value::Uint(v) => v.to_string(),
        Value::Double(v) => crate::show::general(*v),
        other => other.to_string(),
    }
}
