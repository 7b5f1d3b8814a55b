//! Go's own functions.

use crate::call::Signature;
use crate::error::Limit;
use crate::fmt;
use crate::strconv;
use crate::text::Str;
use crate::types::{Kind, Type};
use crate::value::{Underlying, Value};

/// The functions that every template may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    And,
    Call,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Js,
    Le,
    Len,
    Lt,
    Ne,
    Not,
    Or,
    Print,
    Printf,
    Println,
    Slice,
    Urlquery,
}

/// Why a builtin failed.
pub(crate) enum Failure {
    /// What Go says.
    Message(String),
    /// A bound of ours.
    Limit(Limit),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Message(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Failure::Message(message.to_owned())
    }
}

impl From<Limit> for Failure {
    fn from(limit: Limit) -> Self {
        Failure::Limit(limit)
    }
}

type Outcome = Result<Value, Failure>;

impl Builtin {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "call" => Self::Call,
            "eq" => Self::Eq,
            "ge" => Self::Ge,
            "gt" => Self::Gt,
            "html" => Self::Html,
            "index" => Self::Index,
            "js" => Self::Js,
            "le" => Self::Le,
            "len" => Self::Len,
            "lt" => Self::Lt,
            "ne" => Self::Ne,
            "not" => Self::Not,
            "or" => Self::Or,
            "print" => Self::Print,
            "printf" => Self::Printf,
            "println" => Self::Println,
            "slice" => Self::Slice,
            "urlquery" => Self::Urlquery,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Call => "call",
            Self::Eq => "eq",
            Self::Ge => "ge",
            Self::Gt => "gt",
            Self::Html => "html",
            Self::Index => "index",
            Self::Js => "js",
            Self::Le => "le",
            Self::Len => "len",
            Self::Lt => "lt",
            Self::Ne => "ne",
            Self::Not => "not",
            Self::Or => "or",
            Self::Print => "print",
            Self::Printf => "printf",
            Self::Println => "println",
            Self::Slice => "slice",
            Self::Urlquery => "urlquery",
        }
    }

    pub(crate) fn signature(self) -> Signature {
        const ANY: Signature = Signature::variadic(&[Type::Any]);
        const ONE_OR_MORE: Signature = Signature::variadic(&[Type::Reflect, Type::Reflect]);
        const ONE: Signature = Signature::fixed(&[Type::Reflect]);
        const TWO: Signature = Signature::fixed(&[Type::Reflect, Type::Reflect]);
        const FORMAT: Signature = Signature::variadic(&[Type::Str, Type::Any]);
        match self {
            Self::And | Self::Or | Self::Call | Self::Eq | Self::Index | Self::Slice => ONE_OR_MORE,
            Self::Ge | Self::Gt | Self::Le | Self::Lt | Self::Ne => TWO,
            Self::Html | Self::Js | Self::Print | Self::Println | Self::Urlquery => ANY,
            Self::Len | Self::Not => ONE,
            Self::Printf => FORMAT,
        }
    }

    /// Calls one that needs nothing but its arguments; `and`, `or` and `call` are the machine's own.
    pub(crate) fn call(self, args: &[Value]) -> Outcome {
        match self {
            Self::And | Self::Or | Self::Call => Ok(args.last().cloned().unwrap_or(Value::Invalid)),
            Self::Not => Ok(Value::Bool(!args[0].truth())),
            Self::Len => length(&args[0]),
            Self::Index => index(&args[0], &args[1..]),
            Self::Slice => slice(&args[0], &args[1..]),
            Self::Print => Ok(Value::str(fmt::sprint(args)?)),
            Self::Println => Ok(Value::str(fmt::sprintln(args)?)),
            Self::Printf => {
                let format = args[0].as_str().cloned().unwrap_or_default();
                Ok(Value::str(fmt::sprintf(&format, &args[1..])?))
            }
            Self::Html => Ok(Value::str(html(&joined(args)?))),
            Self::Js => Ok(Value::str(js(&joined(args)?))),
            Self::Urlquery => Ok(Value::str(urlquery(&joined(args)?))),
            Self::Eq => {
                if args.len() < 2 {
                    return Err("missing argument for comparison".into());
                }
                for other in &args[1..] {
                    if equal(&args[0], other)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Self::Ne => Ok(Value::Bool(!equal(&args[0], &args[1])?)),
            Self::Lt => Ok(Value::Bool(less(&args[0], &args[1])?)),
            Self::Le => Ok(Value::Bool(less_or_equal(&args[0], &args[1])?)),
            Self::Gt => Ok(Value::Bool(!less_or_equal(&args[0], &args[1])?)),
            Self::Ge => Ok(Value::Bool(!less(&args[0], &args[1])?)),
        }
    }
}

/// What comparisons look at.
enum Basic {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Complex(f64, f64),
    Str(Str),
    Other,
}

fn basic(value: &Value) -> Basic {
    match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Int(int) if int.kind().is_signed() => Basic::Int(int.as_i64()),
        Value::Int(int) => Basic::Uint(int.as_u64()),
        Value::Float(value) => Basic::Float(*value),
        Value::Complex(re, im) => Basic::Complex(*re, *im),
        Value::Str(text) => Basic::Str(text.clone()),
        Value::Object(object) if object.kind() != Kind::Pointer => match object.underlying() {
            Underlying::Bool(value) => Basic::Bool(value),
            Underlying::Int(int) => basic(&Value::Int(int)),
            Underlying::Float(value) => Basic::Float(value),
            Underlying::Str(text) => Basic::Str(text),
            _ => Basic::Other,
        },
        _ => Basic::Other,
    }
}

