//! Go's pattern syntax, read with Go's errors and written for the `regex` crate.
//!
//! Every atom is written so that it means the same wherever it stands: flags go with it, classes hold plain ranges.

use crate::text::{RUNE_ERROR, decode, find, push};

/// How deep a pattern may nest. Go stops at 1,000; what compiles it here works by recursion.
pub(super) const MAX_HEIGHT: u32 = 200;

/// Go's bound on counted repetitions, and on their product where they nest.
const MAX_REPEAT: u32 = 1_000;

/// A pattern for the `regex` crate.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The names of the groups, from 1 on; empty where a group has none.
    pub(super) names: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_all: bool,
    lazy: bool,
}

/// One thing that a repetition can follow.
struct Atom {
    text: String,
    height: u32,
    /// The product of the counted repetitions inside.
    product: u32,
    /// A repetition needs no group around it.
    single: bool,
}

/// An open group: finished alternatives, and the atoms of the one being read.
#[derive(Default)]
struct Frame {
    done: Vec<Atom>,
    atoms: Vec<Atom>,
    capture: bool,
    outer: Flags,
}

impl Frame {
    fn bar(&mut self) {
        let atoms = std::mem::take(&mut self.atoms);
        self.done.push(joined(atoms, ""));
    }

    fn close(mut self) -> Atom {
        self.bar();
        joined(self.done, "|")
    }
}

fn joined(atoms: Vec<Atom>, between: &str) -> Atom {
    let deeper = u32::from(atoms.len() > 1);
    Atom {
        height: atoms.iter().map(|atom| atom.height).max().unwrap_or(1) + deeper,
        product: atoms.iter().map(|atom| atom.product).max().unwrap_or(1),
        text: atoms
            .into_iter()
            .map(|atom| atom.text)
            .collect::<Vec<_>>()
            .join(between),
        single: false,
    }
}

struct Parser<'a> {
    whole: &'a [u8],
    flags: Flags,
    frames: Vec<Frame>,
    names: Vec<String>,
}

type Rest<'a> = Result<&'a [u8], String>;

fn failed(code: &str, part: &[u8]) -> String {
    format!("{code}: `{}`", String::from_utf8_lossy(part))
}

/// What stands before the rest of a text.
fn before<'a>(text: &'a [u8], rest: &[u8]) -> &'a [u8] {
    &text[..text.len() - rest.len()]
}

fn next_rune(text: &[u8]) -> Result<(u32, &[u8]), String> {
    let (rune, width) = decode(text);
    if rune == RUNE_ERROR && width == 1 {
        return Err(failed("invalid UTF-8", text));
    }
    Ok((rune, &text[width..]))
}

fn check_utf8(text: &[u8]) -> Result<(), String> {
    let mut rest = text;
    while !rest.is_empty() {
        rest = next_rune(rest)?.1;
    }
    Ok(())
}

/// Translates a pattern. The error is what Go says after "error parsing regexp: ".
pub(super) fn translate(pattern: &[u8]) -> Result<Translated, String> {
    let mut parser = Parser {
        whole: pattern,
        flags: Flags::default(),
        frames: vec![Frame::default()],
        names: Vec::new(),
    };
    let mut rest = pattern;
    let mut last_repeat: &[u8] = b"";
    while !rest.is_empty() {
        let here = rest;
        let mut repeat: &[u8] = b"";
        rest = match here[0] {
            b'(' if here.get(1) == Some(&b'?') => parser.flags_or_group(here)?,
            b'(' => {
                parser.open(String::new());
                &here[1..]
            }
            b'|' => {
                parser.top().bar();
                &here[1..]
            }
            b')' => parser.close(here)?,
            b'^' => parser.plain(
                if parser.flags.multi_line {
                    "(?m:^)"
                } else {
                    "\\A"
                },
                here,
                1,
            ),
            b'$' => parser.plain(
                if parser.flags.multi_line {
                    "(?m:$)"
                } else {
                    "\\z"
                },
                here,
                1,
            ),
            b'.' => parser.plain(if parser.flags.dot_all { "(?s:.)" } else { "." }, here, 1),
            b'[' => parser.class(here)?,
            b'*' | b'+' | b'?' => {
                repeat = here;
                let operator = char::from(here[0]).to_string();
                parser.repeat(&operator, 1, here, &here[1..], last_repeat)?
            }
            b'{' => match repeat_counts(here) {
                None => {
                    parser.literal(u32::from(b'{'));
                    &here[1..]
                }
                Some((counts, after)) => {
                    let Some((min, max)) = counts else {
                        return Err(failed("invalid repeat count", before(here, after)));
                    };
                    repeat = here;
                    let operator = match max {
                        None => format!("{{{min},}}"),
                        Some(max) => format!("{{{min},{max}}}"),
                    };
                    let factor = match max {
                        Some(0) => 0,
                        Some(max) => max,
                        None => min.max(1),
                    };
                    parser.repeat(&operator, factor, here, after, last_repeat)?
                }
            },
            b'\\' => parser.escape(here)?,
            _ => {
                let (rune, after) = next_rune(here)?;
                parser.literal(rune);
                after
            }
        };
        last_repeat = repeat;
    }
    let Some(frame) = parser.frames.pop().filter(|_| parser.frames.is_empty()) else {
        return Err(failed("missing closing )", pattern));
    };
    let names = std::mem::take(&mut parser.names);
    Ok(Translated {
        pattern: frame.close().text,
        names,
    })
}

