//! `conformance suite`: what Kubernetes' own conformance suite says of a playground cluster.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use oracle_cluster::{Tools, cache};
use serde_json::Value;

use super::playground::Playground;
use super::section;
use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance suite [--only REGEX] [--all] [--program FILE] [--kubeconfig FILE] [--write]
  --only REGEX       only the tests with such names
  --all              also those that are left out: most need a pod that really runs
  --program FILE     the roadstead that serves the cluster; target/release/roadstead if left out
  --kubeconfig FILE  another cluster instead
  --report FILE      no run: the report that ginkgo wrote of one; of a run in parts each, and the later one counts
  --write            write the section of docs/conformance.md";

const HEADING: &str = "## Kubernetes' conformance suite";

/// Which tests need what, a line each: the end of a name, ` | `, and why it cannot pass.
const WITHOUT: &str = include_str!("suite.txt");

/// A test and what came of it.
struct Outcome {
    name: String,
    state: String,
    seconds: f64,
    failure: String,
}

/// What is written down of a test.
struct Known {
    test: &'static str,
    /// It is not run.
    out: bool,
    reason: &'static str,
}

fn known() -> Vec<Known> {
    let lines = WITHOUT.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (test, reason) = line.split_once(" | ")?;
            let told = reason.strip_prefix("out:");
            Some(Known {
                test,
                out: told.is_some(),
                reason: told.unwrap_or(reason).trim(),
            })
        })
        .collect()
}

struct Told {
    only: Option<String>,
    all: bool,
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    reports: Vec<PathBuf>,
    write: bool,
}

impl Told {
    fn read(context: &Context, args: &[String]) -> anyhow::Result<Option<Self>> {
        let mut told = Self {
            only: None,
            all: false,
            program: Playground::program(context),
            kubeconfig: None,
            reports: Vec::new(),
            write: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("{arg} wants a value\n{USAGE}"))
            };
            match arg.as_str() {
                "--only" => told.only = Some(value()?.clone()),
                "--all" => told.all = true,
                "--program" => told.program = value()?.into(),
                "--kubeconfig" => told.kubeconfig = Some(value()?.into()),
                "--report" => told.reports.push(value()?.into()),
                "--write" => told.write = true,
                "--help" => return Ok(None),
                other => bail!("unknown argument {other}\n{USAGE}"),
            }
        }
        Ok(Some(told))
    }
}

