//! Numbers and quoted text as Go's strconv reads and writes them: the template crate's, in the types that are handy here.

use roadstead_template::strconv::{self, NumberError};

pub use roadstead_template::strconv::can_backquote;

/// Why a number could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumError {
    /// It is no number.
    Syntax,
    /// It does not fit; the nearest value that does.
    Range(i64),
}

/// Reads an integer without a sign. Base 0 goes by the prefix and lets underscores stand between digits.
pub fn parse_uint(text: &[u8], base: u32) -> Option<u64> {
    strconv::parse_uint(text, base, 64).ok()
}

/// Reads a 64-bit integer.
pub fn parse_int(text: &[u8], base: u32) -> Result<i64, NumError> {
    strconv::parse_int(text, base, 64).map_err(|error| match error {
        NumberError::Syntax => NumError::Syntax,
        NumberError::Range(nearest) if nearest < 0.0 => NumError::Range(i64::MIN),
        NumberError::Range(_) => NumError::Range(i64::MAX),
    })
}

/// Reads a float, in decimal or hexadecimal. The error of one that does not fit carries an infinity.
pub fn parse_float(text: &[u8]) -> Result<f64, Option<f64>> {
    strconv::parse_float(text).map_err(|error| match error {
        NumberError::Syntax => None,
        NumberError::Range(nearest) => Some(nearest),
    })
}

/// What Go makes of a float that is turned into an integer: one that does not fit becomes the smallest.
pub fn float_to_int(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

/// The shortest text of a float, with an exponent from a million on.
pub fn format_float(value: f64) -> String {
    strconv::format_float(value, b'g', -1)
}

/// The text in double quotes, with Go's escapes.
pub fn quote(text: &[u8]) -> String {
    String::from_utf8_lossy(&strconv::quote(text)).into_owned()
}

/// A rune in single quotes, with Go's escapes.
pub fn quote_rune(rune: u32) -> String {
    String::from_utf8_lossy(&strconv::quote_rune(rune)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_what_go_gives() {
        assert_eq!(
            parse_int(b"9223372036854775808", 10),
            Err(NumError::Range(i64::MAX))
        );
        assert_eq!(
            parse_int(b"-99999999999999999999", 10),
            Err(NumError::Range(i64::MIN))
        );
        assert_eq!(parse_int(b"1_0", 10), Err(NumError::Syntax));
        assert_eq!(parse_float(b"-1e999"), Err(Some(f64::NEG_INFINITY)));
        assert_eq!(float_to_int(1e19), i64::MIN);
        assert_eq!(float_to_int(f64::NAN), i64::MIN);
        assert_eq!(float_to_int(-3.9), -3);
        assert_eq!(format_float(1e6), "1e+06");
    }
}
