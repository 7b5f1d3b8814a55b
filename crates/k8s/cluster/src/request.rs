//! Requests and answers as data.

use bytes::Bytes;
use k8s_object::{Gvk, ObjectId};
use serde::{Deserialize, Serialize};

/// One request to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Reads the cluster's version and every kind that it serves.
    Discover,
    /// Reads one object.
    Get {
        /// The version and kind to read it as.
        gvk: Gvk,
        /// Which one.
        id: ObjectId,
    },
    /// Lists one kind in all namespaces, a page at a time.
    List {
        /// The version and kind.
        gvk: Gvk,
        /// A label selector in kubectl's text form; empty for all.
        labels: String,
        /// A field selector in kubectl's text form; empty for all.
        fields: String,
        /// How many at most; 0 leaves it to the server.
        limit: u32,
        /// Where the page before ended; empty for the first.
        token: String,
    },
    /// Names the objects of one kind in one namespace, a page at a time. Nothing else of them is read.
    Names {
        /// The version and kind.
        gvk: Gvk,
        /// The namespace; empty for kinds without, or for all.
        namespace: String,
        /// How many at most; 0 leaves it to the server.
        limit: u32,
        /// Where the page before ended; empty for the first.
        token: String,
    },
    /// Server-side apply; creates the object if it is missing.
    Apply {
        /// The object as JSON, with apiVersion, kind and metadata.
        object: Bytes,
        /// The field manager.
        manager: String,
        /// Take fields that another manager owns.
        force: bool,
        /// Ask only: nothing is written.
        dry_run: bool,
    },
    /// Creates an object; an error if it exists.
    Create {
        /// The object as JSON.
        object: Bytes,
        /// The field manager.
        manager: String,
    },
    /// JSON merge patch (RFC 7396).
    Merge {
        /// The version and kind.
        gvk: Gvk,
        /// Which one.
        id: ObjectId,
        /// The patch as JSON; a `metadata.resourceVersion` in it is a precondition.
        patch: Bytes,
        /// The field manager.
        manager: String,
    },
    /// Removes one object.
    Delete {
        /// The version and kind.
        gvk: Gvk,
        /// Which one.
        id: ObjectId,
        /// Remove it only if it is still the one with this uid; empty for any.
        uid: String,
        /// What happens to what it owns.
        propagation: Propagation,
    },
}

/// What happens to the objects that a removed one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// They are removed afterwards.
    Background,
    /// They are removed first.
    Foreground,
    /// They stay.
    Orphan,
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Call::Discover`].
    Discovered {
        /// The server's version.
        version: Version,
        /// Every kind with its verbs, in all served versions.
        resources: Vec<ApiResource>,
    },
    /// To get, apply, create and merge: the object as it is now (for a dry run: as it would be), as JSON.
    Object(Bytes),
    /// To [`Call::List`].
    Page {
        /// The objects as JSON, each with its apiVersion and kind.
        items: Vec<Bytes>,
        /// Where the next page begins; empty after the last.
        token: String,
        /// The list's resourceVersion, to watch from.
        revision: String,
    },
    /// To [`Call::Names`].
    Names {
        /// The names.
        names: Vec<String>,
        /// Where the next page begins; empty after the last.
        token: String,
    },
    /// To [`Call::Delete`]; `pending` while finalizers keep the object.
    Deleted {
        /// The object is still there, with a deletionTimestamp.
        pending: bool,
    },
}

/// A server's version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Such as `v1.36.3`.
    pub git_version: String,
}

/// One kind that a cluster serves, in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Its plural name in paths, such as `deployments`.
    pub plural: String,
    /// Do its objects live in namespaces?
    pub namespaced: bool,
    /// Is this the group's preferred version?
    pub preferred: bool,
    /// What it can do: `get`, `list`, `watch`, …
    pub verbs: Vec<String>,
}

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// The version and kind, in all namespaces.
    pub gvk: Gvk,
    /// A label selector in kubectl's text form; empty for all.
    pub labels: String,
    /// The resourceVersion to go on from; empty to get everything that exists first, then `Synced`.
    pub from: String,
}

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchEvent {
    /// An object exists, or changed: its JSON.
    Applied(Bytes),
    /// An object is gone: its last JSON.
    Deleted(Bytes),
    /// Everything that existed has been sent; the revision to resume from.
    Synced(String),
    /// Everything up to this revision has been sent.
    Bookmark(String),
}
