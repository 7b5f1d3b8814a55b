//! Detail on demand: an object or its events, masked before it leaves the cluster.

use std::sync::Arc;

use base_json::{Value, json};
use bytes::Bytes;
use futures_util::StreamExt as _;
use k8s_cluster::{Call, Cluster, ErrorKind, Reply};
use k8s_object::{Gvk, ObjectId};
use roadstead_dispatch::{Existing, Survey, Surveyed, Trial, Tried};

/// How many objects of a survey are asked for at once.
const ABREAST: usize = 8;

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

/// What is asked of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The object itself.
    Itself,
    /// Its events.
    Events,
}

/// Says of each object that exists and is not the App's yet whose it is, and what taking it over would change. No content
/// leaves the cluster by it, and nothing is written.
pub(crate) async fn survey(cluster: Arc<dyn Cluster>, asked: Survey) -> Result<Bytes, String> {
    let asked = Arc::new(asked);
    let looks =
        (0..asked.objects.len()).map(|at| look(Arc::clone(&cluster), Arc::clone(&asked), at));
    let found: Vec<Option<Existing>> = futures_util::stream::iter(looks)
        .buffered(ABREAST)
        .collect()
        .await;
    let found: Vec<Existing> = found.into_iter().flatten().collect();
    serde_json::to_vec(&found)
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

async fn look(cluster: Arc<dyn Cluster>, asked: Arc<Survey>, at: usize) -> Option<Existing> {
    let wanted = asked.objects.get(at)?;
    let id = &wanted.id;
    let gvk = Gvk {
        group: id.group.clone(),
        version: wanted.version.clone(),
        kind: id.kind.clone(),
    };
    let unknown = |why: String| Existing {
        object: id.clone(),
        owner: String::new(),
        managers: Vec::new(),
        fields: Vec::new(),
        refused: String::new(),
        unknown: why,
    };
    match cluster
        .call(Call::Get {
            gvk,
            id: id.clone(),
        })
        .await
    {
        Ok(Reply::Object(bytes)) => match serde_json::from_slice::<Value>(&bytes) {
            Ok(live) => {
                let mut found = roadstead_sync::survey(&asked, wanted, &live)?;
                if !found.fields.is_empty() {
                    tried(&*cluster, wanted, &live, &mut found).await;
                }
                Some(found)
            }
            Err(error) => Some(unknown(format!("the cluster's answer is no JSON: {error}"))),
        },
        Ok(_) => Some(unknown(
            "the cluster gave another answer than an object".to_owned(),
        )),
        Err(error) => match error.kind {
            // where there is no such kind there is no such object
            ErrorKind::NotFound | ErrorKind::NamespaceMissing | ErrorKind::UnknownKind => None,
            _ => Some(unknown(error.message)),
        },
    }
}

/// Leaves out of the fields what the API server's defaults would bring again, by letting it make the object for a trial.
async fn tried(cluster: &dyn Cluster, wanted: &Surveyed, live: &Value, found: &mut Existing) {
    let call = Call::Apply {
        object: base_json::canonical(&roadstead_sync::trial(wanted)).into(),
        manager: roadstead_sync::MANAGER.to_owned(),
        force: true,
        dry_run: true,
    };
    let made = match cluster.call(call).await {
        Ok(Reply::Object(bytes)) => {
            serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string())
        }
        Ok(_) => Err("another answer than an object".to_owned()),
        Err(error) => Err(error.message),
    };
    match made {
        Ok(made) => found.fields = roadstead_sync::lasting(&found.fields, wanted, live, &made),
        Err(why) => found.unknown = format!("defaults may bring some of it again: {why}"),
    }
}

/// Lets the API server say what it would make of objects. No content leaves the cluster by it, and nothing is written.
pub(crate) async fn trial(cluster: Arc<dyn Cluster>, asked: Trial) -> Result<Bytes, String> {
    let asked = Arc::new(asked);
    let tries =
        (0..asked.objects.len()).map(|at| try_one(Arc::clone(&cluster), Arc::clone(&asked), at));
    let tried: Vec<Option<Tried>> = futures_util::stream::iter(tries)
        .buffered(ABREAST)
        .collect()
        .await;
    let tried: Vec<Tried> = tried.into_iter().flatten().collect();
    serde_json::to_vec(&tried)
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

async fn try_one(cluster: Arc<dyn Cluster>, asked: Arc<Trial>, at: usize) -> Option<Tried> {
    let wanted = asked.objects.get(at)?;
    let mut out = Tried {
        object: wanted.id.clone(),
        absent: false,
        fields: Vec::new(),
        refused: String::new(),
        immutable: false,
        unknown: String::new(),
    };
    let gvk = Gvk {
        group: wanted.id.group.clone(),
        version: wanted.version.clone(),
        kind: wanted.id.kind.clone(),
    };
    let id = wanted.id.clone();
    let live = match cluster.call(Call::Get { gvk, id }).await {
        Ok(Reply::Object(bytes)) => serde_json::from_slice::<Value>(&bytes).ok(),
        Ok(_) => None,
        Err(error) => match error.kind {
            ErrorKind::NotFound | ErrorKind::NamespaceMissing | ErrorKind::UnknownKind => None,
            _ => {
                out.unknown = error.message;
                return Some(out);
            }
        },
    };
    out.absent = live.is_none();
    let Some(object) = roadstead_sync::attempt(&asked, wanted, live.as_ref()) else {
        out.unknown = "it is no object".to_owned();
        return Some(out);
    };
    let call = Call::Apply {
        object: base_json::canonical(&object).into(),
        manager: roadstead_sync::MANAGER.to_owned(),
        force: asked.force,
        dry_run: true,
    };
    match cluster.call(call).await {
        Ok(Reply::Object(bytes)) => match (serde_json::from_slice::<Value>(&bytes), &live) {
            (Ok(made), Some(live)) => out.fields = roadstead_sync::altered(wanted, live, &made),
            (Ok(_), None) => {}
            (Err(error), _) => out.unknown = format!("the cluster's answer is no JSON: {error}"),
        },
        Ok(_) => out.unknown = "the cluster gave another answer than an object".to_owned(),
        Err(error) => match error.kind {
            ErrorKind::Immutable { .. } => {
                out.immutable = true;
                out.refused = error.message;
            }
            ErrorKind::FieldConflict(_)
            | ErrorKind::Invalid { .. }
            | ErrorKind::Admission
            | ErrorKind::Forbidden => out.refused = error.message,
            // what it stands on comes with it
            _ => out.unknown = error.message,
        },
    }
    Some(out)
}

/// Answers a request for detail.
pub(crate) async fn answer(
    cluster: Arc<dyn Cluster>,
    about: About,
    gvk: Gvk,
    id: ObjectId,
) -> Result<Bytes, String> {
    match about {
        About::Itself => {
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
        About::Events => {
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
