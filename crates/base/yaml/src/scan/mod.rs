//! From text to tokens, by libyaml's rules as go-yaml has them.
//!
//! Tokens borrow from the text where they can, and carry their style and both of their marks.

mod scalar;
mod tag;
mod token;

use std::collections::VecDeque;

pub(crate) use token::{Mark, Style, Tag, Tok, Token};

use crate::problem::{Problem, Result};
use crate::resolve::Stack;

/// A simple key is no longer than this, in characters.
const SIMPLE_KEY: u32 = 1024;
/// go-yaml's bound for brackets and for indents.
const MAX_LEVELS: usize = 10_000;

pub(crate) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    stack: Stack,
    at: usize,
    mark: Mark,
    tokens: VecDeque<Token<'t>>,
    /// How many tokens were taken.
    taken: usize,
    available: bool,
    indent: i32,
    indents: Vec<i32>,
    flow: usize,
    key_allowed: bool,
    /// One for each level of brackets.
    keys: Vec<SimpleKey>,
    /// Which key a token may begin, by the token's number; numbers grow.
    keys_by_token: VecDeque<(usize, usize)>,
    started: bool,
}

#[derive(Clone, Copy)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str, stack: Stack) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            stack,
            at: 0,
            mark: Mark::default(),
            tokens: VecDeque::with_capacity(16),
            taken: 0,
            available: false,
            indent: -1,
            indents: Vec::new(),
            flow: 0,
            key_allowed: false,
            keys: Vec::new(),
            keys_by_token: VecDeque::new(),
            started: false,
        }
    }

    /// How far the text was looked at, in bytes.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next token, which stays.
    pub(crate) fn peek(&mut self) -> Result<&Token<'t>> {
        if !self.available {
            self.fetch_more()?;
            self.available = true;
        }
        // a scan that succeeded left one
        match self.tokens.front() {
            Some(token) => Ok(token),
            None => Err(Problem::other("no token is left")),
        }
    }

    /// The next token, after which another comes.
    pub(crate) fn next(&mut self) -> Result<Token<'t>> {
        self.peek()?;
        self.available = false;
        self.taken += 1;
        self.tokens
            .pop_front()
            .ok_or_else(|| Problem::other("no token is left"))
    }

    fn fetch_more(&mut self) -> Result<()> {
        let enough = match self.stack {
            Stack::V2 => 1,
            // version 3 looks for comments further ahead
            Stack::V3 => 3,
        };
        loop {
            if self.tokens.len() >= enough && !self.head_may_be_key()? {
                return Ok(());
            }
            self.fetch_next()?;
        }
    }

    fn head_may_be_key(&mut self) -> Result<bool> {
        while let Some((token, index)) = self.keys_by_token.front().copied() {
            if token < self.taken {
                self.keys_by_token.pop_front();
            } else if token == self.taken {
                return self.is_key_valid(index);
            } else {
                break;
            }
        }
        Ok(false)
    }

    fn fetch_next(&mut self) -> Result<()> {
        if !self.started {
            self.started = true;
            self.key_allowed = true;
            self.keys.push(SimpleKey {
                possible: false,
                required: false,
                token: 0,
                mark: self.mark,
            });
            self.push(Tok::StreamStart, self.mark);
            return Ok(());
        }
        let before = self.mark;
        self.seek_token()?;
        let column = i32::try_from(self.mark.column).unwrap_or(i32::MAX);
        self.unroll(column, before);
        let first = self.byte(0);
        if self.at >= self.bytes.len() {
            return self.stream_end();
        }
        if self.mark.column == 0 {
            match first {
                b'%' => {
                    self.indicator_begins()?;
                    return self.directive();
                }
                b'-' if self.is_document_indicator(b"---") => {
                    return self.document(Tok::DocumentStart);
                }
                b'.' if self.is_document_indicator(b"...") => {
                    return self.document(Tok::DocumentEnd);
                }
                _ => {}
            }
        }
        let flow = self.flow > 0;
        let spaced = self.blank_or_end(1);
        match first {
            b'[' => self.flow_start(Tok::FlowSequenceStart),
            b'{' => self.flow_start(Tok::FlowMappingStart),
            b']' => self.flow_end(Tok::FlowSequenceEnd),
            b'}' => self.flow_end(Tok::FlowMappingEnd),
            b',' => self.flow_entry(),
            b'-' if spaced => self.block_entry(),
            b'?' if flow || spaced => self.key(),
            b':' if flow || spaced => self.value(),
            b'*' => self.anchor(true),
            b'&' => self.anchor(false),
            b'!' => self.tag(),
            b'|' if !flow => self.block_scalar(true),
            b'>' if !flow => self.block_scalar(false),
            b'\'' => self.flow_scalar(true),
            b'"' => self.flow_scalar(false),
            b'-' | b'?' | b':' => {
                let plain = match first {
                    b'-' => !matches!(self.byte(1), b' ' | b'\t'),
                    _ => !flow && !spaced,
                };
                if plain {
                    self.plain_scalar()
                } else {
                    Err(self.no_token())
                }
            }
            b' ' | b'\t' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => Err(self.no_token()),
            _ => self.plain_scalar(),
        }?;
        self.line_comment();
        Ok(())
    }

    fn no_token(&self) -> Box<Problem> {
        self.problem(
            "while scanning for the next token",
            self.mark,
            "found character that cannot start any token",
        )
    }

    fn problem(&self, context: &'static str, from: Mark, problem: &'static str) -> Box<Problem> {
        Problem::scanner(context, from, problem, self.mark)
    }

    // characters

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn break_len_at(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'\r' | b'\n') => 1,
            Some(0xc2) if self.bytes.get(at + 1) == Some(&0x85) => 2,
            Some(0xe2) if matches!(self.bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => 3,
            _ => 0,
        }
    }

    fn is_break(&self) -> bool {
        self.break_len_at(self.at) > 0
    }

    fn break_or_end(&self) -> bool {
        self.at >= self.bytes.len() || self.is_break()
    }

    fn blank_or_end(&self, ahead: usize) -> bool {
        match self.bytes.get(self.at + ahead) {
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => true,
            Some(0xc2 | 0xe2) => self.break_len_at(self.at + ahead) > 0,
            Some(_) => false,
        }
    }

    fn is_blank(&self) -> bool {
        matches!(self.byte(0), b' ' | b'\t')
    }

    /// Steps over characters of one byte.
    fn step(&mut self, count: usize) {
        let more = u32::try_from(count).unwrap_or(u32::MAX);
        self.at += count;
        self.mark.index += more;
        self.mark.column += more;
    }

    /// Steps over one character that is no break.
    fn skip(&mut self) {
        self.at += match self.byte(0) {
            0..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        self.mark.index += 1;
        self.mark.column += 1;
    }

    /// Steps to a place in the same line.
    fn run_to(&mut self, end: usize) {
        let bytes = &self.bytes[self.at..end];
        let chars = bytes.iter().filter(|b| (**b & 0xc0) != 0x80).count();
        let more = u32::try_from(chars).unwrap_or(u32::MAX);
        self.at = end;
        self.mark.index += more;
        self.mark.column += more;
    }

    fn skip_break(&mut self) {
        let crlf = self.byte(0) == b'\r' && self.byte(1) == b'\n';
        let len = if crlf { 2 } else { self.break_len_at(self.at) };
        if len == 0 {
            return;
        }
        self.at += len;
        self.mark.index += if crlf { 2 } else { 1 };
        self.mark.column = 0;
        self.mark.line += 1;
    }

    /// Steps over a break and gives what it stands for.
    fn take_break(&mut self) -> &'t str {
        let text = self.text;
        let from = self.at;
        let wide = self.byte(0) == 0xe2;
        self.skip_break();
        if wide { &text[from..self.at] } else { "\n" }
    }

    /// The end of the line that this place is in.
    fn line_end(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(byte) = self.bytes.get(at) {
            match byte {
                b'\n' | b'\r' => break,
                0xc2 | 0xe2 if self.break_len_at(at) > 0 => break,
                _ => at += 1,
            }
        }
        at
    }

    fn skip_comment(&mut self) {
        if self.byte(0) == b'#' {
            self.run_to(self.line_end(self.at));
        }
    }

    /// Version 3 takes a comment behind a token with the token, whatever blanks stand before it.
    fn line_comment(&mut self) {
        let after_entry = self.tokens.back().is_some_and(|t| t.tok == Tok::BlockEntry);
        if self.stack == Stack::V2 || after_entry || self.mark.column == 0 {
            return;
        }
        let blanks = self.bytes[self.at..]
            .iter()
            .take(512)
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        if self.byte(blanks) == b'#' {
            self.step(blanks);
            self.skip_comment();
        }
    }

    /// Version 3 takes comments that follow each other together, whatever blanks and empty lines stand between.
    fn comments(&mut self) {
        loop {
            self.skip_comment();
            let rest = &self.bytes[self.at..];
            let ahead = rest
                .iter()
                .take(512)
                .take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
                .count();
            if rest.get(ahead) != Some(&b'#') || ahead >= 512 {
                return;
            }
            let end = self.at + ahead;
            while self.at < end {
                if self.is_break() {
                    self.skip_break();
                } else {
                    self.step(1);
                }
            }
        }
    }

    fn seek_token(&mut self) -> Result<()> {
        loop {
            if self.at == 0 && self.text.starts_with('\u{feff}') {
                self.skip();
            }
            let tabs = self.flow > 0 || !self.key_allowed;
            let blanks = self.bytes[self.at..]
                .iter()
                .take_while(|b| **b == b' ' || tabs && **b == b'\t')
                .count();
            self.step(blanks);
            if self.byte(0) == b'#' {
                match self.stack {
                    Stack::V2 => self.skip_comment(),
                    Stack::V3 => self.comments(),
                }
            }
            if !self.is_break() {
                return Ok(());
            }
            self.skip_break();
            if self.flow == 0 {
                self.key_allowed = true;
            }
        }
    }

    fn is_document_indicator(&self, which: &[u8; 3]) -> bool {
        self.bytes[self.at..].starts_with(which) && self.blank_or_end(3)
    }

    // simple keys

    fn is_key_valid(&mut self, index: usize) -> Result<bool> {
        let mark = self.mark;
        let Some(key) = self.keys.get_mut(index).filter(|key| key.possible) else {
            return Ok(false);
        };
        if key.mark.line < mark.line || key.mark.index + SIMPLE_KEY < mark.index {
            if key.required {
                let from = key.mark;
                return Err(self.no_colon(from));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn no_colon(&self, from: Mark) -> Box<Problem> {
        self.problem(
            "while scanning a simple key",
            from,
            "could not find expected ':'",
        )
    }

    fn save_key(&mut self) -> Result<()> {
        if !self.key_allowed {
            return Ok(());
        }
        let column = i32::try_from(self.mark.column).unwrap_or(i32::MAX);
        let required = self.flow == 0 && self.indent == column;
        self.remove_key()?;
        let token = self.taken + self.tokens.len();
        let index = self.keys.len().saturating_sub(1);
        if let Some(key) = self.keys.last_mut() {
            *key = SimpleKey {
                possible: true,
                required,
                token,
                mark: self.mark,
            };
        }
        match self.keys_by_token.back_mut() {
            Some(last) if last.0 == token => last.1 = index,
            _ => self.keys_by_token.push_back((token, index)),
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Result<()> {
        let Some(key) = self.keys.last_mut().filter(|key| key.possible) else {
            return Ok(());
        };
        let (required, from, token) = (key.required, key.mark, key.token);
        if required {
            return Err(self.no_colon(from));
        }
        key.possible = false;
        self.forget_key(token);
        Ok(())
    }

    fn forget_key(&mut self, token: usize) {
        let mut index = self.keys_by_token.len();
        while index > 0 && self.keys_by_token[index - 1].0 > token {
            index -= 1;
        }
        if index > 0 && self.keys_by_token[index - 1].0 == token {
            self.keys_by_token.remove(index - 1);
        }
    }

    // indents

    fn roll(&mut self, column: u32, number: Option<usize>, tok: Tok<'t>, mark: Mark) -> Result<()> {
        let column = i32::try_from(column).unwrap_or(i32::MAX);
        if self.flow > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_LEVELS {
            let from = self.keys.last().map_or(self.mark, |key| key.mark);
            let context = "while increasing indent level";
            return Err(self.problem(context, from, "exceeded max depth of 10000"));
        }
        self.insert(number, tok, mark);
        Ok(())
    }

    fn unroll(&mut self, column: i32, before: Mark) {
        if self.flow > 0 {
            return;
        }
        while self.indent > column {
            let mark = match self.stack {
                Stack::V2 => self.mark,
                Stack::V3 => before,
            };
            self.push(Tok::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    // tokens

    fn push(&mut self, tok: Tok<'t>, start: Mark) {
        let end = self.mark;
        self.tokens.push_back(Token { tok, start, end });
    }

    /// Puts a token before another by its number; behind all if that one was taken already, as go-yaml does.
    fn insert(&mut self, number: Option<usize>, tok: Tok<'t>, mark: Mark) {
        let token = Token {
            tok,
            start: mark,
            end: mark,
        };
        match number.and_then(|number| number.checked_sub(self.taken)) {
            Some(place) if place < self.tokens.len() => self.tokens.insert(place, token),
            _ => self.tokens.push_back(token),
        }
    }

    fn stream_end(&mut self) -> Result<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.indicator_begins()?;
        self.push(Tok::StreamEnd, self.mark);
        Ok(())
    }

    fn indicator_begins(&mut self) -> Result<()> {
        self.unroll(-1, self.mark);
        self.remove_key()?;
        self.key_allowed = false;
        Ok(())
    }

    fn document(&mut self, tok: Tok<'t>) -> Result<()> {
        self.indicator_begins()?;
        let start = self.mark;
        self.step(3);
        self.push(tok, start);
        Ok(())
    }

    fn indicator(&mut self, tok: Tok<'t>) {
        let start = self.mark;
        self.step(1);
        self.push(tok, start);
    }

    fn flow_start(&mut self, tok: Tok<'t>) -> Result<()> {
        self.save_key()?;
        self.keys.push(SimpleKey {
            possible: false,
            required: false,
            token: self.taken + self.tokens.len(),
            mark: self.mark,
        });
        self.flow += 1;
        if self.flow > MAX_LEVELS {
            let context = "while increasing flow level";
            return Err(self.problem(context, self.mark, "exceeded max depth of 10000"));
        }
        self.key_allowed = true;
        self.indicator(tok);
        Ok(())
    }

    fn flow_end(&mut self, tok: Tok<'t>) -> Result<()> {
        self.remove_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            if let Some(key) = self.keys.pop() {
                // the number may be that of the bracket itself, which then cannot begin a key
                self.forget_key(key.token);
            }
        }
        self.key_allowed = false;
        self.indicator(tok);
        Ok(())
    }

    fn flow_entry(&mut self) -> Result<()> {
        self.remove_key()?;
        self.key_allowed = true;
        self.indicator(Tok::FlowEntry);
        Ok(())
    }

    fn block_entry(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.key_allowed {
                let problem = "block sequence entries are not allowed in this context";
                return Err(self.problem("", self.mark, problem));
            }
            self.roll(self.mark.column, None, Tok::BlockSequenceStart, self.mark)?;
        }
        self.remove_key()?;
        self.key_allowed = true;
        self.indicator(Tok::BlockEntry);
        Ok(())
    }

    fn key(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.key_allowed {
                let problem = "mapping keys are not allowed in this context";
                return Err(self.problem("", self.mark, problem));
            }
            self.roll(self.mark.column, None, Tok::BlockMappingStart, self.mark)?;
        }
        self.remove_key()?;
        self.key_allowed = self.flow == 0;
        self.indicator(Tok::Key);
        Ok(())
    }

    fn value(&mut self) -> Result<()> {
        let index = self.keys.len().saturating_sub(1);
        if self.is_key_valid(index)? {
            let key = self.keys[index];
            self.insert(Some(key.token), Tok::Key, key.mark);
            self.roll(
                key.mark.column,
                Some(key.token),
                Tok::BlockMappingStart,
                key.mark,
            )?;
            self.keys[index].possible = false;
            self.forget_key(key.token);
            self.key_allowed = false;
        } else {
            if self.flow == 0 {
                if !self.key_allowed {
                    let problem = "mapping values are not allowed in this context";
                    return Err(self.problem("", self.mark, problem));
                }
                self.roll(self.mark.column, None, Tok::BlockMappingStart, self.mark)?;
            }
            self.key_allowed = self.flow == 0;
        }
        self.indicator(Tok::Value);
        Ok(())
    }
}
