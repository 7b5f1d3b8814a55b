//! The patterns of `.Files.Glob`: `*`, `**`, `?`, `[a-z]`, `[!abc]`, `{a,b}` and `\`, with `/` between names.

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<char>),
    /// `*`: anything but a separator.
    Any,
    /// `**`: anything.
    Super,
    /// `?`: one character that is no separator.
    Single,
    /// `[abc]`
    List {
        chars: Vec<char>,
        not: bool,
    },
    /// `[a-z]`
    Range {
        low: char,
        high: char,
        not: bool,
    },
    /// `{a,b}`
    AnyOf(Vec<Vec<Part>>),
}

/// How deep alternatives may nest; what is deeper is taken for a bad pattern.
const MAX_NESTING: usize = 32;

/// A pattern that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

impl Glob {
    /// Reads a pattern.
    pub(crate) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        // A zero byte ends a pattern early.
        let pattern = pattern.split('\0').next().unwrap_or("");
        if pattern.contains('\u{fffd}') {
            return Err(BadPattern);
        }
        let chars: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        let (parts, _) = sequence(&chars, &mut at, 0)?;
        Ok(Self(parts))
    }

    /// What a pattern that cannot be read stands for: everything.
    pub(crate) fn everything() -> Self {
        Self(vec![Part::Super])
    }

    /// Whether all of a name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let chars: Vec<char> = name.chars().collect();
        ends(&self.0, &chars, vec![0]).contains(&chars.len())
    }
}

/// Reads parts up to the end of the pattern or of the alternative; the character that ended them.
fn sequence(
    chars: &[char],
    at: &mut usize,
    depth: usize,
) -> Result<(Vec<Part>, Option<char>), BadPattern> {
    if depth > MAX_NESTING {
        return Err(BadPattern);
    }
    let mut parts = Vec::new();
    while let Some(&char) = chars.get(*at) {
        match char {
            '{' => {
                *at += 1;
                let mut alternatives = Vec::new();
                loop {
                    let (inner, end) = sequence(chars, at, depth + 1)?;
                    alternatives.push(inner);
                    if end != Some(',') {
                        break;
                    }
                }
                parts.push(Part::AnyOf(alternatives));
            }
            ',' | '}' if depth > 0 => {
                *at += 1;
                return Ok((parts, Some(char)));
            }
            '[' => {
                *at += 1;
                parts.push(class(chars, at)?);
            }
            '?' => {
                *at += 1;
                parts.push(Part::Single);
            }
            '*' => {
                *at += 1;
                if chars.get(*at) == Some(&'*') {
                    *at += 1;
                    parts.push(Part::Super);
                } else {
                    parts.push(Part::Any);
                }
            }
            _ => {
                let text = text(chars, at, |char| {
                    matches!(char, '?' | '*' | '[' | '{') || depth > 0 && matches!(char, '}' | ',')
                });
                if !text.is_empty() {
                    parts.push(Part::Text(text));
                }
            }
        }
    }
    Ok((parts, None))
}

/// Reads text up to a character that breaks it, which is not taken.
fn text(chars: &[char], at: &mut usize, breaks: impl Fn(char) -> bool) -> Vec<char> {
    let mut text = Vec::new();
    while let Some(&char) = chars.get(*at) {
        if char == '\\' {
            *at += 1;
            if let Some(&quoted) = chars.get(*at) {
                text.push(quoted);
                *at += 1;
            }
            continue;
        }
        if breaks(char) {
            break;
        }
        text.push(char);
        *at += 1;
    }
    text
}

/// Reads a class behind its bracket.
fn class(chars: &[char], at: &mut usize) -> Result<Part, BadPattern> {
    let not = chars.get(*at) == Some(&'!');
    if not {
        *at += 1;
    }
    let low = *chars.get(*at).ok_or(BadPattern)?;
    let part = if chars.get(*at + 1) == Some(&'-') {
        let high = *chars.get(*at + 2).ok_or(BadPattern)?;
        *at += 3;
        if high < low {
            return Err(BadPattern);
        }
        Part::Range { low, high, not }
    } else {
        let chars = text(chars, at, |char| char == ']');
        if chars.is_empty() {
            return Err(BadPattern);
        }
        Part::List { chars, not }
    };
    if chars.get(*at) != Some(&']') {
        return Err(BadPattern);
    }
    *at += 1;
    Ok(part)
}

/// Where in a name the parts can end, if they begin at some places; sorted, each once.
fn ends(parts: &[Part], name: &[char], begins: Vec<usize>) -> Vec<usize> {
    let mut places = begins;
    for part in parts {
        let mut next = Vec::new();
        for &at in &places {
            match part {
                Part::Text(text) => {
                    if name[at..].starts_with(text) {
                        next.push(at + text.len());
                    }
                }
                Part::Super => {
                    next.extend(at..=name.len());
                    break; // the first place reaches all later ones
                }
                Part::Any => {
                    let stop = name[at..]
                        .iter()
                        .position(|&char| char == '/')
                        .map_or(name.len(), |found| at + found);
                    next.extend(at..=stop);
                }
                Part::Single => one(name, at, &mut next, |char| char != '/'),
                Part::List { chars, not } => {
                    one(name, at, &mut next, |char| chars.contains(&char) != *not);
                }
                Part::Range { low, high, not } => {
                    one(name, at, &mut next, |char| {
                        (*low <= char && char <= *high) != *not
                    });
                }
                Part::AnyOf(_) => {}
            }
        }
        if let Part::AnyOf(alternatives) = part {
            for alternative in alternatives {
                next.extend(ends(alternative, name, places.clone()));
            }
        }
        next.sort_unstable();
        next.dedup();
        places = next;
        if places.is_empty() {
            break;
        }
    }
    places
}

fn one(name: &[char], at: usize, next: &mut Vec<usize>, fits: impl Fn(char) -> bool) {
    if name.get(at).is_some_and(|&char| fits(char)) {
        next.push(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, wanted: bool) {
        let glob = Glob::parse(pattern).unwrap_or_else(|_| panic!("{pattern} is bad"));
        assert_eq!(glob.matches(name), wanted, "{pattern} {name}");
    }

    #[test]
    fn patterns_match() {
        check("*.yaml", "a.yaml", true);
        check("*.yaml", "x/a.yaml", false);
        check("**.yaml", "x/a.yaml", true);
        check("x/*", "x/a", true);
        check("x/*", "x/a/b", false);
        check("x/**", "x/a/b", true);
        check("**/a", "a", false);
        check("**/a", "x/y/a", true);
        check("x/{a,b*}.txt", "x/b1.txt", true);
        check("x/{a,b*}.txt", "x/c.txt", false);
        check("{a,{b,c}d}", "cd", true);
        check("a?c", "abc", true);
        check("a?c", "a/c", false);
        check("[a-c]x", "bx", true);
        check("[!a-c]x", "bx", false);
        check("[abc]x", "cx", true);
        check("[!abc]", "/", true);
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check("a,b}", "a,b}", true);
        check("{a,}b", "b", true);
        check("", "", true);
        check("", "a", false);
        check("dashboards/*.json", "dashboards/a.json", true);
    }

    #[test]
    fn bad_patterns_are_told() {
        for pattern in ["[", "[]", "[a", "[z-a]", "[a-", "[!"] {
            assert_eq!(Glob::parse(pattern), Err(BadPattern), "{pattern}");
        }
        assert!(Glob::parse(&"{".repeat(10_000)).is_err());
        // many ways to match cost no more than places times parts
        let glob = Glob::parse(&"**{a,c*}".repeat(20)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(500))));
    }
}
