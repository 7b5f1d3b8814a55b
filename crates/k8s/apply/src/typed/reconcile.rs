//! Sets of fields brought in line with a type that changed since they were written.

use crate::fieldpath::{FieldSet, PathElement};
use crate::schema::{ListKind, Shape, Ty};

/// Lets whoever owns a part of what is atomic now own the whole of it.
pub(crate) fn reconcile(set: &FieldSet, ty: Ty<'_>) -> FieldSet {
    let mut out = FieldSet::new();
    out.nodes.reserve(set.nodes.len());
    for node in &set.nodes {
        let below = match (&node.element, ty.shape()) {
            (PathElement::Field(name), _) => ty.below(name),
            (_, Shape::List { item, .. }) => ty.at(*item),
            _ => Ty { id: None, ..ty },
        };
        let atomic = match below.shape() {
            Shape::List { kind, .. } => *kind == ListKind::Atomic,
            Shape::Map { atomic, .. } | Shape::Struct { atomic, .. } => *atomic,
            Shape::Scalar(_) | Shape::Any => false,
        };
        if atomic && !node.children.is_empty() {
            out.push(node.element.clone(), true, FieldSet::new());
        } else if node.children.is_empty() {
            out.nodes.push(node.clone());
        } else {
            out.push(
                node.element.clone(),
                node.member,
                reconcile(&node.children, below),
            );
        }
    }
    out
}