/// The bounds of a counted repetition, if they are in order, and what follows it; `None` if it is none.
#[expect(clippy::type_complexity, reason = "read in one place")]
fn repeat_counts(text: &[u8]) -> Option<(Option<(u32, Option<u32>)>, &[u8])> {
    let number = |text: &[u8]| -> Option<(u32, usize)> {
        let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || length > 1 && text[0] == b'0' {
            return None;
        }
        let value = std::str::from_utf8(&text[..length]).ok()?;
        Some((value.parse().unwrap_or(u32::MAX), length))
    };
    let mut rest = &text[1..];
    let (min, length) = number(rest)?;
    rest = &rest[length..];
    let mut max = Some(min);
    if rest.first() == Some(&b',') {
        rest = &rest[1..];
        if *rest.first()? == b'}' {
            max = None;
        } else {
            let (value, length) = number(rest)?;
            rest = &rest[length..];
            max = Some(value);
        }
    }
    let after = rest.strip_prefix(b"}")?;
    let fits = min <= MAX_REPEAT && max.is_none_or(|max| max <= MAX_REPEAT && min <= max);
    Some((fits.then_some((min, max)), after))
}

impl<'a> Parser<'a> {
    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn push(&mut self, text: String, single: bool) {
        self.top().atoms.push(Atom {
            text,
            height: 1,
            product: 1,
            single,
        });
    }

