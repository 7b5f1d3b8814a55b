//! The objects of one server, below HTTP: typed calls for controllers and for the hub.
//!
//! Everything here is synchronous, as the store is, except waiting for a watch's next event.

mod accept;
pub(crate) mod checks;
mod delete;
mod list;
mod patch;
mod scale;
mod watch;
pub(crate) mod words;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use base_store::{
    At, Batch, CommitError, CommitId, Committed, Entry, Expect, Op, ReadError, Revision, Store,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::{Catalog, Clock, Config, ResourceDef, Status, UserInfo, codec, crd};

pub use delete::{DeleteOptions, Deleted, Propagation};
pub use list::{ListOptions, ObjectList, RevisionMatch};
pub use patch::Patch;
pub(crate) use patch::Patched;
pub use watch::{EventKind, EventSource, ObjectWatch, WatchEvent, WatchOptions};

/// What to do with fields that a schema does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so.
    #[default]
    Warn,
    /// Refuse.
    Strict,
}

/// What a write may say about itself.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Who writes the fields.
    pub field_manager: String,
    /// Do everything but write?
    pub dry_run: bool,
    /// What to do with unknown fields.
    pub field_validation: FieldValidation,
    /// Take over fields of other managers (apply only)?
    pub force: bool,
    /// Who asks; for admission.
    pub user: UserInfo,
}

impl WriteOptions {
    /// Options of a controller: its name is the field manager.
    pub fn manager(name: &str) -> Self {
        Self {
            field_manager: name.to_owned(),
            field_validation: FieldValidation::Ignore,
            user: UserInfo::new(name, &["system:masters"]),
            ..Self::default()
        }
    }
}

/// What a write did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The object as it is now, with its resourceVersion.
    pub object: Value,
    /// Was it made?
    pub created: bool,
    /// Was it removed, because its last finalizer went away?
    pub removed: bool,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
    /// A namespace's finalizers.
    Finalize,
    /// The number of replicas.
    Scale,
}

impl Part {
    /// The subresource's name as managedFields have it.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Scale => "scale",
        }
    }
}

/// A stored definition as far as it is needed often.
struct Known {
    written: Revision,
    /// Its name, its group, its names and what became of them.
    brief: Value,
    defs: Vec<Arc<ResourceDef>>,
}

impl Known {
    fn new(definition: &Value, written: Revision) -> Self {
        let (spec, status) = (&definition["spec"], &definition["status"]);
        let brief = serde_json::json!({
            "metadata": {"name": k8s_object::name(definition)},
            "spec": {"group": spec["group"], "names": spec["names"]},
            "status": {"acceptedNames": status["acceptedNames"], "conditions": status["conditions"]},
        });
        let defs = crd::resources(definition).into_iter().map(|mut def| {
            def.settled_since = written.0;
            Arc::new(def)
        });
        Self {
            written,
            brief,
            defs: defs.collect(),
        }
    }
}

struct Inner {
    store: Arc<dyn Store>,
    prefix: String,
    base: Arc<Catalog>,
    config: Arc<Config>,
    // the catalogue with what definitions added; replaced as a whole
    catalog: RwLock<Arc<Catalog>>,
    // held while definitions are read, so that an older reading never replaces a newer one
    reloading: Mutex<()>,
    known: Mutex<Arc<BTreeMap<String, Arc<Known>>>>,
    sent: Mutex<Weak<watch::Sent>>,
}

/// The objects of one server. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

