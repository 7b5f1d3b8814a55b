//! What a real API server's own admission fills in on create, and a webhook that refuses what asks for it.

use k8s_apiserver::{Admission, AdmissionRequest, ListOptions, Registry, Status};
use serde_json::{Value, json};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The annotation with which an object is refused, as by a webhook, in the words that are its value.
pub const DENY_ANNOTATION: &str = "playground.roadstead.dev/deny";

/// Gives a claim the default storage class and a pod its service account, and refuses what is to be refused.
pub(crate) struct Defaults;

impl Admission for Defaults {
    fn admit(
        &self,
        registry: &Registry,
        request: &AdmissionRequest<'_>,
        new: Option<&mut Value>,
    ) -> Result<(), Status> {
        let Some(new) = new else { return Ok(()) };
        if request.subresource.is_empty()
            && let Some(why) = k8s_object::annotation(new, DENY_ANNOTATION)
        {
            let message = format!(
                "admission webhook \"deny.playground.roadstead.dev\" denied the request: {why}"
            );
            return Err(Status::new(403, "Forbidden", message));
        }
        if request.operation != "create" {
            return Ok(());
        }
        let spec = new.get("spec").and_then(Value::as_object);
        let lacks = |field: &str| spec.is_none_or(|spec| !spec.contains_key(field));
        match (request.def.group.as_str(), request.def.kind.as_str()) {
            ("", "PersistentVolumeClaim") if lacks("storageClassName") => {
                let classes = registry.resource("storage.k8s.io", "storageclasses")?;
                let classes = registry.list(&classes, "", &ListOptions::default())?;
                let default = classes
                    .values()
                    .find(|class| k8s_object::annotation(class, DEFAULT_CLASS) == Some("true"));
                if let Some(default) = default {
                    new["spec"]["storageClassName"] = json!(k8s_object::name(&default));
                }
            }
            ("", "Pod") if lacks("serviceAccountName") => {
                new["spec"]["serviceAccountName"] = json!("default");
            }
            _ => {}
        }
        Ok(())
    }
}
