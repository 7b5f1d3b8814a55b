//! Regular expressions as Go's `regexp` package offers them, over `base-regexp`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::strconv;
use super::unicode;

/// How many compiled patterns a thread keeps.
const KEPT: usize = 256;

/// A compiled pattern.
#[derive(Debug)]
pub struct Regexp {
    regex: regex::bytes::Regex,
    /// The names of the groups, from 1 on; empty where a group has none.
    names: Vec<String>,
    /// Whether the pattern is the empty text.
    empty: bool,
}

/// Where a group matched.
type Span = Option<(usize, usize)>;

thread_local! {
    /// Compiled patterns: a memo of a pure function.
    static COMPILED: RefCell<BTreeMap<Vec<u8>, Rc<Regexp>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Compiles a pattern, or finds it compiled. The error is Go's text.
pub fn compile(pattern: &[u8]) -> Result<Rc<Regexp>, String> {
    if let Some(found) = COMPILED.with_borrow(|kept| kept.get(pattern).cloned()) {
        return Ok(found);
    }
    let compiled = Rc::new(Regexp::new(pattern)?);
    COMPILED.with_borrow_mut(|kept| {
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(pattern.to_vec(), Rc::clone(&compiled));
    });
    Ok(compiled)
}

/// What Go's `MustCompile` panics with.
pub fn must_compile_message(pattern: &[u8], error: &str) -> String {
    let quoted = if strconv::can_backquote(pattern) {
        format!("`{}`", String::from_utf8_lossy(pattern))
    } else {
        strconv::quote(pattern)
    };
    format!("regexp: Compile({quoted}): {error}")
}

impl Regexp {
    /// Compiles a pattern. The error is Go's text.
    pub fn new(pattern: &[u8]) -> Result<Regexp, String> {
        let compiled = base_regexp::compile(pattern)?;
        Ok(Regexp {
            regex: compiled.regex,
            names: compiled.names,
            empty: pattern.is_empty(),
        })
    }

    /// Whether the text holds a match.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The first match.
    pub fn find<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        self.regex.find(text).map(|found| found.as_bytes())
    }

    /// The first match from a place on. An empty one within a character is none: the other engine goes by bytes there.
    fn span_at(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        while at <= text.len() {
            let found = self.regex.find_at(text, at)?;
            if !found.is_empty() || !splits_rune(text, found.start()) {
                return Some((found.start(), found.end()));
            }
            at = found.start() + 1;
        }
        None
    }

    /// Where the matches are, at most `limit` of them.
    fn spans(&self, text: &[u8], limit: Option<usize>) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        let (mut at, mut last_end) = (0, None);
        while at <= text.len() && limit.is_none_or(|limit| out.len() < limit) {
            let Some((start, end)) = self.span_at(text, at) else {
                break;
            };
            if end == at {
                // An empty match right after a match does not count; go on behind the next rune.
                if last_end != Some(start) {
                    out.push((start, end));
                }
                at += unicode::decode(&text[at..]).1.max(1);
            } else {
                out.push((start, end));
                at = end;
            }
            last_end = Some(end);
        }
        out
    }

    /// How many matches there are.
    pub fn count(&self, text: &[u8]) -> usize {
        self.spans(text, None).len()
    }

    /// The matches, at most `limit` of them; `None` if there are none.
    pub fn find_all<'a>(&self, text: &'a [u8], limit: i64) -> Option<Vec<&'a [u8]>> {
        let spans = self.spans(text, usize::try_from(limit).ok());
        let found = |(from, to)| &text[from..to];
        (!spans.is_empty()).then(|| spans.into_iter().map(found).collect())
    }

    /// The text between the matches, in at most `limit` parts.
    pub fn split<'a>(&self, text: &'a [u8], limit: i64) -> Option<Vec<&'a [u8]>> {
        if limit == 0 {
            return None;
        }
        if text.is_empty() && !self.empty {
            return Some(vec![text]);
        }
        let limit = usize::try_from(limit).ok();
        let mut out = Vec::new();
        let (mut begin, mut end) = (0, 0);
        for (from, to) in self.spans(text, limit) {
            if limit.is_some_and(|limit| out.len() + 1 == limit) {
                break;
            }
            end = from;
            if to != 0 {
                out.push(&text[begin..end]);
            }
            begin = to;
        }
        if end != text.len() {
            out.push(&text[begin..]);
        }
        Some(out)
    }

    /// The text with every match replaced. `$1` and `${name}` stand for groups unless it is meant literally.
    pub fn replace_all(&self, text: &[u8], replacement: &[u8], literal: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let expand = !literal && replacement.contains(&b'$');
        let mut places = self.regex.capture_locations();
        let (mut at, mut last_end) = (0, 0);
        while at <= text.len() {
            let Some((start, end)) = self.span_at(text, at) else {
                break;
            };
            if expand {
                self.regex.captures_read_at(&mut places, text, start);
            }
            out.extend_from_slice(&text[last_end..start]);
            // An empty match right after a match is not replaced.
            if end > last_end || start == 0 {
                if expand {
                    let group = |index: usize| -> Span { places.get(index) };
                    self.expand(&mut out, replacement, text, group);
                } else {
                    out.extend_from_slice(replacement);
                }
            }
            last_end = end;
            let width = text.get(at..).map_or(0, |rest| unicode::decode(rest).1);
            if at + width > end {
                at += width;
            } else if at + 1 > end {
                at += 1;
            } else {
                at = end;
            }
        }
        out.extend_from_slice(text.get(last_end..).unwrap_or_default());
        out
    }

    fn expand(
        &self,
        out: &mut Vec<u8>,
        template: &[u8],
        text: &[u8],
        group: impl Fn(usize) -> Span,
    ) {
        let mut rest = template;
        while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            if rest.first() == Some(&b'$') {
                out.push(b'$');
                rest = &rest[1..];
                continue;
            }
            let Some((name, after)) = group_name(rest) else {
                out.push(b'$');
                continue;
            };
            rest = after;
            for index in self.groups(name) {
                if let Some((from, to)) = group(index) {
                    out.extend_from_slice(&text[from..to]);
                    break;
                }
            }
        }
        out.extend_from_slice(rest);
    }

    /// The groups that a name or number stands for.
    fn groups(&self, name: &[u8]) -> Vec<usize> {
        let mut number = Some(0_usize);
        for &byte in name {
            number = number
                .filter(|number| byte.is_ascii_digit() && *number < 100_000_000)
                .map(|number| number * 10 + usize::from(byte - b'0'));
        }
        if name.len() > 1 && name[0] == b'0' {
            number = None;
        }
        if let Some(number) = number {
            return vec![number];
        }
        let named =
            |(index, found): (usize, &String)| (found.as_bytes() == name).then_some(index + 1);
        self.names.iter().enumerate().filter_map(named).collect()
    }
}

