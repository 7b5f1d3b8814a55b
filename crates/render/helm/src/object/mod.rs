//! What templates find at their dot: `.Chart`, `.Files`, `.Capabilities`, `.Values`, as the types that Go shows.

mod capabilities;
mod chart;
mod files;
mod glob;
mod values;

pub(crate) use capabilities::capabilities;
pub(crate) use chart::chart;
pub(crate) use files::files;
pub(crate) use values::{METHODS as VALUES_METHODS, values_type};
