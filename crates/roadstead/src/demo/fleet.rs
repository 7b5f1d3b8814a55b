//! The processes of the demo: a hub, the clusters, an agent for each.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::screen::Screen;
use crate::client::{API, Access, Ask, Client};
use crate::serve::clusters::{kubeconfig_of, names};

/// What a fleet is made of.
pub(crate) struct FleetPlan {
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
    clusters: Vec<Member>,
    listen: SocketAddr,
}

/// One cluster.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Member {
    /// The ring that it is labelled with.
    pub(crate) fn ring(&self) -> &str {
        self.labels.get("ring").map_or("", String::as_str)
    }
}

impl FleetPlan {
    /// Plans the demo's fleet: two canaries, a sixth (at least one) in the early ring, the rest in the main ring; three
    /// regions.
    pub(crate) fn of(clusters: usize, folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let early = (clusters / 6).max(1);
        Self::new(clusters, folder, |index| {
            let ring = match index {
                0 | 1 => "canary",
                index if index < 2 + early => "early",
                _ => "main",
            };
            let region = ["eu", "us", "ap"][index % 3];
            [("ring", ring), ("region", region)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        })
    }

    /// Plans a fleet whose clusters take turns at the values of each label.
    pub(crate) fn labelled(
        clusters: usize,
        folder: Option<PathBuf>,
        labels: &[(String, Vec<String>)],
    ) -> anyhow::Result<Self> {
        Self::new(clusters, folder, |index| {
            let turn = |(key, values): &(String, Vec<String>)| {
                Some((
                    key.clone(),
                    values.get(index % values.len().max(1))?.clone(),
                ))
            };
            labels.iter().filter_map(turn).collect()
        })
    }

    fn new(
        clusters: usize,
        folder: Option<PathBuf>,
        labels: impl Fn(usize) -> BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let temporary = match folder {
            Some(_) => None,
            None => {
                let made = tempfile::Builder::new().prefix("roadstead-").tempdir();
                Some(made.context("failed to make a temporary folder")?)
            }
        };
        let folder = match (&temporary, folder) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, Some(folder)) => std::path::absolute(folder)?,
            (None, None) => bail!("no folder"),
        };
        let clusters = names("cluster", clusters)
            .into_iter()
            .enumerate()
            .map(|(index, name)| Member {
                name,
                labels: labels(index),
            })
            .collect();
        // a free port that a hub that was killed can come back to
        let listen =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Ok(Self {
            folder,
            temporary,
            clusters,
            listen: listen.context("failed to find a free port")?,
        })
    }
}

/// A fleet that runs.
pub(crate) struct Fleet {
    plan: FleetPlan,
    hub: Option<Child>,
    clusters: Child,
    agents: BTreeMap<String, Child>,
    pub(crate) client: Client,
    pub(crate) playground: Client,
}

