//! What would change, grouped.
//!
//! [`compare`] sets one variant against another, object by object and field by field; [`plan`] does so for many clusters
//! and groups those with the same change; [`text`] writes the answer for people. It runs on the variants that delivery
//! made, and changes nothing.

mod budget;
mod check;
mod compare;
mod fields;
mod group;
mod immutable;
mod predict;
mod text;

pub use budget::Verdict;
pub use check::{Beyond, Check, Refused};
pub use compare::{Changed, Changes, Created, PlanError, Removed, Why, compare};
pub use fields::{FieldChange, MASK, field_changes};
pub use group::{ClusterState, Failure, Group, Next, Plan, PlanSettings, Summary, basis, plan};
pub use immutable::Immutable;
pub use predict::{Answer, Server};
pub use text::{Mark, text};
