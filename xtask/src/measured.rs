//! A fresh real API server that counts what one user asks of it, objects to deliver there, and a hub with its agent.
//!
//! Requests are counted from the API server's audit log, of the measured programs alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oracle_cluster::{ControlPlane, Lifetime, Process, Settings, Tools, wait_until};
use serde_json::{Value, json};

const JSON: &str = "application/json";
/// As whom measured programs ask.
const USER: &str = "measured";
/// How long a program may take to be ready.
const READY: Duration = Duration::from_secs(120);

/// The API server, and a folder for everything that is measured on it: `cluster.yaml` is the measured user's kubeconfig,
/// `repository` what is delivered.
pub(crate) struct Measured {
    pub(crate) folder: PathBuf,
    pub(crate) plane: ControlPlane,
    pub(crate) tools: Tools,
}

impl Measured {
    /// Starts it, with its default flow control.
    pub(crate) fn start(tools: &Tools, folder: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| folder.join(name).display().to_string();
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
        });
        std::fs::write(folder.join("policy.json"), policy.to_string())?;
        let mut settings = Settings::new("measured", &folder.join("plane"));
        settings.api_flags = vec![
            format!("--audit-policy-file={}", file("policy.json")),
            format!("--audit-log-path={}", file("audit.log")),
            "--audit-log-mode=blocking".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        ];
        let plane = ControlPlane::start(tools, settings)?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        plane
            .admin()
            .put_through("POST", bindings, JSON, &binding)?;
        std::fs::write(folder.join("cluster.yaml"), plane.kubeconfig_for(USER, "")?)?;
        Ok(Self {
            folder: folder.to_owned(),
            plane,
            tools: tools.clone(),
        })
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// Commits so many apps.
    pub(crate) fn fill(&self, apps: usize) -> anyhow::Result<()> {
        let repository = self.repository();
        for app in 0..apps {
            let folder = repository.join(format!("apps/{app:03}"));
            std::fs::create_dir_all(&folder)?;
            // not every reader takes JSON for the YAML that it is
            let objects: Vec<String> = objects(app).iter().map(base_yaml::to_string).collect();
            std::fs::write(folder.join("all.yaml"), objects.join("---\n"))?;
        }
        git(&repository, &["init", "-q", "-b", "main"])?;
        commit(&repository)
    }

    /// Commits a change of one object.
    pub(crate) fn change_one(&self) -> anyhow::Result<()> {
        let file = self.repository().join("apps/000/all.yaml");
        let before = std::fs::read_to_string(&file)?;
        let after = before.replacen("key: value-0\n", "key: changed-0\n", 1);
        if after == before {
            bail!("{} holds nothing to change", file.display());
        }
        std::fs::write(&file, after)?;
        commit(&self.repository())
    }

    /// Every request so far.
    pub(crate) fn audit(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.folder.join("audit.log"))?;
        let lines = text.lines();
        Ok(lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

/// A hub, and the agent that is measured.
pub(crate) struct Pair {
    pub(crate) hub: Process,
    pub(crate) agent: Process,
    /// The hub's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
}

impl Pair {
    /// Starts both, and waits until the agent has joined.
    pub(crate) fn start(ground: &Measured, program: &Path) -> anyhow::Result<Self> {
        if !program.is_file() {
            bail!(
                "no program {}: `cargo build --release --package roadstead` makes it",
                program.display()
            );
        }
        let listen = format!("127.0.0.1:{}", port()?);
        let start = |name: &str, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&word| word.to_owned()).collect();
            let log = ground.folder.join(format!("{name}.log"));
            Process::start(name, program, &args, &log, Lifetime::Tied)
        };
        let hub = [
            "hub",
            "--data",
            &ground.file("hub"),
            "--listen",
            &listen,
            "--name",
            "127.0.0.1",
            "--kubeconfig",
            &ground.file("hub.yaml"),
        ];
        let hub = start("hub", &hub)?;
        let (tools, kubeconfig) = (&ground.tools, ground.folder.join("hub.yaml"));
        wait_until("the hub", READY, || {
            Ok(kubectl(tools, &kubeconfig, &["get", "projects"], None).ok())
        })
        .with_context(|| hub.last_words())?;
        let join = "/apis/roadstead.dev/v1alpha1/clusters/measured/join";
        let create = ["create", "--raw", join, "-f", "-"];
        let answer = kubectl(tools, &kubeconfig, &create, Some("{}"))?;
        let answer: Value = serde_json::from_str(&answer).context("the hub's token is no JSON")?;
        let token = answer["token"].as_str().context("no token")?;
        let agent = [
            "agent",
            "--hub",
            &format!("https://{listen}"),
            "--name",
            "measured",
            "--kubeconfig",
            &ground.file("cluster.yaml"),
            "--state",
            &ground.file("state"),
            "--token",
            token,
        ];
        let agent = start("agent", &agent)?;
        wait_until("the agent's joining", READY, || {
            let jsonpath = "jsonpath={.status.connection}";
            let get = ["get", "cluster", "measured", "-o", jsonpath];
            // before it has joined there is none
            let found = kubectl(tools, &kubeconfig, &get, None).unwrap_or_default();
            Ok((found == "Connected").then_some(()))
        })
        .with_context(|| agent.last_words())?;
        Ok(Self {
            hub,
            agent,
            kubeconfig,
        })
    }
}

