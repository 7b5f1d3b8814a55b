//! Several agents with one state in a cluster: one acts, and whoever comes after it goes on where it stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base_json::{Value, json};
use k8s_cluster::{
    Call, Cluster, ClusterError, ErrorKind, Propagation, Reply, WatchSpec, WatchStream,
};
use k8s_object::Gvk;
use k8s_playground::Handle;
use roadstead_agent::{
    AgentConfig, AgentError, HubConfig, LeaseTiming, OwnPlace, Surroundings, serve,
};
use roadstead_dispatch::AppState;
use tokio::sync::oneshot;

use crate::hub::{Agent, WEB, app, cluster, config, get, secret, start, web};

const SPACE: &str = "roadstead-agent";
const TIMING: LeaseTiming = LeaseTiming {
    duration: Duration::from_millis(1500),
    trusted: Duration::from_millis(900),
    period: Duration::from_millis(200),
};

/// A cluster that can be cut off for one kind of request.
struct Line {
    cluster: Handle,
    leases_cut: AtomicBool,
    secrets_cut: AtomicBool,
}

#[async_trait::async_trait]
impl Cluster for Line {
    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        let text = format!("{call:?}");
        let cut =
            |flag: &AtomicBool, kind: &str| flag.load(Ordering::SeqCst) && text.contains(kind);
        if cut(&self.leases_cut, "Lease") || cut(&self.secrets_cut, "Secret") {
            return Err(ClusterError::new(ErrorKind::Unavailable, "cut off"));
        }
        self.cluster.call(call).await
    }

    async fn watch(&self, spec: WatchSpec) -> Result<WatchStream, ClusterError> {
        self.cluster.watch(spec).await
    }
}

fn line(cluster: &Handle) -> Arc<Line> {
    Arc::new(Line {
        cluster: cluster.clone(),
        leases_cut: AtomicBool::new(false),
        secrets_cut: AtomicBool::new(false),
    })
}

async fn namespace(cluster: &Handle) {
    let call = Call::Create {
        object: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
            .to_string()
            .into(),
        manager: "test".to_owned(),
    };
    cluster.call(call).await.expect("a namespace");
}

fn replica(line: &Arc<Line>, holder: &str, url: &str, token: Option<String>) -> Agent {
    let config = AgentConfig {
        cluster: Arc::clone(line) as Arc<dyn Cluster>,
        state_dir: "/nowhere".into(),
        hub: HubConfig {
            url: url.to_owned(),
            token,
            ..HubConfig::default()
        },
        name: "one".to_owned(),
        version: "test".to_owned(),
    };
    let surroundings = Surroundings {
        own: Some(OwnPlace {
            cluster: Arc::clone(line) as Arc<dyn Cluster>,
            namespace: SPACE.to_owned(),
            name: "agent".to_owned(),
            holder: holder.to_owned(),
            timing: TIMING,
        }),
        health: None,
        on_behalf: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(config, surroundings, async {
        let _ = stopped.await;
    }));
    Agent { stop, task }
}

async fn leader(cluster: &Handle) -> String {
    let lease = get(
        cluster,
        "coordination.k8s.io/v1",
        "coordination.k8s.io/Lease/roadstead-agent/agent",
    )
    .await;
    lease
        .and_then(|lease| Some(lease["spec"]["holderIdentity"].as_str()?.to_owned()))
        .unwrap_or_default()
}

