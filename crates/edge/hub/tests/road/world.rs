//! A hub, a repository, simulated clusters and their agents, all of one test.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_apiserver::{Clock, Timer, WriteOptions};
use k8s_playground::{Config, Handle, Playground};
use roadstead_agent::{AgentConfig, AgentError};
use roadstead_hub::{Hub, HubConfig, HubError};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api::{Api, Refused};
use crate::repository::Repository;

/// How long anything may take. Machines that run tests are slow at times; nothing here waits longer than it must.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) hub: Option<Hub>,
    pub(crate) api: Api,
    pub(crate) repository: Repository,
    pub(crate) playground: Playground,
    pub(crate) config: HubConfig,
    agents: BTreeMap<String, Agent>,
}

struct Agent {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    fn start(config: AgentConfig) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(roadstead_agent::run(config, async {
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("an end").expect("no panic").ok();
    }
}

pub(crate) fn hub_config(data: PathBuf) -> HubConfig {
    HubConfig {
        data,
        listen: "127.0.0.1:0".parse().expect("an address"),
        names: vec!["127.0.0.1".to_owned()],
        offline_after: Duration::from_secs(90),
        offline_grace: Duration::from_secs(3600),
        beat: Duration::from_secs(20),
        webhook_secret: None,
        seal: None,
        audit_keep: Duration::from_secs(3600),
    }
}

/// Waits until `look` gives an answer; says what it saw last if it never does.
pub(crate) async fn until<T, F, R>(what: &str, mut look: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > PATIENCE => panic!("never {what}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(60)).await,
        }
    }
}

impl World {
    /// Starts a hub with a Source `repo`, and a Strategy that starts every cluster at once.
    pub(crate) async fn start() -> Self {
        Self::start_with(Duration::from_secs(90)).await
    }

    /// The same; a cluster counts as offline after this long.
    pub(crate) async fn start_with(offline_after: Duration) -> Self {
        Self::start_as(|config| config.offline_after = offline_after).await
    }

