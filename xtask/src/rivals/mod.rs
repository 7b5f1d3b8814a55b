//! Measures the agent beside others that do the same: each alone, on a fresh real API server of its own.
//!
//! Requests are counted from the API server's audit log, of the measured programs alone. When everything is there is
//! seen by the same eyes for all: the API server is asked how many objects it has.

mod start;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use git_host::GitHost;
use oracle_cluster::{Process, Tools, wait_until};
use serde_json::Value;

use crate::Context;
use crate::measured::{Asked, Measured, objects};

const PATIENCE: Duration = Duration::from_secs(600);
/// How long a deleted object is waited for.
const HEALS: Duration = Duration::from_secs(33);
const USAGE: &str = "usage: cargo xtask bench-rivals [--apps N]… [--only floor|roadstead|flux|gitops-engine]… [--program FILE]";

/// One of those that are measured.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// What the measured programs are, the first being the one that applies.
    pub(super) processes: Vec<Process>,
    /// What runs with them and is not measured.
    pub(super) beside: Vec<Process>,
    /// Begins delivering what is in the repository.
    pub(super) begin: Box<dyn Fn() -> anyhow::Result<()>>,
    /// Says that there is a new commit.
    pub(super) ask: Box<dyn Fn() -> anyhow::Result<()>>,
    /// It looks at everything again and again, so that there is no quiet to wait for: what it asks for a commit is counted
    /// until the commit is there.
    pub(super) restless: bool,
    /// When it noticed the last commit, in seconds of the day, if it tells.
    pub(super) noticed: Option<Box<dyn Fn() -> anyhow::Result<f64>>>,
}

/// What a contender is put on.
pub(super) struct Ground {
    pub(super) on: Measured,
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
    pub(super) apps: usize,
    /// Where the repository is served.
    pub(super) url: String,
}

impl Ground {
    fn new(told: &Told, tools: &Tools, folder: &Path, apps: usize) -> anyhow::Result<Self> {
        let on = Measured::start(tools, folder)?;
        on.fill(apps)?;
        let git = GitHost::on(Ipv4Addr::LOCALHOST, folder)?;
        Ok(Self {
            on,
            program: told.program.clone(),
            root: told.root.clone(),
            apps,
            url: git.url(Ipv4Addr::LOCALHOST, "repository"),
        })
    }

    /// How many objects of a kind there are.
    fn count(&self, path: &str) -> anyhow::Result<usize> {
        let list = self
            .on
            .plane
            .admin()
            .get(&format!("{path}?limit=1"))?
            .json()?;
        let shown = list["items"].as_array().map_or(0, Vec::len);
        let rest = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        Ok(shown + usize::try_from(rest)?)
    }

    /// Is everything there that the first commit holds?
    fn is_whole(&self) -> anyhow::Result<bool> {
        // the map and the service that a cluster makes by itself are not ours
        let wanted = [
            ("/apis/apps/v1/deployments", 16 * self.apps),
            ("/api/v1/services", 16 * self.apps + 1),
            ("/api/v1/configmaps", 17 * self.apps),
        ];
        for (path, count) in wanted {
            if self.count(path)? < count {
                return Ok(false);
            }
        }
        let list = self.on.plane.admin().get("/api/v1/configmaps")?.json()?;
        let items = list["items"].as_array().context("no list")?;
        let ours = items.iter().filter(|item| {
            let name = item["metadata"]["name"].as_str();
            name.is_some_and(|name| name.starts_with("config-"))
        });
        Ok(ours.count() == 17 * self.apps)
    }

    fn until_whole(&self, begun: Instant, contender: Option<&Contender>) -> anyhow::Result<f64> {
        wait_until("the first sync", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(100));
            Ok(self.is_whole()?.then(|| begun.elapsed().as_secs_f64()))
        })
        .with_context(|| contender.map_or_else(String::new, Contender::last_words))
    }

    /// Waits until nothing is asked any more; watches and leases are no work.
    fn until_quiet(&self, contender: &Contender) -> anyhow::Result<()> {
        if contender.restless {
            return Ok(());
        }
        let mut last = (0, Instant::now());
        wait_until("quiet", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(500));
            let count = Asked::of(&self.on.audit()?).total();
            if count != last.0 {
                last = (count, Instant::now());
            }
            Ok((last.1.elapsed() > Duration::from_secs(6)).then_some(()))
        })
    }
}

