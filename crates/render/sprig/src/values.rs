//! What all functions do with values: read arguments, tell empty from full, cast, compare, copy, walk slices.

use roadstead_template::{
    Call, FuncError, Int, Limit, List, MAX_DEPTH, Map, Object, Str, Type, Underlying, Value, fmt,
};

use crate::go::strconv::{float_to_int, parse_float, parse_int};
use crate::objects::{MonthObject, TimeObject, VersionObject, WeekdayObject, version_value};
use crate::semver::Version;

/// What a function gives.
pub(crate) type Outcome = Result<Value, FuncError>;

/// Go's words for a nil that is looked into.
pub(crate) const NIL_POINTER: &str =
    "runtime error: invalid memory address or nil pointer dereference";

/// Wraps an error's text.
pub(crate) fn failed(message: impl Into<String>) -> FuncError {
    FuncError::new(message)
}

/// An argument, nil if it is not there.
pub(crate) fn any(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}

/// A string argument.
pub(crate) fn text(args: &[Value], at: usize) -> Str {
    match args.get(at) {
        Some(Value::Str(text)) => text.clone(),
        _ => Str::new(),
    }
}

/// An integer argument.
pub(crate) fn int(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(int)) => int.as_i64(),
        _ => 0,
    }
}

/// A map argument.
pub(crate) fn map(args: &[Value], at: usize) -> Map {
    args.get(at)
        .and_then(Value::as_map)
        .unwrap_or_else(|| Map::nil(Type::DICT))
}

/// The arguments from a place on.
pub(crate) fn rest(args: &[Value], from: usize) -> &[Value] {
    args.get(from..).unwrap_or_default()
}

/// Charges for memory that a result takes, however much that is.
pub(crate) fn reserve(call: &mut Call<'_>, bytes: usize) -> Result<(), FuncError> {
    const STEP: usize = 1 << 20;
    for _ in 0..bytes / STEP {
        call.allocate(STEP)?;
    }
    call.allocate(bytes % STEP)
}

/// The slice that a value is to reflection, or the error for what is none. Nil has no type to ask for.
pub(crate) fn slice(value: &Value, message: &str) -> Result<List, FuncError> {
    if value.is_untyped_nil() {
        return Err(failed(NIL_POINTER));
    }
    value
        .as_list()
        .ok_or_else(|| failed(format!("{message} {}", value.kind().name())))
}

/// Sprig's emptiness: zero, "", false, nothing in it, nil. A struct is never empty.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => {
            if object.type_name().starts_with('*') {
                return object.is_nil();
            }
            match object.underlying() {
                Underlying::Struct(_) => false,
                Underlying::Map(map) => map.is_empty(),
                Underlying::List(list) => list.is_empty(),
                Underlying::Str(text) => text.is_empty(),
                Underlying::Int(int) => int.as_u64() == 0,
                Underlying::Float(float) => float == 0.0,
                Underlying::Bool(value) => !value,
                Underlying::Func => object.is_nil(),
            }
        }
        other => !other.truth(),
    }
}

/// The value's text: bytes as they are, errors and stringers by their own word, anything else as `%v`.
pub(crate) fn display(value: &Value) -> Result<Str, FuncError> {
    match value {
        Value::Str(text) => return Ok(text.clone()),
        Value::List(list) if list.ty() == Type::BYTES => {
            return Ok(list.as_bytes().unwrap_or_default());
        }
        Value::Object(object) if object.type_name() != "semver.Version" => {
            if let Some(text) = object.string() {
                return Ok(Str::from(text.as_bytes()));
            }
        }
        _ => {}
    }
    Ok(Str::from(fmt::value_text(value).map_err(FuncError::limit)?))
}

/// Text of each element; nil ones are left out. What is no slice is one element.
pub(crate) fn strings(value: &Value) -> Result<Vec<Str>, FuncError> {
    let Some(list) = value.as_list() else {
        if value.is_untyped_nil() {
            return Ok(Vec::new());
        }
        return Ok(vec![display(value)?]);
    };
    list.items()
        .iter()
        .filter(|item| !item.is_untyped_nil())
        .map(display)
        .collect()
}

/// The float of a number that needs no parsing.
fn number(value: &Value) -> Option<Result<Int, f64>> {
    let as_int = |value: i64| Some(Ok(Int::new(roadstead_template::IntKind::Int, value)));
    match value {
        Value::Int(int) => Some(Ok(*int)),
        Value::Float(float) => Some(Err(*float)),
        Value::Bool(value) => as_int(i64::from(*value)),
        Value::Object(_) => {
            if let Some(month) = value.downcast::<MonthObject>() {
                return as_int(i64::from(month.0));
            }
            let day = value.downcast::<WeekdayObject>()?;
            as_int(i64::from(day.0))
        }
        _ => None,
    }
}

/// Casts to an integer; what is none is 0. Texts may have a prefix such as `0x`, and end in `.0`.
pub(crate) fn to_int(value: &Value) -> i64 {
    match (number(value), value) {
        (Some(Ok(int)), _) => int.as_i64(),
        (Some(Err(float)), _) => float_to_int(float),
        (None, Value::Str(text)) => parse_int(without_zero_decimals(text), 0).unwrap_or(0),
        _ => 0,
    }
}

