//! From bytes to tokens. Trimming happens here: the parser never sees it.

use crate::strconv::{self, decode_rune};
use crate::text::Str;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    // keywords
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Sort {
    fn is_keyword(self) -> bool {
        self as u8 >= Sort::Block as u8
    }
}

/// A token: a piece of the text, or where something is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) sort: Sort,
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) line: usize,
}

pub(crate) struct Lexer {
    input: Str,
    at: usize,
    start: usize,
    at_eof: bool,
    last_width: usize,
    parens: usize,
    line: usize,
    start_line: usize,
    inside: bool,
    failed: bool,
    /// What is wrong, once an error has been found.
    message: Str,
    pub(crate) break_ok: bool,
    pub(crate) continue_ok: bool,
}

const LEFT: &[u8] = b"{{";
const RIGHT: &[u8] = b"}}";

fn is_space(rune: Option<char>) -> bool {
    matches!(rune, Some(' ' | '\t' | '\r' | '\n'))
}

fn is_space_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(rune: Option<char>) -> bool {
    rune.is_some_and(|rune| rune == '_' || strconv::is_letter(rune) || strconv::is_digit(rune))
}

fn has_left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space_byte(*space))
}

fn has_right_trim(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space_byte(*space))
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn find(text: &[u8], pair: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| *byte == pair[0])?;
        if text[at..].starts_with(pair) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn leading_spaces(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_space_byte(**byte)).count()
}

impl Lexer {
    pub(crate) fn new(input: Str, break_ok: bool, continue_ok: bool) -> Self {
        Self {
            input,
            at: 0,
            start: 0,
            at_eof: false,
            last_width: 0,
            parens: 0,
            line: 1,
            start_line: 1,
            inside: false,
            failed: false,
            message: Str::new(),
            break_ok,
            continue_ok,
        }
    }

    /// The piece of the text that a token is.
    pub(crate) fn text_of(&self, token: &Token) -> Str {
        self.input.slice(token.at..token.end)
    }

    /// The same, to look at.
    pub(crate) fn bytes_of(&self, token: &Token) -> &[u8] {
        &self.input[token.at..token.end]
    }

