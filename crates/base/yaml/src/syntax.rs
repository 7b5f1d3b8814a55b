//! Values and strings as Go's `%#v` and `%q` show them in errors.

use crate::any::Any;
use crate::resolve::Stack;
use crate::time::Timestamp;

/// Is a character shown as itself? The common ones are told apart; which others are assigned is not known here.
fn prints(c: char) -> bool {
    !(c.is_control()
        || c != ' ' && c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..))
}

/// A string as Go's `%q` shows it.
pub fn go_quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if !prints(c) && u32::from(c) <= 0xffff => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if !prints(c) => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as a version of go-yaml decodes it; version 3 tells maps of strings apart.
pub(crate) fn go_syntax(value: &Any, stack: Stack) -> String {
    let inner = |value: &Any| match value {
        Any::Null => "interface {}(nil)".to_owned(),
        other => go_syntax(other, stack),
    };
    match value {
        Any::Null => "<nil>".to_owned(),
        Any::Bool(flag) => flag.to_string(),
        Any::Int(int) => int.to_string(),
        Any::Uint(int) => format!("0x{int:x}"),
        Any::Float(float) => crate::go::format_g(*float),
        Any::Str(text) => go_quote(text),
        Any::Bytes(bytes) => go_quote(&String::from_utf8_lossy(bytes)),
        Any::Time(time) => go_time(time),
        Any::List(items) => {
            let items: Vec<String> = items.iter().map(inner).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Any::Map(fields) => {
            let strings = fields.iter().all(|(key, _)| matches!(key, Any::Str(_)));
            let kind = if strings && stack == Stack::V3 {
                "string"
            } else {
                "interface {}"
            };
            let mut sorted: Vec<(u8, &str, String, &Any)> = fields
                .iter()
                .map(|(key, value)| {
                    let text = match key {
                        Any::Str(text) => text.as_str(),
                        _ => "",
                    };
                    (place(key), text, inner(key), value)
                })
                .collect();
            sorted.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
            let mut fields: Vec<String> = Vec::with_capacity(sorted.len());
            for (at, (_, _, key, value)) in sorted.iter().enumerate() {
                // of a key that stands twice, the last value counts
                if sorted.get(at + 1).is_none_or(|next| next.2 != *key) {
                    fields.push(format!("{key}:{}", inner(value)));
                }
            }
            format!("map[{kind}]interface {{}}{{{}}}", fields.join(", "))
        }
    }
}

/// Where keys of a kind stand among others.
fn place(key: &Any) -> u8 {
    match key {
        Any::Null => 0,
        Any::Str(_) => 1,
        _ => 2,
    }
}

fn go_time(time: &Timestamp) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = MONTHS[usize::from(time.month.clamp(1, 12)) - 1];
    let zone = match time.offset {
        0 => "time.UTC",
        _ => "time.Location(\"\")",
    };
    format!(
        "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {zone})",
        time.year, time.day, time.hour, time.minute, time.second, time.nanos
    )
}