/// A Source, and an App for each of its folders, as a stream of documents.
pub(crate) fn nouns(url: &str, interval: &str, apps: usize) -> String {
    let mut nouns = vec![json!({
        "apiVersion": "roadstead.dev/v1alpha1",
        "kind": "Source",
        "metadata": {"name": "measured", "namespace": "default"},
        "spec": {"git": {"url": url, "branch": "main"}, "interval": interval},
    })];
    nouns.extend((0..apps).map(|app| {
        json!({
            "apiVersion": "roadstead.dev/v1alpha1",
            "kind": "App",
            "metadata": {"name": format!("app-{app:03}"), "namespace": "default"},
            "spec": {
                "inputs": [{"source": "measured", "path": format!("apps/{app:03}")}],
                "targets": [{"name": "all"}],
            },
        })
    }));
    let nouns: Vec<String> = nouns.iter().map(Value::to_string).collect();
    nouns.join("\n---\n")
}

/// A port of the loopback that nobody listens on.
pub(crate) fn port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// What was asked of the API server.
pub(crate) struct Asked {
    verbs: BTreeMap<String, usize>,
    /// Different objects that were applied.
    pub(crate) applied: usize,
    /// From the first apply to the last.
    pub(crate) seconds: f64,
    /// When the last apply was done, in seconds of its day.
    pub(crate) done: f64,
}

