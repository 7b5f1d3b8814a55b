//! StatefulSets: numbered pods, one after the other.

use std::collections::BTreeMap;

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use super::revisions;
use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, Said, is_leaving, list, number, owned_by, status_of, text};
use crate::key::{CONTROLLER_REVISION, Key, POD, VOLUME_CLAIM};
use crate::pods::{self, Extra};

const COMPONENT: &str = "statefulset-controller";

struct Set {
    object: Value,
    wanted: i64,
    first: i64,
    partition: i64,
    parallel: bool,
    on_delete: bool,
    /// Pods by ordinal, those on their way out included.
    pods: BTreeMap<i64, Value>,
    /// The name of the revision that pods move to.
    update: String,
    /// The name of the revision that they come from.
    current: String,
}

fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let (parent, number) = k8s_object::name(pod).rsplit_once('-')?;
    (parent == k8s_object::name(set)).then(|| number.parse().ok())?
}

fn of_revision(pod: &Value, revision: &str) -> bool {
    k8s_object::label(pod, revisions::LABEL) == Some(revision)
}

impl Set {
    fn healthy(&self, pod: &Value) -> bool {
        pods::is_ready(pod) && !is_leaving(pod)
    }

    fn range(&self) -> std::ops::Range<i64> {
        self.first..self.first + self.wanted
    }

    fn at(&self, pod: i64) -> bool {
        self.range().contains(&pod)
    }
}

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(object) = cx.get(key).filter(|set| !is_leaving(set)) else {
        return Ok(());
    };
    cx.adopt(&object, POD)?;
    let current = text(&object, "/status/currentRevision").to_owned();
    let update = revisions::ensure(cx, &object, &|name| name == current)?;
    let update = k8s_object::name(&update).to_owned();
    let pods = cx
        .children(&object, POD)
        .into_iter()
        .filter_map(|pod| Some((ordinal(&object, &pod)?, pod)))
        .collect();
    let strategy = "/spec/updateStrategy";
    let mut set = Set {
        wanted: number(&object, "/spec/replicas").unwrap_or(1).max(0),
        first: number(&object, "/spec/ordinals/start").unwrap_or(0),
        partition: number(&object, &format!("{strategy}/rollingUpdate/partition")).unwrap_or(0),
        parallel: text(&object, "/spec/podManagementPolicy") == "Parallel",
        on_delete: text(&object, &format!("{strategy}/type")) == "OnDelete",
        pods,
        current: if current.is_empty() {
            update.clone()
        } else {
            current
        },
        update,
        object,
    };
    grow(cx, &mut set)?;
    shrink(cx, &mut set)?;
    roll(cx, &mut set)?;
    write_status(cx, key, &mut set)
}

fn create_pod(cx: &mut Cx<'_>, set: &Set, ordinal: i64) -> Result<Value, Refusal> {
    let keeps_old = !set.on_delete && ordinal - set.first < set.partition;
    let revision = if keeps_old { &set.current } else { &set.update };
    let namespace = k8s_object::namespace(&set.object);
    let kept = cx
        .api
        .get(CONTROLLER_REVISION, namespace, revision)
        .ok_or_else(|| Refusal::Conflict(format!("revision {revision} is not there yet")))?;
    let name = format!("{}-{ordinal}", k8s_object::name(&set.object));
    let mut volumes = list(revisions::template(&kept), "/spec/volumes").to_vec();
    for claim in list(&set.object, "/spec/volumeClaimTemplates") {
        let volume = k8s_object::name(claim).to_owned();
        let claim_name = format!("{volume}-{name}");
        ensure_claim(cx, set, claim, &claim_name)?;
        volumes.retain(|known| known["name"] != json!(volume));
        volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim_name}}));
    }
    let mut extra = Extra {
        labels: vec![
            (revisions::LABEL, revision.clone()),
            ("statefulset.kubernetes.io/pod-name", name.clone()),
            ("apps.kubernetes.io/pod-index", ordinal.to_string()),
        ],
        spec: vec![
            ("hostname", json!(name)),
            ("subdomain", json!(text(&set.object, "/spec/serviceName"))),
        ],
        ..Extra::default()
    };
    if !volumes.is_empty() {
        extra.spec.push(("volumes", json!(volumes)));
    }
    let pod = pods::from_template(&set.object, revisions::template(&kept), &name, &extra);
    let pod = pods::create(cx, MANAGER, &set.object, pod)?;
    let kind = k8s_object::name(&set.object);
    let message = format!("create Pod {name} in StatefulSet {kind} successful");
    cx.event(
        COMPONENT,
        &set.object,
        Said::normal("SuccessfulCreate", &message),
    );
    Ok(pod)
}

fn ensure_claim(cx: &Cx<'_>, set: &Set, claim: &Value, name: &str) -> Result<(), Refusal> {
    let namespace = k8s_object::namespace(&set.object);
    if cx.api.get(VOLUME_CLAIM, namespace, name).is_some() {
        return Ok(());
    }
    let mut labels = claim
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let selector = set.object.pointer("/spec/selector/matchLabels");
    for (key, value) in selector.and_then(Value::as_object).into_iter().flatten() {
        labels[key] = value.clone();
    }
    let mut metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let deleted = text(
        &set.object,
        "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
    );
    if deleted == "Delete" {
        metadata["ownerReferences"] = owned_by(&set.object);
    }
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": claim["spec"],
    });
    cx.api.create(MANAGER, claim).map(|_| ())
}

