//! What goes wrong in one cluster: it is said there, and the others go on.

use k8s_apiserver::WriteOptions;
use serde_json::{Value, json};

use crate::world::{World, apply_as, config_map, deployment, find, says};

const MAPS: (&str, &str) = ("", "configmaps");

fn failed(assignment: &Value) -> bool {
    assignment["status"]["state"] == "Failed"
}

fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "boats.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_cluster_refuses_is_named_and_the_others_go_on() {
    let mut world = World::start().await;
    let (one, two) = (
        world.join("one", json!({})).await,
        world.join("two", json!({})).await,
    );
    apply_as(&two, "somebody", crd());
    let write = |path: &str, text: &str| world.repository.write(path, text);

    // a kind that `one` does not know
    write(
        "apps/boats/boat.yaml",
        "apiVersion: example.com/v1\nkind: Boat\nmetadata: { name: b }\n",
    );
    write("apps/boats/a.yaml", &config_map("a", "v1"));
    // a webhook refuses
    let deny = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: nope\n  annotations:\n    playground.roadstead.dev/deny: not on my watch\n";
    write("apps/denied/nope.yaml", deny);
    // another manager owns the field, on `one` only
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "contested" }, "data": { "key": "theirs" } });
    let space =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "contested" } });
    apply_as(&one, "other-tool", space);
    apply_as(&one, "other-tool", theirs);
    write("apps/contested/a.yaml", &config_map("a", "ours"));
    // two Apps, one object
    let shared = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shared }\n";
    write("apps/first/shared.yaml", shared);
    write("apps/second/shared.yaml", shared);
    write("apps/good/a.yaml", &config_map("a", "v1"));
    let commit = world.push("some of it is refused").await;

    world.app("boats", json!({})).await;
    world.app("denied", json!({})).await;
    world
        .app("contested", json!({ "sync": { "conflict": "Fail" } }))
        .await;
    world.app("first", json!({ "namespace": "common" })).await;
    world.app("good", json!({})).await;
    world.healthy("good", &commit, 2).await;
    world.healthy("first", &commit, 2).await;
    world.app("second", json!({ "namespace": "common" })).await;

    for cluster in ["one", "two"] {
        world.assignment("denied", cluster, "failed", failed).await;
        let said = world.why("denied", cluster).await;
        says(&said, &["ConfigMap denied/nope", "not on my watch"]);
        world.assignment("second", cluster, "failed", failed).await;
        says(
            &world.why("second", cluster).await,
            &["ConfigMap common/shared belongs to App default/first"],
        );
    }
    world.assignment("contested", "one", "failed", failed).await;
    says(
        &world.why("contested", "one").await,
        &["other-tool", "data.key"],
    );
    let kept = find(&one, MAPS, ("contested", "a")).expect("there");
    assert_eq!(kept["data"]["key"], "theirs");
    let healthy = |assignment: &Value| assignment["status"]["state"] == "Healthy";
    world
        .assignment("contested", "two", "healthy", healthy)
        .await;

    world.assignment("boats", "two", "healthy", healthy).await;
    let knows = |assignment: &Value| {
        assignment["status"]
            .to_string()
            .contains("does not know example.com/v1")
    };
    world
        .assignment("boats", "one", "waits for its kind", |a| {
            knows(a) && !failed(a)
        })
        .await;
    says(
        &world.why("boats", "one").await,
        &["one", "does not know example.com/v1"],
    );
    // what waits goes on when the kind comes
    apply_as(&one, "somebody", crd());
    world.assignment("boats", "one", "healthy", healthy).await;

    // nobody was slowed: a change of the good App still goes through
    world
        .repository
        .write("apps/good/a.yaml", &config_map("a", "v2"));
    let commit = world.push("good goes on").await;
    world.healthy("good", &commit, 2).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_field_that_cannot_change_is_named_or_the_object_replaced() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    for app in ["fails", "replaces"] {
        let path = format!("apps/{app}/web.yaml");
        world
            .repository
            .write(&path, &deployment("web", "registry.example.com/web:1"));
    }
    let commit = world.push("first").await;
    world.app("fails", json!({})).await;
    world
        .app("replaces", json!({ "sync": { "onImmutable": "Replace" } }))
        .await;
    world.healthy("fails", &commit, 1).await;
    world.healthy("replaces", &commit, 1).await;
    let uid = |namespace: &str| {
        let found = find(&one, ("apps", "deployments"), (namespace, "web")).expect("there");
        k8s_object::uid(&found).to_owned()
    };
    let (kept, replaced) = (uid("fails"), uid("replaces"));
    for app in ["fails", "replaces"] {
        let path = format!("apps/{app}/web.yaml");
        let text =
            deployment("web", "registry.example.com/web:1").replace("app: web", "app: other");
        world.repository.write(&path, &text);
    }
    let commit = world.push("another selector").await;
    world.assignment("fails", "one", "failed", failed).await;
    says(
        &world.why("fails", "one").await,
        &["Deployment fails/web", "spec.selector", "immutable"],
    );
    assert_eq!(uid("fails"), kept);
    world.healthy("replaces", &commit, 1).await;
    assert_ne!(uid("replaces"), replaced);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drift_is_healed_and_a_conflict_is_forced_unless_told_otherwise() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world
        .repository
        .write("apps/forced/a.yaml", &config_map("a", "ours"));
    let commit = world.push("first").await;
    world.app("forced", json!({})).await;
    world.healthy("forced", &commit, 1).await;
    let registry = one.registry();
    let def = registry.resource("", "configmaps").expect("a resource");
    let options = WriteOptions {
        force: true,
        ..WriteOptions::manager("by-hand")
    };
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "forced" }, "data": { "key": "theirs" } });
    registry
        .apply(&def, "forced", "a", theirs, &options)
        .expect("applied");
    one.touch();
    let ours = |found: Option<&Value>| found.is_some_and(|found| found["data"]["key"] == "ours");
    world.object("one", MAPS, ("forced", "a"), ours).await;
    world
        .assignment("forced", "one", "healed once", |a| {
            a["status"]["healed"] == 1
        })
        .await;
    world.end().await;
}
