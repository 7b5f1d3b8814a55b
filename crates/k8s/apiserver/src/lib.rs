//! A Kubernetes-style API server as a library.
//!
//! Resources are data ([`ResourceDef`] in a [`Catalog`]); a [`Registry`] holds the objects of one server in a
//! [`Store`](base_store::Store) and offers the typed calls; a [`Server`] puts HTTP over it: [`http::Request`](::http::Request) in,
//! [`http::Response`](::http::Response) out, whatever reads the socket. Nothing here keeps a clock, a timer, a thread or a source of
//! randomness: they come in through [`Config`]. Calls to the store block as long as the store does.
//!
//! | It does | It does not |
//! |---|---|
//! | discovery (both forms), OpenAPI v3 and v2, `/version`, health | descriptions of Kubernetes' own fields |
//! | JSON and YAML; protobuf bodies of Kubernetes' own kinds are read | protobuf or CBOR answers, gzip |
//! | get, list (pages, revisions, selectors), watch (bookmarks, watch-list, 410), tables, metadata only | sharded watches |
//! | create, update, the four patches, server-side apply, status, scale, dry-run, field validation | patterns, formats and CEL in schemas |
//! | finalizers, grace, preconditions, propagation, collection; owners' garbage | namespace deletion: that is a controller's |
//! | custom resources: schemas, defaults, pruning, columns, subresources, several versions of the same fields | conversion webhooks |
//! | Kubernetes' own kinds: columns, all defaults, the rules that people run into, service addresses; predicting an apply without a server | every rule of every kind |
//! | RBAC with escalation checks, reviews, impersonation, audit records | authentication, admission webhooks, fairness |

mod auth;
mod builtin;
mod catalog;
mod codec;
mod config;
mod crd;
mod gc;
mod http;
mod jsonpath;
mod predict;
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
pub use gc::{Collected, collect_garbage};
pub use http::{Body, ByteStream, Extensions, Query, Server};
pub use predict::{Apply, Predictor};
pub use registry::{
    DeleteOptions, Deleted, EventKind, EventSource, FieldValidation, ListOptions, ObjectList,
    ObjectWatch, Outcome, Part, Patch, Propagation, Registry, RevisionMatch, StoredKey, WatchEvent,
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
