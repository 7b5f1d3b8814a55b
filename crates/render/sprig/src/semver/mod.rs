//! Semantic versions and constraints as Masterminds' semver v3.5 reads them: Sprig's `semver` and `semverCompare`, and
//! Helm's check of a chart's `kubeVersion`.

mod constraint;

use std::cmp::Ordering;

pub use constraint::{Constraints, MAX_CONSTRAINT, MAX_GROUPS};

use crate::go::strconv;

/// The longest version, in bytes.
pub const MAX_VERSION: usize = 256;

/// A version. Minor and patch may be missing where it is read; a leading `v` is no part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second one.
    pub minor: u64,
    /// The third one.
    pub patch: u64,
    /// What follows `-`.
    pub pre: String,
    /// What follows `+`; it counts in no comparison.
    pub metadata: String,
    /// The text that was read.
    pub original: String,
}

const INVALID: &str = "invalid semantic version";

/// A dotted run of letters, digits and hyphens that starts a text; how long it is, 0 if it is none.
pub(crate) fn dotted(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let part = text[length..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
            .count();
        if part == 0 {
            return length.saturating_sub(1);
        }
        length += part;
        if text.get(length) != Some(&b'.') {
            return length;
        }
        length += 1;
    }
}

impl Version {
    /// Reads a version. The error is the library's text.
    pub fn parse(text: &[u8]) -> Result<Version, String> {
        if text.len() > MAX_VERSION {
            return Err(format!(
                "version string is too long (max {MAX_VERSION} bytes)"
            ));
        }
        let mut rest = text.strip_prefix(b"v").unwrap_or(text);
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut numbers: Vec<&[u8]> = Vec::new();
        while numbers.len() < 3 {
            let from = usize::from(!numbers.is_empty());
            if from == 1 && rest.first() != Some(&b'.') {
                break;
            }
            let length = digits(&rest[from..]);
            if length == 0 {
                return Err(INVALID.to_owned());
            }
            numbers.push(&rest[from..from + length]);
            rest = &rest[from + length..];
        }
        let mut tail = |mark: u8| -> Result<String, String> {
            let Some(body) = rest.strip_prefix(&[mark]) else {
                return Ok(String::new());
            };
            let length = dotted(body);
            if length == 0 {
                return Err(INVALID.to_owned());
            }
            let found = String::from_utf8_lossy(&body[..length]).into_owned();
            rest = &body[length..];
            Ok(found)
        };
        let pre = tail(b'-')?;
        let metadata = tail(b'+')?;
        if !rest.is_empty() {
            return Err(INVALID.to_owned());
        }
        let number = |at: usize| -> Result<u64, String> {
            let Some(text) = numbers.get(at) else {
                return Ok(0);
            };
            strconv::parse_uint(text, 10).ok_or_else(|| {
                let text = strconv::quote(text);
                format!(
                    "error parsing version segment: strconv.ParseUint: parsing {text}: value out of range"
                )
            })
        };
        let version = Version {
            major: number(0)?,
            minor: number(1)?,
            patch: number(2)?,
            pre,
            metadata,
            original: String::from_utf8_lossy(text).into_owned(),
        };
        let padded = |part: &str| {
            part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit())
        };
        if version.pre.split('.').any(padded) {
            return Err("version segment starts with 0".to_owned());
        }
        Ok(version)
    }

    /// Whether it was written with a leading `v`.
    fn prefix(&self) -> &'static str {
        if self.original.starts_with('v') {
            "v"
        } else {
            ""
        }
    }

    fn renamed(mut self) -> Version {
        let prefix = self.prefix();
        self.original = format!("{prefix}{self}");
        self
    }

    /// The next patch version; of a prerelease, its release. The error is what the library panics with.
    pub fn next_patch(&self) -> Result<Version, String> {
        let mut next = self.clone();
        if self.pre.is_empty() {
            next.patch = increment(self.patch, "patch")?;
        }
        next.pre.clear();
        next.metadata.clear();
        Ok(next.renamed())
    }

    /// The next minor version.
    pub fn next_minor(&self) -> Result<Version, String> {
        let mut next = self.clone();
        next.minor = increment(self.minor, "minor")?;
        next.patch = 0;
        next.pre.clear();
        next.metadata.clear();
        Ok(next.renamed())
    }

    /// The next major version.
    pub fn next_major(&self) -> Result<Version, String> {
        let mut next = self.clone();
        next.major = increment(self.major, "major")?;
        (next.minor, next.patch) = (0, 0);
        next.pre.clear();
        next.metadata.clear();
        Ok(next.renamed())
    }

    /// The version with another prerelease.
    pub fn with_pre(&self, pre: &str) -> Result<Version, String> {
        if !pre.is_empty() {
            for part in pre.split('.') {
                let numeric = part.bytes().all(|byte| byte.is_ascii_digit());
                if part.is_empty() || !fits(part) {
                    return Err("invalid prerelease string".to_owned());
                }
                if numeric && part.len() > 1 && part.starts_with('0') {
                    return Err("version segment starts with 0".to_owned());
                }
            }
        }
        let mut next = self.clone();
        next.pre = pre.to_owned();
        Ok(next.renamed())
    }

    /// The version with other metadata.
    pub fn with_metadata(&self, metadata: &str) -> Result<Version, String> {
        let bad = |part: &str| part.is_empty() || !fits(part);
        if !metadata.is_empty() && metadata.split('.').any(bad) {
            return Err("invalid metadata string".to_owned());
        }
        let mut next = self.clone();
        next.metadata = metadata.to_owned();
        Ok(next.renamed())
    }
}

