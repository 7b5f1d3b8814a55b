//! Regular expressions as Go's `regexp` reads them.

use regex::{Regex, RegexBuilder};

use crate::value::{Value, list, text};

/// A compiled pattern may not be larger than this, in bytes.
const LARGEST: usize = 4 << 20;

/// Compiles a pattern; what is wrong otherwise, in Go's words.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern).map_err(|why| format!("error parsing regexp: {why}"))?;
    RegexBuilder::new(&translated)
        .size_limit(LARGEST)
        .nest_limit(250)
        .build()
        .map_err(|e| format!("error parsing regexp: {}", reword(&e, pattern)))
}

fn reword(e: &regex::Error, pattern: &str) -> String {
    let text = e.to_string();
    if matches!(e, regex::Error::CompiledTooBig(_)) {
        return "expression too large".into();
    }
    if text.contains("unclosed group") {
        return format!("missing closing ): `{pattern}`");
    }
    if text.contains("unopened group") {
        return format!("unexpected ): `{pattern}`");
    }
    if text.contains("invalid character class range") || text.contains("invalid range") {
        return format!("invalid character class range: `{}`", class_range(pattern));
    }
    if text.contains("unclosed character class") {
        let at = pattern.rfind('[').unwrap_or_default();
        return format!("missing closing ]: `{}`", &pattern[at..]);
    }
    format!("invalid regexp: `{pattern}`")
}

fn class_range(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    chars
        .windows(3)
        .find(|w| w[1] == '-' && w[0] > w[2])
        .map(|w| w.iter().collect())
        .unwrap_or_default()
}

/// The same pattern for the engine here: what the two write otherwise is rewritten, what Go refuses is refused.
fn translate(pattern: &str) -> Result<String, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut at = 0;
    // may a repetition stand here, and where did the last one begin?
    let (mut repeatable, mut last): (bool, Option<usize>) = (false, None);
    let text =
        |from: usize, to: usize| -> String { chars[from..to.min(chars.len())].iter().collect() };
    while at < chars.len() {
        let start = at;
        match chars[at] {
            '\\' => {
                at = escape(&chars, at, &mut out)?;
                repeatable = true;
                last = None;
            }
            '[' => {
                at = class(&chars, at, &mut out)?;
                repeatable = true;
                last = None;
            }
            '*' | '+' | '?' => {
                at += 1;
                if chars.get(at) == Some(&'?') {
                    at += 1;
                }
                repeat(repeatable, last, start, at, &text)?;
                out.push_str(&text(start, at));
                last = Some(start);
                repeatable = false;
            }
            '{' => match count(&chars, at) {
                Some((least, most, end)) => {
                    at = end;
                    if least > 1000 || most.is_some_and(|most| most > 1000 || most < least) {
                        return Err(format!("invalid repeat count: `{}`", text(start, end)));
                    }
                    if chars.get(at) == Some(&'?') {
                        at += 1;
                    }
                    repeat(repeatable, last, start, at, &text)?;
                    out.push_str(&text(start, at));
                    last = Some(start);
                    repeatable = false;
                }
                None => {
                    out.push_str("\\{");
                    at += 1;
                    repeatable = true;
                    last = None;
                }
            },
            '(' => {
                if chars.get(at + 1) == Some(&'?') {
                    let mut end = at + 2;
                    let named = chars.get(end) == Some(&'P') || chars.get(end) == Some(&'<');
                    while end < chars.len() && !matches!(chars[end], ')' | ':' | '>') {
                        if !named && !matches!(chars[end], 'i' | 'm' | 's' | 'U' | '-') {
                            return Err(format!(
                                "invalid or unsupported Perl syntax: `{}`",
                                text(at, end + 1)
                            ));
                        }
                        end += 1;
                    }
                    if end >= chars.len() {
                        return Err(format!(
                            "missing argument to repetition operator: `{}`",
                            "?"
                        ));
                    }
                    out.push_str(&text(at, end + 1));
                    repeatable = chars[end] == ')';
                    at = end + 1;
                } else {
                    out.push('(');
                    at += 1;
                    repeatable = false;
                }
                last = None;
            }
            c => {
                match c {
                    '|' => repeatable = false,
                    '}' | ']' | '#' | '&' | '-' | '~' | ' ' => {
                        out.push('\\');
                        repeatable = true;
                    }
                    _ => repeatable = true,
                }
                if c == ' ' {
                    out.pop();
                }
                out.push(c);
                at += 1;
                last = None;
            }
        }
    }
    Ok(out)
}

fn repeat(
    repeatable: bool,
    last: Option<usize>,
    start: usize,
    end: usize,
    text: &dyn Fn(usize, usize) -> String,
) -> Result<(), String> {
    if let Some(last) = last {
        return Err(format!(
            "invalid nested repetition operator: `{}`",
            text(last, end)
        ));
    }
    if !repeatable {
        return Err(format!(
            "missing argument to repetition operator: `{}`",
            text(start, end)
        ));
    }
    Ok(())
}

/// `{n}`, `{n,}` or `{n,m}`, and where it ends.
fn count(chars: &[char], at: usize) -> Option<(u32, Option<u32>, usize)> {
    let close = at + chars[at..].iter().take(16).position(|c| *c == '}')?;
    let body: String = chars[at + 1..close].iter().collect();
    let number = |s: &str| {
        (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()))
            .then(|| s.parse::<u32>().unwrap_or(u32::MAX))
    };
    match body.split_once(',') {
        None => number(&body).map(|n| (n, Some(n), close + 1)),
        Some((least, "")) => number(least).map(|n| (n, None, close + 1)),
        Some((least, most)) => Some((number(least)?, Some(number(most)?), close + 1)),
    }
}

