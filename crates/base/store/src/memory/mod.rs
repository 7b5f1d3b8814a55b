//! A store in memory, over a disk that can be simulated, or none.
//!
//! With [`NoDisk`] it is a plain in-memory store; [`MemoryStore::fork`] makes one that shares an immutable [`Image`]
//! with any number of others and holds only what differs. With a disk that keeps, every commit is appended to a log and
//! synced before it is acknowledged, and [`MemoryStore::open`] recovers exactly what was.

mod image;
mod log;
mod record;
mod state;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use base_json::Digest;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

pub use self::image::Image;
pub use self::log::OpenError;
use self::log::{Log, WriteError};
use self::state::{Blob, Blobs, Lease, State};
use crate::fanout::Fanout;
use crate::{
    At, Batch, BlobError, CommitError, CommitId, Committed, Completion, Disk, Entry, Fence, NoDisk,
    Page, Range, ReadError, Revision, Stats, Store, Watch, WatchError,
};

/// The revision of an empty store; the first that it gives is the next.
const FLOOR: u64 = 1;
/// How far a restored store's revisions stand from those of before.
const RAISE: u64 = 1_000_000_000;

/// How much a store keeps beside what is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Commits whose history is kept until it is compacted; beyond them the oldest goes by itself.
    pub history_commits: usize,
    /// Bytes of that history.
    pub history_bytes: usize,
    /// Commits whose outcome is remembered.
    pub outcomes: usize,
    /// Bytes that may wait for a slow watch before it is ended.
    pub watch_bytes: usize,
}

impl Limits {
    /// What a store of its own keeps: all history until it is compacted.
    pub const STORE: Self = Self {
        history_commits: usize::MAX,
        history_bytes: usize::MAX,
        outcomes: 16_384,
        watch_bytes: 8 << 20,
    };

    /// What a fork keeps: a small window. A commit without a disk has no unknown outcome, so few are remembered.
    pub const FORK: Self = Self {
        history_commits: 128,
        history_bytes: 48 << 10,
        outcomes: 16,
        watch_bytes: 1 << 20,
    };
}

/// What a store held at one moment.
#[derive(Debug, Clone)]
pub struct Backup {
    image: Image,
    leases: BTreeMap<Box<str>, Lease>,
    blobs: Blobs,
}

impl Backup {
    /// Returns the newest revision in it.
    pub fn revision(&self) -> Revision {
        self.image.revision()
    }
}

/// A store in memory, over a [`Disk`].
pub struct MemoryStore<D: Disk = NoDisk> {
    inner: RwLock<Inner<D>>,
    /// Batches that wait for whoever writes now.
    waiting: Mutex<Vec<(Batch, Completion)>>,
    /// What time the store believes it is; only blobs are stamped with it.
    now_ms: AtomicU64,
}

struct Inner<D> {
    state: State,
    blobs: Blobs,
    fanout: Fanout,
    limits: Limits,
    log: Log<D>,
}

impl MemoryStore<NoDisk> {
    /// Makes an empty store that keeps nothing.
    pub fn new() -> Self {
        Self::with_limits(Limits::STORE)
    }

    /// Makes an empty store that keeps nothing, with limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self::from_parts(State::new(None), Blobs::new(), limits, Log::new(NoDisk))
    }

    /// Makes a store that begins as the image, shares it, and holds only what differs. It goes on from the image's revision.
    pub fn fork(image: Arc<Image>) -> Self {
        Self::fork_with(image, Limits::FORK)
    }

    /// Makes a fork with limits of its own.
    pub fn fork_with(image: Arc<Image>, limits: Limits) -> Self {
        Self::from_parts(
            State::new(Some(image)),
            Blobs::new(),
            limits,
            Log::new(NoDisk),
        )
    }
}

impl Default for MemoryStore<NoDisk> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Disk> MemoryStore<D> {
    /// Opens what is on a disk: everything that was acknowledged, and of what was not either all of a commit or nothing.
    pub fn open(disk: D, limits: Limits) -> Result<Self, OpenError> {
        let (log, state, blobs) = Log::open(disk)?;
        let store = Self::from_parts(state, blobs, limits, log);
        store.inner.write().trim();
        Ok(store)
    }

    /// Copies what is current, for [`restore`](Self::restore).
    pub fn backup(&self) -> Backup {
        let inner = self.inner.read();
        Backup {
            image: inner.state.image(),
            leases: inner.state.leases.clone(),
            blobs: inner.blobs.clone(),
        }
    }

