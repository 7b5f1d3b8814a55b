//! Backup of an open store, and restore into a file of its own.

use std::fs::File;
use std::path::{Path, PathBuf};

use base_store::Revision;
use rusqlite::Connection;
use rusqlite::backup::StepResult;

use crate::error::said;
use crate::lock::{Lock, beside};
use crate::schema::{Meta, examine, open_alone, open_reader, signed};
use crate::{OpenError, SqliteStore};

/// How far a restored store's revisions stand from those of before: old watches and old lists must not meet them.
const RAISE: u64 = 1_000_000_000;
/// How many pages are copied between two calls of `progress`.
const PAGES: i32 = 256;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are copied.
    pub done: u64,
    /// Pages in all.
    pub total: u64,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The newest revision in it.
    pub revision: Revision,
    /// The epoch of the store it was made from.
    pub epoch: u64,
    /// How large the file is.
    pub bytes: u64,
}

/// What a restore has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The newest revision, and the oldest that can be read.
    pub revision: Revision,
    /// The new epoch.
    pub epoch: u64,
    /// Where the store that was there before stands now.
    pub replaced: Option<PathBuf>,
}

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is there already.
    #[error("{} is there already: choose another name, or remove it", .path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// There is nothing to restore.
    #[error("{} is no backup: {cause}", .path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The backup, or the store that it is to replace, cannot be used.
    #[error("failed to restore")]
    Store(#[from] OpenError),
    /// The copy failed.
    #[error("failed to copy {} to {}: {cause}", .from.display(), .to.display())]
    Copy {
        /// Where from.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// A file could not be put in its place.
    #[error("failed to write {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

impl SqliteStore {
    /// Copies the store as it is now into a new file, while reads and commits go on. `progress` is called from time to
    /// time. The file appears under its name only when it is whole.
    pub fn backup(
        &self,
        to: &Path,
        mut progress: impl FnMut(Progress),
    ) -> Result<Backup, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists {
                path: to.to_owned(),
            });
        }
        let part = beside(to, ".part");
        let outcome = copy(self.path(), &part, &mut progress).and_then(|meta| {
            settle(&part, to)?;
            let bytes = std::fs::metadata(to).map_err(file_error(to))?.len();
            Ok(Backup {
                revision: Revision(meta.revision),
                epoch: meta.epoch,
                bytes,
            })
        });
        if outcome.is_err() {
            // What is left of it is of no use; that it could not be removed is the smaller trouble.
            let _ = std::fs::remove_file(&part);
        }
        outcome
    }
}

/// Copies a store file, which may be open elsewhere, as it is at one moment; returns what it holds.
fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Meta, BackupError> {
    match std::fs::remove_file(to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(to)(error)),
    }
    copy_pages(from, to, progress).map_err(|error| BackupError::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        cause: said(&error),
    })
}

fn copy_pages(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<Meta> {
    let source = open_reader(from)?;
    // A read transaction holds this moment: without it each commit in between would begin the copy anew.
    let moment = source.unchecked_transaction()?;
    let meta = Meta::read(&moment)?;
    let mut target = open_alone(to)?;
    {
        let backup = rusqlite::backup::Backup::new(&moment, &mut target)?;
        loop {
            let step = backup.step(PAGES)?;
            let pages = backup.progress();
            let total = u64::try_from(pages.pagecount).unwrap_or(0);
            let left = u64::try_from(pages.remaining).unwrap_or(0);
            progress(Progress {
                done: total.saturating_sub(left),
                total,
            });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }
    // A file that travels is one file: no WAL beside it.
    target.execute_batch("PRAGMA journal_mode = DELETE")?;
    target.close().map_err(|(_, error)| error)?;
    Ok(meta)
}

/// Gives a finished file its name, durably.
fn settle(part: &Path, to: &Path) -> Result<(), BackupError> {
    File::open(part)
        .and_then(|file| file.sync_all())
        .map_err(file_error(part))?;
    std::fs::rename(part, to).map_err(file_error(to))?;
    sync_folder(to)
}

fn sync_folder(of: &Path) -> Result<(), BackupError> {
    let folder = match of.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(file_error(folder))
}

/// Makes a store file of a backup. No process may have the file open; a store that is there is moved aside.
///
/// Revisions go on 10⁹ above the greater of the backup's and the replaced store's, and everything before is compacted,
/// so that no old watch or list is taken for a new one. The epoch is one more than the greatest of the backup's, the
/// replaced store's, and `seen_epoch`: agents refuse what is of an older one.
pub fn restore(from: &Path, to: &Path, seen_epoch: u64) -> Result<Restored, BackupError> {
    let _lock = Lock::take(to, "a restore")?;
    let backup = read_backup(from)?;
    let replaced = if to.exists() { read_store(to) } else { None };
    let part = beside(to, ".restoring");
    copy(from, &part, &mut |_| {})?;
    let revision = replaced
        .map_or(0, |meta| meta.revision)
        .max(backup.revision)
        + RAISE;
    let epoch = replaced
        .map_or(0, |meta| meta.epoch)
        .max(backup.epoch)
        .max(seen_epoch)
        + 1;
    let meta = Meta {
        revision,
        oldest: revision,
        epoch,
        ..backup
    };
    raise(&part, &meta).map_err(|error| BackupError::Copy {
        from: from.to_owned(),
        to: part.clone(),
        cause: said(&error),
    })?;
    let replaced = move_aside(to)?;
    settle(&part, to)?;
    Ok(Restored {
        revision: Revision(revision),
        epoch,
        replaced,
    })
}

fn read_backup(from: &Path) -> Result<Meta, BackupError> {
    let no_backup = |cause: String| BackupError::NoBackup {
        path: from.to_owned(),
        cause,
    };
    let connection = open_reader(from).map_err(|error| no_backup(said(&error)))?;
    if examine(&connection, from)? == 0 {
        return Err(no_backup("it is empty".to_owned()));
    }
    Meta::read(&connection).map_err(|error| no_backup(said(&error)))
}

/// Reads what the store that is replaced had reached; one that cannot be read is why a backup is restored.
fn read_store(path: &Path) -> Option<Meta> {
    Meta::read(&open_reader(path).ok()?).ok()
}

fn raise(path: &Path, meta: &Meta) -> rusqlite::Result<()> {
    let mut connection: Connection = open_alone(path)?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM change", [])?;
    // Fences of before must not fit a lease of now.
    transaction.execute(
        "UPDATE lease SET token = token + ?, until_ms = 0",
        [signed(RAISE)],
    )?;
    meta.write(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// What SQLite keeps of a store: the file, and what stands beside it.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Moves a store file and what belongs to it aside, and returns its new name.
fn move_aside(path: &Path) -> Result<Option<PathBuf>, BackupError> {
    let there = |name: &Path| SUFFIXES.iter().any(|suffix| beside(name, suffix).exists());
    // A WAL that lost its file goes as well: beside another one it would be played into it.
    if !there(path) {
        return Ok(None);
    }
    let mut names = (1_u64..).map(|n| beside(path, &format!(".replaced-{n}")));
    let Some(aside) = names.find(|name| !there(name)) else {
        return Ok(None);
    };
    for suffix in SUFFIXES {
        let (old, new) = (beside(path, suffix), beside(&aside, suffix));
        match std::fs::rename(&old, &new) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(&old)(error)),
        }
    }
    sync_folder(path)?;
    Ok(Some(aside))
}
