//! Names for kinds and objects that are small and sort.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// An `apiVersion` and a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
}

impl<'a> Kind<'a> {
    pub(crate) const fn new(api_version: &'a str, kind: &'a str) -> Self {
        Self { api_version, kind }
    }

    pub(crate) fn group(&self) -> &'a str {
        group_of(self.api_version)
    }

    pub(crate) fn version(&self) -> &'a str {
        self.api_version
            .rsplit_once('/')
            .map_or(self.api_version, |(_, version)| version)
    }
}

pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

pub(crate) const POD: Kind<'static> = Kind::new("v1", "Pod");
pub(crate) const NODE: Kind<'static> = Kind::new("v1", "Node");
pub(crate) const NAMESPACE: Kind<'static> = Kind::new("v1", "Namespace");
pub(crate) const SERVICE: Kind<'static> = Kind::new("v1", "Service");
pub(crate) const SERVICE_ACCOUNT: Kind<'static> = Kind::new("v1", "ServiceAccount");
pub(crate) const CONFIG_MAP: Kind<'static> = Kind::new("v1", "ConfigMap");
pub(crate) const SECRET: Kind<'static> = Kind::new("v1", "Secret");
pub(crate) const EVENT: Kind<'static> = Kind::new("v1", "Event");
pub(crate) const VOLUME_CLAIM: Kind<'static> = Kind::new("v1", "PersistentVolumeClaim");
pub(crate) const VOLUME: Kind<'static> = Kind::new("v1", "PersistentVolume");
pub(crate) const REPLICATION_CONTROLLER: Kind<'static> = Kind::new("v1", "ReplicationController");
pub(crate) const REPLICA_SET: Kind<'static> = Kind::new("apps/v1", "ReplicaSet");
pub(crate) const DAEMON_SET: Kind<'static> = Kind::new("apps/v1", "DaemonSet");
pub(crate) const CONTROLLER_REVISION: Kind<'static> = Kind::new("apps/v1", "ControllerRevision");
pub(crate) const ENDPOINT_SLICE: Kind<'static> = Kind::new("discovery.k8s.io/v1", "EndpointSlice");
pub(crate) const STORAGE_CLASS: Kind<'static> = Kind::new("storage.k8s.io/v1", "StorageClass");
pub(crate) const DISRUPTION_BUDGET: Kind<'static> = Kind::new("policy/v1", "PodDisruptionBudget");
pub(crate) const AUTOSCALER: Kind<'static> = Kind::new("autoscaling/v2", "HorizontalPodAutoscaler");

/// One object's name in one cluster: `apiVersion Kind namespace name`, joined by spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Arc<str>);

impl Key {
    pub(crate) fn new(kind: Kind<'_>, namespace: &str, name: &str) -> Self {
        let Kind { api_version, kind } = kind;
        Self(format!("{api_version} {kind} {namespace} {name}").into())
    }

    pub(crate) fn of(object: &Value) -> Self {
        Self::new(
            Kind::new(k8s_object::api_version(object), k8s_object::kind(object)),
            k8s_object::namespace(object),
            k8s_object::name(object),
        )
    }

    fn part(&self, index: usize) -> &str {
        self.0.split(' ').nth(index).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> Kind<'_> {
        Kind::new(self.part(0), self.part(1))
    }

    pub(crate) fn namespace(&self) -> &str {
        self.part(2)
    }

    pub(crate) fn name(&self) -> &str {
        self.part(3)
    }

    /// Is it of this kind, in whatever version?
    pub(crate) fn is(&self, kind: Kind<'_>) -> bool {
        let own = self.kind();
        own.kind == kind.kind && own.group() == kind.group()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
