//! What people and misfortune do to the fleet, by chance.

use std::collections::BTreeMap;

use base_json::{Digest, Value, json};
use base_store::{Expect, Faults, Op};
use k8s_object::ObjectId;
use roadstead_control::Command;
use roadstead_dispatch::OWNER_ANNOTATION;
use roadstead_model::{AppKey, ClusterId, Hold, HoldMode};
use roadstead_rollout::Action;

use crate::agent::Agent;
use crate::cluster::SimCluster;
use crate::git::Content;
use crate::world::{Event, Trouble, World};

/// One cluster as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) ring: &'static str,
    pub(crate) region: &'static str,
    pub(crate) cordoned: bool,
    pub(crate) drained: bool,
}

/// What people want.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) clusters: BTreeMap<ClusterId, Registered>,
    pub(crate) joined: usize,
    pub(crate) apps: Vec<String>,
    pub(crate) contents: BTreeMap<String, Content>,
    /// Failures hold, or go back.
    pub(crate) rolls_back: bool,
    pub(crate) approval: bool,
    /// The newest edit of the Apps.
    pub(crate) edit: u32,
    /// Apps that stay at a Release.
    pub(crate) pins: BTreeMap<String, Digest>,
    /// Apps that were deleted.
    pub(crate) deleted: Vec<String>,
    /// Apps that took over what another App held, and which.
    pub(crate) heirs: BTreeMap<String, String>,
}

pub(crate) fn app_key(name: &str) -> AppKey {
    AppKey::new("default", name)
}

pub(crate) fn put(key: &str, value: &Value) -> Op {
    Op::Put {
        key: format!("n/roadstead.dev/{key}"),
        value: base_json::canonical(value).into(),
        expect: Expect::Any,
    }
}

