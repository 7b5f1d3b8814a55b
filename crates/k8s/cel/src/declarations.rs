//! The functions that the environment declares, as data.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::types::{self, Type};

/// One shape of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) params: Vec<std::sync::Arc<str>>,
}

/// A function by all its shapes, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: Vec<Overload>,
}

pub(crate) fn function(name: &str) -> Option<&'static Function> {
    static TABLE: OnceLock<BTreeMap<&'static str, Function>> = OnceLock::new();
    TABLE.get_or_init(load).get(name)
}

fn load() -> BTreeMap<&'static str, Function> {
    let mut table: BTreeMap<&'static str, Function> = BTreeMap::new();
    for line in include_str!("declarations.txt").lines() {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or_default();
        let (name, id, style, args, result) = (next(), next(), next(), next(), next());
        let args: Vec<Type> = args
            .split("; ")
            .filter(|text| !text.is_empty())
            .map(types::parse)
            .collect();
        let result = types::parse(result);
        let mut params = Vec::new();
        for ty in args.iter().chain([&result]) {
            collect(ty, &mut params);
        }
        table
            .entry(name)
            .or_insert_with(|| Function {
                name,
                overloads: Vec::new(),
            })
            .overloads
            .push(Overload {
                id,
                member: style == "member",
                args,
                result,
                params,
            });
    }
    table
}

fn collect(ty: &Type, params: &mut Vec<std::sync::Arc<str>>) {
    if let Type::Param(name) = ty
        && !params.contains(name)
    {
        params.push(name.clone());
    }
    for param in ty.parameters() {
        collect(param, params);
    }
}

/// The types that expressions can name, with their run-time names.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "list" => Type::list(Type::Param("A".into())),
        "map" => Type::map(Type::Param("A".into()), Type::Param("B".into())),
        "type" => Type::Type(None),
        types::OPTIONAL => Type::optional(Type::Param("T".into())),
        "net.IP" | "net.CIDR" => types::parse(name),
        _ => return None,
    })
}
