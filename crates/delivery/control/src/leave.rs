//! Clusters that an App leaves, and Apps that are deleted.
//!
//! Leaving gives up ownership and keeps the objects, unless the App says `onLeave: Remove`. When more than one cluster
//! would be left at once, somebody must approve the list. Nothing ever waits for a cluster that is offline.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use base_store::Expect;
use roadstead_dispatch::{AppState, EntryPhase};
use roadstead_model::{AppKey, ClusterId, OnLeave, Time};
use roadstead_rollout::{Assignment, Event};

use crate::decide::Decision;
use crate::index::Index;
use crate::placement::Placing;
use crate::records::{Approval, Counted, keys};
use crate::text::{clusters, names};
use crate::writes::Writes;

/// Clusters that an App would leave, and whether that waits for approval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// The clusters.
    pub clusters: Vec<ClusterId>,
    /// The digest of the list, which an approval names.
    pub digest: Option<Digest>,
    /// Must somebody approve?
    pub needs_approval: bool,
}

pub(crate) fn list_digest(clusters: &[ClusterId]) -> Digest {
    Digest::of(&base_json::canonical_of(&clusters).unwrap_or_default())
}

fn is_leaving(assignment: &Assignment) -> bool {
    matches!(assignment.phase, EntryPhase::Release | EntryPhase::Remove)
}

fn judge(index: &Index, app: &AppKey, clusters: Vec<ClusterId>) -> Leaving {
    if clusters.is_empty() {
        return Leaving::default();
    }
    let digest = list_digest(&clusters);
    let approved = index
        .approval(app)
        .and_then(|(approval, _)| approval.leaving.as_ref())
        .map(|(digest, _)| *digest);
    let needs_approval = clusters.len() > 1 && approved != Some(digest);
    Leaving {
        clusters,
        digest: Some(digest),
        needs_approval,
    }
}

/// The clusters that an App would leave now.
pub fn leaving(index: &mut Index, app: &AppKey) -> Leaving {
    let deleted = index
        .apps
        .get(app)
        .is_none_or(|noun| noun.metadata.deletion_timestamp.is_some());
    let number = index.meant(app).map(|record| record.number);
    let placed = match number {
        Some(number) if !deleted => index.placed(app, number),
        _ if deleted => Arc::default(),
        _ => return Leaving::default(),
    };
    if placed.error.is_some() {
        return Leaving::default();
    }
    let gone = index.assignments_of(app).filter(|(id, assignment)| {
        !placed.clusters.contains_key(*id)
            && !is_leaving(assignment)
            && !is_drained(index, id)
            && (id.0 == roadstead_target::HUB || index.clusters.contains_key(*id))
    });
    let clusters = gone.map(|(id, _)| id.clone()).collect();
    judge(index, app, clusters)
}

fn is_drained(index: &Index, id: &ClusterId) -> bool {
    index
        .clusters
        .get(id)
        .is_some_and(|cluster| cluster.spec.drained)
}

/// Takes this App out of drained clusters.
pub(crate) fn drained(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    let drained: Vec<ClusterId> = index
        .assignments_of(app)
        .filter(|(id, assignment)| is_drained(index, id) && !is_leaving(assignment))
        .map(|(id, _)| id.clone())
        .collect();
    for id in drained {
        turn(index, app, &id, EntryPhase::Remove, writes);
    }
    finish(index, app, writes);
}

/// An approval is for once: the same mistake a month later is asked about again.
fn use_up_approval(index: &Index, app: &AppKey, leaving: &Leaving, writes: &mut Writes<'_>) {
    if leaving.clusters.len() > 1
        && let Some((approval, revision)) = index.approval(app)
        && approval.leaving.is_some()
    {
        let used = Approval {
            leaving: None,
            ..approval.clone()
        };
        writes.put(keys::approval(app), &used, Expect::At(revision));
    }
}

/// Lets go of clusters that the Release that is meant does not put anywhere.
pub(crate) fn leavers(
    index: &mut Index,
    app: &AppKey,
    number: u64,
    placed: &Placing,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let on_leave = index
        .releases
        .get(app)
        .and_then(|of| of.get(&number))
        .map_or(OnLeave::Keep, |kept| kept.value.frozen.on_leave);
    let leaving = leaving(index, app);
    if leaving.needs_approval {
        out.waiting = Some(("AwaitingApproval".to_owned(), waits(index, &leaving)));
    } else {
        for id in &leaving.clusters {
            turn(index, app, id, phase_of(on_leave), writes);
        }
        use_up_approval(index, app, &leaving, writes);
    }
    // a cluster that comes back before it was let go of is a target again
    let back: Vec<ClusterId> = index
        .assignments_of(app)
        .filter(|(id, assignment)| {
            is_leaving(assignment) && placed.clusters.contains_key(*id) && !is_drained(index, id)
        })
        .map(|(id, _)| id.clone())
        .collect();
    for id in back {
        turn(index, app, &id, EntryPhase::Deliver, writes);
    }
    finish(index, app, writes);
}

