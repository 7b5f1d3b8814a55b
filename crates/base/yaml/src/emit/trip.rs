//! What becomes of a string on its way through JSON and back, and strings that are not UTF-8.

use std::borrow::Cow;

use base64::Engine as _;

use crate::GoError;

/// A key whose JSON form is longer cannot be read back as one.
const LONGEST_KEY: usize = 1024;

/// Gives what go-yaml version 2 reads from the string's JSON form. Most strings come back as they are.
pub(super) fn through_json(text: &str, key: bool) -> Result<Cow<'_, str>, GoError> {
    if key && text.len() > LONGEST_KEY / 6 && json_length(text) > LONGEST_KEY {
        return Err(GoError::plain("yaml: did not find expected ',' or '}'"));
    }
    // C2 begins U+0080 to U+00BF, EF begins U+F000 to U+FFFF
    let odd = text.bytes().any(|byte| matches!(byte, 0x7f | 0xc2 | 0xef));
    if !odd {
        return Ok(Cow::Borrowed(text));
    }
    let refused =
        |c| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(refused) {
        return Err(GoError::plain("yaml: control characters are not allowed"));
    }
    if !text.contains('\u{85}') {
        return Ok(Cow::Borrowed(text));
    }
    if key {
        return Err(GoError::plain("yaml: did not find expected ',' or '}'"));
    }
    fold(text).map(Cow::Owned)
}

/// U+0085 stands bare in JSON, and breaks a line in YAML.
fn fold(text: &str) -> Result<String, GoError> {
    let mut out = String::with_capacity(text.len());
    let parts: Vec<&str> = text.split('\u{85}').collect();
    let mut breaks = 0;
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let marker = index > 0 && (part.starts_with("---") || part.starts_with("..."));
        if marker && (part[3..].starts_with(' ') || part.len() == 3 && !last) {
            let message = "yaml: found unexpected document indicator";
            return Err(GoError::plain(message));
        }
        let start = if index > 0 {
            part.trim_start_matches(' ')
        } else {
            part
        };
        let inner = if last {
            start
        } else {
            start.trim_end_matches(' ')
        };
        if index > 0 {
            breaks += 1;
        }
        if inner.is_empty() && !last {
            continue;
        }
        match breaks {
            0 => {}
            1 => out.push(' '),
            more => out.extend(std::iter::repeat_n('\n', more - 1)),
        }
        breaks = 0;
        out.push_str(inner);
    }
    Ok(out)
}

/// How many characters Go's JSON form of a string has, quotes included.
fn json_length(text: &str) -> usize {
    let inner: usize = text
        .chars()
        .map(|c| match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
            _ => 1,
        })
        .sum();
    inner + 2
}

/// Replaces each byte that is not part of a character by U+FFFD, as Go's JSON does.
pub(crate) fn valid(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    out
}

/// Base64 as go-yaml lays it out: lines of 70, with a break at the end of each if there are several.
pub(super) fn base64_lines(bytes: &[u8]) -> String {
    let packed = base64::engine::general_purpose::STANDARD.encode(bytes);
    if packed.len() < 70 {
        return packed;
    }
    let mut out = String::with_capacity(packed.len() + packed.len() / 70 + 1);
    for line in packed.as_bytes().chunks(70) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out
}
