//! Values walked along their types: the set of fields, the difference, the merge, the removal.

mod compare;
mod fields;
mod items;
mod merge;
mod reconcile;
mod remove;

pub(crate) use compare::{Comparison, compare};
pub(crate) use fields::{field_set, with_named_parents};
pub(crate) use items::{identity, item_element};
pub(crate) use merge::{Covered, covered, merge};
pub(crate) use reconcile::reconcile;
pub(crate) use remove::{Emptied, remove};

use serde_json::Value;

use crate::schema::{ListKind, Shape, Ty, TypeId};

/// How one value is walked.
#[derive(Clone, Copy)]
pub(crate) enum Walk<'a> {
    /// As one thing: a scalar, an atomic list or map.
    Leaf,
    /// Item by item. Keys are empty for a set.
    List { item: TypeId, keys: &'a [Box<str>] },
    /// Key by key.
    Map,
}

/// Decides how a value of this type is walked; a value of another form than the type's is a leaf.
pub(crate) fn walk<'a>(ty: Ty<'a>, value: &Value) -> Walk<'a> {
    match ty.shape() {
        Shape::Scalar(_) => Walk::Leaf,
        Shape::List { item, kind } if value.is_array() || value.is_null() => match kind {
            ListKind::Atomic => Walk::Leaf,
            ListKind::Set => Walk::List {
                item: *item,
                keys: &[],
            },
            ListKind::Map(keys) => Walk::List { item: *item, keys },
        },
        Shape::Map { atomic, .. } | Shape::Struct { atomic, .. }
            if value.is_object() || value.is_null() =>
        {
            if *atomic {
                Walk::Leaf
            } else {
                Walk::Map
            }
        }
        Shape::Any if value.is_object() || value.is_null() => Walk::Map,
        _ => Walk::Leaf,
    }
}
