//! One look at a Rollout.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_dispatch::{AppReport, AppState, EntryPhase};
use roadstead_model::{Amount, ClusterId, DurationMs, ReleaseId, Stage, Time, VariantId, WaveSize};

use crate::{Assignment, Event, Good, Outcome, OutcomeKind, Phase, Rollout, StagePhase, Tally};

const DEFAULT_DEADLINE: DurationMs = DurationMs::secs(600);
const DEFAULT_DEGRADED_FOR: DurationMs = DurationMs::secs(5);
const DEFAULT_MAX_SET_ASIDE: Amount = Amount::Percent(10);

/// What is known of one target cluster.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The cluster.
    pub id: &'a ClusterId,
    /// Its name, for messages and for the order inside a wave.
    pub name: &'a str,
    /// The stage it belongs to.
    pub stage: usize,
    /// This Release's variant for it, or why it has none.
    pub variant: Result<VariantId, &'a str>,
    /// Can it be reached?
    pub sighting: Sighting,
    /// Why nothing may be assigned to it now (a hold, a cordon); empty if it may.
    pub withheld: &'a str,
    /// What it should run.
    pub assignment: Option<&'a Assignment>,
    /// What its agent says.
    pub observed: Option<&'a AppReport>,
}

/// Can a cluster be reached?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Yes.
    Online,
    /// It has not been heard of for too long.
    Offline,
    /// It has never been heard of.
    Never,
}

/// Why a cluster is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// It has not been heard of for too long.
    Offline,
    /// It has never been heard of.
    NeverSeen,
    /// It was unhealthy before.
    Unhealthy,
    /// Its variant cannot be rendered.
    NotRenderable(String),
    /// A hold or a cordon.
    Withheld(String),
}

impl std::fmt::Display for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offline => f.write_str("offline"),
            Self::NeverSeen => f.write_str("has never connected"),
            Self::Unhealthy => f.write_str("was unhealthy before"),
            Self::NotRenderable(why) => write!(f, "cannot be rendered: {why}"),
            Self::Withheld(why) => f.write_str(why),
        }
    }
}

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
    fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |old| old.min(at)));
    }
}

/// Why a cluster cannot be counted now; `None` if it can.
pub fn aside(member: &Member<'_>, rollout: &Rollout) -> Option<Aside> {
    match member.sighting {
        Sighting::Offline => return Some(Aside::Offline),
        Sighting::Never => return Some(Aside::NeverSeen),
        Sighting::Online => {}
    }
    if let Err(why) = member.variant {
        return Some(Aside::NotRenderable(why.to_owned()));
    }
    if is_started(member, rollout) {
        let assignment = member.assignment?;
        return (!assignment.counted && assignment.has_failed()).then_some(Aside::Unhealthy);
    }
    if !member.withheld.is_empty() {
        return Some(Aside::Withheld(member.withheld.to_owned()));
    }
    None
}

/// Was this cluster good before anything started on it?
fn was_good(member: &Member<'_>) -> bool {
    match (member.assignment, member.observed) {
        // nothing of this App has ever been there
        (None, None) => true,
        (_, Some(observed)) => !matches!(observed.state, AppState::Degraded | AppState::Failed),
        (Some(_), None) => true,
    }
}

/// Returns whether a new assignment to this cluster counts against the failure budget.
impl Member<'_> {
    /// Does a failure on this cluster count: was it good before?
    pub fn counts(&self) -> bool {
        was_good(self)
    }
}

/// What the agent's report means for an assignment: an outcome now, or a time to look again.
fn judge(
    member: &Member<'_>,
    assignment: &Assignment,
    stage: &Stage,
    now: Time,
) -> Result<Outcome, Option<Time>> {
    let healthy = || Outcome {
        kind: OutcomeKind::Healthy,
        at: now,
        reason: String::new(),
    };
    let failed = |reason: String| Outcome {
        kind: OutcomeKind::Failed,
        at: now,
        reason,
    };
    let deadline = assignment
        .since
        .plus_ms(stage.deadline.unwrap_or(DEFAULT_DEADLINE).0);
    let mut wake = (assignment.outcome.is_none() && deadline > now).then_some(deadline);
    let current = member.observed.filter(|observed| {
        observed.release == assignment.release
            && observed.variant == assignment.variant
            && observed.attempt == assignment.attempt
    });
    if let Some(observed) = current {
        match observed.state {
            AppState::Healthy => return Ok(healthy()),
            AppState::Failed => return Ok(failed(sentence(observed))),
            AppState::Degraded => {
                let until = observed
                    .since
                    .plus_ms(stage.degraded_for.unwrap_or(DEFAULT_DEGRADED_FOR).0);
                if now >= until {
                    return Ok(failed(sentence(observed)));
                }
                wake = Some(wake.map_or(until, |old| old.min(until)));
            }
            _ => {}
        }
    }
    if assignment.outcome.is_none() && now >= deadline {
        let limit = stage.deadline.unwrap_or(DEFAULT_DEADLINE);
        let state = current.map_or_else(
            || "the agent has not reported on it".to_owned(),
            |observed| format!("it is {:?}{}", observed.state, colon(&sentence(observed))),
        );
        return Ok(failed(format!("not healthy within {limit}: {state}")));
    }
    Err(wake)
}

