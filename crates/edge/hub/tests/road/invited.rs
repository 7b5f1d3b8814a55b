//! Clusters that are made first, and join with the token that waits in a Secret.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::Refused;
use crate::world::{World, items, says, until};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn token_of(secret: &Value) -> String {
    let text = secret["data"]["token"].as_str().expect("a token");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8(bytes.expect("base64")).expect("text")
}

impl World {
    async fn made_first(&self, name: &str, spec: Value) -> Result<Value, Refused> {
        let noun = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "Cluster",
            "metadata": { "name": name }, "spec": spec,
        });
        self.api.post("clusters", &noun).await
    }

    async fn secret(&self, name: &str) -> Value {
        self.shown(&format!("{SECRETS}/{name}"), "is there", |_| true)
            .await
    }

    async fn secret_goes(&self, name: &str) {
        until(&format!("Secret {name} is removed"), || async {
            match self.api.get(&format!("{SECRETS}/{name}")).await {
                Ok(found) => Err(found.to_string()),
                Err(refused) if refused.code == 404 => Ok(()),
                Err(refused) => Err(refused.message),
            }
        })
        .await;
    }

    async fn connected(&self, name: &str) {
        let path = format!("clusters/{name}");
        self.shown(&path, "connected", |cluster| {
            cluster["status"]["connection"] == "Connected"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_is_made_first_joins_with_the_token_of_its_secret() {
    let mut world = World::start().await;
    let spec = json!({ "values": { "zone": "a" }, "joinSecret": { "name": "one-join" } });
    world.made_first("one", spec).await.expect("a Cluster");
    let secret = world.secret("one-join").await;
    assert_eq!(secret["metadata"]["labels"]["roadstead.dev/joins"], "one");
    let token = token_of(&secret);

    world.playground.add_cluster("one").expect("a cluster");
    world.start_agent("one", Some(token.clone()));
    world.connected("one").await;
    world.secret_goes("one-join").await;
    let cluster = world.api.get("clusters/one").await.expect("a cluster");
    assert_eq!(cluster["spec"]["values"]["zone"], "a");

    // who was shut out may be asked in again, by another token
    world.stop_agent("one").await;
    world
        .api
        .post("clusters/one/revoke", &json!({}))
        .await
        .expect("revoked");
    let again = token_of(&world.secret("one-join").await);
    assert_ne!(again, token);
    world.start_agent("one", Some(again));
    world.connected("one").await;
    world.secret_goes("one-join").await;

    let audit = world.api.get("auditrecords").await.expect("a list");
    let made = items(&audit)
        .into_iter()
        .filter(|entry| entry.to_string().contains("in Secret default/one-join"));
    assert_eq!(made.count(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_of_somebody_else_is_left_alone_and_one_that_nobody_waits_for_goes() {
    let world = World::start().await;
    let git = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git" },
        "data": { "token": "c2VjcmV0" },
    });
    world.api.post(SECRETS, &git).await.expect("a Secret");
    let spec = json!({ "joinSecret": { "name": "git" } });
    world.made_first("two", spec).await.expect("a Cluster");
    until("the Event", || async {
        let events = world.api.get("/api/v1/events").await;
        let events = events.map_err(|refused| refused.message)?;
        let said = items(&events)
            .into_iter()
            .find(|event| event["reason"] == "JoinSecretFailed");
        said.ok_or_else(|| events.to_string())
    })
    .await;
    let kept = world.secret("git").await;
    assert_eq!(kept["data"], git["data"]);

    // another name mends it, and the Secret goes with its Cluster
    let path = "clusters/two";
    let other = json!({ "spec": { "joinSecret": { "name": "two-join" } } });
    world.api.merge(path, &other).await.expect("changed");
    world.secret("two-join").await;
    world.api.delete(path).await.expect("deleted");
    world.secret_goes("two-join").await;
    world.secret("git").await;

    let bad = json!({ "joinSecret": { "name": "Two/Join" } });
    let refused = world.made_first("three", bad).await;
    let refused = refused.expect_err("no name");
    says(&refused.message, &["spec.joinSecret.name", "is no name"]);
    world.end().await;
}
