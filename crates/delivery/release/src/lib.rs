//! Rendered objects to variants, digests and Releases.
//!
//! [`Prepared`] holds what all variants of a Release share: the parsed manifests. [`Prepared::build`] makes the variant
//! of each target input: overlays, substitution, namespaces, marks, hooks and waves. Beside it stand the rules over
//! whole Releases: their ids, dependency cycles, clashes of ownership, and what a Project allows.

mod changes;
mod error;
mod hooks;
mod names;
mod object;
mod objects;
mod order;
mod overlay;
mod prepare;
mod rules;
mod scope;
mod values;

pub use error::{BuildError, InputError};
pub use names::{frozen, release_id};
pub use prepare::{Built, Prepared, Served};
pub use rules::{Claim, Clash, Violation, check_project, clashes, cycles};
pub use scope::Scopes;
