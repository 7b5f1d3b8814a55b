//! The order of one cluster, made from the facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_object::ObjectId;
use roadstead_dispatch::{Entry, EntryPhase, WaitsFor};
use roadstead_model::{
    AppKey, AppSpec, ClusterId, Hold, Ready, RemovalBudget, SyncOptions, Time, VariantId,
};

use crate::index::Index;
use crate::records::{Ahead, ReleaseRecord, VariantOutcome};

/// Tells which lasting objects a variant has; whoever drives this keeps them by digest.
pub trait VariantSource {
    /// The identities, sorted; `None` if the variant is not stored.
    fn lasting(&self, variant: &VariantId) -> Option<Arc<[ObjectId]>>;
}

/// Makes the entries of one cluster's order. `None` while something that an entry needs cannot be read, or while it is not
/// known what the cluster holds: an App that is merely missing from an order would be let go of by the agent, so the order
/// that is out stays.
pub fn entries(
    index: &Index,
    cluster: &ClusterId,
    variants: &dyn VariantSource,
    now: Time,
) -> Option<BTreeMap<AppKey, Entry>> {
    if index.awaits_inventory(cluster) {
        return None;
    }
    let mut out = BTreeMap::new();
    for app in index.apps_of(cluster) {
        let made = match index.keeps(cluster, app) {
            Some(held) => kept(index, cluster, app, held, now),
            None => entry(index, cluster, app, variants, now)?,
        };
        out.insert(app.clone(), made);
    }
    for app in index.kept_by(cluster) {
        if let Some(held) = index.keeps(cluster, app).filter(|_| !out.contains_key(app)) {
            out.insert(app.clone(), kept(index, cluster, app, held, now));
        }
    }
    Some(out)
}

/// What a cluster held when the hub came back from a backup, as it held it: nothing is removed, nothing is waited for.
fn kept(index: &Index, cluster: &ClusterId, app: &AppKey, held: &Ahead, now: Time) -> Entry {
    let assigned = index
        .assignment(cluster, app)
        .map(|(assignment, _)| assignment.release);
    let own = index.release(app, &held.release);
    let record = own.or_else(|| index.release(app, &assigned?));
    let frozen = record.map(|record| &record.frozen);
    let takes = |name: &String| AppKey::new(app.project.clone(), name.clone());
    Entry {
        release: held.release,
        commit: own.map(|record| record.commit.clone()).unwrap_or_default(),
        variant: held.variant,
        phase: EntryPhase::Deliver,
        options: options(index, app, frozen),
        adopt: frozen
            .map(|frozen| frozen.adopt.clone())
            .unwrap_or_default(),
        takes_over_from: frozen
            .iter()
            .flat_map(|frozen| &frozen.takes_over_from)
            .map(takes)
            .collect(),
        waits_for: Vec::new(),
        hold: hold(index, cluster, app, now),
        tombstones: Vec::new(),
        approved: Vec::new(),
        attempt: held.attempt,
    }
}

/// The strongest hold of an App in a cluster.
fn hold(index: &Index, cluster: &ClusterId, app: &AppKey, now: Time) -> Option<Hold> {
    let all = [
        index.app(app).and_then(|noun| noun.spec.hold.as_ref()),
        index
            .cluster(cluster)
            .and_then(|cluster| cluster.spec.hold.as_ref()),
        index.hold(cluster, app),
    ];
    all.into_iter()
        .flatten()
        .filter(|hold| hold.is_active(now))
        .fold(None, |a, b| Hold::stronger(a, Some(b)))
        .cloned()
}

/// How an App is synced, within what its Project allows.
fn options(index: &Index, app: &AppKey, frozen: Option<&AppSpec>) -> SyncOptions {
    let budget = index
        .project(&app.project)
        .and_then(|project| project.spec.removal_budget);
    let mut options = frozen.map(|frozen| frozen.sync.clone()).unwrap_or_default();
    options.removal_budget = Some(match (options.removal_budget, budget) {
        // an App may tighten the budget, only its Project may loosen it
        (Some(own), wide) => {
            let wide = wide.unwrap_or_default();
            RemovalBudget {
                objects: own.objects.min(wide.objects),
                percent: own.percent.min(wide.percent),
            }
        }
        (None, wide) => wide.unwrap_or_default(),
    });
    options
}

