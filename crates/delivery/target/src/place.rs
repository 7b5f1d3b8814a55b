//! Which clusters an App goes to.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_model::{
    AppSpec, Cluster, ClusterFact, ClusterId, ClusterSetSpec, StrategySpec, TargetClusters,
};
use serde_json::Value;

/// The name and id of the hub where it is itself a target.
pub const HUB: &str = "hub";

/// What targeting needs to know of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterView {
    /// Its own stable id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its values, merged with those of its ClusterSets, see [`effective_values`].
    pub values: BTreeMap<String, Value>,
    /// What its agent said of it, by the keys of [`crate::fact_key`].
    pub facts: BTreeMap<String, Value>,
    /// Gets no new assignments.
    pub cordoned: bool,
}

impl ClusterView {
    /// The hub as a target: no labels, no values.
    pub fn hub() -> Self {
        Self {
            id: ClusterId(HUB.to_owned()),
            name: HUB.to_owned(),
            labels: BTreeMap::new(),
            values: BTreeMap::new(),
            facts: BTreeMap::new(),
            cordoned: false,
        }
    }

    /// The view of a Cluster.
    pub fn of(cluster: &Cluster, sets: &BTreeMap<String, ClusterSetSpec>) -> Self {
        let labels = &cluster.metadata.labels;
        Self {
            id: ClusterId(cluster.metadata.uid.clone()),
            name: cluster.metadata.name.clone(),
            labels: labels.clone(),
            values: effective_values(&cluster.spec.values, labels, sets),
            facts: facts_of(cluster),
            cordoned: cluster.spec.cordoned,
        }
    }
}

fn facts_of(cluster: &Cluster) -> BTreeMap<String, Value> {
    let facts = &cluster.status.facts;
    let said = [
        (ClusterFact::KubeVersion, &facts.kubernetes_version),
        (ClusterFact::ApiVersions, &facts.api_versions),
    ];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(fact, text)| (crate::fact_key(fact).to_owned(), Value::from(text.as_str())))
        .collect()
}

/// One cluster that gets an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: String,
    /// The target that decided.
    pub target: String,
    /// The overlays that apply, by their place in the App, in order.
    pub overlays: Vec<usize>,
    /// The cluster takes nothing that it does not have yet.
    pub cordoned: bool,
}

/// Where an App goes, and what looks wrong about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placements {
    /// The clusters, in the order given; the hub first.
    pub placed: Vec<Placement>,
    /// What deserves a look.
    pub warnings: Vec<Warning>,
}

/// Something that is allowed and looks like a mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A target decides for no cluster.
    #[error("target {target:?} matches no cluster")]
    TargetMatchesNothing {
        /// The target.
        target: String,
    },
    /// Every cluster that a target matches is taken by targets before it.
    #[error("target {target:?} decides nothing: targets before it match all of its clusters")]
    TargetShadowed {
        /// The target.
        target: String,
    },
    /// An overlay applies to no cluster that gets the App.
    #[error("overlay {overlay:?} applies to no cluster that gets the App")]
    OverlayMatchesNothing {
        /// The overlay.
        overlay: String,
    },
    /// A name that no cluster has.
    #[error("{place} names cluster {cluster:?}, which is not registered")]
    UnknownCluster {
        /// The target or overlay.
        place: String,
        /// The name.
        cluster: String,
    },
}

/// A target that cannot be decided, so that the App's placements stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A ClusterSet that does not exist. It is no empty set: an absent one must not take an App away from clusters.
    #[error("{place} names ClusterSet {set:?}, which does not exist")]
    UnknownClusterSet {
        /// The target or overlay.
        place: String,
        /// The set.
        set: String,
    },
}

