//! What Kubernetes refuses of webhooks, budgets of disruptions and levels of priority beyond the table.

use serde_json::{Value, json};

use super::rules::{items, text};
use crate::FieldError;

pub(super) fn webhooks(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (index, hook) in items(&new["webhooks"]).enumerate() {
        let at = |field: &str| format!("webhooks[{index}].{field}");
        let name = text(&hook["name"]);
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(at("name"), json!(name)));
        }
        let client = &hook["clientConfig"];
        match (&client["url"], &client["service"]) {
            (Value::String(url), Value::Null) => {
                webhook_url(url, &at("clientConfig.url"), &mut errors);
            }
            (Value::Null, Value::Object(service)) => {
                let service = Value::Object(service.clone());
                webhook_service(&service, &at("clientConfig.service"), &mut errors);
            }
            _ => errors.push(FieldError::required(
                at("clientConfig"),
                "exactly one of url or service is required",
            )),
        }
    }
    errors
}

/// The Service of a webhook.
pub(crate) fn webhook_service(service: &Value, at: &str, errors: &mut Vec<FieldError>) {
    // the real one takes the one for the other
    for (field, told) in [("name", "namespace"), ("namespace", "name")] {
        if text(&service[field]).is_empty() {
            errors.push(FieldError::required(format!("{at}.{told}"), ""));
        }
    }
    let port = &service["port"];
    if port
        .as_i64()
        .is_some_and(|port| !(1..=65_535).contains(&port))
    {
        errors.push(FieldError::invalid(
            format!("{at}.port"),
            port.clone(),
            "port is not valid: must be between 1 and 65535, inclusive",
        ));
    }
    webhook_path(text(&service["path"]), &format!("{at}.path"), errors);
}

fn webhook_path(path: &str, at: &str, errors: &mut Vec<FieldError>) {
    if path.is_empty() || path == "/" {
        return;
    }
    let mut wrong = |detail: String| errors.push(FieldError::invalid(at, json!(path), detail));
    if path == "//" {
        wrong("segment[0] may not be empty".to_owned());
        return;
    }
    if !path.starts_with('/') {
        wrong("must start with a '/'".to_owned());
    }
    // the first letter is taken for the slash, whatever it is
    let mut inner = path.chars();
    inner.next();
    let inner = inner.as_str();
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for (index, part) in inner.split('/').enumerate() {
        if part.is_empty() {
            wrong(format!("segment[{index}] may not be empty"));
            continue;
        }
        for problem in crate::registry::words::Form::Subdomain.problems(part) {
            wrong(format!("segment[{index}]: {problem}"));
        }
    }
}

/// The address of a webhook.
pub(crate) fn webhook_url(url: &str, at: &str, errors: &mut Vec<FieldError>) {
    let form = "; desired format: https://host[/path]";
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    let sound = |scheme: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(known)
    };
    if scheme.is_some_and(|scheme| !sound(scheme)) {
        let detail = format!(
            "url must be a valid URL: parse {}: first path segment in URL cannot contain colon{form}",
            base_yaml::go::quote(url)
        );
        errors.push(FieldError::required(at, detail));
        return;
    }
    let scheme = scheme.unwrap_or_default().to_lowercase();
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{form}");
        errors.push(FieldError::invalid(at, json!(scheme), detail));
    }
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        let detail = format!("host must be specified{form}");
        errors.push(FieldError::invalid(at, json!(""), detail));
    }
}

pub(super) fn priority_level(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let response = &spec["limited"]["limitResponse"];
    if spec["type"] == "Limited" && spec["limited"].is_null() {
        let detail = "must not be empty when type is Limited";
        errors.push(FieldError::required("spec.limited", detail));
    }
    if response["type"] == "Queue" && response["queuing"].is_null() {
        let detail = "must not be empty if limited.limitResponse.type is Limited";
        let at = "spec.limited.limitResponse.queuing";
        errors.push(FieldError::required(at, detail));
    }
    errors
}

pub(super) fn budget(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec.clone(), detail));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        amount_or_share(&spec[field], &format!("spec.{field}"), 100, &mut errors);
    }
    errors
}

/// A number of pods, or a part of them all.
pub(super) fn amount_or_share(value: &Value, at: &str, most: u32, errors: &mut Vec<FieldError>) {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(at, value.clone(), detail));
        }
        Value::String(share) => {
            let digits = share.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                errors.push(FieldError::invalid(at, value.clone(), detail));
            } else if digits.parse::<u32>().map_or(true, |share| share > most) {
                let detail = "must not be greater than 100%";
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
        _ => {}
    }
}
