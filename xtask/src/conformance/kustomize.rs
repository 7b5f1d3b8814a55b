//! `cargo xtask conformance kustomize`: every kustomization of a folder, built by the real one and by ours.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base_json::Digest;
use bytes::Bytes;
use roadstead_kustomize::{Entry, Files, Kustomizer, Limits, Options};

use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance kustomize --corpus DIR [--corpus DIR …]
  --tool PATH     the real one (default ~/.cache/roadstead/oracle/bin/kustomize); kubectl is run as `kubectl kustomize`
  --cache DIR     where its answers are kept (default ~/.cache/roadstead/conformance)
  --only TEXT     only kustomizations whose path holds the text
  --jobs N        how many at a time (default 2)
  --cases         our own cases: does the real one print what stands in them?
  --krusty        kustomize's own tests too, read from its module in Go's module cache
  --speed         how long builds take (run it with --release)
  --write         write the section of docs/conformance.md
  --verbose       print every difference in full";

/// The heading of our section.
pub(super) const HEADING: &str = "## Kustomize\n";

struct Settings {
    corpora: Vec<PathBuf>,
    tool: PathBuf,
    cache: PathBuf,
    only: Option<String>,
    jobs: usize,
    cases: bool,
    krusty: bool,
    speed: bool,
    write: bool,
    verbose: bool,
}

/// A folder of files on disk; links are followed as long as they stay in it.
struct Disk {
    root: PathBuf,
}

impl Disk {
    fn real(&self, path: &str) -> Option<(PathBuf, String)> {
        let real = fs::canonicalize(self.root.join(path)).ok()?;
        let inside = real.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
        Some((real, inside))
    }
}

impl Files for Disk {
    fn entry(&self, path: &str) -> Option<Entry> {
        let (real, inside) = self.real(path)?;
        Some(if real.is_dir() {
            Entry::Folder(inside)
        } else {
            Entry::File(inside)
        })
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        let read = fs::read(self.root.join(path));
        read.map(Bytes::from).map_err(|error| error.to_string())
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut open = vec![self.root.join(folder)];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else if let Ok(inside) = path.strip_prefix(&self.root) {
                    out.push(inside.to_string_lossy().into_owned());
                }
            }
        }
        out.sort();
        out
    }
}

struct Answer {
    ok: bool,
    stdout: String,
    stderr: String,
    micros: u64,
}

impl Answer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        Some(Self {
            ok: value.get("ok")?.as_bool()?,
            stdout: text("stdout")?,
            stderr: text("stderr")?,
            micros: value.get("micros")?.as_u64()?,
        })
    }

    fn to_json(&self) -> String {
        serde_json::json!({
            "ok": self.ok,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "micros": self.micros,
        })
        .to_string()
    }
}

struct Outcome {
    name: String,
    verdict: Verdict,
    real: Duration,
    ours: Duration,
}

enum Verdict {
    Same,
    /// Other bytes, the same objects in the same order.
    Objects(String),
    /// Other objects.
    Differs(String),
    Refused {
        real: String,
        ours: String,
    },
    Disagreement {
        real: String,
        ours: String,
    },
}

