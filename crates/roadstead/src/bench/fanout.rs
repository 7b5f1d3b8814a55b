//! `roadstead bench fanout`: from a commit to every connected agent.
//!
//! The clock starts when the hub is asked to poll, as a webhook asks, and stops for an agent when it has checked the
//! order and holds every content that the order names. One stage and one wave: what is measured is the way, not waves.

pub(super) mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use http::Method;
use roadstead_model::Time;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::agents::{Held, Said, Tell, micros};
use super::figures::{grown, median, percentile, scrape};
use crate::client::{API, Access, Ask, Client};
use crate::demo::fleet::{child, program, until};
use crate::demo::repository::Repository;
use crate::serve::clusters::names;
use crate::shell::Outcome;

/// Measures the way from a commit to every agent.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many clusters, each with an agent that is connected
    #[arg(long, default_value_t = 200)]
    clusters: usize,
    /// How many Apps, of ten objects each
    #[arg(long, default_value_t = 10)]
    apps: usize,
    /// How many commits, each of which changes one object of one App
    #[arg(long, default_value_t = 5)]
    commits: usize,
    /// How long to watch while nothing changes, in seconds
    #[arg(long, default_value_t = 10)]
    quiet_for: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

type Page = BTreeMap<String, f64>;

struct Bench {
    client: Client,
    agents: ChildStdin,
    said: mpsc::UnboundedReceiver<Said>,
    repository: Repository,
    folder: PathBuf,
    listen: String,
    patience: Duration,
    hub: Child,
    agents_process: Child,
}

/// What one commit came to.
struct Round {
    held: Vec<f64>,
    told: Vec<f64>,
    ordered: Vec<f64>,
    /// Bytes that each connection brought, HTTP/2 included.
    bytes: Vec<f64>,
    entries: usize,
    contents: usize,
    orders: usize,
    steps: BTreeMap<String, f64>,
    pages: (Page, Page),
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    if args.clusters == 0 || args.apps == 0 || args.commits == 0 {
        bail!("--clusters, --apps and --commits must be at least 1");
    }
    let folder = tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir()?;
    let mut bench = Bench::start(folder.path().to_owned()).await?;
    let measured = bench.measure(&args).await;
    ended(&bench, measured, args.json)
}

/// Tells how it ended: with the hub's log where it failed, and by the exit status whether the targets are met.
fn ended(bench: &Bench, measured: anyhow::Result<(bool, Value)>, json: bool) -> Outcome {
    if measured.is_err() {
        bench.show_log();
    }
    let (good, figures) = measured?;
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn manifests(app: usize, change: usize) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut put = |kind: &str, api: &str, n: usize, rest: String| {
        let name = format!("{}-{n}", kind.to_lowercase());
        let text = format!(
            "apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  labels: {{ app: a{app}, part: p{n} }}\n{rest}"
        );
        out.push((format!("apps/a{app}/{name}.yaml"), text));
    };
    for n in 0..3 {
        let tag = if n == 0 { change } else { 0 };
        put(
            "Deployment",
            "apps/v1",
            n,
            format!(
                "spec:\n  replicas: 3\n  selector: {{ matchLabels: {{ app: a{app}, part: p{n} }} }}\n  template:\n    metadata:\n      labels: {{ app: a{app}, part: p{n} }}\n    spec:\n      containers:\n        - name: main\n          image: registry.example.com/team/a{app}-{n}:1.0.{tag}\n          ports: [{{ containerPort: 8080 }}]\n          env:\n            - {{ name: LOG_LEVEL, value: info }}\n            - {{ name: UPSTREAM, value: http://service-{n}:8080 }}\n          resources:\n            requests: {{ cpu: 100m, memory: 128Mi }}\n            limits: {{ memory: 256Mi }}\n          readinessProbe:\n            httpGet: {{ path: /readyz, port: 8080 }}\n"
            ),
        );
        put(
            "Service",
            "v1",
            n,
            format!(
                "spec:\n  selector: {{ app: a{app}, part: p{n} }}\n  ports: [{{ port: 8080, targetPort: 8080 }}]\n"
            ),
        );
        put(
            "ConfigMap",
            "v1",
            n,
            format!("data:\n  mode: production\n  peer: a{app}-{n}\n"),
        );
    }
    put("ServiceAccount", "v1", 0, String::new());
    out
}

