//! The hub's own records and where they stand in the store.
//!
//! Nouns stand under [`NOUNS`] as the API server writes them. Everything else is one compact JSON record a key. A
//! field is only ever added, with a default, so that an older record can be read; a newer hub's store is refused by its
//! schema version.

use std::collections::BTreeMap;

use base_json::Digest;
use k8s_object::ObjectId;
use roadstead_dispatch::{AgentFacts, RootAck};
use roadstead_model::{AppSpec, Hold, ReleaseId, Time, VariantId};
use roadstead_rollout::{By, Event};
use serde::{Deserialize, Serialize};

/// Where the API server's objects stand.
pub const NOUNS: &str = "n/";

/// Where records stand.
pub mod keys {
    use roadstead_model::{AppKey, ClusterId, Key};

    /// The newest commit of each Source.
    pub const HEADS: &str = "d/head/";
    /// Releases.
    pub const RELEASES: &str = "d/release/";
    /// Rollouts.
    pub const ROLLOUTS: &str = "d/rollout/";
    /// What clusters should run.
    pub const ASSIGNED: &str = "d/assigned/";
    /// What clusters run, as their agents say.
    pub const OBSERVED: &str = "d/observed/";
    /// When clusters were heard of.
    pub const SEEN: &str = "d/seen/";
    /// What clusters serve, by the digest of the list.
    pub const SERVED: &str = "d/served/";
    /// When the hub was alive.
    pub const ALIVE: &str = "d/alive";
    /// What people approved.
    pub const APPROVALS: &str = "d/approval/";
    /// Assignments that are on hold.
    pub const HOLDS: &str = "d/hold/";
    /// What clusters held beyond what a restored hub knew.
    pub const AHEAD: &str = "d/ahead/";
    /// How far the Releases and Rollouts of Apps that are gone were counted.
    pub const COUNTS: &str = "d/count/";
    /// What happened.
    pub const HISTORY: &str = "h/";
    /// Who did what. No Project can have this name, so no App's history stands below it.
    pub const AUDIT: &str = "h/_audit/";

    /// A Source's newest commit.
    pub fn head(source: &Key) -> String {
        format!("{HEADS}{source}")
    }

    /// A Release.
    pub fn release(app: &AppKey, number: u64) -> String {
        format!("{RELEASES}{app}/{number:08}")
    }

    /// A Rollout.
    pub fn rollout(app: &AppKey, number: u64) -> String {
        format!("{ROLLOUTS}{app}/{number:08}")
    }

    /// What a cluster should run of an App.
    pub fn assigned(cluster: &ClusterId, app: &AppKey) -> String {
        format!("{ASSIGNED}{cluster}/{app}")
    }

    /// What a cluster runs of an App.
    pub fn observed(cluster: &ClusterId, app: &AppKey) -> String {
        format!("{OBSERVED}{cluster}/{app}")
    }

    /// When a cluster was heard of.
    pub fn seen(cluster: &ClusterId) -> String {
        format!("{SEEN}{cluster}")
    }

    /// A list of what clusters serve.
    pub fn served(digest: &str) -> String {
        format!("{SERVED}{digest}")
    }

    /// What people approved for an App.
    pub fn approval(app: &AppKey) -> String {
        format!("{APPROVALS}{app}")
    }

    /// A hold on one assignment.
    pub fn hold(cluster: &ClusterId, app: &AppKey) -> String {
        format!("{HOLDS}{cluster}/{app}")
    }

    /// What a cluster held of an App when the hub came back from a backup.
    pub fn ahead(cluster: &ClusterId, app: &AppKey) -> String {
        format!("{AHEAD}{cluster}/{app}")
    }

    /// How far an App's Releases and Rollouts were counted.
    pub fn count(app: &AppKey) -> String {
        format!("{COUNTS}{app}")
    }

    /// What happened to an App, in the order of its happening. `seen` is the revision that was decided on and `nth` counts
    /// what was decided there: two decisions of one moment must not write over each other.
    pub fn history(
        app: &AppKey,
        at: roadstead_model::Time,
        seen: base_store::Revision,
        nth: usize,
    ) -> String {
        format!("{HISTORY}{app}/{:015}-{:015}-{nth:03}", at.0, seen.0)
    }

    /// Something that somebody did, in the order of its happening.
    pub fn audit(at: roadstead_model::Time, unique: u128) -> String {
        format!("{AUDIT}{:015}-{unique:032x}", at.0)
    }
}

/// The newest commit of a Source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The commit.
    pub commit: String,
    /// Its author.
    #[serde(default)]
    pub author: String,
    /// The first line of its message.
    #[serde(default)]
    pub message: String,
    /// When it was committed.
    pub committed_at: Time,
    /// When the hub read it.
    pub fetched_at: Time,
    /// The URL and reference that it was read from; a Source that asks for others has not been read.
    pub origin: String,
    /// What stands below each path that Apps read, by [`roadstead_render::Reading::key`].
    #[serde(default)]
    pub inputs: BTreeMap<String, HeadInput>,
}

/// A revision in short, for people: the first 12 digits of a commit, or a version without its digest.
pub(crate) fn short_revision(revision: &str) -> &str {
    match revision.split_once('@') {
        Some((version, _)) => version,
        None => revision.get(..12).unwrap_or(revision),
    }
}

