//! One step of each Rollout of an App that has not ended.

use std::collections::BTreeMap;

use base_json::Digest;
use base_store::Expect;
use roadstead_dispatch::{AppReport, EntryPhase};
use roadstead_model::{App, AppKey, ClusterId, Time};
use roadstead_rollout::{
    Assignment, Good, May, Member, Phase, Rollout, Sighting, Step, freeze, schedule, step,
};

use crate::decide::Decision;
use crate::index::Index;
use crate::placement::{Placed, Placing};
use crate::records::{Barred, ReleaseRecord, VariantOutcome, keys};
use crate::writes::Writes;

/// Lets each Rollout take its step.
pub(crate) fn run_rollouts(
    index: &mut Index,
    app: &AppKey,
    noun: &App,
    now: Time,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let plan = {
        let active: Vec<&Rollout> = index
            .rollouts(app)
            .filter(|rollout| !rollout.phase.is_terminal())
            .collect();
        schedule(&active)
    };
    let numbers: Vec<u64> = index
        .rollouts(app)
        .filter(|rollout| !rollout.phase.is_terminal() || rollout.is_unfrozen())
        .map(|rollout| rollout.number)
        .collect();
    let barred = index.barred(app);
    let going_back = index
        .rollouts(app)
        .find(|rollout| rollout.phase == Phase::RollingBack)
        .map(|rollout| rollout.number);
    for number in numbers.into_iter().rev() {
        let Some(kept) = index.rollouts.get(app).and_then(|of| of.get(&number)) else {
            continue;
        };
        let (mut rollout, revision) = (kept.value.clone(), kept.revision);
        let before = rollout.clone();
        let mut done = Step::default();
        let newer = plan.superseded.iter().find(|(older, _)| *older == number);
        if let Some((_, newer)) = newer {
            done.events.push(rollout.supersede(*newer, now));
        }
        let release = index
            .release(app, &rollout.release)
            .map(|record| record.number);
        let placed = release
            .map(|release| index.placed(app, release))
            .unwrap_or_default();
        let facts = members(index, app, noun, &rollout, release, &placed, now);
        let list: Vec<Member<'_>> = facts.iter().map(Fact::member).collect();
        if newer.is_none() && !rollout.phase.is_terminal() {
            let may = May {
                enter: plan.enter.contains(&number),
                start: going_back.is_none_or(|back| back == number),
            };
            done = step(&mut rollout, now, &list, may, &barred);
            offline_wakes(index, &rollout, &placed, now, out);
        }
        freeze(&mut rollout, &list);
        apply_step(index, app, &rollout, done, writes, out);
        if rollout != before {
            writes.put(keys::rollout(app, number), &rollout, Expect::At(revision));
        }
    }
}

/// What is known of one target.
struct Fact<'a> {
    id: &'a ClusterId,
    name: &'a str,
    stage: usize,
    variant: Result<Digest, &'a str>,
    sighting: Sighting,
    connected_since: Option<Time>,
    withheld: String,
    assignment: Option<&'a Assignment>,
    observed: Option<&'a AppReport>,
}

impl Fact<'_> {
    fn member(&self) -> Member<'_> {
        Member {
            id: self.id,
            name: self.name,
            stage: self.stage,
            variant: self.variant,
            sighting: self.sighting,
            connected_since: self.connected_since,
            withheld: &self.withheld,
            assignment: self.assignment,
            observed: self.observed,
        }
    }
}

/// What a Release came out as for a cluster, or why it did not.
fn variant_of<'a>(
    record: Option<&'a ReleaseRecord>,
    placed: &'a Placed,
) -> Result<Digest, &'a str> {
    if let Err(error) = &placed.input {
        return Err(error);
    }
    let outcome = placed
        .digest
        .and_then(|digest| record?.variants.get(&digest));
    match outcome {
        Some(VariantOutcome::Variant { id, .. }) => Ok(*id),
        Some(VariantOutcome::Error(error)) => Err(error),
        None => Err("it is being rendered"),
    }
}

fn members<'a>(
    index: &'a Index,
    app: &AppKey,
    noun: &App,
    rollout: &Rollout,
    release: Option<u64>,
    placed: &'a Placing,
    now: Time,
) -> Vec<Fact<'a>> {
    let record = release.and_then(|number| index.numbered_release(app, number));
    let going_back = rollout.phase == Phase::RollingBack;
    let placed = &placed.clusters;
    let mut facts = Vec::with_capacity(placed.len());
    let assigned = index.assigned.get(app);
    let observed = index.observed.get(app);
    // going back concerns whoever has the Release, targets or not
    let others = assigned.into_iter().flatten().filter(|(id, kept)| {
        going_back && kept.value.rollout == rollout.number && !placed.contains_key(*id)
    });
    let all = placed.iter().map(|(id, placed)| (id, Some(placed)));
    for (id, placed) in all.chain(others.map(|(id, _)| (id, None))) {
        facts.push(Fact {
            id,
            name: index.cluster_name(id),
            stage: rollout.stage_of(index.labels_of(id)),
            variant: match placed {
                Some(placed) => variant_of(record, placed),
                None => Err("it is no target any more"),
            },
            sighting: index.sighting(id, now),
            connected_since: index.sessions.get(id).copied(),
            withheld: match index.withheld_since_restore(app, id, &rollout.release) {
                why if why.is_empty() => index.withheld(app, noun, id, now),
                why => why,
            },
            assignment: assigned.and_then(|of| of.get(id)).map(|kept| &kept.value),
            observed: observed.and_then(|of| of.get(id)).map(|kept| &kept.value),
        });
    }
    facts
}

