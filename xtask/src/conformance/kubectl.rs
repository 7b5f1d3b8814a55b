//! `conformance kubectl`: what kubectl's own scripts say of a playground cluster.
//!
//! The scripts stand in the Go module of Kubernetes and are run there; nothing of them is copied.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use oracle_cluster::{Lifetime, Process, Tools, cache, wait_until};

use super::playground::Playground;
use super::section;
use crate::Context;

const USAGE: &str =
    "usage: cargo xtask conformance kubectl [--only NAME]… [--program FILE] [--verbose] [--write]
  --only NAME     only this function of the scripts, such as kubectl_apply
  --program FILE  the roadstead that serves the clusters; target/release/roadstead if left out
  --verbose       print all that a function says that fails
  --write         write the section of docs/conformance.md";

const HEADING: &str = "## kubectl's own scripts";
/// The functions, and which of them are left out.
const FUNCTIONS: &str = include_str!("kubectl.txt");
const DRIVER: &str = include_str!("kubectl.sh");
/// The longest of them waits for minutes.
const PATIENCE: Duration = Duration::from_secs(600);

struct Function {
    file: &'static str,
    name: &'static str,
    left_out: &'static str,
}

fn functions() -> Vec<Function> {
    let lines = FUNCTIONS.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            Some(Function {
                file: words.next()?,
                name: words.next()?,
                left_out: words.next().unwrap_or_default(),
            })
        })
        .collect()
}

struct Told {
    only: Vec<String>,
    program: PathBuf,
    verbose: bool,
    write: bool,
}

/// Runs the scripts; the last line is the verdict.
pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut told = Told {
        only: Vec::new(),
        program: Playground::program(context),
        verbose: false,
        write: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("{arg} wants a value\n{USAGE}"))
        };
        match arg.as_str() {
            "--only" => told.only.push(value()?.clone()),
            "--program" => told.program = value()?.into(),
            "--verbose" => told.verbose = true,
            "--write" => told.write = true,
            "--help" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    let tools = Tools::in_folder(cache().join("bin"));
    tools.need(&["kubectl"])?;
    let root = source(&context.root)?;
    let mut table = String::from("| Script | Function | Verdict | Reason |\n|---|---|---|---|\n");
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    for function in functions() {
        let Function {
            file,
            name,
            left_out: why,
        } = &function;
        let named = told.only.iter().any(|only| only == name);
        if !told.only.is_empty() && !named {
            continue;
        }
        let (verdict, reason) = if !why.is_empty() && !named {
            left_out += 1;
            ("left out", (*why).to_owned())
        } else {
            match one(&told, &tools, &root, name)? {
                None => {
                    passed += 1;
                    ("passed", String::new())
                }
                Some(said) => {
                    failed += 1;
                    println!("FAILED {file}.sh {name}:\n{said}");
                    ("failed", said.lines().last().unwrap_or_default().to_owned())
                }
            }
        };
        println!("{file}.sh {name}: {verdict}");
        writeln!(
            table,
            "| {file}.sh | {name} | {verdict} | {} |",
            reason.replace('|', "\\|")
        )?;
    }
    let verdict = format!("{passed} functions pass, {failed} fail, {left_out} are left out.");
    println!("{table}");
    if told.write {
        let text = format!(
            "The scripts `test/cmd/` of Kubernetes 1.36.3, unchanged, each function against a fresh cluster of `roadstead playground clusters` \
             (`cargo xtask conformance kubectl --write`). {verdict}\n\n{table}"
        );
        section::write(context, HEADING, &text)?;
    }
    println!("conformance kubectl: {verdict}");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where the module's source lies.
fn source(root: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args([
            "list",
            "-mod=readonly",
            "-m",
            "-f",
            "{{.Dir}}",
            "k8s.io/kubernetes",
        ])
        .current_dir(root.join("oracle/kubernetes"))
        .env("GOWORK", "off")
        .output()
        .context("failed to start go")?;
    if !output.status.success() {
        bail!("go list: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Runs one function on a cluster of its own; returns what it said if it failed.
fn one(told: &Told, tools: &Tools, root: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let playground = Playground::start(&told.program)?;
    let folder = playground.folder().join("source");
    std::fs::create_dir(&folder)?;
    // what a script writes beside itself must not land in the module cache
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    let driver = playground.folder().join("driver.sh");
    std::fs::write(&driver, DRIVER)?;
    let url = playground.url()?;
    let place = url
        .strip_prefix("https://127.0.0.1:")
        .with_context(|| format!("the playground is at {url}"))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let args = [
        "-C".to_owned(),
        folder.display().to_string(),
        format!("PATH={}:{path}", tools.folder().display()),
        "TERM=xterm".to_owned(),
        "KUBE_ROOT=.".to_owned(),
        "ALLOW_SKEW=1".to_owned(),
        "bash".to_owned(),
        driver.display().to_string(),
        name.to_owned(),
        playground.kubeconfig().display().to_string(),
        place.to_owned(),
    ];
    let log = playground.folder().join("script.log");
    let mut process = Process::start(name, Path::new("/usr/bin/env"), &args, &log, Lifetime::Tied)?;
    let begun = Instant::now();
    let ended = wait_until(name, PATIENCE, || Ok(process.check().err()));
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let good = matches!(&ended, Ok(error) if error.to_string().contains("exit status: 0"));
    if good {
        println!("{name} took {} s", begun.elapsed().as_secs());
        return Ok(None);
    }
    let lines: Vec<&str> = text.lines().collect();
    let from = if told.verbose {
        0
    } else {
        lines.len().saturating_sub(40)
    };
    Ok(Some(lines[from..].join("\n")))
}
