//! Everything that asks the hub.

mod apply;
mod bootstrap;
mod cluster;
mod delete;
mod diff;
mod get;
mod hold;
mod plan;
mod render;
mod rollout;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Subcommand};

use crate::args::Global;
use crate::shell::Outcome;

/// Everything that asks the hub.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show nouns: clusters, apps, rollouts, assignments, releases, sources, …
    Get(get::Args),
    /// Write nouns to the hub, from files
    Apply(apply::Args),
    /// Delete nouns from the hub
    Delete(delete::Args),
    /// Show what would change, cluster by cluster, without changing anything
    Plan(plan::Args),
    /// Show how one cluster differs from what it should run of an App, field by field
    Diff(diff::Args),
    /// Follow and steer the Rollouts of an App
    Rollout(rollout::Args),
    /// Leave an App, a cluster, or an App on one cluster alone for a while
    Hold(hold::HoldArgs),
    /// Lift a hold
    Unhold(hold::UnholdArgs),
    /// Say in one sentence why an App is as it is, and on which grounds
    Why(why::Args),
    /// Render an App's folder here, as delivery would, without a hub
    Render(render::Args),
    /// Let clusters join, and look after them
    Cluster(cluster::Args),
    /// Let the hub read its own nouns from Git
    Bootstrap(bootstrap::Args),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Verb {
    /// Runs it.
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Get(args) => get::run(args, global).await,
            Self::Apply(args) => apply::run(args, global).await,
            Self::Delete(args) => delete::run(args, global).await,
            Self::Plan(args) => plan::run(args, global).await,
            Self::Diff(args) => diff::run(args, global).await,
            Self::Rollout(args) => rollout::run(args, global).await,
            Self::Hold(args) => hold::hold(args, global).await,
            Self::Unhold(args) => hold::unhold(args, global).await,
            Self::Why(args) => why::run(args).await,
            Self::Render(args) => render::run(&args, global),
            Self::Cluster(args) => cluster::run(args, global).await,
            Self::Bootstrap(args) => bootstrap::run(args, global).await,
            Self::Version => {
                crate::output::line(format!("roadstead {}", env!("CARGO_PKG_VERSION")))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(
                    shell,
                    &mut crate::args::Args::command(),
                    "roadstead",
                    &mut script,
                );
                crate::output::print(&String::from_utf8_lossy(&script))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
