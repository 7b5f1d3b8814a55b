//! Checks of what changes a cluster.

use k8s_object::Gvk;
use serde_json::{Value, json};

use super::{Ran, Suite, bytes, ensure, expect, revision};
use crate::{Call, ErrorKind, FieldConflict, Propagation};

pub(super) async fn apply_creates_and_updates(suite: &Suite<'_>) -> Ran {
    let made = suite.apply(&suite.map("a", json!({"x": "1"}))).await;
    let made = expect(made, "create by apply")?;
    ensure(!k8s_object::uid(&made).is_empty(), || "no uid".to_owned())?;
    let changed = suite.apply(&suite.map("a", json!({"x": "2"}))).await;
    let changed = expect(changed, "update by apply")?;
    ensure(k8s_object::uid(&made) == k8s_object::uid(&changed), || {
        "apply made another object".to_owned()
    })?;
    ensure(revision(&made) != revision(&changed), || {
        "a change has no new revision".to_owned()
    })?;
    let found = expect(suite.get_map("a").await, "get")?;
    ensure(found["data"] == json!({"x": "2"}), || {
        format!("found {found}")
    })?;
    Ok(true)
}

pub(super) async fn apply_without_change_writes_nothing(suite: &Suite<'_>) -> Ran {
    let object = suite.map("a", json!({"x": "1"}));
    let first = expect(suite.apply(&object).await, "first apply")?;
    let second = expect(suite.apply(&object).await, "second apply")?;
    ensure(revision(&first) == revision(&second), || {
        format!("revision {} became {}", revision(&first), revision(&second))
    })?;
    Ok(true)
}

pub(super) async fn apply_meets_conflicts(suite: &Suite<'_>) -> Ran {
    let object = suite.map("a", json!({"x": "1", "y": "1"}));
    expect(suite.apply(&object).await, "apply")?;
    let other = suite.map("a", json!({"x": "2"}));
    let refused = suite.apply_as(&other, "other", false, false).await;
    let kind = Suite::kind_of(refused, "taking another's field")?;
    let expected = ErrorKind::FieldConflict(vec![FieldConflict {
        manager: "contract".to_owned(),
        field: ".data.x".to_owned(),
    }]);
    ensure(kind == expected, || format!("{kind:?}"))?;
    let forced = suite.apply_as(&other, "other", true, false).await;
    let forced = expect(forced, "taking it by force")?;
    ensure(forced["data"] == json!({"x": "2", "y": "1"}), || {
        format!("found {forced}")
    })?;
    let refused = suite.apply(&object).await;
    let kind = Suite::kind_of(refused, "taking it back")?;
    ensure(matches!(kind, ErrorKind::FieldConflict(_)), || {
        format!("{kind:?}")
    })?;
    Ok(true)
}

pub(super) async fn apply_drops_what_is_left_out(suite: &Suite<'_>) -> Ran {
    let first = suite.map("a", json!({"x": "1", "y": "1"}));
    expect(suite.apply(&first).await, "apply")?;
    let fewer = suite.map("a", json!({"x": "1"}));
    let found = expect(suite.apply(&fewer).await, "apply with less")?;
    ensure(found["data"] == json!({"x": "1"}), || {
        format!("found {found}")
    })?;
    Ok(true)
}

pub(super) async fn dry_run_writes_nothing(suite: &Suite<'_>) -> Ran {
    let object = suite.map("a", json!({"x": "1"}));
    let shown = suite.apply_as(&object, "contract", false, true).await;
    let shown = expect(shown, "dry run of a create")?;
    ensure(shown["data"] == json!({"x": "1"}), || {
        format!("shown {shown}")
    })?;
    let kind = Suite::kind_of(suite.get_map("a").await, "what a dry run made")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    let made = expect(suite.apply(&object).await, "apply")?;
    let changed = suite.map("a", json!({"x": "2"}));
    let shown = suite.apply_as(&changed, "contract", false, true).await;
    let shown = expect(shown, "dry run of a change")?;
    ensure(shown["data"] == json!({"x": "2"}), || {
        format!("shown {shown}")
    })?;
    let found = expect(suite.get_map("a").await, "get")?;
    ensure(revision(&found) == revision(&made), || {
        "a dry run wrote".to_owned()
    })?;
    Ok(true)
}

