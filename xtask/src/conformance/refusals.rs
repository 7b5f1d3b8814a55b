//! `cargo xtask conformance refusals`: objects that are broken in one place, sent to the real API server and to ours.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance refusals
  --cases N     broken objects that are sent to both (default 500)
  --seed S      another seed breaks other things (default 1)
  --corpus DIR  break the manifests of this folder too
  --mixed       put a value of an object into another place of it, instead of what never fits";

pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let (mut cases, mut seed, mut corpus, mut mixed) = (500_u64, 1_u64, None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--help" {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        if arg == "--mixed" {
            mixed = true;
            continue;
        }
        let value = args.next().with_context(|| format!("{arg} wants a value"));
        let number = |text: &String| {
            text.parse::<u64>()
                .with_context(|| format!("{arg} wants a number, not {text:?}"))
        };
        match arg.as_str() {
            "--cases" => cases = number(value?)?,
            "--seed" => seed = number(value?)?,
            "--corpus" => corpus = Some(std::path::absolute(value?)?),
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        }
    }
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "--package", "k8s-apiserver"])
        .args(["--test", "kinds", "other_seeds", "--", "--nocapture"])
        .env("K8S_REFUSALS_CASES", cases.to_string())
        .env("K8S_REFUSALS_SEED", seed.to_string())
        .current_dir(&context.root);
    if let Some(corpus) = corpus {
        test.env("K8S_REFUSALS_CORPUS", corpus);
    }
    if mixed {
        test.env("K8S_REFUSALS_MIXED", "1");
    }
    let mut running = test
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo does not run")?;
    let said = running.stdout.take().context("its output is not piped")?;
    let mut found = None;
    for line in BufReader::new(said).lines() {
        let line = line?;
        println!("{line}");
        if let Some(pairs) = line.strip_prefix("refusals: ") {
            found = Some(pairs.to_owned());
        }
    }
    let fine = running.wait()?.success();
    let Some(pairs) = found else {
        bail!("nothing was compared: is kube-apiserver built? cargo xtask oracle build");
    };
    println!("refusals: {cases} cases, seed {seed}: {pairs}");
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
