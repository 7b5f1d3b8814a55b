//! What Kubernetes refuses of what containers ask for, and of what pods tolerate.

use k8s_apply::schema::Quantity;
use serde_json::{Value, json};

use super::rules::{items, text};
use crate::FieldError;
use crate::registry::words::{self, Form};

/// What a container may ask for without a domain.
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What has a name without a domain, wherever it may stand.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// What is counted, of these.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Is it what a plugin of a node offers?
fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && words::qualified(&format!("requests.{name}")).is_empty()
}

fn name_problems(name: &str) -> Vec<String> {
    let mut out = words::qualified(name);
    let bare = !name.contains('/');
    let standard = STANDARD.contains(&name)
        || is_pages(name)
        || name.strip_prefix("requests.").is_some_and(is_pages);
    if out.is_empty() && bare && !standard {
        out.push("must be a standard resource type or fully qualified".to_owned());
    }
    if bare {
        if !OF_CONTAINERS.contains(&name) && !is_pages(name) {
            out.push("must be a standard resource for containers".to_owned());
        }
    } else if !is_native(name) && !is_extended(name) {
        out.push("doesn't follow extended resource name standard".to_owned());
    }
    out
}

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// Checks what a container asks for and is limited to; that no amount is negative stands in the table.
pub(super) fn requirements(resources: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let (mut pages, mut computes) = (false, false);
    for part in ["limits", "requests"] {
        for (name, value) in resources[part].as_object().into_iter().flatten() {
            let place = format!("{at}.{part}[{name}]");
            for problem in name_problems(name) {
                errors.push(FieldError::invalid(&place, json!(name), problem));
            }
            let whole = amount(value).is_none_or(|amount| amount.is_whole());
            if !whole && (COUNTED.contains(&name.as_str()) || is_extended(name)) {
                let detail = "must be an integer";
                errors.push(FieldError::invalid(&place, value.clone(), detail));
            }
            pages |= is_pages(name);
            computes |= matches!(name.as_str(), "cpu" | "memory");
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let exact = !is_native(name) || is_pages(name);
        let (Some(asked), Some(most)) = (amount(request), amount(limit)) else {
            if exact && limit.is_null() {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(format!("{at}.limits"), detail));
            }
            continue;
        };
        let word = if exact && asked != most {
            "equal to"
        } else if asked > most {
            "less than or equal to"
        } else {
            continue;
        };
        let detail = format!("must be {word} {name} limit of {}", text(limit));
        let at = format!("{at}.requests");
        errors.push(FieldError::invalid(at, request.clone(), detail));
    }
    if pages && !computes {
        errors.push(FieldError::forbidden(at, "HugePages require cpu or memory"));
    }
}

/// Checks what a pod tolerates; what its keys look like stands in the table.
pub(super) fn tolerations(list: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (index, toleration) in items(list).enumerate() {
        let at = |field: &str| format!("{at}[{index}].{field}");
        let operator = text(&toleration["operator"]);
        let value = text(&toleration["value"]);
        let effect = text(&toleration["effect"]);
        if text(&toleration["key"]).is_empty() && operator != "Exists" {
            errors.push(FieldError::invalid(
                at("operator"),
                json!(operator),
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(at("effect"), json!(effect), detail));
        }
        match operator {
            "" | "Equal" => {
                let problems = Form::LabelValue.problems(value);
                if !problems.is_empty() {
                    let detail = problems.join(";");
                    errors.push(FieldError::invalid(at("operator"), json!(value), detail));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.push(FieldError::invalid(at("operator"), json!(value), detail));
                }
            }
            "Lt" | "Gt" => {
                let known = ["Equal", "Exists", "Lt", "Gt"];
                errors.push(FieldError::not_supported(
                    at("operator"),
                    json!(operator),
                    &known,
                ));
            }
            _ => {
                let known = ["Equal", "Exists"];
                errors.push(FieldError::not_supported(
                    at("operator"),
                    json!(operator),
                    &known,
                ));
            }
        }
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !known.contains(&effect) {
            errors.push(FieldError::not_supported(
                at("effect"),
                json!(effect),
                &known,
            ));
        }
    }
}

/// Checks what is asked of the labels of a node.
pub(super) fn node_labels(list: &Value, at: &str, errors: &mut Vec<FieldError>) {
    // what is only wished for may have values that no label has
    let wished = at.contains(".preferredDuring");
    for (index, term) in items(list).enumerate() {
        let at = |field: &str| format!("{at}[{index}].{field}");
        let values = term["values"].as_array().map_or(&[][..], Vec::as_slice);
        match text(&term["operator"]) {
            "In" | "NotIn" => {
                if values.is_empty() {
                    let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                    errors.push(FieldError::required(at("values"), detail));
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail =
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.push(FieldError::forbidden(at("values"), detail));
                }
            }
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    errors.push(FieldError::required(at("values"), detail));
                }
            }
            other => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(at("operator"), json!(other), detail));
            }
        }
        let key = text(&term["key"]);
        for problem in words::qualified(key) {
            errors.push(FieldError::invalid(at("key"), json!(key), problem));
        }
        if !wished {
            term_values(values, Form::LabelValue, &at("values"), errors);
        }
    }
}

fn term_values(values: &[Value], form: Form, at: &str, errors: &mut Vec<FieldError>) {
    for (index, value) in values.iter().enumerate() {
        for problem in form.problems(text(value)) {
            let at = format!("{at}[{index}]");
            errors.push(FieldError::invalid(at, value.clone(), problem));
        }
    }
}

/// Checks what is asked of the fields of a node: its name is the only one.
pub(super) fn node_fields(list: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (index, term) in items(list).enumerate() {
        let at = |field: &str| format!("{at}[{index}].{field}");
        let values = term["values"].as_array().map_or(&[][..], Vec::as_slice);
        match text(&term["operator"]) {
            "In" | "NotIn" => {
                if values.len() != 1 {
                    let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                    errors.push(FieldError::required(at("values"), detail));
                }
            }
            other => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(at("operator"), json!(other), detail));
            }
        }
        let key = text(&term["key"]);
        if key != "metadata.name" {
            let detail = "not a valid field selector key";
            errors.push(FieldError::invalid(at("key"), json!(key), detail));
            continue;
        }
        term_values(values, Form::Subdomain, &at("values"), errors);
    }
}
