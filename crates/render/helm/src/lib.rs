//! Helm charts to manifests, as Helm itself renders them: compiled once, rendered any number of times.
//!
//! [`Chart`] takes a chart's files, [`Chart::compile`] makes it ready for one [`Dialect`], and [`Compiled::render`] gives the
//! documents, hooks, CRDs and notes for one [`RenderInput`]. What Helm would print follows from [`Rendered::to_text`]; what
//! it would say of a mistake stands in [`Diagnostic::helm_compat`] beside our own words.
//!
//! Rendering is pure: it reads the chart and its input only. Nothing is fetched, no clock is read, and how much a chart may
//! take is bounded by [`Limits`] and [`TemplateLimits`]. The real helm is the oracle (`cargo xtask conformance helm`).

mod blame;
mod caps;
mod deps;
mod diag;
mod dialect;
mod engine;
mod functions;
mod host;
mod input;
mod limits;
mod load;
mod object;
mod post;
mod semver;
mod setby;
mod values;
mod yaml;

pub use caps::{Capabilities, HelmVersion, KubeVersion};
pub use diag::{Code, Diagnostic, Diagnostics, Frame, Place, SetBy};
pub use dialect::{Dialect, UnknownDialect};
pub use engine::Compiled;
pub use input::{CallSite, Crd, ObjectKey, Objects, Release, RenderInput, Rendered, Show};
pub use limits::Limits;
pub use load::{Chart, Dependency, File, Maintainer, Metadata};
pub use post::{Event, Head, Hook, Manifest};
pub use roadstead_template::{Limits as TemplateLimits, Policy};
pub use values::layers::{Layer, combine};
