//! String and character literals.

use super::rune::{append_rune, decode_rune, is_print};

const HEX: &[u8; 16] = b"0123456789abcdef";

fn escape(out: &mut Vec<u8>, rune: char, quote: u8, ascii: bool) {
    if rune == char::from(quote) || rune == '\\' {
        out.extend([b'\\', rune as u8]);
        return;
    }
    if is_print(rune) && (rune.is_ascii() || !ascii) {
        append_rune(out, u32::from(rune));
        return;
    }
    let letter = match rune {
        '\x07' => b'a',
        '\x08' => b'b',
        '\x0c' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x0b' => b'v',
        _ => {
            let code = u32::from(rune);
            let (letter, digits) = match code {
                0..0x20 | 0x7f => (b'x', 2),
                0x20..0x10000 => (b'u', 4),
                _ => (b'U', 8),
            };
            out.extend([b'\\', letter]);
            out.extend(
                (0..digits)
                    .rev()
                    .map(|digit| HEX[(code >> (4 * digit) & 15) as usize]),
            );
            return;
        }
    };
    out.extend([b'\\', letter]);
}

fn quote_with(text: &[u8], ascii: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 2);
    out.push(b'"');
    let mut at = 0;
    while at < text.len() {
        let plain = text[at..]
            .iter()
            .take_while(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        let plain = plain.count();
        out.extend_from_slice(&text[at..at + plain]);
        at += plain;
        if at == text.len() {
            break;
        }
        let (rune, width) = decode_rune(&text[at..]);
        if width == 1 && rune == char::REPLACEMENT_CHARACTER {
            out.extend([
                b'\\',
                b'x',
                HEX[usize::from(text[at] >> 4)],
                HEX[usize::from(text[at] & 15)],
            ]);
        } else {
            escape(&mut out, rune, b'"', ascii);
        }
        at += width;
    }
    out.push(b'"');
    out
}

/// A double-quoted literal (`%q`).
pub fn quote(text: &[u8]) -> Vec<u8> {
    quote_with(text, false)
}

/// A double-quoted literal of ASCII only (`%+q`).
pub fn quote_ascii(text: &[u8]) -> Vec<u8> {
    quote_with(text, true)
}

fn quote_rune_with(rune: u32, ascii: bool) -> Vec<u8> {
    let rune = char::from_u32(rune).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut out = vec![b'\''];
    escape(&mut out, rune, b'\'', ascii);
    out.push(b'\'');
    out
}

/// A character literal.
pub fn quote_rune(rune: u32) -> Vec<u8> {
    quote_rune_with(rune, false)
}

/// A character literal of ASCII only.
pub fn quote_rune_ascii(rune: u32) -> Vec<u8> {
    quote_rune_with(rune, true)
}

/// Whether it can stand between back quotes on one line, as it is.
pub fn can_backquote(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        let (rune, width) = decode_rune(&text[at..]);
        at += width;
        if width > 1 {
            if rune == '\u{feff}' {
                return false;
            }
            continue;
        }
        if matches!(rune, char::REPLACEMENT_CHARACTER | '`' | '\x7f')
            || (rune < ' ' && rune != '\t')
        {
            return false;
        }
    }
    true
}

/// One character or escape of a literal: its value, whether it is a rune (not a byte), and how many bytes it takes.
pub fn unquote_char(text: &[u8], quote: u8) -> Option<(u32, bool, usize)> {
    let &first = text.first()?;
    if first == quote && matches!(quote, b'\'' | b'"') {
        return None;
    }
    if first >= 0x80 {
        let (rune, width) = decode_rune(text);
        return Some((u32::from(rune), true, width));
    }
    if first != b'\\' {
        return Some((u32::from(first), false, 1));
    }
    let digits = |count: usize, radix: u32, from: usize| {
        let digits = text.get(from..from + count)?;
        digits.iter().try_fold(0u32, |value, digit| {
            Some(
                value
                    .wrapping_mul(radix)
                    .wrapping_add(char::from(*digit).to_digit(radix)?),
            )
        })
    };
    let plain = |value: u8| Some((u32::from(value), false, 2));
    match *text.get(1)? {
        b'a' => plain(7),
        b'b' => plain(8),
        b'f' => plain(12),
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'v' => plain(11),
        b'\\' => plain(b'\\'),
        letter @ (b'\'' | b'"') => (letter == quote).then_some((u32::from(letter), false, 2)),
        b'x' => Some((digits(2, 16, 2)?, false, 4)),
        b'u' => Some((u32::from(char::from_u32(digits(4, 16, 2)?)?), true, 6)),
        b'U' => Some((u32::from(char::from_u32(digits(8, 16, 2)?)?), true, 10)),
        b'0'..=b'7' => digits(3, 8, 1)
            .filter(|value| *value <= 255)
            .map(|value| (value, false, 4)),
        _ => None,
    }
}

/// What a literal in double, single or back quotes stands for. None: its syntax is wrong.
pub fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = literal.split_first()?;
    let inner = rest.strip_suffix(&[quote]);
    match quote {
        b'`' => {
            let inner = inner?;
            if inner.contains(&b'`') {
                return None;
            }
            Some(
                inner
                    .iter()
                    .copied()
                    .filter(|byte| *byte != b'\r')
                    .collect(),
            )
        }
        b'"' | b'\'' => {
            if let Some(inner) = inner
                && quote == b'"'
                && !inner
                    .iter()
                    .any(|byte| matches!(byte, b'\\' | b'\n' | b'"'))
                && std::str::from_utf8(inner).is_ok()
            {
                return Some(inner.to_vec());
            }
            let mut out = Vec::with_capacity(rest.len());
            let mut at = 0;
            while rest.get(at).is_some_and(|byte| *byte != quote) {
                if rest[at] == b'\n' {
                    return None;
                }
                let (value, multibyte, width) = unquote_char(&rest[at..], quote)?;
                at += width;
                if multibyte {
                    append_rune(&mut out, value);
                } else {
                    out.push(value as u8);
                }
                if quote == b'\'' {
                    break;
                }
            }
            (at + 1 == rest.len() && rest[at] == quote).then_some(out)
        }
        _ => None,
    }
}
