//! Numbers as Go reads and writes them.

use base_json::{Number, Value};

use crate::resolve::Stack;

/// A plain scalar read as a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Num {
    Int(i64),
    Uint(u64),
    Float(f64),
}

/// Reads a number: underscores are left out, a prefix or a leading zero chooses the base, whatever is too large for an
/// integer is a float, and a float that overflows is no number at all.
pub(crate) fn parse(text: &str, stack: Stack) -> Option<Num> {
    let first = text.as_bytes().first()?;
    if *first == b'.' {
        // Go takes underscores here only where they separate digits
        if text.contains('_') {
            let separates = |pair: &[u8]| match pair {
                [b'_', other] | [other, b'_'] => other.is_ascii_digit(),
                _ => true,
            };
            let good = !text.ends_with('_') && text.as_bytes().windows(2).all(separates);
            let plain = text.replace('_', "");
            return parse_float(&plain).filter(|_| good).map(Num::Float);
        }
        return parse_float(text).map(Num::Float);
    }
    if !first.is_ascii_digit() && !matches!(first, b'+' | b'-') {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(number) = parse_int(&plain) {
        return Some(number);
    }
    if let Some(float) = parse_float(&plain) {
        return Some(Num::Float(float));
    }
    // Go's fallback for prefixes lets a sign stand behind one
    let digits = |prefix: &str, radix: u32| {
        let rest = plain.strip_prefix(prefix)?;
        i64::from_str_radix(rest, radix).ok().map(Num::Int)
    };
    digits("0b", 2).or_else(|| match stack {
        Stack::V2 => None,
        Stack::V3 => digits("0o", 8),
    })
}

fn parse_int(plain: &str) -> Option<Num> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1)) {
        (b'0', Some(b'x' | b'X')) => (16, &digits[2..]),
        (b'0', Some(b'o' | b'O')) => (8, &digits[2..]),
        (b'0', Some(b'b' | b'B')) => (2, &digits[2..]),
        (b'0', Some(_)) => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|c| char::from(c).is_digit(radix)) {
        return None;
    }
    let wide = i128::from_str_radix(digits, radix).ok()?;
    let wide = if negative { -wide } else { wide };
    if let Ok(int) = i64::try_from(wide) {
        return Some(Num::Int(int));
    }
    // Go tries the unsigned form only for a text without a sign
    let unsigned = !plain.starts_with(['+', '-']);
    u64::try_from(wide).ok().filter(|_| unsigned).map(Num::Uint)
}

fn parse_float(plain: &str) -> Option<f64> {
    let body = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let all_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let mantissa_good = match mantissa.split_once('.') {
        Some((whole, part)) => {
            all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_good = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    if !mantissa_good || !exponent_good {
        return None;
    }
    plain.parse::<f64>().ok().filter(|float| float.is_finite())
}

/// Turns a finite float into the JSON number that Go would write: without a fraction, it is an integer.
pub(crate) fn json_of(float: f64) -> Option<Value> {
    if float.fract() == 0.0
        && !(float == 0.0 && float.is_sign_negative())
        && let Some(text) = whole(float)
    {
        if let Ok(int) = text.parse::<i64>() {
            return Some(Value::from(int));
        }
        if let Ok(int) = text.parse::<u64>() {
            return Some(Value::from(int));
        }
    }
    Number::from_f64(float).map(Value::Number)
}

/// Go writes the shortest digits and fills up with zeros, which is not always the exact integer.
fn whole(float: f64) -> Option<String> {
    let (negative, digits, point) = digits(float)?;
    let zeros = usize::try_from(point).ok()?.checked_sub(digits.len())?;
    if zeros > 20 {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{digits}{}", "0".repeat(zeros)))
}

/// Takes a finite float apart: sign, shortest digits, and where the point stands relative to the first digit.
fn digits(float: f64) -> Option<(bool, String, i32)> {
    // not `{:e}`: of two shortest forms that are equally near, that takes the upper one, and Go the even one
    split_digits(&Number::from_f64(float)?.to_string())
}

fn split_digits(text: &str) -> Option<(bool, String, i32)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some((negative, "0".to_owned(), 1));
    }
    let shift = i32::try_from(whole.len()).ok()? - i32::try_from(zeros).ok()?;
    let point = exponent.parse::<i32>().ok()? + shift;
    Some((negative, digits.to_owned(), point))
}

/// Writes a finite float as Go's JSON does: shortest digits, an exponent below 1e-6 and from 1e21 on.
pub(crate) fn json_text(float: f64) -> Option<String> {
    if !float.is_finite() {
        return None;
    }
    let (negative, digits, point) = digits(float)?;
    let sign = if negative { "-" } else { "" };
    if digits == "0" {
        return Some(format!("{sign}0"));
    }
    let exponent = point - 1;
    if !(-6..21).contains(&exponent) {
        let fraction = if digits.len() > 1 { "." } else { "" };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!(
            "{sign}{}{fraction}{}e{exponent_sign}{}",
            &digits[..1],
            &digits[1..],
            exponent.abs()
        ));
    }
    Some(plain_form(sign, &digits, point))
}

/// Writes a float as go-yaml does: Go's `%g`, and YAML's words for what is no number.
pub(crate) fn go_g_or_odd(float: f64) -> String {
    if float.is_nan() {
        ".nan".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else {
        go_g(float)
    }
}

/// Writes a float in Go's `%g` form with the shortest digits.
pub(crate) fn go_g(float: f64) -> String {
    go_form(digits(float))
}

/// The same for a float cut to 32 bits, which is how keys are written.
#[expect(clippy::cast_possible_truncation, reason = "that is the rule for keys")]
fn go_g32(float: f64) -> String {
    go_form(split_digits(
        &serde_json::to_string(&(float as f32)).unwrap_or_default(),
    ))
}

/// The same with YAML's words for what is no number.
pub(crate) fn go_g32_or_odd(float: f64) -> String {
    if float.is_finite() {
        go_g32(float)
    } else {
        go_g_or_odd(float)
    }
}

fn go_form(parts: Option<(bool, String, i32)>) -> String {
    let Some((negative, digits, point)) = parts else {
        return String::new();
    };
    let sign = if negative { "-" } else { "" };
    let exponent = point - 1;
    if digits == "0" {
        return format!("{sign}0");
    }
    // with shortest digits the precision that decides between the two forms is 6
    if !(-4..6).contains(&exponent) {
        let fraction = if digits.len() > 1 {
            format!(".{}", &digits[1..])
        } else {
            String::new()
        };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{sign}{}{fraction}e{exponent_sign}{:02}",
            &digits[..1],
            exponent.abs()
        );
    }
    plain_form(sign, &digits, point)
}

fn plain_form(sign: &str, digits: &str, point: i32) -> String {
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            format!("{sign}{digits}{}", "0".repeat(point - digits.len()))
        }
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => {
            let zeros = usize::try_from(-point).unwrap_or(0);
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
    }
}

/// The float nearest to an integer.
#[expect(clippy::cast_precision_loss, reason = "the tag !!float asks for it")]
pub(crate) fn as_float(int: i64) -> f64 {
    int as f64
}
