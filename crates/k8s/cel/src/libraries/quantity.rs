//! Resource quantities: `1Gi`, `500m`, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use num_bigint::{BigInt, Sign};

use crate::libraries::Object;
use crate::value::{Value, error};

/// A quantity as a whole number times a power of ten.
#[derive(Clone, Debug)]
pub struct Quantity {
    value: BigInt,
    scale: i32,
    /// Is it kept as a decimal, which is not asked for whole numbers?
    decimal: bool,
}

const WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const NANO: i32 = -9;
/// Larger exponents than this make no quantity that anything could hold.
const FARTHEST: i32 = 100_000;

enum Kind {
    Binary,
    Decimal,
}

impl Quantity {
    /// Reads a quantity.
    pub(crate) fn parse(text: &str) -> Result<Quantity, &'static str> {
        if text.is_empty() {
            return Err(WRONG);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let rest = rest.trim_start_matches('0');
        let zero = rest.is_empty();
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let whole = &rest[..digits(rest)];
        let mut tail = &rest[whole.len()..];
        let mut part = "";
        if let Some(after) = tail.strip_prefix('.') {
            part = &after[..digits(after)];
            tail = &after[part.len()..];
        }
        let letters = tail
            .bytes()
            .take_while(|b| b"eEinumkKMGTP".contains(b))
            .count();
        let mut end = letters;
        if matches!(tail.as_bytes().get(end), Some(b'-' | b'+')) {
            end += 1;
        }
        end += tail[end..].bytes().take_while(u8::is_ascii_digit).count();
        if end != tail.len() {
            return Err(WRONG);
        }
        let (kind, exponent) = suffix(tail).ok_or(SUFFIX)?;
        if zero {
            return Ok(Quantity {
                value: BigInt::from(0),
                scale: 0,
                decimal: false,
            });
        }
        let num = if whole.is_empty() { "0" } else { whole };
        let sign = |v: i64| if negative { -v } else { v };
        let (len, fraction) = (
            i32::try_from(num.len()).unwrap_or(i32::MAX),
            i32::try_from(part.len()).unwrap_or(i32::MAX),
        );
        let (precision, scale, mantissa) = match kind {
            Kind::Decimal => (18 - len.saturating_add(fraction), exponent, 1_i64),
            Kind::Binary if exponent >= 0 && part.is_empty() => (
                15 - len - exponent * 3 / 10 - 1,
                0,
                1_i64
                    .checked_shl(exponent.unsigned_abs())
                    .unwrap_or_default(),
            ),
            Kind::Binary => (-1, 0, 1),
        };
        if precision >= 0 && scale - fraction >= NANO {
            let shifted: i64 = format!("{num}{part}").parse().map_err(|_| NUMERIC)?;
            if let Some(v) = shifted.checked_mul(mantissa) {
                return Ok(Quantity {
                    value: BigInt::from(sign(v)),
                    scale: scale - fraction,
                    decimal: false,
                });
            }
        }
        if whole.is_empty() && part.is_empty() {
            return Err(NUMERIC);
        }
        let mut value: BigInt = format!("{num}{part}").parse().map_err(|_| NUMERIC)?;
        let mut scale = -fraction;
        match kind {
            Kind::Decimal => scale = scale.saturating_add(exponent),
            Kind::Binary => value <<= exponent.unsigned_abs(),
        }
        if scale.abs() > FARTHEST {
            return Err(NUMERIC);
        }
        let mut made = Quantity {
            value,
            scale,
            decimal: true,
        };
        made.round_up();
        if matches!(kind, Kind::Binary) {
            let most = Quantity {
                value: BigInt::from(i64::MAX),
                scale: 0,
                decimal: true,
            };
            if made.compare(&most) == Ordering::Greater {
                made = most;
            }
        }
        if negative {
            made.value = -made.value;
        }
        Ok(made)
    }

    /// To billionths, upwards.
    fn round_up(&mut self) {
        if self.scale >= NANO {
            return;
        }
        let by = BigInt::from(10).pow((NANO - self.scale).unsigned_abs());
        let (whole, rest) = (&self.value / &by, &self.value % &by);
        self.value = if rest.sign() == Sign::NoSign {
            whole
        } else {
            whole + 1
        };
        self.scale = NANO;
    }

    fn whole(v: i64) -> Quantity {
        Quantity {
            value: BigInt::from(v),
            scale: 0,
            decimal: false,
        }
    }

