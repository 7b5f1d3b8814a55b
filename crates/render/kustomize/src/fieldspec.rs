//! Where transformers look: paths of fields in objects of some kinds.

use std::sync::{Arc, OnceLock};

use crate::diag::Fault;
use crate::id::Gvk;
use crate::node::{Id, Kind, Step, Tag, Tree};

/// A path in objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    pub(crate) path: Arc<str>,
    /// Is what is not there made?
    pub(crate) create: bool,
}

/// Objects that may refer to objects of a kind by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackReference {
    pub(crate) gvk: Gvk,
    pub(crate) from: Vec<FieldSpec>,
}

/// Where everything is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Specs {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_reference: Vec<BackReference>,
    pub(crate) var_reference: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

const TABLE: &str = include_str!("fieldspecs.txt");

impl Specs {
    /// What kustomize knows by itself.
    pub(crate) fn defaults() -> Arc<Self> {
        static SPECS: OnceLock<Arc<Specs>> = OnceLock::new();
        Arc::clone(SPECS.get_or_init(|| {
            let mut specs = Self::read(TABLE);
            specs.sort();
            // what is added to nothing loses what others in it cover
            Arc::new(Self::default().merge(&specs).unwrap_or(specs))
        }))
    }

    fn read(text: &str) -> Self {
        let mut out = Self::default();
        let mut section = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
                if let Some(kind) = section.strip_prefix("to ") {
                    let gvk = token(kind);
                    let from = Vec::new();
                    out.name_reference.push(BackReference { gvk, from });
                }
                continue;
            }
            let mut words = line.split(' ');
            let path = words.next().unwrap_or_default();
            let create = path.starts_with('+');
            let path: Arc<str> = path.trim_start_matches('+').into();
            for kind in words {
                let spec = FieldSpec {
                    gvk: token(kind),
                    path: path.clone(),
                    create,
                };
                if let Some(list) = out.section(section) {
                    list.push(spec);
                }
            }
        }
        out
    }

    fn section(&mut self, name: &str) -> Option<&mut Vec<FieldSpec>> {
        Some(match name {
            "namePrefix" => &mut self.name_prefix,
            "nameSuffix" => &mut self.name_suffix,
            "namespace" => &mut self.namespace,
            "commonLabels" => &mut self.common_labels,
            "labels" => &mut self.labels,
            "templateLabels" => &mut self.template_labels,
            "commonAnnotations" => &mut self.common_annotations,
            "varReference" => &mut self.var_reference,
            "images" => &mut self.images,
            "replicas" => &mut self.replicas,
            _ => return self.name_reference.last_mut().map(|last| &mut last.from),
        })
    }

    /// Takes more in; two that say the same place must agree whether it is made.
    pub(crate) fn merge(&self, more: &Self) -> Step<Self> {
        let mut out = self.clone();
        merge_all(&mut out.name_prefix, &more.name_prefix)?;
        merge_all(&mut out.name_suffix, &more.name_suffix)?;
        merge_all(&mut out.namespace, &more.namespace)?;
        merge_all(&mut out.common_labels, &more.common_labels)?;
        merge_all(&mut out.labels, &more.labels)?;
        merge_all(&mut out.template_labels, &more.template_labels)?;
        merge_all(&mut out.common_annotations, &more.common_annotations)?;
        merge_all(&mut out.var_reference, &more.var_reference)?;
        merge_all(&mut out.images, &more.images)?;
        merge_all(&mut out.replicas, &more.replicas)?;
        for reference in &more.name_reference {
            let known = out.name_reference.iter_mut();
            let mut known = known.filter(|known| known.gvk == reference.gvk).peekable();
            if known.peek().is_none() {
                drop(known);
                out.name_reference.push(reference.clone());
                continue;
            }
            for known in known {
                merge_all(&mut known.from, &reference.from)?;
            }
        }
        out.sort();
        Ok(out)
    }

    pub(crate) fn sort(&mut self) {
        for list in [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ] {
            list.sort_by(|a, b| crate::order::kinds(&a.gvk, &b.gvk));
        }
        self.name_reference
            .sort_by(|a, b| crate::order::kinds(&a.gvk, &b.gvk));
    }
}

fn token(text: &str) -> Gvk {
    let (text, group) = text.split_once('%').unwrap_or((text, ""));
    let (kind, version) = text.split_once('@').unwrap_or((text, ""));
    Gvk {
        group: group.into(),
        version: version.into(),
        kind: if kind == "*" { "" } else { kind }.into(),
    }
}

