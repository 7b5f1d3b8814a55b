//! The log on a disk: what is appended, when it counts, and how it is read again.

use base_json::Digest;
use bytes::Bytes;

use super::record::{self, BlobItem, MAGIC, Writer};
use super::state::{Blob, Blobs, Lease, Past, State};
use crate::{BlobError, CommitError, CommitId, Disk, DiskError, DiskFile};

/// Why a store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("failed to read the store's {file:?} file")]
    Disk {
        /// Which file.
        file: DiskFile,
        /// What the disk said.
        source: DiskError,
    },
    /// A backup could not be written.
    #[error("failed to write the store's {file:?} file: {cause}")]
    Write {
        /// Which file.
        file: DiskFile,
        /// What the disk said.
        cause: String,
    },
    /// The file is no store's, or of a version that this program does not know.
    #[error("the {file:?} file is no store's, or of a version that this program does not know")]
    Foreign {
        /// Which file.
        file: DiskFile,
    },
    /// What the disk had promised to keep is damaged.
    #[error("the {file:?} file is damaged at byte {offset}: restore it from a backup")]
    Damaged {
        /// Which file.
        file: DiskFile,
        /// Where.
        offset: usize,
    },
}

/// Why nothing, or nobody knows what, was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Closed(String),
}

impl WriteError {
    pub(super) fn for_commit_of(self, id: CommitId) -> CommitError {
        match self {
            Self::Unknown(cause) => CommitError::OutcomeUnknown { id, cause },
            other => other.for_commit(),
        }
    }

    /// For what has no id: an unknown outcome closes the store, and that is what is told.
    pub(super) fn for_commit(self) -> CommitError {
        match self {
            Self::Full(cause) => CommitError::Full { cause },
            Self::Unknown(cause) | Self::Closed(cause) => CommitError::Closed { cause },
        }
    }

    pub(super) fn for_blob(self) -> BlobError {
        match self {
            Self::Full(cause) => BlobError::Full { cause },
            Self::Unknown(cause) | Self::Closed(cause) => BlobError::Failed { cause },
        }
    }
}

/// The two files, and how long they are.
pub(super) struct Log<D> {
    disk: D,
    log_len: u64,
    blobs_len: u64,
    /// Why nothing can be written until the store is opened again.
    broken: Option<Box<str>>,
}

impl<D: Disk> Log<D> {
    pub(super) fn new(disk: D) -> Self {
        Self {
            disk,
            log_len: 0,
            blobs_len: 0,
            broken: None,
        }
    }

    pub(super) fn open(disk: D) -> Result<(Self, State, Blobs), OpenError> {
        let mut log = Self::new(disk);
        let mut state = State::new(None);
        let mut blobs = Blobs::new();
        if !D::KEEPS {
            return Ok((log, state, blobs));
        }
        log.log_len = log.read(DiskFile::Log, |payload| record::replay(payload, &mut state))?;
        log.blobs_len = log.read(DiskFile::Blobs, |payload| {
            for item in record::blob_items(payload)? {
                match item {
                    BlobItem::Blob(digest, bytes, stored_ms) => {
                        blobs.insert(digest, Blob::new(bytes, stored_ms));
                    }
                    BlobItem::Touch(digest, stored_ms) => {
                        blobs.get_mut(&digest)?.stored_ms = stored_ms;
                    }
                }
            }
            Some(())
        })?;
        Ok((log, state, blobs))
    }

    /// Writes a state and blobs over whatever is on a disk.
    pub(super) fn create(disk: D, state: &State, blobs: &Blobs) -> Result<Self, OpenError> {
        let mut log = Self::new(disk);
        let failed = |file| {
            move |error: WriteError| OpenError::Write {
                file,
                cause: error.to_string(),
            }
        };
        // The log last: until it is there, nothing names the blobs.
        log.rewrite_blobs(blobs.iter())
            .map_err(failed(DiskFile::Blobs))?;
        log.rewrite(state, state.revision)
            .map_err(failed(DiskFile::Log))?;
        Ok(log)
    }

