//! The hub: its decisions driven over a store on a disk that fails, each commit a place to die.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use base_store::memory::{Limits, MemoryStore};
use base_store::{
    At, Batch, CommitError, CommitId, Expect, Op, Range, SimDisk, Store, Watch, WatchItem,
};
use bytes::Bytes;
use roadstead_control::{
    Command, Decision, Head, HeadInput, Index, NOUNS, RenderJob, command, decide, entries, ingest,
    keys, leftovers, origin, render, rendered,
};
use roadstead_dispatch::{Entry, OrderDelta, OrderHeader, Report, delta, root_of, sign_header};
use roadstead_model::{AppKey, ClusterId, Key, Time, VariantId};
use roadstead_rollout::{By, Sighting};

use crate::lists::{Listed, Lists};
use crate::world::{Event, FromAgent, FromHub, World};

/// How long a cluster may be silent before it counts as offline.
pub(crate) const OFFLINE_MS: u64 = 60_000;
/// How often the hub looks by itself.
const TICK_MS: u64 = 5_000;
/// How often it notes that connected clusters are heard of.
const NOTE_MS: u64 = 60_000;
/// How often it polls.
const POLL_MS: u64 = 30_000;
/// Looks in one moment before it is taken for a loop.
const RESTLESS: u32 = 3_000;

/// The hub has just died.
pub(crate) struct Died;

/// The entries of one cluster with their root.
#[derive(Debug)]
pub(crate) struct ClusterOrder {
    pub(crate) root: Digest,
    pub(crate) entries: BTreeMap<AppKey, Entry>,
}

struct Session {
    cluster: ClusterId,
    told: Option<Digest>,
    sent: Vec<Arc<ClusterOrder>>,
}

/// The hub's process.
pub(crate) struct Hub {
    pub(crate) store: MemoryStore<SimDisk>,
    watch: Watch,
    pub(crate) index: Index,
    wakes: BTreeMap<AppKey, Time>,
    rendering: BTreeSet<(AppKey, u64)>,
    sessions: BTreeMap<u64, Session>,
    orders: BTreeMap<ClusterId, Arc<ClusterOrder>>,
    sightings: BTreeMap<ClusterId, Sighting>,
    noted: Time,
    lists: RefCell<BTreeMap<VariantId, Arc<Listed>>>,
    think_at: u64,
    restless: (u64, u32),
}

/// Every entry of a store.
pub(crate) fn everything(store: &MemoryStore<SimDisk>) -> Vec<base_store::Entry> {
    let range = Range {
        prefix: String::new(),
        after: None,
        limit: 1_000_000,
        at: At::Revision(store.revision()),
    };
    store
        .range(&range)
        .map(|page| page.entries.to_vec())
        .unwrap_or_default()
}

/// What a cut of the fuse asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written,
    Refused,
}

impl World {
    fn hub(&mut self) -> Result<&mut Hub, Died> {
        self.hub.as_mut().ok_or(Died)
    }

    /// Opens the store as it survived and starts the hub.
    pub(crate) fn hub_starts(&mut self) {
        if self.hub.is_some() {
            return;
        }
        let store = match MemoryStore::open(self.disk.clone(), Limits::STORE) {
            Ok(store) => store,
            Err(error) if self.disk_fails || self.disk.is_off() => {
                // whoever looks after it starts it again, until the disk is well
                self.note(format!("the store does not open: {error:?}"));
                self.disk = self.disk.crash();
                self.queue.put(self.now + 2_000, Event::HubStart);
                return;
            }
            Err(error) => {
                self.violation(format!("the store does not open after a crash: {error:?}"));
                return;
            }
        };
        self.monitor.reopened(&store);
        self.start_with(store);
    }

