//! Paths into objects, sets of them, and FieldsV1, the form in which Kubernetes writes such a set.

mod element;
mod set;
mod wire;

pub use element::{ElementError, PathElement};
pub(crate) use element::{compare_values, same_value};
pub use set::{FieldSet, Path};
pub use wire::FieldsError;
