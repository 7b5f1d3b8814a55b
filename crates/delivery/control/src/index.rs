//! What the hub knows, folded from the store's log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_store::{Change, Revision};
use roadstead_dispatch::AppReport;
use roadstead_model::{
    App, AppKey, AppSpec, Cluster, ClusterFact, ClusterId, ClusterSet, Key, Noun, Project, Source,
    Strategy, Time, parse_noun,
};
use roadstead_release::Served;
use roadstead_rollout::{Assignment, Rollout, Sighting};
use serde::de::DeserializeOwned;

use crate::placement::Cache;
use crate::records::{Ahead, Approval, Counted, Head, Held, NOUNS, ReleaseRecord, Seen, keys};

/// A value with the revision of its last write.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

/// What changed since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Apps to decide on.
    pub apps: BTreeSet<AppKey>,
    /// Clusters whose order may have changed.
    pub orders: BTreeSet<ClusterId>,
    /// Sources to poll: they are new, or asked for something else, or an App reads a path that was not read yet.
    pub sources: BTreeSet<Key>,
    /// Apps whose shown state may have changed.
    pub shown: BTreeSet<AppKey>,
    /// Clusters whose shown state may have changed.
    pub shown_clusters: BTreeSet<ClusterId>,
    /// Clusters that are no more.
    pub forgotten: BTreeSet<ClusterId>,
}

impl Dirty {
    /// Is nothing to do?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Nouns that the hub makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    Release,
    Rollout,
}

/// What the hub knows.
#[derive(Debug, Default)]
pub struct Index {
    pub(crate) revision: Revision,
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) sources: BTreeMap<Key, Source>,
    pub(crate) apps: BTreeMap<AppKey, App>,
    pub(crate) clusters: BTreeMap<ClusterId, Cluster>,
    pub(crate) cluster_names: BTreeMap<String, ClusterId>,
    pub(crate) sets: BTreeMap<String, ClusterSet>,
    pub(crate) strategies: BTreeMap<Key, Strategy>,
    pub(crate) heads: BTreeMap<Key, Kept<Head>>,
    pub(crate) releases: BTreeMap<AppKey, BTreeMap<u64, Kept<ReleaseRecord>>>,
    pub(crate) rollouts: BTreeMap<AppKey, BTreeMap<u64, Kept<Rollout>>>,
    pub(crate) assigned: BTreeMap<AppKey, BTreeMap<ClusterId, Kept<Assignment>>>,
    pub(crate) observed: BTreeMap<AppKey, BTreeMap<ClusterId, Kept<AppReport>>>,
    pub(crate) apps_of: BTreeMap<ClusterId, BTreeSet<AppKey>>,
    pub(crate) seen: BTreeMap<ClusterId, Kept<Seen>>,
    /// What clusters serve, by digest: a few lists for any number of clusters.
    pub(crate) served: Served,
    pub(crate) approvals: BTreeMap<AppKey, Kept<Approval>>,
    pub(crate) holds: BTreeMap<(ClusterId, AppKey), Held>,
    pub(crate) ahead: BTreeMap<AppKey, BTreeMap<ClusterId, Ahead>>,
    pub(crate) counts: BTreeMap<AppKey, Counted>,
    /// The Releases and Rollouts that are shown as nouns, by number.
    pub(crate) made: BTreeMap<AppKey, BTreeSet<(Made, u64)>>,
    /// Raised when the hub comes back from a backup.
    pub(crate) epoch: u64,
    /// When the hub noted last that it is alive: until then it heard of every agent that was connected.
    pub(crate) alive: Time,
    /// Agents that are connected now. No fact: it is rebuilt as they come back.
    pub(crate) sessions: BTreeMap<ClusterId, Time>,
    /// What went wrong when Sources were polled last. No fact: the next poll tells again.
    pub(crate) poll_problems: BTreeMap<Key, String>,
    pub(crate) placements: Cache,
    /// When this index began to follow: a cluster is not called offline before it had the time to come back.
    pub(crate) began: Time,
    pub(crate) offline_after_ms: u64,
    /// Nouns that are there and cannot be read, by key below [`NOUNS`] and the group. They are not gone: nothing is
    /// taken away because of them.
    unreadable: BTreeSet<String>,
    dirty: Dirty,
    problems: Vec<String>,
}

