//! Measures the agent against a real API server: how long, how many requests, how much memory.
//!
//! Requests are counted from the API server's audit log, so that only the agent's own count.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use oracle_cluster::{Client, Tools, wait_until};
use serde_json::Value;

use crate::measured::{Asked, Measured, Pair, kubectl, noticed, nouns};

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
    world.deliver(told.apps)?;
    let begun = Instant::now();
    let first = world.until_quiet("the first sync", objects)?;
    println!(
        "first sync: {:.1} s from the first request to the last, {:.1} s from the commit; {}",
        first.seconds,
        begun.elapsed().saturating_sub(QUIET).as_secs_f64(),
        first.counted()
    );
    println!("after the first sync: {}", world.memory()?);
    // the cluster's own controllers take a minute for this many Deployments, and a Rollout that gets on is not overtaken
    let seconds = world.until_ready(told.apps)?;
    println!(
        "every app is ready {seconds:.1} s later: {}",
        world.memory()?
    );
    let before = world.ground.audit()?.len();
    let cpu = world.cpu()?;
    std::thread::sleep(told.watch);
    let quiet = Asked::of(&world.ground.audit()?[before..]);
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
    ground: Measured,
    pair: Pair,
}

impl World {
    fn start(tools: &Tools, told: &Told, folder: &Path) -> anyhow::Result<Self> {
        let ground = Measured::start(tools, folder)?;
        let pair = Pair::start(&ground, &told.program)?;
        std::thread::sleep(Duration::from_secs(5));
        Ok(Self { ground, pair })
    }

    /// Makes the repository and tells the hub of it.
    fn deliver(&self, apps: usize) -> anyhow::Result<()> {
        self.ground.fill(apps)?;
        let url = format!("file://{}", self.ground.repository().display());
        let nouns = nouns(&url, "1s", apps);
        let apply = ["apply", "--server-side", "-f", "-"];
        let (tools, hub) = (&self.ground.tools, &self.pair.kubeconfig);
        kubectl(tools, hub, &apply, Some(&nouns)).map(drop)
    }

    fn one_object(&self) -> anyhow::Result<()> {
        let before = self.ground.audit()?.len();
        let begun = Instant::now();
        self.ground.change_one()?;
        let admin = self.ground.plane.admin();
        let path = "/api/v1/namespaces/app-000/configmaps/config-0";
        wait_for(admin, path, |object| object["data"]["key"] == "changed-0")?;
        let seconds = begun.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(5));
        let asked = Asked::of(&self.ground.audit()?[before..]);
        println!(
            "one-object commit: applied {seconds:.2} s after it (the Source is asked each second), {:.2} s after it was noticed; {} \
             requests; {}",
            asked.done - noticed(&self.ground.folder)?,
            asked.total(),
            asked.counted()
        );
        Ok(())
    }

    fn deleted_object(&self) -> anyhow::Result<()> {
        let admin = self.ground.plane.admin();
        let path = "/apis/apps/v1/namespaces/app-000/deployments/web-0";
        let old = admin.get(path)?.json()?["metadata"]["uid"].clone();
        let before = self.ground.audit()?.len();
        let begun = Instant::now();
        admin.send("DELETE", path, &[], &[])?;
        wait_for(admin, path, |object| {
            object["metadata"]["uid"].is_string() && object["metadata"]["uid"] != old
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(3));
        let asked = Asked::of(&self.ground.audit()?[before..]);
        println!(
            "a deleted Deployment is back after {seconds:.2} s; {} requests; {}",
            asked.total(),
            asked.counted()
        );
        Ok(())
    }

    /// Waits until so many objects were applied and nothing more is asked.
    fn until_quiet(&self, what: &str, objects: usize) -> anyhow::Result<Asked> {
        let mut last = (0, Instant::now());
        wait_until(what, PATIENCE, || {
            std::thread::sleep(Duration::from_millis(500));
            let asked = Asked::of(&self.ground.audit()?);
            if asked.total() != last.0 {
                last = (asked.total(), Instant::now());
            }
            let done = asked.applied >= objects && last.1.elapsed() > QUIET;
            Ok(done.then_some(asked))
        })
        .with_context(|| self.pair.agent.last_words())
    }

    /// Waits until the hub says of every App that it is ready.
    fn until_ready(&self, apps: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let path = r#"{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
        let asked = format!("jsonpath={path}");
        let (tools, hub) = (&self.ground.tools, &self.pair.kubeconfig);
        wait_until("every app to be ready", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(500));
            let said = kubectl(tools, hub, &["get", "apps", "-o", &asked], None)?;
            let ready = said.lines().filter(|line| *line == "True").count();
            Ok((ready == apps).then(|| begun.elapsed().as_secs_f64()))
        })
        .with_context(|| self.pair.agent.last_words())
    }

    fn memory(&self) -> anyhow::Result<String> {
        let path = format!("/proc/{}/status", self.pair.agent.recorded().pid);
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
        let path = format!("/proc/{}/stat", self.pair.agent.recorded().pid);
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
