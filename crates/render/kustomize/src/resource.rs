//! One object on its way through a build.

use std::sync::Arc;

use crate::diag::Fault;
use crate::id::{Gvk, ResId, cluster_scoped};
use crate::node::{Kind, Node, Step, Tree};
use crate::schema::Schema;
use crate::smp;

/// Marks of kustomize's own. They are kept beside the object here, and never show.
const INTERNAL: &str = "internal.config.kubernetes.io/";
const LEGACY: &[&str] = &[
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
];
pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";
pub(crate) const LOCAL: &str = "config.kubernetes.io/local-config";

/// What a generated object does to one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }
}

/// A name that an object had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: Arc<str>,
}

/// What kustomize knows of an object besides what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) previous: Vec<Previous>,
    pub(crate) prefixes: Vec<Arc<str>>,
    pub(crate) suffixes: Vec<Arc<str>>,
    pub(crate) behavior: Behavior,
    pub(crate) hash: bool,
    pub(crate) allow_name: bool,
    pub(crate) allow_kind: bool,
    pub(crate) helm: bool,
    pub(crate) vars: Vec<Arc<str>>,
}

/// An object with its marks.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) tree: Tree,
    pub(crate) marks: Marks,
    /// A patch took it away.
    pub(crate) gone: bool,
    /// The file that it was read from.
    pub(crate) file: Arc<str>,
    /// The line that it begins in.
    pub(crate) line: u32,
}

impl Item {
    pub(crate) fn new(tree: Tree, file: Arc<str>) -> Self {
        let line = tree.get(tree.root).line;
        Self {
            tree,
            marks: Marks::default(),
            gone: false,
            file,
            line,
        }
    }

    /// Takes the marks over that somebody wrote into a file.
    pub(crate) fn read_marks(&mut self) {
        let annotations = self.tree.meta_map("annotations");
        let own = |name: &str| name.starts_with(INTERNAL);
        if !annotations.iter().any(|(name, _)| own(name)) {
            return;
        }
        let get = |name: &str| {
            let name = format!("{INTERNAL}{name}");
            let found = annotations.iter().find(|(key, _)| **key == *name);
            found.map(|(_, value)| value.clone())
        };
        let list = |name: &str| -> Vec<Arc<str>> {
            let text = get(name);
            text.iter()
                .flat_map(|text| text.split(','))
                .map(Arc::from)
                .collect()
        };
        let marks = &mut self.marks;
        let (names, places) = (list("previousNames"), list("previousNamespaces"));
        let kinds = list("previousKinds");
        if names.len() == places.len() && names.len() == kinds.len() {
            let all = names.into_iter().zip(places).zip(kinds);
            marks.previous = all
                .map(|((name, namespace), kind)| Previous {
                    name,
                    namespace,
                    kind,
                })
                .collect();
        }
        marks.prefixes = list("prefixes");
        marks.suffixes = list("suffixes");
        let enabled = |name| get(name).as_deref() == Some("enabled");
        marks.hash = enabled("needsHashSuffix");
        marks.allow_name = enabled("allowNameChange");
        marks.allow_kind = enabled("allowKindChange");
        marks.helm = get("helm-generated").as_deref() == Some("true");
        marks.behavior = get("generatorBehavior").map_or(Behavior::default(), |b| Behavior::of(&b));
    }

    pub(crate) fn kind(&self) -> Arc<str> {
        self.root_text("kind")
    }

    pub(crate) fn api_version(&self) -> Arc<str> {
        self.root_text("apiVersion")
    }

    fn root_text(&self, name: &str) -> Arc<str> {
        let found = self.tree.field(self.tree.root, name);
        found.map_or_else(|| "".into(), |found| self.tree.text(found).clone())
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(&self.api_version(), self.kind())
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.tree.meta("name")
    }

    pub(crate) fn namespace(&self) -> Arc<str> {
        self.tree.meta("namespace")
    }

    /// Is this its name, or was it one?
    pub(crate) fn goes_by(&self, name: &str) -> bool {
        let before = &self.marks.previous;
        before.iter().any(|before| &*before.name == name) || *self.name() == *name
    }

    /// What it is called now.
    pub(crate) fn id(&self) -> ResId {
        let gvk = self.gvk();
        ResId {
            cluster: cluster_scoped(&gvk),
            name: self.name(),
            namespace: self.namespace(),
            gvk,
        }
    }

    /// What it was called before, oldest first.
    pub(crate) fn previous(&self) -> Vec<ResId> {
        let gvk = self.gvk();
        let all = self.marks.previous.iter();
        all.map(|before| ResId {
            gvk: Gvk {
                kind: before.kind.clone(),
                ..gvk.clone()
            },
            name: before.name.clone(),
            namespace: before.namespace.clone(),
            cluster: false,
        })
        .collect()
    }

    /// What it was called when it was read.
    pub(crate) fn first_id(&self) -> ResId {
        let Some(before) = self.marks.previous.first() else {
            return self.id();
        };
        ResId {
            gvk: Gvk {
                kind: before.kind.clone(),
                ..self.gvk()
            },
            name: before.name.clone(),
            namespace: before.namespace.clone(),
            cluster: false,
        }
    }

    /// Remembers what it is called now.
    pub(crate) fn remember(&mut self) {
        let id = self.id();
        // a list of names cannot hold an empty one
        let before = Previous {
            namespace: id.place().into(),
            name: id.name,
            kind: id.gvk.kind,
        };
        self.marks.previous.push(before);
    }

