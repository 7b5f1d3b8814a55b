//! The rules of the Gateway API: each parent of a route writes conditions of its own.

use serde_json::Value;

use crate::Health;
use crate::view::{Condition, View};

/// A route that no controller knows of is as good as it gets; one that a parent refuses takes no traffic from there.
pub(crate) fn route(view: &View<'_>) -> Health {
    let generation = view.number("/metadata/generation");
    let mut accepted = None;
    for parent in view.list("/status/parents") {
        let name = parent
            .pointer("/parentRef/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for condition in conditions(parent) {
            if !matches!(
                condition.kind(),
                "Accepted" | "ResolvedRefs" | "PartiallyInvalid"
            ) {
                continue;
            }
            if let Some(old) = unseen(condition, generation) {
                return old;
            }
            let bad = condition.is(if condition.kind() == "PartiallyInvalid" {
                "True"
            } else {
                "False"
            });
            // a controller says so until the parent is there
            if bad && condition.reason() == "Pending" {
                return Health::progressing("Pending", of_parent(name, condition));
            }
            if bad {
                return Health::degraded(condition.reason_or_kind(), of_parent(name, condition));
            }
            if condition.kind() == "Accepted" && condition.is("True") {
                accepted = Some("Accepted");
            }
        }
    }
    Health::healthy(accepted.unwrap_or("Current"))
}

/// A Gateway works once its controller has set it up.
pub(crate) fn gateway(view: &View<'_>) -> Health {
    let generation = view.number("/metadata/generation");
    for kind in ["Accepted", "Programmed"] {
        let Some(condition) = view.condition(kind) else {
            continue;
        };
        if let Some(old) = unseen(condition, generation) {
            return old;
        }
        if condition.is("True") {
            continue;
        }
        let message = message(condition);
        return if condition.is("False")
            && !matches!(
                condition.reason(),
                "Pending" | "AddressNotAssigned" | "NoResources"
            ) {
            Health::degraded(condition.reason_or_kind(), message)
        } else {
            Health::progressing(condition.reason_or_kind(), message)
        };
    }
    Health::healthy(if view.holds("Programmed").is_some() {
        "Programmed"
    } else {
        "Current"
    })
}

fn conditions(parent: &Value) -> impl Iterator<Item = Condition<'_>> {
    let list = parent.get("conditions").and_then(Value::as_array);
    list.into_iter().flatten().map(Condition::of)
}

/// The condition was written for an older state of the object.
fn unseen(condition: Condition<'_>, generation: Option<i64>) -> Option<Health> {
    let (observed, generation) = (condition.observed()?, generation?);
    (observed != 0 && observed < generation).then(|| {
        let kind = condition.kind();
        Health::progressing(
            "NotObserved",
            format!("condition {kind} is of generation {observed}, not {generation}"),
        )
    })
}

fn message(condition: Condition<'_>) -> String {
    match condition.message() {
        "" => format!(
            "condition {} is not as it should be: {}",
            condition.kind(),
            condition.reason()
        ),
        message => message.to_owned(),
    }
}

fn of_parent(name: &str, condition: Condition<'_>) -> String {
    format!("parent {name}: {}", message(condition))
}