impl Index {
    /// Makes an empty one. `offline_after_ms`: how long a cluster may be silent before it counts as offline.
    pub fn new(began: Time, offline_after_ms: u64) -> Self {
        Self {
            began,
            offline_after_ms,
            epoch: 1,
            ..Self::default()
        }
    }

    /// Sets the hub's epoch, which a restore from a backup raises: from the second on, nothing is ordered for a cluster
    /// until its agent has said what it holds.
    #[must_use]
    pub fn in_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// What clusters serve, where an App's charts are to see it.
    pub fn served_for(&self, spec: &AppSpec) -> Served {
        let helm = spec.render.helm.as_ref();
        if helm.is_some_and(|helm| helm.from_cluster.contains(&ClusterFact::ApiVersions)) {
            self.served.clone()
        } else {
            Served::new()
        }
    }

    /// Takes in one change of the log.
    pub fn apply(&mut self, change: &Change) {
        self.revision = self.revision.max(change.revision);
        let new = change.new.as_deref();
        self.apply_entry(&change.key, new, change.revision);
    }

    /// Everything up to this revision has been taken in.
    pub fn reached(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Takes in one entry, as it stands or as it changed; `None`: it is gone.
    pub fn apply_entry(&mut self, key: &str, value: Option<&[u8]>, revision: Revision) {
        self.revision = self.revision.max(revision);
        if let Some(rest) = key.strip_prefix(NOUNS) {
            self.apply_noun(rest, value);
        } else if let Some(rest) = key.strip_prefix(keys::ASSIGNED) {
            self.apply_assigned(rest, value, revision);
        } else if let Some(rest) = key.strip_prefix(keys::OBSERVED) {
            self.apply_observed(rest, value, revision);
        } else if let Some(rest) = key.strip_prefix(keys::HEADS) {
            if let Ok(source) = rest.parse::<Key>() {
                let head = self.read(key, value);
                set(&mut self.heads, source.clone(), head, revision);
                self.touch_apps_reading(&source);
            }
        } else if let Some((app, number)) =
            key.strip_prefix(keys::RELEASES).and_then(app_and_number)
        {
            let record: Option<ReleaseRecord> = self.read(key, value);
            self.touch_orders_with(&app, number, record.as_ref());
            set(
                self.releases.entry(app.clone()).or_default(),
                number,
                record,
                revision,
            );
            self.placements.forget(&app, number);
            self.touch_app(&app);
        } else if let Some((app, number)) =
            key.strip_prefix(keys::ROLLOUTS).and_then(app_and_number)
        {
            let rollout = self.read(key, value);
            set(
                self.rollouts.entry(app.clone()).or_default(),
                number,
                rollout,
                revision,
            );
            self.touch_app(&app);
        } else if key == keys::ALIVE {
            self.alive = self.read(key, value).unwrap_or_default();
        } else if let Some(rest) = key.strip_prefix(keys::SEEN) {
            let cluster = ClusterId(rest.to_owned());
            let seen: Option<Seen> = self.read(key, value);
            let epoch = |seen: Option<&Seen>| seen.map_or(0, |seen| seen.epoch);
            if epoch(seen.as_ref()) != epoch(self.seen(&cluster)) {
                self.dirty.orders.insert(cluster.clone());
                self.touch_apps_of(&cluster);
            }
            set(&mut self.seen, cluster.clone(), seen, revision);
            self.dirty.shown_clusters.insert(cluster);
        } else if let Some(digest) = key.strip_prefix(keys::SERVED) {
            let list = self.read(key, value).map(Arc::new);
            put(&mut self.served, digest.to_owned(), list);
        } else if let Some(rest) = key.strip_prefix(keys::APPROVALS) {
            if let Ok(app) = rest.parse::<AppKey>() {
                let approval = self.read(key, value);
                set(&mut self.approvals, app.clone(), approval, revision);
                self.touch_app(&app);
            }
        } else if let Some((cluster, app)) = key.strip_prefix(keys::AHEAD).and_then(cluster_and_app)
        {
            let ahead: Option<Ahead> = self.read(key, value);
            let of = self.ahead.entry(app.clone()).or_default();
            put(of, cluster.clone(), ahead);
            if of.is_empty() {
                self.ahead.remove(&app);
            }
            self.dirty.orders.insert(cluster.clone());
            self.dirty.shown_clusters.insert(cluster);
            self.touch_app(&app);
        } else if let Some(app) = key
            .strip_prefix(keys::COUNTS)
            .and_then(|app| app.parse().ok())
        {
            let counted = self.read(key, value);
            put(&mut self.counts, app, counted);
        } else if let Some((cluster, app)) = key.strip_prefix(keys::HOLDS).and_then(cluster_and_app)
        {
            match self.read(key, value) {
                Some(hold) => drop(self.holds.insert((cluster.clone(), app.clone()), hold)),
                None => drop(self.holds.remove(&(cluster.clone(), app.clone()))),
            }
            self.dirty.orders.insert(cluster);
            self.touch_app(&app);
        }
    }

    fn read<T: DeserializeOwned>(&mut self, key: &str, value: Option<&[u8]>) -> Option<T> {
        match serde_json::from_slice(value?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems
                    .push(format!("record {key} cannot be read: {error}"));
                None
            }
        }
    }

