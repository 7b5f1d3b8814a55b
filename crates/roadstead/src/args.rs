//! The command line: what there is, and which module does it.

use clap::{Parser, Subcommand};

use crate::serve::{agent, hub, playground};
use crate::verbs::Verb;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; with `plan` and `diff`: nothing would change
  1  failed: the message says what, why and what to do
  2  `plan`: something would change; `diff`: something differs; or the command line itself is wrong
  3  `rollout status --watch`: the Rollout failed, was rolled back or aborted";

/// Carries what is in Git to every Kubernetes cluster that should run it: wave by wave, and only as far as it proves good.
#[derive(Debug, Parser)]
#[command(
    name = "roadstead",
    version,
    about,
    max_term_width = 100,
    after_long_help = EXIT_CODES,
    propagate_version = true
)]
pub(crate) struct Args {
    /// What is shared by every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is shared by every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What to log, such as `info` or `roadstead_hub=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "ROADSTEAD_LOG")]
    pub(crate) log: Option<String>,
    /// Write the log as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub: it reads Git, renders, and tells each cluster what to run
    Hub(hub::Args),
    /// Run the agent of one cluster: it pulls, applies, heals and reports
    Agent(agent::Args),
    /// Simulated clusters with a hub and agents, on this machine
    Playground(playground::Args),
    /// Show the main job on this machine: fifty simulated clusters, four commits, and what goes wrong
    Demo(crate::demo::Args),
    /// Measure this machine: how fast a commit reaches a fleet, how fast the store is
    Bench(crate::bench::Args),
    /// Everything that asks the hub
    #[command(flatten)]
    Verb(Verb),
}
