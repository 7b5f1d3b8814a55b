//! Floats as text.

/// Decimal digits: the value is `0.DIGITS × 10^point`. Nought has no digits.
struct Digits {
    digits: Vec<u8>,
    point: i32,
}

/// No `f64` has more significant digits than this.
const ALL_DIGITS: usize = 770;

/// From which exponent on the shortest form of `%g` is written with one.
const SHORTEST_BOUND: i32 = 6;

/// With fewer digits than this no value lies in the middle between two decimal forms that both identify it.
const TIE_DIGITS: usize = 15;

impl Digits {
    /// From Rust's `{:e}` form, without trailing noughts.
    fn from_scientific(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let point = if digits.is_empty() {
            0
        } else {
            exponent.parse::<i32>().unwrap_or(0) + 1
        };
        Self { digits, point }
    }

    fn shortest(value: f64) -> Self {
        let digits = Self::from_scientific(&format!("{value:e}"));
        if digits.digits.len() < TIE_DIGITS {
            return digits;
        }
        // of two shortest forms that are equally near, Go takes the even one
        let precision = digits.digits.len() - 1;
        let even = format!("{value:.precision$e}");
        if even.parse() == Ok(value) {
            Self::from_scientific(&even)
        } else {
            digits
        }
    }

    fn significant(value: f64, count: usize) -> Self {
        let precision = count.clamp(1, ALL_DIGITS) - 1;
        Self::from_scientific(&format!("{value:.precision$e}"))
    }

    fn at(&self, index: i32) -> u8 {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.digits.get(index))
            .copied()
            .unwrap_or(b'0')
    }
}

/// `strconv.FormatFloat(value, verb, precision, 64)`; a precision below 0 asks for as few digits as identify the value.
pub fn format_float(value: f64, verb: u8, precision: i32) -> String {
    let mut out = Vec::new();
    append_float(&mut out, value, verb, precision);
    out.into_iter().map(char::from).collect()
}

/// Appends what [`format_float`] gives.
pub fn append_float(out: &mut Vec<u8>, value: f64, verb: u8, precision: i32) {
    if value.is_nan() {
        out.extend(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return;
    }
    let negative = value.is_sign_negative();
    let value = value.abs();
    match verb {
        b'b' => {
            sign(out, negative);
            binary(out, value);
            return;
        }
        b'x' | b'X' => {
            sign(out, negative);
            hexadecimal(out, value, verb, precision);
            return;
        }
        b'e' | b'E' | b'f' | b'g' | b'G' => {}
        _ => {
            out.extend([b'%', verb]);
            return;
        }
    }
    sign(out, negative);
    let wanted = usize::try_from(precision).ok();
    match (verb, wanted) {
        (b'e' | b'E', None) => {
            let digits = Digits::shortest(value);
            let precision = digits.digits.len().saturating_sub(1);
            scientific(out, &digits, precision, verb);
        }
        (b'e' | b'E', Some(wanted)) => {
            scientific(
                out,
                &Digits::significant(value, wanted.saturating_add(1)),
                wanted,
                verb,
            );
        }
        (b'f', None) => {
            let digits = Digits::shortest(value);
            let precision = (digits.digits.len() as i32 - digits.point).max(0);
            plain(out, &digits, precision as usize);
        }
        (b'f', Some(wanted)) => {
            let precision = wanted.min(1100);
            out.extend(format!("{value:.precision$}").bytes());
            out.extend(std::iter::repeat_n(b'0', wanted - precision));
        }
        (_, None) => {
            let digits = Digits::shortest(value);
            let exponent = digits.point - 1;
            if (-4..SHORTEST_BOUND).contains(&exponent) {
                let precision = (digits.digits.len() as i32 - digits.point).max(0);
                plain(out, &digits, precision as usize);
            } else {
                let precision = digits.digits.len().saturating_sub(1);
                scientific(out, &digits, precision, verb - 2);
            }
        }
        (_, Some(wanted)) => {
            let wanted = wanted.max(1);
            let digits = Digits::significant(value, wanted);
            let count = digits.digits.len();
            let mut threshold = wanted;
            if threshold > count && count as i32 >= digits.point {
                threshold = count;
            }
            let exponent = digits.point - 1;
            if exponent < -4 || exponent >= threshold as i32 {
                let precision = wanted.min(count).saturating_sub(1);
                scientific(out, &digits, precision, verb - 2);
            } else {
                let precision = (count as i32 - digits.point).max(0);
                plain(out, &digits, precision as usize);
            }
        }
    }
}

fn sign(out: &mut Vec<u8>, negative: bool) {
    if negative {
        out.push(b'-');
    }
}

fn scientific(out: &mut Vec<u8>, digits: &Digits, precision: usize, letter: u8) {
    out.push(digits.at(0));
    if precision > 0 {
        out.push(b'.');
        let known = digits.digits.get(1..).unwrap_or_default();
        let known = &known[..known.len().min(precision)];
        out.extend_from_slice(known);
        out.extend(std::iter::repeat_n(b'0', precision - known.len()));
    }
    let exponent = if digits.digits.is_empty() {
        0
    } else {
        digits.point - 1
    };
    out.push(letter);
    out.push(if exponent < 0 { b'-' } else { b'+' });
    out.extend(format!("{:02}", exponent.abs()).bytes());
}

fn plain(out: &mut Vec<u8>, digits: &Digits, precision: usize) {
    if digits.point > 0 {
        out.extend((0..digits.point).map(|index| digits.at(index)));
    } else {
        out.push(b'0');
    }
    if precision > 0 {
        out.push(b'.');
        out.extend((0..precision as i32).map(|index| digits.at(digits.point + index)));
    }
}

/// The mantissa with its implicit bit and the exponent of its lowest bit.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let (mantissa, exponent) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i32);
    if exponent == 0 {
        (mantissa, -1074)
    } else {
        (mantissa | 1 << 52, exponent - 1075)
    }
}

fn binary(out: &mut Vec<u8>, value: f64) {
    let (mantissa, exponent) = parts(value);
    out.extend(format!("{mantissa}p{exponent:+}").bytes());
}

fn hexadecimal(out: &mut Vec<u8>, value: f64, verb: u8, precision: i32) {
    let (mut mantissa, mut exponent) = parts(value);
    exponent += 52;
    if mantissa == 0 {
        exponent = 0;
    } else {
        let shift = mantissa.leading_zeros() as i32 - 3;
        mantissa <<= shift;
        exponent -= shift - 8;
    }
    // the leading one stands at bit 60
    if (0..15).contains(&precision) {
        let shift = 60 - 4 * precision as u32;
        let extra = mantissa & ((1 << shift) - 1);
        let half = 1u64 << (shift - 1);
        mantissa >>= shift;
        if extra > half || extra == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    out.extend([b'0', verb, b'0' + (mantissa >> 60) as u8]);
    let mut rest = mantissa << 4;
    let mut digit = || {
        let digit = (rest >> 60) as usize;
        rest <<= 4;
        if verb == b'x' {
            b"0123456789abcdef"[digit]
        } else {
            b"0123456789ABCDEF"[digit]
        }
    };
    if precision > 0 {
        out.push(b'.');
        out.extend((0..precision).map(|_| digit()));
    } else if precision < 0 && mantissa << 4 != 0 {
        out.push(b'.');
        let count = (64 - (mantissa << 4).trailing_zeros()).div_ceil(4);
        out.extend((0..count).map(|_| digit()));
    }
    out.push(if verb == b'x' { b'p' } else { b'P' });
    out.extend(
        format!(
            "{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        )
        .bytes(),
    );
}