    /// Reads a noun: `Some(None)` when it is gone, `None` when it is there and cannot be read.
    fn noun<N: Noun>(&mut self, key: &str, value: Option<&[u8]>) -> Option<Option<N>> {
        let Some(bytes) = value else {
            self.unreadable.remove(key);
            return Some(None);
        };
        let read = serde_json::from_slice(bytes)
            .map_err(|error| error.to_string())
            .and_then(|value| parse_noun(&value).map_err(|error| error.to_string()));
        match read {
            Ok(noun) => {
                self.unreadable.remove(key);
                Some(Some(noun))
            }
            Err(error) => {
                self.problems.push(format!("{key} cannot be read: {error}"));
                self.unreadable.insert(key.to_owned());
                None
            }
        }
    }

    /// The key of an App's noun, if it is there and cannot be read.
    pub(crate) fn unreadable_app(&self, app: &AppKey) -> Option<String> {
        let key = format!("apps/{app}");
        self.unreadable.contains(&key).then_some(key)
    }

    /// Is there a noun of this kind that cannot be read?
    pub(crate) fn has_unreadable(&self, prefix: &str) -> bool {
        self.unreadable
            .range(prefix.to_owned()..)
            .next()
            .is_some_and(|key| key.starts_with(prefix))
    }

    fn apply_noun(&mut self, rest: &str, value: Option<&[u8]>) {
        let Some(rest) = rest.strip_prefix("roadstead.dev/") else {
            return;
        };
        let Some((plural, name)) = rest.split_once('/') else {
            return;
        };
        match plural {
            "projects" => {
                let Some(noun) = self.noun(rest, value) else {
                    return;
                };
                put(&mut self.projects, name.to_owned(), noun);
                self.placements.forget_all();
                let apps: Vec<AppKey> = self
                    .apps
                    .keys()
                    .filter(|app| app.project == name)
                    .cloned()
                    .collect();
                apps.iter().for_each(|app| self.touch_app(app));
            }
            "sources" => {
                if let Ok(key) = name.parse::<Key>() {
                    let Some(noun) = self.noun::<Source>(rest, value) else {
                        return;
                    };
                    let wants = |source: Option<&Source>| source.map(|source| source.spec.clone());
                    let changed = wants(noun.as_ref()) != wants(self.sources.get(&key));
                    put(&mut self.sources, key.clone(), noun);
                    if changed {
                        self.touch_apps_reading(&key);
                        self.dirty.sources.insert(key);
                    }
                }
            }
            "apps" => {
                if let Ok(key) = name.parse::<Key>() {
                    let Some(noun) = self.noun::<App>(rest, value) else {
                        return;
                    };
                    let old = self.apps.get(&key);
                    let same = match (&noun, old) {
                        (Some(new), Some(old)) => {
                            new.spec == old.spec
                                && new.metadata.deletion_timestamp
                                    == old.metadata.deletion_timestamp
                                && new.metadata.finalizers == old.metadata.finalizers
                        }
                        (None, None) => true,
                        _ => false,
                    };
                    if !same {
                        for spec in noun
                            .iter()
                            .chain(old)
                            .map(|app| app.spec.clone())
                            .collect::<Vec<_>>()
                        {
                            for input in &spec.inputs {
                                self.dirty
                                    .sources
                                    .insert(Key::new(key.project.clone(), input.source.clone()));
                            }
                        }
                        put(&mut self.apps, key.clone(), noun);
                        self.touch_app(&key);
                        self.touch_orders_of(&key);
                    } else {
                        put(&mut self.apps, key, noun);
                    }
                }
            }
            "releases" => self.apply_made(Made::Release, name, value.is_some()),
            "rollouts" => self.apply_made(Made::Rollout, name, value.is_some()),
            "clusters" => self.apply_cluster(rest, name, value),
            "clustersets" => {
                let Some(noun) = self.noun::<ClusterSet>(rest, value) else {
                    return;
                };
                let spec = |set: Option<&ClusterSet>| set.map(|set| set.spec.clone());
                let changed = spec(noun.as_ref()) != spec(self.sets.get(name));
                put(&mut self.sets, name.to_owned(), noun);
                if changed {
                    self.touch_everything();
                }
            }
            "strategies" => {
                if let Ok(key) = name.parse::<Key>() {
                    let Some(noun) = self.noun(rest, value) else {
                        return;
                    };
                    put(&mut self.strategies, key, noun);
                    let apps: Vec<AppKey> = self.apps.keys().cloned().collect();
                    apps.iter().for_each(|app| self.touch_app(app));
                }
            }
            _ => {}
        }
    }

