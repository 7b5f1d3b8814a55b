//! `cargo xtask conformance helm`.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use roadstead_helm::{
    Capabilities, Chart, Compiled, Dialect, HelmVersion, KubeVersion, Layer, Limits, Release,
    RenderInput, Show,
};

use super::cases::{self, Case, KUBE_VERSION, Kind, NAMESPACE, RELEASE};
use super::compare::{self, Comparison};
use super::corpus::{self, Content, Found};
use super::oracle::{self, Answer, Helm};
use super::random::Rules;
use super::report;
use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance helm --corpus DIR
  --dialect 3|4|both       which Helm (default both)
  --cases a,b              of defaults,ci,mutated,broken (default all)
  --helm3 PATH --helm4 PATH the real binaries (default ~/.cache/roadstead/oracle/bin/helm3, helm4)
  --cache DIR              where answers of the real helm are kept (default ~/.cache/roadstead/conformance)
  --only TEXT              only charts whose path holds the text
  --jobs N                 how many at a time (default 2)
  --write                  write docs/conformance.md
  --verbose                print every difference in full";

/// What the command line asks for.
struct Options {
    corpus: PathBuf,
    dialects: Vec<Dialect>,
    kinds: Vec<Kind>,
    helm: [PathBuf; 2],
    cache: PathBuf,
    only: Option<String>,
    jobs: usize,
    write: bool,
    verbose: bool,
}

/// One case with what came of it.
pub(super) struct Outcome {
    pub(super) chart: String,
    pub(super) case: String,
    pub(super) kind: Kind,
    pub(super) dialect: Dialect,
    pub(super) verdict: Verdict,
}

/// How we did on a case.
pub(super) enum Verdict {
    /// Both rendered.
    Rendered(Comparison),
    /// Both refused.
    Refused {
        same_text: bool,
        same_place: bool,
        real: String,
        ours: String,
    },
    /// One rendered, the other did not.
    Disagreement { real: String, ours: String },
    /// Helm itself did not come to an end.
    Unanswered { ours: String },
}

