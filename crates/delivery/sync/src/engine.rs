//! Would applying change anything? The same engine answers that applies.

use base_json::{Digest, Map, Value};
use k8s_apply::schema::TypeRef;
use k8s_apply::{ApplyError, ApplyOptions};
use k8s_object::Gvk;

use crate::object::Verdict;

/// Applies `desired` to `live` in memory and tells what that changed, and who had set it.
pub(crate) fn compare(live: &Value, desired: &Value) -> Verdict {
    let Some(gvk) = Gvk::of(desired) else {
        return Verdict::default();
    };
    let schema = TypeRef::builtin_or_deduced(&gvk);
    let options = |force| ApplyOptions {
        manager: crate::MANAGER,
        force,
        subresource: "",
        now: "",
        schema: schema.clone(),
        reset_fields: None,
        versions: None,
    };
    let fields = match k8s_apply::apply_change(Some(live), desired, &options(true)) {
        Ok(None) => Vec::new(),
        Ok(Some(merged)) => k8s_apply::changed_paths(live, &merged, &schema),
        // the live object is of another version, or the schema in here is older than the cluster's
        Err(_) => differing(live, desired),
    };
    if fields.is_empty() {
        return Verdict {
            same: true,
            ..Verdict::default()
        };
    }
    let manager = match k8s_apply::apply(Some(live), desired, &options(false)) {
        Err(ApplyError::Conflicts(conflicts)) => conflicts
            .first()
            .map(|conflict| conflict.manager.clone())
            .unwrap_or_default(),
        _ => manager_of(live, &fields),
    };
    Verdict {
        same: false,
        fields,
        manager,
    }
}

/// The part of a live object that a desired one speaks of.
pub(crate) fn project(live: &Value, desired: &Value) -> Value {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let part = desired.iter().filter_map(|(key, value)| {
                let found = live.get(key)?;
                Some((key.clone(), project(found, value)))
            });
            Value::Object(part.collect::<Map<_, _>>())
        }
        (Value::Array(live), Value::Array(desired)) => {
            let Some(key) = list_key(desired) else {
                return Value::Array(live.clone());
            };
            let same = |item: &Value, other: &Value| {
                item.get(key) == other.get(key) && protocol(item) == protocol(other)
            };
            let items = desired.iter().filter_map(|item| {
                let found = live.iter().find(|other| same(item, other))?;
                Some(project(found, item))
            });
            Value::Array(items.collect())
        }
        (live, _) => live.clone(),
    }
}

fn protocol(item: &Value) -> &str {
    item.get("protocol")
        .and_then(Value::as_str)
        .unwrap_or("TCP")
}

fn list_key(items: &[Value]) -> Option<&'static str> {
    const KEYS: &[&str] = &[
        "name",
        "containerPort",
        "port",
        "mountPath",
        "devicePath",
        "ip",
        "uid",
        "topologyKey",
        "type",
    ];
    KEYS.iter().copied().find(|key| {
        let mut seen = Vec::with_capacity(items.len());
        !items.is_empty()
            && items.iter().all(|item| match item.get(*key) {
                Some(value) if !value.is_object() && !value.is_array() => {
                    let value = (value, protocol(item));
                    let first = !seen.contains(&value);
                    seen.push(value);
                    first
                }
                _ => false,
            })
    })
}

/// The digest of what became of the applied fields.
pub(crate) fn settled(live: &Value, desired: &Value) -> Digest {
    Digest::of_value(&project(live, desired))
}

/// The fields of `desired` that `live` has not, or has with another value.
pub(crate) fn differing(live: &Value, desired: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(Some(live), desired, &mut String::new(), &mut out);
    out
}