    fn plain(&mut self, text: &str, here: &'a [u8], length: usize) -> &'a [u8] {
        self.push(text.to_owned(), false);
        &here[length..]
    }

    fn literal(&mut self, rune: u32) {
        let mut text = String::new();
        match char::from_u32(rune) {
            // A surrogate matches nothing.
            None => text.push_str("[a&&b]"),
            Some(letter) if letter.is_ascii_alphanumeric() => text.push(letter),
            Some(_) => text = format!("\\x{{{rune:x}}}"),
        }
        if self.flags.fold {
            text = format!("(?i:{text})");
        }
        self.push(text, true);
    }

    fn open(&mut self, name: String) {
        self.names.push(name);
        self.frames.push(Frame {
            capture: true,
            outer: self.flags,
            ..Frame::default()
        });
    }

    fn close(&mut self, here: &'a [u8]) -> Rest<'a> {
        if self.frames.len() < 2 {
            return Err(failed("unexpected )", self.whole));
        }
        let Some(frame) = self.frames.pop() else {
            return Err(failed("unexpected )", self.whole));
        };
        self.flags = frame.outer;
        let capture = frame.capture;
        let mut atom = frame.close();
        atom.height += u32::from(capture);
        let opening = if capture { "(" } else { "(?:" };
        atom.text = format!("{opening}{})", atom.text);
        atom.single = true;
        self.check_height(&atom)?;
        self.top().atoms.push(atom);
        Ok(&here[1..])
    }

    fn check_height(&self, atom: &Atom) -> Result<(), String> {
        if atom.height > MAX_HEIGHT || self.frames.len() > MAX_HEIGHT as usize {
            return Err(failed("expression nests too deeply", self.whole));
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        operator: &str,
        factor: u32,
        here: &'a [u8],
        after: &'a [u8],
        last_repeat: &'a [u8],
    ) -> Rest<'a> {
        let (after, lazy) = match after.strip_prefix(b"?") {
            Some(rest) => (rest, !self.flags.lazy),
            None => (after, self.flags.lazy),
        };
        if !last_repeat.is_empty() {
            return Err(failed(
                "invalid nested repetition operator",
                before(last_repeat, after),
            ));
        }
        let Some(mut atom) = self.top().atoms.pop() else {
            return Err(failed(
                "missing argument to repetition operator",
                before(here, after),
            ));
        };
        atom.height += 1;
        self.check_height(&atom)?;
        atom.product = atom.product.saturating_mul(factor).max(1);
        if factor >= 2 && atom.product > MAX_REPEAT {
            return Err(failed("invalid repeat count", before(here, after)));
        }
        let lazy = if lazy { "?" } else { "" };
        atom.text = if atom.single {
            format!("{}{operator}{lazy}", atom.text)
        } else {
            format!("(?:{}){operator}{lazy}", atom.text)
        };
        atom.single = false;
        self.top().atoms.push(atom);
        Ok(after)
    }

    /// What starts with `(?`.
    fn flags_or_group(&mut self, here: &'a [u8]) -> Rest<'a> {
        let with_p = here.len() > 4 && here.starts_with(b"(?P<");
        let without = here.len() > 3 && here.starts_with(b"(?<");
        if with_p || without {
            let from = if with_p { 4 } else { 3 };
            let Some(end) = here.iter().position(|byte| *byte == b'>') else {
                check_utf8(here)?;
                return Err(failed("invalid named capture", here));
            };
            let name = here.get(from..end).unwrap_or_default();
            check_utf8(name)?;
            let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            if name.is_empty() || !name.iter().all(fits) {
                return Err(failed("invalid named capture", &here[..=end]));
            }
            self.open(String::from_utf8_lossy(name).into_owned());
            return Ok(&here[end + 1..]);
        }
        let mut rest = &here[2..];
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, false);
        while !rest.is_empty() {
            let (rune, after) = next_rune(rest)?;
            rest = after;
            match char::from_u32(rune) {
                Some('i') => flags.fold = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_all = on,
                Some('U') => flags.lazy = on,
                Some('-') if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                Some(end @ (':' | ')')) if on || seen => {
                    if end == ':' {
                        self.frames.push(Frame {
                            outer: self.flags,
                            ..Frame::default()
                        });
                    }
                    self.flags = flags;
                    return Ok(rest);
                }
                _ => break,
            }
            seen = true;
        }
        Err(failed(
            "invalid or unsupported Perl syntax",
            before(here, rest),
        ))
    }

    /// What starts with a backslash, outside a class.
    fn escape(&mut self, here: &'a [u8]) -> Rest<'a> {
        match here.get(1) {
            Some(b'A') => return Ok(self.plain("\\A", here, 2)),
            Some(b'z') => return Ok(self.plain("\\z", here, 2)),
            Some(b'b') => return Ok(self.plain("(?-u:\\b)", here, 2)),
            Some(b'B') => return Ok(self.plain("(?-u:\\B)", here, 2)),
            Some(b'C') => return Err(failed("invalid escape sequence", &here[..2])),
            Some(b'Q') => {
                let text = &here[2..];
                let end = find(text, b"\\E");
                let mut quoted = &text[..end.unwrap_or(text.len())];
                while !quoted.is_empty() {
                    let (rune, after) = next_rune(quoted)?;
                    self.literal(rune);
                    quoted = after;
                }
                return Ok(end.map_or(&b""[..], |end| &text[end + 2..]));
            }
            _ => {}
        }
        let mut class = Class::default();
        if let Some(rest) = class.group(here)? {
            self.push_class(&class, false);
            return Ok(rest);
        }
        let (rune, rest) = escaped_rune(here)?;
        self.literal(rune);
        Ok(rest)
    }

    fn push_class(&mut self, class: &Class, negated: bool) {
        let text = class.text(negated);
        let text = if self.flags.fold {
            format!("(?i:{text})")
        } else {
            text
        };
        self.push(text, true);
    }

    fn class(&mut self, here: &'a [u8]) -> Rest<'a> {
        let mut rest = &here[1..];
        let negated = rest.first() == Some(&b'^');
        if negated {
            rest = &rest[1..];
        }
        let mut class = Class::default();
        let mut first = true;
        while first || rest.first() != Some(&b']') {
            first = false;
            if rest.len() > 2
                && rest.starts_with(b"[:")
                && let Some(end) = find(&rest[2..], b":]")
            {
                let name = &rest[..end + 4];
                if !class.posix(&name[2..name.len() - 2]) {
                    return Err(failed("invalid character class range", name));
                }
                rest = &rest[end + 4..];
                continue;
            }
            if let Some(after) = class.group(rest)? {
                rest = after;
                continue;
            }
            let from = rest;
            let low;
            (low, rest) = class_rune(rest, here)?;
            let mut high = low;
            if rest.len() >= 2 && rest[0] == b'-' && rest[1] != b']' {
                (high, rest) = class_rune(&rest[1..], here)?;
                if high < low {
                    return Err(failed("invalid character class range", before(from, rest)));
                }
            }
            class.ranges.push((low, high));
        }
        self.push_class(&class, negated);
        Ok(&rest[1..])
    }
}

fn class_rune<'a>(text: &'a [u8], whole: &[u8]) -> Result<(u32, &'a [u8]), String> {
    match text.first() {
        None => Err(failed("missing closing ]", whole)),
        Some(b'\\') => escaped_rune(text),
        Some(_) => next_rune(text),
    }
}

/// A rune that is written with a backslash.
fn escaped_rune(text: &[u8]) -> Result<(u32, &[u8]), String> {
    if text.len() < 2 {
        return Err(failed("trailing backslash at end of expression", b""));
    }
    let (rune, mut rest) = next_rune(&text[1..])?;
    let bad = |rest: &[u8]| Err(failed("invalid escape sequence", before(text, rest)));
    let octal = |rest: &[u8]| rest.first().is_some_and(|b| (b'0'..=b'7').contains(b));
    let letter = char::from_u32(rune).unwrap_or(' ');
    match letter {
        '1'..='7' if !octal(rest) => bad(rest),
        '0'..='7' => {
            let mut value = rune - u32::from('0');
            for _ in 1..3 {
                if !octal(rest) {
                    break;
                }
                value = value * 8 + u32::from(rest[0] - b'0');
                rest = &rest[1..];
            }
            Ok((value, rest))
        }
        'x' => {
            if rest.is_empty() {
                return bad(rest);
            }
            let (first, after) = next_rune(rest)?;
            rest = after;
            let digit = |rune: u32| char::from_u32(rune).and_then(|letter| letter.to_digit(16));
            if first != u32::from('{') {
                let (second, after) = next_rune(rest)?;
                return match (digit(first), digit(second)) {
                    (Some(high), Some(low)) => Ok((high << 4 | low, after)),
                    _ => bad(after),
                };
            }
            let (mut value, mut count) = (0, 0);
            loop {
                if rest.is_empty() {
                    return bad(rest);
                }
                let (rune, after) = next_rune(rest)?;
                rest = after;
                if rune == u32::from('}') {
                    break;
                }
                let Some(digit) = digit(rune) else {
                    return bad(rest);
                };
                value = value << 4 | digit;
                if value > 0x10_FFFF {
                    return bad(rest);
                }
                count += 1;
            }
            if count == 0 {
                bad(rest)
            } else {
                Ok((value, rest))
            }
        }
        'a' => Ok((7, rest)),
        'f' => Ok((12, rest)),
        'n' => Ok((10, rest)),
        'r' => Ok((13, rest)),
        't' => Ok((9, rest)),
        'v' => Ok((11, rest)),
        _ if rune < 0x80 && !letter.is_ascii_alphanumeric() => Ok((rune, rest)),
        _ => bad(rest),
    }
}

/// What a class holds: ranges, and groups by their name.
#[derive(Default)]
struct Class {
    ranges: Vec<(u32, u32)>,
    groups: Vec<String>,
}

const DIGIT: &[(u32, u32)] = &[(0x30, 0x39)];
const SPACE: &[(u32, u32)] = &[(9, 10), (12, 13), (0x20, 0x20)];
const WORD: &[(u32, u32)] = &[(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];

impl Class {
    fn add(&mut self, ranges: &[(u32, u32)], negated: bool) {
        if !negated {
            self.ranges.extend_from_slice(ranges);
            return;
        }
        let mut from = 0;
        for &(low, high) in ranges {
            if low > from {
                self.ranges.push((from, low - 1));
            }
            from = high + 1;
        }
        self.ranges.push((from, 0x10_FFFF));
    }

    /// `\d`, `\pL` and the like, if the text starts with one.
    fn group<'a>(&mut self, text: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
        if text.len() < 2 || text[0] != b'\\' {
            return Ok(None);
        }
        let ranges = match text[1].to_ascii_lowercase() {
            b'd' => DIGIT,
            b's' => SPACE,
            b'w' => WORD,
            b'p' => return self.named_group(text).map(Some),
            _ => return Ok(None),
        };
        self.add(ranges, text[1].is_ascii_uppercase());
        Ok(Some(&text[2..]))
    }

    fn named_group<'a>(&mut self, text: &'a [u8]) -> Rest<'a> {
        let mut negated = text[1] == b'P';
        let (rune, mut rest) = next_rune(&text[2..])?;
        let mut name = String::new();
        if rune == u32::from('{') {
            let Some(end) = text.iter().position(|byte| *byte == b'}') else {
                check_utf8(text)?;
                return Err(failed("invalid character class range", text));
            };
            check_utf8(&text[3..end])?;
            name.push_str(&String::from_utf8_lossy(&text[3..end]));
            rest = &text[end + 1..];
        } else {
            let mut bytes = Vec::new();
            push(&mut bytes, rune);
            name.push_str(&String::from_utf8_lossy(&bytes));
        }
        if let Some(plain) = name.strip_prefix('^') {
            negated = !negated;
            name = plain.to_owned();
        }
        let Some(group) = unicode_group(&name, negated) else {
            return Err(failed("invalid character class range", before(text, rest)));
        };
        self.groups.push(group);
        Ok(rest)
    }

    /// A class by its POSIX name, which may start with `^`.
    fn posix(&mut self, name: &[u8]) -> bool {
        let (negated, name) = match name.strip_prefix(b"^") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let ranges: &[(u32, u32)] = match name {
            b"alnum" => &[(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)],
            b"alpha" => &[(0x41, 0x5A), (0x61, 0x7A)],
            b"ascii" => &[(0, 0x7F)],
            b"blank" => &[(9, 9), (0x20, 0x20)],
            b"cntrl" => &[(0, 0x1F), (0x7F, 0x7F)],
            b"digit" => DIGIT,
            b"graph" => &[(0x21, 0x7E)],
            b"lower" => &[(0x61, 0x7A)],
            b"print" => &[(0x20, 0x7E)],
            b"punct" => &[(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)],
            b"space" => &[(9, 13), (0x20, 0x20)],
            b"upper" => &[(0x41, 0x5A)],
            b"word" => WORD,
            b"xdigit" => &[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)],
            _ => return false,
        };
        self.add(ranges, negated);
        true
    }

