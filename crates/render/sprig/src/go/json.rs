//! JSON as Go's `encoding/json` reads it.

use std::collections::BTreeMap;

use super::strconv;
use super::unicode;

/// How deep values may nest. Go stops at 10,000; what is read here is walked by recursion later.
pub const MAX_DEPTH: usize = 1_000;

/// A JSON value. Text is bytes, always UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// All numbers are floats.
    Number(f64),
    /// A string.
    String(Vec<u8>),
    /// A list.
    Array(Vec<Json>),
    /// An object; of a key that stands twice the last one counts.
    Object(BTreeMap<Vec<u8>, Json>),
}

impl Json {
    /// What Go calls it in an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "bool",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }
}

/// What was read, and the first error that does not stop reading (a number that does not fit).
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The value; `Null` where a number did not fit.
    pub value: Json,
    /// Go's text.
    pub error: Option<String>,
}

/// Reads one value. The error is Go's text.
pub fn parse(text: &[u8]) -> Result<Read, String> {
    let mut reader = Reader {
        text,
        at: 0,
        error: None,
    };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok(Read {
            value,
            error: reader.error,
        }),
        Some(byte) => Err(unexpected(byte, "after top-level value")),
    }
}

fn unexpected(byte: u8, context: &str) -> String {
    let text = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let quoted = strconv::quote(char::from(byte).to_string().as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    };
    format!("invalid character {text} {context}")
}

const ENDED: &str = "unexpected end of JSON input";

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    error: Option<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or(ENDED)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte where a value cannot end: there Go takes the end for a space, and refuses that.
    fn inner(&mut self, context: &str) -> Result<u8, String> {
        match self.peek() {
            None => Err(unexpected(b' ', context)),
            Some(byte) => {
                self.at += 1;
                Ok(byte)
            }
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        let byte = self.peek().ok_or(ENDED)?;
        match byte {
            b'{' | b'[' if depth >= MAX_DEPTH => Err("exceeded max depth".to_owned()),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                self.at += 1;
                self.string().map(Json::String)
            }
            b't' => self.word(b"true", Json::Bool(true)),
            b'f' => self.word(b"false", Json::Bool(false)),
            b'n' => self.word(b"null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &[u8], value: Json) -> Result<Json, String> {
        for expected in word {
            let name = String::from_utf8_lossy(word);
            let context = format!("in literal {name} (expecting '{}')", char::from(*expected));
            let byte = self.inner(&context)?;
            if byte != *expected {
                return Err(unexpected(byte, &context));
            }
        }
        Ok(value)
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        let byte = self.inner(context)?;
        if !byte.is_ascii_digit() {
            return Err(unexpected(byte, context));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, String> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = &self.text[from..self.at];
        if let Ok(value) = strconv::parse_float(text) {
            return Ok(Json::Number(value));
        }
        let text = String::from_utf8_lossy(text);
        self.error.get_or_insert_with(|| {
            format!("json: cannot unmarshal number {text} into Go value of type float64")
        });
        Ok(Json::Null)
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(Json::Array(items)),
                byte => return Err(unexpected(byte, "after array element")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut fields = BTreeMap::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let byte = self.next()?;
            if byte != b'"' {
                let context = "looking for beginning of object key string";
                return Err(unexpected(byte, context));
            }
            let key = self.string()?;
            self.space();
            let byte = self.next()?;
            if byte != b':' {
                return Err(unexpected(byte, "after object key"));
            }
            self.space();
            let value = self.value(depth + 1)?;
            fields.insert(key, value);
            self.space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Json::Object(fields)),
                byte => return Err(unexpected(byte, "after object key:value pair")),
            }
        }
    }

    /// A string after its first quote.
    fn string(&mut self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => return Ok(out),
                b'\\' => self.escape(&mut out)?,
                0..0x20 => return Err(unexpected(byte, "in string literal")),
                0x20..0x80 => out.push(byte),
                _ => {
                    let (rune, width) = unicode::decode(&self.text[self.at - 1..]);
                    unicode::push(&mut out, rune);
                    self.at += width - 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let byte = self.inner("in string escape code")?;
        out.push(match byte {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' | b'/' | b'"' => byte,
            b'u' => {
                let first = self.hex4()?;
                let mut rune = first;
                if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex4()?;
                    if (0xDC00..0xE000).contains(&second) {
                        rune = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                    } else {
                        self.at = back;
                    }
                }
                unicode::push(out, rune);
                return Ok(());
            }
            _ => return Err(unexpected(byte, "in string escape code")),
        });
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, String> {
        const CONTEXT: &str = "in \\u hexadecimal character escape";
        let mut rune = 0;
        for _ in 0..4 {
            let byte = self.inner(CONTEXT)?;
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err(unexpected(byte, CONTEXT));
            };
            rune = rune << 4 | digit;
        }
        Ok(rune)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_with_gos_words() {
        for (text, error) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 1}",
                "invalid character '1' after object key:value pair",
            ),
            ("1 '", "invalid character '\\'' after top-level value"),
            (
                "tru1",
                "invalid character '1' in literal true (expecting 'e')",
            ),
            ("-", "invalid character ' ' in numeric literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("01", "invalid character '1' after top-level value"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()).unwrap_err(), "exceeded max depth");
    }

    #[test]
    fn reads_text() {
        let text = |source: &str| match parse(source.as_bytes()).unwrap().value {
            Json::String(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(r#""\u00e9\ud83d\ude00\ud800x\n""#),
            "é\u{1F600}\u{FFFD}x\n"
        );
        let read = parse(b"[1e999, 2]").unwrap();
        assert_eq!(read.value, Json::Array(vec![Json::Null, Json::Number(2.0)]));
        assert!(read.error.unwrap().contains("number 1e999"));
    }
}
