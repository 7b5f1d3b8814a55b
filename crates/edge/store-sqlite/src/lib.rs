//! The store trait on SQLite: one file, one writer, and a lock that says whose it is.
//!
//! WAL with `synchronous=FULL`: a commit is acknowledged after its fsync. One thread writes; what is submitted while it
//! writes goes into the next transaction together (group commit). Readers have connections of their own. Watches are
//! fed by the writer after each transaction; nothing polls.

mod backup;
mod blobs;
mod commit;
mod error;
mod lock;
mod reads;
mod schema;
mod store;
mod writer;

pub use backup::{Backup, BackupError, Progress, Restored, restore};
pub use error::OpenError;
pub use schema::SCHEMA_VERSION;
pub use store::{Options, SqliteStore};