fn entry(
    index: &Index,
    cluster: &ClusterId,
    app: &AppKey,
    variants: &dyn VariantSource,
    now: Time,
) -> Option<Entry> {
    let (assignment, _) = index.assignment(cluster, app)?;
    let record = index.release(app, &assignment.release)?;
    let frozen = &record.frozen;
    let held: Vec<ObjectId> = index
        .observed(cluster, app)
        .and_then(|observed| match &observed.inventory.objects {
            Some(objects) => Some(objects.clone()),
            None => variants.lasting(&observed.variant).map(|ids| ids.to_vec()),
        })
        .unwrap_or_default();
    let wanted = variants.lasting(&assignment.variant);
    let tombstones: Vec<ObjectId> = match assignment.phase {
        EntryPhase::Deliver | EntryPhase::Revert if frozen.sync.prune => {
            // without the list nothing can be told apart, so nothing goes
            let wanted = wanted.as_deref().unwrap_or(&held).to_vec();
            held.into_iter()
                .filter(|id| {
                    wanted.binary_search(id).is_err()
                        && !is_handed_over(index, cluster, app, id, variants)
                })
                .collect()
        }
        EntryPhase::Remove => held
            .into_iter()
            .filter(|id| !is_handed_over(index, cluster, app, id, variants))
            .collect(),
        _ => Vec::new(),
    };
    let approved = index
        .approval(app)
        .and_then(|(approval, _)| approval.removal_lists.get(&assignment.release))
        .filter(|list| assignment.removals == Some(list.digest))
        .map(|list| {
            tombstones
                .iter()
                .filter(|id| list.objects.binary_search(id).is_ok())
                .cloned()
                .collect()
        })
        .unwrap_or_default();
    let waits_for = frozen
        .depends_on
        .iter()
        .filter_map(|depends| {
            let other = AppKey::new(app.project.clone(), depends.app.clone());
            if depends.optional && index.assignment(cluster, &other).is_none() {
                return None;
            }
            let commit = if depends.ready == Ready::SameCommit {
                record.commit.clone()
            } else {
                String::new()
            };
            Some(WaitsFor { app: other, commit })
        })
        .collect();
    let takes = |name: &String| AppKey::new(app.project.clone(), name.clone());
    Some(Entry {
        release: assignment.release,
        commit: record.commit.clone(),
        variant: assignment.variant,
        phase: assignment.phase,
        options: options(index, app, Some(frozen)),
        adopt: frozen.adopt.clone(),
        takes_over_from: frozen.takes_over_from.iter().map(takes).collect(),
        waits_for,
        hold: hold(index, cluster, app, now),
        tombstones,
        approved,
        attempt: assignment.attempt,
    })
}

/// Does another App on this cluster take this object over, or will it as soon as its newest Release is there?
fn is_handed_over(
    index: &Index,
    cluster: &ClusterId,
    app: &AppKey,
    id: &ObjectId,
    variants: &dyn VariantSource,
) -> bool {
    let holds = |variant: &VariantId| {
        variants
            .lasting(variant)
            .is_some_and(|ids| ids.binary_search(id).is_ok())
    };
    let takes = |other: &AppKey, record: &ReleaseRecord| {
        other.project == app.project && record.frozen.takes_over_from.contains(&app.name)
    };
    let taken = index
        .apps_of(cluster)
        .filter(|other| *other != app)
        .any(|other| {
            index
                .assignment(cluster, other)
                .is_some_and(|(assignment, _)| {
                    index
                        .release(other, &assignment.release)
                        .is_some_and(|record| takes(other, record))
                        && holds(&assignment.variant)
                })
        });
    // one commit moves an object from App to App, and who gives it up may be faster than who takes it
    taken
        || index
            .apps
            .keys()
            .filter(|other| *other != app)
            .any(|other| {
                index
                    .releases(other)
                    .next_back()
                    .filter(|record| record.barred.is_none() && record.error.is_empty())
                    .filter(|record| takes(other, record))
                    .is_some_and(|record| {
                        let input = index
                            .placements
                            .peek(other, record.number)
                            .and_then(|placing| placing.clusters.get(cluster)?.input.as_ref().ok());
                        let outcome = input.map(|input| record.variants.get(&input.digest()));
                        match outcome {
                            Some(Some(VariantOutcome::Variant { id, .. })) => holds(id),
                            // it is a target, and what it gets is not known yet
                            Some(None) => true,
                            Some(Some(VariantOutcome::Error(_))) => false,
                            None => record.variants.is_empty(),
                        }
                    })
            })
}
