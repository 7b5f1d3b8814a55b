//! Many clusters: those with the same change are one group.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::{DriftItem, Existing, Variant, VariantObject};
use roadstead_model::{AppKey, OnLeave, SyncOptions, Time, VariantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Changes, Check, PlanError, Server, compare};

/// What is known of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// The variant that it confirmed last.
    pub confirmed: Option<VariantId>,
    /// The objects that it holds, where they are others than those of that variant: what it could not apply is not there.
    pub holds: Option<BTreeSet<ObjectId>>,
    /// When it was heard of last; `None` if never.
    pub heard: Option<Time>,
    /// What its agent says differs there now.
    pub drift: Vec<DriftItem>,
    /// What it would get.
    pub next: Next,
}

/// What a cluster would get.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This variant.
    Variant(VariantId),
    /// It cannot be rendered with its own values.
    Failed(String),
    /// It is no target any more.
    Leaves(OnLeave),
}

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanSettings {
    /// The App.
    pub app: AppKey,
    /// What is planned: a Release, a revision or a folder, for people.
    pub what: String,
    /// How objects are applied and removed.
    pub sync: SyncOptions,
}

/// What would change, over all clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The App.
    pub app: String,
    /// What is planned.
    pub what: String,
    /// On which knowledge the plan stands.
    pub basis: String,
    /// Clusters with the same change; the largest group first, those without a change last.
    pub groups: Vec<Group>,
    /// Clusters without an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// What API servers said to it in dry-runs, for each group of clusters that get the same and run the same Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// Clusters with the same change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Their names, sorted.
    pub clusters: Vec<String>,
    /// What changes.
    pub changes: Changes,
    /// They have nothing of this App yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// They are no targets any more, and this happens to the objects there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<OnLeave>,
    /// What differs there by hand of others; a sync heals it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftItem>,
    /// What of the new objects exists there already, by somebody else's hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub existing: Vec<Existing>,
    /// Why that is not known; empty if it is, or if nothing is new.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unasked: String,
}

/// A cluster without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The cluster.
    pub cluster: String,
    /// Why.
    pub message: String,
}

/// A plan in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Clusters in the plan.
    pub clusters: usize,
    /// Clusters where something changes.
    pub changing: usize,
    /// Clusters without an answer.
    pub failed: usize,
    /// Clusters where removals wait for approval.
    pub waiting: usize,
    /// Clusters where objects of others are taken over.
    pub adopting: usize,
    /// Clusters where an object is refused: it belongs to somebody else, or the API server does not take it.
    pub refused: usize,
    /// Groups of clusters that get the same change and run the same Kubernetes.
    #[serde(default)]
    pub checks: usize,
    /// Those of them for which an API server said the same as the plan.
    #[serde(default)]
    pub confirmed: usize,
}

impl Group {
    /// Does an object there belong to somebody that it may not be taken from?
    pub fn is_refused(&self) -> bool {
        self.existing.iter().any(|found| !found.refused.is_empty())
    }

    /// Does nothing happen there?
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.drift.is_empty() && self.leaves.is_none()
    }
}

impl Plan {
    /// Counts.
    pub fn summary(&self) -> Summary {
        let count = |keep: &dyn Fn(&Group) -> bool| -> usize {
            let kept = self.groups.iter().filter(|group| keep(group));
            kept.map(|group| group.clusters.len()).sum()
        };
        let by_groups = self.groups.iter().filter(|group| group.is_refused());
        let predicted = self.groups.iter().flat_map(|group| {
            let refused = &group.changes.refused;
            let clusters = group.clusters.iter();
            clusters.filter(|cluster| {
                let mut refused = refused.iter();
                refused.any(|refused| !self.is_taken(cluster, &refused.object))
            })
        });
        let by_servers = self.checks.iter().filter(|check| !check.refused.is_empty());
        let refused: BTreeSet<&String> = by_groups
            .flat_map(|group| &group.clusters)
            .chain(predicted)
            .chain(by_servers.flat_map(|check| &check.clusters))
            .collect();
        Summary {
            clusters: count(&|_| true) + self.failures.len(),
            changing: count(&|group| !group.is_empty()),
            failed: self.failures.len(),
            waiting: count(&|group| group.changes.verdict.needs_approval()),
            adopting: count(&|group| group.existing.iter().any(|found| found.refused.is_empty())),
            refused: refused.len(),
            checks: self.checks.len(),
            confirmed: self
                .checks
                .iter()
                .filter(|check| check.is_confirmed())
                .count(),
        }
    }

