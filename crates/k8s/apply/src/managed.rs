//! `metadata.managedFields`: who set which fields.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::fieldpath::{FieldSet, FieldsError};

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manager's name.
    pub manager: String,
    /// How it came to own the fields.
    pub operation: Operation,
    /// The version that the paths are written in.
    pub api_version: String,
    /// When the entry changed last, as RFC 3339.
    pub time: Option<String>,
    /// The subresource that it wrote through; empty for the object itself.
    pub subresource: String,
    /// What it owns.
    pub fields: FieldSet,
}

/// All entries of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed {
    /// The entries; no two of one identity.
    pub entries: Vec<Entry>,
}

/// An entry of `managedFields` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagedError {
    /// The operation is neither.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// It has no version.
    #[error("apiVersion must not be empty")]
    ApiVersion,
    /// It has no fields type.
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    /// It has a fields type of another kind.
    #[error("invalid fieldsType {0:?} in managed fields entry {1}")]
    FieldsType(String, usize),
    /// Its fields cannot be read.
    #[error("failed to decode managed fields entry {entry}")]
    Fields {
        /// The place of the entry.
        entry: usize,
        /// Why.
        #[source]
        source: FieldsError,
    },
    /// It is no list of maps.
    #[error("managedFields is no list of entries")]
    NotAList,
}

impl Entry {
    /// Does the other entry stand for the same manager? Appliers are the same across versions.
    pub fn same_manager(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    pub(crate) fn identity(&self) -> (&str, Operation, &str, &str) {
        let version = match self.operation {
            Operation::Apply => "",
            Operation::Update => self.api_version.as_str(),
        };
        (&self.manager, self.operation, version, &self.subresource)
    }

    /// Reads one entry; `place` is named in errors.
    pub fn decode(value: &Value, place: usize) -> Result<Self, ManagedError> {
        let map = value.as_object().ok_or(ManagedError::NotAList)?;
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(ManagedError::Operation),
        };
        if text("apiVersion").is_empty() {
            return Err(ManagedError::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(ManagedError::NoFieldsType(place)),
            other => return Err(ManagedError::FieldsType(other.to_owned(), place)),
        }
        let fields = match map.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::new(),
            Some(fields) => {
                FieldSet::from_fields_v1(fields).map_err(|source| ManagedError::Fields {
                    entry: place,
                    source,
                })?
            }
        };
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            api_version: text("apiVersion").to_owned(),
            time: map.get("time").and_then(Value::as_str).map(str::to_owned),
            subresource: text("subresource").to_owned(),
            fields,
        })
    }

    /// Writes one entry.
    pub fn encode(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                map.insert(key.to_owned(), Value::from(text));
            }
        };
        put("manager", &self.manager);
        put(
            "operation",
            match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
        );
        put("apiVersion", &self.api_version);
        put("time", self.time.as_deref().unwrap_or_default());
        put("fieldsType", "FieldsV1");
        put("subresource", &self.subresource);
        map.insert("fieldsV1".to_owned(), self.fields.to_fields_v1());
        Value::Object(map)
    }

    /// Orders entries as Kubernetes stores them: by operation, time, manager, version, subresource.
    pub(crate) fn stored_order(&self, other: &Self) -> Ordering {
        self.operation
            .cmp(&other.operation)
            .then_with(|| self.time.cmp(&other.time))
            .then_with(|| self.manager.cmp(&other.manager))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }
}

impl Managed {
    /// Reads `metadata.managedFields` of an object; an object without any has none.
    pub fn of(object: &Value) -> Result<Self, ManagedError> {
        match raw(object) {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Array(entries)) => {
                let mut managed = Self::default();
                for (place, entry) in entries.iter().enumerate() {
                    managed.put(Entry::decode(entry, place)?);
                }
                Ok(managed)
            }
            Some(_) => Err(ManagedError::NotAList),
        }
    }

    /// Writes the entries into an object, or takes the field away if there are none.
    pub fn write(mut self, object: &mut Value) {
        let Some(meta) = k8s_object::meta_mut(object) else {
            return;
        };
        if self.entries.is_empty() {
            meta.remove("managedFields");
            return;
        }
        self.entries.sort_by(Entry::stored_order);
        let entries = self.entries.iter().map(Entry::encode).collect();
        meta.insert("managedFields".to_owned(), Value::Array(entries));
    }

    pub(crate) fn position(&self, identity: (&str, Operation, &str, &str)) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.identity() == identity)
    }

    /// Adds an entry, in place of one of the same manager.
    pub(crate) fn put(&mut self, entry: Entry) {
        match self.position(entry.identity()) {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Returns `metadata.managedFields` as it stands.
pub(crate) fn raw(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Clones an object without its managedFields.
pub(crate) fn without(object: &Value) -> Value {
    let Some(map) = object.as_object() else {
        return object.clone();
    };
    // entries are most of a small object: they are left out, not cloned and dropped
    map.iter()
        .map(|(key, value)| {
            let value = match value.as_object() {
                Some(meta) if key == "metadata" => meta
                    .iter()
                    .filter(|(key, _)| *key != "managedFields")
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Map<_, _>>()
                    .into(),
                _ => value.clone(),
            };
            (key.clone(), value)
        })
        .collect::<Map<_, _>>()
        .into()
}
