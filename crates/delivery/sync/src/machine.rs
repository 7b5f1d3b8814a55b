//! The machine: inputs in, effects out.

mod head;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base_json::{Digest, Value};
use bytes::Bytes;
use k8s_cluster::{ApiResource, Call, ClusterError, ErrorKind, Reply, WatchEvent};
use k8s_object::{Gvk, ObjectId};
use roadstead_dispatch::{
    AgentFacts, AppState, Capacity, Entry, Known, Report, RootAck, served_digest,
};
use roadstead_model::{AppKey, Now, Time};

use self::head::{Head, is_known};
use crate::app::AppSync;
use crate::core::{Core, Purpose, namespace_gvk, pause};
use crate::io::{CallId, Effect, Input, Persisted};
use crate::record::{APP_PREFIX, AppRecord, BLOB_PREFIX, ORDER_KEY, OrderRecord};

/// What an agent says of itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The agent's version, for the facts.
    pub agent_version: String,
}

/// The agent's state machine.
pub struct Machine {
    settings: Settings,
    core: Core,
    order: OrderRecord,
    obeys: bool,
    refused: String,
    apps: BTreeMap<AppKey, AppSync>,
    /// Which Apps have to do with an object.
    index: BTreeMap<ObjectId, BTreeSet<AppKey>>,
    dirty: BTreeSet<AppKey>,
    /// Apps that have something to ask for and found no room, the longest waiting first.
    starving: VecDeque<AppKey>,
    unreported: BTreeSet<AppKey>,
    gone: BTreeSet<AppKey>,
    sweep: bool,
    root_sent: Option<RootAck>,
    facts_sent: Option<AgentFacts>,
    /// The hub has not been told everything on this connection.
    whole: bool,
    report_at: u64,
    reporting: Option<Report>,
    wake: Option<u64>,
    nodes: (u32, Capacity),
    turns: u64,
}

