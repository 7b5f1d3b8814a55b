//! Lists. What works by reflection takes slices of any type.

use roadstead_template::{Call, FuncError, Function, List, Signature, Str, Type, Value};

use crate::table::{ANY, ANY_ANY, ANY_ANYS, ANYS, STR_ANY};
use crate::values::{
    NIL_POINTER, Outcome, any, deep_equal, failed, int, is_empty, reserve, rest, slice, strings,
    text, to_int,
};

/// Rows that stand twice: with and without `must`, which in Go return an error or panic with it.
macro_rules! twice {
    ($plain:literal, $must:literal, $signature:expr, $call:expr) => {
        [
            Function::pure($plain, $signature, $call),
            Function::pure($must, $signature, $call),
        ]
    };
}

const CHUNK: Signature = Signature::fixed(&[Type::INT, Type::Any]);
const LISTS: Type = Type::Slice(&Type::LIST);

pub(crate) const ROWS: &[&[Function]] = &[
    &[
        Function::pure("list", ANYS, |_, args| Ok(Value::list(args.to_vec()))),
        Function::pure("tuple", ANYS, |_, args| Ok(Value::list(args.to_vec()))),
        Function::pure("concat", ANYS, concat),
        Function::pure("join", STR_ANY, join),
        Function::pure("sortAlpha", ANY, sort_alpha),
        Function::pure("toStrings", ANY, |_, args| {
            // A []string is given back as it is, nil or not.
            match any(args, 0) {
                Value::List(list) if list.ty() == Type::STRINGS => Ok(list.clone().into()),
                other => Ok(Value::strings(strings(other)?)),
            }
        }),
    ],
    &twice!("append", "mustAppend", ANY_ANY, push),
    &twice!("push", "mustPush", ANY_ANY, push),
    &twice!("prepend", "mustPrepend", ANY_ANY, prepend),
    &twice!("first", "mustFirst", ANY, |_, args| {
        Ok(slice(any(args, 0), "Cannot find first on type")?
            .get(0)
            .unwrap_or_default())
    }),
    &twice!("last", "mustLast", ANY, |_, args| {
        let list = slice(any(args, 0), "Cannot find last on type")?;
        let last = list.len().checked_sub(1);
        Ok(last.and_then(|at| list.get(at)).unwrap_or_default())
    }),
    &twice!("rest", "mustRest", ANY, |_, args| {
        let list = slice(any(args, 0), "Cannot find rest on type")?;
        Ok(part(&list, 1, list.len()))
    }),
    &twice!("initial", "mustInitial", ANY, |_, args| {
        let list = slice(any(args, 0), "Cannot find initial on type")?;
        Ok(part(&list, 0, list.len().saturating_sub(1)))
    }),
    &twice!("reverse", "mustReverse", ANY, |_, args| {
        let mut items = slice(any(args, 0), "Cannot find reverse on type")?
            .items()
            .into_owned();
        items.reverse();
        Ok(Value::list(items))
    }),
    &twice!("compact", "mustCompact", ANY, |_, args| {
        let list = slice(any(args, 0), "Cannot compact on type")?;
        let items = list.items();
        let full = items.iter().filter(|item| !is_empty(item));
        Ok(Value::list(full.cloned().collect()))
    }),
    &twice!("uniq", "mustUniq", ANY, uniq),
    &twice!("without", "mustWithout", ANY_ANYS, without),
    &twice!("has", "mustHas", ANY_ANY, has),
    &twice!("slice", "mustSlice", ANY_ANYS, cut),
    &twice!("chunk", "mustChunk", CHUNK, chunk),
];

/// Some of a list's elements, with any type; of an empty list nil.
fn part(list: &List, from: usize, to: usize) -> Value {
    if list.is_empty() {
        return Value::List(List::nil(Type::LIST));
    }
    Value::list(list.items()[from..to].to_vec())
}

fn push(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 0), "Cannot push on type")?;
    reserve(call, (list.len() + 1) * size_of::<Value>())?;
    let mut items = list.items().into_owned();
    items.push(any(args, 1).clone());
    Ok(Value::list(items))
}

