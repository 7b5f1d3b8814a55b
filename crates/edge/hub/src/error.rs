//! Why a hub cannot start.

use std::path::PathBuf;

/// Why a hub cannot start, or cannot do what an agent asks.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data folder cannot be used.
    #[error("failed to use the data folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("failed to open the store")]
    Open(#[source] roadstead_store_sqlite::OpenError),
    /// The store cannot be read.
    #[error("failed to read the store")]
    Read(#[from] base_store::ReadError),
    /// The store cannot be written.
    #[error("failed to write the store")]
    Commit(#[from] base_store::CommitError),
    /// A record of the hub's own identity is damaged.
    #[error("record {key} of the store cannot be read: {problem}; restore the store from a backup")]
    Damaged {
        /// The record.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A certificate cannot be made or read.
    #[error("failed to handle a certificate")]
    Pki(#[from] roadstead_wire::pki::PkiError),
    /// A signing key cannot be made or read.
    #[error("failed to handle a signing key")]
    Key(#[from] roadstead_wire::keys::KeyError),
    /// The cache of Sources cannot be opened.
    #[error("failed to open the cache of Sources")]
    Sources(#[source] roadstead_source::SourceError),
    /// The port cannot be opened.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The API refuses what the hub itself writes.
    #[error("failed to set up the API: {0}")]
    Api(String),
    /// The store's secrets are sealed, and nothing was given to open them with.
    #[error(
        "the hub's keys and Secrets are sealed: start it with --seal-key-file and the file that it was sealed with"
    )]
    Sealed,
    /// The store's secrets cannot be sealed or opened.
    #[error("failed to unseal the hub's keys and Secrets")]
    Unseal(#[source] crate::seal::SealError),
    /// A thread cannot be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}
