//! The libraries that Kubernetes adds to the language.

pub(crate) mod formatting;
pub(crate) mod lists;
mod named_formats;
mod net;
mod quantity;
mod semver;
mod strings;
mod url;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::regexes;
use crate::value::{Cancelled, Key, Map, Value, error, no_overload};

pub use named_formats::Format;
pub use quantity::Quantity;
pub use semver::Version;
pub use url::Url;

/// A value that only the Kubernetes libraries know.
#[derive(Clone, Debug)]
pub enum Object {
    /// A resource quantity; was it computed rather than read?
    Quantity(Arc<Quantity>, bool),
    /// A URL.
    Url(Arc<Url>),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(IpAddr, u8),
    /// A semantic version.
    Semver(Arc<Version>),
    /// A named format.
    Format(&'static Format),
}

impl Object {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Object::Quantity(..) => "kubernetes.Quantity",
            Object::Url(_) => "kubernetes.URL",
            Object::Ip(_) => "net.IP",
            Object::Cidr(..) => "net.CIDR",
            Object::Semver(_) => "kubernetes.Semver",
            Object::Format(_) => "kubernetes.NamedFormat",
        }
    }

    pub(crate) fn equal<'a>(&self, other: &Value<'a>) -> Value<'a> {
        let Value::Object(other) = other else {
            return match other {
                Value::Error(_) => other.clone(),
                _ => no_overload(),
            };
        };
        match (self, other) {
            // the real one takes no computed quantity on the right side
            (Object::Quantity(a, _), Object::Quantity(b, false)) => {
                Value::Bool(a.compare(b) == std::cmp::Ordering::Equal)
            }
            (Object::Url(a), Object::Url(b)) => Value::Bool(a.to_string() == b.to_string()),
            (Object::Ip(a), Object::Ip(b)) => Value::Bool(a == b),
            (Object::Cidr(a, n), Object::Cidr(b, m)) => Value::Bool(a == b && n == m),
            (Object::Semver(a), Object::Semver(b)) => {
                Value::Bool(a.compare(b) == std::cmp::Ordering::Equal)
            }
            (Object::Format(a), Object::Format(b)) => Value::Bool(a.name == b.name),
            _ => no_overload(),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Quantity(v, _) => write!(f, "quantity {v}"),
            Object::Url(v) => write!(f, "url {v}"),
            Object::Ip(v) => write!(f, "ip {v}"),
            Object::Cidr(v, bits) => write!(f, "cidr {v}/{bits}"),
            Object::Semver(v) => write!(f, "semver {v}"),
            Object::Format(v) => write!(f, "format {}", v.name),
        }
    }
}

/// Runs the function with this overload.
pub(crate) fn invoke<'a>(
    id: &str,
    args: Vec<Value<'a>>,
    remaining: u64,
) -> Result<Value<'a>, Cancelled> {
    if let Some(value) = optional(id, &args) {
        return Ok(value);
    }
    if let Some(value) = regex(id, &args) {
        return Ok(value);
    }
    if let Some(value) = strings::invoke(id, &args)? {
        return Ok(value);
    }
    if let Some(value) = lists::invoke(id, &args, remaining)? {
        return Ok(value);
    }
    let value = net::invoke(id, &args)
        .or_else(|| url::invoke(id, &args))
        .or_else(|| quantity::invoke(id, &args))
        .or_else(|| semver::invoke(id, &args))
        .or_else(|| named_formats::invoke(id, &args));
    match value {
        Some(value) => Ok(value),
        None => Ok(no_overload()),
    }
}

fn optional<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    if id == "optional_none" {
        return Some(Value::Optional(None));
    }
    let first = args.first()?;
    Some(match (id, first) {
        ("optional_of", _) => Value::Optional(Some(Arc::new(first.clone()))),
        ("optional_ofNonZeroValue", _) => {
            if is_zero(first) {
                Value::Optional(None)
            } else {
                Value::Optional(Some(Arc::new(first.clone())))
            }
        }
        ("optional_value", Value::Optional(Some(v))) => (**v).clone(),
        ("optional_value", Value::Optional(None)) => error("optional.none() dereference"),
        ("optional_hasValue", Value::Optional(v)) => Value::Bool(v.is_some()),
        ("list_first" | "list_last", Value::List(list)) => {
            let at = if id == "list_first" {
                0
            } else {
                list.len().saturating_sub(1)
            };
            Value::Optional(list.get(at).map(Arc::new))
        }
        ("optional_unwrap" | "optional_unwrapOpt", Value::List(list)) => {
            let mut values = Vec::new();
            for element in list.iter() {
                match element {
                    Value::Optional(Some(v)) => values.push((*v).clone()),
                    Value::Optional(None) => {}
                    other => {
                        return Some(error(format!(
                            "value {} is not optional",
                            crate::value::plain(&other)
                        )));
                    }
                }
            }
            crate::value::list(values)
        }
        _ => return None,
    })
}

fn is_zero(value: &Value<'_>) -> bool {
    use crate::value::{List, Map};
    match value {
        Value::Null => true,
        Value::Bool(v) => !v,
        Value::Int(v) => *v == 0,
        Value::Uint(v) => *v == 0,
        Value::Double(v) => *v == 0.0,
        Value::String(v) => v.is_empty(),
        Value::Bytes(v) => v.is_empty(),
        Value::Duration(v) => *v == 0,
        Value::Timestamp(v) => v.instant() == (-62_135_596_800, 0),
        // lists and objects of the resource itself do not say whether they are empty
        Value::List(List::View(..) | List::Added(..)) | Value::Map(Map::View(..)) => false,
        Value::List(v) => v.is_empty(),
        Value::Map(v) => v.is_empty(),
        _ => false,
    }
}

fn regex<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let all = match id {
        "string_find_string" => false,
        "string_find_all_string" | "string_find_all_string_int" => true,
        _ => return None,
    };
    let [Value::String(subject), Value::String(pattern), rest @ ..] = args else {
        return Some(no_overload());
    };
    let regex = match regexes::compile(pattern) {
        Ok(regex) => regex,
        Err(message) => return Some(error(format!("Illegal regex: {message}"))),
    };
    Some(if all {
        let count = if let Some(Value::Int(count)) = rest.first() {
            *count
        } else {
            -1
        };
        regexes::find_all(&regex, subject, count)
    } else {
        regexes::find(&regex, subject)
    })
}

/// What `transformMap` and `transformMapEntry` add to the map that they make.
pub(crate) fn insert<'a>(
    map: &mut std::collections::BTreeMap<Key, Value<'a>>,
    key: Value<'a>,
    value: Value<'a>,
) -> Result<Option<Value<'a>>, Cancelled> {
    let whole = Map::Entries(Arc::new(std::mem::take(map)));
    let found = whole.find(&key)?.is_some();
    if let Map::Entries(entries) = whole {
        *map = Arc::try_unwrap(entries).unwrap_or_else(|shared| (*shared).clone());
    }
    if found {
        return Ok(Some(error(format!(
            "insert failed: key {} already exists",
            crate::value::plain(&key)
        ))));
    }
    map.insert(Key::of(&key)?, value);
    Ok(None)
}