pub(super) async fn create_refuses_what_exists(suite: &Suite<'_>) -> Ran {
    let create = || Call::Create {
        object: bytes(&suite.map("a", json!({}))),
        manager: "contract".to_owned(),
    };
    expect(suite.object(create()).await, "create")?;
    let kind = Suite::kind_of(suite.object(create()).await, "creating it again")?;
    ensure(kind == ErrorKind::Conflict, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn merge_changes_with_a_precondition(suite: &Suite<'_>) -> Ran {
    let made = expect(
        suite.apply(&suite.map("a", json!({"x": "1"}))).await,
        "apply",
    )?;
    let merge = |patch: Value| Call::Merge {
        gvk: Gvk::new("v1", "ConfigMap"),
        id: suite.id("", "ConfigMap", "a"),
        patch: bytes(&patch),
        manager: "other".to_owned(),
    };
    let at = revision(&made);
    let patch = json!({"metadata": {"resourceVersion": at}, "data": {"x": null, "y": "2"}});
    let changed = expect(suite.object(merge(patch.clone())).await, "merge")?;
    ensure(changed["data"] == json!({"y": "2"}), || {
        format!("found {changed}")
    })?;
    let stale = json!({"metadata": {"resourceVersion": at}, "data": {"y": "3"}});
    let kind = Suite::kind_of(suite.object(merge(stale)).await, "a stale merge")?;
    ensure(kind == ErrorKind::Conflict, || format!("{kind:?}"))?;
    Ok(true)
}

fn deployment(suite: &Suite<'_>, label: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": suite.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": label}},
            "template": {
                "metadata": {"labels": {"app": label}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]},
            },
        },
    })
}

