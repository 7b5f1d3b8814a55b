//! Git to an immutable tree by digest.
//!
//! [`Sources`] keeps one bare clone per repository URL in a cache folder. [`Sources::poll`] asks the remote where a
//! branch, a tag or a commit stands, fetches only when it moved, and answers a [`Snapshot`]: the commit and a lazy view
//! of its tree. [`Snapshot::input`] reads one path of it as an [`Input`]: every file below that path with the SHA-256
//! of its content, and one digest over them all, so that two commits with the same content below a path have the same
//! digest.
//!
//! Everything here blocks: the caller brings the thread. Nothing here keeps a timer: [`next_poll`] says when to ask
//! again. The remote is not trusted with anything but its own content: no user or system configuration of Git is read,
//! no credential helper and no hook runs, no path and no symbolic link leaves the tree, and sizes are bounded.
//!
//! What it does not do: submodules and Git LFS are not followed, nothing is pushed, repositories that hash with SHA-256
//! are refused.

mod artifact;
mod bounded;
mod clone;
mod digests;
mod error;
mod guard;
mod remote;
mod request;
mod schedule;
mod snapshot;
mod sources;
mod transport;
mod url;
mod walk;
pub mod webhook;

pub use artifact::{
    Artifact, ArtifactPoll, ArtifactRequest, Artifacts, Dependency, Followed, OciReference, Pinned,
    Tree, tree_digest,
};
pub use error::SourceError;
pub use request::{Auth, GitRequest, Limits, Reference, SshKey};
pub use schedule::{MAX_BACKOFF, next_poll, poll_delay};
pub use snapshot::{Author, Blob, Input, Snapshot};
pub use sources::{Poll, Sources};
pub use url::{mask_url, normalise_url};
