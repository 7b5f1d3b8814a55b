#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test programs"
)]
//! A hub of facts alone: a store in a map, decisions carried out at once, agents that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use base_store::{Expect, Op, Revision};
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_control::{
    Command, CommandRefused, Decision, Head, HeadInput, Index, NOUNS, Projection, VariantSource,
    command, decide, entries, ingest, keys, leftovers, origin, project, render, rendered, why,
};
use roadstead_dispatch::{
    AppReport, AppState, Entry, EntryPhase, HealthCounts, Inventory, Report, Variant,
};
use roadstead_model::{AppKey, ClusterId, Key, Time, VariantId};
use roadstead_rollout::{Action, By};
use serde_json::{Value, json};

/// When every test begins.
pub const START: Time = Time(1_795_000_000_000);

/// Variant lists, read from contents.
pub struct Lists<'a>(pub &'a BTreeMap<Digest, Bytes>);

impl VariantSource for Lists<'_> {
    fn lasting(&self, variant: &VariantId) -> Option<Arc<[ObjectId]>> {
        let variant: Variant = serde_json::from_slice(self.0.get(variant)?).ok()?;
        let mut ids: Vec<ObjectId> = variant.lasting().map(|object| object.id.clone()).collect();
        ids.sort();
        Some(ids.into())
    }
}

pub type Facts = BTreeMap<String, (Bytes, Revision)>;

pub struct World {
    pub index: Index,
    pub facts: Facts,
    pub revision: u64,
    pub now: Time,
    pub blobs: BTreeMap<Digest, Bytes>,
    /// What stands at each path, by App.
    pub git: BTreeMap<String, BTreeMap<String, Bytes>>,
    pub commits: u32,
    pub orders: BTreeMap<ClusterId, BTreeMap<AppKey, Entry>>,
    pub waiting: BTreeMap<AppKey, (String, String)>,
    pub wakes: BTreeMap<AppKey, Time>,
    /// What agents hold: of each App the entry that was obeyed last.
    pub held: BTreeMap<ClusterId, BTreeMap<AppKey, AppReport>>,
    /// How many Apps were looked at.
    pub looks: usize,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

pub fn app(name: &str) -> AppKey {
    AppKey::new("default", name)
}

pub fn id(cluster: &str) -> ClusterId {
    ClusterId(format!("id-{cluster}"))
}

pub fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: shop\ndata:\n  value: \"{value}\"\n"
    )
}

impl World {
    pub fn empty() -> Self {
        Self {
            index: Index::new(START, 60_000),
            facts: Facts::new(),
            revision: 0,
            now: START,
            blobs: BTreeMap::new(),
            git: BTreeMap::new(),
            commits: 0,
            orders: BTreeMap::new(),
            waiting: BTreeMap::new(),
            wakes: BTreeMap::new(),
            held: BTreeMap::new(),
            looks: 0,
        }
    }

    /// One Project that may do everything, one Source, and a Strategy of one stage after the other: canary, rest.
    pub fn new() -> Self {
        let mut world = Self::empty();
        let any = json!({"sources": ["*"], "clusters": {}, "kinds": [{"group": "*", "kind": "*"}],
            "namespaces": ["*"], "plainSecrets": true, "hub": true});
        world.noun("projects", "Project", "", "default", &json!({}), &any);
        let source = json!({"git": {"url": "https://git.example.com/fleet", "branch": "main"}});
        world.noun("sources", "Source", "default", "repo", &json!({}), &source);
        let stages = json!({"stages": [{"name": "canary", "clusters": {"matchLabels": {"ring": "canary"}}},
            {"name": "rest"}]});
        world.noun(
            "strategies",
            "Strategy",
            "default",
            "waves",
            &json!({}),
            &stages,
        );
        world
    }

