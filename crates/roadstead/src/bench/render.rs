//! `roadstead bench render`: charts compiled once and rendered many times, beside the real helm where there is one.
//!
//! Besides the clock on the wall it reads how long the processor worked: on a machine that does other things too, only
//! that says what rendering costs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use base_json::Digest;
use clap::Args as ClapArgs;
use roadstead_helm::{
    Capabilities, Chart, Compiled, Dialect, HelmVersion, KubeVersion, Layer, Limits, RenderInput,
    Show,
};
use serde_json::{Map, Value, json};

use super::figures::median;
use crate::shell::Outcome;
use crate::verbs::chart::is_chart;
use crate::verbs::render::read_files;

/// How long one figure of one chart is taken at most, once it was taken three times.
const PATIENCE: Duration = Duration::from_secs(3);

/// Measures the rendering of Helm charts.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A chart is compiled from its files in memory, and rendered with its defaults to the text that `helm template` prints. Then
one chart is rendered for many sets of values by as many threads as there are processors.")]
pub(crate) struct Args {
    /// Charts: folders with a Chart.yaml, or archives
    charts: Vec<PathBuf>,
    /// A folder: every chart below it
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// How often each figure is taken; the median is told
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// The chart that is rendered for many sets of values; without it, the one that takes a median time
    #[arg(long, value_name = "CHART")]
    many: Option<PathBuf>,
    /// For how many sets of values; 0 for none
    #[arg(long, default_value_t = 5_000)]
    value_sets: usize,
    /// How many threads render them; without it, one for each processor
    #[arg(long)]
    threads: Option<usize>,
    /// Whose rules hold: helm3, helm4, or a version of them
    #[arg(long, value_name = "HELM", default_value = "helm4")]
    dialect: Dialect,
    /// The real helm; without it, the one in PATH, or the one that `make oracle` built
    #[arg(long, value_name = "FILE")]
    helm: Option<PathBuf>,
    /// How often the real helm renders a chart; 0 for never
    #[arg(long, default_value_t = 3)]
    helm_runs: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What one thing takes, in milliseconds: the medians of its runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    pub(super) wall: f64,
    pub(super) processor: f64,
}

impl Took {
    pub(super) fn of(runs: &[(f64, f64)]) -> Self {
        let (wall, processor): (Vec<f64>, Vec<f64>) = runs.iter().copied().unzip();
        Self {
            wall: median(&wall),
            processor: median(&processor),
        }
    }

    pub(super) fn json(self) -> Value {
        json!({ "wallMs": self.wall, "processorMs": self.processor })
    }
}

/// One chart.
struct Figures {
    name: String,
    path: PathBuf,
    compile: Took,
    /// Nothing if its defaults do not render.
    warm: Option<Took>,
    documents: usize,
    bytes: usize,
    helm: Option<Took>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Outcome {
    let mut paths = args.charts.clone();
    if let Some(corpus) = &args.corpus {
        charts_below(corpus, &mut paths)?;
    }
    if paths.is_empty() {
        bail!("name a chart, or a folder of charts with --corpus");
    }
    let helm = Helm::find(args)?;
    if !args.json {
        match &helm {
            Some(helm) => println!("helm {} at {}", helm.version, helm.path.display()),
            None => println!("no helm in PATH: nothing beside it"),
        }
        println!(
            "{:>10} {:>10} {:>10} {:>10} {:>7} {:>6} {:>9}  chart",
            "compile", "render", "processor", "helm", "times", "docs", "bytes"
        );
    }
    let mut all = Vec::new();
    for path in &paths {
        let name = match &args.corpus {
            Some(corpus) => path.strip_prefix(corpus).unwrap_or(path),
            None => path,
        };
        let name = name.display().to_string();
        match measure(args, path, name.clone(), helm.as_ref()) {
            Ok(figures) => {
                if !args.json {
                    println!("{}", row(&figures));
                }
                all.push(figures);
            }
            Err(why) => eprintln!("{name}: {why:#}"),
        }
    }
    let mut out = Map::new();
    let groups: BTreeSet<&str> = all.iter().filter_map(|it| group(&it.name)).collect();
    let mut summaries = vec![("all", summary(&all, None))];
    summaries.extend(groups.iter().map(|it| (*it, summary(&all, Some(it)))));
    for (name, summary) in summaries {
        if !args.json {
            println!("median of {name}: {summary}");
        }
        out.insert(format!("median of {name}"), summary);
    }
    let charts = all.iter().map(|it| (it.name.clone(), figures_json(it)));
    out.insert("charts".to_owned(), Value::Object(charts.collect()));
    if args.value_sets > 0 {
        let path = match &args.many {
            Some(path) => path.clone(),
            None => typical(&all).context("no chart rendered")?,
        };
        let many = many(args, &path, helm.as_ref())?;
        if !args.json {
            println!("many sets of values, {}:", path.display());
            for (what, value) in many.as_object().into_iter().flatten() {
                println!("  {:>12.1}  {what}", value.as_f64().unwrap_or_default());
            }
        }
        out.insert("many".to_owned(), many);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&out)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Every outermost chart below a folder.
fn charts_below(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if is_chart(folder) {
        into.push(folder.to_owned());
        return Ok(());
    }
    let failed = || format!("failed to read {}", folder.display());
    let entries: std::io::Result<Vec<_>> =
        std::fs::read_dir(folder).with_context(failed)?.collect();
    let mut paths: Vec<PathBuf> = entries
        .with_context(failed)?
        .iter()
        .map(std::fs::DirEntry::path)
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            charts_below(&path, into)?;
        } else if is_chart(&path) {
            into.push(path);
        }
    }
    Ok(())
}