/// How long things took, over all charts.
#[derive(Default)]
pub(super) struct Times {
    pub(super) compile: Vec<Duration>,
    pub(super) render: Vec<Duration>,
    pub(super) helm: Vec<Duration>,
    /// The slowest renders by name.
    pub(super) slowest: Vec<(Duration, String)>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let Some(options) = parse(args)? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let mut charts = corpus::find(&options.corpus)?;
    if let Some(only) = &options.only {
        charts.retain(|chart| chart.name.contains(only.as_str()));
    }
    if charts.is_empty() {
        bail!("no charts below {}", options.corpus.display());
    }
    let scratch =
        std::env::temp_dir().join(format!("roadstead-conformance-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let mut outcomes = Vec::new();
    let mut times = Times::default();
    for &dialect in &options.dialects {
        let path = &options.helm[usize::from(dialect.is_4())];
        let helm = Helm::new(path, &options.cache, &scratch)?;
        let (mut some, took) = all(&options, &charts, dialect, &helm)?;
        outcomes.append(&mut some);
        times.compile.extend(took.compile);
        times.render.extend(took.render);
        times.helm.extend(took.helm);
        times.slowest.extend(took.slowest);
    }
    fs::remove_dir_all(&scratch)?;
    let text = report::table(&charts, &outcomes);
    println!("{text}\n{}", report::speed(&mut times));
    let differences = report::differences(&outcomes, options.verbose);
    println!("{differences}");
    if options.write {
        let path = context.root.join("docs/conformance.md");
        // what is said of kustomize stays
        let old = fs::read_to_string(&path).unwrap_or_default();
        let heading = super::kustomize::HEADING;
        let rest = old.find(heading).map(|at| format!("\n{}", &old[at..]));
        let text = report::markdown(&text, &outcomes) + &rest.unwrap_or_default();
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote docs/conformance.md");
    }
    let disagree = outcomes
        .iter()
        .any(|it| matches!(it.verdict, Verdict::Disagreement { .. }));
    Ok(if disagree {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn parse(args: &[String]) -> anyhow::Result<Option<Options>> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = home.join(".cache/roadstead");
    let mut options = Options {
        corpus: PathBuf::new(),
        dialects: vec![Dialect::HELM_3, Dialect::HELM_4],
        kinds: Kind::ALL.to_vec(),
        helm: [
            cache.join("oracle/bin/helm3"),
            cache.join("oracle/bin/helm4"),
        ],
        cache: cache.join("conformance"),
        only: None,
        jobs: 2,
        write: false,
        verbose: false,
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("{flag} needs a value\n{USAGE}"))
        };
        match flag.as_str() {
            "--help" | "-h" => return Ok(None),
            "--corpus" => options.corpus = value()?.into(),
            "--dialect" => {
                options.dialects = match value()?.as_str() {
                    "both" => vec![Dialect::HELM_3, Dialect::HELM_4],
                    one => vec![one.parse()?],
                }
            }
            "--cases" => {
                let names: BTreeSet<&str> = value()?.split(',').collect();
                options.kinds.retain(|kind| names.contains(kind.name()));
                if options.kinds.len() != names.len() {
                    bail!("--cases takes some of defaults,ci,mutated,broken");
                }
            }
            "--helm3" => options.helm[0] = value()?.into(),
            "--helm4" | "--helm" => options.helm[1] = value()?.into(),
            "--cache" => options.cache = value()?.into(),
            "--only" => options.only = Some(value()?.clone()),
            "--jobs" | "-j" => options.jobs = value()?.parse()?,
            "--write" => options.write = true,
            "--verbose" => options.verbose = true,
            other => bail!("unknown flag {other}\n{USAGE}"),
        }
    }
    if options.corpus.as_os_str().is_empty() {
        bail!("--corpus is missing\n{USAGE}");
    }
    options.corpus = fs::canonicalize(&options.corpus)
        .with_context(|| format!("no folder {}", options.corpus.display()))?;
    Ok(Some(options))
}

/// Every case of every chart in one dialect.
fn all(
    options: &Options,
    charts: &[Found],
    dialect: Dialect,
    helm: &Helm,
) -> anyhow::Result<(Vec<Outcome>, Times)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Times::default(), Vec::new()));
    let rules = Rules::read();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            // Deep templates recurse in places that are bounded for the main thread's stack.
            let worker = std::thread::Builder::new().stack_size(16 << 20);
            let spawned = worker.spawn_scoped(scope, || {
                while let Some(chart) = charts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = chart_cases(options, chart, dialect, helm, &rules);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match done {
                        Ok((outcomes, times)) => {
                            results.0.extend(outcomes);
                            results.1.compile.extend(times.compile);
                            results.1.render.extend(times.render);
                            results.1.helm.extend(times.helm);
                            results.1.slowest.extend(times.slowest);
                        }
                        Err(error) => results.2.push(error.context(chart.name.clone())),
                    }
                }
            });
            if let Err(error) = spawned {
                eprintln!("no thread: {error}");
            }
        }
    });
    let (mut outcomes, times, errors) =
        results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    outcomes.sort_by(|one: &Outcome, other| {
        (&one.chart, one.kind, &one.case).cmp(&(&other.chart, other.kind, &other.case))
    });
    Ok((outcomes, times))
}

fn chart_cases(
    options: &Options,
    chart: &Found,
    dialect: Dialect,
    helm: &Helm,
    rules: &Rules,
) -> anyhow::Result<(Vec<Outcome>, Times)> {
    let mut outcomes = Vec::new();
    let mut times = Times::default();
    let mut whole: Option<Arc<Compiled>> = None;
    for case in cases::of(chart, &options.kinds) {
        let real = helm.answer(chart, &case, 0)?;
        let again = if real.ok {
            again(helm, chart, &case)?
        } else {
            real.clone()
        };
        times.helm.push(real.took);
        let ours = catch_unwind(AssertUnwindSafe(|| {
            render(chart, &case, dialect, helm, &mut whole, &mut times)
        }));
        let ours = ours.unwrap_or_else(|_| Err("PANIC".to_owned()));
        outcomes.push(Outcome {
            chart: chart.name.clone(),
            case: case.name.clone(),
            kind: case.kind,
            dialect,
            verdict: judge(&real, &again, ours, rules),
        });
    }
    Ok((outcomes, times))
}