/// Whether a place lies within a character.
fn splits_rune(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80)
        && (1..=3.min(at)).any(|back| unicode::decode(&text[at - back..]).1 > back)
}

/// The name after a dollar sign, and what follows it.
fn group_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let braced = text.first() == Some(&b'{');
    let body = if braced { &text[1..] } else { text };
    let mut end = 0;
    for (at, rune, width) in unicode::runes(body) {
        if !unicode::is_letter(rune) && !unicode::is_digit(rune) && rune != u32::from(b'_') {
            break;
        }
        end = at + width;
    }
    if end == 0 {
        return None;
    }
    let (name, rest) = body.split_at(end);
    if !braced {
        return Some((name, rest));
    }
    rest.strip_prefix(b"}").map(|rest| (name, rest))
}

/// The text with everything escaped that means something in a pattern.
pub fn quote_meta(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if b"\\.+*?()|[]{}^$".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, text: &str, replacement: &str) -> String {
        let regexp = Regexp::new(pattern.as_bytes()).unwrap();
        let out = regexp.replace_all(text.as_bytes(), replacement.as_bytes(), false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replaces_as_go_does() {
        assert_eq!(replaced("a(x*)b", "-ab-axxb-", "${1}W"), "-W-xxW-");
        assert_eq!(replaced("a(x*)b", "-ab-axxb-", "$1W"), "---");
        assert_eq!(replaced("a(?P<1W>x*)b", "-ab-axxb-", "$1W"), "--xx-");
        assert_eq!(replaced("b*", "abc", "-"), "-a-c-");
        assert_eq!(replaced("", "é", "-"), "-é-");
        assert_eq!(replaced("x", "x", "$$1$"), "$1$");
    }

    #[test]
    fn refuses_with_gos_words() {
        for (pattern, error) in [
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){11}", "invalid repeat count: `{11}`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("\\8", "invalid escape sequence: `\\8`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?i)(?x)", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("\\pX", "invalid character class range: `\\pX`"),
        ] {
            let found = Regexp::new(pattern.as_bytes()).err().unwrap_or_default();
            assert_eq!(found, format!("error parsing regexp: {error}"), "{pattern}");
        }
    }

    #[test]
    fn classes_are_gos() {
        let is = |pattern: &str, text: &str| {
            Regexp::new(pattern.as_bytes())
                .unwrap()
                .is_match(text.as_bytes())
        };
        assert!(!is("^\\s$", "\x0b") && is("^[[:space:]]$", "\x0b"));
        assert!(!is("^\\d$", "٣") && !is("^\\w$", "é"));
        assert!(is("^[a&&b]+$", "ab&") && is("^[[a]+$", "[a"));
        assert!(is("^a{,2}$", "a{,2}") && is("^\\Qa.b\\E$", "a.b"));
        assert!(is("^\\p{Greek}\\p{^Lu}$", "αα") && is("(?i)^straSSe$", "STRASSE"));
        assert!(is("^\\<\\_\\101$", "<_A") && is("a(?i)b*$", "aBB"));
        assert!(is("^[^\\d\\D]|x$", "x"));
    }
}
