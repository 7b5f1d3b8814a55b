//! `roadstead bench`: figures of this machine, as docs/benchmarks.md reports them.

mod agents;
mod apiserver;
mod clusters;
mod fanout;
mod figures;
mod kustomize;
mod render;
mod store;

use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use crate::shell::Outcome;

/// Measures this machine.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// From a commit to every connected agent: real hub, real TLS, real Git; the agents apply nothing
    Fanout(fanout::Args),
    /// Helm charts: compiling, rendering, and one chart for thousands of sets of values
    Render(render::Args),
    /// Kustomizations: an overlay alone and over a base that is remembered, many resources, and many overlays
    Kustomize(kustomize::Args),
    /// A simulated cluster's API server beside etcd and kube-apiserver
    Apiserver(apiserver::Args),
    /// Simulated clusters: how fast they start, and what they hold
    Clusters(clusters::Args),
    /// What a commit would change, while no agent is connected
    Plan(fanout::plan::Args),
    /// Commits, reads and watches of the store
    Store(store::Args),
    /// The agents of `bench fanout`, which starts them itself
    #[command(hide = true)]
    Agents(agents::Args),
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    match args.what {
        What::Fanout(args) => fanout::run(args).await,
        What::Render(args) => render::run(&args),
        What::Kustomize(args) => kustomize::run(&args),
        What::Apiserver(args) => apiserver::run(&args),
        What::Clusters(args) => clusters::run(&args),
        What::Plan(args) => fanout::plan::run(args).await,
        What::Store(args) => store::run(&args),
        What::Agents(args) => {
            agents::run(args).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