    pub(crate) fn start_with(&mut self, store: MemoryStore<SimDisk>) {
        let now = self.wall();
        let mut index = Index::new(now, OFFLINE_MS).in_epoch(self.epoch);
        for entry in everything(&store) {
            if entry.key.starts_with(NOUNS) || entry.key.starts_with("d/") {
                index.apply_entry(&entry.key, Some(&entry.value), entry.modified);
            }
        }
        let watch = match store.watch("", store.revision()) {
            Ok(watch) => watch,
            Err(error) => {
                self.violation(format!("the store cannot be watched: {error}"));
                return;
            }
        };
        self.stats.hub_starts += 1;
        self.note(format!("hub starts at {}", store.revision()));
        self.hub = Some(Hub {
            store,
            watch,
            index,
            wakes: BTreeMap::new(),
            rendering: BTreeSet::new(),
            sessions: BTreeMap::new(),
            orders: BTreeMap::new(),
            sightings: BTreeMap::new(),
            noted: now,
            lists: RefCell::default(),
            think_at: u64::MAX,
            restless: (0, 0),
        });
        let life = self.hub_life;
        self.queue.put(self.now + 1, Event::Poll { life });
        self.wake_hub(self.now);
    }

    /// The hub dies here and now; what was not synced may be lost.
    pub(crate) fn hub_dies(&mut self) {
        let Some(hub) = self.hub.take() else { return };
        self.note("hub dies".to_owned());
        self.hub_life += 1;
        self.hub_fuse = None;
        let conns: Vec<u64> = hub.sessions.keys().copied().collect();
        drop(hub);
        self.disk = self.disk.crash();
        for conn in conns {
            self.hub_closes(conn);
        }
        let delay = self.random(200, 20_000);
        self.queue.put(self.now + delay, Event::HubStart);
    }

