//! What the memory backend stands on: two files that can be appended to and replaced.

/// One of the store's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFile {
    /// The log.
    Log,
    /// The blobs.
    Blobs,
}

/// Why a disk did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// There is no room. Part of the bytes may have been written.
    #[error("no space left on the disk")]
    Full,
    /// Nobody knows what is on the disk.
    #[error("disk failed: {cause}")]
    Failed {
        /// What it said.
        cause: String,
    },
}

/// Two append-only files.
///
/// What was appended is certain to survive the loss of power only after [`sync`](Self::sync). What was appended last
/// may survive in part.
pub trait Disk: Send + Sync {
    /// Whether anything is kept; if not, the store does not prepare bytes for it.
    const KEEPS: bool = true;

    /// Reads a whole file; empty if it was never written.
    fn read(&mut self, file: DiskFile) -> Result<Vec<u8>, DiskError>;

    /// Appends to a file.
    fn append(&mut self, file: DiskFile, bytes: &[u8]) -> Result<(), DiskError>;

    /// Cuts a file to a length.
    fn truncate(&mut self, file: DiskFile, len: u64) -> Result<(), DiskError>;

    /// Waits until what was appended is certain to survive.
    fn sync(&mut self, file: DiskFile) -> Result<(), DiskError>;

    /// Replaces a file by another, durably: after a loss of power it is the old or the new one, never a mixture.
    fn replace(&mut self, file: DiskFile, bytes: &[u8]) -> Result<(), DiskError>;
}

/// A disk that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDisk;

impl Disk for NoDisk {
    const KEEPS: bool = false;

    fn read(&mut self, _: DiskFile) -> Result<Vec<u8>, DiskError> {
        Ok(Vec::new())
    }

    fn append(&mut self, _: DiskFile, _: &[u8]) -> Result<(), DiskError> {
        Ok(())
    }

    fn truncate(&mut self, _: DiskFile, _: u64) -> Result<(), DiskError> {
        Ok(())
    }

    fn sync(&mut self, _: DiskFile) -> Result<(), DiskError> {
        Ok(())
    }

    fn replace(&mut self, _: DiskFile, _: &[u8]) -> Result<(), DiskError> {
        Ok(())
    }
}
