//! What an App is rendered from.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// The files of an App's inputs, and what else a rendering hangs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Those of the first input, by their paths from its tree's root.
    pub first: BTreeMap<String, Bytes>,
    /// Those of the others, by the input's name, and by their paths from the input's own path.
    pub others: BTreeMap<String, BTreeMap<String, Bytes>>,
    /// What the addresses of remote bases led to.
    pub fetched: BTreeMap<String, Fetched>,
    /// What random functions of charts draw from: the hub's own secret.
    pub seed: [u8; 32],
    /// What clocks of charts say, in milliseconds since 1970: when the Release was committed.
    pub now_ms: i64,
}

/// What the address of a remote base led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// A file.
    File(Bytes),
    /// A folder in a repository's tree.
    Folder {
        /// What is needed of the tree.
        files: Arc<BTreeMap<String, Bytes>>,
        /// The folder in it.
        path: String,
    },
}

impl Inputs {
    /// Puts files below a path, as seen from the tree's root. A path that is a file holds itself, by its name.
    pub fn below(path: &str, files: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
        let folder = path.trim_matches('/');
        let one = files.len() == 1;
        let whole = |name: String| {
            let itself = one && (folder == name || folder.ends_with(&format!("/{name}")));
            if folder.is_empty() {
                name
            } else if itself {
                folder.to_owned()
            } else {
                format!("{folder}/{name}")
            }
        };
        files
            .into_iter()
            .map(|(name, bytes)| (whole(name), bytes))
            .collect()
    }
}
