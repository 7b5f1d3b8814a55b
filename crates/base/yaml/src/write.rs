//! YAML as kubectl prints it: block style, sorted keys, quotes only where they are needed.

use std::cmp::Ordering;

use base_json::{Map, Value};

use crate::number;
use crate::scalar::{Scalar, resolve};

/// Scalars of more columns than this are folded at spaces.
const WIDTH: usize = 80;
/// A key of more bytes than this is written in the long form.
const SIMPLE_KEY: usize = 128;

/// Writes a value as a YAML document, ended by a line break.
pub fn to_string(value: &Value) -> String {
    let mut writer = Writer::default();
    writer.node(value, 0, Place::Root);
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    writer.out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// After `key:`.
    Field,
    /// After `- ` or `? `.
    Item,
}

#[derive(Default)]
struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// Writes a value whose own lines begin at `indent`.
    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        let space = if place == Place::Field { " " } else { "" };
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, indent, place),
            Value::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 || place == Place::Field {
                        self.line(indent);
                    }
                    self.put("- ");
                    self.node(item, indent + 2, Place::Item);
                }
            }
            Value::Object(_) => self.put(&format!("{space}{{}}")),
            Value::Array(_) => self.put(&format!("{space}[]")),
            Value::Null => self.put(&format!("{space}null")),
            Value::Bool(flag) => self.put(&format!("{space}{flag}")),
            Value::Number(number) => {
                let text = match number.as_f64() {
                    Some(float) if number.is_f64() => number::go_g(float),
                    _ => number.to_string(),
                };
                self.put(&format!("{space}{text}"));
            }
            Value::String(text) => {
                self.put(space);
                // continued lines stand two columns in from the key or the dash's content
                let inner = match place {
                    Place::Root => 2,
                    Place::Field => indent,
                    Place::Item => indent.max(2),
                };
                self.string(text, inner, true);
            }
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, indent: usize, place: Place) {
        let mut fields: Vec<(&String, &Value)> = Vec::with_capacity(map.len());
        // inserted one by one: the order is not total (`a2`, `a10`, `a1b` go round), which a library sort may not like
        for field in map {
            let later = fields.iter().rev();
            let after = later.take_while(|known| natural(field.0, known.0) == Ordering::Less);
            let place = fields.len() - after.count();
            fields.insert(place, field);
        }
        for (index, (key, value)) in fields.into_iter().enumerate() {
            if index > 0 || place == Place::Field {
                self.line(indent);
            }
            if key.len() > SIMPLE_KEY || key.contains('\n') {
                self.put("? ");
                self.string(key, indent + 2, true);
                self.line(indent);
                self.put(":");
            } else {
                self.string(key, indent + 2, false);
                self.put(":");
            }
            // a list that is a field's value is not indented; everything else is
            let inner = if value.is_array() { indent } else { indent + 2 };
            self.node(value, inner, Place::Field);
        }
    }

    fn string(&mut self, text: &str, indent: usize, value: bool) {
        let looks_like_other = !matches!(resolve(text), Scalar::Str(_) | Scalar::Merge);
        // go-yaml leaves this key bare, and then reads it as a merge
        let merge_key = !value && text == "<<";
        if merge_key || looks_like_other || looks_like_time(text) || looks_like_base_60(text) {
            self.double(text, indent, value);
            return;
        }
        let found = Analysis::of(text);
        if found.special {
            self.double(text, indent, value);
        } else if value && text.contains('\n') {
            if found.block_allowed {
                self.literal(text, indent);
            } else {
                self.double(text, indent, value);
            }
        } else if found.multiline {
            // a line break other than \n, or one in a key
            if text.contains('\n') {
                self.double(text, indent, value);
            } else {
                self.single(text, indent, value);
            }
        } else if found.plain_allowed {
            self.plain(text, indent, value);
        } else if found.single_allowed {
            self.single(text, indent, value);
        } else {
            self.double(text, indent, value);
        }
    }

    fn plain(&mut self, text: &str, indent: usize, fold: bool) {
        let chars: Vec<char> = text.chars().collect();
        self.folded(&chars, indent, fold, false);
    }

    fn single(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("'");
        let chars: Vec<char> = text.chars().collect();
        self.folded(&chars, indent, fold, true);
        self.put("'");
    }

    fn folded(&mut self, chars: &[char], indent: usize, fold: bool, quoted: bool) {
        let mut after_space = false;
        for (index, c) in chars.iter().enumerate() {
            let inside = index > 0 && index + 1 < chars.len();
            let next_is_space = chars.get(index + 1) == Some(&' ');
            if *c == ' ' {
                let breaks = fold && !after_space && self.column > WIDTH && !next_is_space;
                if breaks && (inside || !quoted) {
                    self.line(indent);
                } else {
                    self.put(" ");
                }
                after_space = true;
            } else {
                if *c == '\'' && quoted {
                    self.put("'");
                }
                self.put(c.encode_utf8(&mut [0; 4]));
                after_space = false;
            }
        }
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (index, c) in chars.iter().enumerate() {
            if *c == ' ' {
                let inside = index > 0 && index + 1 < chars.len();
                if fold && !after_space && self.column > WIDTH && inside {
                    self.line(indent);
                    if chars[index + 1] == ' ' {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                after_space = true;
                continue;
            }
            after_space = false;
            if let Some(escape) = escape(*c) {
                self.put(&escape);
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        if !text.ends_with('\n') {
            self.put("-");
        } else if text == "\n" || text.ends_with("\n\n") {
            self.put("+");
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.out.push('\n');
            if !line.is_empty() {
                self.out.extend(std::iter::repeat_n(' ', indent));
                self.out.push_str(line);
            }
        }
        // the kept empty lines end with their own break
        self.out.push('\n');
        self.column = 0;
    }
}

/// What a string allows.
struct Analysis {
    /// It holds characters that only the double-quoted form can write.
    special: bool,
    multiline: bool,
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let blank_or_end = |index: usize| {
            chars
                .get(index)
                .is_none_or(|c| *c == ' ' || *c == '\t' || is_break(*c))
        };
        let (mut special, mut indicator, mut space_break) = (false, false, false);
        if text.starts_with("---") || text.starts_with("...") {
            indicator = true;
        }
        for (index, c) in chars.iter().copied().enumerate() {
            let first_blocks = matches!(
                c,
                '#' | ','
                    | '['
                    | ']'
                    | '{'
                    | '}'
                    | '&'
                    | '*'
                    | '!'
                    | '|'
                    | '>'
                    | '\''
                    | '"'
                    | '%'
                    | '@'
                    | '`'
            ) || matches!(c, '?' | ':' | '-') && blank_or_end(index + 1);
            let later_blocks = c == ':' && blank_or_end(index + 1)
                || c == '#' && index > 0 && blank_or_end(index - 1);
            indicator |= if index == 0 {
                first_blocks
            } else {
                later_blocks
            };
            special |= !printable(c) && !is_break(c) || matches!(c, '\r' | '\u{85}');
            space_break |= c == ' ' && chars.get(index + 1).is_some_and(|c| is_break(*c));
        }
        let spaces_outside = text.starts_with(' ') || text.ends_with(' ');
        let multiline = chars.iter().any(|c| is_break(*c));
        Self {
            special: special || space_break,
            multiline,
            plain_allowed: !indicator && !spaces_outside && !multiline && !text.is_empty(),
            single_allowed: !space_break,
            block_allowed: !text.ends_with(' ') && !space_break,
        }
    }
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn escape(c: char) -> Option<String> {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c if printable(c) => return None,
        c if u32::from(c) <= 0xff => return Some(format!("\\x{:02X}", u32::from(c))),
        c if u32::from(c) <= 0xffff => return Some(format!("\\u{:04X}", u32::from(c))),
        c => return Some(format!("\\U{:08X}", u32::from(c))),
    };
    Some(short.to_owned())
}

/// Would a YAML 1.1 reader take it for a time? Such texts are quoted, although they are read back as texts here.
fn looks_like_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |part: &str, low: u32, high: u32| {
        (1..=2).contains(&part.len())
            && part.bytes().all(|c| c.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n))
    };
    if year.len() != 4 || !number(month, 1, 12) || !number(day, 1, 31) {
        return false;
    }
    match rest {
        None => true,
        Some(rest) => rest.len() >= 5 && rest.as_bytes()[0].is_ascii_digit() && rest.contains(':'),
    }
}