fn without_zero_decimals(text: &[u8]) -> &[u8] {
    let kept = text.len() - text.iter().rev().take_while(|byte| **byte == b'0').count();
    if kept < text.len() && kept > 0 && text[kept - 1] == b'.' {
        return &text[..kept - 1];
    }
    text
}

/// Casts to a float; what is none is 0.
pub(crate) fn to_float(value: &Value) -> f64 {
    match (number(value), value) {
        (Some(Ok(int)), _) if int.kind().is_signed() => int.as_i64() as f64,
        (Some(Ok(int)), _) => int.as_u64() as f64,
        (Some(Err(float)), _) => float,
        (None, Value::Str(text)) => parse_float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn too_deep() -> FuncError {
    FuncError::limit(Limit::Depth(MAX_DEPTH))
}

/// Go's `reflect.DeepEqual`.
pub(crate) fn deep_equal(a: &Value, b: &Value) -> Result<bool, FuncError> {
    equal(a, b, 0)
}

fn equal(a: &Value, b: &Value, depth: usize) -> Result<bool, FuncError> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(match (a, b) {
        (Value::Invalid | Value::Nil, Value::Invalid | Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Complex(ar, ai), Value::Complex(br, bi)) => ar == br && ai == bi,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) => equal_lists(a, b, depth)?,
        (Value::Map(a), Value::Map(b)) => equal_maps(a, b, depth)?,
        (Value::Object(a), Value::Object(b)) => equal_objects(&**a, &**b, depth)?,
        _ => false,
    })
}

fn equal_lists(a: &List, b: &List, depth: usize) -> Result<bool, FuncError> {
    if a.ty() != b.ty() || a.is_nil() != b.is_nil() || a.len() != b.len() {
        return Ok(false);
    }
    if a.same(b) {
        return Ok(true);
    }
    for (a, b) in a.items().iter().zip(b.items().iter()) {
        if !equal(a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps(a: &Map, b: &Map, depth: usize) -> Result<bool, FuncError> {
    if a.ty() != b.ty() || a.is_nil() != b.is_nil() || a.len() != b.len() {
        return Ok(false);
    }
    if a.same(b) {
        return Ok(true);
    }
    for (key, value) in a.entries() {
        match b.get(&key) {
            Some(other) if equal(&value, &other, depth + 1)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn equal_objects(a: &dyn Object, b: &dyn Object, depth: usize) -> Result<bool, FuncError> {
    if a.type_name() != b.type_name() || a.is_nil() != b.is_nil() {
        return Ok(false);
    }
    if std::ptr::eq(a.as_any(), b.as_any()) {
        return Ok(true);
    }
    let own = (a.as_any(), b.as_any());
    if let (Some(a), Some(b)) = (
        own.0.downcast_ref::<VersionObject>(),
        own.1.downcast_ref::<VersionObject>(),
    ) {
        return Ok(a.0 == b.0);
    }
    if let (Some(a), Some(b)) = (
        own.0.downcast_ref::<TimeObject>(),
        own.1.downcast_ref::<TimeObject>(),
    ) {
        // Not the same point only: the place on the map is part of the value.
        let zone = |time: &TimeObject| std::mem::discriminant(&time.0.zone);
        return Ok(a.0 == b.0 && zone(a) == zone(b));
    }
    Ok(match (a.underlying(), b.underlying()) {
        (Underlying::Struct(a), Underlying::Struct(b)) => {
            for (a, b) in a.iter().zip(&b) {
                if !equal(&a.value, &b.value, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Underlying::Map(a), Underlying::Map(b)) => equal_maps(&a, &b, depth)?,
        (Underlying::List(a), Underlying::List(b)) => equal_lists(&a, &b, depth)?,
        (Underlying::Str(a), Underlying::Str(b)) => a == b,
        (Underlying::Int(a), Underlying::Int(b)) => a == b,
        (Underlying::Float(a), Underlying::Float(b)) => a == b,
        (Underlying::Bool(a), Underlying::Bool(b)) => a == b,
        _ => false,
    })
}

/// A copy that shares no map with its origin. Objects cannot be written to, so they are shared.
pub(crate) fn deep_copy(value: &Value, call: &mut Call<'_>) -> Outcome {
    copy(value, call, 0)
}

fn copy(value: &Value, call: &mut Call<'_>, depth: usize) -> Outcome {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(match value {
        Value::List(list) if !list.is_nil() && list.as_bytes().is_none() => {
            reserve(call, list.len() * size_of::<Value>())?;
            let mut items = Vec::with_capacity(list.len());
            for item in list.items().iter() {
                items.push(copy(item, call, depth + 1)?);
            }
            Value::List(List::typed(list.ty(), items))
        }
        Value::Map(map) if !map.is_nil() => {
            reserve(call, map.len() * 2 * size_of::<Value>())?;
            let twin = map.shallow_copy();
            for (key, item) in map.entries() {
                if matches!(item, Value::List(_) | Value::Map(_)) {
                    let item = copy(&item, call, depth + 1)?;
                    let _ = twin.insert(key, item);
                }
            }
            Value::Map(twin)
        }
        // What reflection cannot read stays behind.
        other if other.downcast::<VersionObject>().is_some() => version_value(Version::default()),
        other => other.clone(),
    })
}