fn delete_pod(cx: &mut Cx<'_>, set: &Set, pod: &Value) -> Result<(), Refusal> {
    let key = Key::of(pod);
    cx.api
        .delete(&key, k8s_object::uid(pod), Propagation::Background, false)?;
    let (name, own) = (k8s_object::name(pod), k8s_object::name(&set.object));
    let message = format!("delete Pod {name} in StatefulSet {own} successful");
    cx.event(
        COMPONENT,
        &set.object,
        Said::normal("SuccessfulDelete", &message),
    );
    Ok(())
}

/// Makes missing pods; unless they come in parallel, each waits for those before it.
fn grow(cx: &mut Cx<'_>, set: &mut Set) -> Result<(), Refusal> {
    for ordinal in set.range() {
        match set.pods.get(&ordinal) {
            Some(pod) if pods::has_ended(pod) && !is_leaving(pod) => {
                let pod = pod.clone();
                delete_pod(cx, set, &pod)?;
            }
            Some(_) => {}
            None => {
                let pod = create_pod(cx, set, ordinal)?;
                set.pods.insert(ordinal, pod);
            }
        }
        let waits = set
            .pods
            .get(&ordinal)
            .is_some_and(|pod| !set.healthy(pod) && !outdated(set, ordinal, pod));
        if waits && !set.parallel {
            break;
        }
    }
    Ok(())
}

/// Is it of a revision that it will be moved away from anyway? Such a pod holds nothing up: a rollout of pods that never
/// become ready can so be taken back.
fn outdated(set: &Set, ordinal: i64, pod: &Value) -> bool {
    !set.on_delete
        && ordinal - set.first >= set.partition
        && !of_revision(pod, &set.update)
        && set.update != set.current
        || (!of_revision(pod, &set.update) && !of_revision(pod, &set.current))
}

/// Removes pods beyond the wanted ones, the highest first.
fn shrink(cx: &mut Cx<'_>, set: &mut Set) -> Result<(), Refusal> {
    let surplus: Vec<i64> = set
        .pods
        .keys()
        .copied()
        .filter(|ordinal| !set.at(*ordinal))
        .rev()
        .collect();
    for ordinal in surplus {
        let pod = set.pods[&ordinal].clone();
        if !is_leaving(&pod) {
            delete_pod(cx, set, &pod)?;
        }
        if !set.parallel {
            break;
        }
    }
    Ok(())
}

/// Moves pods to the new revision, the highest first, each when those above are healthy.
fn roll(cx: &mut Cx<'_>, set: &mut Set) -> Result<(), Refusal> {
    if set.on_delete || set.pods.keys().any(|ordinal| !set.at(*ordinal)) {
        return Ok(());
    }
    let due = (set.first + set.partition)..(set.first + set.wanted);
    for ordinal in due.rev() {
        let Some(pod) = set.pods.get(&ordinal).cloned() else {
            return Ok(());
        };
        if !of_revision(&pod, &set.update) {
            if !is_leaving(&pod) {
                delete_pod(cx, set, &pod)?;
            }
            return Ok(());
        }
        if !set.healthy(&pod) {
            return Ok(());
        }
    }
    Ok(())
}

fn write_status(cx: &mut Cx<'_>, key: &Key, set: &mut Set) -> Result<(), Refusal> {
    let active: Vec<&Value> = set
        .pods
        .iter()
        .filter(|(_, pod)| !is_leaving(pod))
        .map(|(_, pod)| pod)
        .collect();
    let min_ready = number(&set.object, "/spec/minReadySeconds").unwrap_or(0);
    let census = pods::census(active.iter().copied(), min_ready, cx.now);
    let count = |revision: &str| {
        let of = active.iter().filter(|pod| of_revision(pod, revision));
        i64::try_from(of.count()).unwrap_or(0)
    };
    let updated = count(&set.update);
    let done = updated == set.wanted
        && census.ready == set.wanted
        && i64::try_from(set.pods.len()) == Ok(set.wanted);
    if done && set.partition == 0 {
        set.current.clone_from(&set.update);
    }
    let current = count(&set.current);
    let mut status = status_of(&set.object);
    let generation = number(&set.object, "/metadata/generation").unwrap_or(0);
    for (field, value) in [
        ("observedGeneration", json!(generation)),
        ("replicas", json!(set.pods.len())),
        ("availableReplicas", json!(census.available)),
        ("currentRevision", json!(set.current)),
        ("updateRevision", json!(set.update)),
        ("collisionCount", json!(0)),
    ] {
        status.insert(field.to_owned(), value);
    }
    for (field, count) in [
        ("readyReplicas", census.ready),
        ("currentReplicas", current),
        ("updatedReplicas", updated),
    ] {
        if count == 0 {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), json!(count));
        }
    }
    cx.set_status(MANAGER, &mut set.object, Value::Object(status))?;
    if let Some(next) = census.next {
        cx.again_at(key, next);
    }
    Ok(())
}
