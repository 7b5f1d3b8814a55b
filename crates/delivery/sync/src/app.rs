//! One App: its rounds, and what is to be done next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use k8s_object::{Gvk, ObjectId, kind_rank};
use roadstead_dispatch::{AppReport, AppState, Entry, EntryPhase, LeftOver, Phase, Variant};
use roadstead_model::{AppKey, HoldMode, Time};

use crate::core::{Core, MAX_CALLS_PER_APP, Op, Purpose, namespace_gvk};
use crate::desired;
use crate::lookup::{Group, Lookup};
use crate::objects::{Objects, Place};
use crate::record::{APP_PREFIX, AppRecord, Held, Round, Run, Runs};

/// The objects of one (phase, wave), by kind order.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) phase: Phase,
    pub(crate) wave: i32,
    /// Sets of objects that may be applied side by side, in order.
    pub(crate) ranks: Vec<Vec<ObjectId>>,
}

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This step is worked on.
    Running(usize),
    /// It failed; this step of what follows a failure is worked on.
    Failing(usize),
    /// It ended with an error.
    Failed,
    /// Everything was applied.
    Steady,
    /// The App was let go or removed.
    Gone,
}

/// Content that does not come is asked for again after so long.
const LACKING_MS: u64 = 5_000;

/// What pruning has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pruning {
    pub(crate) done: bool,
    /// What is removed; decided once.
    pub(crate) chosen: Option<Vec<ObjectId>>,
    /// It takes longer than it should, and that was said.
    pub(crate) late: bool,
    pub(crate) since: Option<u64>,
    pub(crate) awaiting: Vec<ObjectId>,
    pub(crate) left_over: Vec<LeftOver>,
}

/// What was kept last, as far as it is needed to see that something else is to be kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    digest: Option<Digest>,
    /// The numbers of changes, and the sums that are written down.
    changes: (u64, u64, u64, u64, usize),
    /// What must not be done twice.
    urgent: (Runs, Option<Round>, Option<Round>, Option<Round>),
}

impl Kept {
    /// What a record that was just read is worth: nothing is to be kept.
    fn of(record: &AppRecord) -> Self {
        Self {
            digest: base_json::canonical_of(record)
                .ok()
                .map(|bytes| Digest::of(&bytes)),
            changes: Self::changes(record),
            urgent: Self::urgent(record),
        }
    }

    fn changes(record: &AppRecord) -> (u64, u64, u64, u64, usize) {
        (
            record.held.changes(),
            record.ended.changes(),
            record.healed,
            record.writes,
            record.left.len(),
        )
    }

    fn urgent(record: &AppRecord) -> (Runs, Option<Round>, Option<Round>, Option<Round>) {
        (
            record.runs.clone(),
            record.round.clone(),
            record.synced.clone(),
            record.failed.as_ref().map(|(round, _)| round.clone()),
        )
    }

    fn is_urgent(&self, record: &AppRecord) -> bool {
        let (runs, round, synced, failed) = &self.urgent;
        *runs != record.runs
            || *round != record.round
            || *synced != record.synced
            || failed.as_ref() != record.failed.as_ref().map(|(round, _)| round)
            || self.changes.1 != record.ended.changes()
    }
}

