//! What runs detached, written down so that it can be ended later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::process::Recorded;

/// One cluster that was written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// The API server's address.
    pub url: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its processes.
    pub processes: Vec<Recorded>,
}

/// All clusters of one folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The clusters.
    pub clusters: Vec<Written>,
}

impl State {
    /// Reads what was written in this folder; nothing if there is nothing.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = Self::path(folder);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("failed to read {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Writes it down, whole or not at all.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = Self::path(folder);
        let failed = || format!("failed to write {}", path.display());
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(&new, text).with_context(failed)?;
        std::fs::rename(&new, &path).with_context(failed)
    }

    /// Ends every process that is written down and still the same; says how many there were.
    pub fn end(&self, patience: Duration) -> usize {
        // what was started last goes first
        let all = self.clusters.iter().rev();
        let all = all.flat_map(|cluster| cluster.processes.iter().rev());
        all.filter(|process| process.end(patience)).count()
    }

    /// Forgets what was written in this folder.
    pub fn clear(folder: &Path) -> anyhow::Result<()> {
        let path = Self::path(folder);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }
}