/// Where a stored key points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The API group.
    pub group: String,
    /// The plural resource name.
    pub plural: String,
    /// The namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Registry {
    /// Opens the objects that stand under `prefix` in a store. Definitions that are stored there are served at once.
    pub fn open(
        store: Arc<dyn Store>,
        prefix: &str,
        catalog: Arc<Catalog>,
        config: Arc<Config>,
    ) -> Result<Self, Status> {
        let registry = Self {
            inner: Arc::new(Inner {
                store,
                prefix: prefix.to_owned(),
                catalog: RwLock::new(Arc::clone(&catalog)),
                base: catalog,
                config,
                reloading: Mutex::new(()),
                known: Mutex::default(),
                sent: Mutex::default(),
            }),
        };
        registry.reload()?;
        Ok(registry)
    }

    /// Opens a store that holds the same definitions as this one, such as a fork of its image. Nothing is read, and the
    /// catalogue is shared.
    pub fn fork(&self, store: Arc<dyn Store>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                prefix: self.inner.prefix.clone(),
                catalog: RwLock::new(self.catalog()),
                base: Arc::clone(&self.inner.base),
                config: Arc::clone(&self.inner.config),
                reloading: Mutex::new(()),
                known: Mutex::new(Arc::clone(&self.inner.known.lock())),
                sent: Mutex::default(),
            }),
        }
    }

    /// Reads the stored definitions again, for when another process wrote them.
    pub fn reload(&self) -> Result<(), Status> {
        let Some(def) = self
            .inner
            .base
            .preferred(crd::GROUP, crd::PLURAL)
            .map(Arc::clone)
        else {
            return Ok(());
        };
        let _reloading = self.inner.reloading.lock();
        let known = self.known(&def)?;
        if known.is_empty() && Arc::ptr_eq(&self.inner.base, &self.catalog()) {
            return Ok(());
        }
        let mut catalog = Catalog::clone(&self.inner.base);
        for one in known.values() {
            for def in &one.defs {
                catalog.add_shared(Arc::clone(def));
            }
        }
        *self.inner.catalog.write() = Arc::new(catalog);
        Ok(())
    }

    /// Takes in what a write to a definition changed.
    pub(crate) fn definition_changed(&self, def: &ResourceDef) -> Result<(), Status> {
        if def.group == crd::GROUP && def.plural == crd::PLURAL {
            self.reload()?;
            self.reconsider(def)?;
        }
        Ok(())
    }

    /// Reads the definitions; those that did not change since the last time are as they were read then.
    fn known(&self, def: &ResourceDef) -> Result<Arc<BTreeMap<String, Arc<Known>>>, Status> {
        let prefix = self.key_prefix(def, "");
        let before = Arc::clone(&self.inner.known.lock());
        let mut out = BTreeMap::new();
        let mut changed = false;
        let range = base_store::Range {
            prefix,
            after: None,
            limit: 0,
            at: At::Newest,
        };
        let page = self.inner.store.range(&range).map_err(read_error)?;
        for entry in &page.entries {
            let kept = before
                .get(&entry.key)
                .filter(|known| known.written == entry.modified);
            let one = match kept {
                Some(known) => Arc::clone(known),
                None => {
                    changed = true;
                    let definition = codec::decode_entry(def, entry)?;
                    Arc::new(Known::new(&definition, entry.modified))
                }
            };
            out.insert(entry.key.clone(), one);
        }
        if !changed && out.len() == before.len() {
            return Ok(before);
        }
        let out = Arc::new(out);
        *self.inner.known.lock() = Arc::clone(&out);
        Ok(out)
    }

    /// Returns what the definitions say of their names.
    pub(crate) fn definitions(&self, def: &ResourceDef) -> Result<Vec<Value>, Status> {
        let known = self.known(def)?;
        Ok(known.values().map(|one| one.brief.clone()).collect())
    }

    /// Looks again at the definitions that wait for names: one may have come free.
    fn reconsider(&self, def: &ResourceDef) -> Result<(), Status> {
        let all = self.definitions(def)?;
        for waiting in &all {
            if crd::is_true(waiting, "NamesAccepted") {
                continue;
            }
            let name = k8s_object::name(waiting);
            let options = WriteOptions::manager("kube-apiserver");
            let now = self.clock().now();
            let done = self.modify(def, "", name, Part::Status, &options, |object| {
                let before = object["status"].clone();
                crd::settle(object, &all, now);
                object["status"] != before
            });
            match done {
                // whoever wrote it in the meantime looked at the names as well
                Err(status) if status.is_not_found() || status.is_conflict() => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Returns what is served now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.inner.catalog.read())
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Returns the prefix of its keys.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.config.clock
    }

    /// Finds a resource by group and plural name, in its preferred version.
    pub fn resource(&self, group: &str, plural: &str) -> Result<Arc<ResourceDef>, Status> {
        self.catalog()
            .preferred(group, plural)
            .map(Arc::clone)
            .ok_or_else(Status::no_such_resource)
    }

    /// Finds the resource of an object by its `apiVersion` and `kind`.
    pub fn resource_of(&self, object: &Value) -> Result<Arc<ResourceDef>, Status> {
        let gvk = k8s_object::Gvk::of(object)
            .ok_or_else(|| Status::bad_request("object has no apiVersion and kind"))?;
        self.catalog()
            .by_kind(&gvk.group, &gvk.version, &gvk.kind)
            .map(Arc::clone)
            .ok_or_else(Status::no_such_resource)
    }

    /// Returns the key of an object.
    pub fn key(&self, def: &ResourceDef, namespace: &str, name: &str) -> String {
        let mut key = self.key_prefix(def, namespace);
        key.push_str(name);
        key
    }

    /// Returns how the keys of a resource begin; an empty namespace means all.
    pub fn key_prefix(&self, def: &ResourceDef, namespace: &str) -> String {
        let mut key = format!("{}{}", self.inner.prefix, def.key_prefix());
        if def.namespaced && !namespace.is_empty() {
            key.push_str(namespace);
            key.push('/');
        }
        key
    }

    /// Takes a key apart; `None` if it is none of this server's.
    pub fn parse_key(&self, key: &str) -> Option<StoredKey> {
        let rest = key.strip_prefix(self.inner.prefix.as_str())?;
        let mut parts = rest.splitn(4, '/');
        let (group, plural, third) = (parts.next()?, parts.next()?, parts.next()?);
        let (namespace, name) = match parts.next() {
            Some(name) => (third, name),
            None => ("", third),
        };
        Some(StoredKey {
            group: if group == "core" { "" } else { group }.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns what the watches of this server share.
    fn sent(&self) -> Arc<watch::Sent> {
        watch::Sent::of(&self.inner.sent)
    }

    /// Returns the newest revision.
    pub fn revision(&self) -> Revision {
        self.inner.store.revision()
    }

    /// Reads an object; the bytes hold its resourceVersion.
    pub fn get_bytes(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<Bytes, Status> {
        let entry = self.entry(def, namespace, name)?;
        let entry = entry.ok_or_else(|| Status::not_found(def, name))?;
        Ok(codec::splice(def, &entry.value, entry.modified))
    }

    /// Reads an object.
    pub fn get(&self, def: &ResourceDef, namespace: &str, name: &str) -> Result<Value, Status> {
        let (object, _) = self.load(def, namespace, name)?;
        object.ok_or_else(|| Status::not_found(def, name))
    }

    /// Reads an object that may be missing.
    pub fn find(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        Ok(self.load(def, namespace, name)?.0)
    }

    /// Is there such an object?
    pub(crate) fn exists(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Status> {
        Ok(self.entry(def, namespace, name)?.is_some())
    }

    /// Reads an object as it is stored.
    fn entry(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Entry>, Status> {
        let key = self.key(def, namespace, name);
        let found = self.inner.store.get(&key, At::Newest);
        found.map_err(read_error)
    }

    /// Reads an object, with what a write must expect of it.
    pub(crate) fn load(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<(Option<Value>, Expect), Status> {
        decoded(def, self.entry(def, namespace, name)?.as_ref())
    }

    /// Commits one operation. `Ok(None)`: the key was not as expected.
    pub(crate) fn commit(&self, ops: Vec<Op>) -> Result<Option<Committed>, Status> {
        let mut id = [0_u8; 16];
        self.inner.config.entropy.fill(&mut id);
        let id = CommitId(u128::from_le_bytes(id));
        match self.inner.store.commit(Batch::new(id, ops)) {
            Ok(committed) => Ok(Some(committed)),
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(CommitError::OutcomeUnknown { cause, .. }) => match self.inner.store.outcome(id) {
                Ok(Some(committed)) => Ok(Some(committed)),
                _ => Err(Status::outcome_unknown(format!(
                    "the outcome of the write is unknown: {cause}"
                ))),
            },
            Err(error @ (CommitError::Full { .. } | CommitError::Closed { .. })) => {
                Err(Status::unavailable(error.to_string()))
            }
            Err(error) => Err(Status::internal(error)),
        }
    }
}

/// Reads what is stored, if anything is, and says what a write must expect of it.
fn decoded(def: &ResourceDef, entry: Option<&Entry>) -> Result<(Option<Value>, Expect), Status> {
    Ok(match entry {
        Some(entry) => (
            Some(codec::decode_entry(def, entry)?),
            Expect::At(entry.modified),
        ),
        None => (None, Expect::Absent),
    })
}

/// Words a failed read.
pub(crate) fn read_error(error: ReadError) -> Status {
    match error {
        ReadError::Compacted { asked, oldest } => Status::expired(format!(
            "The resourceVersion for the provided list is too old: {asked}; the oldest is {oldest}."
        )),
        ReadError::Future { asked, newest } => Status::revision_too_large(asked.0, newest.0),
        ReadError::Failed { cause } => Status::internal(cause),
    }
}
