//! The structure of kinds: field types, list keys, what is atomic, patch strategies, defaults.
//!
//! The built-in kinds stand in one text table (`builtin.types`, made by `cargo xtask schemas`); custom kinds come from the
//! schema in their definition. Nothing here validates values beyond their structure.

mod check;
mod crd;
mod decode;
mod openapi;
mod quantity;
mod server;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_object::Gvk;
use serde_json::Value;

pub use check::TypeError;
pub(crate) use check::validate;
pub use check::{apply_problem, fill, prune, unknown_fields};
pub use decode::{convert_problem, decode_problem, wrap_numbers};
pub use openapi::{openapi_v3, openapi_v3_type};
pub use quantity::{Quantity, QuantityError};
pub(crate) use server::set_at;
pub use server::{drop_empty, set_defaults, write_empty};
pub use table::TableError;

/// Many types that refer to each other.
#[derive(Debug, Default)]
pub struct Schema {
    pub(crate) types: Vec<Type>,
    pub(crate) kinds: BTreeMap<Gvk, TypeId>,
    pub(crate) names: BTreeMap<String, TypeId>,
}

/// A type's place in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeId(pub(crate) u32);

#[derive(Debug, Clone)]
pub(crate) struct Type {
    /// The name in the table; compound types have none.
    pub(crate) name: Option<String>,
    pub(crate) shape: Shape,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Scalar(Scalar),
    List {
        item: TypeId,
        kind: ListKind,
    },
    Map {
        element: TypeId,
        atomic: bool,
    },
    Struct {
        /// Sorted by name.
        fields: Vec<Field>,
        /// The type of fields that are not declared, where such are allowed.
        rest: Option<TypeId>,
        atomic: bool,
    },
    /// Anything: lists are atomic, maps granular.
    Any,
}

/// What a scalar may hold, with the OpenAPI format that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    String,
    Bytes,
    Int32,
    Int64,
    Double,
    Bool,
    /// A quantity, a time or an int-or-string: structured merge does not look into these.
    Quantity,
    Time,
    MicroTime,
    IntOrString,
}

/// How a list merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    Map(Vec<Box<str>>),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) ty: TypeId,
    pub(crate) required: bool,
    /// Present in Kubernetes' own objects even where it is empty.
    pub(crate) present: bool,
    pub(crate) default: Option<Value>,
    pub(crate) patch: PatchStrategy,
    pub(crate) merge_key: Option<Box<str>>,
    /// How Kubernetes keeps it.
    pub(crate) kept: Kept,
}

/// A field's name, with its first bytes as a number: looking fields up is a large part of all work on objects, and most names
/// differ there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    first: u64,
    text: Box<str>,
}

impl Name {
    fn first_of(text: &str) -> u64 {
        let mut bytes = [0; 8];
        let most = text.len().min(8);
        bytes[..most].copy_from_slice(&text.as_bytes()[..most]);
        u64::from_be_bytes(bytes)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self {
            first: Self::first_of(text),
            text: text.into(),
        }
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Finds a field among those sorted by name.
fn field_of<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    let first = Name::first_of(name);
    let place = |field: &Field| {
        let order = field.name.first.cmp(&first);
        order.then_with(|| (*field.name.text).cmp(name))
    };
    let at = fields.binary_search_by(place).ok()?;
    Some(&fields[at])
}

/// How Kubernetes keeps a field in its own types, beyond what it publishes of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// Emptiness and absence are two things.
    pub(crate) pointer: bool,
    /// Left out where it is empty although its default is empty.
    pub(crate) dropped: bool,
    /// Written where it is absent; nobody set it.
    pub(crate) zero: Option<Value>,
    /// Set by the API server where it is absent.
    pub(crate) set: Option<Value>,
    /// The embedded structs that hold it.
    pub(crate) within: Option<Box<str>>,
    /// What Go calls its type, where that is not what it looks like.
    pub(crate) named: Option<Box<str>>,
    /// When it sets that: only if the sibling is, or is not, one of these texts.
    pub(crate) when: Option<When>,
}