async fn until(what: &str, within: Duration, mut good: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !good().await {
        assert!(begun.elapsed() < within, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn state(cluster: &Handle) -> Vec<(String, String)> {
    let call = Call::List {
        gvk: Gvk::new("v1", "Secret"),
        labels: "roadstead.dev/agent-state=agent".to_owned(),
        fields: format!("metadata.namespace={SPACE}"),
        limit: 0,
        token: String::new(),
    };
    let Ok(Reply::Page { items, .. }) = cluster.call(call).await else {
        panic!("no list");
    };
    let items = items.iter().map(|item| {
        let object: Value = serde_json::from_slice(item).expect("JSON");
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        (text("/metadata/name"), text("/metadata/resourceVersion"))
    });
    items.collect()
}

async fn remove_web(cluster: &Handle) {
    let call = Call::Delete {
        gvk: Gvk::new("apps/v1", "Deployment"),
        id: WEB.parse().expect("an id"),
        uid: String::new(),
        propagation: Propagation::Background,
    };
    cluster.call(call).await.expect("removed");
}

#[tokio::test]
async fn another_replica_goes_on_where_the_first_stopped() {
    let (hub, url, token) = start().await;
    let cluster = cluster();
    namespace(&cluster).await;
    let (first, second) = (line(&cluster), line(&cluster));
    let a = replica(&first, "a", &url, Some(token.clone()));
    until("a leads", Duration::from_secs(10), async || {
        leader(&cluster).await == "a"
    })
    .await;
    let b = replica(&second, "b", &url, Some(token));
    hub.order(1, &[config("1"), secret(), web("i:1")]);
    let report = hub
        .until("healthy", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!(
        *hub.joined.lock().expect("a lock"),
        1,
        "one identity for both"
    );

    // nothing happens, nothing is written
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let before = state(&cluster).await;
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["agent-content-0", "agent-identity", "agent-records-0"]
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        state(&cluster).await,
        before,
        "a quiet agent writes nothing"
    );

    // the first can renew no longer: it stops before the second begins, which knows all that the first knew
    first.leases_cut.store(true, Ordering::SeqCst);
    until("b leads", Duration::from_secs(10), async || {
        leader(&cluster).await == "b"
    })
    .await;
    remove_web(&cluster).await;
    until("healed", Duration::from_secs(5), async || {
        get(&cluster, "apps/v1", WEB).await.is_some()
    })
    .await;
    let healed = hub
        .until("healed", |now| {
            now.healed == 1 && now.state == AppState::Healthy
        })
        .await;
    assert_eq!(
        healed.writes,
        report.writes + 1,
        "what was right was not written again"
    );
    assert_eq!(*hub.joined.lock().expect("a lock"), 1);

    // the second ends in order: the first need not wait for the lease to end
    first.leases_cut.store(false, Ordering::SeqCst);
    b.stop().await;
    until("a leads again", Duration::from_millis(1200), async || {
        leader(&cluster).await == "a"
    })
    .await;
    hub.order(2, &[config("2"), secret(), web("i:1")]);
    let variant = hub.order.borrow().1[&app()].variant;
    hub.until("delivered", |now| {
        now.variant == variant && now.state == AppState::Healthy
    })
    .await;
    a.stop().await;
    assert_eq!(leader(&cluster).await, "");

    // without the hub, on another node
    let third = line(&cluster);
    let c = replica(&third, "c", "https://127.0.0.1:1", None);
    until("c leads", Duration::from_secs(10), async || {
        leader(&cluster).await == "c"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    remove_web(&cluster).await;
    until("healed", Duration::from_secs(5), async || {
        get(&cluster, "apps/v1", WEB).await.is_some()
    })
    .await;
    c.stop().await;
}

#[tokio::test]
async fn nothing_is_done_that_could_not_be_kept() {
    let (hub, url, token) = start().await;
    let cluster = cluster();
    namespace(&cluster).await;
    let line = line(&cluster);
    let a = replica(&line, "a", &url, Some(token));
    hub.order(1, &[config("1")]);
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    line.secrets_cut.store(true, Ordering::SeqCst);
    hub.order(2, &[config("2")]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let value = async || {
        let object = get(&cluster, "v1", "/ConfigMap/shop/a").await;
        object.expect("there")["data"]["k"]
            .as_str()
            .expect("text")
            .to_owned()
    };
    assert_eq!(value().await, "1");
    line.secrets_cut.store(false, Ordering::SeqCst);
    until("delivered", Duration::from_secs(10), async || {
        value().await == "2"
    })
    .await;
    a.stop().await;
}

#[tokio::test]
async fn an_agent_without_its_lease_kind_waits_and_one_without_a_token_says_so() {
    let (_hub, url, _) = start().await;
    let cluster = cluster();
    namespace(&cluster).await;
    let line = line(&cluster);
    line.leases_cut.store(true, Ordering::SeqCst);
    let a = replica(&line, "a", &url, None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!a.task.is_finished());
    line.leases_cut.store(false, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(5), a.task).await;
    let error = ended
        .expect("it ends")
        .expect("no panic")
        .expect_err("no token");
    assert!(matches!(error, AgentError::NoToken), "{error}");
}
