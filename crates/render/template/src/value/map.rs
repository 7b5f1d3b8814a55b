//! Maps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::Value;
use crate::call::Method;
use crate::text::Str;
use crate::types::Type;

/// A Go map with string keys: mutable, and shared by all that hold it. Keys are kept sorted by their bytes, which is the
/// order in which templates and `fmt` walk maps.
#[derive(Clone)]
pub struct Map(Rc<Inner>);

struct Inner {
    ty: Type,
    methods: &'static [Method],
    entries: RefCell<Option<BTreeMap<Str, Value>>>,
    noted: Cell<bool>,
    /// The map that this one is seen through as another type, which holds the entries then.
    of: Option<Map>,
}

impl Map {
    /// An empty `map[string]interface {}`.
    pub fn new() -> Self {
        Self::typed(Type::DICT, BTreeMap::new())
    }

    /// A map of the given type, `map[string]T` or a name of one. The caller sees to it that the values are of type `T`.
    pub fn typed(ty: Type, entries: BTreeMap<Str, Value>) -> Self {
        Self::with_methods(ty, &[], entries)
    }

    /// A map of a named type that has methods, such as `common.Values`.
    pub fn with_methods(
        ty: Type,
        methods: &'static [Method],
        entries: BTreeMap<Str, Value>,
    ) -> Self {
        Self(Rc::new(Inner {
            ty,
            methods,
            entries: RefCell::new(Some(entries)),
            noted: Cell::new(false),
            of: None,
        }))
    }

    /// A nil map of the given type.
    pub fn nil(ty: Type) -> Self {
        Self(Rc::new(Inner {
            ty,
            methods: &[],
            entries: RefCell::new(None),
            noted: Cell::new(false),
            of: None,
        }))
    }

    /// The same map as a value of another type: what is written to one is read from both, as with Go's conversions.
    pub fn view(&self, ty: Type, methods: &'static [Method]) -> Self {
        Self(Rc::new(Inner {
            ty,
            methods,
            entries: RefCell::new(None),
            noted: Cell::new(false),
            of: Some(Self(self.root().clone())),
        }))
    }

    /// What holds the entries.
    fn root(&self) -> &Rc<Inner> {
        self.0.of.as_ref().map_or(&self.0, |map| &map.0)
    }

    /// Its type.
    pub fn ty(&self) -> Type {
        self.0.ty
    }

    /// The methods of its type.
    pub fn methods(&self) -> &'static [Method] {
        self.0.methods
    }

    /// The type of its elements.
    pub fn elem(&self) -> Type {
        match self.0.ty.underlying() {
            Type::Map(elem) => **elem,
            _ => Type::Any,
        }
    }

    /// Whether it is a nil map: it reads as empty, and writing to it is an error.
    pub fn is_nil(&self) -> bool {
        self.root().entries.borrow().is_none()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.root()
            .entries
            .borrow()
            .as_ref()
            .map_or(0, BTreeMap::len)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What stands under a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.root().entries.borrow().as_ref()?.get(key).cloned()
    }

    /// Whether a key is there.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.0
            .entries
            .borrow()
            .as_ref()
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Sets a key. False if the map is nil, where Go panics with "assignment to entry in nil map".
    #[must_use]
    pub fn insert(&self, key: impl Into<Str>, value: Value) -> bool {
        if value.is_container() && !self.root().noted.get() {
            note(self.root());
        }
        let old = match self.root().entries.borrow_mut().as_mut() {
            Some(entries) => entries.insert(key.into(), value),
            None => return false,
        };
        drop(old);
        true
    }

    /// Takes a key away and gives what stood there.
    pub fn remove(&self, key: &[u8]) -> Option<Value> {
        self.root().entries.borrow_mut().as_mut()?.remove(key)
    }

    /// All entries as they are now, in the order of the keys.
    pub fn entries(&self) -> Vec<(Str, Value)> {
        let entries = self.root().entries.borrow();
        entries
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// All keys as they are now, in order.
    pub fn keys(&self) -> Vec<Str> {
        self.0
            .entries
            .borrow()
            .iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Reads the entries in place; the map must not be written to meanwhile.
    pub fn with<R>(&self, read: impl FnOnce(&BTreeMap<Str, Value>) -> R) -> R {
        match self.root().entries.borrow().as_ref() {
            Some(entries) => read(entries),
            None => read(&BTreeMap::new()),
        }
    }

    /// Another map with the same entries: what is in them is shared.
    pub fn shallow_copy(&self) -> Self {
        Self(Rc::new(Inner {
            ty: self.0.ty,
            methods: self.0.methods,
            entries: RefCell::new(self.root().entries.borrow().clone()),
            noted: Cell::new(false),
            of: None,
        }))
    }

    /// Whether both are one map.
    pub fn same(&self, other: &Map) -> bool {
        Rc::ptr_eq(self.root(), other.root())
    }

    /// Tells maps apart while they live: two are the same if it is.
    pub fn address(&self) -> usize {
        Rc::as_ptr(self.root()).addr()
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<(Str, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Str, Value)>>(entries: I) -> Self {
        Self::typed(Type::DICT, entries.into_iter().collect())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(entries) = self.entries.get_mut().take() {
            dismantle(entries.into_values());
        }
    }
}

thread_local! {
    static SCOPES: Cell<usize> = const { Cell::new(0) };
    static WRITTEN: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
    static DISMANTLING: RefCell<Option<Vec<Value>>> = const { RefCell::new(None) };
}

/// The time of one render: at its end the maps that templates wrote containers into are emptied.
///
/// Templates can put a map into itself (`set .Values "self" .Values`), and counted references alone would keep such a
/// ring for ever. Only writing to a map that is there already can close a ring, so only those maps are remembered. What
/// the render was given and wrote into is of no use after its scope.
#[must_use = "the scope ends when it is dropped"]
pub struct Scope {
    from: usize,
}

impl Scope {
    /// Begins a scope on this thread. Scopes nest.
    pub fn enter() -> Self {
        SCOPES.with(|depth| depth.set(depth.get() + 1));
        Self {
            from: WRITTEN.with(|written| written.borrow().len()),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        SCOPES.with(|depth| depth.set(depth.get() - 1));
        let written = WRITTEN.with(|written| {
            let mut written = written.borrow_mut();
            let from = self.from.min(written.len());
            written.split_off(from)
        });
        for map in written.iter().filter_map(Weak::upgrade) {
            let entries = map.entries.borrow_mut().take();
            drop(entries);
        }
    }
}

fn note(map: &Rc<Inner>) {
    if SCOPES.with(Cell::get) > 0 {
        map.noted.set(true);
        WRITTEN.with(|written| written.borrow_mut().push(Rc::downgrade(map)));
    }
}

/// Drops values without recursion: templates can nest them a million deep.
pub(super) fn dismantle(values: impl Iterator<Item = Value>) {
    let mut values = values.filter(Value::is_container).peekable();
    if values.peek().is_none() {
        return;
    }
    let outermost = DISMANTLING.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        match queue.as_mut() {
            Some(queue) => {
                queue.extend(values);
                false
            }
            None => {
                *queue = Some(values.collect());
                true
            }
        }
    });
    // values that outlive their thread's locals are dropped as they come
    let outermost = outermost.unwrap_or(false);
    if !outermost {
        return;
    }
    loop {
        let next = DISMANTLING.with(|queue| {
            let mut queue = queue.borrow_mut();
            let next = queue.as_mut().and_then(Vec::pop);
            if next.is_none() {
                *queue = None;
            }
            next
        });
        match next {
            Some(value) => drop(value),
            None => break,
        }
    }
}
