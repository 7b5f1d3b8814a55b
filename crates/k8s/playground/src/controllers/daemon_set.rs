//! DaemonSets: one pod on each node that fits.

use std::collections::BTreeMap;

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use super::revisions;
use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, Said, is_leaving, number, share_of, status_of, text};
use crate::key::{Key, NODE, POD};
use crate::life::node_fits;
use crate::pods::{self, Extra};

const COMPONENT: &str = "daemonset-controller";

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut set) = cx.get(key).filter(|set| !is_leaving(set)) else {
        return Ok(());
    };
    cx.adopt(&set, POD)?;
    revisions::ensure(cx, &set, &|_| false)?;
    let hash = revisions::hash(&set);
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let nodes: Vec<String> = cx
        .api
        .list(NODE, "")
        .iter()
        .filter(|node| node_fits(node, &template))
        .map(|node| k8s_object::name(node).to_owned())
        .collect();
    let mut pods: BTreeMap<String, Value> = BTreeMap::new();
    let mut surplus = Vec::new();
    for pod in cx.children(&set, POD) {
        let node = text(&pod, "/spec/nodeName").to_owned();
        if pods::has_ended(&pod) || !nodes.contains(&node) || pods.contains_key(&node) {
            surplus.push(pod);
        } else {
            pods.insert(node, pod);
        }
    }
    let misplaced = surplus.iter().filter(|pod| pods::is_active(pod)).count();
    for pod in surplus {
        remove(cx, &set, &pod)?;
    }
    for node in &nodes {
        if pods.contains_key(node) {
            continue;
        }
        let name = format!("{}-{}", k8s_object::name(&set), cx.state.dice.suffix(5));
        let extra = Extra {
            labels: vec![(revisions::LABEL, hash.clone())],
            spec: vec![("nodeName", json!(node))],
            ..Extra::default()
        };
        let pod = pods::from_template(&set, &template, &name, &extra);
        let pod = pods::create(cx, MANAGER, &set, pod)?;
        pods.insert(node.clone(), pod);
    }
    roll(cx, &set, &hash, &pods)?;
    let active = || pods.values().filter(|pod| pods::is_active(pod));
    let updated = active()
        .filter(|pod| k8s_object::label(pod, revisions::LABEL) == Some(&hash))
        .count();
    let min_ready = number(&set, "/spec/minReadySeconds").unwrap_or(0);
    let census = pods::census(active(), min_ready, cx.now);
    let desired = i64::try_from(nodes.len()).unwrap_or(0);
    let mut status = status_of(&set);
    let generation = number(&set, "/metadata/generation").unwrap_or(0);
    for (field, count) in [
        ("observedGeneration", generation),
        ("desiredNumberScheduled", desired),
        (
            "currentNumberScheduled",
            i64::try_from(active().count()).unwrap_or(0),
        ),
        ("numberMisscheduled", i64::try_from(misplaced).unwrap_or(0)),
        ("numberReady", census.ready),
    ] {
        status.insert(field.to_owned(), json!(count));
    }
    for (field, count) in [
        (
            "updatedNumberScheduled",
            i64::try_from(updated).unwrap_or(0),
        ),
        ("numberAvailable", census.available),
        ("numberUnavailable", desired - census.available),
    ] {
        if count == 0 {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), json!(count));
        }
    }
    cx.set_status(MANAGER, &mut set, Value::Object(status))?;
    if let Some(next) = census.next {
        cx.again_at(key, next);
    }
    Ok(())
}

fn remove(cx: &mut Cx<'_>, set: &Value, pod: &Value) -> Result<(), Refusal> {
    if is_leaving(pod) {
        return Ok(());
    }
    let key = Key::of(pod);
    cx.api
        .delete(&key, k8s_object::uid(pod), Propagation::Background, false)?;
    let message = format!("Deleted pod: {}", k8s_object::name(pod));
    cx.event(COMPONENT, set, Said::normal("SuccessfulDelete", &message));
    Ok(())
}

/// Removes pods of an older template, as many at once as may be missing. Those that do not serve anyway go first.
fn roll(
    cx: &mut Cx<'_>,
    set: &Value,
    hash: &str,
    pods: &BTreeMap<String, Value>,
) -> Result<(), Refusal> {
    if text(set, "/spec/updateStrategy/type") == "OnDelete" {
        return Ok(());
    }
    let desired = i64::try_from(pods.len()).unwrap_or(0);
    let may_miss = share_of(
        set.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable"),
        &json!(1),
        desired,
        true,
    )
    .max(1);
    let old = |pod: &Value| {
        k8s_object::label(pod, revisions::LABEL) != Some(hash) && pods::is_active(pod)
    };
    let (idle, serving): (Vec<&Value>, Vec<&Value>) = pods
        .values()
        .filter(|pod| old(pod))
        .partition(|pod| !pods::is_ready(pod));
    let missing = pods.values().filter(|pod| !pods::is_ready(pod)).count();
    let room = (may_miss - i64::try_from(missing).unwrap_or(0)).max(0);
    for pod in &idle {
        remove(cx, set, pod)?;
    }
    for pod in serving.iter().take(usize::try_from(room).unwrap_or(0)) {
        remove(cx, set, pod)?;
    }
    Ok(())
}
