//! Three real clusters, a hub that runs in the first as its users install it, and an agent in each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use git_host::GitHost;
use oracle_cluster::{ControlPlane, Lifetime, Process, Settings, Tools};
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::repository::Repository;
use super::tools::{Program, text};

/// A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(600);
/// So often is said what is waited for.
const TELL: Duration = Duration::from_secs(20);
pub(super) const CLUSTERS: [(&str, &str, &str); 3] = [
    ("real-1", "canary", "eu"),
    ("real-2", "main", "us"),
    ("real-3", "main", "ap"),
];
/// The clusters without a real node have so many that kwok plays.
pub(super) const SIMULATED_NODES: usize = 20;
const NODE_PORT: u16 = 30443;
pub(super) const AGENT: &str = "roadstead-agent";

/// What is started, from what.
pub(super) struct Plan<'a> {
    pub(super) root: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) image: &'a Path,
    pub(super) program: &'a Path,
    pub(super) corpus: Option<&'a Path>,
}

/// All of it; what it started ends with it.
pub(super) struct World {
    pub(super) planes: Vec<ControlPlane>,
    pub(super) kubectl: Program,
    pub(super) helm: Program,
    pub(super) roadstead: Program,
    pub(super) repository: Repository,
    root: PathBuf,
    folder: PathBuf,
    program: PathBuf,
    git: GitHost,
    /// The way of the second cluster's agent to the hub.
    pub(super) proxy: Option<Proxy>,
    agents: BTreeMap<String, Process>,
}

impl World {
    /// Starts the clusters: the first with a real node, the others with nodes that kwok plays.
    pub(super) fn start(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let tools = Tools::find()?;
        tools.need(&["kubectl", "helm", "kwok"])?;
        let hub = plan.folder.join("hub.yaml");
        let mut planes = Vec::new();
        for (name, ..) in CLUSTERS {
            let mut settings = Settings::new(name, &plan.folder.join(name));
            if planes.is_empty() {
                settings.node = Some("node-1".to_owned());
            } else {
                settings.simulated_nodes = SIMULATED_NODES;
            }
            planes.push(ControlPlane::start(&tools, settings)?);
        }
        let node = planes[0].node().context("the first cluster has no node")?;
        node.import(plan.image)?;
        let repository = Repository::make(plan.root, plan.folder.join("repository"), plan.corpus)?;
        let helm = Program::new(tools.path("helm"))
            .with("HELM_CACHE_HOME", &plan.folder.join("helm/cache"))
            .with("HELM_CONFIG_HOME", &plan.folder.join("helm/config"))
            .with("HELM_DATA_HOME", &plan.folder.join("helm/data"));
        Ok(Self {
            kubectl: Program::new(tools.path("kubectl")),
            helm,
            roadstead: Program::new(plan.program.to_owned()).with("ROADSTEAD_KUBECONFIG", &hub),
            git: GitHost::start(plan.folder)?,
            repository,
            root: plan.root.to_owned(),
            folder: plan.folder.to_owned(),
            program: plan.program.to_owned(),
            planes,
            proxy: None,
            agents: BTreeMap::new(),
        })
    }

    /// kubectl, in a cluster by its number from 0.
    pub(super) fn in_cluster(&self, number: usize) -> Program {
        let config = self.planes[number].kubeconfig();
        self.kubectl.clone().with("KUBECONFIG", &config)
    }

    /// kubectl, at the hub.
    pub(super) fn at_hub(&self) -> Program {
        let config = self.folder.join("hub.yaml");
        self.kubectl.clone().with("KUBECONFIG", &config)
    }

    pub(super) fn helm_in(&self, number: usize) -> Program {
        let config = self.planes[number].kubeconfig();
        self.helm.clone().with("KUBECONFIG", &config)
    }

    fn node_address(&self) -> String {
        let node = self.planes[0].node();
        node.map(|node| node.address().to_string())
            .unwrap_or_default()
    }

    /// How the hub is reached: a port of the node, which its pods and this machine both reach.
    fn hub_url(&self) -> String {
        format!("https://{}:{NODE_PORT}", self.node_address())
    }

    /// The URL of the repository, as the hub's pod reaches it.
    pub(super) fn source(&self) -> anyhow::Result<String> {
        let node = self.planes[0].node().context("the node has ended")?;
        Ok(self.git.url(node.host(), "repository"))
    }