/// One App.
pub(crate) struct AppSync {
    pub(crate) key: AppKey,
    pub(crate) entry: Entry,
    /// The order that takes the place of `entry` at the next safe point.
    pub(crate) next: Option<Entry>,
    /// The objects of the variant are known.
    pub(crate) known: bool,
    /// Content that a plan needs and that is not here yet, of how many.
    pub(crate) lacking: (BTreeSet<Digest>, usize),
    /// When to ask for it again.
    pub(crate) lacking_at: u64,
    /// Namespaces that must be there before anything else.
    pub(crate) namespaces: Vec<String>,
    /// The kinds that the App has to do with, once they were asked for.
    pub(crate) gvks: Option<BTreeSet<Gvk>>,
    /// What was seen of what all Apps share when they were asked for.
    pub(crate) gvks_world: u64,
    /// What all of them had been listed in.
    pub(crate) synced_world: Option<u64>,
    /// What was looked for together since the plan was made.
    pub(crate) lookups: Option<BTreeMap<Group, Lookup>>,
    /// What it has seen of what all Apps share.
    pub(crate) seen_world: u64,
    /// Whether nothing may be written, and whether nothing is healed, when objects were tended last.
    pub(crate) holds: (bool, bool),
    /// The list of objects before this one.
    pub(crate) base: Option<Digest>,
    pub(crate) planned: bool,
    pub(crate) steps: Arc<Vec<Step>>,
    pub(crate) fail_steps: Arc<Vec<Step>>,
    /// What autoscalers of this App scale.
    pub(crate) scaled: BTreeSet<ObjectId>,
    /// What the report must say aloud.
    pub(crate) loud: BTreeMap<ObjectId, String>,
    pub(crate) unhealthy_since: Option<u64>,
    pub(crate) progress: Progress,
    /// When the current step was entered, on the clock that never goes back.
    pub(crate) entered: u64,
    pub(crate) record: AppRecord,
    pub(crate) kept: Kept,
    pub(crate) kept_at: u64,
    pub(crate) objects: Objects,
    pub(crate) wake: Option<u64>,
    /// What it waits for, in a sentence.
    pub(crate) waiting: String,
    pub(crate) held: bool,
    pub(crate) pruning: Pruning,
    pub(crate) state: AppState,
    pub(crate) since: Time,
    pub(crate) sent: Option<AppReport>,
}

impl AppSync {
    pub(crate) fn new(key: AppKey, entry: Entry, record: AppRecord, core: &Core) -> Self {
        let mut app = Self {
            key,
            entry: entry.clone(),
            next: None,
            known: false,
            lacking: Default::default(),
            lacking_at: 0,
            namespaces: Vec::new(),
            gvks: None,
            gvks_world: 0,
            synced_world: None,
            lookups: None,
            seen_world: 0,
            holds: (false, false),
            base: None,
            planned: false,
            steps: Arc::default(),
            fail_steps: Arc::default(),
            scaled: BTreeSet::new(),
            loud: BTreeMap::new(),
            unhealthy_since: None,
            progress: Progress::Running(0),
            entered: core.now.mono_ms,
            kept: Kept::of(&record),
            kept_at: 0,
            record,
            objects: Objects::default(),
            wake: None,
            waiting: String::new(),
            held: false,
            pruning: Pruning::default(),
            state: AppState::Waiting,
            since: core.now.wall,
            sent: None,
        };
        app.switch(entry, core);
        app
    }

    /// Takes up a new entry: a new round if it asks for another delivery, else the same one by other rules.
    pub(crate) fn switch(&mut self, entry: Entry, core: &Core) {
        let round = Round::of(&entry);
        if self.record.round.as_ref() != Some(&round) {
            let before = self.record.round.as_ref().map(|round| round.release);
            self.record.from = match round.phase {
                EntryPhase::Revert if before != Some(round.release) => before,
                EntryPhase::Revert => self.record.from,
                _ => None,
            };
            self.record.round = Some(round.clone());
            if self
                .record
                .failed
                .as_ref()
                .is_some_and(|(failed, _)| *failed != round)
            {
                self.record.failed = None;
            }
            for (_, obj) in self.objects.iter_mut() {
                obj.fresh_round();
            }
        }
        self.record.turn_to(round.run());
        let failed = |record: &AppRecord| {
            record
                .failed
                .as_ref()
                .is_some_and(|(failed, _)| *failed == round)
        };
        let same = Round::of(&self.entry) == round && self.planned;
        if !same {
            self.progress = if self.record.synced.as_ref() == Some(&round) {
                Progress::Steady
            } else if failed(&self.record) {
                Progress::Failed
            } else {
                Progress::Running(0)
            };
            self.entered = core.now.mono_ms;
        }
        if self.entry.variant != entry.variant {
            self.base = Some(self.entry.variant);
            self.known = false;
        }
        self.planned = false;
        self.lacking = Default::default();
        self.gvks = None;
        self.lookups = None;
        self.loud.clear();
        self.objects.begin();
        self.pruning = Pruning::default();
        self.entry = entry;
    }

