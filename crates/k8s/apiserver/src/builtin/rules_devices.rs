//! What Kubernetes refuses of claims of devices and of what drivers offer, beyond the table.

use serde_json::{Value, json};

use super::rules::{fixed, items, text};
use crate::FieldError;
use crate::registry::words::Form;

fn claim(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut names = std::collections::BTreeSet::new();
    for (index, request) in items(&spec["devices"]["requests"]).enumerate() {
        let at = format!("{path}.devices.requests[{index}]");
        let name = text(&request["name"]);
        if !names.insert(name) {
            errors.push(FieldError::duplicate(at.clone(), json!(name)));
        }
        for problem in Form::Label.problems(name) {
            errors.push(FieldError::invalid(
                format!("{at}.name"),
                json!(name),
                problem,
            ));
        }
        let exactly = &request["exactly"];
        match (
            exactly.is_object(),
            items(&request["firstAvailable"]).next().is_some(),
        ) {
            (false, false) => {
                let detail = "exactly one of `exactly` or `firstAvailable` is required";
                errors.push(FieldError::required(at, detail));
            }
            (true, true) => {
                let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                errors.push(FieldError::invalid(at, Value::Null, detail));
            }
            (true, false) => device(exactly, &format!("{at}.exactly"), errors),
            (false, true) => {
                for (index, one) in items(&request["firstAvailable"]).enumerate() {
                    let at = format!("{at}.firstAvailable[{index}]");
                    let name = text(&one["name"]);
                    for problem in Form::Label.problems(name) {
                        errors.push(FieldError::invalid(
                            format!("{at}.name"),
                            json!(name),
                            problem,
                        ));
                    }
                    device(one, &at, errors);
                }
            }
        }
    }
}

fn device(request: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let class = text(&request["deviceClassName"]);
    let place = format!("{at}.deviceClassName");
    if class.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else {
        for problem in Form::Subdomain.problems(class) {
            errors.push(FieldError::invalid(place.clone(), json!(class), problem));
        }
    }
    let count = request["count"].as_i64().unwrap_or(0);
    let place = format!("{at}.count");
    match text(&request["allocationMode"]) {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(place, json!(count), detail));
        }
        "ExactCount" if count <= 0 => {
            let detail = "must be greater than zero";
            errors.push(FieldError::invalid(place, json!(count), detail));
        }
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(
            format!("{at}.allocationMode"),
            json!(other),
            &["All", "ExactCount"],
        )),
    }
}

pub(super) fn resource_claim(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if old.is_some() {
        return fixed(new, old, &["spec"]);
    }
    let mut errors = Vec::new();
    claim(&new["spec"], "spec", &mut errors);
    errors
}

pub(super) fn resource_claim_template(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    claim(&new["spec"]["spec"], "spec.spec", &mut errors);
    errors.extend(fixed(new, old, &["spec"]));
    errors
}

pub(super) fn resource_slice(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut errors = fixed(new, old, &["spec.pool.name", "spec.driver"]);
    if old.is_some_and(|old| old["spec"]["nodeName"] != spec["nodeName"]) {
        let detail = super::rules::IMMUTABLE;
        errors.push(FieldError::invalid(
            "spec.nodeName",
            spec["nodeName"].clone(),
            detail,
        ));
    }
    if spec["nodeName"] == "" {
        let detail = "must be either unset or set to a non-empty string";
        errors.push(FieldError::invalid("spec.nodeName", json!(""), detail));
    }
    let mut set: Vec<&str> = Vec::new();
    if !text(&spec["nodeName"]).is_empty() {
        set.push("`nodeName`");
    }
    if spec["nodeSelector"].is_object() {
        set.push("`nodeSelector`");
    }
    for (field, quoted) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        match &spec[field] {
            Value::Bool(true) => set.push(quoted),
            Value::Bool(false) => {
                let detail = "must be either unset or set to true";
                errors.push(FieldError::invalid(
                    format!("spec.{field}"),
                    json!(false),
                    detail,
                ));
            }
            _ => {}
        }
    }
    let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.as_slice() {
        [] => errors.push(FieldError::required("spec", one)),
        [_] => {}
        many => errors.push(FieldError::invalid(
            "spec",
            json!(format!("{{{}}}", many.join(", "))),
            format!("{one}, but multiple fields are set"),
        )),
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, device) in items(&spec["devices"]).enumerate() {
        let name = text(&device["name"]);
        if !names.insert(name) {
            errors.push(FieldError::duplicate(
                format!("spec.devices[{index}]"),
                json!(name),
            ));
        }
    }
    errors
}