fn waits(index: &Index, leaving: &Leaving) -> String {
    let list = leaving
        .digest
        .map_or_else(String::new, |digest| digest.short());
    format!(
        "{} would be left ({}): approve list {list}, or change the targets back",
        clusters(leaving.clusters.len()),
        names(index, &leaving.clusters)
    )
}

fn phase_of(on_leave: OnLeave) -> EntryPhase {
    match on_leave {
        OnLeave::Keep => EntryPhase::Release,
        OnLeave::Remove => EntryPhase::Remove,
    }
}

fn turn(index: &Index, app: &AppKey, id: &ClusterId, phase: EntryPhase, writes: &mut Writes<'_>) {
    let Some((assignment, revision)) = index.assignment(id, app) else {
        return;
    };
    let turned = Assignment {
        phase,
        since: writes.now,
        rollout: 0,
        outcome: None,
        ..assignment.clone()
    };
    writes.put(keys::assigned(id, app), &turned, Expect::At(revision));
    let word = match phase {
        EntryPhase::Release => "is let go of: its objects stay",
        EntryPhase::Remove => "is left: its objects are removed",
        _ => "is a target again",
    };
    writes.event(
        0,
        Event::own(
            writes.now,
            "Leaving",
            format!("cluster {} {word}", index.cluster_name(id)),
        ),
    );
}

/// Forgets assignments that the agent has carried out to the end.
fn finish(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    for (id, assignment) in index.assignments_of(app) {
        let done = is_leaving(assignment)
            && index
                .observed(id, app)
                .is_some_and(|observed| observed.state == AppState::Gone);
        if done {
            drop_assignment(index, app, id, writes);
        }
    }
}

/// Forgets what a cluster had of an App, with what hung on it.
fn drop_assignment(index: &Index, app: &AppKey, id: &ClusterId, writes: &mut Writes<'_>) {
    writes.delete(keys::assigned(id, app));
    if index.observed(id, app).is_some() {
        writes.delete(keys::observed(id, app));
    }
    if index.hold(id, app).is_some() {
        writes.delete(keys::hold(id, app));
    }
}

/// An App is being deleted, or is gone: let go of every cluster; the noun may go when every cluster that can be reached
/// has been let go of.
pub(crate) fn app_deleted(
    index: &mut Index,
    app: &AppKey,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    if index.assigned.get(app).is_none_or(BTreeMap::is_empty) {
        if !index.apps.contains_key(app) {
            forget_app(index, app, writes);
        }
        return;
    }
    let on_leave = index
        .meant(app)
        .map_or(OnLeave::Keep, |record| record.frozen.on_leave);
    let leaving = leaving(index, app);
    if leaving.needs_approval {
        out.waiting = Some(("AwaitingApproval".to_owned(), waits(index, &leaving)));
    } else {
        for id in &leaving.clusters {
            turn(index, app, id, phase_of(on_leave), writes);
        }
    }
    finish(index, app, writes);
}

/// Nothing is left of an App: its records go too. History stays, and who comes after it under its name counts on.
fn forget_app(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    let counted = index.counted(app);
    if index.counts.get(app) != Some(&counted) && counted != Counted::default() {
        writes.put(keys::count(app), &counted, Expect::Any);
    }
    for number in index.releases.get(app).into_iter().flat_map(|of| of.keys()) {
        writes.delete(keys::release(app, *number));
    }
    for number in index.rollouts.get(app).into_iter().flat_map(|of| of.keys()) {
        writes.delete(keys::rollout(app, *number));
    }
    if index.approvals.contains_key(app) {
        writes.delete(keys::approval(app));
    }
}

/// May an App's noun go: is every cluster that can be reached let go of?
impl Index {
    /// Tells whether nothing holds a deleted App any more.
    pub fn may_forget(&self, app: &AppKey, now: Time) -> bool {
        self.assignments_of(app).all(|(id, assignment)| {
            is_leaving(assignment) && self.sighting(id, now) != roadstead_rollout::Sighting::Online
        })
    }
}

/// Drops what belongs to clusters that are no more: removed or forgotten.
pub(crate) fn forgotten_clusters(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    // a Cluster that cannot be read has not gone
    if index.has_unreadable("clusters/") {
        return;
    }
    let hub = ClusterId("hub".to_owned());
    let gone = index
        .assignments_of(app)
        .filter(|(id, _)| **id != hub && !index.clusters.contains_key(*id));
    for (id, _) in gone {
        drop_assignment(index, app, id, writes);
    }
}