fn fits(part: &str) -> bool {
    part.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn increment(value: u64, which: &str) -> Result<u64, String> {
    value
        .checked_add(1)
        .ok_or_else(|| format!("{which} version increment would overflow uint64"))
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// Which of two versions comes first. Metadata does not count.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    let numbers = |version: &Version| (version.major, version.minor, version.patch);
    numbers(a)
        .cmp(&numbers(b))
        .then_with(|| match (a.pre.is_empty(), b.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&a.pre, &b.pre),
        })
}

/// Which of two prereleases comes first.
pub(crate) fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left.unwrap_or_default(), right.unwrap_or_default()),
        };
        if left == right {
            continue;
        }
        if left.is_empty() {
            return Ordering::Less;
        }
        if right.is_empty() {
            return Ordering::Greater;
        }
        let number = |text: &str| strconv::parse_uint(text.as_bytes(), 10);
        return match (number(left), number(right)) {
            (None, None) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // Equal numbers in different words: the library calls the first one smaller.
            (Some(left), Some(right)) => left.cmp(&right).then(Ordering::Less),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        for (text, expected) in [
            ("1", "1.0.0"),
            ("v1.2", "1.2.0"),
            ("01.02.03", "1.2.3"),
            ("1.2.3-beta.1+b.5", "1.2.3-beta.1+b.5"),
            ("1-2", "1.0.0-2"),
            ("", INVALID),
            ("1.", INVALID),
            ("1.2.3.4", INVALID),
            ("1.2.3-", INVALID),
            ("1.2.3-a..b", INVALID),
            ("1.2.3-01", "version segment starts with 0"),
            ("V1", INVALID),
        ] {
            let found = Version::parse(text.as_bytes())
                .map_or_else(|error| error, |version| version.to_string());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn sorts_versions() {
        let sorted = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
        ];
        for pair in sorted.windows(2) {
            let [a, b] = [0, 1].map(|at| Version::parse(pair[at].as_bytes()).unwrap());
            assert_eq!(compare(&a, &b), Ordering::Less, "{pair:?}");
            assert_eq!(compare(&b, &a), Ordering::Greater, "{pair:?}");
        }
    }
}