/// Decides where an App goes: for each cluster the first target that matches, unless that one skips. The hub is a target
/// only where a target names it.
pub fn placements(
    spec: &AppSpec,
    clusters: &[ClusterView],
    sets: &BTreeMap<String, ClusterSetSpec>,
) -> Result<Placements, TargetError> {
    let known: BTreeSet<&str> = clusters.iter().map(|c| c.name.as_str()).collect();
    let mut out = Placements::default();
    let targets = spec
        .targets
        .iter()
        .map(|t| (format!("target {:?}", t.name), &t.clusters));
    let overlays = spec
        .overlays
        .iter()
        .map(|o| (format!("overlay {:?}", o.name), &o.clusters));
    for (place, selected) in targets.chain(overlays) {
        if !selected.cluster_set.is_empty() && !sets.contains_key(&selected.cluster_set) {
            let set = selected.cluster_set.clone();
            return Err(TargetError::UnknownClusterSet { place, set });
        }
        for name in &selected.names {
            if name != HUB && !known.contains(name.as_str()) {
                let cluster = name.clone();
                let place = place.clone();
                out.warnings
                    .push(Warning::UnknownCluster { place, cluster });
            }
        }
    }
    let hub = ClusterView::hub();
    let names_hub = |selected: &TargetClusters| selected.names.iter().any(|name| name == HUB);
    let hub = spec
        .targets
        .iter()
        .any(|t| names_hub(&t.clusters))
        .then_some(&hub);
    let (mut decided, mut matched) = (BTreeSet::new(), BTreeSet::new());
    let mut applied = BTreeSet::new();
    for cluster in hub.into_iter().chain(clusters) {
        let is_hub = cluster.id.0 == HUB;
        let mut first = None;
        for (index, target) in spec.targets.iter().enumerate() {
            if is_hub && !names_hub(&target.clusters) || !matches(&target.clusters, cluster, sets) {
                continue;
            }
            matched.insert(index);
            first.get_or_insert((index, target));
        }
        let Some((index, target)) = first else {
            continue;
        };
        decided.insert(index);
        if target.skip {
            continue;
        }
        let overlays = spec.overlays.iter().enumerate();
        let overlays: Vec<usize> = overlays
            .filter(|(_, overlay)| matches(&overlay.clusters, cluster, sets))
            .map(|(index, _)| index)
            .collect();
        applied.extend(overlays.iter().copied());
        out.placed.push(Placement {
            cluster: cluster.id.clone(),
            name: cluster.name.clone(),
            target: target.name.clone(),
            overlays,
            cordoned: cluster.cordoned,
        });
    }
    for (index, target) in spec.targets.iter().enumerate() {
        let target = target.name.clone();
        if !matched.contains(&index) {
            out.warnings.push(Warning::TargetMatchesNothing { target });
        } else if !decided.contains(&index) {
            out.warnings.push(Warning::TargetShadowed { target });
        }
    }
    for (index, overlay) in spec.overlays.iter().enumerate() {
        if !applied.contains(&index) {
            let overlay = overlay.name.clone();
            out.warnings
                .push(Warning::OverlayMatchesNothing { overlay });
        }
    }
    Ok(out)
}

fn matches(
    selected: &TargetClusters,
    cluster: &ClusterView,
    sets: &BTreeMap<String, ClusterSetSpec>,
) -> bool {
    let by_label = selected.selector.as_ref();
    let by_set = (!selected.cluster_set.is_empty()).then(|| sets.get(&selected.cluster_set));
    by_label.is_none_or(|selector| selector.matches_map(&cluster.labels))
        && by_set.is_none_or(|set| {
            // the hub is in no set, not even in one that selects everything
            cluster.id.0 != HUB && set.is_some_and(|set| set.selector.matches_map(&cluster.labels))
        })
        && (selected.names.is_empty() || selected.names.contains(&cluster.name))
}

/// Merges a cluster's own values with those of the sets that it is in: its own win, then the first set by name. Maps
/// are merged level by level, anything else is replaced whole.
pub fn effective_values(
    own: &BTreeMap<String, Value>,
    labels: &BTreeMap<String, String>,
    sets: &BTreeMap<String, ClusterSetSpec>,
) -> BTreeMap<String, Value> {
    let mut out = own.clone();
    for set in sets.values().filter(|set| set.selector.matches_map(labels)) {
        for (key, value) in &set.values {
            match out.get_mut(key) {
                Some(known) => fill(known, value),
                None => {
                    out.insert(key.clone(), value.clone());
                }
            }
        }
    }
    out
}

fn fill(known: &mut Value, defaults: &Value) {
    if let (Value::Object(known), Value::Object(defaults)) = (known, defaults) {
        for (key, value) in defaults {
            match known.get_mut(key) {
                Some(known) => fill(known, value),
                None => {
                    known.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

/// The first stage that selects a cluster; `None` for the last stage, `rest`.
pub fn stage_of(strategy: &StrategySpec, labels: &BTreeMap<String, String>) -> Option<usize> {
    strategy
        .stages
        .iter()
        .position(|stage| stage.clusters.matches_map(labels))
}