    /// Does what can be done now.
    pub(crate) fn drive(&mut self, core: &mut Core) {
        self.wake = None;
        self.waiting.clear();
        self.held = false;
        self.objects.wake(core.now.mono_ms);
        self.check_hooks(core);
        if let Some(next) = self.next.take() {
            let other = Round::of(&next) != Round::of(&self.entry);
            if let Some(hook) = self.running_hook().filter(|_| other) {
                self.next = Some(next);
                self.waiting = format!("waits for hook {hook} of the release before to end");
            } else {
                self.switch(next, core);
            }
        }
        if self.next.is_none() {
            match self.entry.phase {
                EntryPhase::Deliver | EntryPhase::Revert => self.deliver(core),
                EntryPhase::Release => self.release(core),
                EntryPhase::Remove => self.remove(core),
            }
            self.look_at_pods(core);
        }
        self.clean(core);
        self.judge(core);
        self.refresh(core);
        self.keep(core);
        if let Some(at) = self.objects.next_wake(core.now.mono_ms) {
            self.wake_at(at);
        }
    }

    /// Judges the objects that changed.
    pub(crate) fn refresh(&mut self, core: &Core) {
        self.objects.judge(&self.record, core.now.mono_ms);
    }

    /// The object that stands at a place.
    pub(crate) fn at(&self, place: Place) -> Option<&ObjectId> {
        let step = usize::try_from(place.step).ok()?;
        let step = match step.checked_sub(self.steps.len()) {
            None => self.steps.get(step)?,
            Some(after) => self.fail_steps.get(after)?,
        };
        let rank = step.ranks.get(usize::try_from(place.rank).ok()?)?;
        rank.get(usize::try_from(place.at).ok()?)
    }

    /// The hook that is running, or is being made.
    fn running_hook(&self) -> Option<String> {
        let mut hooks = self.record.runs.hooks.iter();
        if let Some((id, _)) = hooks.find(|(_, run)| matches!(run, Run::Started(_))) {
            return Some(id.readable());
        }
        let hook = |obj: &crate::object::Obj| obj.spec.as_ref().is_some_and(|spec| spec.hook);
        let mut objects = self.objects.iter();
        objects
            .find(|(_, obj)| obj.flight.is_some() && hook(obj))
            .map(|(id, _)| id.readable())
    }

    fn deliver(&mut self, core: &mut Core) {
        if !self.planned
            && let Err(wait) = self.plan(core)
        {
            self.waiting = wait;
            return;
        }
        let Some(synced) = self.watched(core) else {
            return;
        };
        let holds = (self.on_hold(core), self.healing_held(core));
        if self.holds != holds || self.seen_world != core.world {
            self.holds = holds;
            self.seen_world = core.world;
            self.objects.touch_all();
        }
        if holds.0 {
            self.held = true;
            if synced {
                self.see_drift(core);
            }
            return;
        }
        if matches!(self.progress, Progress::Running(_))
            && let Some(wait) = self.waits_for_others(core)
        {
            // the time in which to become healthy begins when the waiting ends
            self.entered = core.now.mono_ms;
            self.waiting = wait;
            return;
        }
        if !synced {
            self.waiting = self.unlisted(core);
            return;
        }
        if !self.namespaces(core) {
            return;
        }
        self.advance(core);
    }

    /// Asks for the kinds and watches that it needs; says whether everything there has been seen, `None` if nothing can
    /// be said yet.
    pub(crate) fn watched(&mut self, core: &mut Core) -> Option<bool> {
        // what was seen once stays seen, and a watch that ends is begun again for all Apps
        if self.gvks.is_some() && self.synced_world == Some(core.world) {
            return Some(true);
        }
        if core.kinds.is_none() {
            if core.discover_at.is_none() && !core.discovering {
                core.discover(core.now.mono_ms);
            }
            self.waiting = if core.discover_problem.is_empty() {
                "waits for the API server to name its kinds".to_owned()
            } else {
                format!(
                    "cannot learn what the API server serves: {}",
                    core.discover_problem
                )
            };
            return None;
        }
        // a server without namespaces (a hub is one) holds nothing back by them
        let namespaces = namespace_gvk();
        let mut synced = !core.knows(&namespaces) || core.watch(&namespaces);
        if self.gvks.is_none() || self.gvks_world != core.world {
            self.gvks_world = core.world;
            self.gvks = Some(self.gvks(core));
        }
        for gvk in self.gvks.iter().flatten() {
            if core.knows(gvk) {
                synced &= core.watch(gvk);
            }
        }
        self.synced_world = synced.then_some(core.world);
        Some(synced)
    }

