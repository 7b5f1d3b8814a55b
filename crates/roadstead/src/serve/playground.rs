//! `roadstead playground`: simulated clusters, alone or with a hub and agents.

use clap::{Args as ClapArgs, Subcommand};

use super::clusters;
use crate::shell::Outcome;

/// Simulated clusters with a hub and agents, on this machine.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve simulated clusters alone, without hub and agents
    Clusters(clusters::Args),
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    match args.command {
        Command::Clusters(args) => clusters::run(args).await,
    }
}
