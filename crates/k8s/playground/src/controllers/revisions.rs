//! ControllerRevisions: the pod templates that StatefulSets and DaemonSets have had.

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, is_leaving, number, owned_by};
use crate::dice::letters_of;
use crate::key::{CONTROLLER_REVISION, Key};

/// The label by which a pod says of which revision it is.
pub(crate) const LABEL: &str = "controller-revision-hash";

/// The hash of an object's pod template.
pub(crate) fn hash(owner: &Value) -> String {
    let template = owner.pointer("/spec/template").unwrap_or(&Value::Null);
    letters_of(&base_json::Digest::of_value(template), 10)
}

/// Finds or makes the revision of the present template, and makes it the newest. Old ones beyond the limit go, unless
/// `used` says that they are in use.
pub(crate) fn ensure(
    cx: &Cx<'_>,
    owner: &Value,
    used: &dyn Fn(&str) -> bool,
) -> Result<Value, Refusal> {
    let hash = hash(owner);
    let name = format!("{}-{hash}", k8s_object::name(owner));
    let mut known = cx.children(owner, CONTROLLER_REVISION);
    known.sort_by_key(|revision| number(revision, "/revision").unwrap_or(0));
    let newest = known
        .iter()
        .filter(|revision| k8s_object::name(revision) != name)
        .filter_map(|revision| number(revision, "/revision"))
        .max()
        .unwrap_or(0);
    let found = known
        .iter()
        .find(|revision| k8s_object::name(revision) == name);
    let current = match found {
        Some(revision) if number(revision, "/revision").unwrap_or(0) > newest => revision.clone(),
        Some(revision) => {
            let mut revision = revision.clone();
            revision["revision"] = json!(newest + 1);
            cx.api.update(MANAGER, &revision)?
        }
        None => cx.api.create(
            MANAGER,
            json!({
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": k8s_object::namespace(owner),
                    "labels": {LABEL: hash},
                    "ownerReferences": owned_by(owner),
                },
                "data": {"spec": {"template": owner.pointer("/spec/template")}},
                "revision": newest + 1,
            }),
        )?,
    };
    let limit = number(owner, "/spec/revisionHistoryLimit").unwrap_or(10);
    let old: Vec<&Value> = known
        .iter()
        .filter(|revision| {
            let own = k8s_object::name(revision);
            own != name && !used(own) && !is_leaving(revision)
        })
        .collect();
    let surplus = usize::try_from(i64::try_from(old.len()).unwrap_or(0) - limit).unwrap_or(0);
    for revision in old.into_iter().take(surplus) {
        cx.api.delete(
            &Key::of(revision),
            k8s_object::uid(revision),
            Propagation::Background,
            false,
        )?;
    }
    Ok(current)
}

/// The template that a revision keeps.
pub(crate) fn template(revision: &Value) -> &Value {
    revision
        .pointer("/data/spec/template")
        .unwrap_or(&Value::Null)
}
