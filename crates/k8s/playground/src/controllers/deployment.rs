//! Deployments: one ReplicaSet for each pod template, rolled from one to the next.

use jiff::{SignedDuration, Timestamp};
use k8s_cluster::Propagation;
use serde_json::{Map, Value, json};

use crate::api::{Refusal, read_time};
use crate::cx::{
    Condition, Cx, MANAGER, Said, condition, is_leaving, list, number, owned_by, set_condition,
    share_of, status_of, text,
};
use crate::dice::letters_of;
use crate::key::{Key, POD, REPLICA_SET};
use crate::pods;

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";

/// A Deployment with the numbers that decide its rollout.
struct Plan {
    wanted: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
    paused: bool,
    hash: String,
}

impl Plan {
    fn of(deployment: &Value) -> Self {
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let rolling =
            |field: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let quarter = json!("25%");
        let recreate = text(deployment, "/spec/strategy/type") == "Recreate";
        let surge = share_of(rolling("maxSurge"), &quarter, wanted, true);
        let mut unavailable = share_of(rolling("maxUnavailable"), &quarter, wanted, false);
        // Both being 0 would never get anywhere.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let template = deployment.pointer("/spec/template").unwrap_or(&Value::Null);
        Self {
            wanted,
            surge: if recreate { 0 } else { surge },
            unavailable: if recreate {
                wanted
            } else {
                unavailable.min(wanted)
            },
            recreate,
            paused: deployment.pointer("/spec/paused") == Some(&Value::Bool(true)),
            hash: letters_of(&base_json::Digest::of_value(template), 10),
        }
    }
}

fn spec_replicas(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(1)
}

fn sum(sets: &[Value], pointer: &str) -> i64 {
    sets.iter()
        .map(|set| number(set, pointer).unwrap_or(0))
        .sum()
}

fn revision(set: &Value) -> i64 {
    k8s_object::annotation(set, REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or(0)
}

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut deployment) = cx.get(key).filter(|deployment| !is_leaving(deployment)) else {
        return Ok(());
    };
    cx.adopt(&deployment, REPLICA_SET)?;
    let plan = Plan::of(&deployment);
    let (mut current, mut old): (Vec<Value>, Vec<Value>) = cx
        .children(&deployment, REPLICA_SET)
        .into_iter()
        .partition(|set| k8s_object::label(set, HASH) == Some(&plan.hash));
    let mut current = current.pop();
    old.sort_by_cached_key(|set| (revision(set), k8s_object::name(set).to_owned()));
    if plan.paused {
        // With a rollout half done, nobody can say which of the sets is meant.
        let mut running: Vec<&mut Value> = current
            .iter_mut()
            .chain(&mut old)
            .filter(|set| spec_replicas(set) > 0)
            .collect();
        if let [set] = running.as_mut_slice() {
            scale(cx, &deployment, &plan, set, plan.wanted)?;
        }
    } else if plan.recreate {
        recreate(cx, &mut deployment, &plan, &mut current, &mut old)?;
    } else {
        roll(cx, &mut deployment, &plan, &mut current, &mut old)?;
    }
    write_status(cx, key, &mut deployment, &plan, current.as_ref(), &old)?;
    if !plan.paused {
        forget_old(cx, &deployment, &old)?;
    }
    Ok(())
}

fn recreate(
    cx: &mut Cx<'_>,
    deployment: &mut Value,
    plan: &Plan,
    current: &mut Option<Value>,
    old: &mut [Value],
) -> Result<(), Refusal> {
    for set in old.iter_mut() {
        scale(cx, deployment, plan, set, 0)?;
    }
    // Pods on their way out still hold what the new ones would need.
    let left = old.iter().any(|set| !cx.children(set, POD).is_empty());
    if !left {
        let set = ensure_current(cx, deployment, plan, current, old)?;
        scale(cx, deployment, plan, set, plan.wanted)?;
    }
    Ok(())
}

fn roll(
    cx: &mut Cx<'_>,
    deployment: &mut Value,
    plan: &Plan,
    current: &mut Option<Value>,
    old: &mut [Value],
) -> Result<(), Refusal> {
    let set = ensure_current(cx, deployment, plan, current, old)?;
    let here = spec_replicas(set);
    let all = here + sum(old, "/spec/replicas");
    let room = (plan.wanted + plan.surge - all).max(0);
    let next = if here > plan.wanted {
        plan.wanted
    } else {
        here + room.min(plan.wanted - here)
    };
    scale(cx, deployment, plan, set, next)?;
    shrink_old(cx, deployment, plan, set, old)
}

