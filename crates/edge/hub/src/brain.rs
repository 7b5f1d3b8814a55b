//! The one thread that knows: it follows the log, decides, and commits what was decided.
//!
//! Everything that it knows is in the store; it may be killed at any instruction. It is woken by the log, by agents and
//! by time, and takes everything that is there at once, so that a burst costs one look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use base_store::{At, Batch, CommitError, CommitId, Op, Range, Revision, Store, WatchItem};
use parking_lot::Mutex;
use roadstead_control::{
    Decision, Index, Notice, RenderJob, Rendered, decide, entries, ingest, leftovers, project,
    rendered,
};
use roadstead_dispatch::Report;
use roadstead_model::{AppKey, ClusterId, Key, Time};
use roadstead_rollout::Sighting;

use crate::clock::{commit_id, now};
use crate::events::{Notices, about};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::shown::Shown;
use crate::tasks::Task;
use crate::variants::Variants;

/// How many inputs may wait before those who bring them do.
const QUEUE: usize = 4096;
/// How long the thread sleeps at most.
const TICK: Duration = Duration::from_millis(500);
/// How long after a render that may work later it is tried again.
const RENDER_AGAIN_MS: u64 = 10_000;
/// How often it is noted that the hub is alive, and so hears of every agent that is connected.
const NOTE_SEEN_MS: u64 = 60_000;

/// What somebody wants to know, or wants done where everything is known.
type Ask = Box<dyn FnOnce(&mut Index, &BTreeMap<AppKey, (String, String)>) + Send>;

/// What wakes the thread.
pub(crate) enum Input {
    /// The log went on.
    Log(WatchItem),
    /// An agent has connected.
    SessionUp(ClusterId),
    /// An agent has gone.
    SessionDown(ClusterId),
    /// An agent reports.
    Report(ClusterId, Box<Report>),
    /// Something was rendered.
    Rendered(AppKey, u64, Box<Rendered>),
    /// A Source was polled: what went wrong, if something did.
    Polled(Key, Option<String>),
    /// Somebody asks.
    Ask(Ask),
    /// The hub ends.
    Stop,
}

/// How others reach the thread.
#[derive(Clone)]
pub(crate) struct Brain {
    inputs: SyncSender<Input>,
}

/// What the thread tells others to do.
pub(crate) struct Hands {
    /// Renders a job.
    pub(crate) render: Box<dyn Fn(RenderJob) + Send>,
    /// Polls Sources now.
    pub(crate) poll: Box<dyn Fn(BTreeSet<Key>) + Send>,
    /// Revokes the certificate of a cluster that is no more, and ends its session.
    pub(crate) forget: Box<dyn Fn(&ClusterId) + Send>,
}

impl Brain {
    /// Makes the two ends.
    pub(crate) fn new() -> (Self, Receiver<Input>) {
        let (inputs, receiver) = sync_channel(QUEUE);
        (Self { inputs }, receiver)
    }

    /// Hands something over; waits while the queue is full.
    pub(crate) fn send(&self, input: Input) {
        // the thread ends only with the hub
        let _ = self.inputs.send(input);
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Index, &BTreeMap<AppKey, (String, String)>) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let inputs = self.inputs.clone();
        let ask: Ask = Box::new(move |index, waiting| {
            let _ = sender.send(question(index, waiting));
        });
        // a full queue must not hold up a worker thread
        tokio::task::spawn_blocking(move || inputs.send(Input::Ask(ask)))
            .await
            .ok()?
            .ok()?;
        receiver.await.ok()
    }
}

/// What the thread owns.
pub(crate) struct Thread {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) variants: Arc<Variants>,
    pub(crate) shown: Shown,
    pub(crate) hands: Hands,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) offline_after_ms: u64,
    pub(crate) epoch: u64,
    pub(crate) health: Arc<Health>,
    pub(crate) notices: Notices,
    pub(crate) task: Arc<Task>,
}

struct State {
    index: Index,
    waiting: BTreeMap<AppKey, (String, String)>,
    problems: BTreeMap<Key, String>,
    wakes: BTreeMap<AppKey, Time>,
    rendering: BTreeSet<(AppKey, u64)>,
    sessions: BTreeMap<ClusterId, usize>,
    sightings: BTreeMap<ClusterId, Sighting>,
    /// When all clusters were looked at last; never, when one came or went since.
    looked_at: Option<Instant>,
    committed: Revision,
    noted: Time,
    /// Reports that could not be committed: agents send only what changed, so they are not lost.
    unsaved: BTreeMap<String, Op>,
    show_at: Option<Instant>,
    apps_shown: BTreeSet<AppKey>,
    clusters_shown: BTreeSet<ClusterId>,
    sources_shown: BTreeSet<Key>,
}

