//! The road, from a commit to healthy clusters, and everything that people do on the way.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, condition, config_map, deployment, find, says, text, until};

const MAPS: (&str, &str) = ("", "configmaps");

const HOOK: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: { roadstead.dev/hook: PreSync }\n\
    spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: main\n          image: registry.example.com/migrate:1\n";

fn has(value: &'static str) -> impl Fn(Option<&Value>) -> bool {
    move |found| found.is_some_and(|found| found["data"]["key"] == value)
}

fn gone(found: Option<&Value>) -> bool {
    found.is_none()
}

fn names(clusters: &[&str]) -> Value {
    json!([{ "name": "t", "clusters": { "names": clusters } }])
}

async fn three() -> World {
    let mut world = World::start().await;
    for (name, region) in [("one", "north"), ("two", "south"), ("three", "south")] {
        world.join(name, json!({ "region": region })).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_is_delivered_wave_by_wave_with_its_hook_and_variants() {
    let world = three().await;
    let wave = deployment("web", "registry.example.com/web:1").replacen(
        "metadata:\n  name: web\n",
        "metadata:\n  name: web\n  annotations: { roadstead.dev/wave: \"1\" }\n",
        1,
    );
    world.repository.write("apps/shop/migrate.yaml", HOOK);
    world.repository.write("apps/shop/web.yaml", &wave);
    world.repository.write(
        "apps/shop/api.yaml",
        &deployment("api", "registry.example.com/api:1"),
    );
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "everywhere"));
    let commit = world.push("shop").await;
    let overlay = json!([{
        "name": "region",
        "patches": [{ "merge": { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" },
            "data": { "key": "${cluster.labels.region}" } } }],
    }]);
    world
        .app("shop", json!({ "strategy": "", "overlays": overlay }))
        .await;
    world.healthy("shop", &commit, 3).await;
    for (name, region) in [("one", "north"), ("two", "south"), ("three", "south")] {
        let cluster = world.cluster(name);
        let made = |plural: (&str, &str), name: &str| {
            let found = find(&cluster, plural, ("shop", name)).expect(name);
            let created = text(&found["metadata"]["creationTimestamp"]);
            (found, created)
        };
        assert_eq!(made(MAPS, "a").0["data"]["key"], region);
        // the hook before everything, wave 1 after wave 0
        let job = made(("batch", "jobs"), "migrate").1;
        let (api, web) = (
            made(("apps", "deployments"), "api").1,
            made(("apps", "deployments"), "web").1,
        );
        assert!(job <= api && api <= web, "{job} {api} {web}");
    }
    let release = world
        .api
        .get("namespaces/default/releases")
        .await
        .expect("a list");
    assert_eq!(release["items"][0]["status"]["variants"], 2);

    // another label is another variant of the same Release
    world.label("three", json!({ "region": "north" })).await;
    world
        .object("three", MAPS, ("shop", "a"), has("north"))
        .await;
    world.healthy("shop", &commit, 3).await;
    let releases = world
        .api
        .get("namespaces/default/releases")
        .await
        .expect("a list");
    assert_eq!(releases["items"].as_array().map(Vec::len), Some(1));

    // a commit that touches none of its inputs makes no Release; the hook does not run again for a change of its own Release
    world.repository.write("elsewhere/x.yaml", "x: 1\n");
    let other = world.push("elsewhere").await;
    until("the new commit is read", || async {
        let source = world
            .api
            .get("namespaces/default/sources/repo")
            .await
            .expect("a Source");
        (source["status"]["commit"] == other.as_str())
            .then_some(())
            .ok_or(source["status"].to_string())
    })
    .await;
    world.healthy("shop", &commit, 3).await;
    let history = world
        .api
        .get("namespaces/default/apps/shop/history")
        .await
        .expect("a history");
    let reasons: Vec<&str> = history["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["event"]["reason"].as_str().or(item["reason"].as_str()))
        .collect();
    assert_eq!(
        reasons
            .iter()
            .filter(|reason| **reason == "ReleaseMade")
            .count(),
        1,
        "{history}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_leaves_git_is_removed_within_the_budget_and_more_waits() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        world
            .repository
            .write(&format!("apps/shop/{name}.yaml"), &config_map(name, "v1"));
    }
    let commit = world.push("six").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 2).await;

    world.repository.remove("apps/shop/f.yaml");
    let commit = world.push("five").await;
    for cluster in ["one", "two"] {
        world.object(cluster, MAPS, ("shop", "f"), gone).await;
    }
    world.healthy("shop", &commit, 2).await;
    let refused = world
        .act("shop", json!({ "command": "approveRemovals" }))
        .await;
    says(
        &refused.expect_err("nothing waits").message,
        &["no removals of default/shop wait"],
    );

    for name in ["a", "b", "c", "d"] {
        world.repository.remove(&format!("apps/shop/{name}.yaml"));
    }
    world.push("one").await;
    for cluster in ["one", "two"] {
        let waits = |assignment: &Value| {
            assignment["status"]["awaitingApproval"]
                .as_array()
                .map(Vec::len)
                == Some(4)
        };
        world.assignment("shop", cluster, "four wait", waits).await;
        for name in ["a", "b", "c", "d", "e"] {
            assert!(
                find(&world.cluster(cluster), MAPS, ("shop", name)).is_some(),
                "{name}"
            );
        }
    }
    says(
        &world.why("shop", "one").await,
        &["4 removals wait for approval", "ConfigMap shop/a"],
    );
    let said = world
        .act_when_possible("shop", json!({ "command": "approveRemovals" }))
        .await;
    says(&said, &["4 objects"]);
    for cluster in ["one", "two"] {
        for name in ["a", "b", "c", "d"] {
            world.object(cluster, MAPS, ("shop", name), gone).await;
        }
        assert!(find(&world.cluster(cluster), MAPS, ("shop", "e")).is_some());
    }
    // a folder that is emptied removes nothing at all
    world.repository.remove("apps/shop/e.yaml");
    world.push("nothing").await;
    world.app_says("shop", "InputUnreadable").await;
    assert!(find(&world.cluster("one"), MAPS, ("shop", "e")).is_some());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clusters_are_left_by_approval_and_keep_their_objects() {
    let world = three().await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("shop").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 3).await;

    // two clusters at once wait
    world
        .change_app("shop", json!({ "targets": names(&["one"]) }))
        .await;
    let said = world.app_says("shop", "AwaitingApproval").await;
    says(&said, &["2 clusters would be left", "two", "three"]);
    assert_eq!(world.assignments("shop").await.len(), 3);
    world
        .act_when_possible("shop", json!({ "command": "approveLeaving" }))
        .await;
    until("two and three are let go of", || async {
        let left = world.assignments("shop").await;
        (left.len() == 1).then_some(()).ok_or(format!("{left:#?}"))
    })
    .await;
    for cluster in ["two", "three"] {
        let kept = find(&world.cluster(cluster), MAPS, ("shop", "a")).expect("kept");
        assert!(
            k8s_object::annotation(&kept, "roadstead.dev/owner").is_none(),
            "{kept}"
        );
    }
    world.healthy("shop", &commit, 1).await;

    // they come back, and take their objects on again
    world
        .change_app(
            "shop",
            json!({ "targets": names(&["one", "two", "three"]) }),
        )
        .await;
    world.healthy("shop", &commit, 3).await;

    // a drained cluster loses what is ours, but for what was taken over: somebody must approve its first removal
    let drain = |drained: bool| json!({ "spec": { "drained": drained } });
    for cluster in ["one", "three"] {
        let path = format!("clusters/{cluster}");
        world.api.merge(&path, &drain(true)).await.expect("drained");
    }
    world.object("one", MAPS, ("shop", "a"), gone).await;
    let waits = |a: &Value| a["status"]["awaitingApproval"].as_array().map(Vec::len) == Some(1);
    world
        .assignment("shop", "three", "waits for approval", waits)
        .await;
    assert!(find(&world.cluster("three"), MAPS, ("shop", "a")).is_some());
    world
        .act_when_possible("shop", json!({ "command": "approveRemovals" }))
        .await;
    world.object("three", MAPS, ("shop", "a"), gone).await;
    assert!(find(&world.cluster("two"), MAPS, ("shop", "a")).is_some());
    for cluster in ["one", "three"] {
        let path = format!("clusters/{cluster}");
        world
            .api
            .merge(&path, &drain(false))
            .await
            .expect("undrained");
        world.object(cluster, MAPS, ("shop", "a"), has("v1")).await;
    }
    world.healthy("shop", &commit, 3).await;

    // a deleted App keeps its objects; its noun goes when every cluster is let go of
    world
        .api
        .delete("namespaces/default/apps/shop")
        .await
        .expect("deleted");
    world.app_says("shop", "AwaitingApproval").await;
    world
        .act_when_possible("shop", json!({ "command": "approveLeaving" }))
        .await;
    until("the App is gone", || async {
        match world.api.get("namespaces/default/apps/shop").await {
            Err(refused) if refused.code == 404 => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    for cluster in ["one", "two", "three"] {
        let kept = find(&world.cluster(cluster), MAPS, ("shop", "a")).expect("kept");
        assert!(
            k8s_object::annotation(&kept, "roadstead.dev/owner").is_none(),
            "{kept}"
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_release_goes_no_further_and_people_can_undo_pin_and_hold() {
    let mut world = World::start().await;
    world.join("canary", json!({ "ring": "canary" })).await;
    world.join("main", json!({ "ring": "main" })).await;
    let staged = json!({
        "stages": [
            { "name": "canary", "clusters": { "matchLabels": { "ring": "canary" } }, "degradedFor": "1s" },
            { "name": "main", "clusters": { "matchLabels": { "ring": "main" } } },
        ],
        "onFailure": "RollBack",
    });
    world.noun("strategies", "Strategy", "staged", staged).await;
    world.repository.write(
        "apps/shop/web.yaml",
        &deployment("web", "registry.example.com/web:1"),
    );
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let first = world.push("first").await;
    world.app("shop", json!({ "strategy": "staged" })).await;
    world.healthy("shop", &first, 2).await;
    let image = |cluster: &str| {
        let found = find(
            &world.cluster(cluster),
            ("apps", "deployments"),
            ("shop", "web"),
        )
        .expect("there");
        found["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .map(str::to_owned)
    };

    // an image that cannot be pulled stops at the canary, which goes back
    world.repository.write(
        "apps/shop/web.yaml",
        &deployment("web", "registry.example.com/web:missing"),
    );
    let bad = world.push("bad").await;
    until("the bad Release is barred", || async {
        let said = world.why("shop", "").await;
        let barred = said.contains("is barred") && said.contains(&bad[..12]);
        barred.then_some(()).ok_or(said)
    })
    .await;
    let good = |a: &Value| a["status"]["state"] == "Healthy" && a["spec"]["release"] == 1;
    world
        .assignment("shop", "canary", "healthy with release 1", good)
        .await;
    assert_eq!(
        image("canary").as_deref(),
        Some("registry.example.com/web:1")
    );
    let writes = world.assignments("shop").await["main"]["spec"]["release"].clone();
    assert_eq!(writes, 1);

    // a cluster that joins now gets the newest Release that passed, not the barred one
    world.join("late", json!({ "ring": "main" })).await;
    world
        .assignment("shop", "late", "healthy with release 1", good)
        .await;

    // what is mended goes everywhere
    world.repository.write(
        "apps/shop/web.yaml",
        &deployment("web", "registry.example.com/web:2"),
    );
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v3"));
    let third = world.push("third").await;
    world.healthy("shop", &third, 3).await;

    // undo takes every cluster back, and bars the Release
    let undo = json!({ "command": "rollout", "action": { "action": "undo" } });
    world.act_when_possible("shop", undo).await;
    for cluster in ["canary", "main", "late"] {
        world.object(cluster, MAPS, ("shop", "a"), has("v1")).await;
        world
            .assignment("shop", cluster, "healthy with release 1", good)
            .await;
    }
    until("the Release that was undone is barred", || async {
        let said = world.why("shop", "").await;
        said.contains("barred").then_some(()).ok_or(said)
    })
    .await;

    // a pin holds an older Release, whatever is committed
    let releases = world
        .api
        .get("namespaces/default/releases/shop-1")
        .await
        .expect("a Release");
    let id = releases["spec"]["id"].as_str().expect("an id").to_owned();
    world.change_app("shop", json!({ "pin": id })).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v4"));
    let fourth = world.push("fourth").await;
    until("the commit is read", || async {
        let source = world
            .api
            .get("namespaces/default/sources/repo")
            .await
            .expect("a Source");
        (source["status"]["commit"] == fourth.as_str())
            .then_some(())
            .ok_or(source["status"].to_string())
    })
    .await;
    for cluster in ["canary", "main", "late"] {
        world
            .assignment("shop", cluster, "healthy with release 1", good)
            .await;
    }
    world.change_app("shop", json!({ "pin": "" })).await;
    world.healthy("shop", &fourth, 3).await;

    // an assignment on hold is left alone, drift and all
    let hold = json!({ "command": "hold", "cluster": "late", "hold": { "mode": "Sync" } });
    world.act("shop", hold).await.expect("held");
    world
        .assignment("shop", "late", "held", |a| a["status"]["state"] == "Held")
        .await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v5"));
    world.push("fifth").await;
    world.object("canary", MAPS, ("shop", "a"), has("v5")).await;
    world.object("main", MAPS, ("shop", "a"), has("v5")).await;
    assert!(has("v4")(
        find(&world.cluster("late"), MAPS, ("shop", "a")).as_ref()
    ));
    let unhold = json!({ "command": "unhold", "cluster": "late" });
    world.act("shop", unhold).await.expect("unheld");
    world.object("late", MAPS, ("shop", "a"), has("v5")).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_app_waits_for_another_and_takes_objects_over() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world.repository.write(
        "apps/base/web.yaml",
        &deployment("web", "registry.example.com/web:slow"),
    );
    world
        .repository
        .write("apps/top/a.yaml", &config_map("a", "v1"));
    let commit = world.push("both").await;
    world.app("base", json!({})).await;
    world
        .app("top", json!({ "dependsOn": [{ "app": "base" }] }))
        .await;
    let waits = |a: &Value| a["status"]["state"] == "Waiting";
    world.assignment("top", "one", "waits", waits).await;
    world.why_says("top", "one", &["base"]).await;
    assert!(find(&one, MAPS, ("top", "a")).is_none());
    world.healthy("base", &commit, 1).await;
    world.healthy("top", &commit, 1).await;
    assert_eq!(
        condition(&world.get_app("top").await, "Stalled")["status"],
        "False"
    );

    // an App takes objects over from another without a removal
    world.repository.write(
        "apps/old/c.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\n",
    );
    let commit = world.push("old").await;
    world.app("old", json!({ "namespace": "common" })).await;
    world.healthy("old", &commit, 1).await;
    let uid = |found: Option<Value>| k8s_object::uid(&found.expect("there")).to_owned();
    let before = uid(find(&one, MAPS, ("common", "c")));
    world.repository.copy(
        &world.repository.folder.join("apps/old/c.yaml"),
        "apps/new/c.yaml",
    );
    world.repository.remove("apps/old/c.yaml");
    world
        .repository
        .write("apps/old/d.yaml", &config_map("d", "v1"));
    // both are changed by one commit, in whatever order they come
    let takes = json!({ "namespace": "common", "takesOverFrom": ["old"] });
    world.app("new", takes).await;
    world.app_says("new", "InputUnreadable").await;
    let commit = world.push("new").await;
    world.healthy("new", &commit, 1).await;
    world.healthy("old", &commit, 1).await;
    let taken = |found: Option<&Value>| {
        found.is_some_and(|f| {
            k8s_object::annotation(f, "roadstead.dev/owner")
                .is_some_and(|o| o.starts_with("default/new:"))
        })
    };
    let found = world.object("one", MAPS, ("common", "c"), taken).await;
    assert_eq!(uid(found), before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_waits_for_a_cluster_that_is_offline() {
    let mut world = World::start_with(Duration::from_secs(2)).await;
    world.join("here", json!({})).await;
    world.join("away", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("first").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 2).await;

    world.stop_agent("away").await;
    world.offline("away").await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v2"));
    world.push("second").await;
    world.object("here", MAPS, ("shop", "a"), has("v2")).await;
    let rollout = "namespaces/default/rollouts/shop-2";
    let seen = until("the Rollout ends without it", || async {
        let found = world
            .api
            .get(rollout)
            .await
            .map_err(|refused| refused.message)?;
        let ended = found["status"]["phase"] == "Completed";
        ended
            .then_some(found.clone())
            .ok_or(found["status"].to_string())
    })
    .await;
    assert_eq!(seen["status"]["clusters"], 2, "{seen}");
    says(
        &world.why("shop", "away").await,
        &["away has not been heard of since"],
    );
    assert!(has("v1")(
        find(&world.cluster("away"), MAPS, ("shop", "a")).as_ref()
    ));
    // it catches up when it returns
    world.start_agent("away", None);
    world.object("away", MAPS, ("shop", "a"), has("v2")).await;
    world
        .assignment("shop", "away", "healthy", |a| {
            a["status"]["state"] == "Healthy"
        })
        .await;

    // an App can be deleted without it, and it lets go when it returns
    world.stop_agent("away").await;
    world.offline("away").await;
    world
        .api
        .delete("namespaces/default/apps/shop")
        .await
        .expect("deleted");
    world
        .act_when_possible("shop", json!({ "command": "approveLeaving" }))
        .await;
    until("the App is gone", || async {
        match world.api.get("namespaces/default/apps/shop").await {
            Err(refused) if refused.code == 404 => Ok(()),
            found => Err(format!("{found:?}\n{:#?}", world.assignments("shop").await)),
        }
    })
    .await;
    world.start_agent("away", None);
    let free = |found: Option<&Value>| {
        found.is_some_and(|f| k8s_object::annotation(f, "roadstead.dev/owner").is_none())
    };
    world.object("away", MAPS, ("shop", "a"), free).await;
    world.object("here", MAPS, ("shop", "a"), free).await;
    world.end().await;
}