impl Contender {
    pub(super) fn last_words(&self) -> String {
        let all = self.processes.iter().chain(&self.beside);
        all.map(Process::last_words).collect::<Vec<_>>().join("\n")
    }

    /// Megabytes (1,000,000 bytes) at most, of each.
    fn memory(&self) -> anyhow::Result<Vec<f64>> {
        let one = |process: &Process| {
            let path = format!("/proc/{}/status", process.recorded().pid);
            let status = std::fs::read_to_string(path)?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            Ok(kib.context("no VmHWM")? * 1024.0 / 1e6)
        };
        self.processes.iter().map(one).collect()
    }

    /// Seconds of CPU, of all.
    fn cpu(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for process in &self.processes {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.recorded().pid))?;
            let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
            let ticks = rest.split(' ').skip(11).take(2);
            sum += ticks.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0;
        }
        Ok(sum)
    }
}

struct Told {
    root: PathBuf,
    program: PathBuf,
    apps: Vec<usize>,
    only: Vec<String>,
}

impl Told {
    fn read(root: &Path, flags: &[String]) -> anyhow::Result<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut told = Self {
            root: root.to_owned(),
            program: target.join("release/roadstead"),
            apps: Vec::new(),
            only: Vec::new(),
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let value = flags.next().with_context(|| USAGE)?;
            match flag.as_str() {
                "--apps" => told.apps.push(value.parse().with_context(|| USAGE)?),
                "--only" => told.only.push(value.clone()),
                "--program" => told.program = value.into(),
                _ => bail!("{USAGE}"),
            }
        }
        if told.apps.is_empty() {
            told.apps = vec![20, 100];
        }
        Ok(told)
    }
}

type Start = fn(&Ground) -> anyhow::Result<Contender>;

