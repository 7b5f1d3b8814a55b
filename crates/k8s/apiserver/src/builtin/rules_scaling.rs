//! What Kubernetes refuses of autoscalers beyond the table.

use serde_json::{Value, json};

use super::rules::{items, text};
use crate::FieldError;

pub(super) fn autoscaler(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let number = |field: &str| spec[field].as_i64().unwrap_or(0);
    let (least, most) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        number("maxReplicas"),
    );
    let mut errors = Vec::new();
    if least < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            json!(least),
            detail,
        ));
    }
    let outside = |metric: &Value| matches!(text(&metric["type"]), "Object" | "External");
    if least == 0 && !items(&spec["metrics"]).any(outside) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden("spec.metrics", detail));
    }
    if most == 0 {
        let detail = "must be set and greater than 0";
        errors.push(FieldError::required("spec.maxReplicas", detail));
    } else if most < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.maxReplicas", json!(most), detail));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", json!(most), detail));
    }
    for (index, metric) in items(&spec["metrics"]).enumerate() {
        let at = format!("spec.metrics[{index}]");
        for source in ["resource", "containerResource"] {
            if metric[source].is_object() {
                let at = format!("{at}.{source}.target");
                metric_target(&metric[source]["target"], &at, &mut errors);
            }
        }
        let known = [
            "ContainerResource",
            "External",
            "Object",
            "Pods",
            "Resource",
        ];
        let kind = text(&metric["type"]);
        if !known.contains(&kind) {
            // said where the type is read, and where its source is looked for
            let error = FieldError::not_supported(format!("{at}.type"), json!(kind), &known);
            errors.extend([error.clone(), error]);
            continue;
        }
        let mut own = kind.to_owned();
        own[..1].make_ascii_lowercase();
        if metric[&own].is_null() {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(format!("{at}.{own}"), detail));
        }
        let sources = [
            "object",
            "external",
            "pods",
            "resource",
            "containerResource",
        ];
        let there: Vec<&str> = sources
            .into_iter()
            .filter(|one| metric[*one].is_object())
            .collect();
        if there.len() != 1 {
            for other in there.into_iter().filter(|one| *one != own) {
                let detail = "must populate the given metric source only";
                errors.push(FieldError::forbidden(format!("{at}.{other}"), detail));
            }
        }
    }
    let target = &spec["scaleTargetRef"];
    let group = text(&target["apiVersion"]);
    let known = ["Pod", "ReplicationController"].contains(&text(&target["kind"]));
    if !(group.contains('/') || group == "v1" && known) {
        let detail = "apiVersion must specify API group";
        errors.push(FieldError::invalid(
            "spec.scaleTargetRef.apiVersion",
            json!(group),
            detail,
        ));
    }
    if let Some(percent) = spec["targetCPUUtilizationPercentage"].as_i64()
        && percent < 1
    {
        errors.push(FieldError::invalid(
            "spec.metrics[0].resource.target.averageUtilization",
            json!(percent),
            "must be greater than 0",
        ));
    }
    errors
}

fn metric_target(target: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let kind = text(&target["type"]);
    let place = format!("{at}.type");
    if kind.is_empty() {
        errors.push(FieldError::required(
            place.clone(),
            "must specify a metric target type",
        ));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(place, json!(kind), detail));
    }
    let utilization = &target["averageUtilization"];
    if utilization.as_i64().is_some_and(|percent| percent < 1) {
        errors.push(FieldError::invalid(
            format!("{at}.averageUtilization"),
            utilization.clone(),
            "must be greater than 0",
        ));
    }
    if utilization.is_null() && target["averageValue"].is_null() {
        errors.push(FieldError::required(
            format!("{at}.averageUtilization"),
            "must set either a target raw value or a target utilization",
        ));
    }
}
