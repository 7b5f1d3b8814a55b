//! Go's `filepath.Match`, the grammar of `.helmignore`.

/// A pattern that Go cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Whether a pattern matches all of a name: `*` and `?` match anything but `/`, `[…]` a class, `\` quotes.
pub(crate) fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let (mut pattern, mut name) = (pattern, name);
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains('/'));
        }
        if let Some(left) = match_chunk(chunk, name)?
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if star {
            // The star takes one more character at a time.
            let mut skipped = 0;
            while skipped < name.len() && !name[skipped..].starts_with('/') {
                skipped += name[skipped..].chars().next().map_or(1, char::len_utf8);
                if let Some(left) = match_chunk(chunk, &name[skipped..])? {
                    if pattern.is_empty() && !left.is_empty() {
                        continue;
                    }
                    name = left;
                    continue 'pattern;
                }
            }
        }
        // What is left of the pattern must be readable even so.
        while !pattern.is_empty() {
            let (_, chunk, rest) = scan_chunk(pattern);
            match_chunk(chunk, "")?;
            pattern = rest;
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// The stars at the start, then everything up to the next star outside a class.
fn scan_chunk(pattern: &str) -> (bool, &str, &str) {
    let chunk = pattern.trim_start_matches('*');
    let star = chunk.len() < pattern.len();
    let bytes = chunk.as_bytes();
    let (mut at, mut class) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if at + 1 < bytes.len() => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'*' if !class => break,
            _ => {}
        }
        at += 1;
    }
    // An escaped character may be longer than a byte; the cut is only ever made at a star.
    (star, &chunk[..at], &chunk[at..])
}

/// Matches a chunk without stars at the start of a text; what is left of the text, if it does.
fn match_chunk<'a>(chunk: &str, text: &'a str) -> Result<Option<&'a str>, BadPattern> {
    let mut chunk = chunk.chars().peekable();
    let mut text = text.chars();
    // After the first mismatch the rest of the pattern is only checked.
    let mut failed = false;
    while let Some(wanted) = chunk.next() {
        if !failed && text.as_str().is_empty() {
            failed = true;
        }
        match wanted {
            '[' => {
                let mut at = None;
                if !failed {
                    at = text.next();
                }
                let negated = chunk.next_if_eq(&'^').is_some();
                let (mut matched, mut ranges) = (false, 0);
                loop {
                    if ranges > 0 && chunk.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = class_char(&mut chunk)?;
                    let high = if chunk.next_if_eq(&'-').is_some() {
                        class_char(&mut chunk)?
                    } else {
                        low
                    };
                    matched |= at.is_some_and(|at| low <= at && at <= high);
                    ranges += 1;
                }
                failed |= matched == negated;
            }
            '?' => {
                if !failed {
                    failed = text.next() == Some('/');
                }
            }
            wanted => {
                let wanted = if wanted == '\\' {
                    chunk.next().ok_or(BadPattern)?
                } else {
                    wanted
                };
                if !failed {
                    failed = text.next() != Some(wanted);
                }
            }
        }
    }
    Ok((!failed).then_some(text.as_str()))
}

/// One character of a class.
fn class_char(chunk: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    let first = match chunk.next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => chunk.next().ok_or(BadPattern)?,
        Some(first) => first,
    };
    // A class must be closed, so something must follow.
    if chunk.peek().is_none() {
        return Err(BadPattern);
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let yes = Ok(true);
        let no = Ok(false);
        let bad = Err(BadPattern);
        for (pattern, name, wanted) in [
            ("abc", "abc", yes),
            ("*", "abc", yes),
            ("*c", "abc", yes),
            ("a*", "a", yes),
            ("a*", "abc", yes),
            ("a*", "ab/c", no),
            ("a*/b", "abc/b", yes),
            ("a*/b", "a/c/b", no),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", yes),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", no),
            ("a*b?c*x", "abxbbxdbxebxczzx", yes),
            ("a*b?c*x", "abxbbxdbxebxczzy", no),
            ("ab[c]", "abc", yes),
            ("ab[b-d]", "abc", yes),
            ("ab[e-g]", "abc", no),
            ("ab[^c]", "abc", no),
            ("ab[^e-g]", "abc", yes),
            (r"a\*b", "a*b", yes),
            (r"a\*b", "ab", no),
            ("a?b", "a\u{263a}b", yes),
            ("a[^a]b", "a\u{263a}b", yes),
            ("a???b", "a\u{263a}b", no),
            ("a?b", "a/b", no),
            ("a*b", "a/b", no),
            (r"[\]a]", "]", yes),
            (r"[\-]", "-", yes),
            (r"[x\-]", "z", no),
            ("[]a]", "]", bad),
            ("[-]", "-", bad),
            ("[x-]", "x", bad),
            ("[-x]", "x", bad),
            (r"\", "a", bad),
            ("[a-b-c]", "a", bad),
            ("[", "a", bad),
            ("[^", "a", bad),
            ("[^bc", "a", bad),
            ("a[", "a", bad),
            ("a[", "ab", bad),
            ("a[", "x", bad),
            ("a/b[", "x", bad),
            ("*x", "xxx", yes),
            ("templates/.?*", "templates/.gitkeep", yes),
            ("templates/.?*", "templates/.", no),
            ("*.tgz", "a.tgz", yes),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
