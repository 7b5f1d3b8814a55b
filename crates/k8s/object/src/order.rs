//! The order in which kinds are applied; removal goes the other way.
//!
//! The list joins what Argo CD and Flux do: what others stand on comes first, workloads later, what points at workloads
//! after them, and admission webhooks last, since a webhook whose backend is not up yet blocks everything else.

use crate::GroupKind;

/// A kind's place in the apply order; smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindRank(pub u16);

const ORDER: &[(&str, &str)] = &[
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "Namespace"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("storage.k8s.io", "StorageClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
    ("networking.k8s.io", "IngressClass"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("policy", "PodDisruptionBudget"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "Ingress"),
];

const LAST: &[(&str, &str)] = &[
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
];

/// Returns a kind's place; kinds that are not listed stand between the workloads and the webhooks.
pub fn kind_rank(kind: &GroupKind) -> KindRank {
    let at = |list: &[(&str, &str)]| {
        list.iter()
            .position(|(group, name)| *group == kind.group && *name == kind.kind)
    };
    let place = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
    let others = place(ORDER.len());
    match (at(ORDER), at(LAST)) {
        (Some(index), _) => KindRank(place(index)),
        (None, Some(index)) => KindRank(others + 1 + place(index)),
        (None, None) => KindRank(others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_stand_between_workloads_and_webhooks() {
        let rank = |group: &str, kind: &str| kind_rank(&GroupKind::new(group, kind));
        assert!(rank("", "Namespace") < rank("apps", "Deployment"));
        assert!(rank("apps", "Deployment") < rank("example.org", "Widget"));
        assert!(
            rank("example.org", "Widget")
                < rank(
                    "admissionregistration.k8s.io",
                    "ValidatingWebhookConfiguration"
                )
        );
    }
}
