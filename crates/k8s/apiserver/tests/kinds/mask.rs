//! What differs from run to run.

use serde_json::{Value, json};

/// Hides ids, revisions, times, addresses and who wrote when.
pub(crate) fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(map) => {
            if let Some(Value::Array(causes)) = map.get_mut("causes") {
                causes.sort_by_key(|one| format!("{}{}", one["field"], one["message"]));
            }
            if let Some(Value::Array(managers)) = map.get_mut("managedFields") {
                managers.sort_by_key(|one| format!("{}{}", one["manager"], one["operation"]));
            }
            // what admission plugins and controllers of a whole cluster put there
            if let Some(Value::Array(names)) = map.get_mut("finalizers") {
                names.retain(|name| {
                    !name
                        .as_str()
                        .is_some_and(|name| name.ends_with("-protection"))
                });
                if names.is_empty() {
                    map.remove("finalizers");
                }
            }
            if let Some(Value::Array(taints)) = map.get_mut("taints") {
                taints.retain(|taint| taint["key"] != "node.kubernetes.io/not-ready");
                if taints.is_empty() {
                    map.remove("taints");
                }
            }
            for list in ["volumes", "volumeMounts"] {
                if let Some(Value::Array(items)) = map.get_mut(list) {
                    items.retain(|one| {
                        !one["name"]
                            .as_str()
                            .is_some_and(|name| name.starts_with("kube-api-access-"))
                    });
                    if items.is_empty() {
                        map.remove(list);
                    }
                }
            }
            if let Some(Value::Array(managers)) = map.get_mut("managedFields") {
                managers.retain(|one| one["subresource"] != "status");
            }
            if let Some(Value::Object(status)) = map.get_mut("status") {
                status.remove("conditions");
            }
            let drawn = map
                .get("field")
                .and_then(Value::as_str)
                .is_some_and(|field| field.ends_with(".nodePort"));
            if drawn
                && let Some(Value::String(message)) = map.get_mut("message")
                && message.starts_with("Duplicate value: 3")
            {
                *message = "Duplicate value: <drawn>".to_owned();
            }
            for (key, value) in map.iter_mut() {
                let hidden = match key.as_str() {
                    "uid"
                    | "resourceVersion"
                    | "creationTimestamp"
                    | "time"
                    | "lastTransitionTime"
                    | "lastPhaseTransitionTime"
                    | "clusterIP"
                    | "healthCheckNodePort"
                    | "nodePort" => !value.is_null() && *value != "None" && *value != "",
                    "batch.kubernetes.io/controller-uid" | "controller-uid" => value.is_string(),
                    "clusterIPs" => value[0] != "None",
                    "name" => value
                        .as_str()
                        .is_some_and(|name| name.starts_with("kube-api-access-")),
                    _ => false,
                };
                if hidden {
                    *value = json!("<hidden>");
                } else {
                    hide(value);
                }
            }
        }
        Value::String(text) => *text = without_insides(&without_ids(text)),
        _ => {}
    }
}

/// Replaces each uid in a text.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    text.split_inclusive(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .map(|word| {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            if is_id(bare) {
                word.replace(bare, "<uid>")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

/// Hides what the real server prints of its own insides: a struct that may not change, or how it did.
fn without_insides(text: &str) -> String {
    let text = text.split("\n@@").next().unwrap_or_default();
    if let Some((before, rest)) = text.split_once("'selfType") {
        // types of expressions are numbered
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        return without_insides(&format!("{before}'own type{rest}"));
    }
    match (
        text.find("Invalid value: {"),
        text.rfind("}: field is immutable"),
    ) {
        (Some(from), Some(to)) if from < to => {
            format!("{}Invalid value: {{…{}", &text[..from], &text[to..])
        }
        _ => text.to_owned(),
    }
}

/// Finds where two values differ.
pub(crate) fn differences(place: &str, real: &Value, ours: &Value, out: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let place = format!("{place}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(&place, a, b, out),
                    (a, b) => out.push(line(&place, a, b)),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{place}/{index}"), a, b, out);
            }
        }
        _ if real == ours => {}
        _ => out.push(line(place, Some(real), Some(ours))),
    }
}

fn line(place: &str, real: Option<&Value>, ours: Option<&Value>) -> String {
    let short = |value: Option<&Value>| -> String {
        let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        text.chars().take(4000).collect()
    };
    format!(
        "{place}\n    real: {}\n    ours: {}",
        short(real),
        short(ours)
    )
}
