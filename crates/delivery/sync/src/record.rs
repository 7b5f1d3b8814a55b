//! What is kept over a restart.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use k8s_object::ObjectId;
use roadstead_dispatch::{Entry, EntryPhase, Known};
use roadstead_model::{AppKey, ReleaseId, Time, VariantId};
use serde::{Deserialize, Serialize};

/// The key of the order.
pub const ORDER_KEY: &str = "order";
/// The prefix of the keys of Apps' records; `project/name` follows.
pub const APP_PREFIX: &str = "app/";
/// The prefix of the keys of content; 64 hexadecimal digits follow.
pub const BLOB_PREFIX: &str = "blob/";

/// The order that is obeyed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OrderRecord {
    pub(crate) known: Known,
    pub(crate) root: Digest,
    pub(crate) entries: BTreeMap<AppKey, Entry>,
}

/// What makes one delivery different from the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) release: ReleaseId,
    pub(crate) variant: VariantId,
    pub(crate) phase: EntryPhase,
    pub(crate) attempt: u32,
}

impl Round {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            release: entry.release,
            variant: entry.variant,
            phase: entry.phase,
            attempt: entry.attempt,
        }
    }

    /// What hooks of this round are marked with.
    pub(crate) fn run(&self) -> String {
        format!("{}.{}", self.release.short(), self.attempt)
    }
}

/// What is known of one App.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AppRecord {
    /// The lasting objects that carry the App's mark.
    pub(crate) held: Counted<BTreeMap<ObjectId, Held>>,
    /// The round that was applied to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) synced: Option<Round>,
    /// The round that ended with an error, and the sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<(Round, String)>,
    /// The round that is or was worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<Round>,
    /// The Release that this round goes back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<ReleaseId>,
    /// Hooks of one (Release, attempt).
    #[serde(skip_serializing_if = "Runs::is_empty")]
    pub(crate) runs: Runs,
    /// Hooks of earlier (Release, attempt)s that ended well, the newest last: whoever comes back to one runs none again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) past: Vec<Runs>,
    /// Objects that run to an end and have done so, with what was applied then.
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) ended: Counted<BTreeMap<ObjectId, Digest>>,
    /// How often drift was healed.
    pub(crate) healed: u64,
    /// How many writes were made.
    pub(crate) writes: u64,
    /// Objects that were let go because they are not ours any more.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) left: BTreeSet<ObjectId>,
}

/// A value that counts how often it was taken in hand to be changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Counted<T> {
    value: T,
    #[serde(skip)]
    changes: u64,
}

impl<T> Counted<T> {
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }
}

impl<T: PartialEq> PartialEq for Counted<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> std::ops::Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changes += 1;
        &mut self.value
    }
}

fn is_empty(ended: &BTreeMap<ObjectId, Digest>) -> bool {
    ended.is_empty()
}

/// One lasting object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    /// The version that it was written in.
    pub(crate) version: String,
    /// Its uid, when it was last applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    /// What was applied last, see `desired::want`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) applied: Option<Digest>,
    /// What became of the applied fields, where the cluster wrote them in another way than they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<Digest>,
    /// The Release that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<ReleaseId>,
    /// It existed before and was taken over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) adopted: bool,
}

impl Held {
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            uid: String::new(),
            applied: None,
            settled: None,
            created: None,
            adopted: false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The hooks of one (Release, attempt).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runs {
    /// Which one, see [`Round::run`].
    pub(crate) run: String,
    /// How far each hook is.
    pub(crate) hooks: BTreeMap<ObjectId, Run>,
}

/// How far a hook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Run {
    /// Its object was made.
    Started(Time),
    /// It ended well.
    Succeeded,
    /// It did not, for this reason.
    Failed(String),
}

/// How many earlier runs are remembered; the hub keeps as many Releases.
const PAST_RUNS: usize = 20;

impl AppRecord {
    /// Turns to the hooks of another (Release, attempt).
    pub(crate) fn turn_to(&mut self, run: String) {
        if self.runs.run == run {
            return;
        }
        let mut old = std::mem::take(&mut self.runs);
        old.hooks.retain(|_, run| *run == Run::Succeeded);
        self.past.retain(|past| past.run != old.run);
        if !old.hooks.is_empty() {
            self.past.push(old);
        }
        let known = self.past.iter().position(|past| past.run == run);
        let hooks = known.map(|at| self.past.remove(at).hooks);
        self.runs = Runs {
            run,
            hooks: hooks.unwrap_or_default(),
        };
        let surplus = self.past.len().saturating_sub(PAST_RUNS);
        self.past.drain(..surplus);
    }
}

impl Runs {
    fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }
}
