//! Why a workload does not come up: its pods know.

use base_json::Value;
use k8s_object::ObjectId;
use roadstead_model::Time;

/// What a workload's pods say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodProblem {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// It will not mend by waiting.
    pub(crate) failing: bool,
}

/// The label selector of a workload's pods in kubectl's text form; `None` for kinds that have none.
pub(crate) fn selector(live: &Value, id: &ObjectId) -> Option<String> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {}
        _ => return None,
    }
    if live.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) {
        // what wants no pods has none to ask
        return None;
    }
    let selector = live.pointer("/spec/selector")?;
    let mut parts = Vec::new();
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// A container that only is not ready yet is no problem while its pod is this young.
const YOUNG_MS: u64 = 20_000;

/// The worst problem among pods.
///
/// Pods that are older than the last change of their workload are what it had before: they explain nothing.
pub(crate) fn worst(
    pods: &[bytes::Bytes],
    namespace: &str,
    changed: Option<Time>,
    now: Time,
) -> Option<PodProblem> {
    let mut found: Option<PodProblem> = None;
    for bytes in pods {
        let Ok(pod) = serde_json::from_slice::<Value>(bytes) else {
            continue;
        };
        if k8s_object::namespace(&pod) != namespace {
            continue;
        }
        let Some(problem) = k8s_health::pod_problem(&pod) else {
            continue;
        };
        let started = pod
            .pointer("/metadata/creationTimestamp")
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<Time>().ok());
        if changed.is_some_and(|changed| started.is_some_and(|started| started < changed)) {
            continue;
        }
        if !problem.failing && started.is_some_and(|started| now.since_ms(started) < YOUNG_MS) {
            continue;
        }
        if found
            .as_ref()
            .is_none_or(|best| problem.failing && !best.failing)
        {
            found = Some(PodProblem {
                reason: problem.reason.clone(),
                message: format!("pod {}: {problem}", k8s_object::name(&pod)),
                failing: problem.failing,
            });
        }
    }
    found
}