/// Takes replicas from old sets as far as enough stay available: first those that do not serve anyway.
fn shrink_old(
    cx: &mut Cx<'_>,
    deployment: &Value,
    plan: &Plan,
    current: &Value,
    old: &mut [Value],
) -> Result<(), Refusal> {
    let all = spec_replicas(current) + sum(old, "/spec/replicas");
    let least = plan.wanted - plan.unavailable;
    let coming = spec_replicas(current) - number(current, "/status/availableReplicas").unwrap_or(0);
    let mut spare = all - least - coming.max(0);
    // What was taken already may still be counted as available: then there is nothing to spare.
    if spare <= 0 {
        return Ok(());
    }
    for set in old.iter_mut() {
        let idle = spec_replicas(set) - number(set, "/status/availableReplicas").unwrap_or(0);
        let take = idle.min(spare);
        if take > 0 {
            scale(cx, deployment, plan, set, spec_replicas(set) - take)?;
            spare -= take;
        }
    }
    let available = sum(old, "/status/availableReplicas")
        + number(current, "/status/availableReplicas").unwrap_or(0);
    let mut spare = available - least;
    for set in old.iter_mut() {
        let take = spec_replicas(set).min(spare);
        if take > 0 {
            scale(cx, deployment, plan, set, spec_replicas(set) - take)?;
            spare -= take;
        }
    }
    Ok(())
}

/// Finds or makes the ReplicaSet of the present template, and gives it the newest revision.
fn ensure_current<'a>(
    cx: &mut Cx<'_>,
    deployment: &mut Value,
    plan: &Plan,
    current: &'a mut Option<Value>,
    old: &[Value],
) -> Result<&'a mut Value, Refusal> {
    let newest = old.iter().map(revision).max().unwrap_or(0) + 1;
    let set = match current.take() {
        Some(mut set) => {
            if revision(&set) < newest {
                k8s_object::set_annotation(&mut set, REVISION, &newest.to_string());
                set = cx.api.update(MANAGER, &set)?;
            }
            set
        }
        None => {
            let set = cx
                .api
                .create(MANAGER, new_set(deployment, plan, newest, old))?;
            let message = format!("Created new replica set {:?}", k8s_object::name(&set));
            progress(cx, deployment, "NewReplicaSetCreated", &message)?;
            let scaled = spec_replicas(&set);
            if scaled > 0 {
                say_scaled(cx, deployment, &set, 0, scaled);
            }
            set
        }
    };
    let own = revision(&set).to_string();
    if k8s_object::annotation(deployment, REVISION) != Some(&own) {
        k8s_object::set_annotation(deployment, REVISION, &own);
        *deployment = cx.api.update(MANAGER, deployment)?;
    }
    Ok(current.insert(set))
}

fn new_set(deployment: &Value, plan: &Plan, revision: i64, old: &[Value]) -> Value {
    let mut template = deployment
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    let mut selector = deployment
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_default();
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][HASH] = json!(plan.hash);
    k8s_object::set_label(&mut template, HASH, &plan.hash);
    let labels = template
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_default();
    let mut annotations: Map<String, Value> = k8s_object::annotations(deployment)
        .filter(|(key, _)| {
            *key != REVISION && *key != "kubectl.kubernetes.io/last-applied-configuration"
        })
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
    annotations.insert(DESIRED.to_owned(), json!(plan.wanted.to_string()));
    let maximum = plan.wanted + plan.surge;
    annotations.insert(MAXIMUM.to_owned(), json!(maximum.to_string()));
    let room = (maximum - sum(old, "/spec/replicas")).max(0);
    let mut spec = json!({
        "replicas": room.min(plan.wanted),
        "selector": selector,
        "template": template,
    });
    if let Some(seconds) = number(deployment, "/spec/minReadySeconds").filter(|s| *s > 0) {
        spec["minReadySeconds"] = json!(seconds);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{}", k8s_object::name(deployment), plan.hash),
            "namespace": k8s_object::namespace(deployment),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": owned_by(deployment),
        },
        "spec": spec,
    })
}

