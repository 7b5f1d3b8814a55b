//! `format`: `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%o`.

use crate::show::quote;
use crate::value::{List, Value, plain};

/// One clause of a format string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    Text,
    Decimal,
    Fixed(Option<usize>),
    Scientific(Option<usize>),
    Binary,
    Hex(bool),
    Octal,
}

impl Clause {
    /// What is wrong with a value of some type for it.
    pub(crate) fn refuse(self, ty: &str) -> String {
        let why = match self {
            Clause::Text => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            Clause::Decimal => "decimal clause can only be used on integers",
            Clause::Fixed(_) => "fixed-point clause can only be used on doubles",
            Clause::Scientific(_) => "scientific clause can only be used on doubles",
            Clause::Binary => "only integers and bools can be formatted as binary",
            Clause::Hex(_) => "only integers, byte buffers, and strings can be formatted as hex",
            Clause::Octal => "octal clause can only be used on integers",
        };
        format!("{why}, was given {ty}")
    }
}

const MOST_DIGITS: usize = 60_000;

/// Goes through a format string; `clause` gets the number of each argument and how it is written.
pub(crate) fn walk(
    template: &str,
    arguments: usize,
    bounded: bool,
    mut clause: impl FnMut(usize, Clause) -> Result<String, String>,
) -> Result<(String, usize), String> {
    let bytes = template.as_bytes();
    let (mut out, mut at, mut next) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'%' {
            let end = template[at..].find('%').map_or(bytes.len(), |i| at + i);
            out.push_str(&template[at..end]);
            at = end;
            continue;
        }
        if bytes.get(at + 1) == Some(&b'%') {
            out.push('%');
            at += 2;
            continue;
        }
        if bounded && next >= arguments {
            return Err(format!("index {next} out of range"));
        }
        if at + 1 >= bytes.len() {
            return Err("unexpected end of string".into());
        }
        if next >= arguments {
            return Err(format!("index {next} out of range"));
        }
        at += 1;
        let could_not = |e: String| format!("could not parse formatting clause: {e}");
        let mut precision = None;
        if bytes[at] == b'.' {
            let from = at + 1;
            let mut end = from;
            while bytes.get(end).is_some_and(u8::is_ascii_digit) {
                end += 1;
            }
            if end >= bytes.len() {
                return Err(could_not(
                    "error while parsing precision: could not find end of precision specifier"
                        .into(),
                ));
            }
            let digits = &template[from..end];
            precision = Some(digits.parse::<usize>().map_err(|_| {
                let why = if digits.is_empty() {
                    "invalid syntax"
                } else {
                    "value out of range"
                };
                could_not(format!(
                    "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {}: {why}",
                    quote(digits)
                ))
            })?);
            at = end;
        }
        let kind = match bytes[at] {
            b's' => Clause::Text,
            b'd' => Clause::Decimal,
            b'f' => Clause::Fixed(precision),
            b'e' => Clause::Scientific(precision),
            b'b' => Clause::Binary,
            b'x' => Clause::Hex(false),
            b'X' => Clause::Hex(true),
            b'o' => Clause::Octal,
            other => {
                return Err(could_not(format!(
                    "unrecognized formatting clause \"{}\"",
                    char::from(other)
                )));
            }
        };
        at += 1;
        let made = clause(next, kind).map_err(|e| format!("error during formatting: {e}"))?;
        out.push_str(&made);
        if out.len() > crate::functions::LARGEST {
            break;
        }
        next += 1;
    }
    Ok((out, next))
}

/// Formats values.
pub(crate) fn format(template: &str, args: &List<'_>) -> Result<String, String> {
    walk(template, args.len(), true, |at, clause| {
        let value = args.get(at).unwrap_or(Value::Null);
        write(&value, clause)
    })
    .map(|(text, _)| text)
}