fn walk(live: Option<&Value>, desired: &Value, path: &mut String, out: &mut Vec<String>) {
    match (live, desired) {
        (Some(Value::Object(live)), Value::Object(desired)) => {
            for (key, value) in desired {
                let length = path.len();
                path.push('.');
                path.push_str(key);
                walk(live.get(key), value, path, out);
                path.truncate(length);
            }
        }
        (Some(Value::Array(live)), Value::Array(desired)) => {
            let Some(key) = list_key(desired) else {
                if live != desired {
                    out.push(path.clone());
                }
                return;
            };
            for item in desired {
                let found = live.iter().find(|other| {
                    item.get(key) == other.get(key) && protocol(item) == protocol(other)
                });
                let length = path.len();
                path.push_str(&format!(
                    "[{key}={}]",
                    item.get(key).unwrap_or(&Value::Null)
                ));
                walk(found, item, path, out);
                path.truncate(length);
            }
        }
        // null asks for nothing
        (None, Value::Null) => {}
        (None, Value::Object(map)) if map.is_empty() => {}
        (None, Value::Array(list)) if list.is_empty() => {}
        (Some(live), desired) if live == desired => {}
        _ => out.push(path.clone()),
    }
}

/// Who else set one of these fields, by `managedFields`; empty if nobody did.
pub(crate) fn manager_of(live: &Value, paths: &[String]) -> String {
    let Some(entries) = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
    else {
        return String::new();
    };
    for path in paths {
        for entry in entries {
            let manager = entry
                .get("manager")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if manager == crate::MANAGER || manager == crate::KEEP_MANAGER {
                continue;
            }
            if entry
                .get("fieldsV1")
                .is_some_and(|fields| owns(fields, path))
            {
                return manager.to_owned();
            }
        }
    }
    String::new()
}

/// Does one of the entries of a manager own the field? Paths are those of [`differing`] or JSON pointers' dotted form.
fn owns(fields: &Value, path: &str) -> bool {
    let mut at = fields;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, item) = part.split_once('[').map_or((part, None), |(name, item)| {
            (
                name,
                item.strip_suffix(']').and_then(|item| item.split_once('=')),
            )
        });
        let Some(next) = at.get(format!("f:{name}")) else {
            return false;
        };
        at = next;
        if let Some((key, value)) = item {
            let Some(map) = at.as_object() else {
                return false;
            };
            let wanted = format!("{key:?}:{value}");
            let Some(next) = map
                .iter()
                .find(|(entry, _)| entry.starts_with("k:") && entry.contains(&wanted))
            else {
                return false;
            };
            at = next.1;
        }
    }
    true
}

/// The managers that own a JSON pointer's field, each with the subresource it wrote through.
pub(crate) fn owners_of<'a>(live: &'a Value, pointer: &str) -> Vec<(&'a str, &'a str)> {
    let path = pointer.replace('/', ".");
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text =
        |entry: &'a Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    entries
        .iter()
        .filter(|entry| {
            entry
                .get("fieldsV1")
                .is_some_and(|fields| owns(fields, &path))
        })
        .map(|entry| (text(entry, "manager"), text(entry, "subresource")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;

    fn check(live: Value, desired: Value, expected: &[&str]) {
        assert_eq!(
            differing(&live, &desired),
            expected,
            "{live} against {desired}"
        );
        assert_eq!(
            expected.is_empty(),
            differing(&project(&live, &desired), &desired).is_empty()
        );
    }

    #[test]
    fn sees_what_an_apply_would_change() {
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), &[]);
        check(json!({"a": 2}), json!({"a": 1}), &[".a"]);
        check(json!({}), json!({"a": {"b": 1}}), &[".a"]);
        check(
            json!({"c": [{"name": "x", "image": "i:1", "more": 1}, {"name": "sidecar"}]}),
            json!({"c": [{"name": "x", "image": "i:1"}]}),
            &[],
        );
        check(
            json!({"c": [{"name": "x", "image": "i:1"}]}),
            json!({"c": [{"name": "x", "image": "i:2"}]}),
            &[".c[name=\"x\"].image"],
        );
        check(
            json!({"args": ["a", "b"]}),
            json!({"args": ["a"]}),
            &[".args"],
        );
    }

    #[test]
    fn names_the_other_manager() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "roadstead", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "hpa", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "hand", "fieldsV1": {"f:spec": {"f:c": {"k:{\"name\":\"x\"}": {"f:image": {}}}}}},
        ]}});
        assert_eq!(manager_of(&live, &[".spec.replicas".to_owned()]), "hpa");
        assert_eq!(
            manager_of(&live, &[".spec.c[name=\"x\"].image".to_owned()]),
            "hand"
        );
        assert_eq!(
            owners_of(&live, "/spec/replicas"),
            [("roadstead", ""), ("hpa", "scale")]
        );
    }
}
