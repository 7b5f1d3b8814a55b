//! What is shown although nobody wrote it, and nobody owns it.

use std::sync::Arc;

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
        ("batch", "Job") => Arc::new(defaults::job_selector),
        _ => return None,
    })
}
