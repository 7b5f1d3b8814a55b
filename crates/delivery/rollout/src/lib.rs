//! The state machine of one Release through one Strategy.
//!
//! [`Rollout`] is plain, stored data. [`step`] looks at it, at the time and at what is known of each target cluster, and
//! says what must happen: which clusters get the Release now, what became of those that have it, and how far the Rollout
//! is. [`schedule`] says which of an App's Rollouts may enter which stage, so that a Release that soaks does not starve the
//! next. [`act`] is what people can do. Nothing here acts by itself, and the same inputs give the same answer.

mod action;
mod assignment;
mod judge;
mod schedule;
mod state;
mod step;
mod stop;

pub use action::{Action, Refused, act};
pub use assignment::{Assignment, Good, Outcome, OutcomeKind};
pub use judge::{Aside, Member, Sighting, aside};
pub use schedule::{Schedule, schedule};
pub use state::{By, Event, Phase, Rollout, StagePhase, StageState, Tally};
pub use step::{May, Step, step};