/// The folder of a corpus that a chart lies in: whose chart it is.
fn group(name: &str) -> Option<&str> {
    let (group, _) = name.split_once('/')?;
    (!group.is_empty()).then_some(group)
}

fn compile(
    path: &Path,
    dialect: Dialect,
) -> anyhow::Result<impl Fn() -> Result<Arc<Compiled>, String>> {
    let limits = Limits::default();
    let (files, archive) = if path.is_dir() {
        (Some(read_files(path)?), Vec::new())
    } else {
        let failed = || format!("failed to read {}", path.display());
        (None, std::fs::read(path).with_context(failed)?)
    };
    let shown = path.display().to_string();
    Ok(move || {
        let chart = match &files {
            Some(files) => Chart::from_files(files, &limits),
            None => Chart::from_archive(&shown, &archive, &limits),
        };
        let compiled = chart.and_then(|chart| chart.compile(dialect, limits));
        compiled.map_err(|why| why.to_string())
    })
}

fn measure(args: &Args, path: &Path, name: String, helm: Option<&Helm>) -> anyhow::Result<Figures> {
    let compile = compile(path, args.dialect)?;
    let compiled = compile().map_err(|why| anyhow!(why))?;
    let compile = Took::of(&repeat(args.runs, || {
        drop(compile());
        Ok(())
    })?);
    let input = input(&[], args.dialect)?;
    let Ok(rendered) = compiled.render(&input) else {
        return Ok(Figures {
            name,
            path: path.to_owned(),
            compile,
            warm: None,
            documents: 0,
            bytes: 0,
            helm: None,
        });
    };
    let warm = Took::of(&repeat(args.runs, || {
        let rendered = compiled.render(&input);
        let rendered = rendered.map_err(|why| anyhow!("{why}"))?;
        drop(rendered.to_text(&Show::all()));
        Ok(())
    })?);
    let helm = match helm {
        Some(helm) if args.helm_runs > 0 => {
            let mut runs = Vec::new();
            for _ in 0..args.helm_runs {
                runs.push(helm.template(path, None)?);
            }
            Some(Took::of(&runs))
        }
        _ => None,
    };
    Ok(Figures {
        name,
        path: path.to_owned(),
        compile,
        warm: Some(warm),
        documents: rendered.manifests.len() + rendered.hooks.len() + rendered.crds.len(),
        bytes: rendered.to_text(&Show::all()).len(),
        helm,
    })
}

fn input(layers: &[Layer], dialect: Dialect) -> anyhow::Result<RenderInput<'_>> {
    let kube = KubeVersion::parse(roadstead_render::KUBE_VERSION).map_err(|why| anyhow!(why))?;
    let capabilities = Capabilities::new::<&str>(kube, &[], HelmVersion::of(dialect));
    Ok(RenderInput::new(layers, capabilities))
}

/// Does something a number of times: how long each took by the clock, and on the processor, in milliseconds.
pub(super) fn repeat(
    runs: usize,
    mut once: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<(f64, f64)>> {
    let begun = Instant::now();
    let mut took = Vec::new();
    for run in 0..runs.max(1) {
        if run >= 3 && begun.elapsed() > PATIENCE {
            break;
        }
        let (clock, worked) = (Instant::now(), worked());
        once()?;
        took.push((ms(clock.elapsed()), self::worked() - worked));
    }
    Ok(took)
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How long a processor has worked for this thread, in milliseconds.
pub(super) fn worked() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|it| it.parse().ok());
    first.unwrap_or(0.0) / 1_000_000.0
}

