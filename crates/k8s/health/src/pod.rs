//! Pods: their own health, and what keeps one from becoming healthy.

use serde_json::Value;

use crate::Health;
use crate::view::View;

/// What keeps a pod from running well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is, in Kubernetes' own word: `ImagePullBackOff`, `CrashLoopBackOff`, `OOMKilled`, `Unschedulable`, …;
    /// `Failed` for a pod that gave up without saying more, and `NotReady` for a container that runs and is not ready.
    pub reason: String,
    /// What Kubernetes says about it; may be empty.
    pub message: String,
    /// The container; empty when it is the pod as a whole.
    pub container: String,
    /// The container's image; empty when it is the pod as a whole.
    pub image: String,
    /// Something was tried and failed. `false` for what may only need more time: `Unschedulable`, `NotReady`.
    pub failing: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.container.is_empty() {
            f.write_str(&self.reason)?;
        } else {
            write!(f, "container {:?}: {}", self.container, self.reason)?;
        }
        if !self.image.is_empty() {
            write!(f, " (image {})", self.image)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

struct Container<'a> {
    status: &'a Value,
    init: bool,
}

impl<'a> Container<'a> {
    fn text(&self, pointer: &str) -> &'a str {
        self.status
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.status
            .pointer(pointer)
            .filter(|value| !value.is_null())
    }

    fn ready(&self) -> bool {
        self.status.get("ready").and_then(Value::as_bool) == Some(true)
    }

    /// The kubelet says that it cannot start it.
    fn cannot_start(&self) -> bool {
        let reason = self.text("/state/waiting/reason");
        reason.starts_with("Err")
            || ["Error", "BackOff", "InvalidImageName", "ImageNeverPull"]
                .iter()
                .any(|end| reason.ends_with(end))
    }

    /// How it ended badly; `at` is `/state/terminated` or `/lastState/terminated`.
    fn ended_badly(&self, at: &str) -> Option<String> {
        let ended = self.at(at)?;
        let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
        let reason = ended.get("reason").and_then(Value::as_str);
        (code != 0 || reason == Some("OOMKilled")).then(|| match reason {
            None | Some("") => "Error".to_owned(),
            Some(reason) => reason.to_owned(),
        })
    }

    fn exit_code(&self, at: &str) -> i64 {
        self.at(at)
            .and_then(|ended| ended.get("exitCode")?.as_i64())
            .unwrap_or(0)
    }

    fn problem(&self, reason: String, message: String, failing: bool) -> Problem {
        Problem {
            reason,
            message,
            container: self.text("/name").to_owned(),
            image: self.text("/image").to_owned(),
            failing,
        }
    }
}

fn containers<'a>(view: &View<'a>) -> impl Iterator<Item = Container<'a>> {
    let list = |pointer: &str, init| {
        view.list(pointer)
            .iter()
            .map(move |status| Container { status, init })
    };
    list("/status/initContainerStatuses", true).chain(list("/status/containerStatuses", false))
}

/// Tells what keeps a pod from running well; `None` if nothing does, or nothing shows yet.
///
/// Of several problems the one that explains most comes first: a container that cannot start, one that ended badly, a
/// pod that cannot be placed, and last a container that runs but is not ready. A young pod may be `NotReady` for a good
/// reason: give it time before you blame it.
pub fn pod_problem(pod: &Value) -> Option<Problem> {
    let view = View::new(pod);
    if view.text("/status/phase") == "Succeeded" || view.at("/metadata/deletionTimestamp").is_some()
    {
        return None;
    }
    cannot_start(&view)
        .or_else(|| ended_badly(&view))
        .or_else(|| gave_up(&view))
        .or_else(|| unschedulable(&view))
        .or_else(|| not_ready(&view))
}

