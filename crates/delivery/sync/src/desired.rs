//! What is applied: the object as delivered, with the App's marks and without the fields that are left to others.

use base_json::{Digest, Value};
use k8s_object::{ObjectId, set_annotation, set_label};
use roadstead_dispatch::{APP_LABEL, OWNER_ANNOTATION, app_label, owner_annotation};
use roadstead_model::{AppKey, IgnoreRule};

/// The JSON pointers that the rules name for an object.
pub(crate) fn ignored(rules: &[IgnoreRule], id: &ObjectId) -> Vec<String> {
    let fits = |rule: &&IgnoreRule| {
        (rule.group == "*" || rule.group == id.group)
            && (rule.kind == "*" || rule.kind == id.kind)
            && (rule.name.is_empty() || rule.name == id.name)
            && (rule.namespace.is_empty() || rule.namespace == id.namespace)
    };
    rules
        .iter()
        .filter(fits)
        .flat_map(|rule| rule.json_pointers.iter().cloned())
        .collect()
}

/// Names what is to be applied: the content, the marks and what is left out.
pub(crate) fn want(content: Digest, app: &AppKey, ignored: &[String]) -> Digest {
    if ignored.is_empty() {
        return Digest::of(format!("{content} {app}").as_bytes());
    }
    Digest::of(format!("{content} {app} {}", ignored.join(" ")).as_bytes())
}

/// Reads delivered content and puts the marks on.
pub(crate) fn marked(content: &[u8], app: &AppKey, id: &ObjectId) -> Option<Value> {
    let mut object: Value = serde_json::from_slice(content).ok()?;
    object.as_object_mut()?.remove("status");
    set_label(&mut object, APP_LABEL, &app_label(app));
    set_annotation(&mut object, OWNER_ANNOTATION, &owner_annotation(app, id));
    Some(object)
}

/// Takes the field at a JSON pointer out; says whether it was there.
pub(crate) fn take(object: &mut Value, pointer: &str) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return false;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => map.remove(&last).is_some(),
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(index) if index < list.len() => {
                list.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The apply of just some fields of a live object, so that somebody owns them before they are let go.
pub(crate) fn keeping(live: &Value, pointers: &[String]) -> Option<Value> {
    let mut object = base_json::json!({
        "apiVersion": live.get("apiVersion")?,
        "kind": live.get("kind")?,
        "metadata": { "name": k8s_object::name(live) },
    });
    let namespace = k8s_object::namespace(live);
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = Value::from(namespace);
    }
    let mut any = false;
    for pointer in pointers {
        let Some(value) = live.pointer(pointer) else {
            continue;
        };
        let mut at = &mut object;
        let mut parts = pointer.split('/').skip(1).peekable();
        while let Some(part) = parts.next() {
            let part = part.replace("~1", "/").replace("~0", "~");
            // a place inside a list has no name that lasts
            let map = at.as_object_mut()?;
            if parts.peek().is_none() {
                map.insert(part, value.clone());
                any = true;
                break;
            }
            at = map
                .entry(part)
                .or_insert_with(|| Value::Object(base_json::Map::new()));
        }
    }
    any.then_some(object)
}

/// Can the number of replicas of this kind be somebody else's?
pub(crate) fn scales(id: &ObjectId) -> bool {
    id.group == "apps"
        && matches!(
            id.kind.as_str(),
            "Deployment" | "StatefulSet" | "ReplicaSet"
        )
}

/// The pointer of the number of replicas.
pub(crate) const REPLICAS: &str = "/spec/replicas";

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;

    #[test]
    fn takes_fields_out_and_keeps_them_for_another() {
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "n", "annotations": {"x/y": "1"}}, "spec": {"replicas": 7}});
        let kept = keeping(
            &live,
            &[
                "/spec/replicas".to_owned(),
                "/metadata/annotations/x~1y".to_owned(),
            ],
        );
        assert_eq!(
            kept,
            Some(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "a", "namespace": "n", "annotations": {"x/y": "1"}}, "spec": {"replicas": 7}}))
        );
        let mut object = live.clone();
        assert!(take(&mut object, "/spec/replicas"));
        assert!(!take(&mut object, "/spec/replicas"));
        assert_eq!(object["spec"], json!({}));
        assert_eq!(keeping(&live, &["/spec/none".to_owned()]), None);
    }
}
