//! `roadstead playground`: simulated clusters, alone or with a hub and agents.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use http::Method;
use k8s_playground::Fault;
use roadstead_model::DurationMs;

use super::clusters;
use crate::client::{Access, Ask, Client};
use crate::demo::{Fleet, FleetPlan, Screen};
use crate::shell::{Outcome, Threads};

/// Simulated clusters with a hub and agents, on this machine.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// On how many threads it runs.
    pub(crate) fn threads(&self) -> Threads {
        match self.command {
            Command::Clusters(_) => Threads::Processors,
            Command::Up(_) | Command::Fault(_) => Threads::More,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a hub, simulated clusters and an agent for each, and stay up
    Up(UpArgs),
    /// Let something go wrong between a simulated cluster and those who ask it, or mend it
    Fault(FaultArgs),
    /// Serve simulated clusters alone, without hub and agents
    Clusters(clusters::Args),
}

#[derive(Debug, ClapArgs)]
struct UpArgs {
    /// How many clusters
    #[arg(long, default_value_t = 3)]
    clusters: usize,
    /// A label that every cluster gets: `key=value`, or `key=a,b,c` to take turns
    #[arg(long = "cluster-labels", value_name = "KEY=VALUE[,VALUE…]", value_parser = turns)]
    labels: Vec<(String, Vec<String>)>,
    /// Where hub, agents and kubeconfigs are kept; without it, a temporary folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Copy the kubeconfigs of the hub and of each cluster here
    #[arg(long, value_name = "DIR")]
    kubeconfigs: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct FaultArgs {
    /// The cluster
    cluster: String,
    /// The playground's own kubeconfig: `playground.yaml` beside those of the clusters
    #[arg(long, value_name = "FILE")]
    playground: PathBuf,
    /// Nothing answers
    #[arg(long)]
    offline: bool,
    /// Every answer takes this much longer
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    latency: DurationMs,
    /// How many of 1,000 requests are answered with 429
    #[arg(long, value_name = "N", default_value_t = 0)]
    too_many: u32,
    /// How many of 1,000 requests are answered with 500
    #[arg(long, value_name = "N", default_value_t = 0)]
    errors: u32,
}

fn turns(text: &str) -> Result<(String, Vec<String>), String> {
    match text.split_once('=') {
        Some((key, values)) if !key.is_empty() && !values.is_empty() => Ok((
            key.to_owned(),
            values.split(',').map(str::to_owned).collect(),
        )),
        _ => Err("expected KEY=VALUE or KEY=VALUE,VALUE,…".to_owned()),
    }
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    match args.command {
        Command::Up(args) => up(args).await,
        Command::Fault(args) => fault(args).await,
        Command::Clusters(args) => clusters::run(args).await,
    }
}

async fn up(args: UpArgs) -> Outcome {
    let screen = Screen::new();
    let plan = FleetPlan::labelled(args.clusters.max(1), args.folder, &args.labels)?;
    let fleet = tokio::select! {
        fleet = Fleet::start(plan, &screen) => fleet?,
        () = super::hub::ended() => return Ok(ExitCode::from(130)),
    };
    if let Some(folder) = &args.kubeconfigs {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        for file in fleet.kubeconfigs() {
            let to = folder.join(file.file_name().unwrap_or_default());
            std::fs::copy(&file, &to).with_context(|| {
                format!("failed to copy {} to {}", file.display(), to.display())
            })?;
        }
    }
    screen.around(&fleet);
    screen.line("It stays up until you press Ctrl-C.");
    super::hub::ended().await;
    fleet.end().await;
    Ok(ExitCode::SUCCESS)
}

async fn fault(args: FaultArgs) -> Outcome {
    let fault = Fault {
        offline: args.offline,
        latency_ms: args.latency.0,
        too_many_per_mille: args.too_many,
        retry_after_s: u32::from(args.too_many > 0),
        error_per_mille: args.errors,
    };
    let client = Client::new(Access::read(&args.playground, None)?, "default".to_owned())?;
    let path = format!("/clusters/{}/playground/fault", args.cluster);
    client
        .ask(Ask::send(
            Method::POST,
            &path,
            "application/json",
            &serde_json::to_value(&fault)?,
        ))
        .await?;
    let said = if fault == Fault::none() {
        "is well again"
    } else {
        "has the fault"
    };
    println!("{} {said}", args.cluster);
    Ok(ExitCode::SUCCESS)
}
