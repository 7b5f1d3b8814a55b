//! Go's `strconv` and `unicode/utf8`: how numbers and strings are read and written.

mod float;
mod number;
mod quote;
mod rune;
mod tables;

pub use float::{append_float, format_float};
pub use number::{NumberError, parse_float, parse_int, parse_uint};
pub use quote::{
    can_backquote, quote, quote_ascii, quote_rune, quote_rune_ascii, unquote, unquote_char,
};
pub use rune::{append_rune, decode_rune, is_digit, is_graphic, is_letter, is_print, rune_count};
