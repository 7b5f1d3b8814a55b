//! `roadstead hold` and `roadstead unhold`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args as ClapArgs;
use http::Method;
use owo_colors::OwoColorize as _;
use roadstead_control::Command as Wanted;
use roadstead_model::{DurationMs, Hold, HoldMode};
use serde_json::{Value, json};

use super::{act, app_name};
use crate::args::Global;
use crate::client::{Ask, Client, HubArgs};
use crate::output;
use crate::shell::Outcome;

/// Leaves something alone.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  roadstead hold guestbook --for 2h --reason 'load test'      the App, on every cluster
  roadstead hold guestbook --cluster eu-1 --reason debugging  the App, on one cluster
  roadstead hold --cluster eu-1 --reason maintenance          every App on one cluster")]
pub(crate) struct HoldArgs {
    /// The App
    #[arg(required_unless_present = "cluster")]
    app: Option<String>,
    /// On this cluster only
    #[arg(long, short, value_name = "NAME")]
    cluster: Option<String>,
    /// How long; without it, until `unhold`
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<DurationMs>,
    /// Show drift and do not heal it; new Releases are still delivered
    #[arg(long)]
    heal_only: bool,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// Lifts a hold.
#[derive(Debug, ClapArgs)]
pub(crate) struct UnholdArgs {
    /// The App
    #[arg(required_unless_present = "cluster")]
    app: Option<String>,
    /// On this cluster only
    #[arg(long, short, value_name = "NAME")]
    cluster: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// Holds.
pub(crate) async fn hold(args: HoldArgs, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    let hold = Hold {
        mode: if args.heal_only {
            HoldMode::Heal
        } else {
            HoldMode::Sync
        },
        actor: String::new(),
        reason: args.reason.clone(),
        until: args
            .duration
            .map(|duration| output::now().plus_ms(duration.0)),
    };
    if let (Some(app), Some(cluster)) = (&args.app, &args.cluster) {
        let command = Wanted::Hold {
            cluster: cluster.clone(),
            hold,
        };
        return act(&client, app, &command, &args.reason).await;
    }
    let hold = Hold {
        actor: whoami(&client).await?,
        ..hold
    };
    let until = match hold.until {
        Some(until) => format!("until {}", until.seconds()),
        None => "until it is lifted".to_owned(),
    };
    let what = match hold.mode {
        HoldMode::Heal => "is not healed",
        HoldMode::Sync => "is left alone",
    };
    let (noun, name) = patch(&client, args.app, args.cluster, &json!(hold), &args.reason).await?;
    output::line(format!("{noun} {} {what} {until}", name.bold()))?;
    output::remark(
        global.quiet,
        "if Git holds this noun, the next sync of it takes the hold back: write it there too",
    );
    Ok(ExitCode::SUCCESS)
}

/// Lifts a hold.
pub(crate) async fn unhold(args: UnholdArgs, _global: &Global) -> Outcome {
    let client = args.hub.client()?;
    if let (Some(app), Some(cluster)) = (&args.app, &args.cluster) {
        let command = Wanted::Unhold {
            cluster: cluster.clone(),
        };
        return act(&client, app, &command, &args.reason).await;
    }
    let (noun, name) = patch(&client, args.app, args.cluster, &Value::Null, &args.reason).await?;
    output::line(format!("{noun} {} is synced again", name.bold()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes spec.hold of an App or of a Cluster; says which.
async fn patch(
    client: &Client,
    app: Option<String>,
    cluster: Option<String>,
    hold: &Value,
    reason: &str,
) -> anyhow::Result<(&'static str, String)> {
    let (noun, kind, project, name) = match (app, cluster) {
        (Some(app), None) => {
            let (project, name) = app_name(client, &app);
            ("App", "apps", Some(project), name)
        }
        (None, Some(cluster)) => ("Cluster", "clusters", None, cluster),
        _ => bail!("name an App, or a cluster with --cluster"),
    };
    let kind = client.kind_called(kind).await?;
    let path = kind.path(project.as_deref(), Some(&name));
    if hold.is_null() {
        let object = client.ask(Ask::get(&path)).await?;
        if object["spec"]["hold"].is_null() {
            bail!("{noun} {name} is not on hold");
        }
    }
    // whole, so that nothing of an earlier hold stays
    let body = json!([{
        "op": if hold.is_null() { "remove" } else { "add" },
        "path": "/spec/hold",
        "value": hold,
    }]);
    let ask = Ask::send(Method::PATCH, &path, "application/json-patch+json", &body)
        .with("fieldManager", super::apply::MANAGER)
        .because(reason);
    client.ask(ask).await?;
    Ok((noun, name))
}

/// Who the hub takes us for.
async fn whoami(client: &Client) -> anyhow::Result<String> {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = Ask::send(Method::POST, path, "application/json", &review);
    let answer = client.ask(ask).await?;
    let name = answer["status"]["userInfo"]["username"].as_str();
    Ok(name.unwrap_or_default().to_owned())
}
