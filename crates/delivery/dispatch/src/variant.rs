//! A variant: the list of objects that one kind of target gets from a Release.

use std::fmt;

use base_json::Digest;
use k8s_object::{Gvk, ObjectId};
use roadstead_model::AppKey;
use serde::{Deserialize, Serialize};

/// The annotation that names an object's owner, see [`owner_annotation`].
pub const OWNER_ANNOTATION: &str = "roadstead.dev/owner";
/// The short label that agents watch by; its value is [`app_label`] of the owner.
pub const APP_LABEL: &str = "roadstead.dev/app";

/// The list of objects of one variant, in the order of their application. Its digest, over canonical JSON, is the
/// variant's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The objects, sorted by (phase, wave, kind rank, namespace, name).
    pub objects: Vec<VariantObject>,
    /// Namespaces that must exist; made when missing, owned by no App, never removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// One object of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantObject {
    /// Who it is.
    pub id: ObjectId,
    /// The version it is written in, such as `v1` or `v1beta1`.
    pub version: String,
    /// The digest of its canonical JSON.
    pub digest: Digest,
    /// The size of its canonical JSON in bytes.
    pub size: u32,
    /// When in a sync it is applied.
    #[serde(default, skip_serializing_if = "Phase::is_sync")]
    pub phase: Phase,
    /// Its wave inside the phase; lower waves go first and must be healthy before the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wave: i32,
    /// Runs once per Release as a hook, and is not part of the App's lasting objects.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hook: bool,
    /// Runs to an end (a Job): once it has completed, its absence is no drift.
    #[serde(default, skip_serializing_if = "is_false")]
    pub once: bool,
    /// When a hook's object is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hook_delete: Vec<HookDelete>,
    /// The hook also runs when a cluster goes back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub on_rollback: bool,
    /// The object is never pruned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep: bool,
}

/// A phase of a sync, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Hooks before anything else.
    PreSync,
    /// The App's objects.
    #[default]
    Sync,
    /// Hooks after everything is healthy.
    PostSync,
    /// Hooks after a sync that failed.
    SyncFail,
}

/// When the object of a hook is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookDelete {
    /// Before it is made again.
    BeforeCreation,
    /// After it has succeeded.
    Succeeded,
    /// After it has failed.
    Failed,
}

impl Phase {
    fn is_sync(&self) -> bool {
        *self == Self::Sync
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Variant {
    /// The variant's id.
    pub fn id(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&base_json::canonical_of(self)?))
    }

    /// The objects that last: not the hooks.
    pub fn lasting(&self) -> impl Iterator<Item = &VariantObject> {
        self.objects.iter().filter(|object| !object.hook)
    }
}

impl VariantObject {
    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk {
        Gvk {
            group: self.id.group.clone(),
            version: self.version.clone(),
            kind: self.id.kind.clone(),
        }
    }
}

/// Who owns an object, as its annotation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The App.
    pub app: AppKey,
    /// The object that was marked; another object that carries the mark is a copy and not ours.
    pub object: ObjectId,
}

/// Writes the owner annotation: `project/app:group/Kind/namespace/name`.
pub fn owner_annotation(app: &AppKey, object: &ObjectId) -> String {
    format!("{app}:{object}")
}

/// Reads the owner annotation.
pub fn parse_owner(text: &str) -> Option<Owner> {
    let (app, object) = text.split_once(':')?;
    Some(Owner {
        app: app.parse().ok()?,
        object: object.parse().ok()?,
    })
}

/// The value of the short label: 12 hexadecimal digits of the digest of `project/app`.
pub fn app_label(app: &AppKey) -> String {
    Digest::of(app.to_string().as_bytes()).short()
}
