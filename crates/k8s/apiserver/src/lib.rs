//! A Kubernetes-style API server as a library.
//!
//! Resources are data ([`ResourceDef`] in a [`Catalog`]); a [`Registry`] holds the objects of one server in a
//! [`Store`](base_store::Store) and offers the typed calls. Nothing here keeps a clock, a timer, a thread or a source
//! of randomness: they come in through [`Config`].

mod auth;
mod builtin;
mod catalog;
mod codec;
mod config;
mod crd;
mod http;
mod jsonpath;
mod registry;
mod resource;
mod schema;
mod selectors;
mod status;
mod structural;
mod subresource;
mod user;
mod world;

pub use auth::{AllowAll, Attributes, Authorizer, Decision, Rbac, Rule, bootstrap_rbac};
pub use catalog::Catalog;
pub use config::{
    Admission, AdmissionRequest, AuditFn, AuditRecord, Config, NamespaceFn, NamespacePolicy,
    NamespaceState, VersionInfo,
};
pub use http::{Body, ByteStream, Extensions, Query, Server};
pub use registry::{
    DeleteOptions, Deleted, EventKind, FieldValidation, ListOptions, ObjectList, ObjectWatch,
    Outcome, Part, Patch, Propagation, Registry, RevisionMatch, StoredKey, WatchEvent,
    WatchOptions, WriteOptions,
};
pub use resource::{
    ALL_VERBS, Cell, CellFn, Column, DefaultFn, GraceFn, NameRule, ResourceDef, Scale, Schema,
    ValidateFn, group_version,
};
pub use selectors::{FieldTerm, Selector};
pub use status::{Cause, Details, FieldError, FieldProblem, Status, StatusBody, success};
pub use subresource::{
    SubresourceHandler, SubresourceRequest, SubresourceResponse, VirtualList, VirtualRequest,
    VirtualResource,
};
pub use user::UserInfo;
pub use world::{Clock, Entropy, Sleep, Timer, age_text, time_text};
