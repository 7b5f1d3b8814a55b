//! Which Helm is meant: a dialect is a full version, since even patch releases cut documents apart differently.

use std::fmt;
use std::str::FromStr;

/// A version of Helm whose output and rules are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dialect {
    major: u8,
    minor: u16,
    patch: u16,
}

impl Dialect {
    /// Helm 3.21.4.
    pub const HELM_3: Self = Self {
        major: 3,
        minor: 21,
        patch: 4,
    };
    /// Helm 4.2.4.
    pub const HELM_4: Self = Self {
        major: 4,
        minor: 2,
        patch: 4,
    };

    /// Whether this is Helm 3.
    pub fn is_3(self) -> bool {
        self.major == 3
    }

    /// Whether this is Helm 4.
    pub fn is_4(self) -> bool {
        self.major == 4
    }

    /// Whether documents keep the blank lines at their end, as since 4.2.4.
    pub(crate) fn keeps_document_ends(self) -> bool {
        self >= Self::HELM_4
    }

    /// The version as `.Capabilities.HelmVersion` gives it.
    pub(crate) fn tag(self) -> String {
        format!("v{self}")
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A dialect that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown Helm dialect {0:?}: expected helm3, helm4, or a version 3.21.x or 4.y.z up to {newest}", newest = Dialect::HELM_4)]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    /// Reads `helm3`, `helm4`, `3`, `4` or a full version that is known to behave as one of the two, but for what this
    /// type tells apart.
    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        let unknown = || UnknownDialect(text.to_owned());
        match text {
            "helm3" | "3" => return Ok(Self::HELM_3),
            "helm4" | "4" => return Ok(Self::HELM_4),
            _ => {}
        }
        let bare = text.strip_prefix('v').unwrap_or(text);
        let parts: Vec<u16> = bare
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| unknown())?;
        let [major, minor, patch] = parts[..] else {
            return Err(unknown());
        };
        let dialect = Self {
            major: u8::try_from(major).map_err(|_| unknown())?,
            minor,
            patch,
        };
        match major {
            3 if minor == 21 => Ok(dialect),
            4 if dialect <= Self::HELM_4 => Ok(dialect),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_unknown_ones_refused() {
        for (text, wanted) in [
            ("helm3", Some("3.21.4")),
            ("4", Some("4.2.4")),
            ("v4.2.3", Some("4.2.3")),
            ("3.21.0", Some("3.21.0")),
            ("5.0.0", None),
            ("4.3.0", None),
            ("3.17.3", None),
            ("helm", None),
            ("4.2", None),
        ] {
            let read = text.parse::<Dialect>().ok().map(|it| it.to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        }
        let early: Dialect = "4.2.3".parse().unwrap();
        assert!(!early.keeps_document_ends());
        assert!(Dialect::HELM_4.keeps_document_ends());
    }
}
