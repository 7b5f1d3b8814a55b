//! Scalars: which form, and the form's text.

use super::analyze::{Analysis, analyze, break_len, ordinary, printable, width};
use super::{SIMPLE_KEY, Style, Writer};
use crate::resolve::{Stack, is_plain_string};

impl Writer {
    /// Writes a string in the form that reads back as one.
    pub(super) fn text(&mut self, text: &str) {
        let style = if text.contains('\n') {
            Style::Literal
        } else if is_plain_string(text, self.stack)
            && !(self.readable && text == "<<" && self.at_key())
        {
            Style::Plain
        } else {
            Style::Double
        };
        self.scalar(text, style, false);
    }

    pub(super) fn scalar(&mut self, text: &str, style: Style, binary: bool) {
        if self.error.is_some() {
            return;
        }
        let key = self.at_key();
        if style == Style::Plain && !binary && (!key || text.len() <= SIMPLE_KEY) && ordinary(text)
        {
            self.before(true);
            return self.plain(text);
        }
        let found = analyze(text, self.stack == Stack::V2);
        // the tag's handle and name count as part of the key
        let length = text.len() + if binary { "!!binary".len() } else { 0 };
        self.before(!found.multiline && length <= SIMPLE_KEY);
        let style = self.choose(text, style, found);
        if binary {
            if !self.whitespace {
                self.put(b' ');
            }
            self.out.extend_from_slice(b"!!binary");
            self.column += "!!binary".len();
            self.whitespace = false;
            self.indention = false;
        }
        let outer = self.indent;
        self.deeper(true, false);
        match style {
            Style::Plain => self.plain_inside(text),
            Style::Single => self.single(text),
            Style::Double => self.double(text),
            Style::Literal => self.literal(text, found.odd_breaks),
        }
        self.indent = outer;
    }

    fn choose(&self, text: &str, wanted: Style, found: Analysis) -> Style {
        let mut style = wanted;
        if self.simple_key && found.multiline {
            style = Style::Double;
        }
        if style == Style::Plain && (!found.plain_allowed || text.is_empty() && self.simple_key) {
            style = Style::Single;
        }
        if style == Style::Single && !found.single_allowed
            || style == Style::Literal && (!found.block_allowed || self.simple_key)
        {
            style = Style::Double;
        }
        style
    }

    fn plain(&mut self, text: &str) {
        let outer = self.indent;
        if !self.simple_key && self.column + text.len() >= self.width {
            self.deeper(true, false);
        }
        self.plain_inside(text);
        self.indent = outer;
    }

    fn plain_inside(&mut self, text: &str) {
        if !self.whitespace {
            self.put(b' ');
        }
        self.running(text, Form::Plain);
        self.whitespace = false;
        self.indention = false;
    }

    fn single(&mut self, text: &str) {
        self.indicator("'", true, false, false);
        self.running(text, Form::Single);
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// Writes a text that may be folded at single spaces.
    fn running(&mut self, text: &str, form: Form) {
        let bytes = text.as_bytes();
        let fold = !self.simple_key;
        let short = !fold || self.column + bytes.len() <= self.width || !text.contains(' ');
        if short && text.is_ascii() && !(form == Form::Single && text.contains(['\'', '\n', '\r']))
        {
            self.out.extend_from_slice(bytes);
            self.column += bytes.len();
            return;
        }
        let (mut spaces, mut breaks) = (false, false);
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if byte == b' ' {
                let inside = form == Form::Plain || at > 0 && at + 1 < bytes.len();
                let folds = fold && !spaces && self.column > self.width && inside;
                if folds && bytes.get(at + 1) != Some(&b' ') {
                    self.write_indent();
                } else {
                    self.put(b' ');
                }
                at += 1;
                spaces = true;
            } else if let len @ 1.. = break_len(bytes, at) {
                if !breaks && byte == b'\n' {
                    self.put_break();
                }
                self.out.extend_from_slice(&bytes[at..at + len]);
                self.column = 0;
                at += len;
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if byte == b'\'' && form == Form::Single {
                    self.put(b'\'');
                }
                at += self.character(bytes, at);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
    }

    fn character(&mut self, bytes: &[u8], at: usize) -> usize {
        let wide = width(bytes[at]);
        self.out.extend_from_slice(&bytes[at..at + wide]);
        self.column += 1;
        wide
    }

    fn double(&mut self, text: &str) {
        self.indicator("\"", true, false, false);
        let bytes = text.as_bytes();
        // go-yaml looks for a mark of byte order at the text's start, whichever character it is at
        let marked = text.starts_with('\u{feff}');
        let fold = !self.simple_key;
        let mut spaces = false;
        for (at, c) in text.char_indices() {
            let byte = bytes[at];
            let escaped = marked
                || !printable(bytes, at)
                || break_len(bytes, at) > 0
                || matches!(byte, b'"' | b'\\');
            if escaped {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                let inside = at > 0 && at + 1 < bytes.len();
                if fold && !spaces && self.column > self.width && inside {
                    self.write_indent();
                    if bytes.get(at + 1) == Some(&b' ') {
                        self.put(b'\\');
                    }
                } else {
                    self.put(b' ');
                }
                spaces = true;
            } else {
                self.character(bytes, at);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            c => {
                let code = u32::from(c);
                let text = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.out.extend_from_slice(text.as_bytes());
                self.column += text.len();
                return;
            }
        };
        self.put(b'\\');
        self.out.push(short as u8);
        self.column += 1;
    }

    fn literal(&mut self, text: &str, odd_breaks: bool) {
        self.indicator("|", true, false, false);
        let bytes = text.as_bytes();
        if bytes.first() == Some(&b' ') || break_len(bytes, 0) > 0 {
            let hint = self.step.to_string();
            self.indicator(&hint, false, false, false);
        }
        let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let mut back = text.chars().rev();
        match (back.next(), back.next()) {
            (Some(last), _) if !breaks(last) => self.indicator("-", false, false, false),
            (Some(_), None) => self.indicator("+", false, false, false),
            (Some(_), Some(before)) if breaks(before) => self.indicator("+", false, false, false),
            (None, _) => self.indicator("-", false, false, false),
            _ => {}
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut fresh = true;
        let mut at = 0;
        while at < bytes.len() {
            if let len @ 1.. = break_len(bytes, at) {
                self.out.extend_from_slice(&bytes[at..at + len]);
                self.column = 0;
                self.indention = true;
                fresh = true;
                at += len;
                continue;
            }
            if fresh {
                self.write_indent();
            }
            let rest = &text[at..];
            let end = if odd_breaks {
                rest.find(breaks)
            } else {
                rest.find('\n')
            };
            let line = &rest[..end.unwrap_or(rest.len())];
            self.out.extend_from_slice(line.as_bytes());
            // only whether it is more than the indent matters from here on
            self.column += line.len();
            self.indention = false;
            fresh = false;
            at += line.len();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Single,
}
