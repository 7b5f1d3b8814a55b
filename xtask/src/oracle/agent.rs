//! Measures the agent against a real API server: how long, how many requests, how much memory.
//!
//! Requests are counted from the API server's audit log, so that only the agent's own count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use oracle_cluster::{Client, ControlPlane, Lifetime, Process, Settings, Tools, wait_until};
use serde_json::{Value, json};

const JSON: &str = "application/json";
pub(crate) const USER: &str = "measured-agent";
const PATIENCE: Duration = Duration::from_secs(600);
/// Nothing was asked for so long: what was to be done is done.
const QUIET: Duration = Duration::from_secs(8);

struct Told {
    apps: usize,
    program: PathBuf,
    watch: Duration,
}

impl Told {
    fn read(root: &Path, flags: &[String]) -> anyhow::Result<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut told = Self {
            apps: 100,
            program: target.join("release/roadstead"),
            watch: Duration::from_secs(60),
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let value = flags
                .next()
                .with_context(|| format!("{flag} wants a value"))?;
            let number = || {
                value
                    .parse()
                    .with_context(|| format!("{flag} wants a number, got {value:?}"))
            };
            match flag.as_str() {
                "--apps" => told.apps = usize::try_from(number()?)?,
                "--quiet-seconds" => told.watch = Duration::from_secs(number()?),
                "--program" => told.program = value.into(),
                other => bail!("unknown flag {other}"),
            }
        }
        if !told.program.is_file() {
            bail!(
                "no program {}: `cargo build --release --package roadstead` makes it",
                told.program.display()
            );
        }
        Ok(told)
    }
}

/// Runs `cargo xtask oracle agent`.
pub(super) fn run(root: &Path, flags: &[String]) -> anyhow::Result<ExitCode> {
    let told = Told::read(root, flags)?;
    let tools = Tools::find()?;
    tools.need(&["kubectl"])?;
    let folder = tempfile::Builder::new().prefix("oracle-").tempdir()?;
    let world = World::start(&tools, &told, folder.path())?;
    let objects = told.apps * 50;
    println!(
        "{objects} objects in {} apps, one cluster, API server's default flow control",
        told.apps
    );
    println!("idle, joined: {}", world.memory()?);
    world.deliver(&tools, told.apps)?;
    let begun = Instant::now();
    let first = world.until_quiet("the first sync", objects)?;
    println!(
        "first sync: {:.1} s from the first request to the last, {:.1} s from the commit; {}",
        first.seconds,
        begun.elapsed().saturating_sub(QUIET).as_secs_f64(),
        first.counted()
    );
    println!("after the first sync: {}", world.memory()?);
    let before = world.audit()?.len();
    let cpu = world.cpu()?;
    std::thread::sleep(told.watch);
    let quiet = Asked::of(&world.audit()?[before..]);
    println!(
        "no change for {} s: {} requests, {} writes, {:.0} ms of CPU; {}",
        told.watch.as_secs(),
        quiet.total(),
        quiet.writes(),
        (world.cpu()? - cpu) * 1000.0,
        quiet.counted()
    );
    world.one_object()?;
    world.deleted_object()?;
    println!("in the end: {}", world.memory()?);
    Ok(ExitCode::SUCCESS)
}

struct World {
    folder: PathBuf,
    plane: ControlPlane,
    agent: Process,
    _hub: Process,
}

impl World {
    fn start(tools: &Tools, told: &Told, folder: &Path) -> anyhow::Result<Self> {
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

        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let listen = format!("127.0.0.1:{port}");
        let strings = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let hub = strings(&[
            "hub",
            "--data",
            &file("hub"),
            "--listen",
            &listen,
            "--name",
            "127.0.0.1",
            "--kubeconfig",
            &file("hub.yaml"),
        ]);
        let hub = Process::start(
            "hub",
            &told.program,
            &hub,
            &folder.join("hub.log"),
            Lifetime::Tied,
        )?;
        let kubeconfig = folder.join("hub.yaml");
        wait_until("the hub", Duration::from_secs(60), || {
            let ready = kubectl(tools, &kubeconfig, &["get", "projects"], None);
            Ok(ready.ok())
        })?;
        let join = "/apis/roadstead.dev/v1alpha1/clusters/measured/join";
        let answer = kubectl(
            tools,
            &kubeconfig,
            &["create", "--raw", join, "-f", "-"],
            Some("{}"),
        )?;
        let answer: Value = serde_json::from_str(&answer).context("the hub's token is no JSON")?;
        let token = answer["token"].as_str().context("no token")?;
        let url = format!("https://{listen}");
        let agent = strings(&[
            "agent",
            "--hub",
            &url,
            "--name",
            "measured",
            "--kubeconfig",
            &file("cluster.yaml"),
            "--state",
            &file("state"),
            "--token",
            token,
        ]);
        let agent = Process::start(
            "agent",
            &told.program,
            &agent,
            &folder.join("agent.log"),
            Lifetime::Tied,
        )?;
        let world = Self {
            folder: folder.to_owned(),
            plane,
            agent,
            _hub: hub,
        };
        wait_until("the agent's joining", Duration::from_secs(60), || {
            let get = [
                "get",
                "cluster",
                "measured",
                "-o",
                "jsonpath={.status.connection}",
            ];
            // before it has joined there is none
            let found = kubectl(tools, &kubeconfig, &get, None).unwrap_or_default();
            Ok((found == "Connected").then_some(()))
        })
        .with_context(|| world.agent.last_words())?;
        std::thread::sleep(Duration::from_secs(5));
        Ok(world)
    }