    /// Makes a store of a backup on a disk, whatever was on it. Its revision is 10⁹ above the greater of the backup's and
    /// `reached`, and everything before is compacted, so that no old watch or list is taken for a new one.
    pub fn restore(
        disk: D,
        limits: Limits,
        backup: &Backup,
        reached: Revision,
    ) -> Result<Self, OpenError> {
        let mut state = State::new(None);
        for (key, slot) in backup.image.from(Bound::Unbounded) {
            state.set(key, Some(slot.clone()));
        }
        state.revision = backup.image.revision().max(reached).0 + RAISE;
        state.oldest = state.revision;
        for (name, lease) in &backup.leases {
            // Fences of before must not fit a lease of now.
            let token = lease.token + RAISE;
            let lease = Lease {
                holder: lease.holder.clone(),
                token,
                until_ms: 0,
            };
            state.set_lease(name, lease);
        }
        let log = Log::create(disk, &state, &backup.blobs)?;
        Ok(Self::from_parts(state, backup.blobs.clone(), limits, log))
    }

    fn from_parts(state: State, blobs: Blobs, limits: Limits, log: Log<D>) -> Self {
        Self {
            inner: RwLock::new(Inner {
                state,
                blobs,
                fanout: Fanout::new(),
                limits,
                log,
            }),
            waiting: Mutex::new(Vec::new()),
            now_ms: AtomicU64::new(0),
        }
    }

