//! The types that the checker knows.

use std::fmt;
use std::sync::Arc;

/// A type, as declared or as inferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known at run time only.
    Dyn,
    /// What stands for an expression that did not check.
    Error,
    /// The type of `null`.
    Null,
    /// True or false.
    Bool,
    /// 64 bits with a sign.
    Int,
    /// 64 bits without a sign.
    Uint,
    /// A double.
    Double,
    /// Text, counted in code points.
    String,
    /// Bytes.
    Bytes,
    /// A span of time, in nanoseconds.
    Duration,
    /// A moment.
    Timestamp,
    /// A list.
    List(Arc<Type>),
    /// A map.
    Map(Arc<Type>, Arc<Type>),
    /// A named type with fields, or one of the Kubernetes libraries.
    Struct(Arc<str>),
    /// An abstract type with parameters, such as `optional_type`.
    Opaque(Arc<str>, Arc<[Type]>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// A parameter that unification fills in.
    Param(Arc<str>),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    /// A list of this type.
    pub fn list(of: Type) -> Type {
        Type::List(Arc::new(of))
    }

    /// A map from the one to the other.
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// An optional value of this type.
    pub fn optional(of: Type) -> Type {
        Type::Opaque(OPTIONAL.into(), Arc::new([of]))
    }

    pub(crate) fn named(name: &str) -> Type {
        Type::Struct(name.into())
    }

    pub(crate) fn unwrap_optional(&self) -> Option<&Type> {
        match self {
            Type::Opaque(name, params) if &**name == OPTIONAL => params.first(),
            _ => None,
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// The name that values of the type carry at run time, without parameters.
    pub fn runtime_name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Error => "error",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Duration => "google.protobuf.Duration",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::List(_) => "list",
            Type::Map(..) => "map",
            Type::Struct(name) | Type::Opaque(name, _) | Type::Param(name) => name,
            Type::Type(_) => "type",
        }
    }

    pub(crate) fn parameters(&self) -> Vec<&Type> {
        match self {
            Type::List(of) => vec![of],
            Type::Map(key, value) => vec![key, value],
            Type::Opaque(_, params) => params.iter().collect(),
            Type::Type(Some(of)) => vec![of],
            _ => Vec::new(),
        }
    }

    /// Are they the same, where parameters may be called otherwise?
    pub(crate) fn is_equivalent(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Param(_), Type::Param(_)) => true,
            _ => {
                std::mem::discriminant(self) == std::mem::discriminant(other)
                    && self.runtime_name() == other.runtime_name()
                    && {
                        let (a, b) = (self.parameters(), other.parameters());
                        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_equivalent(b))
                    }
            }
        }
    }

    /// The type in the words of error messages.
    pub(crate) fn words(&self) -> String {
        let name = match self {
            Type::Duration => return "duration".into(),
            Type::Timestamp => return "timestamp".into(),
            Type::Error => return "!error!".into(),
            Type::Null => return "null".into(),
            other => other.runtime_name(),
        };
        let params = self.parameters();
        if params.is_empty() {
            return name.into();
        }
        let params: Vec<String> = params.iter().map(|p| p.words()).collect();
        format!("{name}({})", params.join(", "))
    }
}

/// As the declarations write it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Type::Param(name) = self {
            return write!(f, "<{name}>");
        }
        f.write_str(self.runtime_name())?;
        let params = self.parameters();
        if params.is_empty() {
            return Ok(());
        }
        f.write_str("(")?;
        for (i, param) in params.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{param}")?;
        }
        f.write_str(")")
    }
}

/// Reads what `Display` writes.
pub(crate) fn parse(text: &str) -> Type {
    let mut rest = text;
    parse_part(&mut rest)
}

fn parse_part(rest: &mut &str) -> Type {
    if let Some(after) = rest.strip_prefix('<') {
        let end = after.find('>').unwrap_or(after.len());
        let name = &after[..end];
        *rest = after.get(end + 1..).unwrap_or("");
        return Type::Param(name.into());
    }
    let end = rest.find(['(', ')', ',']).unwrap_or(rest.len());
    let name = &rest[..end];
    *rest = &rest[end..];
    let mut params = Vec::new();
    if let Some(mut after) = rest.strip_prefix('(') {
        loop {
            params.push(parse_part(&mut after));
            match after.strip_prefix(", ") {
                Some(next) => after = next,
                None => break,
            }
        }
        *rest = after.strip_prefix(')').unwrap_or(after);
    }
    let mut params = params.into_iter();
    let mut next = || params.next().unwrap_or(Type::Dyn);
    match name {
        "dyn" => Type::Dyn,
        "null_type" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "list" => Type::list(next()),
        "map" => {
            let key = next();
            Type::map(key, next())
        }
        "type" => Type::Type(params.next().map(Arc::new)),
        OPTIONAL => Type::optional(next()),
        "net.IP" | "net.CIDR" => Type::Opaque(name.into(), Arc::new([])),
        other => Type::named(other),
    }
}
