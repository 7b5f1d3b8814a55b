//! One App: its rounds, and what is to be done next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use k8s_object::{Gvk, ObjectId, kind_rank};
use roadstead_dispatch::{AppReport, AppState, Entry, EntryPhase, LeftOver, Phase, Variant};
use roadstead_model::{AppKey, HoldMode, Time};

use crate::core::{Core, MAX_CALLS_PER_APP, Op, Purpose, namespace_gvk};
use crate::desired;
use crate::object::Obj;
use crate::record::{APP_PREFIX, AppRecord, Round, Run};

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

/// What pruning has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pruning {
    pub(crate) done: bool,
    /// What is removed; decided once.
    pub(crate) chosen: Option<Vec<ObjectId>>,
    pub(crate) since: Option<u64>,
    pub(crate) awaiting: Vec<ObjectId>,
    pub(crate) left_over: Vec<LeftOver>,
}

/// One App.
pub(crate) struct AppSync {
    pub(crate) key: AppKey,
    pub(crate) entry: Entry,
    /// The order that takes the place of `entry` at the next safe point.
    pub(crate) next: Option<Entry>,
    pub(crate) variant: Option<Variant>,
    /// The list of objects before this one.
    pub(crate) base: Option<Digest>,
    pub(crate) planned: bool,
    pub(crate) steps: Arc<Vec<Step>>,
    pub(crate) fail_steps: Arc<Vec<Step>>,
    /// What autoscalers of this App scale.
    pub(crate) scaled: BTreeSet<ObjectId>,
    /// What the report must say aloud.
    pub(crate) loud: BTreeSet<String>,
    pub(crate) unhealthy_since: Option<u64>,
    pub(crate) progress: Progress,
    /// When the current step was entered, on the clock that never goes back.
    pub(crate) entered: u64,
    pub(crate) record: AppRecord,
    pub(crate) kept: AppRecord,
    pub(crate) kept_at: u64,
    pub(crate) objects: BTreeMap<ObjectId, Obj>,
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
            variant: None,
            base: None,
            planned: false,
            steps: Arc::default(),
            fail_steps: Arc::default(),
            scaled: BTreeSet::new(),
            loud: BTreeSet::new(),
            unhealthy_since: None,
            progress: Progress::Running(0),
            entered: core.now.mono_ms,
            kept: record.clone(),
            kept_at: 0,
            record,
            objects: BTreeMap::new(),
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
            for obj in self.objects.values_mut() {
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
            self.variant = None;
        }
        self.planned = false;
        self.pruning = Pruning::default();
        self.entry = entry;
    }

    /// Does what can be done now.
    pub(crate) fn drive(&mut self, core: &mut Core) {
        self.wake = None;
        self.waiting.clear();
        self.loud.clear();
        self.held = false;
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
        self.keep(core);
    }

    /// The hook that is running, or is being made.
    fn running_hook(&self) -> Option<String> {
        let mut hooks = self.record.runs.hooks.iter();
        if let Some((id, _)) = hooks.find(|(_, run)| matches!(run, Run::Started(_))) {
            return Some(id.readable());
        }
        let hook = |obj: &Obj| obj.spec.as_ref().is_some_and(|spec| spec.hook);
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
        if self.on_hold(core) {
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
        if core.kinds.is_none() {
            core.discover(core.now.mono_ms);
            self.waiting = "waits for the API server to name its kinds".to_owned();
            return None;
        }
        // a server without namespaces (a hub is one) holds nothing back by them
        let namespaces = namespace_gvk();
        let mut synced = !core.knows(&namespaces) || core.watch(&namespaces);
        for gvk in self.gvks(core) {
            if core.knows(&gvk) {
                synced &= core.watch(&gvk);
            }
        }
        Some(synced)
    }

    /// The kinds that this App has to do with.
    pub(crate) fn gvks(&self, core: &Core) -> BTreeSet<Gvk> {
        let mut out: BTreeSet<Gvk> = self
            .variant
            .iter()
            .flat_map(|variant| variant.objects.iter().map(|object| object.gvk()))
            .collect();
        let kinds: BTreeSet<_> = out.iter().map(Gvk::group_kind).collect();
        let others = self.record.held.keys().chain(&self.entry.tombstones);
        for id in others {
            if !kinds.contains(&id.group_kind())
                && let Some(gvk) = self.gvk(id, core)
            {
                out.insert(gvk);
            }
        }
        out
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
        if self.variant.is_none() {
            let bytes = core
                .need_blob(self.entry.variant)
                .ok_or("waits for its list of objects from the hub")?;
            let variant = serde_json::from_slice(&bytes)
                .map_err(|error| format!("cannot read its list of objects: {error}"))?;
            self.variant = Some(variant);
        }
        let Some(variant) = self.variant.take() else {
            return Ok(());
        };
        let missing = variant
            .objects
            .iter()
            .filter(|object| core.need_blob(object.digest).is_none())
            .count();
        if missing > 0 {
            let total = variant.objects.len();
            self.variant = Some(variant);
            return Err(format!(
                "waits for {missing} of {total} objects from the hub"
            ));
        }
        let named: BTreeSet<&ObjectId> = variant.objects.iter().map(|object| &object.id).collect();
        for (id, obj) in &mut self.objects {
            if !named.contains(id) {
                obj.spec = None;
                obj.want = None;
            }
        }
        let mut groups: BTreeMap<(Phase, i32), BTreeMap<u16, Vec<ObjectId>>> = BTreeMap::new();
        for object in &variant.objects {
            let ignored = desired::ignored(&self.entry.options.ignore_differences, &object.id);
            let want = desired::want(object.digest, &self.key, &ignored);
            let obj = self.objects.entry(object.id.clone()).or_default();
            if obj.want != Some(want) {
                obj.fails = 0;
                obj.retry_at = None;
                obj.terminal = false;
                obj.problem = None;
            }
            obj.spec = Some(Arc::new(object.clone()));
            obj.want = Some(want);
            obj.ignored = ignored;
            groups
                .entry((object.phase, object.wave))
                .or_default()
                .entry(kind_rank(&object.id.group_kind()).0)
                .or_default()
                .push(object.id.clone());
        }
        let steps = groups.into_iter().map(|((phase, wave), ranks)| Step {
            phase,
            wave,
            ranks: ranks.into_values().collect(),
        });
        let (fail, steps): (Vec<_>, Vec<_>) = steps.partition(|step| step.phase == Phase::SyncFail);
        (self.fail_steps, self.steps) = (fail.into(), steps.into());
        self.scaled = variant
            .objects
            .iter()
            .filter(|object| object.id.kind == "HorizontalPodAutoscaler")
            .filter_map(|object| {
                scale_target(core.blobs.get(&object.digest)?, &object.id.namespace)
            })
            .collect();
        core.scaled.extend(self.scaled.iter().cloned());
        self.variant = Some(variant);
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
        let Some(variant) = &self.variant else {
            return true;
        };
        let now = core.now.mono_ms;
        let own: BTreeSet<&str> = variant
            .objects
            .iter()
            .filter(|object| object.id.group.is_empty() && object.id.kind == "Namespace")
            .map(|object| object.id.name.as_str())
            .collect();
        let mut ready = true;
        for name in &variant.namespaces {
            if core.namespaces.contains_key(name) || own.contains(name.as_str()) {
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

    /// Sends a request about an object, if there is room.
    pub(crate) fn send(
        &mut self,
        id: &ObjectId,
        op: Op,
        call: k8s_cluster::Call,
        core: &mut Core,
    ) -> bool {
        let own = core
            .calls
            .values()
            .filter(|purpose| matches!(purpose, Purpose::Object { app, .. } if *app == self.key))
            .count();
        if own >= MAX_CALLS_PER_APP {
            core.starved = true;
            return false;
        }
        if !core.has_slot() {
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

    /// Writes the record if it changed: at once what must not be done twice, the rest twice a second at most.
    pub(crate) fn keep(&mut self, core: &mut Core) {
        if self.record == self.kept {
            return;
        }
        let urgent = self.record.runs != self.kept.runs
            || self.record.round != self.kept.round
            || self.record.synced != self.kept.synced
            || self.record.failed != self.kept.failed
            || self.record.ended != self.kept.ended;
        let due = self.kept_at.saturating_add(500);
        if !urgent && core.now.mono_ms < due {
            self.wake_at(due);
            return;
        }
        if let Ok(bytes) = base_json::canonical_of(&self.record) {
            core.persist(format!("{APP_PREFIX}{}", self.key), Some(bytes.into()));
        }
        self.kept = self.record.clone();
        self.kept_at = core.now.mono_ms;
    }

    /// Every digest that this App's orders need.
    pub(crate) fn needs(&self) -> BTreeSet<Digest> {
        let mut out = BTreeSet::from([self.entry.variant]);
        out.extend(self.next.as_ref().map(|entry| entry.variant));
        let objects = self.variant.iter().flat_map(|variant| &variant.objects);
        out.extend(objects.map(|object| object.digest));
        out
    }
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
