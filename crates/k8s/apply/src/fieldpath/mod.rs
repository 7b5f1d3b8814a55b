//! Paths into objects, sets of them, and FieldsV1, the form in which Kubernetes writes such a set.

mod element;
mod set;
mod wire;

pub(crate) use element::same_value;
pub use element::{ElementError, PathElement};
pub use set::{FieldSet, Path};
pub use wire::FieldsError;
