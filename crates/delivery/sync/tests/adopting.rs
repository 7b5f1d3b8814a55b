//! Taking over what other tools applied.

mod common;

use base_json::{Value, json};
use common::{World, config, deployment, item};
use k8s_apply::schema::TypeRef;
use k8s_apply::{ApplyOptions, LAST_APPLIED, UpdateOptions};
use k8s_object::Gvk;
use roadstead_dispatch::AppState;
use roadstead_model::{Adopt, AdoptFrom};

/// How a tool writes.
#[derive(Clone, Copy)]
enum By {
    Update,
    Apply,
}

/// An object that a tool wrote.
fn written(object: &Value, manager: &str, by: By) -> Value {
    let schema = TypeRef::builtin_or_deduced(&Gvk::of(object).expect("a kind"));
    let now = "2026-01-01T00:00:00Z";
    match by {
        By::Update => {
            let options = UpdateOptions {
                manager,
                subresource: "",
                now,
                schema,
                reset_fields: None,
                versions: None,
            };
            k8s_apply::track_update(None, object, &options)
        }
        By::Apply => {
            let options = ApplyOptions {
                manager,
                force: false,
                subresource: "",
                now,
                schema,
                reset_fields: None,
                versions: None,
            };
            k8s_apply::apply(None, object, &options).expect("applied")
        }
    }
}

fn check(manager: &str, by: By, marks: Value, adopt: Adopt) {
    let mut world = World::default();
    world
        .fake
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut before = deployment("web", "i:1");
    before["spec"]["minReadySeconds"] = json!(5);
    before["metadata"]["annotations"] = json!({});
    for (key, value) in marks.as_object().expect("a map") {
        let place = if key.contains("toolkit") || key.ends_with("instance") {
            "labels"
        } else {
            "annotations"
        };
        before["metadata"][place][key] = value.clone();
    }
    world.fake.put(written(&before, manager, by));
    let id = common::id("apps/Deployment/shop/web");
    world.fake.edit(&id, "kubectl-edit", "", |object| {
        object["spec"]["revisionHistoryLimit"] = json!(3);
    });
    let (uid, template) = {
        let live = &world.fake.objects[&id];
        (
            live["metadata"]["uid"].clone(),
            live["spec"]["template"].clone(),
        )
    };
    let mut entry = world.entry(vec![item(deployment("web", "i:1"))]);
    entry.adopt = adopt;
    world.set("shop", entry);
    world.run(60_000);
    let live = world.fake.objects[&id].clone();
    world.expect("shop", AppState::Healthy);
    assert_eq!(live["metadata"]["uid"], uid, "{manager}");
    assert_eq!(
        live["spec"]["template"], template,
        "{manager}: no pod may restart"
    );
    // what the tool set and Git does not is gone, what a person set stays
    assert_eq!(
        live.pointer("/spec/minReadySeconds"),
        None,
        "{manager}: {live:#}"
    );
    assert_eq!(live["spec"]["revisionHistoryLimit"], 3, "{manager}");
    for key in marks.as_object().expect("a map").keys() {
        assert_eq!(k8s_object::annotation(&live, key), None, "{manager}: {key}");
        assert_eq!(k8s_object::label(&live, key), None, "{manager}: {key}");
    }
    let entries = live["metadata"]["managedFields"]
        .as_array()
        .expect("entries");
    let mut managers: Vec<&str> = entries
        .iter()
        .filter(|entry| entry["subresource"] != "status")
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    managers.sort_unstable();
    assert_eq!(managers, ["kubectl-edit", "roadstead"], "{manager}");
}

fn from(tool: AdoptFrom) -> Adopt {
    Adopt::From(vec![tool])
}

#[test]
fn what_tools_applied_is_taken_over_without_a_restart() {
    let mut last = deployment("web", "i:1");
    last["spec"]["minReadySeconds"] = json!(5);
    let last = json!({LAST_APPLIED: last.to_string()});
    check(
        "kubectl-client-side-apply",
        By::Update,
        last,
        Adopt::Unowned,
    );
    check("kubectl", By::Apply, json!({}), Adopt::Unowned);
    check("kubectl", By::Apply, json!({}), from(AdoptFrom::Kubectl));
    let helm =
        json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"});
    check("helm", By::Update, helm.clone(), from(AdoptFrom::Helm));
    check("helm", By::Apply, helm, from(AdoptFrom::Helm));
    let argo = json!({"argocd.argoproj.io/tracking-id": "web:apps/Deployment:shop/web"});
    check(
        "argocd-controller",
        By::Apply,
        argo.clone(),
        from(AdoptFrom::Argocd),
    );
    check(
        "argocd-controller",
        By::Update,
        argo,
        from(AdoptFrom::Argocd),
    );
    let flux = json!({"kustomize.toolkit.fluxcd.io/name": "web", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    check(
        "kustomize-controller",
        By::Apply,
        flux,
        from(AdoptFrom::Flux),
    );
    let release = json!({"helm.toolkit.fluxcd.io/name": "web", "meta.helm.sh/release-name": "web"});
    check(
        "helm-controller",
        By::Update,
        release,
        from(AdoptFrom::Flux),
    );
}

#[test]
fn what_kubectl_applied_last_goes_though_nobody_is_noted_for_it() {
    let mut world = World::default();
    world
        .fake
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut before = config("a", "1");
    before["data"]["old"] = json!("x");
    let last = before.to_string();
    before["data"]["other"] = json!("of somebody");
    k8s_object::set_annotation(&mut before, LAST_APPLIED, &last);
    world.fake.put(before);
    world.deliver("shop", vec![item(config("a", "1"))]);
    world.expect("shop", AppState::Healthy);
    let live = world.live("/ConfigMap/shop/a").expect("there");
    assert_eq!(
        live["data"],
        json!({"k": "1", "other": "of somebody"}),
        "{live:#}"
    );
}

#[test]
fn what_belongs_to_another_tool_is_refused_with_both_names() {
    let mut world = World::default();
    world
        .fake
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut before = config("a", "1");
    k8s_object::set_annotation(&mut before, "meta.helm.sh/release-name", "web");
    world.fake.put(written(&before, "helm", By::Update));
    world.deliver("shop", vec![item(config("a", "2"))]);
    world.expect("shop", AppState::Failed);
    let message = &world.state("shop").message;
    for words in ["Helm release \"web\"", "App p/shop"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(world.fake.writes.len(), 0, "{:?}", world.fake.writes);
}
