//! The trait that every backend implements.

use std::sync::Arc;
use std::task::{Context, Poll};

use base_json::Digest;
use bytes::Bytes;

use crate::{Batch, CommitError, CommitId, Committed, Fence, Revision};

/// At which revision a read looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Newest,
    /// Exactly this one; an error once it is compacted.
    Revision(Revision),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// When the key was created.
    pub created: Revision,
    /// When it was last written.
    pub modified: Revision,
}

/// Which keys to read: those that begin with `prefix`, after `after`, sorted by bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// How the keys begin; empty for all.
    pub prefix: String,
    /// Start behind this key; `None` to start at the first.
    pub after: Option<String>,
    /// How many entries at most; 0 for all.
    pub limit: usize,
    /// At which revision.
    pub at: At,
}

/// Part of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries, sorted by key.
    pub entries: Vec<Entry>,
    /// The revision at which they were read.
    pub revision: Revision,
    /// How many entries of the prefix follow behind this page.
    pub remaining: usize,
}

/// One key's change inside a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The change's own revision.
    pub revision: Revision,
    /// The key.
    pub key: String,
    /// The value before; `None` if the key was created.
    pub old: Option<Bytes>,
    /// The value after; `None` if the key was removed.
    pub new: Option<Bytes>,
    /// When the key was created, for the value after or, when it was removed, for the value before.
    pub created: Revision,
}

/// A whole commit as a watch shows it; only changes under the watch's prefix are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The changes, in the order of their revisions.
    pub changes: Arc<[Change]>,
    /// The last revision of the whole commit, other prefixes' changes included.
    pub revision: Revision,
}

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// A commit that changed something under the prefix.
    Commit(Commit),
    /// Everything up to this revision has been seen. Told on demand: a watch that is polled and has nothing waiting
    /// says it if the store has come further than the watch last said. Commits under other prefixes wake nobody.
    Progress(Revision),
    /// The watch was too slow, or what it asks for is compacted: read again, then watch from there. It is the last.
    Compacted(Revision),
}

/// Where a [`Watch`] takes its items from; backends implement it.
pub trait WatchSource: Send {
    /// Takes the next item; `Ready(None)` once the store is closed.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>>;
}

/// A watch: whole commits in order, without gaps.
pub struct Watch(Box<dyn WatchSource>);

impl Watch {
    /// Wraps a backend's source.
    pub fn new(source: impl WatchSource + 'static) -> Self {
        Self(Box::new(source))
    }

    /// Takes the next item; `Ready(None)` once the store is closed.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        self.0.poll_next(cx)
    }

    /// Takes an item that is there already.
    pub fn try_next(&mut self) -> Option<WatchItem> {
        match self.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// Waits for the next item.
    pub async fn next(&mut self) -> Option<WatchItem> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is gone.
    #[error("revision {asked} is compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision is not there yet.
    #[error("revision {asked} is in the future; the newest is {newest}")]
    Future {
        /// The revision that was asked for.
        asked: Revision,
        /// The newest.
        newest: Revision,
    },
    /// The backend could not read.
    #[error("failed to read the store: {cause}")]
    Failed {
        /// What it said.
        cause: String,
    },
}

/// Why a watch could not begin.
pub type WatchError = ReadError;

/// Why a blob could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There is no room.
    #[error("no room to write a blob: {cause}")]
    Full {
        /// What the disk said.
        cause: String,
    },
    /// The stored bytes do not have the digest that they are stored under.
    #[error("blob {digest} is damaged")]
    Damaged {
        /// The digest asked for.
        digest: Digest,
    },
    /// The backend failed.
    #[error("failed to reach the blobs: {cause}")]
    Failed {
        /// What it said.
        cause: String,
    },
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys that exist.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub oldest: Revision,
}

/// Called once with the outcome of a commit, possibly on another thread; it must not block.
pub type Completion = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// One ordered log of facts under text keys, and blobs by digest.
///
/// Reads are consistent at one revision. A commit is acknowledged only when it would survive the loss of power; then
/// every later read sees it. All methods may block on the disk: callers on an async runtime move them to a blocking
/// thread, or use [`submit`](Self::submit).
pub trait Store: Send + Sync {
    /// Commits a batch and calls `done` with its outcome; by then every watch has the commit in its queue. Batches that are submitted while one is being written are
    /// written together (group commit), each still all or nothing.
    fn submit(&self, batch: Batch, done: Completion);

    /// Commits a batch and waits for its outcome.
    fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let id = batch.id;
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.submit(
            batch,
            Box::new(move |outcome| {
                let _ = sender.send(outcome);
            }),
        );
        receiver.recv().unwrap_or_else(|_| {
            Err(CommitError::OutcomeUnknown {
                id,
                cause: "the store went away".to_owned(),
            })
        })
    }

    /// Tells what became of a commit: where it stands, or `None` if it was never made, or wrote nothing. Ids are
    /// remembered for at least the last 10,000 commits; a commit with one of them is refused as malformed.
    fn outcome(&self, id: CommitId) -> Result<Option<Committed>, ReadError>;

    /// Reads one key.
    fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError>;

    /// Reads a range.
    fn range(&self, range: &Range) -> Result<Page, ReadError>;

    /// Follows what changes under a prefix after `from` (exclusive). What has happened since is shown first.
    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError>;

    /// Returns the newest revision.
    fn revision(&self) -> Revision;

    /// Forgets history up to and including `to`, which becomes the oldest revision that can be read and watched from;
    /// the newest value of each key stays. Watches that have begun lose nothing.
    fn compact(&self, to: Revision) -> Result<(), CommitError>;

    /// Takes, or renews, a lease for `ttl_ms` milliseconds from `now_ms` (the caller's clock). `None`: another holds it.
    /// The same holder keeps its fence until another has taken the lease; with a `ttl_ms` of 0 it gives it back.
    fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, CommitError>;

    /// Stores blobs; those that are there already cost nothing but a new date. They are durable when this returns. If one
    /// does not have its digest, none is stored.
    fn put_blobs(&self, blobs: &[(Digest, Bytes)]) -> Result<(), BlobError>;

    /// Reads a blob and checks it against its digest.
    fn get_blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError>;

    /// Tells which of these blobs are missing, or were found damaged; storing them again heals them.
    fn missing_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, BlobError>;

    /// Removes the blobs that `keep` refuses and that were stored, or stored again, before `before_ms`; says how many.
    fn sweep_blobs(&self, before_ms: u64, keep: &dyn Fn(&Digest) -> bool)
    -> Result<u64, BlobError>;

    /// Tells what the store holds.
    fn stats(&self) -> Result<Stats, ReadError>;
}
