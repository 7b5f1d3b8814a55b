//! Lists: sums, extremes, order, parts.

use crate::functions::LARGEST;
use crate::value::{Cancelled, List, Value, error, list, no_overload};
use crate::views;

pub(crate) fn invoke<'a>(
    id: &str,
    args: &[Value<'a>],
    remaining: u64,
) -> Result<Option<Value<'a>>, Cancelled> {
    if id == "lists_range" {
        let Some(Value::Int(count)) = args.first() else {
            return Ok(Some(no_overload()));
        };
        let count = usize::try_from(*count).unwrap_or_default();
        // what it costs is known before it is made
        if count as u64 > remaining || count > LARGEST {
            return Err(Cancelled::Cost);
        }
        return Ok(Some(list((0..count as i64).map(Value::Int).collect())));
    }
    let op = id.split('_').nth(2).unwrap_or_default();
    let Some(Value::List(of)) = args.first() else {
        return Ok(None);
    };
    let value = match id {
        "list_a_index_of_int" => Value::Int(place((0..of.len()).collect(), of, &args[1])),
        "list_a_last_index_of_int" => {
            Value::Int(place((0..of.len()).rev().collect(), of, &args[1]))
        }
        "list_slice" => slice(of, &args[1], &args[2]),
        "list_flatten" => match flatten(of, 1, 0) {
            Some(values) => list(values),
            None => error("level must be non-negative"),
        },
        "list_flatten_int" => match args.get(1) {
            Some(Value::Int(depth)) => match flatten(of, *depth, 0) {
                Some(values) => list(values),
                None => error("level must be non-negative"),
            },
            _ => error(format!(
                "no such overload: list.flatten({})",
                args.get(1).map_or("", Value::type_name)
            )),
        },
        "list_reverse" => {
            let mut values: Vec<Value<'a>> = of.iter().collect();
            values.reverse();
            list(values)
        }
        "list_distinct" => distinct(of, remaining)?,
        _ => match op {
            "sum" => sum(of, id),
            "max" => extreme(of, "max", -1),
            "min" => extreme(of, "min", 1),
            "is" => is_sorted(of),
            _ => return Ok(sets(id, args)),
        },
    };
    Ok(Some(value))
}

fn place<'a>(order: Vec<usize>, of: &List<'a>, item: &Value<'a>) -> i64 {
    order
        .into_iter()
        .find(|at| of.get(*at).is_some_and(|v| v.is_equal(item)))
        .map_or(-1, |at| i64::try_from(at).unwrap_or(-1))
}

fn slice<'a>(of: &List<'a>, start: &Value<'a>, end: &Value<'a>) -> Value<'a> {
    let (Value::Int(start), Value::Int(end)) = (start, end) else {
        return no_overload();
    };
    let fault = |why: &str| error(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return fault("negative indexes not supported");
    };
    if from > to {
        return fault("start index must be less than or equal to end index");
    }
    if of.len() < to {
        return fault(&format!("list is length {}", of.len()));
    }
    list((from..to).map_while(|at| of.get(at)).collect())
}

fn flatten<'a>(of: &List<'a>, depth: i64, level: usize) -> Option<Vec<Value<'a>>> {
    if depth < 0 {
        return None;
    }
    let mut out = Vec::new();
    for value in of.iter() {
        match value {
            Value::List(inner) if depth > 0 && level < 256 => {
                out.extend(flatten(&inner, depth - 1, level + 1)?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

fn distinct<'a>(of: &List<'a>, remaining: u64) -> Result<Value<'a>, Cancelled> {
    // it compares each with each, which is what it costs
    let size = of.len() as u64;
    if size.saturating_mul(size).saturating_mul(2) > remaining.saturating_add(11) {
        return Err(Cancelled::Cost);
    }
    let mut out: Vec<Value<'a>> = Vec::new();
    for value in of.iter() {
        if !out.iter().any(|seen| value.is_equal(seen)) {
            out.push(value);
        }
    }
    if of.is_empty() {
        return Ok(Value::List(of.clone()));
    }
    Ok(list(out))
}

fn sum<'a>(of: &List<'a>, id: &str) -> Value<'a> {
    let mut total = match id {
        "list_int_sum_int" => Value::Int(0),
        "list_uint_sum_uint" => Value::Uint(0),
        "list_double_sum_double" => Value::Double(0.0),
        _ => Value::Duration(0),
    };
    for value in of.iter() {
        let next = match (&total, &value) {
            (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int),
            (Value::Uint(a), Value::Uint(b)) => a.checked_add(*b).map(Value::Uint),
            (Value::Double(a), Value::Double(b)) => Some(Value::Double(a + b)),
            (Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration),
            _ => return no_overload(),
        };
        let overflow = match total {
            Value::Uint(_) => "unsigned integer overflow",
            _ => "integer overflow",
        };
        match next {
            Some(next) => total = next,
            None => return error(overflow),
        }
    }
    total
}