/// Runs `cargo xtask bench-rivals`.
pub(crate) fn run(context: &Context, flags: &[String]) -> anyhow::Result<ExitCode> {
    let told = Told::read(&context.root, flags)?;
    let tools = Tools::find()?;
    let all: [(&str, &[&str], Start); 3] = [
        ("roadstead", &["kubectl"], start::roadstead),
        (
            "flux",
            &["kubectl", "flux-source", "flux-kustomize"],
            start::flux,
        ),
        (
            "gitops-engine",
            &["kubectl", "gitops-engine"],
            start::gitops_engine,
        ),
    ];
    let wanted = |name: &str| told.only.is_empty() || told.only.iter().any(|only| only == name);
    println!(
        "| | objects | first sync | one-object commit, asked at once | API requests for that one object | requests in 20 s without change | peak memory | CPU by then | a deleted Deployment comes back |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for apps in &told.apps {
        if wanted("floor") {
            floor(&told, &tools, *apps)?;
        }
        for (name, needs, start) in &all {
            if wanted(name) {
                tools.need(needs)?;
                if let Err(error) = measure(&told, &tools, *apps, *start) {
                    println!("| {name} | {} | failed: {error:#} |", apps * 50);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(told: &Told, tools: &Tools, apps: usize, start: Start) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("rivals-").tempdir()?;
    let ground = Ground::new(told, tools, folder.path(), apps)?;
    let contender = start(&ground)?;
    let begun = Instant::now();
    (contender.begin)()?;
    let first = ground.until_whole(begun, Some(&contender))?;
    ground.until_quiet(&contender)?;
    let (memory, cpu) = (contender.memory()?, contender.cpu()?);
    // the controllers take their time; who waits for health would be measured by theirs
    let all = "/apis/apps/v1/deployments";
    wait_until("the controllers", PATIENCE, || {
        let found = ground.on.plane.admin().get(all)?.json()?;
        let mut items = found["items"].as_array().into_iter().flatten();
        let seen = |it: &Value| it["status"]["observedGeneration"] == it["metadata"]["generation"];
        Ok(items.all(seen).then_some(()))
    })
    .with_context(|| contender.last_words())?;
    ground.until_quiet(&contender)?;

    ground.on.change_one()?;
    let before = ground.on.audit()?.len();
    let begun = Instant::now();
    (contender.ask)()?;
    let admin = ground.on.plane.admin();
    let path = "/api/v1/namespaces/app-000/configmaps/config-0";
    let changed = wait_until("the commit", PATIENCE, || {
        let found = admin.get(path)?.json()?;
        Ok((found["data"]["key"] == "changed-0").then(|| begun.elapsed().as_secs_f64()))
    })?;
    ground.until_quiet(&contender)?;
    let one = Asked::of(&ground.on.audit()?[before..]);
    let noticed = match &contender.noticed {
        Some(noticed) => format!(" ({:.2} s after it was noticed)", one.done - noticed()?),
        None => String::new(),
    };

    let before = ground.on.audit()?.len();
    std::thread::sleep(Duration::from_secs(20));
    let quiet = Asked::of(&ground.on.audit()?[before..]);

    let path = "/apis/apps/v1/namespaces/app-000/deployments/web-0";
    let old = admin.get(path)?.json()?["metadata"]["uid"].clone();
    let begun = Instant::now();
    admin.send("DELETE", path, &[], &[])?;
    let back = wait_until("the Deployment", HEALS, || {
        let found = admin.get(path)?.json()?;
        let uid = &found["metadata"]["uid"];
        Ok((uid.is_string() && *uid != old).then(|| begun.elapsed().as_secs_f64()))
    });
    let back = back.map_or_else(
        |_| format!("not within {} s", HEALS.as_secs()),
        |seconds| format!("{seconds:.2} s"),
    );
    let memory: Vec<String> = memory.iter().map(|it| format!("{it:.0}")).collect();
    println!(
        "| {} | {} | {first:.1} s | {changed:.2} s{noticed} | {} ({}) | {} ({}) | {} MB | {cpu:.1} s | {back} |",
        contender.name,
        apps * 50,
        one.total(),
        one.counted(),
        quiet.total(),
        quiet.counted(),
        memory.join(" + "),
    );
    Ok(())
}

/// The same applies, sent as fast as the API server takes them.
fn floor(told: &Told, tools: &Tools, apps: usize) -> anyhow::Result<()> {
    use k8s_cluster::{Call, Cluster as _};
    let folder = tempfile::Builder::new().prefix("rivals-").tempdir()?;
    let ground = Ground::new(told, tools, folder.path(), apps)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let seconds = runtime.block_on(async {
        let kubeconfig = ground.on.folder.join("cluster.yaml");
        let cluster =
            roadstead_cluster_kube::KubeCluster::from_kubeconfig(&kubeconfig, None).await?;
        cluster.call(Call::Discover).await?;
        let begun = Instant::now();
        // namespaces come before what lives in them
        for namespaces in [true, false] {
            let all = (0..apps).flat_map(objects);
            let all: Vec<Value> = all
                .filter(|object| (object["kind"] == "Namespace") == namespaces)
                .collect();
            let next = std::sync::Arc::new(std::sync::Mutex::new(all.into_iter()));
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let (cluster, next) = (cluster.clone(), std::sync::Arc::clone(&next));
                workers.spawn(async move {
                    loop {
                        let object = next.lock().ok().and_then(|mut next| next.next());
                        let Some(object) = object else {
                            return Ok(());
                        };
                        let call = Call::Apply {
                            object: object.to_string().into(),
                            manager: "floor".to_owned(),
                            force: true,
                            dry_run: false,
                        };
                        cluster.call(call).await?;
                    }
                });
            }
            while let Some(ended) = workers.join_next().await {
                ended?.map_err(|error: k8s_cluster::ClusterError| anyhow::anyhow!("{error}"))?;
            }
        }
        anyhow::Ok(begun.elapsed().as_secs_f64())
    })?;
    println!(
        "| floor: the same applies, 16 at a time | {} | {seconds:.1} s | | | | | | |",
        apps * 50
    );
    Ok(())
}
