//! Dictionaries: maps from strings, shared by all who hold them, so writing is seen by all.

use roadstead_template::{Call, FuncError, Function, Map, Signature, Str, Type, Value};

use crate::merge::merge;
use crate::table::{ANY, ANYS};
use crate::values::{
    NIL_POINTER, Outcome, any, deep_copy, display, failed, map, reserve, rest, text,
};

const DICT: Signature = Signature::fixed(&[Type::DICT]);
const DICTS: Signature = Signature::variadic(&[Type::DICT]);
const DICT_DICTS: Signature = Signature::variadic(&[Type::DICT, Type::DICT]);
const DICT_STR: Signature = Signature::fixed(&[Type::DICT, Type::Str]);
const DICT_STRS: Signature = Signature::variadic(&[Type::DICT, Type::Str]);

pub(crate) const ROWS: &[Function] = &[
    Function::pure("dict", ANYS, dict),
    Function::pure("get", DICT_STR, |_, args| {
        let found = map(args, 0).get(&text(args, 1));
        Ok(found.unwrap_or_else(|| Value::Str(Str::new())))
    }),
    Function::pure(
        "set",
        Signature::fixed(&[Type::DICT, Type::Str, Type::Any]),
        |_, args| {
            let map = map(args, 0);
            if !map.insert(text(args, 1), any(args, 2).clone()) {
                return Err(failed("assignment to entry in nil map"));
            }
            Ok(map.into())
        },
    ),
    Function::pure("unset", DICT_STR, |_, args| {
        let map = map(args, 0);
        drop(map.remove(&text(args, 1)));
        Ok(map.into())
    }),
    Function::pure("hasKey", DICT_STR, |_, args| {
        Ok(map(args, 0).contains(&text(args, 1)).into())
    }),
    Function::pure(
        "pluck",
        Signature::variadic(&[Type::Str, Type::DICT]),
        |_, args| {
            let key = text(args, 0);
            let found = rest(args, 1)
                .iter()
                .filter_map(|dict| dict.as_map()?.get(&key));
            Ok(Value::list(found.collect()))
        },
    ),
    Function::pure("keys", DICTS, |call, args| {
        let mut keys = Vec::new();
        for dict in rest(args, 0).iter().filter_map(Value::as_map) {
            reserve(call, dict.len() * size_of::<Value>())?;
            keys.extend(dict.keys());
        }
        Ok(Value::strings(keys))
    }),
    Function::pure("values", DICT, |call, args| {
        let dict = map(args, 0);
        reserve(call, dict.len() * size_of::<Value>())?;
        let values = dict.entries().into_iter().map(|(_, value)| value);
        Ok(Value::list(values.collect()))
    }),
    Function::pure("pick", DICT_STRS, |_, args| {
        let dict = map(args, 0);
        let keys = rest(args, 1).iter().filter_map(Value::as_str);
        let picked: Map = keys
            .filter_map(|key| Some((key.clone(), dict.get(key)?)))
            .collect();
        Ok(picked.into())
    }),
    Function::pure("omit", DICT_STRS, |call, args| {
        let dict = map(args, 0);
        reserve(call, dict.len() * 2 * size_of::<Value>())?;
        let twin: Map = dict.entries().into_iter().collect();
        for key in rest(args, 1).iter().filter_map(Value::as_str) {
            drop(twin.remove(key));
        }
        Ok(twin.into())
    }),
    Function::pure("merge", DICT_DICTS, |call, args| {
        Ok(merged(call, args, false)?.unwrap_or_else(|_| Value::Str(Str::new())))
    }),
    Function::pure("mustMerge", DICT_DICTS, |call, args| {
        merged(call, args, false)?.map_err(failed)
    }),
    Function::pure("mergeOverwrite", DICT_DICTS, |call, args| {
        Ok(merged(call, args, true)?.unwrap_or_else(|_| Value::Str(Str::new())))
    }),
    Function::pure("mustMergeOverwrite", DICT_DICTS, |call, args| {
        merged(call, args, true)?.map_err(failed)
    }),
    Function::pure("deepCopy", ANY, copied),
    Function::pure("mustDeepCopy", ANY, copied),
    Function::pure("dig", ANYS, dig),
];

fn dict(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let mut entries = Vec::with_capacity(args.len() / 2);
    for pair in args.chunks(2) {
        let value = pair.get(1).cloned();
        entries.push((
            display(&pair[0])?,
            value.unwrap_or_else(|| Value::Str(Str::new())),
        ));
    }
    Ok(Value::dict(entries))
}

fn copied(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    if any(args, 0).is_untyped_nil() {
        return Err(failed("reflect: call of reflect.Value.Type on zero Value"));
    }
    deep_copy(any(args, 0), call)
}

/// Merges all sources into the first map: what the outer error ends the render with, the inner one Sprig may swallow.
fn merged(
    call: &mut Call<'_>,
    args: &[Value],
    overwrite: bool,
) -> Result<Result<Value, String>, FuncError> {
    let mut into = map(args, 0);
    for source in rest(args, 1).iter().filter_map(Value::as_map) {
        if into.is_nil() && !source.is_nil() {
            into = Map::new();
        }
        if let Err(message) = merge(call, &into, &source, overwrite)? {
            return Ok(Err(message));
        }
    }
    Ok(Ok(into.into()))
}

fn dig(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let [keys @ .., default, dict] = args else {
        return Err(failed("dig needs at least three arguments"));
    };
    if keys.is_empty() {
        return Err(failed("dig needs at least three arguments"));
    }
    let mut current = plain_map(dict)?;
    let mut names = Vec::with_capacity(keys.len());
    for key in keys {
        match key {
            Value::Str(key) => names.push(key),
            Value::Nil | Value::Invalid => {
                return Err(failed(
                    "interface conversion: interface {} is nil, not string",
                ));
            }
            other => {
                let name = other.type_name();
                return Err(failed(format!(
                    "interface conversion: interface {{}} is {name}, not string"
                )));
            }
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Err(failed(NIL_POINTER));
    };
    for name in parents {
        match current.get(name) {
            None => return Ok(default.clone()),
            Some(inner) => current = plain_map(&inner)?,
        }
    }
    Ok(current.get(last).unwrap_or_else(|| default.clone()))
}

/// Exactly a `map[string]interface {}`: a type assertion looks through no name.
fn plain_map(value: &Value) -> Result<Map, FuncError> {
    let name = match value {
        Value::Map(map) if map.ty() == Type::DICT => return Ok(map.clone()),
        Value::Nil | Value::Invalid => "nil".into(),
        other => other.type_name(),
    };
    Err(failed(format!(
        "interface conversion: interface {{}} is {name}, not map[string]interface {{}}"
    )))
}
