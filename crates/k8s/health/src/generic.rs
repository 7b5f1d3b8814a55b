//! What holds for every kind, and for those without a rule of their own.

use serde_json::Value;

use crate::Health;
use crate::view::View;

pub(crate) fn leaving(view: &View<'_>) -> Option<Health> {
    view.at("/metadata/deletionTimestamp")?;
    let finalizers: Vec<&str> = view
        .list("/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let message = if finalizers.is_empty() {
        "being removed".to_owned()
    } else {
        format!("being removed; finalizers left: {}", finalizers.join(", "))
    };
    Some(Health::progressing("Terminating", message))
}

/// `must`: its controller always writes `observedGeneration`, so that a missing one means that it has not come by yet.
pub(crate) fn stale(view: &View<'_>, must: bool) -> Option<Health> {
    let generation = view.number("/metadata/generation")?;
    let message = match view.number("/status/observedGeneration") {
        Some(observed) if observed == generation => return None,
        Some(observed) => format!("its controller has seen generation {observed} of {generation}"),
        None if must => format!("its controller has not seen generation {generation} yet"),
        None => return None,
    };
    Some(Health::progressing("NotObserved", message))
}

pub(crate) fn reconciling(view: &View<'_>) -> Option<Health> {
    if let Some(stalled) = view.holds("Stalled") {
        return Some(Health::degraded(
            stalled.reason_or_kind(),
            stalled.message(),
        ));
    }
    let reconciling = view.holds("Reconciling")?;
    Some(Health::progressing(
        reconciling.reason_or_kind(),
        reconciling.message(),
    ))
}

pub(crate) fn by_conditions(view: &View<'_>) -> Health {
    for kind in ["Failed", "Degraded"] {
        if let Some(bad) = view.holds(kind) {
            return Health::degraded(bad.reason_or_kind(), bad.message());
        }
    }
    let Some(ready) = view
        .condition("Ready")
        .or_else(|| view.condition("Available"))
    else {
        return Health::healthy("Current");
    };
    let generation = view.number("/metadata/generation");
    if let (Some(observed), Some(generation)) = (ready.observed(), generation)
        && observed != generation
    {
        return Health::progressing(
            "NotObserved",
            format!(
                "condition {} is of generation {observed}, not {generation}",
                ready.kind()
            ),
        );
    }
    if ready.is("True") {
        Health::healthy(ready.reason_or_kind())
    } else {
        let message = match ready.message() {
            "" => format!("condition {} is not true", ready.kind()),
            message => message.to_owned(),
        };
        Health::progressing(ready.reason_or_kind(), message)
    }
}