impl Asked {
    pub(crate) fn of(events: &[Value]) -> Self {
        let (mut verbs, mut applied) = (BTreeMap::new(), BTreeSet::new());
        let (mut first, mut last) = (f64::MAX, 0.0_f64);
        for event in events {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            // a watch is told of when it begins and when it ends
            if text("/verb") == "watch" && text("/stage") != "ResponseStarted" {
                continue;
            }
            let code = event
                .pointer("/responseStatus/code")
                .and_then(Value::as_u64);
            let mut verb = text("/verb").to_owned();
            if code.is_some_and(|code| code >= 400) {
                verb = format!("{verb} ({})", code.unwrap_or_default());
            }
            *verbs.entry(verb).or_insert(0) += 1;
            if text("/verb") == "patch" {
                let uri = text("/requestURI");
                applied.insert(uri.split('?').next().unwrap_or(uri).to_owned());
                let at = seconds_of(text("/requestReceivedTimestamp"));
                first = first.min(at);
                last = last.max(seconds_of(text("/stageTimestamp")));
            }
        }
        Self {
            verbs,
            applied: applied.len(),
            seconds: (last - first).max(0.0),
            done: last,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.verbs.values().sum()
    }

    pub(crate) fn writes(&self) -> usize {
        let writes = self.verbs.iter().filter(|(verb, _)| {
            !["get", "list", "watch"]
                .iter()
                .any(|read| verb.starts_with(read))
        });
        writes.map(|(_, count)| count).sum()
    }

    pub(crate) fn counted(&self) -> String {
        let all: Vec<String> = self
            .verbs
            .iter()
            .map(|(verb, count)| format!("{verb} {count}"))
            .collect();
        if all.is_empty() {
            "nothing was asked".to_owned()
        } else {
            all.join(", ")
        }
    }
}

/// When the hub's log told last of a new commit, in seconds of its day.
pub(crate) fn noticed(folder: &Path) -> anyhow::Result<f64> {
    let log = std::fs::read_to_string(folder.join("hub.log"))?;
    let line = log.lines().rfind(|line| line.contains("new commit"));
    let time = line.and_then(|line| line.split_whitespace().next());
    time.map(seconds_of)
        .context("the hub's log tells of no commit")
}

/// The seconds of a day of an RFC 3339 time.
fn seconds_of(time: &str) -> f64 {
    let clock = time.split('T').nth(1).unwrap_or_default();
    let parts = clock.trim_end_matches('Z').split(':');
    parts.fold(0.0, |sum, part| {
        sum * 60.0 + part.parse::<f64>().unwrap_or(0.0)
    })
}

/// An app's fifty objects.
pub(crate) fn objects(app: usize) -> Vec<Value> {
    let namespace = format!("app-{app:03}");
    let meta = |name: String| json!({"name": name, "namespace": namespace});
    let mut out =
        vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
    for number in 0..16 {
        let labels = json!({"app": format!("web-{number}")});
        out.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(format!("web-{number}")),
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{
                        "name": "web", "image": "registry.example.org/web:1.0", "ports": [{"containerPort": 8080}],
                        "env": [{"name": "APP", "value": namespace}, {"name": "NUMBER", "value": number.to_string()}],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    }]},
                },
            },
        }));
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta(format!("web-{number}")),
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        if number % 2 == 0 {
            service["spec"]["clusterIP"] = json!("None");
        }
        out.push(service);
    }
    for number in 0..17 {
        out.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(format!("config-{number}")),
            "data": {"key": format!("value-{number}"), "text": "some lines of settings\n".repeat(20)},
        }));
    }
    out
}

fn git(folder: &Path, args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("git")
        .args([
            "-c",
            "user.name=measure",
            "-c",
            "user.email=measure@localhost",
        ])
        .args(args)
        .current_dir(folder)
        .status()
        .context("failed to start git")?;
    if !status.success() {
        bail!("git {} ended with {status}", args.join(" "));
    }
    Ok(())
}

fn commit(folder: &Path) -> anyhow::Result<()> {
    git(folder, &["add", "-A"])?;
    git(folder, &["commit", "-q", "-m", "measure"])
}

pub(crate) fn kubectl(
    tools: &Tools,
    kubeconfig: &Path,
    args: &[&str],
    input: Option<&str>,
) -> anyhow::Result<String> {
    use std::io::Write as _;
    let mut child = Command::new(tools.path("kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("failed to start kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_fifty_objects() {
        assert_eq!(objects(7).len(), 50);
    }

    #[test]
    fn counts_what_was_asked() {
        let event = |verb: &str, stage: &str, uri: &str, code: u64| {
            json!({
                "verb": verb, "stage": stage, "requestURI": uri, "responseStatus": {"code": code},
                "requestReceivedTimestamp": "2026-01-01T00:01:00.500000Z",
                "stageTimestamp": "2026-01-01T00:01:02.000000Z",
            })
        };
        let asked = Asked::of(&[
            event("patch", "ResponseComplete", "/a?force=true", 200),
            event("patch", "ResponseComplete", "/a", 409),
            event("watch", "ResponseStarted", "/b", 200),
            event("watch", "ResponseComplete", "/b", 200),
        ]);
        assert_eq!(asked.counted(), "patch 1, patch (409) 1, watch 1");
        assert_eq!((asked.total(), asked.writes(), asked.applied), (3, 2, 1));
        assert!((asked.seconds - 1.5).abs() < 0.001, "{}", asked.seconds);
    }
}
