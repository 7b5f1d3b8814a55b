//! `roadstead rollout`.

mod status;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args as ClapArgs, Subcommand};
use http::Method;
use owo_colors::OwoColorize as _;
use roadstead_control::{Command as Wanted, History};
use roadstead_model::DurationMs;
use roadstead_rollout::Action;
use serde_json::{Value, json};

use super::{act, app_path};
use crate::args::Global;
use crate::client::{Ask, Client, HubArgs};
use crate::output::{self, Table};
use crate::shell::Outcome;

/// Follows and steers Rollouts.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how far the newest Rollout is, stage by stage
    #[command(after_help = "\
Exit codes with --watch: 0 completed, 3 failed, rolled back or aborted, 1 anything else (such as --timeout).")]
    Status {
        #[command(flatten)]
        of: Of,
        /// Go on until it ends
        #[arg(long, short)]
        watch: bool,
        /// Watch no longer than this
        #[arg(long, value_name = "DURATION", requires = "watch")]
        timeout: Option<DurationMs>,
    },
    /// Start nothing new; what is under way goes on
    Pause(Steer),
    /// Go on
    Resume(Steer),
    /// End it; the clusters keep what they have
    Abort(Steer),
    /// Try the clusters that failed again, and bar the Release no more
    Retry(Steer),
    /// Let a stage start or pass, or let what else waits for approval happen
    Approve {
        #[command(flatten)]
        steer: Steer,
        /// The stage, if not the current one
        #[arg(long, value_name = "NAME", conflicts_with_all = ["leaving", "removals", "going_back"])]
        stage: Option<String>,
        /// Let go of the clusters that are no targets any more
        #[arg(long, conflicts_with_all = ["removals", "going_back"])]
        leaving: bool,
        /// Remove the objects that wait for it
        #[arg(long, conflicts_with = "going_back")]
        removals: bool,
        /// Let clusters go back to what a restored hub knows, from what is newer; or let go of an App that it does not know
        #[arg(long)]
        going_back: bool,
        /// Only if this list is still what waits: its digest, or at least 8 characters of it, as `why` shows
        #[arg(long, value_name = "DIGEST", conflicts_with = "stage")]
        list: Option<String>,
    },
    /// Take every cluster back to its last good Release, and bar this one
    Undo(Steer),
    /// Show what happened to an App, oldest first
    History {
        #[command(flatten)]
        of: Of,
        /// Only the last so many lines
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Give clusters a Release at once, past every stage and gate: for emergencies
    Start {
        /// The App
        app: String,
        /// The Release: its number, its id, or its commit
        #[arg(long, value_name = "RELEASE")]
        release: String,
        /// The clusters
        #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true)]
        clusters: Vec<String>,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Stay at a stored Release
    Pin {
        /// The App
        app: String,
        /// The Release: its number, its noun's name, or its id
        release: String,
        /// Why; kept in the audit record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Follow the newest Release again
    Unpin {
        /// The App
        app: String,
        /// Why; kept in the audit record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
}

/// Which Rollout.
#[derive(Debug, ClapArgs)]
struct Of {
    /// The App
    app: String,
    /// The Rollout's number, if not the newest
    #[arg(long, short, value_name = "N")]
    number: Option<u64>,
    #[command(flatten)]
    hub: HubArgs,
}

/// Which Rollout, and why.
#[derive(Debug, ClapArgs)]
struct Steer {
    #[command(flatten)]
    of: Of,
    /// Why; kept in the history
    #[arg(long, default_value = "")]
    reason: String,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    match args.verb {
        Verb::Status { of, watch, timeout } => {
            let client = of.hub.client()?;
            let follow = status::Follow {
                number: of.number,
                timeout,
                quiet: global.quiet,
            };
            if watch {
                status::watch(&client, &of.app, &follow).await
            } else {
                status::once(&client, &of.app, &follow).await
            }
        }
        Verb::Pause(steer) => rollout(steer, Action::Pause).await,
        Verb::Resume(steer) => rollout(steer, Action::Resume).await,
        Verb::Abort(steer) => rollout(steer, Action::Abort).await,
        Verb::Retry(steer) => rollout(steer, Action::Retry).await,
        Verb::Undo(steer) => rollout(steer, Action::Undo).await,
        Verb::Approve {
            steer,
            stage,
            leaving,
            removals,
            going_back,
            list,
        } => {
            let command = match (leaving, removals, going_back) {
                (true, ..) => Wanted::ApproveLeaving { list },
                (_, true, _) => Wanted::ApproveRemovals { list },
                (.., true) => Wanted::ApproveGoingBack { list },
                _ if list.is_some() => {
                    bail!("--list belongs to --leaving, --removals or --going-back")
                }
                _ => return rollout(steer, Action::Approve { stage }).await,
            };
            let client = steer.of.hub.client()?;
            act(&client, &steer.of.app, &command, &steer.reason).await
        }
        Verb::History { of, last, json } => history(&of, last, json, global).await,
        Verb::Start {
            app,
            release,
            clusters,
            reason,
            hub,
        } => {
            let client = hub.client()?;
            let release = release
                .strip_prefix(&format!("{app}-"))
                .unwrap_or(&release)
                .to_owned();
            act(&client, &app, &Wanted::Start { release, clusters }, &reason).await
        }
        Verb::Pin {
            app,
            release,
            reason,
            hub,
        } => pin(&hub.client()?, &app, Some(&release), &reason).await,
        Verb::Unpin { app, reason, hub } => pin(&hub.client()?, &app, None, &reason).await,
    }
}

async fn rollout(steer: Steer, action: Action) -> Outcome {
    let client = steer.of.hub.client()?;
    let command = Wanted::Rollout {
        number: steer.of.number,
        action,
    };
    act(&client, &steer.of.app, &command, &steer.reason).await
}

async fn history(of: &Of, last: Option<usize>, as_json: bool, global: &Global) -> Outcome {
    let client = of.hub.client()?;
    let path = app_path(&client, &of.app, "history").await?;
    let answer = client.ask(Ask::get(&path)).await?;
    let mut items: Vec<Value> = answer["items"].as_array().cloned().unwrap_or_default();
    if let Some(number) = of.number {
        items.retain(|item| item["rollout"] == number);
    }
    let skip = last.map_or(0, |last| items.len().saturating_sub(last));
    items.drain(..skip);
    if as_json {
        output::line(serde_json::to_string_pretty(&items)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if items.is_empty() {
        output::remark(
            global.quiet,
            format!("nothing has happened to {} yet", of.app),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["Time", "Rollout", "Who", "What", "Message"]);
    for item in items {
        let line: History = serde_json::from_value(item).map_err(|error| {
            anyhow!("the hub sent a line of history that cannot be read: {error}")
        })?;
        let rollout = match line.rollout {
            0 => String::new(),
            number => number.to_string(),
        };
        table.row([
            line.event.at.seconds(),
            rollout,
            line.event.actor,
            line.event.reason,
            line.event.message,
        ]);
    }
    output::print(&table.take(true))?;
    Ok(ExitCode::SUCCESS)
}

async fn pin(client: &Client, app: &str, release: Option<&str>, reason: &str) -> Outcome {
    let (project, app) = super::app_name(client, app);
    let apps = client.kind_called("apps").await?;
    let path = apps.path(Some(&project), Some(&app));
    let pin = match release {
        Some(release) => Some(release_id(client, &project, &app, release).await?),
        None => None,
    };
    let body = json!({ "spec": { "pin": pin } });
    let ask = Ask::send(Method::PATCH, &path, "application/merge-patch+json", &body)
        .with("fieldManager", super::apply::MANAGER)
        .because(reason);
    let written = client.ask(ask).await?;
    let said = match written["spec"]["pin"]
        .as_str()
        .filter(|pin| !pin.is_empty())
    {
        Some(id) => format!("{app} stays at release {}", id.bold()),
        None => format!("{app} follows its newest release again"),
    };
    output::line(said)?;
    Ok(ExitCode::SUCCESS)
}

/// The id of a Release that is named by number, noun or id.
async fn release_id(
    client: &Client,
    project: &str,
    app: &str,
    named: &str,
) -> anyhow::Result<String> {
    let releases = client.kind_called("releases").await?;
    let path = releases.path(Some(project), None);
    let ask = Ask::get(&path).with("labelSelector", format!("roadstead.dev/app-name={app}"));
    let list = client.ask(ask).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let found: Vec<&Value> = items
        .iter()
        .filter(|release| {
            let spec = &release["spec"];
            let text = |key: &str| spec[key].as_str().unwrap_or_default().to_owned();
            let number = spec["number"].as_u64().map(|number| number.to_string());
            number.as_deref() == Some(named)
                || k8s_object::name(release) == named
                || text("id") == named
                || named.len() >= 7 && text("commit").starts_with(named)
        })
        .collect();
    match found.as_slice() {
        [one] => Ok(one["spec"]["id"].as_str().unwrap_or_default().to_owned()),
        [] => {
            let known: Vec<String> = items
                .iter()
                .map(|release| release["spec"]["number"].to_string())
                .collect();
            if known.is_empty() {
                bail!("{app} has no Release yet");
            }
            bail!(
                "{app} has no Release {named:?}; it has {}",
                known.join(", ")
            )
        }
        several => bail!(
            "{named:?} means {} Releases of {app}; name one by its number",
            several.len()
        ),
    }
}