/// Runs it.
pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let Some(settings) = parse(args)? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let mut text = String::new();
    let mut bad = false;
    let mut refusals = Vec::new();
    for corpus in &settings.corpora {
        let outcomes = compare(&settings, corpus)?;
        bad |= report(&settings, corpus, &outcomes, &mut text, &mut refusals);
    }
    if settings.cases {
        bad |= own_cases(&settings, context)?;
    }
    let mut own = String::new();
    if settings.speed {
        own = super::kustomize_speed::run(&settings.tool)?;
        println!("{own}");
        own.push('\n');
    }
    if settings.krusty {
        let module = Command::new("go")
            .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kustomize/api"])
            .current_dir(context.root.join("oracle/kustomize"))
            .output()
            .context("failed to start go")?;
        let folder = String::from_utf8_lossy(&module.stdout).trim().to_owned();
        let tally = super::krusty::run(&Path::new(&folder).join("krusty"))?;
        for wrong in &tally.wrong {
            println!("{wrong}");
        }
        let said = format!(
            "Of kustomize's own tests {} are data that can be read ({} are code): {} outputs are equal byte for byte, {} more have \
             equal objects, {} failures fail here too, and {} come out otherwise.\n",
            tally.tests,
            tally.skipped,
            tally.same,
            tally.objects,
            tally.refused,
            tally.wrong.len()
        );
        println!("{said}");
        own.push_str(&said);
        bad |= !tally.wrong.is_empty();
    }
    if settings.write {
        let version = version(&settings.tool)?;
        let section = format!(
            "Every kustomization of a folder is built by kustomize {version} and by `render/kustomize`, and the two are compared \
             (`cargo xtask conformance kustomize --corpus DIR`). Times are of one build; those of kustomize hold the start of its process. *For a remote base* counts those of both refusals \
             that come from an address that was not fetched, by either.\n\n{}\n{own}",
            table(&text)
        );
        super::section::write(context, HEADING.trim_end(), &section)?;
    }
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Gives our own cases to the real one.
fn own_cases(settings: &Settings, context: &Context) -> anyhow::Result<bool> {
    let folder = context.root.join("crates/render/kustomize/tests/cases");
    let (mut right, mut wrong) = (0, 0);
    for entry in fs::read_dir(&folder)?.flatten() {
        let text = fs::read_to_string(entry.path())?;
        let Some((input, expected)) = text.split_once("\n=> ") else {
            bail!("{} holds no expectation", entry.path().display());
        };
        let scratch = tempfile::tempdir()?;
        for part in format!("\n{input}").split("\n== ").skip(1) {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            let file = scratch.path().join(path.trim());
            fs::create_dir_all(file.parent().unwrap_or(scratch.path()))?;
            let end = if content.is_empty() { "" } else { "\n" };
            fs::write(file, format!("{content}{end}"))?;
        }
        let real = Command::new(&settings.tool)
            .arg("build")
            .arg(scratch.path())
            .output()
            .with_context(|| format!("failed to start {}", settings.tool.display()))?;
        let printed = String::from_utf8_lossy(&real.stdout);
        let same = match expected.strip_prefix("built\n") {
            Some(built) => real.status.success() && printed == built,
            None => !real.status.success(),
        };
        if same {
            right += 1;
        } else {
            wrong += 1;
            let name = entry.file_name();
            println!(
                "{}: kustomize does otherwise\n{printed}",
                name.to_string_lossy()
            );
        }
    }
    println!("own cases: {right} as kustomize, {wrong} otherwise");
    Ok(wrong > 0)
}

fn table(rows: &str) -> String {
    format!(
        "| Folder | Kustomizations | Built by both | Refused by both | For a remote base | Disagree | Objects equal | Bytes equal | Median, kustomize | Median, ours |\n\
         |---|---|---|---|---|---|---|---|---|---|\n{rows}"
    )
}

fn parse(args: &[String]) -> anyhow::Result<Option<Settings>> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = home.join(".cache/roadstead");
    let mut settings = Settings {
        corpora: Vec::new(),
        tool: cache.join("oracle/bin/kustomize"),
        cache: cache.join("conformance"),
        only: None,
        jobs: 2,
        cases: false,
        krusty: false,
        speed: false,
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
            "--corpus" => {
                let path = PathBuf::from(value()?);
                let real = fs::canonicalize(&path)
                    .with_context(|| format!("no folder {}", path.display()))?;
                settings.corpora.push(real);
            }
            "--tool" => settings.tool = value()?.into(),
            "--cache" => settings.cache = value()?.into(),
            "--only" => settings.only = Some(value()?.clone()),
            "--jobs" | "-j" => settings.jobs = value()?.parse()?,
            "--cases" => settings.cases = true,
            "--krusty" => settings.krusty = true,
            "--speed" => settings.speed = true,
            "--write" => settings.write = true,
            "--verbose" => settings.verbose = true,
            other => bail!("unknown flag {other}\n{USAGE}"),
        }
    }
    let more = settings.krusty || settings.cases || settings.speed;
    if settings.corpora.is_empty() && !more {
        bail!("--corpus is missing\n{USAGE}");
    }
    fs::create_dir_all(&settings.cache)?;
    Ok(Some(settings))
}

