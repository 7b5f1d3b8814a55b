//! What all Apps share: content, kinds, watches, requests under way.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use bytes::Bytes;
use k8s_cluster::{ApiResource, Call, ClusterError, ErrorKind, Version, WatchSpec};
use k8s_object::{GroupKind, Gvk, ObjectId};
use roadstead_dispatch::{APP_LABEL, AppState};
use roadstead_model::{AppKey, Now, Time};

use crate::io::{CallId, Effect};
use crate::lookup::Group;
use crate::record::BLOB_PREFIX;

/// Requests under way at most, for all Apps and for one.
pub(crate) const MAX_CALLS: usize = 16;
pub(crate) const MAX_CALLS_PER_APP: usize = 8;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Discover,
    Namespace(String),
    Object { app: AppKey, id: ObjectId, op: Op },
    Names { app: AppKey, gvk: Gvk, group: Group },
}

/// What a request does to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Reads it, to decide.
    Look,
    /// Gives fields to the keeping manager; the apply follows.
    Keep { then: Bytes, want: Digest },
    /// Applies it.
    Apply {
        want: Digest,
        heal: bool,
        fresh: bool,
    },
    /// Hands fields of those that it is taken over from to us; the apply follows.
    Adopt,
    /// Removes it, because a tombstone says so.
    Prune,
    /// Removes it, to make it again.
    Replace,
    /// Removes a hook's object.
    Clean,
    /// Takes the marks off.
    Unmark,
    /// Lists its pods.
    Pods,
}

/// One watch.
#[derive(Debug, Default)]
pub(crate) struct WatchState {
    /// It runs.
    pub(crate) running: bool,
    /// Everything that existed has been seen at least once.
    pub(crate) synced: bool,
    /// Where to go on.
    pub(crate) revision: String,
    /// What the listing under way has shown so far.
    pub(crate) listing: Option<BTreeSet<ObjectId>>,
    /// When to start it again.
    pub(crate) retry_at: Option<u64>,
    pub(crate) fails: u32,
    /// Why it cannot be started.
    pub(crate) problem: String,
}

/// What all Apps share.
pub(crate) struct Core {
    pub(crate) now: Now,
    pub(crate) effects: Vec<Effect>,
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) missing: BTreeSet<Digest>,
    /// What is missing and was not asked for yet.
    pub(crate) wanted: BTreeSet<Digest>,
    pub(crate) fetch_at: Option<u64>,
    pub(crate) connected: bool,
    pub(crate) version: Version,
    pub(crate) kinds: Option<BTreeMap<GroupKind, Vec<ApiResource>>>,
    /// What the cluster serves, as charts ask for it, and the digest of that; both empty if it is too long to tell.
    pub(crate) served: (Vec<String>, String),
    pub(crate) discovering: bool,
    pub(crate) discover_at: Option<u64>,
    pub(crate) discover_fails: u32,
    /// Why the kinds are not known.
    pub(crate) discover_problem: String,
    pub(crate) watches: BTreeMap<Gvk, WatchState>,
    pub(crate) namespaces: BTreeMap<String, Option<Time>>,
    pub(crate) making: BTreeSet<String>,
    pub(crate) namespace_errors: BTreeMap<String, (String, u64)>,
    pub(crate) calls: BTreeMap<CallId, Purpose>,
    pub(crate) next_call: u64,
    pub(crate) states: BTreeMap<AppKey, (AppState, String, Time)>,
    pub(crate) scaled: BTreeSet<ObjectId>,
    /// Retries are let through in the second pass only.
    pub(crate) retries: bool,
    pub(crate) starved: bool,
    /// A request found no room.
    pub(crate) full: bool,
    /// Grows with every change that may matter to any object: kinds, watches, holds of namespaces.
    pub(crate) world: u64,
}

pub(crate) fn namespace_gvk() -> Gvk {
    Gvk::new("v1", "Namespace")
}

/// How long to wait after so many failures.
pub(crate) fn back_off(fails: u32) -> u64 {
    500_u64
        .saturating_mul(1 << fails.saturating_sub(1).min(6))
        .min(30_000)
}

/// How long to wait after this failure.
pub(crate) fn pause(error: &ClusterError, fails: u32) -> u64 {
    match error.kind {
        ErrorKind::TooManyRequests { retry_after_ms } => retry_after_ms.max(back_off(fails)),
        _ => back_off(fails),
    }
}