    fn aligned(&self, scale: i32) -> BigInt {
        &self.value * BigInt::from(10).pow((self.scale - scale).unsigned_abs())
    }

    /// Which of two is more.
    pub(crate) fn compare(&self, other: &Quantity) -> Ordering {
        let scale = self.scale.min(other.scale);
        self.aligned(scale).cmp(&other.aligned(scale))
    }

    fn plus(&self, other: &Quantity, sign: i32) -> Quantity {
        let scale = self.scale.min(other.scale);
        let other_value = other.aligned(scale) * sign;
        let value = self.aligned(scale) + other_value;
        let fits = i64::try_from(&value).is_ok();
        let decimal = self.decimal || other.decimal || !fits;
        // a number without a sign takes the other's scale
        if !decimal && self.value.sign() == Sign::NoSign {
            return Quantity {
                value: &other.value * sign,
                scale: other.scale,
                decimal,
            };
        }
        if !decimal && other.value.sign() == Sign::NoSign {
            return self.clone();
        }
        Quantity {
            value,
            scale,
            decimal,
        }
    }

    fn as_int(&self) -> Option<i64> {
        if self.decimal || self.scale < 0 {
            return None;
        }
        i64::try_from(self.aligned(0)).ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "it is said to be approximate")]
    fn as_double(&self) -> f64 {
        let base = match i64::try_from(&self.value) {
            Ok(v) => v as f64,
            Err(_) => self.value.to_string().parse().unwrap_or(f64::MAX),
        };
        if self.scale == 0 {
            return base;
        }
        base * 10_f64.powi(self.scale)
    }
}

/// The kind of a suffix and its exponent, of two or of ten.
fn suffix(text: &str) -> Option<(Kind, i32)> {
    let at = |list: &[&str]| list.iter().position(|s| *s == text);
    if let Some(i) = at(&["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        return Some((Kind::Binary, (i32::try_from(i).ok()? + 1) * 10));
    }
    if let Some(i) = at(&["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]) {
        return Some((Kind::Decimal, i32::try_from(i).ok()? * 3 - 9));
    }
    let digits = text.strip_prefix(['e', 'E'])?;
    Some((Kind::Decimal, digits.parse().ok()?))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale >= 0 {
            return write!(f, "{}", self.aligned(0));
        }
        let sign = if self.value.sign() == Sign::Minus {
            "-"
        } else {
            ""
        };
        let digits = self.value.magnitude().to_string();
        let places = self.scale.unsigned_abs() as usize;
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        let part = part.trim_end_matches('0');
        if part.is_empty() {
            return write!(f, "{sign}{whole}");
        }
        write!(f, "{sign}{whole}.{part}")
    }
}

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let first = args.first()?;
    if let ("string_to_quantity" | "is_quantity_string", Value::String(text)) = (id, first) {
        let parsed = Quantity::parse(text);
        return Some(match (id, parsed) {
            ("is_quantity_string", parsed) => Value::Bool(parsed.is_ok()),
            (_, Ok(v)) => Value::Object(Object::Quantity(Arc::new(v), false)),
            (_, Err(message)) => error(message),
        });
    }
    let Value::Object(Object::Quantity(a, _)) = first else {
        return None;
    };
    let other = match args.get(1) {
        Some(Value::Object(Object::Quantity(b, _))) => Some((**b).clone()),
        Some(Value::Int(v)) => Some(Quantity::whole(*v)),
        _ => None,
    };
    let made = |v: Quantity| Value::Object(Object::Quantity(Arc::new(v), true));
    Some(match (id, other) {
        ("quantity_sign", _) => Value::Int(match a.value.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        }),
        ("quantity_get_float", _) => Value::Double(a.as_double()),
        ("quantity_is_integer", _) => Value::Bool(a.as_int().is_some()),
        ("quantity_get_int", _) => match a.as_int() {
            Some(v) => Value::Int(v),
            None => error("cannot convert value to integer"),
        },
        ("quantity_is_greater_than", Some(b)) => Value::Bool(a.compare(&b) == Ordering::Greater),
        ("quantity_is_less_than", Some(b)) => Value::Bool(a.compare(&b) == Ordering::Less),
        ("quantity_compare_to", Some(b)) => Value::Int(a.compare(&b) as i64),
        ("quantity_add" | "quantity_add_int", Some(b)) => made(a.plus(&b, 1)),
        ("quantity_sub" | "quantity_sub_int", Some(b)) => made(a.plus(&b, -1)),
        _ => return None,
    })
}