/// How long processors have worked for the processes that this one waited for, in milliseconds.
pub(super) fn children_worked() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // behind the name, which may hold blanks: two of the numbers count hundredths of seconds
    let behind = text.rsplit(')').next().unwrap_or_default();
    let numbers = behind.split_whitespace().skip(13).take(2);
    numbers.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// A line of `/proc/self/status`, in bytes.
pub(super) fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|it| it.trim_matches([':', '\t', ' ', 'k', 'B']).parse().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

fn row(figures: &Figures) -> String {
    let shown = |took: Option<f64>| took.map_or("–".to_owned(), |took| format!("{took:.2} ms"));
    let times = figures.helm.zip(figures.warm);
    let times = times.map_or("–".to_owned(), |(helm, warm)| {
        format!("{:.0}", helm.wall / warm.wall)
    });
    format!(
        "{:>10} {:>10} {:>10} {:>10} {times:>7} {:>6} {:>9}  {}",
        shown(Some(figures.compile.wall)),
        shown(figures.warm.map(|it| it.wall)),
        shown(figures.warm.map(|it| it.processor)),
        shown(figures.helm.map(|it| it.wall)),
        figures.documents,
        figures.bytes,
        figures.name,
    )
}

fn figures_json(figures: &Figures) -> Value {
    json!({
        "compile": figures.compile.json(),
        "render": figures.warm.map(Took::json),
        "helm": figures.helm.map(Took::json),
        "documents": figures.documents,
        "bytes": figures.bytes,
    })
}

/// Medians over charts.
fn summary(all: &[Figures], of: Option<&str>) -> Value {
    let some: Vec<&Figures> = all
        .iter()
        .filter(|it| of.is_none() || group(&it.name) == of)
        .collect();
    let over = |take: &dyn Fn(&Figures) -> Option<Took>| {
        let runs: Vec<(f64, f64)> = some
            .iter()
            .filter_map(|it| take(it))
            .map(|it| (it.wall, it.processor))
            .collect();
        (!runs.is_empty()).then(|| Took::of(&runs).json())
    };
    let times: Vec<f64> = some
        .iter()
        .filter_map(|it| Some(it.helm?.wall / it.warm?.wall))
        .collect();
    json!({
        "charts": some.len(),
        "compile": over(&|it| Some(it.compile)),
        "render": over(&|it| it.warm),
        "helm": over(&|it| it.helm),
        "helmTimes": (!times.is_empty()).then(|| median(&times)),
    })
}

/// The chart whose render takes a median time.
fn typical(all: &[Figures]) -> Option<PathBuf> {
    let mut sorted: Vec<(f64, &Figures)> = all
        .iter()
        .filter_map(|it| Some((it.warm?.processor, it)))
        .collect();
    sorted.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (_, middle) = sorted.get(sorted.len() / 2)?;
    Some(middle.path.clone())
}

