//! The life of a pod: stages, and how long it stays in each. The stages are data; what each looks like is in `kubelet`.

use jiff::Timestamp;
use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::config::{Span, Timings};
use crate::cx::{
    Condition, Cx, KUBELET, SCHEDULER, Said, is_leaving, list, set_condition, status_of, text,
};
use crate::fault::PodFault;
use crate::key::{CONFIG_MAP, Key, NODE, POD, SECRET, VOLUME_CLAIM};
use crate::queue::after;
use crate::{kubelet, pods, quantity};

/// Where a pod is in its life. It can always be read from the pod itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Created, on no node.
    New,
    /// A node has it, and has done nothing.
    Bound,
    /// The node pulls images and makes containers.
    Creating,
    /// A pull has just failed.
    PullFailed,
    /// The next pull waits.
    PullWaits,
    /// Something that a container's environment refers to is missing.
    Misconfigured,
    /// It runs, and is not ready.
    Running,
    /// It runs and is ready.
    Ready,
    /// Its process has just ended, and will be started again.
    Crashed,
    /// The next start waits.
    BackOff,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was asked to end.
    Stopping,
    /// It is not there any more.
    Gone,
}

/// How a pod lives, by its restart policy, its owner and its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Serves until it is told to end.
    Serves,
    /// Runs to a good end.
    Finishes,
    /// Runs to a bad end.
    Fails,
    /// Ends and is started again.
    Crashes,
    /// Runs and never becomes ready.
    NeverReady,
    /// Never gets its image.
    NoImage,
}

impl Behaviour {
    pub(crate) fn of(pod: &Value) -> Self {
        let policy = text(pod, "/spec/restartPolicy");
        let owned_by_job = list(pod, "/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["kind"] == "Job");
        match PodFault::of_pod(pod) {
            Some(PodFault::PullFailure) => Self::NoImage,
            Some(PodFault::CrashLoop | PodFault::Exit(_)) if policy == "Never" => Self::Fails,
            Some(PodFault::CrashLoop | PodFault::Exit(_)) => Self::Crashes,
            Some(PodFault::NeverReady) => Self::NeverReady,
            Some(PodFault::Slow) | None => {
                if owned_by_job || matches!(policy, "Never" | "OnFailure") {
                    Self::Finishes
                } else {
                    Self::Serves
                }
            }
        }
    }
}

/// One row of the table: from a stage to the next.
struct Step {
    from: Stage,
    /// For these pods; for all if it is empty.
    only: &'static [Behaviour],
    delay: fn(&Timings) -> Span,
    /// The delay doubles with each restart or try.
    doubles: bool,
    to: Stage,
}

const fn step(
    from: Stage,
    only: &'static [Behaviour],
    delay: fn(&Timings) -> Span,
    to: Stage,
) -> Step {
    Step {
        from,
        only,
        delay,
        doubles: false,
        to,
    }
}

const fn doubling(mut step: Step) -> Step {
    step.doubles = true;
    step
}

/// The first row that fits counts; a pod that none fits stays where it is.
const STEPS: &[Step] = {
    use Behaviour::{Crashes, Fails, Finishes, NeverReady, NoImage, Serves};
    use Stage::{
        BackOff, Bound, Crashed, Creating, Failed, Gone, Misconfigured, New, PullFailed, PullWaits,
        Ready, Running, Stopping, Succeeded,
    };
    &[
        step(New, &[], |t| t.schedule, Bound),
        step(Bound, &[], |t| t.accept, Creating),
        step(Creating, &[NoImage], |t| t.start, PullFailed),
        step(Creating, &[], |t| t.start, Running),
        step(PullFailed, &[NoImage], |t| t.accept, PullWaits),
        step(PullFailed, &[], |t| t.start, Running),
        doubling(step(PullWaits, &[NoImage], |t| t.back_off, PullFailed)),
        step(PullWaits, &[], |t| t.start, Running),
        step(Misconfigured, &[], |t| t.retry, Running),
        step(Running, &[Serves], |t| t.ready, Ready),
        step(Running, &[Finishes], |t| t.run, Succeeded),
        step(Running, &[Fails], |t| t.run, Failed),
        step(Running, &[Crashes], |t| t.crash, Crashed),
        step(Ready, &[Finishes], |t| t.run, Succeeded),
        step(Ready, &[Fails], |t| t.run, Failed),
        step(Ready, &[Crashes], |t| t.crash, Crashed),
        step(Ready, &[NeverReady], |t| t.accept, Running),
        step(Crashed, &[], |t| t.accept, BackOff),
        doubling(step(BackOff, &[], |t| t.back_off, Running)),
        step(Stopping, &[], |t| t.stop, Gone),
    ]
};

/// A pod that is on its way: which stage it is leaving, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) stage: Stage,
    pub(crate) due: Timestamp,
    /// How many tries in a row have failed.
    pub(crate) tries: u32,
}