fn scale(
    cx: &mut Cx<'_>,
    deployment: &Value,
    plan: &Plan,
    set: &mut Value,
    replicas: i64,
) -> Result<(), Refusal> {
    let before = spec_replicas(set);
    let (desired, maximum) = (
        plan.wanted.to_string(),
        (plan.wanted + plan.surge).to_string(),
    );
    let noted = k8s_object::annotation(set, DESIRED) == Some(&desired)
        && k8s_object::annotation(set, MAXIMUM) == Some(&maximum);
    if before == replicas && (noted || replicas == 0) {
        return Ok(());
    }
    let mut changed = set.clone();
    changed["spec"]["replicas"] = json!(replicas);
    k8s_object::set_annotation(&mut changed, DESIRED, &desired);
    k8s_object::set_annotation(&mut changed, MAXIMUM, &maximum);
    *set = cx.api.update(MANAGER, &changed)?;
    if before != replicas {
        say_scaled(cx, deployment, set, before, replicas);
    }
    Ok(())
}

fn say_scaled(cx: &mut Cx<'_>, deployment: &Value, set: &Value, from: i64, to: i64) {
    let way = if to > from { "up" } else { "down" };
    let message = format!(
        "Scaled {way} replica set {} from {from} to {to}",
        k8s_object::name(set)
    );
    cx.event(
        COMPONENT,
        deployment,
        Said::normal("ScalingReplicaSet", &message),
    );
}

/// Notes in the status that the rollout got on, and when.
fn progress(
    cx: &Cx<'_>,
    deployment: &mut Value,
    reason: &str,
    message: &str,
) -> Result<(), Refusal> {
    if deadline(deployment).is_none() {
        return Ok(());
    }
    let mut status = status_of(deployment);
    let now = cx.now_text();
    set_condition(
        &mut status,
        &Condition {
            kind: "Progressing",
            holds: true,
            reason,
            message,
        },
        &now,
        &[("lastUpdateTime", json!(now))],
    );
    cx.set_status(MANAGER, deployment, Value::Object(status))
}

/// After how many seconds without progress a rollout has failed.
fn deadline(deployment: &Value) -> Option<i64> {
    number(deployment, "/spec/progressDeadlineSeconds")
        .or(Some(600))
        .filter(|seconds| *seconds != i64::from(i32::MAX))
}