impl Bench {
    async fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let listen = listen.to_string();
        let hub = start_hub(&folder, &listen)?;
        let path = folder.join("hub.yaml");
        let client = until("the hub's start", Duration::from_secs(60), || async {
            if !path.exists() {
                return Ok(None);
            }
            let client = Client::new(Access::read(&path, None)?, "default".to_owned())?;
            client.ask(Ask::get(&format!("{API}/projects"))).await?;
            Ok(Some(client))
        })
        .await?;
        let log = std::fs::File::create(folder.join("logs").join("agents.log"))?;
        let mut agents = Command::new(program()?)
            .args(["bench", "agents", "--hub", client.server()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("failed to start the agents")?;
        let (stdin, stdout) = (agents.stdin.take(), agents.stdout.take());
        let stdin = stdin.context("the agents have no input")?;
        let stdout = stdout.context("the agents have no output")?;
        let (say, said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(heard) = serde_json::from_str(&line) else {
                    return;
                };
                if say.send(heard).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            client,
            agents: stdin,
            said,
            repository: Repository::empty(&folder.join("repository"))?,
            folder,
            listen,
            patience: Duration::from_secs(180),
            hub,
            agents_process: agents,
        })
    }

    fn show_log(&self) {
        let text = std::fs::read_to_string(self.folder.join("logs/hub.log")).unwrap_or_default();
        let bad = text
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"));
        for line in bad.take(20) {
            eprintln!("hub: {line}");
        }
    }