    /// Makes the repository and tells the hub of it.
    fn deliver(&self, tools: &Tools, apps: usize) -> anyhow::Result<()> {
        let repository = self.folder.join("repository");
        let mut nouns = vec![json!({
            "apiVersion": "roadstead.dev/v1alpha1",
            "kind": "Source",
            "metadata": {"name": "measured", "namespace": "default"},
            "spec": {"git": {"url": format!("file://{}", repository.display()), "branch": "main"}, "interval": "1s"},
        })];
        for app in 0..apps {
            let folder = repository.join(format!("apps/{app:03}"));
            std::fs::create_dir_all(&folder)?;
            let objects: Vec<String> = objects(app).iter().map(Value::to_string).collect();
            std::fs::write(folder.join("all.yaml"), objects.join("\n---\n"))?;
            nouns.push(json!({
                "apiVersion": "roadstead.dev/v1alpha1",
                "kind": "App",
                "metadata": {"name": format!("app-{app:03}"), "namespace": "default"},
                "spec": {
                    "inputs": [{"source": "measured", "path": format!("apps/{app:03}")}],
                    "targets": [{"name": "all"}],
                },
            }));
        }
        git(&repository, &["init", "-q", "-b", "main"])?;
        commit(&repository)?;
        let list: Vec<String> = nouns.iter().map(Value::to_string).collect();
        let list = list.join("\n---\n");
        let apply = ["apply", "--server-side", "-f", "-"];
        kubectl(tools, &self.folder.join("hub.yaml"), &apply, Some(&list))?;
        Ok(())
    }

    fn one_object(&self) -> anyhow::Result<()> {
        let repository = self.folder.join("repository");
        let file = repository.join("apps/000/all.yaml");
        let text = std::fs::read_to_string(&file)?.replacen("value-0\"", "changed-0\"", 1);
        std::fs::write(&file, text)?;
        let before = self.audit()?.len();
        let begun = Instant::now();
        commit(&repository)?;
        let admin = self.plane.admin();
        let path = "/api/v1/namespaces/app-000/configmaps/config-0";
        wait_for(admin, path, |object| object["data"]["key"] == "changed-0")?;
        let seconds = begun.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(5));
        let asked = Asked::of(&self.audit()?[before..]);
        println!(
            "one-object commit: applied {seconds:.2} s after it (the Source is asked each second); {} requests; {}",
            asked.total(),
            asked.counted()
        );
        Ok(())
    }

    fn deleted_object(&self) -> anyhow::Result<()> {
        let admin = self.plane.admin();
        let path = "/apis/apps/v1/namespaces/app-000/deployments/web-0";
        let old = admin.get(path)?.json()?["metadata"]["uid"].clone();
        let before = self.audit()?.len();
        let begun = Instant::now();
        admin.send("DELETE", path, &[], &[])?;
        wait_for(admin, path, |object| {
            object["metadata"]["uid"].is_string() && object["metadata"]["uid"] != old
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(3));
        let asked = Asked::of(&self.audit()?[before..]);
        println!(
            "a deleted Deployment is back after {seconds:.2} s; {} requests; {}",
            asked.total(),
            asked.counted()
        );
        Ok(())
    }

    /// Every request of the agent so far.
    fn audit(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.folder.join("audit.log"))?;
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Waits until so many objects were applied and nothing more is asked.
    fn until_quiet(&self, what: &str, objects: usize) -> anyhow::Result<Asked> {
        let mut last = (0, Instant::now());
        wait_until(what, PATIENCE, || {
            std::thread::sleep(Duration::from_millis(500));
            let asked = Asked::of(&self.audit()?);
            if asked.total() != last.0 {
                last = (asked.total(), Instant::now());
            }
            let done = asked.applied >= objects && last.1.elapsed() > QUIET;
            Ok(done.then_some(asked))
        })
        .with_context(|| self.agent.last_words())
    }

    fn memory(&self) -> anyhow::Result<String> {
        let path = format!("/proc/{}/status", self.agent.recorded().pid);
        let status = std::fs::read_to_string(path)?;
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or(0.0) / 1024.0
        };
        Ok(format!(
            "agent holds {:.1} MiB (at most {:.1}; {:.1} without mapped files), has used {:.2} s of CPU",
            field("VmRSS:"),
            field("VmHWM:"),
            field("RssAnon:"),
            self.cpu()?
        ))
    }

    fn cpu(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.agent.recorded().pid);
        let stat = std::fs::read_to_string(path)?;
        let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
        let ticks: f64 = rest
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        Ok(ticks / 100.0)
    }
}

/// What was asked of the API server.
pub(crate) struct Asked {
    verbs: BTreeMap<String, usize>,
    /// Different objects that were applied.
    applied: usize,
    seconds: f64,
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

fn wait_for(admin: &Client, path: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        if fits(&admin.get(path)?.json()?) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{path} did not become as it should within 120 s")
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> anyhow::Result<()> {
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

pub(crate) fn commit(folder: &Path) -> anyhow::Result<()> {
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
