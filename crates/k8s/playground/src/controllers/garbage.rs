//! Garbage collection: what an object owns goes when it goes, in the way that was asked for.

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, is_leaving, list, text};
use crate::key::{Key, Kind};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(object, "/metadata/finalizers")
        .iter()
        .any(|known| known == finalizer)
}

fn without_finalizer(mut object: Value, finalizer: &str) -> Value {
    if let Some(Value::Array(finalizers)) = object.pointer_mut("/metadata/finalizers") {
        finalizers.retain(|known| known != finalizer);
    }
    object
}

/// Looks at an object: are its owners still there, and does it wait for what it owns?
pub(crate) fn collect(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(object) = cx.get(key) else {
        return Ok(());
    };
    if is_leaving(&object) {
        if has_finalizer(&object, ORPHAN) {
            return orphan(cx, object);
        }
        if has_finalizer(&object, FOREGROUND) {
            return foreground(cx, object);
        }
    }
    check_owners(cx, key, &object)
}

/// Is an owner still there, and is it waiting for its children to go?
enum Owner {
    Gone,
    Here,
    Waiting,
}

fn owner(cx: &Cx<'_>, key: &Key, reference: &Value) -> Owner {
    let kind = Kind::new(text(reference, "/apiVersion"), text(reference, "/kind"));
    let name = text(reference, "/name");
    // An owner stands in the same namespace, or in none.
    let found = cx
        .api
        .get(kind, key.namespace(), name)
        .or_else(|| cx.api.get(kind, "", name))
        .filter(|owner| k8s_object::uid(owner) == text(reference, "/uid"));
    match found {
        None => Owner::Gone,
        Some(owner) if is_leaving(&owner) && has_finalizer(&owner, FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::Here,
    }
}

fn check_owners(cx: &mut Cx<'_>, key: &Key, object: &Value) -> Result<(), Refusal> {
    let references = list(object, "/metadata/ownerReferences");
    if references.is_empty() || is_leaving(object) {
        return Ok(());
    }
    let (mut gone, mut waiting, mut here) = (Vec::new(), Vec::new(), 0);
    for reference in references {
        match owner(cx, key, reference) {
            Owner::Gone => gone.push(reference.clone()),
            Owner::Waiting => waiting.push(reference.clone()),
            Owner::Here => here += 1,
        }
    }
    if here > 0 {
        if gone.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        let mut freed = object.clone();
        keep_owners(&mut freed, |known| {
            !gone.contains(known) && !waiting.contains(known)
        });
        return cx.api.update(MANAGER, &freed).map(|_| ());
    }
    // Below an owner that waits, what has children of its own must wait for them too.
    let has_children = !cx.state.index.children(k8s_object::uid(object)).is_empty();
    let how = if !waiting.is_empty() && has_children {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    cx.api.delete(key, k8s_object::uid(object), how, false)
}

fn keep_owners(object: &mut Value, keep: impl Fn(&Value) -> bool) {
    let Some(meta) = k8s_object::meta_mut(object) else {
        return;
    };
    if let Some(Value::Array(references)) = meta.get_mut("ownerReferences") {
        references.retain(keep);
        if references.is_empty() {
            meta.remove("ownerReferences");
        }
    }
}

fn orphan(cx: &mut Cx<'_>, object: Value) -> Result<(), Refusal> {
    let uid = k8s_object::uid(&object).to_owned();
    for key in cx.state.index.children(&uid) {
        let Some(mut child) = cx.get(&key) else {
            continue;
        };
        keep_owners(&mut child, |known| known["uid"] != json!(uid));
        cx.api.update(MANAGER, &child)?;
    }
    cx.api
        .update(MANAGER, &without_finalizer(object, ORPHAN))
        .map(|_| ())
}

fn foreground(cx: &mut Cx<'_>, object: Value) -> Result<(), Refusal> {
    let uid = k8s_object::uid(&object).to_owned();
    let mut blocked = false;
    for key in cx.state.index.children(&uid) {
        let Some(child) = cx.get(&key) else { continue };
        blocked |= list(&child, "/metadata/ownerReferences")
            .iter()
            .any(|known| known["uid"] == json!(uid) && known["blockOwnerDeletion"] == json!(true));
        check_owners(cx, &key, &child)?;
    }
    // Children may have gone at once; then the index will hear of it later than this.
    let left = cx
        .state
        .index
        .children(&uid)
        .iter()
        .any(|key| cx.get(key).is_some());
    if blocked && left {
        return Ok(());
    }
    cx.api
        .update(MANAGER, &without_finalizer(object, FOREGROUND))
        .map(|_| ())
}
