//! Flags, width and precision: how one number or string is laid out.

use crate::strconv;

/// The flags of a verb.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`
    pub(super) plus_v: bool,
    /// `%#v`
    pub(super) sharp_v: bool,
}

pub(super) const LOWER: &[u8; 17] = b"0123456789abcdefx";
pub(super) const UPPER: &[u8; 17] = b"0123456789ABCDEFX";

/// A text in the making.
pub(super) struct Layout {
    pub(super) out: Vec<u8>,
    pub(super) flags: Flags,
}

impl Layout {
    fn padding(&mut self, count: usize) {
        let byte = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        self.out.extend(std::iter::repeat_n(byte, count));
    }

    /// Writes a text, padded to the width in runes.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let missing = match self.flags.width {
            Some(width) if width > 0 => width.saturating_sub(strconv::rune_count(text)),
            _ => 0,
        };
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.extend_from_slice(text);
        }
    }

    fn pad_without_zeros(&mut self, text: &[u8]) {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text);
        self.flags.zero = zero;
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.pad(if value { b"true" } else { b"false" });
    }

    /// `%U`
    pub(super) fn unicode(&mut self, value: u64) {
        let precision = self.flags.precision.map_or(4, |precision| precision.max(4));
        let digits = format!("{value:X}");
        let mut text = b"U+".to_vec();
        text.extend(std::iter::repeat_n(
            b'0',
            precision.saturating_sub(digits.len()),
        ));
        text.extend(digits.bytes());
        let rune = u32::try_from(value).ok().and_then(char::from_u32);
        if self.flags.sharp
            && let Some(rune) = rune.filter(|rune| strconv::is_print(*rune))
        {
            text.extend(b" '");
            strconv::append_rune(&mut text, u32::from(rune));
            text.push(b'\'');
        }
        self.pad_without_zeros(&text);
    }

    /// An integer: `bits`, to be read as signed or not.
    pub(super) fn integer(
        &mut self,
        bits: u64,
        base: u64,
        signed: bool,
        verb: char,
        digits: &[u8; 17],
    ) {
        let negative = signed && (bits as i64) < 0;
        let mut rest = if negative { bits.wrapping_neg() } else { bits };
        let mut least = 0;
        if let Some(precision) = self.flags.precision {
            least = precision;
            if precision == 0 && rest == 0 {
                let zero = std::mem::replace(&mut self.flags.zero, false);
                self.padding(self.flags.width.unwrap_or(0));
                self.flags.zero = zero;
                return;
            }
        } else if let Some(width) = self.flags.width
            && self.flags.zero
            && !self.flags.minus
        {
            least =
                width.saturating_sub(usize::from(negative || self.flags.plus || self.flags.space));
        }
        // written backwards
        let mut text = Vec::with_capacity(24);
        while rest >= base {
            text.push(digits[(rest % base) as usize]);
            rest /= base;
        }
        text.push(digits[rest as usize]);
        while text.len() < least {
            text.push(b'0');
        }
        if self.flags.sharp {
            match base {
                2 => text.extend(b"b0"),
                8 if text.last() != Some(&b'0') => text.push(b'0'),
                16 => text.extend([digits[16], b'0']),
                _ => {}
            }
        }
        if verb == 'O' {
            text.extend(b"o0");
        }
        if negative {
            text.push(b'-');
        } else if self.flags.plus {
            text.push(b'+');
        } else if self.flags.space {
            text.push(b' ');
        }
        text.reverse();
        self.pad_without_zeros(&text);
    }

    fn truncated<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(precision) = self.flags.precision else {
            return text;
        };
        let mut end = 0;
        for _ in 0..precision {
            if end >= text.len() {
                break;
            }
            end += strconv::decode_rune(&text[end..]).1;
        }
        &text[..end]
    }

    /// `%s`
    pub(super) fn string(&mut self, text: &[u8]) {
        let text = self.truncated(text);
        self.pad(text);
    }

    /// `%x` of a string.
    pub(super) fn hex(&mut self, text: &[u8], digits: &[u8; 17]) {
        let text = &text[..text.len().min(self.flags.precision.unwrap_or(usize::MAX))];
        let wanted = self.flags.width.unwrap_or(0);
        if text.is_empty() {
            self.padding(wanted);
            return;
        }
        let (sharp, space) = (self.flags.sharp, self.flags.space);
        let mut width = 2 * text.len();
        if space {
            width = if sharp { 2 * width } else { width } + text.len() - 1;
        } else if sharp {
            width += 2;
        }
        let missing = wanted.saturating_sub(width);
        if !self.flags.minus {
            self.padding(missing);
        }
        for (index, byte) in text.iter().enumerate() {
            if space && index > 0 {
                self.out.push(b' ');
            }
            if sharp && (index == 0 || space) {
                self.out.extend([b'0', digits[16]]);
            }
            self.out.extend([
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]);
        }
        if self.flags.minus {
            self.padding(missing);
        }
    }

    /// `%q`
    pub(super) fn quoted(&mut self, text: &[u8]) {
        let text = self.truncated(text);
        if self.flags.sharp && strconv::can_backquote(text) {
            self.pad(&[b"`", text, b"`"].concat());
        } else if self.flags.plus {
            self.pad(&strconv::quote_ascii(text));
        } else {
            self.pad(&strconv::quote(text));
        }
    }

    /// `%c`
    pub(super) fn character(&mut self, value: u64) {
        let mut text = Vec::with_capacity(4);
        strconv::append_rune(&mut text, u32::try_from(value).unwrap_or(u32::MAX));
        self.pad(&text);
    }

    /// `%q` of an integer.
    pub(super) fn quoted_character(&mut self, value: u64) {
        let rune = u32::try_from(value).unwrap_or(u32::MAX);
        let text = if self.flags.plus {
            strconv::quote_rune_ascii(rune)
        } else {
            strconv::quote_rune(rune)
        };
        self.pad(&text);
    }

    /// A float; `precision` is what the verb has by itself, -1 for as few digits as needed.
    pub(super) fn float(&mut self, value: f64, verb: u8, precision: i32) {
        let precision = self
            .flags
            .precision
            .map_or(precision, |precision| precision as i32);
        let mut text = vec![b'+'];
        strconv::append_float(&mut text, value, verb, precision);
        if matches!(text.get(1), Some(b'-' | b'+')) {
            text.remove(0);
        }
        if self.flags.space && text[0] == b'+' && !self.flags.plus {
            text[0] = b' ';
        }
        if value.is_infinite() || value.is_nan() {
            if value.is_nan() && !self.flags.space && !self.flags.plus {
                text.remove(0);
            }
            self.pad_without_zeros(&text);
            return;
        }
        if self.flags.sharp && verb != b'b' {
            keep_zeros(&mut text, verb, precision);
        }
        if self.flags.plus || text[0] != b'+' {
            if let Some(width) = self.flags.width
                && self.flags.zero
                && !self.flags.minus
                && width > text.len()
            {
                self.out.push(text[0]);
                self.padding(width - text.len());
                self.out.extend_from_slice(&text[1..]);
                return;
            }
            self.pad(&text);
            return;
        }
        self.pad(&text[1..]);
    }
}

/// What `#` asks for: a decimal point always, and the trailing noughts that `%g` leaves out.
fn keep_zeros(text: &mut Vec<u8>, verb: u8, precision: i32) {
    let mut digits = match verb {
        b'g' | b'G' | b'x' if precision == -1 => 6,
        b'g' | b'G' | b'x' => precision,
        _ => 0,
    };
    let hex = matches!(verb, b'x' | b'X');
    let mut tail = Vec::new();
    let (mut point, mut nonzero) = (false, false);
    let mut index = 1;
    while index < text.len() {
        match text[index] {
            b'.' => point = true,
            b'p' | b'P' => tail = text.split_off(index),
            b'e' | b'E' if !hex => tail = text.split_off(index),
            digit => {
                nonzero |= digit != b'0';
                digits -= i32::from(nonzero);
            }
        }
        index += 1;
    }
    if !point {
        if text.len() == 2 && text[1] == b'0' {
            digits -= 1;
        }
        text.push(b'.');
    }
    text.extend(std::iter::repeat_n(
        b'0',
        usize::try_from(digits).unwrap_or(0),
    ));
    text.extend(tail);
}
