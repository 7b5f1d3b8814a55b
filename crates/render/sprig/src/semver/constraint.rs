//! Constraints: `>=1.2, <2 || ^3.1`, `1.2 - 2.3`, `~1.x`.

use std::cmp::Ordering;
use std::sync::OnceLock;

use super::{Version, compare, compare_pre};
use crate::go::strconv::quote;

/// The longest constraint, in bytes.
pub const MAX_CONSTRAINT: usize = 512;

/// The most alternatives.
pub const MAX_GROUPS: usize = 32;

/// Alternatives, in each of which all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraints {
    groups: Vec<Vec<Constraint>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Constraint {
    operator: Operator,
    version: Version,
    /// The operator and the version as they were written.
    text: (String, String),
    /// Some number was left open, the minor one among them, the patch alone.
    open: bool,
    open_minor: bool,
    open_patch: bool,
}

/// A version with open places. A digit's place also takes `x`, `X`, `*` and, by an oversight that counts, `|`.
const VERSION: &str = r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";

/// The empty operator comes second: the first one that fits is taken.
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

const SPACE: &str = r"[\t\n\x0C\r ]";

struct Patterns {
    one: regex::Regex,
    range: regex::Regex,
    find: regex::Regex,
    valid: regex::Regex,
}

fn patterns() -> Option<&'static Patterns> {
    static PATTERNS: OnceLock<Option<Patterns>> = OnceLock::new();
    PATTERNS
        .get_or_init(|| {
            let (s, o, v) = (SPACE, OPERATORS, VERSION);
            Some(Patterns {
                one: regex::Regex::new(&format!(r"^{s}*({o}){s}*({v}){s}*$")).ok()?,
                range: regex::Regex::new(&format!(r"{s}*({v}){s}+-{s}+({v}){s}*")).ok()?,
                find: regex::Regex::new(&format!(r"({o}){s}*({v})")).ok()?,
                valid: regex::Regex::new(&format!(
                    r"^({s}*({o}){s}*({v}){s}*)((?:{s}+|,{s}*)({o}){s}*({v}){s}*)*$"
                ))
                .ok()?,
            })
        })
        .as_ref()
}

impl Constraints {
    /// Reads constraints. The error is the library's text.
    pub fn parse(text: &[u8]) -> Result<Constraints, String> {
        if text.len() > MAX_CONSTRAINT {
            return Err(format!(
                "constraint string is too long (max {MAX_CONSTRAINT} bytes)"
            ));
        }
        let improper = |text: &str| format!("improper constraint: {}", quote(text.as_bytes()));
        let Some(patterns) = patterns() else {
            return Err("constraint parser error".to_owned());
        };
        let Ok(text) = std::str::from_utf8(text) else {
            let part = text
                .split(|byte| *byte == b'|')
                .find(|part| !part.is_ascii());
            return Err(format!(
                "improper constraint: {}",
                quote(part.unwrap_or(text))
            ));
        };
        let text = closed_ranges(text, patterns);
        let parts: Vec<&str> = text.split("||").collect();
        if parts.len() > MAX_GROUPS {
            return Err(format!("too many constraint groups (max {MAX_GROUPS})"));
        }
        let mut groups = Vec::with_capacity(parts.len());
        for part in parts {
            if !patterns.valid.is_match(part) {
                return Err(improper(part));
            }
            let mut group = Vec::new();
            for found in patterns.find.find_iter(part) {
                group.push(Constraint::parse(found.as_str(), patterns)?);
            }
            groups.push(group);
        }
        Ok(Constraints { groups })
    }

    /// Whether a version fits. A prerelease fits only where the alternative names one.
    pub fn check(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            let with_pre = group.iter().any(|one| !one.version.pre.is_empty());
            (with_pre || version.pre.is_empty()) && group.iter().all(|one| one.holds(version))
        })
    }
}

impl std::fmt::Display for Constraints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            if index > 0 {
                f.write_str(" || ")?;
            }
            for (index, one) in group.iter().enumerate() {
                let space = if index > 0 { " " } else { "" };
                write!(f, "{space}{}{}", one.text.0, one.text.1)?;
            }
        }
        Ok(())
    }
}

/// Writes `a - b` as `>= a, <= b `.
fn closed_ranges(text: &str, patterns: &Patterns) -> String {
    let mut out = text.to_owned();
    for found in patterns.range.captures_iter(text) {
        let group = |index: usize| found.get(index).map_or("", |part| part.as_str());
        let closed = format!(">= {}, <= {} ", group(1), group(11));
        out = out.replacen(group(0), &closed, 1);
    }
    out
}

