//! Scalars: plain, in quotes, and in blocks.

use std::borrow::Cow;

use super::{Mark, Scanner, Style, Tok};
use crate::problem::Result;

const BLOCK: &str = "while scanning a block scalar";
const QUOTED: &str = "while scanning a quoted scalar";
const ESCAPE: &str = "while parsing a quoted scalar";

/// Bytes at which a plain scalar's run is looked at more closely.
const PLAIN_STOP: [bool; 256] = {
    let mut table = [false; 256];
    let stops = b" \t\r\n:,?[]{}";
    let mut index = 0;
    while index < stops.len() {
        table[stops[index] as usize] = true;
        index += 1;
    }
    table[0xc2] = true;
    table[0xe2] = true;
    table
};

/// The line breaks between two parts of a scalar that runs over lines.
#[derive(Default)]
struct Breaks<'t> {
    first: &'t str,
    others: String,
}

impl<'t> Breaks<'t> {
    fn add(&mut self, text: &'t str, first: bool) {
        if first {
            self.first = text;
        } else {
            self.others.push_str(text);
        }
    }

    fn fold_into(&mut self, out: &mut String) {
        if self.first != "\n" {
            out.push_str(self.first);
            out.push_str(&self.others);
        } else if self.others.is_empty() {
            out.push(' ');
        } else {
            out.push_str(&self.others);
        }
        self.first = "";
        self.others.clear();
    }
}

impl<'t> Scanner<'t> {
    pub(super) fn plain_scalar(&mut self) -> Result<()> {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.mark;
        let least = u32::try_from(self.indent + 1).unwrap_or(0);
        let text = self.text;
        let mut owned = String::new();
        // what was read since `owned` ends
        let (mut from, mut to) = (self.at, self.at);
        let mut end = self.mark;
        let mut breaks = Breaks::default();
        let mut folding = false;
        loop {
            if self.mark.column == 0
                && (self.is_document_indicator(b"---") || self.is_document_indicator(b"..."))
            {
                break;
            }
            if self.byte(0) == b'#' {
                break;
            }
            let run = self.plain_run_end();
            if run > self.at {
                if folding {
                    owned.push_str(&text[from..to]);
                    breaks.fold_into(&mut owned);
                    from = self.at;
                    folding = false;
                }
                self.run_to(run);
                to = run;
                end = self.mark;
            }
            if !(self.is_blank() || self.is_break()) {
                break;
            }
            loop {
                if self.is_blank() {
                    if folding && self.mark.column < least && self.byte(0) == b'\t' {
                        let problem = "found a tab character that violates indentation";
                        return Err(self.problem("while scanning a plain scalar", start, problem));
                    }
                    self.step(1);
                } else if self.is_break() {
                    breaks.add(self.take_break(), !folding);
                    folding = true;
                } else {
                    break;
                }
            }
            if self.flow == 0 && self.mark.column < least {
                break;
            }
        }
        let value = if owned.is_empty() {
            Cow::Borrowed(&text[from..to])
        } else {
            owned.push_str(&text[from..to]);
            Cow::Owned(owned)
        };
        self.push(Tok::Scalar(value, Style::Plain), start);
        if let Some(token) = self.tokens.back_mut() {
            token.end = end;
        }
        if folding {
            self.key_allowed = true;
        }
        Ok(())
    }

    /// Where the run of characters ends that belong to a plain scalar.
    fn plain_run_end(&self) -> usize {
        let mut at = self.at;
        while let Some(byte) = self.bytes.get(at).copied() {
            if !PLAIN_STOP[usize::from(byte)] {
                at += 1;
                continue;
            }
            match byte {
                b':' if !self.blank_or_end(at + 1 - self.at) => at += 1,
                b',' | b'?' | b'[' | b']' | b'{' | b'}' if self.flow == 0 => at += 1,
                0xc2 | 0xe2 if self.break_len_at(at) == 0 => at += 1,
                _ => break,
            }
        }
        at
    }

    pub(super) fn flow_scalar(&mut self, single: bool) -> Result<()> {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.mark;
        self.step(1);
        let style = if single { Style::Single } else { Style::Double };
        let value = match self.quoted_in_one_go(single) {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(self.quoted(single, start)?),
        };
        self.push(Tok::Scalar(value, style), start);
        Ok(())
    }

