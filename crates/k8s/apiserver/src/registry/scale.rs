//! The scale subresource.

use serde_json::{Value, json};

use super::write::{resource_version, set_meta};
use super::{Part, Patch, Registry, WriteOptions};
use crate::{FieldError, ResourceDef, Scale, Status, jsonpath};

impl Registry {
    /// Reads an object's scale (`autoscaling/v1` Scale).
    pub fn scale(&self, def: &ResourceDef, namespace: &str, name: &str) -> Result<Value, Status> {
        let scale = scale_of(def)?;
        Ok(to_scale(scale, &self.get(def, namespace, name)?))
    }

    /// Writes an object's scale.
    pub fn update_scale(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        wanted: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(def)?;
        let replicas = wanted["spec"].get("replicas").cloned().unwrap_or(json!(0));
        if replicas.as_i64().is_none_or(|replicas| replicas < 0) {
            let error = FieldError::invalid(
                "spec.replicas",
                replicas,
                "must be greater than or equal to 0",
            );
            let scale_def = ResourceDef::new("autoscaling", "v1", "Scale", "scales", true);
            return Err(Status::invalid(&scale_def, name, &[error]));
        }
        let asked = resource_version(wanted).to_owned();
        let mut stale = false;
        let outcome = self.modify(def, namespace, name, Part::Scale, options, |object| {
            if !asked.is_empty() && asked != resource_version(object) {
                stale = true;
                return false;
            }
            jsonpath::set(object, &scale.spec_replicas, replicas.clone());
            true
        })?;
        if stale {
            return Err(Status::modified(def, name));
        }
        Ok(to_scale(scale, &outcome.object))
    }

    /// Changes an object's scale.
    pub fn patch_scale(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let present = self.scale(def, namespace, name)?;
        let mut wanted = match patch {
            Patch::Json(operations) => crate::schema::json_patch(&present, operations)?,
            Patch::Merge(patch) | Patch::Strategic(patch) | Patch::Apply(patch) => {
                let mut wanted = present;
                super::patch::merge(&mut wanted, patch);
                wanted
            }
        };
        let named = match patch {
            Patch::Json(_) => false,
            Patch::Merge(patch) | Patch::Strategic(patch) | Patch::Apply(patch) => {
                !resource_version(patch).is_empty()
            }
        };
        if !named {
            set_meta(&mut wanted, "resourceVersion", json!(""));
        }
        self.update_scale(def, namespace, name, &wanted, options)
    }
}

fn scale_of(def: &ResourceDef) -> Result<&Scale, Status> {
    def.scale.as_ref().ok_or_else(Status::no_such_resource)
}

fn to_scale(scale: &Scale, object: &Value) -> Value {
    let number = |path: &str| {
        jsonpath::first(object, path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let mut metadata = serde_json::Map::new();
    if let Some(meta) = k8s_object::meta(object) {
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            if let Some(value) = meta.get(field) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
    }
    let mut out = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&scale.spec_replicas)},
        "status": {"replicas": number(&scale.status_replicas)},
    });
    if !scale.selector.is_empty()
        && let Some(selector) = jsonpath::first(object, &scale.selector)
    {
        let text = match selector {
            Value::String(text) => text.clone(),
            other => serde_json::from_value::<k8s_object::LabelSelector>(other.clone())
                .map(|selector| selector.to_string())
                .unwrap_or_default(),
        };
        if !text.is_empty() {
            out["status"]["selector"] = json!(text);
        }
    }
    out
}
