//! Tree and settings to objects: the one entry point of rendering.
//!
//! A folder with a `Chart.yaml` is a Helm chart ([`Chart`]), rendered by `render/helm`; one with a `kustomization.yaml` is
//! built by `render/kustomize` ([`Kustomization`]). Any other one goes to the plain renderer, which takes every `*.yaml`,
//! `*.yml` and `*.json` file below a path. What it takes must be manifests: anything else is an error with its place. It
//! reads only the files that it is given: no clock, network or environment.
//! Substitution, overlays and namespaces are the release's work, since they differ from cluster to cluster.

mod chart;
mod error;
mod inputs;
mod kustomize;
mod plain;
mod reads;

pub use chart::{Chart, ChartValues, KUBE_VERSION};
pub use error::{Origin, RenderError};
pub use inputs::{Fetched, Inputs};
pub use kustomize::{Kustomization, KustomizeInput};
pub use plain::{Limits, RenderSettings, Rendered, render};
pub use reads::{Reading, outermost};
pub use roadstead_kustomize::join;

/// The renderer's version: part of what a Release's id is made from. It grows when the same files would come out
/// otherwise.
pub const RENDERER_VERSION: &str = "plain/1";
