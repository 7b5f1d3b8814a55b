//! Where the built programs are.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// What a control plane is made of.
const CONTROL_PLANE: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The folder outside of the repository that holds what is built once.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| home().join(".cache"), PathBuf::from)
        .join("roadstead/oracle")
}

/// The built programs.
#[derive(Debug, Clone)]
pub struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Finds what a control plane needs; the error names what is missing and how to get it.
    pub fn find() -> anyhow::Result<Self> {
        let tools = Self::in_folder(cache().join("bin"));
        tools.need(&CONTROL_PLANE)?;
        Ok(tools)
    }

    /// Looks nowhere, and takes the programs in this folder.
    pub fn in_folder(bin: PathBuf) -> Self {
        Self { bin }
    }

    /// Checks that these programs are there.
    pub fn need(&self, names: &[&str]) -> anyhow::Result<()> {
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !self.path(name).is_file())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "no {} in {}: `cargo xtask oracle build` builds them",
            missing.join(", "),
            self.bin.display()
        )
    }

    /// The path of a program, whether it is there or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The folder of the programs.
    pub fn folder(&self) -> &Path {
        &self.bin
    }
}
