//! Quantities: `500m`, `1.5Gi`, `1e3`, read and written as Kubernetes does.

use std::fmt;
use std::str::FromStr;

/// A number with a unit. Its smallest part is a thousandth of a millionth.
#[derive(Debug, Clone)]
pub struct Quantity {
    billionths: i128,
    form: Form,
    /// The text, where Kubernetes keeps it.
    text: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Exponent,
    Binary,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It is no number with a unit.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Form,
    /// Its number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// Its unit is unknown.
    #[error("unable to parse quantity's suffix")]
    Unit,
}

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

const ONE: i128 = 1_000_000_000;

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Form);
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let rest = rest.trim_start_matches('0');
        let (number, rest) = rest.split_at(digits(rest));
        let number = if number.is_empty() { "0" } else { number };
        let (fraction, unit) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let letters = unit.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let tail = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if digits(tail) != tail.len() {
            return Err(QuantityError::Form);
        }
        let decimal = DECIMAL.iter().find(|(name, _)| *name == unit);
        let binary = BINARY.iter().find(|(name, _)| *name == unit);
        let (form, exponent) = match (decimal, binary) {
            (Some((_, exponent)), _) => (Form::Decimal, *exponent),
            (None, Some((_, exponent))) => (Form::Binary, i32::try_from(*exponent).unwrap_or(0)),
            (None, None) => {
                let exponent = unit
                    .strip_prefix(['e', 'E'])
                    .and_then(|digits| digits.parse::<i32>().ok())
                    .ok_or(QuantityError::Unit)?;
                (Form::Exponent, exponent)
            }
        };
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            // the real one reads a lone sign or unit as nothing, which is no number
            return Err(if unit.is_empty() || text.starts_with('.') {
                QuantityError::Number
            } else {
                QuantityError::Form
            });
        }
        let shifted = format!("{number}{fraction}");
        let value: i128 = shifted.parse().map_err(|_| QuantityError::Number)?;
        let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
        let scale = exponent.saturating_sub(places);
        let kept = match form {
            Form::Binary => {
                fraction.is_empty()
                    && value & 7 != 0
                    && shifted.len() + 1 + exponent_digits(exponent) <= 15
            }
            Form::Decimal | Form::Exponent => {
                shifted.len() <= 18
                    && scale >= -9
                    && scale % 3 == 0
                    && !shifted.ends_with("000")
                    && !shifted.starts_with('0')
            }
        };
        let mut form = form;
        let billionths = match form {
            Form::Binary => value
                .checked_mul(1 << exponent)
                .and_then(|value| scaled(value, 9 - places))
                .map(|value| value.min(i128::from(i64::MAX) * ONE)),
            Form::Decimal | Form::Exponent => scaled(value, scale.saturating_add(9)),
        }
        .ok_or(QuantityError::Number)?;
        if form == Form::Binary && billionths > 0 && billionths < ONE {
            form = Form::Decimal;
        }
        Ok(Self {
            billionths: if negative { -billionths } else { billionths },
            form,
            text: (kept || text == "0").then(|| text.into()),
        })
    }
}

fn exponent_digits(exponent: i32) -> usize {
    usize::try_from(exponent * 3 / 10).unwrap_or(0)
}

/// Moves the decimal point; what falls off the end rounds up.
fn scaled(value: i128, places: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let factor = 10_i128.checked_pow(places.unsigned_abs());
    if places >= 0 {
        return value.checked_mul(factor?);
    }
    let Some(factor) = factor else {
        return Some(1);
    };
    Some((value + factor - 1) / factor)
}

impl Quantity {
    /// Is it less than nothing?
    pub fn is_negative(&self) -> bool {
        self.billionths < 0
    }

    /// Is it nothing?
    pub fn is_zero(&self) -> bool {
        self.billionths == 0
    }

    /// The amount in billionths.
    pub fn billionths(&self) -> i128 {
        self.billionths
    }

    /// Is it a whole number?
    pub fn is_whole(&self) -> bool {
        self.billionths % ONE == 0
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.billionths == other.billionths
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.billionths.cmp(&other.billionths)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.billionths == 0 {
            return f.write_str("0");
        }
        let whole = self.billionths / ONE;
        if self.form == Form::Binary && self.is_whole() && whole.abs() >= 1024 {
            let (mut value, mut unit) = (whole, "");
            for (name, _) in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                unit = name;
            }
            return write!(f, "{value}{unit}");
        }
        let (mut value, mut exponent) = (self.billionths, -9_i32);
        while value % 1000 == 0 && (self.form == Form::Exponent || exponent < 18) {
            value /= 1000;
            exponent += 3;
        }
        if self.form == Form::Exponent {
            return if exponent == 0 {
                write!(f, "{value}")
            } else {
                write!(f, "{value}e{exponent}")
            };
        }
        let unit = DECIMAL
            .iter()
            .find(|(_, known)| *known == exponent)
            .map_or("", |(name, _)| *name);
        write!(f, "{value}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_write_as_in_kubernetes() {
        for (text, expected) in [
            ("0", "0"),
            ("0m", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1.500", "1.500"),
            ("1024Mi", "1Gi"),
            ("100Mi", "100Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("1000", "1k"),
            ("1200", "1200"),
            ("1e3", "1e3"),
            ("1000000", "1M"),
            ("0.1", "100m"),
            ("1000Ki", "1000Ki"),
            ("1E", "1E"),
            ("0.0000000001", "1n"),
            ("2Gi", "2Gi"),
            ("512", "512"),
            ("1024", "1024"),
            ("10000", "10k"),
            ("-5", "-5"),
            ("+5", "+5"),
            ("12e6", "12e6"),
            ("0.5Ki", "512"),
        ] {
            assert_eq!(
                text.parse::<Quantity>()
                    .map(|quantity| quantity.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in ["", "abc", "1.2.3", "5 Gi", "1Zi", "--1", "0x1", "1gi"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