    async fn tell(&mut self, tell: &Tell) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(tell)?;
        line.push(b'\n');
        self.agents.write_all(&line).await?;
        Ok(self.agents.flush().await?)
    }

    async fn heard(&mut self) -> anyhow::Result<Said> {
        match tokio::time::timeout(self.patience, self.said.recv()).await {
            Ok(Some(Said::Failed { agent, error })) => bail!("agent {agent}: {error}"),
            Ok(Some(said)) => Ok(said),
            Ok(None) => bail!("the agents have ended"),
            Err(_) => bail!(
                "nothing was heard of the agents for {} s",
                self.patience.as_secs()
            ),
        }
    }

    async fn make(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let ask = Ask::send(Method::POST, path, "application/json", object);
        self.client
            .ask(ask)
            .await
            .with_context(|| format!("failed to make {path}"))
    }

    async fn page(&self) -> anyhow::Result<Page> {
        Ok(scrape(&self.client.text("/metrics").await?))
    }

    /// Waits until the hub has written nothing for a while.
    async fn settled(&self) -> anyhow::Result<Page> {
        let mut last = self.page().await?;
        let mut since = Instant::now();
        let started = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let page = self.page().await?;
            if grown(&last, &page, "roadstead_hub_store_revision") != 0.0 {
                since = Instant::now();
            }
            last = page;
            if since.elapsed() > Duration::from_millis(2500) {
                return Ok(last);
            }
            if started.elapsed() > self.patience {
                bail!("the hub does not come to rest");
            }
        }
    }

    async fn count(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.tell(&Tell::Count).await?;
        loop {
            if let Said::Counted { received } = self.heard().await? {
                return Ok(received);
            }
        }
    }

    async fn poll(&self) -> anyhow::Result<()> {
        let path = format!("{API}/namespaces/default/sources/fleet/poll");
        self.make(&path, &json!({})).await.map(drop)
    }

    async fn measure(&mut self, args: &Args) -> anyhow::Result<(bool, Value)> {
        let say = |text: String| {
            if !args.json {
                println!("{text}");
            }
        };
        let started = Instant::now();
        self.join(args.clusters).await?;
        say(format!(
            "{} agents have joined and are connected: {:.1} s",
            args.clusters,
            started.elapsed().as_secs_f64()
        ));
        let started = Instant::now();
        self.deliver_first(args.apps, args.clusters).await?;
        let first = started.elapsed().as_secs_f64();
        say(format!(
            "{} Apps reached {} agents for the first time: {first:.1} s",
            args.apps, args.clusters
        ));
        self.settled().await?;

        let mut rounds = Vec::new();
        for n in 0..args.commits {
            let round = self.round(n % args.apps, n + 1, args.clusters).await?;
            say(format!(
                "commit {}: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; {:.0} bytes an agent (median); {} entry, {} contents",
                n + 1,
                percentile(&round.held, 50),
                percentile(&round.held, 99),
                percentile(&round.held, 100),
                median(&round.bytes),
                round.entries,
                round.contents,
            ));
            rounds.push(round);
        }
        let of =
            |pick: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
        let p50 = of(&|round| percentile(&round.held, 50));
        let p99 = of(&|round| percentile(&round.held, 99));
        let max = of(&|round| percentile(&round.held, 100));
        let bytes = of(&|round| median(&round.bytes));
        say(format!(
            "median of {} commits: p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms; {bytes:.0} bytes an agent and commit",
            rounds.len()
        ));
        say("where the time goes (medians; ms after the poll was asked for):".to_owned());
        let mut steps = BTreeMap::new();
        for name in rounds.iter().flat_map(|round| round.steps.keys()) {
            steps.insert(
                name.clone(),
                of(&|round| round.steps.get(name).copied().unwrap_or_default()),
            );
        }
        let mut timeline: Vec<(String, f64)> = steps.clone().into_iter().collect();
        for (name, pick) in [
            ("agents told, first", 0),
            ("agents told, p50", 50),
            ("agents told, last", 100),
        ] {
            timeline.push((name.to_owned(), of(&|round| percentile(&round.told, pick))));
        }
        for (name, pick) in [("orders there, p50", 50), ("orders there, last", 100)] {
            timeline.push((
                name.to_owned(),
                of(&|round| percentile(&round.ordered, pick)),
            ));
        }
        timeline.push(("contents there, p50".to_owned(), p50));
        timeline.push(("contents there, last".to_owned(), max));
        timeline.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (name, at) in &timeline {
            say(format!("  {at:>7.0}  {name}"));
        }
        say("what the hub worked on until every agent held it (sums; ms):".to_owned());
        let mut work = BTreeMap::new();
        for name in [
            "source_poll",
            "render",
            "decide",
            "commit_wait",
            "ingest",
            "order_make",
            "order_send",
        ] {
            let metric = format!("roadstead_hub_{name}_duration_seconds");
            let grew = |round: &Round, part: &str| {
                grown(&round.pages.0, &round.pages.1, &format!("{metric}_{part}"))
            };
            let sum = of(&|round| grew(round, "sum")) * 1000.0;
            let count = of(&|round| grew(round, "count"));
            say(format!("  {sum:>7.0}  {name} ({count:.0} times)"));
            work.insert(name, sum);
        }

        let one = rounds.iter().all(|round| {
            round.entries == 1 && round.orders == args.clusters && round.contents == 2
        });
        say(format!(
            "a commit that changes one App of {}: one order an agent with one entry, and two contents (its list as a patch, the changed object): {}",
            args.apps,
            told(one)
        ));
        let mut quiet = self.quiet(args.quiet_for).await?;
        if quiet.1 > 0.0 {
            say(format!(
                "the minute's notes of when {} clusters were heard of: {} writes, shown status included",
                quiet.1,
                quiet.0 + quiet.1
            ));
            // the next ones are a minute away
            quiet = self.quiet(args.quiet_for.min(40)).await?;
        }
        say(format!(
            "nothing changes for {} s, polled once: {} writes (and {} notes of when clusters were heard of), {} bytes to all agents: {}",
            args.quiet_for,
            quiet.0,
            quiet.1,
            quiet.2,
            told(quiet.0 == 0.0 && quiet.2 == 0)
        ));
        let idle = self.idle(args.quiet_for).await?;
        let each = |what: f64| what / args.clusters as f64;
        say(format!(
            "the hub with {} connected, idle agents: {:.0} MiB ({:.0} KiB an agent), {:.1} % of a core ({:.3} millicores an agent)",
            args.clusters,
            idle.0 / 1024.0,
            each(idle.0),
            idle.1 * 100.0,
            each(idle.1 * 1000.0),
        ));
        let (started, back) = self.restart(args.clusters).await?;
        say(format!(
            "killed and started again: it answers after {started:.1} s, every agent is back and nothing is left to do after {back:.1} s"
        ));
        let fast = p99 <= 3000.0;
        say(format!("p99 within 3 s: {}", told(fast)));
        let figures = json!({
            "clusters": args.clusters, "apps": args.apps, "commits": args.commits,
            "first_delivery_s": first, "p50_ms": p50, "p99_ms": p99, "max_ms": max,
            "bytes_per_agent": bytes, "timeline_ms": timeline, "hub_work_ms": work,
            "one_app_only": one, "quiet_writes": quiet.0, "quiet_notes": quiet.1, "quiet_bytes": quiet.2,
            "hub_rss_kib": idle.0, "hub_idle_cores": idle.1, "restart_answers_s": started, "restart_converged_s": back,
        });
        Ok((fast && one && quiet.0 == 0.0 && quiet.2 == 0, figures))
    }

    /// What the hub takes while nothing changes: KiB of memory, and cores.
    async fn idle(&mut self, seconds: u64) -> anyhow::Result<(f64, f64)> {
        self.settled().await?;
        let pid = self.hub.id().context("the hub has ended")?;
        let before = cpu_seconds(pid)?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let cores = (cpu_seconds(pid)? - before) / began.elapsed().as_secs_f64();
        Ok((resident_kib(pid)?, cores))
    }

    /// Kills the hub and starts it again; how long until it answers, and until every agent is back and it is at rest.
    async fn restart(&mut self, clusters: usize) -> anyhow::Result<(f64, f64)> {
        let _ = self.hub.kill().await;
        let began = Instant::now();
        self.hub = start_hub(&self.folder, &self.listen)?;
        let page = until("the hub's answer", self.patience, || async {
            Ok(self.page().await.ok())
        })
        .await?;
        let started = began.elapsed().as_secs_f64();
        let mut last = page.get("roadstead_hub_store_revision").copied();
        let mut at_rest = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let page = self.page().await?;
            let revision = page.get("roadstead_hub_store_revision").copied();
            let connected = page.get("roadstead_hub_agents_connected").copied();
            let all = connected.is_some_and(|connected| connected >= clusters as f64);
            if revision != last || !all {
                last = revision;
                at_rest = Instant::now();
            }
            if at_rest.elapsed() > Duration::from_secs(3) {
                return Ok((started, (at_rest - began).as_secs_f64()));
            }
            if began.elapsed() > self.patience {
                bail!("the agents are not back: {connected:?} of {clusters} are connected");
            }
        }
    }

    async fn join(&mut self, clusters: usize) -> anyhow::Result<()> {
        for name in names("cluster", clusters) {
            let path = format!("{API}/clusters/{name}/join");
            let made = self.make(&path, &json!({ "labels": {} })).await?;
            let token = made["token"].as_str().unwrap_or_default().to_owned();
            self.tell(&Tell::Join { name, token }).await?;
        }
        let mut connected = BTreeSet::new();
        while connected.len() < clusters {
            if let Said::Connected { agent } = self.heard().await? {
                connected.insert(agent);
            }
        }
        Ok(())
    }

    async fn deliver_first(&mut self, apps: usize, clusters: usize) -> anyhow::Result<()> {
        for app in 0..apps {
            for (path, text) in manifests(app, 0) {
                self.repository.write(&path, &text)?;
            }
        }
        self.repository.commit("Deliver everything")?;
        let noun = |kind: &str, name: &str, spec: Value| {
            json!({
                "apiVersion": "roadstead.dev/v1alpha1", "kind": kind,
                "metadata": { "name": name, "namespace": "default" }, "spec": spec,
            })
        };
        let own = format!("{API}/namespaces/default");
        let strategy = noun(
            "Strategy",
            "at-once",
            json!({ "stages": [{ "name": "all" }] }),
        );
        self.make(&format!("{own}/strategies"), &strategy).await?;
        let url = self.repository.url();
        let git = json!({ "git": { "url": url, "branch": "main" }, "interval": "24h" });
        self.make(&format!("{own}/sources"), &noun("Source", "fleet", git))
            .await?;
        for app in 0..apps {
            let spec = json!({
                "inputs": [{ "source": "fleet", "path": format!("apps/a{app}") }],
                "namespace": format!("a{app}"),
                "strategy": "at-once",
                "targets": [{ "name": "all" }],
            });
            self.make(
                &format!("{own}/apps"),
                &noun("App", &format!("a{app}"), spec),
            )
            .await?;
        }
        let mut whole = BTreeSet::new();
        while whole.len() < clusters {
            if let Said::Held(held) = self.heard().await?
                && held.entries == apps
            {
                whole.insert(held.agent);
            }
        }
        self.completed(apps).await
    }

    /// Waits until so many Rollouts are complete.
    async fn completed(&self, wanted: usize) -> anyhow::Result<()> {
        let path = format!("{API}/namespaces/default/rollouts");
        until("the Rollouts' end", self.patience, || async {
            let list = self.client.ask(Ask::get(&path)).await?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let done = items
                .iter()
                .filter(|item| item["status"]["phase"] == "Completed")
                .count();
            Ok((done >= wanted).then_some(()))
        })
        .await
    }

    async fn round(&mut self, app: usize, change: usize, clusters: usize) -> anyhow::Result<Round> {
        for (path, text) in manifests(app, change) {
            self.repository.write(&path, &text)?;
        }
        let commit = self.repository.commit(&format!("Change a{app}"))?;
        let name = format!("a{app}");
        let before = self.page().await?;
        let received = self.count().await?;
        let zero = micros();
        self.poll().await?;
        let mut held: BTreeMap<String, Held> = BTreeMap::new();
        let mut orders = 0;
        while held.len() < clusters {
            if let Said::Held(said) = self.heard().await? {
                orders += 1;
                if said.changed.get(&name) == Some(&commit) {
                    held.entry(said.agent.clone()).or_insert(*said);
                }
            }
        }
        let after = self.page().await?;
        self.settled().await?;
        while let Ok(said) = self.said.try_recv() {
            orders += usize::from(matches!(said, Said::Held(_)));
        }
        let in_all = self.count().await?;
        let ms = |at: u64| at.saturating_sub(zero) as f64 / 1000.0;
        let all = |pick: &dyn Fn(&Held) -> u64| held.values().map(|held| ms(pick(held))).collect();
        let path = format!("{API}/namespaces/default/apps/{name}/history");
        let history = self.client.ask(Ask::get(&path)).await?;
        let mut steps = BTreeMap::new();
        for item in history["items"].as_array().into_iter().flatten() {
            let at = item["at"].as_str().and_then(|at| at.parse::<Time>().ok());
            let at = at.and_then(|at| u64::try_from(at.0).ok()).unwrap_or(0) * 1000;
            if at + 1000 >= zero {
                let reason = item["reason"].as_str().unwrap_or_default();
                steps.insert(format!("event {reason}"), ms(at));
            }
        }
        Ok(Round {
            held: all(&|held| held.held_at),
            told: all(&|held| held.told_at),
            ordered: all(&|held| held.order_at),
            bytes: in_all
                .iter()
                .map(|(agent, bytes)| {
                    bytes.saturating_sub(received.get(agent).copied().unwrap_or_default()) as f64
                })
                .collect(),
            entries: held
                .values()
                .map(|held| held.changed.len())
                .max()
                .unwrap_or(0),
            contents: held.values().map(|held| held.contents).max().unwrap_or(0),
            orders,
            steps,
            pages: (before, after),
        })
    }

    /// Writes, notes and bytes while nothing changes.
    async fn quiet(&mut self, seconds: u64) -> anyhow::Result<(f64, f64, u64)> {
        self.settled().await?;
        let received = self.count().await?;
        let before = self.page().await?;
        self.poll().await?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = self.page().await?;
        let again = self.count().await?;
        let notes = grown(&before, &after, "roadstead_hub_seen_notes_total");
        let writes = grown(&before, &after, "roadstead_hub_store_revision") - notes;
        let bytes = again
            .iter()
            .map(|(agent, bytes)| {
                bytes.saturating_sub(received.get(agent).copied().unwrap_or_default())
            })
            .sum();
        Ok((writes, notes, bytes))
    }
}

fn start_hub(folder: &Path, listen: &str) -> anyhow::Result<Child> {
    let text = |name: &str| folder.join(name).display().to_string();
    let (data, kubeconfig) = (text("hub"), text("hub.yaml"));
    child(
        folder,
        "hub.log",
        &[
            "hub",
            "--data",
            &data,
            "--listen",
            listen,
            "--name",
            "127.0.0.1",
            "--kubeconfig",
            &kubeconfig,
            "--no-own-agent",
        ],
    )
}

/// The processor time that a process has used, in seconds (proc(5), fields 14 and 15).
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .context("failed to read what the hub has used")?;
    // the name in brackets may hold anything
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |at: usize| rest.split_whitespace().nth(at)?.parse::<f64>().ok();
    let ticks = field(11).unwrap_or_default() + field(12).unwrap_or_default();
    // Linux tells these in hundredths of a second on every architecture
    Ok(ticks / 100.0)
}

/// The memory that a process has in the machine, in KiB.
fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .context("failed to read what the hub has in memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.context("the system does not tell how much memory a process has")
}

fn told(good: bool) -> &'static str {
    if good { "yes" } else { "NO" }
}
