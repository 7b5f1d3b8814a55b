//! What differs between two values, field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Stands for a value that nobody may read here.
pub const MASK: &str = "***";

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// What stood there; `None` when the field is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What will stand there; `None` when the field goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// The values are not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// Lists the fields that differ between two objects, in the order of their paths. What a Secret holds is masked.
pub fn field_changes(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut out = Vec::new();
    let secret = [old, new].iter().any(|object| {
        k8s_object::kind(object) == "Secret" && k8s_object::api_version(object) == "v1"
    });
    walk(&mut String::new(), old, new, &mut out);
    if secret {
        for change in &mut out {
            let sensitive = ["data", "stringData"].iter().any(|field| {
                change
                    .path
                    .strip_prefix(field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
            if sensitive {
                change.masked = true;
                for value in [&mut change.old, &mut change.new].into_iter().flatten() {
                    *value = Value::String(MASK.to_owned());
                }
            }
        }
    }
    out
}

fn walk(path: &mut String, old: &Value, new: &Value, out: &mut Vec<FieldChange>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let keys: std::collections::BTreeSet<&String> =
                before.keys().chain(after.keys()).collect();
            for key in keys {
                step(
                    path,
                    &field(path, key),
                    before.get(key),
                    after.get(key),
                    out,
                );
            }
        }
        (Value::Array(before), Value::Array(after)) => match (keyed(before), keyed(after)) {
            (Some((key, before)), Some((other, after))) if key == other => {
                let known = out.len();
                let names: std::collections::BTreeSet<&String> =
                    before.keys().chain(after.keys()).collect();
                for name in names {
                    let part = format!("[{key}={name}]");
                    step(
                        path,
                        &part,
                        before.get(name).copied(),
                        after.get(name).copied(),
                        out,
                    );
                }
                // the same items in another order are a change too, where order counts
                if out.len() == known {
                    push(path, Some(old), Some(new), out);
                }
            }
            _ => {
                for index in 0..before.len().max(after.len()) {
                    step(
                        path,
                        &format!("[{index}]"),
                        before.get(index),
                        after.get(index),
                        out,
                    );
                }
            }
        },
        _ => push(path, Some(old), Some(new), out),
    }
}

fn step(
    path: &mut String,
    part: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    out: &mut Vec<FieldChange>,
) {
    let length = path.len();
    path.push_str(part);
    match (old, new) {
        (Some(old), Some(new)) => walk(path, old, new, out),
        (old, new) => push(path, old, new, out),
    }
    path.truncate(length);
}

fn push(path: &str, old: Option<&Value>, new: Option<&Value>, out: &mut Vec<FieldChange>) {
    out.push(FieldChange {
        path: path.to_owned(),
        old: old.cloned(),
        new: new.cloned(),
        masked: false,
    });
}

fn field(path: &str, key: &str) -> String {
    if key.contains(['.', '/', '[', ']']) || key.is_empty() {
        format!("[{key:?}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!(".{key}")
    }
}

/// Kubernetes names the items of its lists by one of these.
const KEYS: [&str; 8] = [
    "name",
    "mountPath",
    "containerPort",
    "port",
    "key",
    "type",
    "ip",
    "topologyKey",
];

type Keyed<'v> = (&'static str, BTreeMap<String, &'v Value>);

/// Items by the field that tells them apart, if one does.
fn keyed(items: &[Value]) -> Option<Keyed<'_>> {
    if items.is_empty() {
        return None;
    }
    KEYS.into_iter().find_map(|key| {
        let mut map = BTreeMap::new();
        for item in items {
            let name = match item.get(key)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            if map.insert(name, item).is_some() {
                return None;
            }
        }
        Some((key, map))
    })
}
