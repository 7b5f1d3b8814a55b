//! Durations: nanoseconds in 64 bits, with Go's text form.

use super::time::quote;

/// One second.
pub const SECOND: i64 = 1_000_000_000;

/// Writes a duration as Go does: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn to_string(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let value = nanoseconds.unsigned_abs();
    let fraction = |value: u64, digits: u32| {
        let unit = 10_u64.pow(digits);
        let rest = format!("{:0width$}", value % unit, width = digits as usize);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{}{dot}{rest}", value / unit)
    };
    if value == 0 {
        return "0s".to_owned();
    }
    if value < 1_000 {
        return format!("{sign}{value}ns");
    }
    if value < 1_000_000 {
        return format!("{sign}{}µs", fraction(value, 3));
    }
    if value < 1_000_000_000 {
        return format!("{sign}{}ms", fraction(value, 6));
    }
    let minutes = value / 60_000_000_000;
    let seconds = fraction(value % 60_000_000_000, 9);
    if minutes == 0 {
        return format!("{sign}{seconds}s");
    }
    if minutes < 60 {
        return format!("{sign}{minutes}m{seconds}s");
    }
    format!("{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60)
}

/// Rounds to a multiple of a unit, halves away from zero.
pub fn round(value: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return value;
    }
    let rest = value % unit;
    if rest.unsigned_abs().saturating_mul(2) < unit.unsigned_abs() {
        value - rest
    } else if value < 0 {
        (value - rest).checked_sub(unit).unwrap_or(i64::MIN)
    } else {
        (value - rest).checked_add(unit).unwrap_or(i64::MAX)
    }
}

/// Cuts to a multiple of a unit.
pub fn truncate(value: i64, unit: i64) -> i64 {
    if unit <= 0 {
        value
    } else {
        value - value % unit
    }
}

fn unit(name: &[u8]) -> Option<u64> {
    Some(match name {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Reads a duration. The error is Go's text.
pub fn parse(text: &[u8]) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    const TOP: u64 = 1 << 63;
    let (negative, mut rest) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut value = 0_u64;
        for &byte in &rest[..digits] {
            if value > TOP / 10 {
                return Err(invalid());
            }
            value = value * 10 + u64::from(byte - b'0');
            if value > TOP {
                return Err(invalid());
            }
        }
        rest = &rest[digits..];
        let (mut fraction, mut scale, mut decimals) = (0_u64, 1_f64, 0);
        if rest.first() == Some(&b'.') {
            rest = &rest[1..];
            decimals = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            for &byte in &rest[..decimals] {
                if fraction > (TOP - 1) / 10 {
                    break;
                }
                let next = fraction * 10 + u64::from(byte - b'0');
                if next > TOP {
                    break;
                }
                fraction = next;
                scale *= 10.0;
            }
            rest = &rest[decimals..];
        }
        if digits + decimals == 0 {
            return Err(invalid());
        }
        let length = rest
            .iter()
            .take_while(|byte| **byte != b'.' && !byte.is_ascii_digit())
            .count();
        if length == 0 {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some(unit) = unit(&rest[..length]) else {
            return Err(format!(
                "time: unknown unit {} in duration {}",
                quote(&rest[..length]),
                quote(text)
            ));
        };
        rest = &rest[length..];
        if value > TOP / unit {
            return Err(invalid());
        }
        value *= unit;
        if fraction > 0 {
            value = value.wrapping_add((fraction as f64 * (unit as f64 / scale)) as u64);
            if value > TOP {
                return Err(invalid());
            }
        }
        total = total.wrapping_add(value);
        if total > TOP {
            return Err(invalid());
        }
    }
    if negative {
        return Ok(total.wrapping_neg().cast_signed());
    }
    i64::try_from(total).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, value, written) in [
            ("1h2m3.5s", 3_723_500_000_000, "1h2m3.5s"),
            ("-90m", -5_400_000_000_000, "-1h30m0s"),
            ("1.5ms", 1_500_000, "1.5ms"),
            ("1us", 1_000, "1µs"),
            ("100ns", 100, "100ns"),
            ("+5s", 5_000_000_000, "5s"),
            ("0", 0, "0s"),
            (".5m", 30_000_000_000, "30s"),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(value), "{text}");
            assert_eq!(to_string(value), written, "{text}");
        }
        assert_eq!(
            parse(b"3"),
            Err("time: missing unit in duration \"3\"".to_owned())
        );
        assert_eq!(
            parse(b"3d"),
            Err("time: unknown unit \"d\" in duration \"3d\"".to_owned())
        );
        assert_eq!(to_string(i64::MIN), "-2562047h47m16.854775808s");
        assert_eq!(round(1_500_000_000, SECOND), 2_000_000_000);
        assert_eq!(round(-1_400_000_000, SECOND), -1_000_000_000);
    }
}
