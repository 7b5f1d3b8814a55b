//! One step of each Rollout of an App that has not ended.

use std::collections::BTreeMap;

use base_json::Digest;
use base_store::Expect;
use roadstead_dispatch::EntryPhase;
use roadstead_model::{App, AppKey, ClusterId, Time};
use roadstead_rollout::{
    Assignment, Good, May, Member, Phase, Rollout, Sighting, Step, schedule, step,
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
        if active.is_empty() {
            return;
        }
        schedule(&active)
    };
    let numbers: Vec<u64> = index
        .rollouts(app)
        .filter(|r| !r.phase.is_terminal())
        .map(|r| r.number)
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
        if let Some((_, newer)) = plan.superseded.iter().find(|(older, _)| *older == number) {
            done.events.push(rollout.supersede(*newer, now));
        } else {
            let release = index
                .releases(app)
                .find(|record| record.id == rollout.release)
                .map(|record| record.number);
            let placed = release
                .map(|release| index.placed(app, release))
                .unwrap_or_default();
            let facts = members(index, app, noun, &rollout, release, &placed, now);
            let list: Vec<Member<'_>> = facts.iter().map(Fact::member).collect();
            let may = May {
                enter: plan.enter.contains(&number),
                start: going_back.is_none_or(|back| back == number),
            };
            done = step(&mut rollout, now, &list, may, &barred);
            offline_wakes(index, &rollout, &placed, now, out);
        }
        apply_step(index, app, &rollout, done, writes, out);
        if rollout != before {
            writes.put(keys::rollout(app, number), &rollout, Expect::At(revision));
        }
    }
}

/// What is known of one target, owned so that members can borrow it.
struct Fact {
    id: ClusterId,
    name: String,
    stage: usize,
    variant: Result<base_json::Digest, String>,
    sighting: Sighting,
    connected_since: Option<Time>,
    withheld: String,
    assignment: Option<Assignment>,
    observed: Option<roadstead_dispatch::AppReport>,
}

impl Fact {
    fn member(&self) -> Member<'_> {
        Member {
            id: &self.id,
            name: &self.name,
            stage: self.stage,
            variant: self.variant.as_ref().map(|id| *id).map_err(String::as_str),
            sighting: self.sighting,
            connected_since: self.connected_since,
            withheld: &self.withheld,
            assignment: self.assignment.as_ref(),
            observed: self.observed.as_ref(),
        }
    }
}

fn members(
    index: &Index,
    app: &AppKey,
    noun: &App,
    rollout: &Rollout,
    release: Option<u64>,
    placed: &Placing,
    now: Time,
) -> Vec<Fact> {
    let record = release
        .and_then(|number| index.releases.get(app)?.get(&number))
        .map(|kept| &kept.value);
    let going_back = rollout.phase == Phase::RollingBack;
    let placed = &placed.clusters;
    let mut facts = Vec::with_capacity(placed.len());
    let assigned = index.assigned.get(app);
    // going back concerns whoever has the Release, targets or not
    let others = assigned.into_iter().flatten().filter(|(id, kept)| {
        going_back && kept.value.rollout == rollout.number && !placed.contains_key(*id)
    });
    for id in placed.keys().chain(others.map(|(id, _)| id)) {
        let assignment = assigned
            .and_then(|of| of.get(id))
            .map(|kept| kept.value.clone());
        let variant = match placed.get(id).map(|placed| &placed.input) {
            Some(Ok(input)) => match record.and_then(|record| record.variants.get(&input.digest()))
            {
                Some(VariantOutcome::Variant { id, .. }) => Ok(*id),
                Some(VariantOutcome::Error(error)) => Err(error.clone()),
                None => Err("it is being rendered".to_owned()),
            },
            Some(Err(error)) => Err(error.clone()),
            None => Err("it is no target any more".to_owned()),
        };
        facts.push(Fact {
            id: id.clone(),
            name: index.cluster_name(id).to_owned(),
            stage: rollout.stage_of(&index.labels_of(id)),
            variant,
            sighting: index.sighting(id, now),
            connected_since: index.sessions.get(id).copied(),
            withheld: match index.withheld_since_restore(app, id, &rollout.release) {
                why if why.is_empty() => index.withheld(app, noun, id, now),
                why => why,
            },
            assignment,
            observed: index
                .observed
                .get(app)
                .and_then(|of| of.get(id))
                .map(|kept| kept.value.clone()),
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
        let variant =
            |placed: &Placed| match record.variants.get(&placed.input.as_ref().ok()?.digest())? {
                VariantOutcome::Variant { id, .. } => Some(*id),
                VariantOutcome::Error(_) => None,
            };
        placed
            .into_iter()
            .flat_map(|placing| &placing.clusters)
            .filter_map(|(id, placed)| Some((id.clone(), variant(placed)?)))
            .collect()
    }
}
