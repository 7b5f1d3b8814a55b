//! Calls: which implementation runs, and the functions of the language itself.

use std::sync::Arc;

use crate::declarations::{Overload, function};
use crate::libraries;
use crate::regexes;
use crate::time::{Civil, RANGE, Timestamp, in_zone, parse_duration, parse_timestamp};
use crate::value::{
    Cancelled, List, Text, Value, double_to_int, double_to_uint, error, no_overload, text,
};
use crate::views;

type Run<T> = Result<T, Cancelled>;

/// The largest text or list that a call may make.
pub(crate) const LARGEST: usize = 64 << 20;

/// Functions with one implementation for all their shapes, and what their first argument must be able to do.
fn singleton(function: &str) -> Option<fn(&Value<'_>) -> bool> {
    use Value::{Bool, Bytes, Double, Duration, Int, List, Map, String, Timestamp, Uint};
    Some(match function {
        "_+_" => |v| {
            matches!(
                v,
                Bytes(_)
                    | Double(_)
                    | Duration(_)
                    | Int(_)
                    | List(_)
                    | String(_)
                    | Timestamp(_)
                    | Uint(_)
            )
        },
        "_-_" => |v| matches!(v, Double(_) | Duration(_) | Int(_) | Timestamp(_) | Uint(_)),
        "_*_" | "_/_" => |v| matches!(v, Double(_) | Int(_) | Uint(_)),
        "_%_" => |v| matches!(v, Int(_) | Uint(_)),
        "-_" => |v| matches!(v, Bool(_) | Double(_) | Duration(_) | Int(_)),
        "_<_" | "_<=_" | "_>_" | "_>=_" => |v| {
            matches!(
                v,
                Bool(_)
                    | Bytes(_)
                    | Double(_)
                    | Duration(_)
                    | Int(_)
                    | String(_)
                    | Timestamp(_)
                    | Uint(_)
            )
        },
        "size" => |v| matches!(v, Bytes(_) | List(_) | Map(_) | String(_)),
        "matches" => |v| matches!(v, String(_)),
        "sort" | "@sortByAssociatedKeys" => |v| matches!(v, List(_)),
        "!_" | "@in" | "type" | "dyn" => |_| true,
        _ => return None,
    })
}

/// Is the implementation found by the arguments, so that the first mistake ends their evaluation?
pub(crate) fn dispatched(args: usize, name: &str, overload: &str) -> bool {
    if singleton(name).is_some() {
        return args > 2;
    }
    overload.is_empty() && function(name).is_some_and(|f| f.overloads.len() > 1)
        || matches!(overload, "string_format" | "optional_none")
}

fn no_such<'a>(name: &str, args: &[Value<'_>]) -> Value<'a> {
    let names: Vec<&str> = args.iter().map(Value::type_name).collect();
    error(format!("no such overload: {name}({})", names.join(", ")))
}

fn fits(overload: &Overload, args: &[Value<'_>], guarded: bool) -> bool {
    overload.args.len() == args.len()
        && (!guarded || overload.args.iter().zip(args).all(|(ty, v)| v.is_of(ty)))
}

/// Runs a function. `remaining` is what may be spent: what would cost more is not begun.
pub(crate) fn invoke<'a>(
    name: &str,
    overload: &str,
    args: Vec<Value<'a>>,
    remaining: u64,
) -> Run<Value<'a>> {
    if name == "@not_strictly_false" {
        return Ok(match args.first() {
            Some(value @ Value::Bool(_)) => value.clone(),
            _ => Value::Bool(true),
        });
    }
    if let Some(able) = singleton(name) {
        let Some(first) = args.first() else {
            return Ok(no_overload());
        };
        if !able(first) {
            return Ok(match first {
                Value::String(_) | Value::Duration(_) | Value::Timestamp(_) => no_overload(),
                _ => error(format!("no such overload: {name}")),
            });
        }
        return Ok(single(name, &args));
    }
    let Some(declared) = function(name) else {
        return Ok(no_overload());
    };
    let guarded = !matches!(name, "contains" | "endsWith" | "startsWith" | "flatten");
    let found = if overload.is_empty() {
        declared.overloads.iter().find(|o| fits(o, &args, guarded))
    } else {
        declared
            .overloads
            .iter()
            .find(|o| o.id == overload)
            .filter(|o| fits(o, &args, guarded))
    };
    let Some(found) = found else {
        return Ok(no_such(name, &args));
    };
    if let Some(value) = own(found.id, &args) {
        return Ok(value);
    }
    libraries::invoke(found.id, args, remaining)
}