fn incompatible(left: &Value, right: &Value) -> Failure {
    format!(
        "incompatible types for comparison: {} and {}",
        left.type_name(),
        right.type_name()
    )
    .into()
}

fn equal(left: &Value, right: &Value) -> Result<bool, Failure> {
    Ok(match (basic(left), basic(right)) {
        (Basic::Bool(left), Basic::Bool(right)) => left == right,
        (Basic::Int(left), Basic::Int(right)) => left == right,
        (Basic::Uint(left), Basic::Uint(right)) => left == right,
        (Basic::Int(int), Basic::Uint(uint)) | (Basic::Uint(uint), Basic::Int(int)) => {
            u64::try_from(int).is_ok_and(|int| int == uint)
        }
        (Basic::Float(left), Basic::Float(right)) => left == right,
        (Basic::Complex(a, b), Basic::Complex(c, d)) => a == c && b == d,
        (Basic::Str(left), Basic::Str(right)) => left == right,
        (Basic::Other, Basic::Other) => return other_equal(left, right),
        _ if left.is_untyped_nil() || right.is_untyped_nil() => false,
        _ => return Err(incompatible(left, right)),
    })
}

fn other_equal(left: &Value, right: &Value) -> Result<bool, Failure> {
    let (left_kind, right_kind) = (left.kind(), right.kind());
    let say = |format: &str, parts: &[Value]| -> Failure {
        match fmt::sprintf(format.as_bytes(), parts) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned().into(),
            Err(limit) => limit.into(),
        }
    };
    let name = |value: &Value| Value::str(value.type_name().into_owned());
    if left_kind != right_kind && left_kind != Kind::Invalid && right_kind != Kind::Invalid {
        let parts = [left.clone(), name(left), name(right), right.clone()];
        return Err(say("non-comparable types %s: %v, %s: %v", &parts));
    }
    if left.is_nil() || right.is_nil() {
        return Ok(left.is_nil() == right.is_nil());
    }
    let Value::Object(other) = right else {
        return Err(say(
            "non-comparable type %s: %v",
            &[right.clone(), name(right)],
        ));
    };
    if right_kind == Kind::Func {
        return Err(say(
            "non-comparable type %s: %v",
            &[right.clone(), name(right)],
        ));
    }
    let Value::Object(object) = left else {
        return Ok(false);
    };
    if right_kind == Kind::Pointer {
        if object.type_name() != other.type_name() {
            return Ok(false);
        }
        return Ok(std::rc::Rc::ptr_eq(object, other) || object.equals(&**other).unwrap_or(false));
    }
    if object.type_name() != other.type_name() {
        return Ok(false);
    }
    match object.equals(&**other) {
        Some(equal) => Ok(equal),
        None => Err(say(
            "non-comparable type %s: %v",
            &[right.clone(), name(right)],
        )),
    }
}