/// A condition on a sibling field.
#[derive(Debug, Clone)]
pub(crate) struct When {
    pub(crate) field: Box<str>,
    pub(crate) is: bool,
    pub(crate) texts: Vec<Box<str>>,
}

/// How strategic merge treats a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) replace: bool,
    pub(crate) retain_keys: bool,
}

/// A type in a schema; cheap to clone.
#[derive(Debug, Clone)]
pub struct TypeRef {
    schema: Arc<Schema>,
    id: TypeId,
    fill: bool,
}

/// Where to look kinds up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schemas;

impl Schemas {
    /// Returns Kubernetes' built-in types.
    pub fn builtin() -> &'static Arc<Schema> {
        static BUILTIN: OnceLock<Arc<Schema>> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Arc::new(
                Schema::parse(include_str!("../builtin.types"))
                    .expect("because a test parses the table that is compiled in"),
            )
        })
    }
}

impl Schema {
    /// Looks a kind up.
    pub fn lookup(self: &Arc<Self>, gvk: &Gvk) -> Option<TypeRef> {
        self.kinds.get(gvk).map(|id| self.refer(*id))
    }

    /// Looks a type up by its name in the table, such as `core.v1.PodSpec`.
    pub fn named(self: &Arc<Self>, name: &str) -> Option<TypeRef> {
        self.names.get(name).map(|id| self.refer(*id))
    }

    /// Walks the kinds, lists included.
    pub fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.kinds.keys()
    }

    fn refer(self: &Arc<Self>, id: TypeId) -> TypeRef {
        TypeRef {
            schema: Arc::clone(self),
            id,
            fill: true,
        }
    }

    pub(crate) fn shape(&self, id: TypeId) -> &Shape {
        &self.types[id.0 as usize].shape
    }

    pub(crate) fn add(&mut self, name: Option<String>, shape: Shape) -> TypeId {
        let id =
            TypeId(u32::try_from(self.types.len()).expect("because a schema has far fewer types"));
        self.types.push(Type { name, shape });
        id
    }

    /// Copies a type of another schema, and all that it refers to.
    pub(crate) fn import(
        &mut self,
        other: &Schema,
        id: TypeId,
        seen: &mut BTreeMap<TypeId, TypeId>,
    ) -> TypeId {
        if let Some(known) = seen.get(&id) {
            return *known;
        }
        let source = &other.types[id.0 as usize];
        let here = self.add(source.name.clone(), Shape::Any);
        seen.insert(id, here);
        let mut shape = source.shape.clone();
        match &mut shape {
            Shape::List { item, .. } => *item = self.import(other, *item, seen),
            Shape::Map { element, .. } => *element = self.import(other, *element, seen),
            Shape::Struct { fields, rest, .. } => {
                for field in fields {
                    field.ty = self.import(other, field.ty, seen);
                }
                if let Some(rest) = rest {
                    *rest = self.import(other, *rest, seen);
                }
            }
            Shape::Scalar(_) | Shape::Any => {}
        }
        self.types[here.0 as usize].shape = shape;
        here
    }
}

impl TypeRef {
    /// The type of objects without a schema: lists are atomic, maps granular.
    pub fn deduced() -> Self {
        static DEDUCED: OnceLock<Arc<Schema>> = OnceLock::new();
        let schema = DEDUCED.get_or_init(|| {
            let mut schema = Schema::default();
            schema.add(None, Shape::Any);
            Arc::new(schema)
        });
        Self {
            schema: Arc::clone(schema),
            id: TypeId(0),
            fill: false,
        }
    }

    /// The built-in type of a kind, or the schema-less one.
    pub fn builtin_or_deduced(gvk: &Gvk) -> Self {
        Schemas::builtin().lookup(gvk).unwrap_or_else(Self::deduced)
    }

    /// The same type, without the empty structs that Kubernetes' own objects always have.
    ///
    /// Kubernetes keeps a built-in object as a typed struct, so `spec: {}` stands in it even before it is written, and
    /// nobody comes to own it. A custom object has only what was written.
    pub fn literal(mut self) -> Self {
        self.fill = false;
        self
    }

