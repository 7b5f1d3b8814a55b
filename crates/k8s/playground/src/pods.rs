//! Pods as controllers see them, and how they are made from a template.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Refusal, read_time};
use crate::cx::{Condition, Cx, Said, condition, is_leaving, owned_by, set_condition, text};
use crate::queue::after;

pub(crate) fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

/// Neither ended nor on its way out.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_leaving(pod) && !has_ended(pod)
}

pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Since when a pod counts as available, if it is ready: `minReadySeconds` after it became so.
pub(crate) fn available_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready["status"] == "True")?;
    let since = read_time(ready.get("lastTransitionTime")).unwrap_or(Timestamp::MIN);
    let wait = u64::try_from(min_ready_seconds).unwrap_or(0);
    Some(if wait == 0 {
        Timestamp::MIN
    } else {
        after(since, wait.saturating_mul(1000))
    })
}

/// How many of some pods are ready and available; and when the next ready one becomes available.
pub(crate) struct Census {
    pub(crate) ready: i64,
    pub(crate) available: i64,
    pub(crate) next: Option<Timestamp>,
}

pub(crate) fn census<'a>(
    pods: impl Iterator<Item = &'a Value>,
    min_ready_seconds: i64,
    now: Timestamp,
) -> Census {
    let mut census = Census {
        ready: 0,
        available: 0,
        next: None,
    };
    for pod in pods {
        if let Some(at) = available_at(pod, min_ready_seconds) {
            census.ready += 1;
            if at <= now {
                census.available += 1;
            } else {
                census.next = Some(census.next.map_or(at, |next| next.min(at)));
            }
        }
    }
    census
}

/// What a pod made from a template gets besides.
#[derive(Default)]
pub(crate) struct Extra<'a> {
    pub(crate) labels: Vec<(&'a str, String)>,
    pub(crate) annotations: Vec<(&'a str, String)>,
    /// Put into `spec` as it is.
    pub(crate) spec: Vec<(&'a str, Value)>,
}

/// Makes a pod that an object controls from a template.
pub(crate) fn from_template(
    owner: &Value,
    template: &Value,
    name: &str,
    extra: &Extra<'_>,
) -> Value {
    let copy = |field: &str| -> Map<String, Value> {
        template
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (mut labels, mut annotations) = (copy("labels"), copy("annotations"));
    for (key, value) in &extra.labels {
        labels.insert((*key).to_owned(), json!(value));
    }
    for (key, value) in &extra.annotations {
        annotations.insert((*key).to_owned(), json!(value));
    }
    let mut spec = template
        .get("spec")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, value) in &extra.spec {
        spec.insert((*key).to_owned(), value.clone());
    }
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(name));
    metadata.insert("namespace".to_owned(), json!(k8s_object::namespace(owner)));
    metadata.insert("labels".to_owned(), Value::Object(labels));
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    let finalizers = template.pointer("/metadata/finalizers");
    if let Some(finalizers) = finalizers.filter(|list| list.is_array()) {
        metadata.insert("finalizers".to_owned(), finalizers.clone());
    }
    metadata.insert("ownerReferences".to_owned(), owned_by(owner));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Creates a pod for a controller and says so in an Event; a refusal is said too, and handed on.
pub(crate) fn create(
    cx: &mut Cx<'_>,
    component: &str,
    owner: &Value,
    pod: Value,
) -> Result<Value, Refusal> {
    let name = k8s_object::name(&pod).to_owned();
    match cx.api.create(component, pod) {
        Ok(pod) => Ok(pod),
        Err(refusal) => {
            if let Refusal::Refused(why) = &refusal {
                let message = format!("Error creating: pod {name:?}: {why}");
                cx.event(component, owner, Said::warning("FailedCreate", &message));
            }
            Err(refusal)
        }
    }
}

/// Sets or clears `ReplicaFailure`, the condition that says that pods cannot be created.
pub(crate) fn replica_failure(
    status: &mut Map<String, Value>,
    refusal: Option<&Refusal>,
    now: &str,
) {
    match refusal {
        Some(refusal) => set_condition(
            status,
            &Condition {
                kind: "ReplicaFailure",
                holds: true,
                reason: "FailedCreate",
                message: &refusal.to_string(),
            },
            now,
            &[],
        ),
        None => {
            if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
                conditions.retain(|condition| condition["type"] != "ReplicaFailure");
                if conditions.is_empty() {
                    status.remove("conditions");
                }
            }
        }
    }
}

/// The order in which surplus pods go: those that serve least first.
pub(crate) fn by_worth(pods: &mut [Value]) {
    pods.sort_by_cached_key(|pod| {
        let bound = !text(pod, "/spec/nodeName").is_empty();
        let running = match phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let cost = k8s_object::annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
            .and_then(|cost| cost.parse::<i64>().ok())
            .unwrap_or(0);
        let created = text(pod, "/metadata/creationTimestamp").to_owned();
        (
            bound,
            running,
            is_ready(pod),
            cost,
            std::cmp::Reverse((created, k8s_object::name(pod).to_owned())),
        )
    });
}
