//! What names an object: group, version, kind, name and namespace.

use std::fmt;
use std::sync::Arc;

/// Where objects of the whole cluster are said to be.
pub(crate) const NOWHERE: &str = "_non_namespaceable_";

/// A group, a version and a kind; an empty part of a selector is any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Gvk {
    pub(crate) group: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) kind: Arc<str>,
}

impl Gvk {
    pub(crate) fn new(api_version: &str, kind: impl Into<Arc<str>>) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(crate) fn selected_by(&self, selector: &Self) -> bool {
        let fits = |own: &str, wanted: &str| wanted.is_empty() || own == wanted;
        fits(&self.kind, &selector.kind)
            && fits(&self.version, &selector.version)
            && fits(&self.group, &selector.group)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &Arc<str>, none: &'static str| {
            if text.is_empty() {
                none.into()
            } else {
                text.clone()
            }
        };
        let kind = part(&self.kind, "[noKind]");
        let version = part(&self.version, "[noVer]");
        write!(f, "{kind}.{version}.{}", part(&self.group, "[noGrp]"))
    }
}

/// An object's name in kustomize's terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct ResId {
    pub(crate) gvk: Gvk,
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    /// Is its kind surely one of the whole cluster?
    pub(crate) cluster: bool,
}

impl ResId {
    /// The namespace that counts when two are compared.
    pub(crate) fn place(&self) -> &str {
        match &*self.namespace {
            _ if self.cluster => NOWHERE,
            "" => "default",
            other => other,
        }
    }

    pub(crate) fn same_name(&self, other: &Self) -> bool {
        self.name == other.name && self.gvk == other.gvk
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.same_name(other) && self.place() == other.place()
    }

    /// A key under which only the same object is found.
    pub(crate) fn key(&self) -> (Gvk, Arc<str>, Arc<str>) {
        let place = match self.place() {
            place if *place == *self.namespace => self.namespace.clone(),
            place => place.into(),
        };
        (self.gvk.clone(), self.name.clone(), place)
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "[noName]"
        } else {
            &self.name
        };
        let namespace = if self.namespace.is_empty() {
            "[noNs]"
        } else {
            &self.namespace
        };
        write!(f, "{}/{name}.{namespace}", self.gvk)
    }
}

/// Is a kind surely one of the whole cluster? Kinds that nobody told of are taken for kinds of a namespace.
pub(crate) fn cluster_scoped(gvk: &Gvk) -> bool {
    let both = |group: &str| &*gvk.group == group && matches!(&*gvk.version, "v1" | "v1beta1");
    match &*gvk.kind {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            both("admissionregistration.k8s.io")
        }
        "CustomResourceDefinition" => both("apiextensions.k8s.io"),
        "APIService" => both("apiregistration.k8s.io"),
        "CertificateSigningRequest" => both("certificates.k8s.io"),
        "FlowSchema" | "PriorityLevelConfiguration" => {
            &*gvk.group == "flowcontrol.apiserver.k8s.io" && &*gvk.version == "v1beta1"
        }
        "IngressClass" => both("networking.k8s.io"),
        "RuntimeClass" => both("node.k8s.io"),
        "PodSecurityPolicy" => &*gvk.group == "policy" && &*gvk.version == "v1beta1",
        "ClusterRole" | "ClusterRoleBinding" => both("rbac.authorization.k8s.io"),
        "PriorityClass" => both("scheduling.k8s.io"),
        "CSIDriver" | "CSINode" | "StorageClass" | "VolumeAttachment" => both("storage.k8s.io"),
        "ComponentStatus" | "Namespace" | "Node" | "NodeProxyOptions" | "PersistentVolume" => {
            gvk.group.is_empty() && &*gvk.version == "v1"
        }
        _ => false,
    }
}