    fn text(&self, negated: bool) -> String {
        let mut out = String::from(if negated { "[^" } else { "[" });
        let open = out.len();
        for &(low, high) in &self.ranges {
            // Surrogates are no characters to the other engine, and match nothing in Go.
            for (low, high) in [(low, high.min(0xD7FF)), (low.max(0xE000), high)] {
                if low <= high {
                    out.push_str(&format!("\\x{{{low:x}}}-\\x{{{high:x}}}"));
                }
            }
        }
        for group in &self.groups {
            out.push_str(group);
        }
        if out.len() == open {
            return if negated { "(?s:.)" } else { "[a&&b]" }.to_owned();
        }
        out.push(']');
        out
    }
}

/// A Unicode category or script by the name that Go knows it by.
fn unicode_group(name: &str, negated: bool) -> Option<String> {
    let mark = if negated { 'P' } else { 'p' };
    let plain: String = name
        .chars()
        .filter(|letter| !matches!(letter, '_' | '-' | ' '))
        .collect::<String>()
        .to_ascii_lowercase();
    if matches!(plain.as_str(), "any" | "assigned" | "ascii") {
        return Some(format!("\\{mark}{{{plain}}}"));
    }
    if plain.is_empty() || !plain.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return None;
    }
    ["gc", "sc"].iter().find_map(|kind| {
        let known = format!("\\p{{{kind}={plain}}}");
        regex::bytes::Regex::new(&known).ok()?;
        Some(format!("\\{mark}{{{kind}={plain}}}"))
    })
}