fn write_status(
    cx: &mut Cx<'_>,
    key: &Key,
    deployment: &mut Value,
    plan: &Plan,
    current: Option<&Value>,
    old: &[Value],
) -> Result<(), Refusal> {
    let of = |set: Option<&Value>, field: &str| {
        set.and_then(|set| number(set, &format!("/status/{field}")))
            .unwrap_or(0)
    };
    let total = |field: &str| of(current, field) + sum(old, &format!("/status/{field}"));
    let (all, ready, available) = (
        total("replicas"),
        total("readyReplicas"),
        total("availableReplicas"),
    );
    let updated = of(current, "replicas");
    let before = status_of(deployment);
    let mut status = before.clone();
    status.insert(
        "observedGeneration".to_owned(),
        json!(number(deployment, "/metadata/generation").unwrap_or(0)),
    );
    for (field, count) in [
        ("replicas", all),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        (
            "unavailableReplicas",
            (plan.wanted.max(all) - available).max(0),
        ),
    ] {
        // Counts are left out when they are 0, as omitempty does.
        if count == 0 {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), json!(count));
        }
    }
    let now = cx.now_text();
    let enough = available >= plan.wanted - plan.unavailable;
    let (reason, message) = if enough {
        (
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let moved = condition(deployment, "Available").is_none_or(|known| known["reason"] != reason);
    let stamp = condition(deployment, "Available")
        .filter(|_| !moved)
        .map_or_else(|| json!(now), |known| known["lastUpdateTime"].clone());
    set_condition(
        &mut status,
        &Condition {
            kind: "Available",
            holds: enough,
            reason,
            message,
        },
        &now,
        &[("lastUpdateTime", stamp)],
    );
    copy_failure(&mut status, current, &now);
    let done = updated == plan.wanted && all == plan.wanted && available == plan.wanted;
    let named = current.map_or_else(
        || format!("Deployment {:?}", k8s_object::name(deployment)),
        |set| format!("ReplicaSet {:?}", k8s_object::name(set)),
    );
    let due = progressing(cx.now, deployment, plan, done, &named, &before, &mut status);
    cx.set_status(MANAGER, deployment, Value::Object(status))?;
    if let Some(due) = due {
        cx.again_at(key, due);
    }
    Ok(())
}

fn copy_failure(status: &mut Map<String, Value>, current: Option<&Value>, now: &str) {
    let failure = current.and_then(|set| condition(set, "ReplicaFailure"));
    match failure {
        Some(failure) => set_condition(
            status,
            &Condition {
                kind: "ReplicaFailure",
                holds: true,
                reason: failure["reason"].as_str().unwrap_or_default(),
                message: failure["message"].as_str().unwrap_or_default(),
            },
            now,
            &[("lastUpdateTime", failure["lastTransitionTime"].clone())],
        ),
        None => pods::replica_failure(status, None, now),
    }
}

/// Sets the condition `Progressing`; returns when the deadline must be looked at again.
fn progressing(
    now: Timestamp,
    deployment: &Value,
    plan: &Plan,
    done: bool,
    named: &str,
    before: &Map<String, Value>,
    status: &mut Map<String, Value>,
) -> Option<Timestamp> {
    let seconds = deadline(deployment)?;
    let known = condition(deployment, "Progressing");
    let reason = known.map_or("", |known| known["reason"].as_str().unwrap_or_default());
    let updated_at = known
        .and_then(|known| read_time(known.get("lastUpdateTime")))
        .unwrap_or(now);
    let count = |status: &Map<String, Value>, field: &str| {
        status.get(field).and_then(Value::as_i64).unwrap_or(0)
    };
    let old_of =
        |status: &Map<String, Value>| count(status, "replicas") - count(status, "updatedReplicas");
    let got_on = ["updatedReplicas", "readyReplicas", "availableReplicas"]
        .iter()
        .any(|field| count(status, field) > count(before, field))
        || old_of(status) < old_of(before)
        // Going back to an earlier ReplicaSet makes none: the clock starts here.
        || (reason == "NewReplicaSetAvailable" && old_of(status) > 0);
    // A rollout that ended stays ended while the same revision runs, even if a pod is lost later.
    let ended = reason == "NewReplicaSetAvailable"
        && count(status, "updatedReplicas") == count(status, "replicas");
    let late = updated_at
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    let text_now = crate::api::time_text(now);
    let mut set = |holds: bool, reason: &str, message: String| {
        let same = known.is_some_and(|known| known["reason"] == reason);
        let stamp = match known {
            Some(known) if same && (reason != "ReplicaSetUpdated") => {
                known["lastUpdateTime"].clone()
            }
            _ => json!(text_now),
        };
        set_condition(
            status,
            &Condition {
                kind: "Progressing",
                holds,
                reason,
                message: &message,
            },
            &text_now,
            &[("lastUpdateTime", stamp)],
        );
    };
    if plan.paused {
        if reason != "DeploymentPaused" {
            set(true, "DeploymentPaused", "Deployment is paused".to_owned());
        }
        return None;
    }
    if reason == "DeploymentPaused" {
        set(
            true,
            "DeploymentResumed",
            "Deployment is resumed".to_owned(),
        );
        return now.checked_add(SignedDuration::from_secs(seconds)).ok();
    }
    if done {
        let message = format!("{named} has successfully progressed.");
        set(true, "NewReplicaSetAvailable", message);
        return None;
    }
    if ended {
        return None;
    }
    if got_on {
        let message = format!("{named} is progressing.");
        set(true, "ReplicaSetUpdated", message);
        return now.checked_add(SignedDuration::from_secs(seconds)).ok();
    }
    if reason == "ProgressDeadlineExceeded" {
        return None;
    }
    if late <= now {
        let message = format!("{named} has timed out progressing.");
        set(false, "ProgressDeadlineExceeded", message);
        return None;
    }
    Some(late)
}

/// Removes the oldest empty ReplicaSets beyond the history limit.
fn forget_old(cx: &Cx<'_>, deployment: &Value, old: &[Value]) -> Result<(), Refusal> {
    let limit = number(deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
    let surplus = usize::try_from(i64::try_from(old.len()).unwrap_or(0) - limit).unwrap_or(0);
    let empty = |set: &&Value| {
        spec_replicas(set) == 0
            && number(set, "/status/replicas").unwrap_or(0) == 0
            && !is_leaving(set)
            && list(set, "/metadata/finalizers").is_empty()
    };
    for set in old.iter().filter(empty).take(surplus) {
        let key = Key::of(set);
        cx.api
            .delete(&key, k8s_object::uid(set), Propagation::Background, false)?;
    }
    Ok(())
}
