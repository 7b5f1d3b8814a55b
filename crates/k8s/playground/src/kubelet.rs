//! What a pod looks like in each stage of its life, and what its node says about it.

use serde_json::{Map, Value, json};

use crate::api::Refusal;
use crate::cx::{Condition, Cx, KUBELET, Said, list, set_condition, status_of, text};
use crate::fault::PodFault;
use crate::key::NODE;
use crate::life::{Behaviour, Stage};

/// How often the containers of a pod were started again, at most.
pub(crate) fn restarts(pod: &Value) -> u32 {
    list(pod, "/status/containerStatuses")
        .iter()
        .filter_map(|container| container["restartCount"].as_u64())
        .max()
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

fn exit_code(fault: Option<PodFault>) -> u8 {
    match fault {
        Some(PodFault::Exit(code)) => code,
        Some(PodFault::CrashLoop) => 1,
        _ => 0,
    }
}

fn terminated(code: u8, started: &Value, now: &str) -> Value {
    json!({"terminated": {
        "exitCode": code,
        "reason": if code == 0 { "Completed" } else { "Error" },
        "startedAt": started,
        "finishedAt": now,
    }})
}

fn waiting(reason: &str, message: &str) -> Value {
    if message.is_empty() {
        json!({"waiting": {"reason": reason}})
    } else {
        json!({"waiting": {"reason": reason, "message": message}})
    }
}

fn pull_error(image: &str) -> String {
    format!(
        "failed to pull and unpack image {image:?}: failed to resolve reference {image:?}: {image}: not found"
    )
}

fn back_off_image(image: &str) -> String {
    format!(
        "Back-off pulling image {image:?}: ErrImagePull: {}",
        pull_error(image)
    )
}

/// One container's status in a stage. `known` is what it was before.
fn container(
    pod: &Value,
    spec: &Value,
    known: Option<&Value>,
    stage: Stage,
    why: &str,
    now: &str,
) -> Value {
    let image = text(spec, "/image");
    let fault = PodFault::of_container(pod, spec);
    let was = |pointer: &str| known.and_then(|known| known.pointer(pointer)).cloned();
    let mut restarts = was("/restartCount")
        .and_then(|count| count.as_u64())
        .unwrap_or(0);
    let mut last = was("/lastState").unwrap_or_else(|| json!({}));
    let started = was("/state/running/startedAt").unwrap_or_else(|| json!(now));
    let running = || json!({"running": {"startedAt": started}});
    let crashes = matches!(fault, Some(PodFault::CrashLoop | PodFault::Exit(_)));
    let never = fault == Some(PodFault::NeverReady);
    let finite = matches!(Behaviour::of(pod), Behaviour::Finishes | Behaviour::Fails);
    let (state, ready) = match stage {
        Stage::PullFailed if fault == Some(PodFault::PullFailure) => {
            (waiting("ErrImagePull", &pull_error(image)), false)
        }
        Stage::PullWaits if fault == Some(PodFault::PullFailure) => {
            (waiting("ImagePullBackOff", &back_off_image(image)), false)
        }
        Stage::PullFailed | Stage::PullWaits | Stage::Ready => (running(), !never),
        Stage::Misconfigured => (waiting("CreateContainerConfigError", why), false),
        Stage::Running => {
            if was("/state/waiting/reason") == Some(json!("CrashLoopBackOff")) {
                restarts += 1;
            }
            (running(), finite)
        }
        Stage::Crashed if crashes => (terminated(exit_code(fault), &started, now), false),
        Stage::BackOff if crashes => {
            if let Some(ended) = was("/state/terminated") {
                last = json!({"terminated": ended});
            }
            let name = text(spec, "/name");
            let message = format!(
                "back-off restarting failed container={name} pod={}",
                k8s_object::name(pod)
            );
            (waiting("CrashLoopBackOff", &message), false)
        }
        Stage::Crashed | Stage::BackOff => (running(), !never),
        Stage::Succeeded => (terminated(0, &started, now), false),
        Stage::Failed => (terminated(exit_code(fault), &started, now), false),
        _ => (waiting("ContainerCreating", ""), false),
    };
    let mut out = json!({
        "name": text(spec, "/name"),
        "image": image,
        "imageID": "",
        "ready": ready,
        "started": state.get("running").is_some(),
        "restartCount": restarts,
        "state": state,
        "lastState": last,
    });
    if out["started"] == json!(true) {
        let id = base_json::Digest::of(
            format!(
                "{} {} {restarts}",
                k8s_object::uid(pod),
                text(spec, "/name")
            )
            .as_bytes(),
        );
        out["containerID"] = json!(format!("playground://{}", id.short()));
    }
    out
}

/// Init containers have ended by the time that others run; the playground does not run them.
fn init_container(spec: &Value, stage: Stage, now: &str) -> Value {
    let done = !matches!(stage, Stage::Bound | Stage::Creating);
    json!({
        "name": text(spec, "/name"),
        "image": text(spec, "/image"),
        "imageID": "",
        "ready": done,
        "started": false,
        "restartCount": 0,
        "state": if done { terminated(0, &json!(now), now) } else { waiting("PodInitializing", "") },
        "lastState": {},
    })
}

fn quality(pod: &Value) -> &'static str {
    let asks = list(pod, "/spec/containers").iter().any(|container| {
        ["requests", "limits"].iter().any(|field| {
            container
                .pointer(&format!("/resources/{field}"))
                .and_then(Value::as_object)
                .is_some_and(|map| !map.is_empty())
        })
    });
    if asks { "Burstable" } else { "BestEffort" }
}

