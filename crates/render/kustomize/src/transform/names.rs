//! Prefixes, suffixes and hashes of names, and the names by which objects refer to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::diag::Fault;
use crate::fieldspec::{BackReference, FieldSpec};
use crate::id::{Gvk, NOWHERE, ResId};
use crate::node::{Id, Kind, Node, Step, Tag, Tree};
use crate::objects::Objects;
use crate::resource::Item;

pub(super) fn prefix(objects: &mut Objects, text: &str, specs: &[FieldSpec]) -> Step<()> {
    extend(objects, text, specs, true)
}

pub(super) fn suffix(objects: &mut Objects, text: &str, specs: &[FieldSpec]) -> Step<()> {
    extend(objects, text, specs, false)
}

fn extend(objects: &mut Objects, text: &str, specs: &[FieldSpec], front: bool) -> Step<()> {
    for at in 0..objects.len() {
        let first = objects.items[at].first_id().gvk;
        let skipped = match &*first.kind {
            "CustomResourceDefinition" | "Namespace" => true,
            "APIService" => &*first.group == "apiregistration.k8s.io",
            _ => false,
        };
        if skipped || objects.items[at].gone {
            continue;
        }
        for spec in specs.iter().filter(|spec| first.selected_by(&spec.gvk)) {
            let item = objects.get_mut(at);
            if &*spec.path == "metadata/name" && !text.is_empty() {
                let list = if front {
                    &mut item.marks.prefixes
                } else {
                    &mut item.marks.suffixes
                };
                list.push(text.into());
                item.remember();
            }
            let create = Some((Kind::Scalar, Tag::Str));
            let done = spec.visit(&mut item.tree, &create, &mut |tree, at| {
                let old = tree.text(at);
                let new = if front {
                    format!("{text}{old}")
                } else {
                    format!("{old}{text}")
                };
                let value = tree.add(Node::scalar(new));
                tree.set_scalar(at, value)
            });
            done.map_err(|fault| item.blame(fault))?;
        }
    }
    Ok(())
}

/// Puts a hash of its content behind the name of each object that wants one.
pub(super) fn hash(objects: &mut Objects) -> Step<()> {
    for at in 0..objects.len() {
        if !objects.items[at].marks.hash {
            continue;
        }
        let item = objects.get_mut(at);
        let hash = hash_of(item).map_err(|fault| item.blame(fault))?;
        let name = format!("{}-{hash}", item.name());
        item.remember();
        item.set_name(&name)?;
    }
    Ok(())
}

fn hash_of(item: &Item) -> Step<String> {
    let tree = &item.tree;
    let field = |name: &str| -> Step<Value> {
        let Some(found) = tree.field(tree.root, name) else {
            return Ok(Value::String(String::new()));
        };
        let node = tree.get(found);
        match node.kind {
            Kind::Scalar => Ok(Value::String(node.text.to_string())),
            Kind::Map => tree.value(found),
            Kind::Seq => Ok(Value::Null),
        }
    };
    let mut content = Map::new();
    content.insert("data".to_owned(), field("data")?);
    // kustomize looks for a name where none can be
    content.insert("name".to_owned(), json!(""));
    let more = match &*item.kind() {
        "ConfigMap" => "binaryData",
        "Secret" => {
            content.insert("type".to_owned(), field("type")?);
            "stringData"
        }
        other => {
            let text = format!("a {other} cannot have a hash in its name");
            return Err(Fault::new(text));
        }
    };
    content.insert("kind".to_owned(), json!(&*item.kind()));
    let more_value = field(more)?;
    if more_value.is_object() {
        content.insert(more.to_owned(), more_value);
    }
    let text = base_yaml::go::to_json(&Value::Object(content), true);
    let sum = Sha256::digest(text.as_bytes());
    let mut out = String::new();
    for digit in sum.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(10) {
        out.push(match digit {
            0 => 'g',
            1 => 'h',
            3 => 'k',
            10 => 'm',
            14 => 't',
            digit => char::from_digit(u32::from(digit), 16).unwrap_or('g'),
        });
    }
    Ok(out)
}

