//! One look at a Rollout.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_dispatch::AppState;
use roadstead_model::{ClusterId, ReleaseId, Stage, Time, WaveSize};

use crate::judge::{
    Counts, Member, Sighting, aside, colon, count, is_further, is_started, is_stuck, judge_all,
};
use crate::stop::{cannot_judge, fail, go_back, over_budget};
use crate::{Event, Good, Outcome, OutcomeKind, Phase, Rollout, StagePhase};

/// What must happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Clusters that get the Release now.
    pub start: Vec<ClusterId>,
    /// What became of clusters that have it.
    pub outcomes: Vec<(ClusterId, Outcome)>,
    /// Clusters for which the Release is their last good one from now on.
    pub good: Vec<ClusterId>,
    /// Clusters that go back, and to what.
    pub back: Vec<(ClusterId, Good)>,
    /// The Release is barred, and why.
    pub bar: Option<String>,
    /// What happened.
    pub events: Vec<Event>,
    /// When to look again, if nothing else happens.
    pub wake: Option<Time>,
}

impl Step {
    pub(crate) fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |old| old.min(at)));
    }
}

/// What a Rollout may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct May {
    /// Enter its current stage.
    pub enter: bool,
    /// Start clusters: not while another Rollout takes clusters back.
    pub start: bool,
}

/// Looks at a Rollout once. `may` is what [`schedule`](crate::schedule()) said of it; `barred` are the App's
/// Releases that nothing goes back to.
pub fn step(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    may: May,
    barred: &BTreeSet<ReleaseId>,
) -> Step {
    let mut out = Step::default();
    let mut barred = barred.clone();
    barred.insert(rollout.release);
    if !rollout.phase.is_terminal() && rollout.phase != Phase::RollingBack {
        forward(rollout, now, members, may, &mut out);
    }
    if rollout.phase == Phase::RollingBack {
        go_back(rollout, now, members, &barred, &mut out);
    }
    out
}

