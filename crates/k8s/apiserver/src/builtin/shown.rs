//! What Kubernetes shows of an object from the start although nobody wrote it, and nobody owns it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::DefaultFn;

/// The status that a kind has before any controller has looked at it.
fn status(group: &str, kind: &str) -> Option<Value> {
    Some(match (group, kind) {
        ("apps", "Deployment") | ("batch", "Job" | "CronJob") | ("", "ResourceQuota") => json!({}),
        ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"availableReplicas": 0, "replicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            json!({"currentMetrics": null, "desiredReplicas": 0})
        }
        ("policy", "PodDisruptionBudget") => json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }),
        _ => return None,
    })
}

/// Finds what a kind shows.
pub(super) fn of(group: &str, kind: &str) -> Option<DefaultFn> {
    if kind == "Event" {
        let new = !group.is_empty();
        return Some(Arc::new(move |event| super::events::fill(event, new)));
    }
    let status = status(group, kind)?;
    Some(Arc::new(move |object| {
        if let Some(map) = object.as_object_mut() {
            map.entry("status").or_insert_with(|| status.clone());
        }
    }))
}