/// Values as the targets of a fleet give them: no two are the same.
fn values(n: usize) -> Map<String, Value> {
    let values = json!({
        "replicaCount": 1 + n % 5,
        "commonLabels": { "cluster": format!("cluster-{n:05}") },
        "podAnnotations": { "example.com/region": format!("region-{}", n % 17) },
        "resources": { "limits": { "memory": format!("{}Mi", 128 + n % 64) } },
        "global": { "storageClass": format!("class-{}", n % 17) },
    });
    match values {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}

/// One chart for many sets of values.
fn many(args: &Args, path: &Path, helm: Option<&Helm>) -> anyhow::Result<Value> {
    let compiled = compile(path, args.dialect)?().map_err(|why| anyhow!(why))?;
    let threads = args
        .threads
        .or_else(|| Some(std::thread::available_parallelism().ok()?.get()))
        .unwrap_or(1)
        .max(1);
    // from here on the most memory that was used counts anew
    let counted = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory("VmRSS");
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let work = || -> anyhow::Result<(Vec<Digest>, usize, f64)> {
        let (mut digests, mut bytes) = (Vec::new(), 0);
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= args.value_sets {
                return Ok((digests, bytes, worked()));
            }
            let layers = [Layer::Inline {
                name: "cluster".to_owned(),
                values: values(n),
            }];
            let rendered = compiled.render(&input(&layers, args.dialect)?);
            let text = rendered
                .map_err(|why| anyhow!("value set {n}: {why}"))?
                .to_text(&Show::all());
            bytes += text.len();
            digests.push(Digest::of(text.as_bytes()));
        }
    };
    let done: Vec<anyhow::Result<(Vec<Digest>, usize, f64)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| {
            let ended = worker.join();
            ended.unwrap_or_else(|_| Err(anyhow!("a worker ended by a bug")))
        });
        ended.collect()
    });
    let took = begun.elapsed();
    let peak = memory("VmHWM");
    let (mut digests, mut bytes, mut worked) = (BTreeSet::new(), 0, 0.0);
    for one in done {
        let (some, length, time) = one?;
        digests.extend(some);
        bytes += length;
        worked += time;
    }
    let mut out = Map::new();
    let mut put = |name: &str, value: f64| out.insert(name.to_owned(), json!(value));
    let sets = args.value_sets.max(1) as f64;
    put("value sets", sets);
    put("different results", digests.len() as f64);
    put("MiB of text", bytes as f64 / 1_048_576.0);
    put("threads", threads as f64);
    put("seconds", took.as_secs_f64());
    put("seconds on processors", worked / 1000.0);
    if counted {
        let grew = (peak - before).max(0.0) / 1_048_576.0;
        put("MiB of memory a thread, at most", grew / threads as f64);
    }
    put(
        "MiB of memory of the whole process, at most",
        peak / 1_048_576.0,
    );
    if let Some(helm) = helm
        && args.helm_runs > 0
    {
        let folder = tempfile::Builder::new()
            .prefix("roadstead-bench-")
            .tempdir()?;
        let runs = args.value_sets.min(4 * args.helm_runs.max(threads));
        let begun = Instant::now();
        let worked = children_worked();
        let next = AtomicUsize::new(0);
        let work = || -> anyhow::Result<()> {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= runs {
                    return Ok(());
                }
                let file = folder.path().join(format!("{n}.json"));
                std::fs::write(&file, Value::Object(values(n)).to_string())?;
                helm.template(path, Some(&file))?;
            }
        };
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                let ended = worker.join();
                ended.unwrap_or_else(|_| Err(anyhow!("a worker ended by a bug")))?;
            }
            Ok(())
        })?;
        let each = begun.elapsed().as_secs_f64() / runs as f64;
        put("processes of helm, as many at a time", runs as f64);
        put("seconds that helm would take for all", each * sets);
        put(
            "seconds on processors that helm would take for all",
            (children_worked() - worked) / 1000.0 / runs as f64 * sets,
        );
    }
    Ok(Value::Object(out))
}

/// The real helm.
struct Helm {
    path: PathBuf,
    version: String,
}

impl Helm {
    /// The one that was named, the one in PATH, or the one that was built for tests.
    fn find(args: &Args) -> anyhow::Result<Option<Self>> {
        if args.helm_runs == 0 {
            return Ok(None);
        }
        let named = args.helm.clone();
        let built = std::env::home_dir().map(|home| {
            let name = if args.dialect.is_3() {
                "helm3"
            } else {
                "helm4"
            };
            home.join(".cache/roadstead/oracle/bin").join(name)
        });
        let candidates = match named {
            Some(path) => vec![path],
            None => [Some(PathBuf::from("helm")), built]
                .into_iter()
                .flatten()
                .collect(),
        };
        for path in candidates {
            let mut command = Command::new(&path);
            command.args(["version", "--template", "{{.Version}}"]);
            if let Ok(output) = command.output()
                && output.status.success()
            {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Ok(Some(Self { path, version }));
            }
        }
        match &args.helm {
            Some(path) => bail!("{} is no helm", path.display()),
            None => Ok(None),
        }
    }

    /// Renders a chart in a process of its own: how long it took by the clock, and on processors, in milliseconds.
    fn template(&self, chart: &Path, values: Option<&Path>) -> anyhow::Result<(f64, f64)> {
        let (clock, worked) = (Instant::now(), children_worked());
        let mut command = Command::new(&self.path);
        command
            .args(["template", "release-name"])
            .arg(chart)
            .args(["--kube-version", roadstead_render::KUBE_VERSION])
            .arg("--include-crds")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(values) = values {
            command.arg("--values").arg(values);
        }
        let output = command.output().context("failed to run helm")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("helm {}: {}", self.path.display(), said.trim());
        }
        Ok((ms(clock.elapsed()), children_worked() - worked))
    }
}
