//! Runes as Go sees them: text is bytes, and a byte that is no UTF-8 reads as U+FFFD of width one.

use roadstead_template::strconv;

use super::tables;

/// What a broken byte reads as.
pub const RUNE_ERROR: u32 = 0xFFFD;

/// Reads the first rune of a text and says how many bytes it takes; an empty text has width 0.
pub fn decode(text: &[u8]) -> (u32, usize) {
    let (rune, width) = strconv::decode_rune(text);
    (u32::from(rune), width)
}

/// Reads the last rune of a text and says how many bytes it takes.
pub fn decode_last(text: &[u8]) -> (u32, usize) {
    for width in (1..=text.len().min(4)).rev() {
        let (rune, found) = decode(&text[text.len() - width..]);
        if found == width {
            return (rune, width);
        }
    }
    (RUNE_ERROR, text.len().min(1))
}

/// Appends a rune; what is no Unicode scalar value becomes U+FFFD.
pub fn push(out: &mut Vec<u8>, rune: u32) {
    strconv::append_rune(out, rune);
}

/// The runes of a text, each with its place and width.
pub fn runes(text: &[u8]) -> impl Iterator<Item = (usize, u32, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (rune, width) = decode(&text[at..]);
        if width == 0 {
            return None;
        }
        at += width;
        Some((at - width, rune, width))
    })
}

/// The text with every rune mapped; broken bytes become U+FFFD.
pub fn map(text: &[u8], mut mapping: impl FnMut(u32) -> u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (_, rune, _) in runes(text) {
        push(&mut out, mapping(rune));
    }
    out
}

fn within(table: &[(u32, u32)], rune: u32) -> bool {
    let after = table.partition_point(|&(from, _)| from <= rune);
    after > 0 && rune <= table[after - 1].1
}

fn moved(table: &[(u32, u32, u32, i32)], rune: u32) -> u32 {
    // Runs in steps of two may interleave, so a few runs before the last that starts here may hold the rune.
    let after = table.partition_point(|&(from, ..)| from <= rune);
    for &(from, to, step, by) in table[..after].iter().rev().take(3) {
        if rune <= to && (rune - from).is_multiple_of(step) {
            return rune.wrapping_add_signed(by);
        }
    }
    rune
}

/// Whether it is white space.
pub fn is_space(rune: u32) -> bool {
    matches!(rune, 9..=13 | 0x20 | 0x85 | 0xA0 | 0x1680 | 0x2000..=0x200A | 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000)
}

/// Whether it is an upper case letter.
pub fn is_upper(rune: u32) -> bool {
    within(tables::UPPER, rune)
}

/// Whether it is a lower case letter.
pub fn is_lower(rune: u32) -> bool {
    within(tables::LOWER, rune)
}

/// Whether it is a title case letter.
pub fn is_title(rune: u32) -> bool {
    within(tables::TITLE, rune)
}

/// Whether it is a letter.
pub fn is_letter(rune: u32) -> bool {
    char::from_u32(rune).is_some_and(strconv::is_letter)
}

/// Whether it is a decimal digit.
pub fn is_digit(rune: u32) -> bool {
    char::from_u32(rune).is_some_and(strconv::is_digit)
}

/// Whether it is a number.
pub fn is_number(rune: u32) -> bool {
    within(tables::NUMBER, rune)
}

/// Whether it is punctuation.
pub fn is_punct(rune: u32) -> bool {
    within(tables::PUNCT, rune)
}

/// The rune in upper case.
pub fn to_upper(rune: u32) -> u32 {
    moved(tables::TO_UPPER, rune)
}

/// The rune in lower case.
pub fn to_lower(rune: u32) -> u32 {
    moved(tables::TO_LOWER, rune)
}

/// The rune in title case.
pub fn to_title(rune: u32) -> u32 {
    moved(tables::TO_TITLE, rune)
}

/// The text without the runes at both ends that the predicate holds for.
pub fn trim(text: &[u8], holds: impl Fn(u32) -> bool) -> &[u8] {
    let mut text = text;
    loop {
        let (rune, width) = decode(text);
        if width == 0 || !holds(rune) {
            break;
        }
        text = &text[width..];
    }
    loop {
        let (rune, width) = decode_last(text);
        if width == 0 || !holds(rune) {
            break;
        }
        text = &text[..text.len() - width];
    }
    text
}

/// Where a text stands in another.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    memchr::memmem::find(text, part)
}

/// The parts of a text between separators, at most `limit` of them; an empty separator parts the runes.
pub fn split<'a>(text: &'a [u8], separator: &[u8], limit: Option<usize>) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    let limit = limit.unwrap_or(usize::MAX);
    if limit == 0 {
        return out;
    }
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() {
            if out.len() + 1 == limit {
                out.push(rest);
                return out;
            }
            let (_, width) = decode(rest);
            out.push(&rest[..width]);
            rest = &rest[width..];
        }
        return out;
    }
    while out.len() + 1 < limit {
        let Some(at) = memchr::memmem::find(rest, separator) else {
            break;
        };
        out.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    out.push(rest);
    out
}

/// The text with every occurrence of a part replaced; an empty part stands before each rune and at the end.
pub fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    if old == new {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    if old.is_empty() {
        out.extend_from_slice(new);
        for (at, _, width) in runes(text) {
            out.extend_from_slice(&text[at..at + width]);
            out.extend_from_slice(new);
        }
        return out;
    }
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, old) {
        out.extend_from_slice(&text[from..at]);
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_broken_text_byte_by_byte() {
        assert_eq!(decode(b"\xff"), (RUNE_ERROR, 1));
        assert_eq!(decode("é".as_bytes()), (0xE9, 2));
        assert_eq!(decode(&"é".as_bytes()[..1]), (RUNE_ERROR, 1));
        assert_eq!(decode(b"\xed\xa0\x80"), (RUNE_ERROR, 1));
        assert_eq!(decode_last("aé".as_bytes()), (0xE9, 2));
        assert_eq!(decode_last(b"a\xa9"), (RUNE_ERROR, 1));
    }

    #[test]
    fn cases_are_simple_mappings() {
        assert_eq!(to_upper('ß' as u32), 'ß' as u32);
        assert_eq!(to_upper('ä' as u32), 'Ä' as u32);
        assert_eq!(to_lower('İ' as u32), 'i' as u32);
        assert_eq!(to_title('ǆ' as u32), 'ǅ' as u32);
        assert!(is_upper('Ж' as u32) && !is_upper('ж' as u32));
    }
}
