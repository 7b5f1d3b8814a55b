//! The pieces of a TOML text, each with its line; the words of the errors are the library's.

use crate::go::strconv::{quote, quote_rune};
use crate::go::unicode::{RUNE_ERROR, decode, is_letter, push};

/// A mistake and the line it is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bad {
    pub(super) line: usize,
    pub(super) message: String,
}

/// A value that is one word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    String(Vec<u8>),
    Integer(Vec<u8>),
    Float(Vec<u8>),
    Bool(bool),
    Time(Vec<u8>),
}

/// Where reading stands. Texts end in `None`.
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) line: usize,
}

type Rune = Option<u32>;

fn is(rune: Rune, letter: char) -> bool {
    rune == Some(u32::from(letter))
}

fn shown(rune: Rune) -> String {
    quote_rune(rune.unwrap_or(0))
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Lexer {
            text,
            at: 0,
            line: 1,
        }
    }

    pub(super) fn bad<T>(&self, message: impl Into<String>) -> Result<T, Bad> {
        let mut line = self.line;
        if self.at >= self.text.len() && self.text.last() == Some(&b'\n') {
            line = line.saturating_sub(1).max(1);
        }
        Err(Bad {
            line,
            message: message.into(),
        })
    }

    /// A mistake after a rune that was read: only an end that was read counts for the line before.
    pub(super) fn bad_after<T>(&self, rune: Rune, message: String) -> Result<T, Bad> {
        if rune.is_none() {
            return self.bad(message);
        }
        Err(Bad {
            line: self.line,
            message,
        })
    }

    fn bad_line_before<T>(&self, message: impl Into<String>) -> Result<T, Bad> {
        Err(Bad {
            line: self.line.saturating_sub(1),
            message: message.into(),
        })
    }

    /// The next rune, which must be one that may stand in TOML.
    pub(super) fn peek(&self) -> Result<Rune, Bad> {
        let (rune, width) = decode(&self.text[self.at..]);
        match width {
            0 => Ok(None),
            1 if rune == RUNE_ERROR => {
                self.bad(format!("invalid UTF-8 byte: 0x{:02x}", self.text[self.at]))
            }
            _ => {
                let control = rune < 0x20 && !matches!(rune, 9 | 10 | 13) || rune == 0x7F;
                let lone = rune == 13 && self.text.get(self.at + 1) != Some(&b'\n');
                if control || lone {
                    return self.bad(format!(
                        "TOML files cannot contain control characters: '0x{rune:02x}'"
                    ));
                }
                Ok(Some(rune))
            }
        }
    }

    pub(super) fn next(&mut self) -> Result<Rune, Bad> {
        let rune = self.peek()?;
        if rune == Some(10) {
            self.line += 1;
        }
        self.at += decode(&self.text[self.at..]).1;
        Ok(rune)
    }

    pub(super) fn accept(&mut self, letter: char) -> Result<bool, Bad> {
        if is(self.peek()?, letter) {
            self.next()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Skips blanks; with `lines`, ends of lines as well.
    pub(super) fn blank(&mut self, lines: bool) -> Result<(), Bad> {
        while let Some(rune) = self.peek()? {
            match rune {
                9 | 0x20 => {}
                10 | 13 if lines => {}
                _ => break,
            }
            self.next()?;
        }
        Ok(())
    }

    /// Skips blanks, ends of lines and comments.
    pub(super) fn filler(&mut self) -> Result<(), Bad> {
        loop {
            self.blank(true)?;
            if !is(self.peek()?, '#') {
                return Ok(());
            }
            self.comment()?;
        }
    }

    fn comment(&mut self) -> Result<(), Bad> {
        while !matches!(self.peek()?, None | Some(10 | 13)) {
            self.next()?;
        }
        Ok(())
    }

    /// What must stand after an item at the top: a comment, the end of the line or of the text.
    pub(super) fn end_of_item(&mut self) -> Result<(), Bad> {
        self.blank(false)?;
        match self.peek()? {
            None | Some(10 | 13) => Ok(()),
            Some(0x23) => self.comment(),
            other => {
                self.next()?;
                self.bad(format!(
                    "expected a top-level item to end with a newline, comment, or EOF, but got {} instead",
                    shown(other)
                ))
            }
        }
    }

    /// One part of a key, bare or quoted.
    fn key_part(&mut self) -> Result<Vec<u8>, Bad> {
        match self.peek()? {
            Some(0x22) => {
                self.next()?;
                self.string()
            }
            Some(0x27) => {
                self.next()?;
                self.raw_string()
            }
            _ => {
                let from = self.at;
                let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
                while self.text.get(self.at).is_some_and(bare) {
                    self.at += 1;
                }
                Ok(self.text[from..self.at].to_vec())
            }
        }
    }

    /// A key with its dots, up to and with `=`.
    pub(super) fn key(&mut self) -> Result<Vec<Vec<u8>>, Bad> {
        self.blank(false)?;
        match self.peek()? {
            None | Some(0x3D) => return self.bad("unexpected '=': key name appears blank"),
            Some(0x2E) => return self.bad("unexpected '.': keys cannot start with a '.'"),
            _ => {}
        }
        let mut parts = Vec::new();
        loop {
            self.blank(false)?;
            match self.peek()? {
                None | Some(0x3D) => return self.bad("unexpected '='"),
                Some(0x2E) => return self.bad("unexpected '.'"),
                _ => parts.push(self.key_part()?),
            }
            self.blank(false)?;
            match self.next()? {
                Some(0x2E) => {}
                Some(0x3D) => return Ok(parts),
                None => return self.bad("unexpected EOF; expected key separator '='"),
                other => {
                    let message = format!("expected '.' or '=', but got {} instead", shown(other));
                    return if other == Some(10) {
                        self.bad_line_before(message)
                    } else {
                        self.bad(message)
                    };
                }
            }
        }
    }

    /// The name of a table, up to and with `]`.
    pub(super) fn table_name(&mut self) -> Result<Vec<Vec<u8>>, Bad> {
        let mut parts = Vec::new();
        loop {
            self.blank(false)?;
            match self.peek()? {
                None | Some(0x5D) => {
                    return self.bad("unexpected end of table name (table names cannot be empty)");
                }
                Some(0x2E) => {
                    return self.bad("unexpected table separator (table names cannot be empty)");
                }
                _ => parts.push(self.key_part()?),
            }
            self.blank(false)?;
            match self.next()? {
                Some(0x2E) => {}
                Some(0x5D) => return Ok(parts),
                other => {
                    return self.bad_after(
                        other,
                        format!(
                            "expected '.' or ']' to end table name, but got {} instead",
                            shown(other)
                        ),
                    );
                }
            }
        }
    }

    /// A string after its first quote.
    fn string(&mut self) -> Result<Vec<u8>, Bad> {
        let mut out = Vec::new();
        loop {
            match self.next()? {
                None => return self.bad("unexpected EOF; expected '\"'"),
                Some(10 | 13) => {
                    let message = "strings cannot contain newlines";
                    return self.bad_line_before(message);
                }
                Some(0x22) => return Ok(out),
                Some(0x5C) => self.escape(&mut out)?,
                Some(rune) => push(&mut out, rune),
            }
        }
    }

    fn raw_string(&mut self) -> Result<Vec<u8>, Bad> {
        let from = self.at;
        loop {
            match self.next()? {
                None => return self.bad("unexpected EOF; expected \"'\""),
                Some(10 | 13) => {
                    return self.bad_line_before("strings cannot contain newlines");
                }
                Some(0x27) => return Ok(self.text[from..self.at - 1].to_vec()),
                Some(_) => {}
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Bad> {
        let from = self.at - 1;
        let rune = self.next()?;
        let letter = rune.and_then(char::from_u32).unwrap_or('\0');
        let plain = match letter {
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            'e' => 27,
            '"' | '\\' => letter as u8,
            _ => 0,
        };
        if plain != 0 {
            out.push(plain);
            return Ok(());
        }
        let digits = match letter {
            ' ' | '\t' => return self.bad(format!("invalid escape: '\\{letter}'")),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return self.bad(format!("invalid escape in string '\\{letter}'")),
        };
        let mut value = 0_u32;
        for _ in 0..digits {
            let rune = self.next()?;
            let digit = rune.and_then(char::from_u32).and_then(|r| r.to_digit(16));
            let Some(digit) = digit else {
                let count = match digits {
                    2 => "two",
                    4 => "four",
                    _ => "eight",
                };
                return self.bad(format!(
                    "expected {count} hexadecimal digits after '\\{letter}', but got {} instead",
                    quote(&self.text[from..self.at])
                ));
            };
            value = value << 4 | digit;
        }
        if char::from_u32(value).is_none() {
            let digits = String::from_utf8_lossy(&self.text[self.at - digits..self.at]);
            return self.bad(format!(
                "Escaped character '\\u{digits}' is not valid UTF-8."
            ));
        }
        push(out, value);
        Ok(())
    }

    /// A string over many lines, after its three quotes.
    fn long_string(&mut self) -> Result<Vec<u8>, Bad> {
        self.skip_first_newline();
        let mut out = Vec::new();
        loop {
            match self.next()? {
                None => return self.bad("unexpected EOF; expected '\"\"\"'"),
                Some(0x22) => {
                    if let Some(quotes) = self.closing('"')? {
                        out.extend(vec![b'"'; quotes]);
                        return Ok(out);
                    }
                    out.push(b'"');
                }
                Some(0x5C) => {
                    let rest = &self.text[self.at..];
                    let blanks = rest.iter().take_while(|b| b" \t\r\n".contains(b)).count();
                    if rest[..blanks].contains(&b'\n') {
                        self.blank(true)?;
                    } else {
                        self.escape(&mut out)?;
                    }
                }
                Some(rune) => push(&mut out, rune),
            }
        }
    }

    fn long_raw_string(&mut self) -> Result<Vec<u8>, Bad> {
        self.skip_first_newline();
        let mut out = Vec::new();
        loop {
            match self.next()? {
                None => return self.bad("unexpected EOF; expected \"'''\""),
                Some(0x27) => {
                    if let Some(quotes) = self.closing('\'')? {
                        out.extend(vec![b'\''; quotes]);
                        return Ok(out);
                    }
                    out.push(b'\'');
                }
                Some(rune) => push(&mut out, rune),
            }
        }
    }

    fn skip_first_newline(&mut self) {
        let rest = &self.text[self.at..];
        let skipped = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return,
        };
        self.at += skipped;
        self.line += 1;
    }

    /// After one quote: if two more close the string, how many of those that follow belong to it.
    fn closing(&mut self, mark: char) -> Result<Option<usize>, Bad> {
        let rest = &self.text[self.at..];
        let more = rest.iter().take_while(|b| char::from(**b) == mark).count();
        if more < 2 {
            return Ok(None);
        }
        if more > 4 {
            let six = String::from(mark).repeat(6);
            let outer = if mark == '"' { '\'' } else { '"' };
            return self.bad(format!("unexpected {outer}{six}{outer}"));
        }
        self.at += more;
        Ok(Some(more - 2))
    }

    /// A value that is neither array nor inline table.
    pub(super) fn word(&mut self) -> Result<Word, Bad> {
        let rune = self.peek()?;
        let letter = rune.and_then(char::from_u32).unwrap_or('\0');
        match letter {
            '"' | '\'' => {
                let raw = letter == '\'';
                let long = self.text[self.at..].starts_with(if raw { b"'''" } else { b"\"\"\"" });
                self.at += if long { 3 } else { 1 };
                match (raw, long) {
                    (false, false) => self.string(),
                    (false, true) => self.long_string(),
                    (true, false) => self.raw_string(),
                    (true, true) => self.long_raw_string(),
                }
                .map(Word::String)
            }
            '0'..='9' => self.number_or_date(),
            '+' | '-' => self.signed(),
            '.' => self.bad("floats must start with a digit, not '.'"),
            _ if self.text[self.at..].starts_with(b"inf")
                || self.text[self.at..].starts_with(b"nan") =>
            {
                self.at += 3;
                Ok(Word::Float(self.text[self.at - 3..self.at].to_vec()))
            }
            _ if rune.is_some_and(is_letter) => {
                let from = self.at;
                while self.peek()?.is_some_and(is_letter) {
                    self.next()?;
                }
                match &self.text[from..self.at] {
                    b"true" => Ok(Word::Bool(true)),
                    b"false" => Ok(Word::Bool(false)),
                    other => {
                        let message = format!("expected value but found {} instead", quote(other));
                        self.bad(message)
                    }
                }
            }
            _ if rune.is_none() => self.bad("unexpected EOF; expected value"),
            _ => {
                self.next()?;
                let message = format!("expected value but found {} instead", shown(rune));
                if rune == Some(10) {
                    self.bad_line_before(message)
                } else {
                    self.bad(message)
                }
            }
        }
    }

    fn signed(&mut self) -> Result<Word, Bad> {
        let from = self.at;
        self.at += 1;
        let rest = &self.text[self.at..];
        if rest.starts_with(b"inf") || rest.starts_with(b"nan") {
            self.at += 3;
            return Ok(Word::Float(self.text[from..self.at].to_vec()));
        }
        let rune = self.next()?;
        match rune.and_then(char::from_u32).unwrap_or('\0') {
            letter @ ('i' | 'n') => {
                // The library reads on as long as the word could become one.
                let word: &[u8] = if letter == 'i' { b"inf" } else { b"nan" };
                if self.text.get(self.at) == word.get(1) {
                    self.at += 1;
                }
                let text = String::from_utf8_lossy(&self.text[from..self.at]).into_owned();
                self.bad(format!("invalid float: '{text}'"))
            }
            '0' if matches!(self.text.get(self.at), Some(b'b' | b'o' | b'x')) => {
                let text = String::from_utf8_lossy(&self.text[from..=self.at]).into_owned();
                self.bad(format!(
                    "cannot use sign with non-decimal numbers: '{text}'"
                ))
            }
            '.' => self.bad("floats must start with a digit, not '.'"),
            '0'..='9' => Ok(self.decimal(from)),
            _ => self.bad(format!("expected a digit but got {}", shown(rune))),
        }
    }

    fn while_bytes(&mut self, fits: impl Fn(u8) -> bool) {
        while self.text.get(self.at).is_some_and(|byte| fits(*byte)) {
            self.at += 1;
        }
    }

    fn decimal(&mut self, from: usize) -> Word {
        self.while_bytes(|byte| byte.is_ascii_digit() || byte == b'_');
        if matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E')) {
            self.while_bytes(|byte| byte.is_ascii_digit() || b"_.-+eE".contains(&byte));
            return Word::Float(self.text[from..self.at].to_vec());
        }
        Word::Integer(self.text[from..self.at].to_vec())
    }

    fn number_or_date(&mut self) -> Result<Word, Bad> {
        let from = self.at;
        if self.text[self.at] == b'0' {
            let (name, radix) = match self.text.get(self.at + 1) {
                Some(b'b') => ("a binary", 2),
                Some(b'o') => ("an octal", 8),
                Some(b'x') => ("a hexadecimal", 16),
                _ => ("", 0),
            };
            if radix > 0 {
                self.at += 2;
                let rune = self.peek()?;
                let digit = rune.and_then(char::from_u32).unwrap_or('\0');
                if !digit.is_digit(radix) {
                    let text = String::from_utf8_lossy(&self.text[from..self.at]).into_owned();
                    return self.bad(format!("not {name} number: '{text}{digit}'"));
                }
                self.while_bytes(|byte| char::from(byte).is_digit(radix) || byte == b'_');
                return Ok(Word::Integer(self.text[from..self.at].to_vec()));
            }
        }
        self.while_bytes(|byte| byte.is_ascii_digit());
        if matches!(self.text.get(self.at), Some(b'-' | b':')) && self.at - from > 1 {
            self.while_bytes(|byte| byte.is_ascii_digit() || b"-:Tt .Zz+".contains(&byte));
            let found = self.text[from..self.at].trim_ascii().to_vec();
            return Ok(Word::Time(found));
        }
        Ok(self.decimal(from))
    }
}