/// Tries until it works, for so long.
pub(crate) async fn until<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut last = String::new();
    loop {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = format!(" (last: {error:#})"),
        }
        if started.elapsed() > patience {
            bail!(
                "{what} did not happen within {} s{last}",
                patience.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("failed to find this program")
}

pub(crate) fn child(folder: &Path, log: &str, arguments: &[&str]) -> anyhow::Result<Child> {
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("failed to make {}", logs.display()))?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(logs.join(log))
        .context("failed to open a log")?;
    Command::new(program()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        // Ctrl-C is for the demo, which ends its children in order
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start `roadstead {}`", arguments.join(" ")))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Fleet {
    /// Starts everything: when it returns, every agent has joined.
    pub(crate) async fn start(plan: FleetPlan, screen: &Screen) -> anyhow::Result<Self> {
        screen.head(&format!(
            "A hub and {} simulated clusters, each with its agent, in {}",
            plan.clusters.len(),
            plan.folder.display()
        ));
        let kubeconfigs = plan.folder.join("clusters");
        let count = plan.clusters.len().to_string();
        let clusters = child(
            &plan.folder,
            "clusters.log",
            &[
                "playground",
                "clusters",
                "--clusters",
                &count,
                "--kubeconfigs",
                &text(&kubeconfigs),
            ],
        )?;
        let hub = start_hub(&plan)?;
        let control = kubeconfigs.join("playground.yaml");
        let client_of = |path: PathBuf| async move {
            until("a kubeconfig", Duration::from_secs(60), || {
                let path = path.clone();
                async move {
                    if !path.exists() {
                        return Ok(None);
                    }
                    Client::new(Access::read(&path, None)?, "default".to_owned()).map(Some)
                }
            })
            .await
        };
        let playground = client_of(control).await?;
        let client = client_of(plan.folder.join("hub.yaml")).await?;
        let mut fleet = Self {
            plan,
            hub: Some(hub),
            clusters,
            agents: BTreeMap::new(),
            client,
            playground,
        };
        fleet.hub_is_up().await?;
        for member in fleet.plan.clusters.clone() {
            let path = format!("{API}/clusters/{}/join", member.name);
            let made = fleet
                .client
                .ask(Ask::send(
                    Method::POST,
                    &path,
                    "application/json",
                    &json!({ "labels": member.labels }),
                ))
                .await;
            let made =
                made.with_context(|| format!("failed to make a join token for {}", member.name))?;
            let token = made["token"].as_str().unwrap_or_default().to_owned();
            fleet.start_agent(&member.name, Some(&token))?;
        }
        let wanted = fleet.plan.clusters.len();
        fleet
            .connected(wanted, screen, Duration::from_secs(120))
            .await?;
        Ok(fleet)
    }

    /// Waits until so many agents are connected.
    pub(crate) async fn connected(
        &self,
        wanted: usize,
        screen: &Screen,
        patience: Duration,
    ) -> anyhow::Result<()> {
        until("the agents' joining", patience, || async {
            let clusters = self.list("clusters", false).await?;
            let connected = clusters
                .iter()
                .filter(|cluster| cluster["status"]["connection"] == "Connected")
                .count();
            screen.moving(&format!("{connected} of {wanted} agents are connected"));
            Ok((connected >= wanted).then_some(()))
        })
        .await
    }

    async fn hub_is_up(&self) -> anyhow::Result<()> {
        until("the hub's start", Duration::from_secs(60), || async {
            Ok(self
                .client
                .ask(Ask::get(&format!("{API}/projects")))
                .await
                .ok()
                .map(drop))
        })
        .await
    }

    /// Lists nouns.
    pub(crate) async fn list(&self, plural: &str, in_project: bool) -> anyhow::Result<Vec<Value>> {
        let path = if in_project {
            format!("{API}/namespaces/default/{plural}")
        } else {
            format!("{API}/{plural}")
        };
        let list = self.client.ask(Ask::get(&path)).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Starts an agent.
    pub(crate) fn start_agent(&mut self, name: &str, token: Option<&str>) -> anyhow::Result<()> {
        let folder = &self.plan.folder;
        let url = self.client.server().to_owned();
        let kubeconfig = text(&kubeconfig_of(&folder.join("clusters"), name));
        let state = text(&folder.join("agents").join(name));
        let mut arguments = vec![
            "agent",
            "--hub",
            &url,
            "--name",
            name,
            "--kubeconfig",
            &kubeconfig,
            "--state",
            &state,
        ];
        if let Some(token) = token {
            arguments.extend(["--token", token]);
        }
        let agent = child(folder, &format!("agent-{name}.log"), &arguments)?;
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    /// Kills an agent, as a machine does that loses its power.
    pub(crate) async fn kill_agent(&mut self, name: &str) {
        if let Some(mut agent) = self.agents.remove(name) {
            let _ = agent.kill().await;
        }
    }

    /// Kills the hub with SIGKILL.
    pub(crate) async fn kill_hub(&mut self) {
        if let Some(mut hub) = self.hub.take() {
            let _ = hub.kill().await;
        }
    }

    /// Starts the hub again, over the same data and at the same port.
    pub(crate) async fn restart_hub(&mut self) -> anyhow::Result<()> {
        self.hub = Some(start_hub(&self.plan)?);
        // its certificate is new, signed by the same CA, so the kubeconfig stays good
        self.hub_is_up().await
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.plan.clusters
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.plan.folder
    }

    pub(crate) fn hub_kubeconfig(&self) -> PathBuf {
        self.plan.folder.join("hub.yaml")
    }

    /// The kubeconfigs of the hub, of the playground and of each cluster.
    pub(crate) fn kubeconfigs(&self) -> Vec<PathBuf> {
        let folder = self.plan.folder.join("clusters");
        let clusters = self
            .plan
            .clusters
            .iter()
            .map(|member| kubeconfig_of(&folder, &member.name));
        clusters
            .chain([self.hub_kubeconfig(), folder.join("playground.yaml")])
            .collect()
    }

    pub(crate) fn cluster_kubeconfig(&self, index: usize) -> PathBuf {
        kubeconfig_of(
            &self.plan.folder.join("clusters"),
            &self.plan.clusters[index].name,
        )
    }

    /// Prints the ends of the logs that say why.
    pub(crate) fn show_logs(&self, screen: &Screen) {
        for log in ["hub.log", "clusters.log"] {
            let Ok(text) = std::fs::read_to_string(self.plan.folder.join("logs").join(log)) else {
                continue;
            };
            screen.head(&format!("The last lines of {log}"));
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| {
                    line.contains("WARN") || line.contains("ERROR") || line.contains("panicked")
                })
                .collect();
            for line in &lines[lines.len().saturating_sub(15)..] {
                screen.line(line);
            }
        }
    }

    /// Ends everything, agents first.
    pub(crate) async fn end(mut self) {
        for agent in self.agents.values_mut() {
            let _ = agent.start_kill();
        }
        for agent in self.agents.values_mut() {
            let _ = agent.wait().await;
        }
        if let Some(mut hub) = self.hub.take() {
            let _ = hub.kill().await;
        }
        let _ = self.clusters.kill().await;
        drop(self.plan.temporary.take());
    }
}

fn start_hub(plan: &FleetPlan) -> anyhow::Result<Child> {
    let data = text(&plan.folder.join("hub"));
    let kubeconfig = text(&plan.folder.join("hub.yaml"));
    let listen = plan.listen.to_string();
    let arguments = [
        "hub",
        "--data",
        &data,
        "--listen",
        &listen,
        "--name",
        "127.0.0.1",
        "--kubeconfig",
        &kubeconfig,
        "--offline-after",
        "4s",
        "--beat",
        "1s",
    ];
    child(&plan.folder, "hub.log", &arguments)
}