fn forward(rollout: &mut Rollout, now: Time, members: &[Member<'_>], may: May, out: &mut Step) {
    let outcomes = judge_all(rollout, now, members, out);
    let Some(index) = rollout.current() else {
        complete(rollout, now, out);
        return;
    };
    // a failure in a stage that is behind the Release already still stops it
    if rollout.phase == Phase::Failed {
        return;
    }
    let stage = rollout.strategy.stages[index].clone();
    let counts = count(rollout, members, index, &outcomes);
    let before = rollout.stages[index].phase;
    match rollout.stages[index].phase {
        StagePhase::Pending => {
            if may.enter {
                enter(rollout, now, index, &stage, &counts, out);
            } else if rollout.phase != Phase::Pending {
                rollout.message =
                    format!("waits for stage {}, where an older Release is", stage.name);
            }
        }
        StagePhase::AwaitingStart => {
            if rollout.stages[index].approved_before.is_some() {
                begin(rollout, now, index, out);
            }
        }
        StagePhase::Running | StagePhase::Held => run(
            rollout, now, members, index, &stage, &counts, &outcomes, may, out,
        ),
        StagePhase::Soaking | StagePhase::AwaitingPass => soak(
            rollout, now, members, index, &stage, &counts, &outcomes, out,
        ),
        StagePhase::Failed | StagePhase::Passed | StagePhase::Skipped => {}
    }
    let state = &mut rollout.stages[index];
    let settled = matches!(state.phase, StagePhase::Passed | StagePhase::Failed);
    if settled && state.phase != before {
        state.tally = Some(counts.tally());
    }
}

fn enter(
    rollout: &mut Rollout,
    now: Time,
    index: usize,
    stage: &Stage,
    counts: &Counts,
    out: &mut Step,
) {
    if counts.members == 0 {
        rollout.stages[index].phase = StagePhase::Skipped;
        rollout.stages[index].entered_at = Some(now);
        out.events.push(Event::own(
            now,
            "StageSkipped",
            format!("stage {} has no clusters", stage.name),
        ));
        if rollout.current().is_none() {
            complete(rollout, now, out);
        } else {
            rollout.phase = Phase::Progressing;
            out.wake_at(now);
        }
        return;
    }
    rollout.phase = Phase::Progressing;
    rollout.stages[index].entered_at = Some(now);
    if stage.approval.before && rollout.stages[index].approved_before.is_none() {
        rollout.stages[index].phase = StagePhase::AwaitingStart;
        rollout.message = format!("waits for approval to start stage {}", stage.name);
        out.events
            .push(Event::own(now, "AwaitingApproval", rollout.message.clone()));
        return;
    }
    begin(rollout, now, index, out);
}

fn begin(rollout: &mut Rollout, now: Time, index: usize, out: &mut Step) {
    let state = &mut rollout.stages[index];
    state.phase = StagePhase::Running;
    state.wave_at = None;
    out.events.push(Event::own(
        now,
        "StageStarted",
        format!("stage {} starts", state.name),
    ));
    out.wake_at(now);
}

#[expect(
    clippy::too_many_arguments,
    reason = "one look at one stage, split by phase only for reading"
)]
fn run(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    index: usize,
    stage: &Stage,
    counts: &Counts,
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
    may: May,
    out: &mut Step,
) {
    if let Some(why) = over_budget(rollout, index, stage, counts) {
        fail(rollout, now, index, why, members, outcomes, out);
        return;
    }
    let eligible = counts.members - counts.aside;
    if let Some(why) = cannot_judge(rollout, index, stage, counts) {
        if rollout.stages[index].phase != StagePhase::Held {
            out.events.push(Event::own(now, "StageHeld", why.clone()));
        }
        rollout.stages[index].phase = StagePhase::Held;
        rollout.phase = Phase::Held;
        rollout.message = why;
        return;
    }
    if rollout.stages[index].phase == StagePhase::Held {
        rollout.stages[index].phase = StagePhase::Running;
        rollout.phase = Phase::Progressing;
        out.events.push(Event::own(
            now,
            "StageResumed",
            format!("stage {} can be judged again", stage.name),
        ));
    }
    let state = &mut rollout.stages[index];
    // a wave's size is fixed when it starts
    if state.wave_at.is_none() {
        let size = stage
            .waves
            .get(state.wave)
            .map_or(WaveSize::Rest, |wave| wave.size());
        let more = match size {
            WaveSize::Amount(amount) => amount.of_up(eligible).max(1),
            WaveSize::Rest => eligible,
        };
        state.target = state.target.max(counts.started.saturating_add(more));
        state.wave_at = Some(now);
        if !stage.waves.is_empty() {
            let message = format!("stage {}: wave {} starts", stage.name, state.wave + 1);
            out.events.push(Event::own(now, "WaveStarted", message));
        }
    }
    let target = state.target;
    let startable: Vec<&Member<'_>> = {
        let mut list: Vec<&Member<'_>> = members
            .iter()
            .filter(|member| {
                member.stage == index
                    && !is_started(member, rollout)
                    && !is_further(member, rollout)
                    && aside(member, rollout).is_none()
            })
            .collect();
        list.sort_by_key(|member| member.name);
        list
    };
    let mut room = target.saturating_sub(counts.started);
    if let Some(most) = stage.max_concurrent {
        room = room.min((most as usize).saturating_sub(counts.in_flight));
    }
    if rollout.paused.is_some() || !may.start {
        room = 0;
    }
    let starting = startable.len().min(room);
    out.start
        .extend(startable.iter().take(room).map(|member| member.id.clone()));
    let waves = stage.waves.len().max(1);
    rollout.stages[index].stuck =
        starting == 0 && counts.in_flight > 0 && is_stuck(rollout, now, members, index, stage, out);
    let state = &rollout.stages[index];
    rollout.message = match &rollout.paused {
        Some(by) => format!("paused by {}{}", by.actor, colon(&by.reason)),
        None => format!(
            "stage {}, wave {} of {}: {} of {} healthy",
            stage.name,
            (state.wave + 1).min(waves.max(state.wave + 1)),
            waves.max(state.wave + 1),
            counts.healthy,
            counts.members
        ),
    };
    if starting > 0 || counts.in_flight > 0 || rollout.paused.is_some() {
        return;
    }
    // nobody is on the way: the wave is over unless somebody is still to start in it
    let left = startable.len();
    if left > 0 && counts.started < target {
        return;
    }
    let state = &mut rollout.stages[index];
    if left > 0 {
        state.wave += 1;
        state.wave_at = None;
        out.wake_at(now);
        return;
    }
    if counts.healthy == 0 {
        // a gate that measured nothing never passes
        return;
    }
    state.phase = StagePhase::Soaking;
    state.stuck = false;
    state.soak_from = Some(now);
    if let Some(soak) = stage.soak.filter(|soak| soak.0 > 0) {
        rollout.message = format!("stage {} soaks for {soak}", stage.name);
        out.events
            .push(Event::own(now, "Soaking", rollout.message.clone()));
    }
    out.wake_at(now);
}

