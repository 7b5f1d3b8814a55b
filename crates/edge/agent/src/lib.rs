//! Drives the sync state machine against a cluster, with or without a hub.
//!
//! The machine decides; this crate carries out: it sends the machine's requests to the cluster, follows its watches,
//! keeps its records on disk before anything that hangs on them is done, fetches content, verifies orders and sends
//! reports. All of it runs on one thread. When the hub is away, everything but new orders goes on.

mod begin;
mod clusters;
mod detail;
mod health;
mod hub;
mod lease;
mod leave;
mod nodes;
mod shell;
mod state;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;

use k8s_cluster::Cluster;
use roadstead_wire::ProxySettings;

pub use detail::mask;
pub use lease::LeaseTiming;
pub use leave::AGENT_LABEL;
pub use shell::{run, serve};
pub use state::{Identity, StateDir, StateError};

/// What an agent is told when it starts.
#[derive(Clone)]
pub struct AgentConfig {
    /// The cluster that it looks after.
    pub cluster: Arc<dyn Cluster>,
    /// Where its identity and records live. Only their owner may read it.
    pub state_dir: PathBuf,
    /// The hub.
    pub hub: HubConfig,
    /// The name that the cluster would join under.
    pub name: String,
    /// The agent's version.
    pub version: String,
}

/// What there is around an agent, beyond the cluster that it looks after.
#[derive(Default)]
pub struct Surroundings {
    /// Its own place in a cluster; without one its state is in a folder.
    pub own: Option<OwnPlace>,
    /// Where it answers `/livez` and `/readyz`.
    pub health: Option<std::net::TcpListener>,
    /// The cluster as a Project sees it: what an App of it asks for is asked for as the Project's own account. Without
    /// it, everything is done as the agent.
    pub on_behalf: Option<OnBehalf>,
}

/// The cluster as the Project with this name sees it.
pub type OnBehalf = Arc<dyn Fn(&str) -> Arc<dyn Cluster> + Send + Sync>;

/// An agent's own place in a cluster: a namespace where it may read and write Secrets and Leases.
#[derive(Clone)]
pub struct OwnPlace {
    /// The cluster that it runs in.
    pub cluster: Arc<dyn Cluster>,
    /// The namespace.
    pub namespace: String,
    /// The name of the Lease, and the beginning of the Secrets' names. Replicas share it.
    pub name: String,
    /// Names this process; no other process, before or beside it, has this name.
    pub holder: String,
    /// How long leading lasts.
    pub timing: LeaseTiming,
}

/// How to reach the hub.
#[derive(Debug, Clone, Default)]
pub struct HubConfig {
    /// Its URL: `https://host[:port]`.
    pub url: String,
    /// A join token, for an agent that has no identity yet.
    pub token: Option<String>,
    /// The way out.
    pub proxy: ProxySettings,
    /// Further CAs, in PEM, that the hub's certificate may be signed by.
    pub extra_ca_pems: Vec<String>,
}

/// An agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state cannot be used.
    #[error("failed to use the agent's state")]
    State(#[from] StateError),
    /// The port of its health cannot be served.
    #[error("failed to serve the agent's health")]
    Health(#[source] std::io::Error),
    /// It has no identity and no token.
    #[error(
        "this agent has not joined a hub yet, and has no join token; get one with `cluster join`"
    )]
    NoToken,
    /// The token is none.
    #[error("join token cannot be used")]
    Token(#[from] roadstead_wire::token::TokenError),
    /// A key or certificate cannot be made or read.
    #[error("failed to prepare the agent's key")]
    Key(#[from] roadstead_wire::pki::PkiError),
    /// The keys that orders are signed with cannot be read.
    #[error("failed to read the hub's keys")]
    Keys(#[from] roadstead_wire::keys::KeyError),
    /// The hub refuses.
    #[error("failed to join the hub")]
    Join(#[from] roadstead_wire::WireError),
}
