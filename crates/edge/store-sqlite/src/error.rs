//! What goes wrong with the file.

use std::path::PathBuf;

use base_store::{BlobError, CommitError, CommitId, ReadError};
use rusqlite::ErrorCode;

/// Why a store file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by {holder}: stop it first, or give this one a file of its own", .path.display())]
    InUse {
        /// The store file.
        path: PathBuf,
        /// Who has it, as it says itself.
        holder: String,
    },
    /// The lock file could not be made.
    #[error("failed to lock {}", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged ({cause}): keep a copy of it, and restore the newest backup", .path.display())]
    Damaged {
        /// The store file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The file is a database, but of another program.
    #[error("{} is a database of another program", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version.
    #[error(
        "{} was written by a newer Roadstead (schema {found}, this one knows {known}): run that one, or restore a backup \
         from before",
        .path.display()
    )]
    Newer {
        /// The store file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest schema version that this program knows.
        known: u32,
    },
    /// A migration failed; the file is as before.
    #[error("failed to bring {} from schema {from} to {to}", .path.display())]
    Migrate {
        /// The store file.
        path: PathBuf,
        /// Its schema version.
        from: u32,
        /// The version that it should have got.
        to: u32,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file could not be opened or read.
    #[error("failed to open {}", .path.display())]
    Open {
        /// The store file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The writer's thread could not be started.
    #[error("failed to start the writer's thread")]
    Thread(#[source] std::io::Error),
}

impl OpenError {
    /// Names what SQLite says about a file.
    pub(crate) fn of(path: &std::path::Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                cause: said(&source),
            },
            _ => Self::Open { path, source },
        }
    }
}

/// What SQLite said, in its words.
pub(crate) fn said(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// Why something was not written.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// There is no room; nothing was written.
    Full(String),
    /// Nobody knows what was written; the store is closed.
    Unknown(String),
    /// The store is closed; nothing was written.
    Closed(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::TooBig) => Self::Full(said(&error)),
            _ => Self::Closed(said(&error)),
        }
    }
}

impl Failure {
    pub(crate) fn for_commit_of(self, id: CommitId) -> CommitError {
        match self {
            Self::Unknown(cause) => CommitError::OutcomeUnknown { id, cause },
            other => other.for_commit(),
        }
    }

    /// For what has no id: an unknown outcome closes the store, and that is what is told.
    pub(crate) fn for_commit(self) -> CommitError {
        match self {
            Self::Full(cause) => CommitError::Full { cause },
            Self::Unknown(cause) | Self::Closed(cause) => CommitError::Closed { cause },
        }
    }

    pub(crate) fn for_blob(self) -> BlobError {
        match self {
            Self::Full(cause) => BlobError::Full { cause },
            Self::Unknown(cause) | Self::Closed(cause) => BlobError::Failed { cause },
        }
    }
}

pub(crate) fn read_failed(error: &rusqlite::Error) -> ReadError {
    ReadError::Failed { cause: said(error) }
}

pub(crate) fn blob_failed(error: &rusqlite::Error) -> BlobError {
    BlobError::Failed { cause: said(error) }
}
