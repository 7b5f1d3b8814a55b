//! Helm charts to manifests, as Helm itself renders them.

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
