//! The one thread that writes: it drains a queue, and commits in groups.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use base_store::fanout::Fanout;
use base_store::{Change, Revision};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};

use crate::error::{Failure, said};
use crate::lock::Lock;
use crate::schema::Meta;

/// How many jobs one transaction takes at most.
const GROUP: usize = 512;
/// After how many bytes a transaction takes no further job.
const GROUP_BYTES: usize = 8 << 20;

/// A commit's changes, for the watches.
pub(crate) type Made = (Arc<[Change]>, Revision);

/// A job, and what became of it if its transaction is made.
type Fate = (Box<dyn Job>, Result<(), Failure>);

/// Something to write.
pub(crate) trait Job: Send {
    /// Returns about how many bytes it writes.
    fn bytes(&self) -> usize;

    /// Writes, inside a savepoint; what was refused for a reason of its own is no failure.
    fn run(&mut self, connection: &Connection, meta: &mut Meta) -> Result<Option<Made>, Failure>;

    /// Tells who waits what became of it.
    fn answer(self: Box<Self>, fate: Result<(), Failure>);
}

/// Work of any kind, whose caller waits.
pub(crate) struct Task<T, F> {
    pub(crate) bytes: usize,
    pub(crate) work: Option<F>,
    pub(crate) result: Option<T>,
    pub(crate) sender: SyncSender<Result<T, Failure>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection, &mut Meta) -> Result<T, Failure> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn run(&mut self, connection: &Connection, meta: &mut Meta) -> Result<Option<Made>, Failure> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(connection, meta)?);
        }
        Ok(None)
    }

    fn answer(self: Box<Self>, fate: Result<(), Failure>) {
        let Self { result, sender, .. } = *self;
        let never = || Failure::Closed("the job was not run".to_owned());
        // Who does not wait any more needs no answer.
        let _ = sender.send(fate.and_then(|()| result.ok_or_else(never)));
    }
}

/// What writer and readers share.
pub(crate) struct Shared {
    pub(crate) feed: Mutex<Feed>,
    /// Why nothing can be written until the store is opened again.
    pub(crate) broken: OnceLock<String>,
}

/// The watches, and what they have been shown.
pub(crate) struct Feed {
    pub(crate) fanout: Fanout,
    pub(crate) published: u64,
    pub(crate) oldest: u64,
}

pub(crate) struct Writer {
    connection: Connection,
    meta: Meta,
    shared: Arc<Shared>,
    /// The last to go: another process may write once this one has closed the file.
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(connection: Connection, meta: Meta, shared: Arc<Shared>, lock: Lock) -> Self {
        Self {
            connection,
            meta,
            shared,
            _lock: lock,
        }
    }

    /// Works until every sender is gone.
    pub(crate) fn run(mut self, jobs: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = jobs.recv() {
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += job.bytes();
                group.push(job);
            }
            self.write(group);
        }
        let wakers = self.shared.feed.lock().fanout.close();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn write(&mut self, group: Vec<Box<dyn Job>>) {
        if let Some(cause) = self.shared.broken.get() {
            for job in group {
                job.answer(Err(Failure::Closed(cause.clone())));
            }
            return;
        }
        let before = self.meta;
        let mut fates = Vec::with_capacity(group.len());
        let outcome = self.transact(group, &mut fates);
        match outcome {
            Ok(made) => self.publish(&made),
            Err(failure) => {
                self.meta = before;
                if let Failure::Unknown(cause) | Failure::Closed(cause) = &failure {
                    tracing::error!(%cause, "store is closed");
                    let _ = self.shared.broken.set(cause.clone());
                }
                // One that was refused may owe that to another that is undone now: all have the same fate.
                for (_, fate) in &mut fates {
                    *fate = Err(failure.clone());
                }
            }
        }
        for (job, fate) in fates {
            job.answer(fate);
        }
    }

    /// Writes a group in one transaction; on an error nothing of it is written, or nobody knows.
    fn transact(
        &mut self,
        group: Vec<Box<dyn Job>>,
        fates: &mut Vec<Fate>,
    ) -> Result<Vec<Made>, Failure> {
        let before = self.meta;
        let begun = self.execute("BEGIN IMMEDIATE");
        let mut lost = begun.err();
        let mut made = Vec::new();
        for mut job in group {
            if lost.is_some() {
                fates.push((job, Ok(())));
                continue;
            }
            match self.run_job(&mut *job) {
                Ok(changes) => {
                    made.extend(changes);
                    fates.push((job, Ok(())));
                }
                // SQLite took back the whole transaction, or cannot go on with it.
                Err(failure)
                    if self.connection.is_autocommit() || !matches!(failure, Failure::Full(_)) =>
                {
                    fates.push((job, Ok(())));
                    lost = Some(failure);
                }
                Err(failure) => fates.push((job, Err(failure))),
            }
        }
        if lost.is_none() && self.meta != before {
            lost = self.meta.write(&self.connection).err().map(Failure::from);
        }
        if let Some(failure) = lost {
            self.roll_back();
            return Err(failure);
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(made),
            Err(error) => {
                self.roll_back();
                // Without room the frame that would make it a commit is not there. After any other error, a failed
                // fsync above all, it may be.
                Err(match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => Failure::Full(said(&error)),
                    _ => Failure::Unknown(said(&error)),
                })
            }
        }
    }

    fn run_job(&mut self, job: &mut dyn Job) -> Result<Option<Made>, Failure> {
        let before = self.meta;
        self.execute("SAVEPOINT job")?;
        let outcome = job.run(&self.connection, &mut self.meta);
        if outcome.is_err() {
            self.meta = before;
            if self.connection.is_autocommit() {
                return outcome;
            }
            self.execute("ROLLBACK TO job")?;
        }
        self.execute("RELEASE job")?;
        outcome
    }

    fn execute(&self, sql: &str) -> Result<(), Failure> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute([])?;
        Ok(())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "failed to roll back");
        }
    }

    fn publish(&self, made: &[Made]) {
        let mut wakers = Vec::new();
        {
            let mut feed = self.shared.feed.lock();
            let feed = &mut *feed;
            feed.published = self.meta.revision;
            feed.oldest = self.meta.oldest;
            let oldest = Revision(feed.oldest);
            for (changes, revision) in made {
                feed.fanout.publish(changes, *revision, oldest, &mut wakers);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
