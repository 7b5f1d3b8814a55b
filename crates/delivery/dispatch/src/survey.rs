//! Whose is what is there already? Asked of an agent before an App is delivered; nothing changes by it.

use k8s_object::ObjectId;
use roadstead_model::{Adopt, AppKey, IgnoreRule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a hub asks: these objects would be delivered, so what becomes of those that exist?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// The App that would deliver them.
    pub app: AppKey,
    /// What it may take over.
    #[serde(default)]
    pub adopt: Adopt,
    /// The Apps that it takes objects over from.
    #[serde(default)]
    pub takes_over_from: Vec<AppKey>,
    /// The fields that it leaves alone.
    #[serde(default)]
    pub ignore: Vec<IgnoreRule>,
    /// The objects.
    pub objects: Vec<Surveyed>,
}

/// One object of a [`Survey`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surveyed {
    /// Which.
    pub id: ObjectId,
    /// The version of its kind by which it would be applied.
    pub version: String,
    /// What would be applied. Of a Secret the values are not sent.
    pub object: Value,
}

/// An object that exists before the App delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    /// Which.
    pub object: ObjectId,
    /// Whom it belongs to by its marks, such as `Helm release "web"`; empty if it carries nobody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The field managers that wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<String>,
    /// The fields that taking it over changes, apart from marks of owners; empty if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Why it is not taken over; empty if it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// Why that cannot be said; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unknown: String,
}
