//! Number constants: what each could be, by its syntax.

use crate::strconv::{self, NumberError};

/// A number and all that it can stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
}

fn whole(value: f64) -> bool {
    value.fract() == 0.0
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

impl Number {
    fn set_from_float(&mut self, value: f64) {
        self.float = Some(value);
        if self.int.is_none() && whole(value) && (-TWO_63..TWO_63).contains(&value) {
            self.int = Some(value as i64);
        }
        if self.uint.is_none() && whole(value) && (0.0..2.0 * TWO_63).contains(&value) {
            self.uint = Some(value as u64);
        }
    }

    fn complex(re: f64, im: f64) -> Self {
        let mut number = Self {
            complex: Some((re, im)),
            ..Self::default()
        };
        if im == 0.0 {
            number.set_from_float(re);
        }
        number
    }

    /// A character constant, with its quotes.
    pub(crate) fn from_char(text: &[u8]) -> Result<Self, String> {
        let inner = text.get(1..).unwrap_or_default();
        let (rune, _, width) = strconv::unquote_char(inner, b'\'').ok_or("invalid syntax")?;
        if &inner[width..] != b"'" {
            return Err(format!(
                "malformed character constant: {}",
                String::from_utf8_lossy(text)
            ));
        }
        Ok(Self {
            int: Some(i64::from(rune)),
            uint: Some(u64::from(rune)),
            float: Some(f64::from(rune)),
            complex: None,
        })
    }

    /// A complex constant such as `1+2i`.
    pub(crate) fn from_complex(text: &[u8]) -> Result<Self, String> {
        let failed = |text: &[u8], error: NumberError| {
            format!(
                "strconv.ParseFloat: parsing {}: {}",
                quoted(text),
                error.text()
            )
        };
        let pair = text.strip_suffix(b"i").unwrap_or(text);
        let exponent =
            |at: usize| matches!(pair[at - 1] | 0x20, b'e' | b'p') && !pair.starts_with(b"0x");
        let split = (1..pair.len())
            .rev()
            .find(|&at| matches!(pair[at], b'+' | b'-') && !exponent(at));
        let split = split.filter(|at| pair[at - 1] != b'i');
        let (re, im) = pair.split_at(split.ok_or("syntax error scanning complex number")?);
        let re = strconv::parse_float(re).map_err(|error| failed(re, error))?;
        let im = strconv::parse_float(im).map_err(|error| failed(im, error))?;
        Ok(Self::complex(re, im))
    }

    /// Any other number.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, String> {
        if let Some(imaginary) = text.strip_suffix(b"i")
            && let Ok(value) = strconv::parse_float(imaginary)
        {
            return Ok(Self::complex(0.0, value));
        }
        let mut number = Self {
            uint: strconv::parse_uint(text, 0, 64).ok(),
            int: strconv::parse_int(text, 0, 64).ok(),
            ..Self::default()
        };
        if number.int == Some(0) {
            number.uint = Some(0);
        }
        if let Some(int) = number.int {
            number.float = Some(int as f64);
        } else if let Some(uint) = number.uint {
            number.float = Some(uint as f64);
        } else if let Ok(value) = strconv::parse_float(text) {
            if !text
                .iter()
                .any(|byte| matches!(byte, b'.' | b'e' | b'E' | b'p' | b'P'))
            {
                return Err(format!("integer overflow: {}", quoted(text)));
            }
            number.set_from_float(value);
        }
        if number.float.is_none() {
            return Err(format!("illegal number syntax: {}", quoted(text)));
        }
        Ok(number)
    }
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&strconv::quote(text)).into_owned()
}
