//! `roadstead why`.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use owo_colors::OwoColorize as _;

use crate::client::{Ask, HubArgs};
use crate::output;
use crate::shell::Outcome;

/// Says why an App is as it is.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The App
    #[arg(value_name = "APP")]
    app: String,
    /// On this cluster
    #[arg(long, short, value_name = "NAME", default_value = "")]
    cluster: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    let client = args.hub.client()?;
    let path = super::app_path(&client, &args.app, "why").await?;
    let answer = client
        .ask(Ask::get(&path).with("cluster", args.cluster))
        .await?;
    let mut sentences = answer["answer"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sentence| sentence.as_str());
    if let Some(first) = sentences.next() {
        if first.starts_with("there is no App") {
            anyhow::bail!("{first}");
        }
        output::line(first.bold().to_string())?;
    }
    for ground in sentences {
        output::line(format!("  {ground}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
