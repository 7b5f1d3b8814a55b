//! `roadstead agent`.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use roadstead_hub::Hub;

use crate::shell::Outcome;

/// Runs the agent of one cluster.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The hub's URL
    #[arg(long)]
    hub: String,
    /// The cluster's name, to join as
    #[arg(long)]
    name: Option<String>,
    /// The join token; only needed until the agent has joined
    #[arg(long, env = "ROADSTEAD_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The kubeconfig of the cluster; without it, the agent looks for the service account that it runs as
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Where the agent keeps its identity and what it was told
    #[arg(long, default_value = "roadstead-agent")]
    state: PathBuf,
}

/// Runs it.
pub(crate) async fn run(_args: Args) -> Outcome {
    anyhow::bail!("the agent is not part of this build")
}

/// Starts the agent that delivers nouns into the hub itself.
pub(crate) async fn start_own(
    _hub: &Hub,
    _data: &Path,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    Ok(tokio::spawn(async {}))
}