fn colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// What an agent says is wrong, in one line of a length that people read; the whole of it stands in the report.
fn sentence(observed: &AppReport) -> String {
    const MOST: usize = 160;
    let text = match observed.problems.first() {
        Some(problem) => {
            let object = problem.object.readable();
            if problem.message.is_empty() {
                format!("{object}: {}", problem.reason)
            } else if problem.message.starts_with(&object) {
                problem.message.clone()
            } else {
                format!("{object}: {}: {}", problem.reason, problem.message)
            }
        }
        None => observed.message.clone(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// The counts of one stage.
#[derive(Debug, Clone, Default)]
struct Counts {
    members: usize,
    started: usize,
    in_flight: usize,
    healthy: usize,
    failed: usize,
    aside: usize,
}

impl Counts {
    fn tally(&self) -> Tally {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Tally {
            clusters: number(self.members),
            started: number(self.started),
            healthy: number(self.healthy),
            failed: number(self.failed),
            set_aside: number(self.aside),
        }
    }
}

/// Looks at a Rollout once. `may_enter` is what [`schedule`](crate::schedule()) said of it; `barred` are the App's
/// Releases that nothing goes back to.
pub fn step(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    may_enter: bool,
    barred: &BTreeSet<ReleaseId>,
) -> Step {
    let mut out = Step::default();
    let mut barred = barred.clone();
    barred.insert(rollout.release);
    if !rollout.phase.is_terminal() && rollout.phase != Phase::RollingBack {
        forward(rollout, now, members, may_enter, &mut out);
    }
    if rollout.phase == Phase::RollingBack {
        go_back(rollout, now, members, &barred, &mut out);
    }
    out
}

fn forward(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    may_enter: bool,
    out: &mut Step,
) {
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
            if may_enter {
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
            rollout, now, members, index, &stage, &counts, &outcomes, out,
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

/// Judges every cluster that has the Release; returns the outcomes as they are now.
fn judge_all(
    rollout: &Rollout,
    now: Time,
    members: &[Member<'_>],
    out: &mut Step,
) -> BTreeMap<ClusterId, OutcomeKind> {
    let mut outcomes = BTreeMap::new();
    for member in members {
        let Some(assignment) = member.assignment.filter(|_| is_started(member, rollout)) else {
            continue;
        };
        let Some(stage) = rollout.strategy.stages.get(member.stage) else {
            continue;
        };
        let mut kind = assignment.outcome.as_ref().map(|outcome| outcome.kind);
        // What failed stays failed until a retry; what was healthy may still fail while its stage is under way.
        let under_way = !rollout.stages[member.stage].phase.is_behind();
        let open = kind.is_none() || kind == Some(OutcomeKind::Healthy) && under_way;
        if open && member.sighting == Sighting::Online {
            match judge(member, assignment, stage, now) {
                Ok(outcome) => {
                    if kind != Some(outcome.kind) {
                        kind = Some(outcome.kind);
                        if outcome.kind == OutcomeKind::Failed {
                            let message =
                                format!("cluster {} failed: {}", member.name, outcome.reason);
                            out.events.push(Event::own(now, "ClusterFailed", message));
                        }
                        out.outcomes.push((member.id.clone(), outcome));
                    }
                }
                Err(Some(wake)) => out.wake_at(wake),
                Err(None) => {}
            }
        }
        if let Some(kind) = kind {
            outcomes.insert(member.id.clone(), kind);
        }
    }
    outcomes
}

/// Has the cluster got the Release from this Rollout? One that went back has not, although the Rollout sent it back.
fn is_started(member: &Member<'_>, rollout: &Rollout) -> bool {
    member.assignment.is_some_and(|assignment| {
        assignment.rollout == rollout.number && assignment.release == rollout.release
    })
}

fn count(
    rollout: &Rollout,
    members: &[Member<'_>],
    index: usize,
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
) -> Counts {
    let mut counts = Counts::default();
    for member in members.iter().filter(|member| member.stage == index) {
        counts.members += 1;
        let started = is_started(member, rollout);
        let outcome = outcomes.get(member.id).copied();
        let counted = member
            .assignment
            .is_some_and(|assignment| assignment.counted);
        counts.started += usize::from(started);
        match outcome {
            Some(OutcomeKind::Healthy) => counts.healthy += 1,
            Some(OutcomeKind::Failed) if counted => counts.failed += 1,
            _ if aside(member, rollout).is_some() => counts.aside += 1,
            _ => counts.in_flight += usize::from(started),
        }
    }
    counts
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
    if rollout.paused.is_some() {
        room = 0;
    }
    let starting = startable.len().min(room);
    out.start
        .extend(startable.iter().take(room).map(|member| member.id.clone()));
    let waves = stage.waves.len().max(1);
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

/// Why the stage fails, if it does.
fn over_budget(rollout: &Rollout, index: usize, stage: &Stage, counts: &Counts) -> Option<String> {
    let eligible = counts.members - counts.aside;
    let of = |amount: Amount| match amount {
        Amount::Count(count) => count as usize,
        // the larger of one and the percentage: a percentage that allows no failure at all is written as 0
        Amount::Percent(0) => 0,
        Amount::Percent(_) => amount.of_up(eligible).max(1),
    };
    let whole = stage.failure_budget.map_or(0, of);
    let wave = stage
        .waves
        .get(rollout.stages[index].wave)
        .and_then(|wave| wave.failure_budget)
        .map_or(whole, of);
    let allowed = whole.min(wave);
    (counts.failed > allowed).then(|| {
        format!(
            "stage {}: {} of {} clusters failed, {allowed} may",
            stage.name, counts.failed, counts.members
        )
    })
}

/// Why the stage cannot be judged now, if it cannot.
fn cannot_judge(rollout: &Rollout, index: usize, stage: &Stage, counts: &Counts) -> Option<String> {
    if counts.aside == counts.members {
        return Some(format!(
            "stage {}: all of its {} clusters are set aside",
            stage.name, counts.members
        ));
    }
    // a gate that measured nothing good never passes, and must not keep a newer Release out
    if counts.failed > 0 && counts.failed + counts.aside == counts.members {
        return Some(format!(
            "stage {}: none of its {} clusters became healthy",
            stage.name, counts.members
        ));
    }
    if rollout.stages[index].overridden.is_some() {
        return None;
    }
    let most = stage
        .max_set_aside
        .unwrap_or(DEFAULT_MAX_SET_ASIDE)
        .of_up(counts.members);
    (counts.aside > most).then(|| {
        format!(
            "stage {}: {} of {} clusters are set aside, {most} may",
            stage.name, counts.aside, counts.members
        )
    })
}

fn fail(
    rollout: &mut Rollout,
    now: Time,
    index: usize,
    why: String,
    members: &[Member<'_>],
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
    out: &mut Step,
) {
    rollout.stages[index].phase = StagePhase::Failed;
    let first = members.iter().find_map(|member| {
        let failed = outcomes.get(member.id) == Some(&OutcomeKind::Failed);
        let new = out
            .outcomes
            .iter()
            .find(|(id, _)| id == member.id)
            .map(|(_, outcome)| outcome);
        let old = member
            .assignment
            .and_then(|assignment| assignment.outcome.as_ref());
        let outcome = new
            .or(old)
            .filter(|outcome| failed && !outcome.reason.is_empty())?;
        Some(format!("{}: {}", member.name, outcome.reason))
    });
    let why = first.map_or_else(|| why.clone(), |first| format!("{why} ({first})"));
    out.bar = Some(why.clone());
    out.events.push(Event::own(now, "StageFailed", why.clone()));
    match rollout.strategy.on_failure {
        roadstead_model::OnFailure::Hold => {
            rollout.phase = Phase::Failed;
            rollout.message = why;
        }
        roadstead_model::OnFailure::RollBack => {
            rollout.phase = Phase::RollingBack;
            rollout.message = format!("{why}; its clusters go back");
            out.events.push(Event::own(
                now,
                "RollingBack",
                "its clusters go back to their last good Release",
            ));
        }
    }
}

/// Takes every cluster that has the Release back to its last good one, and ends when all that can be reached are back.
fn go_back(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    barred: &BTreeSet<ReleaseId>,
    out: &mut Step,
) {
    if out.bar.is_none() {
        out.bar = Some(rollout.message.clone());
    }
    let (mut waiting, mut nowhere, mut offline) = (0_usize, 0_usize, 0_usize);
    for member in members {
        let Some(assignment) = member.assignment else {
            continue;
        };
        if assignment.release == rollout.release {
            match assignment.good_besides(barred) {
                Some(good) => {
                    out.back.push((member.id.clone(), good));
                    waiting += 1;
                }
                // the first Release of all: there is nothing to go back to
                None => nowhere += 1,
            }
        } else if assignment.rollout == rollout.number && assignment.phase == EntryPhase::Revert {
            let back = member.observed.is_some_and(|observed| {
                observed.variant == assignment.variant
                    && matches!(
                        observed.state,
                        AppState::Healthy | AppState::Degraded | AppState::Failed
                    )
            });
            let reachable = member.sighting == Sighting::Online && member.withheld.is_empty();
            if !back {
                waiting += usize::from(reachable);
                offline += usize::from(!reachable);
            }
        }
    }
    if waiting > 0 {
        return;
    }
    let mut message = rollout
        .message
        .replace("; its clusters go back", "; its clusters went back");
    message = message.replace(": its clusters go back", ": its clusters went back");
    if nowhere > 0 {
        message.push_str(&format!("; {nowhere} had nothing to go back to"));
    }
    if offline > 0 {
        message.push_str(&format!("; {offline} offline ones follow when they return"));
    }
    rollout.end(Phase::RolledBack, message.clone(), now);
    out.events.push(Event::own(now, "RolledBack", message));
}
