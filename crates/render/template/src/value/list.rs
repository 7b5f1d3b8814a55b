//! Slices.

use std::borrow::Cow;
use std::rc::Rc;

use super::map::dismantle;
use super::{Int, Value};
use crate::text::Str;
use crate::types::{IntKind, Type};

/// A Go slice: immutable, shared, with the type of its elements.
#[derive(Clone)]
pub struct List(Rc<Inner>);

struct Inner {
    ty: Type,
    items: Items,
}

enum Items {
    Nil,
    Values(Vec<Value>),
    Bytes(Str),
}

impl List {
    /// A `[]interface {}`.
    pub fn new(items: Vec<Value>) -> Self {
        Self::typed(Type::LIST, items)
    }

    /// A slice of the given type, `[]T` or a name of one. The caller sees to it that the items are of type `T`.
    pub fn typed(ty: Type, items: Vec<Value>) -> Self {
        Self(Rc::new(Inner {
            ty,
            items: Items::Values(items),
        }))
    }

    /// A `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::typed(
            Type::STRINGS,
            items
                .into_iter()
                .map(|item| Value::Str(item.into()))
                .collect(),
        )
    }

    /// A `[]uint8`.
    pub fn bytes(bytes: Str) -> Self {
        Self(Rc::new(Inner {
            ty: Type::BYTES,
            items: Items::Bytes(bytes),
        }))
    }

    /// A nil slice of the given type.
    pub fn nil(ty: Type) -> Self {
        Self(Rc::new(Inner {
            ty,
            items: Items::Nil,
        }))
    }

    /// Its type.
    pub fn ty(&self) -> Type {
        self.0.ty
    }

    /// The type of its elements.
    pub fn elem(&self) -> Type {
        match self.0.ty.underlying() {
            Type::Slice(elem) => **elem,
            _ => Type::Any,
        }
    }

    /// Whether it is a nil slice, which differs from an empty one in `%#v` and JSON.
    pub fn is_nil(&self) -> bool {
        matches!(self.0.items, Items::Nil)
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        match &self.0.items {
            Items::Nil => 0,
            Items::Values(items) => items.len(),
            Items::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One element.
    pub fn get(&self, index: usize) -> Option<Value> {
        match &self.0.items {
            Items::Nil => None,
            Items::Values(items) => items.get(index).cloned(),
            Items::Bytes(bytes) => bytes.get(index).map(|byte| byte_value(*byte)),
        }
    }

    /// All elements.
    pub fn items(&self) -> Cow<'_, [Value]> {
        match &self.0.items {
            Items::Nil => Cow::Borrowed(&[]),
            Items::Values(items) => Cow::Borrowed(items),
            Items::Bytes(bytes) => Cow::Owned(bytes.iter().map(|byte| byte_value(*byte)).collect()),
        }
    }

    /// The bytes, if it is a `[]uint8`.
    pub fn as_bytes(&self) -> Option<Str> {
        match (&self.0.items, self.elem()) {
            (Items::Bytes(bytes), _) => Some(bytes.clone()),
            (Items::Nil, Type::UINT8) => Some(Str::new()),
            _ => None,
        }
    }

    /// A part of it with the same type. Panics outside its length, like a slice.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let items = match &self.0.items {
            Items::Nil => Items::Nil,
            Items::Values(items) => Items::Values(items[range].to_vec()),
            Items::Bytes(bytes) => Items::Bytes(bytes.slice(range)),
        };
        Self(Rc::new(Inner {
            ty: self.0.ty,
            items,
        }))
    }

    /// The same elements under another type, as Go's conversions and assignments give.
    pub fn with_type(&self, ty: Type) -> Self {
        let items = match &self.0.items {
            Items::Nil => Items::Nil,
            Items::Values(items) => Items::Values(items.clone()),
            Items::Bytes(bytes) => Items::Bytes(bytes.clone()),
        };
        Self(Rc::new(Inner { ty, items }))
    }

    /// Whether both are one slice.
    pub fn same(&self, other: &List) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn byte_value(byte: u8) -> Value {
    Value::Int(Int::new(IntKind::Uint8, i64::from(byte)))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Items::Values(items) = &mut self.items {
            dismantle(items.drain(..));
        }
    }
}
