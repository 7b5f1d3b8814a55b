//! What an operator sees and does: tasks, audit, Events, keys, sealing.

use std::path::Path;

use roadstead_hub::seal::Secret;
use roadstead_hub::{Hub, HubError};
use serde_json::{Value, json};

use crate::world::{World, api_of, config_map, find, items, says, text, until};

const MAPS: (&str, &str) = ("", "configmaps");

fn holds(value: &'static str) -> impl Fn(Option<&Value>) -> bool {
    move |found| found.is_some_and(|found| found["data"]["key"] == value)
}

impl World {
    /// Delivers an App `shop` with one ConfigMap to so many clusters.
    async fn shop(&self, clusters: u32) {
        self.repository
            .write("apps/shop/a.yaml", &config_map("a", "v1"));
        let commit = self.push("first").await;
        self.app("shop", json!({})).await;
        self.healthy("shop", &commit, clusters).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_background_task_shows_what_it_did() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.shop(1).await;
    let list = world.api.get("tasks").await.expect("a list");
    let names: Vec<String> = items(&list)
        .iter()
        .map(|task| text(&task["metadata"]["name"]))
        .collect();
    assert_eq!(
        names,
        [
            "compact-log",
            "decide",
            "expire-events",
            "expire-history",
            "expire-joins",
            "follow-log",
            "keep-join-secrets",
            "poll-sources",
            "probe-store",
            "render",
            "sweep-contents",
            "write-events",
            "write-status",
        ]
    );
    for task in items(&list) {
        assert!(!text(&task["spec"]["does"]).is_empty(), "{task}");
        assert!(!text(&task["spec"]["wokenBy"]).is_empty(), "{task}");
    }
    for (name, said) in [
        ("decide", "looked at"),
        ("render", "of default/shop"),
        ("poll-sources", "default/repo was read"),
        ("write-status", "written"),
        ("follow-log", "revision"),
    ] {
        world
            .shown(&format!("tasks/{name}"), "succeeded", |task| {
                let status = &task["status"];
                status["result"] == "Succeeded"
                    && status["runs"].as_u64() > Some(0)
                    && !text(&status["took"]).is_empty()
                    && text(&status["message"]).contains(said)
            })
            .await;
    }
    // one that failed says why, and how often
    world.source("gone", "file:///nowhere/at-all", "").await;
    world
        .shown("tasks/poll-sources", "has failed", |task| {
            task["status"]["failures"].as_u64() > Some(0)
                && text(&task["status"]["lastFailure"]["message"]).contains("/nowhere/at-all")
        })
        .await;
    // what only has a rhythm runs when it is told to
    for name in [
        "compact-log",
        "expire-events",
        "expire-history",
        "expire-joins",
        "sweep-contents",
    ] {
        let path = format!("tasks/{name}");
        let before = world.api.get(&path).await.expect("a task")["status"]["runs"].as_u64();
        let run = world.api.post(&format!("{path}/run"), &json!({})).await;
        run.expect("it runs");
        world
            .shown(&path, "ran", |task| {
                task["status"]["runs"].as_u64() > before && task["status"]["result"] == "Succeeded"
            })
            .await;
    }
    let refused = world.api.post("tasks/decide/run", &json!({})).await;
    says(
        &refused.expect_err("refused").message,
        &["runs when it has something to do"],
    );
    let refused = world.api.get("tasks/nonsense").await.expect_err("refused");
    assert_eq!(refused.code, 404);
    assert!(world.api.delete("tasks/decide").await.is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_did_what_is_kept_and_no_secret_is_in_it() {
    let mut world = World::start().await;
    let token = world
        .token("one", json!({ "labels": { "ring": "main" } }))
        .await;
    world.playground.add_cluster("one").expect("a cluster");
    world.start_agent("one", Some(token.clone()));
    world
        .shown("clusters/one", "is connected", |c| {
            c["status"]["connection"] == "Connected"
        })
        .await;
    world.shop(1).await;
    world
        .act(
            "shop",
            json!({ "command": "hold", "cluster": "one", "hold": { "mode": "Sync" } }),
        )
        .await
        .expect("held");
    let refused = world
        .act(
            "shop",
            json!({ "command": "start", "release": "9", "clusters": ["one"] }),
        )
        .await;
    assert!(refused.is_err());
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git" },
        "stringData": { "password": "hunter2-hunter2" } });
    let path = "/api/v1/namespaces/default/secrets";
    world.api.post(path, &secret).await.expect("a Secret");
    let eve = api_of(world.hub(), "eve", &[]);
    for _ in 0..2 {
        let refused = eve.delete("namespaces/default/apps/shop").await;
        assert_eq!(refused.expect_err("refused").code, 403);
    }
    assert_eq!(eve.get(path).await.expect_err("refused").code, 403);
    world
        .api
        .post("clusters/one/revoke", &json!({ "reason": "it was stolen" }))
        .await
        .expect("revoked");

    let list = world.api.get("auditrecords").await.expect("a list");
    let all = items(&list);
    let find = |verb: &str, what: &str| {
        let found = all.iter().find(|entry| {
            entry["spec"]["verb"] == verb && text(&entry["spec"]["what"]).starts_with(what)
        });
        let found = found.unwrap_or_else(|| panic!("no {verb} of {what} in {all:#?}"));
        found["spec"].clone()
    };
    let entry = find("makeToken", "clusters one");
    says(&text(&entry["message"]), &["for 1 use, until"]);
    let entry = find("join", "clusters one");
    says(&text(&entry["actor"]), &["token "]);
    assert_eq!(entry["result"], "Done");
    let entry = find("hold", "apps default/shop on one");
    assert_eq!(
        (&entry["actor"], &entry["reason"], &entry["result"]),
        (&json!("ada"), &json!("a test wants it"), &json!("Done"))
    );
    says(&text(&entry["message"]), &["is left alone"]);
    let entry = find("start", "apps default/shop on one");
    assert_eq!(entry["result"], "Refused");
    assert_eq!(find("create", "secrets default/git")["result"], "Done");
    assert_eq!(find("list", "secrets default")["result"], "Forbidden");
    assert_eq!(find("create", "apps default/shop")["from"], "127.0.0.1");
    let entry = find("delete", "apps default/shop");
    assert_eq!(
        (&entry["actor"], &entry["result"]),
        (&json!("eve"), &json!("Forbidden"))
    );
    let entry = find("revoke", "clusters one");
    assert_eq!(entry["reason"], "it was stolen");
    says(&text(&entry["message"]), &["certificate "]);
    // what the hub writes itself, and what somebody merely read, is no such entry
    assert!(!all.iter().any(|entry| entry["spec"]["verb"] == "get"));

    // the newest comes first, page by page, and each stands once
    let mut seen = Vec::new();
    let mut token_of_page = String::new();
    loop {
        let path = format!("auditrecords?limit=3&continue={token_of_page}");
        let page = world.api.get(&path).await.expect("a page");
        seen.extend(items(&page));
        if let Some(left) = page["metadata"]["remainingItemCount"].as_u64() {
            assert_eq!(left as usize + seen.len(), all.len());
        }
        token_of_page = text(&page["metadata"]["continue"]);
        if token_of_page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, all);
    let path = "auditrecords?fieldSelector=spec.actor%3Deve";
    let of_eve = items(&world.api.get(path).await.expect("a list"));
    assert_eq!(of_eve.len(), 3);
    let name = text(&of_eve[0]["metadata"]["name"]);
    let one = world.api.get(&format!("auditrecords/{name}")).await;
    assert_eq!(one.expect("an entry"), of_eve[0]);
    assert!(
        world
            .api
            .delete(&format!("auditrecords/{name}"))
            .await
            .is_err()
    );
    assert_eq!(
        eve.get("auditrecords").await.expect_err("refused").code,
        403
    );

    // it is there after a restart, and holds no secret
    let address = world.hub().address();
    world.stop_hub().await;
    world.start_hub(address).await;
    let kept = world.stored(roadstead_control::keys::AUDIT);
    assert!(kept.len() >= all.len());
    let whole = token.split('.').next_back().expect("a part").to_owned();
    for (key, value) in kept {
        for secret in ["hunter2", &token, &whole, "PRIVATE KEY"] {
            assert!(!value.contains(secret), "{key}: {value}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_happens_is_told_as_events_on_the_nouns() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.shop(1).await;
    let app = world.get_app("shop").await;
    let events = async |kind: &str, name: &str, reason: &str, good: &dyn Fn(&Value) -> bool| {
        // as kubectl describe asks
        let selector = format!("involvedObject.kind%3D{kind},involvedObject.name%3D{name}");
        let path = format!("/api/v1/namespaces/default/events?fieldSelector={selector}");
        until(&format!("{kind} {name} has the Event {reason}"), || async {
            let list = world.api.get(&path).await.expect("a list");
            let found = items(&list)
                .into_iter()
                .find(|event| event["reason"] == reason && good(event));
            found.ok_or(list.to_string())
        })
        .await
    };
    let event = events("App", "shop", "ReleaseMade", &|_| true).await;
    assert_eq!(event["involvedObject"]["uid"], app["metadata"]["uid"]);
    assert_eq!(
        event["involvedObject"]["apiVersion"],
        "roadstead.dev/v1alpha1"
    );
    assert_eq!(event["type"], "Normal");
    let event = events("Rollout", "shop-1", "RolloutMade", &|_| true).await;
    assert_eq!(event["involvedObject"]["namespace"], "default");
    events("Cluster", "one", "Joined", &|_| true).await;
    world.source("gone", "file:///nowhere/at-all", "").await;
    let event = events("Source", "gone", "ReadFailed", &|_| true).await;
    assert_eq!(event["type"], "Warning");
    says(&text(&event["message"]), &["/nowhere/at-all"]);
    // the same again is counted, not told twice
    world
        .api
        .post("namespaces/default/sources/gone/poll", &json!({}))
        .await
        .expect("polled");
    let event = events("Source", "gone", "ReadFailed", &|event| {
        event["count"].as_u64() > Some(1)
    })
    .await;
    assert_ne!(event["firstTimestamp"], Value::Null);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_order_key_is_taken_by_who_is_there_and_by_who_comes_later() {
    let mut world = World::start().await;
    world.join("here", json!({})).await;
    world.join("away", json!({})).await;
    world.shop(2).await;
    world.stop_agent("away").await;
    let keys_of = |world: &World, name: &str| {
        let file = world.state_dir(name).join("identity").join("keys.json");
        let text = std::fs::read_to_string(file).expect("the agent's keys");
        let keys: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        keys.len()
    };
    let before = text(&world.api.get("hubs/hub").await.expect("the hub")["status"]["orderKey"]);
    let done = world.api.post("hubs/hub/rotate-key", &json!({})).await;
    let key = text(&done.expect("rotated")["key"]);
    assert_ne!(key, before);
    let shown = world.api.get("hubs/hub").await.expect("the hub");
    assert_eq!(shown["status"]["orderKey"], json!(key));
    assert_eq!(shown["status"]["trustedKeys"], json!([before, key]));
    // who is there takes it without waiting for an order
    until("the agent that is connected has both keys", || async {
        match keys_of(&world, "here") {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(keys_of(&world, "away"), 1);
    // a second one while it is away: it must believe the one by the other
    world
        .api
        .post("hubs/hub/rotate-key", &json!({}))
        .await
        .expect("rotated");
    let address = world.hub().address();
    world.stop_hub().await;
    world.start_hub(address).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v2"));
    let commit = world.push("second").await;
    world.object("here", MAPS, ("shop", "a"), holds("v2")).await;
    world.start_agent("away", None);
    world.healthy("shop", &commit, 2).await;
    assert!(holds("v2")(
        find(&world.cluster("away"), MAPS, ("shop", "a")).as_ref()
    ));
    assert_eq!(keys_of(&world, "away"), 3);
    // a new agent gets all of them with its identity
    world.join("late", json!({})).await;
    world.healthy("shop", &commit, 3).await;
    world.end().await;
}

fn on_disk(data: &Path, part: &str) -> bool {
    ["hub.db", "hub.db-wal"].iter().any(|name| {
        let bytes = std::fs::read(data.join(name)).unwrap_or_default();
        bytes
            .windows(part.len())
            .any(|window| window == part.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_and_secrets_are_sealed_on_the_disk_from_the_moment_that_a_key_is_given() {
    let mut world = World::start().await;
    let data = world.config.data.clone();
    world.join("one", json!({})).await;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git" },
        "stringData": { "token": "hunter2-hunter2" } });
    let path = "/api/v1/namespaces/default/secrets";
    world.api.post(path, &secret).await.expect("a Secret");
    world.shop(1).await;
    let encoded = "aHVudGVyMi1odW50ZXIy";
    assert!(on_disk(&data, "PRIVATE KEY"));
    assert!(on_disk(&data, encoded));
    let address = world.hub().address();
    world.stop_hub().await;
    world.config.seal = Some(Secret::new(b"correct horse battery staple").expect("long enough"));
    world.start_hub(address).await;
    for part in ["PRIVATE KEY", encoded] {
        assert!(!on_disk(&data, part), "{part} is on the disk");
    }
    let shown = world.api.get("hubs/hub").await.expect("the hub");
    assert_eq!(shown["status"]["sealed"], true);
    // everything works as before, and what is written now is sealed too
    let read = world
        .api
        .get(&format!("{path}/git"))
        .await
        .expect("a Secret");
    assert_eq!(read["data"]["token"], encoded);
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" },
        "stringData": { "token": "hunter3-hunter3" } });
    world.api.post(path, &other).await.expect("a Secret");
    assert!(!on_disk(&data, "aHVudGVyMy1odW50ZXIz"));
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v2"));
    let commit = world.push("second").await;
    world.healthy("shop", &commit, 1).await;
    world.stop_hub().await;

    let start = async |seal: Option<Secret>| {
        let mut config = world.config.clone();
        config.seal = seal;
        until("the store is free", || async {
            match Hub::start(config.clone()).await {
                Ok(_) => panic!("it starts"),
                Err(HubError::Open(error)) => Err(error.to_string()),
                Err(error) => Ok(error),
            }
        })
        .await
    };
    let told = start(None).await.to_string();
    says(&told, &["sealed", "--seal-key-file"]);
    let wrong = Secret::new(b"another horse altogether").expect("long enough");
    match start(Some(wrong)).await {
        HubError::Unseal(why) => says(&why.to_string(), &["another secret"]),
        other => panic!("{other}"),
    }
    world.start_hub(address).await;
    world.api.get("clusters/one").await.expect("it is known");
    world.end().await;
}
