//! The end of a run: everything is well again, and everything must come to where it should be, and stay.

use base_json::Value;
use base_store::{Expect, Faults, Op, Store};
use k8s_object::ObjectId;
use roadstead_control::Command;
use roadstead_dispatch::{AppState, EntryPhase, OWNER_ANNOTATION, Variant, parse_owner};
use roadstead_model::{AppKey, ClusterId};
use roadstead_rollout::{Action, Phase};

use crate::chaos::{Fleet, app_key};
use crate::world::World;

/// How long it may take until everything is as it should be.
const PATIENCE_MS: u64 = 3_600_000;
/// For how long nothing may be written then.
const QUIET_MS: u64 = 600_000;

/// Is everything that is wanted there?
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| contains(l, w))
        }
        _ => live == wanted,
    }
}

impl World {
    fn recovers(&mut self) {
        self.note("everything is well again".to_owned());
        self.disk.set_faults(Faults::default());
        self.git.away_until = 0;
        self.hub_fuse = None;
        for agent in self.agents.values_mut() {
            agent.link = true;
            agent.latency = (1, 40);
            agent.fuse = None;
        }
        for sim in self.clusters.values_mut() {
            sim.trouble_until = 0;
        }
        self.run(45_000);
        self.hub_starts();
    }

    /// Lets everything recover, commits something good, and waits for it.
    pub(crate) fn settles(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        self.recovers();
        for known in self.fleet.clusters.values_mut() {
            known.cordoned = false;
        }
        let mut ops = self.fleet.nouns();
        // one whose registration was answered by "unknown" has no agent
        for n in 0..self.fleet.joined {
            let name = format!("c{n}");
            if self.fleet.clusters.values().all(|known| known.name != name) {
                ops.push(Op::Delete {
                    key: format!("n/roadstead.dev/clusters/{name}"),
                    expect: Expect::Any,
                });
            }
        }
        self.api_write(ops);
        for _ in 0..8 {
            self.operator();
            self.run(30_000);
        }
        for content in self.fleet.contents.values_mut() {
            content.version += 1;
            content.bad = false;
            content.broken = false;
        }
        self.commits_to_git();
        self.webhook();
        let end = self.now + PATIENCE_MS;
        let mut why = Err("nothing happened".to_owned());
        while self.now < end && self.violations.is_empty() {
            self.run(20_000);
            why = self.converged();
            if why.is_ok() {
                break;
            }
            self.operator();
        }
        if self.violations.is_empty()
            && let Err(why) = why
        {
            self.violation(format!("no convergence: {why}"));
        }
        self.stays();
    }

    /// Whoever looks after the fleet approves what waits.
    fn operator(&mut self) {
        for app in self.fleet.apps.clone() {
            let key = app_key(&app);
            let numbers: Vec<(u64, bool)> = self
                .hub
                .as_ref()
                .map(|hub| {
                    let open = hub
                        .index
                        .rollouts(&key)
                        .filter(|rollout| !rollout.phase.is_terminal());
                    open.map(|rollout| (rollout.number, rollout.paused.is_some()))
                        .collect()
                })
                .unwrap_or_default();
            for (number, paused) in numbers {
                let mut act = |action| {
                    self.command(
                        &key,
                        &Command::Rollout {
                            number: Some(number),
                            action,
                        },
                    )
                };
                if paused {
                    act(Action::Resume);
                }
                act(Action::Approve { stage: None });
            }
            self.command(&key, &Command::ApproveLeaving { list: None });
            self.command(&key, &Command::ApproveRemovals { list: None });
            for known in self.fleet.clusters.values().cloned().collect::<Vec<_>>() {
                let held = self
                    .hub
                    .as_ref()
                    .and_then(|hub| {
                        hub.index
                            .hold(&ClusterId(format!("id-{}", known.name)), &key)
                    })
                    .is_some();
                if held {
                    let cluster = known.name;
                    self.command(&key, &Command::Unhold { cluster });
                }
            }
        }
    }