/// A second run of helm; in another second of the clock, if the chart looks at it.
fn again(helm: &Helm, chart: &Found, case: &Case) -> anyhow::Result<Answer> {
    let reads_clock = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        ["(now", "{ now", "{- now", "now |", " now)"]
            .iter()
            .any(|call| text.contains(call))
    };
    let clock = match &chart.content {
        Content::Folder(files) => files
            .iter()
            .any(|(path, text)| path.contains("templates/") && reads_clock(text)),
        Content::Archive(_) => true,
    };
    if !clock {
        return helm.answer(chart, case, 1);
    }
    if !helm.knows(chart, case, 2) {
        std::thread::sleep(Duration::from_millis(1100));
    }
    helm.answer(chart, case, 2)
}

/// The words of a message in one order: helm walks over maps in another order each time.
fn words(message: &str) -> Vec<&str> {
    let mut words: Vec<&str> = message
        .split(|c: char| c.is_whitespace() || c == ',')
        .collect();
    words.sort_unstable();
    words
}

fn judge(real: &Answer, again: &Answer, ours: Result<String, String>, rules: &Rules) -> Verdict {
    if real.stderr == oracle::NO_ANSWER {
        return Verdict::Unanswered {
            ours: ours.map_or_else(|why| why, |_| "renders".to_owned()),
        };
    }
    match (real.ok, ours) {
        (true, Ok(ours)) => {
            Verdict::Rendered(compare::compare(&real.stdout, &again.stdout, &ours, rules))
        }
        (false, Err(ours)) => {
            let real = real.error();
            Verdict::Refused {
                same_text: real == ours || words(&real) == words(&ours),
                same_place: compare::place(&real) == compare::place(&ours),
                real,
                ours,
            }
        }
        (true, Err(ours)) => Verdict::Disagreement {
            real: "renders".to_owned(),
            ours,
        },
        (false, Ok(_)) => Verdict::Disagreement {
            real: real.error(),
            ours: "renders".to_owned(),
        },
    }
}

/// Our render: what `helm template` would print, or what it would call the error.
fn render(
    chart: &Found,
    case: &Case,
    dialect: Dialect,
    helm: &Helm,
    whole: &mut Option<Arc<Compiled>>,
    times: &mut Times,
) -> Result<String, String> {
    let helm_words = |error: roadstead_helm::Diagnostics| error.helm_compat().to_owned();
    let mut layers = Vec::new();
    if let Some(text) = &case.values {
        layers.push(Layer::File {
            name: "values.yaml".to_owned(),
            text: text.clone(),
        });
    }
    layers.extend(case.set.clone().map(Layer::Set));
    // this command of Helm 3 reads values before it reads the chart
    if dialect.is_3() {
        roadstead_helm::combine(&layers, dialect).map_err(helm_words)?;
    }
    let limits = Limits::default();
    let load = |files: Option<&std::collections::BTreeMap<String, Vec<u8>>>| {
        let chart = match (files, &chart.content) {
            (Some(files), _) | (None, Content::Folder(files)) => Chart::from_files(files, &limits)?,
            (None, Content::Archive(bytes)) => Chart::from_archive(&chart.name, bytes, &limits)?,
        };
        chart.compile(dialect, limits)
    };
    let compiled = match (&case.files, &*whole) {
        (Some(files), _) => load(Some(files)).map_err(helm_words)?,
        (None, Some(compiled)) => Arc::clone(compiled),
        (None, None) => {
            let begun = Instant::now();
            let compiled = load(None).map_err(helm_words)?;
            times.compile.push(begun.elapsed());
            Arc::clone(whole.insert(compiled))
        }
    };
    let kube = KubeVersion::parse(KUBE_VERSION)?;
    let version = HelmVersion {
        version: helm.version.clone(),
        ..HelmVersion::of(dialect)
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |it| it.as_nanos());
    let input = RenderInput {
        release: Release::install(RELEASE, NAMESPACE),
        now: i128::try_from(now).unwrap_or(0),
        ..RenderInput::new(&layers, Capabilities::new::<&str>(kube, &[], version))
    };
    let rendered = compiled.render(&input).map_err(helm_words)?;
    if case.kind == Kind::Defaults || case.kind == Kind::Ci {
        // once more, now that everything is warm
        let begun = Instant::now();
        let again = compiled.render(&input).map_err(helm_words)?;
        let took = begun.elapsed();
        if again.to_text(&Show::all()) != rendered.to_text(&Show::all()) {
            return Err("two renders of ours differ".to_owned());
        }
        times.render.push(took);
        times
            .slowest
            .push((took, format!("{} {}", chart.name, case.name)));
    }
    Ok(rendered.to_text(&Show::all()))
}