/// Runs a function whose pattern is constant.
pub(crate) fn with_regex<'a>(
    name: &str,
    regex: &regexes::Regex,
    args: &[Value<'a>],
) -> Run<Value<'a>> {
    let Some(Value::String(subject)) = args.first() else {
        return Ok(no_overload());
    };
    Ok(match name {
        "matches" => Value::Bool(regex.is_match(subject.as_bytes())),
        "find" => regexes::find(regex, subject),
        _ => match args.get(2) {
            None => regexes::find_all(regex, subject, -1),
            Some(Value::Int(count)) => regexes::find_all(regex, subject, *count),
            Some(_) => no_overload(),
        },
    })
}

fn single<'a>(name: &str, args: &[Value<'a>]) -> Value<'a> {
    let first = &args[0];
    let second = args.get(1).unwrap_or(&Value::Null);
    match name {
        "_+_" => add(first, second),
        "_-_" => subtract(first, second),
        "_*_" | "_/_" | "_%_" => arithmetic(name, first, second),
        "-_" => match first {
            Value::Int(v) => v.checked_neg().map_or_else(overflow, Value::Int),
            Value::Double(v) => Value::Double(-v),
            Value::Duration(v) => v.checked_neg().map_or_else(overflow, Value::Duration),
            _ => no_overload(),
        },
        "_<_" | "_<=_" | "_>_" | "_>=_" => match first.compare(second) {
            Value::Int(order) => Value::Bool(match name {
                "_<_" => order < 0,
                "_<=_" => order <= 0,
                "_>_" => order > 0,
                _ => order >= 0,
            }),
            other => other,
        },
        "size" => first.size().map_or_else(no_overload, |size| {
            Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
        }),
        "matches" => match (first, second) {
            (Value::String(subject), Value::String(pattern)) => match regexes::compile(pattern) {
                Ok(regex) => Value::Bool(regex.is_match(subject.as_bytes())),
                Err(message) => error(message),
            },
            _ => no_overload(),
        },
        "sort" => libraries::lists::sort(first, first),
        "@sortByAssociatedKeys" => libraries::lists::sort(first, second),
        "!_" => match first {
            Value::Bool(v) => Value::Bool(!v),
            _ => no_overload(),
        },
        "@in" => match second {
            Value::List(list) => views::contains(list, first),
            Value::Map(map) => match map.find(first) {
                Ok(Some(fault @ Value::Error(_))) => fault,
                Ok(found) => Value::Bool(found.is_some()),
                Err(_) => no_overload(),
            },
            _ => no_overload(),
        },
        "type" => match first {
            Value::Error(_) => first.clone(),
            _ => Value::Type(first.type_name().into()),
        },
        _ => first.clone(),
    }
}

fn overflow<'a>() -> Value<'a> {
    error("integer overflow")
}

fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Value<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map_or_else(overflow, Value::Int),
        (Value::Uint(a), Value::Uint(b)) => a
            .checked_add(*b)
            .map_or_else(|| error("unsigned integer overflow"), Value::Uint),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => text(format!("{}{}", &**a, &**b)),
        (Value::Bytes(a), Value::Bytes(b)) => {
            Value::Bytes(a.iter().chain(b.iter()).copied().collect())
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map_or_else(overflow, Value::Duration)
        }
        (Value::Duration(d), Value::Timestamp(t)) | (Value::Timestamp(t), Value::Duration(d)) => {
            t.add(*d).map_or_else(error, Value::Timestamp)
        }
        (Value::List(x), Value::List(y)) => {
            if let Some(schema) = x.schema() {
                return views::add(x, schema, y);
            }
            if x.is_empty() {
                return b.clone();
            }
            if y.is_empty() {
                return a.clone();
            }
            let both: Vec<Value<'a>> = x.iter().chain(y.iter()).collect();
            Value::List(List::Values(Arc::new(both), true))
        }
        (_, Value::Error(_)) => b.clone(),
        _ => no_overload(),
    }
}

fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Value<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_sub(*b).map_or_else(overflow, Value::Int),
        (Value::Uint(a), Value::Uint(b)) => a
            .checked_sub(*b)
            .map_or_else(|| error("unsigned integer overflow"), Value::Uint),
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(*b).map_or_else(overflow, Value::Duration)
        }
        (Value::Timestamp(a), Value::Duration(b)) => match b.checked_neg() {
            Some(b) => a.add(b).map_or_else(error, Value::Timestamp),
            None => overflow(),
        },
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            a.since(b).map_or_else(error, Value::Duration)
        }
        (_, Value::Error(_)) => b.clone(),
        _ => no_overload(),
    }
}

fn arithmetic<'a>(name: &str, a: &Value<'a>, b: &Value<'a>) -> Value<'a> {
    let by_zero = match name {
        "_/_" => "division by zero",
        _ => "modulus by zero",
    };
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) if name != "_*_" => {
            error(by_zero)
        }
        (Value::Int(a), Value::Int(b)) => match name {
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map_or_else(overflow, Value::Int),
        (Value::Uint(a), Value::Uint(b)) => match name {
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map_or_else(|| error("unsigned integer overflow"), Value::Uint),
        (Value::Double(a), Value::Double(b)) => {
            Value::Double(if name == "_*_" { a * b } else { a / b })
        }
        (_, Value::Error(_)) => b.clone(),
        _ => no_overload(),
    }
}

fn conversion<'a>(from: &Value<'_>, to: &str) -> Value<'a> {
    error(format!(
        "type conversion error from '{}' to '{to}'",
        from.type_name()
    ))
}

/// The functions of the language that have an implementation for each shape.
fn own<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let first = args.first()?;
    let strings = || match (first, args.get(1)) {
        (Value::String(a), Some(Value::String(b))) => Some((a, b)),
        _ => None,
    };
    Some(match id {
        "contains_string" | "starts_with_string" | "ends_with_string" => {
            let Some((a, b)) = strings() else {
                return Some(no_overload());
            };
            let (a, b): (&str, &str) = (a, b);
            Value::Bool(match id {
                "contains_string" => a.contains(b),
                "starts_with_string" => a.starts_with(b),
                _ => a.ends_with(b),
            })
        }
        "bool_to_bool"
        | "bytes_to_bytes"
        | "double_to_double"
        | "duration_to_duration"
        | "int64_to_int64"
        | "string_to_string"
        | "timestamp_to_timestamp"
        | "uint64_to_uint64" => first.clone(),
        "string_to_bool"
        | "string_to_bytes"
        | "string_to_double"
        | "string_to_duration"
        | "string_to_int64"
        | "string_to_timestamp"
        | "string_to_uint64" => {
            let Value::String(from) = first else {
                return Some(no_overload());
            };
            from_text(from, id)
        }
        #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
        "int64_to_double" | "uint64_to_double" => match first {
            Value::Int(v) => Value::Double(*v as f64),
            Value::Uint(v) => Value::Double(*v as f64),
            _ => no_overload(),
        },
        "int64_to_duration" => conversion(first, "google.protobuf.Duration"),
        "int64_to_timestamp" => match first {
            Value::Int(v) if RANGE.contains(v) => Value::Timestamp(Timestamp::at(*v)),
            _ => error("timestamp overflow"),
        },
        "double_to_int64" | "duration_to_int64" | "timestamp_to_int64" | "uint64_to_int64" => {
            match first {
                // both ends are refused, though the lower one would fit
                Value::Double(v) => double_to_int(*v).map_or_else(overflow, Value::Int),
                Value::Duration(v) => Value::Int(*v),
                Value::Timestamp(v) => Value::Int(v.seconds),
                Value::Uint(v) => i64::try_from(*v).map_or_else(|_| overflow(), Value::Int),
                _ => no_overload(),
            }
        }
        "double_to_uint64" | "int64_to_uint64" => {
            match first {
                Value::Double(v) => double_to_uint(*v)
                    .map_or_else(|| error("unsigned integer overflow"), Value::Uint),
                Value::Int(v) => u64::try_from(*v)
                    .map_or_else(|_| error("unsigned integer overflow"), Value::Uint),
                _ => no_overload(),
            }
        }
        "bool_to_string"
        | "bytes_to_string"
        | "double_to_string"
        | "duration_to_string"
        | "int64_to_string"
        | "timestamp_to_string"
        | "uint64_to_string" => to_text(first),
        _ if id.starts_with("timestamp_to_") || id.starts_with("duration_to_") => {
            part_of_time(id, first, args.get(1))
        }
        _ => return None,
    })
}