fn noun(kind: &str, namespaced: bool, name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": name, "uid": format!("id-{name}"), "generation": 1});
    if namespaced {
        metadata["namespace"] = json!("default");
    }
    json!({"apiVersion": "roadstead.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

impl Fleet {
    pub(crate) fn cluster(known: &Registered) -> Op {
        let mut value = noun(
            "Cluster",
            false,
            &known.name,
            &json!({"cordoned": known.cordoned, "drained": known.drained}),
        );
        value["metadata"]["labels"] =
            json!({"fleet": "yes", "ring": known.ring, "region": known.region});
        put(&format!("clusters/{}", known.name), &value)
    }

    /// Does an App want a cluster?
    pub(crate) fn targets(app: &str, known: &Registered) -> bool {
        app != "api" || known.region == "eu"
    }

    fn app(&self, name: &str) -> Op {
        put(&format!("apps/default/{name}"), &self.app_noun(name))
    }

    /// An App that somebody has deleted, and that goes when its clusters are let go of.
    pub(crate) fn deleted_app(&self, name: &str) -> Op {
        let mut noun = self.app_noun(name);
        noun["metadata"]["deletionTimestamp"] = json!("2026-11-20T00:00:00Z");
        noun["metadata"]["finalizers"] = json!(["roadstead.dev/delivery"]);
        put(&format!("apps/default/{name}"), &noun)
    }

    fn app_noun(&self, name: &str) -> Value {
        let selector = match name {
            "api" => json!({"matchLabels": {"region": "eu"}}),
            _ => json!({"matchLabels": {"fleet": "yes"}}),
        };
        let merge = json!({"metadata": {"annotations": {"edit": format!("{}", self.edit), "where": "${cluster.labels.region}"}}});
        let giver = self.heirs.get(name);
        let mut spec = json!({
            "inputs": [{"source": "repo", "path": name}],
            "namespace": format!("shop-{}", giver.map_or(name, String::as_str)),
            "takesOverFrom": giver.into_iter().collect::<Vec<_>>(),
            "targets": [{"name": "all", "clusters": {"selector": selector}}],
            "overlays": [{"name": "where", "clusters": {"selector": {"matchLabels": {"fleet": "yes"}}},
                "patches": [{"target": {"kind": "ConfigMap"}, "merge": merge}]}],
            "strategy": "waves",
        });
        if name == "api" {
            spec["onLeave"] = json!("Remove");
        }
        if name == "extra" {
            spec["dependsOn"] = json!([{"app": "web"}]);
        }
        if let Some(pin) = self.pins.get(name) {
            spec["pin"] = json!(pin.to_string());
        }
        noun("App", true, name, &spec)
    }

    fn strategy(&self) -> Op {
        let spec = json!({
            "stages": [
                {"name": "canary", "clusters": {"matchLabels": {"ring": "canary"}}, "soak": "5s", "deadline": "3m"},
                {"name": "early", "clusters": {"matchLabels": {"ring": "early"}}, "maxConcurrent": 2,
                    "approval": {"before": self.approval}, "deadline": "5m", "maxSetAside": "50%"},
                {"name": "main", "clusters": {"matchLabels": {"ring": "main"}}, "waves": [{"count": 1}, {"percent": 50}, {}],
                    "maxSetAside": "50%", "failureBudget": "50%"},
            ],
            "onFailure": if self.rolls_back { "RollBack" } else { "Hold" },
        });
        put(
            "strategies/default/waves",
            &noun("Strategy", true, "waves", &spec),
        )
    }

    /// Every noun as it should be.
    pub(crate) fn nouns(&self) -> Vec<Op> {
        let any = json!({"sources": ["*"], "clusters": {}, "kinds": [{"group": "*", "kind": "*"}],
            "namespaces": ["*"], "plainSecrets": true, "hub": true});
        let source = json!({"git": {"url": "https://git.example.com/fleet", "branch": "main"}});
        let mut ops = vec![
            put("projects/default", &noun("Project", false, "default", &any)),
            put(
                "sources/default/repo",
                &noun("Source", true, "repo", &source),
            ),
            self.strategy(),
        ];
        ops.extend(self.clusters.values().map(Self::cluster));
        ops.extend(self.apps.iter().map(|app| self.app(app)));
        ops
    }
}

impl World {
    /// The fleet is registered, the hub and the agents start, and the first commit is there.
    pub(crate) fn begins(&mut self) {
        let apps = usize::try_from(self.random(1, 3)).unwrap_or(1);
        self.fleet.apps = ["web", "api", "extra"]
            .iter()
            .take(apps)
            .map(|name| (*name).to_owned())
            .collect();
        self.fleet.rolls_back = self.chance(70);
        self.fleet.approval = self.chance(20);
        for app in self.fleet.apps.clone() {
            let mut content = Content::first();
            content.before = self.chance(40);
            content.after = self.chance(40);
            content.job = self.chance(30);
            self.fleet.contents.insert(app, content);
        }
        for _ in 0..self.options.clusters {
            let known = self.newcomer();
            self.admit(&known);
        }
        self.commits_to_git();
        self.hub_starts();
        let nouns = self.fleet.nouns();
        self.api_write(nouns);
        let at = self.now + 40_000;
        self.queue.put(at, Event::Chaos);
    }

    fn newcomer(&mut self) -> Registered {
        let n = self.fleet.joined;
        self.fleet.joined += 1;
        let ring = match n {
            0 | 1 => "canary",
            2 => "early",
            _ => self.pick(&["early", "main"]).unwrap_or("main"),
        };
        let region = if n < 2 {
            "eu"
        } else {
            self.pick(&["eu", "us"]).unwrap_or("eu")
        };
        Registered {
            name: format!("c{n}"),
            ring,
            region,
            cordoned: false,
            drained: false,
        }
    }

    fn admit(&mut self, known: &Registered) {
        let id = ClusterId(format!("id-{}", known.name));
        if known.ring == "canary" {
            self.monitor.canaries.insert(id.clone());
        }
        self.fleet.clusters.insert(id.clone(), known.clone());
        self.clusters.insert(id.clone(), SimCluster::default());
        self.agents.insert(id.clone(), Agent::new());
        let delay = self.random(0, 5_000);
        self.queue
            .put(self.now + delay, Event::AgentStart { cluster: id });
    }

    pub(crate) fn commits_to_git(&mut self) {
        let apps = self.fleet.contents.clone();
        let at = self.wall().0;
        let id = self.git.commit(at, apps);
        let short = id.get(..8).unwrap_or_default().to_owned();
        self.note(format!("git: {short}"));
    }

    pub(crate) fn webhook(&mut self) {
        let life = self.hub_life;
        self.queue.put(self.now + 200, Event::PollOnce { life });
    }

    fn any_cluster(&mut self) -> Option<ClusterId> {
        let ids: Vec<ClusterId> = self.fleet.clusters.keys().cloned().collect();
        self.pick(&ids)
    }

    fn any_app(&mut self) -> Option<String> {
        let apps = self.fleet.apps.clone();
        self.pick(&apps)
    }

    /// Something happens to the fleet.
    pub(crate) fn chaos(&mut self) {
        if self.now >= self.options.chaos_ms {
            return;
        }
        let next = self.random(500, 25_000);
        self.queue.put(self.now + next, Event::Chaos);
        let what = self.random(0, if self.options.faults { 99 } else { 49 });
        match what {
            0..=17 => self.new_commit(),
            18..=23 => self.relabels(),
            24..=26 => self.joins(),
            27..=28 => self.forgets(),
            29..=35 => self.drifts(),
            36..=45 => self.commands(),
            46 => self.cordons(),
            47 => self.drains(),
            48 => self.edits(),
            49 => match self.random(0, 3) {
                0 if self.chance(50) => self.renames_an_app(),
                0 => self.deletes_an_app(),
                _ => self.pins(),
            },
            50..=60 => self.partitions(),
            61..=64 => self.slows(),
            65..=72 => self.kills_hub(),
            73..=80 => self.kills_agent(),
            81..=84 => self.disk_trouble(),
            85..=89 => self.cluster_trouble(),
            90..=93 => self.replays(),
            94..=95 => {
                let wait = self.random(5_000, 90_000);
                self.git.away_until = self.now + wait;
                self.note("git is away".to_owned());
            }
            96 => self.backs_up_or_restores(),
            _ => self.breaks_one(),
        }
    }

    /// A backup is made, or the hub is stopped and comes back from the one that there is; once a run.
    fn backs_up_or_restores(&mut self) {
        if self.epoch > 1 {
            return;
        }
        match (self.backup.take(), &self.hub) {
            (Some(backup), Some(_)) => {
                self.note("the hub is restored from a backup".to_owned());
                self.restore(&backup);
            }
            (backup, Some(hub)) => {
                self.backup = backup.or_else(|| Some(hub.store.backup()));
                self.note("a backup is made".to_owned());
            }
            (backup, None) => self.backup = backup,
        }
    }

    fn drains(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let Some(mut known) = self.fleet.clusters.get(&id).cloned() else {
            return;
        };
        // the canaries stay, so that their stage is not without clusters for long
        if matches!(known.name.as_str(), "c0" | "c1" | "c2") {
            return;
        }
        known.drained = !known.drained;
        self.note(format!("{id} drained: {}", known.drained));
        if self.api_write(vec![Fleet::cluster(&known)]) {
            self.fleet.clusters.insert(id, known);
        }
    }

    /// An App is pinned to a Release that was good, or follows Git again.
    fn pins(&mut self) {
        let Some(app) = self.any_app() else { return };
        if self.fleet.pins.remove(&app).is_none() {
            let key = app_key(&app);
            let Some(hub) = &self.hub else { return };
            let good: Vec<Digest> = hub
                .index
                .assignments_of(&key)
                .flat_map(|(_, assignment)| assignment.good.iter().map(|good| good.release))
                .collect();
            let Some(release) = self.pick(&good) else {
                return;
            };
            self.note(format!("{app} is pinned to {}", release.short()));
            self.fleet.pins.insert(app, release);
        } else {
            self.note(format!("{app} is pinned no more"));
        }
        let nouns = self.fleet.nouns();
        self.api_write(nouns);
    }

    /// An App is deleted; the first one stays, so that something is left to look at.
    fn deletes_an_app(&mut self) {
        let Some(app) = self.fleet.apps.last().cloned().filter(|app| app != "web") else {
            return;
        };
        let op = self.fleet.deleted_app(&app);
        self.note(format!("{app} is deleted"));
        if self.api_write(vec![op]) {
            self.fleet.apps.retain(|other| *other != app);
            self.fleet.contents.remove(&app);
            self.fleet.pins.remove(&app);
            self.fleet.deleted.push(app);
        }
    }

    /// An App gets another name, in one commit: what it holds is handed over, and nothing of it goes.
    fn renames_an_app(&mut self) {
        let (old, new) = ("extra".to_owned(), "heir".to_owned());
        if !self.fleet.apps.contains(&old) {
            return;
        }
        self.note(format!("{old} is renamed to {new}"));
        self.fleet.heirs.insert(new.clone(), old.clone());
        self.monitor.handed_over = true;
        let ops = vec![self.fleet.app(&new), self.fleet.deleted_app(&old)];
        // where nobody knows whether that was written, it is written again at the end
        self.api_write(ops);
        if let Some(content) = self.fleet.contents.remove(&old) {
            self.fleet.contents.insert(new.clone(), content);
        }
        self.fleet.apps.retain(|other| *other != old);
        self.fleet.pins.remove(&old);
        self.fleet.apps.push(new);
        self.fleet.deleted.push(old);
        self.commits_to_git();
    }

    fn new_commit(&mut self) {
        let Some(app) = self.any_app() else { return };
        let bad = self.chance(25);
        let broken = self.chance(5);
        let replicas = u32::try_from(self.random(1, 4)).unwrap_or(1);
        let configs = u32::try_from(self.random(1, 5)).unwrap_or(1);
        let change = self.random(0, 5);
        let Some(content) = self.fleet.contents.get_mut(&app) else {
            return;
        };
        content.version += 1;
        content.bad = bad;
        content.broken = broken;
        match change {
            0 => content.replicas = replicas,
            1 => content.configs = configs,
            2 => content.worker = !content.worker,
            3 => content.before = !content.before,
            4 => content.after = !content.after,
            _ => content.job = !content.job,
        }
        let text = format!("{app}: {content:?}");
        self.note(text);
        self.commits_to_git();
        if self.chance(60) {
            self.webhook();
        }
    }

    fn relabels(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let Some(mut known) = self.fleet.clusters.get(&id).cloned() else {
            return;
        };
        // the first three stay what they are, so that no stage is ever without clusters
        if self.chance(60) {
            known.region = if known.region == "eu" { "us" } else { "eu" };
        } else if !matches!(known.name.as_str(), "c0" | "c1" | "c2") {
            known.ring = self.pick(&["early", "main", "main"]).unwrap_or("main");
        }
        if matches!(known.name.as_str(), "c0" | "c1") {
            known.region = "eu";
        }
        self.note(format!("{id} is now {} {}", known.ring, known.region));
        if self.api_write(vec![Fleet::cluster(&known)]) {
            self.fleet.clusters.insert(id, known);
        }
    }

    fn cordons(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let Some(mut known) = self.fleet.clusters.get(&id).cloned() else {
            return;
        };
        known.cordoned = !known.cordoned;
        self.note(format!("{id} cordoned: {}", known.cordoned));
        if self.api_write(vec![Fleet::cluster(&known)]) {
            self.fleet.clusters.insert(id, known);
        }
    }

    fn edits(&mut self) {
        self.fleet.edit += 1;
        self.note(format!("apps are edited: {}", self.fleet.edit));
        let nouns = self.fleet.nouns();
        self.api_write(nouns);
    }

    fn joins(&mut self) {
        if self.fleet.clusters.len() >= self.options.clusters + 3 {
            return;
        }
        let known = self.newcomer();
        self.note(format!("{} joins", known.name));
        if self.api_write(vec![Fleet::cluster(&known)]) {
            self.admit(&known);
        }
    }

    fn forgets(&mut self) {
        let ids: Vec<ClusterId> = self
            .fleet
            .clusters
            .iter()
            .filter(|(_, known)| !matches!(known.name.as_str(), "c0" | "c1" | "c2"))
            .map(|(id, _)| id.clone())
            .collect();
        let Some(id) = self.pick(&ids) else { return };
        let Some(known) = self.fleet.clusters.get(&id) else {
            return;
        };
        let key = format!("n/roadstead.dev/clusters/{}", known.name);
        let expect = Expect::Any;
        self.note(format!("{id} is forgotten"));
        if self.api_write(vec![Op::Delete { key, expect }]) {
            self.fleet.clusters.remove(&id);
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.retired = true;
            }
            self.agent_dies(&id);
        }
    }

    /// Somebody changes or removes something in a cluster by hand.
    fn drifts(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let owned = |(object, value): &(&ObjectId, &Value)| {
            matches!(object.kind.as_str(), "Deployment" | "ConfigMap")
                && k8s_object::annotation(value, OWNER_ANNOTATION).is_some()
        };
        let objects: Vec<ObjectId> = self
            .clusters
            .get(&id)
            .map(|sim| {
                sim.objects
                    .iter()
                    .filter(owned)
                    .map(|(o, _)| o.clone())
                    .collect()
            })
            .unwrap_or_default();
        let Some(object) = self.pick(&objects) else {
            return;
        };
        let removes = self.chance(50);
        self.note(format!(
            "by hand in {id}: {object} is {}",
            if removes { "removed" } else { "changed" }
        ));
        let now = self.wall();
        if let Some(sim) = self.clusters.get_mut(&id) {
            if removes {
                sim.take(&object);
            } else if let Some(mut value) = sim.objects.get(&object).cloned() {
                if object.kind == "ConfigMap" {
                    value["data"]["value"] = json!("by hand");
                } else {
                    value["spec"]["replicas"] = json!(9);
                }
                sim.put(now, value);
            }
        }
        self.flush(&id);
    }

    fn commands(&mut self) {
        let Some(app) = self.any_app() else { return };
        let rollout = |action| Command::Rollout {
            number: None,
            action,
        };
        let what = match self.random(0, 9) {
            0 => rollout(Action::Pause),
            1 => rollout(Action::Resume),
            2 => rollout(Action::Abort),
            3 => rollout(Action::Retry),
            4 => rollout(Action::Undo),
            5 => rollout(Action::Approve { stage: None }),
            6 => Command::ApproveLeaving { list: None },
            7 => Command::ApproveRemovals { list: None },
            8 => {
                let Some(known) = self
                    .any_cluster()
                    .and_then(|id| self.fleet.clusters.get(&id).cloned())
                else {
                    return;
                };
                let mode = if self.chance(50) {
                    HoldMode::Heal
                } else {
                    HoldMode::Sync
                };
                let ms = self.random(10_000, 200_000);
                Command::Hold {
                    cluster: known.name,
                    hold: Hold {
                        mode,
                        actor: String::new(),
                        reason: "simulated".to_owned(),
                        until: Some(self.wall().plus_ms(ms)),
                    },
                }
            }
            _ => match self.emergency(&app) {
                Some(what) => what,
                None => return,
            },
        };
        self.command(&app_key(&app), &what);
    }

    /// Somebody starts a Release past every gate; never one that is bad.
    fn emergency(&mut self, app: &str) -> Option<Command> {
        let key = app_key(app);
        let id = self.any_cluster()?;
        let name = self.fleet.clusters.get(&id)?.name.clone();
        let hub = self.hub.as_ref()?;
        let git = &self.git;
        let good = |commit: &str| {
            git.find(commit)
                .and_then(|commit| commit.apps.get(app))
                .is_some_and(|content| !content.bad && !content.broken)
        };
        let record = hub
            .index
            .releases(&key)
            .rev()
            .find(|record| record.barred.is_none() && good(&record.commit))?;
        let (release, number) = (record.id, record.number);
        self.monitor.emergencies.insert((id, key, release));
        Some(Command::Start {
            release: number.to_string(),
            clusters: vec![name],
        })
    }

    fn partitions(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let ms = self.random(2_000, 200_000);
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.link = false;
        }
        self.note(format!("{id} is cut off for {ms}"));
        self.queue
            .put(self.now + ms, Event::Heal(Trouble::Link(id.clone())));
        // a silent one is noticed by its missing beats
        let conn = self.agents.get(&id).and_then(|agent| agent.conn);
        if let Some(conn) = conn {
            self.breaks(conn);
        }
    }

    fn slows(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let slow = self.random(200, 8_000);
        let ms = self.random(5_000, 120_000);
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.latency = (slow / 4, slow);
        }
        self.note(format!("{id} is slow"));
        self.queue
            .put(self.now + ms, Event::Heal(Trouble::Slow(id)));
    }

    fn breaks_one(&mut self) {
        let conn = self
            .any_cluster()
            .and_then(|id| self.agents.get(&id).and_then(|agent| agent.conn));
        if let Some(conn) = conn {
            self.breaks(conn);
        }
    }

    fn kills_hub(&mut self) {
        match self.random(0, 2) {
            0 => self.hub_dies(),
            1 => self.hub_fuse = Some(u32::try_from(self.random(0, 60)).unwrap_or(0)),
            _ => {
                let at = self.disk.operations() + self.random(0, 8);
                self.disk.set_faults(Faults {
                    power_loss_at: Some(at),
                    ..Faults::default()
                });
            }
        }
    }

    fn kills_agent(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        if self.chance(30) {
            self.agent_dies(&id);
        } else {
            let fuse = u32::try_from(self.random(0, 40)).unwrap_or(0);
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.fuse = Some(fuse);
            }
        }
    }

    fn disk_trouble(&mut self) {
        let faults = if self.chance(60) {
            Faults {
                full: 400,
                ..Faults::default()
            }
        } else {
            Faults {
                sync: 30,
                ..Faults::default()
            }
        };
        self.note(format!("disk: {faults:?}"));
        self.disk_fails = true;
        self.disk.set_faults(faults);
        let ms = self.random(2_000, 30_000);
        self.queue.put(self.now + ms, Event::Heal(Trouble::Disk));
    }

    fn cluster_trouble(&mut self) {
        let Some(id) = self.any_cluster() else { return };
        let (trouble, ms, expired) = (self.chance(60), self.random(2_000, 30_000), self.chance(50));
        self.note(format!("trouble in {id}"));
        let now = self.now;
        if let Some(sim) = self.clusters.get_mut(&id) {
            if trouble {
                sim.trouble_until = now + ms;
            }
            sim.end_watches(expired);
        }
        self.flush(&id);
    }

    /// Somebody sends an old order again, to its cluster or to another.
    fn replays(&mut self) {
        let orders: Vec<_> = self.old_orders.iter().cloned().collect();
        let Some((_, order)) = self.pick(&orders) else {
            return;
        };
        let Some(id) = self.any_cluster() else { return };
        self.note(format!("an old order is sent to {id}"));
        // refused or not, the monitor judges what is obeyed
        let _ = self.agent_opens(&id, &order);
    }
}
