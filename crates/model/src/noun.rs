//! What all nouns have in common.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    App, Cluster, ClusterSet, GROUP, Project, Release, Rollout, Source, Strategy, Time, VERSION,
};

/// A kind of thing that people, or the hub, write down.
pub trait Noun: Serialize + DeserializeOwned + 'static {
    /// What it is called and how it is shown.
    const INFO: NounInfo;

    /// Finds what the types cannot rule out; every finding names its field.
    fn validate(&self) -> Vec<FieldError>;

    /// The JSON schema of the whole object, documentation included.
    fn schema() -> Schema;
}

/// What a noun is called and how it is shown.
#[derive(Debug, Clone, Copy)]
pub struct NounInfo {
    /// The kind, such as `App`.
    pub kind: &'static str,
    /// The plural in paths, such as `apps`.
    pub plural: &'static str,
    /// The singular, such as `app`.
    pub singular: &'static str,
    /// Short names for kubectl.
    pub short_names: &'static [&'static str],
    /// Does it live in a Project (a namespace of the hub)?
    pub namespaced: bool,
    /// Do people write it, or does the hub?
    pub written_by_hub: bool,
    /// Printer columns between name and age.
    pub columns: &'static [Column],
    /// One sentence on what it is.
    pub about: &'static str,
}

/// A printer column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// The JSONPath of its cell, such as `.status.phase`.
    pub path: &'static str,
    /// `string`, `integer` or `date`.
    pub kind: &'static str,
    /// Shown only with `-o wide`?
    pub wide: bool,
}

/// Something wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `spec.stages[1].waves[0].percent`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl FieldError {
    /// Makes one.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A Kubernetes-style object with a typed spec and status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object<S, T: Default> {
    /// `roadstead.dev/v1alpha1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, labels and so on.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
    /// What is; written by the hub.
    #[serde(default)]
    pub status: T,
}

/// The part of an object's metadata that Roadstead reads; the rest is kept as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The Project; empty for what belongs to the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Grows with each change of the spec.
    #[serde(default)]
    pub generation: i64,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// When its removal was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Who must let go before it is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One condition of a noun's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Progressing`, `Stalled` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Does it hold?
    pub status: ConditionStatus,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
    /// Since when its status is what it is.
    pub last_transition_time: Time,
    /// The generation of the spec that it speaks of.
    #[serde(default)]
    pub observed_generation: i64,
}

/// Does a condition hold?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// Nobody knows.
    Unknown,
}

/// Sets a condition; its time moves only when its status does.
pub fn set_condition(conditions: &mut Vec<Condition>, new: Condition) {
    match conditions
        .iter_mut()
        .find(|condition| condition.kind == new.kind)
    {
        Some(old) => {
            let since = if old.status == new.status {
                old.last_transition_time
            } else {
                new.last_transition_time
            };
            *old = Condition {
                last_transition_time: since,
                ..new
            };
        }
        None => conditions.push(new),
    }
}

/// A noun as data, for whoever serves it.
#[derive(Debug, Clone)]
pub struct Described {
    /// What it is called and how it is shown.
    pub info: NounInfo,
    /// The JSON schema of the whole object.
    pub schema: Schema,
    /// Reads and validates plain JSON.
    pub validate: fn(&Value) -> Vec<FieldError>,
}

/// All nouns: what each is called, its schema, and its validation over plain JSON.
pub fn nouns() -> Vec<Described> {
    fn one<N: Noun>() -> Described {
        let validate = |value: &Value| match parse_noun::<N>(value) {
            Ok(noun) => noun.validate(),
            Err(error) => vec![error],
        };
        Described {
            info: N::INFO,
            schema: N::schema(),
            validate,
        }
    }
    vec![
        one::<Project>(),
        one::<Source>(),
        one::<App>(),
        one::<Cluster>(),
        one::<ClusterSet>(),
        one::<Strategy>(),
        one::<Release>(),
        one::<Rollout>(),
    ]
}

