//! The order of objects that kustomize calls legacy: what others need comes first.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::id::{Gvk, ResId};
use crate::objects::Objects;

pub(crate) const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

pub(crate) const LAST: &[&str] = &[
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Compares kinds as lists of field paths are sorted.
pub(crate) fn kinds(a: &Gvk, b: &Gvk) -> Ordering {
    let rank = |gvk: &Gvk| {
        let first = FIRST.iter().position(|kind| *kind == &*gvk.kind);
        let last = LAST.iter().position(|kind| *kind == &*gvk.kind);
        match (first, last) {
            (Some(at), _) => (0, at),
            (_, Some(at)) => (2, at),
            _ => (1, 0),
        }
    };
    rank(a).cmp(&rank(b)).then_with(|| shown(a).cmp(&shown(b)))
}

fn shown(gvk: &Gvk) -> String {
    let part = |text: &str, none: &'static str| match text {
        "" => none.to_owned(),
        text => text.to_owned(),
    };
    format!(
        "{}_{}_{}",
        part(&gvk.group, "~G"),
        part(&gvk.version, "~V"),
        part(&gvk.kind, "~K")
    )
}

/// Sorts objects by kind, those named first and last apart, then by name.
pub(crate) fn sort(objects: &mut Objects, first: &[String], last: &[String]) {
    let mut ranks: BTreeMap<&str, i64> = BTreeMap::new();
    let narrow = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for (at, kind) in first.iter().enumerate() {
        ranks.insert(kind, narrow(at) - narrow(first.len()));
    }
    for (at, kind) in last.iter().enumerate() {
        ranks.insert(kind, narrow(at) + 1);
    }
    let items = std::mem::take(&mut objects.items).into_iter();
    let mut keyed: Vec<_> = items
        .map(|item| {
            let id = item.id();
            let rank = ranks.get(&*id.gvk.kind).copied().unwrap_or(0);
            (rank, shown(&id.gvk), named(&id), id, item)
        })
        .collect();
    keyed.sort_by(|a, b| {
        let reversed = &*a.3.gvk.kind == "Namespace"
            && &*b.3.gvk.kind == "Namespace"
            && (a.3.gvk.group.is_empty() || b.3.gvk.group.is_empty());
        let kinds = if a.3.gvk == b.3.gvk {
            Ordering::Equal
        } else {
            let kinds = a.1.cmp(&b.1);
            a.0.cmp(&b.0)
                .then(if reversed { kinds.reverse() } else { kinds })
        };
        kinds.then_with(|| a.2.cmp(&b.2))
    });
    objects.items = keyed.into_iter().map(|it| it.4).collect();
}

fn named(id: &ResId) -> String {
    let namespace = match &*id.namespace {
        "" => "~X",
        namespace => namespace,
    };
    let name = match &*id.name {
        "" => "~N",
        name => name,
    };
    format!("{}|{namespace}|{name}", id.gvk)
}