    /// A quoted scalar in one line without anything to undo.
    fn quoted_in_one_go(&mut self, single: bool) -> Option<&'t str> {
        let text = self.text;
        let mut at = self.at;
        loop {
            match self.bytes.get(at)? {
                b'\'' if single => break,
                b'"' if !single => break,
                b'\\' if !single => return None,
                b'\r' | b'\n' => return None,
                0xc2 | 0xe2 if self.break_len_at(at) > 0 => return None,
                _ => at += 1,
            }
        }
        if single && self.bytes.get(at + 1) == Some(&b'\'') {
            return None;
        }
        let value = &text[self.at..at];
        self.run_to(at);
        self.step(1);
        Some(value)
    }

    fn quoted(&mut self, single: bool, start: Mark) -> Result<String> {
        let text = self.text;
        let quote = if single { b'\'' } else { b'"' };
        let mut out = String::new();
        let mut breaks = Breaks::default();
        loop {
            if self.mark.column == 0
                && (self.is_document_indicator(b"---") || self.is_document_indicator(b"..."))
            {
                return Err(self.problem(QUOTED, start, "found unexpected document indicator"));
            }
            if self.at >= self.bytes.len() {
                return Err(self.problem(QUOTED, start, "found unexpected end of stream"));
            }
            let mut folding = false;
            while !self.blank_or_end(0) {
                let (first, second) = (self.byte(0), self.byte(1));
                if first == quote {
                    if !single || second != quote {
                        break;
                    }
                    out.push('\'');
                    self.step(2);
                } else if first == b'\\' && !single {
                    if self.break_len_at(self.at + 1) > 0 {
                        self.step(1);
                        self.skip_break();
                        folding = true;
                        break;
                    }
                    self.escape(start, &mut out)?;
                } else {
                    let end = self.quoted_run_end(single);
                    out.push_str(&text[self.at..end]);
                    self.run_to(end);
                }
            }
            if self.byte(0) == quote {
                break;
            }
            let blanks = self.at;
            let mut after_blanks = self.at;
            loop {
                if self.is_blank() {
                    self.step(1);
                    if !folding {
                        after_blanks = self.at;
                    }
                } else if self.is_break() {
                    breaks.add(self.take_break(), !folding);
                    folding = true;
                } else {
                    break;
                }
            }
            if folding {
                breaks.fold_into(&mut out);
            } else {
                out.push_str(&text[blanks..after_blanks]);
            }
        }
        self.step(1);
        Ok(out)
    }

    fn quoted_run_end(&self, single: bool) -> usize {
        let mut at = self.at;
        while let Some(byte) = self.bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => break,
                b'\'' if single => break,
                b'"' | b'\\' if !single => break,
                0xc2 | 0xe2 if self.break_len_at(at) > 0 => break,
                _ => at += 1,
            }
        }
        at
    }

    fn escape(&mut self, start: Mark, out: &mut String) -> Result<()> {
        let digits = match self.byte(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            other => {
                let c = match other {
                    b'0' => '\0',
                    b'a' => '\u{7}',
                    b'b' => '\u{8}',
                    b't' | b'\t' => '\t',
                    b'n' => '\n',
                    b'v' => '\u{b}',
                    b'f' => '\u{c}',
                    b'r' => '\r',
                    b'e' => '\u{1b}',
                    b' ' => ' ',
                    b'"' => '"',
                    b'\'' => '\'',
                    b'\\' => '\\',
                    b'N' => '\u{85}',
                    b'_' => '\u{a0}',
                    b'L' => '\u{2028}',
                    b'P' => '\u{2029}',
                    _ => return Err(self.problem(ESCAPE, start, "found unknown escape character")),
                };
                out.push(c);
                self.step(2);
                return Ok(());
            }
        };
        self.step(2);
        let mut code: u32 = 0;
        for ahead in 0..digits {
            let Some(digit) = char::from(self.byte(ahead)).to_digit(16) else {
                let problem = "did not find expected hexdecimal number";
                return Err(self.problem(ESCAPE, start, problem));
            };
            code = code.wrapping_shl(4) | digit;
        }
        let Some(c) = char::from_u32(code) else {
            let problem = "found invalid Unicode character escape code";
            return Err(self.problem(ESCAPE, start, problem));
        };
        out.push(c);
        self.step(digits);
        Ok(())
    }

    pub(super) fn block_scalar(&mut self, literal: bool) -> Result<()> {
        self.remove_key()?;
        self.key_allowed = true;
        let start = self.mark;
        self.step(1);
        let (keep, increment) = self.block_header(start)?;
        while self.is_blank() {
            self.step(1);
        }
        self.skip_comment();
        if !self.break_or_end() {
            let problem = "did not find expected comment or line break";
            return Err(self.problem(BLOCK, start, problem));
        }
        self.skip_break();
        let mut indent = increment.map(|more| {
            let base = u32::try_from(self.indent).unwrap_or(0);
            base + more
        });
        let text = self.text;
        let mut out = String::new();
        let mut leading = "";
        let mut trailing = String::new();
        let mut end = self.mark;
        self.block_breaks(&mut indent, &mut trailing, start, &mut end)?;
        let mut leading_blank = false;
        while self.mark.column == indent.unwrap_or(0) && self.at < self.bytes.len() {
            let blank = self.is_blank();
            if !literal && !leading_blank && !blank && leading == "\n" {
                if trailing.is_empty() {
                    out.push(' ');
                }
            } else {
                out.push_str(leading);
            }
            out.push_str(&trailing);
            trailing.clear();
            leading_blank = blank;
            let line = self.line_end(self.at);
            out.push_str(&text[self.at..line]);
            self.run_to(line);
            leading = if self.is_break() {
                self.take_break()
            } else {
                ""
            };
            self.block_breaks(&mut indent, &mut trailing, start, &mut end)?;
        }
        if keep != Chomp::Strip {
            out.push_str(leading);
        }
        if keep == Chomp::Keep {
            out.push_str(&trailing);
        }
        let style = if literal {
            Style::Literal
        } else {
            Style::Folded
        };
        self.push(Tok::Scalar(Cow::Owned(out), style), start);
        if let Some(token) = self.tokens.back_mut() {
            token.end = end;
        }
        Ok(())
    }

    fn block_header(&mut self, start: Mark) -> Result<(Chomp, Option<u32>)> {
        let (mut chomp, mut increment) = (Chomp::Clip, None);
        // one of each at most, in either order
        for _ in 0..2 {
            match self.byte(0) {
                b'+' if chomp == Chomp::Clip => chomp = Chomp::Keep,
                b'-' if chomp == Chomp::Clip => chomp = Chomp::Strip,
                b'0' if increment.is_none() => {
                    let problem = "found an indentation indicator equal to 0";
                    return Err(self.problem(BLOCK, start, problem));
                }
                digit @ b'1'..=b'9' if increment.is_none() => {
                    increment = Some(u32::from(digit - b'0'));
                }
                _ => break,
            }
            self.step(1);
        }
        Ok((chomp, increment))
    }

    /// Steps over indentation and empty lines. Without an indent, the widest one becomes it.
    fn block_breaks(
        &mut self,
        indent: &mut Option<u32>,
        breaks: &mut String,
        start: Mark,
        end: &mut Mark,
    ) -> Result<()> {
        *end = self.mark;
        let mut widest = 0;
        loop {
            let room = indent.map_or(usize::MAX, |indent| {
                indent.saturating_sub(self.mark.column) as usize
            });
            let spaces = self.bytes[self.at..]
                .iter()
                .take(room)
                .take_while(|b| **b == b' ')
                .count();
            self.step(spaces);
            widest = widest.max(self.mark.column);
            let inside = indent.is_none_or(|indent| self.mark.column < indent);
            if inside && self.byte(0) == b'\t' {
                let problem = "found a tab character where an indentation space is expected";
                return Err(self.problem(BLOCK, start, problem));
            }
            if !self.is_break() {
                break;
            }
            breaks.push_str(self.take_break());
            *end = self.mark;
        }
        if indent.is_none() {
            let least = u32::try_from(self.indent + 1).unwrap_or(0).max(1);
            *indent = Some(widest.max(least));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomp {
    Clip,
    Strip,
    Keep,
}
