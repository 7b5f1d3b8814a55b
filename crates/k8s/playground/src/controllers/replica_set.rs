//! ReplicaSets, and ReplicationControllers, which came before them: as many pods as are wanted.

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, Said, is_leaving, number, status_of};
use crate::key::{Key, POD};
use crate::pods::{self, Extra};
use crate::queue::Work;

/// Under which name it speaks in Events.
fn component(set: &Value) -> &'static str {
    match k8s_object::kind(set) {
        "ReplicationController" => "replication-controller",
        _ => "replicaset-controller",
    }
}

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut set) = cx.get(key).filter(|set| !is_leaving(set)) else {
        return Ok(());
    };
    cx.adopt(&set, POD)?;
    let wanted = number(&set, "/spec/replicas").unwrap_or(1).max(0);
    let all = cx.children(&set, POD);
    if all.is_empty()
        && wanted == 0
        && let Some(owner) = cx.controller_of(&set)
    {
        // A Deployment that recreates waits for the last pod, which no status tells of.
        cx.state.queue.add(Work::Reconcile(owner));
    }
    let mut active: Vec<Value> = all.into_iter().filter(pods::is_active).collect();
    let found = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let mut refusal = None;
    for _ in found..wanted {
        let name = format!("{}-{}", k8s_object::name(&set), cx.state.dice.suffix(5));
        let template = set.pointer("/spec/template").unwrap_or(&Value::Null);
        let pod = pods::from_template(&set, template, &name, &Extra::default());
        match pods::create(cx, MANAGER, &set, pod) {
            Ok(pod) => active.push(pod),
            Err(Refusal::Conflict(why)) => return Err(Refusal::Conflict(why)),
            Err(other) => {
                refusal = Some(other);
                break;
            }
        }
    }
    if found > wanted {
        pods::by_worth(&mut active);
        let surplus = usize::try_from(found - wanted).unwrap_or(0);
        for pod in active.drain(..surplus) {
            let message = format!("Deleted pod: {}", k8s_object::name(&pod));
            let key = Key::of(&pod);
            cx.api
                .delete(&key, k8s_object::uid(&pod), Propagation::Background, false)?;
            cx.event(
                component(&set),
                &set,
                Said::normal("SuccessfulDelete", &message),
            );
        }
    }
    let min_ready = number(&set, "/spec/minReadySeconds").unwrap_or(0);
    let census = pods::census(active.iter(), min_ready, cx.now);
    let now = cx.now_text();
    let mut status = status_of(&set);
    status.insert(
        "observedGeneration".to_owned(),
        json!(number(&set, "/metadata/generation").unwrap_or(0)),
    );
    status.insert("replicas".to_owned(), json!(active.len()));
    for (field, count) in [
        (
            "fullyLabeledReplicas",
            i64::try_from(active.len()).unwrap_or(0),
        ),
        ("readyReplicas", census.ready),
        ("availableReplicas", census.available),
    ] {
        if count == 0 {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), json!(count));
        }
    }
    pods::replica_failure(&mut status, refusal.as_ref(), &now);
    cx.set_status(MANAGER, &mut set, Value::Object(status))?;
    if let Some(next) = census.next {
        cx.again_at(key, next);
    }
    if refusal.is_some() {
        let wait = cx.draw(cx.config.timings.retry);
        cx.again_in(key, wait);
    }
    Ok(())
}
