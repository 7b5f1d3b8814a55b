//! What is made to go wrong: in a pod, and in a whole cluster.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cx::{list, text};

/// The annotation that gives a pod a fault: `pull-failure`, `crash-loop`, `never-ready`, `slow` or `exit-<code>`.
pub const FAULT_ANNOTATION: &str = "playground.roadstead.dev/fault";

/// What goes wrong in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodFault {
    /// Everything takes longer.
    Slow,
    /// It runs, and is never ready.
    NeverReady,
    /// Its process ends with this code.
    Exit(u8),
    /// It crashes soon after each start.
    CrashLoop,
    /// Its image cannot be pulled.
    PullFailure,
}

impl PodFault {
    /// Reads a fault's name, as the annotation has it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "slow" => Self::Slow,
            "never-ready" => Self::NeverReady,
            "crash-loop" => Self::CrashLoop,
            "pull-failure" => Self::PullFailure,
            _ => Self::Exit(
                text.strip_prefix("exit-")
                    .and_then(|code| code.parse().ok())
                    .filter(|code| *code > 0)?,
            ),
        })
    }

    /// Reads an image's tag: one that holds `missing`, `crash`, `never-ready`, `slow` or `exit-<code>` means that fault.
    pub fn of_image(image: &str) -> Option<Self> {
        let name = image.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        let (_, tag) = last.split_once(':')?;
        if tag.contains("missing") {
            Some(Self::PullFailure)
        } else if tag.contains("crash") {
            Some(Self::CrashLoop)
        } else if tag.contains("never-ready") || tag.contains("neverready") {
            Some(Self::NeverReady)
        } else if let Some(at) = tag.find("exit-") {
            Self::parse(&tag[at..])
        } else if tag.contains("slow") {
            Some(Self::Slow)
        } else {
            None
        }
    }

    /// Reads a command: `false`, or a shell's `exit <code>`.
    fn of_command(container: &Value) -> Option<Self> {
        let words: Vec<&str> = list(container, "/command")
            .iter()
            .chain(list(container, "/args"))
            .filter_map(Value::as_str)
            .collect();
        if words
            .first()
            .is_some_and(|first| matches!(*first, "false" | "/bin/false"))
        {
            return Some(Self::Exit(1));
        }
        let (_, code) = words.last()?.rsplit_once("exit ")?;
        let digits: String = code
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        Self::parse(&format!("exit-{digits}"))
    }

    /// The fault of one container of a pod. What the image says goes before the annotation, and that before the command.
    pub(crate) fn of_container(pod: &Value, container: &Value) -> Option<Self> {
        Self::of_image(text(container, "/image"))
            .or_else(|| k8s_object::annotation(pod, FAULT_ANNOTATION).and_then(Self::parse))
            .or_else(|| Self::of_command(container))
    }

    /// The worst fault among a pod's containers.
    pub(crate) fn of_pod(pod: &Value) -> Option<Self> {
        list(pod, "/spec/containers")
            .iter()
            .chain(list(pod, "/spec/initContainers"))
            .filter_map(|container| Self::of_container(pod, container))
            .max()
    }
}

/// What goes wrong between a cluster's API server and those who ask it. Its controllers are not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Fault {
    /// Nothing answers, and watches break.
    pub offline: bool,
    /// Every answer takes this many milliseconds longer.
    pub latency_ms: u64,
    /// How many of 1,000 requests are answered with 429.
    pub too_many_per_mille: u32,
    /// What a 429 asks to wait, in seconds.
    pub retry_after_s: u32,
    /// How many of 1,000 requests are answered with 500.
    pub error_per_mille: u32,
}

impl Fault {
    /// No fault.
    pub fn none() -> Self {
        Self::default()
    }

    /// Nothing answers.
    pub fn offline() -> Self {
        Self {
            offline: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, expected: Option<PodFault>) {
        assert_eq!(PodFault::of_pod(pod), expected, "{pod}");
    }

    #[test]
    fn an_image_tag_an_annotation_or_a_command_means_a_fault() {
        let of_image = |image: &str| json!({"spec": {"containers": [{"image": image}]}});
        check(&of_image("shop:1.2"), None);
        check(&of_image("missing/shop"), None);
        check(&of_image("localhost:5000/missing/shop:1"), None);
        check(&of_image("shop:missing"), Some(PodFault::PullFailure));
        check(
            &of_image("shop:1-missing@sha256:aa"),
            Some(PodFault::PullFailure),
        );
        check(&of_image("shop:crash-1"), Some(PodFault::CrashLoop));
        check(&of_image("shop:v1-never-ready"), Some(PodFault::NeverReady));
        check(&of_image("shop:slow"), Some(PodFault::Slow));
        check(&of_image("shop:exit-3"), Some(PodFault::Exit(3)));
        check(&of_image("shop:exit-0"), None);
        let annotated = |fault: &str| {
            json!({"metadata": {"annotations": {FAULT_ANNOTATION: fault}},
                "spec": {"containers": [{"image": "shop:1"}]}})
        };
        check(&annotated("crash-loop"), Some(PodFault::CrashLoop));
        check(&annotated("exit-9"), Some(PodFault::Exit(9)));
        check(&annotated("unheard-of"), None);
        let command = |words: Value| json!({"spec": {"containers": [{"command": words}]}});
        check(&command(json!(["false"])), Some(PodFault::Exit(1)));
        check(
            &command(json!(["sh", "-c", "echo hello; exit 4"])),
            Some(PodFault::Exit(4)),
        );
        check(&command(json!(["sh", "-c", "exit 0"])), None);
        check(&command(json!(["serve"])), None);
        let two = json!({"spec": {"containers": [{"image": "a:slow"}, {"image": "b:missing"}]}});
        check(&two, Some(PodFault::PullFailure));
    }
}