/// Reads a noun from plain JSON; an error names the field.
pub fn parse_noun<N: Noun>(value: &Value) -> Result<N, FieldError> {
    let described = |value: &Value| {
        (
            value
                .get("apiVersion")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned(),
            k8s_object::kind(value).to_owned(),
        )
    };
    let (api_version, kind) = described(value);
    if api_version != format!("{GROUP}/{VERSION}") {
        return Err(FieldError::new(
            "apiVersion",
            format!("is {api_version:?}, expected \"{GROUP}/{VERSION}\""),
        ));
    }
    if kind != N::INFO.kind {
        return Err(FieldError::new(
            "kind",
            format!("is {kind:?}, expected {:?}", N::INFO.kind),
        ));
    }
    serde_path_to_error::deserialize(value).map_err(
        |error: serde_path_to_error::Error<serde_json::Error>| {
            let (path, message) = (error.path().to_string(), error.inner().to_string());
            match missing_field(&message) {
                Some(field) if path == "." => FieldError::new(field, "it is missing"),
                Some(field) => FieldError::new(format!("{path}.{field}"), "it is missing"),
                None => FieldError::new(path, message),
            }
        },
    )
}

/// The field that serde misses, where that is what it complains of.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// What stands at a field such as `spec.stages[1].name`; `None` if nothing does.
pub fn value_at<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    let mut at = object;
    for part in field.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        at = at.get(name)?;
        for index in indices.split('[').filter(|index| !index.is_empty()) {
            at = at.get(index.trim_end_matches(']').parse::<usize>().ok()?)?;
        }
    }
    Some(at).filter(|value| !value.is_null())
}

/// Builds the schema of a whole noun from those of its spec and status.
pub(crate) fn object_schema<S: JsonSchema, T: JsonSchema>(info: &NounInfo) -> Schema {
    let mut generator = SchemaGenerator::new(schemars::generate::SchemaSettings::openapi3().with(
        |settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        },
    ));
    let spec = S::json_schema(&mut generator);
    let status = T::json_schema(&mut generator);
    schemars::json_schema!({
        "type": "object",
        "description": info.about,
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": spec,
            "status": status,
        },
    })
}

/// Implements [`Noun`] for an [`Object`].
macro_rules! noun {
    ($name:ident = Object<$spec:ty, $status:ty>, $info:expr, $validate:expr) => {
        #[doc = concat!("A whole ", stringify!($name), ".")]
        pub type $name = $crate::Object<$spec, $status>;

        impl $crate::Noun for $name {
            const INFO: $crate::NounInfo = $info;

            fn validate(&self) -> Vec<$crate::FieldError> {
                let check: fn(&$name, &mut Vec<$crate::FieldError>) = $validate;
                let mut errors = Vec::new();
                check(self, &mut errors);
                errors
            }

            fn schema() -> schemars::Schema {
                $crate::noun::object_schema::<$spec, $status>(&Self::INFO)
            }
        }
    };
}
pub(crate) use noun;

/// Checks a label selector.
pub(crate) fn check_selector(
    selector: &k8s_object::LabelSelector,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Err(error) = selector.validate() {
        errors.push(FieldError::new(
            format!("{field}.matchExpressions"),
            error.to_string(),
        ));
    }
}

/// Checks that names in a list are there and differ.
pub(crate) fn check_unique<'a>(
    names: impl Iterator<Item = &'a str>,
    field: &str,
    what: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, name) in names.enumerate() {
        if name.is_empty() {
            errors.push(FieldError::new(
                format!("{field}[{index}].name"),
                format!("a {what} needs a name"),
            ));
        } else if !seen.insert(name) {
            errors.push(FieldError::new(
                format!("{field}[{index}].name"),
                format!("there is another {what} {name:?}"),
            ));
        }
    }
}

pub(crate) const READY_COLUMN: Column = Column {
    name: "Ready",
    path: ".status.conditions[?(@.type==\"Ready\")].status",
    kind: "string",
    wide: false,
};
pub(crate) const MESSAGE_COLUMN: Column = Column {
    name: "Message",
    path: ".status.conditions[?(@.type==\"Ready\")].message",
    kind: "string",
    wide: false,
};