/// Would an older reader take it for a number to the base 60, such as `12:30`?
fn looks_like_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && !rest.is_empty()
        && rest.iter().all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
        && digits(fraction)
}

/// Orders keys for people: runs of digits by their number, letters after everything else.
fn natural(a: &str, b: &str) -> Ordering {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let mut left = a.chars().skip(same).peekable();
    let mut right = b.chars().skip(same).peekable();
    let (Some(x), Some(y)) = (left.peek().copied(), right.peek().copied()) else {
        return a.len().cmp(&b.len());
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // a zero inside a number counts: the digits before it are the same on both sides
    let mut before = a.chars().take(same).collect::<Vec<_>>().into_iter().rev();
    let inside = (x == '0' || y == '0')
        && before
            .by_ref()
            .take_while(char::is_ascii_digit)
            .any(|c| c != '0');
    let run = |chars: &mut dyn Iterator<Item = char>| -> String {
        chars.take_while(char::is_ascii_digit).collect()
    };
    let (left, right) = (run(&mut left), run(&mut right));
    let number = |digits: &str| -> (usize, String) {
        let digits = if inside {
            digits
        } else {
            digits.trim_start_matches('0')
        };
        (digits.len(), digits.to_owned())
    };
    number(&left)
        .cmp(&number(&right))
        .then(left.len().cmp(&right.len()))
        .then(x.cmp(&y))
}