fn prepend(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 0), "Cannot prepend on type")?;
    reserve(call, (list.len() + 1) * size_of::<Value>())?;
    let mut items = vec![any(args, 1).clone()];
    items.extend(list.items().iter().cloned());
    Ok(Value::list(items))
}

fn concat(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let mut items = Vec::new();
    for list in rest(args, 0) {
        if list.is_untyped_nil() {
            return Err(failed(NIL_POINTER));
        }
        let Some(list) = list.as_list() else {
            return Err(failed(format!(
                "Cannot concat type {} as list",
                list.kind().name()
            )));
        };
        reserve(call, list.len() * size_of::<Value>())?;
        items.extend(list.items().iter().cloned());
    }
    if items.is_empty() {
        return Ok(Value::List(List::nil(Type::LIST)));
    }
    Ok(Value::list(items))
}

fn join(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let parts = strings(any(args, 1))?;
    let separator = text(args, 0);
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    call.allocate(length + separator.len().saturating_mul(parts.len()))?;
    let parts: Vec<&[u8]> = parts.iter().map(Str::as_bytes).collect();
    Ok(Value::str(parts.join(separator.as_bytes())))
}

fn sort_alpha(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let value = any(args, 0);
    if value.is_untyped_nil() {
        return Ok(Value::strings(vec![crate::values::display(value)?]));
    }
    let mut parts = strings(value)?;
    parts.sort();
    Ok(Value::strings(parts))
}

fn contains(call: &mut Call<'_>, items: &[Value], item: &Value) -> Result<bool, FuncError> {
    call.spend(items.len() as u64 / 4)?;
    for other in items {
        if deep_equal(item, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 0), "Cannot find uniq on type")?;
    let mut kept: Vec<Value> = Vec::new();
    for item in list.items().iter() {
        if !contains(call, &kept, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn without(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 0), "Cannot find without on type")?;
    let mut kept = Vec::new();
    for item in list.items().iter() {
        if !contains(call, rest(args, 1), item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn has(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    if any(args, 1).is_untyped_nil() {
        return Ok(false.into());
    }
    let list = slice(any(args, 1), "Cannot find has on type")?;
    Ok(contains(call, &list.items(), any(args, 0))?.into())
}

fn cut(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 0), "list should be type of slice or array but")?;
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let length = list.len() as i64;
    let from = if args.len() > 1 { to_int(&args[1]) } else { 0 };
    let to = if args.len() > 2 {
        to_int(&args[2])
    } else {
        length
    };
    if from < 0 || to < from || to > length {
        return Err(failed("reflect.Value.Slice: slice index out of bounds"));
    }
    Ok(list.slice(from as usize..to as usize).into())
}

fn chunk(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let list = slice(any(args, 1), "Cannot chunk type")?;
    let (size, length) = (int(args, 0), list.len());
    if size <= 0 {
        return chunk_by_nothing(size, length);
    }
    reserve(call, length.saturating_mul(size_of::<Value>()))?;
    let items = list.items();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let chunks = items.chunks(size).map(|part| Value::list(part.to_vec()));
    Ok(List::typed(LISTS, chunks.collect()).into())
}

/// What comes of Go's float arithmetic on a size that is zero or less.
fn chunk_by_nothing(size: i64, length: usize) -> Outcome {
    let count = ((length as f64 - 1.0) / size as f64).floor() + 1.0;
    if !count.is_finite() || count < 0.0 {
        return Err(failed("runtime error: makeslice: len out of range"));
    }
    if count == 0.0 {
        return Ok(List::typed(LISTS, Vec::new()).into());
    }
    let remains = (length as f64 % size as f64).floor();
    let own = if remains == 0.0 || count > 1.0 {
        size as f64
    } else {
        remains
    };
    if own < 0.0 || !own.is_finite() {
        return Err(failed("runtime error: makeslice: len out of range"));
    }
    Err(failed("reflect: slice index out of range"))
}