impl Core {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            now,
            effects: Vec::new(),
            blobs: BTreeMap::new(),
            missing: BTreeSet::new(),
            wanted: BTreeSet::new(),
            fetch_at: None,
            connected: false,
            version: Version::default(),
            kinds: None,
            served: Default::default(),
            discovering: false,
            discover_at: None,
            discover_fails: 0,
            discover_problem: String::new(),
            watches: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            making: BTreeSet::new(),
            namespace_errors: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            states: BTreeMap::new(),
            scaled: BTreeSet::new(),
            retries: false,
            starved: false,
            full: false,
            world: 1,
        }
    }

    /// Sends a request; the caller has asked [`Self::has_slot`].
    pub(crate) fn call(&mut self, purpose: Purpose, call: Call) -> CallId {
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.calls.insert(id, purpose);
        self.effects.push(Effect::Call { id, call });
        id
    }

    /// Has no further request room?
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= MAX_CALLS
    }

    pub(crate) fn has_slot(&mut self) -> bool {
        let free = !self.is_full();
        self.starved |= !free;
        self.full |= !free;
        free
    }

    /// When the clock that never goes back will show what the wall clock shows at this time.
    pub(crate) fn mono_of(&self, until: Time) -> u64 {
        let ahead = until.since_ms(self.now.wall);
        self.now.mono_ms.saturating_add(ahead).saturating_add(1)
    }

    pub(crate) fn persist(&mut self, key: String, value: Option<Bytes>) {
        self.effects.push(Effect::Persist { key, value });
    }

    pub(crate) fn keep_blob(&mut self, digest: Digest, bytes: Bytes) {
        self.persist(
            format!("{BLOB_PREFIX}{}", digest.hex()),
            Some(bytes.clone()),
        );
        self.missing.remove(&digest);
        self.wanted.remove(&digest);
        self.blobs.insert(digest, bytes);
    }

    /// The content, or a note that it is needed.
    pub(crate) fn need_blob(&mut self, digest: Digest) -> Option<Bytes> {
        let found = self.blobs.get(&digest).cloned();
        if found.is_none() && self.missing.insert(digest) {
            self.wanted.insert(digest);
        }
        found
    }

    pub(crate) fn discover(&mut self, at: u64) {
        self.discover_at = Some(self.discover_at.map_or(at, |other| other.min(at)));
    }

    /// Asks for the kinds again by and by, since one is missing.
    pub(crate) fn discover_again(&mut self) {
        if self.discover_at.is_none() && !self.discovering {
            let pause = back_off(self.discover_fails + 1).max(2_000);
            self.discover_at = Some(self.now.mono_ms.saturating_add(pause));
        }
    }

    /// Asks for the kinds now if one is missing.
    pub(crate) fn discover_missing(&mut self) {
        if self.discover_at.is_some() {
            self.discover_at = Some(self.now.mono_ms);
        }
    }

    /// Takes in that a kind is not served after all.
    pub(crate) fn forget_kind(&mut self, kind: &GroupKind) {
        if let Some(kinds) = &mut self.kinds {
            kinds.remove(kind);
        }
        self.world += 1;
    }

    /// Is the kind served in this version?
    pub(crate) fn knows(&self, gvk: &Gvk) -> bool {
        self.kinds.as_ref().is_some_and(|kinds| {
            kinds
                .get(&gvk.group_kind())
                .is_some_and(|list| list.iter().any(|resource| resource.gvk == *gvk))
        })
    }

    /// The preferred version of a kind.
    pub(crate) fn preferred(&self, kind: &GroupKind) -> Option<Gvk> {
        let list = self.kinds.as_ref()?.get(kind)?;
        let best = list.iter().find(|resource| resource.preferred);
        Some(best.or(list.first())?.gvk.clone())
    }

    /// Makes sure that a kind is watched; says whether everything that exists has been seen.
    pub(crate) fn watch(&mut self, gvk: &Gvk) -> bool {
        let now = self.now.mono_ms;
        let known = self.knows(gvk);
        let state = self.watches.entry(gvk.clone()).or_default();
        if !state.running && known && state.retry_at.is_none_or(|at| at <= now) {
            state.running = true;
            state.retry_at = None;
            if state.revision.is_empty() {
                state.listing = Some(BTreeSet::new());
            }
            let labels = if *gvk == namespace_gvk() {
                String::new()
            } else {
                APP_LABEL.to_owned()
            };
            self.effects.push(Effect::Watch(WatchSpec {
                gvk: gvk.clone(),
                labels,
                from: state.revision.clone(),
            }));
        }
        state.synced
    }
}
