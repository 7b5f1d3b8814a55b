//! What a sync would send to the API server, for a dry-run, and what of the answer is a change.

use base_json::Value;
use k8s_apply::schema::TypeRef;
use k8s_object::Gvk;
use roadstead_dispatch::{APP_LABEL, OWNER_ANNOTATION, Surveyed, Trial};

use crate::{desired, engine};

/// The object as a sync would apply it on what is there. Fields that are left to others keep the value that they have.
pub fn attempt(asked: &Trial, wanted: &Surveyed, live: Option<&Value>) -> Option<Value> {
    let id = &wanted.id;
    let content = base_json::canonical(&wanted.object);
    let mut object = desired::marked(content.as_ref(), &asked.app, id)?;
    let mut left = desired::ignored(&asked.ignore, id);
    let scaled = live.map(|live| engine::owners_of(live, desired::REPLICAS));
    if desired::scales(id)
        && scaled.is_some_and(|owners| owners.iter().any(|(_, part)| *part == "scale"))
    {
        left.push(desired::REPLICAS.to_owned());
    }
    for pointer in left {
        let there = live.and_then(|live| live.pointer(&pointer)).cloned();
        match (there, object.pointer_mut(&pointer)) {
            (Some(value), Some(own)) => *own = value,
            _ => {
                desired::take(&mut object, &pointer);
            }
        }
    }
    Some(object)
}

/// The fields that differ between what is there and what the API server would make of it, apart from whose it is.
pub fn altered(wanted: &Surveyed, live: &Value, made: &Value) -> Vec<String> {
    let Some(gvk) = Gvk::of(&wanted.object) else {
        return Vec::new();
    };
    let schema = TypeRef::builtin_or_deduced(&gvk);
    let (live, made) = (bare(live), bare(made));
    k8s_apply::changed_paths(&live, &made, &schema)
}

/// An object without what is no change of it: marks of owners, the status, and what the server counts.
pub fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = k8s_object::meta_mut(&mut object) {
        for (part, mark) in [("labels", APP_LABEL), ("annotations", OWNER_ANNOTATION)] {
            let Some(marks) = meta.get_mut(part).and_then(Value::as_object_mut) else {
                continue;
            };
            marks.remove(mark);
            if marks.is_empty() {
                meta.remove(part);
            }
        }
        for own in [
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "uid",
            "managedFields",
        ] {
            meta.remove(own);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;
    use roadstead_model::{AppKey, IgnoreRule};

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    }

    fn asked(pointers: &[&str]) -> (Trial, Surveyed) {
        let trial = Trial {
            app: AppKey::new("p", "shop"),
            force: true,
            ignore: vec![IgnoreRule {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                name: String::new(),
                namespace: String::new(),
                json_pointers: pointers.iter().map(|&pointer| pointer.to_owned()).collect(),
            }],
            objects: Vec::new(),
        };
        let wanted = Surveyed {
            id: "apps/Deployment/shop/web".parse().expect("an id"),
            version: "v1".to_owned(),
            object: deployment(json!({"replicas": 2, "paused": true})),
        };
        (trial, wanted)
    }

    #[test]
    fn what_is_left_to_others_keeps_its_value() {
        let (trial, wanted) = asked(&["/spec/replicas", "/spec/paused"]);
        let live = deployment(json!({"replicas": 7}));
        let made = attempt(&trial, &wanted, Some(&live)).expect("an object");
        assert_eq!(made["spec"], json!({"replicas": 7}));
        let made = attempt(&trial, &wanted, None).expect("an object");
        assert_eq!(made["spec"], json!({}));
    }

    #[test]
    fn marks_and_what_the_server_counts_are_no_change() {
        let (trial, wanted) = asked(&[]);
        let live = deployment(json!({"replicas": 2, "minReadySeconds": 1}));
        let mut made = attempt(&trial, &wanted, Some(&live)).expect("an object");
        made["metadata"]["generation"] = json!(2);
        made["status"] = json!({"replicas": 1});
        made["spec"]["minReadySeconds"] = json!(1);
        assert_eq!(altered(&wanted, &live, &made), [".spec.paused"]);
    }
}