fn version(tool: &Path) -> anyhow::Result<String> {
    let output = Command::new(tool)
        .arg("version")
        .output()
        .with_context(|| {
            format!(
                "failed to start {} (cargo xtask oracle build kustomize)",
                tool.display()
            )
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The folders that hold a kustomization.
fn roots(disk: &Disk) -> Vec<String> {
    let mut out: Vec<String> = disk
        .below("")
        .into_iter()
        .filter_map(|path| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let known = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
            known.contains(&name).then(|| folder.to_owned())
        })
        .collect();
    out.dedup();
    out
}

fn compare(settings: &Settings, corpus: &Path) -> anyhow::Result<Vec<Outcome>> {
    let disk = Arc::new(Disk {
        root: corpus.to_owned(),
    });
    let mut names = roots(&disk);
    if let Some(only) = &settings.only {
        names.retain(|name| name.contains(only.as_str()));
    }
    if names.is_empty() {
        bail!("no kustomization below {}", corpus.display());
    }
    let mut all = Vec::new();
    for path in disk.below("") {
        let bytes = disk.read(&path).unwrap_or_default();
        all.extend_from_slice(path.as_bytes());
        all.extend_from_slice(Digest::of(&bytes).as_bytes());
    }
    let tree = Digest::of(&all).hex();
    let stamp = version(&settings.tool)?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.max(1) {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let key = format!("kustomize\n{stamp}\n{tree}\n{name}");
                    let done = one(settings, corpus, &disk, name, &key);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match done {
                        Ok(outcome) => results.0.push(outcome),
                        Err(error) => results.1.push(error.context(name.clone())),
                    }
                }
            });
        }
    });
    let (mut outcomes, errors) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    outcomes.sort_by(|a: &Outcome, b| a.name.cmp(&b.name));
    Ok(outcomes)
}

fn answer(settings: &Settings, folder: &Path, key: &str) -> anyhow::Result<Answer> {
    let file = settings
        .cache
        .join(format!("{}.json", Digest::of(key.as_bytes())).replace(':', "-"));
    let known = fs::read(&file).ok().and_then(|b| Answer::read(&b));
    if let Some(known) = known {
        return Ok(known);
    }
    let kubectl = settings.tool.ends_with("kubectl");
    let begun = Instant::now();
    let output = Command::new("timeout")
        .args(["60"])
        .arg(&settings.tool)
        .arg(if kubectl { "kustomize" } else { "build" })
        .arg(folder)
        // what is not there must fail at once
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .with_context(|| format!("failed to start {}", settings.tool.display()))?;
    let answer = Answer {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        micros: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
    };
    fs::write(&file, answer.to_json())?;
    Ok(answer)
}

