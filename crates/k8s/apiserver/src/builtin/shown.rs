//! What is shown although nobody wrote it, and nobody owns it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::DefaultFn;

use super::{defaults, events};

/// Finds what a kind always shows.
pub(super) fn of(group: &str, kind: &str) -> Option<DefaultFn> {
    let new = !group.is_empty();
    (kind == "Event").then(|| -> DefaultFn { Arc::new(move |event| events::fill(event, new)) })
}

/// Finds what a kind is given when it is made.
pub(super) fn born(group: &str, kind: &str) -> Option<DefaultFn> {
    Some(match (group, kind) {
        ("", "Namespace") => Arc::new(defaults::namespace_finalizer),
        ("", "Pod") => Arc::new(defaults::pod_admission),
        ("", "PersistentVolume") => Arc::new(|volume| {
            let made = volume["metadata"]["creationTimestamp"].clone();
            volume["status"][PHASE_TIME] = made;
        }),
        ("batch", "Job") => Arc::new(defaults::job_selector),
        _ => return None,
    })
}

/// Since when a volume is in its phase.
const PHASE_TIME: &str = "lastPhaseTransitionTime";

/// Notes when a volume came into another phase, where the status that was written does not say so itself.
pub(crate) fn phase_time(old: &Value, new: &mut Value, now: &str) {
    let changed = old["status"]["phase"] != new["status"]["phase"];
    let (before, own) = (&old["status"][PHASE_TIME], &new["status"][PHASE_TIME]);
    let time = match (changed, own.is_null()) {
        (false, true) if !before.is_null() => before.clone(),
        (true, _) if own.is_null() || own == before => json!(now),
        _ => return,
    };
    new["status"][PHASE_TIME] = time;
}
