//! Kinds that only need a plain status to look alive.

use serde_json::{Value, json};

use crate::api::Refusal;
use crate::cx::{Condition, Cx, MANAGER, is_leaving, list, number, set_condition, status_of, text};
use crate::key::{Key, Kind};

/// Says that an autoscaler sees its target, and leaves the replicas alone.
pub(crate) fn autoscaler(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut scaler) = cx.get(key).filter(|scaler| !is_leaving(scaler)) else {
        return Ok(());
    };
    let target = cx.api.get(
        Kind::new(
            text(&scaler, "/spec/scaleTargetRef/apiVersion"),
            text(&scaler, "/spec/scaleTargetRef/kind"),
        ),
        key.namespace(),
        text(&scaler, "/spec/scaleTargetRef/name"),
    );
    let now = cx.now_text();
    let mut status = status_of(&scaler);
    let replicas = target
        .as_ref()
        .map(|target| number(target, "/spec/replicas").unwrap_or(1));
    let missing = format!(
        "the HPA controller was unable to get the target's current scale: {} {:?} not found",
        text(&scaler, "/spec/scaleTargetRef/kind"),
        text(&scaler, "/spec/scaleTargetRef/name"),
    );
    let able = match replicas {
        Some(_) => Condition {
            kind: "AbleToScale",
            holds: true,
            reason: "ReadyForNewScale",
            message: "recommended size matches current size",
        },
        None => Condition {
            kind: "AbleToScale",
            holds: false,
            reason: "FailedGetScale",
            message: &missing,
        },
    };
    set_condition(&mut status, &able, &now, &[]);
    if let Some(replicas) = replicas {
        for condition in [
            Condition {
                kind: "ScalingActive",
                holds: true,
                reason: "ValidMetricFound",
                message: "the HPA was able to successfully calculate a replica count",
            },
            Condition {
                kind: "ScalingLimited",
                holds: false,
                reason: "DesiredWithinRange",
                message: "the desired count is within the acceptable range",
            },
        ] {
            set_condition(&mut status, &condition, &now, &[]);
        }
        status.insert("currentReplicas".to_owned(), json!(replicas));
        status.insert("desiredReplicas".to_owned(), json!(replicas));
        let generation = number(&scaler, "/metadata/generation").unwrap_or(0);
        status.insert("observedGeneration".to_owned(), json!(generation));
    }
    cx.set_status(MANAGER, &mut scaler, Value::Object(status))
}

/// Gives an Ingress an address, as its controller would.
pub(crate) fn ingress(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut ingress) = cx.get(key).filter(|ingress| !is_leaving(ingress)) else {
        return Ok(());
    };
    if !list(&ingress, "/status/loadBalancer/ingress").is_empty() {
        return Ok(());
    }
    // 203.0.113.0/24 is set aside for examples (RFC 5737); one controller has one address.
    let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}});
    cx.set_status(MANAGER, &mut ingress, status)
}
