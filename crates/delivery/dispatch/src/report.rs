//! Reports: what an agent tells the hub. Every report carries whole values for what changed, so that one that is lost
//! or comes twice does no harm.

use std::collections::BTreeMap;

use base_json::Digest;
use k8s_object::ObjectId;
use roadstead_model::{AppKey, ReleaseId, Time, VariantId};
use serde::{Deserialize, Serialize};

use crate::order::Known;

/// What changed in a cluster since the last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The order that the agent obeys, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootAck>,
    /// Facts about the cluster, if they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<AgentFacts>,
    /// Apps whose state changed, each with its whole state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<AppKey, AppReport>,
    /// Apps that the agent has let go of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<AppKey>,
    /// What the agent's clock said when it made the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Time>,
    /// Why the agent cannot keep its records, so that it does nothing until it can; empty when it can again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
    /// `apps` holds everything that the agent holds: the first report of a connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// The order that an agent obeys, or why it refused the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootAck {
    /// The root it obeys.
    pub root: Digest,
    /// The order's place.
    pub known: Known,
    /// Why the last order was refused; empty if it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
}

/// Facts about a cluster. They inform; they never grant anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentFacts {
    /// The agent's version.
    pub agent_version: String,
    /// Kubernetes' version, such as `v1.36.3`.
    pub kubernetes_version: String,
    /// How many kinds the cluster serves.
    pub api_kinds: u32,
    /// How many nodes it has.
    pub nodes: u32,
    /// What they can hold together.
    #[serde(default)]
    pub capacity: Capacity,
    /// The digest of the list of what the cluster serves; empty if that is not known, or too long.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub served: String,
    /// That list, where the hub was not told of it yet: `group/version`, and `group/version/Kind`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
}

/// How much a cluster may say of what it serves: entries, and bytes of all of them.
const MAX_SERVED: (usize, usize) = (10_000, 1 << 20);

/// The digest of what a cluster serves, if it is not too long, and in order.
pub fn served_digest(list: &[String]) -> Option<String> {
    let ordered = list.windows(2).all(|two| two[0] < two[1]);
    let bytes: usize = list.iter().map(String::len).sum();
    if list.is_empty() || !ordered || list.len() > MAX_SERVED.0 || bytes > MAX_SERVED.1 {
        return None;
    }
    let bytes = base_json::canonical_of(&list).ok()?;
    Some(Digest::of(&bytes).to_string())
}

/// What nodes leave to pods, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Pods.
    pub pods: u64,
}

/// The state of one App in one cluster, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// The Release that the agent works on or holds.
    pub release: ReleaseId,
    /// Its list of objects.
    pub variant: VariantId,
    /// The attempt of the order entry that this state belongs to.
    #[serde(default)]
    pub attempt: u32,
    /// How far it is.
    pub state: AppState,
    /// When it came into this state.
    pub since: Time,
    /// When something of this state changed last, by the hub's clock; agents leave it out.
    #[serde(default, skip_serializing_if = "never")]
    pub moved: Time,
    /// One sentence about it: what it waits for, or what went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The lasting objects by health.
    #[serde(default)]
    pub health: HealthCounts,
    /// What is wrong, by object, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// What differs from the order now, by hand of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftItem>,
    /// How many times drift was healed since the agent took the App on.
    #[serde(default)]
    pub healed: u64,
    /// How many writes the agent made in the cluster for this App since it took it on.
    #[serde(default)]
    pub writes: u64,
    /// What the agent holds of this App.
    pub inventory: Inventory,
    /// Protected objects that going back left in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_over: Vec<LeftOver>,
    /// Tombstones that wait for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting_approval: Vec<ObjectId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn never(time: &Time) -> bool {
    time.0 == 0
}

/// How far an App is in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AppState {
    /// It waits: for content, for another App, for a kind, for the API server.
    Waiting,
    /// It applies, or waits for a wave's health.
    Syncing,
    /// Everything is applied and removed; objects may still be on their way to health.
    Synced,
    /// Everything is applied and healthy.
    Healthy,
    /// It was healthy, or is applied, and something is degraded now.
    Degraded,
    /// The sync ended with an error that another try alone will not mend.
    Failed,
    /// It is on hold.
    Held,
    /// The App was let go, or removed.
    Gone,
}

/// Lasting objects by health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCounts {
    /// All.
    pub total: u32,
    /// Healthy ones.
    pub healthy: u32,
    /// On their way.
    pub progressing: u32,
    /// Degraded ones.
    pub degraded: u32,
    /// Those that are not in the cluster.
    pub missing: u32,
}

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The object.
    pub object: ObjectId,
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// The reason in one word, such as `ImagePullBackOff`.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// Kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProblemKind {
    /// It could not be applied.
    Apply,
    /// It is degraded.
    Health,
    /// It did not become healthy in time.
    Deadline,
    /// It could not be removed.
    Remove,
    /// Another App or manager owns it.
    Owner,
    /// Its kind is not known to the cluster yet.
    UnknownKind,
    /// Another manager keeps changing a field that we heal.
    Contested,
}

/// One object that differs from the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftItem {
    /// The object.
    pub object: ObjectId,
    /// How it differs.
    pub kind: DriftKind,
    /// The fields that differ, where it was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// When it was seen first.
    pub since: Time,
}

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DriftKind {
    /// It was changed.
    Changed,
    /// It was removed.
    Removed,
}

/// What an agent holds of an App: the lasting objects that carry its mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The digest of the canonical JSON of the sorted list of identities.
    pub digest: Digest,
    /// The list itself, unless it is exactly the lasting objects of the variant named in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<ObjectId>>,
}

/// An object that going back left in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOver {
    /// The object.
    pub object: ObjectId,
    /// Why.
    pub reason: String,
}

impl Inventory {
    /// Digests a sorted list of identities.
    pub fn digest_of(objects: &[ObjectId]) -> Digest {
        Digest::of(&base_json::canonical_of(&objects).unwrap_or_default())
    }
}

impl AppState {
    /// Is the App applied and good?
    pub fn is_good(self) -> bool {
        self == Self::Healthy
    }
}
