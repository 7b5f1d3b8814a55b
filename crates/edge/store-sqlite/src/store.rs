//! The store: a writer's thread, a pool of readers, and the trait.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use base_json::Digest;
use base_store::fanout::Fanout;
use base_store::{
    At, Batch, BlobError, CommitError, CommitId, Committed, Completion, Entry, Fence, Page, Range,
    ReadError, Revision, Stats, Store, Watch, WatchError,
};
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::commit::{self, CommitJob};
use crate::error::{Failure, blob_failed, read_failed};
use crate::lock::Lock;
use crate::schema::{Meta, open_reader, open_writer};
use crate::writer::{Feed, Job, Shared, Task, Writer};
use crate::{OpenError, blobs, reads};

/// How many idle connections are kept for readers.
const READERS: usize = 4;
/// How many blobs one sweep step removes, so that commits come between.
const SWEEP: usize = 256;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Who this is, for another process that wants the same file.
    pub holder: String,
    /// Bytes that may wait for a slow watch before it is ended.
    pub watch_bytes: usize,
    /// How large the file may become; `None` for as large as the disk.
    pub max_bytes: Option<u64>,
    /// Tells the time in milliseconds since 1970; blobs are stamped with it.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            holder: "a hub".to_owned(),
            watch_bytes: 8 << 20,
            max_bytes: None,
            clock: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| {
                    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
                })
            }),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    jobs: Option<Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    shared: Arc<Shared>,
    options: Options,
    epoch: u64,
}

impl SqliteStore {
    /// Opens a store file, or makes it; takes its lock, checks it, and brings it to the newest schema.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let lock = Lock::take(path, &options.holder)?;
        let connection = open_writer(path)?;
        let meta = limit(&connection, options.max_bytes)
            .and_then(|()| Meta::read(&connection))
            .map_err(|source| OpenError::of(path, source))?;
        let shared = Arc::new(Shared {
            feed: Mutex::new(Feed {
                fanout: Fanout::new(),
                published: meta.revision,
                oldest: meta.oldest,
            }),
            broken: OnceLock::new(),
        });
        let writer = Writer::new(connection, meta, Arc::clone(&shared), lock);
        let (jobs, queue) = channel();
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            path: path.to_owned(),
            jobs: Some(jobs),
            writer: Some(writer),
            readers: Mutex::new(Vec::new()),
            shared,
            options,
            epoch: meta.epoch,
        })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how often the store was restored, plus one: what was said before a restore is of an older epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes the whole file anew and empties the log beside it, so that nothing that was deleted or written over is left
    /// in either. It takes as long as a copy, and commits wait meanwhile.
    pub fn rewrite(&self) -> Result<(), OpenError> {
        let of = |source| OpenError::of(&self.path, source);
        // idle readers hold no moment of before, but they would keep the log from being emptied
        self.readers.lock().clear();
        let connection = crate::schema::open_alone(&self.path).map_err(of)?;
        connection
            .execute_batch("VACUUM")
            .and_then(|()| {
                let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
                connection.query_row(truncate, [], |_| Ok(()))
            })
            .map_err(of)?;
        connection.close().map_err(|(_, error)| of(error))
    }

    fn send(&self, job: Box<dyn Job>) {
        let refused = match &self.jobs {
            Some(jobs) => jobs.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            job.answer(Err(Failure::Closed("the writer is gone".to_owned())));
        }
    }

    /// Runs work on the writer's thread, durably, and waits for it.
    fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Connection, &mut Meta) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = sync_channel(1);
        self.send(Box::new(Task {
            bytes,
            work: Some(work),
            result: None,
            sender,
        }));
        let gone = || Err(Failure::Unknown("the writer is gone".to_owned()));
        receiver.recv().unwrap_or_else(|_| gone())
    }

    /// Runs a read on a connection of the pool.
    pub(crate) fn with_reader<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let pooled = self.readers.lock().pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => open_reader(&self.path).map_err(|error| read_failed(&error))?,
        };
        let outcome = read(&connection);
        let mut readers = self.readers.lock();
        if readers.len() < READERS {
            readers.push(connection);
        }
        outcome
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.with_reader(|connection| reads::snapshot(connection, read))
    }

    fn read_blobs<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, BlobError> {
        let outcome = self
            .with_reader(|connection| Ok(read(connection).map_err(|error| blob_failed(&error))));
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => Err(BlobError::Failed {
                cause: error.to_string(),
            }),
        }
    }

    fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }
}