    /// Gives a cluster volumes, since nothing makes them here.
    fn make_volumes(&self, number: usize) -> anyhow::Result<()> {
        let mut volumes = vec![json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "e2e"},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate",
        })];
        for volume in 0..4 {
            let path = self.folder.join(format!("volumes/{number}-{volume}"));
            volumes.push(json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("small-{volume}")},
                "spec": {
                    "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "e2e",
                    "hostPath": {"path": path, "type": "DirectoryOrCreate"},
                },
            }));
        }
        if number == 0 {
            let path = self.folder.join("volumes/hub");
            std::fs::create_dir_all(&path)
                .with_context(|| format!("failed to make {}", path.display()))?;
            volumes.push(json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "hub"},
                "spec": {
                    "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"],
                    "local": {"path": path},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]},
                    ]}]}},
                },
            }));
        }
        let list: Vec<String> = volumes.iter().map(Value::to_string).collect();
        let apply = ["apply", "-f", "-"];
        self.in_cluster(number)
            .run(&apply, Some(&list.join("\n---\n")))?;
        Ok(())
    }

    /// Installs the hub by its chart, in a namespace that admits only restricted pods, and takes the kubeconfig that it writes.
    pub(super) fn install_hub(&self) -> anyhow::Result<()> {
        for number in 0..self.planes.len() {
            self.make_volumes(number)?;
        }
        let kubectl = self.in_cluster(0);
        kubectl.run(&["create", "namespace", "roadstead"], None)?;
        let restricted = [
            "label",
            "namespace",
            "roadstead",
            "pod-security.kubernetes.io/enforce=restricted",
        ];
        kubectl.run(&restricted, None)?;
        let chart = self.root.join("deploy/charts/roadstead");
        let url = self.hub_url();
        let values = json!({
            "publicUrl": url,
            "image": {"pullPolicy": "Never"},
            "service": {"type": "NodePort", "nodePort": NODE_PORT},
            "aggregation": {"enabled": true},
            // an agent says every half minute that it is there
            "offlineAfter": "40s",
        });
        self.helm_in(0).run(
            &[
                "install",
                "roadstead",
                &chart.display().to_string(),
                "--namespace=roadstead",
                "--values=-",
            ],
            Some(&values.to_string()),
        )?;
        self.hub_is_ready()?;
        until("the hub's kubeconfig", || {
            let secret = kubectl.run(
                &[
                    "--namespace=roadstead",
                    "get",
                    "secret",
                    "roadstead-admin",
                    "--template={{with .data.kubeconfig}}{{. | base64decode}}{{end}}",
                ],
                None,
            )?;
            if secret.is_empty() {
                return Ok(None);
            }
            std::fs::write(self.folder.join("hub.yaml"), secret)?;
            Ok(Some(()))
        })?;
        until("the hub's API", || {
            Ok(self.at_hub().run(&["get", "projects"], None).ok())
        })?;
        Ok(())
    }

    /// Waits until the hub's pod is ready.
    pub(super) fn hub_is_ready(&self) -> anyhow::Result<()> {
        let kubectl = self.in_cluster(0);
        until("the hub's pod to be ready", || {
            let get = ["--namespace=roadstead", "get", "pod", "roadstead-0"];
            // it may not be there yet, or again
            let pod = kubectl.json(&get).unwrap_or_default();
            let conditions = pod["status"]["conditions"].as_array().cloned();
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|one| one["type"] == "Ready" && one["status"] == "True");
            Ok((ready && pod["metadata"]["deletionTimestamp"].is_null()).then_some(()))
        })
    }

    /// The first joins by manifests, the second by the agent's chart, the third as a Cluster that was made before it.
    pub(super) fn join(&mut self) -> anyhow::Result<()> {
        let image = image();
        let [first, second, third] = CLUSTERS;
        let labels = |(_, ring, region): (&str, &str, &str)| {
            [
                format!("--label=ring={ring}"),
                format!("--label=region={region}"),
            ]
        };
        let [ring, region] = labels(first);
        let manifests = [
            "cluster", "join", first.0, &ring, &region, "--image", &image,
        ];
        let manifests = self.roadstead.run(&manifests, None)?;
        let apply = ["apply", "-f", "-"];
        self.in_cluster(0).run(&apply, Some(&manifests))?;

        let [ring, region] = labels(second);
        let only = self.hub_url().replace("https://", "");
        let proxy = Proxy::start(only)?;
        let through = format!("--https-proxy={}", proxy.url());
        let values = [
            "cluster",
            "join",
            second.0,
            &ring,
            &region,
            &through,
            "--output=values",
        ];
        let values = self.roadstead.run(&values, None)?;
        self.install_agent(1, &values)?;
        self.proxy = Some(proxy);
        let token = ["get", "secret", "roadstead-agent-join"];
        let token = self.secret(1, &token, "token")?;
        self.run_agent(1, Some(&token))?;

        let cluster = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": third.0, "labels": {"ring": third.1, "region": third.2}},
            "spec": {"values": {"size": "small"}},
        });
        let declare = ["apply", "--server-side", "-f", "-"];
        self.at_hub().run(&declare, Some(&cluster.to_string()))?;
        let token = ["cluster", "join", third.0, "--output=token"];
        let token = self.roadstead.run(&token, None)?;
        let kubectl = self.in_cluster(2);
        kubectl.run(&["create", "namespace", AGENT], None)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "of-our-own", "namespace": AGENT},
            "stringData": {"token": token.trim()},
        });
        kubectl.run(&apply, Some(&secret.to_string()))?;
        let values = json!({
            "hub": {"url": self.hub_url()},
            "cluster": {"name": third.0},
            "join": {"existingSecret": "of-our-own"},
        });
        self.install_agent(2, &values.to_string())?;
        let token = self.secret(2, &["get", "secret", "of-our-own"], "token")?;
        self.run_agent(2, Some(&token))
    }

    /// Installs the agent's chart.
    pub(super) fn install_agent(&self, number: usize, values: &str) -> anyhow::Result<()> {
        let chart = self.root.join("deploy/charts/roadstead-agent");
        let chart = chart.display().to_string();
        let install = [
            "install",
            AGENT,
            &chart,
            "--namespace=roadstead-agent",
            "--create-namespace",
            "--values=-",
        ];
        self.helm_in(number).run(&install, Some(values))?;
        Ok(())
    }

    pub(super) fn secret(&self, number: usize, get: &[&str], key: &str) -> anyhow::Result<String> {
        let template = format!("--template={{{{index .data {key:?} | base64decode}}}}");
        let get = [&["--namespace=roadstead-agent"], get, &[&template]].concat();
        self.in_cluster(number).run(&get, None)
    }

    /// Runs an agent where no pod really runs: with the rights of its service account and its state in its Secrets, as
    /// its pod would.
    pub(super) fn run_agent(&mut self, number: usize, token: Option<&str>) -> anyhow::Result<()> {
        let name = CLUSTERS[number].0;
        let account = [
            "--namespace=roadstead-agent",
            "create",
            "token",
            AGENT,
            "--duration=24h",
        ];
        let account = self.in_cluster(number).run(&account, None)?;
        let config = self.planes[number].kubeconfig_with(&json!({ "token": account.trim() }));
        let path = self.folder.join(format!("{name}-agent.yaml"));
        std::fs::write(&path, config)?;
        // what its pod would be told, but for how it reaches its cluster and who looks at its health
        let deployment = self.must(number, AGENT, "deployment", AGENT)?;
        let told = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let mut args: Vec<String> = serde_json::from_value(told)?;
        args.retain(|arg| !arg.starts_with("--health="));
        args.push(format!("--kubeconfig={}", path.display()));
        args.push(format!("--own-namespace={AGENT}"));
        args.extend(token.map(|token| format!("--token={token}")));
        let log = self.folder.join(format!("{name}-agent.log"));
        let agent = Process::start("agent", &self.program, &args, &log, Lifetime::Tied)?;
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    /// Ends such an agent at once.
    pub(super) fn kill_agent(&mut self, number: usize) {
        if let Some(mut agent) = self.agents.remove(CLUSTERS[number].0) {
            agent.kill();
        }
    }

    /// Waits until a cluster's connection is of this kind.
    pub(super) fn until_connection(&self, number: usize, wanted: &str) -> anyhow::Result<()> {
        let name = CLUSTERS[number].0;
        until(&format!("{name} to be {wanted}"), || {
            // before it has joined there is none, and the hub may be away
            let found = self.at_hub().json(&["get", "clusters.roadstead.dev", name]);
            let found = found.unwrap_or_default();
            Ok((text(&found, "/status/connection") == wanted).then_some(()))
        })
    }

    /// The newest Rollout of an App.
    pub(super) fn rollout(&self, app: &str) -> anyhow::Result<Option<Value>> {
        let rollouts = self.at_hub().items(&["get", "rollouts"])?;
        let of = rollouts.into_iter().filter(|one| one["spec"]["app"] == app);
        Ok(of.max_by_key(|one| one["spec"]["number"].as_u64()))
    }

    /// A Release by its id.
    pub(super) fn release(&self, id: &str) -> anyhow::Result<Option<Value>> {
        let all = self.at_hub().items(&["get", "releases"])?;
        Ok(all.into_iter().find(|one| one["spec"]["id"] == id))
    }

    /// The newest Rollout of an App, if it is of this commit.
    pub(super) fn rollout_of(&self, app: &str, commit: &str) -> anyhow::Result<Option<Value>> {
        let Some(rollout) = self.rollout(app)? else {
            return Ok(None);
        };
        let release = self.release(text(&rollout, "/spec/release"))?;
        let ours = release.is_some_and(|release| text(&release, "/spec/commit") == commit);
        Ok(ours.then_some(rollout))
    }

    /// Waits until the newest Rollout of an App is of this commit and has ended; returns it.
    pub(super) fn rolled(&self, app: &str, commit: &str) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let waited = until(&format!("the Rollout of {app} at {commit:.12}"), || {
            // the hub may be away
            let Ok(Some(rollout)) = self.rollout_of(app, commit) else {
                return Ok(None);
            };
            last = rollout;
            let phase = text(&last, "/status/phase");
            let ended = ["Completed", "Failed", "RolledBack", "Held"].contains(&phase);
            Ok(ended.then(|| last.clone()))
        });
        waited.with_context(|| {
            let why = self.why(app).unwrap_or_default();
            format!("it is {}; {why}", last["status"])
        })
    }

    /// What the hub answers when it is asked why.
    pub(super) fn why(&self, app: &str) -> anyhow::Result<String> {
        self.roadstead.run(&["why", app], None)
    }

    /// An object of a cluster, if it is there.
    pub(super) fn object(
        &self,
        number: usize,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let namespace = format!("--namespace={namespace}");
        let get = [
            &namespace,
            "get",
            kind,
            name,
            "--ignore-not-found",
            "-o",
            "json",
        ];
        let found = self.in_cluster(number).run(&get, None)?;
        if found.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&found)?))
    }

    /// An object of a cluster that has to be there.
    pub(super) fn must(
        &self,
        number: usize,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> anyhow::Result<Value> {
        let found = self.object(number, namespace, kind, name)?;
        found.with_context(|| format!("{} has no {kind} {namespace}/{name}", CLUSTERS[number].0))
    }

    /// What tells why something did not come.
    pub(super) fn show(&self) {
        let kubectl = self.in_cluster(0);
        let first: [&[&str]; 4] = [
            &["get", "pods", "--all-namespaces", "-o", "wide"],
            &["--namespace=roadstead", "describe", "pod", "roadstead-0"],
            &["--namespace=roadstead", "logs", "roadstead-0", "--tail=30"],
            &[
                "--namespace=roadstead-agent",
                "logs",
                "deployment/roadstead-agent",
                "--tail=30",
            ],
        ];
        for args in first {
            println!("\n--- kubectl {}", args.join(" "));
            println!("{}", said(kubectl.run(args, None)));
        }
        for args in [
            &["get", "clusters.roadstead.dev"][..],
            &["get", "apps.roadstead.dev"],
            &["get", "rollouts"],
        ] {
            println!("\n--- at the hub: kubectl {}", args.join(" "));
            println!("{}", said(self.at_hub().run(args, None)));
        }
        for (app, _) in &self.repository.apps {
            println!("\n--- roadstead why {app}\n{}", said(self.why(app)));
            for (name, ..) in CLUSTERS {
                let why = self.roadstead.run(&["why", app, "--cluster", name], None);
                println!("{name}: {}", said(why));
            }
        }
        for (name, agent) in &self.agents {
            println!("\n--- the agent of {name}\n{}", agent.last_words());
        }
    }
}

