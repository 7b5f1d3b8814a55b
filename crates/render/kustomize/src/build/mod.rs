//! A build from its root to its objects.

mod accumulate;
mod load;
mod transformers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base_yaml::go;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::diag::{Error, Fault};
use crate::fieldspec::{FieldSpec, Specs};
use crate::files::{Files, Remote, join};
use crate::helm::HelmOptions;
use crate::id::Gvk;
use crate::kfile::{Kustomization, Mode, Part, Shape, read};
use crate::limits::Limits;
use crate::node::{Kind, Tag, tagged};
use crate::objects::Objects;
use crate::order;
use crate::origin::Origin;
use crate::remote::Need;
use crate::resource::LOCAL;
use crate::schema::Schema;
use crate::transform::vars::{self, Var};
use crate::transform::{Transformer, names};

pub(crate) use accumulate::{Context as BuildContext, objects as accumulate_objects, shown};
pub(crate) use load::{Folder, Kfile};
pub(crate) use transformers::{json_patch, own_specs};

/// In which order objects come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By kind, what others need first: what `kustomize build` prints.
    #[default]
    Legacy,
    /// As they are listed: what the library gives, and Flux with it.
    Input,
}

/// Changes that stand in no file, as if another kustomization stood above the root in its folder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layer {
    /// What they are called in errors, such as `spec.render.kustomize`.
    pub place: String,
    /// The fields of that kustomization: components, patches, images and what else changes objects.
    pub fields: Map<String, Value>,
}

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The order of objects, unless the kustomization says it.
    pub order: Order,
    /// May files be read that are not below the kustomization that names them? (The tree is never left.)
    pub anywhere: bool,
    /// How charts are rendered; none to refuse them.
    pub helm: Option<HelmOptions>,
    /// What each object tells of itself besides what the root asks for: `managedByLabel`, `originAnnotations`,
    /// `transformerAnnotations`.
    pub metadata: Vec<String>,
    /// What is put over the root, one upon the other.
    pub layers: Vec<Layer>,
}

/// An object with the place that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The object.
    pub value: Value,
    /// The file; empty if it was generated.
    pub file: String,
    /// The line that it begins in; 0 if it was generated.
    pub line: usize,
}

/// What a build gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Built {
    /// The objects, in order.
    pub objects: Vec<Object>,
    /// What kustomize warns of.
    pub warnings: Vec<String>,
}

impl Built {
    /// What `kustomize build` prints.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (number, object) in self.objects.iter().enumerate() {
            if number > 0 {
                out.push_str("---\n");
            }
            match go::to_yaml(&object.value) {
                Ok(text) => out.push_str(&text),
                Err(_) => out.push_str(&base_yaml::to_string(&object.value)),
            }
        }
        out
    }
}

/// What roots are built from.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What has to be fetched and was not given.
    pub needs: BTreeSet<Need>,
    /// The folders that are read: their tree (empty for the one that is built, else the address that led there), and
    /// their path in it.
    pub folders: BTreeSet<(String, String)>,
    /// Files that lie outside the folder of the kustomization that names them.
    pub files: BTreeSet<(String, String)>,
    /// The first kustomization that cannot be read.
    pub problem: Option<Error>,
}

/// A tree whose kustomizations are built. What roots have in common is built once.
pub struct Kustomizer {
    files: Arc<dyn Files>,
    remotes: BTreeMap<String, Remote>,
    limits: Limits,
    memo: Mutex<BTreeMap<MemoKey, Arc<Sum>>>,
}

/// How many bases are kept.
const KEPT: usize = 4_096;

/// Which tree, which folder, in which namespace charts are rendered, whether files are read anywhere.
type MemoKey = (String, String, String, bool);

impl std::fmt::Debug for Kustomizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kustomizer")
            .field("remotes", &self.remotes.keys())
            .finish_non_exhaustive()
    }
}

/// What kustomizations came to so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    objects: Objects,
    specs: Option<Arc<Specs>>,
    vars: BTreeMap<Arc<str>, Var>,
    warnings: Vec<String>,
}

/// One build.
pub(crate) struct Run<'a> {
    owner: &'a Kustomizer,
    options: &'a Options,
    schema: Schema,
    /// Was another schema asked for?
    schema_set: bool,
    patched: bool,
    kustomizations: usize,
    bytes: usize,
    metadata: Vec<String>,
}

