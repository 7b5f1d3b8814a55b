//! Names of properties as identifiers: `__dot__`, `__namespace__` and their kin.

/// Words that no identifier may be.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The identifier that stands for a property's name; none where nothing can.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '_' if chars.peek() == Some(&'_') => {
                chars.next();
                out.push_str("__underscores__");
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

/// The name that an identifier stands for; none where it escapes nothing known.
pub fn unescape(escaped: &str) -> Option<String> {
    let bytes = escaped.as_bytes();
    let mut out = String::with_capacity(escaped.len());
    let mut at = 0;
    while at < bytes.len() {
        // `__` something without `_`, `__`
        if bytes[at..].starts_with(b"__") {
            let body = at + 2;
            let len = bytes[body..].iter().take_while(|b| **b != b'_').count();
            if len > 0 && bytes[body + len..].starts_with(b"__") {
                let word = &escaped[body..body + len];
                match word {
                    "underscores" => out.push_str("__"),
                    "dot" => out.push('.'),
                    "dash" => out.push('-'),
                    "slash" => out.push('/'),
                    _ if is_reserved(word) && len + 4 == escaped.len() => out.push_str(word),
                    _ => return None,
                }
                at = body + len + 2;
                continue;
            }
        }
        let c = escaped[at..].chars().next()?;
        out.push(c);
        at += c.len_utf8();
    }
    Some(out)
}
