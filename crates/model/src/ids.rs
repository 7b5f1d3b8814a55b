//! Identifiers.

use std::fmt;
use std::str::FromStr;

use base_json::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The API group of every noun.
pub const GROUP: &str = "roadstead.dev";
/// The API version of every noun.
pub const VERSION: &str = "v1alpha1";

/// Names something inside a Project: `project/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The Project.
    pub project: String,
    /// The name.
    pub name: String,
}

/// Names an App: `project/name`.
pub type AppKey = Key;

/// A text that is no `project/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form project/name")]
pub struct IdError(String);

impl Key {
    /// Makes one.
    pub fn new(project: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

impl FromStr for Key {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some((project, name))
                if !project.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::new(project, name))
            }
            _ => Err(IdError(text.to_owned())),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A registered cluster's own stable id: the uid of its Cluster. A name that is taken again gets another id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Release's id: the digest of what went into it.
pub type ReleaseId = Digest;

/// A variant's id: the digest of its list of objects.
pub type VariantId = Digest;
