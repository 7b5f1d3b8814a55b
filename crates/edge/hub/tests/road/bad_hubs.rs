//! What goes wrong between hub, agents and the store's file.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use base_store::{At, Range, Store as _};
use roadstead_agent::{AgentError, Identity, StateDir};
use roadstead_control::keys;
use roadstead_hub::{Hub, HubError};
use roadstead_rollout::Assignment;
use roadstead_wire::{
    AgentClient, ClientIdentity, Content, Endpoint, Hello, HubTrust, Want, WireError,
};
use serde_json::{Value, json};

use crate::api::Api;
use crate::world::{PATIENCE, World, condition, config_map, find, hub_config, says, until};

const MAPS: (&str, &str) = ("", "configmaps");

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl World {
    /// Lets an agent of its own folder try to join; returns what it is told.
    async fn join_refused(&self, name: &str, token: String) -> String {
        let handle = self.cluster("one");
        let config = roadstead_agent::AgentConfig {
            name: name.to_owned(),
            ..self.agent_config(&format!("tries-{name}"), &handle, Some(token))
        };
        let ended = roadstead_agent::run(config, std::future::pending());
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("an end");
        told(&ended.expect_err("it is refused"))
    }

    /// The identity of a cluster's agent.
    fn identity(&self, cluster: &str) -> Identity {
        // the folder itself is locked by the agent that runs
        let copy = tempfile::tempdir().expect("a folder");
        let (from, to) = (self.state_dir(cluster), copy.path().join("identity"));
        std::fs::create_dir(&to).expect("a folder");
        for entry in std::fs::read_dir(from.join("identity")).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
        let state = StateDir::open(copy.path()).expect("a state folder");
        state.identity().expect("read").expect("an identity")
    }

    /// The way to the hub with a cluster's own certificate.
    fn endpoint(&self, cluster: &str) -> (Endpoint, roadstead_model::ClusterId) {
        let identity = self.identity(cluster);
        let own = ClientIdentity {
            certificate_pem: identity.certificate_pem,
            key_pem: identity.key_pem,
        };
        let trust = HubTrust::Ca(identity.ca_pem);
        (
            Endpoint::new(&self.hub().url(), trust, Some(own)),
            identity.cluster,
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_join_token_that_is_no_good_says_why() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    let expired = world.token("late", json!({ "minutes": 0 })).await;
    says(
        &world.join_refused("late", expired).await,
        &["expired at", "make a new one"],
    );

    let used = world.token("twice-*", json!({})).await;
    world.playground.add_cluster("twice-1").expect("a cluster");
    let first = world.agent_config("twice-1", &world.cluster("twice-1"), Some(used.clone()));
    let first = tokio::spawn(roadstead_agent::run(first, std::future::pending()));
    until("twice-1 joined", || async {
        let found = world.api.get("clusters/twice-1").await;
        found.map(|_| ()).map_err(|refused| refused.message)
    })
    .await;
    says(
        &world.join_refused("twice-2", used).await,
        &["is used up", "make a new one"],
    );
    first.abort();

    // a token for any name does not take a name that is taken
    let any = world.token("o*", json!({})).await;
    says(
        &world.join_refused("one", any).await,
        &["there is a cluster \"one\" already", "cluster join one"],
    );

    let named = world.token("three", json!({})).await;
    says(
        &world.join_refused("four", named.clone()).await,
        &["does not allow the name \"four\"", "three"],
    );
    let changed = named.replacen('.', ".x", 2);
    let said = world.join_refused("three", changed).await;
    assert!(said.contains("join token"), "{said}");
    let none = world.agent_config("tokenless", &world.cluster("one"), None);
    let none = roadstead_agent::run(none, std::future::pending()).await;
    assert!(matches!(none, Err(AgentError::NoToken)), "{none:?}");
    // none of this made a cluster
    for name in ["late", "twice-2", "three", "four"] {
        let found = world.api.get(&format!("clusters/{name}")).await;
        assert_eq!(found.expect_err(name).code, 404);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoked_agent_is_shut_out_and_its_workloads_stay() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("first").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 2).await;

    let (endpoint, cluster) = world.endpoint("one");
    let mut open = AgentClient::connect(&endpoint).await.expect("a connection");
    world
        .api
        .post("clusters/one/revoke", &json!({}))
        .await
        .expect("revoked");
    until("the live connection is ended", || async {
        open.is_gone().then_some(()).ok_or("open".to_owned())
    })
    .await;
    let refused = open
        .session(Hello::new(cluster, "test", None, Default::default()))
        .await;
    assert!(refused.is_err());
    let refused = AgentClient::connect(&endpoint).await;
    says(
        &told(&refused.expect_err("refused")),
        &["certificate", "revoked"],
    );
    until("one is shown as gone", || async {
        let shown = world.api.get("clusters/one").await.expect("a Cluster");
        let ready = condition(&shown, "Ready");
        (ready["status"] == "False")
            .then_some(())
            .ok_or(ready.to_string())
    })
    .await;
    // the other goes on, the revoked one keeps what it has
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v2"));
    world.push("second").await;
    let is = |value: &'static str| {
        move |found: Option<&Value>| found.is_some_and(|f| f["data"]["key"] == value)
    };
    world.object("two", MAPS, ("shop", "a"), is("v2")).await;
    assert!(is("v1")(find(&one, MAPS, ("shop", "a")).as_ref()));

    // a token that is made for this cluster lets a new agent in
    world.stop_agent("one").await;
    std::fs::remove_dir_all(world.state_dir("one")).expect("removed");
    let token = world.token("one", json!({})).await;
    world.start_agent("one", Some(token));
    world.object("one", MAPS, ("shop", "a"), is("v2")).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_agent_gets_nothing_of_another_cluster() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    world
        .repository
        .write("apps/secretive/a.yaml", &config_map("a", "for two only"));
    let commit = world.push("first").await;
    let target = json!([{ "name": "two", "clusters": { "names": ["two"] } }]);
    world.app("secretive", json!({ "targets": target })).await;
    world.healthy("secretive", &commit, 1).await;

    let range = Range {
        prefix: keys::ASSIGNED.to_owned(),
        after: None,
        limit: 0,
        at: At::Newest,
    };
    let page = world.hub().store().range(&range).expect("a page");
    assert_eq!(page.entries.len(), 1);
    let assignment: Assignment = serde_json::from_slice(&page.entries[0].value).expect("JSON");
    let wants = [Want::whole(assignment.variant)];

    let (own, two) = world.endpoint("two");
    let mut client = AgentClient::connect(&own).await.expect("a connection");
    let mut stream = client.fetch(&wants).await.expect("a stream");
    let fetched = stream.next().await.expect("an answer").expect("a content");
    assert!(matches!(fetched.content, Content::Whole(_)), "{fetched:?}");

    let (other, _) = world.endpoint("one");
    let mut client = AgentClient::connect(&other).await.expect("a connection");
    let mut stream = client.fetch(&wants).await.expect("a stream");
    let fetched = stream.next().await.expect("an answer").expect("a content");
    match fetched.content {
        Content::Refused(why) => says(&why, &["not assigned to this cluster"]),
        content => panic!("{content:?}"),
    }
    // nor does it get in under the other's name
    let refused = client
        .session(Hello::new(two, "test", None, Default::default()))
        .await;
    match refused {
        Err(error @ (WireError::Refused { .. } | WireError::Ended { .. })) => {
            says(&told(&error), &["cluster"]);
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it got in"),
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_agent_that_sends_garbage_hurts_itself_alone() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    let identity = world.identity("one");
    let access = roadstead_hub::Kubeconfig {
        server: world.hub().url(),
        ca_pem: identity.ca_pem,
        certificate_pem: identity.certificate_pem,
        key_pem: identity.key_pem,
    };
    // with an agent's certificate there is nothing but its own session
    let agent = Api::new(world.hub().address(), &access);
    let refused = agent.get("clusters").await.expect_err("refused");
    assert_eq!(refused.code, 403);
    says(
        &refused.message,
        &["an agent's certificate opens nothing here but its own session"],
    );
    let mut seed = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let beginnings: [Vec<u8>; 4] = [
        Vec::new(),
        preface.clone(),
        // a frame of the greatest length that there is, and a header block that never ends
        [preface, vec![0xff, 0xff, 0xff, 1, 4, 0, 0, 0, 1]].concat(),
        b"POST /roadstead.v1.Agent/Session HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
            .to_vec(),
    ];
    for _ in 0..10 {
        for beginning in &beginnings {
            let bytes = [beginning.as_slice(), &noise(64 << 10)].concat();
            let ended = agent.send_raw(&bytes);
            let ended = tokio::time::timeout(PATIENCE, ended).await;
            ended.expect("the hub ends the connection, or answers");
        }
    }
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("meanwhile").await;
    world.app("shop", json!({})).await;
    // both real agents go on: what came under the certificate of one was no session
    world.healthy("shop", &commit, 2).await;
    world.end().await;
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("a file");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(bytes).expect("written");
}

async fn refused(data: &Path) -> String {
    match Hub::start(hub_config(data.to_owned())).await {
        Ok(_) => panic!("it starts"),
        Err(error @ HubError::Open(_)) => told(&error),
        Err(error) => panic!("{}", told(&error)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_cannot_be_used_says_why_and_stays_as_it_is() {
    let mut world = World::start().await;
    let data = world.folder.path().join("hub");
    says(
        &refused(&data).await,
        &[
            "hub.db is in use by roadstead hub (process ",
            "stop it first",
        ],
    );
    // and the first is not disturbed
    world.join("one", json!({})).await;
    let address = world.hub().address();
    world.stop_agent("one").await;
    let backup = world.folder.path().join("backup.db");
    world
        .hub()
        .store()
        .backup(&backup, |_| {})
        .expect("a backup");
    world.stop_hub().await;
    let file = data.join("hub.db");
    until("the store is closed", || async {
        match roadstead_store_sqlite::SqliteStore::open(
            &file,
            roadstead_store_sqlite::Options::default(),
        ) {
            Ok(_) => Ok(()),
            Err(error) => Err(told(&error)),
        }
    })
    .await;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("hub.db{suffix}")));
    }
    let good = std::fs::read(&backup).expect("a file");

    std::fs::write(&file, &good).expect("written");
    overwrite(&file, 0, b"this is no database at all");
    let said = refused(&data).await;
    says(&said, &["hub.db"]);
    assert!(
        said.contains("damaged") || said.contains("another program"),
        "{said}"
    );

    // the version stands at byte 60 of the header
    std::fs::write(&file, &good).expect("written");
    overwrite(&file, 60, &999_u32.to_be_bytes());
    let before = std::fs::read(&file).expect("a file");
    says(&refused(&data).await, &["hub.db", "999", "newer Roadstead"]);
    assert_eq!(before, std::fs::read(&file).expect("a file"));

    std::fs::write(&file, &good).expect("written");
    world.start_hub(address).await;
    world
        .api
        .get("clusters/one")
        .await
        .expect("it is known still");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_backup_removes_nothing_and_is_obeyed() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("first").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 2).await;
    let backup = world.folder.path().join("backup.db");
    world
        .hub()
        .store()
        .backup(&backup, |_| {})
        .expect("a backup");

    world
        .repository
        .write("apps/shop/b.yaml", &config_map("b", "v2"));
    let commit = world.push("after the backup").await;
    world.healthy("shop", &commit, 2).await;
    let uid = k8s_object::uid(&find(&one, MAPS, ("shop", "b")).expect("there")).to_owned();
    let (address, epoch) = (world.hub().address(), world.hub().store().epoch());
    world.stop_hub().await;
    let file = world.folder.path().join("hub").join("hub.db");
    until("restored", || async {
        let restored = roadstead_store_sqlite::restore(&backup, &file, 0);
        restored.map(|_| ()).map_err(|error| told(&error))
    })
    .await;
    world.start_hub(address).await;
    assert_eq!(world.hub().store().epoch(), epoch + 1);
    world.healthy("shop", &commit, 2).await;
    for cluster in ["one", "two"] {
        let found = find(&world.cluster(cluster), MAPS, ("shop", "b")).expect("still there");
        if cluster == "one" {
            assert_eq!(
                k8s_object::uid(&found),
                uid,
                "it was removed and made again"
            );
        }
    }
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v3"));
    let commit = world.push("after the restore").await;
    world.healthy("shop", &commit, 2).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hub_that_starts_again_does_nothing_twice() {
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("first").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 1).await;
    let changes = one.counters().all_writes().changes;
    let address = world.hub().address();
    world.stop_hub().await;
    // healing needs no hub
    let registry = one.registry();
    let def = registry.resource("", "configmaps").expect("a resource");
    registry
        .delete(&def, "shop", "a", &k8s_apiserver::DeleteOptions::default())
        .expect("deleted");
    one.touch();
    world
        .object("one", MAPS, ("shop", "a"), |found| found.is_some())
        .await;
    world.start_hub(address).await;
    world
        .repository
        .write("apps/shop/b.yaml", &config_map("b", "v1"));
    let commit = world.push("second").await;
    world.healthy("shop", &commit, 1).await;
    // one healed, one new: nothing else was written
    assert_eq!(one.counters().all_writes().changes, changes + 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rollout_goes_on_where_the_hub_stopped() {
    let mut world = World::start().await;
    world.join("canary", json!({ "ring": "canary" })).await;
    world.join("main", json!({ "ring": "main" })).await;
    let staged = json!({ "stages": [
        { "name": "canary", "clusters": { "matchLabels": { "ring": "canary" } }, "soak": "3s" },
        { "name": "main", "clusters": { "matchLabels": { "ring": "main" } } },
    ] });
    world.noun("strategies", "Strategy", "staged", staged).await;
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: { roadstead.dev/hook: PreSync }\n\
        spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: main\n          image: registry.example.com/m:1\n";
    world.repository.write("apps/shop/migrate.yaml", job);
    let web = crate::world::deployment("web", "registry.example.com/web:1");
    world.repository.write("apps/shop/web.yaml", &web);
    let commit = world.push("first").await;
    world.app("shop", json!({ "strategy": "staged" })).await;
    let deployments = ("apps", "deployments");
    world
        .object("canary", deployments, ("shop", "web"), |found| {
            found.is_some()
        })
        .await;
    let uid = |cluster: &str| {
        let found = find(
            &world.cluster(cluster),
            ("batch", "jobs"),
            ("shop", "migrate"),
        );
        found.map(|found| k8s_object::uid(&found).to_owned())
    };
    let (before, none) = (uid("canary"), uid("main"));
    assert!(before.is_some() && none.is_none());
    let address = world.hub().address();
    world.stop_hub().await;
    assert!(find(&world.cluster("main"), deployments, ("shop", "web")).is_none());
    world.start_hub(address).await;
    world.healthy("shop", &commit, 2).await;
    let uid = |cluster: &str| {
        let found = find(
            &world.cluster(cluster),
            ("batch", "jobs"),
            ("shop", "migrate"),
        );
        found.map(|found| k8s_object::uid(&found).to_owned())
    };
    // the hook ran once on each
    assert_eq!(uid("canary"), before);
    assert!(uid("main").is_some());
    let rollouts = world
        .api
        .get("namespaces/default/rollouts")
        .await
        .expect("a list");
    assert_eq!(rollouts["items"].as_array().map(Vec::len), Some(1));
    world.end().await;
}
