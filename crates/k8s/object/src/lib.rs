//! One Kubernetes object: identity, selectors, apply order, normalisation.
//!
//! Objects are plain JSON trees ([`serde_json::Value`]) while they are worked on and bytes otherwise; there are no
//! typed structs of Kubernetes' kinds here. Nothing of Roadstead is in here either.

mod access;
mod id;
mod order;
mod selector;

pub use access::{
    Meta, annotation, annotations, api_version, is_list, kind, label, labels, list_items, meta,
    meta_mut, name, namespace, set_annotation, set_label, uid,
};
pub use id::{GroupKind, Gvk, ObjectId, ParseIdError};
pub use order::{KindRank, kind_rank};
pub use selector::{LabelSelector, Operator, Requirement, SelectorError};
