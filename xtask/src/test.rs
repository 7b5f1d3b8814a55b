//! Runs every test and ends with one line that sums them up.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ExitCode, Stdio};

use anyhow::Context as _;

use crate::{Context, cargo};

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            f,
            "tests: {passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// Runs `cargo xtask test [arguments of cargo test]`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut child = cargo()
        .current_dir(&context.root)
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut sum = Sum::default();
    let mut stdout = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("failed to read what cargo test says")?;
        stdout.write_all(&line)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        sum.add(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().context("failed to wait for cargo test")?;
    if !status.success() && sum.failed == 0 {
        // a program that did not compile, or that crashed, reports no result of its own
        sum.failed = 1;
        println!("cargo test ended with {status} although no test failed: counted as one failure");
    }
    println!("{sum}");
    Ok(if status.success() && sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Sum {
    /// Takes in a line; only a test program's last one counts.
    fn add(&mut self, line: &str) {
        // `--nocapture` lets a test write in front of it
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_test_programs_say() {
        let mut sum = Sum::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
            "test tests::says::passed ... ok",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ] {
            sum.add(line);
        }
        assert_eq!(sum.to_string(), "tests: 13 passed, 2 failed, 1 skipped");
    }
}
