//! The Go types that templates can observe: in `%T`, in error texts, and in what may be passed to what.

use std::fmt;

/// What `reflect.Kind` says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Go's own")]
pub enum Kind {
    Invalid,
    Bool,
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Uintptr,
    Float32,
    Float64,
    Complex128,
    Func,
    Interface,
    Map,
    Pointer,
    Slice,
    String,
    Struct,
}

impl Kind {
    /// Its Go name, as `kindOf` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint => "uint",
            Kind::Uint8 => "uint8",
            Kind::Uint16 => "uint16",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Uintptr => "uintptr",
            Kind::Float32 => "float32",
            Kind::Float64 => "float64",
            Kind::Complex128 => "complex128",
            Kind::Func => "func",
            Kind::Interface => "interface",
            Kind::Map => "map",
            Kind::Pointer => "ptr",
            Kind::Slice => "slice",
            Kind::String => "string",
            Kind::Struct => "struct",
        }
    }
}

/// The integer types of Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Go's own")]
pub enum IntKind {
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Uintptr,
}

impl IntKind {
    /// Whether negative numbers exist in it.
    pub fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Int | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64
        )
    }

    /// Its width.
    pub fn bits(self) -> u32 {
        match self {
            Self::Int8 | Self::Uint8 => 8,
            Self::Int16 | Self::Uint16 => 16,
            Self::Int32 | Self::Uint32 => 32,
            _ => 64,
        }
    }

    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Int => Kind::Int,
            Self::Int8 => Kind::Int8,
            Self::Int16 => Kind::Int16,
            Self::Int32 => Kind::Int32,
            Self::Int64 => Kind::Int64,
            Self::Uint => Kind::Uint,
            Self::Uint8 => Kind::Uint8,
            Self::Uint16 => Kind::Uint16,
            Self::Uint32 => Kind::Uint32,
            Self::Uint64 => Kind::Uint64,
            Self::Uintptr => Kind::Uintptr,
        }
    }
}

/// A Go type, as far as templates can tell types apart.
///
/// Types are made of constants, so they can stand in static tables: `Type::Slice(&Type::Str)` is `[]string`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`
    Any,
    /// `bool`
    Bool,
    /// `int`, `int64`, `uint8`, …
    Int(IntKind),
    /// `float64`
    Float64,
    /// `complex128`
    Complex128,
    /// `string`
    Str,
    /// `[]T`
    Slice(&'static Type),
    /// `map[string]T`
    Map(&'static Type),
    /// `reflect.Value`; only as a parameter: takes any value as it stands.
    Reflect,
    /// A type with a name of its own, such as `time.Time`, `*semver.Version`, `common.Values`, and what it is made of.
    Named(&'static str, &'static Type),
    /// A type that templates see only through [`crate::Object`]: the name with its package, and with `*` if it is a pointer.
    Object(&'static str),
}

impl Type {
    /// `int`
    pub const INT: Type = Type::Int(IntKind::Int);
    /// `int64`
    pub const INT64: Type = Type::Int(IntKind::Int64);
    /// `uint8`
    pub const UINT8: Type = Type::Int(IntKind::Uint8);
    /// `[]interface {}`
    pub const LIST: Type = Type::Slice(&Type::Any);
    /// `[]string`
    pub const STRINGS: Type = Type::Slice(&Type::Str);
    /// `[]uint8`
    pub const BYTES: Type = Type::Slice(&Type::UINT8);
    /// `map[string]interface {}`
    pub const DICT: Type = Type::Map(&Type::Any);

    /// The type without its name.
    pub fn underlying(&self) -> &Type {
        match self {
            Type::Named(_, of) => of,
            other => other,
        }
    }

    /// Its `reflect.Kind`. A pointer if the name of an object starts with `*`.
    pub fn kind(&self) -> Kind {
        match self.underlying() {
            Type::Any => Kind::Interface,
            Type::Bool => Kind::Bool,
            Type::Int(kind) => kind.kind(),
            Type::Float64 => Kind::Float64,
            Type::Complex128 => Kind::Complex128,
            Type::Str => Kind::String,
            Type::Slice(_) => Kind::Slice,
            Type::Map(_) => Kind::Map,
            Type::Object(name) if name.starts_with('*') => Kind::Pointer,
            Type::Object("error" | "fmt.Stringer") => Kind::Interface,
            Type::Object(_) | Type::Reflect | Type::Named(..) => Kind::Struct,
        }
    }

    /// Whether `nil` can be passed where this type stands.
    pub fn can_be_nil(&self) -> bool {
        matches!(self, Type::Reflect)
            || matches!(
                self.kind(),
                Kind::Interface | Kind::Map | Kind::Slice | Kind::Pointer | Kind::Func
            )
    }

    /// Whether a value of type `from` may stand where `self` is wanted, by Go's rule of assignability.
    pub fn accepts(&self, from: &Type) -> bool {
        if self == from || matches!(self, Type::Any) {
            return true;
        }
        let named = |of: &Type| !matches!(of, Type::Slice(_) | Type::Map(_));
        self.underlying() == from.underlying() && (!named(self) || !named(from))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => f.write_str("interface {}"),
            Type::Bool => f.write_str("bool"),
            Type::Int(kind) => f.write_str(kind.kind().name()),
            Type::Float64 => f.write_str("float64"),
            Type::Complex128 => f.write_str("complex128"),
            Type::Str => f.write_str("string"),
            Type::Slice(of) => write!(f, "[]{of}"),
            Type::Map(of) => write!(f, "map[string]{of}"),
            Type::Reflect => f.write_str("reflect.Value"),
            Type::Named(name, _) | Type::Object(name) => f.write_str(name),
        }
    }
}
