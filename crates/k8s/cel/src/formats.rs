//! The formats of OpenAPI strings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::time;

/// A duration as Go has it, or in words: `3 days`, `1 week`.
pub(crate) fn duration(text: &str) -> Option<i64> {
    if let Some(v) = time::parse_duration(text) {
        return Some(v);
    }
    let bytes = text.as_bytes();
    let (mut at, mut total, mut any) = (0, 0_i64, false);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let factor: i64 = text[start..at].parse().ok()?;
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let from = at;
        while bytes
            .get(at)
            .is_some_and(|b| b.is_ascii_alphabetic() || *b >= 0x80)
        {
            at += 1;
        }
        if let Some(unit) = unit(&text[from..at].to_lowercase()) {
            any = true;
            total = total.wrapping_add(factor.wrapping_mul(unit));
        }
    }
    any.then_some(total)
}

fn unit(word: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    let table: &[(i64, &[&str])] = &[
        (1, &["ns", "nano"]),
        (1_000, &["us", "µs", "micro"]),
        (1_000_000, &["ms", "milli"]),
        (SECOND, &["s", "sec"]),
        (60 * SECOND, &["m", "min"]),
        (3600 * SECOND, &["h", "hr", "hour"]),
        (86_400 * SECOND, &["d", "day"]),
        (7 * 86_400 * SECOND, &["w", "wk", "week"]),
    ];
    table.iter().find_map(|(size, words)| {
        let last = words.last()?;
        (words.contains(&word) || word.starts_with(last)).then_some(*size)
    })
}

/// Bytes in base 64.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(text).ok()
}

pub(crate) fn is_base64(text: &str) -> bool {
    !text.is_empty() && STANDARD.decode(text).is_ok()
}

pub(crate) fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    for (i, count) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 && bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        for _ in 0..count {
            if !bytes.get(at).is_some_and(u8::is_ascii_hexdigit) {
                return false;
            }
            at += 1;
        }
    }
    at == bytes.len()
}

/// A date, a `t` and a time.
pub(crate) fn is_datetime(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(rest)) = (parts.next(), parts.next()) else {
        return false;
    };
    let bytes = rest.as_bytes();
    let two = |at: usize, most: u8| {
        bytes.get(at..at + 2).is_some_and(|d| {
            d.iter().all(u8::is_ascii_digit) && (d[0] - b'0') * 10 + d[1] - b'0' <= most
        })
    };
    if text.len() < 4 || time::parse_date(date).is_none() {
        return false;
    }
    if !(two(0, 23) && two(3, 59) && two(6, 59))
        || bytes.get(2) != Some(&b':')
        || bytes.get(5) != Some(&b':')
    {
        return false;
    }
    let zone = |rest: &str| {
        rest == "z"
            || rest.len() == 6
                && rest.starts_with(['+', '-'])
                && rest.as_bytes()[3] == b':'
                && rest[1..3]
                    .bytes()
                    .chain(rest[4..].bytes())
                    .all(|b| b.is_ascii_digit())
    };
    let rest = &rest[8..];
    if zone(rest) {
        return true;
    }
    let mut chars = rest.chars();
    if chars.next().is_none() {
        return false;
    }
    let rest = chars.as_str();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && zone(&rest[digits..])
}