#[expect(
    clippy::too_many_arguments,
    reason = "one look at one stage, split by phase only for reading"
)]
fn soak(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    index: usize,
    stage: &Stage,
    counts: &Counts,
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
    out: &mut Step,
) {
    if let Some(why) = over_budget(rollout, index, stage, counts) {
        fail(rollout, now, index, why, members, outcomes, out);
        return;
    }
    if let Some(why) = cannot_judge(rollout, index, stage, counts) {
        rollout.message = why;
        return;
    }
    let soaked = rollout.stages[index]
        .soak_from
        .unwrap_or(now)
        .plus_ms(stage.soak.unwrap_or_default().0);
    if now < soaked {
        out.wake_at(soaked);
        return;
    }
    if counts.healthy == 0 {
        return;
    }
    // everybody who had become healthy must be so now: a cluster that is degraded but not yet failed keeps it open
    let shaky = members.iter().find(|member| {
        member.stage == index
            && outcomes.get(member.id) == Some(&OutcomeKind::Healthy)
            && member.sighting == Sighting::Online
            && member
                .observed
                .is_some_and(|observed| observed.state == AppState::Degraded)
    });
    if let Some(member) = shaky {
        rollout.message = format!(
            "stage {} has soaked, but cluster {} is degraded",
            stage.name, member.name
        );
        return;
    }
    if stage.approval.after && rollout.stages[index].approved_after.is_none() {
        if rollout.stages[index].phase != StagePhase::AwaitingPass {
            rollout.stages[index].phase = StagePhase::AwaitingPass;
            rollout.message = format!("waits for approval to leave stage {}", stage.name);
            out.events
                .push(Event::own(now, "AwaitingApproval", rollout.message.clone()));
        }
        return;
    }
    if rollout.paused.is_some() {
        return;
    }
    rollout.stages[index].phase = StagePhase::Passed;
    let good = members
        .iter()
        .filter(|m| m.stage == index && outcomes.get(m.id) == Some(&OutcomeKind::Healthy));
    out.good.extend(good.map(|member| member.id.clone()));
    let message = format!(
        "stage {} passed: {} of {} clusters are healthy",
        stage.name, counts.healthy, counts.members
    );
    out.events.push(Event::own(now, "StagePassed", message));
    if rollout.current().is_none() {
        complete(rollout, now, out);
    } else {
        out.wake_at(now);
    }
}

fn complete(rollout: &mut Rollout, now: Time, out: &mut Step) {
    if rollout.phase != Phase::Completed {
        rollout.end(Phase::Completed, "every stage passed", now);
        out.events
            .push(Event::own(now, "Completed", "every stage passed"));
    }
}
