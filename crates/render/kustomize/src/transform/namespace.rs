//! The namespace of objects, and where other objects name it.

use std::collections::BTreeMap;

use crate::diag::Fault;
use crate::fieldspec::FieldSpec;
use crate::id::cluster_scoped;
use crate::node::{Id, Kind, Step, Tag, Tree, tagged};
use crate::objects::Objects;
use crate::resource::Item;

/// Which subjects of role bindings get the namespace too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Those called `default`.
    Default,
    /// All service accounts.
    All,
    /// None.
    None,
}

pub(super) fn set(
    objects: &mut Objects,
    namespace: &str,
    specs: &[FieldSpec],
    unset_only: bool,
    subjects: Subjects,
) -> Step<()> {
    if namespace.is_empty() {
        return Ok(());
    }
    let mut keys = BTreeMap::new();
    for item in objects.iter().filter(|item| !item.gone) {
        *keys.entry(item.id().key()).or_insert(0) += 1;
    }
    for at in 0..objects.len() {
        let known = &objects.items[at];
        if known.gone || known.marks.helm {
            continue;
        }
        let before = known.id().key();
        let item = objects.get_mut(at);
        item.remember();
        let done = set_one(item, namespace, specs, unset_only, subjects);
        done.map_err(|fault| item.blame(fault))?;
        let after = item.id().key();
        if let Some(count) = keys.get_mut(&before) {
            *count -= 1;
        }
        let count = keys.entry(after).or_insert(0);
        *count += 1;
        if *count > 1 {
            let id = item.id();
            let all = objects.iter().filter(|item| item.id().same(&id));
            let all = all.map(|item| item.first_id().to_string());
            let text = format!("with the namespace, several objects are called {id}");
            return Err(Fault::new(text).candidates(all));
        }
    }
    Ok(())
}

/// Sets it in one object.
pub(super) fn set_one(
    item: &mut Item,
    namespace: &str,
    specs: &[FieldSpec],
    unset_only: bool,
    subjects: Subjects,
) -> Step<()> {
    let gvk = item.gvk();
    let core = &*item.api_version() == "v1";
    let value = item.tree.add(tagged(namespace, Tag::Str));
    let mut set = |tree: &mut Tree, at: Id| {
        let node = tree.get(at);
        let filled = node.kind == Kind::Scalar && !node.is_null() && !node.text.is_empty();
        if unset_only && filled {
            return Ok(());
        }
        tree.set_scalar(at, value)
    };
    let own = FieldSpec {
        gvk: crate::id::Gvk::default(),
        path: "metadata/namespace".into(),
        create: true,
    };
    if !cluster_scoped(&gvk) {
        own.visit(&mut item.tree, &Some((Kind::Scalar, Tag::None)), &mut set)?;
    }
    let binding = |kind: &str| matches!(kind, "RoleBinding" | "ClusterRoleBinding");
    if binding(&gvk.kind) && subjects != Subjects::None {
        let root = item.tree.root;
        let list = item.tree.lookup(root, &["subjects".to_owned()])?;
        let list = list.filter(|&list| !item.tree.get(list).is_null());
        for subject in list.map_or(Ok(Vec::new()), |l| item.tree.items(l).map(<[_]>::to_vec))? {
            let (field, wanted) = match subjects {
                Subjects::All => ("kind", "ServiceAccount"),
                _ => ("name", "default"),
            };
            let found = item.tree.get_field(subject, field)?;
            let fits = found.is_some_and(|found| {
                let node = item.tree.get(found);
                !node.is_null() && &*node.text == wanted
            });
            if fits
                && let Some(field) =
                    item.tree
                        .lookup_create(subject, Kind::Scalar, &["namespace"])?
            {
                set(&mut item.tree, field)?;
            }
        }
    }
    for spec in specs {
        let meta = &*spec.path == "metadata/namespace";
        let name = !core && &*spec.path == "metadata/name";
        let subject =
            binding(&gvk.kind) && binding(&spec.gvk.kind) && &*spec.path == "subjects/namespace";
        if !(meta || name || subject) {
            spec.visit(&mut item.tree, &Some((Kind::Scalar, Tag::Str)), &mut set)?;
        }
    }
    Ok(())
}