fn cannot_start(view: &View<'_>) -> Option<Problem> {
    let container = containers(view).find(Container::cannot_start)?;
    let waiting = container.text("/state/waiting/reason");
    // Out of memory explains more than the back-off that follows from it.
    let last = container.ended_badly("/lastState/terminated");
    if waiting == "CrashLoopBackOff"
        && let Some(last) = last
    {
        let code = container.exit_code("/lastState/terminated");
        let restarts = container
            .at("/restartCount")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        return Some(if last == "OOMKilled" {
            let message = format!("killed for using too much memory, {restarts} restarts");
            container.problem(last, message, true)
        } else {
            let message = format!("exited with code {code}, {restarts} restarts");
            container.problem(waiting.to_owned(), message, true)
        });
    }
    let message = container.text("/state/waiting/message").to_owned();
    Some(container.problem(waiting.to_owned(), message, true))
}

fn ended_badly(view: &View<'_>) -> Option<Problem> {
    containers(view).find_map(|container| {
        let at = if container.at("/state/terminated").is_some() {
            "/state/terminated"
        } else if container.ready() {
            return None;
        } else {
            "/lastState/terminated"
        };
        let reason = container.ended_badly(at)?;
        let message = match container.text(&format!("{at}/message")) {
            "" => format!("exited with code {}", container.exit_code(at)),
            message => message.to_owned(),
        };
        Some(container.problem(reason, message, true))
    })
}

fn of_pod(reason: &str, message: &str, failing: bool) -> Problem {
    Problem {
        reason: reason.to_owned(),
        message: message.to_owned(),
        container: String::new(),
        image: String::new(),
        failing,
    }
}

fn gave_up(view: &View<'_>) -> Option<Problem> {
    (view.text("/status/phase") == "Failed").then(|| {
        let reason = match view.text("/status/reason") {
            "" => "Failed",
            reason => reason,
        };
        of_pod(reason, view.text("/status/message"), true)
    })
}

fn unschedulable(view: &View<'_>) -> Option<Problem> {
    let placed = view.condition("PodScheduled")?;
    (placed.is("False") && placed.reason() == "Unschedulable")
        .then(|| of_pod("Unschedulable", placed.message(), false))
}

fn not_ready(view: &View<'_>) -> Option<Problem> {
    if view.text("/status/phase") != "Running" {
        return None;
    }
    containers(view)
        .find(|container| {
            !container.init && !container.ready() && container.at("/state/running").is_some()
        })
        .map(|container| {
            let message = "the container runs, but its readiness probe has not passed".to_owned();
            container.problem("NotReady".to_owned(), message, false)
        })
}

pub(crate) fn pod(view: &View<'_>) -> Health {
    let of = |problem: Problem| {
        let text = match problem.message.as_str() {
            "" => problem.container.clone(),
            message if problem.container.is_empty() => message.to_owned(),
            message => format!("container {:?}: {message}", problem.container),
        };
        (problem.reason, text)
    };
    let problem = pod_problem(view.object());
    match view.text("/status/phase") {
        "Succeeded" => return Health::healthy("Succeeded"),
        "Failed" => {
            let (reason, message) =
                match (view.text("/status/reason"), view.text("/status/message")) {
                    ("", "") => problem.map_or_else(|| ("Failed".to_owned(), String::new()), of),
                    ("", message) => ("Failed".to_owned(), message.to_owned()),
                    (reason, message) => (reason.to_owned(), message.to_owned()),
                };
            return Health::degraded(reason, message);
        }
        "Unknown" => {
            return Health::unknown("NodeLost", "its node does not answer");
        }
        _ => {}
    }
    let restarts = matches!(view.text("/spec/restartPolicy"), "" | "Always");
    if restarts && view.text("/status/phase") == "Running" && view.holds("Ready").is_some() {
        return Health::healthy("Ready");
    }
    match problem {
        // A pod that runs to its end is judged by that end: a pull that fails now may work on the next try.
        Some(problem) if problem.failing && restarts => {
            let (reason, message) = of(problem);
            Health::degraded(reason, message)
        }
        Some(problem) => {
            let (reason, message) = of(problem);
            Health::progressing(reason, message)
        }
        None => Health::progressing(
            match view.text("/status/phase") {
                "" => "Pending",
                phase => phase,
            },
            "",
        ),
    }
}
