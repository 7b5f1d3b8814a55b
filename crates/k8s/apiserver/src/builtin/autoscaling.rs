//! Autoscalers: `autoscaling/v1` is another form of what is stored as `autoscaling/v2`.

use serde_json::{Value, json};

use crate::resource::StoredAs;

/// How the older form is stored: as the newer.
pub(super) const STORED: StoredAs = StoredAs {
    group: "autoscaling",
    version: "v2",
    to: newer,
    from: older,
};

/// Where nothing says what is measured, it is the processor; annotations hold what this form has no place for.
pub(super) fn default(object: &mut Value) {
    let annotations = &object["metadata"]["annotations"];
    let others = annotations.get("autoscaling.alpha.kubernetes.io/metrics");
    if others.is_none()
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        let percent = spec.entry("targetCPUUtilizationPercentage");
        percent.or_insert_with(|| json!(80));
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn newer(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(percent) = spec.remove("targetCPUUtilizationPercentage")
    {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let percent = status.remove("currentCPUUtilizationPercentage");
        let metrics = percent.map(|percent| {
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": percent}}}])
        });
        status.insert("currentMetrics".to_owned(), metrics.unwrap_or_default());
    }
}

fn older(object: &mut Value) {
    let first = |part: &mut serde_json::Map<String, Value>, list: &str, pointer: &str| {
        let metrics = part.remove(list)?;
        let cpu = metrics.as_array()?.iter().find(|metric| is_cpu(metric))?;
        cpu.pointer(pointer).cloned()
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let percent = first(spec, "metrics", "/resource/target/averageUtilization");
        if let Some(percent) = percent {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
        }
        spec.remove("behavior");
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let pointer = "/resource/current/averageUtilization";
        let percent = first(status, "currentMetrics", pointer);
        if let Some(percent) = percent {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
        status.remove("conditions");
        status.entry("currentReplicas").or_insert_with(|| json!(0));
    }
}
