//! How an agent takes itself away when its cluster was let go of. What it delivered stays as it is.

use k8s_cluster::{Call, ClusterError, ErrorKind, Propagation, Reply};
use k8s_object::{Gvk, ObjectId};
use serde_json::{Value, json};

use crate::OwnPlace;

/// The label of what was made for an agent alone, and goes with it. Its value is the agent's name.
pub const AGENT_LABEL: &str = "roadstead.dev/agent";

const MANAGER: &str = "roadstead-agent";

fn id(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

async fn get(own: &OwnPlace, gvk: &Gvk, id: &ObjectId) -> Result<Option<Value>, ClusterError> {
    let call = Call::Get {
        gvk: gvk.clone(),
        id: id.clone(),
    };
    match own.cluster.call(call).await {
        Ok(Reply::Object(bytes)) => Ok(serde_json::from_slice(&bytes).ok()),
        Ok(_) => Ok(None),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_ours(own: &OwnPlace, object: &Value) -> bool {
    k8s_object::label(object, AGENT_LABEL) == Some(own.name.as_str())
}

async fn delete(own: &OwnPlace, gvk: Gvk, id: ObjectId) -> Result<(), ClusterError> {
    let call = Call::Delete {
        gvk,
        id,
        uid: String::new(),
        propagation: Propagation::Background,
    };
    match own.cluster.call(call).await {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the agent. A namespace that was made for it goes, and its rights in the whole cluster go with that; from any
/// other, only its Deployment goes, and what else there is belongs to whoever installed it. Returns what was done.
pub(crate) async fn remove_itself(own: &OwnPlace) -> Result<String, ClusterError> {
    let space = Gvk::new("v1", "Namespace");
    let space_id = id("", "Namespace", "", &own.namespace);
    let namespace = get(own, &space, &space_id).await?;
    if let Some(namespace) = namespace.filter(|namespace| is_ours(own, namespace)) {
        let uid = k8s_object::uid(&namespace);
        // it could not remove its own rights one after the other: with the first, the right to remove the second is gone
        for kind in ["ClusterRoleBinding", "ClusterRole"] {
            let gvk = Gvk::new("rbac.authorization.k8s.io/v1", kind);
            let role = id("rbac.authorization.k8s.io", kind, "", &own.name);
            let Some(object) = get(own, &gvk, &role).await? else {
                continue;
            };
            if !is_ours(own, &object) {
                continue;
            }
            let patch = json!({ "metadata": { "ownerReferences": [
                { "apiVersion": "v1", "kind": "Namespace", "name": own.namespace, "uid": uid }
            ] } });
            let call = Call::Merge {
                gvk,
                id: role,
                patch: patch.to_string().into(),
                manager: MANAGER.to_owned(),
            };
            own.cluster.call(call).await?;
        }
        delete(own, space, space_id).await?;
        return Ok(format!(
            "namespace {} goes, with all rights of the agent",
            own.namespace
        ));
    }
    let deployment = id("apps", "Deployment", &own.namespace, &own.name);
    delete(own, Gvk::new("apps/v1", "Deployment"), deployment).await?;
    Ok(format!(
        "deployment {}/{} is removed; take away the rest as it was installed, such as with helm uninstall",
        own.namespace, own.name
    ))
}
