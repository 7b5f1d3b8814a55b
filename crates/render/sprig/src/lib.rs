//! The functions that Helm gives to templates.

pub mod go;
pub mod semver;
