//! Would the API server take this, and what would it change? Asked of one agent of those that get the same; nothing is
//! written by it.

use k8s_object::ObjectId;
use roadstead_model::{AppKey, IgnoreRule};
use serde::{Deserialize, Serialize};

use crate::Surveyed;

/// What a hub asks: these objects would be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The App that would apply them.
    pub app: AppKey,
    /// Takes fields that others own.
    #[serde(default)]
    pub force: bool,
    /// The fields that it leaves alone.
    #[serde(default)]
    pub ignore: Vec<IgnoreRule>,
    /// The objects.
    pub objects: Vec<Surveyed>,
}

/// What the API server said to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which.
    pub object: ObjectId,
    /// It is not there yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// The fields that the apply changes, apart from marks of owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The server's own words for why it refuses; empty if it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// The refusal is about fields that cannot change in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
    /// Why it cannot be said; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unknown: String,
}
