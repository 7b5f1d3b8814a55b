//! The order of each cluster as it is now, and who waits for it to change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base_json::Digest;
use parking_lot::Mutex;
use roadstead_dispatch::{Entry, root_of};
use roadstead_model::{AppKey, ClusterId, VariantId};
use tokio::sync::watch;

/// How many variants that were ordered for a cluster are remembered, as bases of patches.
const REMEMBERED: usize = 128;

/// The entries of one cluster with their root.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterOrder {
    pub(crate) root: Digest,
    pub(crate) entries: BTreeMap<AppKey, Entry>,
}

/// What is kept of one cluster.
#[derive(Debug)]
struct Kept {
    order: watch::Sender<Option<Arc<ClusterOrder>>>,
    past: VecDeque<VariantId>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            order: watch::Sender::new(None),
            past: VecDeque::new(),
        }
    }
}

/// The order of each cluster. One level-triggered flag a cluster: nobody queues anything.
#[derive(Debug)]
pub(crate) struct Orders {
    kept: Mutex<BTreeMap<ClusterId, Kept>>,
    /// How often orders were to be signed again.
    signed_again: watch::Sender<u64>,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            signed_again: watch::Sender::new(0),
        }
    }
}

impl Orders {
    /// How many clusters have one.
    pub(crate) fn len(&self) -> usize {
        self.kept.lock().len()
    }

    /// Lets every session sign and send its order once more.
    pub(crate) fn sign_again(&self) {
        self.signed_again.send_modify(|times| *times += 1);
    }

    /// Changes when orders are to be signed again.
    pub(crate) fn signings(&self) -> watch::Receiver<u64> {
        self.signed_again.subscribe()
    }

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
        let mut all = self.kept.lock();
        let kept = all.entry(cluster.clone()).or_default();
        for entry in entries.values() {
            if !kept.past.contains(&entry.variant) {
                kept.past.push_back(entry.variant);
            }
        }
        while kept.past.len() > REMEMBERED.max(entries.len() * 2) {
            kept.past.pop_front();
        }
        kept.order.send_if_modified(|held| {
            if held.as_ref().is_some_and(|held| held.root == root) {
                return false;
            }
            *held = Some(Arc::new(ClusterOrder { root, entries }));
            true
        });
    }

    /// Follows a cluster's order.
    pub(crate) fn follow(&self, cluster: &ClusterId) -> watch::Receiver<Option<Arc<ClusterOrder>>> {
        self.kept
            .lock()
            .entry(cluster.clone())
            .or_default()
            .order
            .subscribe()
    }

    /// A cluster's order as it is now.
    pub(crate) fn get(&self, cluster: &ClusterId) -> Option<Arc<ClusterOrder>> {
        self.kept
            .lock()
            .get(cluster)
            .and_then(|kept| kept.order.borrow().clone())
    }

    /// Was this variant ever ordered for the cluster, since the hub started? Only such a one may be the base of a
    /// patch: what changed since another cluster's variant would tell what is in that.
    pub(crate) fn was_ordered(&self, cluster: &ClusterId, variant: &VariantId) -> bool {
        self.kept
            .lock()
            .get(cluster)
            .is_some_and(|kept| kept.past.contains(variant))
    }
}
