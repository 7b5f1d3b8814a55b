//! Numbers: whatever can be cast to one, 0 where it cannot.

use roadstead_template::{Call, FuncError, Function, List, Purity, Signature, Type, Value, fmt};

use crate::decimal::Decimal;
use crate::go::strconv::parse_int;
use crate::random::below;
use crate::table::{ANY, ANY_ANY, ANY_ANYS, ANYS, INT, STR};
use crate::values::{Outcome, any, failed, int, reserve, rest, text, to_float, to_int};

const INTS: Signature = Signature::variadic(&[Type::INT]);
const INTEGERS: Type = Type::Slice(&Type::INT);

pub(crate) const ROWS: &[Function] = &[
    Function::pure("atoi", STR, |_, args| {
        Ok(Value::int(match parse_int(&text(args, 0), 10) {
            Ok(value) | Err(crate::go::strconv::NumError::Range(value)) => value,
            Err(crate::go::strconv::NumError::Syntax) => 0,
        }))
    }),
    Function::pure("int64", ANY, |_, args| {
        Ok(Value::int64(to_int(any(args, 0))))
    }),
    Function::pure("int", ANY, |_, args| Ok(Value::int(to_int(any(args, 0))))),
    Function::pure("float64", ANY, |_, args| Ok(to_float(any(args, 0)).into())),
    Function::pure("toDecimal", ANY, |_, args| {
        let text = fmt::sprint(&[any(args, 0).clone()]).map_err(FuncError::limit)?;
        Ok(Value::int64(parse_int(&text, 8).unwrap_or(0)))
    }),
    Function::pure("add1", ANY, |_, args| {
        Ok(Value::int64(to_int(any(args, 0)).wrapping_add(1)))
    }),
    Function::pure("add", ANYS, |_, args| {
        let sum = rest(args, 0).iter().map(to_int).fold(0, i64::wrapping_add);
        Ok(Value::int64(sum))
    }),
    Function::pure("sub", ANY_ANY, |_, args| {
        Ok(Value::int64(
            to_int(any(args, 0)).wrapping_sub(to_int(any(args, 1))),
        ))
    }),
    Function::pure("div", ANY_ANY, |_, args| divided(args, i64::wrapping_div)),
    Function::pure("mod", ANY_ANY, |_, args| divided(args, i64::wrapping_rem)),
    Function::pure("mul", ANY_ANYS, |_, args| {
        Ok(Value::int64(fold(args, i64::wrapping_mul)))
    }),
    Function::pure("biggest", ANY_ANYS, |_, args| {
        Ok(Value::int64(fold(args, i64::max)))
    }),
    Function::pure("max", ANY_ANYS, |_, args| {
        Ok(Value::int64(fold(args, i64::max)))
    }),
    Function::pure("min", ANY_ANYS, |_, args| {
        Ok(Value::int64(fold(args, i64::min)))
    }),
    Function::pure("maxf", ANY_ANYS, |_, args| {
        Ok(fold_floats(args, |a, b| {
            if a == 0.0 && b == 0.0 {
                a + b
            } else {
                a.max(b)
            }
        })
        .into())
    }),
    Function::pure("minf", ANY_ANYS, |_, args| {
        Ok(fold_floats(args, |a, b| {
            if a == 0.0 && b == 0.0 && a.is_sign_negative() {
                a
            } else {
                a.min(b)
            }
        })
        .into())
    }),
    Function::pure("add1f", ANY, |_, args| {
        decimal(to_float(any(args, 0)), &[Value::int(1)], Decimal::add)
    }),
    Function::pure("addf", ANYS, |_, args| {
        decimal(0.0, rest(args, 0), Decimal::add)
    }),
    Function::pure("subf", ANY_ANYS, |_, args| {
        decimal(to_float(any(args, 0)), rest(args, 1), Decimal::subtract)
    }),
    Function::pure("mulf", ANY_ANYS, |_, args| {
        decimal(to_float(any(args, 0)), rest(args, 1), Decimal::multiply)
    }),
    Function::pure("divf", ANY_ANYS, |_, args| {
        decimal(to_float(any(args, 0)), rest(args, 1), Decimal::divide)
    }),
    Function::pure("floor", ANY, |_, args| {
        Ok(to_float(any(args, 0)).floor().into())
    }),
    Function::pure("ceil", ANY, |_, args| {
        Ok(to_float(any(args, 0)).ceil().into())
    }),
    Function::pure(
        "round",
        Signature::variadic(&[Type::Any, Type::INT, Type::Float64]),
        round,
    ),
    Function::pure("until", INT, |call, args| {
        let count = int(args, 0);
        steps(call, 0, count, if count < 0 { -1 } else { 1 })
    }),
    Function::pure(
        "untilStep",
        Signature::fixed(&[Type::INT, Type::INT, Type::INT]),
        |call, args| steps(call, int(args, 0), int(args, 1), int(args, 2)),
    ),
    Function::pure("seq", INTS, seq),
    Function::native(
        "randInt",
        Signature::fixed(&[Type::INT, Type::INT]),
        Purity::Random,
        |call, args| {
            let (min, max) = (int(args, 0), int(args, 1));
            let range = max.wrapping_sub(min);
            if range <= 0 {
                return Err(failed("invalid argument to Intn"));
            }
            let found = below(call, range.unsigned_abs())?;
            Ok(Value::int(min.wrapping_add(found.cast_signed())))
        },
    ),
];