    /// The type of a declared field.
    pub fn field(&self, name: &str) -> Option<Self> {
        let ty = self.ty();
        Some(Self {
            schema: Arc::clone(&self.schema),
            id: ty.declared(name)?.ty,
            fill: self.fill,
        })
    }

    /// The type of a list's items, or of a map's values.
    pub fn element(&self) -> Option<Self> {
        let id = match self.schema.shape(self.id) {
            Shape::List { item, .. } => *item,
            Shape::Map { element, .. } => *element,
            _ => return None,
        };
        Some(Self {
            schema: Arc::clone(&self.schema),
            id,
            fill: self.fill,
        })
    }

    /// The type's name in the table; lists, maps and scalars have none.
    pub fn name(&self) -> Option<&str> {
        self.schema.types[self.id.0 as usize].name.as_deref()
    }

    /// Is it a map from text?
    pub fn is_map(&self) -> bool {
        matches!(self.schema.shape(self.id), Shape::Map { .. })
    }

    /// Names the declared fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        let fields = match self.schema.shape(self.id) {
            Shape::Struct { fields, .. } => fields.as_slice(),
            _ => &[],
        };
        fields.iter().map(|field| &*field.name)
    }

    /// Returns the default of a declared field, if it has one that is not the zero value.
    pub fn default_value(&self, field: &str) -> Option<&Value> {
        match self.schema.shape(self.id) {
            Shape::Struct { fields, .. } => {
                let field = field_of(fields, field)?;
                field.default.as_ref().filter(|_| !field.present)
            }
            _ => None,
        }
    }

    pub(crate) fn ty(&self) -> Ty<'_> {
        Ty {
            schema: &self.schema,
            id: Some(self.id),
            fill: match self.fill {
                true => Fill::Both,
                false => Fill::Neither,
            },
        }
    }
}

/// Which of two values that are compared holds the empty structs of Kubernetes' own objects, written or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Neither,
    /// The old one: what an apply makes of it is no struct, and has lost what was pruned.
    Old,
    Both,
}

/// A type while it is walked over; no id is the schema-less type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ty<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) id: Option<TypeId>,
    pub(crate) fill: Fill,
}

impl<'a> Ty<'a> {
    /// The same type, where the new value is what an apply made.
    pub(crate) fn of_applied(mut self) -> Self {
        if self.fill == Fill::Both {
            self.fill = Fill::Old;
        }
        self
    }

    pub(crate) fn shape(self) -> &'a Shape {
        match self.id {
            Some(id) => self.schema.shape(id),
            None => &Shape::Any,
        }
    }

    pub(crate) fn at(self, id: TypeId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// The declared field of this name.
    pub(crate) fn declared(self, name: &str) -> Option<&'a Field> {
        match self.shape() {
            Shape::Struct { fields, .. } => field_of(fields, name),
            _ => None,
        }
    }

    /// The type of what stands under a key: a declared field's, a map element's, or the schema-less one.
    pub(crate) fn below(self, name: &str) -> Self {
        self.below_declared(name).0
    }

    /// The type of what stands under a key, and whether the key is a declared field.
    pub(crate) fn below_declared(self, name: &str) -> (Self, bool) {
        match self.declared(name) {
            Some(field) => (self.at(field.ty), true),
            None => {
                let id = match self.shape() {
                    Shape::Struct { rest, .. } => *rest,
                    Shape::Map { element, .. } => Some(*element),
                    _ => None,
                };
                (Self { id, ..self }, false)
            }
        }
    }

    /// The type of what stands under a key, if the type allows it there.
    pub(crate) fn below_known(self, name: &str) -> Option<Self> {
        match self.below_declared(name) {
            (below, true) => Some(below),
            (below, false) => match self.shape() {
                Shape::Struct { rest, .. } => rest.is_some().then_some(below),
                _ => Some(below),
            },
        }
    }
}

impl std::str::FromStr for Scalar {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "bool" => Self::Bool,
            "quantity" => Self::Quantity,
            "time" => Self::Time,
            "microtime" => Self::MicroTime,
            "intstr" => Self::IntOrString,
            _ => return Err(()),
        })
    }
}