impl Kustomizer {
    /// Takes a tree, with what its remote bases led to.
    pub fn new(files: Arc<dyn Files>, remotes: BTreeMap<String, Remote>, limits: Limits) -> Self {
        Self {
            files,
            remotes,
            limits,
            memo: Mutex::new(BTreeMap::new()),
        }
    }

    /// Reads a root and what it is made of, and says what has to be fetched and was not given.
    pub fn plan(&self, root: &str) -> Result<Vec<Need>, Error> {
        self.folder(root)?;
        let plan = self.reads(&[root]);
        match plan.problem {
            Some(problem) => Err(problem),
            None => Ok(plan.needs.into_iter().collect()),
        }
    }

    /// What roots are built from, as far as it can be read; folders that hold no kustomization are passed over.
    pub fn reads(&self, roots: &[&str]) -> Plan {
        let options = Options::default();
        let mut plan = Plan::default();
        for root in roots {
            let mut run = self.run(&options);
            if let Ok(folder) = self.folder(root) {
                run.reads(&folder, &mut plan, 0);
            }
        }
        plan
    }

    fn run<'a>(&'a self, options: &'a Options) -> Run<'a> {
        Run {
            owner: self,
            options,
            schema: Schema::built_in(),
            schema_set: false,
            patched: false,
            kustomizations: 0,
            bytes: 0,
            metadata: Vec::new(),
        }
    }

    fn folder(&self, root: &str) -> Result<Folder, Error> {
        let path = join("", root)
            .filter(|path| matches!(self.files.entry(path), Some(crate::Entry::Folder(_))));
        let Some(path) = path else {
            return Err(Error::new(format!("there is no folder {root:?}")));
        };
        let path = match self.files.entry(&path) {
            Some(crate::Entry::Folder(real)) => real,
            _ => path,
        };
        Ok(Folder {
            files: Arc::clone(&self.files),
            tree: String::new(),
            path,
        })
    }

    fn recall(&self, key: &MemoKey) -> Option<Arc<Sum>> {
        let memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        memo.get(key).cloned()
    }

    fn keep(&self, key: MemoKey, sum: &Arc<Sum>) {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        // a memory, and no promise: a fleet's overlays have few bases in common
        if memo.len() >= KEPT {
            memo.clear();
        }
        memo.insert(key, Arc::clone(sum));
    }

    /// Builds a root.
    pub fn build(&self, root: &str, options: &Options) -> Result<Built, Error> {
        let mut run = self.run(options);
        let folder = self.folder(root)?;
        run.root(&folder)
    }
}

