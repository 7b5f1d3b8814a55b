//! Words and their cases, as the libraries behind Sprig (goutils, xstrings) part them, oddities included: some of them go
//! by bytes.

use crate::go::unicode::{
    self, is_digit, is_letter, is_lower, is_number, is_punct, is_space, is_title, is_upper, push,
    runes, to_lower, to_title, to_upper,
};

/// Shortens a text to a width with dots at its end, and at its start if what is left of `offset` is cut.
pub(crate) fn abbreviate(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = text.len() as i64;
    if text.is_empty() || width < 4 {
        return Vec::new();
    }
    if length <= width {
        return text.to_vec();
    }
    let mut offset = offset.min(length);
    // wraps where Go wraps
    if length.wrapping_sub(offset) < width - 3 {
        offset = length - (width - 3);
    }
    if offset <= 4 {
        return [&text[..(width - 3) as usize], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < length {
        let rest = abbreviate(&text[offset as usize..], 0, width - 3);
        return [b"...", &rest[..]].concat();
    }
    [b"...", &text[(length - (width - 3)) as usize..]].concat()
}

/// Every word with its first letter in title case.
pub(crate) fn title(text: &[u8]) -> Vec<u8> {
    let mut last = u32::from(b' ');
    unicode::map(text, |rune| {
        let starts = separates(last);
        last = rune;
        if starts { to_title(rune) } else { rune }
    })
}

fn separates(rune: u32) -> bool {
    if let Some(letter) = char::from_u32(rune).filter(char::is_ascii) {
        return !letter.is_ascii_alphanumeric() && letter != '_';
    }
    !is_letter(rune) && !is_digit(rune) && is_space(rune)
}

/// Every word with its first letter in lower case.
pub(crate) fn untitle(text: &[u8]) -> Vec<u8> {
    let mut starts = true;
    unicode::map(text, |rune| {
        if is_space(rune) {
            starts = true;
            return rune;
        }
        let first = std::mem::take(&mut starts);
        if first { to_lower(rune) } else { rune }
    })
}

/// The text without white space. Where there is some, bytes are taken for runes, so text beyond ASCII is garbled.
pub(crate) fn without_space(text: &[u8]) -> Vec<u8> {
    if !text.iter().any(|byte| is_space(u32::from(*byte))) {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if !is_space(u32::from(*byte)) {
            push(&mut out, u32::from(*byte));
        }
    }
    out
}

/// The first byte of each word, taken for a rune.
pub(crate) fn initials(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut starts = true;
    for byte in text {
        let rune = u32::from(*byte);
        if is_space(rune) {
            starts = true;
        } else if std::mem::take(&mut starts) {
            push(&mut out, rune);
        }
    }
    out
}

/// Upper case to lower and lower to upper; the first letter of a word to title case.
pub(crate) fn swap_case(text: &[u8]) -> Vec<u8> {
    let mut starts = true;
    unicode::map(text, |rune| {
        if is_upper(rune) || is_title(rune) {
            starts = false;
            to_lower(rune)
        } else if is_lower(rune) {
            if std::mem::take(&mut starts) {
                to_title(rune)
            } else {
                to_upper(rune)
            }
        } else {
            starts = is_space(rune);
            rune
        }
    })
}

fn connects(rune: u32) -> bool {
    rune == u32::from(b'-') || rune == u32::from(b'_') || is_space(rune)
}

/// Words run together, each with its first letter in upper case. Connectors at the start stay.
pub(crate) fn pascal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut all = runes(text).map(|(_, rune, _)| rune);
    let mut current = 0;
    let mut first_upper = false;
    for rune in all.by_ref() {
        current = rune;
        if !connects(rune) {
            first_upper = is_upper(rune);
            current = to_upper(rune);
            break;
        }
        push(&mut out, rune);
    }
    if text.is_empty() {
        return out;
    }
    // A text of connectors alone has its last one twice.
    for rune in all {
        let last = std::mem::replace(&mut current, rune);
        if connects(rune) && connects(last) {
            push(&mut out, last);
            continue;
        }
        if connects(last) {
            first_upper = is_upper(rune);
            current = to_upper(rune);
            continue;
        }
        if first_upper {
            if is_upper(rune) {
                current = to_lower(rune);
            } else {
                first_upper = false;
            }
        }
        push(&mut out, last);
    }
    push(&mut out, current);
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Invalid,
    Number,
    Upper,
    Letters,
    Connector,
    Punct,
    Other,
}

/// A letter of a script that has cases or could have: not one of the East Asian ideographs.
fn is_cased_script(rune: u32) -> bool {
    is_letter(rune) && !matches!(rune, 0x4E00..=0x9FCC | 0x3400..=0x4D85 | 0x2_0000..=0x2_B81D)
}

/// The next rune that is no U+FFFD, with all the bytes up to its end; past the end it is the one before.
fn next_valid(text: &[u8], before: u32) -> (u32, usize) {
    let mut size = 0;
    for (_, rune, width) in runes(text) {
        size += width;
        if rune != unicode::RUNE_ERROR {
            return (rune, size);
        }
    }
    (before, size)
}

/// Takes the word that a text starts with.
fn next_word(text: &[u8]) -> (Word, &[u8], &[u8]) {
    if text.is_empty() {
        return (Word::Invalid, b"", b"");
    }
    let (first, mut end) = next_valid(text, unicode::RUNE_ERROR);
    if first == unicode::RUNE_ERROR {
        return (Word::Invalid, &text[..end], &text[end..]);
    }
    // Takes runes as long as they fit, and says which one did not.
    let take = |end: &mut usize, last: u32, fits: &dyn Fn(u32) -> bool| -> (u32, usize) {
        let (mut last, mut width) = (last, 0);
        while *end < text.len() {
            let (rune, size) = next_valid(&text[*end..], last);
            last = rune;
            if !fits(rune) {
                break;
            }
            width = size;
            *end += size;
        }
        (last, width)
    };
    let lower = |rune: u32| is_cased_script(rune) && !is_upper(rune);
    let word = if connects(first) {
        take(&mut end, first, &connects);
        Word::Connector
    } else if is_punct(first) {
        take(&mut end, first, &is_punct);
        Word::Punct
    } else if is_upper(first) {
        if end < text.len() {
            let (second, size) = next_valid(&text[end..], first);
            if is_upper(second) {
                end += size;
                let (stopped, width) = take(&mut end, second, &is_upper);
                let last = if width == 0 { size } else { width };
                // The last upper case letter belongs to the word that it begins.
                if end < text.len() && is_cased_script(stopped) {
                    end -= last;
                }
            } else if is_cased_script(second) {
                end += size;
                take(&mut end, second, &lower);
            }
        }
        Word::Upper
    } else if is_cased_script(first) {
        take(&mut end, first, &lower);
        Word::Letters
    } else if is_number(first) {
        take(&mut end, first, &is_number);
        Word::Number
    } else {
        let other = |rune: u32| {
            !connects(rune) && !is_cased_script(rune) && !is_number(rune) && !is_punct(rune)
        };
        take(&mut end, first, &other);
        Word::Other
    };
    (word, &text[..end], &text[end..])
}

fn append_lower(out: &mut Vec<u8>, kind: Word, word: &[u8], connector: u8) {
    if !matches!(kind, Word::Upper | Word::Connector) {
        out.extend_from_slice(word);
        return;
    }
    for (_, rune, _) in runes(word) {
        if connects(rune) {
            out.push(connector);
        } else {
            push(out, to_lower_if_upper(rune));
        }
    }
}

fn to_lower_if_upper(rune: u32) -> u32 {
    if is_upper(rune) { to_lower(rune) } else { rune }
}

/// Words in lower case with a connector between them. Numbers mostly belong to the word before.
pub(crate) fn separated(text: &[u8], connector: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    if text.is_empty() {
        return out;
    }
    let plain = |kind: Word| matches!(kind, Word::Letters | Word::Number);
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Word::Connector {
            append_lower(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Word::Number => {
                while plain(kind) {
                    append_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::Invalid | Word::Punct | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => append_lower(&mut out, before, last, connector),
            Word::Punct => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punct) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind != Word::Letters {
                    append_lower(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punct) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                append_lower(&mut out, Word::Number, number, connector);
                while plain(kind) {
                    append_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::Invalid | Word::Connector | Word::Punct) {
                    out.push(connector);
                }
            }
        }
    }
    append_lower(&mut out, kind, word, connector);
    out
}

/// Breaks lines at spaces, counting bytes; words that are too long are broken only if `long` is set.
pub(crate) fn wrap(text: &[u8], width: i64, line_break: &[u8], long: bool) -> Vec<u8> {
    let line_break = if line_break.is_empty() {
        b"\n"
    } else {
        line_break
    };
    let width = usize::try_from(width.max(1)).unwrap_or(1);
    let mut out = Vec::with_capacity(text.len() + text.len() / width);
    let mut rest = text;
    while rest.len() > width {
        if rest[0] == b' ' {
            rest = &rest[1..];
            continue;
        }
        if let Some(space) = rest[..=width].iter().rposition(|byte| *byte == b' ') {
            out.extend_from_slice(&rest[..space]);
            out.extend_from_slice(line_break);
            rest = &rest[space + 1..];
        } else if long {
            out.extend_from_slice(&rest[..width]);
            out.extend_from_slice(line_break);
            rest = &rest[width..];
        } else if let Some(space) = rest[width..].iter().position(|byte| *byte == b' ') {
            out.extend_from_slice(&rest[..width + space]);
            out.extend_from_slice(line_break);
            rest = &rest[width + space + 1..];
        } else {
            out.extend_from_slice(rest);
            rest = b"";
        }
    }
    out.extend_from_slice(rest);
    out
}