    /// Notes a noun of the hub's own making: one whose record is gone must go too.
    fn apply_made(&mut self, what: Made, name: &str, is_there: bool) {
        let Some((name, number)) = name.rsplit_once('-') else {
            return;
        };
        let (Ok(app), Ok(number)) = (name.parse::<AppKey>(), number.parse()) else {
            return;
        };
        let of = self.made.entry(app.clone()).or_default();
        if !is_there {
            of.remove(&(what, number));
        } else if of.insert((what, number)) {
            self.dirty.shown.insert(app);
        }
    }

    fn apply_cluster(&mut self, rest: &str, name: &str, value: Option<&[u8]>) {
        let Some(noun) = self.noun::<Cluster>(rest, value) else {
            return;
        };
        let old = self.cluster_names.get(name).cloned();
        let Some(noun) = noun else {
            self.cluster_names.remove(name);
            if let Some(id) = old {
                self.clusters.remove(&id);
                self.dirty.forgotten.insert(id.clone());
                self.touch_everything();
                self.dirty.orders.insert(id);
            }
            return;
        };
        let id = ClusterId(noun.metadata.uid.clone());
        if let Some(old) = old.filter(|old| *old != id) {
            self.clusters.remove(&old);
            self.dirty.forgotten.insert(old);
        }
        let same = self.clusters.get(&id).is_some_and(|old| {
            old.spec == noun.spec
                && old.metadata.labels == noun.metadata.labels
                && old.metadata.deletion_timestamp == noun.metadata.deletion_timestamp
        });
        let facts = |cluster: &Cluster| {
            let facts = &cluster.status.facts;
            (facts.kubernetes_version.clone(), facts.api_versions.clone())
        };
        let said = facts(&noun);
        let old = self.clusters.insert(id.clone(), noun);
        self.cluster_names.insert(name.to_owned(), id.clone());
        if old.is_none_or(|old| facts(&old) != said) {
            self.touch_who_sees_facts();
        }
        if !same {
            self.touch_everything();
            self.dirty.orders.insert(id.clone());
            self.dirty.shown_clusters.insert(id);
        }
    }