/// Changes the names by which objects refer to others that have been renamed.
pub(crate) fn fix_references(objects: &mut Objects, references: &[BackReference]) -> Step<()> {
    let mut known = Known::default();
    for (at, item) in objects.iter().enumerate() {
        known.ids.push(item.id());
        known.firsts.push(item.first_id());
        let names: BTreeSet<_> = item.marks.previous.iter().map(|p| p.name.clone()).collect();
        for name in names {
            known.by_name.entry(name).or_default().push(at);
        }
    }
    for at in 0..objects.len() {
        let first = known.firsts[at].gvk.clone();
        let mut subset = None;
        let now = known.ids[at].gvk.clone();
        for reference in references {
            for spec in &reference.from {
                if !first.selected_by(&spec.gvk) {
                    continue;
                }
                let spec = FieldSpec {
                    gvk: now.clone(),
                    ..spec.clone()
                };
                let item = &objects.items[at];
                if !spec.reaches(&item.tree) {
                    continue;
                }
                let path = crate::node::split_path(&spec.path);
                let mut places = Vec::new();
                let blame = |fault: Fault| {
                    let step = format!("name reference {:?}", spec.path);
                    item.blame(fault.within(&step))
                };
                let tree = &item.tree;
                at_path(tree, tree.root, &path, &mut places).map_err(blame)?;
                if places.is_empty() {
                    continue;
                }
                if subset.is_none() {
                    subset = Some(Subset::of(item, &known.ids[at])?);
                }
                let Some(subset) = &subset else { continue };
                let search = Search {
                    objects,
                    known: &known,
                    referrer: item,
                    id: &known.ids[at],
                    subset,
                    target: &reference.gvk,
                    role: role(item, &spec.path),
                };
                let mut changes = Vec::new();
                for place in places {
                    search.look_at(place, &mut changes).map_err(blame)?;
                }
                if changes.is_empty() {
                    continue;
                }
                let tree = &mut objects.get_mut(at).tree;
                for change in changes {
                    change.make(tree)?;
                }
            }
        }
    }
    Ok(())
}

/// What all lookups share.
#[derive(Default)]
struct Known {
    ids: Vec<ResId>,
    firsts: Vec<ResId>,
    by_name: BTreeMap<Arc<str>, Vec<usize>>,
}

/// A change of a reference.
enum Change {
    Scalar(Id, Arc<str>),
    Map(Id, Arc<str>, Arc<str>),
}

impl Change {
    fn make(self, tree: &mut Tree) -> Step<()> {
        match self {
            Self::Scalar(at, name) => {
                let value = tree.add(Node::scalar(name));
                tree.set_scalar(at, value)
            }
            Self::Map(at, name, namespace) => {
                let value = tree.add(Node::scalar(name));
                tree.set_field(at, "name", value)?;
                if namespace.is_empty() {
                    return Ok(());
                }
                let value = tree.add(Node::scalar(namespace));
                tree.set_field(at, "namespace", value)
            }
        }
    }
}

/// Which objects an object can refer to.
struct Subset {
    all: bool,
    place: String,
    /// Namespaces of the service accounts that a role binding names.
    more: BTreeSet<Arc<str>>,
}

impl Subset {
    fn of(item: &Item, id: &ResId) -> Step<Self> {
        let mut more = BTreeSet::new();
        let tree = &item.tree;
        if &*id.gvk.kind == "RoleBinding"
            && !id.cluster
            && let Some(subjects) = tree.field(tree.root, "subjects")
        {
            for &subject in &tree.get(subjects).inner {
                let kind = tree.field(subject, "kind");
                let account = kind.is_some_and(|kind| &**tree.text(kind) == "ServiceAccount");
                let Some(namespace) = tree.field(subject, "namespace").filter(|_| account) else {
                    continue;
                };
                match tree.value(namespace)? {
                    Value::String(name) => more.insert(name.into()),
                    _ => {
                        let node = tree.get(namespace);
                        let text = format!("a subject of {id} has a namespace that is no string");
                        return Err(Fault::new(text).at(node.line, node.column));
                    }
                };
            }
        }
        Ok(Self {
            all: id.cluster,
            place: id.place().to_owned(),
            more,
        })
    }

    fn holds(&self, id: &ResId) -> bool {
        self.all || id.cluster || id.place() == self.place || self.more.contains(&id.namespace)
    }
}

/// The kind of role that a binding refers to.
fn role(item: &Item, path: &str) -> Option<Gvk> {
    if !path.ends_with("roleRef/name") {
        return None;
    }
    let tree = &item.tree;
    let role = tree.field(tree.root, "roleRef")?;
    let group = tree.field(role, "apiGroup")?;
    let kind = tree.field(role, "kind")?;
    Some(Gvk {
        group: tree.text(group).clone(),
        version: "".into(),
        kind: tree.text(kind).clone(),
    })
}

struct Search<'a> {
    objects: &'a Objects,
    known: &'a Known,
    referrer: &'a Item,
    id: &'a ResId,
    subset: &'a Subset,
    target: &'a Gvk,
    role: Option<Gvk>,
}