const SPACE: &str = "\\t\\n\\x0C\\r ";

fn escape(chars: &[char], at: usize, out: &mut String) -> Result<usize, String> {
    let Some(c) = chars.get(at + 1) else {
        return Err("trailing backslash at end of expression: ``".into());
    };
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str(&format!("[{SPACE}]")),
        'S' => out.push_str(&format!("[^{SPACE}]")),
        'b' => out.push_str("(?-u:\\b)"),
        'B' => out.push_str("(?:(?-u:\\b{start-half})(?-u:\\b{end-half})|\\B)"),
        'A' | 'z' => out.extend(['\\', *c]),
        'Q' => {
            let mut end = at + 2;
            while end < chars.len() && !(chars[end] == '\\' && chars.get(end + 1) == Some(&'E')) {
                out.push_str(&regex::escape(&chars[end].to_string()));
                end += 1;
            }
            return Ok((end + 2).min(chars.len()));
        }
        'p' | 'P' => {
            let end = if chars.get(at + 2) == Some(&'{') {
                chars[at..]
                    .iter()
                    .position(|c| *c == '}')
                    .map_or(chars.len(), |i| at + i + 1)
            } else {
                at + 3
            };
            let end = end.min(chars.len());
            out.extend(&chars[at..end]);
            return Ok(end);
        }
        _ => return literal_escape(chars, at, out),
    }
    Ok(at + 2)
}

/// An escape that is one character, in a class or out of it.
fn literal_escape(chars: &[char], at: usize, out: &mut String) -> Result<usize, String> {
    let c = chars.get(at + 1).copied().unwrap_or_default();
    let code = |out: &mut String, value: u32| -> bool {
        match char::from_u32(value) {
            Some(c) => {
                out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
                true
            }
            None => false,
        }
    };
    let end = match c {
        'a' => {
            out.push_str("\\x07");
            at + 2
        }
        'f' => {
            out.push_str("\\x0C");
            at + 2
        }
        'n' | 'r' | 't' | 'v' => {
            out.extend(['\\', c]);
            at + 2
        }
        'x' => {
            let (digits, end) = if chars.get(at + 2) == Some(&'{') {
                let close = chars[at..].iter().position(|c| *c == '}').map(|i| at + i);
                let Some(close) = close else {
                    return Err(format!("invalid escape sequence: `\\x`"));
                };
                (chars[at + 3..close].iter().collect::<String>(), close + 1)
            } else {
                let end = (at + 4).min(chars.len());
                (chars[at + 2..end].iter().collect::<String>(), at + 4)
            };
            let value = u32::from_str_radix(&digits, 16).unwrap_or(u32::MAX);
            if end > chars.len() || digits.is_empty() || !code(out, value) {
                return Err(format!("invalid escape sequence: `\\x{digits}`"));
            }
            end
        }
        '0'..='7' => {
            let mut end = at + 1;
            while end < at + 4 && chars.get(end).is_some_and(|c| matches!(c, '0'..='7')) {
                end += 1;
            }
            let digits: String = chars[at + 1..end].iter().collect();
            if c != '0' && digits.len() == 1 {
                return Err(format!("invalid escape sequence: `\\{c}`"));
            }
            code(out, u32::from_str_radix(&digits, 8).unwrap_or_default());
            end
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
            out.push_str(&regex::escape(&c.to_string()));
            if regex::escape(&c.to_string()).len() == 1 && matches!(c, '&' | '-' | '~' | '#') {
                out.pop();
                out.extend(['\\', c]);
            }
            at + 2
        }
        c => return Err(format!("invalid escape sequence: `\\{c}`")),
    };
    Ok(end)
}

/// A bracketed class.
fn class(chars: &[char], open: usize, out: &mut String) -> Result<usize, String> {
    let mut at = open + 1;
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    loop {
        let Some(c) = chars.get(at).copied() else {
            let rest: String = chars[open..].iter().collect();
            return Err(format!("missing closing ]: `{rest}`"));
        };
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(at + 1);
            }
            '[' if chars.get(at + 1) == Some(&':') => {
                let end = chars[at..]
                    .windows(2)
                    .position(|w| w == [':', ']'])
                    .map_or(at + 1, |i| at + i + 2);
                if end == at + 1 {
                    out.push_str("\\[");
                } else {
                    out.extend(&chars[at..end]);
                }
                at = end;
            }
            '\\' => match chars.get(at + 1) {
                Some('d') => {
                    out.push_str("0-9");
                    at += 2;
                }
                Some('w') => {
                    out.push_str("0-9A-Za-z_");
                    at += 2;
                }
                Some('s') => {
                    out.push_str(SPACE);
                    at += 2;
                }
                Some('D' | 'W' | 'S' | 'p' | 'P' | 'Q') => at = escape(chars, at, out)?,
                Some(_) => at = literal_escape(chars, at, out)?,
                None => return Err("trailing backslash at end of expression: ``".into()),
            },
            '[' | ']' | '&' | '~' => {
                out.extend(['\\', c]);
                at += 1;
            }
            '-' if first || chars.get(at + 1) == Some(&']') || chars.get(at + 1) == Some(&'-') => {
                out.push_str("\\-");
                at += 1;
            }
            c => {
                out.push(c);
                at += 1;
            }
        }
        first = false;
    }
}

pub(crate) fn find<'a>(regex: &Regex, subject: &str) -> Value<'a> {
    text(regex.find(subject).map_or("", |m| m.as_str()))
}

pub(crate) fn find_all<'a>(regex: &Regex, subject: &str, count: i64) -> Value<'a> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    list(
        regex
            .find_iter(subject)
            .take(most)
            .map(|m| text(m.as_str()))
            .collect(),
    )
}