impl Thread {
    /// Reads everything that is stored; returns the index and the revision to follow from.
    pub(crate) fn load(
        store: &dyn Store,
        offline_after_ms: u64,
        epoch: u64,
    ) -> Result<(Index, Revision), base_store::ReadError> {
        let mut index = Index::new(now(), offline_after_ms).in_epoch(epoch);
        let revision = store.revision();
        for prefix in [roadstead_control::NOUNS, "d/"] {
            let mut after = None;
            loop {
                let range = Range {
                    prefix: prefix.to_owned(),
                    after: after.take(),
                    limit: 2000,
                    at: At::Revision(revision),
                };
                let page = store.range(&range)?;
                for entry in &page.entries {
                    index.apply_entry(&entry.key, Some(&entry.value), entry.modified);
                }
                match page.entries.last() {
                    Some(last) if page.remaining > 0 => after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        Ok((index, revision))
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(self, index: Index) {
        let mut state = State {
            index,
            waiting: BTreeMap::new(),
            problems: BTreeMap::new(),
            wakes: BTreeMap::new(),
            rendering: BTreeSet::new(),
            sessions: BTreeMap::new(),
            sightings: BTreeMap::new(),
            looked_at: None,
            committed: Revision(0),
            noted: now(),
            unsaved: BTreeMap::new(),
            show_at: None,
            apps_shown: BTreeSet::new(),
            clusters_shown: BTreeSet::new(),
            sources_shown: BTreeSet::new(),
        };
        state.sources_shown = state.index.sources().map(|(key, _)| key.clone()).collect();
        loop {
            self.health.beat();
            let first = self.inputs.recv_timeout(self.patience(&state));
            let mut batch = Vec::new();
            match first {
                Ok(input) => batch.push(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while batch.len() < QUEUE {
                let Ok(input) = self.inputs.try_recv() else {
                    break;
                };
                batch.push(input);
            }
            if !self.take(&mut state, batch) {
                return;
            }
            self.think(&mut state);
        }
    }

    fn patience(&self, state: &State) -> Duration {
        if state.index.is_dirty() && state.index.revision() >= state.committed {
            return Duration::ZERO;
        }
        let now = now();
        let wake = state
            .wakes
            .values()
            .min()
            .map(|at| Duration::from_millis(at.since_ms(now)));
        let show = state
            .show_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        [Some(TICK), wake, show]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(TICK)
    }

    /// Takes in what came; false when it is time to end.
    fn take(&self, state: &mut State, batch: Vec<Input>) -> bool {
        // what could not be committed the last time comes first
        let mut ops = std::mem::take(&mut state.unsaved);
        let now = now();
        let started = Instant::now();
        let something = !batch.is_empty();
        for input in batch {
            match input {
                Input::Log(WatchItem::Commit(commit)) => {
                    for change in commit.changes.iter() {
                        state.index.apply(change);
                    }
                }
                Input::Log(WatchItem::Progress(revision)) => state.index.reached(revision),
                Input::Log(WatchItem::Compacted(_)) => self.reload(state),
                Input::SessionUp(cluster) => {
                    state.looked_at = None;
                    *state.sessions.entry(cluster.clone()).or_default() += 1;
                    state.index.session_up(&cluster, now);
                    let op = state.index.note_seen(&cluster, now);
                    ops.insert(op.key().to_owned(), op);
                }
                Input::SessionDown(cluster) => {
                    state.looked_at = None;
                    let left = state.sessions.entry(cluster.clone()).or_default();
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        state.sessions.remove(&cluster);
                        state.index.session_down(&cluster);
                        if state.index.cluster(&cluster).is_some() {
                            let op = state.index.note_seen(&cluster, now);
                            ops.insert(op.key().to_owned(), op);
                        }
                    }
                }
                Input::Report(cluster, report) => {
                    self.metrics.reports.inc();
                    for op in ingest(&state.index, &cluster, &report, now) {
                        ops.insert(op.key().to_owned(), op);
                    }
                }
                Input::Rendered(app, number, outcome) => {
                    state.rendering.remove(&(app.clone(), number));
                    if let Some(problem) = &outcome.transient {
                        tracing::warn!(%app, number, %problem, "failed to render for now");
                        let told = ("RenderWaits".to_owned(), problem.clone());
                        self.waits(state, &app, told, now);
                        state.apps_shown.insert(app.clone());
                        state.wakes.insert(app, now.plus_ms(RENDER_AGAIN_MS));
                        continue;
                    }
                    let writes = rendered(&state.index, &app, number, &outcome, now);
                    if writes.is_empty() && !outcome.error.is_empty() {
                        // others have their variants; for these it may work later
                        let told = ("RenderFailed".to_owned(), outcome.error);
                        self.waits(state, &app, told, now);
                        state.apps_shown.insert(app.clone());
                        state.wakes.insert(app, now.plus_ms(3 * RENDER_AGAIN_MS));
                        continue;
                    }
                    self.commit(state, writes);
                    state.index.mark(&app);
                }
                Input::Polled(key, problem) => {
                    state.index.note_poll(&key, problem.as_deref());
                    match problem {
                        Some(problem) => drop(state.problems.insert(key.clone(), problem)),
                        None => drop(state.problems.remove(&key)),
                    }
                    state.sources_shown.insert(key);
                }
                Input::Ask(ask) => ask(&mut state.index, &state.waiting),
                Input::Stop => return false,
            }
        }
        if now.since_ms(state.noted) >= NOTE_SEEN_MS {
            state.noted = now;
            if !state.sessions.is_empty() {
                let op = Index::note_alive(now);
                ops.insert(op.key().to_owned(), op);
                self.metrics.notes.inc();
            }
        }
        let all: Vec<Op> = ops.values().cloned().collect();
        if !self.commit(state, all) {
            state.unsaved = ops;
        }
        if something {
            self.metrics
                .ingest_seconds
                .observe(started.elapsed().as_secs_f64());
        }
        true
    }

    /// The log is compacted beyond what was followed: read everything again.
    fn reload(&self, state: &mut State) {
        tracing::warn!("log was compacted past the index; reading everything again");
        match Self::load(&*self.store, self.offline_after_ms, self.epoch) {
            Ok((mut index, _)) => {
                for cluster in state.sessions.keys() {
                    index.session_up(cluster, now());
                }
                state.index = index;
            }
            Err(error) => tracing::error!(%error, "failed to read the store again"),
        }
    }

    /// Commits; what was committed comes back by the log. False if it may be tried again.
    fn commit(&self, state: &mut State, ops: Vec<Op>) -> bool {
        if ops.is_empty() {
            return true;
        }
        let batch = Batch::new(CommitId(commit_id()), ops);
        match self.store.commit(batch) {
            Ok(committed) => {
                state.committed = state.committed.max(committed.last);
                true
            }
            Err(error) => {
                self.refused(&error);
                matches!(error, CommitError::Conflict { .. })
            }
        }
    }

    fn refused(&self, error: &CommitError) {
        match error {
            // somebody else wrote first: the log brings it, and the next look takes it in
            CommitError::Conflict { .. } => {}
            error => {
                self.metrics.store_errors.inc();
                tracing::error!(%error, "failed to commit");
            }
        }
    }

    fn think(&self, state: &mut State) {
        for problem in state.index.take_problems() {
            tracing::error!(%problem, "a stored record is damaged");
        }
        self.metrics
            .revision
            .set(i64::try_from(self.store.revision().0).unwrap_or(i64::MAX));
        let now = now();
        self.look_at_clusters(state, now);
        let due: Vec<AppKey> = state
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(app, _)| app.clone())
            .collect();
        for app in due {
            state.wakes.remove(&app);
            state.index.mark(&app);
        }
        // what was committed must have come back before anything is decided on it
        if state.index.revision() < state.committed || !state.index.is_dirty() {
            self.show(state);
            return;
        }
        let run = self.task.begin();
        let mut refused = None;
        let dirty = state.index.take_dirty();
        let done: Arc<Mutex<Vec<Result<base_store::Committed, CommitError>>>> = Arc::default();
        let mut sent = 0;
        let (finished, wait) = sync_channel(dirty.apps.len().max(1));
        for app in &dirty.apps {
            let started = Instant::now();
            let Decision {
                ops,
                render,
                wake,
                waiting,
            } = decide(&mut state.index, app, now, true);
            self.metrics.decided(started.elapsed());
            match waiting {
                Some(waiting) => self.waits(state, app, waiting, now),
                None => drop(state.waiting.remove(app)),
            }
            match wake {
                Some(at) => drop(state.wakes.insert(app.clone(), at)),
                None => drop(state.wakes.remove(app)),
            }
            if let Some(job) = render
                && state.rendering.insert((app.clone(), job.number))
            {
                (self.hands.render)(job);
            }
            if !ops.is_empty() {
                let (done, finished) = (Arc::clone(&done), finished.clone());
                sent += 1;
                self.store.submit(
                    Batch::new(CommitId(commit_id()), ops),
                    Box::new(move |outcome| {
                        done.lock().push(outcome);
                        let _ = finished.send(());
                    }),
                );
            }
        }
        let waits = Instant::now();
        for _ in 0..sent {
            if wait.recv_timeout(Duration::from_secs(30)).is_err() {
                tracing::error!("the store has not answered for 30 s");
                break;
            }
        }
        if sent > 0 {
            self.metrics
                .commit_seconds
                .observe(waits.elapsed().as_secs_f64());
        }
        for outcome in done.lock().drain(..) {
            match outcome {
                Ok(committed) => state.committed = state.committed.max(committed.last),
                Err(error) => {
                    self.refused(&error);
                    refused = Some(error.to_string());
                    // look again with what the log brings
                    for app in &dirty.apps {
                        let soon = now.plus_ms(50);
                        let wake = state.wakes.entry(app.clone()).or_insert(soon);
                        *wake = (*wake).min(soon);
                    }
                }
            }
        }
        for cluster in &dirty.forgotten {
            (self.hands.forget)(cluster);
        }
        if !dirty.forgotten.is_empty() {
            self.commit(state, leftovers(&state.index));
        }
        if !dirty.sources.is_empty() {
            state.sources_shown.extend(dirty.sources.iter().cloned());
            (self.hands.poll)(dirty.sources);
        }
        let started = Instant::now();
        for cluster in &dirty.orders {
            // what its agent says first makes it a matter of orders again
            if state.index.awaits_inventory(cluster) {
                continue;
            }
            match entries(&state.index, cluster, &*self.variants, now) {
                Some(made) => self.orders.set(cluster, made),
                None => {
                    tracing::error!(%cluster, "an order cannot be made now; the one that is out stays");
                    state.index.mark_order(cluster);
                }
            }
        }
        if !dirty.orders.is_empty() {
            self.metrics
                .order_seconds
                .observe(started.elapsed().as_secs_f64());
        }
        let looked = format!(
            "{} Apps looked at, {} orders made",
            dirty.apps.len(),
            dirty.orders.len()
        );
        run.ended(refused.map_or(Ok(looked), Err));
        state.apps_shown.extend(dirty.shown);
        state.clusters_shown.extend(dirty.shown_clusters);
        self.show(state);
    }

    /// Notes that an App waits; tells it when it waits for something else than before.
    fn waits(&self, state: &mut State, app: &AppKey, waiting: (String, String), now: Time) {
        let before = state.waiting.get(app);
        if before.is_none_or(|before| before.0 != waiting.0) {
            let (reason, message) = &waiting;
            self.notices
                .tell(Notice::waiting(app, reason, message, now));
        }
        state.waiting.insert(app.clone(), waiting);
    }

    /// Notices clusters that came or went by the clock alone.
    fn look_at_clusters(&self, state: &mut State, now: Time) {
        // it costs their number, and a report from each of them is as many wakes
        if state.looked_at.is_some_and(|at| at.elapsed() < TICK) {
            return;
        }
        state.looked_at = Some(Instant::now());
        let mut moved = Vec::new();
        let mut connected = 0;
        for (id, _) in state.index.clusters() {
            let sighting = state.index.sighting(id, now);
            connected += i64::from(state.index.is_connected(id));
            if state.sightings.get(id) != Some(&sighting) {
                moved.push((id.clone(), sighting));
            }
        }
        self.metrics.connected.set(connected);
        for (id, sighting) in moved {
            if sighting == Sighting::Offline && state.sightings.contains_key(&id) {
                let name = state.index.cluster_name(&id);
                let told = (
                    true,
                    "Offline",
                    "the agent has not been heard of for too long",
                );
                self.notices
                    .tell(about("Cluster", "clusters", ("", name), told));
            }
            state.index.touch_apps_of(&id);
            state.clusters_shown.insert(id.clone());
            state.sightings.insert(id, sighting);
        }
    }

    /// Hands what people see to the writer, a little later than it changed, so that a burst is written once.
    fn show(&self, state: &mut State) {
        let nothing = state.apps_shown.is_empty()
            && state.clusters_shown.is_empty()
            && state.sources_shown.is_empty();
        if nothing {
            return;
        }
        match state.show_at {
            None => {
                state.show_at = Some(Instant::now() + Duration::from_millis(150));
                return;
            }
            Some(at) if at > Instant::now() => return,
            Some(_) => state.show_at = None,
        }
        let now = now();
        let mut out = Vec::new();
        for app in std::mem::take(&mut state.apps_shown) {
            out.extend(project(&state.index, &app, state.waiting.get(&app), now));
            let deleted = state
                .index
                .app(&app)
                .is_some_and(|noun| noun.metadata.deletion_timestamp.is_some());
            if deleted && state.index.may_forget(&app, now) {
                self.shown.let_go(&app);
            }
        }
        for cluster in std::mem::take(&mut state.clusters_shown) {
            out.extend(state.index.project_cluster(&cluster, now));
        }
        for key in std::mem::take(&mut state.sources_shown) {
            let problem = state.problems.get(&key).map(String::as_str);
            out.extend(state.index.project_source(&key, problem, now));
        }
        self.shown.write(out);
    }
}
