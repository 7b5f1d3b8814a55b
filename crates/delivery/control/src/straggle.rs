//! Clusters that no Rollout takes along: those that joined, returned, or changed.
//!
//! Such a cluster gets the newest Release that has passed its stage, else it keeps its last good one, else it waits. It
//! counts in no budget, and only so many are on their way at once.

use std::collections::BTreeMap;

use base_json::Digest;
use base_store::Expect;
use roadstead_dispatch::{AppState, EntryPhase};
use roadstead_model::{App, AppKey, ClusterId, DurationMs, Time};
use roadstead_rollout::{Assignment, Event, Outcome, OutcomeKind, Phase, Rollout, Sighting};

use crate::decide::Decision;
use crate::index::Index;
use crate::records::keys;
use crate::writes::Writes;

/// How long a straggler has, where its stage says nothing else.
const DEADLINE: DurationMs = DurationMs::secs(600);

/// Takes stragglers along.
pub(crate) fn catch_up(
    index: &mut Index,
    app: &AppKey,
    noun: &App,
    now: Time,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    settle(index, app, now, writes, out);
    let barred: Vec<Digest> = index
        .releases(app)
        .filter(|record| record.barred.is_some())
        .map(|record| record.id)
        .collect();
    let rollouts: Vec<Rollout> = index
        .rollouts(app)
        .rev()
        .filter(|r| !barred.contains(&r.release))
        .cloned()
        .collect();
    if index
        .rollouts(app)
        .any(|rollout| rollout.phase == Phase::RollingBack)
    {
        return;
    }
    // Releases whose clusters may be behind: each one's placements, newest first
    let numbers: Vec<(u64, u64)> = rollouts
        .iter()
        .filter_map(|rollout| Some((rollout.number, index.release(app, &rollout.release)?.number)))
        .collect();
    for (_, release) in &numbers {
        index.placed(app, *release);
    }
    let on_their_way = index
        .assignments_of(app)
        .filter(|(id, assignment)| {
            let leaving = matches!(assignment.phase, EntryPhase::Release | EntryPhase::Remove);
            assignment.rollout == 0
                && !leaving
                && !assignment.emergency
                // one that is late has failed, and holds up the others no more
                && assignment.outcome.is_none()
                && index.sighting(id, now) == Sighting::Online
        })
        .count();
    let Some(newest) = numbers.first() else {
        return;
    };
    let targets: Vec<ClusterId> = index
        .placed(app, newest.1)
        .clusters
        .keys()
        .cloned()
        .collect();
    let mut room = (targets.len() / 10).max(1).saturating_sub(on_their_way);
    // each Release's variants once: a map for every cluster of every cluster would cost their number squared
    let mut variants: BTreeMap<Digest, BTreeMap<ClusterId, Digest>> = BTreeMap::new();
    for id in targets {
        let labels = index.labels_of(&id);
        let Some(due) = rollouts
            .iter()
            .find(|rollout| has_passed(rollout, rollout.stage_of(&labels)))
        else {
            continue;
        };
        let of_release = variants
            .entry(due.release)
            .or_insert_with(|| index.variants_now(app, &due.release));
        let Some(variant) = of_release.get(&id).copied() else {
            continue;
        };
        let old = index
            .assignment(&id, app)
            .map(|(assignment, revision)| (assignment.clone(), revision));
        if let Some((old, _)) = &old {
            if old.emergency || matches!(old.phase, EntryPhase::Release | EntryPhase::Remove) {
                continue;
            }
            // what it has is newer, or is what it should have
            let newest_of = |release| {
                index
                    .rollouts(app)
                    .rev()
                    .find(|rollout| rollout.release == release)
                    .map(|r| r.number)
            };
            let has = newest_of(old.release).unwrap_or(0);
            let same = old.release == due.release && old.variant == variant;
            let variant_moved = old.release == due.release && old.variant != variant;
            if same || has > due.number || has == due.number && !variant_moved {
                continue;
            }
        }
        let since_restore = index.withheld_since_restore(app, &id, &due.release);
        if !since_restore.is_empty() || !index.withheld(app, noun, &id, now).is_empty() {
            continue;
        }
        let online = index.sighting(&id, now) == Sighting::Online;
        if online {
            if room == 0 {
                continue;
            }
            room -= 1;
        }
        let good = old
            .as_ref()
            .map(|(old, _)| old.good.clone())
            .unwrap_or_default();
        let attempt = old.as_ref().map_or(0, |(old, _)| old.attempt);
        let assignment = Assignment {
            release: due.release,
            variant,
            phase: EntryPhase::Deliver,
            rollout: 0,
            since: now,
            attempt,
            counted: false,
            emergency: false,
            removals: None,
            outcome: None,
            good,
        };
        let expect = old.map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
        let key = keys::assigned(&id, app);
        if !writes.has(&key) {
            writes.put(key, &assignment, expect);
        }
    }
}

