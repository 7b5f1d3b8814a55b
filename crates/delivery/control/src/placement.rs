//! Where an App's Releases put clusters, remembered until something that matters changes.

use std::collections::BTreeMap;

use roadstead_model::{AppKey, Cluster, ClusterId, ClusterSet, Project};
use roadstead_target::TargetInput;

use crate::records::ReleaseRecord;

/// What a Release means for one target cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// What its rendering depends on, or why it cannot be rendered.
    pub input: Result<TargetInput, String>,
}

/// Placements by App and Release.
#[derive(Debug, Default)]
pub(crate) struct Placements(BTreeMap<(AppKey, u64), BTreeMap<ClusterId, Placed>>);

impl Placements {
    pub(crate) fn of(
        &mut self,
        app: &AppKey,
        record: &ReleaseRecord,
        clusters: &BTreeMap<ClusterId, Cluster>,
        sets: &BTreeMap<String, ClusterSet>,
        project: Option<&Project>,
    ) -> BTreeMap<ClusterId, Placed> {
        let key = (app.clone(), record.number);
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let placed = place(record, clusters, sets, project);
        self.0.insert(key, placed.clone());
        placed
    }

    pub(crate) fn peek(&self, app: &AppKey, number: u64) -> Option<&BTreeMap<ClusterId, Placed>> {
        self.0.get(&(app.clone(), number))
    }

    pub(crate) fn is_placed(&self, app: &AppKey, cluster: &ClusterId) -> bool {
        let from = (app.clone(), 0);
        let to = (app.clone(), u64::MAX);
        self.0.range(from..=to).any(|(_, placed)| placed.contains_key(cluster))
    }

    pub(crate) fn forget(&mut self, app: &AppKey, number: u64) {
        // variants may have been added; placements themselves hang on what is frozen and never change with the record
        let _ = (app, number);
    }

    pub(crate) fn forget_cluster(&mut self, _: &ClusterId) {
        self.0.clear();
    }

    pub(crate) fn forget_all(&mut self) {
        self.0.clear();
    }
}