    fn apply_assigned(&mut self, rest: &str, value: Option<&[u8]>, revision: Revision) {
        let Some((cluster, app)) = cluster_and_app(rest) else {
            return;
        };
        let assignment = self.read(rest, value);
        let of = self.apps_of.entry(cluster.clone()).or_default();
        if assignment.is_some() {
            of.insert(app.clone());
        } else {
            of.remove(&app);
        }
        set(
            self.assigned.entry(app.clone()).or_default(),
            cluster.clone(),
            assignment,
            revision,
        );
        self.dirty.orders.insert(cluster.clone());
        self.dirty.shown_clusters.insert(cluster);
        self.touch_app(&app);
    }

    fn apply_observed(&mut self, rest: &str, value: Option<&[u8]>, revision: Revision) {
        let Some((cluster, app)) = cluster_and_app(rest) else {
            return;
        };
        let new: Option<AppReport> = self.read(rest, value);
        let reports = self.observed.entry(app.clone()).or_default();
        let old = reports.get(&cluster).map(|kept| &kept.value.inventory);
        // tombstones are computed from the inventory, so the order may change with it
        if old != new.as_ref().map(|report| &report.inventory) {
            self.dirty.orders.insert(cluster.clone());
        }
        set(reports, cluster.clone(), new, revision);
        self.dirty.shown_clusters.insert(cluster);
        self.touch_app(&app);
    }

    fn touch_app(&mut self, app: &AppKey) {
        self.dirty.apps.insert(app.clone());
        self.dirty.shown.insert(app.clone());
    }

    /// A Release's record changes, or comes back: marks the orders that say something else because of it. Most changes
    /// (a variant is rendered, it is barred) say nothing to clusters.
    fn touch_orders_with(&mut self, app: &AppKey, number: u64, new: Option<&ReleaseRecord>) {
        let old = self.numbered_release(app, number);
        let said =
            |record: &ReleaseRecord| (record.id, record.commit.clone(), record.frozen.clone());
        let (before, after) = (old.map(said), new.map(said));
        let ids = [before.as_ref().map(|o| o.0), after.as_ref().map(|o| o.0)];
        // who takes objects over keeps those who give them from removing them, as soon as it is known what it takes
        let takes = old.into_iter().chain(new);
        let takes = takes.flat_map(|record| &record.frozen.takes_over_from);
        let givers: BTreeSet<AppKey> = takes
            .map(|name| AppKey::new(app.project.clone(), name.clone()))
            .collect();
        let mut marked: Vec<ClusterId> = Vec::new();
        if before != after {
            let of = self.assigned.get(app).into_iter().flatten();
            marked.extend(
                of.filter(|(_, kept)| ids.contains(&Some(kept.value.release)))
                    .map(|(id, _)| id.clone()),
            );
        }
        self.dirty.orders.extend(marked);
        for giver in &givers {
            self.touch_orders_of(giver);
        }
    }

    fn touch_orders_of(&mut self, app: &AppKey) {
        if let Some(clusters) = self.assigned.get(app) {
            self.dirty.orders.extend(clusters.keys().cloned());
        }
    }

    fn touch_apps_reading(&mut self, source: &Key) {
        let reads = |app: &App| {
            app.spec
                .inputs
                .iter()
                .any(|input| input.source == source.name)
        };
        let apps = self
            .apps
            .iter()
            .filter(|(key, app)| key.project == source.project && reads(app));
        let apps: Vec<AppKey> = apps.map(|(key, _)| key.clone()).collect();
        apps.iter().for_each(|app| self.touch_app(app));
    }

    /// Clusters changed: every App may have other targets.
    /// A cluster's facts change: looks again at the Apps whose charts see them.
    fn touch_who_sees_facts(&mut self) {
        let sees = |spec: &AppSpec| {
            let helm = spec.render.helm.as_ref();
            helm.is_some_and(|helm| !helm.from_cluster.is_empty())
        };
        let mut seeing = Vec::new();
        for (app, releases) in &self.releases {
            let of = releases.iter().filter(|(_, it)| sees(&it.value.frozen));
            seeing.extend(of.map(|(number, _)| (app.clone(), *number)));
        }
        for (app, number) in seeing {
            self.placements.forget(&app, number);
            self.touch_app(&app);
        }
    }