fn limit(connection: &Connection, max_bytes: Option<u64>) -> rusqlite::Result<()> {
    let Some(max_bytes) = max_bytes else {
        return Ok(());
    };
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page;
    // SQLite answers with the limit that it took, which may be more: the file's present size.
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.jobs = None;
        self.readers.get_mut().clear();
        let Some(writer) = self.writer.take() else {
            return;
        };
        // The last reference may go inside a completion, on the writer's own thread: it ends by itself then.
        if writer.thread().id() != std::thread::current().id() && writer.join().is_err() {
            tracing::error!("store's writer has panicked");
        }
    }
}

impl Store for SqliteStore {
    fn submit(&self, batch: Batch, done: Completion) {
        self.send(Box::new(CommitJob {
            batch,
            done,
            outcome: None,
        }));
    }

    fn outcome(&self, id: CommitId) -> Result<Option<Committed>, ReadError> {
        let known = self.with_reader(|connection| {
            commit::outcome(connection, id).map_err(|error| read_failed(&error))
        })?;
        match (known, self.shared.broken.get()) {
            (None, Some(cause)) => Err(ReadError::Failed {
                cause: cause.clone(),
            }),
            (known, _) => Ok(known),
        }
    }

    fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
        self.read(|connection| reads::get(connection, key, at))
    }

    fn range(&self, range: &Range) -> Result<Page, ReadError> {
        self.read(|connection| reads::range(connection, range))
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        // Most of the backlog is read before the lock is taken: the writer must not wait for it.
        let seen = self.shared.feed.lock().published;
        let newest = Revision(seen);
        if from > newest {
            let asked = from;
            return Err(ReadError::Future { asked, newest });
        }
        let read = |from, to| self.read(|connection| reads::since(connection, prefix, from, to));
        let mut backlog = read(from, seen)?;
        let mut feed = self.shared.feed.lock();
        let feed = &mut *feed;
        if feed.published > seen {
            // A compaction in between takes nothing that has been read already, only what is between the two reads.
            backlog.extend(read(newest, feed.published)?);
        }
        let newest = Revision(feed.published);
        let limit = self.options.watch_bytes;
        Ok(feed.fanout.add(prefix, from, newest, limit, backlog))
    }

    fn revision(&self) -> Revision {
        Revision(self.shared.feed.lock().published)
    }

    fn compact(&self, to: Revision) -> Result<(), CommitError> {
        self.write(0, move |connection, meta| {
            commit::compact(connection, meta, to)
        })
        .map_err(Failure::for_commit)?
    }

    fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, CommitError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(0, move |connection, _| {
            commit::lease(connection, name, &holder, ttl_ms, now_ms)
        })
        .map_err(Failure::for_commit)
    }

    fn put_blobs(&self, blobs: &[(Digest, Bytes)]) -> Result<(), BlobError> {
        if blobs.is_empty() {
            return Ok(());
        }
        for (digest, bytes) in blobs {
            if Digest::of(bytes) != *digest {
                return Err(BlobError::Damaged { digest: *digest });
            }
        }
        let now_ms = self.now_ms();
        let blobs = blobs.to_vec();
        let bytes = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
        self.write(bytes, move |connection, meta| {
            blobs::put(connection, meta, &blobs, now_ms)
        })
        .map_err(Failure::for_blob)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        let digest = *digest;
        let found = self.read_blobs(|connection| blobs::get(connection, &digest))?;
        match found {
            Some(bytes) if Digest::of(&bytes) != digest => {
                tracing::error!(%digest, path = %self.path.display(), "blob is damaged");
                self.write(0, move |connection, _| {
                    blobs::mark_damaged(connection, &digest)
                })
                .map_err(Failure::for_blob)?;
                Err(BlobError::Damaged { digest })
            }
            found => Ok(found),
        }
    }

    fn missing_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, BlobError> {
        self.read_blobs(|connection| blobs::missing(connection, digests))
    }

    fn sweep_blobs(
        &self,
        before_ms: u64,
        keep: &dyn Fn(&Digest) -> bool,
    ) -> Result<u64, BlobError> {
        let mut old = self.read_blobs(|connection| blobs::older(connection, before_ms))?;
        old.retain(|digest| !keep(digest));
        let mut removed = 0;
        for some in old.chunks(SWEEP) {
            let some = some.to_vec();
            removed += self
                .write(0, move |connection, meta| {
                    blobs::remove(connection, meta, &some, before_ms)
                })
                .map_err(Failure::for_blob)?;
        }
        Ok(removed)
    }

    fn stats(&self) -> Result<Stats, ReadError> {
        let meta = self.with_reader(|connection| {
            Meta::read(connection).map_err(|error| read_failed(&error))
        })?;
        Ok(Stats {
            keys: meta.keys,
            bytes: meta.bytes,
            blobs: meta.blobs,
            blob_bytes: meta.blob_bytes,
            revision: Revision(meta.revision),
            oldest: Revision(meta.oldest),
        })
    }
}