fn write(value: &Value<'_>, clause: Clause) -> Result<String, String> {
    let refused = || Err(clause.refuse(value.type_name()));
    Ok(match (clause, value) {
        (Clause::Text, _) => return as_text(value),
        (Clause::Decimal, Value::Int(v)) => v.to_string(),
        (Clause::Decimal, Value::Uint(v)) => v.to_string(),
        (Clause::Fixed(precision) | Clause::Scientific(precision), _) => {
            let number = match value {
                Value::Double(v) => *v,
                Value::String(v) => match &**v {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => return refused(),
                },
                _ => return refused(),
            };
            // a zero has no sign here
            let number = if number == 0.0 { 0.0 } else { number };
            let precision = precision.unwrap_or(6).min(MOST_DIGITS);
            if number.is_nan() {
                "NaN".into()
            } else if number.is_infinite() {
                if number > 0.0 { "∞" } else { "-∞" }.into()
            } else if matches!(clause, Clause::Fixed(_)) {
                grouped(&format!("{number:.precision$}"))
            } else {
                // the real one takes the digits for a width
                let text = raised(number, 6);
                let lacks = precision.saturating_sub(text.chars().count());
                " ".repeat(lacks) + &text
            }
        }
        (Clause::Binary, Value::Int(v)) => signed(*v, |v| format!("{v:b}")),
        (Clause::Binary, Value::Uint(v)) => format!("{v:b}"),
        (Clause::Binary, Value::Bool(v)) => if *v { "1" } else { "0" }.into(),
        (Clause::Hex(upper), _) => {
            let text = match value {
                Value::Int(v) => signed(*v, |v| format!("{v:x}")),
                Value::Uint(v) => format!("{v:x}"),
                Value::String(v) => hex(v.as_bytes()),
                Value::Bytes(v) => hex(v),
                _ => return refused(),
            };
            if upper { text.to_uppercase() } else { text }
        }
        (Clause::Octal, Value::Int(v)) => signed(*v, |v| format!("{v:o}")),
        (Clause::Octal, Value::Uint(v)) => format!("{v:o}"),
        _ => return refused(),
    })
}

fn signed(v: i64, show: impl Fn(u64) -> String) -> String {
    let sign = if v < 0 { "-" } else { "" };
    format!("{sign}{}", show(v.unsigned_abs()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// With a comma at every third digit, as English writes it.
fn grouped(text: &str) -> String {
    let (sign, rest) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let (whole, part) = rest
        .split_once('.')
        .map_or((rest, None), |(w, p)| (w, Some(p)));
    let mut out = String::from(sign);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if let Some(part) = part {
        out.push('.');
        out.push_str(part);
    }
    out
}

/// `1.5×10⁰³`, as English writes it.
fn raised(number: f64, precision: usize) -> String {
    let text = crate::show::exponential(number, Some(precision));
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let mut out = format!("{mantissa}×10");
    for c in exponent.chars() {
        match c {
            '-' => out.push('⁻'),
            '0' => out.push('⁰'),
            '1' => out.push('¹'),
            '2' => out.push('²'),
            '3' => out.push('³'),
            '4'..='9' => out.extend(char::from_u32(0x2070 + (u32::from(c) - 0x30))),
            _ => {}
        }
    }
    out
}

fn as_text(value: &Value<'_>) -> Result<String, String> {
    match value {
        Value::List(_) | Value::Map(_) => literal(value),
        Value::Null => Ok("null".into()),
        Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Bool(_)
        | Value::String(_)
        | Value::Timestamp(_)
        | Value::Bytes(_)
        | Value::Duration(_)
        | Value::Type(_) => match crate::functions::to_text(value) {
            Value::String(text) => Ok(text.to_string()),
            other => Err(format!(
                "could not convert argument {} to string",
                quote(&plain(&other))
            )),
        },
        other => Err(Clause::Text.refuse(other.type_name())),
    }
}

/// A value as the language writes it, within lists and maps.
fn literal(value: &Value<'_>) -> Result<String, String> {
    Ok(match value {
        Value::String(v) => quote(v),
        Value::Bytes(_) => format!("b{}", quote(&as_text(value)?)),
        Value::Timestamp(_) => format!("timestamp({})", quote(&as_text(value)?)),
        Value::Duration(_) => format!("duration({})", quote(&as_text(value)?)),
        Value::Double(v) if v.is_nan() => "\"NaN\"".into(),
        Value::Double(v) if v.is_infinite() => {
            if *v > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.into()
        }
        Value::Double(v) => format!("{v:.6}"),
        Value::List(list) => {
            let parts: Result<Vec<String>, String> = list.iter().map(|v| literal(&v)).collect();
            format!("[{}]", parts?.join(", "))
        }
        Value::Map(map) => {
            let mut parts = Vec::new();
            for key in map.keys() {
                let name = match &key {
                    Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_) => {
                        literal(&key)?
                    }
                    other => {
                        return Err(format!(
                            "no formatting function for map key of type {}",
                            other.type_name()
                        ));
                    }
                };
                let Ok(Some(value)) = map.find(&key) else {
                    return Err(format!("could not find key: {}", quote(&plain(&key))));
                };
                parts.push((name, literal(&value)?));
            }
            parts.sort();
            let parts: Vec<String> = parts.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => {
            as_text(value)?
        }
        other => return Err(format!("no formatting function for {}", other.type_name())),
    })
}