    pub fn noun(
        &mut self,
        plural: &str,
        kind: &str,
        project: &str,
        name: &str,
        labels: &Value,
        spec: &Value,
    ) {
        let mut metadata =
            json!({"name": name, "uid": format!("id-{name}"), "generation": 1, "labels": labels});
        let mut key = format!("{NOUNS}roadstead.dev/{plural}/{name}");
        if !project.is_empty() {
            metadata["namespace"] = json!(project);
            key = format!("{NOUNS}roadstead.dev/{plural}/{project}/{name}");
        }
        let noun = json!({"apiVersion": "roadstead.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        self.put(&key, &noun);
    }

    pub fn put(&mut self, key: &str, value: &Value) {
        let op = Op::Put {
            key: key.to_owned(),
            value: serde_json::to_vec(value).unwrap().into(),
            expect: Expect::Any,
        };
        assert!(self.commit(vec![op]));
    }

    pub fn delete(&mut self, key: &str) {
        let op = Op::Delete {
            key: key.to_owned(),
            expect: Expect::Any,
        };
        assert!(self.commit(vec![op]));
    }

    pub fn cluster(&mut self, name: &str, ring: &str) {
        self.cluster_with(name, &json!({"ring": ring}), &json!({}));
    }

    pub fn cluster_with(&mut self, name: &str, labels: &Value, spec: &Value) {
        self.noun("clusters", "Cluster", "", name, labels, spec);
    }

    /// Registers clusters that are connected: `c0` in ring canary, the others in ring main.
    pub fn fleet(&mut self, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            self.cluster(name, if n == 0 { "canary" } else { "main" });
            self.connect(name);
        }
        names
    }

    pub fn connect(&mut self, name: &str) {
        self.index.session_up(&id(name), self.now);
        let op = self.index.note_seen(&id(name), self.now);
        self.commit(vec![op]);
    }

    pub fn disconnect(&mut self, name: &str) {
        self.index.session_down(&id(name));
    }

    pub fn app(&mut self, name: &str, more: &Value) {
        let mut spec = json!({
            "inputs": [{"source": "repo", "path": name}], "namespace": "shop",
            "targets": [{"name": "all", "clusters": {"selector": {}}}], "strategy": "waves",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.noun("apps", "App", "default", name, &json!({}), &spec);
    }

    /// Commits these files for an App, and the hub polls.
    pub fn git(&mut self, name: &str, files: &[(&str, String)]) {
        let files = files.iter().map(|(file, text)| {
            (
                format!("{name}/{file}"),
                Bytes::from(text.clone().into_bytes()),
            )
        });
        self.git.insert(name.to_owned(), files.collect());
        self.commits += 1;
        self.poll();
    }

    pub fn poll(&mut self) {
        let source = Key::new("default", "repo");
        let Some((_, noun)) = self.index.sources().find(|(key, _)| **key == source) else {
            return;
        };
        let digest = |files: &BTreeMap<String, Bytes>| {
            let all: Vec<(&String, Digest)> =
                files.iter().map(|(n, b)| (n, Digest::of(b))).collect();
            Digest::of(&serde_json::to_vec(&all).unwrap())
        };
        let inputs = self
            .index
            .reads_of(&source)
            .into_iter()
            .map(|(key, (path, _))| {
                let input = match self.git.get(&path) {
                    Some(files) => HeadInput::Digest(digest(files)),
                    None => HeadInput::Error(format!("there is no {path:?}")),
                };
                (key, input)
            });
        let head = Head {
            commit: format!("{:040x}", self.commits),
            author: "ann".to_owned(),
            message: "a change".to_owned(),
            committed_at: self.now,
            fetched_at: self.now,
            origin: origin(noun),
            inputs: inputs.collect(),
        };
        self.put(&keys::head(&source), &serde_json::to_value(head).unwrap());
    }

    /// Writes all or nothing; false: something has been written since it was looked at.
    pub fn commit(&mut self, ops: Vec<Op>) -> bool {
        let fits = |op: &Op, expect: &Expect| match expect {
            Expect::Any => true,
            Expect::Absent => !self.facts.contains_key(op.key()),
            Expect::At(at) => self.facts.get(op.key()).is_some_and(|(_, r)| r == at),
        };
        let ok = ops.iter().all(|op| match op {
            Op::Put { expect, .. } | Op::Delete { expect, .. } => fits(op, expect),
            Op::Assert { .. } => true,
        });
        if !ok {
            return false;
        }
        for op in ops {
            self.revision += 1;
            let at = Revision(self.revision);
            match op {
                Op::Put { key, value, .. } => {
                    if self.facts.get(&key).is_some_and(|(old, _)| *old == value) {
                        continue;
                    }
                    self.index.apply_entry(&key, Some(&value), at);
                    self.facts.insert(key, (value, at));
                }
                Op::Delete { key, .. } => {
                    self.index.apply_entry(&key, None, at);
                    self.facts.remove(&key);
                }
                Op::Assert { .. } => {}
            }
        }
        assert_eq!(self.index.take_problems(), Vec::<String>::new());
        true
    }

    /// Decides until nothing changes any more.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let due: Vec<AppKey> = self
                .wakes
                .iter()
                .filter(|(_, at)| **at <= self.now)
                .map(|(app, _)| app.clone())
                .collect();
            for app in due {
                self.wakes.remove(&app);
                self.index.mark(&app);
            }
            let dirty = self.index.take_dirty();
            let mut wrote = false;
            for app in &dirty.apps {
                wrote |= self.look(app);
            }
            if !dirty.forgotten.is_empty() {
                wrote |= self.commit(leftovers(&self.index));
            }
            for cluster in &dirty.orders {
                if let Some(made) = entries(&self.index, cluster, &Lists(&self.blobs), self.now) {
                    self.orders.insert(cluster.clone(), made);
                }
            }
            if !wrote && !self.index.is_dirty() {
                return;
            }
        }
        panic!("the hub comes to no rest: {:?}", self.waiting);
    }

    /// Looks at one App once; says whether anything came of it.
    pub fn look(&mut self, app: &AppKey) -> bool {
        self.looks += 1;
        let Decision {
            ops,
            render: job,
            wake,
            waiting,
        } = decide(&mut self.index, app, self.now, true);
        match waiting {
            Some(waiting) => drop(self.waiting.insert(app.clone(), waiting)),
            None => drop(self.waiting.remove(app)),
        }
        match wake {
            Some(at) => drop(self.wakes.insert(app.clone(), at)),
            None => drop(self.wakes.remove(app)),
        }
        let wrote = !ops.is_empty();
        assert!(self.commit(ops));
        if let Some(job) = job {
            let project = self.index.project("default").unwrap().spec.clone();
            let inputs = roadstead_render::Inputs {
                first: self.git[&job.record.inputs[0].path].clone(),
                ..roadstead_render::Inputs::default()
            };
            let done = render(&job, &inputs, ("default", &project));
            self.blobs.extend(done.blobs.iter().cloned());
            let ops = rendered(&self.index, app, job.number, &done, self.now);
            self.commit(ops);
            self.index.mark(app);
            return true;
        }
        wrote
    }

    /// What an agent says that it has become with an entry.
    pub fn reached(&self, entry: &Entry, state: AppState) -> AppReport {
        let ids = Lists(&self.blobs)
            .lasting(&entry.variant)
            .map(|ids| ids.to_vec())
            .unwrap_or_default();
        AppReport {
            release: entry.release,
            variant: entry.variant,
            attempt: entry.attempt,
            state,
            since: self.now,
            moved: Time(0),
            message: String::new(),
            health: HealthCounts::default(),
            problems: Vec::new(),
            drift: Vec::new(),
            healed: 0,
            writes: 0,
            inventory: Inventory {
                digest: Inventory::digest_of(&ids),
                objects: None,
            },
            left_over: Vec::new(),
            awaiting_approval: Vec::new(),
        }
    }

    /// An agent does what its order says, and tells.
    pub fn obeys(&mut self, name: &str) {
        let entries = self.orders.get(&id(name)).cloned().unwrap_or_default();
        let mut held = BTreeMap::new();
        for (app, entry) in &entries {
            let state = match entry.phase {
                EntryPhase::Release | EntryPhase::Remove => AppState::Gone,
                _ => AppState::Healthy,
            };
            held.insert(app.clone(), self.reached(entry, state));
        }
        self.held.insert(id(name), held.clone());
        self.says(name, held, false);
    }

    pub fn says(&mut self, name: &str, apps: BTreeMap<AppKey, AppReport>, whole: bool) {
        let report = Report {
            apps,
            whole,
            ..Report::default()
        };
        let ops = ingest(&self.index, &id(name), &report, self.now);
        assert!(self.commit(ops));
    }

    /// An agent says one thing of one App.
    pub fn says_of(&mut self, name: &str, app: &AppKey, change: impl FnOnce(&mut AppReport)) {
        let entry = self.orders[&id(name)][app].clone();
        let mut state = self.reached(&entry, AppState::Healthy);
        change(&mut state);
        self.says(name, BTreeMap::from([(app.clone(), state)]), false);
        self.settle();
    }

    /// Everybody obeys until nothing changes any more.
    pub fn delivers(&mut self, clusters: &[String]) {
        for _ in 0..30 {
            self.settle();
            let before = self.revision;
            for cluster in clusters {
                self.obeys(cluster);
            }
            self.settle();
            if self.revision == before {
                return;
            }
            self.now = self.now.plus_ms(1_000);
        }
        panic!("it does not come to rest: {:?}", self.waiting);
    }

    /// Time goes by.
    pub fn waits(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.settle();
    }

    pub fn command(&mut self, app: &AppKey, what: &Command) -> Result<String, CommandRefused> {
        let by = By {
            actor: "ann".to_owned(),
            at: self.now,
            reason: "because".to_owned(),
        };
        let (ops, said) = command(&mut self.index, app, what, &by)?;
        assert!(self.commit(ops));
        self.settle();
        Ok(said)
    }

    pub fn act(&mut self, app: &AppKey, action: Action) -> Result<String, CommandRefused> {
        let number = None;
        self.command(app, &Command::Rollout { number, action })
    }

    pub fn why(&mut self, app: &AppKey, cluster: Option<&str>) -> Vec<String> {
        let waiting = self.waiting.get(app).cloned();
        let cluster = cluster.map(id);
        why(
            &mut self.index,
            app,
            cluster.as_ref(),
            waiting.as_ref(),
            self.now,
        )
    }

    pub fn shown(&self, app: &AppKey) -> Vec<Projection> {
        project(&self.index, app, self.waiting.get(app), self.now)
    }

    /// The keys below a prefix.
    pub fn keys(&self, prefix: &str) -> BTreeSet<String> {
        let all = self.facts.keys().filter(|key| key.starts_with(prefix));
        all.cloned().collect()
    }

    /// The Release that a cluster is ordered to have, by its number.
    pub fn ordered(&self, name: &str, app: &AppKey) -> Option<u64> {
        let entry = self.orders.get(&id(name))?.get(app)?;
        Some(
            self.index
                .release(app, &entry.release)
                .map_or(0, |r| r.number),
        )
    }

    /// A hub that starts from these facts, in an epoch; what its agents hold stays as it is.
    pub fn starts_from(&mut self, facts: Facts, epoch: u64) {
        self.index = Index::new(self.now, 60_000).in_epoch(epoch);
        self.revision += 1_000_000;
        self.facts = facts;
        self.orders.clear();
        self.waiting.clear();
        self.wakes.clear();
        for (key, (value, at)) in &self.facts {
            self.index.apply_entry(key, Some(value), *at);
        }
        self.index.reached(Revision(self.revision));
    }

    /// An agent connects and says everything that it holds.
    pub fn comes_back(&mut self, name: &str) {
        self.connect(name);
        self.settle();
        let held = self.held.get(&id(name)).cloned().unwrap_or_default();
        self.says(name, held, true);
        self.settle();
    }
}