fn comparable(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::Bool(_)
            | Value::Bytes(_)
            | Value::Double(_)
            | Value::Duration(_)
            | Value::Int(_)
            | Value::String(_)
            | Value::Timestamp(_)
            | Value::Uint(_)
    )
}

fn not_comparable<'a>(value: Value<'a>) -> Value<'a> {
    match value {
        Value::Error(_) => value,
        _ => no_overload(),
    }
}

fn extreme<'a>(of: &List<'a>, name: &str, prefer: i64) -> Value<'a> {
    let mut best: Option<Value<'a>> = None;
    for value in of.iter() {
        if !comparable(&value) {
            return not_comparable(value);
        }
        let replace = match &best {
            None => true,
            Some(best) => matches!(best.compare(&value), Value::Int(o) if o == prefer),
        };
        if replace {
            best = Some(value);
        }
    }
    best.unwrap_or_else(|| error(format!("{name} called on empty list")))
}

fn is_sorted<'a>(of: &List<'a>) -> Value<'a> {
    let mut previous: Option<Value<'a>> = None;
    for value in of.iter() {
        if !comparable(&value) {
            return not_comparable(value);
        }
        if let Some(previous) = &previous
            && matches!(previous.compare(&value), Value::Int(1))
        {
            return Value::Bool(false);
        }
        previous = Some(value);
    }
    Value::Bool(true)
}

/// A list in the order of its keys.
pub(crate) fn sort<'a>(of: &Value<'a>, keys: &Value<'a>) -> Value<'a> {
    let (Value::List(of), Value::List(keys)) = (of, keys) else {
        return no_overload();
    };
    if of.len() != keys.len() {
        return error(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            of.len(),
            keys.len()
        ));
    }
    let Some(first) = keys.get(0) else {
        return Value::List(of.clone());
    };
    if !comparable(&first) {
        return error("list elements must be comparable");
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.iter().zip(of.iter()).collect();
    if pairs
        .iter()
        .any(|(key, _)| key.type_name() != first.type_name())
    {
        return error("list elements must have the same type");
    }
    pairs.sort_by(|(a, _), (b, _)| match a.compare(b) {
        Value::Int(-1) => std::cmp::Ordering::Less,
        Value::Int(1) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    });
    list(pairs.into_iter().map(|(_, value)| value).collect())
}

fn sets<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let (Value::List(a), Value::List(b)) = (args.first()?, args.get(1)?) else {
        return None;
    };
    Some(match id {
        "list_sets_contains_list" => contains(a, b),
        "list_sets_equivalent_list" => match contains(a, b) {
            Value::Bool(true) => contains(b, a),
            other => other,
        },
        "list_sets_intersects_list" => Value::Bool(
            a.iter()
                .any(|v| matches!(views::contains(b, &v), Value::Bool(true))),
        ),
        _ => return None,
    })
}

fn contains<'a>(list: &List<'a>, sub: &List<'a>) -> Value<'a> {
    for value in sub.iter() {
        let found = views::contains(list, &value);
        if !matches!(found, Value::Bool(true)) {
            return found;
        }
    }
    Value::Bool(true)
}