/// Runs the suite; the last line is the verdict.
pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let Some(told) = Told::read(context, args)? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let known = known();
    let mut outcomes = Vec::new();
    for report in &told.reports {
        let bytes = std::fs::read(report)
            .with_context(|| format!("failed to read {}", report.display()))?;
        take_in(&mut outcomes, read(&serde_json::from_slice(&bytes)?));
    }
    if told.reports.is_empty() {
        outcomes = play(&told, &known)?;
    }
    let mut table = String::from("| Test | Verdict | Reason |\n|---|---|---|\n");
    let (mut passed, mut failed, mut unknown) = (0, 0, 0);
    for one in &outcomes {
        let about = known.iter().find(|known| one.name.ends_with(known.test));
        let (verdict, reason) = match one.state.as_str() {
            "passed" => {
                passed += 1;
                (format!("passed in {:.0} s", one.seconds), "")
            }
            "skipped" => (
                "left out".to_owned(),
                about.map_or("", |about| about.reason),
            ),
            _ => {
                failed += 1;
                unknown += u32::from(about.is_none());
                (
                    "failed".to_owned(),
                    about.map_or(one.failure.as_str(), |about| about.reason),
                )
            }
        };
        if one.state == "skipped" && about.is_none() {
            continue;
        }
        writeln!(
            table,
            "| {} | {verdict} | {} |",
            cell(&one.name),
            cell(reason)
        )?;
        if one.state != "passed" && one.state != "skipped" {
            println!("FAILED {}: {}", one.name, one.failure);
        }
    }
    println!("{table}");
    let verdict = format!(
        "Of {} tests {passed} pass, {failed} fail, {} are left out.",
        outcomes
            .iter()
            .filter(|one| one.state != "skipped"
                || known.iter().any(|known| one.name.ends_with(known.test)))
            .count(),
        outcomes
            .iter()
            .filter(|one| one.state == "skipped"
                && known.iter().any(|known| one.name.ends_with(known.test)))
            .count(),
    );
    if told.write {
        let text = format!(
            "The part *sig-api-machinery* of the suite of Kubernetes 1.36.3, unchanged, against a cluster of `roadstead playground clusters` \
             (`cargo xtask conformance suite --write`). {verdict}\n\n{table}"
        );
        section::write(context, HEADING, &text)?;
    }
    println!("conformance suite: {verdict} {unknown} of the failures have no known reason");
    Ok(if unknown == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Puts what a part of a run says in the place of what was known.
fn take_in(known: &mut Vec<Outcome>, part: Vec<Outcome>) {
    for one in part {
        match known.iter_mut().find(|old| old.name == one.name) {
            None => known.push(one),
            Some(old) if one.state != "skipped" => *old = one,
            Some(_) => {}
        }
    }
}

/// Runs the suite on a cluster.
fn play(told: &Told, known: &[Known]) -> anyhow::Result<Vec<Outcome>> {
    let tools = Tools::in_folder(cache().join("bin"));
    if tools.need(&["e2e.test"]).is_err() {
        bail!(
            "the suite is not built: `cargo xtask oracle build e2e.test kubectl` (minutes, once)"
        );
    }
    let playground = match &told.kubeconfig {
        Some(_) => None,
        None => Some(Playground::start(&told.program)?),
    };
    let kubeconfig = match (&playground, told.kubeconfig.clone()) {
        (Some(playground), _) => playground.kubeconfig(),
        (None, Some(file)) => file,
        (None, None) => bail!("no cluster"),
    };
    let scratch = tempfile::tempdir()?;
    let report = scratch.path().join("report.json");
    let only = told.only.as_deref().unwrap_or(".*");
    let mut command = Command::new(tools.path("e2e.test"));
    command
        .args(["--provider=skeleton", "--num-nodes=1"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!(
            "--kubectl-path={}",
            tools.path("kubectl").display()
        ))
        .arg(format!("--report-dir={}", scratch.path().display()))
        .arg(format!("--ginkgo.json-report={}", report.display()))
        .arg(format!(
            r"--ginkgo.focus=\[sig-api-machinery\].*{only}.*\[Conformance\]"
        ))
        .args(["--ginkgo.no-color", "--dump-logs-on-failure=false"])
        .env("HOME", scratch.path())
        .current_dir(scratch.path())
        .stdin(Stdio::null());
    if !told.all {
        for one in known.iter().filter(|one| one.out) {
            command.arg(format!("--ginkgo.skip={}", escaped(one.test)));
        }
    }
    let log = scratch.path().join("log");
    let file = std::fs::File::create(&log)?;
    command.stdout(file.try_clone()?).stderr(file);
    println!("running the suite; it takes a quarter of an hour");
    let status = command.status().context("failed to start e2e.test")?;
    match std::fs::read(&report) {
        Ok(bytes) => Ok(read(&serde_json::from_slice(&bytes)?)),
        Err(error) => {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let from = text.len().saturating_sub(4000);
            bail!(
                "e2e.test ended with {status} and no report ({error}); it said last:\n{}",
                text.get(from..).unwrap_or_default()
            );
        }
    }
}

/// Takes the tests of our part out of ginkgo's report, sorted by name.
fn read(report: &Value) -> Vec<Outcome> {
    let specs = report.as_array().into_iter().flatten();
    let specs = specs
        .filter_map(|suite| suite["SpecReports"].as_array())
        .flatten();
    let mut all: Vec<Outcome> = specs
        .filter(|spec| spec["LeafNodeType"] == "It")
        .filter_map(|spec| {
            let words = spec["ContainerHierarchyTexts"].as_array()?;
            let leaf = &spec["LeafNodeText"];
            let words: Vec<&str> = words
                .iter()
                .chain([leaf])
                .filter_map(Value::as_str)
                .collect();
            let name = words.join(" ");
            let ours = name.contains("[sig-api-machinery]") && name.contains("[Conformance]")
                || has_label(spec, "Conformance") && name.contains("[sig-api-machinery]");
            ours.then(|| Outcome {
                name: short(&name),
                state: spec["State"].as_str().unwrap_or_default().to_owned(),
                seconds: spec["RunTime"].as_f64().unwrap_or(0.0) / 1e9,
                failure: spec["Failure"]["Message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn has_label(spec: &Value, label: &str) -> bool {
    ["LeafNodeLabels", "ContainerHierarchyLabels"]
        .iter()
        .any(|field| spec[*field].to_string().contains(&format!("\"{label}\"")))
}

/// A name without its tags.
fn short(name: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_u32;
    for letter in name.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            letter if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as a regular expression that matches it.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if !letter.is_alphanumeric() && letter != ' ' {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

fn cell(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ").replace('|', "\\|");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_tags() {
        assert_eq!(
            short("[sig-api-machinery] Watchers [Serial] should see [Conformance]"),
            "Watchers should see"
        );
        assert_eq!(escaped("a.b (c)"), r"a\.b \(c\)");
    }

    #[test]
    fn every_known_reason_is_read() {
        let lines = WITHOUT
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        assert_eq!(known().len(), lines.count());
    }
}
