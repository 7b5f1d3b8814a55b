//! What strings and bytes in an expression mean.

/// Unquotes a literal. What comes out of bytes need not be text.
pub(crate) fn unquote(literal: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let text = literal.replace("\r\n", "\n").replace('\r', "\n");
    let (raw, text) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let body = ["'''", "\"\"\""]
        .iter()
        .find_map(|q| {
            (text.len() >= 6)
                .then(|| text.strip_prefix(q)?.strip_suffix(q))
                .flatten()
        })
        .or_else(|| text.get(1..text.len().checked_sub(1)?))
        .ok_or("unable to unescape string")?;
    if raw || !body.contains('\\') {
        return Ok(body.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        let kind = chars
            .next()
            .ok_or("unable to unescape string, found '\\' as last character")?;
        match kind {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(10),
            'r' => out.push(13),
            't' => out.push(9),
            'v' => out.push(11),
            '\\' | '\'' | '"' | '`' | '?' => push(&mut out, kind),
            'x' | 'X' | 'u' | 'U' => {
                let count = match kind {
                    'u' => 4,
                    'U' => 8,
                    _ => 2,
                };
                if bytes && count > 2 {
                    return Err("unable to unescape string");
                }
                code(&mut out, &digits(&mut chars, count)?, 16, bytes)?;
            }
            '0'..='3' => {
                let mut text = digits(&mut chars, 2)?;
                text.insert(0, kind);
                code(&mut out, &text, 8, bytes)?;
            }
            _ => return Err("unable to unescape string"),
        }
    }
    Ok(out)
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize) -> Result<String, &'static str> {
    let text: String = chars.take(count).collect();
    if text.chars().count() == count {
        Ok(text)
    } else {
        Err("unable to unescape string")
    }
}

fn code(out: &mut Vec<u8>, text: &str, radix: u32, bytes: bool) -> Result<(), &'static str> {
    let value = u32::from_str_radix(text, radix).map_err(|_| "unable to unescape string")?;
    if bytes {
        out.push(u8::try_from(value & 0xff).unwrap_or_default());
        return Ok(());
    }
    push(
        out,
        char::from_u32(value).ok_or("invalid unicode code point")?,
    );
    Ok(())
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