    /// Reads a file's frames and cuts off a torn last one; returns the length.
    fn read(
        &mut self,
        file: DiskFile,
        mut each: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<u64, OpenError> {
        let failed = |source| OpenError::Disk { file, source };
        let bytes = self.disk.read(file).map_err(failed)?;
        if bytes.is_empty() {
            self.disk.replace(file, MAGIC).map_err(failed)?;
            return Ok(MAGIC.len() as u64);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(OpenError::Foreign { file });
        }
        let damaged = |offset| OpenError::Damaged { file, offset };
        let (frames, whole) = record::frames(&bytes).map_err(damaged)?;
        for payload in frames {
            // The payload is a part of the file: its place is the distance from the file's beginning.
            let offset = payload.as_ptr().addr() - bytes.as_ptr().addr();
            each(payload).ok_or_else(|| damaged(offset))?;
        }
        if whole < bytes.len() {
            self.disk.truncate(file, whole as u64).map_err(failed)?;
            self.disk.sync(file).map_err(failed)?;
        }
        Ok(whole as u64)
    }

    /// Tells whether the store can still write.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        match &self.broken {
            Some(cause) => Err(WriteError::Closed(cause.to_string())),
            None => Ok(()),
        }
    }

    fn broke(&mut self, cause: &DiskError) -> WriteError {
        let cause = cause.to_string();
        self.broken = Some(cause.as_str().into());
        WriteError::Unknown(cause)
    }

    fn append(&mut self, file: DiskFile, payload: &[u8]) -> Result<(), WriteError> {
        self.check()?;
        let Some(frame) = record::frame(payload) else {
            return Err(WriteError::Full("more than 4 GiB at once".to_owned()));
        };
        let len = match file {
            DiskFile::Log => self.log_len,
            DiskFile::Blobs => self.blobs_len,
        };
        match self.disk.append(file, &frame) {
            Ok(()) => {}
            Err(full @ DiskError::Full) => {
                // Part of the frame may be there: the next one must not come to stand behind it.
                return match self.disk.truncate(file, len) {
                    Ok(()) => Err(WriteError::Full(full.to_string())),
                    Err(error) => Err(self.broke(&error)),
                };
            }
            Err(error) => return Err(self.broke(&error)),
        }
        // After a sync that failed nobody knows what is on the disk, and a second one may say "done" without having
        // written: only opening again tells.
        self.disk.sync(file).map_err(|error| self.broke(&error))?;
        let len = len + frame.len() as u64;
        match file {
            DiskFile::Log => self.log_len = len,
            DiskFile::Blobs => self.blobs_len = len,
        }
        Ok(())
    }

    fn replace(&mut self, file: DiskFile, payloads: &[Writer]) -> Result<(), WriteError> {
        self.check()?;
        let mut bytes = MAGIC.to_vec();
        for payload in payloads {
            let Some(frame) = record::frame(&payload.0) else {
                return Err(WriteError::Full("more than 4 GiB at once".to_owned()));
            };
            bytes.extend(frame);
        }
        match self.disk.replace(file, &bytes) {
            Ok(()) => {}
            Err(full @ DiskError::Full) => return Err(WriteError::Full(full.to_string())),
            Err(error) => return Err(self.broke(&error)),
        }
        match file {
            DiskFile::Log => self.log_len = bytes.len() as u64,
            DiskFile::Blobs => self.blobs_len = bytes.len() as u64,
        }
        Ok(())
    }

    /// Writes commits as one frame: after a crash all of them are there, or none.
    pub(super) fn write_commits<'a>(
        &mut self,
        commits: impl ExactSizeIterator<Item = &'a Past>,
    ) -> Result<(), WriteError> {
        if !D::KEEPS || commits.len() == 0 {
            return Ok(());
        }
        let mut payload = Writer::default();
        commits.for_each(|past| payload.commit(past));
        self.append(DiskFile::Log, &payload.0)
    }

    pub(super) fn write_lease(&mut self, name: &str, lease: &Lease) -> Result<(), WriteError> {
        if !D::KEEPS {
            return Ok(());
        }
        let mut payload = Writer::default();
        payload.lease(name, lease);
        self.append(DiskFile::Log, &payload.0)
    }

    /// Writes the log anew, without the history up to and including `to`.
    pub(super) fn rewrite(&mut self, state: &State, to: u64) -> Result<(), WriteError> {
        if !D::KEEPS {
            return Ok(());
        }
        let kept = state.history.partition_point(|past| past.last() <= to);
        let mut snapshot = Writer::default();
        snapshot.snapshot(&state.before(kept), to);
        let mut payloads = vec![snapshot];
        for past in state.history.range(kept..) {
            let mut payload = Writer::default();
            payload.commit(past);
            payloads.push(payload);
        }
        self.replace(DiskFile::Log, &payloads)
    }

    pub(super) fn write_blobs(
        &mut self,
        have: &Blobs,
        blobs: &[(Digest, Bytes)],
        now_ms: u64,
    ) -> Result<(), WriteError> {
        if !D::KEEPS {
            return Ok(());
        }
        let mut payload = Writer::default();
        for (digest, bytes) in blobs {
            match have.get(digest) {
                Some(kept) if kept.bytes != *bytes => payload.blob(digest, bytes, now_ms),
                Some(kept) if kept.stored_ms < now_ms => payload.touch(digest, now_ms),
                Some(_) => {}
                None => payload.blob(digest, bytes, now_ms),
            }
        }
        if payload.0.is_empty() {
            return Ok(());
        }
        self.append(DiskFile::Blobs, &payload.0)
    }

    pub(super) fn rewrite_blobs<'a>(
        &mut self,
        blobs: impl Iterator<Item = (&'a Digest, &'a Blob)>,
    ) -> Result<(), WriteError> {
        if !D::KEEPS {
            return Ok(());
        }
        let payloads: Vec<Writer> = blobs
            .map(|(digest, blob)| {
                let mut payload = Writer::default();
                payload.blob(digest, &blob.bytes, blob.stored_ms);
                payload
            })
            .collect();
        self.replace(DiskFile::Blobs, &payloads)
    }
}