    /// The same, with a hub that is set up otherwise.
    pub(crate) async fn start_as(change: impl FnOnce(&mut HubConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Repository::make(&folder.path().join("repository"));
        let mut config = hub_config(folder.path().join("hub"));
        change(&mut config);
        let hub = Hub::start(config.clone()).await.expect("a hub");
        let api = admin(&hub);
        let clock: Arc<dyn Clock> = Arc::new(jiff::Timestamp::now);
        let timer: Arc<dyn Timer> = Arc::new(|duration: Duration| -> k8s_apiserver::Sleep {
            Box::pin(tokio::time::sleep(duration))
        });
        let playground = Playground::new(Config::default(), clock, timer).expect("a playground");
        tokio::spawn(drive(playground.clone()));
        let world = Self {
            folder,
            hub: Some(hub),
            api,
            repository,
            playground,
            config,
            agents: BTreeMap::new(),
        };
        world.source("repo", &world.repository.url(), "").await;
        let strategy =
            json!({ "stages": [{ "name": "all", "degradedFor": "1s", "maxSetAside": "100%" }] });
        world
            .noun("strategies", "Strategy", "at-once", strategy)
            .await;
        world
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("a hub that runs")
    }

    /// Ends the hub; agents and clusters go on.
    pub(crate) async fn stop_hub(&mut self) {
        self.hub.take().expect("a hub that runs").stop().await;
    }

    /// Starts the hub again, at the address that its agents know.
    pub(crate) async fn start_hub(&mut self, address: std::net::SocketAddr) {
        let start = Instant::now();
        let hub = loop {
            let config = HubConfig {
                listen: address,
                ..self.config.clone()
            };
            match Hub::start(config).await {
                Ok(hub) => break hub,
                // the store closes when the last who asks it has gone
                Err(HubError::Open(_) | HubError::Listen { .. }) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        self.api = admin(&hub);
        self.hub = Some(hub);
    }

    pub(crate) async fn noun(&self, plural: &str, kind: &str, name: &str, spec: Value) -> Value {
        match self.try_noun(plural, kind, name, spec).await {
            Ok(made) => made,
            Err(refused) => panic!("{kind} {name}: {refused:?}"),
        }
    }

    pub(crate) async fn try_noun(
        &self,
        plural: &str,
        kind: &str,
        name: &str,
        spec: Value,
    ) -> Result<Value, Refused> {
        let noun = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": kind,
            "metadata": { "name": name, "namespace": "default" }, "spec": spec,
        });
        let path = format!("namespaces/default/{plural}?fieldValidation=Strict");
        self.api.post(&path, &noun).await
    }

    pub(crate) async fn source(&self, name: &str, url: &str, branch: &str) {
        let spec = json!({ "git": { "url": url, "branch": branch } });
        self.noun("sources", "Source", name, spec).await;
    }

    /// Makes an App that delivers `apps/NAME` into the namespace NAME of every cluster; `more` adds to its spec.
    pub(crate) async fn app(&self, name: &str, more: Value) {
        let made = self
            .try_noun("apps", "App", name, app_spec(name, more))
            .await;
        made.unwrap_or_else(|refused| panic!("App {name}: {refused:?}"));
    }

    pub(crate) async fn change_app(&self, name: &str, spec: Value) {
        let path = format!("namespaces/default/apps/{name}");
        let done = self.api.merge(&path, &json!({ "spec": spec })).await;
        done.unwrap_or_else(|refused| panic!("App {name}: {refused:?}"));
    }

    /// Tells the hub to poll now.
    pub(crate) async fn poll(&self) {
        let path = "namespaces/default/sources/repo/poll";
        self.api.post(path, &json!({})).await.expect("a poll");
    }

    /// Commits what was written, and has it polled.
    pub(crate) async fn push(&self, message: &str) -> String {
        let commit = self.repository.commit(message);
        self.poll().await;
        commit
    }

    pub(crate) async fn token(&self, name: &str, body: Value) -> String {
        let made = self.api.post(&format!("clusters/{name}/join"), &body).await;
        made.expect("a token")["token"]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    pub(crate) fn agent_config(
        &self,
        name: &str,
        cluster: &Handle,
        token: Option<String>,
    ) -> AgentConfig {
        AgentConfig {
            cluster: Arc::new(cluster.clone()),
            state_dir: self.state_dir(name),
            hub: roadstead_agent::HubConfig {
                url: self.hub().url(),
                token,
                ..roadstead_agent::HubConfig::default()
            },
            name: name.to_owned(),
            version: "test".to_owned(),
        }
    }

    pub(crate) fn state_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join("agents").join(name)
    }

    /// Makes a cluster and an agent that joins.
    pub(crate) async fn join(&mut self, name: &str, labels: Value) -> Handle {
        let handle = self.playground.add_cluster(name).expect("a cluster");
        let token = self.token(name, json!({ "labels": labels })).await;
        let config = self.agent_config(name, &handle, Some(token));
        self.agents.insert(name.to_owned(), Agent::start(config));
        let path = format!("clusters/{name}");
        until(&format!("{name} connected"), || async {
            let cluster = self
                .api
                .get(&path)
                .await
                .map_err(|refused| refused.message)?;
            let connected = cluster["status"]["connection"] == "Connected";
            connected.then_some(()).ok_or(cluster["status"].to_string())
        })
        .await;
        handle
    }

    pub(crate) async fn stop_agent(&mut self, name: &str) {
        self.agents.remove(name).expect("an agent").stop().await;
    }

    pub(crate) fn start_agent(&mut self, name: &str, token: Option<String>) {
        let handle = self.cluster(name);
        let config = self.agent_config(name, &handle, token);
        self.agents.insert(name.to_owned(), Agent::start(config));
    }

    /// Waits until a cluster counts as offline.
    pub(crate) async fn offline(&self, name: &str) {
        let path = format!("clusters/{name}");
        until(&format!("{name} is offline"), || async {
            let cluster = self
                .api
                .get(&path)
                .await
                .map_err(|refused| refused.message)?;
            let status = &cluster["status"];
            (status["connection"] == "Offline")
                .then_some(())
                .ok_or(status.to_string())
        })
        .await;
    }

    pub(crate) fn cluster(&self, name: &str) -> Handle {
        self.playground.cluster(name).expect("a cluster")
    }

    pub(crate) async fn get_app(&self, name: &str) -> Value {
        let path = format!("namespaces/default/apps/{name}");
        self.api.get(&path).await.expect("an App")
    }

    /// Waits until an App's condition `Ready` has this reason; returns its message.
    pub(crate) async fn app_says(&self, name: &str, reason: &str) -> String {
        until(&format!("App {name} says {reason}"), || async {
            let app = self.get_app(name).await;
            let ready = condition(&app, "Ready");
            if ready["reason"] == reason {
                return Ok(text(&ready["message"]));
            }
            Err(format!(
                "{}\nassignments: {:#?}",
                app["status"],
                self.assignments(name).await
            ))
        })
        .await
    }

    /// Waits until an App runs commit `commit` on `clusters` clusters, all healthy.
    pub(crate) async fn healthy(&self, name: &str, commit: &str, clusters: u32) {
        until(
            &format!("App {name} healthy on {clusters} at {commit}"),
            || async {
                let app = self.get_app(name).await;
                let status = &app["status"];
                let good = condition(&app, "Ready")["status"] == "True"
                    && status["healthy"] == clusters
                    && status["current"] == clusters
                    && (commit.is_empty() || status["commit"] == commit[..12]);
                if good {
                    return Ok(());
                }
                Err(format!(
                    "{status}\nassignments: {:#?}",
                    self.assignments(name).await
                ))
            },
        )
        .await;
    }

    /// The assignments of an App, by cluster.
    pub(crate) async fn assignments(&self, app: &str) -> BTreeMap<String, Value> {
        let path = format!("namespaces/default/assignments?fieldSelector=spec.app%3D{app}");
        let list = self.api.get(&path).await.expect("a list");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let by_cluster = items.into_iter();
        by_cluster
            .map(|item| (text(&item["spec"]["cluster"]), item))
            .collect()
    }

    /// Waits until the assignment of an App on a cluster is as wanted.
    pub(crate) async fn assignment(
        &self,
        app: &str,
        cluster: &str,
        what: &str,
        good: impl Fn(&Value) -> bool,
    ) -> Value {
        until(&format!("{app} on {cluster}: {what}"), || async {
            let all = self.assignments(app).await;
            match all.get(cluster) {
                Some(found) if good(found) => Ok(found.clone()),
                found => Err(format!("{found:#?}\n{}", self.why(app, "").await)),
            }
        })
        .await
    }

    /// Waits until the answer to why holds all of these.
    pub(crate) async fn why_says(&self, app: &str, cluster: &str, parts: &[&str]) {
        until(
            &format!("why of {app} on {cluster:?} says {parts:?}"),
            || async {
                let said = self.why(app, cluster).await;
                let all = parts.iter().all(|part| said.contains(part));
                all.then_some(()).ok_or(said)
            },
        )
        .await;
    }

    /// Why an App is as it is, on one cluster or on the whole: all sentences.
    pub(crate) async fn why(&self, app: &str, cluster: &str) -> String {
        let path = format!("namespaces/default/apps/{app}/why?cluster={cluster}");
        let said = self.api.get(&path).await.expect("an answer");
        let lines = said["answer"].as_array().cloned().unwrap_or_default();
        lines.iter().map(text).collect::<Vec<_>>().join("\n")
    }

    /// Does something to an App.
    pub(crate) async fn act(&self, app: &str, command: Value) -> Result<String, Refused> {
        let path = format!("namespaces/default/apps/{app}/actions");
        let body = json!({ "command": command, "reason": "a test wants it" });
        let done = self.api.post(&path, &body).await?;
        Ok(text(&done["message"]))
    }

    /// Does something to an App as soon as it can be done.
    pub(crate) async fn act_when_possible(&self, app: &str, command: Value) -> String {
        until(&format!("{command} possible"), || async {
            self.act(app, command.clone())
                .await
                .map_err(|refused| refused.message)
        })
        .await
    }

    /// Waits until an object is, or is not, in a cluster.
    pub(crate) async fn object(
        &self,
        cluster: &str,
        (group, plural): (&str, &str),
        (namespace, name): (&str, &str),
        good: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let handle = self.cluster(cluster);
        until(
            &format!("{plural} {namespace}/{name} on {cluster} as wanted"),
            || async {
                let found = find(&handle, (group, plural), (namespace, name));
                if good(found.as_ref()) {
                    return Ok(found);
                }
                Err(format!("{found:#?}"))
            },
        )
        .await
    }

    /// Waits until a kind's one object is as wanted.
    pub(crate) async fn shown(
        &self,
        path: &str,
        what: &str,
        good: impl Fn(&Value) -> bool,
    ) -> Value {
        until(&format!("{path} {what}"), || async {
            match self.api.get(path).await {
                Ok(found) if good(&found) => Ok(found),
                Ok(found) => Err(found.to_string()),
                Err(refused) => Err(refused.message),
            }
        })
        .await
    }

    /// Every value in the store under a prefix, as its disk has it.
    pub(crate) fn stored(&self, prefix: &str) -> Vec<(String, String)> {
        let range = base_store::Range {
            prefix: prefix.to_owned(),
            after: None,
            limit: 0,
            at: base_store::At::Newest,
        };
        let store: &dyn base_store::Store = self.hub().store();
        let entries = store.range(&range).expect("a page").entries.into_iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        entries
            .map(|entry| (entry.key, text(&entry.value)))
            .collect()
    }

    pub(crate) async fn label(&self, cluster: &str, labels: Value) {
        let body = json!({ "metadata": { "labels": labels } });
        let done = self.api.merge(&format!("clusters/{cluster}"), &body).await;
        done.expect("labels");
    }

    /// Ends everything in order.
    pub(crate) async fn end(mut self) {
        for (_, agent) in std::mem::take(&mut self.agents) {
            agent.stop().await;
        }
        if let Some(hub) = self.hub.take() {
            hub.stop().await;
        }
    }
}

pub(crate) fn app_spec(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "inputs": [{ "source": "repo", "path": format!("apps/{name}") }],
        "namespace": name,
        "strategy": "at-once",
        "targets": [{ "name": "all" }],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

fn admin(hub: &Hub) -> Api {
    api_of(hub, "ada", &["system:masters"])
}

/// The API as somebody sees it.
pub(crate) fn api_of(hub: &Hub, user: &str, groups: &[&str]) -> Api {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let access = hub.kubeconfig(user, &groups).expect("a kubeconfig");
    Api::new(hub.address(), &access)
}

/// The items of a list.
pub(crate) fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Does what is due in the clusters, when it is due.
async fn drive(playground: Playground) {
    loop {
        let runs = playground.clone();
        let _ = tokio::task::spawn_blocking(move || runs.run_due(jiff::Timestamp::now())).await;
        let wait = playground.next_due().map_or(Duration::from_secs(5), |at| {
            Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        });
        let news = std::future::poll_fn(|cx| playground.poll_news(cx));
        let _ = tokio::time::timeout(wait, news).await;
    }
}

pub(crate) fn find(
    cluster: &Handle,
    (group, plural): (&str, &str),
    (namespace, name): (&str, &str),
) -> Option<Value> {
    let registry = cluster.registry();
    let def = registry.resource(group, plural).ok()?;
    registry.find(&def, namespace, name).expect("a read")
}

/// Somebody else applies an object to a cluster.
pub(crate) fn apply_as(cluster: &Handle, manager: &str, object: Value) {
    let registry = cluster.registry();
    let def = registry.resource_of(&object).expect("a kind");
    let (namespace, name) = (
        k8s_object::namespace(&object).to_owned(),
        k8s_object::name(&object).to_owned(),
    );
    registry
        .apply(
            &def,
            &namespace,
            &name,
            object,
            &WriteOptions::manager(manager),
        )
        .expect("applied");
    cluster.touch();
}

pub(crate) fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
    found.cloned().unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Asserts that a text holds all of these.
#[track_caller]
pub(crate) fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: {value}\n")
}

pub(crate) fn deployment(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: 1\n  selector:\n    \
         matchLabels: {{ app: {name} }}\n  template:\n    metadata:\n      labels: {{ app: {name} }}\n    spec:\n      \
         containers:\n        - name: main\n          image: {image}\n"
    )
}
