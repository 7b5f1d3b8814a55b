//! Fields that cannot change in place.

use k8s_object::ObjectId;
use roadstead_model::{ImmutablePolicy, SyncOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::FieldChange;

/// What happens since a field cannot change in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Immutable {
    /// The field.
    pub path: String,
    /// `Fail`: the sync fails there. `Replace`: the object is removed and made again.
    pub policy: ImmutablePolicy,
}

/// Kubernetes' own rules, by group, kind and the beginning of the path. They predict; the cluster decides.
const FIXED: &[(&str, &str, &[&str])] = &[
    ("apps", "Deployment", &["spec.selector"]),
    ("apps", "DaemonSet", &["spec.selector"]),
    ("apps", "ReplicaSet", &["spec.selector"]),
    (
        "apps",
        "StatefulSet",
        &[
            "spec.selector",
            "spec.serviceName",
            "spec.volumeClaimTemplates",
            "spec.podManagementPolicy",
        ],
    ),
    (
        "batch",
        "Job",
        &["spec.selector", "spec.template", "spec.completionMode"],
    ),
    (
        "",
        "PersistentVolumeClaim",
        &[
            "spec.accessModes",
            "spec.storageClassName",
            "spec.volumeName",
            "spec.volumeMode",
            "spec.selector",
        ],
    ),
    ("", "Service", &["spec.clusterIP", "spec.clusterIPs"]),
    ("", "Secret", &["type"]),
    (
        "storage.k8s.io",
        "StorageClass",
        &[
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "volumeBindingMode",
        ],
    ),
    ("rbac.authorization.k8s.io", "RoleBinding", &["roleRef"]),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        &["roleRef"],
    ),
    (
        "scheduling.k8s.io",
        "PriorityClass",
        &["value", "preemptionPolicy"],
    ),
    ("networking.k8s.io", "IngressClass", &["spec.controller"]),
];

/// Finds the first field that cannot change in place, and what the App says about it.
pub(crate) fn check(
    id: &ObjectId,
    old: &Value,
    fields: &[FieldChange],
    sync: &SyncOptions,
) -> Option<Immutable> {
    let begins = |path: &str, start: &str| {
        let rest = path.strip_prefix(start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let fixed = FIXED
        .iter()
        .find(|(group, kind, _)| *group == id.group && *kind == id.kind)
        .map_or(&[][..], |(_, _, paths)| paths);
    let sealed = id.group.is_empty()
        && matches!(id.kind.as_str(), "ConfigMap" | "Secret")
        && old.get("immutable") == Some(&Value::Bool(true));
    let hit = fields.iter().find(|change| {
        fixed.iter().any(|start| begins(&change.path, start))
            || sealed
                && ["data", "binaryData", "immutable"]
                    .iter()
                    .any(|start| begins(&change.path, start))
    })?;
    let rule = sync.immutable_rules.iter().find(|rule| {
        rule.group == id.group
            && rule.kind == id.kind
            && (rule.name.is_empty() || rule.name == id.name)
    });
    let job = id.group == "batch" && id.kind == "Job";
    let policy = match rule {
        Some(rule) => rule.policy,
        None if job => ImmutablePolicy::Replace,
        None => sync.on_immutable,
    };
    Some(Immutable {
        path: hit.path.clone(),
        policy,
    })
}
