//! Kustomizations to objects, as kustomize 5.8.1 builds them: in process, from a tree of files alone.
//!
//! [`Kustomizer`] holds a tree; [`Kustomizer::plan`] reads a root and says what has to be fetched before, and
//! [`Kustomizer::build`] gives the objects. Bases that several roots have in common are built once. Nothing is fetched and no
//! program is started: remote bases are given ([`Need`], [`Remote`]), charts are rendered by `roadstead-helm`, and functions
//! in containers or programs are refused.
//!
//! kustomize changes documents as nodes with tags and styles, and its results hang on that: a number that takes the place of
//! a quoted text comes out quoted, labels that were set together change together. Nodes are kept the same way here. The real
//! kustomize is the oracle (`cargo xtask conformance kustomize`).

mod build;
mod diag;
mod fieldspec;
mod files;
mod generate;
mod helm;
mod id;
mod json6902;
mod kfile;
mod limits;
mod node;
mod objects;
mod order;
mod origin;
mod plugin;
mod remote;
mod resource;
mod schema;
mod smp;
mod transform;

pub use build::{Built, Kustomizer, Layer, Object, Options, Order, Plan};
pub use diag::{Error, Place};
pub use files::{Entry, Files, Remote, join, within};
pub use helm::HelmOptions;
pub use kfile::NAMES;
pub use limits::Limits;
pub use remote::Need;
