//! A cluster in memory with a few controllers, and a world that drives a machine against it on a clock of its own.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses another part"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base_json::{Digest, Value, json};
use bytes::Bytes;
use k8s_cluster::{Call, ClusterError, Reply};
use k8s_object::{Gvk, ObjectId};
use roadstead_dispatch::{
    AppReport, AppState, Entry, EntryPhase, HookDelete, Known, Phase, Variant, VariantObject,
    root_of,
};
use roadstead_model::{AppKey, Now, SyncOptions, Time};
use roadstead_sync::{CallId, Effect, Input, Machine, Persisted, Settings};

mod fake;

pub use fake::{Fake, id};

pub const START: i64 = 1_795_000_000_000;

/// A hub's store, a machine, a cluster and a clock.
pub struct World {
    pub machine: Machine,
    pub fake: Fake,
    pub mono: u64,
    pub replies: VecDeque<(CallId, Result<Reply, ClusterError>)>,
    pub persisted: Persisted,
    pub hub: BTreeMap<Digest, Bytes>,
    pub apps: BTreeMap<AppKey, AppReport>,
    pub gone: Vec<AppKey>,
    pub states: Vec<(AppKey, AppState)>,
    pub wake: Option<u64>,
    pub entries: BTreeMap<AppKey, Entry>,
    pub sequence: u64,
    /// What may be removed: every tombstone ever ordered, and what replaces itself.
    pub removable: BTreeSet<ObjectId>,
    pub connected: bool,
    pub persists: usize,
    pub in_flight: usize,
    pub controllers: bool,
    pub inputs: VecDeque<Input>,
}

pub fn app(name: &str) -> AppKey {
    AppKey::new("p", name)
}

/// One object as a test writes it.
pub struct Item {
    pub object: Value,
    pub phase: Phase,
    pub wave: i32,
    pub hook: bool,
    pub once: bool,
    pub hook_delete: Vec<HookDelete>,
    pub on_rollback: bool,
}

pub fn item(object: Value) -> Item {
    Item {
        once: object["kind"] == "Job",
        object,
        phase: Phase::Sync,
        wave: 0,
        hook: false,
        hook_delete: Vec::new(),
        on_rollback: false,
    }
}

impl Item {
    pub fn wave(mut self, wave: i32) -> Self {
        self.wave = wave;
        self
    }

    pub fn hook(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self.hook = true;
        self
    }
}

pub fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"k": value}})
}

pub fn deployment(name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]}}}})
}

pub fn job(name: &str, hint: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "annotations": {"test/job": hint}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}}})
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            machine: Machine::new(Settings::default()),
            fake: Fake::default(),
            mono: 0,
            replies: VecDeque::new(),
            persisted: Persisted::new(),
            hub: BTreeMap::new(),
            apps: BTreeMap::new(),
            gone: Vec::new(),
            states: Vec::new(),
            wake: None,
            entries: BTreeMap::new(),
            sequence: 0,
            removable: BTreeSet::new(),
            connected: true,
            persists: 0,
            in_flight: 0,
            controllers: true,
            inputs: VecDeque::new(),
        };
        world.fake.now = Time(START);
        world.restart();
        world
    }
}

impl World {
    pub fn now(&self) -> Now {
        Now {
            wall: Time(START + i64::try_from(self.mono).expect("small")),
            mono_ms: 1_000_000 + self.mono,
        }
    }

    /// The agent dies and starts again.
    pub fn restart(&mut self) {
        self.machine = Machine::new(Settings::default());
        self.replies.clear();
        self.inputs.clear();
        self.in_flight = 0;
        self.wake = None;
        self.fake.watches.clear();
        self.fake.events.clear();
        self.input(Input::Restored(self.persisted.clone()));
        if self.connected {
            self.input(Input::Connected);
            if !self.entries.is_empty() {
                self.order();
            }
        }
    }

