//! What must never happen, checked at every step from what was written, signed and applied.

use std::collections::{BTreeMap, BTreeSet};

use base_json::{Digest, Value};
use base_store::memory::MemoryStore;
use base_store::{Op, SimDisk};
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_control::{ReleaseRecord, keys};
use roadstead_dispatch::{Entry, EntryPhase, Known, OWNER_ANNOTATION, OrderHeader, parse_owner};
use roadstead_model::{AppKey, ClusterId};
use roadstead_rollout::{Assignment, Phase, Rollout, StagePhase};
use roadstead_sync::RUN_ANNOTATION;
use serde::de::DeserializeOwned;

use crate::cluster::{Wrote, image};
use crate::hub::everything;

type Facts = BTreeMap<String, Bytes>;

/// Watches over the invariants.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    /// Every fact that the hub's store has acknowledged.
    facts: Facts,
    /// Writes of which nobody knows whether they were made.
    unknown: Option<Vec<Op>>,
    tombstones: BTreeMap<ClusterId, BTreeSet<(AppKey, ObjectId)>>,
    obeyed: BTreeMap<ClusterId, Known>,
    /// Clusters that are, or were, in the canary stage.
    pub(crate) canaries: BTreeSet<ClusterId>,
    /// What somebody started past every gate.
    pub(crate) emergencies: BTreeSet<(ClusterId, AppKey, Digest)>,
    /// How often each run of each hook was started.
    hooks: BTreeMap<(ClusterId, ObjectId, String), u32>,
    pub(crate) hook_runs: u64,
    /// An App was renamed: what both hold of it must stay.
    pub(crate) handed_over: bool,
    violations: Vec<String>,
}

fn apply(facts: &mut Facts, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { key, value, .. } => drop(facts.insert(key.clone(), value.clone())),
            Op::Delete { key, .. } => drop(facts.remove(key)),
            Op::Assert { .. } => {}
        }
    }
}

fn read<T: DeserializeOwned>(facts: &Facts, key: &str) -> Option<T> {
    serde_json::from_slice(facts.get(key)?).ok()
}

