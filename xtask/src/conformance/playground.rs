//! A playground cluster for other people's programs, as `roadstead playground clusters` serves it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use oracle_cluster::{Lifetime, Process, wait_until};

use crate::Context;

/// One cluster; it ends when this is dropped.
pub(super) struct Playground {
    _process: Process,
    folder: tempfile::TempDir,
}

impl Playground {
    /// Starts one; `program` is the roadstead that serves it.
    pub(super) fn start(program: &Path) -> anyhow::Result<Self> {
        if !program.is_file() {
            bail!(
                "no program {}: `cargo build --release --package roadstead` makes it",
                program.display()
            );
        }
        let folder = tempfile::Builder::new().prefix("playground-").tempdir()?;
        let log = folder.path().join("log");
        let args = [
            "playground",
            "clusters",
            "--clusters=1",
            "--kubeconfigs",
            &folder.path().display().to_string(),
        ]
        .map(str::to_owned);
        let mut process = Process::start("playground", program, &args, &log, Lifetime::Tied)?;
        // the last file that it writes
        let last = folder.path().join("playground.yaml");
        wait_until("the playground", Duration::from_secs(60), || {
            process.check()?;
            Ok(last.is_file().then_some(()))
        })?;
        Ok(Self {
            _process: process,
            folder,
        })
    }

    /// The program that cargo builds unless another is named.
    pub(super) fn program(context: &Context) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| context.root.join("target"), PathBuf::from);
        target.join("release/roadstead")
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("cluster-01.yaml")
    }

    /// Its address, with the cluster's path.
    pub(super) fn url(&self) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(self.kubeconfig())?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: "));
        let url = line.context("the kubeconfig names no server")?;
        Ok(url.trim_matches('"').to_owned())
    }

    /// A folder for what goes with it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