pub(crate) fn stage_of(pod: &Value) -> Stage {
    if is_leaving(pod) {
        return Stage::Stopping;
    }
    match pods::phase(pod) {
        "Succeeded" => return Stage::Succeeded,
        "Failed" => return Stage::Failed,
        _ => {}
    }
    if text(pod, "/spec/nodeName").is_empty() {
        return Stage::New;
    }
    let containers = list(pod, "/status/containerStatuses");
    let waits = |reasons: &[&str]| {
        containers
            .iter()
            .any(|container| reasons.contains(&text(container, "/state/waiting/reason")))
    };
    if containers.is_empty() {
        Stage::Bound
    } else if waits(&["ErrImagePull"]) {
        Stage::PullFailed
    } else if waits(&["ImagePullBackOff"]) {
        Stage::PullWaits
    } else if waits(&["CreateContainerConfigError"]) {
        Stage::Misconfigured
    } else if waits(&["CrashLoopBackOff"]) {
        Stage::BackOff
    } else if waits(&["ContainerCreating", "PodInitializing"]) {
        Stage::Creating
    } else if containers
        .iter()
        .any(|container| container.pointer("/state/terminated").is_some())
    {
        Stage::Crashed
    } else if pods::is_ready(pod) {
        Stage::Ready
    } else {
        Stage::Running
    }
}

/// Moves a pod on if its time has come, and sees to it that the next look is at the right moment.
pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut pod) = cx.get(key) else {
        cx.state.lives.remove(key);
        return Ok(());
    };
    let known = cx.state.lives.get(key).copied();
    let stage = stage_of(&pod);
    let known = known.filter(|life| life.stage == stage);
    let mut tries = known.map_or(0, |life| life.tries);
    if let Some(life) = known {
        if life.due > cx.now {
            return Ok(());
        }
        if let Some(step) = step_from(stage, Behaviour::of(&pod)) {
            cx.state.lives.remove(key);
            let came_to = enter(cx, key, &mut pod, step.to, tries)?;
            if came_to == Stage::Gone {
                return Ok(());
            }
            tries = match came_to {
                Stage::PullFailed => tries + 1,
                Stage::PullWaits => tries,
                same if same == stage => tries + 1,
                _ => 0,
            };
        }
    }
    plan(cx, key, &pod, tries);
    Ok(())
}

fn step_from(stage: Stage, behaviour: Behaviour) -> Option<&'static Step> {
    STEPS
        .iter()
        .find(|step| step.from == stage && (step.only.is_empty() || step.only.contains(&behaviour)))
}

fn plan(cx: &mut Cx<'_>, key: &Key, pod: &Value, tries: u32) {
    let stage = stage_of(pod);
    let Some(step) = step_from(stage, Behaviour::of(pod)) else {
        cx.state.lives.remove(key);
        return;
    };
    let timings = &cx.config.timings;
    let (most, mut span) = (timings.back_off_max_ms, (step.delay)(timings));
    if PodFault::of_pod(pod) == Some(PodFault::Slow) && stage != Stage::Stopping {
        span = span.times(timings.slow_factor);
    }
    let pulls = matches!(stage, Stage::PullFailed | Stage::PullWaits);
    // What was tried in vain (no node fits, a volume is missing) is tried again less and less often.
    let again = tries > 0 && !pulls;
    if again {
        span = timings.retry;
    }
    let mut wait = cx.draw(span);
    if step.doubles || again {
        let times = match stage {
            Stage::BackOff => kubelet::restarts(pod),
            _ => tries.saturating_sub(1),
        };
        wait = wait.saturating_mul(1 << times.min(20)).min(most);
    }
    if stage == Stage::Stopping {
        let grace = pod
            .pointer("/metadata/deletionGracePeriodSeconds")
            .and_then(Value::as_u64)
            .unwrap_or(30);
        wait = wait.min(grace.saturating_mul(1000));
    }
    let due = after(cx.now, wait);
    cx.state
        .lives
        .insert(key.clone(), Life { stage, due, tries });
    cx.again_at(key, due);
}