    /// The kinds that this App has to do with.
    pub(crate) fn gvks(&self, core: &Core) -> BTreeSet<Gvk> {
        let mut out: BTreeSet<Gvk> = BTreeSet::new();
        for spec in self.objects.iter().filter_map(|(_, obj)| obj.spec.as_ref()) {
            if !out
                .iter()
                .any(|gvk| is_of(&spec.id, gvk) && gvk.version == spec.version)
            {
                out.insert(spec.gvk());
            }
        }
        let others = self.record.held.keys().chain(&self.entry.tombstones);
        for id in others {
            if !out.iter().any(|gvk| is_of(id, gvk))
                && let Some(gvk) = self.gvk(id, core)
            {
                out.insert(gvk);
            }
        }
        out
    }

    /// Takes an object up among those that carry the App's mark.
    pub(crate) fn hold(&mut self, id: &ObjectId, version: &str) {
        if self.record.held.contains_key(id) {
            return;
        }
        self.record.held.insert(id.clone(), Held::new(version));
        if let Some(gvks) = &self.gvks
            && !gvks.iter().any(|gvk| is_of(id, gvk))
        {
            self.gvks = None;
        }
    }

    /// The version and kind by which to speak of an object.
    pub(crate) fn gvk(&self, id: &ObjectId, core: &Core) -> Option<Gvk> {
        if let Some(spec) = self.objects.get(id).and_then(|obj| obj.spec.as_ref()) {
            return Some(spec.gvk());
        }
        let held = self.record.held.get(id).map(|held| Gvk {
            group: id.group.clone(),
            version: held.version.clone(),
            kind: id.kind.clone(),
        });
        held.filter(|gvk| core.knows(gvk))
            .or_else(|| core.preferred(&id.group_kind()))
    }

    fn plan(&mut self, core: &mut Core) -> Result<(), String> {
        let now = core.now.mono_ms;
        if !self.lacking.0.is_empty() && self.lacking_at <= now {
            // what was asked for and did not come is asked for again
            self.lacking
                .0
                .retain(|digest| !core.blobs.contains_key(digest));
            core.missing.extend(&self.lacking.0);
            core.wanted.extend(&self.lacking.0);
            self.lacking_at = now.saturating_add(LACKING_MS);
        }
        let (missing, total) = (self.lacking.0.len(), self.lacking.1);
        if missing > 0 {
            self.wake_at(self.lacking_at);
            return Err(format!(
                "waits for {missing} of {total} objects from the hub"
            ));
        }
        let bytes = core
            .need_blob(self.entry.variant)
            .ok_or("waits for its list of objects from the hub")?;
        let variant: Variant = serde_json::from_slice(&bytes)
            .map_err(|error| format!("cannot read its list of objects: {error}"))?;
        let digests = variant.objects.iter().map(|object| object.digest);
        let lacking: BTreeSet<Digest> = digests
            .filter(|digest| core.need_blob(*digest).is_none())
            .collect();
        if !lacking.is_empty() {
            let (missing, total) = (lacking.len(), variant.objects.len());
            self.lacking = (lacking, total);
            self.lacking_at = now.saturating_add(LACKING_MS);
            self.wake_at(self.lacking_at);
            return Err(format!(
                "waits for {missing} of {total} objects from the hub"
            ));
        }
        let named: BTreeSet<&ObjectId> = variant.objects.iter().map(|object| &object.id).collect();
        for (id, obj) in self.objects.iter_mut() {
            obj.place = None;
            if !named.contains(id) {
                obj.spec = None;
                obj.want = None;
            }
        }
        let own: BTreeSet<&str> = named
            .iter()
            .filter(|id| id.group.is_empty() && id.kind == "Namespace")
            .map(|id| id.name.as_str())
            .collect();
        self.namespaces = variant
            .namespaces
            .iter()
            .filter(|name| !own.contains(name.as_str()))
            .cloned()
            .collect();
        self.scaled = variant
            .objects
            .iter()
            .filter(|object| object.id.kind == "HorizontalPodAutoscaler")
            .filter_map(|object| {
                scale_target(core.blobs.get(&object.digest)?, &object.id.namespace)
            })
            .collect();
        core.scaled.extend(self.scaled.iter().cloned());
        let mut groups: BTreeMap<(Phase, i32), BTreeMap<u16, Vec<ObjectId>>> = BTreeMap::new();
        for object in variant.objects {
            let ignored = desired::ignored(&self.entry.options.ignore_differences, &object.id);
            let want = desired::want(object.digest, &self.key, &ignored);
            groups
                .entry((object.phase, object.wave))
                .or_default()
                .entry(kind_rank(&object.id.group_kind()).0)
                .or_default()
                .push(object.id.clone());
            let obj = self.objects.entry(&object.id);
            if obj.want != Some(want) {
                obj.fails = 0;
                obj.retry_at = None;
                obj.terminal = false;
                obj.problem = None;
            }
            obj.spec = Some(Arc::new(object));
            obj.want = Some(want);
            obj.ignored = ignored;
        }
        let steps = groups.into_iter().map(|((phase, wave), ranks)| Step {
            phase,
            wave,
            ranks: ranks.into_values().collect(),
        });
        let (fail, steps): (Vec<_>, Vec<_>) = steps.partition(|step| step.phase == Phase::SyncFail);
        (self.fail_steps, self.steps) = (fail.into(), steps.into());
        for (step, number) in self.steps.iter().chain(self.fail_steps.iter()).zip(0..) {
            for (rank, number_of_rank) in step.ranks.iter().zip(0..) {
                for (id, at) in rank.iter().zip(0..) {
                    self.objects.entry(id).place = Some(Place {
                        step: number,
                        rank: number_of_rank,
                        at,
                    });
                }
            }
        }
        self.objects.begin();
        self.gvks = None;
        self.lookups = None;
        self.known = true;
        self.planned = true;
        Ok(())
    }