fn stored(store: &MemoryStore<SimDisk>) -> Facts {
    everything(store)
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

impl Monitor {
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    /// A commit was acknowledged.
    pub(crate) fn acknowledged(&mut self, ops: &[Op]) {
        let assigned: Vec<(String, Option<Assignment>)> = ops
            .iter()
            .filter(|op| op.key().starts_with(keys::ASSIGNED))
            .map(|op| (op.key().to_owned(), read(&self.facts, op.key())))
            .collect();
        for op in ops.iter().filter(|op| op.key().starts_with(keys::HISTORY)) {
            if let Op::Put { key, value, .. } = op
                && self.facts.get(key).is_some_and(|old| old != value)
            {
                self.violation(format!("history is written over: {key}"));
            }
        }
        apply(&mut self.facts, ops);
        for (key, old) in assigned {
            if let Some(new) = read::<Assignment>(&self.facts, &key)
                && let Err(why) = self.may_assign(&key, old.as_ref(), &new)
            {
                self.violation(format!("{key}: {why}: {old:?} -> {new:?}"));
            }
        }
    }

    /// Invariant: no assignment outside its stage.
    fn may_assign(
        &self,
        key: &str,
        old: Option<&Assignment>,
        new: &Assignment,
    ) -> Result<(), String> {
        let rest = key.strip_prefix(keys::ASSIGNED).unwrap_or(key);
        let (cluster, app) = rest.split_once('/').ok_or("a damaged key")?;
        let app: AppKey = app.parse().map_err(|_| "a damaged key")?;
        let cluster = ClusterId(cluster.to_owned());
        match new.phase {
            EntryPhase::Release | EntryPhase::Remove => return Ok(()),
            EntryPhase::Revert => {
                let good = old.is_some_and(|old| {
                    old.release == new.release
                        || old.good.iter().any(|good| good.release == new.release)
                });
                return if good {
                    Ok(())
                } else {
                    Err("goes back to what was never good there".to_owned())
                };
            }
            EntryPhase::Deliver => {}
        }
        if old.is_some_and(|old| old.release == new.release)
            || self
                .emergencies
                .contains(&(cluster.clone(), app.clone(), new.release))
        {
            return Ok(());
        }
        let records = self
            .facts
            .range(format!("{}{app}/", keys::RELEASES)..)
            .take_while(|(key, _)| key.starts_with(&format!("{}{app}/", keys::RELEASES)));
        let record = records
            .filter_map(|(_, bytes)| serde_json::from_slice::<ReleaseRecord>(bytes).ok())
            .find(|record| record.id == new.release)
            .ok_or("its Release is not stored")?;
        if let Some(barred) = record.barred {
            return Err(format!("its Release is barred: {}", barred.reason));
        }
        let labels = self
            .labels(&cluster)
            .ok_or("its cluster is not registered")?;
        let rollouts = self
            .facts
            .range(format!("{}{app}/", keys::ROLLOUTS)..)
            .take_while(|(key, _)| key.starts_with(&format!("{}{app}/", keys::ROLLOUTS)));
        let mut rollouts = rollouts
            .filter_map(|(_, bytes)| serde_json::from_slice::<Rollout>(bytes).ok())
            .filter(|rollout| rollout.release == new.release);
        let phase = |rollout: &Rollout| {
            let stage = rollout.stage_of(&labels);
            rollout.stages.get(stage).map(|state| state.phase)
        };
        let fits = if new.rollout == 0 {
            rollouts.any(|rollout| {
                rollout.phase == Phase::Completed
                    || phase(&rollout).is_some_and(StagePhase::is_behind)
            })
        } else {
            rollouts.any(|rollout| {
                rollout.number == new.rollout
                    && rollout.paused.is_none()
                    && phase(&rollout) == Some(StagePhase::Running)
            })
        };
        if fits {
            Ok(())
        } else {
            Err("its stage does not run and was not passed".to_owned())
        }
    }

    fn labels(&self, cluster: &ClusterId) -> Option<BTreeMap<String, String>> {
        let prefix = "n/roadstead.dev/clusters/";
        self.facts
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(_, bytes)| serde_json::from_slice::<Value>(bytes).ok())
            .find(|noun| k8s_object::uid(noun) == cluster.0)
            .map(|noun| {
                k8s_object::labels(&noun)
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect()
            })
    }

    /// Nobody knows whether these were written.
    pub(crate) fn unknown(&mut self, ops: Vec<Op>) {
        self.unknown = Some(ops);
    }

    /// Invariant: what was acknowledged survives a crash, and what was not is there wholly or not at all.
    pub(crate) fn reopened(&mut self, store: &MemoryStore<SimDisk>) {
        let found = stored(store);
        let unknown = self.unknown.take();
        if found == self.facts {
            return;
        }
        let mut with = self.facts.clone();
        apply(&mut with, &unknown.unwrap_or_default());
        if found == with {
            self.facts = with;
            return;
        }
        let lost = self
            .facts
            .iter()
            .find(|(key, value)| found.get(*key) != Some(value));
        self.violation(format!(
            "acknowledged facts did not survive a crash: {:?}",
            lost.map(|(key, _)| key)
        ));
        self.facts = found;
    }

    /// The hub begins anew from a backup.
    pub(crate) fn restored(&mut self, store: &MemoryStore<SimDisk>) {
        self.unknown = None;
        self.facts = stored(store);
    }

    /// The hub has signed an order.
    pub(crate) fn signed(&mut self, cluster: &ClusterId, entries: &BTreeMap<AppKey, Entry>) {
        let known = self.tombstones.entry(cluster.clone()).or_default();
        for (app, entry) in entries {
            known.extend(
                entry
                    .tombstones
                    .iter()
                    .map(|object| (app.clone(), object.clone())),
            );
        }
    }

    /// Invariant: an agent obeys only what was signed for its cluster, and never what is older.
    pub(crate) fn obeys(&mut self, cluster: &ClusterId, header: &OrderHeader) {
        if header.cluster != *cluster {
            self.violation(format!("{cluster} obeys an order for {}", header.cluster));
        }
        let next = Known {
            epoch: header.epoch,
            sequence: header.sequence,
        };
        if self
            .obeyed
            .get(cluster)
            .is_some_and(|highest| next < *highest)
        {
            self.violation(format!("{cluster} obeys an older order: {next:?}"));
        }
    }

    /// An agent keeps the place of the order that it obeys.
    pub(crate) fn obeyed(&mut self, cluster: &ClusterId, known: Option<Known>) {
        let Some(known) = known else {
            self.violation(format!("{cluster} forgets its order"));
            return;
        };
        let highest = self.obeyed.entry(cluster.clone()).or_default();
        if known < *highest {
            self.violations.push(format!(
                "{cluster} keeps an older order: {known:?} after {highest:?}"
            ));
        }
        *highest = known.max(*highest);
    }

    /// Something was written in a cluster by its agent.
    pub(crate) fn wrote(
        &mut self,
        cluster: &ClusterId,
        wrote: &Wrote,
        objects: &BTreeMap<ObjectId, Value>,
    ) {
        match wrote {
            Wrote::Created(id, object) => {
                self.applied(cluster, id, object);
                self.hook_starts(cluster, id, object, objects);
            }
            Wrote::Changed(id, object) => self.applied(cluster, id, object),
            Wrote::Deleted(id, object) => self.deleted(cluster, id, object),
        }
    }

    /// Invariant: a failure stays where it happened.
    fn applied(&mut self, cluster: &ClusterId, id: &ObjectId, object: &Value) {
        if image(object).contains("/bad:") && !self.canaries.contains(cluster) {
            self.violation(format!("{cluster} is no canary and gets a bad {id}"));
        }
    }

    /// Invariant: nothing is deleted without a signed tombstone.
    fn deleted(&mut self, cluster: &ClusterId, id: &ObjectId, object: &Value) {
        let replaced = id.kind == "Job" || k8s_object::annotation(object, RUN_ANNOTATION).is_some();
        let owner = k8s_object::annotation(object, OWNER_ANNOTATION).and_then(parse_owner);
        let named = owner.is_some_and(|owner| {
            self.tombstones
                .get(cluster)
                .is_some_and(|known| known.contains(&(owner.app, id.clone())))
        });
        if !named && !replaced {
            self.violation(format!("{cluster} deletes {id} without a tombstone"));
        }
        if self.handed_over && id.kind == "Deployment" && id.to_string().ends_with("shop-extra/web")
        {
            self.violation(format!("{cluster} deletes {id}, which was handed over"));
        }
    }

    /// Invariant: a hook runs once per App, Release and attempt, and one at a time.
    fn hook_starts(
        &mut self,
        cluster: &ClusterId,
        id: &ObjectId,
        object: &Value,
        objects: &BTreeMap<ObjectId, Value>,
    ) {
        let Some(run) = k8s_object::annotation(object, RUN_ANNOTATION) else {
            return;
        };
        self.hook_runs += 1;
        let key = (cluster.clone(), id.clone(), run.to_owned());
        let count = self.hooks.entry(key).or_default();
        *count += 1;
        if *count > 1 {
            self.violation(format!("{cluster} starts hook {id} of {run} again"));
        }
        let other = objects.iter().find(|(other, object)| {
            other.namespace == id.namespace
                && *other != id
                && object.pointer("/status/conditions").is_none()
                && k8s_object::annotation(object, RUN_ANNOTATION).is_some_and(|other| other != run)
        });
        if let Some((other, _)) = other {
            self.violation(format!(
                "{cluster} starts hook {id} of {run} while {other} of another Release runs"
            ));
        }
    }
}
