//! Where files come from: a tree that is given, and remote bases that were fetched before.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file, with the path that links lead to.
    File(String),
    /// A folder, with the path that links lead to.
    Folder(String),
}

/// A tree of files. Paths have slashes, none in front, and neither `.` nor `..`; the root is empty.
pub trait Files: Send + Sync {
    /// What lies at a path, links followed; nothing if they lead out of the tree.
    fn entry(&self, path: &str) -> Option<Entry>;
    /// A file's content.
    fn read(&self, path: &str) -> Result<Bytes, String>;
    /// The paths of all files below a folder.
    fn below(&self, folder: &str) -> Vec<String>;
}

impl Files for BTreeMap<String, Bytes> {
    fn entry(&self, path: &str) -> Option<Entry> {
        if self.contains_key(path) {
            return Some(Entry::File(path.to_owned()));
        }
        if path.is_empty() {
            return Some(Entry::Folder(String::new()));
        }
        let below = format!("{path}/");
        let (first, _) = self.range(below.clone()..).next()?;
        first
            .starts_with(&below)
            .then(|| Entry::Folder(path.to_owned()))
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        self.get(path)
            .cloned()
            .ok_or_else(|| "no such file".to_owned())
    }

    fn below(&self, folder: &str) -> Vec<String> {
        self.keys()
            .filter(|path| within(path, folder))
            .cloned()
            .collect()
    }
}

/// What an address led to.
#[derive(Clone)]
pub enum Remote {
    /// A file.
    File(Bytes),
    /// A folder in a repository's tree.
    Folder {
        /// The whole tree.
        files: Arc<dyn Files>,
        /// The folder in it.
        path: String,
    },
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            Self::Folder { path, .. } => write!(f, "Folder({path:?})"),
        }
    }
}

/// Joins a path to a folder; nothing if it leads out of the tree.
pub fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut out: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                out.pop()?;
            }
            part => out.push(part),
        }
    }
    Some(out.join("/"))
}

/// Is a path in a folder, or the folder itself?
pub fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
