//! Values that are neither plain data nor maps: what Go passes as structs, pointers and named types with methods.

use std::any::Any;
use std::borrow::Cow;

use super::{Int, List, Map, Value};
use crate::call::{FuncError, Method};
use crate::text::Str;
use crate::types::Kind;

/// A struct's field.
#[derive(Clone)]
pub struct Field {
    /// Its Go name.
    pub name: &'static str,
    /// Its value; for a field that templates may not read, what `%v` prints of it.
    pub value: Value,
    /// Whether templates may read it.
    pub exported: bool,
    /// Whether the struct declares it as `interface {}`, which error texts tell.
    pub any: bool,
}

impl Field {
    /// A field that templates may read.
    pub fn new(name: &'static str, value: Value) -> Self {
        Self {
            name,
            value,
            exported: true,
            any: false,
        }
    }

    /// A field that is declared as `interface {}`.
    pub fn any(name: &'static str, value: Value) -> Self {
        Self {
            name,
            value,
            exported: true,
            any: true,
        }
    }

    /// A field that only `fmt` sees.
    pub fn hidden(name: &'static str, value: Value) -> Self {
        Self {
            name,
            value,
            exported: false,
            any: false,
        }
    }
}

/// What an object is made of.
#[derive(Clone)]
pub enum Underlying {
    /// A struct: its fields in order. If the type's name starts with `*`, a pointer to one.
    Struct(Vec<Field>),
    /// A map.
    Map(Map),
    /// A slice.
    List(List),
    /// A string.
    Str(Str),
    /// An integer, such as a duration.
    Int(Int),
    /// A float.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A function, and nothing that templates can look into.
    Func,
}

/// A Go value with a type of its own, and perhaps methods: `.Files`, `.Capabilities.APIVersions`, a `time.Time`, a
/// `*semver.Version`, an error, a chart's metadata.
///
/// Most of what templates do with it follows from [`Object::underlying`] and [`Object::methods`]; the rest has defaults.
pub trait Object: Any {
    /// The type as `%T` prints it, such as `time.Duration` or `*semver.Version`. A leading `*` makes it a pointer.
    fn type_name(&self) -> &'static str;

    /// What it is made of (for a pointer: what it points to).
    fn underlying(&self) -> Underlying;

    /// Itself, to be told apart.
    fn as_any(&self) -> &dyn Any;

    /// Its methods that templates may call, those with pointer receivers included.
    fn methods(&self) -> &'static [Method] {
        &[]
    }

    /// Whether it is a nil pointer.
    fn is_nil(&self) -> bool {
        false
    }

    /// One exported field, by its Go name. Override it where making all fields costs.
    fn field(&self, name: &str) -> Option<Value> {
        match self.underlying() {
            Underlying::Struct(fields) => fields
                .into_iter()
                .find(|field| field.exported && field.name == name)
                .map(|field| field.value),
            _ => None,
        }
    }

    /// What its `String` or `Error` method says; `%v`, `%s` and `print` use it.
    fn string(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Whether its text is an error's: then `fmt` calls it an error, not a stringer.
    fn is_error(&self) -> bool {
        false
    }

    /// The value that `encoding/json` and YAML see in its place. By default what it is made of, a struct by its exported
    /// fields under their Go names.
    fn json(&self) -> Result<Value, FuncError> {
        Ok(match self.underlying() {
            _ if self.is_nil() => Value::Nil,
            Underlying::Struct(fields) => Value::dict(
                fields
                    .into_iter()
                    .filter(|field| field.exported)
                    .map(|field| (field.name, field.value)),
            ),
            Underlying::Map(map) => Value::Map(map),
            Underlying::List(list) => Value::List(list),
            Underlying::Str(text) => Value::Str(text),
            Underlying::Int(int) => Value::Int(int),
            Underlying::Float(value) => Value::Float(value),
            Underlying::Bool(value) => Value::Bool(value),
            Underlying::Func => {
                return Err(FuncError::new(format!(
                    "json: unsupported type: {}",
                    self.type_name()
                )));
            }
        })
    }

    /// Whether Go's `==` holds between two of the same type. None: not comparable.
    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let _ = other;
        None
    }

    /// What the builtin `call` calls, if it is a function.
    fn function(&self) -> Option<Method> {
        None
    }

    /// Its `reflect.Kind`.
    fn kind(&self) -> Kind {
        if self.type_name().starts_with('*') {
            return Kind::Pointer;
        }
        match self.underlying() {
            Underlying::Struct(_) => Kind::Struct,
            Underlying::Map(_) => Kind::Map,
            Underlying::List(_) => Kind::Slice,
            Underlying::Str(_) => Kind::String,
            Underlying::Int(int) => int.kind().kind(),
            Underlying::Float(_) => Kind::Float64,
            Underlying::Bool(_) => Kind::Bool,
            Underlying::Func => Kind::Func,
        }
    }

    /// Whether `if` takes it for true.
    fn truth(&self) -> bool {
        if self.type_name().starts_with('*') {
            return !self.is_nil();
        }
        match self.underlying() {
            Underlying::Struct(_) => true,
            Underlying::Map(map) => !map.is_empty(),
            Underlying::List(list) => !list.is_empty(),
            Underlying::Str(text) => !text.is_empty(),
            Underlying::Int(int) => int.as_u64() != 0,
            Underlying::Float(value) => value != 0.0,
            Underlying::Bool(value) => value,
            Underlying::Func => !self.is_nil(),
        }
    }
}
