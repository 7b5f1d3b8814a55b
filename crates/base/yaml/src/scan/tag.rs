//! Directives, anchors, aliases and tags.

use super::{Scanner, Tag, Tok};
use crate::problem::{Problem, Result};
use crate::scan::Mark;

const DIRECTIVE: &str = "while scanning a directive";
const VERSION: &str = "while scanning a %YAML directive";
const TAG_DIRECTIVE: &str = "while scanning a %TAG directive";

fn is_alpha(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_uri(byte: u8) -> bool {
    is_alpha(byte)
        || matches!(
            byte,
            b';' | b'/'
                | b'?'
                | b':'
                | b'@'
                | b'&'
                | b'='
                | b'+'
                | b'$'
                | b','
                | b'.'
                | b'!'
                | b'~'
                | b'*'
                | b'\''
                | b'('
                | b')'
                | b'['
                | b']'
                | b'%'
        )
}

impl<'t> Scanner<'t> {
    fn word(&mut self) -> &'t str {
        let text = self.text;
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take_while(|b| is_alpha(**b)).count();
        let word = &text[self.at..self.at + len];
        self.step(len);
        word
    }

    fn skip_blanks(&mut self) {
        while self.is_blank() {
            self.step(1);
        }
    }

    pub(super) fn directive(&mut self) -> Result<()> {
        let start = self.mark;
        self.step(1);
        let name = self.word();
        if name.is_empty() {
            return Err(self.problem(DIRECTIVE, start, "could not find expected directive name"));
        }
        if !self.blank_or_end(0) {
            return Err(self.problem(
                DIRECTIVE,
                start,
                "found unexpected non-alphabetical character",
            ));
        }
        let tok = match name {
            "YAML" => self.version(start)?,
            "TAG" => self.tag_directive(start)?,
            _ => return Err(self.problem(DIRECTIVE, start, "found unknown directive name")),
        };
        self.push(tok, start);
        self.skip_blanks();
        self.skip_comment();
        if !self.break_or_end() {
            let problem = "did not find expected comment or line break";
            return Err(self.problem(DIRECTIVE, start, problem));
        }
        self.skip_break();
        Ok(())
    }

    fn version(&mut self, start: Mark) -> Result<Tok<'t>> {
        self.skip_blanks();
        let major = self.version_number(start)?;
        if self.byte(0) != b'.' {
            let problem = "did not find expected digit or '.' character";
            return Err(self.problem(VERSION, start, problem));
        }
        self.step(1);
        let minor = self.version_number(start)?;
        Ok(Tok::Version(major, minor))
    }

    fn version_number(&mut self, start: Mark) -> Result<u8> {
        let (mut value, mut length) = (0, 0);
        while self.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return Err(self.problem(VERSION, start, "found extremely long version number"));
            }
            value = value * 10 + (self.byte(0) - b'0');
            self.step(1);
        }
        if length == 0 {
            return Err(self.problem(VERSION, start, "did not find expected version number"));
        }
        Ok(value)
    }

    fn tag_directive(&mut self, start: Mark) -> Result<Tok<'t>> {
        self.skip_blanks();
        let handle = self.tag_handle(true, start)?;
        if !self.is_blank() {
            return Err(self.problem(TAG_DIRECTIVE, start, "did not find expected whitespace"));
        }
        self.skip_blanks();
        let suffix = self.tag_uri(true, "", start)?;
        if !self.blank_or_end(0) {
            let problem = "did not find expected whitespace or line break";
            return Err(self.problem(TAG_DIRECTIVE, start, problem));
        }
        Ok(Tok::TagDirective(Box::new(Tag { handle, suffix })))
    }

    pub(super) fn anchor(&mut self, alias: bool) -> Result<()> {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.mark;
        self.step(1);
        let name = self.word();
        let ends = self.blank_or_end(0)
            || matches!(
                self.byte(0),
                b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`'
            );
        if name.is_empty() || !ends {
            let context = if alias {
                "while scanning an alias"
            } else {
                "while scanning an anchor"
            };
            let problem = "did not find expected alphabetic or numeric character";
            return Err(self.problem(context, start, problem));
        }
        self.push(
            if alias {
                Tok::Alias(name)
            } else {
                Tok::Anchor(name)
            },
            start,
        );
        Ok(())
    }

    pub(super) fn tag(&mut self) -> Result<()> {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.mark;
        let context = "while scanning a tag";
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.step(2);
            let suffix = self.tag_uri(false, "", start)?;
            if self.byte(0) != b'>' {
                return Err(self.problem(context, start, "did not find the expected '>'"));
            }
            self.step(1);
            (String::new(), suffix)
        } else {
            let handle = self.tag_handle(false, start)?;
            if handle.len() > 1 && handle.ends_with('!') {
                let suffix = self.tag_uri(false, "", start)?;
                (handle, suffix)
            } else {
                let suffix = self.tag_uri(false, &handle, start)?;
                if suffix.is_empty() {
                    (suffix, "!".to_owned())
                } else {
                    ("!".to_owned(), suffix)
                }
            }
        };
        if !self.blank_or_end(0) {
            let problem = "did not find expected whitespace or line break";
            return Err(self.problem(context, start, problem));
        }
        self.push(Tok::Tag(Box::new(Tag { handle, suffix })), start);
        Ok(())
    }

    fn tag_problem(&self, directive: bool, start: Mark, problem: &'static str) -> Box<Problem> {
        let context = if directive {
            "while parsing a %TAG directive"
        } else {
            "while parsing a tag"
        };
        self.problem(context, start, problem)
    }

    fn tag_handle(&mut self, directive: bool, start: Mark) -> Result<String> {
        let missing = "did not find expected '!'";
        if self.byte(0) != b'!' {
            return Err(self.tag_problem(directive, start, missing));
        }
        let mut out = "!".to_owned();
        self.step(1);
        out.push_str(self.word());
        if self.byte(0) == b'!' {
            out.push('!');
            self.step(1);
        } else if directive && out != "!" {
            return Err(self.tag_problem(directive, start, missing));
        }
        Ok(out)
    }

    fn tag_uri(&mut self, directive: bool, head: &str, start: Mark) -> Result<String> {
        let mut out: Vec<u8> = head.as_bytes().get(1..).unwrap_or_default().to_vec();
        let mut found = !head.is_empty();
        while is_uri(self.byte(0)) {
            if self.byte(0) == b'%' {
                self.uri_escapes(directive, start, &mut out)?;
            } else {
                out.push(self.byte(0));
                self.step(1);
            }
            found = true;
        }
        if !found {
            return Err(self.tag_problem(directive, start, "did not find expected tag URI"));
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// One character, byte by byte.
    fn uri_escapes(&mut self, directive: bool, start: Mark, out: &mut Vec<u8>) -> Result<()> {
        let hex = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let mut left = None;
        loop {
            let (Some(high), Some(low), b'%') =
                (hex(self.byte(1)), hex(self.byte(2)), self.byte(0))
            else {
                return Err(self.tag_problem(directive, start, "did not find URI escaped octet"));
            };
            let octet = high << 4 | low;
            let remaining: u8 = match left {
                None => match octet {
                    0..=0x7f => 1,
                    0xc0..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf7 => 4,
                    _ => {
                        let problem = "found an incorrect leading UTF-8 octet";
                        return Err(self.tag_problem(directive, start, problem));
                    }
                },
                Some(_) if octet & 0xc0 != 0x80 => {
                    let problem = "found an incorrect trailing UTF-8 octet";
                    return Err(self.tag_problem(directive, start, problem));
                }
                Some(left) => left,
            };
            out.push(octet);
            self.step(3);
            if remaining <= 1 {
                return Ok(());
            }
            left = Some(remaining - 1);
        }
    }
}
