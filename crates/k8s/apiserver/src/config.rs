//! What an embedder decides.

use std::sync::Arc;

use serde_json::Value;

use crate::{Clock, Entropy, Registry, ResourceDef, Status, Timer, UserInfo};

/// What is known of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceState {
    /// It is there.
    Active,
    /// It is being deleted.
    Terminating,
    /// There is none.
    Missing,
}

/// Tells the state of a namespace.
pub type NamespaceFn = Arc<dyn Fn(&Registry, &str) -> Result<NamespaceState, Status> + Send + Sync>;

/// How namespaces are checked when something is created in one.
#[derive(Clone, Default)]
pub enum NamespacePolicy {
    /// They are `Namespace` objects, as in Kubernetes.
    #[default]
    Kubernetes,
    /// They are the names of objects of another cluster-scoped resource.
    Resource {
        /// Its group.
        group: String,
        /// Its plural name.
        plural: String,
    },
    /// A function tells.
    Hook(NamespaceFn),
    /// Every name will do.
    Open,
}

/// What is about to be written.
pub struct AdmissionRequest<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `create`, `update` or `delete`.
    pub operation: &'static str,
    /// The resource.
    pub def: &'a ResourceDef,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The namespace; empty for a cluster-scoped object.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The object as it was.
    pub old: Option<&'a Value>,
    /// Will nothing be stored?
    pub dry_run: bool,
}

/// A say in every write.
pub trait Admission: Send + Sync {
    /// Changes or refuses what will be written; `new` is `None` on a delete. It runs before the checks.
    fn admit(
        &self,
        registry: &Registry,
        request: &AdmissionRequest<'_>,
        new: Option<&mut Value>,
    ) -> Result<(), Status>;
}

/// What `/version` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// The whole version, such as `v1.36.0`.
    pub git_version: String,
    /// The commit.
    pub git_commit: String,
    /// When it was built.
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            git_version: "v1.36.3".to_owned(),
            git_commit: "0000000000000000000000000000000000000000".to_owned(),
            build_date: "2026-01-01T00:00:00Z".to_owned(),
        }
    }
}

/// One answered request, for an audit record.
#[derive(Debug, Clone)]
pub struct AuditRecord<'a> {
    /// Who asked.
    pub user: &'a UserInfo,
    /// On whose behalf, if the caller impersonated.
    pub impersonated_by: Option<&'a UserInfo>,
    /// The verb, such as `create`; the HTTP method in lower case for paths that are no resource.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The plural resource name; empty for paths that are no resource.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The path.
    pub path: &'a str,
    /// The HTTP code of the answer.
    pub code: u16,
}

/// Called for each answered request.
pub type AuditFn = Arc<dyn Fn(&AuditRecord<'_>) + Send + Sync>;

/// What an embedder decides; shared by any number of servers.
#[derive(Clone)]
pub struct Config {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Timers.
    pub timer: Arc<dyn Timer>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How namespaces are checked.
    pub namespaces: NamespacePolicy,
    /// A say in every write, in this order.
    pub admission: Vec<Arc<dyn Admission>>,
    /// What `/version` says.
    pub version: VersionInfo,
    /// Called for each answered request.
    pub audit: Option<AuditFn>,
    /// How large a request body may be, in bytes.
    pub max_body: usize,
    /// How long a watch lasts that does not say, in seconds.
    pub watch_seconds: u64,
    /// How often a watch that wants bookmarks gets one, in seconds.
    pub bookmark_seconds: u64,
    /// The first three parts of the addresses that Services get, such as `10.96.0`.
    pub service_network: String,
}

impl Config {
    /// Makes one with Kubernetes' own limits.
    pub fn new(
        clock: impl Clock + 'static,
        timer: impl Timer + 'static,
        entropy: impl Entropy + 'static,
    ) -> Self {
        Self {
            clock: Arc::new(clock),
            timer: Arc::new(timer),
            entropy: Arc::new(entropy),
            namespaces: NamespacePolicy::Kubernetes,
            admission: Vec::new(),
            version: VersionInfo::default(),
            audit: None,
            max_body: 3 * 1024 * 1024,
            watch_seconds: 2700,
            bookmark_seconds: 60,
            service_network: "10.96".to_owned(),
        }
    }
}
