//! `cargo xtask conformance cel`: expressions beside Kubernetes' own code, recorded ones and random ones.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance cel
  --cases N     random expressions (default 5000)
  --seed S      another seed makes other cases (default 1)
  --release     optimized: takes longer to compile, and a fourth of the time a case";

/// More steps than this in one process would fill the memory.
const AT_ONCE: u64 = 20000;

pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let (mut cases, mut seed, mut release) = (5000, 1, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = args
                .next()
                .with_context(|| format!("{arg} wants a number"))?;
            text.parse()
                .with_context(|| format!("{arg} wants a number, not {text:?}"))
        };
        match arg.as_str() {
            "--cases" => cases = number()?,
            "--seed" => seed = number()?,
            "--release" => release = true,
            "--help" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        }
    }
    if Command::new("go").arg("version").output().is_err() {
        bail!("Kubernetes' own code is compiled with Go, which is not in PATH");
    }
    let mut done = 0;
    while done < cases {
        let (now, part) = (AT_ONCE.min(cases - done), seed.wrapping_add(done / AT_ONCE));
        let mut test = Command::new("cargo");
        test.args([
            "test",
            "--quiet",
            "--package",
            "k8s-cel",
            "--test",
            "oracle",
        ]);
        if release {
            test.arg("--release");
        }
        let status = test
            .args(["--", "--nocapture"])
            .env("K8S_CEL_CASES", now.to_string())
            .env("K8S_CEL_SEED", part.to_string())
            .current_dir(&context.root)
            .status()
            .context("cargo does not run")?;
        if !status.success() {
            println!(
                "cel: differs from Kubernetes' own code; seed {part} with --cases {now} shows it again"
            );
            return Ok(ExitCode::FAILURE);
        }
        done += now;
    }
    println!("cel: {cases} random expressions, seed {seed}: 0 differences");
    Ok(ExitCode::SUCCESS)
}
