//! A crate's own test beside Kubernetes' code, with as many cases as are asked for.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::Context;

/// Which test it is, and in which words it is told of.
pub(super) struct Beside {
    /// The name of the chore.
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// The variables by which the test is told how many cases, and which.
    pub(super) cases: &'static str,
    pub(super) seed: &'static str,
    /// More in one process would fill the memory.
    pub(super) at_once: u64,
    /// What a case is.
    pub(super) what: &'static str,
    /// What the cases of the verdict are.
    pub(super) all: &'static str,
}

impl Beside {
    fn usage(&self) -> String {
        format!(
            "usage: cargo xtask conformance {}
  --cases N     {} (default 5000)
  --seed S      another seed makes other cases (default 1)
  --release     optimized: takes longer to compile, and a fourth of the time a case",
            self.name, self.what
        )
    }

    /// Runs it; the last line is the verdict.
    pub(super) fn run(&self, context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
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
                    println!("{}", self.usage());
                    return Ok(ExitCode::SUCCESS);
                }
                other => bail!("unknown argument {other:?}\n{}", self.usage()),
            }
        }
        if Command::new("go").arg("version").output().is_err() {
            bail!("Kubernetes' own code is compiled with Go, which is not in PATH");
        }
        let name = self.name;
        let mut done = 0;
        while done < cases {
            let now = self.at_once.min(cases - done);
            let part = seed.wrapping_add(done / self.at_once);
            let mut test = Command::new("cargo");
            test.args(["test", "--quiet", "--package", self.package])
                .args(["--test", "oracle"]);
            if release {
                test.arg("--release");
            }
            let status = test
                .args(["--", "--nocapture"])
                .env(self.cases, now.to_string())
                .env(self.seed, part.to_string())
                .current_dir(&context.root)
                .status()
                .context("cargo does not run")?;
            if !status.success() {
                println!(
                    "{name}: differs from Kubernetes' own code; seed {part} with --cases {now} shows it again"
                );
                return Ok(ExitCode::FAILURE);
            }
            done += now;
        }
        println!("{name}: {cases} {}, seed {seed}: 0 differences", self.all);
        Ok(ExitCode::SUCCESS)
    }
}