fn less(left: &Value, right: &Value) -> Result<bool, Failure> {
    const BAD: &str = "invalid type for comparison";
    Ok(match (basic(left), basic(right)) {
        (Basic::Other, _) | (_, Basic::Other) => return Err(BAD.into()),
        (Basic::Bool(_), Basic::Bool(_)) | (Basic::Complex(..), Basic::Complex(..)) => {
            return Err(BAD.into());
        }
        (Basic::Int(left), Basic::Int(right)) => left < right,
        (Basic::Uint(left), Basic::Uint(right)) => left < right,
        (Basic::Int(int), Basic::Uint(uint)) => u64::try_from(int).map_or(true, |int| int < uint),
        (Basic::Uint(uint), Basic::Int(int)) => u64::try_from(int).is_ok_and(|int| uint < int),
        (Basic::Float(left), Basic::Float(right)) => left < right,
        (Basic::Str(left), Basic::Str(right)) => left < right,
        _ => return Err(incompatible(left, right)),
    })
}

fn less_or_equal(left: &Value, right: &Value) -> Result<bool, Failure> {
    Ok(less(left, right)? || equal(left, right)?)
}

/// What a value is made of, after following a pointer.
enum Inside {
    List(crate::value::List),
    Map(crate::value::Map),
    Str(Str),
    Nil,
    Nothing,
    Other(String),
}

fn inside(value: &Value) -> Inside {
    match value {
        Value::Invalid => Inside::Nothing,
        Value::Nil => Inside::Nil,
        Value::List(list) => Inside::List(list.clone()),
        Value::Map(map) => Inside::Map(map.clone()),
        Value::Str(text) => Inside::Str(text.clone()),
        Value::Object(object) => {
            let name = object.type_name();
            if name.starts_with('*') && object.is_nil() {
                return Inside::Nil;
            }
            match object.underlying() {
                Underlying::List(list) => Inside::List(list),
                Underlying::Map(map) => Inside::Map(map),
                Underlying::Str(text) => Inside::Str(text),
                _ => Inside::Other(name.strip_prefix('*').unwrap_or(name).to_owned()),
            }
        }
        other => Inside::Other(other.type_name().into_owned()),
    }
}

fn length(value: &Value) -> Outcome {
    let length = match inside(value) {
        Inside::List(list) => list.len(),
        Inside::Map(map) => map.len(),
        Inside::Str(text) => text.len(),
        Inside::Nil => return Err("len of nil pointer".into()),
        Inside::Nothing => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        Inside::Other(name) => return Err(format!("len of type {name}").into()),
    };
    Ok(Value::int(length as i64))
}

/// An index into something of some length; it may be that length itself.
fn index_argument(index: &Value, length: usize) -> Result<usize, Failure> {
    let number = match basic(index) {
        Basic::Int(int) => int,
        Basic::Uint(uint) => uint as i64,
        _ if index.is_untyped_nil() => return Err("cannot index slice/array with nil".into()),
        _ => {
            return Err(format!("cannot index slice/array with type {}", index.type_name()).into());
        }
    };
    match usize::try_from(number) {
        Ok(at) if at <= length => Ok(at),
        _ => Err(format!("index out of range: {number}").into()),
    }
}

