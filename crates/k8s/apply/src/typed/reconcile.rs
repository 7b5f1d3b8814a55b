//! Sets of fields brought in line with a type that changed since they were written.

use crate::fieldpath::{FieldSet, PathElement};
use crate::schema::{ListKind, Scalar, Shape, Ty};

/// Lets whoever owns a part of what is atomic now own the whole of it; tells whether anything changed.
pub(crate) fn reconcile(set: &mut FieldSet, ty: Ty<'_>) -> bool {
    let mut changed = false;
    for node in &mut set.nodes {
        if node.children.is_empty() {
            continue;
        }
        let below = match (&node.element, ty.shape()) {
            (PathElement::Field(name), _) => ty.below(name),
            (_, Shape::List { item, .. }) => ty.at(*item),
            _ => Ty { id: None, ..ty },
        };
        if is_open_map(below) {
            continue;
        }
        let atomic = match below.shape() {
            Shape::List { kind, .. } => *kind == ListKind::Atomic,
            Shape::Map { atomic, .. } | Shape::Struct { atomic, .. } => *atomic,
            Shape::Scalar(_) | Shape::Any => false,
        };
        if atomic {
            node.member = true;
            node.children = FieldSet::new();
            changed = true;
        } else {
            changed |= reconcile(&mut node.children, below);
        }
    }
    changed
}

/// A map of anything, or of scalars of any form: it keeps what was written, also where it is atomic now.
fn is_open_map(ty: Ty<'_>) -> bool {
    let Shape::Map { element, .. } = ty.shape() else {
        return false;
    };
    matches!(
        ty.schema.shape(*element),
        Shape::Any
            | Shape::Scalar(
                Scalar::IntOrString | Scalar::Quantity | Scalar::Time | Scalar::MicroTime
            )
    )
}
