//! Numbers from text.

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberError {
    /// "invalid syntax"
    Syntax,
    /// "value out of range"; what Go returns beside the error: the nearest that there is.
    Range(f64),
}

impl NumberError {
    /// What Go's error says after the function and the quoted text.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range(_) => "value out of range",
        }
    }
}

/// Whether each underscore stands between digits, or after a base prefix.
fn underscores_ok(text: &[u8]) -> bool {
    let mut rest = text
        .strip_prefix(b"-")
        .or(text.strip_prefix(b"+"))
        .unwrap_or(text);
    let mut last = b'^';
    let mut hex = false;
    if rest.len() >= 2 && rest[0] == b'0' && matches!(rest[1] | 0x20, b'b' | b'o' | b'x') {
        hex = rest[1] | 0x20 == b'x';
        rest = &rest[2..];
        last = b'0';
    }
    for &byte in rest {
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

/// `strconv.ParseUint(text, base, bits)`; base 0 takes it from the text.
pub fn parse_uint(text: &[u8], base: u32, bits: u32) -> Result<u64, NumberError> {
    let (mut digits, mut radix) = (text, base);
    if text.is_empty() {
        return Err(NumberError::Syntax);
    }
    if base == 0 {
        radix = 10;
        if text[0] == b'0' {
            (radix, digits) = match text.get(1).map(|byte| byte | 0x20) {
                Some(b'b') if text.len() >= 3 => (2, &text[2..]),
                Some(b'o') if text.len() >= 3 => (8, &text[2..]),
                Some(b'x') if text.len() >= 3 => (16, &text[2..]),
                _ => (8, &text[1..]),
            };
        }
    }
    let most = if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    };
    let (mut value, mut underscores) = (0u64, false);
    for &byte in digits {
        if byte == b'_' && base == 0 {
            underscores = true;
            continue;
        }
        let digit = char::from(byte)
            .to_digit(radix)
            .ok_or(NumberError::Syntax)?;
        let next = value
            .checked_mul(u64::from(radix))
            .and_then(|next| next.checked_add(u64::from(digit)));
        match next {
            Some(next) if next <= most => value = next,
            _ => return Err(NumberError::Range(most as f64)),
        }
    }
    if underscores && !underscores_ok(text) {
        return Err(NumberError::Syntax);
    }
    Ok(value)
}

/// `strconv.ParseInt(text, base, bits)`; base 0 takes it from the text.
pub fn parse_int(text: &[u8], base: u32, bits: u32) -> Result<i64, NumberError> {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let half = 1u64 << (bits.clamp(1, 64) - 1);
    let value = match parse_uint(digits, base, bits) {
        Ok(value) => value,
        Err(NumberError::Range(_)) => u64::MAX,
        Err(error) => return Err(error),
    };
    match negative {
        false if value >= half => Err(NumberError::Range((half - 1) as f64)),
        true if value > half => Err(NumberError::Range(-(half as f64))),
        false => Ok(value as i64),
        true => Ok((value as i64).wrapping_neg()),
    }
}

/// `strconv.ParseFloat(text, 64)`.
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    let (negative, rest) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        return Ok(signed(f64::INFINITY));
    }
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(f64::NAN);
    }
    let hex = rest.len() >= 2 && rest[0] == b'0' && rest[1] | 0x20 == b'x';
    if text.contains(&b'_') && !underscores_ok(text) {
        return Err(NumberError::Syntax);
    }
    let digits: Vec<u8> = rest[if hex { 2 } else { 0 }..]
        .iter()
        .copied()
        .filter(|byte| *byte != b'_')
        .collect();
    let value = if hex {
        hex_float(&digits)?
    } else {
        decimal_float(&digits)?
    };
    if value.is_infinite() {
        Err(NumberError::Range(signed(value)))
    } else {
        Ok(signed(value))
    }
}

/// Checks digits, point and exponent by Go's grammar: where the mantissa ends, and the exponent (bounded) if there is one.
fn shape(text: &[u8], hex: bool) -> Result<(usize, Option<i64>), NumberError> {
    let (mut at, mut digits, mut point) = (0, false, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'.' if !point => point = true,
            _ if byte.is_ascii_digit() || hex && byte.is_ascii_hexdigit() => digits = true,
            _ => break,
        }
        at += 1;
    }
    if !digits {
        return Err(NumberError::Syntax);
    }
    let letter = if hex { b'p' } else { b'e' };
    if at == text.len() {
        // a hexadecimal float needs its exponent
        return if hex {
            Err(NumberError::Syntax)
        } else {
            Ok((at, None))
        };
    }
    if text[at] | 0x20 != letter {
        return Err(NumberError::Syntax);
    }
    let exponent = &text[at + 1..];
    let (negative, exponent) = match exponent.first() {
        Some(b'-') => (true, &exponent[1..]),
        Some(b'+') => (false, &exponent[1..]),
        _ => (false, exponent),
    };
    if exponent.is_empty() || !exponent.iter().all(u8::is_ascii_digit) {
        return Err(NumberError::Syntax);
    }
    let value = exponent.iter().fold(0i64, |value, digit| {
        if value < 10_000 {
            value * 10 + i64::from(digit - b'0')
        } else {
            value
        }
    });
    Ok((at, Some(if negative { -value } else { value })))
}

fn decimal_float(text: &[u8]) -> Result<f64, NumberError> {
    let (end, exponent) = shape(text, false)?;
    let mantissa = std::str::from_utf8(&text[..end]).map_err(|_| NumberError::Syntax)?;
    let text = match exponent {
        Some(exponent) => format!("{mantissa}e{exponent}"),
        None => mantissa.to_owned(),
    };
    text.parse().map_err(|_| NumberError::Syntax)
}

fn hex_float(text: &[u8]) -> Result<f64, NumberError> {
    let (end, exponent) = shape(text, true)?;
    let mut exponent = exponent.unwrap_or(0);
    // 60 bits of the mantissa, and whether anything follows them
    let (mut mantissa, mut sticky, mut after_point) = (0u64, false, false);
    for &byte in &text[..end] {
        if byte == b'.' {
            after_point = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16).unwrap_or(0));
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= if after_point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if after_point { 0 } else { 4 };
        }
    }
    if mantissa == 0 {
        return Ok(0.0);
    }
    let shift = i64::from(mantissa.leading_zeros());
    mantissa <<= shift;
    // now the value is mantissa * 2^exponent with the highest bit set
    let exponent = exponent - shift;
    let top = exponent + 63;
    let drop = if top < -1022 { 11 + (-1022 - top) } else { 11 };
    if drop > 64 {
        return Ok(0.0);
    }
    let (kept, rest, half) = if drop == 64 {
        (0, mantissa, 1u64 << 63)
    } else {
        (
            mantissa >> drop,
            mantissa & ((1 << drop) - 1),
            1u64 << (drop - 1),
        )
    };
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    let kept = kept + u64::from(up);
    let scale = exponent + drop;
    if scale > 1100 {
        return Ok(f64::INFINITY);
    }
    // `kept` is at most 2^53, so both factors and the product are exact, or overflow
    let mut value = kept as f64;
    let mut scale = scale;
    while scale > 0 {
        let step = scale.min(1000);
        value *= 2f64.powi(step as i32);
        scale -= step;
    }
    while scale < 0 {
        let step = (-scale).min(1000);
        value /= 2f64.powi(step as i32);
        scale += step;
    }
    Ok(value)
}
