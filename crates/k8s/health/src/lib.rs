//! Is this Kubernetes object healthy?
//!
//! One pure function over the object as JSON: it joins kstatus' strictness about `observedGeneration` with the states
//! that Argo CD tells apart, without the quirks of either. Nothing here knows a clock: an object that is not healthy
//! yet is [`Status::Progressing`] for as long as it says so, and the caller decides when it has waited enough. What a
//! workload itself does not tell (why its pods do not come up) is in its pods: [`pod_problem`].
//!
//! An object of a kind without a rule of its own is judged by its conditions, see [`health`].

mod gateway;
mod generic;
mod others;
mod pod;
mod view;
mod workloads;

use k8s_object::Gvk;
use serde_json::Value;

pub use pod::{Problem, pod_problem};
use view::View;

/// How an object does, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is as it should be, or nothing speaks against it.
    Healthy,
    /// Somebody told it to stand still.
    Suspended,
    /// It is on its way.
    Progressing,
    /// It failed, and will not mend by waiting alone.
    Degraded,
    /// It cannot be judged.
    Unknown,
}

impl Status {
    /// Returns the name that reports show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A verdict on one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How it does.
    pub status: Status,
    /// Why, in one CamelCase word; often the reason of the condition that decided.
    pub reason: String,
    /// Why, in a sentence; empty if there is nothing to add.
    pub message: String,
}

impl Health {
    fn new(status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    fn healthy(reason: &str) -> Self {
        Self::new(Status::Healthy, reason, "")
    }

    fn progressing(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Progressing, reason, message)
    }

    fn degraded(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Degraded, reason, message)
    }

    fn suspended(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Suspended, reason, message)
    }

    fn unknown(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, reason, message)
    }
}

/// Judges one object.
///
/// In this order, the first that applies:
///
/// 1. no `kind`: `Unknown`; a `deletionTimestamp`: `Progressing`, reason `Terminating`;
/// 2. a status that was written for an older generation: `Progressing`, reason `NotObserved`; kinds whose controller
///    always writes `status.observedGeneration` must have it;
/// 3. the condition `Stalled`: `Degraded`; `Reconciling`: `Progressing`;
/// 4. the rule of its kind;
/// 5. without a rule: the conditions `Failed` and `Degraded` (`Degraded` when true), then `Ready`, or else `Available`
///    (`Progressing` unless true; one written for an older generation counts as not true);
/// 6. without any of these it is `Healthy`, reason `Current`: it exists, and that is all there is to know.
pub fn health(object: &Value) -> Health {
    let Some(gvk) = Gvk::of(object) else {
        return Health::unknown("NotAnObject", "apiVersion or kind is missing");
    };
    let view = View::new(object);
    if let Some(verdict) = generic::leaving(&view) {
        return verdict;
    }
    let rule = rule(&gvk);
    if let Some(verdict) = generic::stale(&view, rule.is_some_and(|rule| rule.observes)) {
        return verdict;
    }
    generic::reconciling(&view)
        .or_else(|| rule.map(|rule| (rule.judge)(&view)))
        .unwrap_or_else(|| generic::by_conditions(&view))
}

#[derive(Clone, Copy)]
struct Rule {
    /// Its controller always writes `status.observedGeneration`.
    observes: bool,
    judge: fn(&View<'_>) -> Health,
}

fn rule(gvk: &Gvk) -> Option<Rule> {
    let (observes, judge): (bool, fn(&View<'_>) -> Health) =
        match (gvk.group.as_str(), gvk.kind.as_str()) {
            ("apps", "Deployment") => (true, workloads::deployment),
            ("apps", "StatefulSet") => (true, workloads::stateful_set),
            ("apps", "DaemonSet") => (true, workloads::daemon_set),
            ("apps", "ReplicaSet") | ("", "ReplicationController") => {
                (true, workloads::replica_set)
            }
            ("batch", "Job") => (false, workloads::job),
            ("batch", "CronJob") => (false, workloads::cron_job),
            ("", "Pod") => (false, pod::pod),
            ("", "Service") => (false, others::service),
            ("", "PersistentVolumeClaim") => (false, others::volume_claim),
            ("", "PersistentVolume") => (false, others::volume),
            ("", "Namespace") => (false, others::namespace),
            ("networking.k8s.io" | "extensions", "Ingress") => (false, others::ingress),
            ("autoscaling", "HorizontalPodAutoscaler") => (false, others::autoscaler),
            ("policy", "PodDisruptionBudget") => (true, others::disruption_budget),
            ("apiregistration.k8s.io", "APIService") => (false, others::api_service),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                (false, others::resource_definition)
            }
            (
                "gateway.networking.k8s.io",
                "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute",
            ) => (false, gateway::route),
            ("gateway.networking.k8s.io", "Gateway") => (false, gateway::gateway),
            ("argoproj.io", "Workflow") => (false, others::workflow),
            _ => return None,
        };
    Some(Rule { observes, judge })
}
