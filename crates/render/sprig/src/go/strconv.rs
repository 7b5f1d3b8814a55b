//! Numbers and quoted text as Go's strconv reads and writes them.

use super::unicode;

/// Why a number could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumError {
    /// It is no number.
    Syntax,
    /// It does not fit; the nearest value that does.
    Range(i64),
}

fn underscores_fit(text: &[u8]) -> bool {
    let text = match text.first() {
        Some(b'-' | b'+') => &text[1..],
        _ => text,
    };
    let prefixed = text.len() >= 2
        && text[0] == b'0'
        && matches!(text[1].to_ascii_lowercase(), b'b' | b'o' | b'x');
    let hex = prefixed && text[1].eq_ignore_ascii_case(&b'x');
    let (mut last, from) = if prefixed { (b'0', 2) } else { (b'^', 0) };
    for &byte in &text[from..] {
        if byte.is_ascii_digit() || hex && byte.is_ascii_hexdigit() {
            last = b'0';
        } else if byte == b'_' {
            if last != b'0' {
                return false;
            }
            last = b'_';
        } else {
            if last == b'_' {
                return false;
            }
            last = b'!';
        }
    }
    last != b'_'
}

/// Reads an integer without a sign. Base 0 goes by the prefix and lets underscores stand between digits.
pub fn parse_uint(text: &[u8], base: u32) -> Result<u64, Option<u64>> {
    if text.is_empty() {
        return Err(None);
    }
    let (mut digits, mut radix) = (text, base);
    if base == 0 {
        radix = 10;
        if text[0] == b'0' {
            match text.get(1).map(u8::to_ascii_lowercase) {
                Some(b'b') if text.len() >= 3 => (radix, digits) = (2, &text[2..]),
                Some(b'o') if text.len() >= 3 => (radix, digits) = (8, &text[2..]),
                Some(b'x') if text.len() >= 3 => (radix, digits) = (16, &text[2..]),
                _ => (radix, digits) = (8, &text[1..]),
            }
        }
    }
    let mut value: u64 = 0;
    let mut overflow = false;
    let mut underscores = false;
    for &byte in digits {
        if byte == b'_' && base == 0 {
            underscores = true;
            continue;
        }
        let digit = char::from(byte).to_digit(radix).ok_or(None)?;
        if overflow {
            return Err(Some(u64::MAX));
        }
        match value
            .checked_mul(u64::from(radix))
            .and_then(|value| value.checked_add(u64::from(digit)))
        {
            Some(next) => value = next,
            None => overflow = true,
        }
        if overflow {
            return Err(Some(u64::MAX));
        }
    }
    if underscores && !underscores_fit(text) {
        return Err(None);
    }
    Ok(value)
}

/// Reads a 64-bit integer.
pub fn parse_int(text: &[u8], base: u32) -> Result<i64, NumError> {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    match parse_uint(digits, base) {
        Err(None) => Err(NumError::Syntax),
        Ok(value) if !negative && i64::try_from(value).is_ok() => Ok(value.cast_signed()),
        Ok(value) if negative && value <= 1 << 63 => Ok(value.wrapping_neg().cast_signed()),
        _ if negative => Err(NumError::Range(i64::MIN)),
        _ => Err(NumError::Range(i64::MAX)),
    }
}

/// Reads a float, in decimal or hexadecimal. The error of one that does not fit carries an infinity.
pub fn parse_float(text: &[u8]) -> Result<f64, Option<f64>> {
    let (negative, body) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Ok(signed(f64::INFINITY));
    }
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(f64::NAN);
    }
    let value = if body.len() > 2 && body[0] == b'0' && body[1].eq_ignore_ascii_case(&b'x') {
        parse_hex_float(&body[2..])
    } else {
        parse_decimal_float(body)
    };
    let value = value.ok_or(None)?;
    if body.contains(&b'_') && !underscores_fit(text) {
        return Err(None);
    }
    if value.is_infinite() {
        return Err(Some(signed(value)));
    }
    Ok(signed(value))
}