fn has_passed(rollout: &Rollout, stage: usize) -> bool {
    rollout.phase == Phase::Completed
        || rollout
            .stages
            .get(stage)
            .is_some_and(|state| state.phase.is_behind())
}

/// How long a cluster has to become healthy with a Release: as its stage says, in the newest Rollout of it.
fn deadline(index: &Index, app: &AppKey, id: &ClusterId, release: &Digest) -> DurationMs {
    let mut rollouts = index.rollouts(app).rev();
    let of = rollouts.find(|rollout| rollout.release == *release);
    of.and_then(|rollout| {
        let stage = rollout.stage_of(&index.labels_of(id));
        rollout.strategy.stages.get(stage)?.deadline
    })
    .unwrap_or(DEADLINE)
}

/// Notes what became of stragglers, and of clusters that went back.
fn settle(index: &Index, app: &AppKey, now: Time, writes: &mut Writes<'_>, out: &mut Decision) {
    for (id, assignment) in index.assignments_of(app) {
        let alone = assignment.rollout == 0 || assignment.phase == EntryPhase::Revert;
        // what failed may still come round; what is healthy is settled
        if !alone || assignment.is_healthy() {
            continue;
        }
        let key = keys::assigned(id, app);
        if writes.has(&key) {
            continue;
        }
        let outcome = match outcome(index, app, id, assignment, now) {
            Ok(outcome) => outcome,
            Err(wake) => {
                out.wake = [out.wake, wake].into_iter().flatten().min();
                continue;
            }
        };
        let mut settled = assignment.clone();
        if outcome.kind == OutcomeKind::Healthy {
            settled.mark_good();
        } else {
            let name = index.cluster_name(id);
            let said = format!("cluster {name} failed: {}", outcome.reason);
            writes.event(0, Event::own(now, "ClusterFailed", said));
        }
        settled.outcome = Some(outcome);
        let expect = index
            .assignment(id, app)
            .map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
        writes.put(key, &settled, expect);
    }
}

/// What became of a straggler, or when to look again.
fn outcome(
    index: &Index,
    app: &AppKey,
    id: &ClusterId,
    assignment: &Assignment,
    now: Time,
) -> Result<Outcome, Option<Time>> {
    let became = |kind, reason: String| {
        Ok(Outcome {
            kind,
            at: now,
            reason,
        })
    };
    let observed = index.observed(id, app).filter(|observed| {
        observed.variant == assignment.variant && observed.attempt == assignment.attempt
    });
    match observed.map(|observed| (observed.state, &observed.message)) {
        Some((AppState::Healthy, _)) => return became(OutcomeKind::Healthy, String::new()),
        Some((AppState::Failed, message)) if assignment.outcome.is_none() => {
            return became(OutcomeKind::Failed, message.clone());
        }
        _ => {}
    }
    let leaving = matches!(assignment.phase, EntryPhase::Release | EntryPhase::Remove);
    if assignment.outcome.is_some() || leaving {
        return Err(None);
    }
    // nobody waits for who is away, and its time runs from when it is back
    let since = index.sessions.get(id).ok_or(None)?;
    let limit = deadline(index, app, id, &assignment.release);
    let late = assignment.since.max(*since).plus_ms(limit.0);
    if now < late {
        return Err(Some(late));
    }
    let state = observed.map_or_else(
        || "its agent has not reported on it".to_owned(),
        |observed| format!("it is {:?}", observed.state),
    );
    became(
        OutcomeKind::Failed,
        format!("not healthy within {limit}: {state}"),
    )
}
