//! One variant against another.

use std::collections::BTreeMap;

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::{Phase, Variant, VariantObject, is_protected};
use roadstead_model::SyncOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::predict::{Outcome, Written};
use crate::{FieldChange, Immutable, Refused, Server, Verdict};

/// A comparison that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An object's bytes are gone, or are no JSON.
    #[error("object {} ({digest}) cannot be read from the store: {problem}", .object.readable())]
    Object {
        /// The object.
        object: Box<ObjectId>,
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        problem: String,
    },
    /// A variant is gone.
    #[error("variant {0} is not in the store")]
    Variant(Digest),
}

/// What changes from one variant to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Objects that are new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub created: Vec<Created>,
    /// Objects that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
    /// Objects that go, or would go and stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
    /// Hooks that run, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<ObjectId>,
    /// Namespaces that are made if they are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// How many objects stay as they are.
    pub unchanged: usize,
    /// What the removal budget says.
    pub verdict: Verdict,
    /// Objects that an API server would refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// An object that is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The object.
    pub id: ObjectId,
    /// What is in it, with a Secret's data masked.
    pub object: Value,
}

/// An object that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The object.
    pub id: ObjectId,
    /// The fields.
    pub fields: Vec<FieldChange>,
    /// A field of it cannot change in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<Immutable>,
    /// The fields are those of the manifests: what an API server makes of them is not known here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_written: bool,
}

/// An object that the new variant no longer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The object.
    pub id: ObjectId,
    /// What becomes of it.
    pub why: Why,
}

/// What becomes of an object that is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It is removed.
    Removed,
    /// It waits for approval: its kind is protected.
    Protected,
    /// It waits for approval: the budget is exceeded.
    OverBudget,
    /// It stays, since it says so itself.
    Keep,
    /// It stays, since the App does not prune.
    PruneOff,
}

impl Changes {
    /// Does nothing change? Hooks alone are no change: they run with one.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares what a cluster confirmed with what it would get. `None` as old means that it has nothing yet. `fetch` reads
/// an object's canonical bytes; only objects that are new or differ are read. `server` says what becomes of them.
pub fn compare(
    old: Option<&Variant>,
    new: &Variant,
    sync: &SyncOptions,
    server: &Server,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Result<Changes, PlanError> {
    let empty = Variant::default();
    let old = old.unwrap_or(&empty);
    let before: BTreeMap<&ObjectId, &VariantObject> =
        old.lasting().map(|object| (&object.id, object)).collect();
    let after: BTreeMap<&ObjectId, &VariantObject> =
        new.lasting().map(|object| (&object.id, object)).collect();
    let mut out = Changes::default();
    for object in new.lasting() {
        let refused = match before.get(&object.id) {
            Some(known) if known.digest == object.digest => {
                out.unchanged += 1;
                None
            }
            Some(known) => {
                let (from, to) = (read(known, fetch)?, read(object, fetch)?);
                let outcome = server.change(written(known, &from), written(object, &to), sync);
                let Outcome {
                    fields,
                    immutable,
                    refused,
                    as_written,
                } = outcome;
                out.changed.push(Changed {
                    id: object.id.clone(),
                    fields,
                    immutable,
                    as_written,
                });
                refused
            }
            None => {
                let to = read(object, fetch)?;
                let refused = server.creation(written(object, &to));
                out.created.push(Created {
                    id: object.id.clone(),
                    object: masked(to),
                });
                refused
            }
        };
        out.refused.extend(refused.map(|message| Refused {
            object: object.id.clone(),
            message,
        }));
    }
    let gone: Vec<&VariantObject> = old
        .lasting()
        .filter(|object| !after.contains_key(&object.id))
        .collect();
    let going: Vec<&ObjectId> = gone
        .iter()
        .filter(|object| sync.prune && !object.keep)
        .map(|object| &object.id)
        .collect();
    let wanted: Vec<&ObjectId> = after.keys().copied().collect();
    let budget = sync.removal_budget.unwrap_or_default();
    out.verdict = Verdict::of(&going, &wanted, before.len(), budget);
    for object in gone {
        let waits = out.verdict.waiting.contains(&object.id);
        let why = match (object.keep, sync.prune) {
            (true, _) => Why::Keep,
            (false, false) => Why::PruneOff,
            (false, true) if waits && is_protected(&object.id) => Why::Protected,
            (false, true) if waits => Why::OverBudget,
            (false, true) => Why::Removed,
        };
        let id = object.id.clone();
        out.removed.push(Removed { id, why });
    }
    let hooks = new
        .objects
        .iter()
        .filter(|object| object.hook && object.phase != Phase::SyncFail);
    for hook in hooks {
        let manifest = read(hook, fetch)?;
        if let Some(message) = server.creation(written(hook, &manifest)) {
            out.refused.push(Refused {
                object: hook.id.clone(),
                message,
            });
        }
        out.hooks.push(hook.id.clone());
    }
    out.hooks.dedup();
    let made = new
        .namespaces
        .iter()
        .filter(|namespace| !old.namespaces.contains(namespace));
    out.namespaces = made.cloned().collect();
    Ok(out)
}

fn written<'a>(object: &'a VariantObject, manifest: &'a Value) -> Written<'a> {
    Written {
        id: &object.id,
        version: &object.version,
        manifest,
    }
}

fn read(
    object: &VariantObject,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Result<Value, PlanError> {
    let error = |problem: &str| PlanError::Object {
        object: Box::new(object.id.clone()),
        digest: object.digest,
        problem: problem.to_owned(),
    };
    let bytes = fetch(&object.digest).ok_or_else(|| error("it is missing"))?;
    serde_json::from_slice(&bytes).map_err(|problem| error(&problem.to_string()))
}

fn masked(mut object: Value) -> Value {
    if k8s_object::kind(&object) == "Secret" && k8s_object::api_version(&object) == "v1" {
        for field in ["data", "stringData"] {
            if let Some(Value::Object(map)) = object.get_mut(field) {
                for value in map.values_mut() {
                    *value = Value::String(crate::MASK.to_owned());
                }
            }
        }
    }
    object
}
