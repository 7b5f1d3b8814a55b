//! Which value a scalar stands for, as go-yaml's two versions see it.

use crate::number::{self, Num};
use crate::time::Timestamp;

/// Which of go-yaml's two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stack {
    /// Version 2: YAML 1.1's booleans (`yes`, `on`, `y`).
    V2,
    /// Version 3: only `true` and `false`.
    V3,
}

/// What a plain scalar without a tag stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Num(Num),
    Time(Timestamp),
    Str,
}

/// Resolves a plain scalar that has no tag. With `times` unset, what looks like a time is looked at as a number.
pub(crate) fn resolve(text: &str, stack: Stack, times: bool) -> Resolved {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else {
        return Resolved::Null;
    };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => {
            word(text, stack)
        }
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Resolved::Num(Num::Float(f64::NAN)),
            ".inf" | ".Inf" | ".INF" => Resolved::Num(Num::Float(f64::INFINITY)),
            _ => number::parse(text, stack).map_or(Resolved::Str, Resolved::Num),
        },
        b'+' | b'-' if bytes.get(1) == Some(&b'.') && bytes.len() == 5 => match text {
            "+.inf" | "+.Inf" | "+.INF" => Resolved::Num(Num::Float(f64::INFINITY)),
            "-.inf" | "-.Inf" | "-.INF" => Resolved::Num(Num::Float(f64::NEG_INFINITY)),
            _ => number::parse(text, stack).map_or(Resolved::Str, Resolved::Num),
        },
        b'0'..=b'9' | b'+' | b'-' => {
            if times
                && bytes.get(4) == Some(&b'-')
                && let Some(time) = Timestamp::parse(text)
            {
                return Resolved::Time(time);
            }
            number::parse(text, stack).map_or(Resolved::Str, Resolved::Num)
        }
        _ => Resolved::Str,
    }
}

fn word(text: &str, stack: Stack) -> Resolved {
    match text {
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        _ if stack == Stack::V2 => match old_bool(text) {
            Some(flag) => Resolved::Bool(flag),
            None => Resolved::Str,
        },
        _ => Resolved::Str,
    }
}

/// YAML 1.1's words for true and false that YAML 1.2 took back.
fn old_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Does a string read back as itself when it is written without quotes?
pub(crate) fn is_plain_string(text: &str, stack: Stack) -> bool {
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => {
            resolve(text, stack, true) == Resolved::Str && !is_base_60(text)
        }
        Some(b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O') => {
            text.len() > 5 || word(text, Stack::V2) == Resolved::Str
        }
        Some(_) => true,
        None => false,
    }
}

/// Would an older reader take it for a number to the base 60, such as `12:30`?
fn is_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((first, rest)) = body.split_once(':') else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && rest.split(':').all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
}