pub(super) async fn immutable_fields_are_named(suite: &Suite<'_>) -> Ran {
    expect(suite.apply(&deployment(suite, "a")).await, "apply")?;
    let refused = suite.apply(&deployment(suite, "b")).await;
    let kind = Suite::kind_of(refused, "changing a selector")?;
    let expected = ErrorKind::Immutable {
        fields: vec!["spec.selector".to_owned()],
    };
    ensure(kind == expected, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn invalid_objects_are_refused(suite: &Suite<'_>) -> Ran {
    let mut bad = deployment(suite, "a");
    bad["spec"]["replicas"] = json!(-1);
    let kind = Suite::kind_of(suite.apply(&bad).await, "a negative number of replicas")?;
    let ErrorKind::Invalid { fields } = &kind else {
        return Err(format!("{kind:?}"));
    };
    ensure(fields.iter().any(|field| field == "spec.replicas"), || {
        format!("{fields:?}")
    })?;
    let mut bad = suite.map("a", json!({}));
    bad["nonsense"] = json!(1);
    let kind = Suite::kind_of(suite.apply(&bad).await, "an unknown field")?;
    ensure(matches!(kind, ErrorKind::Invalid { .. }), || {
        format!("an unknown field: {kind:?}")
    })?;
    let mut bad = suite.map("a", json!({}));
    bad["metadata"]["name"] = json!("No Such Name");
    let kind = Suite::kind_of(suite.apply(&bad).await, "a name with spaces")?;
    ensure(matches!(kind, ErrorKind::Invalid { .. }), || {
        format!("{kind:?}")
    })?;
    Ok(true)
}

pub(super) async fn a_missing_namespace_is_told(suite: &Suite<'_>) -> Ran {
    let mut object = suite.map("a", json!({}));
    object["metadata"]["namespace"] = json!("contract-nowhere");
    let kind = Suite::kind_of(suite.apply(&object).await, "apply in no namespace")?;
    ensure(kind == ErrorKind::NamespaceMissing, || format!("{kind:?}"))?;
    let id = k8s_object::ObjectId {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: "contract-nowhere".to_owned(),
    };
    let gone = suite.get(&Gvk::new("v1", "Namespace"), id).await;
    let kind = Suite::kind_of(gone, "a namespace that is not there")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn an_unknown_kind_is_told(suite: &Suite<'_>) -> Ran {
    let object = json!({
        "apiVersion": "contract.example.org/v1",
        "kind": "Unheard",
        "metadata": {"name": "a", "namespace": suite.namespace},
    });
    let kind = Suite::kind_of(suite.apply(&object).await, "apply of an unknown kind")?;
    ensure(kind == ErrorKind::UnknownKind, || format!("{kind:?}"))?;
    let gvk = Gvk::new("contract.example.org/v1", "Unheard");
    let id = suite.id("contract.example.org", "Unheard", "a");
    let kind = Suite::kind_of(suite.get(&gvk, id).await, "get of an unknown kind")?;
    ensure(kind == ErrorKind::UnknownKind, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn admission_refuses(suite: &Suite<'_>) -> Ran {
    let Some(object) = suite.harness.refused_by_admission(&suite.namespace) else {
        return Ok(false);
    };
    let kind = Suite::kind_of(suite.apply(&object).await, "what admission refuses")?;
    ensure(kind == ErrorKind::Admission, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn delete_asks_for_the_uid(suite: &Suite<'_>) -> Ran {
    let made = expect(suite.apply(&suite.map("a", json!({}))).await, "apply")?;
    let wrong = "00000000-0000-4000-8000-000000000000";
    let refused = suite.delete_map("a", wrong, Propagation::Background).await;
    let kind = Suite::kind_of(refused, "deleting another uid")?;
    ensure(kind == ErrorKind::Conflict, || format!("{kind:?}"))?;
    let uid = k8s_object::uid(&made);
    let pending = suite.delete_map("a", uid, Propagation::Background).await;
    let pending = expect(pending, "delete")?;
    ensure(!pending, || "a plain object is pending".to_owned())?;
    let again = suite.delete_map("a", "", Propagation::Background).await;
    let kind = Suite::kind_of(again, "deleting it again")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn delete_waits_for_finalizers(suite: &Suite<'_>) -> Ran {
    let mut object = suite.map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["contract.example.org/hold"]);
    expect(suite.apply(&object).await, "apply")?;
    let pending = suite.delete_map("a", "", Propagation::Background).await;
    let pending = expect(pending, "delete")?;
    ensure(pending, || "a finalizer did not hold it".to_owned())?;
    let found = expect(suite.get_map("a").await, "get")?;
    ensure(found["metadata"]["deletionTimestamp"].is_string(), || {
        format!("no deletionTimestamp: {found}")
    })?;
    let freed = suite
        .object(Call::Merge {
            gvk: Gvk::new("v1", "ConfigMap"),
            id: suite.id("", "ConfigMap", "a"),
            patch: bytes(&json!({"metadata": {"finalizers": null}})),
            manager: "contract".to_owned(),
        })
        .await;
    expect(freed, "remove the finalizer")?;
    let kind = Suite::kind_of(suite.get_map("a").await, "what was let go")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn delete_takes_or_leaves_what_is_owned(suite: &Suite<'_>) -> Ran {
    for (how, stays) in [
        (Propagation::Background, false),
        (Propagation::Foreground, false),
        (Propagation::Orphan, true),
    ] {
        let owner = expect(suite.apply(&suite.map("owner", json!({}))).await, "owner")?;
        let mut child = suite.map("child", json!({}));
        child["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": k8s_object::uid(&owner),
            "blockOwnerDeletion": true,
        }]);
        expect(suite.apply(&child).await, "child")?;
        // a collector that has not heard of the child yet leaves nothing to it
        suite.harness.settle().await;
        suite.harness.settle().await;
        expect(suite.delete_map("owner", "", how).await, "delete")?;
        gone(suite, "owner").await?;
        if !stays {
            gone(suite, "child").await?;
        }
        suite.harness.settle().await;
        let found = suite.get_map("child").await;
        ensure(found.is_ok() == stays, || format!("{how:?}: {found:?}"))?;
        if stays {
            let freed = suite.delete_map("child", "", Propagation::Background).await;
            expect(freed, "delete the child")?;
        }
    }
    Ok(true)
}

async fn gone(suite: &Suite<'_>, name: &str) -> Result<(), String> {
    suite
        .eventually(&format!("the end of {name}"), async || {
            Ok(suite
                .get_map(name)
                .await
                .is_err_and(|error| error.kind == ErrorKind::NotFound))
        })
        .await
}

pub(super) async fn a_namespace_that_ends_takes_nothing_new(suite: &Suite<'_>) -> Ran {
    let mut object = suite.map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["contract.example.org/hold"]);
    expect(suite.apply(&object).await, "apply")?;
    let id = k8s_object::ObjectId {
        namespace: String::new(),
        ..suite.id("", "Namespace", &suite.namespace)
    };
    let delete = Call::Delete {
        gvk: Gvk::new("v1", "Namespace"),
        id: id.clone(),
        uid: String::new(),
        propagation: Propagation::Background,
    };
    expect(suite.call(delete).await, "delete the namespace")?;
    let refused = suite.apply(&suite.map("b", json!({}))).await;
    let kind = Suite::kind_of(refused, "apply in a namespace that ends")?;
    ensure(kind == ErrorKind::NamespaceMissing, || format!("{kind:?}"))?;
    suite
        .eventually("the delete of what is in it", async || {
            let found = expect(suite.get_map("a").await, "get")?;
            Ok(found["metadata"]["deletionTimestamp"].is_string())
        })
        .await?;
    let freed = suite
        .object(Call::Merge {
            gvk: Gvk::new("v1", "ConfigMap"),
            id: suite.id("", "ConfigMap", "a"),
            patch: bytes(&json!({"metadata": {"finalizers": null}})),
            manager: "contract".to_owned(),
        })
        .await;
    expect(freed, "remove the finalizer")?;
    suite
        .eventually("the end of the namespace", async || {
            let found = suite.get(&Gvk::new("v1", "Namespace"), id.clone()).await;
            Ok(found.is_err_and(|error| error.kind == ErrorKind::NotFound))
        })
        .await?;
    Ok(true)
}

pub(super) async fn large_objects_are_refused(suite: &Suite<'_>) -> Ran {
    for size in [1_100_000, 4_000_000] {
        let object = suite.map("a", json!({"x": "x".repeat(size)}));
        let kind = Suite::kind_of(suite.apply(&object).await, "a large object")?;
        ensure(matches!(kind, ErrorKind::Invalid { .. }), || {
            format!("{size} bytes: {kind:?}")
        })?;
    }
    Ok(true)
}
