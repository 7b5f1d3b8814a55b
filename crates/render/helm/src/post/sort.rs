//! The order in which kinds are installed.

use crate::Dialect;

const INSTALL_ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// How many kinds Helm 3 knows: all but the last two.
const IN_HELM_3: usize = 36;

/// Sorts by kind and keeps the order within one. Kinds that are not known come last, by their names.
pub(crate) fn by_kind<T>(items: &mut [T], dialect: Dialect, kind: impl Fn(&T) -> &str) {
    let known = if dialect.is_3() {
        &INSTALL_ORDER[..IN_HELM_3]
    } else {
        &INSTALL_ORDER[..]
    };
    let place = |item: &T| {
        let kind = kind(item);
        match known.iter().position(|known| *known == kind) {
            Some(place) => (place, String::new()),
            None => (usize::MAX, kind.to_owned()),
        }
    };
    items.sort_by_cached_key(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_in_helms_order() {
        let kinds = [
            "Zebra",
            "Deployment",
            "ValidatingWebhookConfiguration",
            "Apple",
            "Service",
        ];
        let sorted = |dialect| {
            let mut kinds = kinds;
            by_kind(&mut kinds, dialect, |kind| kind);
            kinds.join(" ")
        };
        assert_eq!(
            sorted(Dialect::HELM_4),
            "Service Deployment ValidatingWebhookConfiguration Apple Zebra"
        );
        assert_eq!(
            sorted(Dialect::HELM_3),
            "Service Deployment Apple ValidatingWebhookConfiguration Zebra"
        );
    }
}