/// Adds those that no known one covers.
pub(crate) fn merge_all(known: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Step<()> {
    for one in more {
        merge_one(known, one)?;
    }
    Ok(())
}

pub(crate) fn merge_one(known: &mut Vec<FieldSpec>, one: &FieldSpec) -> Step<()> {
    let same = known
        .iter()
        .find(|spec| spec.gvk.selected_by(&one.gvk) && spec.path == one.path);
    match same {
        Some(same) if same.create != one.create => Err(Fault::new(format!(
            "field {:?} of {} is said both to be made and not to be",
            one.path, one.gvk
        ))),
        Some(_) => Ok(()),
        None => {
            known.push(one.clone());
            Ok(())
        }
    }
}

/// What a missing last field is made as.
pub(crate) type Create = Option<(Kind, Tag)>;

impl FieldSpec {
    pub(crate) fn fits(&self, tree: &Tree) -> bool {
        let text = |name| {
            let found = tree.field(tree.root, name);
            found.map_or("", |found| &**tree.text(found))
        };
        if !self.gvk.kind.is_empty() && *self.gvk.kind != *text("kind") {
            return false;
        }
        if self.gvk.group.is_empty() && self.gvk.version.is_empty() {
            return true;
        }
        let (group, version) = text("apiVersion")
            .split_once('/')
            .unwrap_or(("", text("apiVersion")));
        (self.gvk.group.is_empty() || *self.gvk.group == *group)
            && (self.gvk.version.is_empty() || *self.gvk.version == *version)
    }

    /// Could anything be at the path, or be made there?
    pub(crate) fn reaches(&self, tree: &Tree) -> bool {
        if self.create {
            return true;
        }
        let first = self.path.split('/').find(|part| !part.is_empty());
        first.is_none_or(|first| {
            first.ends_with('\\')
                || tree
                    .field(tree.root, first.trim_end_matches("[]"))
                    .is_some()
        })
    }

    /// Calls `set` for all that lies at the path.
    pub(crate) fn visit(
        &self,
        tree: &mut Tree,
        create: &Create,
        set: &mut dyn FnMut(&mut Tree, Id) -> Step<()>,
    ) -> Step<()> {
        if !self.fits(tree) || !self.reaches(tree) {
            return Ok(());
        }
        let path = crate::node::split_path(&self.path);
        if path.len() > crate::node::MAX_DEPTH {
            return Err(Fault::new(format!(
                "a field's path has {} parts",
                path.len()
            )));
        }
        let create = if self.create { create } else { &None };
        let root = tree.root;
        walk(tree, root, &path, create, set)
            .map_err(|fault| fault.within(&format!("field {:?}", self.path)))
    }
}

fn walk(
    tree: &mut Tree,
    at: Id,
    path: &[String],
    create: &Create,
    set: &mut dyn FnMut(&mut Tree, Id) -> Step<()>,
) -> Step<()> {
    let Some((part, rest)) = path.split_first() else {
        return set(tree, at);
    };
    let node = tree.get(at);
    if node.is_null() {
        return Ok(());
    }
    match node.kind {
        Kind::Seq => {
            for item in node.inner.clone() {
                walk(tree, item, path, create, set)?;
            }
            Ok(())
        }
        Kind::Map => {
            let name = part.strip_suffix("[]").unwrap_or(part);
            let list = name != part;
            if name.is_empty() {
                return Err(Fault::new("a part of the path is empty"));
            }
            let (found, made) = match create {
                Some((kind, tag)) if !list => {
                    let (kind, tag) = if rest.is_empty() {
                        (*kind, tag.clone())
                    } else {
                        (Kind::Map, Tag::Map)
                    };
                    (tree.lookup_create(at, kind, &[name])?, Some((kind, tag)))
                }
                _ => {
                    let found = tree.lookup(at, &[name.to_owned()])?;
                    (found, list.then_some((Kind::Seq, Tag::None)))
                }
            };
            let Some(found) = found else { return Ok(()) };
            if let Some((kind, tag)) = made
                && tree.get(found).is_null()
            {
                let node = tree.get_mut(found);
                node.kind = kind;
                node.tag = tag;
            }
            walk(tree, found, rest, create, set)
        }
        Kind::Scalar => {
            let text = format!(
                "{:?} stands where a map or a list is looked for to find {part:?}",
                node.text
            );
            Err(Fault::new(text).at(node.line, node.column))
        }
    }
}
