//! Text: parts of it, what is in it, other forms of it. Places count code points.

use crate::functions::LARGEST;
use crate::libraries::formatting;
use crate::value::{Cancelled, Value, error, list, no_overload, plain, text};

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Result<Option<Value<'a>>, Cancelled> {
    let Some(rest) = id
        .strip_prefix("string_")
        .or_else(|| id.strip_prefix("list_join").map(|_| "join"))
        .or_else(|| id.strip_prefix("strings_"))
    else {
        return Ok(None);
    };
    if rest == "join" {
        let (Some(Value::List(of)), separator) = (args.first(), args.get(1)) else {
            return Ok(Some(no_overload()));
        };
        let separator = match separator {
            Some(Value::String(s)) => s.to_string(),
            _ => String::new(),
        };
        let mut out = String::new();
        for (i, element) in of.iter().enumerate() {
            if i > 0 {
                out.push_str(&separator);
            }
            match element {
                Value::String(part) => out.push_str(&part),
                other => {
                    return Ok(Some(error(format!(
                        "join: invalid input: {}",
                        plain(&other)
                    ))));
                }
            }
            bounded(out.len())?;
        }
        return Ok(Some(text(out)));
    }
    let Some(Value::String(subject)) = args.first() else {
        return Ok(None);
    };
    let subject: &str = subject;
    let strings = |i: usize| match args.get(i) {
        Some(Value::String(s)) => Some(s.to_string()),
        _ => None,
    };
    let int = |i: usize| match args.get(i) {
        Some(Value::Int(v)) => *v,
        _ => 0,
    };
    let value = match rest {
        "char_at_int" => char_at(subject, int(1)),
        "index_of_string" => index_of(subject, &strings(1).unwrap_or_default(), 0),
        "index_of_string_int" => index_of(subject, &strings(1).unwrap_or_default(), int(2)),
        "last_index_of_string" => {
            let sub = strings(1).unwrap_or_default();
            let count = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
            if sub.is_empty() {
                Value::Int(count)
            } else if subject.len() < sub.len() {
                Value::Int(-1)
            } else {
                last_index_of(subject, &sub, count - 1)
            }
        }
        "last_index_of_string_int" => {
            last_index_of(subject, &strings(1).unwrap_or_default(), int(2))
        }
        "lower_ascii" => text(subject.to_ascii_lowercase()),
        "upper_ascii" => text(subject.to_ascii_uppercase()),
        "trim" => text(subject.trim_matches(go_space)),
        "reverse" => text(subject.chars().rev().collect::<String>()),
        "replace_string_string" | "replace_string_string_int" => {
            let (old, new) = (
                strings(1).unwrap_or_default(),
                strings(2).unwrap_or_default(),
            );
            let count = if args.len() == 4 { int(3) } else { -1 };
            replace(subject, &old, &new, count)?
        }
        "split_string" => split(subject, &strings(1).unwrap_or_default(), -1),
        "split_string_int" => split(subject, &strings(1).unwrap_or_default(), int(2)),
        "substring_int" => {
            let count = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
            if int(1) < 0 || int(1) > count {
                error(format!("index out of range: {}", int(1)))
            } else {
                text(part(subject, int(1), count))
            }
        }
        "substring_int_int" => {
            let count = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
            let (start, end) = (int(1), int(2));
            if start > end {
                error(format!(
                    "invalid substring range. start: {start}, end: {end}"
                ))
            } else if start < 0 || start > count {
                error(format!("index out of range: {start}"))
            } else if end < 0 || end > count {
                error(format!("index out of range: {end}"))
            } else {
                text(part(subject, start, end))
            }
        }
        "format" => match args.get(1) {
            Some(Value::List(args)) => match formatting::format(subject, args) {
                Ok(made) => {
                    bounded(made.len())?;
                    text(made)
                }
                Err(message) => error(message),
            },
            _ => no_overload(),
        },
        "quote" => text(quoted(subject)),
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn bounded(size: usize) -> Result<(), Cancelled> {
    if size > LARGEST {
        return Err(Cancelled::Cost);
    }
    Ok(())
}

pub(crate) fn go_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

fn part(subject: &str, start: i64, end: i64) -> String {
    let (start, end) = (
        usize::try_from(start).unwrap_or_default(),
        usize::try_from(end).unwrap_or_default(),
    );
    subject.chars().skip(start).take(end - start).collect()
}

fn char_at<'a>(subject: &str, at: i64) -> Value<'a> {
    let count = subject.chars().count();
    match usize::try_from(at) {
        Ok(place) if place <= count => text(
            subject
                .chars()
                .nth(place)
                .map(String::from)
                .unwrap_or_default(),
        ),
        _ => error(format!("index out of range: {at}")),
    }
}

fn index_of<'a>(subject: &str, sub: &str, offset: i64) -> Value<'a> {
    if sub.is_empty() {
        return Value::Int(offset);
    }
    let Ok(from) = usize::try_from(offset) else {
        return error(format!("index out of range: {offset}"));
    };
    let Some((start, _)) = subject.char_indices().nth(from) else {
        return Value::Int(-1);
    };
    Value::Int(match subject[start..].find(sub) {
        Some(at) => i64::try_from(subject[..start + at].chars().count()).unwrap_or(-1),
        None => -1,
    })
}

fn last_index_of<'a>(subject: &str, sub: &str, offset: i64) -> Value<'a> {
    if sub.is_empty() {
        return Value::Int(offset);
    }
    let Ok(from) = usize::try_from(offset) else {
        return error(format!("index out of range: {offset}"));
    };
    let Some((start, _)) = subject.char_indices().nth(from) else {
        return Value::Int(-1);
    };
    let end = (start + sub.len()).min(subject.len());
    let mut end = end;
    while !subject.is_char_boundary(end) {
        end += 1;
    }
    // a match may begin at the offset, not after it
    let found = subject[..end]
        .rmatch_indices(sub)
        .map(|(at, _)| at)
        .find(|at| *at <= start)
        .or_else(|| subject[..end].rfind(sub).filter(|at| *at <= start));
    Value::Int(match found {
        Some(at) => i64::try_from(subject[..at].chars().count()).unwrap_or(-1),
        None => -1,
    })
}

fn replace<'a>(subject: &str, old: &str, new: &str, count: i64) -> Result<Value<'a>, Cancelled> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() {
        subject.chars().count() + 1
    } else {
        subject.matches(old).count()
    }
    .min(most);
    bounded(
        subject
            .len()
            .saturating_add(found.saturating_mul(new.len())),
    )?;
    Ok(text(if count < 0 {
        subject.replace(old, new)
    } else {
        subject.replacen(old, new, most)
    }))
}

fn split<'a>(subject: &str, separator: &str, count: i64) -> Value<'a> {
    let parts: Vec<&str> = match (separator.is_empty(), usize::try_from(count)) {
        (_, Ok(0)) => Vec::new(),
        (false, Ok(count)) => subject.splitn(count, separator).collect(),
        (false, Err(_)) => subject.split(separator).collect(),
        (true, count) => {
            let most = count.unwrap_or(usize::MAX);
            let mut parts = Vec::new();
            let mut rest = subject;
            while let Some(c) = rest.chars().next() {
                if parts.len() + 1 >= most {
                    parts.push(rest);
                    break;
                }
                let (head, tail) = rest.split_at(c.len_utf8());
                parts.push(head);
                rest = tail;
            }
            parts
        }
    };
    list(parts.into_iter().map(text).collect())
}

fn quoted(subject: &str) -> String {
    let mut out = String::from("\"");
    for c in subject.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
