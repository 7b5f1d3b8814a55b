//! Which kinds live in a namespace.

use std::collections::{BTreeMap, BTreeSet};

use k8s_apply::schema::Schemas;
use k8s_object::GroupKind;
use serde_json::Value;

const CLUSTER_SCOPED: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "ComponentStatus"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("authentication.k8s.io", "SelfSubjectReview"),
    ("authentication.k8s.io", "TokenReview"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("internal.apiserver.k8s.io", "StorageVersion"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodSecurityPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "DeviceTaintRule"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("storagemigration.k8s.io", "StorageVersionMigration"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("cert-manager.io", "ClusterIssuer"),
    ("kyverno.io", "ClusterPolicy"),
];

/// Knows of kinds whether they live in a namespace: Kubernetes' own, ours, and those that a Release defines itself.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    namespaced: BTreeMap<GroupKind, bool>,
    /// Groups whose every kind is known, so that one that is not listed as cluster-scoped lives in a namespace.
    groups: BTreeSet<String>,
}

impl Scopes {
    /// The kinds of Kubernetes and of Roadstead.
    pub fn builtin() -> Self {
        let mut scopes = Self::default();
        for gvk in Schemas::builtin().kinds() {
            scopes.groups.insert(gvk.group.clone());
        }
        for (group, kind) in CLUSTER_SCOPED {
            scopes.namespaced.insert(GroupKind::new(group, kind), false);
        }
        for noun in roadstead_model::nouns() {
            let kind = GroupKind::new(roadstead_model::GROUP, noun.info.kind);
            scopes.namespaced.insert(kind, noun.info.namespaced);
        }
        scopes
    }

    /// Learns the kinds that a CustomResourceDefinition defines; anything else teaches nothing.
    pub fn learn(&mut self, object: &Value) {
        if k8s_object::kind(object) != "CustomResourceDefinition" {
            return;
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        if let (Some(group), Some(kind), Some(scope)) = (
            text("/spec/group"),
            text("/spec/names/kind"),
            text("/spec/scope"),
        ) {
            let kind = GroupKind::new(group, kind);
            self.namespaced.insert(kind, scope != "Cluster");
        }
    }

    /// Does a kind live in a namespace? `None` when nothing here knows it.
    pub fn namespaced(&self, kind: &GroupKind) -> Option<bool> {
        let known = self.namespaced.get(kind).copied();
        known.or_else(|| self.groups.contains(&kind.group).then_some(true))
    }
}
