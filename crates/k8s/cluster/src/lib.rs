//! What an agent needs of a cluster: the trait and its contract suite.
//!
//! A cluster answers requests that are plain data, and streams watches. The sync state machine makes the requests and
//! takes the answers as inputs, so it never knows whether a playground, a real API server or a simulation is behind it.

pub mod contract;
mod error;
mod request;
mod status;

use std::pin::Pin;

pub use error::{ClusterError, ErrorKind, FieldConflict};
pub use request::{ApiResource, Call, Propagation, Reply, Version, WatchEvent, WatchSpec};

/// A stream of watch events; it ends with an error item, or when the server closes it.
pub type WatchStream =
    Pin<Box<dyn futures_core::Stream<Item = Result<WatchEvent, ClusterError>> + Send>>;

/// A cluster that can be asked and watched.
#[async_trait::async_trait]
pub trait Cluster: Send + Sync {
    /// Sends one request and waits for its answer.
    async fn call(&self, call: Call) -> Result<Reply, ClusterError>;

    /// Follows the objects of one kind that carry a label.
    async fn watch(&self, spec: WatchSpec) -> Result<WatchStream, ClusterError>;
}
