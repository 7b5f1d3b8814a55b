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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn reads_what_people_type() {
        let check = |line: &str, good: bool| {
            let words = std::iter::once("roadstead").chain(line.split(' '));
            let read = Args::try_parse_from(words);
            assert_eq!(read.is_ok(), good, "{line}: {:?}", read.err());
        };
        check("get apps -o wide -w -l a=b --field-selector c=d -A", true);
        check("get apps --limit 5 --continue x -p shop", true);
        check("get apps --continue x", false);
        check("get", false);
        check("apply -f a.yaml -f dir --dry-run --force-conflicts", true);
        check("apply", false);
        check("plan shop --path dir", true);
        check("plan shop --path dir --revision main", false);
        check("diff shop", false);
        check("rollout status shop -w --timeout 90s", true);
        check("rollout status shop --timeout 90s", false);
        check("rollout approve shop --stage canary --reason ok", true);
        check("rollout approve shop --leaving --removals", false);
        check(
            "rollout start shop --release 3 --clusters a,b --reason x",
            true,
        );
        check("rollout start shop --release 3 --clusters a", false);
        check("hold shop --cluster a --for 1h30m --reason x", true);
        check("hold shop --for soon --reason x", false);
        check("hold --reason x", false);
        check("unhold --cluster a", true);
        check("cluster join a --label x=y --uses 3 --for 2d", true);
        check("cluster join a --label x", false);
        check("cluster label a x=y z-", true);
        check("render dir --cluster-labels a=b,c=d --cluster-name x", true);
        check("bootstrap --source file:///x --path fleet", true);
    }
}