    /// Did an API server of such a cluster take an object?
    fn is_taken(&self, cluster: &str, object: &ObjectId) -> bool {
        self.checks.iter().any(|check| {
            let mut clusters = check.clusters.iter();
            check.taken.contains(object) && clusters.any(|known| known == cluster)
        })
    }

    /// Adds what the agents of clusters found there of the objects that are new to them, or why they were not asked.
    /// Clusters that answered differently are groups of their own from then on.
    pub fn found(&mut self, answers: &BTreeMap<String, Result<Vec<Existing>, String>>) {
        let mut out: Vec<Group> = Vec::new();
        for group in std::mem::take(&mut self.groups) {
            let mut parts: Vec<Group> = Vec::new();
            for cluster in &group.clusters {
                let (existing, unasked) = match answers.get(cluster) {
                    None => (Vec::new(), String::new()),
                    Some(Ok(existing)) => (existing.clone(), String::new()),
                    Some(Err(why)) => (Vec::new(), why.clone()),
                };
                let same = parts
                    .iter_mut()
                    .find(|part| part.existing == existing && part.unasked == unasked);
                match same {
                    Some(part) => part.clusters.push(cluster.clone()),
                    None => parts.push(Group {
                        clusters: vec![cluster.clone()],
                        existing,
                        unasked,
                        ..group.clone()
                    }),
                }
            }
            out.append(&mut parts);
        }
        self.groups = out;
    }

    /// The exit code of `plan`: 0 nothing changes, 2 something does, 1 a cluster has no answer or would refuse an object.
    pub fn exit_code(&self) -> u8 {
        let summary = self.summary();
        match (summary.failed + summary.refused, summary.changing) {
            (0, 0) => 0,
            (0, _) => 2,
            _ => 1,
        }
    }
}

/// On which knowledge a plan stands, as a sentence.
pub fn basis(clusters: &[ClusterState]) -> String {
    let heard: Vec<Time> = clusters
        .iter()
        .filter(|cluster| cluster.confirmed.is_some())
        .filter_map(|cluster| cluster.heard)
        .collect();
    let fresh = clusters
        .iter()
        .filter(|cluster| cluster.confirmed.is_none())
        .count();
    let compared = match (heard.iter().min(), heard.iter().max()) {
        (Some(first), Some(last)) if first == last => format!(
            "compared with what {} confirmed, last heard of at {}",
            clusters_are(heard.len()),
            last.seconds()
        ),
        (Some(first), Some(last)) => format!(
            "compared with what {} confirmed, last heard of between {} and {}",
            clusters_are(heard.len()),
            first.seconds(),
            last.seconds()
        ),
        _ => return "no cluster has confirmed anything of this App yet".to_owned(),
    };
    if fresh == 0 {
        compared
    } else {
        format!("{compared}; {} confirmed nothing yet", clusters_are(fresh))
    }
}

fn clusters_are(count: usize) -> String {
    match count {
        1 => "1 cluster".to_owned(),
        count => format!("{count} clusters"),
    }
}

