//! Dates. The zone "Local" is UTC, and the time of now comes from the render's host.

use roadstead_template::{Call, FuncError, Function, IntKind, Purity, Signature, Type, Value};

use crate::go::duration::{self, SECOND};
use crate::go::strconv::{NumError, parse_int};
use crate::go::time::{Time, Zone};
use crate::objects::{TIME, TimeObject, time_value};
use crate::table::{ANY, NONE, STR_ANY, STR_STR};
use crate::values::{Outcome, any, failed, text};

const IN_ZONE: Signature = Signature::fixed(&[Type::Str, Type::Any, Type::Str]);
const ANY_STR: Signature = Signature::fixed(&[Type::Any, Type::Str]);
const STR_TIME: Signature = Signature::fixed(&[Type::Str, TIME]);

const fn clock(
    name: &'static str,
    signature: Signature,
    native: roadstead_template::Native,
) -> Function {
    Function::native(name, signature, Purity::Clock, native)
}

pub(crate) const ROWS: &[Function] = &[
    clock("now", NONE, |call, _| Ok(time_value(now(call)?))),
    clock("ago", ANY, |call, args| {
        let Some(time) = point(any(args, 0), false) else {
            return Ok(Value::from("0s"));
        };
        let since = now(call)?.since(&time);
        Ok(Value::from(duration::to_string(duration::round(
            since, SECOND,
        ))))
    }),
    clock("date", STR_ANY, |call, args| {
        written(call, &text(args, 0), any(args, 1), b"Local")
    }),
    clock("dateInZone", IN_ZONE, in_zone),
    clock("date_in_zone", IN_ZONE, in_zone),
    clock("htmlDate", ANY, |call, args| {
        written(call, b"2006-01-02", any(args, 0), b"Local")
    }),
    clock("htmlDateInZone", ANY_STR, |call, args| {
        written(call, b"2006-01-02", any(args, 0), &text(args, 1))
    }),
    clock("durationRound", ANY, duration_round),
    Function::pure("duration", ANY, |_, args| {
        let seconds = match any(args, 0) {
            Value::Str(text) => match parse_int(text, 10) {
                Ok(value) | Err(NumError::Range(value)) => value,
                Err(NumError::Syntax) => 0,
            },
            Value::Int(int) if int.kind() == IntKind::Int64 => int.as_i64(),
            _ => 0,
        };
        Ok(Value::from(duration::to_string(
            seconds.wrapping_mul(SECOND),
        )))
    }),
    Function::pure("dateModify", STR_TIME, |_, args| {
        modified(args).or_else(|_| Ok(any(args, 1).clone()))
    }),
    Function::pure("date_modify", STR_TIME, |_, args| {
        modified(args).or_else(|_| Ok(any(args, 1).clone()))
    }),
    Function::pure("mustDateModify", STR_TIME, |_, args| modified(args)),
    Function::pure("must_date_modify", STR_TIME, |_, args| modified(args)),
    Function::pure("toDate", STR_STR, |_, args| {
        let time = Time::parse(&text(args, 0), &text(args, 1), &Zone::Local);
        Ok(time_value(time.unwrap_or_else(|_| Time::zero())))
    }),
    Function::pure("mustToDate", STR_STR, |_, args| {
        let time = Time::parse(&text(args, 0), &text(args, 1), &Zone::Local);
        time.map(time_value).map_err(failed)
    }),
    Function::pure("unixEpoch", Signature::fixed(&[TIME]), |_, args| {
        let unix = any(args, 0)
            .downcast::<TimeObject>()
            .map_or(0, |time| time.0.unix);
        Ok(Value::from(unix.to_string()))
    }),
];

fn now(call: &mut Call<'_>) -> Result<Time, FuncError> {
    let nanoseconds = call.now()?;
    let unix = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(0);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    Ok(Time::at(
        unix,
        u32::try_from(rest).unwrap_or(0),
        Zone::Local,
    ))
}

/// The point in time that a value says: a time, or whole seconds since 1970.
fn point(value: &Value, narrow: bool) -> Option<Time> {
    match value {
        Value::Int(int) => {
            let wide = matches!(int.kind(), IntKind::Int | IntKind::Int64);
            let fits = wide || narrow && int.kind() == IntKind::Int32;
            fits.then(|| Time::at(int.as_i64(), 0, Zone::Local))
        }
        other => other.downcast::<TimeObject>().map(|time| time.0.clone()),
    }
}

fn written(call: &mut Call<'_>, layout: &[u8], value: &Value, zone: &[u8]) -> Outcome {
    let time = match point(value, true) {
        Some(time) => time,
        None => now(call)?,
    };
    let zone = std::str::from_utf8(zone).ok().and_then(Zone::load);
    let time = time.within(zone.unwrap_or(Zone::Utc));
    call.allocate(layout.len().saturating_mul(8))?;
    Ok(Value::str(time.format(layout)))
}

fn in_zone(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    written(call, &text(args, 0), any(args, 1), &text(args, 2))
}

fn modified(args: &[Value]) -> Outcome {
    let by = duration::parse(&text(args, 0)).map_err(failed)?;
    let time = any(args, 1).downcast::<TimeObject>();
    Ok(time.map_or(Value::Nil, |time| time_value(time.0.add(by))))
}

/// A duration in its largest unit alone.
fn duration_round(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let value = match any(args, 0) {
        Value::Str(text) => duration::parse(text).unwrap_or(0),
        Value::Int(int) if int.kind() == IntKind::Int64 => int.as_i64(),
        other => match other.downcast::<TimeObject>() {
            Some(time) => now(call)?.since(&time.0),
            None => 0,
        },
    };
    const HOUR: u64 = 3_600_000_000_000;
    const UNITS: [(u64, &str); 6] = [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3_600, "s"),
    ];
    let value = value.unsigned_abs();
    let unit = UNITS.iter().find(|(unit, _)| value > *unit);
    Ok(Value::from(unit.map_or("0s".to_owned(), |(unit, name)| {
        format!("{}{name}", value / unit)
    })))
}
