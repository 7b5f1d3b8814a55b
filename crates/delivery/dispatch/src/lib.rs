//! The order each cluster gets, and what agents report.
//!
//! These types are what hub and agent agree on. The wire crate carries them; the hub's control crate makes orders and
//! takes in reports; the agent's sync crate obeys orders and makes reports. Everything that is signed or digested is in
//! canonical JSON.

mod order;
mod removal;
mod report;
mod survey;
mod trial;
mod variant;

pub use order::{
    Entry, EntryPhase, Known, Order, OrderDelta, OrderError, OrderHeader, SignedHeader,
    StreamRefused, WaitsFor, apply_delta, delta, open_header, root_of, sign_header,
};
pub use removal::{Hashed, is_protected};
pub use report::{
    AgentFacts, AppReport, AppState, Capacity, DriftItem, DriftKind, HealthCounts, Inventory,
    LeftOver, Problem, ProblemKind, Report, RootAck, served_digest,
};
pub use survey::{Existing, Survey, Surveyed};
pub use trial::{Trial, Tried};
pub use variant::{
    APP_LABEL, HookDelete, OWNER_ANNOTATION, Owner, Phase, Variant, VariantObject, app_label,
    owner_annotation, parse_owner,
};