    /// Says whether the hub dies at this effect.
    fn hub_effect(&mut self) -> Result<(), Died> {
        self.stats.hub_effects += 1;
        match &mut self.hub_fuse {
            Some(0) => {
                self.hub_dies();
                Err(Died)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Commits; the hub may die before, in the middle, or after.
    pub(crate) fn hub_commit(&mut self, ops: Vec<Op>) -> Result<Outcome, Died> {
        if ops.is_empty() {
            return Ok(Outcome::Written);
        }
        self.hub_effect()?;
        self.commits += 1;
        let id = CommitId(u128::from(self.commits));
        let now = self.now;
        let hub = self.hub()?;
        hub.store.set_now(now);
        let before = hub.store.revision();
        let result = hub.store.commit(Batch::new(id, ops.clone()));
        match result {
            Ok(committed) => {
                if committed.last > before {
                    self.stats.commits += 1;
                    let only_seen = ops
                        .iter()
                        .all(|op| op.key() == keys::ALIVE || op.key().starts_with(keys::SEEN));
                    self.stats.facts += u64::from(!only_seen);
                    let keys: Vec<&str> = ops.iter().map(Op::key).take(3).collect();
                    self.note(format!("commit {} {keys:?}", committed.last));
                }
                self.monitor.acknowledged(&ops);
                self.hub_effect()?;
                Ok(Outcome::Written)
            }
            Err(CommitError::Conflict { key, .. }) => {
                self.note(format!("conflict on {key}"));
                Ok(Outcome::Refused)
            }
            Err(CommitError::Full { .. }) => {
                self.note("disk full".to_owned());
                Ok(Outcome::Refused)
            }
            Err(CommitError::Malformed { problem }) => {
                self.violation(format!("the hub made a batch that is none: {problem}"));
                Ok(Outcome::Refused)
            }
            Err(error) => {
                self.note(format!("{error}"));
                if matches!(error, CommitError::OutcomeUnknown { .. }) {
                    self.monitor.unknown(ops);
                }
                self.hub_dies();
                Err(Died)
            }
        }
    }

    fn drain(&mut self) -> Result<(), Died> {
        let hub = self.hub()?;
        let mut compacted = false;
        while let Some(item) = hub.watch.try_next() {
            match item {
                WatchItem::Commit(commit) => {
                    for change in commit.changes.iter() {
                        hub.index.apply(change);
                    }
                }
                WatchItem::Progress(_) => {}
                WatchItem::Compacted(_) => compacted = true,
            }
        }
        let problems = hub.index.take_problems();
        if compacted {
            self.violation("the log was compacted past the index".to_owned());
        }
        for problem in problems {
            self.violation(format!("a stored record is damaged: {problem}"));
        }
        Ok(())
    }

    pub(crate) fn wake_hub(&mut self, at: u64) {
        let life = self.hub_life;
        if let Some(hub) = &mut self.hub
            && at < hub.think_at
        {
            hub.think_at = at;
            self.queue.put(at, Event::Think { life });
        }
    }

    /// The hub looks at everything that changed.
    pub(crate) fn hub_thinks(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        if self.now < hub.think_at {
            return;
        }
        hub.think_at = u64::MAX;
        // a death has scheduled what follows from it
        if self.think().is_ok() {
            let now = self.wall();
            if let Some(hub) = &mut self.hub {
                let wake = hub.wakes.values().min().map(|at| at.since_ms(now).max(1));
                let dirty = hub.index.is_dirty().then_some(1);
                let wait = [wake, dirty, Some(TICK_MS)].into_iter().flatten().min();
                let at = self.now + wait.unwrap_or(TICK_MS);
                self.wake_hub(at);
            }
        }
    }

    fn think(&mut self) -> Result<(), Died> {
        self.drain()?;
        let now = self.wall();
        let virtual_now = self.now;
        let hub = self.hub()?;
        if hub.restless.0 == virtual_now {
            hub.restless.1 += 1;
        } else {
            hub.restless = (virtual_now, 0);
        }
        if now.since_ms(hub.noted) >= NOTE_MS {
            hub.noted = now;
            let ops = vec![Index::note_alive(now)];
            self.hub_commit(ops)?;
            self.drain()?;
        }
        let hub = self.hub()?;
        let mut moved = Vec::new();
        for (id, _) in hub.index.clusters() {
            let sighting = hub.index.sighting(id, now);
            if hub.sightings.get(id) != Some(&sighting) {
                moved.push((id.clone(), sighting));
            }
        }
        for (id, sighting) in moved {
            hub.index.touch_apps_of(&id);
            hub.sightings.insert(id, sighting);
        }
        let due: Vec<AppKey> = hub
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(app, _)| app.clone())
            .collect();
        for app in due {
            hub.wakes.remove(&app);
            hub.index.mark(&app);
        }
        for _ in 0..50 {
            if !self.hub()?.index.is_dirty() {
                break;
            }
            self.look(now)?;
            self.drain()?;
        }
        let hub = self.hub()?;
        if hub.index.is_dirty() {
            hub.restless.1 += 50;
            if hub.restless.1 > RESTLESS {
                self.violation("the hub comes to no rest".to_owned());
                self.hub()?.index.take_dirty();
            }
        }
        self.forget_deleted(now)?;
        self.tell_roots()
    }

    fn look(&mut self, now: Time) -> Result<(), Died> {
        let hub = self.hub()?;
        let dirty = hub.index.take_dirty();
        for app in &dirty.apps {
            let hub = self.hub()?;
            let Decision {
                ops, render, wake, ..
            } = decide(&mut hub.index, app, now, true);
            match wake {
                Some(at) => drop(hub.wakes.insert(app.clone(), at)),
                None => drop(hub.wakes.remove(app)),
            }
            let mut start = None;
            if let Some(job) = render
                && hub.rendering.insert((app.clone(), job.number))
            {
                start = Some(job);
            }
            if let Some(job) = start {
                let (life, delay) = (self.hub_life, self.random(5, 3_000));
                let job = Box::new(job);
                self.queue
                    .put(self.now + delay, Event::Rendered { life, job });
            }
            if self.hub_commit(ops)? == Outcome::Refused {
                let again = now.plus_ms(1_000);
                let wake = self.hub()?.wakes.entry(app.clone()).or_insert(again);
                *wake = again.min(*wake);
            }
        }
        if !dirty.sources.is_empty() {
            let life = self.hub_life;
            self.queue.put(self.now + 1, Event::PollOnce { life });
        }
        let mut changed = Vec::new();
        if !dirty.forgotten.is_empty() {
            let ops = leftovers(&self.hub()?.index);
            self.hub_commit(ops)?;
        }
        let hub = self.hub()?;
        for cluster in &dirty.orders {
            if hub.index.awaits_inventory(cluster) {
                continue;
            }
            let Some(made) = entries(&hub.index, cluster, &Lists(&hub.store, &hub.lists), now)
            else {
                hub.index.mark_order(cluster);
                continue;
            };
            let root = root_of(&made);
            if hub
                .orders
                .get(cluster)
                .is_none_or(|order| order.root != root)
            {
                changed.push((cluster.clone(), made.len(), root));
                let order = ClusterOrder {
                    root,
                    entries: made,
                };
                hub.orders.insert(cluster.clone(), Arc::new(order));
            }
        }
        for (cluster, apps, root) in changed {
            self.note(format!(
                "order of {cluster}: {apps} apps, root {}",
                root.short()
            ));
        }
        Ok(())
    }

    /// What the API server does for a noun whose finalizer was the hub's.
    fn forget_deleted(&mut self, now: Time) -> Result<(), Died> {
        let hub = self.hub()?;
        let gone: Vec<AppKey> = hub
            .index
            .apps()
            .filter(|(key, app)| {
                app.metadata.deletion_timestamp.is_some() && hub.index.may_forget(key, now)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            let op = Op::Delete {
                key: format!("{NOUNS}roadstead.dev/apps/{key}"),
                expect: Expect::Any,
            };
            self.hub_commit(vec![op])?;
            self.wake_hub(self.now + 1);
        }
        Ok(())
    }

    fn tell_roots(&mut self) -> Result<(), Died> {
        let hub = self.hub()?;
        let mut out = Vec::new();
        for (conn, session) in &mut hub.sessions {
            if let Some(order) = hub.orders.get(&session.cluster)
                && session.told != Some(order.root)
            {
                session.told = Some(order.root);
                out.push((*conn, FromHub::RootIs(order.root)));
            }
        }
        for (conn, message) in out {
            self.hub_effect()?;
            self.send_agent(conn, message);
        }
        Ok(())
    }

    /// An agent's message has come.
    pub(crate) fn hub_hears(&mut self, conn: u64, cluster: &ClusterId, message: FromAgent) {
        // a death has scheduled what follows from it
        let _ = self.hear(conn, cluster, message);
    }

    fn hear(&mut self, conn: u64, cluster: &ClusterId, message: FromAgent) -> Result<(), Died> {
        self.drain()?;
        let now = self.wall();
        match message {
            FromAgent::Hello { root } => {
                let hub = self.hub()?;
                if hub.index.cluster(cluster).is_none() {
                    self.hub_closes(conn);
                    return Ok(());
                }
                let mut sent = Vec::new();
                if let Some(order) = hub.orders.get(cluster)
                    && order.root == root
                {
                    sent.push(Arc::clone(order));
                }
                let session = Session {
                    cluster: cluster.clone(),
                    told: None,
                    sent,
                };
                hub.sessions.insert(conn, session);
                hub.index.session_up(cluster, now);
                let op = hub.index.note_seen(cluster, now);
                self.hub_commit(vec![op])?;
                self.hub_effect()?;
                self.send_agent(conn, FromHub::NeedStatus);
                self.wake_hub(self.now);
            }
            FromAgent::Report(report) => self.takes_report(conn, cluster, &report, now)?,
            FromAgent::WantOrder { base } => self.sends_order(conn, cluster, base)?,
            FromAgent::WantBlobs(wanted) => {
                let hub = self.hub()?;
                let lists = Lists(&hub.store, &hub.lists);
                let order = hub.orders.get(cluster);
                let entries = order.iter().flat_map(|order| order.entries.values());
                let mut allowed = BTreeSet::new();
                for entry in entries {
                    if let Some(listed) = lists.get(&entry.variant) {
                        allowed.insert(entry.variant);
                        allowed.extend(&listed.contents);
                    }
                }
                let (mut found, mut refused) = (Vec::new(), Vec::new());
                for digest in wanted {
                    match hub.store.get_blob(&digest) {
                        Ok(Some(bytes)) if allowed.contains(&digest) => found.push((digest, bytes)),
                        _ => refused.push(digest),
                    }
                }
                self.hub_effect()?;
                if !found.is_empty() {
                    self.send_agent(conn, FromHub::Blobs(found));
                }
                if !refused.is_empty() {
                    self.send_agent(conn, FromHub::NoBlobs(refused));
                }
            }
        }
        Ok(())
    }

    fn takes_report(
        &mut self,
        conn: u64,
        cluster: &ClusterId,
        report: &Report,
        now: Time,
    ) -> Result<(), Died> {
        if !self.hub()?.sessions.contains_key(&conn) {
            return Ok(());
        }
        self.stats.reports += 1;
        let ops = ingest(&self.hub()?.index, cluster, report, now);
        if self.hub_commit(ops)? == Outcome::Refused {
            // what was reported is not kept: the agent must say it again
            self.hub_closes(conn);
        }
        self.wake_hub(self.now);
        Ok(())
    }

    fn sends_order(
        &mut self,
        conn: u64,
        cluster: &ClusterId,
        base: Option<Digest>,
    ) -> Result<(), Died> {
        let (epoch, issued_at) = (self.epoch, self.wall());
        let hub = self.hub()?;
        let Some(order) = hub.orders.get(cluster).cloned() else {
            return Ok(());
        };
        let Some(session) = hub.sessions.get_mut(&conn) else {
            return Ok(());
        };
        let header = OrderHeader {
            cluster: cluster.clone(),
            epoch,
            sequence: hub.store.revision().0,
            issued_at,
            root: order.root,
            critical: Vec::new(),
        };
        let signed = sign_header(&header, &crate::world::Toy);
        let known = base.and_then(|base| session.sent.iter().find(|old| old.root == base).cloned());
        let whole = delta(None, &order.entries, signed.clone());
        let delta: OrderDelta = delta(
            known.as_ref().map(|old| (old.root, &old.entries)),
            &order.entries,
            signed,
        );
        if session.sent.iter().all(|old| old.root != order.root) {
            session.sent.push(Arc::clone(&order));
        }
        if session.sent.len() > 4 {
            session.sent.remove(0);
        }
        self.monitor.signed(cluster, &order.entries);
        self.remember_order(cluster, whole);
        self.stats.orders += 1;
        self.hub_effect()?;
        self.send_agent(conn, FromHub::Order(Box::new(delta)));
        Ok(())
    }

    /// A connection has ended, as the hub sees it.
    pub(crate) fn hub_loses(&mut self, conn: u64) {
        let now = self.wall();
        let Some(hub) = &mut self.hub else { return };
        let Some(session) = hub.sessions.remove(&conn) else {
            return;
        };
        let cluster = session.cluster;
        if hub.sessions.values().any(|other| other.cluster == cluster) {
            return;
        }
        hub.index.session_down(&cluster);
        if hub.index.cluster(&cluster).is_some() {
            let op = hub.index.note_seen(&cluster, now);
            if self.hub_commit(vec![op]).is_err() {
                return;
            }
        }
        self.wake_hub(self.now);
    }

    /// A render is done.
    pub(crate) fn hub_rendered(&mut self, job: &RenderJob) {
        // a death has scheduled what follows from it
        let _ = self.take_render(job);
    }

    fn take_render(&mut self, job: &RenderJob) -> Result<(), Died> {
        self.drain()?;
        let now = self.wall();
        let project = {
            let hub = self.hub()?;
            hub.rendering.remove(&(job.app.clone(), job.number));
            let project = hub.index.project(&job.app.project);
            project
                .map(|project| project.spec.clone())
                .unwrap_or_default()
        };
        let Some(input) = job.record.inputs.first() else {
            return Ok(());
        };
        let Some(files) = self
            .git
            .find(&input.commit)
            .and_then(|commit| Some(commit.apps.get(&input.path)?.files(&input.path)))
        else {
            return Ok(());
        };
        let inputs = roadstead_render::Inputs {
            first: files,
            ..roadstead_render::Inputs::default()
        };
        let mut outcome = render(job, &inputs, (&job.app.project, &project));
        self.stats.renders += 1;
        self.hub_effect()?;
        let stored = self.hub()?.store.put_blobs(&outcome.blobs);
        if let Err(error) = stored {
            self.note(format!("contents are not stored: {error}"));
            if !matches!(error, base_store::BlobError::Full { .. }) {
                self.hub_dies();
                return Err(Died);
            }
            let hub = self.hub()?;
            hub.wakes.insert(job.app.clone(), now.plus_ms(1_000));
            self.wake_hub(self.now + 1_000);
            return Ok(());
        }
        outcome.blobs.clear();
        let ops = rendered(&self.hub()?.index, &job.app, job.number, &outcome, now);
        self.hub_commit(ops)?;
        self.drain()?;
        self.hub()?.index.mark(&job.app);
        self.wake_hub(self.now);
        Ok(())
    }

    /// The hub reads its Sources.
    pub(crate) fn hub_polls(&mut self, once: bool) {
        if !once {
            let life = self.hub_life;
            self.queue.put(self.now + POLL_MS, Event::Poll { life });
        }
        // a death has scheduled what follows from it
        let _ = self.poll();
    }

    fn poll(&mut self) -> Result<(), Died> {
        if self.now < self.git.away_until {
            return Ok(());
        }
        self.drain()?;
        let now = self.wall();
        let Some(commit) = self.git.head().cloned() else {
            return Ok(());
        };
        let hub = self.hub()?;
        let mut ops = Vec::new();
        for (key, source) in hub.index.sources() {
            let inputs: BTreeMap<String, HeadInput> = hub
                .index
                .reads_of(key)
                .into_iter()
                .map(|(key, (path, _))| {
                    let input = commit.apps.get(&path).map_or_else(
                        || HeadInput::Error(format!("there is no {path:?}")),
                        |content| HeadInput::Digest(content.digest(&path)),
                    );
                    (key, input)
                })
                .collect();
            let head = Head {
                commit: commit.id.clone(),
                author: "somebody".to_owned(),
                message: "a change".to_owned(),
                committed_at: Time(commit.at),
                fetched_at: now,
                origin: origin(source),
                inputs,
            };
            let same = hub.index.head(key).is_some_and(|old| {
                old.commit == head.commit && old.inputs == head.inputs && old.origin == head.origin
            });
            if !same {
                ops.push(Op::Put {
                    key: keys::head(&Key::new(key.project.clone(), key.name.clone())),
                    value: Bytes::from(serde_json::to_vec(&head).unwrap_or_default()),
                    expect: Expect::Any,
                });
            }
        }
        self.hub_commit(ops)?;
        self.wake_hub(self.now);
        Ok(())
    }

    /// Somebody writes a noun through the API; false: it is refused for now.
    pub(crate) fn api_write(&mut self, ops: Vec<Op>) -> bool {
        let done = matches!(self.hub_commit(ops), Ok(Outcome::Written));
        self.wake_hub(self.now);
        done
    }

    /// Somebody gives a command; tells what was said.
    pub(crate) fn command(&mut self, app: &AppKey, what: &Command) -> Option<String> {
        if self.drain().is_err() {
            return None;
        }
        let by = By {
            actor: "operator".to_owned(),
            at: self.wall(),
            reason: "simulated".to_owned(),
        };
        let hub = self.hub.as_mut()?;
        match command(&mut hub.index, app, what, &by) {
            Ok((ops, said)) => {
                self.note(format!("command: {said}"));
                let done = self.api_write(ops);
                done.then_some(said)
            }
            Err(refused) => {
                self.note(format!("command refused: {refused}"));
                None
            }
        }
    }

    /// The hub is stopped, and what it has is replaced by a backup; its epoch is raised.
    pub(crate) fn restore(&mut self, backup: &base_store::memory::Backup) {
        let reached = self
            .hub
            .as_ref()
            .map_or(base_store::Revision(0), |hub| hub.store.revision());
        let conns: Vec<u64> = self
            .hub
            .take()
            .map(|hub| hub.sessions.keys().copied().collect())
            .unwrap_or_default();
        self.hub_life += 1;
        self.epoch += 1;
        self.disk = self.disk.crash();
        for conn in conns {
            self.hub_closes(conn);
        }
        match MemoryStore::restore(self.disk.clone(), Limits::STORE, backup, reached) {
            Ok(store) => {
                self.monitor.restored(&store);
                self.start_with(store);
            }
            Err(error) => self.violation(format!("the backup is not restored: {error:?}")),
        }
    }
}
