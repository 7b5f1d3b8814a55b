//! The state machine of one Release through one Strategy.
//!
//! [`Rollout`] is plain, stored data. [`step`] looks at it, at the time and at what is known of each target cluster, and
//! says what must happen: which clusters get the Release now, what became of those that have it, and how far the Rollout
//! is. [`schedule`] says which of an App's Rollouts may enter which stage, so that a Release that soaks does not starve the
//! next. [`act`] is what people can do. Nothing here acts by itself, and the same inputs give the same answer.

mod action;
mod assignment;
mod schedule;
mod state;
mod step;

pub use action::{Action, Refused, act};
pub use assignment::{Assignment, Good, Outcome, OutcomeKind};
pub use schedule::{Schedule, schedule};
pub use state::{By, Event, Phase, Rollout, StagePhase, StageState, Tally};
pub use step::{Aside, Member, Sighting, Step, aside, step};