    fn on_hold(&mut self, core: &Core) -> bool {
        let hold = self.entry.hold.as_ref();
        let Some(hold) = hold.filter(|hold| hold.is_active(core.now.wall)) else {
            return false;
        };
        let (mode, until) = (hold.mode, hold.until);
        self.wake_wall(until, core);
        mode == HoldMode::Sync
    }

    fn waits_for_others(&mut self, core: &Core) -> Option<String> {
        for wait in &self.entry.waits_for {
            let Some((state, commit, since)) = core.states.get(&wait.app) else {
                return Some(format!("waits for App {}, which is not here", wait.app));
            };
            if *state != AppState::Healthy {
                return Some(format!(
                    "waits for App {} to be healthy (it is {state:?} since {since})",
                    wait.app
                ));
            }
            if !wait.commit.is_empty() && wait.commit != *commit {
                return Some(format!(
                    "waits for App {} to be healthy at commit {} (it is at {commit})",
                    wait.app, wait.commit
                ));
            }
        }
        None
    }

    /// What it waits for while not everything that exists has been seen.
    pub(crate) fn unlisted(&self, core: &Core) -> String {
        let mut kinds = self.gvks(core).into_iter().chain([namespace_gvk()]);
        let refused = kinds.find_map(|gvk| {
            let state = core.watches.get(&gvk)?;
            (!state.synced && !state.problem.is_empty())
                .then(|| format!("cannot list {gvk}: {}", state.problem))
        });
        refused.unwrap_or_else(|| "waits for the API server to list what is there".to_owned())
    }

