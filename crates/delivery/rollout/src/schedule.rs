//! Which of an App's Rollouts may enter which stage.
//!
//! Each stage takes the newest Release that has passed the stage before it, so one Release can soak while a newer one
//! starts at the first stage. As soon as a newer one could enter its stage, a Release is superseded outright that is held
//! or failed, has not started there or waits for leave to, or is under way there and stuck: none of the clusters that are
//! on their way gets on. One that gets on, soaks, waits for leave to pass, or was paused there keeps its stage.

use roadstead_model::Time;

use crate::{Event, Phase, Rollout, StagePhase};

/// What [`schedule`] decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Rollouts that may enter their current stage now, by number.
    pub enter: Vec<u64>,
    /// Rollouts that a newer one takes the place of: number of the older, number of the newer.
    pub superseded: Vec<(u64, u64)>,
}

/// Decides for all Rollouts of one App that have not ended; `rollouts` in any order.
pub fn schedule(rollouts: &[&Rollout]) -> Schedule {
    let mut out = Schedule::default();
    let mut active: Vec<&Rollout> = rollouts
        .iter()
        .copied()
        .filter(|rollout| !rollout.phase.is_terminal())
        .collect();
    active.sort_by_key(|rollout| std::cmp::Reverse(rollout.number));
    // While clusters go back nothing else starts: at most one Release acts on a cluster.
    if active
        .iter()
        .any(|rollout| rollout.phase == Phase::RollingBack)
    {
        return out;
    }
    let mut gone: Vec<u64> = Vec::new();
    // From the newest on: whoever waits for, or yields in, a place that a newer one has reached is superseded.
    for (index, older) in active.iter().enumerate() {
        let reached = |newer: &&Rollout| !gone.contains(&newer.number) && takes_place(newer, older);
        if let Some(newer) = active[..index].iter().copied().find(reached) {
            out.superseded.push((older.number, newer.number));
            gone.push(older.number);
        }
    }
    active.retain(|rollout| !gone.contains(&rollout.number));
    for rollout in &active {
        let Some(stage) = rollout.current() else {
            continue;
        };
        if rollout.stages[stage].phase != StagePhase::Pending || rollout.phase == Phase::Failed {
            continue;
        }
        // a stage is free when no other Rollout is inside it
        let name = &rollout.stages[stage].name;
        let occupied = active
            .iter()
            .any(|other| other.number != rollout.number && is_inside(other, name));
        if !occupied {
            out.enter.push(rollout.number);
        }
    }
    out
}

/// Does `newer` take the place of `older`?
fn takes_place(newer: &Rollout, older: &Rollout) -> bool {
    let Some(stage) = older.current() else {
        return false;
    };
    let name = &older.stages[stage].name;
    if newer.stages.iter().all(|state| state.name != *name) {
        // another Strategy over the same clusters: two of them cannot be told apart by stage, so the newer one has them
        return true;
    }
    let state = &older.stages[stage];
    let waiting = matches!(state.phase, StagePhase::Pending | StagePhase::AwaitingStart);
    let stuck = state.phase == StagePhase::Running && state.stuck && older.paused.is_none();
    if !(waiting || stuck || older.phase.yields()) {
        return false;
    }
    // the newer one stands at the same stage (or behind it), ready to enter it
    let Some(at) = newer.stages.iter().position(|state| state.name == *name) else {
        return true;
    };
    newer.current().is_none_or(|current| current >= at)
}

/// Is this Rollout inside the stage of that name?
fn is_inside(rollout: &Rollout, name: &str) -> bool {
    rollout.current().is_some_and(|current| {
        let state = &rollout.stages[current];
        state.name == name && state.phase != StagePhase::Pending
    })
}

/// Ends a Rollout because a newer one takes its place.
pub(crate) fn supersede(rollout: &mut Rollout, newer: u64, now: Time) -> Event {
    let message = format!("rollout {newer} takes its place");
    rollout.end(Phase::Superseded, message.clone(), now);
    Event::own(now, "Superseded", message)
}

impl Rollout {
    /// Ends it because a newer one takes its place.
    pub fn supersede(&mut self, newer: u64, now: Time) -> Event {
        supersede(self, newer, now)
    }
}