/// Writes what a pod looks like in its next stage; returns the stage that it came to.
fn enter(
    cx: &mut Cx<'_>,
    key: &Key,
    pod: &mut Value,
    to: Stage,
    tries: u32,
) -> Result<Stage, Refusal> {
    match to {
        Stage::Gone => {
            cx.api
                .delete(key, k8s_object::uid(pod), Propagation::Background, true)?;
            return Ok(Stage::Gone);
        }
        Stage::Bound => return bind(cx, pod),
        Stage::Running => {
            if let Some(missing) = missing_reference(cx, pod) {
                kubelet::write(cx, pod, Stage::Misconfigured, &missing)?;
                cx.event(
                    KUBELET,
                    pod,
                    Said::warning("Failed", &format!("Error: {missing}")),
                );
                return Ok(Stage::Misconfigured);
            }
            if let Some(missing) = missing_volume(cx, pod) {
                cx.event(KUBELET, pod, Said::warning("FailedMount", &missing));
                return Ok(Stage::Creating);
            }
        }
        _ => {}
    }
    kubelet::write(cx, pod, to, "")?;
    kubelet::say(cx, pod, to, tries);
    Ok(to)
}

/// Gives a pod a node, or says why none fits.
fn bind(cx: &mut Cx<'_>, pod: &mut Value) -> Result<Stage, Refusal> {
    let nodes = cx.api.list(NODE, "");
    let namespace = k8s_object::namespace(pod).to_owned();
    let claim = list(pod, "/spec/volumes")
        .iter()
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .find(|claim| !claim.is_empty() && cx.api.get(VOLUME_CLAIM, &namespace, claim).is_none());
    let fitting: Vec<&Value> = match claim {
        Some(_) => Vec::new(),
        None => nodes.iter().filter(|node| node_fits(node, pod)).collect(),
    };
    let now = cx.now_text();
    let at = cx.state.dice.below(fitting.len() as u64);
    let chosen = fitting.get(usize::try_from(at).unwrap_or(0));
    let mut status = status_of(pod);
    let Some(node) = chosen else {
        let why = match claim {
            Some(claim) => format!("persistentvolumeclaim {claim:?} not found"),
            None => why_none_fits(&nodes, pod),
        };
        let message = format!("0/{} nodes are available: {why}.", nodes.len());
        let condition = Condition {
            kind: "PodScheduled",
            holds: false,
            reason: "Unschedulable",
            message: &message,
        };
        set_condition(&mut status, &condition, &now, &[]);
        status.insert("phase".to_owned(), json!("Pending"));
        cx.set_status(SCHEDULER, pod, Value::Object(status))?;
        let said = Said::warning("FailedScheduling", &message);
        cx.event(SCHEDULER, pod, said);
        return Ok(Stage::New);
    };
    let node = k8s_object::name(node).to_owned();
    pod["spec"]["nodeName"] = json!(node);
    *pod = cx.api.update(SCHEDULER, pod)?;
    let condition = Condition {
        kind: "PodScheduled",
        holds: true,
        reason: "",
        message: "",
    };
    set_condition(&mut status, &condition, &now, &[]);
    status.insert("phase".to_owned(), json!("Pending"));
    cx.set_status(SCHEDULER, pod, Value::Object(status))?;
    let message = format!(
        "Successfully assigned {namespace}/{} to {node}",
        k8s_object::name(pod)
    );
    cx.event(SCHEDULER, pod, Said::normal("Scheduled", &message));
    Ok(Stage::Bound)
}

fn selects(node: &Value, pod: &Value) -> bool {
    pod.pointer("/spec/nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| k8s_object::label(node, key) == value.as_str())
}

fn tolerates(node: &Value, pod: &Value) -> bool {
    let tolerations = list(pod, "/spec/tolerations");
    list(node, "/spec/taints")
        .iter()
        .filter(|taint| taint["effect"] != "PreferNoSchedule")
        .all(|taint| {
            tolerations.iter().any(|toleration| {
                let key = text(toleration, "/key");
                let effect = text(toleration, "/effect");
                (key.is_empty() || key == text(taint, "/key"))
                    && (effect.is_empty() || effect == text(taint, "/effect"))
                    && (text(toleration, "/operator") == "Exists"
                        || text(toleration, "/value") == text(taint, "/value"))
            })
        })
}

/// The resource of which a node has less than the pod asks for. Other pods on the node are not counted.
fn lacks(node: &Value, pod: &Value) -> Option<&'static str> {
    ["cpu", "memory"].into_iter().find(|resource| {
        let asked: i64 = list(pod, "/spec/containers")
            .iter()
            .filter_map(|container| {
                quantity::thousandths(container.pointer("/resources/requests")?.get(resource)?)
            })
            .sum();
        let has = node
            .pointer("/status/allocatable")
            .and_then(|all| quantity::thousandths(all.get(resource)?));
        has.is_some_and(|has| asked > has)
    })
}

