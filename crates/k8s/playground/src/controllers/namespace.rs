//! Namespaces: what each new one gets, and how one goes.

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::cx::{Condition, Cx, MANAGER, is_leaving, list, set_condition, status_of, text};
use crate::key::{CONFIG_MAP, Key, POD, SERVICE_ACCOUNT};

const ROOT_CA: &str = "kube-root-ca.crt";

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut namespace) = cx.get(key) else {
        cx.state.terminating.remove(key.name());
        return Ok(());
    };
    if is_leaving(&namespace) {
        cx.state.terminating.insert(key.name().to_owned());
        return remove(cx, key, &mut namespace);
    }
    if text(&namespace, "/status/phase").is_empty() {
        cx.set_status(MANAGER, &mut namespace, json!({"phase": "Active"}))?;
    }
    defaults(cx, key.name())
}

/// Sees to it that the account and the certificate bundle are there which every namespace has.
pub(crate) fn defaults(cx: &mut Cx<'_>, namespace: &str) -> Result<(), Refusal> {
    if cx.api.get(SERVICE_ACCOUNT, namespace, "default").is_none() {
        let account = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace},
        });
        cx.api.create(MANAGER, account)?;
    }
    if cx.api.get(CONFIG_MAP, namespace, ROOT_CA).is_none() {
        let bundle = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ROOT_CA,
                "namespace": namespace,
                "annotations": {
                    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
                },
            },
            "data": {"ca.crt": ""},
        });
        cx.api.create(MANAGER, bundle)?;
    }
    Ok(())
}

fn remove(cx: &mut Cx<'_>, key: &Key, namespace: &mut Value) -> Result<(), Refusal> {
    // pods go before what they lean on
    let pods = empty(cx, key.name(), |content| content.is(POD))?;
    let left = if pods.is_empty() {
        empty(cx, key.name(), |_| true)?
    } else {
        cx.api.contents(key.name())
    };
    if left.is_empty() {
        let mut last = namespace.clone();
        last["spec"]["finalizers"] = json!([]);
        cx.api.finalize(MANAGER, &last)?;
        return Ok(());
    }
    // Whatever is left ends in its own time (pods) or waits for finalizers; each removal comes by here again.
    let held = left.iter().filter_map(|content| cx.get(content));
    let held = held
        .filter(|object| !list(object, "/metadata/finalizers").is_empty())
        .count();
    let mut status = status_of(namespace);
    status.insert("phase".to_owned(), json!("Terminating"));
    let now = cx.now_text();
    for condition in [
        Condition {
            kind: "NamespaceDeletionDiscoveryFailure",
            holds: false,
            reason: "ResourcesDiscovered",
            message: "All resources successfully discovered",
        },
        Condition {
            kind: "NamespaceDeletionGroupVersionParsingFailure",
            holds: false,
            reason: "ParsedGroupVersions",
            message: "All legacy kube types successfully parsed",
        },
        Condition {
            kind: "NamespaceDeletionContentFailure",
            holds: false,
            reason: "ContentDeleted",
            message: "All content successfully deleted, may be waiting on finalization",
        },
        Condition {
            kind: "NamespaceContentRemaining",
            holds: true,
            reason: "SomeResourcesRemain",
            message: &format!(
                "Some content in the namespace remains: {} objects",
                left.len()
            ),
        },
        Condition {
            kind: "NamespaceFinalizersRemaining",
            holds: held > 0,
            reason: if held > 0 {
                "SomeFinalizersRemain"
            } else {
                "ContentHasNoFinalizers"
            },
            message: &if held > 0 {
                format!("Some content in the namespace has finalizers remaining: {held} objects")
            } else {
                "All content-preserving finalizers finished".to_owned()
            },
        },
    ] {
        set_condition(&mut status, &condition, &now, &[]);
    }
    cx.set_status(MANAGER, namespace, Value::Object(status))
}

/// Deletes what a namespace holds of some kinds; returns what of them is still there.
fn empty(
    cx: &mut Cx<'_>,
    namespace: &str,
    which: impl Fn(&Key) -> bool,
) -> Result<Vec<Key>, Refusal> {
    for content in cx.api.contents(namespace) {
        let found = cx.get(&content).filter(|_| which(&content));
        let Some(object) = found.filter(|object| !is_leaving(object)) else {
            continue;
        };
        let uid = k8s_object::uid(&object);
        match cx.api.delete(&content, uid, Propagation::Background, false) {
            Ok(()) | Err(Refusal::NotFound(_) | Refusal::Conflict(_)) => {}
            Err(refused) => return Err(refused),
        }
    }
    let mut left = cx.api.contents(namespace);
    left.retain(which);
    Ok(left)
}
