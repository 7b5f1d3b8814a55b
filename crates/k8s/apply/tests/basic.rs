//! The main roads, with the texts that kubectl shows.

use k8s_apply::schema::{Schemas, TypeRef};
use k8s_apply::{ApplyOptions, apply};
use k8s_object::Gvk;
use serde_json::{Value, json};

fn options(manager: &str, force: bool) -> ApplyOptions<'_> {
    ApplyOptions {
        manager,
        force,
        subresource: "",
        now: "2026-01-02T03:04:05Z",
        schema: TypeRef::builtin_or_deduced(&Gvk::new("apps/v1", "Deployment")),
        reset_fields: None,
    }
}

fn deployment(replicas: u32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

#[test]
fn builtin_table_knows_the_kinds() {
    for (version, kind) in [
        ("v1", "Pod"),
        ("apps/v1", "Deployment"),
        ("v1", "PodList"),
        ("batch/v1", "Job"),
    ] {
        assert!(
            Schemas::builtin()
                .lookup(&Gvk::new(version, kind))
                .is_some(),
            "{version} {kind}"
        );
    }
}

#[test]
fn applies_and_refuses_conflicts() {
    let first = apply(None, &deployment(1, "a:1"), &options("one", false)).expect("creates");
    assert_eq!(
        first["metadata"]["managedFields"],
        json!([{"manager": "one", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}}}])
    );
    let error =
        apply(Some(&first), &deployment(2, "a:1"), &options("two", false)).expect_err("conflicts");
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let again =
        apply(Some(&first), &deployment(1, "a:1"), &options("one", false)).expect("applies");
    assert_eq!(again, first);
    let forced = apply(Some(&first), &deployment(2, "a:1"), &options("two", true)).expect("forces");
    assert_eq!(forced["spec"]["replicas"], 2);
}