    /// A token as errors print it.
    pub(crate) fn print(&self, token: &Token) -> String {
        let quoted = |text: &[u8]| String::from_utf8_lossy(&strconv::quote(text)).into_owned();
        let text = self.bytes_of(token);
        match token.sort {
            Sort::Eof => "EOF".to_owned(),
            Sort::Error => self.message.to_text().into_owned(),
            sort if sort.is_keyword() => format!("<{}>", String::from_utf8_lossy(text)),
            _ if text.len() > 10 => {
                let mut end = 0;
                for _ in 0..10 {
                    end += decode_rune(&text[end..]).1;
                }
                format!("{}...", quoted(&text[..end]))
            }
            _ => quoted(text),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    fn next(&mut self) -> Option<char> {
        if self.at >= self.input.len() {
            self.at_eof = true;
            return None;
        }
        let (rune, width) = decode_rune(self.rest());
        self.at += width;
        self.last_width = width;
        if rune == '\n' {
            self.line += 1;
        }
        Some(rune)
    }

    fn backup(&mut self) {
        if !self.at_eof && self.at > 0 {
            self.at -= self.last_width;
            if self.input[self.at] == b'\n' {
                self.line -= 1;
            }
        }
    }

    fn peek(&mut self) -> Option<char> {
        let rune = self.next();
        self.backup();
        rune
    }

    fn emit(&mut self, sort: Sort) -> Token {
        let token = Token {
            sort,
            at: self.start,
            end: self.at,
            line: self.start_line,
        };
        self.start = self.at;
        self.start_line = self.line;
        token
    }

    fn ignore(&mut self) {
        self.line += newlines(&self.input[self.start..self.at]);
        self.start = self.at;
        self.start_line = self.line;
    }

    fn accept(&mut self, valid: &[u8]) -> bool {
        match self.next() {
            Some(rune) if rune.is_ascii() && valid.contains(&(rune as u8)) => true,
            _ => {
                self.backup();
                false
            }
        }
    }

    fn accept_run(&mut self, valid: &[u8]) {
        while self.accept(valid) {}
    }

    fn error(&mut self, message: impl Into<Str>) -> Token {
        self.failed = true;
        self.message = message.into();
        Token {
            sort: Sort::Error,
            at: self.start,
            end: self.at,
            line: self.start_line,
        }
    }

    fn bad_character(&mut self, rune: Option<char>) -> Token {
        self.error(format!("bad character {}", unicode(rune)))
    }

    /// The next token.
    pub(crate) fn token(&mut self) -> Token {
        if self.failed {
            // what Go's lexer says when it is asked for more after an error
            let sort = if self.inside {
                self.message = Str::from_static("unclosed action");
                Sort::Error
            } else {
                Sort::Eof
            };
            return Token {
                sort,
                at: 0,
                end: 0,
                line: self.start_line,
            };
        }
        if self.inside {
            self.inside_action()
        } else {
            self.text()
        }
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(found) = find(self.rest(), LEFT) else {
                self.at = self.input.len();
                if self.at > self.start {
                    self.line += newlines(&self.input[self.start..self.at]);
                    return self.emit(Sort::Text);
                }
                return self.emit(Sort::Eof);
            };
            if found > 0 {
                self.at += found;
                let text = &self.input[self.start..self.at];
                let trim = if has_left_trim(&self.input[self.at + LEFT.len()..]) {
                    text.iter()
                        .rev()
                        .take_while(|byte| is_space_byte(**byte))
                        .count()
                } else {
                    0
                };
                self.at -= trim;
                self.line += newlines(&self.input[self.start..self.at]);
                let token = self.emit(Sort::Text);
                self.at += trim;
                self.ignore();
                if token.at < token.end {
                    return token;
                }
            }
            if let Some(token) = self.left_delim() {
                return token;
            }
        }
    }

    /// The left delimiter, or none after a comment.
    fn left_delim(&mut self) -> Option<Token> {
        self.at += LEFT.len();
        let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
        if self.input[self.at + marker..].starts_with(b"/*") {
            self.at += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.emit(Sort::LeftDelim);
        self.inside = true;
        self.at += marker;
        self.ignore();
        self.parens = 0;
        Some(token)
    }

    /// Skips a comment; a token only if something is wrong with it.
    fn comment(&mut self) -> Option<Token> {
        self.at += 2;
        let Some(end) = find(self.rest(), b"*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.at += end + 2;
        let Some(trim) = self.at_right_delim() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.at += RIGHT.len();
        if trim {
            self.at += 2;
            self.at += leading_spaces(self.rest());
        }
        self.ignore();
        None
    }

    /// Whether here is a right delimiter, and whether it trims.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim(rest) && rest[2..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn right_delim(&mut self) -> Token {
        let trim = self.at_right_delim() == Some(true);
        if trim {
            self.at += 2;
            self.ignore();
        }
        self.at += RIGHT.len();
        let token = self.emit(Sort::RightDelim);
        if trim {
            self.at += leading_spaces(self.rest());
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        if self.at_right_delim().is_some() {
            if self.parens == 0 {
                return self.right_delim();
            }
            return self.error("unclosed left paren");
        }
        let Some(rune) = self.next() else {
            return self.error("unclosed action");
        };
        match rune {
            ' ' | '\t' | '\r' | '\n' => {
                self.backup();
                self.space()
            }
            '=' => self.emit(Sort::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return self.error("expected :=");
                }
                self.emit(Sort::Declare)
            }
            '|' => self.emit(Sort::Pipe),
            '"' => self.quoted('"', "unterminated quoted string", Sort::String),
            '`' => self.raw_string(),
            '$' => {
                if self.at_terminator() {
                    return self.emit(Sort::Variable);
                }
                self.field_or_variable(Sort::Variable)
            }
            '\'' => self.quoted('\'', "unterminated character constant", Sort::CharConstant),
            '.' if self
                .rest()
                .first()
                .is_some_and(|byte| !byte.is_ascii_digit()) =>
            {
                self.field_or_variable(Sort::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.backup();
                self.number()
            }
            _ if is_alphanumeric(Some(rune)) => {
                self.backup();
                self.identifier()
            }
            '(' => {
                self.parens += 1;
                self.emit(Sort::LeftParen)
            }
            ')' => {
                if self.parens == 0 {
                    return self.error("unexpected right paren");
                }
                self.parens -= 1;
                self.emit(Sort::RightParen)
            }
            ' '..='~' => self.emit(Sort::Char),
            _ => self.error(format!(
                "unrecognized character in action: {}",
                unicode(Some(rune))
            )),
        }
    }

    fn space(&mut self) -> Token {
        let mut count = 0;
        while is_space(self.peek()) {
            self.next();
            count += 1;
        }
        let before = &self.input[self.at - 1..];
        if has_right_trim(before) && before[2..].starts_with(RIGHT) {
            self.last_width = 1;
            self.backup();
            if count == 1 {
                return self.right_delim();
            }
        }
        self.emit(Sort::Space)
    }

    fn identifier(&mut self) -> Token {
        let mut rune = self.next();
        while is_alphanumeric(rune) {
            rune = self.next();
        }
        self.backup();
        if !self.at_terminator() {
            return self.bad_character(rune);
        }
        let sort = match &self.input[self.start..self.at] {
            b"block" => Sort::Block,
            b"break" if self.break_ok => Sort::Break,
            b"continue" if self.continue_ok => Sort::Continue,
            b"define" => Sort::Define,
            b"else" => Sort::Else,
            b"end" => Sort::End,
            b"if" => Sort::If,
            b"range" => Sort::Range,
            b"nil" => Sort::Nil,
            b"template" => Sort::Template,
            b"with" => Sort::With,
            b"true" | b"false" => Sort::Bool,
            _ => Sort::Identifier,
        };
        self.emit(sort)
    }

    fn field_or_variable(&mut self, sort: Sort) -> Token {
        if self.at_terminator() {
            return self.emit(if sort == Sort::Variable {
                sort
            } else {
                Sort::Dot
            });
        }
        let mut rune = self.next();
        while is_alphanumeric(rune) {
            rune = self.next();
        }
        self.backup();
        if !self.at_terminator() {
            return self.bad_character(rune);
        }
        self.emit(sort)
    }

    fn at_terminator(&mut self) -> bool {
        let rune = self.peek();
        is_space(rune)
            || matches!(rune, None | Some('.' | ',' | '|' | ':' | ')' | '('))
            || self.rest().starts_with(RIGHT)
    }

    fn quoted(&mut self, quote: char, unterminated: &'static str, sort: Sort) -> Token {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(rune) if rune == quote => return self.emit(sort),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Token {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.emit(Sort::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || self.input[self.at - 1] != b'i' {
                return self.bad_number();
            }
            return self.emit(Sort::Complex);
        }
        self.emit(Sort::Number)
    }

    fn bad_number(&mut self) -> Token {
        let text = strconv::quote(&self.input[self.start..self.at]);
        self.error(format!(
            "bad number syntax: {}",
            String::from_utf8_lossy(&text)
        ))
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &[u8] = b"0123456789_";
        const HEX: &[u8] = b"0123456789abcdefABCDEF_";
        self.accept(b"+-");
        let mut digits = DECIMAL;
        if self.accept(b"0") {
            if self.accept(b"xX") {
                digits = HEX;
            } else if self.accept(b"oO") {
                digits = b"01234567_";
            } else if self.accept(b"bB") {
                digits = b"01_";
            }
        }
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        if digits.len() == DECIMAL.len() && self.accept(b"eE") {
            self.accept(b"+-");
            self.accept_run(DECIMAL);
        }
        if digits.len() == HEX.len() && self.accept(b"pP") {
            self.accept(b"+-");
            self.accept_run(DECIMAL);
        }
        self.accept(b"i");
        if is_alphanumeric(self.peek()) {
            self.next();
            return false;
        }
        true
    }
}

/// A rune as `%#U` prints it.
fn unicode(rune: Option<char>) -> String {
    let Some(rune) = rune else {
        return "U+FFFFFFFFFFFFFFFF".to_owned();
    };
    let code = u32::from(rune);
    if strconv::is_print(rune) {
        format!("U+{code:04X} '{rune}'")
    } else {
        format!("U+{code:04X}")
    }
}