/// Plans many clusters. `variant` finds a variant and `fetch` an object's bytes; each pair of variants is compared once.
/// A cluster whose comparison fails fails alone.
pub fn plan(
    settings: &PlanSettings,
    clusters: &[ClusterState],
    variant: &dyn Fn(&VariantId) -> Option<Variant>,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Plan {
    let mut compared: BTreeMap<Key<'_>, Result<Changes, PlanError>> = BTreeMap::new();
    let mut servers: BTreeMap<Vec<Digest>, Server> = BTreeMap::new();
    let mut out = Plan {
        app: settings.app.to_string(),
        what: settings.what.clone(),
        basis: basis(clusters),
        ..Plan::default()
    };
    for cluster in clusters {
        let key = match &cluster.next {
            Next::Failed(message) => {
                out.failures.push(Failure {
                    cluster: cluster.name.clone(),
                    message: message.clone(),
                });
                continue;
            }
            Next::Variant(next) => (cluster.confirmed, Some(*next), cluster.holds.as_ref()),
            // what is let go of is neither removed nor changed
            Next::Leaves(OnLeave::Keep) => (None, None, None),
            Next::Leaves(OnLeave::Remove) => (cluster.confirmed, None, cluster.holds.as_ref()),
        };
        let changes = compared.entry(key).or_insert_with(|| {
            let find = |id: &VariantId| variant(id).ok_or(PlanError::Variant(*id));
            let mut old = key.0.as_ref().map(find).transpose()?;
            if let (Some(old), Some(holds)) = (&mut old, key.2) {
                // what runs once is done when it is gone
                old.objects
                    .retain(|object| object.hook || object.once || holds.contains(&object.id));
            }
            let new = key.1.as_ref().map(find).transpose()?.unwrap_or_default();
            let server = servers
                .entry(definitions(&new).map(|object| object.digest).collect())
                .or_insert_with(|| {
                    let values = definitions(&new).filter_map(|object| {
                        serde_json::from_slice::<Value>(&fetch(&object.digest)?).ok()
                    });
                    let values: Vec<Value> = values.collect();
                    Server::new(settings.app.clone(), &settings.sync, &values)
                });
            compare(old.as_ref(), &new, &settings.sync, server, fetch)
        });
        let changes = match changes {
            Ok(changes) => changes,
            Err(error) => {
                out.failures.push(Failure {
                    cluster: cluster.name.clone(),
                    message: error.to_string(),
                });
                continue;
            }
        };
        let leaves = match cluster.next {
            Next::Leaves(on_leave) => Some(on_leave),
            _ => None,
        };
        let first = cluster.confirmed.is_none();
        let known = out.groups.iter_mut().find(|group| {
            group.leaves == leaves
                && group.first == first
                && same_drift(&group.drift, &cluster.drift)
                && group.changes == *changes
        });
        match known {
            Some(group) => group.clusters.push(cluster.name.clone()),
            None => out.groups.push(Group {
                clusters: vec![cluster.name.clone()],
                changes: changes.clone(),
                first,
                leaves,
                drift: cluster.drift.clone(),
                existing: Vec::new(),
                unasked: String::new(),
            }),
        }
    }
    for group in &mut out.groups {
        group.clusters.sort();
    }
    out.groups.sort_by(|a, b| {
        let place = |group: &Group| (group.is_empty(), std::cmp::Reverse(group.clusters.len()));
        place(a)
            .cmp(&place(b))
            .then_with(|| a.clusters.cmp(&b.clusters))
    });
    out.failures.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    out
}

/// The definitions of custom kinds that come with an App: its objects of these kinds are judged by them.
fn definitions(variant: &Variant) -> impl Iterator<Item = &VariantObject> {
    variant.lasting().filter(|object| {
        object.id.group == "apiextensions.k8s.io" && object.id.kind == "CustomResourceDefinition"
    })
}

type Key<'c> = (
    Option<VariantId>,
    Option<VariantId>,
    Option<&'c BTreeSet<ObjectId>>,
);

/// The same fields of the same objects, whenever that was seen.
fn same_drift(a: &[DriftItem], b: &[DriftItem]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (&a.object, a.kind, &a.fields) == (&b.object, b.kind, &b.fields))
}
