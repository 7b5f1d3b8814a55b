//! A build from its root to its objects.

mod accumulate;
mod load;
mod transformers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base_yaml::go;
use serde_json::Value;

use crate::diag::{Error, Fault};
use crate::fieldspec::{FieldSpec, Specs};
use crate::files::{Files, Remote, join};
use crate::helm::HelmOptions;
use crate::id::Gvk;
use crate::kfile::Part;
use crate::limits::Limits;
use crate::node::{Kind, Tag, tagged};
use crate::objects::Objects;
use crate::order;
use crate::origin::Origin;
use crate::remote::Need;
use crate::resource::LOCAL;
use crate::schema::Schema;
use crate::transform::vars::{self, Var};
use crate::transform::{Image, PatchSet, Selector, Transformer, names};

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

/// Another name, tag or digest for an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageChange {
    /// The image's name, taken as a pattern.
    pub name: String,
    /// Its new name.
    pub new_name: String,
    /// Its new tag.
    pub new_tag: String,
    /// Its new digest.
    pub digest: String,
}

/// A patch in the text of an App.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatchChange {
    /// A strategic merge, or a list of JSON operations, in YAML or JSON.
    pub patch: String,
    /// The kind, name, namespace, group and version that it is for, each a pattern; empty for those of the patch itself.
    pub target: BTreeMap<String, String>,
}

/// What is put over a root without a file of its own, as if another kustomization stood above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Components, by their paths from the root.
    pub components: Vec<String>,
    /// Images.
    pub images: Vec<ImageChange>,
    /// How many of what.
    pub replicas: BTreeMap<String, i64>,
    /// Patches.
    pub patches: Vec<PatchChange>,
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
    /// What is put over the root.
    pub extra: Extra,
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

/// A tree whose kustomizations are built. What roots have in common is built once.
pub struct Kustomizer {
    files: Arc<dyn Files>,
    remotes: BTreeMap<String, Remote>,
    limits: Limits,
    memo: Mutex<BTreeMap<MemoKey, Arc<Sum>>>,
}

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
        let options = Options::default();
        let mut run = self.run(&options);
        let folder = self.folder(root)?;
        let mut needs = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        run.needs(&folder, &mut seen, &mut needs, 0)?;
        needs.sort();
        needs.dedup();
        Ok(needs)
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
        let context = accumulate::Context {
            folder,
            parent: None,
            origin: (!self.metadata.is_empty()).then(Origin::default),
            helm_namespace: String::new(),
            depth: 0,
        };
        let mut sum = self.accumulate(&context, &kfile, Sum::default())?;
        self.extra(&context, &kfile, &mut sum)?;
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

    /// Puts over a root what stands in no file.
    fn extra(
        &mut self,
        context: &accumulate::Context<'_>,
        kfile: &Kfile,
        sum: &mut Sum,
    ) -> Result<(), Error> {
        let extra = &self.options.extra;
        if *extra == Extra::default() {
            return Ok(());
        }
        let within = |name: &str, number: usize, fault: Fault| {
            Error::from(fault.within(&format!("spec.render.kustomize.{name}[{number}]")))
        };
        for (number, path) in extra.components.iter().enumerate() {
            let old = std::mem::take(sum);
            *sum = self
                .component(context, path, old)
                .map_err(|failure| failure.error(kfile, &[]))
                .map_err(|error| Error {
                    message: format!(
                        "spec.render.kustomize.components[{number}] {path:?}: {}",
                        error.message
                    ),
                    ..error
                })?;
        }
        let defaults = Specs::defaults();
        let specs = sum.specs.clone().unwrap_or(defaults);
        for (number, patch) in extra.patches.iter().enumerate() {
            let get = |name: &str| patch.target.get(name).cloned().unwrap_or_default();
            let target = (!patch.target.is_empty()).then(|| Selector {
                group: get("group"),
                version: get("version"),
                kind: get("kind"),
                name: get("name"),
                namespace: get("namespace"),
                annotation_selector: get("annotationSelector"),
                label_selector: get("labelSelector"),
            });
            let set = PatchSet::read(patch.patch.trim().as_bytes(), "", target, None)
                .map_err(|fault| within("patches", number, fault))?;
            self.patched = true;
            Transformer::Patch(set)
                .apply(&mut sum.objects, &self.schema)
                .map_err(|fault| within("patches", number, fault))?;
            sum.objects.drop_gone();
        }
        for (number, (name, count)) in extra.replicas.iter().enumerate() {
            let change = Transformer::Replicas {
                name: name.clone(),
                count: *count,
                specs: specs.replicas.clone(),
            };
            change
                .apply(&mut sum.objects, &self.schema)
                .map_err(|fault| within("replicas", number, fault))?;
        }
        for (number, image) in extra.images.iter().enumerate() {
            let change = Transformer::Images {
                image: Image {
                    name: image.name.clone(),
                    new_name: image.new_name.clone(),
                    new_tag: image.new_tag.clone(),
                    digest: image.digest.clone(),
                    tag_suffix: String::new(),
                },
                specs: specs.images.clone(),
            };
            change
                .apply(&mut sum.objects, &self.schema)
                .map_err(|fault| within("images", number, fault))?;
        }
        Ok(())
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
