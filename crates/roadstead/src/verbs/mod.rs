//! Everything that asks the hub.

mod apply;
pub(crate) mod bootstrap;
pub(crate) mod chart;
mod cluster;
mod delete;
mod diff;
pub(crate) mod elsewhere;
mod get;
mod hold;
pub(crate) mod kustomize;
mod plan;
pub(crate) mod render;
mod rollout;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Subcommand};
use http::Method;
use roadstead_control::Command as Wanted;
use serde_json::json;

use crate::args::Global;
use crate::client::{Ask, Client};
use crate::output;
use crate::shell::Outcome;

/// Reads `APP` or `PROJECT/APP`.
fn app_name(client: &Client, app: &str) -> (String, String) {
    match app.split_once('/') {
        Some((project, app)) => (project.to_owned(), app.to_owned()),
        None => (client.project.clone(), app.to_owned()),
    }
}

/// The URL's path of a subresource of an App.
async fn app_path(client: &Client, app: &str, subresource: &str) -> anyhow::Result<String> {
    let (project, app) = app_name(client, app);
    let apps = client.kind_called("apps").await?;
    Ok(format!(
        "{}/{subresource}",
        apps.path(Some(&project), Some(&app))
    ))
}

/// Does something to an App and says what was done.
async fn act(client: &Client, app: &str, command: &Wanted, reason: &str) -> Outcome {
    let path = app_path(client, app, "actions").await?;
    let body = json!({ "command": command, "reason": reason });
    let ask = Ask::send(Method::POST, &path, "application/json", &body);
    let answer = client.ask(ask).await?;
    output::line(answer["message"].as_str().unwrap_or("done"))?;
    Ok(ExitCode::SUCCESS)
}

/// A label or a value as it is given in a flag: `key=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// Everything that asks the hub.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show nouns: clusters, apps, rollouts, assignments, releases, sources, tasks, audit, …
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
    Render(Box<render::Args>),
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
                output::line(format!("roadstead {}", env!("CARGO_PKG_VERSION")))?;
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
                output::print(&String::from_utf8_lossy(&script))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
