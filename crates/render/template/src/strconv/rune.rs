//! Runes: Unicode characters in bytes that may be anything.

use super::tables::{DIGITS, GRAPHIC_SPACES, LETTERS, PRINTABLE};

/// The first rune and its width; U+FFFD and 1 where the bytes are not UTF-8, U+FFFD and 0 of nothing.
pub fn decode_rune(bytes: &[u8]) -> (char, usize) {
    const BAD: (char, usize) = (char::REPLACEMENT_CHARACTER, 1);
    let Some(&first) = bytes.first() else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    let (width, low, high) = match first {
        0..=0x7f => return (char::from(first), 1),
        0xc2..=0xdf => (2, 0x80, 0xbf),
        0xe0 => (3, 0xa0, 0xbf),
        0xed => (3, 0x80, 0x9f),
        0xe1..=0xef => (3, 0x80, 0xbf),
        0xf0 => (4, 0x90, 0xbf),
        0xf4 => (4, 0x80, 0x8f),
        0xf1..=0xf3 => (4, 0x80, 0xbf),
        _ => return BAD,
    };
    let Some(rest) = bytes.get(1..width) else {
        return BAD;
    };
    if !(low..=high).contains(&rest[0]) {
        return BAD;
    }
    let mut code = u32::from(first) & (0x7f >> width);
    for byte in rest {
        if byte & 0xc0 != 0x80 {
            return BAD;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    (
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
        width,
    )
}

/// How many runes there are; each invalid byte is one.
pub fn rune_count(bytes: &[u8]) -> usize {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.chars().count();
    }
    let (mut count, mut at) = (0, 0);
    while at < bytes.len() {
        at += decode_rune(&bytes[at..]).1;
        count += 1;
    }
    count
}

/// Appends a rune as UTF-8; one that is no character becomes U+FFFD.
pub fn append_rune(out: &mut Vec<u8>, rune: u32) {
    let rune = char::from_u32(rune).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(rune.encode_utf8(&mut [0; 4]).as_bytes());
}

fn within(table: &[(u32, u32)], rune: char) -> bool {
    let code = u32::from(rune);
    let index = table.partition_point(|&(_, last)| last < code);
    table.get(index).is_some_and(|&(first, _)| first <= code)
}

/// Whether it is a letter, as `unicode.IsLetter` says.
pub fn is_letter(rune: char) -> bool {
    if rune.is_ascii() {
        rune.is_ascii_alphabetic()
    } else {
        within(LETTERS, rune)
    }
}

/// Whether it is a decimal digit, as `unicode.IsDigit` says.
pub fn is_digit(rune: char) -> bool {
    if rune.is_ascii() {
        rune.is_ascii_digit()
    } else {
        within(DIGITS, rune)
    }
}

/// Whether it can be printed, as `strconv.IsPrint` and `unicode.IsPrint` say.
pub fn is_print(rune: char) -> bool {
    if rune.is_ascii() {
        matches!(rune, ' '..='~')
    } else {
        within(PRINTABLE, rune)
    }
}

/// Whether it is graphic, as `strconv.IsGraphic` says.
pub fn is_graphic(rune: char) -> bool {
    is_print(rune) || within(GRAPHIC_SPACES, rune)
}
