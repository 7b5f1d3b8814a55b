//! What can go wrong between a repository and an input, and what to do about it.

use std::path::PathBuf;

/// Why a Source could not be read. Every URL in it is masked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The URL cannot be used.
    #[error("invalid repository URL {url:?}: {reason}")]
    InvalidUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL's scheme is none that is fetched from.
    #[error("invalid repository URL {url:?}: scheme {scheme:?} is not supported")]
    UnsupportedScheme {
        /// The URL.
        url: String,
        /// The scheme.
        scheme: String,
    },
    /// The reference is no name that Git allows.
    #[error("invalid {reference}: {reason}")]
    InvalidReference {
        /// The reference, as people write it.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA bundle holds no certificate that can be read.
    #[error("invalid CA bundle for {url}: {reason}")]
    InvalidCaBundle {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What the transport said.
        reason: String,
    },
    /// Somebody answered who could not prove to be the host.
    #[error("no trusted TLS connection to {url}: {reason}")]
    Tls {
        /// The URL.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The remote wants other credentials.
    #[error("{url} refused access: {reason}")]
    Auth {
        /// The URL.
        url: String,
        /// What the remote said.
        reason: String,
        /// Whether credentials were sent at all.
        sent: bool,
    },
    /// The ssh program does not trust the host.
    #[error("host key of {url} is not trusted: {reason}")]
    HostKey {
        /// The URL.
        url: String,
        /// What the ssh program said.
        reason: String,
    },
    /// There is no repository at the URL.
    #[error("no Git repository at {url}: {reason}")]
    NotARepository {
        /// The URL.
        url: String,
        /// What the remote said.
        reason: String,
    },
    /// The repository has no commit yet.
    #[error("repository {url} is empty: it has no commit yet")]
    Empty {
        /// The URL.
        url: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{reference} is not in {url}")]
    UnknownReference {
        /// The URL.
        url: String,
        /// The reference, as people write it.
        reference: String,
        /// The names that are there, nearest first, ten at most.
        known: Vec<String>,
    },
    /// The reference leads to something else than a commit.
    #[error("{reference} in {url} leads to a {kind}, not to a commit")]
    NotACommit {
        /// The URL.
        url: String,
        /// The reference, as people write it.
        reference: String,
        /// What it leads to.
        kind: String,
    },
    /// The repository uses something that is not supported.
    #[error("repository {url} is not supported: {reason}")]
    Unsupported {
        /// The URL.
        url: String,
        /// What it uses.
        reason: String,
    },
    /// The poll took too long.
    #[error("no answer from {url} within {seconds} s")]
    Timeout {
        /// The URL.
        url: String,
        /// The time that it had.
        seconds: u64,
    },
    /// A chart repository has no such chart.
    #[error("chart repository {url} has no chart {chart:?}")]
    NoChart {
        /// The URL.
        url: String,
        /// The chart.
        chart: String,
        /// Charts with a similar name.
        near: Vec<String>,
    },
    /// No version fits.
    #[error("no version of {what} fits {range:?}: {reason}")]
    NoVersion {
        /// The chart or artifact.
        what: String,
        /// The range that was asked for.
        range: String,
        /// What there is.
        reason: String,
    },
    /// An index cannot be read.
    #[error("failed to read chart repository index {url}: {reason}")]
    BadIndex {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive cannot be used.
    #[error("{what} cannot be used: {reason}")]
    BadArchive {
        /// The chart or artifact.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive is not the one that the index names.
    #[error("{url} has digest {found}, but the index says {expected}")]
    WrongDigest {
        /// The URL.
        url: String,
        /// What the index says.
        expected: String,
        /// What was downloaded.
        found: String,
    },
    /// A revision that was read once cannot be had again.
    #[error("{what} at {revision} is gone: {reason}")]
    Moved {
        /// The chart or artifact.
        what: String,
        /// The revision.
        revision: String,
        /// What there is now.
        reason: String,
    },
    /// The caller ended the poll.
    #[error("poll of {url} was interrupted")]
    Interrupted {
        /// The URL.
        url: String,
    },
    /// The fetch failed for another reason.
    #[error("failed to fetch from {url}: {reason}")]
    Fetch {
        /// The URL.
        url: String,
        /// What was said.
        reason: String,
    },
    /// The clone outgrew its bound.
    #[error("fetch from {url} stopped: the clone is larger than {limit} bytes")]
    CloneTooLarge {
        /// The URL.
        url: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// One object of the fetch outgrew its bound.
    #[error("fetch from {url} stopped: it holds an object larger than {limit} bytes")]
    ObjectTooLarge {
        /// The URL.
        url: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// One file is larger than allowed.
    #[error("file {path:?} has {size} bytes: more than the {limit} that one file may have")]
    FileTooLarge {
        /// The file's path in the repository.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// An input has more files than allowed.
    #[error("path {path:?} holds more than {limit} files")]
    TooManyFiles {
        /// The input's path.
        path: String,
        /// The bound.
        limit: usize,
    },
    /// An input's files together are larger than allowed.
    #[error("path {path:?} holds more than {limit} bytes (passed at file {file:?})")]
    TreeTooLarge {
        /// The input's path.
        path: String,
        /// The file at which the bound was passed.
        file: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A path would leave the repository.
    #[error("path {path:?} leaves the repository")]
    PathOutside {
        /// The path.
        path: String,
    },
    /// A path is not in the commit.
    #[error("path {path:?} is not in commit {commit}")]
    PathMissing {
        /// The path.
        path: String,
        /// The commit.
        commit: String,
        /// Paths with a similar name, nearest first, three at most.
        near: Vec<String>,
    },
    /// A symbolic link points out of the tree.
    #[error("symbolic link {path:?} leaves the repository: it points to {target:?}")]
    LinkOutside {
        /// The link's path.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A symbolic link points to nothing.
    #[error("symbolic link {path:?} points to {target:?}, which is not in the repository")]
    LinkBroken {
        /// The link's path.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A symbolic link leads back to itself.
    #[error("symbolic link {path:?} never ends: it points to {target:?}")]
    LinkLoop {
        /// The link's path.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A file name is not UTF-8 or no name that a file may have.
    #[error("file name {path:?} cannot be used: {reason}")]
    FileName {
        /// The path, with what cannot be shown replaced.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The local clone is damaged. The next poll makes it again.
    #[error("local clone of {url} is damaged: {reason}")]
    Corrupt {
        /// The URL.
        url: String,
        /// What was found.
        reason: String,
    },
    /// The cache folder cannot be used.
    #[error("failed to use cache folder {}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses the cache folder.
    #[error("cache folder {} is used by another process", path.display())]
    CacheInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A program that the fetch needs cannot be started.
    #[error("failed to start {program:?} to fetch from {url}")]
    Program {
        /// The URL.
        url: String,
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SourceError {
    /// Says what to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InvalidUrl { .. } | Self::UnsupportedScheme { .. } => {
                "use https://host/path, ssh://user@host/path, user@host:path or file:///path".into()
            }
            Self::InvalidReference { reference, .. } if reference.starts_with("commit") => {
                "write the full commit id: 40 hexadecimal digits".into()
            }
            Self::InvalidReference { .. } => {
                "write the name without refs/heads/ or refs/tags/".into()
            }
            Self::InvalidCaBundle { .. } => {
                "give one or more PEM blocks that begin with -----BEGIN CERTIFICATE-----".into()
            }
            Self::Unreachable { .. } => {
                "check the host name, the port and the network or proxy between".into()
            }
            Self::Tls { .. } => {
                "if the host's certificate comes from an authority of your own, add it as CA bundle"
                    .into()
            }
            Self::Auth { sent: false, .. } => {
                "the repository asks for credentials: give a token, a user and password, or an SSH key"
                    .into()
            }
            Self::Auth { .. } => {
                "check that the credentials are right, have not ended, and may read this repository"
                    .into()
            }
            Self::HostKey { .. } => "give the host's public key as known_hosts".into(),
            Self::NotARepository { .. } => {
                "check the path; some hosts also answer so when the credentials may not see the repository"
                    .into()
            }
            Self::Empty { .. } => "push a commit".into(),
            Self::UnknownReference { known, .. } if known.is_empty() => return None,
            Self::UnknownReference { known, .. } => format!("there are: {}", known.join(", ")),
            Self::NotACommit { .. } => "tag a commit".into(),
            Self::Timeout { .. } => "it is asked again at the next poll; a smaller repository takes less time".into(),
            Self::CloneTooLarge { .. } | Self::ObjectTooLarge { .. } => {
                "move what is large out of the repository, or raise the limit".into()
            }
            Self::FileTooLarge { .. } | Self::TooManyFiles { .. } | Self::TreeTooLarge { .. } => {
                "name a narrower path, or raise the limit".into()
            }
            Self::PathOutside { .. } => {
                "write the path relative to the repository's root, without \"..\"".into()
            }
            Self::PathMissing { near, .. } if near.is_empty() => return None,
            Self::PathMissing { near, .. } => format!("did you mean {}?", near.join(" or ")),
            Self::LinkOutside { .. } | Self::LinkBroken { .. } | Self::LinkLoop { .. } => {
                "replace the link by a file, or let it point to a file of this repository".into()
            }
            Self::FileName { .. } => "rename the file".into(),
            Self::Corrupt { .. } => "nothing: the next poll clones it again".into(),
            Self::CacheInUse { .. } => "give each hub a cache folder of its own".into(),
            Self::Program { program, .. } => format!("install {program}, or check the path to it"),
            Self::NoChart { near, .. } if near.is_empty() => {
                "check the chart's name, and that the URL is the one that `helm repo add` takes".into()
            }
            Self::NoChart { near, .. } => format!("did you mean {}?", near.join(" or ")),
            Self::WrongDigest { .. } => {
                "somebody replaced a published archive, or the index is old: ask who runs the repository"
                    .into()
            }
            Self::Moved { .. } => {
                "a published version was replaced or removed: follow another version".into()
            }
            Self::NoVersion { .. } => "follow another version or range".into(),
            Self::BadIndex { .. } | Self::BadArchive { .. } => return None,
            Self::Unsupported { .. }
            | Self::Interrupted { .. }
            | Self::Fetch { .. }
            | Self::Cache { .. } => return None,
        };
        Some(hint)
    }

    pub(crate) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Cache { path, source }
    }
}