fn said(outcome: anyhow::Result<String>) -> String {
    outcome.unwrap_or_else(|error| format!("{error:#}"))
}

/// The name of the image that is built here.
pub(super) fn image() -> String {
    format!(
        "registry.roadstead.dev/roadstead:{}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Asks again and again until the answer is there. What fails meanwhile is asked again too: what is asked may just be
/// starting, or be away.
pub(super) fn until<T>(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let mut told = TELL;
    loop {
        let outcome = look();
        if let Ok(Some(found)) = outcome {
            return Ok(found);
        }
        let waited = begun.elapsed();
        if waited > PATIENCE {
            let error = anyhow::anyhow!("waited {} s for {what}", PATIENCE.as_secs());
            return Err(match outcome {
                Err(last) => error.context(format!("{last:#}")),
                Ok(_) => error,
            });
        }
        if waited > told {
            println!(
                "e2e: for {:.0} s now it waits for {what}",
                waited.as_secs_f64()
            );
            told += TELL;
        }
        // what takes long is asked for seldom: each question is a process of its own
        let pause = (waited / 10).clamp(Duration::from_millis(50), Duration::from_secs(1));
        std::thread::sleep(pause);
    }
}

/// Fails unless something holds.
pub(super) fn hold(good: bool, what: impl FnOnce() -> String) -> anyhow::Result<()> {
    if good {
        return Ok(());
    }
    bail!("{}", what())
}
