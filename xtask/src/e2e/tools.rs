//! The programs that people use: kubectl, helm and roadstead itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A program, with what every run of it is given.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    env: Vec<(String, String)>,
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            env: Vec::new(),
        }
    }

    pub(super) fn with(mut self, key: &str, value: &Path) -> Self {
        self.env.push((key.to_owned(), value.display().to_string()));
        self
    }

    /// Runs it; returns what it said, or fails with what it complained of.
    pub(super) fn run(&self, args: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let mut child = Command::new(&self.path)
            .args(args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", self.path.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // one that has ended already says why
            let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            bail!(
                "{name} {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it with `-o json`.
    pub(super) fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        let text = self.run(&args, None)?;
        serde_json::from_str(&text).with_context(|| format!("no JSON from {}", args.join(" ")))
    }

    /// The items of a list.
    pub(super) fn items(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let list = self.json(args)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

/// A text in JSON, or none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
