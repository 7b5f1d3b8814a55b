//! What a list of pods shows.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{items, number, text};
use crate::world::since;

/// The computed cells of a pod.
pub(super) struct PodCells {
    pub(super) ready: String,
    pub(super) status: String,
    pub(super) restarts: String,
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&pod["status"]["conditions"]).find(|condition| condition["type"] == kind)
}

fn ended(prefix: &str, terminated: &Value) -> String {
    let reason = text(&terminated["reason"]);
    if !reason.is_empty() {
        return format!("{prefix}{reason}");
    }
    match number(&terminated["signal"]) {
        0 => format!("{prefix}ExitCode:{}", number(&terminated["exitCode"])),
        signal => format!("{prefix}Signal:{signal}"),
    }
}

fn restarts_always(pod: &Value, name: &Value) -> bool {
    items(&pod["spec"]["initContainers"])
        .any(|init| init["name"] == *name && init["restartPolicy"] == "Always")
}

/// Computes a pod's cells.
pub(super) fn pod(pod: &Value, now: Timestamp) -> PodCells {
    let status = &pod["status"];
    let (mut restarts, mut sidecar_restarts, mut ready) = (0, 0, 0);
    let (mut last, mut sidecar_last) = (None, None);
    let mut total = items(&pod["spec"]["containers"]).count();
    let mut reason = match text(&status["reason"]) {
        reason if reason.is_empty() => text(&status["phase"]),
        reason => reason,
    };
    if condition(pod, "PodScheduled").is_some_and(|found| found["reason"] == "SchedulingGated") {
        reason = "SchedulingGated".to_owned();
    }
    let inits = items(&pod["spec"]["initContainers"]).count();
    total += items(&pod["spec"]["initContainers"])
        .filter(|init| init["restartPolicy"] == "Always")
        .count();
    let mut initializing = false;
    for (index, container) in items(&status["initContainerStatuses"]).enumerate() {
        restarts += number(&container["restartCount"]);
        let ended_at = text(&container["lastState"]["terminated"]["finishedAt"]);
        last = last.max(Some(ended_at).filter(|at| !at.is_empty()));
        let always = restarts_always(pod, &container["name"]);
        if always {
            sidecar_restarts += number(&container["restartCount"]);
            sidecar_last = last.clone();
        }
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !state["terminated"].is_null() && number(&state["terminated"]["exitCode"]) == 0 {
            continue;
        }
        if always && container["started"] == json!(true) {
            ready += usize::from(container["ready"] == json!(true));
            continue;
        }
        reason = if !state["terminated"].is_null() {
            ended("Init:", &state["terminated"])
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{inits}")
        };
        initializing = true;
        break;
    }
    let initialized = condition(pod, "Initialized").is_some_and(|found| found["status"] == "True");
    if !initializing || initialized {
        (restarts, last) = (sidecar_restarts, sidecar_last);
        let mut running = false;
        let containers: Vec<&Value> = items(&status["containerStatuses"]).collect();
        for container in containers.into_iter().rev() {
            restarts += number(&container["restartCount"]);
            let ended_at = text(&container["lastState"]["terminated"]["finishedAt"]);
            last = last.max(Some(ended_at).filter(|at| !at.is_empty()));
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                reason = waiting;
            } else if !state["terminated"].is_null() {
                reason = ended("", &state["terminated"]);
            } else if container["ready"] == json!(true) && !state["running"].is_null() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            let is_ready = condition(pod, "Ready").is_some_and(|found| found["status"] == "True");
            reason = if is_ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if pod["metadata"].get("deletionTimestamp").is_some() {
        if status["reason"] == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if status["phase"] != "Succeeded" && status["phase"] != "Failed" {
            reason = "Terminating".to_owned();
        }
    }
    let restarts = match last {
        Some(last) if restarts > 0 => format!("{restarts} ({} ago)", since(Some(&last), now)),
        _ => restarts.to_string(),
    };
    PodCells {
        ready: format!("{ready}/{total}"),
        status: reason,
        restarts,
    }
}

/// Counts the readiness gates that hold.
pub(super) fn gates(pod: &Value) -> String {
    let gates: Vec<&Value> = items(&pod["spec"]["readinessGates"]).collect();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let hold = gates.iter().filter(|gate| {
        let kind = text(&gate["conditionType"]);
        condition(pod, &kind).is_some_and(|found| found["status"] == "True")
    });
    format!("{}/{}", hold.count(), gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pod: Value, ready: &str, status: &str, restarts: &str) {
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        let cells = super::pod(&pod, now);
        assert_eq!(
            (&*cells.ready, &*cells.status, &*cells.restarts),
            (ready, status, restarts),
            "{pod}"
        );
    }

    #[test]
    fn pods_read_as_kubectl_shows_them() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        check(
            json!({"spec": spec, "status": {"phase": "Pending"}}),
            "0/2",
            "Pending",
            "0",
        );
        check(
            json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [
                {"ready": true, "restartCount": 0, "state": {"running": {}}},
                {"ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]}}),
            "1/2",
            "CrashLoopBackOff",
            "3 (5m ago)",
        );
        check(
            json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
                "status": {"phase": "Pending", "initContainerStatuses": [
                    {"state": {"terminated": {"exitCode": 0}}}, {"state": {"waiting": {"reason": "PodInitializing"}}}]}}),
            "0/1",
            "Init:1/2",
            "0",
        );
        check(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec,
                "status": {"phase": "Running"}}),
            "0/2",
            "Terminating",
            "0",
        );
    }
}
