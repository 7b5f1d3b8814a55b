//! Detail on demand: an object or its events, masked before it leaves the cluster.

use std::sync::Arc;

use base_json::{Value, json};
use bytes::Bytes;
use k8s_cluster::{Call, Cluster, Reply};
use k8s_object::{Gvk, ObjectId};
use roadstead_wire::DetailKind;

/// What stands in the place of a secret value.
const MASK: &str = "***";

/// Hides the values of a Secret, and what other tools keep of it in annotations; anything else stays as it is.
pub fn mask(object: &mut Value) {
    let secret = k8s_object::kind(object) == "Secret" && k8s_object::api_version(object) == "v1";
    if let Some(meta) = k8s_object::meta_mut(object) {
        meta.remove("managedFields");
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            let last = "kubectl.kubernetes.io/last-applied-configuration";
            if secret && let Some(value) = annotations.get_mut(last) {
                *value = Value::from(MASK);
            }
        }
    }
    if !secret {
        return;
    }
    for field in ["data", "stringData"] {
        let values = object.get_mut(field).and_then(Value::as_object_mut);
        for value in values.into_iter().flat_map(|map| map.values_mut()) {
            *value = Value::from(MASK);
        }
    }
}

/// Answers a request for detail.
pub(crate) async fn answer(
    cluster: Arc<dyn Cluster>,
    kind: DetailKind,
    gvk: Gvk,
    id: ObjectId,
) -> Result<Bytes, String> {
    match kind {
        DetailKind::Object => {
            let call = Call::Get { gvk, id };
            let Reply::Object(bytes) = cluster.call(call).await.map_err(|error| error.message)?
            else {
                return Err("the cluster gave another answer than an object".to_owned());
            };
            let mut object: Value = serde_json::from_slice(&bytes)
                .map_err(|error| format!("the cluster's answer is no JSON: {error}"))?;
            mask(&mut object);
            Ok(base_json::canonical(&object).into())
        }
        DetailKind::Events => {
            let mut fields = format!(
                "involvedObject.kind={},involvedObject.name={}",
                id.kind, id.name
            );
            if !id.namespace.is_empty() {
                fields += &format!(",metadata.namespace={}", id.namespace);
            }
            let call = Call::List {
                gvk: Gvk::new("v1", "Event"),
                labels: String::new(),
                fields,
                limit: 100,
                token: String::new(),
            };
            let Reply::Page { items, .. } =
                cluster.call(call).await.map_err(|error| error.message)?
            else {
                return Err("the cluster gave another answer than a list".to_owned());
            };
            let items: Vec<Value> = items
                .iter()
                .filter_map(|item| serde_json::from_slice(item).ok())
                .map(|mut item| {
                    mask(&mut item);
                    item
                })
                .collect();
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
            Ok(base_json::canonical(&list).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_leaves_the_cluster() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "managedFields": [1],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"p\":\"c2VjcmV0\"}}", "note": "x"}},
            "data": {"p": "c2VjcmV0"}, "stringData": {"q": "secret"}, "type": "Opaque"});
        mask(&mut secret);
        let text = secret.to_string();
        assert!(
            !text.contains("c2VjcmV0") && !text.contains("secret"),
            "{text}"
        );
        assert_eq!(secret["data"], json!({"p": "***"}));
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"p": "x"}});
        let same = config.clone();
        mask(&mut config);
        assert_eq!(config, same);
    }
}
