//! Owner garbage collection: objects whose owners are gone go too.
//!
//! One pass reads everything. It suits a hub, where owned objects are few; a cluster with many is better served by a
//! controller that keeps the graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    DeleteOptions, ListOptions, Part, Propagation, Registry, ResourceDef, Status, WriteOptions,
};

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were deleted, or marked for deletion.
    pub deleted: usize,
    /// Objects that lost references to owners, or a finalizer of the collector.
    pub released: usize,
}

struct Node {
    def: Arc<ResourceDef>,
    object: Value,
}

impl Node {
    fn namespace(&self) -> &str {
        k8s_object::namespace(&self.object)
    }

    fn name(&self) -> &str {
        k8s_object::name(&self.object)
    }

    fn uid(&self) -> &str {
        k8s_object::uid(&self.object)
    }

    fn ends(&self) -> bool {
        self.object["metadata"].get("deletionTimestamp").is_some()
    }

    fn holds(&self, finalizer: &str) -> bool {
        self.object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|list| list.iter().any(|own| own == finalizer))
    }

    fn owners(&self) -> impl Iterator<Item = &Value> {
        self.object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
    }
}

fn uid_of(owner: &Value) -> &str {
    owner["uid"].as_str().unwrap_or_default()
}

/// Collects until there is nothing left to do: deletes what lost its owners, finishes foreground and orphan deletes,
/// and takes away references to owners that are gone. An owner of a kind that is not served counts as there.
pub fn collect_garbage(registry: &Registry) -> Result<Collected, Status> {
    let mut total = Collected::default();
    // a chain of owners is taken down one step a pass
    for _ in 0..32 {
        let did = pass(registry)?;
        total.deleted += did.deleted;
        total.released += did.released;
        if did == Collected::default() {
            break;
        }
    }
    Ok(total)
}

fn pass(registry: &Registry) -> Result<Collected, Status> {
    let catalog = registry.catalog();
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for def in catalog.all().filter(|def| !def.review) {
        for object in registry.list(def, "", &ListOptions::default())?.values() {
            let uid = k8s_object::uid(&object).to_owned();
            let def = Arc::clone(def);
            nodes.insert(uid, Node { def, object });
        }
    }
    let mut did = Collected::default();
    for node in nodes.values() {
        if node.ends() && node.holds(crate::crd::CLEANUP) {
            registry.finish_definition(&node.def, &node.object)?;
        }
        if node.ends() && node.holds("orphan") {
            for dependent in dependents(&nodes, node.uid()) {
                release(registry, dependent, &[node.uid()])?;
                did.released += 1;
            }
            drop_finalizer(registry, node, "orphan")?;
            did.released += 1;
        } else if node.ends() && node.holds("foregroundDeletion") {
            let blocked = dependents(&nodes, node.uid()).any(|dependent| {
                dependent.owners().any(|owner| {
                    uid_of(owner) == node.uid() && owner["blockOwnerDeletion"] == json!(true)
                })
            });
            if !blocked {
                drop_finalizer(registry, node, "foregroundDeletion")?;
                did.released += 1;
            }
        }
        let (mut solid, mut waiting, mut gone) = (0, 0, Vec::new());
        for owner in node.owners() {
            match nodes.get(uid_of(owner)) {
                Some(found) if found.def.namespaced && found.namespace() != node.namespace() => {
                    gone.push(uid_of(owner));
                }
                Some(found) if found.ends() && found.holds("foregroundDeletion") => waiting += 1,
                Some(_) => solid += 1,
                None => {
                    let api_version = owner["apiVersion"].as_str().unwrap_or_default();
                    let gvk = k8s_object::Gvk::new(
                        api_version,
                        owner["kind"].as_str().unwrap_or_default(),
                    );
                    if catalog.by_kind(&gvk.group, "", &gvk.kind).is_some() {
                        gone.push(uid_of(owner));
                    } else {
                        solid += 1;
                    }
                }
            }
        }
        if solid == 0 && (waiting > 0 || !gone.is_empty()) {
            if node.ends() {
                continue;
            }
            let has_own = dependents(&nodes, node.uid()).next().is_some();
            let options = DeleteOptions {
                uid: node.uid().to_owned(),
                propagation: Some(if waiting > 0 && has_own {
                    Propagation::Foreground
                } else {
                    Propagation::Background
                }),
                user: crate::UserInfo::new(MANAGER, &["system:masters"]),
                ..DeleteOptions::default()
            };
            match registry.delete(&node.def, node.namespace(), node.name(), &options) {
                Ok(_) => did.deleted += 1,
                // another was faster, or it was made anew
                Err(status) if status.is_not_found() || status.is_conflict() => {}
                Err(status) => return Err(status),
            }
        } else if !gone.is_empty() {
            release(registry, node, &gone)?;
            did.released += 1;
        }
    }
    Ok(did)
}

const MANAGER: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

fn dependents<'a>(
    nodes: &'a BTreeMap<String, Node>,
    uid: &'a str,
) -> impl Iterator<Item = &'a Node> {
    nodes
        .values()
        .filter(move |node| node.owners().any(|owner| uid_of(owner) == uid))
}

/// Takes references to owners away.
fn release(registry: &Registry, node: &Node, owners: &[&str]) -> Result<(), Status> {
    let done = registry.modify(
        &node.def,
        node.namespace(),
        node.name(),
        Part::Main,
        &WriteOptions::manager(MANAGER),
        |object| {
            let Some(meta) = k8s_object::meta_mut(object) else {
                return false;
            };
            let Some(list) = meta
                .get_mut("ownerReferences")
                .and_then(Value::as_array_mut)
            else {
                return false;
            };
            let before = list.len();
            list.retain(|owner| !owners.contains(&uid_of(owner)));
            let changed = list.len() != before;
            if list.is_empty() {
                meta.remove("ownerReferences");
            }
            changed
        },
    );
    match done {
        Err(status) if status.is_not_found() => Ok(()),
        done => done.map(|_| ()),
    }
}

fn drop_finalizer(registry: &Registry, node: &Node, finalizer: &str) -> Result<(), Status> {
    registry.remove_finalizer(
        &node.def,
        node.namespace(),
        node.name(),
        finalizer,
        &WriteOptions::manager(MANAGER),
    )
}