    /// Does every cluster hold what it should, and nothing else?
    pub(crate) fn converged(&self) -> Result<(), String> {
        let hub = self.hub.as_ref().ok_or("the hub is down")?;
        let commit = self.git.head().ok_or("there is no commit")?;
        for app in &self.fleet.apps {
            let key = app_key(app);
            let rollout = hub
                .index
                .rollouts(&key)
                .next_back()
                .ok_or_else(|| format!("{app} has no Rollout"))?;
            let record = hub
                .index
                .release(&key, &rollout.release)
                .ok_or_else(|| format!("{app}: the Release is gone"))?;
            if record.commit != commit.id {
                return Err(format!("{app} is at commit {}", record.commit));
            }
            if rollout.phase != Phase::Completed {
                let clusters: Vec<String> = self
                    .fleet
                    .clusters
                    .keys()
                    .map(|id| {
                        let assignment = hub.index.assignment(id, &key).map(|(held, _)| held);
                        let observed = hub.index.observed(id, &key).map(|o| (o.state, &o.message));
                        let connected = hub.index.is_connected(id);
                        format!("{id} connected {connected} {observed:?} {assignment:?}")
                    })
                    .collect();
                return Err(format!(
                    "{app}: rollout {} is {}: {}; {clusters:#?}",
                    rollout.number, rollout.phase, rollout.message
                ) + &format!("{:?}", record.variants.values().collect::<Vec<_>>()));
            }
            for (id, known) in &self.fleet.clusters {
                self.holds(&key, id, Fleet::targets(app, known), record.id)?;
            }
        }
        Ok(())
    }

    /// Does a cluster hold what it should of an App?
    fn holds(
        &self,
        app: &AppKey,
        id: &ClusterId,
        is_target: bool,
        release: base_json::Digest,
    ) -> Result<(), String> {
        let hub = self.hub.as_ref().ok_or("the hub is down")?;
        let sim = self.clusters.get(id).ok_or("there is no such cluster")?;
        let marked: Vec<&ObjectId> = sim
            .objects
            .iter()
            .filter(|(object, value)| {
                k8s_object::annotation(value, OWNER_ANNOTATION)
                    .and_then(parse_owner)
                    .is_some_and(|owner| owner.app == *app && owner.object == **object)
                    && object.kind != "Job"
            })
            .map(|(object, _)| object)
            .collect();
        let assignment = hub.index.assignment(id, app).map(|(held, _)| held);
        if !is_target {
            return match (assignment, marked.first()) {
                (None, None) => Ok(()),
                (Some(held), _) => Err(format!("{id} is no target of {app} and has {held:?}")),
                (None, Some(object)) => Err(format!(
                    "{id} was let go of by {app}: {object} is still its"
                )),
            };
        }
        let assignment = assignment.ok_or_else(|| format!("{id} has nothing of {app}"))?;
        if assignment.release != release || assignment.phase != EntryPhase::Deliver {
            return Err(format!(
                "{id} should have another Release of {app}: {assignment:?}"
            ));
        }
        let observed = hub
            .index
            .observed(id, app)
            .ok_or_else(|| format!("{id} says nothing of {app}"))?;
        if observed.state != AppState::Healthy || observed.variant != assignment.variant {
            return Err(format!("{id} is not healthy with {app}: {observed:?}"));
        }
        let variant: Variant = hub
            .store
            .get_blob(&assignment.variant)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or("the variant is not stored")?;
        for object in variant.lasting().filter(|object| !object.once) {
            let wanted: Value = hub
                .store
                .get_blob(&object.digest)
                .ok()
                .flatten()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .ok_or("an object is not stored")?;
            let live = sim
                .objects
                .get(&object.id)
                .ok_or_else(|| format!("{id} lacks {}", object.id))?;
            if !contains(live, &wanted) {
                return Err(format!(
                    "{id} has another {}: {live} for {wanted}",
                    object.id
                ));
            }
            if !marked.contains(&&object.id) {
                return Err(format!("{id}: {} carries no mark", object.id));
            }
        }
        let orphan = marked
            .iter()
            .find(|object| !variant.lasting().any(|wanted| wanted.id == ***object));
        match orphan {
            Some(object) => Err(format!("{id} still has {object} of {app}")),
            None => Ok(()),
        }
    }

    /// Nothing is written where nothing happens.
    fn stays(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        self.run(180_000);
        let writes: u64 = self.clusters.values().map(|sim| sim.writes).sum();
        let facts = self.stats.facts;
        self.note("it should be quiet now".to_owned());
        self.run(QUIET_MS);
        let written = self.clusters.values().map(|sim| sim.writes).sum::<u64>() - writes;
        let committed = self.stats.facts - facts;
        if written > 0 || committed > 0 {
            self.violation(format!(
                "not quiet: {written} writes in clusters and {committed} commits after convergence"
            ));
        }
        if let Err(why) = self.converged() {
            self.violation(format!("it did not stay: {why}"));
        }
    }
}