/// May a pod (or one made from this template) run on a node?
pub(crate) fn node_fits(node: &Value, pod: &Value) -> bool {
    node.pointer("/spec/unschedulable") != Some(&Value::Bool(true))
        && selects(node, pod)
        && tolerates(node, pod)
        && lacks(node, pod).is_none()
}

fn why_none_fits(nodes: &[Value], pod: &Value) -> String {
    if nodes.is_empty() {
        return "no nodes".to_owned();
    }
    let mut reasons: std::collections::BTreeMap<String, usize> = Default::default();
    for node in nodes {
        let reason = if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
            "node(s) were unschedulable".to_owned()
        } else if !selects(node, pod) {
            "node(s) didn't match Pod's node affinity/selector".to_owned()
        } else if !tolerates(node, pod) {
            "node(s) had untolerated taint(s)".to_owned()
        } else {
            format!("Insufficient {}", lacks(node, pod).unwrap_or("pods"))
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let parts: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.join(", ")
}

/// A ConfigMap or Secret that a container's environment needs and that is not there.
fn missing_reference(cx: &Cx<'_>, pod: &Value) -> Option<String> {
    let namespace = k8s_object::namespace(pod);
    let check = |reference: Option<&Value>, kind, what: &str, needs_key: bool| -> Option<String> {
        let reference = reference?;
        if reference["optional"] == json!(true) {
            return None;
        }
        let name = text(reference, "/name");
        let Some(found) = cx.api.get(kind, namespace, name) else {
            return Some(format!("{what} {name:?} not found"));
        };
        let key = text(reference, "/key");
        let has = ["data", "binaryData"].iter().any(|field| {
            found
                .get(*field)
                .is_some_and(|data| data.get(key).is_some())
        });
        (needs_key && !has).then(|| format!("couldn't find key {key} in {what} {namespace}/{name}"))
    };
    list(pod, "/spec/containers")
        .iter()
        .chain(list(pod, "/spec/initContainers"))
        .find_map(|container| {
            let one = list(container, "/env").iter().find_map(|env| {
                let from = |field: &str| env.pointer(&format!("/valueFrom/{field}"));
                check(from("configMapKeyRef"), CONFIG_MAP, "configmap", true)
                    .or_else(|| check(from("secretKeyRef"), SECRET, "secret", true))
            });
            one.or_else(|| {
                list(container, "/envFrom").iter().find_map(|from| {
                    check(from.get("configMapRef"), CONFIG_MAP, "configmap", false)
                        .or_else(|| check(from.get("secretRef"), SECRET, "secret", false))
                })
            })
        })
}

/// A ConfigMap or Secret that a volume needs and that is not there.
fn missing_volume(cx: &Cx<'_>, pod: &Value) -> Option<String> {
    let namespace = k8s_object::namespace(pod);
    list(pod, "/spec/volumes").iter().find_map(|volume| {
        let optional = |source: &str| volume[source]["optional"] == json!(true);
        let config_map = text(volume, "/configMap/name");
        let secret = text(volume, "/secret/secretName");
        let (kind, what, name) = if !config_map.is_empty() && !optional("configMap") {
            (CONFIG_MAP, "configmap", config_map)
        } else if !secret.is_empty() && !optional("secret") {
            (SECRET, "secret", secret)
        } else {
            return None;
        };
        cx.api.get(kind, namespace, name).is_none().then(|| {
            let volume = text(volume, "/name");
            format!("MountVolume.SetUp failed for volume {volume:?} : {what} {name:?} not found")
        })
    })
}

/// Removes the pods of a node that is gone.
pub(crate) fn node_changed(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    if cx.get(key).is_some() {
        return Ok(());
    }
    for pod in cx.api.list(POD, "") {
        if text(&pod, "/spec/nodeName") == key.name() {
            let (key, uid) = (Key::of(&pod), k8s_object::uid(&pod));
            cx.api.delete(&key, uid, Propagation::Background, true)?;
        }
    }
    Ok(())
}