/// What stands below one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeadInput {
    /// Files with this digest.
    Digest(Digest),
    /// A chart whose dependencies lie elsewhere.
    Chart {
        /// The digest of its files and of the dependencies' revisions.
        digest: Digest,
        /// The dependencies.
        charts: Vec<ChartPin>,
    },
    /// Kustomizations that are built from more than what lies at the path.
    Kustomization {
        /// The digest of all files in this Source, and of the bases' revisions.
        digest: Digest,
        /// The remote bases.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bases: Vec<BasePin>,
    },
    /// It cannot be read.
    Error(String),
}

/// A remote base of a kustomization, as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasePin {
    /// The address, as the kustomization says it; of a chart the folder where it is looked for.
    pub address: String,
    /// The commit, the digest of the file, or the chart's version and archive.
    pub revision: String,
}

/// A chart that another one needs, as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartPin {
    /// The chart's name.
    pub name: String,
    /// Where it came from: a chart repository, or `file://…` beside the chart.
    pub repository: String,
    /// Which version and archive, `6.7.1@sha256:…`; for `file://…` the digest of its files.
    pub revision: String,
}

/// One input of a Release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputFact {
    /// The input's name.
    pub name: String,
    /// The Source's name.
    pub source: String,
    /// The path.
    pub path: String,
    /// The commit that it was read at.
    pub commit: String,
    /// The digest of its files.
    pub digest: Digest,
    /// What its chart needs from elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<ChartPin>,
    /// The remote bases of its kustomizations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<BasePin>,
}

/// A Release as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// Counts the App's Releases, from 1.
    pub number: u64,
    /// The id: what went in, the renderer's version included.
    pub id: ReleaseId,
    /// What went in, without the renderer's version: an upgrade of the hub alone makes no new Release.
    pub basis: Digest,
    /// The App as it was.
    pub frozen: AppSpec,
    /// The inputs.
    pub inputs: Vec<InputFact>,
    /// The commit of the first input.
    pub commit: String,
    /// Its author.
    #[serde(default)]
    pub author: String,
    /// The first line of its message.
    #[serde(default)]
    pub message: String,
    /// When it was committed.
    pub committed_at: Time,
    /// When the Release was made.
    pub created_at: Time,
    /// The renderer's version.
    pub renderer: String,
    /// The expressions that the manifests use (path and default), where they are replaced there; known once the files
    /// have been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Vec<(String, Option<String>)>>,
    /// What each target input came out as. Added to, never changed.
    #[serde(default)]
    pub variants: BTreeMap<Digest, VariantOutcome>,
    /// Why nothing could be rendered; empty if something could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Why it is barred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<Barred>,
    /// What the renderer noticed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a target input came out as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VariantOutcome {
    /// A variant, with so many objects.
    Variant {
        /// Its id.
        id: VariantId,
        /// How many objects it has.
        objects: u32,
    },
    /// It cannot be rendered.
    Error(String),
}

/// A Release that nothing delivers again until somebody retries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barred {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Time,
}

/// When a cluster was heard of, and what its agent said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// When it was heard of last; written when it comes and goes.
    pub last: Time,
    /// Its agent was connected then: for as long as it stays so, it was heard of whenever the hub was alive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
    /// Which order it obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootAck>,
    /// Facts about the cluster.
    #[serde(default)]
    pub facts: AgentFacts,
    /// By how many milliseconds the agent's clock is ahead of the hub's, if that is much; behind it, if negative.
    #[serde(default, skip_serializing_if = "is_not_off")]
    pub clock_off: i64,
    /// Why its agent cannot keep its records; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unkept: String,
    /// The newest epoch of the hub in which its agent has said everything that it holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_not_off(ms: &i64) -> bool {
    *ms == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a cluster held of an App when the hub came back from a backup: newer than anything that the hub would order, so
/// it keeps that until something newer comes, or somebody lets it go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// The Release.
    pub release: ReleaseId,
    /// Its variant there.
    pub variant: VariantId,
    /// The attempt.
    #[serde(default)]
    pub attempt: u32,
    /// When the hub came back: a Release that it made since is newer.
    pub since: Time,
}

/// How far the Releases and Rollouts of an App that is gone were counted. One of the same name goes on from there:
/// history and nouns name them by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The last Release's number.
    pub release: u64,
    /// The last Rollout's number.
    pub rollout: u64,
}

/// What people approved for an App. Each approval names one list; a list that changed since waits again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The clusters that may be let go of, by the digest of their sorted ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<(Digest, By)>,
    /// Objects that may be removed beyond the budget, by Release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removal_lists: BTreeMap<ReleaseId, RemovalList>,
}

/// Objects that may be removed beyond the budget: one Release's list over all clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalList {
    /// The list's digest.
    pub digest: Digest,
    /// The objects, sorted.
    pub objects: Vec<ObjectId>,
    /// Who approved it.
    pub by: By,
}

/// A hold on one assignment.
pub type Held = Hold;

/// One line of an App's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The Rollout; 0 when it is about none.
    pub rollout: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