fn fold(args: &[Value], operation: fn(i64, i64) -> i64) -> i64 {
    rest(args, 1)
        .iter()
        .map(to_int)
        .fold(to_int(any(args, 0)), operation)
}

/// Go's minimum and maximum: a NaN wins.
fn fold_floats(args: &[Value], operation: fn(f64, f64) -> f64) -> f64 {
    rest(args, 1)
        .iter()
        .map(to_float)
        .fold(to_float(any(args, 0)), |a, b| {
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else {
                operation(a, b)
            }
        })
}

fn divided(args: &[Value], operation: fn(i64, i64) -> i64) -> Outcome {
    let by = to_int(any(args, 1));
    if by == 0 {
        return Err(failed("runtime error: integer divide by zero"));
    }
    Ok(Value::int64(operation(to_int(any(args, 0)), by)))
}

type Operation = fn(&Decimal, &Decimal) -> Result<Decimal, String>;

fn decimal(first: f64, others: &[Value], operation: Operation) -> Outcome {
    let mut result = Decimal::new(first).map_err(failed)?;
    for other in others {
        let other = Decimal::new(to_float(other)).map_err(failed)?;
        result = operation(&result, &other).map_err(failed)?;
    }
    Ok(result.to_float().into())
}

fn round(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let on = match args.get(2) {
        Some(Value::Float(on)) => *on,
        _ => 0.5,
    };
    let power = 10_f64.powf(int(args, 1) as f64);
    let scaled = power * to_float(any(args, 0));
    let rounded = if scaled.is_finite() && scaled - scaled.trunc() >= on {
        scaled.ceil()
    } else {
        scaled.floor()
    };
    Ok((rounded / power).into())
}

/// How many integers there are from `from` to before `to`.
fn step_count(from: i64, to: i64, step: i64) -> usize {
    let (from, to, step) = (i128::from(from), i128::from(to), i128::from(step));
    let way = if to < from { from - to } else { to - from };
    let stride = if to < from { -step } else { step };
    if stride <= 0 {
        return 0;
    }
    usize::try_from((way + stride - 1) / stride).unwrap_or(usize::MAX)
}

fn integers(
    call: &mut Call<'_>,
    from: i64,
    to: i64,
    step: i64,
) -> Result<impl Iterator<Item = i64> + use<>, FuncError> {
    let count = step_count(from, to, step);
    reserve(call, count.saturating_mul(size_of::<Value>()))?;
    let at = move |index: usize| from.wrapping_add(step.wrapping_mul(index as i64));
    Ok((0..count).map(at))
}

fn steps(call: &mut Call<'_>, from: i64, to: i64, step: i64) -> Outcome {
    let items = integers(call, from, to, step)?.map(Value::int).collect();
    Ok(List::typed(INTEGERS, items).into())
}

fn seq(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let at = |index: usize| int(args, index);
    let (from, to, step) = match args.len() {
        1 => (1, at(0), if at(0) < 1 { -1 } else { 1 }),
        2 => (at(0), at(1), if at(1) < at(0) { -1 } else { 1 }),
        3 => {
            if at(2) < at(0) && at(1) > 0 {
                return Ok(Value::from(""));
            }
            (at(0), at(2), at(1))
        }
        _ => return Ok(Value::from("")),
    };
    let past = if to < from { -1 } else { 1 };
    let items = integers(call, from, to.wrapping_add(past), step)?;
    let text: Vec<String> = items.map(|item| item.to_string()).collect();
    Ok(Value::from(text.join(" ")))
}
