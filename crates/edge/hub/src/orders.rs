//! The order of each cluster as it is now, and who waits for it to change.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use parking_lot::Mutex;
use roadstead_dispatch::{Entry, root_of};
use roadstead_model::{AppKey, ClusterId};
use tokio::sync::watch;

/// The entries of one cluster with their root.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterOrder {
    pub(crate) root: Digest,
    pub(crate) entries: BTreeMap<AppKey, Entry>,
}

/// The order of each cluster. One level-triggered flag a cluster: nobody queues anything.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<BTreeMap<ClusterId, watch::Sender<Option<Arc<ClusterOrder>>>>>);

impl Orders {
    /// Sets a cluster's entries; wakes its session if they changed.
    pub(crate) fn set(&self, cluster: &ClusterId, entries: BTreeMap<AppKey, Entry>) {
        // most looks change nothing, and comparing costs far less than digesting
        if self
            .get(cluster)
            .is_some_and(|held| held.entries == entries)
        {
            return;
        }
        let root = root_of(&entries);
        let mut all = self.0.lock();
        let sender = all
            .entry(cluster.clone())
            .or_insert_with(|| watch::Sender::new(None));
        sender.send_if_modified(|held| {
            if held.as_ref().is_some_and(|held| held.root == root) {
                return false;
            }
            *held = Some(Arc::new(ClusterOrder { root, entries }));
            true
        });
    }

    /// Follows a cluster's order.
    pub(crate) fn follow(&self, cluster: &ClusterId) -> watch::Receiver<Option<Arc<ClusterOrder>>> {
        self.0
            .lock()
            .entry(cluster.clone())
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    /// A cluster's order as it is now.
    pub(crate) fn get(&self, cluster: &ClusterId) -> Option<Arc<ClusterOrder>> {
        self.0
            .lock()
            .get(cluster)
            .and_then(|sender| sender.borrow().clone())
    }
}