    pub(crate) fn set_name(&mut self, name: &str) -> Step<()> {
        self.tree.set_text(&["metadata", "name"], name)
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) -> Step<()> {
        if !namespace.is_empty() {
            return self.tree.set_text(&["metadata", "namespace"], namespace);
        }
        match self.tree.field(self.tree.root, "metadata") {
            Some(meta) => self.tree.clear(meta, "namespace"),
            None => Ok(()),
        }
    }

    pub(crate) fn annotations(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all = self.tree.meta_map("annotations");
        all.retain(|(name, _)| !internal(name));
        all
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<Arc<str>> {
        let all = self.tree.meta_map("annotations");
        let found = all.into_iter().find(|(key, _)| &**key == name);
        found.map(|(_, value)| value)
    }

    /// Sets one annotation, or takes it away.
    pub(crate) fn annotate(&mut self, name: &str, value: Option<&str>) -> Step<()> {
        let mut all = self.annotations();
        all.retain(|(key, _)| &**key != name);
        all.extend(value.map(|value| (name.into(), value.into())));
        all.sort();
        self.tree.set_meta_map("annotations", &all)
    }

    /// Writes annotations as kustomize leaves them: strings all, and none of its own.
    pub(crate) fn finish(&mut self, origin: bool, transformations: bool) -> Step<()> {
        let mut all = self.annotations();
        all.retain(|(name, _)| match &**name {
            ORIGIN => origin,
            TRANSFORMATIONS => transformations,
            _ => true,
        });
        let known = self.tree.meta_map("annotations");
        let touched = !origin || !transformations || known.len() != all.len();
        if touched {
            self.tree.set_meta_map("annotations", &all)?;
        }
        Ok(())
    }

    /// Takes over what an object of the same name had that this one does not say.
    pub(crate) fn inherit(&mut self, old: &Self) -> Step<()> {
        let labels = joined(old.tree.meta_map("labels"), self.tree.meta_map("labels"));
        self.tree.set_meta_map("labels", &labels)?;
        let annotations = joined(old.annotations(), self.annotations());
        self.tree.set_meta_map("annotations", &annotations)?;
        let hash = self.marks.hash && old.marks.hash;
        self.marks = Marks {
            hash,
            ..old.marks.clone()
        };
        self.set_name(&old.name())?;
        self.set_namespace(&old.namespace())
    }

    /// Merges the data of an object of the same name under its own.
    pub(crate) fn inherit_data(&mut self, old: &Self) -> Step<()> {
        let get = |item: &Self, name: &str| {
            let map = item.tree.field(item.tree.root, name);
            item.tree.texts(map)
        };
        let plain = joined(get(old, "data"), get(self, "data"));
        let binary = joined(get(old, "binaryData"), get(self, "binaryData"));
        let root = self.tree.root;
        self.tree.clear(root, "data")?;
        for (key, value) in plain {
            self.set_data("data", &key, &value)?;
        }
        self.tree.clear(root, "binaryData")?;
        for (key, value) in binary {
            self.set_data("binaryData", &key, &value)?;
        }
        Ok(())
    }

    pub(crate) fn set_data(&mut self, field: &str, key: &str, value: &str) -> Step<()> {
        let root = self.tree.root;
        if let Some(map) = self.tree.lookup_create(root, Kind::Map, &[field])? {
            let value = self.tree.add(Node::string(value));
            self.tree.set_field(map, key, value)?;
        }
        Ok(())
    }

    /// Applies a strategic merge patch.
    pub(crate) fn patch(&mut self, patch: &Self, schema: &Schema) -> Step<()> {
        let (name, namespace, kind) = (self.name(), self.namespace(), self.kind());
        if patch.marks.allow_name || patch.marks.allow_kind {
            self.remember();
        }
        let src = self.tree.take(&patch.tree, patch.tree.root);
        let root = self.tree.root;
        match smp::merge(&mut self.tree, root, src, schema)? {
            Some(root) => self.tree.root = root,
            None => self.gone = true,
        }
        if self.gone || self.tree.get(self.tree.root).is_empty() {
            self.gone = true;
            return Ok(());
        }
        if !patch.marks.allow_kind {
            self.tree.set_text(&["kind"], &kind)?;
        }
        if !patch.marks.allow_name {
            self.set_name(&name)?;
        }
        self.set_namespace(&namespace)?;
        if self.tree.len() > 4096 {
            self.tree.tidy();
        }
        Ok(())
    }

    /// Do the prefixes and suffixes that two objects got end alike?
    pub(crate) fn alike(&self, other: &Self, empty_is_any: bool) -> bool {
        let same = |a: &[Arc<str>], b: &[Arc<str>]| {
            let (short, long) = if a.len() > b.len() { (b, a) } else { (a, b) };
            if empty_is_any && short.is_empty() {
                return true;
            }
            if short.is_empty() {
                return long.is_empty();
            }
            long.ends_with(short)
        };
        same(&self.marks.prefixes, &other.marks.prefixes)
            && same(&self.marks.suffixes, &other.marks.suffixes)
    }

    /// Puts a fault into words that name the object.
    pub(crate) fn blame(&self, fault: Fault) -> Fault {
        fault.within(&self.id().to_string())
    }
}

fn internal(name: &str) -> bool {
    name.starts_with(INTERNAL) || LEGACY.contains(&name)
}

fn joined(
    old: Vec<(Arc<str>, Arc<str>)>,
    new: Vec<(Arc<str>, Arc<str>)>,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut all = old;
    all.retain(|(name, _)| !new.iter().any(|(own, _)| own == name));
    all.extend(new);
    all.sort();
    all
}