fn one(
    settings: &Settings,
    corpus: &Path,
    disk: &Arc<Disk>,
    name: &str,
    key: &str,
) -> anyhow::Result<Outcome> {
    let real = answer(settings, &corpus.join(name), key)?;
    let begun = Instant::now();
    let ours = catch_unwind(AssertUnwindSafe(|| {
        let files: Arc<dyn Files> = Arc::<Disk>::clone(disk);
        let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
        kustomizer
            .build(name, &Options::default())
            .map(|built| built.to_text())
            .map_err(|error| error.to_string())
    }));
    let took = begun.elapsed();
    let ours = ours.unwrap_or_else(|_| Err("PANIC".to_owned()));
    let refused = || {
        real.stderr
            .trim()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    let verdict = match (real.ok, ours) {
        (true, Ok(ours)) => judge(&real.stdout, &ours),
        (false, Err(ours)) => Verdict::Refused {
            real: refused(),
            ours,
        },
        (true, Err(ours)) => Verdict::Disagreement {
            real: "builds".to_owned(),
            ours,
        },
        (false, Ok(_)) => Verdict::Disagreement {
            real: refused(),
            ours: "builds".to_owned(),
        },
    };
    Ok(Outcome {
        name: name.to_owned(),
        verdict,
        real: Duration::from_micros(real.micros),
        ours: took,
    })
}

/// Compares what two builds print.
pub(super) fn same_objects(real: &str, ours: &str) -> bool {
    let read = |text: &str| base_yaml::parse_documents(text, "").ok();
    match (read(real), read(ours)) {
        (Some(real), Some(ours)) => {
            real.len() == ours.len() && real.iter().zip(&ours).all(|(a, b)| a.value == b.value)
        }
        _ => false,
    }
}

fn judge(real: &str, ours: &str) -> Verdict {
    if real == ours {
        return Verdict::Same;
    }
    let shown = difference(real, ours);
    if same_objects(real, ours) {
        Verdict::Objects(shown)
    } else {
        Verdict::Differs(shown)
    }
}

/// The lines that differ first, of each side, with some around them.
pub(super) fn difference(real: &str, ours: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (real.lines().collect(), ours.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    let from = same.saturating_sub(4);
    for line in &a[from..same] {
        out.push_str(&format!("  {line}\n"));
    }
    for (mark, lines) in [("- ", &a), ("+ ", &b)] {
        for line in lines.iter().skip(same).take(8) {
            out.push_str(&format!("{mark}{line}\n"));
        }
    }
    out
}

fn report(
    settings: &Settings,
    corpus: &Path,
    outcomes: &[Outcome],
    text: &mut String,
    refusals: &mut Vec<String>,
) -> bool {
    let count = |fits: fn(&Verdict) -> bool| outcomes.iter().filter(|o| fits(&o.verdict)).count();
    let same = count(|v| matches!(v, Verdict::Same));
    let objects = count(|v| matches!(v, Verdict::Objects(_)));
    let differ = count(|v| matches!(v, Verdict::Differs(_)));
    let refused = count(|v| matches!(v, Verdict::Refused { .. }));
    // where nothing can be fetched, that both refuse says little
    let remote =
        count(|v| matches!(v, Verdict::Refused { ours, .. } if ours.contains("was not fetched")));
    let disagree = count(|v| matches!(v, Verdict::Disagreement { .. }));
    for outcome in outcomes {
        let name = &outcome.name;
        match &outcome.verdict {
            Verdict::Same => {}
            Verdict::Objects(diff) | Verdict::Differs(diff) => {
                let kind = if matches!(outcome.verdict, Verdict::Objects(_)) {
                    "other bytes"
                } else {
                    "other objects"
                };
                println!("{name}: {kind}");
                let lines = if settings.verbose { usize::MAX } else { 20 };
                for line in diff.lines().take(lines) {
                    println!("    {line}");
                }
            }
            Verdict::Refused { real, ours } => {
                refusals.push(name.clone());
                if settings.verbose {
                    println!("{name}: refused\n    kustomize: {real}\n    ours: {ours}");
                }
            }
            Verdict::Disagreement { real, ours } => {
                println!("{name}: disagree\n    kustomize: {real}\n    ours: {ours}");
            }
        }
    }
    let both = same + objects + differ;
    let equal = same + objects;
    let share = |n: usize| {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = 100.0 * n as f64 / both.max(1) as f64;
        format!("{n} ({share:.1} %)")
    };
    let median = |mut all: Vec<Duration>| {
        all.sort();
        let middle = all.get(all.len() / 2).copied().unwrap_or_default();
        format!("{:.1} ms", middle.as_secs_f64() * 1000.0)
    };
    let built = |o: &&Outcome| {
        !matches!(
            o.verdict,
            Verdict::Refused { .. } | Verdict::Disagreement { .. }
        )
    };
    let of =
        |time: fn(&Outcome) -> Duration| median(outcomes.iter().filter(built).map(time).collect());
    let folder = corpus.file_name().map(|n| n.to_string_lossy().into_owned());
    let row = format!(
        "| {} | {} | {both} | {refused} | {remote} | {disagree} | {} | {} | {} | {} |\n",
        folder.unwrap_or_default(),
        outcomes.len(),
        share(equal),
        share(same),
        of(|o| o.real),
        // without optimisation it says nothing
        if cfg!(debug_assertions) {
            "–".to_owned()
        } else {
            of(|o| o.ours)
        }
    );
    println!("{}", table(&row));
    text.push_str(&row);
    disagree + differ > 0
}
