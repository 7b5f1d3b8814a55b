//! What an agent must find again after a restart: who it is, and what the machine asked to be kept.

mod folder;
mod pack;
mod secrets;

use std::collections::BTreeMap;

use bytes::Bytes;
use roadstead_model::ClusterId;
use roadstead_sync::Persisted;
use roadstead_wire::keys::KeySet;

pub use folder::StateDir;
pub(crate) use secrets::SecretState;

/// The state could not be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step} {place}")]
pub struct StateError {
    /// What was tried.
    pub step: &'static str,
    /// On which file or Secret.
    pub place: String,
    /// Somebody else writes this state: trying again is no use.
    pub taken: bool,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StateError {
    /// Is it something that passes when somebody makes room or gives rights: worth another try?
    pub(crate) fn may_pass(&self) -> bool {
        use std::io::ErrorKind;
        let error = self.source.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
            )
        })
    }
}

/// Who an agent is.
#[derive(Clone)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// The private key, in PEM.
    pub key_pem: String,
    /// The hub's CA, in PEM.
    pub ca_pem: String,
    /// The keys that orders are signed with.
    pub keys: KeySet,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.cluster)
    }
}

/// Records that are to be kept (or forgotten), by key.
pub(crate) type Changes = BTreeMap<String, Option<Bytes>>;

/// Where the state lives.
pub(crate) enum State {
    /// In a folder.
    Folder(StateDir),
    /// In Secrets of the agent's own namespace.
    Secrets(Box<SecretState>),
}

impl State {
    /// The key that is or will be the agent's own, if one was made.
    pub(crate) async fn key_pem(&mut self) -> Result<Option<String>, StateError> {
        match self {
            Self::Folder(folder) => folder.key_pem(),
            Self::Secrets(secrets) => secrets.key_pem().await,
        }
    }

    /// Keeps the key.
    pub(crate) async fn keep_key(&mut self, pem: &str) -> Result<(), StateError> {
        match self {
            Self::Folder(folder) => folder.keep_key(pem),
            Self::Secrets(secrets) => secrets.keep_key(pem).await,
        }
    }

    /// Who the agent is; `None` before it has joined.
    pub(crate) async fn identity(&mut self) -> Result<Option<Identity>, StateError> {
        match self {
            Self::Folder(folder) => folder.identity(),
            Self::Secrets(secrets) => secrets.identity().await,
        }
    }

    /// Keeps who the agent is.
    pub(crate) async fn keep_identity(&mut self, identity: &Identity) -> Result<(), StateError> {
        match self {
            Self::Folder(folder) => folder.keep_identity(identity),
            Self::Secrets(secrets) => secrets.keep_identity(identity).await,
        }
    }

    /// Everything that was kept for the machine.
    pub(crate) async fn records(&mut self) -> Result<Persisted, StateError> {
        match self {
            Self::Folder(folder) => folder.records(),
            Self::Secrets(secrets) => secrets.records().await,
        }
    }

    /// Keeps and forgets records. What was done is taken out of `changes`, so that after an error the same call goes on
    /// where it stopped.
    pub(crate) async fn keep(&mut self, changes: &mut Changes) -> Result<(), StateError> {
        match self {
            Self::Folder(folder) => {
                while let Some(first) = changes.first_entry() {
                    folder.keep(first.key(), first.get().as_ref())?;
                    first.remove();
                }
                Ok(())
            }
            Self::Secrets(secrets) => secrets.keep(std::mem::take(changes)).await,
        }
    }
}
