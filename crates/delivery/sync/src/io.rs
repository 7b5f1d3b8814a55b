//! What goes into the machine and what comes out.

use std::collections::BTreeMap;

use base_json::Digest;
use bytes::Bytes;
use k8s_cluster::{Call, ClusterError, Reply, WatchEvent, WatchSpec};
use k8s_object::Gvk;
use roadstead_dispatch::{Capacity, Entry, Known, Report};
use roadstead_model::AppKey;

/// Names a request until its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Everything that the machine asked to be kept, as it was kept.
pub type Persisted = BTreeMap<String, Bytes>;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The first input of all: what an earlier run kept.
    Restored(Persisted),
    /// A verified order, whole.
    Order {
        /// What to do for each App.
        entries: BTreeMap<AppKey, Entry>,
        /// Its place.
        known: Known,
        /// The digest of its entries.
        root: Digest,
    },
    /// An order was refused; the one that is held stays.
    OrderRefused(String),
    /// Content that was asked for.
    Blobs(Vec<(Digest, Bytes)>),
    /// Content could not be fetched.
    BlobsFailed {
        /// What is missing.
        digests: Vec<Digest>,
        /// Why.
        reason: String,
    },
    /// The answer to a request.
    Reply {
        /// Which request.
        call: CallId,
        /// The answer.
        result: Result<Reply, ClusterError>,
    },
    /// A watch yields something.
    Watch {
        /// Which watch.
        gvk: Gvk,
        /// What.
        event: WatchEvent,
    },
    /// A watch ended.
    WatchEnded {
        /// Which watch.
        gvk: Gvk,
        /// Why; `None` when the server just closed it.
        error: Option<ClusterError>,
    },
    /// The time asked for by [`Effect::WakeAt`] has come.
    Wake,
    /// The hub can be reached, and knows nothing of what was reported before: everything is reported again.
    Connected,
    /// The hub is away.
    Disconnected,
    /// The hub has the last report.
    ReportSent,
    /// What the cluster's nodes were found to be.
    Nodes {
        /// How many there are.
        count: u32,
        /// What they can hold.
        capacity: Capacity,
    },
}

/// Something to do. Effects are carried out in their order; what is to be kept is on disk before the effect after it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a request to the cluster and give back the answer.
    Call {
        /// Its name.
        id: CallId,
        /// The request.
        call: Call,
    },
    /// Start a watch, in place of one of the same kind.
    Watch(WatchSpec),
    /// Stop a watch.
    Unwatch(Gvk),
    /// Fetch content from the hub.
    Fetch(Vec<Digest>),
    /// Keep a record under a key, or forget it.
    Persist {
        /// The key.
        key: String,
        /// The record; `None` forgets it.
        value: Option<Bytes>,
    },
    /// Send this to the hub and answer with [`Input::ReportSent`]. One is on its way at most.
    Report(Report),
    /// Give [`Input::Wake`] when the clock that never goes back reaches this time, in milliseconds; it takes the place
    /// of an earlier one.
    WakeAt(u64),
}