    pub fn input(&mut self, input: Input) {
        let effects = self.machine.step(self.now(), input);
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Call { id, call } => {
                if let Call::Delete { id, .. } = &call {
                    assert!(self.removable.contains(id), "{id} has no tombstone");
                }
                self.in_flight += 1;
                assert!(self.in_flight <= 16, "too many requests under way");
                let result = self.fake.call(call);
                self.replies.push_back((id, result));
            }
            Effect::Watch(spec) => self.fake.watch(spec.gvk, spec.labels, &spec.from),
            Effect::Unwatch(gvk) => {
                self.fake.watches.remove(&gvk);
            }
            Effect::Fetch(digests) => {
                let blobs = digests
                    .iter()
                    .filter_map(|digest| Some((*digest, self.hub.get(digest)?.clone())));
                // they come one by one, as each is there
                if self.connected {
                    self.inputs
                        .extend(blobs.map(|blob| Input::Blobs(vec![blob])));
                }
            }
            Effect::Persist { key, value } => {
                self.persists += 1;
                match value {
                    Some(value) => self.persisted.insert(key, value),
                    None => self.persisted.remove(&key),
                };
            }
            Effect::Report(report) => {
                assert!(self.connected);
                for (app, state) in report.apps {
                    if self.states.last() != Some(&(app.clone(), state.state)) {
                        self.states.push((app.clone(), state.state));
                    }
                    self.apps.insert(app, state);
                }
                self.gone.extend(report.gone);
                self.inputs.push_back(Input::ReportSent);
            }
            Effect::WakeAt(at) => self.wake = Some(at - 1_000_000),
        }
    }

    /// One thing happens; says whether there was any.
    pub fn turn(&mut self) -> bool {
        self.turn_at(0)
    }

    /// The reply or watch event at this place in the queue happens.
    pub fn turn_at(&mut self, at: usize) -> bool {
        if let Some(input) = self.inputs.pop_front() {
            self.input(input);
            return true;
        }
        let count = self.replies.len() + usize::from(!self.fake.events.is_empty());
        if count == 0 {
            if self.controllers {
                self.fake.controllers();
            }
            return !self.fake.events.is_empty();
        }
        let at = at % count;
        if at < self.replies.len() {
            let (call, result) = self.replies.remove(at).expect("a reply");
            self.in_flight -= 1;
            self.input(Input::Reply { call, result });
        } else {
            let (gvk, event) = self.fake.events.pop_front().expect("an event");
            if self.fake.watches.contains_key(&gvk) {
                self.input(Input::Watch { gvk, event });
            }
        }
        true
    }

    /// Lets things happen for so many milliseconds.
    pub fn run(&mut self, ms: u64) {
        let end = self.mono + ms;
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 200_000, "it never comes to rest");
            if self.turn() {
                continue;
            }
            match self.wake.filter(|at| *at <= end) {
                Some(at) => {
                    self.mono = self.mono.max(at);
                    self.fake.now = self.now().wall;
                    self.wake = None;
                    self.input(Input::Wake);
                }
                None => break,
            }
        }
        self.mono = end;
        self.fake.now = self.now().wall;
    }

    pub fn variant(&mut self, items: Vec<Item>) -> Digest {
        let mut variant = Variant {
            objects: Vec::new(),
            namespaces: vec!["shop".to_owned()],
        };
        for item in items {
            let bytes = base_json::canonical(&item.object);
            let digest = Digest::of(&bytes);
            let gvk = Gvk::of(&item.object).expect("kind");
            let id = ObjectId::of(&item.object).expect("id");
            if item.once || item.hook {
                self.removable.insert(id.clone());
            }
            variant.objects.push(VariantObject {
                id,
                version: gvk.version,
                digest,
                size: u32::try_from(bytes.len()).expect("small"),
                phase: item.phase,
                wave: item.wave,
                hook: item.hook,
                once: item.once,
                hook_delete: item.hook_delete,
                on_rollback: item.on_rollback,
                keep: false,
            });
            self.hub.insert(digest, bytes.into());
        }
        let bytes = base_json::canonical_of(&variant).expect("JSON");
        let digest = Digest::of(&bytes);
        self.hub.insert(digest, bytes.into());
        digest
    }

    pub fn entry(&mut self, items: Vec<Item>) -> Entry {
        let variant = self.variant(items);
        Entry {
            release: Digest::of(format!("release of {variant}").as_bytes()),
            commit: variant.short(),
            variant,
            phase: EntryPhase::Deliver,
            options: SyncOptions::default(),
            adopt: roadstead_model::Adopt::Unowned,
            takes_over_from: Vec::new(),
            waits_for: Vec::new(),
            hold: None,
            tombstones: Vec::new(),
            approved: Vec::new(),
            attempt: 0,
        }
    }

    pub fn order(&mut self) {
        for entry in self.entries.values() {
            self.removable.extend(entry.tombstones.iter().cloned());
        }
        self.input(Input::Order {
            entries: self.entries.clone(),
            known: Known {
                epoch: 1,
                sequence: self.sequence,
            },
            root: root_of(&self.entries),
        });
    }

    /// Orders an App's entry.
    pub fn set(&mut self, name: &str, entry: Entry) {
        self.entries.insert(app(name), entry);
        self.sequence += 1;
        self.order();
    }

    /// Orders objects and lets things happen.
    pub fn deliver(&mut self, name: &str, items: Vec<Item>) -> Entry {
        let entry = self.entry(items);
        self.set(name, entry.clone());
        self.run(5_000);
        entry
    }

    #[track_caller]
    pub fn state(&self, name: &str) -> &AppReport {
        self.apps.get(&app(name)).expect("a report")
    }

    #[track_caller]
    pub fn expect(&self, name: &str, state: AppState) {
        let report = self.state(name);
        assert_eq!(report.state, state, "{report:#?}");
    }

    pub fn live(&self, text: &str) -> Option<&Value> {
        self.fake.objects.get(&id(text))
    }
}
