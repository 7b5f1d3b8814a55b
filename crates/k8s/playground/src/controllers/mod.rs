//! The controllers: each brings one kind nearer to what its spec says, a step at a time.

mod daemon_set;
mod deployment;
mod garbage;
mod job;
mod namespace;
mod plain;
mod replica_set;
mod revisions;
mod service;
mod stateful_set;
mod volume;

use jiff::Timestamp;

use crate::api::Refusal;
use crate::cx::{Cx, State};
use crate::index::Head;
use crate::key::{
    CONFIG_MAP, DAEMON_SET, EVENT, Key, Kind, NAMESPACE, POD, REPLICATION_CONTROLLER,
    SERVICE_ACCOUNT, VOLUME_CLAIM,
};
use crate::life;
use crate::queue::Work;

type Reconcile = fn(&mut Cx<'_>, &Key) -> Result<(), Refusal>;

/// Which controller looks at which kind. Kinds that are not here are stored as they come.
const CONTROLLERS: &[(&str, &str, Reconcile)] = &[
    ("", "Namespace", namespace::reconcile),
    ("", "Node", node),
    ("", "PersistentVolume", volume::volume),
    ("", "PersistentVolumeClaim", volume::claim),
    ("", "Pod", life::reconcile),
    ("", "ReplicationController", replica_set::reconcile),
    ("", "Service", service::reconcile),
    ("apps", "DaemonSet", daemon_set::reconcile),
    ("apps", "Deployment", deployment::reconcile),
    ("apps", "ReplicaSet", replica_set::reconcile),
    ("apps", "StatefulSet", stateful_set::reconcile),
    ("autoscaling", "HorizontalPodAutoscaler", plain::autoscaler),
    ("batch", "Job", job::reconcile),
    ("networking.k8s.io", "Ingress", plain::ingress),
    ("policy", "PodDisruptionBudget", service::budget),
];

fn controller(kind: Kind<'_>) -> Option<Reconcile> {
    CONTROLLERS
        .iter()
        .find(|(group, name, _)| *group == kind.group() && *name == kind.kind)
        .map(|(_, _, reconcile)| *reconcile)
}

fn node(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    for set in cx.api.list(DAEMON_SET, "") {
        cx.state.queue.add(Work::Reconcile(Key::of(&set)));
    }
    life::node_changed(cx, key)
}

/// Tells what a change makes due; what follows from many changes at once is due at `gather`. The index must not have
/// taken the change in yet.
pub(crate) fn route(state: &mut State, gather: Timestamp, old: Option<&Head>, new: Option<&Head>) {
    let Some(head) = new.or(old) else { return };
    let key = head.key();
    let kind = head.kind();
    if key.is(EVENT) {
        return;
    }
    let queue = &mut state.queue;
    if controller(kind).is_some() {
        queue.add(Work::Reconcile(key.clone()));
    }
    for (owner, of) in [old, new].into_iter().flatten().flat_map(|head| {
        head.metadata
            .owner_references
            .iter()
            .map(move |o| (o, head))
    }) {
        let owner_key = of.owner_key(owner);
        if owner.controller && controller(owner_key.kind()).is_some() {
            queue.add(Work::Reconcile(owner_key.clone()));
        }
        // The owner may be waiting for this child to go.
        if new.is_none() {
            queue.add(Work::Collect(owner_key));
        }
    }
    if key.is(POD) {
        // Many pods change together: what selects them looks once.
        queue.add_at(gather, Work::Selectors(key.namespace().to_owned()));
        if new.is_none() {
            state.lives.remove(&key);
        }
    }
    match new {
        Some(new) => {
            let owners_changed = old.map_or(!new.metadata.owner_references.is_empty(), |old| {
                old.metadata.owner_references != new.metadata.owner_references
            });
            let leaving =
                new.metadata.deletion_timestamp.is_some()
                    && new.metadata.finalizers.iter().any(|finalizer| {
                        matches!(finalizer.as_str(), "foregroundDeletion" | "orphan")
                    });
            if owners_changed || leaving {
                state.queue.add(Work::Collect(key.clone()));
            }
        }
        None => {
            for child in state.index.children(&head.metadata.uid) {
                state.queue.add(Work::Collect(child));
            }
            if key.is(VOLUME_CLAIM) {
                let volume = volume::left_by(&head.metadata.uid);
                state.queue.add(Work::Reconcile(volume));
            }
            let namespace = key.namespace();
            let given_by_default = key.is(SERVICE_ACCOUNT) || key.is(CONFIG_MAP);
            let of_namespace = Work::Reconcile(Key::new(NAMESPACE, "", namespace));
            if state.terminating.contains(namespace) {
                // Its contents go one by one: one look serves for many.
                state.queue.add_at(gather, of_namespace);
            } else if given_by_default && !namespace.is_empty() {
                state.queue.add(of_namespace);
            }
        }
    }
}

/// Does one thing that is due.
pub(crate) fn run(cx: &mut Cx<'_>, work: &Work) -> Result<(), Refusal> {
    match work {
        // what makes pods makes none in a namespace that goes
        Work::Reconcile(key)
            if (matches!(key.kind().group(), "apps" | "batch")
                || key.is(REPLICATION_CONTROLLER))
                && cx.state.terminating.contains(key.namespace()) =>
        {
            Ok(())
        }
        Work::Reconcile(key) => match controller(key.kind()) {
            Some(reconcile) => reconcile(cx, key),
            None => Ok(()),
        },
        Work::Collect(key) => garbage::collect(cx, key),
        Work::Selectors(namespace) => service::selectors(cx, namespace),
        Work::ExpireEvents => cx.expire_events(),
        // The cluster itself does this.
        Work::Forget => Ok(()),
    }
}
