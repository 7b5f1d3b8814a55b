//! The agent's own state machine: phases, waves, apply, prune, heal, hold.
//!
//! [`Machine::step`] takes the time and one input, and returns what to do: requests to the cluster, watches, content to
//! fetch, records to keep, reports to send, a time to be woken at. It reads no clock, draws no randomness, does no I/O
//! and never waits, so the agent drives it on tokio and the simulation on a virtual clock.
//!
//! What it guarantees, whatever comes in and wherever it is stopped:
//!
//! * an object is removed only if a signed tombstone names it and it carries this App's mark for itself (or it is a
//!   hook's own object, or one that is replaced as the App's rules say);
//! * an object that is as it should be costs no write, after a restart too;
//! * a hook runs once per (App, Release, attempt).

mod adopt;
mod app;
mod claim;
mod core;
mod desired;
mod engine;
mod group;
mod io;
mod lookup;
mod machine;
mod object;
mod objects;
mod pods;
mod prune;
mod record;
mod reply;
mod report;
mod steady;
mod survey;
mod trial;

pub use io::{CallId, Effect, Input, Persisted};
pub use machine::{Machine, Settings};
pub use record::{APP_PREFIX, BLOB_PREFIX, ORDER_KEY};
pub use survey::{lasting, survey, trial};
pub use trial::{altered, attempt, bare};

/// The field manager that applies.
pub const MANAGER: &str = "roadstead";
/// The field manager that keeps the values of fields that are let go.
pub const KEEP_MANAGER: &str = "roadstead-keep";
/// The annotation by which somebody in the cluster holds an object, or all objects of a namespace: an RFC 3339 time.
pub const HOLD_ANNOTATION: &str = "roadstead.dev/hold-until";
/// The annotation that says which run of a hook an object belongs to.
pub const RUN_ANNOTATION: &str = "roadstead.dev/run";
/// The label of namespaces that an agent made: they are shared, owned by no App and never removed.
pub const SHARED_NAMESPACE_LABEL: &str = "roadstead.dev/shared-namespace";
