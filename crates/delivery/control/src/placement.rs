//! Where an App's Releases put clusters, remembered until something that matters changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use roadstead_model::{AppKey, Cluster, ClusterId, ClusterSet, ClusterSetSpec, Project};
use roadstead_target::{ClusterView, Expression, HUB, TargetInput, Uses, placements, target_input};

use crate::records::ReleaseRecord;

/// What a Release means for one target cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// What its rendering depends on, or why it cannot be rendered. Clusters with the same input share it.
    pub input: Result<Arc<TargetInput>, String>,
    /// The input's digest.
    pub digest: Option<Digest>,
}

/// Where one Release puts clusters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placing {
    /// The clusters.
    pub clusters: BTreeMap<ClusterId, Placed>,
    /// Why it cannot be told. Then `clusters` is empty and means nothing: nobody is left because of it.
    pub error: Option<String>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// Placements by App and Release.
#[derive(Debug, Default)]
pub(crate) struct Cache(BTreeMap<(AppKey, u64), Arc<Placing>>);

impl Cache {
    pub(crate) fn of(
        &mut self,
        app: &AppKey,
        record: &ReleaseRecord,
        clusters: &BTreeMap<ClusterId, Cluster>,
        sets: &BTreeMap<String, ClusterSet>,
        project: Option<&Project>,
    ) -> Arc<Placing> {
        let key = (app.clone(), record.number);
        Arc::clone(
            self.0
                .entry(key)
                .or_insert_with(|| Arc::new(place(record, clusters, sets, project))),
        )
    }

    pub(crate) fn peek(&self, app: &AppKey, number: u64) -> Option<&Arc<Placing>> {
        self.0.get(&(app.clone(), number))
    }

    pub(crate) fn is_placed(&self, app: &AppKey, cluster: &ClusterId) -> bool {
        let from = (app.clone(), 0);
        let to = (app.clone(), u64::MAX);
        self.0
            .range(from..=to)
            .any(|(_, placing)| placing.clusters.contains_key(cluster))
    }

    pub(crate) fn forget(&mut self, app: &AppKey, number: u64) {
        self.0.remove(&(app.clone(), number));
    }

    pub(crate) fn forget_all(&mut self) {
        self.0.clear();
    }
}

pub(crate) fn place(
    record: &ReleaseRecord,
    clusters: &BTreeMap<ClusterId, Cluster>,
    sets: &BTreeMap<String, ClusterSet>,
    project: Option<&Project>,
) -> Placing {
    // an absent Project takes nothing away from clusters
    let Some(project) = project else {
        return Placing {
            error: Some("the Project is missing, or cannot be read".to_owned()),
            ..Placing::default()
        };
    };
    let failed = |error: String| Placing {
        error: Some(error),
        ..Placing::default()
    };
    let sets: BTreeMap<String, ClusterSetSpec> = sets
        .iter()
        .map(|(name, set)| (name.clone(), set.spec.clone()))
        .collect();
    let allowed = |view: &ClusterView| {
        let selector = project.spec.clusters.as_ref();
        selector.is_some_and(|selector| selector.matches_map(&view.labels))
    };
    let live = clusters
        .values()
        .filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
    let views: Vec<ClusterView> = live
        .map(|cluster| ClusterView::of(cluster, &sets))
        .filter(allowed)
        .collect();
    let by_id: BTreeMap<&ClusterId, &ClusterView> =
        views.iter().map(|view| (&view.id, view)).collect();
    let mut uses = match Uses::of(&record.frozen, []) {
        Ok(uses) => uses,
        Err(error) => return failed(error.to_string()),
    };
    let in_manifests = record.uses.iter().flatten();
    uses.manifests = in_manifests
        .map(|(path, default)| Expression {
            path: path.clone(),
            default: default.clone(),
        })
        .collect();
    let found = match placements(&record.frozen, &views, &sets) {
        Ok(found) => found,
        Err(error) => return failed(error.to_string()),
    };
    let hub = ClusterView::hub();
    let may_hub = project.spec.hub;
    let mut out = Placing {
        warnings: found.warnings.iter().map(ToString::to_string).collect(),
        ..Placing::default()
    };
    let mut inputs: BTreeMap<Digest, Arc<TargetInput>> = BTreeMap::new();
    for placement in &found.placed {
        let view = if placement.cluster.0 == HUB {
            if !may_hub {
                out.warnings
                    .push("this project may not deliver to the hub".to_owned());
                continue;
            }
            &hub
        } else {
            let Some(view) = by_id.get(&placement.cluster) else {
                continue;
            };
            view
        };
        let input = target_input(&record.frozen, &uses, view, placement)
            .map_err(|error| error.source.to_string())
            .map(|input| {
                let digest = input.digest();
                let shared = inputs.entry(digest).or_insert_with(|| Arc::new(input));
                (digest, Arc::clone(shared))
            });
        let digest = input.as_ref().ok().map(|(digest, _)| *digest);
        let placed = Placed {
            input: input.map(|(_, input)| input),
            digest,
        };
        out.clusters.insert(placement.cluster.clone(), placed);
    }
    out
}
