//! What a caller asks for, and within which bounds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One question to one repository: where does this reference stand?
#[derive(Debug, Clone)]
pub struct GitRequest {
    /// The URL: `https://…`, `http://…`, `ssh://…`, `user@host:path`, `file:///…` or an absolute path.
    pub url: String,
    /// What to follow.
    pub reference: Reference,
    /// How to prove who asks.
    pub auth: Auth,
    /// PEM certificates of authorities to trust besides the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// How long the whole poll may take, fetch included.
    pub timeout: Duration,
}

impl GitRequest {
    /// Asks for the default branch, as nobody, within a minute.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reference: Reference::DefaultBranch,
            auth: Auth::None,
            ca_bundle: None,
            timeout: Duration::from_secs(60),
        }
    }
}

/// What a Source follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The branch that the remote's `HEAD` names.
    DefaultBranch,
    /// A branch, without `refs/heads/`.
    Branch(String),
    /// A tag, without `refs/tags/`; an annotated one is followed to its commit.
    Tag(String),
    /// A full commit id of 40 hexadecimal digits.
    Commit(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultBranch => f.write_str("the default branch"),
            Self::Branch(name) => write!(f, "branch {name:?}"),
            Self::Tag(name) => write!(f, "tag {name:?}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// How to prove who asks. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Ask as nobody (or as the URL says).
    None,
    /// An access token, sent as the password of HTTP basic authentication, as GitHub, GitLab, Gitea and Bitbucket want it.
    Token(String),
    /// HTTP basic authentication.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// An SSH key.
    Ssh {
        /// The private key.
        key: SshKey,
        /// The host keys to accept, in the form of `known_hosts`; without it, the ssh program's own files decide.
        known_hosts: Option<String>,
    },
}

/// Where an SSH private key is.
#[derive(Clone, PartialEq, Eq)]
pub enum SshKey {
    /// In a file that the ssh program may read.
    Path(PathBuf),
    /// The key itself. It lies in a file of the cache folder, readable by its owner only, while a poll runs.
    Inline(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::Basic { user, .. } => write!(f, "Basic({user:?}, …)"),
            Self::Ssh { key, .. } => write!(f, "Ssh({key:?})"),
        }
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({})", path.display()),
            Self::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

/// What one Source may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files of one input together.
    pub tree_bytes: u64,
    /// Bytes of one file.
    pub blob_bytes: u64,
    /// Files of one input.
    pub files: usize,
    /// Bytes that one clone may take on disk.
    pub clone_bytes: u64,
    /// Bytes of the largest object of a repository, wherever it lies: a fetch is received one whole object at a time, and
    /// refused by the size that stands before a larger one.
    pub object_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tree_bytes: 200 << 20,
            blob_bytes: 64 << 20,
            files: 20_000,
            clone_bytes: 4 << 30,
            object_bytes: 128 << 20,
        }
    }
}
