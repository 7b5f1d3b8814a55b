//! How a cluster refuses.

use serde::{Deserialize, Serialize};

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ClusterError {
    /// What kind of failure it is; decisions hang on this alone.
    pub kind: ErrorKind,
    /// The server's own words, or the transport's.
    pub message: String,
}

/// The kinds of failure that an agent tells apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// 404 for the object.
    NotFound,
    /// 404 for the kind: the cluster does not serve it.
    UnknownKind,
    /// 404 for the namespace that a create needs.
    NamespaceMissing,
    /// 409 of server-side apply: other managers own fields.
    FieldConflict(Vec<FieldConflict>),
    /// 409 otherwise: the object changed, exists already, or a precondition failed.
    Conflict,
    /// 422 for a field that cannot change.
    Immutable {
        /// The fields.
        fields: Vec<String>,
    },
    /// 400, 413 or 422: the object is not valid, or too large.
    Invalid {
        /// The fields, where the server names them.
        fields: Vec<String>,
    },
    /// 403 because of rights.
    Forbidden,
    /// A webhook or admission policy refused.
    Admission,
    /// 401.
    Unauthorized,
    /// 429, with the pause that the server asks for.
    TooManyRequests {
        /// Milliseconds; 0 if the server did not say.
        retry_after_ms: u64,
    },
    /// 410: the resourceVersion or list token is too old.
    Expired,
    /// 5xx, no connection, time-out: it may work later.
    Unavailable,
    /// Anything else.
    Other,
}

/// One field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldConflict {
    /// The manager.
    pub manager: String,
    /// The field's path, such as `.spec.replicas`.
    pub field: String,
}

impl ClusterError {
    /// Makes one.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// May the same request work later without anybody changing anything?
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::TooManyRequests { .. } | ErrorKind::Unavailable | ErrorKind::Expired
        )
    }
}
