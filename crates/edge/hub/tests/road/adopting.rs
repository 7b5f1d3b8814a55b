//! Objects that others applied: `plan` tells of them before anything is taken over.

use roadstead_plan::Plan;
use serde_json::{Value, json};

use crate::world::{World, apply_as, config_map, deployment, says, text, until};

const MAPS: (&str, &str) = ("", "configmaps");

fn map(name: &str, value: &str, marks: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "annotations": marks}, "data": {"key": value}})
}

async fn plan(world: &World, app: &str) -> (String, u8) {
    plan_of(world, app, json!({})).await
}

async fn plan_of(world: &World, app: &str, what: Value) -> (String, u8) {
    let path = format!("namespaces/default/apps/{app}/plan");
    let answer = world.api.post(&path, &what).await.expect("a plan");
    let plan: Plan = serde_json::from_value(answer["plan"].clone()).expect("a plan");
    (text(&answer["text"]), plan.exit_code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_applied_is_taken_over_after_plan_showed_it() {
    let mut world = World::start().await;
    let handle = world.join("one", json!({})).await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    apply_as(&handle, "hand", space);
    let helm = json!({"meta.helm.sh/release-name": "web"});
    apply_as(&handle, "helm", map("same", "1", &helm));
    apply_as(&handle, "helm", map("other", "0", &helm));
    apply_as(&handle, "kubectl", map("plain", "1", &json!({})));
    for name in ["same", "other", "plain", "new"] {
        let file = format!("apps/shop/{name}.yaml");
        world.repository.write(&file, &config_map(name, "\"1\""));
    }
    world.push("shop").await;
    world.app("shop", json!({})).await;

    // Helm's are refused, with both names, and what is not taken over yet is in the plan all the same
    let said = world.assignment("shop", "one", "refused", |found| {
        text(&found["status"]["message"]).contains("Helm release")
    });
    said.await;
    let (said, exit) = plan(&world, "shop").await;
    says(
        &said,
        &[
            "ConfigMap shop/other belongs to Helm release \"web\", and App default/shop wants it too",
        ],
    );
    assert_eq!(exit, 1, "{said}");
    let before = world
        .object("one", MAPS, ("shop", "same"), |found| found.is_some())
        .await
        .expect("there");

    // held, so that the plan comes before the deed
    let hold = json!({ "command": "hold", "cluster": "one", "hold": { "mode": "Sync" } });
    world.act("shop", hold).await.expect("held");
    world
        .change_app("shop", json!({ "adopt": { "From": ["helm", "kubectl"] } }))
        .await;
    let (said, exit) = plan(&world, "shop").await;
    says(
        &said,
        &[
            "^ ConfigMap shop/same exists and is taken over from Helm release \"web\" (written by helm); nothing of it changes",
            "^ ConfigMap shop/other exists and is taken over from Helm release \"web\" (written by helm); this changes:\n      \
             .data.key",
        ],
    );
    assert_eq!(exit, 2, "{said}");
    let now = world
        .object("one", MAPS, ("shop", "same"), |found| found.is_some())
        .await;
    assert_eq!(now.as_ref(), Some(&before), "a plan changes nothing");

    let unhold = json!({ "command": "unhold", "cluster": "one" });
    world.act("shop", unhold).await.expect("let go");
    world.healthy("shop", "", 1).await;
    let after = world
        .object("one", MAPS, ("shop", "same"), |found| {
            found.is_some_and(|found| {
                found["metadata"]["annotations"]["meta.helm.sh/release-name"].is_null()
            })
        })
        .await
        .expect("there");
    assert_eq!(after["data"], before["data"]);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let (said, exit) = plan(&world, "shop").await;
    assert_eq!(exit, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_api_server_of_those_that_are_alike_confirms_a_plan() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "\"1\""));
    world
        .repository
        .write("apps/shop/web.yaml", &deployment("web", "i:1"));
    let first = world.push("shop").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &first, 2).await;
    let hold = json!({ "command": "hold", "cluster": "one", "hold": { "mode": "Sync" } });
    world.act("shop", hold).await.expect("held");
    let hold = json!({ "command": "hold", "cluster": "two", "hold": { "mode": "Sync" } });
    world.act("shop", hold).await.expect("held");

    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "\"2\""));
    let more = world.push("more").await;
    let (said, exit) = plan_of(&world, "shop", json!({ "revision": more })).await;
    says(
        &said,
        &["confirmed 1 of 1 group by dry-runs of API servers"],
    );
    assert_eq!(exit, 2, "{said}");

    // what the API server does not take is told in its own words
    let bad = deployment("web", "i:1").replace("replicas: 1", "replicas: -1");
    world.repository.write("apps/shop/web.yaml", &bad);
    let bad = world.push("bad").await;
    let (said, exit) = plan_of(&world, "shop", json!({ "revision": bad })).await;
    says(
        &said,
        &[
            "confirmed 1 of 1 group",
            "! Deployment shop/web would be refused: ",
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    assert_eq!(exit, 1, "{said}");

    // with all agents away it says what it knows
    world.stop_agent("one").await;
    world.stop_agent("two").await;
    let (said, exit) = until("are all agents away", async || {
        let (said, exit) = plan_of(&world, "shop", json!({ "revision": bad })).await;
        let away = said.contains("no agent is connected");
        if away { Ok((said, exit)) } else { Err(said) }
    })
    .await;
    says(
        &said,
        &[
            "confirmed 0 of 1 group",
            "? predicted for one, two (Kubernetes 1.",
            "! Deployment shop/web would be refused: ",
        ],
    );
    assert_eq!(exit, 1, "{said}");
}
