//! Semantic versions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::libraries::Object;
use crate::value::{Value, error};

/// A version.
#[derive(Clone, Debug)]
pub struct Version {
    parts: [u64; 3],
    before: Vec<String>,
    build: Vec<String>,
}

impl Version {
    fn parse(text: &str) -> Result<Version, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let split: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = split.as_slice() else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let number = |name: &str, text: &str| -> Result<u64, String> {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            if !digits {
                return Err(format!(
                    "Invalid character(s) found in {name} number {}",
                    crate::show::quote(text)
                ));
            }
            if text.len() > 1 && text.starts_with('0') {
                return Err(format!(
                    "{}{} number must not contain leading zeroes {}",
                    name[..1].to_uppercase(),
                    &name[1..],
                    crate::show::quote(text)
                ));
            }
            text.parse().map_err(|e: std::num::ParseIntError| {
                let why = if *e.kind() == std::num::IntErrorKind::PosOverflow {
                    "value out of range"
                } else {
                    "invalid syntax"
                };
                format!(
                    "strconv.ParseUint: parsing {}: {why}",
                    crate::show::quote(text)
                )
            })
        };
        let major = number("major", major)?;
        let minor = number("minor", minor)?;
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (*rest, None),
        };
        let (patch, before) = match rest.split_once('-') {
            Some((patch, before)) => (patch, Some(before)),
            None => (rest, None),
        };
        let patch = number("patch", patch)?;
        let legal = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let mut version = Version {
            parts: [major, minor, patch],
            before: Vec::new(),
            build: Vec::new(),
        };
        for part in before.into_iter().flat_map(|b| b.split('.')) {
            if part.is_empty() {
                return Err("Prerelease is empty".into());
            }
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            if digits && part.len() > 1 && part.starts_with('0') {
                return Err(format!(
                    "Numeric PreRelease version must not contain leading zeroes {}",
                    crate::show::quote(part)
                ));
            }
            if !legal(part) {
                return Err(format!(
                    "Invalid character(s) found in prerelease {}",
                    crate::show::quote(part)
                ));
            }
            version.before.push(part.into());
        }
        for part in build.into_iter().flat_map(|b| b.split('.')) {
            if part.is_empty() {
                return Err("Build meta data is empty".into());
            }
            if !legal(part) {
                return Err(format!(
                    "Invalid character(s) found in build meta data {}",
                    crate::show::quote(part)
                ));
            }
            version.build.push(part.into());
        }
        Ok(version)
    }

    fn normalized(text: &str) -> Result<Version, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text
            .splitn(3, '.')
            .map(|part| {
                if part.len() <= 1 {
                    return part.to_owned();
                }
                let trimmed = part.trim_start_matches('0');
                if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                    trimmed.to_owned()
                } else {
                    format!("0{trimmed}")
                }
            })
            .collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|p| p.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".into());
            }
            parts.resize(3, "0".into());
        }
        Version::parse(&parts.join("."))
    }

    /// Which of two is newer.
    pub(crate) fn compare(&self, other: &Version) -> Ordering {
        let order = self.parts.cmp(&other.parts);
        if order != Ordering::Equal {
            return order;
        }
        match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            _ => {}
        }
        for (a, b) in self.before.iter().zip(&other.before) {
            let order = match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                _ => a.cmp(b),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        self.before.len().cmp(&other.before.len())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.parts;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.before.is_empty() {
            write!(f, "-{}", self.before.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build.join("."))?;
        }
        Ok(())
    }
}

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let first = args.first()?;
    if let (
        "string_to_semver" | "string_bool_to_semver" | "is_semver_string" | "is_semver_string_bool",
        Value::String(text),
    ) = (id, first)
    {
        let parsed = if let Some(Value::Bool(true)) = args.get(1) {
            Version::normalized(text)
        } else {
            Version::parse(text)
        };
        return Some(if id.starts_with("is_") {
            Value::Bool(parsed.is_ok())
        } else {
            match parsed {
                Ok(v) => Value::Object(Object::Semver(Arc::new(v))),
                Err(message) => error(message),
            }
        });
    }
    let Value::Object(Object::Semver(a)) = first else {
        return None;
    };
    let part = |i: usize| Value::Int(a.parts[i].cast_signed());
    Some(match (id, args.get(1)) {
        ("semver_major", _) => part(0),
        ("semver_minor", _) => part(1),
        ("semver_patch", _) => part(2),
        ("semver_is_greater_than", Some(Value::Object(Object::Semver(b)))) => {
            Value::Bool(a.compare(b) == Ordering::Greater)
        }
        ("semver_is_less_than", Some(Value::Object(Object::Semver(b)))) => {
            Value::Bool(a.compare(b) == Ordering::Less)
        }
        ("semver_compare_to", Some(Value::Object(Object::Semver(b)))) => {
            Value::Int(a.compare(b) as i64)
        }
        _ => return None,
    })
}
