//! The main roads, with the texts that kubectl shows.

use k8s_apply::schema::{Schemas, TypeRef};
use k8s_apply::{
    ApplyOptions, LAST_APPLIED, UpdateOptions, adopt_managers, apply, changed_paths, track_update,
};
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
        versions: None,
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

#[test]
fn says_whose_the_field_is_as_kubectl_does() {
    let check = |manager: &str, subresource: &str, expected: &str| {
        let made = apply(None, &deployment(1, "a:1"), &options("one", false)).expect("creates");
        let mut scaled = made.clone();
        scaled["spec"]["replicas"] = 5.into();
        let update = UpdateOptions {
            manager,
            subresource,
            now: "2026-01-02T03:04:06Z",
            schema: options("", false).schema,
            reset_fields: None,
            versions: None,
        };
        let live = track_update(Some(&made), &scaled, &update);
        let error =
            apply(Some(&live), &deployment(1, "a:1"), &options("one", false)).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(
        "kubectl-client-side-apply",
        "",
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas",
    );
    check(
        "hpa",
        "scale",
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas",
    );
}

#[test]
fn refuses_configurations_that_cannot_be_applied() {
    let live = apply(None, &deployment(1, "a:1"), &options("one", false)).expect("creates");
    let check = |config: Value, expected: &str| {
        let error = apply(Some(&live), &config, &options("one", false)).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(live.clone(), "metadata.managedFields must be nil");
    let mut other = deployment(1, "a:1");
    other["apiVersion"] = "apps/v1beta1".into();
    check(
        other,
        "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1",
    );
}

#[test]
fn what_nobody_applies_any_more_goes() {
    let made = apply(None, &deployment(1, "a:1"), &options("one", false)).expect("creates");
    let mut shared = deployment(1, "a:1");
    shared["spec"]["paused"] = true.into();
    let both = apply(Some(&made), &shared, &options("two", false)).expect("shares");
    let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
    let one_left = apply(Some(&both), &bare, &options("one", false)).expect("gives up");
    assert_eq!(one_left["spec"], both["spec"], "the other still owns it");
    let none_left = apply(Some(&one_left), &bare, &options("two", false)).expect("gives up");
    assert_eq!(none_left.get("spec"), None);
}

/// Kubernetes' own objects always have a spec, and yet whoever applied `spec: {}` loses it when another's prune takes all of it.
#[test]
fn a_spec_that_a_prune_empties_is_nobodys() {
    let service = |spec: Value| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}, "spec": spec})
    };
    let schema = TypeRef::builtin_or_deduced(&Gvk::new("v1", "Service"));
    let of = |manager| ApplyOptions {
        schema: schema.clone(),
        ..options(manager, false)
    };
    let made = apply(None, &service(json!({})), &of("one")).expect("creates");
    let more = service(json!({"externalIPs": ["2.2.2.2"], "selector": {}}));
    let both = apply(Some(&made), &more, &of("two")).expect("adds");
    let after = apply(Some(&both), &service(json!({"ports": []})), &of("two")).expect("gives up");
    assert_eq!(after.get("spec"), None);
    let entries = after["metadata"]["managedFields"].as_array().expect("some");
    let owned: Vec<&Value> = entries.iter().map(|entry| &entry["fieldsV1"]).collect();
    let labels = json!({"f:metadata": {"f:labels": {"f:a": {}}}});
    assert_eq!(owned, [&labels, &labels]);
}

#[test]
fn hands_over_from_client_side_apply() {
    let update = UpdateOptions {
        manager: "kubectl-client-side-apply",
        subresource: "",
        now: "2026-01-02T03:04:04Z",
        schema: options("", false).schema,
        reset_fields: None,
        versions: None,
    };
    let mut before = deployment(1, "a:1");
    before["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
    before["spec"]["paused"] = true.into();
    let live = track_update(None, &before, &update);
    let adopted = adopt_managers(
        &live,
        &["kubectl-client-side-apply", "helm"],
        "roadstead",
        &update.schema,
    );
    let after = apply(
        Some(&adopted),
        &deployment(2, "a:1"),
        &options("roadstead", false),
    )
    .expect("no conflict");
    assert_eq!(
        after["spec"].get("paused"),
        None,
        "what is no longer applied goes"
    );
    assert_eq!(after["metadata"].get("annotations"), None);
    assert_eq!(
        after["metadata"]["managedFields"].as_array().map(Vec::len),
        Some(1)
    );
    // an object that none of them manages stays as it is
    assert_eq!(
        adopt_managers(&after, &["helm"], "roadstead", &update.schema),
        after
    );
}

#[test]
fn owners_of_parts_own_the_whole_of_what_became_atomic() {
    let schema = |kind: &str| {
        let mut list = json!({"type": "array", "items": {"type": "string"}});
        list["x-kubernetes-list-type"] = kind.into();
        TypeRef::from_crd_schema(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"tags": list}}}}),
        )
    };
    let config = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"tags": ["a"]}});
    let with = |kind| ApplyOptions {
        schema: schema(kind),
        ..options("one", false)
    };
    let made = apply(None, &config, &with("set")).expect("creates");
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:tags": {"v:\"a\"": {}}}})
    );
    let again = apply(Some(&made), &config, &with("atomic")).expect("applies");
    assert_eq!(
        again["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:tags": {}}})
    );
}

#[test]
fn names_what_changed() {
    let mut after = deployment(2, "a:2");
    after["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(
        changed_paths(&deployment(1, "a:1"), &after, &options("", false).schema),
        [
            ".metadata.labels",
            ".metadata.labels.a",
            ".spec.replicas",
            ".spec.template.spec.containers[name=\"web\"].image"
        ]
    );
}
