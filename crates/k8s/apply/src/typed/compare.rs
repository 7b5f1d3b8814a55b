//! What differs between two values, as sets of fields.

use std::cmp::Ordering;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Walk, identity, item_element, walk};
use crate::fieldpath::{FieldSet, PathElement, same_value};
use crate::schema::{Fill, Shape, Ty, TypeId};

/// The fields that differ between an old value and a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Comparison {
    /// Leaves fields out, and all that is below them.
    pub(crate) fn without(&self, fields: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            removed: self.removed.recursive_difference(fields),
        }
    }
}

/// Compares two objects.
pub(crate) fn compare(old: &Value, new: &Value, ty: Ty<'_>) -> Comparison {
    Diff::of(Some(old), Some(new), ty).below
}

/// What differs at one place and below it.
#[derive(Default)]
struct Diff {
    added: bool,
    modified: bool,
    removed: bool,
    below: Comparison,
}

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
static NULL: Value = Value::Null;

fn is_hollow(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

impl Diff {
    fn of(old: Option<&Value>, new: Option<&Value>, ty: Ty<'_>) -> Self {
        let mut diff = Self::default();
        let leaf = match (old, new) {
            (None, None) => return diff,
            (Some(one), None) | (None, Some(one)) => diff.visit(old, new, ty, walk(ty, one)),
            (Some(a), Some(b)) => {
                let (first, second) = (walk(ty, a), walk(ty, b));
                let leaf = diff.visit(old, new, ty, second);
                // a schema-less value that changed its form differs in both forms
                if std::mem::discriminant(&first) != std::mem::discriminant(&second) {
                    diff.visit(old, new, ty, first) || leaf
                } else {
                    leaf
                }
            }
        };
        if !leaf {
            diff.added |= old.is_none();
            diff.removed |= new.is_none() && old.is_some();
        }
        diff
    }

    /// Compares in one form; tells whether the place was a leaf.
    fn visit(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        ty: Ty<'_>,
        form: Walk<'_>,
    ) -> bool {
        match form {
            Walk::Leaf => self.leaf(old, new),
            Walk::List { item, keys } => {
                let (a, b) = (old.filter(|v| v.is_array()), new.filter(|v| v.is_array()));
                if is_hollow(a) && is_hollow(b) {
                    self.leaf(old, new)
                } else {
                    self.list(a, b, ty, item, keys);
                    false
                }
            }
            Walk::Map => {
                let (a, b) = (old.filter(|v| v.is_object()), new.filter(|v| v.is_object()));
                if is_hollow(a) && is_hollow(b) {
                    self.leaf(old, new)
                } else {
                    self.map(a, b, ty);
                    false
                }
            }
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (None, _) => self.added = true,
            (_, None) => self.removed = true,
            (Some(a), Some(b)) => self.modified |= !same_value(a, b),
        }
        true
    }

    fn take(&mut self, element: impl Fn() -> PathElement, child: Self) {
        for (set, member, below) in [
            (&mut self.below.added, child.added, child.below.added),
            (
                &mut self.below.modified,
                child.modified,
                child.below.modified,
            ),
            (&mut self.below.removed, child.removed, child.below.removed),
        ] {
            if member || !below.is_empty() {
                set.push(element(), member, below);
            }
        }
    }

    fn map(&mut self, old: Option<&Value>, new: Option<&Value>, ty: Ty<'_>) {
        let mut a = old
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .peekable();
        let mut b = new
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .peekable();
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let left = if order.is_le() { a.next() } else { None };
            let right = if order.is_ge() { b.next() } else { None };
            let Some((key, _)) = left.or(right) else {
                return;
            };
            let (mut x, mut y) = (left.map(|(_, value)| value), right.map(|(_, value)| value));
            if ty.fill != Fill::Neither && order.is_ne() {
                let always = always_present(ty, key);
                x = x.or(always.filter(|_| old.is_some()));
                y = y.or(always.filter(|_| new.is_some() && ty.fill == Fill::Both));
            }
            let child = Self::of(x, y, ty.below(key));
            self.take(|| PathElement::field(key), child);
        }
    }

    fn list(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        ty: Ty<'_>,
        item: TypeId,
        keys: &[Box<str>],
    ) {
        let none = Vec::new();
        let old = old.and_then(Value::as_array).unwrap_or(&none);
        let new = new.and_then(Value::as_array).unwrap_or(&none);
        let mut items = Vec::with_capacity(old.len() + new.len());
        for (is_new, list) in [(false, old), (true, new)] {
            for value in list {
                if let Some(identity) = identity(ty, item, keys, value) {
                    items.push((identity, is_new, value));
                }
            }
        }
        // stable: the old ones of an item come before the new ones, each in their order
        items.sort_by(|a, b| a.0.cmp(&b.0));
        let below = ty.at(item);
        let mut changed = false;
        for group in items.chunk_by(|a, b| a.0 == b.0) {
            let (old, new) = group.split_at(group.partition_point(|(_, is_new, _)| !is_new));
            let child = match (old.len(), new.len()) {
                (0 | 1, 0 | 1) => Self::of(value_of(old), value_of(new), below),
                // items that stand twice are compared as one thing
                (2.., 2..) => Self {
                    modified: old.len() != new.len()
                        || old.iter().zip(new).any(|(a, b)| !same_value(a.2, b.2)),
                    ..Self::default()
                },
                (2.., _) => {
                    let mut child = Self::of(None, value_of(new), below);
                    child.removed = true;
                    child
                }
                _ => {
                    let mut child = Self::of(value_of(old), None, below);
                    child.added = true;
                    child
                }
            };
            let value = group[0].2;
            changed |= child.is_something();
            if let (true, Ok(element)) = (child.is_something(), item_element(ty, item, keys, value))
            {
                self.take(|| element.clone(), child);
            }
        }
        if changed && keys.len() > 1 {
            // several keys are matched in the schema's order, and written in their names' order
            self.below.added.sort();
            self.below.modified.sort();
            self.below.removed.sort();
        }
    }

    fn is_something(&self) -> bool {
        self.added
            || self.modified
            || self.removed
            || !self.below.added.is_empty()
            || !self.below.modified.is_empty()
            || !self.below.removed.is_empty()
    }
}

fn value_of<'a, T>(side: &[(T, bool, &'a Value)]) -> Option<&'a Value> {
    side.first().map(|(_, _, value)| *value)
}

/// What Kubernetes keeps in a struct where a field is absent, if it keeps something.
fn always_present<'a>(ty: Ty<'a>, key: &str) -> Option<&'a Value> {
    let field = ty.declared(key)?;
    match ty.at(field.ty).shape() {
        Shape::Struct { .. } if field.present => Some(&EMPTY),
        // zero, false or ""
        Shape::Scalar(_) if field.present && field.required => field.default.as_ref(),
        Shape::Scalar(_) => None,
        // what has no default is written as null only where emptiness is not left out
        _ if field.kept.zero == Some(Value::Null) => Some(&NULL),
        _ => None,
    }
}
