//! From bytes to text, with go-yaml's refusals.

use std::borrow::Cow;

use crate::GoError;

/// A text, and what stands behind its end that is none.
pub(crate) struct Input<'b> {
    pub(crate) text: Cow<'b, str>,
    pub(crate) bad: Option<Bad>,
}

impl Input<'_> {
    /// Complains about what stands behind the text, if go-yaml came to look at it.
    pub(crate) fn check(&self, position: usize) -> Result<(), GoError> {
        match self.bad {
            Some(bad) if position + LOOK_AHEAD > bad.noticed => {
                let line = self.text.matches('\n').count() + 1;
                let last = self.text.rsplit('\n').next();
                let column = last.map_or(0, |last| last.chars().count()) + 1;
                Err(GoError::at(format!("yaml: {}", bad.problem), line, column))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bad {
    /// go-yaml finds it when it looks at this byte of the text, or at a later one.
    pub(crate) noticed: usize,
    pub(crate) problem: &'static str,
}

const CONTROL: &str = "control characters are not allowed";
/// go-yaml reads so many bytes at once.
const CHUNK: usize = 512;
/// It looks so far beyond the place where it is.
const LOOK_AHEAD: usize = 4;

/// Takes off a mark of byte order, reads UTF-16 where one says so, and ends the text at the first bad character.
pub(crate) fn read(bytes: &[u8]) -> Input<'_> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest, 3),
        _ => utf8(bytes, 0),
    }
}

fn utf8(bytes: &[u8], skipped: usize) -> Input<'_> {
    let (text, broken) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let (good, rest) = bytes.split_at(error.valid_up_to());
            (std::str::from_utf8(good).unwrap_or_default(), Some(rest))
        }
    };
    let (text, problem) = match find_control(text) {
        Some(at) => (&text[..at], Some(CONTROL)),
        None => (text, broken.map(broken_utf8)),
    };
    let bad = problem.map(|problem| Bad {
        noticed: chunk_start(bytes, skipped, text.len()),
        problem,
    });
    Input {
        text: Cow::Borrowed(text),
        bad,
    }
}

/// Where the chunk begins that a byte is read with.
fn chunk_start(bytes: &[u8], skipped: usize, bad: usize) -> usize {
    let mut start = 0;
    let mut end = CHUNK - skipped;
    loop {
        // a character that does not end in a chunk is left for the next one
        let mut whole = end.min(bytes.len());
        while whole > start && whole < bytes.len() && bytes[whole] & 0xc0 == 0x80 {
            whole -= 1;
        }
        if bad < whole || whole >= bytes.len() || whole == start {
            return start;
        }
        start = whole;
        end = whole + CHUNK;
    }
}

fn broken_utf8(rest: &[u8]) -> &'static str {
    let width = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => return "invalid leading UTF-8 octet",
    };
    let Some(bytes) = rest.get(..width) else {
        return "incomplete UTF-8 octet sequence";
    };
    if bytes[1..].iter().any(|b| b & 0xc0 != 0x80) {
        return "invalid trailing UTF-8 octet";
    }
    match bytes {
        [0xc0 | 0xc1, ..] | [0xe0, 0x80..=0x9f, ..] | [0xf0, 0x80..=0x8f, ..] => {
            "invalid length of a UTF-8 sequence"
        }
        _ => "invalid Unicode character",
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Input<'static> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut out = String::with_capacity(pairs.len() + pairs.len() / 2);
    let mut problem = (!rest.is_empty()).then_some("incomplete UTF-16 character");
    for c in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match c {
            Ok(c) => out.push(c),
            Err(error) => {
                problem = Some(if error.unpaired_surrogate() >= 0xdc00 {
                    "unexpected low surrogate area"
                } else {
                    "expected low surrogate area"
                });
                break;
            }
        }
    }
    if let Some(at) = find_control(&out) {
        out.truncate(at);
        problem = Some(CONTROL);
    }
    Input {
        bad: problem.map(|problem| Bad {
            noticed: out.len().saturating_sub(CHUNK / 2),
            problem,
        }),
        text: Cow::Owned(out),
    }
}

/// The first character that YAML does not allow.
pub(crate) fn find_control(text: &str) -> Option<usize> {
    let suspicious = |b: u8| {
        (b < 0x20) & (b != b'\t') & (b != b'\n') & (b != b'\r')
            | (b == 0x7f)
            | (b == 0xc2)
            | (b == 0xef)
    };
    let found = text
        .as_bytes()
        .chunks(64)
        .position(|chunk| chunk.iter().fold(false, |any, b| any | suspicious(*b)));
    let mut from = found? * 64;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let refused = |c| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    };
    text[from..].find(refused).map(|at| from + at)
}
