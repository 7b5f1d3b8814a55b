//! What is known of each cluster, and what it means for a Rollout.

use std::collections::BTreeMap;

use roadstead_dispatch::{AppReport, AppState};
use roadstead_model::{ClusterId, DurationMs, Stage, Time, VariantId};

use crate::{Assignment, Event, Outcome, OutcomeKind, Rollout, Step, Tally};

pub(crate) const DEFAULT_DEADLINE: DurationMs = DurationMs::secs(600);
const DEFAULT_DEGRADED_FOR: DurationMs = DurationMs::secs(5);

/// After how long without any change a cluster that works counts as one that does not get on.
const STILL: DurationMs = DurationMs::secs(120);
/// The same for one that waits, is retried or degraded: everybody waits for a moment when an order comes.
const WAITS: DurationMs = DurationMs::secs(10);

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
    /// Since when its agent has been connected; `None` when it is not. Deadlines do not run while nobody can tell.
    pub connected_since: Option<Time>,
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

/// Has a newer Rollout given this cluster something else already?
pub(crate) fn is_further(member: &Member<'_>, rollout: &Rollout) -> bool {
    member.assignment.is_some_and(|assignment| {
        let by_hand = assignment.emergency && assignment.since >= rollout.created_at;
        assignment.rollout > rollout.number || by_hand
    })
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
        if assignment.outcome.is_none() && !member.withheld.is_empty() {
            return Some(Aside::Withheld(member.withheld.to_owned()));
        }
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
    // a cluster that nobody hears of is set aside by and by; it has not failed, and has its whole time when it returns
    let started = member
        .connected_since
        .map(|since| assignment.since.max(since));
    let limit = stage.deadline.unwrap_or(DEFAULT_DEADLINE).0;
    let deadline = started.map(|started| started.plus_ms(limit));
    let mut wake = deadline.filter(|deadline| assignment.outcome.is_none() && *deadline > now);
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
    if assignment.outcome.is_none() && deadline.is_some_and(|deadline| now >= deadline) {
        let limit = stage.deadline.unwrap_or(DEFAULT_DEADLINE);
        let state = current.map_or_else(
            || "the agent has not reported on it".to_owned(),
            |observed| format!("it is {:?}{}", observed.state, colon(&sentence(observed))),
        );
        return Ok(failed(format!("not healthy within {limit}: {state}")));
    }
    Err(wake)
}

pub(crate) fn colon(text: &str) -> String {
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
pub(crate) struct Counts {
    pub(crate) members: usize,
    pub(crate) started: usize,
    pub(crate) in_flight: usize,
    pub(crate) healthy: usize,
    pub(crate) failed: usize,
    pub(crate) aside: usize,
}

impl Counts {
    pub(crate) fn tally(&self) -> Tally {
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

/// Judges every cluster that has the Release; returns the outcomes as they are now.
pub(crate) fn judge_all(
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
        let left_alone = kind.is_none() && !member.withheld.is_empty();
        let open =
            (kind.is_none() || kind == Some(OutcomeKind::Healthy) && under_way) && !left_alone;
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
pub(crate) fn is_started(member: &Member<'_>, rollout: &Rollout) -> bool {
    member.assignment.is_some_and(|assignment| {
        assignment.rollout == rollout.number && assignment.release == rollout.release
    })
}

pub(crate) fn count(
    rollout: &Rollout,
    members: &[Member<'_>],
    index: usize,
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
) -> Counts {
    let mut counts = Counts::default();
    for member in members.iter().filter(|member| member.stage == index) {
        if is_further(member, rollout) {
            continue;
        }
        counts.members += 1;
        let started = is_started(member, rollout);
        let outcome = outcomes.get(member.id).copied();
        let counted = member
            .assignment
            .is_some_and(|assignment| assignment.counted);
        counts.started += usize::from(started);
        match outcome {
            // who was healthy and is not heard of any more measures nothing
            Some(OutcomeKind::Healthy) if member.sighting == Sighting::Online => {
                counts.healthy += 1
            }
            Some(OutcomeKind::Failed) if counted => counts.failed += 1,
            _ if aside(member, rollout).is_some() => counts.aside += 1,
            _ => counts.in_flight += usize::from(started),
        }
    }
    counts
}

/// Does none of the clusters that are on their way get on? Those that wait, are retried or degraded do not; one that works
/// does, until nothing of its state has changed for a while.
pub(crate) fn is_stuck(
    rollout: &Rollout,
    now: Time,
    members: &[Member<'_>],
    index: usize,
    stage: &Stage,
    out: &mut Step,
) -> bool {
    let half = stage.deadline.unwrap_or(DEFAULT_DEADLINE).0 / 2;
    let mut stuck = true;
    for member in members {
        let Some(assignment) = member.assignment.filter(|assignment| {
            member.stage == index && is_started(member, rollout) && assignment.outcome.is_none()
        }) else {
            continue;
        };
        if aside(member, rollout).is_some() {
            continue;
        }
        let current = member.observed.filter(|observed| {
            observed.release == assignment.release
                && observed.variant == assignment.variant
                && observed.attempt == assignment.attempt
        });
        let works = |observed: &AppReport| match observed.state {
            AppState::Waiting | AppState::Degraded | AppState::Failed | AppState::Held => false,
            _ => observed.problems.is_empty(),
        };
        let (since, still) = match current {
            Some(observed) if works(observed) => (observed.moved.max(observed.since), STILL),
            // it may be retried again and again, each time with other words
            Some(observed) => (observed.since, WAITS),
            // it has not said a word of it yet
            None => (assignment.since, STILL),
        };
        let until = since.plus_ms(still.0.min(half));
        if now < until {
            out.wake_at(until);
            stuck = false;
        }
    }
    stuck
}