/// A cluster that is silent now becomes offline by itself: look again then.
fn offline_wakes(
    index: &Index,
    rollout: &Rollout,
    placed: &Placing,
    now: Time,
    out: &mut Decision,
) {
    if rollout.phase.is_terminal() {
        return;
    }
    let times = placed
        .clusters
        .keys()
        .filter_map(|id| index.offline_at(id))
        .filter(|at| *at > now);
    if let Some(at) = times.min() {
        out.wake = Some(out.wake.map_or(at, |old| old.min(at)));
    }
}

/// Turns what a step said into writes.
fn apply_step(
    index: &Index,
    app: &AppKey,
    rollout: &Rollout,
    done: Step,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    if let Some(wake) = done.wake {
        out.wake = Some(out.wake.map_or(wake, |old| old.min(wake)));
    }
    for event in done.events {
        writes.event(rollout.number, event);
    }
    let mut changed: BTreeMap<ClusterId, Assignment> = BTreeMap::new();
    let current = |id: &ClusterId| {
        index
            .assignment(id, app)
            .map(|(assignment, _)| assignment.clone())
    };
    for (id, outcome) in done.outcomes {
        if let Some(mut assignment) = current(&id) {
            assignment.outcome = Some(outcome);
            changed.insert(id, assignment);
        }
    }
    for id in done.good {
        if let Some(mut assignment) = changed.remove(&id).or_else(|| current(&id)) {
            assignment.mark_good();
            changed.insert(id, assignment);
        }
    }
    let mut index_placed: Option<BTreeMap<ClusterId, base_json::Digest>> = None;
    for id in done.start {
        let variants =
            index_placed.get_or_insert_with(|| index.variants_now(app, &rollout.release));
        let Some(variant) = variants.get(&id).copied() else {
            continue;
        };
        let old = current(&id);
        let counted = index.observed(&id, app).is_none_or(|observed| {
            !matches!(
                observed.state,
                roadstead_dispatch::AppState::Degraded | roadstead_dispatch::AppState::Failed
            )
        });
        changed.insert(
            id,
            Assignment {
                release: rollout.release,
                variant,
                phase: EntryPhase::Deliver,
                rollout: rollout.number,
                since: writes.now,
                attempt: old.as_ref().map_or(0, |old| old.attempt),
                counted,
                emergency: false,
                removals: None,
                outcome: None,
                good: old.map(|old| old.good).unwrap_or_default(),
            },
        );
    }
    for (id, Good { release, variant }) in done.back {
        if let Some(old) = changed.remove(&id).or_else(|| current(&id)) {
            let back = Assignment {
                release,
                variant,
                phase: EntryPhase::Revert,
                rollout: rollout.number,
                since: writes.now,
                emergency: false,
                removals: None,
                outcome: None,
                ..old
            };
            changed.insert(id, back);
        }
    }
    for (id, assignment) in changed {
        let expect = index
            .assignment(&id, app)
            .map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
        writes.put(keys::assigned(&id, app), &assignment, expect);
    }
    if let Some(reason) = done.bar
        && let Some(kept) = index
            .releases
            .get(app)
            .and_then(|of| of.values().find(|kept| kept.value.id == rollout.release))
        && kept.value.barred.is_none()
    {
        let record = ReleaseRecord {
            barred: Some(Barred {
                reason,
                at: writes.now,
            }),
            ..kept.value.clone()
        };
        writes.put(
            keys::release(app, record.number),
            &record,
            Expect::At(kept.revision),
        );
    }
}

impl Index {
    /// The variant of a Release for each cluster that it puts somewhere, as far as it is rendered.
    pub(crate) fn variants_now(
        &self,
        app: &AppKey,
        release: &Digest,
    ) -> BTreeMap<ClusterId, Digest> {
        let Some(record) = self.release(app, release) else {
            return BTreeMap::new();
        };
        let placed = self.placements.peek(app, record.number);
        let variant = |placed: &Placed| variant_of(Some(record), placed).ok();
        placed
            .into_iter()
            .flat_map(|placing| &placing.clusters)
            .filter_map(|(id, placed)| Some((id.clone(), variant(placed)?)))
            .collect()
    }
}