impl Search<'_> {
    fn look_at(&self, place: Id, out: &mut Vec<Change>) -> Step<()> {
        let tree = &self.referrer.tree;
        let node = tree.get(place);
        if node.is_null() {
            return Ok(());
        }
        match node.kind {
            Kind::Scalar => self.scalar(place, out),
            Kind::Map => self.map(place, out),
            Kind::Seq => {
                for &item in &node.inner {
                    let inner = tree.get(item);
                    match inner.kind {
                        _ if inner.is_null() => {}
                        Kind::Scalar => self.scalar(item, out)?,
                        Kind::Map => self.map(item, out)?,
                        Kind::Seq => {
                            let text = "a list of names holds a list";
                            return Err(Fault::new(text).at(inner.line, inner.column));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn scalar(&self, place: Id, out: &mut Vec<Change>) -> Step<()> {
        let old = self.referrer.tree.text(place);
        let any = |_: usize| true;
        if let Some(found) = self.find(old, &any, false)? {
            let name = self.known.ids[found].name.clone();
            if name != *old {
                out.push(Change::Scalar(place, name));
            }
        }
        Ok(())
    }

    fn map(&self, place: Id, out: &mut Vec<Change>) -> Step<()> {
        let tree = &self.referrer.tree;
        let Some(name) = tree.field(place, "name") else {
            let node = tree.get(place);
            let text = "a reference has no field name";
            return Err(Fault::new(text).at(node.line, node.column));
        };
        let old = tree.text(name);
        let namespace = tree.field(place, "namespace");
        let namespace = namespace.map(|namespace| tree.text(namespace).clone());
        let known = self.known;
        let by_first = namespace.as_ref().is_some_and(|namespace| {
            let mut all = 0..self.objects.len();
            &**namespace != NOWHERE
                && all.any(|i| {
                    self.subset.holds(&known.ids[i]) && known.firsts[i].place() == &**namespace
                })
        });
        let fits = |i: usize| match &namespace {
            None => true,
            Some(namespace) if by_first => known.firsts[i].place() == &**namespace,
            Some(namespace) => &**namespace != NOWHERE && known.ids[i].place() == &**namespace,
        };
        if let Some(found) = self.find(old, &fits, true)? {
            let id = &known.ids[found];
            if id.name != *old || !id.namespace.is_empty() {
                let (name, namespace) = (id.name.clone(), id.namespace.clone());
                out.push(Change::Map(place, name, namespace));
            }
        }
        Ok(())
    }

    /// The object that a name means.
    fn find(
        &self,
        old: &Arc<str>,
        fits: &dyn Fn(usize) -> bool,
        with_namespace: bool,
    ) -> Step<Option<usize>> {
        let known = self.known;
        let Some(named) = known.by_name.get(old) else {
            return Ok(None);
        };
        let mut found = named.clone();
        found.retain(|&i| {
            let (item, id) = (&self.objects.items[i], &known.ids[i]);
            if !self.subset.holds(id) || !fits(i) {
                return false;
            }
            let previous = item.previous();
            let was = |gvk: &Gvk| previous.iter().any(|before| before.gvk.selected_by(gvk));
            was(self.target)
                && self.role.as_ref().is_none_or(was)
                && (self.id.cluster
                    || id.cluster
                    || &*id.gvk.kind == "ServiceAccount"
                    || id.place() == self.id.place())
        });
        if let [one] = found[..] {
            return Ok(Some(one));
        }
        let alike = |found: &mut Vec<usize>, empty| {
            found.retain(|&i| self.objects.items[i].alike(self.referrer, empty));
        };
        alike(&mut found, true);
        if found.len() > 1 {
            alike(&mut found, false);
        }
        let Some((&first, rest)) = found.split_first() else {
            return Ok(None);
        };
        let same = |&i: &usize| {
            let (a, b) = (&known.ids[first], &known.ids[i]);
            a.name == b.name && (!with_namespace || a.namespace == b.namespace)
        };
        if rest.iter().all(same) {
            return Ok(Some(first));
        }
        let ids = found.iter().map(|&i| known.ids[i].to_string());
        let text = format!("{old:?} could mean several objects");
        Err(Fault::new(text).candidates(ids))
    }
}

/// All that lies at a path.
fn at_path(tree: &Tree, at: Id, path: &[String], out: &mut Vec<Id>) -> Step<()> {
    let Some((part, rest)) = path.split_first() else {
        out.push(at);
        return Ok(());
    };
    let node = tree.get(at);
    if node.is_null() {
        return Ok(());
    }
    match node.kind {
        Kind::Seq => node
            .inner
            .iter()
            .try_for_each(|&item| at_path(tree, item, path, out)),
        Kind::Map => {
            let name = part.strip_suffix("[]").unwrap_or(part);
            match tree.lookup(at, &[name.to_owned()])? {
                Some(found) => at_path(tree, found, rest, out),
                None => Ok(()),
            }
        }
        Kind::Scalar => {
            let text = format!("{:?} stands where {part:?} is looked for", node.text);
            Err(Fault::new(text).at(node.line, node.column))
        }
    }
}
