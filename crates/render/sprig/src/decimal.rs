//! Arithmetic on floats by way of decimals, as shopspring's library does for Sprig.

use num_bigint::{BigInt, Sign};

use crate::go::strconv::format_float;

/// How many decimals a quotient has.
const PRECISION: i64 = 16;

/// How far exponents may go: far beyond any float, and not so far that a text of zeros would hurt.
const MAX_EXPONENT: i64 = 100_000;

/// A number times a power of ten.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    value: BigInt,
    exponent: i64,
}

fn power(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent.max(0)).unwrap_or(0))
}

impl Decimal {
    /// The shortest decimal of a float. The error is what the library panics with.
    pub(crate) fn new(value: f64) -> Result<Decimal, String> {
        if !value.is_finite() {
            let text = format_float(value);
            return Err(format!("Cannot create a Decimal from {text}"));
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, rest)| rest.len());
        let exponent: i64 = exponent.parse().unwrap_or(0);
        Ok(Decimal {
            value: mantissa.replace('.', "").parse().unwrap_or_default(),
            exponent: exponent - decimals as i64,
        })
    }

    fn aligned(&self, other: &Decimal) -> (BigInt, BigInt, i64) {
        let exponent = self.exponent.min(other.exponent);
        let scaled = |one: &Decimal| &one.value * power(one.exponent - exponent);
        (scaled(self), scaled(other), exponent)
    }

    fn bounded(value: BigInt, exponent: i64) -> Result<Decimal, String> {
        if exponent.abs() > MAX_EXPONENT {
            return Err(format!("exponent {exponent} is out of range"));
        }
        Ok(Decimal { value, exponent })
    }

    pub(crate) fn add(&self, other: &Decimal) -> Result<Decimal, String> {
        let (a, b, exponent) = self.aligned(other);
        Decimal::bounded(a + b, exponent)
    }

    pub(crate) fn subtract(&self, other: &Decimal) -> Result<Decimal, String> {
        let (a, b, exponent) = self.aligned(other);
        Decimal::bounded(a - b, exponent)
    }

    pub(crate) fn multiply(&self, other: &Decimal) -> Result<Decimal, String> {
        Decimal::bounded(&self.value * &other.value, self.exponent + other.exponent)
    }

    /// The quotient, rounded half away from zero.
    pub(crate) fn divide(&self, other: &Decimal) -> Result<Decimal, String> {
        if other.value.sign() == Sign::NoSign {
            return Err("decimal division by 0".to_owned());
        }
        let shift = self.exponent - other.exponent + PRECISION;
        let (mut above, mut below) = (self.value.clone(), other.value.clone());
        if shift >= 0 {
            above *= power(shift);
        } else {
            below *= power(-shift);
        }
        let mut quotient = &above / &below;
        let rest = &above % &below;
        let twice: BigInt = rest * 2;
        if twice.magnitude() >= below.magnitude() {
            let away = if (above.sign() == Sign::Minus) == (below.sign() == Sign::Minus) {
                1
            } else {
                -1
            };
            quotient += away;
        }
        Decimal::bounded(quotient, -PRECISION)
    }

    /// The nearest float.
    pub(crate) fn to_float(&self) -> f64 {
        format!("{}e{}", self.value, self.exponent)
            .parse()
            .unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let of = |value: f64| Decimal::new(value).unwrap();
        assert_eq!(of(0.1).add(&of(0.2)).unwrap().to_float(), 0.3);
        assert_eq!(
            of(1.0).divide(&of(3.0)).unwrap().to_float(),
            0.3333333333333333
        );
        assert_eq!(
            of(-2.0).divide(&of(3.0)).unwrap().to_float(),
            -0.6666666666666667
        );
        assert_eq!(of(1.1).multiply(&of(1.1)).unwrap().to_float(), 1.21);
        assert_eq!(
            of(1e300).multiply(&of(1e300)).unwrap().to_float(),
            f64::INFINITY
        );
        assert!(of(1.0).divide(&of(0.0)).is_err() && Decimal::new(f64::NAN).is_err());
    }
}