fn index(value: &Value, indexes: &[Value]) -> Outcome {
    let mut item = value.clone();
    if item.is_untyped_nil() {
        return Err("index of untyped nil".into());
    }
    for index in indexes {
        item = match inside(&item) {
            Inside::Nil | Inside::Nothing => return Err("index of nil pointer".into()),
            Inside::List(list) => {
                let at = index_argument(index, list.len())?;
                list.get(at).ok_or("reflect: slice index out of range")?
            }
            Inside::Str(text) => {
                let at = index_argument(index, text.len())?;
                let byte = text.get(at).ok_or("reflect: string index out of range")?;
                Value::Int(crate::Int::new(crate::IntKind::Uint8, i64::from(*byte)))
            }
            Inside::Map(map) => {
                let Value::Str(key) = index else {
                    if index.is_untyped_nil() {
                        return Err("value is nil; should be of type string".into());
                    }
                    return Err(
                        format!("value has type {}; should be string", index.type_name()).into(),
                    );
                };
                map.get(key).unwrap_or_else(|| zero(&map.elem()))
            }
            Inside::Other(name) => return Err(format!("can't index item of type {name}").into()),
        };
    }
    Ok(item)
}

/// The zero value of a type.
pub(crate) fn zero(ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::Bool(false),
        Type::Int(kind) => Value::Int(crate::Int::new(*kind, 0)),
        Type::Float64 => Value::Float(0.0),
        Type::Complex128 => Value::Complex(0.0, 0.0),
        Type::Str => Value::Str(Str::new()),
        Type::Reflect => Value::Invalid,
        Type::Slice(_) => Value::List(crate::List::nil(*ty)),
        Type::Map(_) => Value::Map(crate::Map::nil(*ty)),
        Type::Named(_, of) => match zero(of) {
            Value::List(_) => Value::List(crate::List::nil(*ty)),
            Value::Map(_) => Value::Map(crate::Map::nil(*ty)),
            other => other,
        },
        Type::Any | Type::Object(_) => Value::Nil,
    }
}

fn slice(value: &Value, indexes: &[Value]) -> Outcome {
    let what = match inside(value) {
        _ if value.is_untyped_nil() => return Err("slice of untyped nil".into()),
        Inside::Nil => return Err("slice of nil pointer".into()),
        what => what,
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    let length = match &what {
        Inside::Str(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Inside::Str(text) => text.len(),
        Inside::List(list) => list.len(),
        _ => {
            let name = value.type_name();
            return Err(format!(
                "can't slice item of type {}",
                name.strip_prefix('*').unwrap_or(&name)
            )
            .into());
        }
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        // Go does not look into interfaces here; the machine leaves nil for whatever came in one
        if let Value::Nil = index {
            return Err("cannot index slice/array with type interface {}".into());
        }
        *bound = index_argument(index, length)?;
    }
    let [from, to, end] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}").into());
    }
    if indexes.len() == 3 && to > end {
        return Err(format!("invalid slice index: {to} > {end}").into());
    }
    Ok(match what {
        Inside::Str(text) => Value::Str(text.slice(from..to)),
        Inside::List(list) => Value::List(list.slice(from..to)),
        _ => Value::Invalid,
    })
}

/// The arguments of an escaper as one text.
fn joined(args: &[Value]) -> Result<Vec<u8>, Failure> {
    if let [Value::Str(text)] = args {
        return Ok(text.to_vec());
    }
    Ok(fmt::sprint_printable(args)?)
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend("\u{fffd}".as_bytes()),
            b'"' => out.extend(b"&#34;"),
            b'\'' => out.extend(b"&#39;"),
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            byte => out.push(*byte),
        }
    }
    out
}

fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        match byte {
            b'\\' | b'\'' | b'"' => out.extend([b'\\', byte]),
            b'<' | b'>' | b'&' | b'=' | 0..b' ' => out.extend(format!("\\u{byte:04X}").bytes()),
            0x80.. => {
                let (rune, width) = strconv::decode_rune(&text[at..]);
                if strconv::is_print(rune) {
                    out.extend_from_slice(&text[at..at + width]);
                } else {
                    out.extend(format!("\\u{:04X}", u32::from(rune)).bytes());
                }
                at += width - 1;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

fn urlquery(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}