fn parse_decimal_float(body: &[u8]) -> Option<f64> {
    let mut plain = String::with_capacity(body.len());
    let (mut digits, mut dot, mut at) = (false, false, 0);
    while at < body.len() {
        match body[at] {
            b'_' => {}
            b'.' if !dot => {
                dot = true;
                plain.push('.');
            }
            digit @ b'0'..=b'9' => {
                digits = true;
                plain.push(char::from(digit));
            }
            _ => break,
        }
        at += 1;
    }
    if !digits {
        return None;
    }
    if at < body.len() {
        let exponent = exponent(&body[at..], b'e')?;
        plain.push_str(&format!("e{exponent}"));
    }
    plain.parse().ok()
}

/// Reads an exponent with its letter, to the end. Very large ones are cut: they overflow all the same.
fn exponent(text: &[u8], letter: u8) -> Option<i64> {
    if !text.first()?.eq_ignore_ascii_case(&letter) {
        return None;
    }
    let (negative, digits) = match text.get(1)? {
        b'-' => (true, &text[2..]),
        b'+' => (false, &text[2..]),
        _ => (false, &text[1..]),
    };
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    let mut value = 0_i64;
    for &byte in digits {
        match byte {
            b'_' => {}
            b'0'..=b'9' if value < 10_000 => value = value * 10 + i64::from(byte - b'0'),
            b'0'..=b'9' => {}
            _ => return None,
        }
    }
    Some(if negative { -value } else { value })
}

fn parse_hex_float(body: &[u8]) -> Option<f64> {
    let (mut mantissa, mut shift, mut sticky) = (0_u64, 0_i64, false);
    let (mut digits, mut dot, mut at) = (false, false, 0);
    while at < body.len() {
        match body[at] {
            b'_' => {}
            b'.' if !dot => dot = true,
            byte if byte.is_ascii_hexdigit() => {
                digits = true;
                let digit = u64::from(char::from(byte).to_digit(16)?);
                if mantissa >> 59 == 0 {
                    mantissa = mantissa << 4 | digit;
                    shift -= if dot { 4 } else { 0 };
                } else {
                    sticky |= digit != 0;
                    shift += if dot { 0 } else { 4 };
                }
            }
            _ => break,
        }
        at += 1;
    }
    if !digits || at >= body.len() {
        return None;
    }
    let exponent = shift + exponent(&body[at..], b'p')?;
    if mantissa == 0 {
        return Some(0.0);
    }
    // Rounds once, to the bits that the result can hold, so that scaling afterwards is exact.
    let bits = 64 - i64::from(mantissa.leading_zeros());
    let keep = (bits + exponent + 1074).clamp(0, 53);
    if bits + exponent > 1024 {
        return Some(f64::INFINITY);
    }
    let drop = bits - keep;
    let (mut kept, mut exponent) = (mantissa, exponent);
    if drop > 0 {
        let low = if drop >= 64 {
            mantissa
        } else {
            mantissa & ((1 << drop) - 1)
        };
        kept = if drop >= 64 { 0 } else { mantissa >> drop };
        let half = 1_u64
            .checked_shl(u32::try_from(drop - 1).ok()?)
            .unwrap_or(0);
        if low > half || low == half && (sticky || kept & 1 == 1) {
            kept += 1;
        }
        exponent += drop;
    }
    let mut value = kept as f64;
    while exponent > 0 && value.is_finite() {
        let step = exponent.min(1000);
        value *= 2_f64.powi(i32::try_from(step).ok()?);
        exponent -= step;
    }
    while exponent < 0 && value != 0.0 {
        let step = exponent.max(-1000);
        value *= 2_f64.powi(i32::try_from(step).ok()?);
        exponent -= step;
    }
    Some(value)
}

/// What Go makes of a float that is turned into an integer: one that does not fit becomes the smallest.
pub fn float_to_int(value: f64) -> i64 {
    if value >= -9_223_372_036_854_775_808.0 && value < 9_223_372_036_854_775_808.0 {
        value as i64
    } else {
        i64::MIN
    }
}