    fn touch_everything(&mut self) {
        self.placements.forget_all();
        let apps: BTreeSet<AppKey> = self
            .apps
            .keys()
            .chain(self.assigned.keys())
            .cloned()
            .collect();
        apps.iter().for_each(|app| self.touch_app(app));
    }

    /// Takes what changed since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Is something to be done?
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Asks for another look at an App.
    pub fn mark(&mut self, app: &AppKey) {
        self.touch_app(app);
    }

    /// Asks for another look at a cluster's order.
    pub fn mark_order(&mut self, cluster: &ClusterId) {
        self.dirty.orders.insert(cluster.clone());
    }

    /// Takes records that could not be read since the last call.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// A Source was polled: what went wrong, if something did.
    pub fn note_poll(&mut self, source: &Key, problem: Option<&str>) {
        match problem {
            Some(problem) => drop(
                self.poll_problems
                    .insert(source.clone(), problem.to_owned()),
            ),
            None => drop(self.poll_problems.remove(source)),
        }
    }

    /// An agent has connected.
    pub fn session_up(&mut self, cluster: &ClusterId, now: Time) {
        self.sessions.insert(cluster.clone(), now);
        self.dirty.shown_clusters.insert(cluster.clone());
        self.touch_apps_of(cluster);
    }

    /// An agent has gone.
    pub fn session_down(&mut self, cluster: &ClusterId) {
        self.sessions.remove(cluster);
        self.dirty.shown_clusters.insert(cluster.clone());
        self.touch_apps_of(cluster);
    }

    /// Asks for another look at every App that a cluster has, or may get.
    pub fn touch_apps_of(&mut self, cluster: &ClusterId) {
        let apps: Vec<AppKey> = self.apps.keys().cloned().collect();
        for app in apps {
            let placed = self.placements.is_placed(&app, cluster);
            let assigned = self
                .assigned
                .get(&app)
                .is_some_and(|of| of.contains_key(cluster));
            if placed || assigned {
                self.touch_app(&app);
            }
        }
    }

    /// Can a cluster be reached?
    pub fn sighting(&self, cluster: &ClusterId, now: Time) -> Sighting {
        if self.sessions.contains_key(cluster) {
            return Sighting::Online;
        }
        let Some(seen) = self.seen.get(cluster) else {
            return Sighting::Never;
        };
        let last = self.heard(&seen.value).max(self.began);
        if now.since_ms(last) < self.offline_after_ms {
            Sighting::Online
        } else {
            Sighting::Offline
        }
    }

    /// When a cluster that is not connected will count as offline.
    pub(crate) fn offline_at(&self, cluster: &ClusterId) -> Option<Time> {
        if self.sessions.contains_key(cluster) {
            return None;
        }
        let seen = self.seen.get(cluster)?;
        let last = self.heard(&seen.value).max(self.began);
        Some(last.plus_ms(self.offline_after_ms))
    }

    /// When a cluster was heard of last: while its agent is connected nothing is written about it.
    pub(crate) fn heard(&self, seen: &Seen) -> Time {
        if seen.connected {
            seen.last.max(self.alive)
        } else {
            seen.last
        }
    }
}

fn set<K: Ord, T>(map: &mut BTreeMap<K, Kept<T>>, key: K, value: Option<T>, revision: Revision) {
    match value {
        Some(value) => drop(map.insert(key, Kept { value, revision })),
        None => drop(map.remove(&key)),
    }
}

fn put<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn app_and_number(rest: &str) -> Option<(AppKey, u64)> {
    let (app, number) = rest.rsplit_once('/')?;
    Some((app.parse().ok()?, number.parse().ok()?))
}

fn cluster_and_app(rest: &str) -> Option<(ClusterId, AppKey)> {
    let (cluster, app) = rest.split_once('/')?;
    Some((ClusterId(cluster.to_owned()), app.parse().ok()?))
}
