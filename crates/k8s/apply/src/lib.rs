//! Server-side apply and the other ways to change a Kubernetes object, over plain JSON values.
//!
//! - [`schema`]: the structure of the built-in kinds (one table) and of custom kinds (their definition)
//! - [`fieldpath`]: sets of paths and FieldsV1; [`managed`]: the entries of `managedFields`
//! - [`apply`], [`track_update`], [`adopt_managers`]: field ownership
//! - [`patch`]: JSON patch, merge patch, strategic merge patch
//!
//! An object comes in one version; what is owned in others is compared there, by what [`Versions`] tells of them.
//! It does not default or validate values beyond their structure, and reads no clock.

mod apply;
mod csa;
mod diff;
mod error;
pub mod fieldpath;
mod last_applied;
pub mod managed;
pub mod patch;
pub mod schema;
mod typed;
mod update;
mod versions;

pub use apply::{ApplyOptions, apply, apply_change, apply_typed};
pub use csa::{adopt_last_applied, adopt_managers};
pub use diff::changed_paths;
pub use error::{ApplyError, Conflict};
pub use last_applied::LAST_APPLIED;
pub use update::{UpdateOptions, track_update, track_update_in};
pub use versions::Versions;
