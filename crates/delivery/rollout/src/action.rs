//! What people can do to a Rollout.

use serde::{Deserialize, Serialize};

use crate::{By, Event, Phase, Rollout, StagePhase};

/// What somebody wants of a Rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum Action {
    /// Nothing new starts.
    Pause,
    /// Go on.
    Resume,
    /// End it; the clusters keep what they have.
    Abort,
    /// Try the clusters that failed again.
    Retry,
    /// Let a stage start, pass, or go on although it could not be judged; the current one unless named.
    Approve {
        /// The stage.
        #[serde(default)]
        stage: Option<String>,
    },
    /// Take every cluster that has the Release back to its last good one, and bar the Release.
    Undo,
}

/// Why an action is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The Rollout has ended.
    #[error("rollout {number} has ended: it is {phase}")]
    Ended {
        /// The Rollout.
        number: u64,
        /// Its phase.
        phase: Phase,
    },
    /// There is nothing to do.
    #[error("{0}")]
    Nothing(String),
    /// The stage does not exist.
    #[error("there is no stage {named:?}; the stages are {}", .known.join(", "))]
    NoStage {
        /// The stage asked for.
        named: String,
        /// The stages that there are.
        known: Vec<String>,
    },
}

/// Does it. What it means for clusters follows in the next [`step`](crate::step()); a retry raises the attempt of the
/// failed assignments, which the caller writes.
pub fn act(rollout: &mut Rollout, action: &Action, by: &By) -> Result<Event, Refused> {
    let now = by.at;
    let ended = || Refused::Ended {
        number: rollout.number,
        phase: rollout.phase,
    };
    let event = |reason: &str, message: String| Event {
        at: now,
        actor: by.actor.clone(),
        reason: reason.to_owned(),
        message: if by.reason.is_empty() {
            message
        } else {
            format!("{message}: {}", by.reason)
        },
    };
    match action {
        Action::Pause => {
            if rollout.phase.is_terminal() {
                return Err(ended());
            }
            if let Some(before) = &rollout.paused {
                return Err(Refused::Nothing(format!(
                    "{} paused it already, at {}",
                    before.actor, before.at
                )));
            }
            rollout.paused = Some(by.clone());
            Ok(event("Paused", "paused: nothing new starts".to_owned()))
        }
        Action::Resume => {
            if rollout.phase.is_terminal() {
                return Err(ended());
            }
            if rollout.paused.take().is_none() {
                return Err(Refused::Nothing("it is not paused".to_owned()));
            }
            Ok(event("Resumed", "resumed".to_owned()))
        }
        Action::Abort => {
            if rollout.phase.is_terminal() {
                return Err(ended());
            }
            rollout.end(Phase::Aborted, format!("aborted by {}", by.actor), now);
            Ok(event(
                "Aborted",
                "aborted: clusters keep what they have".to_owned(),
            ))
        }
        Action::Retry => {
            match rollout.phase {
                Phase::Failed | Phase::RolledBack | Phase::Held | Phase::Aborted => {}
                phase if phase.is_terminal() => return Err(ended()),
                _ => return Err(Refused::Nothing("nothing has failed".to_owned())),
            }
            if rollout.phase == Phase::RolledBack || rollout.phase == Phase::Aborted {
                // its clusters went elsewhere: it starts from its first stage again
                for stage in &mut rollout.stages {
                    stage.phase = StagePhase::Pending;
                    (stage.wave, stage.target) = (0, 0);
                    stage.tally = None;
                    (stage.approved_before, stage.approved_after) = (None, None);
                    stage.overridden = None;
                    stage.stuck = false;
                    (stage.entered_at, stage.wave_at, stage.soak_from) = (None, None, None);
                }
                rollout.phase = Phase::Pending;
            } else {
                if let Some(current) = rollout.current() {
                    let stage = &mut rollout.stages[current];
                    stage.phase = StagePhase::Running;
                    // a wave that never began has no size yet
                    stage.wave_at = stage.wave_at.map(|_| now);
                    stage.soak_from = None;
                    stage.stuck = false;
                    stage.tally = None;
                }
                rollout.phase = Phase::Progressing;
            }
            rollout.ended_at = None;
            rollout.message = format!("retried by {}", by.actor);
            Ok(event(
                "Retried",
                "the failed clusters are tried again".to_owned(),
            ))
        }
        Action::Approve { stage } => {
            if rollout.phase.is_terminal() {
                return Err(ended());
            }
            let index = match stage {
                Some(name) => rollout
                    .stages
                    .iter()
                    .position(|state| state.name == *name)
                    .ok_or_else(|| {
                        let known = rollout
                            .stages
                            .iter()
                            .map(|state| state.name.clone())
                            .collect();
                        Refused::NoStage {
                            named: name.clone(),
                            known,
                        }
                    })?,
                None => rollout.current().ok_or_else(ended)?,
            };
            let wants = rollout
                .strategy
                .stages
                .get(index)
                .map(|stage| stage.approval)
                .unwrap_or_default();
            let state = &mut rollout.stages[index];
            let name = state.name.clone();
            match state.phase {
                StagePhase::Pending | StagePhase::AwaitingStart
                    if wants.before && state.approved_before.is_none() =>
                {
                    state.approved_before = Some(by.clone());
                    Ok(event("Approved", format!("stage {name} may start")))
                }
                StagePhase::Running | StagePhase::Soaking | StagePhase::AwaitingPass
                    if wants.after && state.approved_after.is_none() =>
                {
                    state.approved_after = Some(by.clone());
                    Ok(event("Approved", format!("stage {name} may pass")))
                }
                StagePhase::Held => {
                    state.overridden = Some(by.clone());
                    Ok(event(
                        "Overridden",
                        format!("stage {name} may go on although it could not be judged"),
                    ))
                }
                phase => Err(Refused::Nothing(format!(
                    "stage {name} is {phase} and waits for no approval"
                ))),
            }
        }
        Action::Undo => {
            if matches!(rollout.phase, Phase::RollingBack | Phase::RolledBack) {
                return Err(Refused::Nothing("its clusters go back already".to_owned()));
            }
            if rollout.phase == Phase::Superseded {
                return Err(ended());
            }
            rollout.phase = Phase::RollingBack;
            rollout.ended_at = None;
            rollout.message = format!("undone by {}: its clusters go back", by.actor);
            Ok(event(
                "Undone",
                "its clusters go back to their last good Release".to_owned(),
            ))
        }
    }
}