    /// Makes the namespaces that are missing; says whether all are there.
    fn namespaces(&mut self, core: &mut Core) -> bool {
        let now = core.now.mono_ms;
        let mut ready = true;
        for name in &self.namespaces {
            if core.namespaces.contains_key(name) {
                continue;
            }
            ready = false;
            self.waiting = format!("waits for namespace {name}");
            if let Some((error, retry_at)) = core.namespace_errors.get(name) {
                self.waiting = format!("cannot make namespace {name}: {error}");
                if *retry_at > now {
                    self.wake = Some(self.wake.map_or(*retry_at, |at| at.min(*retry_at)));
                    continue;
                }
            }
            if core.making.contains(name) || !core.has_slot() {
                continue;
            }
            core.making.insert(name.clone());
            let object = base_json::json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": { "name": name, "labels": { crate::SHARED_NAMESPACE_LABEL: "true" } },
            });
            self.record.writes += 1;
            core.call(
                Purpose::Namespace(name.clone()),
                k8s_cluster::Call::Create {
                    object: base_json::canonical(&object).into(),
                    manager: crate::MANAGER.to_owned(),
                },
            );
        }
        ready
    }

    /// May another request be sent?
    pub(crate) fn has_room(&self, core: &mut Core) -> bool {
        let own = core.calls.values().filter(|purpose| match purpose {
            Purpose::Object { app, .. } | Purpose::Names { app, .. } => *app == self.key,
            Purpose::Discover | Purpose::Namespace(_) => false,
        });
        if own.count() >= MAX_CALLS_PER_APP {
            // the answer to one of them is its next turn
            core.full = true;
            return false;
        }
        core.has_slot()
    }

    /// Sends a request about an object, if there is room.
    pub(crate) fn send(
        &mut self,
        id: &ObjectId,
        op: Op,
        call: k8s_cluster::Call,
        core: &mut Core,
    ) -> bool {
        if !self.has_room(core) {
            return false;
        }
        let pods = op == Op::Pods;
        let purpose = Purpose::Object {
            app: self.key.clone(),
            id: id.clone(),
            op,
        };
        let call = core.call(purpose, call);
        if let Some(obj) = self.objects.get_mut(id)
            && !pods
        {
            obj.flight = Some(call);
        }
        true
    }

    pub(crate) fn wake_at(&mut self, at: u64) {
        self.wake = Some(self.wake.map_or(at, |other| other.min(at)));
    }

    pub(crate) fn wake_wall(&mut self, until: Option<Time>, core: &Core) {
        if let Some(until) = until {
            self.wake_at(
                core.now
                    .mono_ms
                    .saturating_add(until.since_ms(core.now.wall))
                    .saturating_add(1),
            );
        }
    }

    /// The deadline of the current step.
    pub(crate) fn deadline(&self) -> u64 {
        self.entered
            .saturating_add(self.entry.options.wait_timeout.0)
    }

    /// Writes the record if it changed: at once what must not be done twice, the rest twice a second at most, and the
    /// more seldom the longer it is.
    pub(crate) fn keep(&mut self, core: &mut Core) {
        let urgent = self.kept.is_urgent(&self.record);
        if !urgent && self.kept.changes == Kept::changes(&self.record) {
            return;
        }
        let objects = u64::try_from(self.record.held.len()).unwrap_or(u64::MAX);
        let due = self
            .kept_at
            .saturating_add((objects / 2).clamp(500, 10_000));
        if !urgent && core.now.mono_ms < due {
            self.wake_at(due);
            return;
        }
        if let Ok(bytes) = base_json::canonical_of(&self.record) {
            let digest = Some(Digest::of(&bytes));
            if self.kept.digest != digest {
                core.persist(format!("{APP_PREFIX}{}", self.key), Some(bytes.into()));
            }
            self.kept = Kept {
                digest,
                changes: Kept::changes(&self.record),
                urgent: Kept::urgent(&self.record),
            };
        }
        self.kept_at = core.now.mono_ms;
    }

    /// Every digest that this App's orders need.
    pub(crate) fn needs(&self) -> BTreeSet<Digest> {
        let mut out = BTreeSet::from([self.entry.variant]);
        out.extend(self.next.as_ref().map(|entry| entry.variant));
        let specs = self.objects.iter().filter_map(|(_, obj)| obj.spec.as_ref());
        out.extend(specs.map(|spec| spec.digest));
        out
    }
}

/// Is the object of this kind, in whatever version?
fn is_of(id: &ObjectId, gvk: &Gvk) -> bool {
    id.kind == gvk.kind && id.group == gvk.group
}

fn scale_target(autoscaler: &[u8], namespace: &str) -> Option<ObjectId> {
    let autoscaler: base_json::Value = serde_json::from_slice(autoscaler).ok()?;
    let target = autoscaler.pointer("/spec/scaleTargetRef")?;
    let text = |key: &str| target.get(key).and_then(base_json::Value::as_str);
    let gvk = Gvk::new(text("apiVersion")?, text("kind")?);
    Some(ObjectId {
        group: gvk.group,
        kind: gvk.kind,
        namespace: namespace.to_owned(),
        name: text("name")?.to_owned(),
    })
}
