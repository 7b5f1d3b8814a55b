//! The rules of kinds that run no pods themselves.

use serde_json::Value;

use crate::Health;
use crate::view::{Condition, View};

/// A load balancer without an address takes no traffic; every other Service works once it exists.
pub(crate) fn service(view: &View<'_>) -> Health {
    if view.text("/spec/type") == "LoadBalancer"
        && view.list("/status/loadBalancer/ingress").is_empty()
    {
        return Health::progressing("NoAddress", "the load balancer has no address yet");
    }
    Health::healthy("Current")
}

/// Many controllers publish no address, so its absence says nothing.
pub(crate) fn ingress(view: &View<'_>) -> Health {
    if view.list("/status/loadBalancer/ingress").is_empty() {
        Health::healthy("Current")
    } else {
        Health::healthy("HasAddress")
    }
}

pub(crate) fn volume_claim(view: &View<'_>) -> Health {
    match view.text("/status/phase") {
        "Bound" => Health::healthy("Bound"),
        "" | "Pending" => Health::progressing(
            "Pending",
            "no volume is bound yet; some storage classes wait for the first pod",
        ),
        "Lost" => Health::degraded("Lost", "the volume it was bound to is gone"),
        other => Health::unknown("UnknownPhase", format!("phase {other:?}")),
    }
}

pub(crate) fn volume(view: &View<'_>) -> Health {
    match view.text("/status/phase") {
        phase @ ("Available" | "Bound" | "Released") => Health::healthy(phase),
        "" | "Pending" => Health::progressing("Pending", "the volume is not available yet"),
        "Failed" => Health::degraded(
            match view.text("/status/reason") {
                "" => "Failed",
                reason => reason,
            },
            view.text("/status/message"),
        ),
        other => Health::unknown("UnknownPhase", format!("phase {other:?}")),
    }
}

pub(crate) fn namespace(view: &View<'_>) -> Health {
    match view.text("/status/phase") {
        "Terminating" => Health::progressing("Terminating", "being removed"),
        _ => Health::healthy("Active"),
    }
}

pub(crate) fn autoscaler(view: &View<'_>) -> Health {
    // autoscaling/v1 has no conditions field; its controller writes them into an annotation.
    let parsed: Value;
    let conditions: Vec<Condition<'_>> =
        match k8s_object::annotation(view.object(), "autoscaling.alpha.kubernetes.io/conditions") {
            Some(text) if view.at("/status/conditions").is_none() => {
                parsed = serde_json::from_str(text).unwrap_or_default();
                parsed
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(Condition::of)
                    .collect()
            }
            _ => view.conditions().collect(),
        };
    let broken = conditions.iter().find(|condition| {
        condition.is("False")
            && match condition.kind() {
                "AbleToScale" => {
                    matches!(condition.reason(), "FailedGetScale" | "FailedUpdateScale")
                }
                "ScalingActive" => condition.reason() == "InvalidSelector",
                _ => false,
            }
    });
    if let Some(broken) = broken {
        return Health::degraded(broken.reason(), broken.message());
    }
    // Each new autoscaler is without metrics until those of its new pods arrive, half a minute or more: that is no failure
    // yet, and where there are none at all the caller's deadline tells.
    let blind = conditions.iter().find(|condition| {
        condition.is("False")
            && condition.kind() == "ScalingActive"
            && matches!(
                condition.reason(),
                "FailedGetResourceMetric"
                    | "FailedGetObjectMetric"
                    | "FailedGetPodsMetric"
                    | "FailedGetExternalMetric"
                    | "FailedGetContainerResourceMetric"
                    | "FailedComputeMetricsReplicas"
            )
    });
    if let Some(blind) = blind {
        return Health::progressing(blind.reason(), blind.message());
    }
    let works = conditions.iter().find(|condition| {
        condition.is("True") && matches!(condition.kind(), "AbleToScale" | "ScalingLimited")
    });
    match works {
        Some(works) => Health::healthy(works.reason_or_kind()),
        None => Health::progressing("NotReady", "waits to scale"),
    }
}

pub(crate) fn disruption_budget(view: &View<'_>) -> Health {
    // Too few pods is what a budget is there to tell; it is not the budget that is broken.
    view.conditions()
        .find(|condition| condition.is("False") && condition.reason() != "InsufficientPods")
        .map_or_else(
            || Health::healthy("Current"),
            |bad| Health::degraded(bad.reason_or_kind(), bad.message()),
        )
}

pub(crate) fn api_service(view: &View<'_>) -> Health {
    match view.condition("Available") {
        Some(available) if available.is("True") => Health::healthy("Available"),
        Some(available) => Health::progressing(available.reason_or_kind(), available.message()),
        None => Health::progressing("NotAvailable", "no condition Available yet"),
    }
}

pub(crate) fn resource_definition(view: &View<'_>) -> Health {
    let is = |kind: &str, status: &str| {
        view.condition(kind)
            .filter(|condition| condition.is(status))
    };
    if let Some(leaving) = is("Terminating", "True") {
        return Health::progressing("Terminating", leaving.message());
    }
    if let Some(bad) = is("NamesAccepted", "False").or_else(|| is("NonStructuralSchema", "True")) {
        return Health::degraded(bad.reason_or_kind(), bad.message());
    }
    match view.condition("Established") {
        Some(established) if established.is("True") => Health::healthy("Established"),
        Some(established) if established.reason() != "Installing" => {
            Health::degraded(established.reason_or_kind(), established.message())
        }
        Some(established) => Health::progressing("Installing", established.message()),
        None => Health::progressing("NotEstablished", "its names are not accepted yet"),
    }
}

pub(crate) fn workflow(view: &View<'_>) -> Health {
    let message = view.text("/status/message");
    match view.text("/status/phase") {
        "Succeeded" => Health::healthy("Succeeded"),
        phase @ ("Failed" | "Error") => Health::degraded(phase, message),
        "" => Health::progressing("Pending", message),
        phase => Health::progressing(phase, message),
    }
}
