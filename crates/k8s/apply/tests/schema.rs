//! The table of types and what is made of it.

use k8s_apply::schema::{Schema, Schemas, TypeRef, fill, openapi_v3, prune, unknown_fields};
use k8s_apply::{ApplyOptions, apply};
use k8s_object::Gvk;
use serde_json::{Value, json};

fn builtin(api_version: &str, kind: &str) -> TypeRef {
    Schemas::builtin()
        .lookup(&Gvk::new(api_version, kind))
        .expect(kind)
}

#[test]
fn every_kind_has_its_metadata_and_every_list_its_items() {
    let mut count = 0;
    for gvk in Schemas::builtin().kinds() {
        let ty = Schemas::builtin().lookup(gvk).expect("listed");
        if let Some(items) = ty.field("items") {
            let item = items.element().expect("a list");
            assert!(item.field("metadata").is_some(), "{gvk}");
            assert!(ty.field("metadata").is_some(), "{gvk}");
        }
        count += 1;
    }
    assert!(count > 120, "{count}");
}

#[test]
fn types_are_found_by_name_and_by_field() {
    let pod = Schemas::builtin()
        .named("core.v1.PodSpec")
        .expect("by name");
    let container = pod
        .field("containers")
        .and_then(|list| list.element())
        .expect("containers");
    assert!(
        container
            .field_names()
            .any(|name| name == "imagePullPolicy")
    );
    let port = container
        .field("ports")
        .and_then(|list| list.element())
        .expect("ports");
    assert_eq!(port.default_value("protocol"), Some(&json!("TCP")));
    assert_eq!(port.default_value("containerPort"), None);
}

#[test]
fn names_unknown_fields_by_path() {
    let check = |api_version: &str, object: Value, expected: &[&str]| {
        let kind = object["kind"].as_str().expect("kind").to_owned();
        let ty = builtin(api_version, &kind);
        assert_eq!(unknown_fields(&object, &ty), expected, "{object}");
        let mut pruned = object;
        prune(&mut pruned, &ty);
        assert!(unknown_fields(&pruned, &ty).is_empty());
    };
    check(
        "v1",
        json!({"kind": "ConfigMap", "data": {"any": "thing"}}),
        &[],
    );
    check(
        "v1",
        json!({"kind": "ConfigMap", "dataa": {}, "metadata": {"name": "x", "label": {}}}),
        &["dataa", "metadata.label"],
    );
    check(
        "apps/v1",
        json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"nam": "b", "resources": {"limits": {"cpu": 1}}}]}}}}),
        &["spec.template.spec.containers[1].nam"],
    );
}

#[test]
fn custom_kinds_keep_what_their_schema_lets_them() {
    let ty = TypeRef::from_crd_schema(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        "level": {"type": "string", "default": "low"}}}}}),
    );
    let mut object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x", "nme": "y"}, "extra": 1, "spec": {
        "open": {"what": {"ever": 1}, "known": {"a": "b", "c": "d"}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "bad": 1}, "spec": {"a": 1}},
        "either": 5}});
    assert_eq!(
        unknown_fields(&object, &ty),
        [
            "extra",
            "metadata.nme",
            "spec.open.known.c",
            "spec.pod.metadata.bad"
        ]
    );
    fill(&mut object, &ty);
    assert_eq!(object["spec"]["level"], "low");
    assert_eq!(object.get("status"), None);
}

#[test]
fn fills_what_kubernetes_keeps() {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}});
    fill(&mut service, &builtin("v1", "Service"));
    assert_eq!(
        service["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP"}])
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
}

#[test]
fn open_api_carries_what_clients_look_for() {
    let document = openapi_v3(Schemas::builtin(), "apps", "v1");
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(
        pod["containers"],
        json!({"type": "array", "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"})
    );
    assert_eq!(pod["nodeSelector"]["x-kubernetes-map-type"], "atomic");
    assert!(schemas.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    // no reference leads nowhere
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[test]
fn a_broken_table_is_refused_by_line() {
    let check = |table: &str, expected: &str| {
        assert_eq!(
            Schema::parse(table).expect_err(table).to_string(),
            format!("table of types, {expected}")
        );
    };
    check("  name string", "line 1: a field stands before any type");
    check("a.A\n  name strin", "line 2: unknown type \"strin\"");
    check("a.A\n  name", "line 2: field \"name\" has no type");
    check("a.A atomicc", "line 1: unknown word \"atomicc\"");
    check(
        "a.A\n  name []string patch=mix",
        "line 2: unknown patch strategy \"mix\"",
    );
}

#[test]
fn refuses_what_does_not_fit_by_place() {
    let check = |spec: Value, expected: &str| {
        let config = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        let options = ApplyOptions {
            manager: "m",
            force: false,
            subresource: "",
            now: "2001-01-01T00:00:00Z",
            schema: builtin("v1", "Service"),
            reset_fields: None,
            versions: None,
        };
        let error = apply(None, &config, &options).expect_err(expected);
        assert_eq!(
            error.to_string(),
            format!("failed to create typed patch object (b/a; v1, Kind=Service): {expected}")
        );
    };
    check(
        json!({"tipe": "ClusterIP"}),
        ".spec.tipe: field not declared in schema",
    );
    check(
        json!({"type": 1}),
        ".spec.type: expected string, got &value.valueUnstructured{Value:1}",
    );
    check(
        json!({"selector": []}),
        ".spec.selector: expected map, got &{[]}",
    );
    check(
        json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}),
        ".spec.ports: duplicate entries for key [port=1,protocol=\"TCP\"]",
    );
    check(
        json!({"ports": [null, {"port": "x"}]}),
        ".spec.ports: element 0: associative list with keys may not have a null element",
    );
}
