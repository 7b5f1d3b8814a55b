//! The values of templates, with as much of Go's types as templates can observe.

mod list;
mod map;
mod object;

use std::borrow::Cow;
use std::rc::Rc;

pub use list::List;
pub use map::{Map, Scope};
pub use object::{Field, Object, Underlying};

use crate::text::Str;
use crate::types::{IntKind, Kind, Type};

/// How deep values may nest where something walks them whole (printing, comparing, copying).
///
/// Go has no such bound: there a value of this depth grows the stack, and one that holds itself ends the program.
pub const MAX_DEPTH: usize = 1000;

/// An integer with its Go type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int {
    kind: IntKind,
    bits: u64,
}

impl Int {
    /// An integer of a kind; as Go's conversions do, it keeps the low bits.
    pub fn new(kind: IntKind, value: i64) -> Self {
        let bits = match kind {
            IntKind::Int8 => (value as i8) as i64 as u64,
            IntKind::Int16 => (value as i16) as i64 as u64,
            IntKind::Int32 => (value as i32) as i64 as u64,
            IntKind::Uint8 => (value as u8) as u64,
            IntKind::Uint16 => (value as u16) as u64,
            IntKind::Uint32 => (value as u32) as u64,
            _ => value as u64,
        };
        Self { kind, bits }
    }

    /// An unsigned integer of a kind; see [`Int::new`].
    pub fn unsigned(kind: IntKind, value: u64) -> Self {
        Self::new(kind, value as i64)
    }

    /// Its type.
    pub fn kind(self) -> IntKind {
        self.kind
    }

    /// Its value; one of an unsigned kind above `i64::MAX` wraps, as `int64(x)` does.
    pub fn as_i64(self) -> i64 {
        self.bits as i64
    }

    /// Its value; a negative one wraps, as `uint64(x)` does.
    pub fn as_u64(self) -> u64 {
        self.bits
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.kind.is_signed() && (self.bits as i64) < 0
    }

    /// Its exact value.
    pub fn as_i128(self) -> i128 {
        if self.kind.is_signed() {
            i128::from(self.bits as i64)
        } else {
            i128::from(self.bits)
        }
    }
}

/// A value of a template. A clone is cheap; it lives on one thread, for one render.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Value {
    /// Not even nil: what a missing key gives. Functions never see it: it reaches them as [`Value::Nil`].
    Invalid,
    /// A nil `interface {}`.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// An integer of any Go type.
    Int(Int),
    /// `float64`: every number that comes from YAML or JSON.
    Float(f64),
    /// `complex128`, from constants such as `1i` only.
    Complex(f64, f64),
    /// `string`
    Str(Str),
    /// A slice; immutable.
    List(List),
    /// A map with string keys; mutable, and shared by all that hold it.
    Map(Map),
    /// Anything else: times, versions, certificates, errors, structs, and named types with methods.
    Object(Rc<dyn Object>),
}

impl Value {
    /// An `int`.
    pub fn int(value: i64) -> Self {
        Value::Int(Int::new(IntKind::Int, value))
    }

    /// An `int64`.
    pub fn int64(value: i64) -> Self {
        Value::Int(Int::new(IntKind::Int64, value))
    }

    /// A string.
    pub fn str(text: impl Into<Str>) -> Self {
        Value::Str(text.into())
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List::new(items))
    }

    /// A `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Self {
        Value::List(List::strings(items))
    }

    /// A `map[string]interface {}`.
    pub fn dict<K: Into<Str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// An object.
    pub fn object(object: impl Object + 'static) -> Self {
        Value::Object(Rc::new(object))
    }

    /// Its Go type; none of nil.
    pub fn ty(&self) -> Option<Type> {
        Some(match self {
            Value::Invalid | Value::Nil => return None,
            Value::Bool(_) => Type::Bool,
            Value::Int(int) => Type::Int(int.kind()),
            Value::Float(_) => Type::Float64,
            Value::Complex(..) => Type::Complex128,
            Value::Str(_) => Type::Str,
            Value::List(list) => list.ty(),
            Value::Map(map) => map.ty(),
            Value::Object(object) => Type::Object(object.type_name()),
        })
    }

    /// Its type as `%T` prints it; `<nil>` of nil.
    pub fn type_name(&self) -> Cow<'static, str> {
        match self.ty() {
            None => Cow::Borrowed("<nil>"),
            Some(Type::Object(name) | Type::Named(name, _)) => Cow::Borrowed(name),
            Some(ty) => Cow::Owned(ty.to_string()),
        }
    }

    /// Its kind as `kindOf` says it; [`Kind::Invalid`] of nil.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Invalid | Value::Nil => Kind::Invalid,
            Value::Bool(_) => Kind::Bool,
            Value::Int(int) => int.kind().kind(),
            Value::Float(_) => Kind::Float64,
            Value::Complex(..) => Kind::Complex128,
            Value::Str(_) => Kind::String,
            Value::List(_) => Kind::Slice,
            Value::Map(_) => Kind::Map,
            Value::Object(object) => object.kind(),
        }
    }

    /// Whether it is nil: untyped, or a nil map, slice or pointer.
    pub fn is_nil(&self) -> bool {
        match self {
            Value::Invalid | Value::Nil => true,
            Value::List(list) => list.is_nil(),
            Value::Map(map) => map.is_nil(),
            Value::Object(object) => object.is_nil(),
            _ => false,
        }
    }

    /// Whether it is untyped nil, which has no type at all.
    pub fn is_untyped_nil(&self) -> bool {
        matches!(self, Value::Invalid | Value::Nil)
    }

    /// Whether `if` takes it for true.
    pub fn truth(&self) -> bool {
        match self {
            Value::Invalid | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(int) => int.as_u64() != 0,
            Value::Float(value) => *value != 0.0,
            Value::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Object(object) => object.truth(),
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&Str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The slice, if it is one; an object that is a slice underneath counts.
    pub fn as_list(&self) -> Option<List> {
        match self {
            Value::List(list) => Some(list.clone()),
            Value::Object(object) => match object.underlying() {
                Underlying::List(list) => Some(list),
                _ => None,
            },
            _ => None,
        }
    }

    /// The map, if it is one; an object that is a map underneath counts.
    pub fn as_map(&self) -> Option<Map> {
        match self {
            Value::Map(map) => Some(map.clone()),
            Value::Object(object) => match object.underlying() {
                Underlying::Map(map) => Some(map),
                _ => None,
            },
            _ => None,
        }
    }

    /// The object's own type, if it is one of that type.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Whether it holds other values that may hold others in turn.
    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Value::List(_) | Value::Map(_) | Value::Object(_))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::str(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::str(value)
    }
}

impl From<Str> for Value {
    fn from(value: Str) -> Self {
        Value::Str(value)
    }
}

impl From<List> for Value {
    fn from(value: List) -> Self {
        Value::List(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Value::Map(value)
    }
}

impl From<Int> for Value {
    fn from(value: Int) -> Self {
        Value::Int(value)
    }
}