impl Run<'_> {
    fn root(&mut self, folder: &Folder) -> Result<Built, Error> {
        let kfile = self.kfile(folder)?;
        self.schema_of(folder, &kfile, true)?;
        self.metadata.clone_from(&kfile.k.build_metadata);
        self.metadata.extend(self.options.metadata.iter().cloned());
        let layers = self.layers()?;
        let namespaces = layers.iter().rev().map(|layer| &layer.k.namespace);
        let namespace = namespaces.into_iter().find(|name| !name.is_empty());
        let context = accumulate::Context {
            folder,
            parent: None,
            origin: (!self.metadata.is_empty()).then(Origin::default),
            helm_namespace: namespace.cloned().unwrap_or_default(),
            depth: 0,
        };
        let mut sum = self.below(&context, &kfile, &layers)?;
        for layer in &layers {
            sum = self.accumulate(&context, layer, sum)?;
        }
        let fail = |fault: Fault| Error::from(fault).in_file(&kfile.path, &kfile.bytes, 0, 0);
        let objects = &mut sum.objects;
        Transformer::Hash
            .apply(objects, &self.schema)
            .map_err(fail)?;
        let defaults = Specs::defaults();
        let specs = sum.specs.as_ref().unwrap_or(&defaults);
        names::fix_references(objects, &specs.name_reference).map_err(fail)?;
        vars::resolve(objects, &sum.vars, &specs.var_reference).map_err(fail)?;
        objects.items.retain(|item| {
            item.annotation(LOCAL)
                .is_none_or(|value| &*value == "false")
        });
        self.sort(&kfile, objects)?;
        let has = |name: &str| self.metadata.iter().any(|one| one == name);
        let (origin, changes) = (has("originAnnotations"), has("transformerAnnotations"));
        let managed = has("managedByLabel");
        let mut built = Built {
            objects: Vec::with_capacity(objects.len()),
            warnings: sum.warnings,
        };
        for at in 0..sum.objects.len() {
            let item = sum.objects.get_mut(at);
            if managed {
                let root = item.tree.root;
                let path = ["metadata", "labels"];
                let labels = item
                    .tree
                    .lookup_create(root, Kind::Map, &path)
                    .map_err(fail)?;
                if let Some(labels) = labels {
                    let value = item.tree.add(tagged("kustomize-v5.8.1", Tag::Str));
                    let name = "app.kubernetes.io/managed-by";
                    item.tree.set_field(labels, name, value).map_err(fail)?;
                }
            }
            let done = item
                .finish(origin, changes)
                .map_err(|fault| item.blame(fault));
            done.map_err(fail)?;
            let value = item.tree.to_value().map_err(|fault| {
                let (line, column) = (fault.line, fault.column);
                let error = Error::from(item.blame(fault));
                let bytes = self.owner.files.read(&item.file).unwrap_or_default();
                if item.file.is_empty() {
                    fail(Fault::new(error.to_string()))
                } else {
                    error.in_file(&item.file, &bytes, line, column)
                }
            })?;
            built.objects.push(Object {
                value,
                file: item.file.to_string(),
                line: if item.file.is_empty() {
                    0
                } else {
                    item.line as usize
                },
            });
        }
        Ok(built)
    }

    fn sort(&self, kfile: &Kfile, objects: &mut Objects) -> Result<(), Error> {
        let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        let (first, last): (Vec<String>, Vec<String>) = match &kfile.k.sort_options {
            None if self.options.order == Order::Input => return Ok(()),
            None => (strings(order::FIRST), strings(order::LAST)),
            Some(options) => match (options.order.as_str(), &options.legacy_sort_options) {
                ("fifo", None) => return Ok(()),
                ("legacy", None) => (strings(order::FIRST), strings(order::LAST)),
                ("legacy", Some(own)) => (own.order_first.clone(), own.order_last.clone()),
                ("fifo", Some(_)) => {
                    let at = ["sortOptions", "legacySortOptions"];
                    let fault = Fault::new("these are for the order legacy only");
                    return Err(kfile.error(&at.map(|f| Part::Field(f.to_owned())), fault));
                }
                (other, _) => {
                    let at = ["sortOptions", "order"];
                    let text = format!("order is {other:?}; it must be fifo or legacy");
                    let at = at.map(|f| Part::Field(f.to_owned()));
                    return Err(kfile.error(&at, Fault::new(text)));
                }
            },
        };
        order::sort(objects, &first, &last);
        objects.check().map_err(|fault| kfile.error(&[], fault))
    }

    /// The root itself, before what is put over it.
    fn below(
        &mut self,
        context: &accumulate::Context<'_>,
        kfile: &Kfile,
        layers: &[Kfile],
    ) -> Result<Sum, Error> {
        let folder = context.folder;
        let key = (
            folder.tree.clone(),
            folder.path.clone(),
            context.helm_namespace.clone(),
            self.options.anywhere,
        );
        // a root of its own is built once anyway
        let memoized = !layers.is_empty() && context.origin.is_none() && !self.schema_set;
        if memoized && let Some(known) = self.owner.recall(&key) {
            return Ok((*known).clone());
        }
        let sum = self.accumulate(context, kfile, Sum::default())?;
        if memoized && !self.schema_set {
            self.owner.keep(key, &Arc::new(sum.clone()));
        }
        Ok(sum)
    }

    /// Reads what is put over the root.
    fn layers(&self) -> Result<Vec<Kfile>, Error> {
        let all = self
            .options
            .layers
            .iter()
            .filter(|layer| !layer.fields.is_empty());
        all.map(|layer| {
            let fields = Value::Object(layer.fields.clone());
            let k = read(fields, &Shape::KUSTOMIZATION, Mode::Strict);
            let k: Kustomization = k.map_err(|(at, text)| {
                Error::new(format!("{}: {text}", shown_in(&layer.place, &at)))
            })?;
            Ok(Kfile {
                path: layer.place.clone(),
                name: "",
                bytes: Bytes::new(),
                k,
            })
        })
        .collect()
    }
}

/// A field of a layer, as text.
fn shown_in(place: &str, at: &[Part]) -> String {
    match shown(at) {
        field if field.is_empty() => place.to_owned(),
        field if place.ends_with('"') => format!("{place}: {field}"),
        field => format!("{place}.{field}"),
    }
}

/// Labels of the metadata alone.
pub(crate) fn metadata_labels() -> FieldSpec {
    FieldSpec {
        gvk: Gvk::default(),
        path: "metadata/labels".into(),
        create: true,
    }
}
