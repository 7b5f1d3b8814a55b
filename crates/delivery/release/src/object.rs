//! One object on its way from the manifest to the variant.

use base64::Engine as _;
use k8s_object::{Gvk, meta_mut};
use serde_json::Value;

use crate::Scopes;

/// Fields that a cluster writes, and that come along when somebody commits what `kubectl get` printed.
const WRITTEN_BY_CLUSTER: [&str; 8] = [
    "managedFields",
    "creationTimestamp",
    "resourceVersion",
    "uid",
    "selfLink",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes off what only a cluster writes, and writes a Secret's texts as data, which is how the cluster keeps them.
pub(crate) fn normalise(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    let gvk = Gvk::of(object);
    if let Some(meta) = meta_mut(object) {
        for field in WRITTEN_BY_CLUSTER {
            meta.remove(field);
        }
        if let Some(Value::Object(annotations)) = meta.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
            annotations.remove(roadstead_dispatch::OWNER_ANNOTATION);
        }
        for field in ["annotations", "labels", "namespace", "name"] {
            let empty = match meta.get(field) {
                Some(Value::Null) => true,
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::String(text)) => text.is_empty(),
                _ => false,
            };
            if empty {
                meta.remove(field);
            }
        }
    }
    if gvk.is_some_and(|gvk| gvk.group.is_empty() && gvk.kind == "Secret") {
        encode_secret(object);
    }
}

fn encode_secret(object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    // a SOPS file's digest covers it as it is
    if map.contains_key("sops") || !map.get("stringData").is_some_and(Value::is_object) {
        return;
    }
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let data = map
        .entry("data")
        .or_insert_with(|| Value::Object(base_json::Map::new()));
    if data.is_null() {
        *data = Value::Object(base_json::Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            let text = match text {
                Value::String(text) => text,
                Value::Null => continue,
                other => other.to_string(),
            };
            let packed = base64::engine::general_purpose::STANDARD.encode(text);
            data.insert(key, Value::String(packed));
        }
    }
}

/// Leaves out fields that are null: to Kubernetes' own kinds they say nothing. Other kinds may mean them.
pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, field| !field.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Where objects are put.
pub(crate) struct Namespaces<'a> {
    pub(crate) fill: &'a str,
    pub(crate) force: &'a str,
    /// The namespace of our own nouns, which is their Project.
    pub(crate) project: &'a str,
}

/// Fills in or forces the namespace; the error says what is refused. Answers whether the kind is unknown.
pub(crate) fn place(
    object: &mut Value,
    scopes: &Scopes,
    namespaces: &Namespaces<'_>,
) -> Result<bool, String> {
    let Some(kind) = Gvk::of(object).map(|gvk| gvk.group_kind()) else {
        return Err("object has no apiVersion or kind any more".to_owned());
    };
    let known = scopes.namespaced(&kind);
    if known == Some(false) {
        if !namespaces.force.is_empty() {
            return Err(format!(
                "{kind} {} is cluster-scoped, and forceNamespace {:?} allows namespaced objects only",
                k8s_object::name(object),
                namespaces.force
            ));
        }
        if let Some(meta) = meta_mut(object) {
            meta.remove("namespace");
        }
        return Ok(false);
    }
    let own = k8s_object::namespace(object);
    let namespace = if !namespaces.force.is_empty() {
        namespaces.force
    } else if !own.is_empty() {
        return Ok(known.is_none());
    } else if kind.group == roadstead_model::GROUP {
        namespaces.project
    } else if !namespaces.fill.is_empty() {
        namespaces.fill
    } else {
        "default"
    };
    let namespace = Value::String(namespace.to_owned());
    if let Some(meta) = meta_mut(object) {
        meta.insert("namespace".to_owned(), namespace);
    }
    Ok(known.is_none())
}
