//! Taking over what others applied: their fields become ours, so that what Git leaves out goes and nothing else does.

use base_json::Value;
use k8s_apply::schema::TypeRef;
use k8s_object::Gvk;
use roadstead_model::AdoptFrom;

use crate::claim::other_tool;

/// Under which names kubectl writes whole objects. What people changed by hand with it (edit, patch, set, scale) stays.
const KUBECTL: &[&str] = &[
    "kubectl-client-side-apply",
    "kubectl",
    "kubectl-create",
    "kubectl-replace",
    "before-first-apply",
];
const HELM: &[&str] = &["helm"];
const ARGOCD: &[&str] = &["argocd-controller", "argocd-application-controller"];
const FLUX: &[&str] = &["kustomize-controller", "helm-controller"];

/// The patch by which an object's fields are handed over; `None` if nobody is known to hand any over.
///
/// It changes who owns what and nothing else, so nothing that runs notices.
pub(crate) fn hand_over(live: &Value) -> Option<Value> {
    let schema = TypeRef::builtin_or_deduced(&Gvk::of(live)?);
    let mut from = KUBECTL.to_vec();
    from.extend(match other_tool(live) {
        Some((AdoptFrom::Helm, _)) => HELM,
        Some((AdoptFrom::Argocd, _)) => ARGOCD,
        Some((AdoptFrom::Flux, _)) => FLUX,
        Some((AdoptFrom::Kubectl, _)) | None => &[],
    });
    let ours = k8s_apply::adopt_managers(live, &from, crate::MANAGER, &schema);
    let ours = k8s_apply::adopt_last_applied(&ours, crate::MANAGER, &schema);
    let entries = |object: &Value| object.pointer("/metadata/managedFields").cloned();
    let (before, after) = (entries(live), entries(&ours)?);
    if before.as_ref() == Some(&after) {
        return None;
    }
    Some(base_json::json!({"metadata": {
        "resourceVersion": live.pointer("/metadata/resourceVersion")?,
        "managedFields": after,
    }}))
}