impl Machine {
    /// Makes a machine that has not heard of anything; [`Input::Restored`] is its first input.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            core: Core::new(Now {
                wall: Time(0),
                mono_ms: 0,
            }),
            order: OrderRecord {
                known: Known::default(),
                root: roadstead_dispatch::root_of(&BTreeMap::new()),
                entries: BTreeMap::new(),
            },
            obeys: false,
            refused: String::new(),
            apps: BTreeMap::new(),
            index: BTreeMap::new(),
            dirty: BTreeSet::new(),
            starving: VecDeque::new(),
            unreported: BTreeSet::new(),
            gone: BTreeSet::new(),
            sweep: false,
            root_sent: None,
            facts_sent: None,
            whole: false,
            report_at: 0,
            reporting: None,
            wake: None,
            turns: 0,
            nodes: Default::default(),
        }
    }

    /// The place of the order that is obeyed.
    pub fn known(&self) -> Known {
        self.order.known
    }

    /// The digest of its entries.
    pub fn root(&self) -> Digest {
        self.order.root
    }

    /// Its entries.
    pub fn entries(&self) -> &BTreeMap<AppKey, Entry> {
        &self.order.entries
    }

    /// How an App stands.
    pub fn state(&self, app: &AppKey) -> Option<(AppState, String)> {
        let app = self.apps.get(app)?;
        Some((app.state, app.report().message))
    }

    /// Content that is held, such as the base of a patch.
    pub fn content(&self, digest: &Digest) -> Option<Bytes> {
        self.core.blobs.get(digest).cloned()
    }

    /// The list of objects that a wanted one takes the place of, if it is held: it may come as a patch.
    pub fn base_of(&self, wanted: &Digest) -> Option<Digest> {
        let mut apps = self.apps.values();
        let app = apps.find(|app| app.entry.variant == *wanted)?;
        app.base.filter(|base| self.core.blobs.contains_key(base))
    }

    /// The App that a request under way is for; `None` for what all share, such as the list of kinds.
    pub fn caller(&self, call: CallId) -> Option<&AppKey> {
        match self.core.calls.get(&call)? {
            Purpose::Object { app, .. } | Purpose::Names { app, .. } => Some(app),
            Purpose::Discover | Purpose::Namespace(_) => None,
        }
    }

    /// The version and kind of an object that an App here has to do with; detail is given of these only.
    pub fn may_show(&self, object: &ObjectId) -> Option<Gvk> {
        let mut apps = self.apps.values();
        let app = apps.find(|app| {
            let planned = app
                .objects
                .get(object)
                .is_some_and(|obj| obj.spec.is_some());
            planned || app.record.held.contains_key(object)
        })?;
        app.gvk(object, &self.core)
    }

    /// How often an object was looked at so far: what the work costs, apart from the objects themselves.
    pub fn visits(&self) -> u64 {
        self.apps.values().map(|app| app.objects.visits).sum()
    }

    /// How often an App was given a turn so far.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Takes in one input and tells what to do.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.core.now = now;
        self.core.starved = false;
        match input {
            Input::Restored(persisted) => self.restore(&persisted),
            Input::Order {
                entries,
                known,
                root,
            } => self.obey(entries, known, root),
            Input::OrderRefused(why) => self.refused = why,
            Input::Blobs(blobs) => self.blobs(blobs),
            Input::BlobsFailed { digests, .. } => {
                let missing = digests
                    .into_iter()
                    .filter(|digest| self.core.missing.contains(digest));
                self.core.wanted.extend(missing);
                self.core.fetch_at = Some(now.mono_ms.saturating_add(2_000));
            }
            Input::Reply { call, result } => self.reply(call, result),
            Input::Watch { gvk, event } => self.event(&gvk, event),
            Input::WatchEnded { gvk, error } => self.watch_ended(&gvk, error.as_ref()),
            Input::Wake => self.wake = None,
            Input::Connected => {
                self.core.connected = true;
                self.core.wanted.clone_from(&self.core.missing);
                self.core.fetch_at = None;
                self.root_sent = None;
                self.facts_sent = None;
                self.whole = true;
                self.reporting = None;
                for (key, app) in &mut self.apps {
                    app.sent = None;
                    self.unreported.insert(key.clone());
                }
            }
            Input::Disconnected => {
                self.core.connected = false;
                self.core.wanted.clone_from(&self.core.missing);
                self.reporting = None;
            }
            Input::ReportSent => self.reporting = None,
            Input::Nodes { count, capacity } => self.nodes = (count, capacity),
        }
        self.drive();
        self.common();
        self.report();
        self.next_wake();
        std::mem::take(&mut self.core.effects)
    }

    fn restore(&mut self, persisted: &Persisted) {
        for (key, value) in persisted {
            if let Some(hex) = key.strip_prefix(BLOB_PREFIX)
                && let Ok(digest) = format!("sha256:{hex}").parse::<Digest>()
                && Digest::of(value) == digest
            {
                self.core.blobs.insert(digest, value.clone());
            }
        }
        let order = persisted.get(ORDER_KEY);
        let order = order.and_then(|bytes| serde_json::from_slice::<OrderRecord>(bytes).ok());
        if let Some(order) = order {
            self.order = order;
            self.obeys = true;
        }
        for (app, entry) in self.order.entries.clone() {
            let record = persisted
                .get(&format!("{APP_PREFIX}{app}"))
                .and_then(|bytes| serde_json::from_slice::<AppRecord>(bytes).ok())
                .unwrap_or_default();
            self.apps.insert(
                app.clone(),
                AppSync::new(app.clone(), entry, record, &self.core),
            );
            self.dirty.insert(app);
        }
        self.core.discover(self.core.now.mono_ms);
    }

    fn obey(&mut self, entries: BTreeMap<AppKey, Entry>, known: Known, root: Digest) {
        self.refused.clear();
        if self.obeys && root == self.order.root && known == self.order.known {
            return;
        }
        self.order = OrderRecord {
            known,
            root,
            entries,
        };
        self.obeys = true;
        if let Ok(bytes) = base_json::canonical_of(&self.order) {
            self.core.persist(ORDER_KEY.to_owned(), Some(bytes.into()));
        }
        let gone: Vec<AppKey> = self
            .apps
            .keys()
            .filter(|app| !self.order.entries.contains_key(*app))
            .cloned()
            .collect();
        for app in gone {
            // absence removes nothing in the cluster: the objects stay as they are
            self.apps.remove(&app);
            self.core.states.remove(&app);
            self.core.persist(format!("{APP_PREFIX}{app}"), None);
            self.dirty.remove(&app);
            self.gone.insert(app);
        }
        for (key, entry) in &self.order.entries {
            self.gone.remove(key);
            match self.apps.get_mut(key) {
                Some(app) => {
                    let latest = app.next.as_ref().unwrap_or(&app.entry);
                    if latest != entry {
                        app.next = Some(entry.clone());
                        self.dirty.insert(key.clone());
                    }
                }
                None => {
                    let app =
                        AppSync::new(key.clone(), entry.clone(), AppRecord::default(), &self.core);
                    self.apps.insert(key.clone(), app);
                    self.dirty.insert(key.clone());
                }
            }
        }
        self.sweep = true;
    }

    fn blobs(&mut self, blobs: Vec<(Digest, Bytes)>) {
        for (digest, bytes) in blobs {
            if !self.core.missing.contains(&digest) {
                continue;
            }
            if Digest::of(&bytes) != digest {
                self.core.wanted.insert(digest);
                self.core.fetch_at = Some(self.core.now.mono_ms.saturating_add(5_000));
                continue;
            }
            self.core.keep_blob(digest, bytes);
            for (key, app) in &mut self.apps {
                // others wait for nothing, or for their list
                if app.lacking.0.remove(&digest) || !app.planned && app.lacking.0.is_empty() {
                    self.dirty.insert(key.clone());
                }
            }
        }
    }

    fn all_dirty(&mut self) {
        self.dirty.extend(self.apps.keys().cloned());
    }

    fn reply(&mut self, call: CallId, result: Result<Reply, ClusterError>) {
        let Some(purpose) = self.core.calls.remove(&call) else {
            return;
        };
        match purpose {
            Purpose::Discover => self.discovered(result),
            Purpose::Namespace(name) => {
                self.core.making.remove(&name);
                match result {
                    Ok(_) => {
                        self.core.namespaces.insert(name, None);
                    }
                    Err(error) if error.kind == ErrorKind::Conflict => {
                        self.core.namespaces.insert(name, None);
                    }
                    Err(error) => {
                        let wait = pause(&error, if error.is_transient() { 2 } else { 6 });
                        let at = self.core.now.mono_ms.saturating_add(wait);
                        self.core.namespace_errors.insert(name, (error.message, at));
                    }
                }
                self.all_dirty();
            }
            Purpose::Names { app, gvk, group } => {
                if let Some(mut state) = self.apps.remove(&app) {
                    state.named(group, &gvk, result, &mut self.core);
                    self.apps.insert(app.clone(), state);
                    self.dirty.insert(app);
                }
            }
            Purpose::Object { app, id, op } => {
                if let Some(mut state) = self.apps.remove(&app) {
                    state.reply(&id, op, result, &mut self.core);
                    self.apps.insert(app.clone(), state);
                    self.dirty.insert(app);
                }
            }
        }
    }

    fn discovered(&mut self, result: Result<Reply, ClusterError>) {
        self.core.discovering = false;
        let now = self.core.now.mono_ms;
        match result {
            Ok(Reply::Discovered { version, resources }) => {
                self.core.version = version;
                self.core.served = served(&resources);
                let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
                for resource in resources {
                    kinds
                        .entry(resource.gvk.group_kind())
                        .or_default()
                        .push(resource);
                }
                self.core.kinds = Some(kinds);
                self.core.discover_fails = (self.core.discover_fails + 1).min(6);
                self.core.discover_at = None;
                self.core.discover_problem.clear();
                self.core.world += 1;
                self.all_dirty();
            }
            Ok(_) => {}
            Err(error) => {
                self.core.discover_fails = self.core.discover_fails.saturating_add(1);
                if self.core.discover_problem != error.message {
                    self.core.discover_problem.clone_from(&error.message);
                    self.all_dirty();
                }
                let wait = pause(&error, self.core.discover_fails);
                self.core.discover_at = Some(now.saturating_add(wait));
            }
        }
    }

    fn event(&mut self, gvk: &Gvk, event: WatchEvent) {
        let Some(state) = self.core.watches.get_mut(gvk) else {
            return;
        };
        state.fails = 0;
        state.problem.clear();
        match event {
            WatchEvent::Applied(bytes) => {
                // the answer to an apply and the event of it tell the same
                if state.listing.is_none()
                    && let Some(head) = Head::of(&bytes)
                    && is_known(&self.index, &self.apps, &head.id(), &head)
                {
                    head.revision().clone_into(&mut state.revision);
                    return;
                }
                let Ok(tree) = serde_json::from_slice::<Value>(&bytes) else {
                    return;
                };
                let Some(id) = ObjectId::of(&tree) else {
                    return;
                };
                match &mut state.listing {
                    Some(listing) => drop(listing.insert(id.clone())),
                    None => advance(&mut state.revision, &tree),
                }
                self.seen(gvk, &id, &tree);
            }
            WatchEvent::Deleted(bytes) => {
                let Ok(tree) = serde_json::from_slice::<Value>(&bytes) else {
                    return;
                };
                if state.listing.is_none() {
                    advance(&mut state.revision, &tree);
                }
                if let Some(id) = ObjectId::of(&tree) {
                    self.unseen(gvk, &id, Some(&tree));
                }
            }
            WatchEvent::Synced(revision) => {
                state.revision.clone_from(&revision);
                let first = !state.synced;
                state.synced = true;
                let listing = state.listing.take();
                if let Some(listing) = listing {
                    self.listed(gvk, &listing, &revision);
                }
                if first {
                    self.core.world += 1;
                    self.all_dirty();
                }
            }
            WatchEvent::Bookmark(revision) => state.revision = revision,
        }
    }

    fn seen(&mut self, gvk: &Gvk, id: &ObjectId, tree: &Value) {
        if *gvk == namespace_gvk() {
            let hold = k8s_object::annotation(tree, crate::HOLD_ANNOTATION);
            let hold = hold.and_then(|text| text.parse::<Time>().ok());
            let before = self.core.namespaces.insert(id.name.clone(), hold);
            if before != Some(hold) {
                if before.flatten() != hold {
                    self.core.world += 1;
                }
                self.all_dirty();
            }
        }
        let mut apps: BTreeSet<AppKey> = self.index.get(id).cloned().unwrap_or_default();
        if let Some(owner) = crate::claim::owner(tree, id) {
            apps.insert(owner.app);
        }
        for key in apps {
            if let Some(mut app) = self.apps.remove(&key) {
                app.observe(id, tree, &mut self.core);
                self.apps.insert(key.clone(), app);
                self.dirty.insert(key);
            }
        }
    }

    fn unseen(&mut self, gvk: &Gvk, id: &ObjectId, tree: Option<&Value>) {
        if *gvk == namespace_gvk() {
            self.core.namespaces.remove(&id.name);
        }
        for (key, app) in &mut self.apps {
            let Some(live) = app.objects.get(id).and_then(|obj| obj.live.as_ref()) else {
                continue;
            };
            // an old object's end says nothing about the one that took its name
            if tree.is_some_and(|tree| k8s_object::uid(tree) != live.uid) {
                continue;
            }
            app.gone(id, tree.is_none() && live.marked);
            self.dirty.insert(key.clone());
        }
    }

    /// Takes in a whole listing as of a revision: what it did not show is gone, unless it was made since.
    fn listed(&mut self, gvk: &Gvk, listing: &BTreeSet<ObjectId>, revision: &str) {
        let kind = gvk.group_kind();
        let mut gone = BTreeSet::new();
        for app in self.apps.values() {
            for (id, obj) in app.objects.iter() {
                let live = obj.live.as_ref();
                let marked = live.is_some_and(|live| live.marked && !live.is_newer_than(revision));
                if marked && id.group_kind() == kind && !listing.contains(id) {
                    gone.insert(id.clone());
                }
            }
        }
        if *gvk == namespace_gvk() {
            self.core
                .namespaces
                .retain(|name, _| listing.iter().any(|id| id.name == *name));
        }
        for id in gone {
            self.unseen(gvk, &id, None);
        }
    }

    fn watch_ended(&mut self, gvk: &Gvk, error: Option<&ClusterError>) {
        let now = self.core.now.mono_ms;
        let Some(state) = self.core.watches.get_mut(gvk) else {
            return;
        };
        state.running = false;
        state.listing = None;
        state.retry_at = Some(match error {
            None => now.saturating_add(100),
            Some(error) if error.kind == ErrorKind::Expired => {
                state.revision.clear();
                now
            }
            Some(error) => {
                state.fails = state.fails.saturating_add(1);
                if !state.synced {
                    state.revision.clear();
                }
                now.saturating_add(pause(error, state.fails))
            }
        });
        if let Some(error) = error
            && !state.synced
            && state.problem != error.message
        {
            state.problem.clone_from(&error.message);
            self.core.world += 1;
            self.all_dirty();
        }
        if error.is_some_and(|error| error.kind == ErrorKind::UnknownKind) {
            self.core.forget_kind(&gvk.group_kind());
            self.core.discover_again();
        }
    }

    /// Lets every App that something happened to do what it can, and after them those that found no room, the longest
    /// waiting first, while there is some.
    fn drive(&mut self) {
        let now = self.core.now.mono_ms;
        let due = self
            .apps
            .iter()
            .filter(|(_, app)| app.wake.is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone());
        self.dirty.extend(due);
        // what waits for another App looks again when that one's state changes, so a few turns may be needed
        for _ in 0..4 {
            let waiting = if self.core.is_full() {
                0
            } else {
                self.starving.len()
            };
            let dirty = std::mem::take(&mut self.dirty);
            if dirty.is_empty() && waiting == 0 {
                break;
            }
            let mut starved = Vec::new();
            for _ in 0..waiting {
                if self.core.is_full() {
                    break;
                }
                let Some(key) = self.starving.pop_front() else {
                    break;
                };
                if !dirty.contains(&key) && self.turn(&key, false) {
                    starved.push(key);
                }
            }
            for key in dirty {
                if self.turn(&key, false) {
                    starved.push(key);
                }
            }
            // what failed before is tried again in the room that is left
            for key in starved {
                if self.core.is_full() || self.turn(&key, true) {
                    self.starve(key);
                }
            }
        }
    }

    fn starve(&mut self, key: AppKey) {
        if !self.starving.contains(&key) {
            self.starving.push_back(key);
        }
    }

    /// Lets one App do what it can; says whether it found too little room.
    fn turn(&mut self, key: &AppKey, retries: bool) -> bool {
        let Some(mut app) = self.apps.remove(key) else {
            return false;
        };
        self.turns += 1;
        self.unreported.insert(key.clone());
        self.core.retries = retries;
        self.core.starved = false;
        let (planned, before) = (app.planned, app.state);
        app.drive(&mut self.core);
        if app.planned && !planned {
            self.indexed(&app);
        }
        let state = (app.state, app.entry.commit.clone(), app.since);
        self.core.states.insert(key.clone(), state);
        if app.state != before {
            let entries = self.order.entries.iter();
            let waiters = entries
                .filter(|(_, entry)| entry.waits_for.iter().any(|wait| wait.app == *key))
                .map(|(waiter, _)| waiter.clone());
            self.dirty.extend(waiters);
        }
        self.apps.insert(key.clone(), app);
        self.core.starved
    }

    fn indexed(&mut self, app: &AppSync) {
        for id in app.objects.keys() {
            self.index
                .entry(id.clone())
                .or_default()
                .insert(app.key.clone());
        }
    }

    /// Kinds, watches and content: what is asked for once for all Apps.
    fn common(&mut self) {
        let now = self.core.now.mono_ms;
        if self.core.discover_at.is_some_and(|at| at <= now)
            && !self.core.discovering
            && self.core.has_slot()
        {
            self.core.discovering = true;
            self.core.discover_at = None;
            self.core.call(Purpose::Discover, Call::Discover);
        }
        let ended: Vec<Gvk> = self
            .core
            .watches
            .iter()
            .filter(|(_, state)| !state.running && state.retry_at.is_some_and(|at| at <= now))
            .map(|(gvk, _)| gvk.clone())
            .collect();
        for gvk in ended {
            self.core.watch(&gvk);
        }
        if self.sweep {
            self.sweep();
        }
        self.core.fetch_at = self.core.fetch_at.filter(|at| *at > now);
        if self.core.connected && self.core.fetch_at.is_none() {
            let wanted = std::mem::take(&mut self.core.wanted);
            if !wanted.is_empty() {
                let wanted = wanted.into_iter().collect();
                self.core.effects.push(Effect::Fetch(wanted));
            }
        }
    }

    /// Forgets content and watches that no order needs, once every order is known in full.
    fn sweep(&mut self) {
        let settled = |app: &AppSync| {
            let removes = !matches!(
                app.entry.phase,
                roadstead_dispatch::EntryPhase::Deliver | roadstead_dispatch::EntryPhase::Revert
            );
            app.next.is_none() && (app.planned || removes)
        };
        if !self.apps.values().all(settled) || self.core.kinds.is_none() {
            return;
        }
        self.sweep = false;
        let needed: BTreeSet<Digest> = self.apps.values().flat_map(AppSync::needs).collect();
        let unused: Vec<Digest> = self
            .core
            .blobs
            .keys()
            .filter(|digest| !needed.contains(*digest))
            .copied()
            .collect();
        for digest in unused {
            self.core.blobs.remove(&digest);
            self.core
                .persist(format!("{BLOB_PREFIX}{}", digest.hex()), None);
        }
        self.core.missing.retain(|digest| needed.contains(digest));
        self.core.wanted.retain(|digest| needed.contains(digest));
        let mut watched: BTreeSet<Gvk> = self
            .apps
            .values()
            .flat_map(|app| app.gvks(&self.core))
            .collect();
        watched.insert(namespace_gvk());
        let unused: Vec<Gvk> = self
            .core
            .watches
            .keys()
            .filter(|gvk| !watched.contains(*gvk))
            .cloned()
            .collect();
        for gvk in unused {
            self.core.watches.remove(&gvk);
            self.core.effects.push(Effect::Unwatch(gvk));
        }
        self.core.scaled = self
            .apps
            .values()
            .flat_map(|app| app.scaled.iter().cloned())
            .collect();
        self.index.clear();
        let apps = std::mem::take(&mut self.apps);
        for app in apps.values() {
            self.indexed(app);
        }
        self.apps = apps;
    }
}

/// A watch resumes behind the last event that it had, so that no old one comes again.
fn advance(revision: &mut String, tree: &Value) {
    let newer = tree.pointer("/metadata/resourceVersion");
    if let Some(newer) = newer
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        newer.clone_into(revision);
    }
}

/// What a cluster serves, as charts ask for it, in order, and the digest of that.
fn served(resources: &[ApiResource]) -> (Vec<String>, String) {
    let mut list = BTreeSet::new();
    for resource in resources {
        let version = resource.gvk.api_version();
        list.insert(format!("{version}/{}", resource.gvk.kind));
        list.insert(version);
    }
    let list: Vec<String> = list.into_iter().collect();
    match served_digest(&list) {
        Some(digest) => (list, digest),
        None => Default::default(),
    }
}