fn from_text<'a>(from: &Text<'a>, id: &str) -> Value<'a> {
    let subject = Value::String(from.clone());
    let or = |value: Option<Value<'a>>, to: &str| value.unwrap_or_else(|| conversion(&subject, to));
    match id {
        "string_to_bool" => or(
            match &**from {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(Value::Bool(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(Value::Bool(false)),
                _ => None,
            },
            "bool",
        ),
        "string_to_bytes" => Value::Bytes(from.as_bytes().into()),
        "string_to_double" => or(go_float(from).map(Value::Double), "double"),
        "string_to_duration" => or(
            parse_duration(from).map(Value::Duration),
            "google.protobuf.Duration",
        ),
        "string_to_int64" => or(from.parse().ok().map(Value::Int), "int"),
        "string_to_timestamp" => match parse_timestamp(from, false) {
            Some(v) if !RANGE.contains(&v.seconds) => error("timestamp overflow"),
            Some(v) => Value::Timestamp(v),
            None => conversion(&subject, "google.protobuf.Timestamp"),
        },
        _ => or(
            Some(from)
                .filter(|t| !t.starts_with('+'))
                .and_then(|t| t.parse().ok())
                .map(Value::Uint),
            "uint",
        ),
    }
}

/// A double as Go reads it: hexadecimal too, underscores never, and too large is a mistake.
fn go_float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = body.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "infinity" | "nan") {
        if lower == "nan" && body.len() != text.len() {
            return None;
        }
        return text.to_ascii_lowercase().parse().ok();
    }
    if let Some(digits) = lower.strip_prefix("0x") {
        return hex_float(digits).map(|v| if text.starts_with('-') { -v } else { v });
    }
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for c in whole.chars().chain(part.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let shift = exponent.checked_sub(i32::try_from(part.len()).ok()?.checked_mul(4)?)?;
    let value = value * 2.0_f64.powi(shift);
    value.is_finite().then_some(value)
}

pub(crate) fn to_text<'a>(value: &Value<'a>) -> Value<'a> {
    match value {
        Value::Null => text("null"),
        Value::Bool(v) => text(v.to_string()),
        Value::Int(v) => text(v.to_string()),
        Value::Uint(v) => text(v.to_string()),
        Value::Double(v) => text(crate::show::general(*v)),
        Value::String(_) => value.clone(),
        Value::Bytes(v) => match std::str::from_utf8(v) {
            Ok(v) => text(v),
            Err(_) => error("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Duration(v) => text(format!("{}s", seconds(*v))),
        Value::Timestamp(v) => text(v.show()),
        Value::Type(v) => text(v.clone()),
        other => conversion(other, "string"),
    }
}

/// Go's `Duration.Seconds`.
#[expect(clippy::cast_precision_loss, reason = "as Go computes it")]
fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

fn part_of_time<'a>(id: &str, of: &Value<'a>, zone: Option<&Value<'a>>) -> Value<'a> {
    if let Value::Duration(v) = of {
        return Value::Int(match id {
            "duration_to_hours" => v / 3_600_000_000_000,
            "duration_to_minutes" => v / 60_000_000_000,
            "duration_to_seconds" => v / 1_000_000_000,
            _ => v / 1_000_000,
        });
    }
    let Value::Timestamp(at) = of else {
        return no_overload();
    };
    let civil = match zone {
        None => Civil::of(at.seconds),
        Some(Value::String(zone)) => match in_zone(at, zone) {
            Ok(civil) => civil,
            Err(message) => return error(message),
        },
        Some(_) => return no_overload(),
    };
    let name = id
        .trim_start_matches("timestamp_to_")
        .trim_end_matches("_with_tz")
        .trim_end_matches("_tz");
    Value::Int(match name {
        "year" => civil.year,
        "month" => civil.month - 1,
        "day_of_year" => civil.yearday,
        "day_of_month" => civil.day - 1,
        "day_of_month_1_based" => civil.day,
        "day_of_week" => civil.weekday,
        "hours" => civil.hour,
        "minutes" => civil.minute,
        "seconds" => civil.second,
        _ => i64::from(at.nanos / 1_000_000),
    })
}
