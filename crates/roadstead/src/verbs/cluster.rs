//! `roadstead cluster`.

mod join;
mod manifests;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args as ClapArgs, Subcommand};
use http::Method;
use owo_colors::OwoColorize as _;
use serde_json::{Map, Value, json};

use super::pair;
use crate::args::Global;
use crate::client::{Ask, Client, HubArgs};
use crate::output;
use crate::shell::{Hinted, Outcome};

/// Lets clusters join, and looks after them.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token that lets a cluster join, and print the agent's manifests with it
    Join(Box<join::Args>),
    /// Set labels (`key=value`) and remove them (`key-`)
    Label {
        /// The cluster
        name: String,
        /// The changes
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        changes: Vec<String>,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Give it no new assignments; what it has is still healed
    Cordon(One),
    /// Give it new assignments again
    Uncordon(One),
    /// Remove our Apps from it
    Drain(One),
    /// Deliver to it again
    Undrain(One),
    /// Let it go: revoke its agent's certificate and delete the Cluster; workloads stay
    Remove(Confirmed),
    /// Forget a cluster that is dead: the same, without waiting for anything there
    Forget(Confirmed),
}

/// Which cluster.
#[derive(Debug, ClapArgs)]
struct One {
    /// The cluster
    name: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// Which cluster, for good.
#[derive(Debug, ClapArgs)]
struct Confirmed {
    /// The cluster
    name: String,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    match args.verb {
        Verb::Join(args) => join::run(*args, global).await,
        Verb::Label { name, changes, hub } => label(&hub.client()?, &name, &changes).await,
        Verb::Cordon(one) => set(one, "cordoned", true, "gets no new assignments").await,
        Verb::Uncordon(one) => set(one, "cordoned", false, "gets new assignments again").await,
        Verb::Drain(one) => {
            let said = "is drained: our Apps are removed from it";
            let outcome = set(one, "drained", true, said).await;
            if outcome.is_ok() {
                output::remark(
                    global.quiet,
                    "removals beyond an App's budget wait: `roadstead rollout approve APP --removals`",
                );
            }
            outcome
        }
        Verb::Undrain(one) => set(one, "drained", false, "is delivered to again").await,
        Verb::Remove(one) => {
            let about = "its agent takes itself away, and what runs there stays";
            go(one, about, true).await
        }
        Verb::Forget(one) => {
            let about = "its certificate is revoked and its assignments are dropped";
            go(one, about, false).await
        }
    }
}

async fn path(client: &Client, name: &str) -> anyhow::Result<String> {
    let clusters = client.kind_called("clusters").await?;
    Ok(clusters.path(None, Some(name)))
}

async fn patch(client: &Client, name: &str, body: &Value) -> anyhow::Result<Value> {
    let path = path(client, name).await?;
    let ask = Ask::send(Method::PATCH, &path, "application/merge-patch+json", body)
        .with("fieldManager", super::apply::MANAGER);
    client.ask(ask).await
}

async fn label(client: &Client, name: &str, changes: &[String]) -> Outcome {
    let mut labels = Map::new();
    for change in changes {
        let (key, value) = label_change(change)?;
        labels.insert(key, value);
    }
    let body = json!({ "metadata": { "labels": labels } });
    let cluster = patch(client, name, &body).await?;
    let shown: Vec<String> = k8s_object::labels(&cluster)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let shown = if shown.is_empty() {
        "no labels".to_owned()
    } else {
        shown.join(", ")
    };
    output::line(format!("{} has {shown}", name.bold()))?;
    Ok(ExitCode::SUCCESS)
}

fn label_change(change: &str) -> anyhow::Result<(String, Value)> {
    if let Ok((key, value)) = pair(change) {
        return Ok((key, Value::String(value)));
    }
    match change.strip_suffix('-').filter(|key| !key.is_empty()) {
        Some(key) => Ok((key.to_owned(), Value::Null)),
        None => bail!("{change:?} is neither KEY=VALUE nor KEY-"),
    }
}

async fn set(one: One, field: &str, value: bool, said: &str) -> Outcome {
    let client = one.hub.client()?;
    patch(&client, &one.name, &json!({ "spec": { field: value } })).await?;
    output::line(format!("{} {said}", one.name.bold()))?;
    Ok(ExitCode::SUCCESS)
}

async fn go(one: Confirmed, about: &str, leaves: bool) -> Outcome {
    let client = one.hub.client()?;
    let name = &one.name;
    let path = path(&client, name).await?;
    let cluster = client.ask(Ask::get(&path)).await?;
    if !one.yes && !confirmed(name, about, &cluster)? {
        bail!("nothing was done");
    }
    let revoke = format!("{path}/revoke");
    let body = json!({ "leave": leaves });
    let ask = Ask::send(Method::POST, &revoke, "application/json", &body);
    let told = client.ask(ask).await?["told"] == json!(true);
    let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
    client
        .ask(Ask::send(Method::DELETE, &path, "application/json", &body))
        .await?;
    let after = match (leaves, told) {
        (true, true) => "its agent was told to take itself away, and what runs there stays",
        (true, false) => {
            "its agent did not hear of it: take it away there with the cluster's own tools; what runs there stays"
        }
        (false, _) => "if it comes back, it must join anew",
    };
    output::line(format!("{} is gone from the hub; {after}", name.bold()))?;
    Ok(ExitCode::SUCCESS)
}

fn confirmed(name: &str, about: &str, cluster: &Value) -> anyhow::Result<bool> {
    use std::io::{BufRead as _, IsTerminal as _};
    if !std::io::stdin().is_terminal() {
        return Err(Hinted {
            error: anyhow!("{name} is let go of for good: {about}"),
            hint: "say --yes if you mean it".to_owned(),
        }
        .into());
    }
    let status = &cluster["status"];
    anstream::eprint!(
        "Let go of {} ({}, {} Apps)? Its Cluster is deleted, {about}. Type its name: ",
        name.bold(),
        status["connection"].as_str().unwrap_or("unknown"),
        status["apps"].as_u64().unwrap_or(0),
    );
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_changes_of_labels() {
        let check = |text: &str, expected: Option<(&str, Value)>| {
            let found = label_change(text).ok();
            let expected = expected.map(|(key, value)| (key.to_owned(), value));
            assert_eq!(found, expected, "{text}");
        };
        check("ring=canary", Some(("ring", json!("canary"))));
        check("ring=", Some(("ring", json!(""))));
        check("ring-", Some(("ring", Value::Null)));
        check("-", None);
        check("ring", None);
        check("=x", None);
    }
}
