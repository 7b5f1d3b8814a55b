//! What the controllers need of an API server.

use jiff::Timestamp;
use k8s_cluster::Propagation;
use serde_json::Value;

use crate::key::{Key, Kind};

/// Why a controller's request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The object changed since it was read: look again.
    #[error("conflict: {0}")]
    Conflict(String),
    /// An object of this name exists already.
    #[error("exists: {0}")]
    Exists(String),
    /// The object, its namespace or its kind is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// Asking again will not help until something changes.
    #[error("refused: {0}")]
    Refused(String),
}

/// An API server, asked in the same process: every answer comes at once.
pub(crate) trait Api {
    /// Reads one object.
    fn get(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Option<Value>;

    /// Lists a kind in one namespace, or in all if it is empty.
    fn list(&self, kind: Kind<'_>, namespace: &str) -> Vec<Value>;

    /// Names everything that lives in a namespace.
    fn contents(&self, namespace: &str) -> Vec<Key>;

    /// Creates an object.
    fn create(&self, manager: &str, object: Value) -> Result<Value, Refusal>;

    /// Replaces an object, all but its status, if it still has the resourceVersion that it says.
    fn update(&self, manager: &str, object: &Value) -> Result<Value, Refusal>;

    /// Replaces an object's status, if the object still has the resourceVersion that it says.
    fn update_status(&self, manager: &str, object: &Value) -> Result<Value, Refusal>;

    /// Replaces a namespace's `spec.finalizers`.
    fn finalize(&self, manager: &str, namespace: &Value) -> Result<Value, Refusal>;

    /// Deletes an object; `now` leaves no grace.
    fn delete(&self, key: &Key, uid: &str, how: Propagation, now: bool) -> Result<(), Refusal>;
}

/// Writes a moment as Kubernetes does: UTC, whole seconds.
pub(crate) fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a moment that [`time_text`] wrote.
pub(crate) fn read_time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}