fn addresses(cx: &mut Cx<'_>, pod: &Value, status: &mut Map<String, Value>) {
    if status.contains_key("podIP") {
        return;
    }
    let node = cx.api.get(NODE, "", text(pod, "/spec/nodeName"));
    let host = node
        .as_ref()
        .and_then(|node| {
            list(node, "/status/addresses")
                .iter()
                .find(|address| address["type"] == "InternalIP")
        })
        .map_or("", |address| text(address, "/address"))
        .to_owned();
    cx.state.pod_addresses += 1;
    // 10.244.0.0/16; thousands of pods later addresses come again.
    let number = cx.state.pod_addresses % 0xfffe + 1;
    let ip = if pod.pointer("/spec/hostNetwork") == Some(&json!(true)) {
        host.clone()
    } else {
        format!("10.244.{}.{}", number >> 8, number & 0xff)
    };
    status.insert("podIP".to_owned(), json!(ip));
    status.insert("podIPs".to_owned(), json!([{"ip": ip}]));
    if !host.is_empty() {
        status.insert("hostIP".to_owned(), json!(host));
        status.insert("hostIPs".to_owned(), json!([{"ip": host}]));
    }
}

/// Writes the status of a pod that enters a stage. `why` explains the stages that need it.
pub(crate) fn write(
    cx: &mut Cx<'_>,
    pod: &mut Value,
    stage: Stage,
    why: &str,
) -> Result<(), Refusal> {
    let now = cx.now_text();
    let mut status = status_of(pod);
    let statuses: Vec<Value> = list(pod, "/spec/containers")
        .iter()
        .map(|spec| {
            let known = list(pod, "/status/containerStatuses")
                .iter()
                .find(|known| known["name"] == spec["name"]);
            container(pod, spec, known, stage, why, &now)
        })
        .collect();
    let ready = !statuses.is_empty() && statuses.iter().all(|container| container["ready"] == true);
    let inits: Vec<Value> = list(pod, "/spec/initContainers")
        .iter()
        .map(|spec| init_container(spec, stage, &now))
        .collect();
    let phase = match stage {
        Stage::Running | Stage::Ready | Stage::Crashed | Stage::BackOff => "Running",
        Stage::Succeeded => "Succeeded",
        Stage::Failed => "Failed",
        _ => "Pending",
    };
    status.insert("phase".to_owned(), json!(phase));
    status.insert("qosClass".to_owned(), json!(quality(pod)));
    status
        .entry("startTime")
        .or_insert_with(|| json!(now.clone()));
    let ended = matches!(stage, Stage::Succeeded | Stage::Failed);
    let unready = if stage == Stage::Succeeded {
        ("PodCompleted", String::new())
    } else {
        let names: Vec<&str> = statuses
            .iter()
            .filter(|container| container["ready"] != true)
            .map(|container| text(container, "/name"))
            .collect();
        (
            "ContainersNotReady",
            format!("containers with unready status: [{}]", names.join(" ")),
        )
    };
    let creating = stage == Stage::Creating;
    for (kind, holds) in [
        ("PodReadyToStartContainers", !creating && !ended),
        ("Initialized", inits.is_empty() || !creating),
        ("Ready", ready),
        ("ContainersReady", ready),
        ("PodScheduled", true),
    ] {
        let (reason, message) = match (kind, holds) {
            ("Ready" | "ContainersReady", false) => (unready.0, unready.1.as_str()),
            _ => ("", ""),
        };
        let condition = Condition {
            kind,
            holds,
            reason,
            message,
        };
        set_condition(&mut status, &condition, &now, &[]);
    }
    status.insert("containerStatuses".to_owned(), json!(statuses));
    if !inits.is_empty() {
        status.insert("initContainerStatuses".to_owned(), json!(inits));
    }
    if stage != Stage::Creating {
        addresses(cx, pod, &mut status);
    }
    cx.set_status(KUBELET, pod, Value::Object(status))
}

/// Says in an Event what is worth saying about a stage: what went wrong.
pub(crate) fn say(cx: &mut Cx<'_>, pod: &Value, stage: Stage, tries: u32) {
    let wanted = match stage {
        Stage::PullFailed | Stage::PullWaits => PodFault::PullFailure,
        Stage::BackOff => PodFault::Exit(0),
        Stage::Running if PodFault::of_pod(pod) == Some(PodFault::NeverReady) => {
            let message = "Readiness probe failed: the playground was told that it never passes";
            cx.event(KUBELET, pod, Said::warning("Unhealthy", message));
            return;
        }
        _ => return,
    };
    let culprit = list(pod, "/spec/containers").iter().find(|spec| {
        let fault = PodFault::of_container(pod, spec);
        match wanted {
            PodFault::PullFailure => fault == Some(PodFault::PullFailure),
            _ => matches!(fault, Some(PodFault::CrashLoop | PodFault::Exit(_))),
        }
    });
    let Some(culprit) = culprit else { return };
    let (image, name) = (text(culprit, "/image"), text(culprit, "/name"));
    match stage {
        Stage::PullFailed => {
            let message = format!("Failed to pull image {image:?}: {}", pull_error(image));
            cx.event(KUBELET, pod, Said::warning("Failed", &message));
            if tries == 0 {
                let message = "Error: ErrImagePull";
                cx.event(KUBELET, pod, Said::warning("Failed", message));
            }
        }
        Stage::PullWaits => {
            let message = format!("Back-off pulling image {image:?}");
            cx.event(KUBELET, pod, Said::normal("BackOff", &message));
        }
        _ => {
            let (namespace, pod_name) = (k8s_object::namespace(pod), k8s_object::name(pod));
            let message = format!(
                "Back-off restarting failed container {name} in pod {pod_name}_{namespace}({})",
                k8s_object::uid(pod)
            );
            cx.event(KUBELET, pod, Said::warning("BackOff", &message));
        }
    }
}