impl Constraint {
    fn parse(text: &str, patterns: &Patterns) -> Result<Constraint, String> {
        let Some(found) = patterns.one.captures(text) else {
            return Err(format!("improper constraint: {}", quote(text.as_bytes())));
        };
        let group = |index: usize| found.get(index).map_or("", |part| part.as_str());
        let operator = match group(1) {
            "" | "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" | "=>" => Operator::GreaterEqual,
            "<=" | "=<" => Operator::LessEqual,
            "~" | "~>" => Operator::Tilde,
            _ => Operator::Caret,
        };
        let is_open = |text: &str| matches!(text.trim_start_matches('.'), "" | "x" | "X" | "*");
        let (major, minor, patch, pre) = (group(3), group(4), group(5), group(6));
        let (mut open, mut open_minor, mut open_patch) = (true, false, false);
        let written = if is_open(major) {
            format!("0.0.0{pre}")
        } else if is_open(minor) {
            open_minor = true;
            format!("{major}.0.0{pre}")
        } else if is_open(patch) {
            open_patch = true;
            format!("{major}{minor}.0{pre}")
        } else {
            open = false;
            group(2).to_owned()
        };
        let version =
            Version::parse(written.as_bytes()).map_err(|_| "constraint parser error".to_owned())?;
        Ok(Constraint {
            operator,
            version,
            text: (group(1).to_owned(), group(2).to_owned()),
            open,
            open_minor,
            open_patch,
        })
    }

    fn holds(&self, version: &Version) -> bool {
        let own = &self.version;
        let order = compare(version, own);
        match self.operator {
            Operator::Equal if self.open => self.tilde(version, order),
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual if self.open => self.not_equal(version, order),
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Greater if self.open => {
                if version.major != own.major {
                    version.major > own.major
                } else if self.open_minor {
                    false
                } else if self.open_patch {
                    version.minor > own.minor
                } else {
                    order == Ordering::Greater
                }
            }
            Operator::Greater => order == Ordering::Greater,
            Operator::Less => order == Ordering::Less,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::LessEqual if self.open => {
                version.major < own.major
                    || version.major == own.major && (self.open_minor || version.minor <= own.minor)
            }
            Operator::LessEqual => order != Ordering::Greater,
            Operator::Tilde => self.tilde(version, order),
            Operator::Caret => self.caret(version, order),
        }
    }

    /// `!=` with open places: whatever they may hold is meant.
    fn not_equal(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        if own.major != version.major {
            return true;
        }
        if own.minor != version.minor && !self.open_minor {
            return true;
        }
        if self.open_minor {
            return false;
        }
        if own.patch != version.patch && !self.open_patch {
            return true;
        }
        if self.open_patch {
            let pre = !version.pre.is_empty() || !own.pre.is_empty();
            return pre && compare_pre(&version.pre, &own.pre) != Ordering::Equal;
        }
        order != Ordering::Equal
    }

    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        if order == Ordering::Less {
            return false;
        }
        let zero = (own.major, own.minor, own.patch) == (0, 0, 0);
        if zero && !self.open_minor && !self.open_patch {
            return true;
        }
        version.major == own.major && (self.open_minor || version.minor == own.minor)
    }

    fn caret(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        if order == Ordering::Less {
            return false;
        }
        if own.major > 0 || self.open_minor {
            return version.major == own.major;
        }
        if version.major > 0 {
            return false;
        }
        if own.minor > 0 || self.open_patch {
            return version.minor == own.minor;
        }
        version.minor == 0 && version.patch == own.patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold() {
        for (constraint, version, expected) in [
            (">=1.19-0", "v1.28.3-gke.1", true),
            (">=1.19", "1.28.3-gke.1", false),
            ("^1.2", "1.9.0", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("~1.2.3", "1.2.9", true),
            ("~1", "1.9.9", true),
            ("1.2 - 2.3", "2.3.5", true),
            ("1.2 - 2.3.4", "2.3.5", false),
            ("<1 || >2", "3.0.0", true),
            ("1.x", "1.5.0", true),
            ("*", "9.9.9", true),
            ("!=1.x", "1.2.0", false),
            (">11", "11.1.0", false),
            (">= 1.2, < 2", "1.5.0", true),
            (">=1.2 <2", "2.0.0", false),
            ("~0.0.0", "5.0.0", true),
        ] {
            let found = Constraints::parse(constraint.as_bytes())
                .unwrap()
                .check(&Version::parse(version.as_bytes()).unwrap());
            assert_eq!(found, expected, "{constraint} {version}");
        }
        for (constraint, error) in [
            ("", "improper constraint: \"\""),
            ("a", "improper constraint: \"a\""),
            (">=1.2 &", "improper constraint: \">=1.2 &\""),
            ("1.2.3.4", "improper constraint: \"1.2.3.4\""),
        ] {
            assert_eq!(
                Constraints::parse(constraint.as_bytes()).unwrap_err(),
                error
            );
        }
    }
}
