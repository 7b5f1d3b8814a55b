//! What Kubernetes refuses of how Deployments, DaemonSets and StatefulSets replace their pods.

use serde_json::{Value, json};

use super::rules::text;
use super::rules_admission::amount_or_share;
use crate::{FieldError, FieldProblem};

/// A strategy as Kubernetes shows it: under the names of its internal type, with what that holds where nothing was said.
fn shown(strategy: &Value, fields: &[(&str, &str, &str)]) -> String {
    let rolling = &strategy["rollingUpdate"];
    let inner = if rolling.is_object() {
        let parts: Vec<String> = fields
            .iter()
            .map(|(name, field, none)| match &rolling[*field] {
                Value::Null => format!("{name:?}:{none}"),
                value => format!("{name:?}:{value}"),
            })
            .collect();
        format!("{{{}}}", parts.join(","))
    } else {
        "null".to_owned()
    };
    let kind = json!(text(&strategy["type"]));
    format!("{{\"Type\":{kind},\"RollingUpdate\":{inner}}}")
}

const NUMBERS: [(&str, &str, &str); 2] = [
    ("MaxUnavailable", "maxUnavailable", "0"),
    ("MaxSurge", "maxSurge", "0"),
];

const ORDERED: [(&str, &str, &str); 2] = [
    ("Partition", "partition", "0"),
    ("MaxUnavailable", "maxUnavailable", "null"),
];

fn unknown(at: &str, whole: &str, known: [&str; 2], errors: &mut Vec<FieldError>) {
    let [first, second] = known;
    let detail = format!("{whole}: supported values: {first:?}, {second:?}");
    errors.push(FieldError::new(
        at,
        FieldProblem::NotSupported,
        None,
        detail,
    ));
}

/// How much a number, or a part of all, is.
fn amount(value: &Value) -> i64 {
    match value {
        Value::String(share) => {
            let digits = share.strip_suffix('%').unwrap_or(share);
            digits.parse().unwrap_or(0)
        }
        value => value.as_i64().unwrap_or(0),
    }
}

pub(super) fn deployment(spec: &Value, errors: &mut Vec<FieldError>) {
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "Recreate" => {
            if !rolling.is_null() {
                errors.push(FieldError::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => {
            let at = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            amount_or_share(unavailable, &at("maxUnavailable"), 100, errors);
            amount_or_share(surge, &at("maxSurge"), u32::MAX, errors);
            if amount(unavailable) == 0 && amount(surge) == 0 {
                let detail = "may not be 0 when `maxSurge` is 0";
                let at = at("maxUnavailable");
                errors.push(FieldError::invalid(at, unavailable.clone(), detail));
            }
        }
        _ => {
            let whole = shown(strategy, &NUMBERS);
            unknown(
                "spec.strategy",
                &whole,
                ["Recreate", "RollingUpdate"],
                errors,
            );
        }
    }
    let ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
    let deadline = &spec["progressDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|deadline| deadline <= ready) {
        errors.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            deadline.clone(),
            "must be greater than minReadySeconds",
        ));
    }
}

pub(super) fn daemon_set(strategy: &Value, errors: &mut Vec<FieldError>) {
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let at = |field: &str| format!("spec.updateStrategy.rollingUpdate.{field}");
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            amount_or_share(unavailable, &at("maxUnavailable"), 100, errors);
            amount_or_share(surge, &at("maxSurge"), 100, errors);
            match (amount(unavailable), amount(surge)) {
                (0, 0) => errors.push(FieldError::required(
                    at("maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                (0, _) | (_, 0) => {}
                _ => errors.push(FieldError::invalid(
                    at("maxSurge"),
                    surge.clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
            }
        }
        _ => {
            let whole = shown(strategy, &NUMBERS);
            unknown(
                "spec.updateStrategy",
                &whole,
                ["RollingUpdate", "OnDelete"],
                errors,
            );
        }
    }
}

pub(super) fn stateful_set(strategy: &Value, errors: &mut Vec<FieldError>) {
    let rolling = &strategy["rollingUpdate"];
    let at = |field: &str| format!("spec.updateStrategy.rollingUpdate{field}");
    let whole = shown(strategy, &ORDERED);
    match text(&strategy["type"]) {
        "RollingUpdate" => {
            if rolling["partition"]
                .as_i64()
                .is_some_and(|number| number < 0)
            {
                errors.push(FieldError::invalid(
                    at(".partition"),
                    rolling["partition"].clone(),
                    "must be greater than or equal to 0",
                ));
            }
            let unavailable = &rolling["maxUnavailable"];
            if !unavailable.is_null() {
                let at = at(".maxUnavailable");
                amount_or_share(unavailable, &at, 100, errors);
                if amount(unavailable) == 0 {
                    errors.push(FieldError::invalid(at, unavailable.clone(), "cannot be 0"));
                }
            }
        }
        "" => errors.push(FieldError::required("spec.updateStrategy", "")),
        "OnDelete" => {
            if !rolling.is_null() {
                let inner = whole.split_once("\"RollingUpdate\":");
                let inner = inner.map_or("null", |(_, inner)| &inner[..inner.len() - 1]);
                errors.push(FieldError::new(
                    at(""),
                    FieldProblem::Invalid,
                    None,
                    format!("{inner}: only allowed for updateStrategy 'RollingUpdate'"),
                ));
            }
        }
        _ => errors.push(FieldError::new(
            "spec.updateStrategy",
            FieldProblem::Invalid,
            None,
            format!("{whole}: must be 'RollingUpdate' or 'OnDelete'"),
        )),
    }
}