    /// Tells the store what time it is, in milliseconds; it never goes back. Blobs are stamped with it.
    pub fn set_now(&self, now_ms: u64) {
        self.now_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Makes an image of what is current.
    pub fn image(&self) -> Image {
        self.inner.read().state.image()
    }

    /// Damages a stored blob, as a failing disk would. Says whether it is there.
    pub fn damage_blob(&self, digest: &Digest) -> bool {
        let mut inner = self.inner.write();
        let blob = inner.blobs.get_mut(digest);
        let Some(blob) = blob else {
            return false;
        };
        let mut damaged = blob.bytes.to_vec();
        match damaged.first_mut() {
            Some(byte) => *byte ^= 0x40,
            None => damaged.push(0),
        }
        blob.bytes = damaged.into();
        true
    }

    /// Writes what waits, in one group, and answers it.
    fn write_waiting(&self) {
        let mut wakers = Vec::new();
        let answers = {
            let mut inner = self.inner.write();
            let group = std::mem::take(&mut *self.waiting.lock());
            inner.write_group(group, &mut wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        for (done, outcome) in answers {
            done(outcome);
        }
    }
}

type Answer = (Completion, Result<Committed, CommitError>);

impl<D: Disk> Inner<D> {
    fn trim(&mut self) {
        let limits = &self.limits;
        self.state.trim(
            limits.history_commits,
            limits.history_bytes,
            limits.outcomes,
        );
    }

    fn write_group(
        &mut self,
        group: Vec<(Batch, Completion)>,
        wakers: &mut Vec<Waker>,
    ) -> Vec<Answer> {
        if group.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.log.check() {
            let refuse = |(_, done)| (done, Err(error.clone().for_commit()));
            return group.into_iter().map(refuse).collect();
        }
        let before = self.state.history.len();
        let mut ids = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for (batch, done) in group {
            ids.push(batch.id);
            answers.push((done, self.state.apply(&batch)));
        }
        let made = self.state.history.range(before..);
        if let Err(error) = self.log.write_commits(made) {
            while self.state.history.len() > before {
                self.state.undo_last();
            }
            // A batch that was refused, or that wrote nothing, may owe that to one that is undone now.
            for ((_, outcome), id) in answers.iter_mut().zip(ids) {
                *outcome = Err(error.clone().for_commit_of(id));
            }
            return answers;
        }
        let oldest = Revision(self.state.oldest);
        for past in self.state.history.range(before..) {
            let last = Revision(past.last());
            self.fanout.publish(&past.changes, last, oldest, wakers);
        }
        self.trim();
        answers
    }
}

impl<D: Disk> Drop for MemoryStore<D> {
    fn drop(&mut self) {
        let wakers = self.inner.get_mut().fanout.close();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<D: Disk> Store for MemoryStore<D> {
    fn submit(&self, batch: Batch, done: Completion) {
        self.waiting.lock().push((batch, done));
        self.write_waiting();
    }

    fn outcome(&self, id: CommitId) -> Result<Option<Committed>, ReadError> {
        let inner = self.inner.read();
        match (inner.state.outcome(id), inner.log.check()) {
            (None, Err(error)) => Err(ReadError::Failed {
                cause: error.to_string(),
            }),
            (outcome, _) => Ok(outcome),
        }
    }

    fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
        self.inner.read().state.get(key, at)
    }

    fn range(&self, range: &Range) -> Result<Page, ReadError> {
        self.inner.read().state.range(range)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        inner.state.can_watch(from)?;
        let newest = Revision(inner.state.revision);
        let limit = inner.limits.watch_bytes;
        let backlog = inner.state.since(from.0);
        Ok(inner.fanout.add(prefix, from, newest, limit, backlog))
    }

    fn revision(&self) -> Revision {
        Revision(self.inner.read().state.revision)
    }

    fn compact(&self, to: Revision) -> Result<(), CommitError> {
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        if to.0 > inner.state.revision {
            return Err(crate::batch::compact_future(
                to,
                Revision(inner.state.revision),
            ));
        }
        if to.0 <= inner.state.oldest {
            return Ok(());
        }
        inner
            .log
            .rewrite(&inner.state, to.0)
            .map_err(WriteError::for_commit)?;
        inner.state.compact(to.0);
        Ok(())
    }

    fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, CommitError> {
        self.set_now(now_ms);
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        inner.log.check().map_err(WriteError::for_commit)?;
        let Some(lease) = inner.state.ask_lease(name, holder, ttl_ms, now_ms) else {
            return Ok(None);
        };
        inner
            .log
            .write_lease(name, &lease)
            .map_err(WriteError::for_commit)?;
        let token = lease.token;
        inner.state.set_lease(name, lease);
        Ok(Some(Fence {
            lease: name.to_owned(),
            token,
        }))
    }

    fn put_blobs(&self, blobs: &[(Digest, Bytes)]) -> Result<(), BlobError> {
        for (digest, bytes) in blobs {
            if Digest::of(bytes) != *digest {
                return Err(BlobError::Damaged { digest: *digest });
            }
        }
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        let have = &mut inner.blobs;
        inner
            .log
            .write_blobs(have, blobs, now_ms)
            .map_err(WriteError::for_blob)?;
        for (digest, bytes) in blobs {
            let kept = have
                .entry(*digest)
                .or_insert_with(|| Blob::new(bytes.clone(), now_ms));
            kept.stored_ms = kept.stored_ms.max(now_ms);
            if kept.bytes != *bytes {
                *kept = Blob::new(bytes.clone(), now_ms);
            }
        }
        Ok(())
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        let found = self
            .inner
            .read()
            .blobs
            .get(digest)
            .map(|blob| blob.bytes.clone());
        match found {
            Some(bytes) if Digest::of(&bytes) != *digest => {
                let mut inner = self.inner.write();
                if let Some(blob) = inner.blobs.get_mut(digest) {
                    blob.damaged = blob.bytes == bytes;
                }
                Err(BlobError::Damaged { digest: *digest })
            }
            found => Ok(found),
        }
    }

    fn missing_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, BlobError> {
        let inner = self.inner.read();
        let missing = |digest: &&Digest| inner.blobs.get(digest).is_none_or(|blob| blob.damaged);
        Ok(digests.iter().filter(missing).copied().collect())
    }

    fn sweep_blobs(
        &self,
        before_ms: u64,
        keep: &dyn Fn(&Digest) -> bool,
    ) -> Result<u64, BlobError> {
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        let blobs = &mut inner.blobs;
        let stays = |digest: &Digest, stored_ms: u64| stored_ms >= before_ms || keep(digest);
        let gone: Vec<Digest> = blobs
            .iter()
            .filter(|(digest, blob)| !stays(digest, blob.stored_ms))
            .map(|(digest, _)| *digest)
            .collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let kept = blobs
            .iter()
            .filter(|(digest, _)| gone.binary_search(digest).is_err());
        inner
            .log
            .rewrite_blobs(kept)
            .map_err(WriteError::for_blob)?;
        for digest in &gone {
            blobs.remove(digest);
        }
        Ok(gone.len() as u64)
    }

    fn stats(&self) -> Result<Stats, ReadError> {
        let inner = self.inner.read();
        let blobs = &inner.blobs;
        Ok(Stats {
            keys: inner.state.keys,
            bytes: inner.state.bytes,
            blobs: blobs.len() as u64,
            blob_bytes: blobs.values().map(|blob| blob.bytes.len() as u64).sum(),
            revision: Revision(inner.state.revision),
            oldest: Revision(inner.state.oldest),
        })
    }
}