/// The shortest text of a float, `%e` below 1e-4 and from `limit` on (21 for `%v`, 17 digits and more for `'g'`).
pub fn format_float(value: f64, limit: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let (sign, digits, exponent) = shortest(value);
    if exponent < -4 || exponent >= limit {
        let mut text = format!("{sign}{}", &digits[..1]);
        if digits.len() > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{text}e{mark}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// The sign, the shortest digits and the decimal exponent of the first of them.
pub fn shortest(value: f64) -> (&'static str, String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if value.is_sign_negative() { "-" } else { "" };
    (
        sign,
        mantissa.replace('.', ""),
        exponent.parse().unwrap_or(0),
    )
}

/// The text in double quotes, with Go's escapes.
pub fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for (at, rune, width) in unicode::runes(text) {
        if rune == unicode::RUNE_ERROR && width == 1 {
            out.push_str(&format!("\\x{:02x}", text[at]));
        } else {
            escape(&mut out, rune, '"');
        }
    }
    out.push('"');
    out
}

/// A rune in single quotes, with Go's escapes.
pub fn quote_rune(rune: u32) -> String {
    let mut out = String::from("'");
    let rune = if char::from_u32(rune).is_some() {
        rune
    } else {
        unicode::RUNE_ERROR
    };
    escape(&mut out, rune, '\'');
    out.push('\'');
    out
}

fn escape(out: &mut String, rune: u32, mark: char) {
    let letter = char::from_u32(rune).unwrap_or(char::REPLACEMENT_CHARACTER);
    match letter {
        _ if letter == mark || letter == '\\' => {
            out.push('\\');
            out.push(letter);
        }
        _ if unicode::is_print(rune) => out.push(letter),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        _ if rune < 0x20 || rune == 0x7F => out.push_str(&format!("\\x{rune:02x}")),
        _ if rune < 0x1_0000 => out.push_str(&format!("\\u{rune:04x}")),
        _ => out.push_str(&format!("\\U{rune:08x}")),
    }
}

/// Whether the text can stand between backquotes.
pub fn can_backquote(text: &[u8]) -> bool {
    unicode::runes(text).all(|(_, rune, width)| {
        rune != 0xFEFF
            && !(rune == unicode::RUNE_ERROR && width == 1)
            && (width > 1 || rune == 9 || rune >= 0x20 && rune != u32::from(b'`') && rune != 0x7F)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_integers_by_their_prefix() {
        for (text, value) in [
            ("0", 0),
            ("-12", -12),
            ("+12", 12),
            ("017", 15),
            ("0o17", 15),
            ("0x1F", 31),
            ("0b101", 5),
            ("1_000", 1000),
            ("0x_ff", 255),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_int(text.as_bytes(), 0), Ok(value), "{text}");
        }
        for text in ["", "-", "08", "1__0", "_1", "1_", "0x", "1.5", " 1"] {
            assert_eq!(
                parse_int(text.as_bytes(), 0),
                Err(NumError::Syntax),
                "{text}"
            );
        }
        assert_eq!(
            parse_int(b"9223372036854775808", 10),
            Err(NumError::Range(i64::MAX))
        );
        assert_eq!(
            parse_int(b"-99999999999999999999", 10),
            Err(NumError::Range(i64::MIN))
        );
        assert_eq!(parse_int(b"1_0", 10), Err(NumError::Syntax));
    }

    #[test]
    fn reads_floats() {
        for (text, value) in [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1e3", -1000.0),
            ("1_0.5", 10.5),
            ("0x1p-2", 0.25),
            ("0x1.8p1", 3.0),
            ("0x1p-1074", 5e-324),
            ("0x0.8p-1074", 0.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("inf", f64::INFINITY),
        ] {
            assert_eq!(parse_float(text.as_bytes()), Ok(value), "{text}");
        }
        for text in ["", ".", "e5", "1e", "0x1", "1e+", "1.2.3", "+nan", "1 "] {
            assert_eq!(parse_float(text.as_bytes()), Err(None), "{text}");
        }
        assert_eq!(parse_float(b"-1e999"), Err(Some(f64::NEG_INFINITY)));
    }

    #[test]
    fn writes_floats_shortly() {
        assert_eq!(format_float(1e6, 21), "1000000");
        assert_eq!(format_float(1e21, 21), "1e+21");
        assert_eq!(format_float(1.5e-7, 21), "1.5e-07");
        assert_eq!(format_float(-0.0, 21), "-0");
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(
            quote(b"a\"\\\n\x01\xff\xc2\xa0"),
            r#""a\"\\\n\x01\xff\u00a0""#
        );
        assert_eq!(quote("é\u{1F600}".as_bytes()), "\"é\u{1F600}\"");
        assert_eq!(quote_rune('\'' as u32), "'\\''");
    }
}
