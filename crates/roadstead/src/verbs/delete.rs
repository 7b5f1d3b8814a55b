//! `roadstead delete`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args as ClapArgs;
use http::Method;
use serde_json::json;

use crate::args::Global;
use crate::client::{Ask, HubArgs};
use crate::output;
use crate::shell::Outcome;

/// Deletes nouns.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What: KIND NAME…, or KIND/NAME…
    #[arg(required = true, value_name = "KIND")]
    what: Vec<String>,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// It is no failure if there is no such thing
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    for target in client.targets(&args.what).await? {
        let kind = &target.kind;
        if target.names.is_empty() {
            bail!(
                "name what to delete: `roadstead delete {} NAME`",
                kind.singular
            );
        }
        for name in &target.names {
            let path = kind.path(Some(&client.project), Some(name));
            let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
            let mut ask = Ask::send(Method::DELETE, &path, "application/json", &body);
            if args.dry_run {
                ask = ask.with("dryRun", "All");
            }
            let answer = match client.ask(ask).await {
                Err(error) if args.ignore_not_found && crate::client::is_missing(&error) => {
                    continue;
                }
                other => other?,
            };
            let waits = answer["metadata"]["finalizers"].as_array();
            let waits = waits.is_some_and(|list| !list.is_empty());
            let done = match (args.dry_run, waits) {
                (true, _) => "would be deleted",
                (false, true) => "is being deleted: its clusters are let go of first",
                (false, false) => "deleted",
            };
            output::line(format!("{} {done}", kind.readable(name)))?;
            if waits && kind.kind == "App" {
                output::remark(
                    global.quiet,
                    "what it delivered stays or goes by its spec.onLeave; `roadstead why` says what it waits for",
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
