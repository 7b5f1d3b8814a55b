//! `roadstead bootstrap`.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde_json::json;

use super::apply::{self, Options, Written};
use crate::args::Global;
use crate::client::HubArgs;
use crate::output;
use crate::shell::Outcome;

/// Lets the hub read its own nouns from Git.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Makes a Source and an App, both named `bootstrap`. The App's one target is the hub itself: what stands below PATH in the
repository, such as Apps, Sources and Strategies, is delivered into the hub, and follows every commit.")]
pub(crate) struct Args {
    /// The repository: https://…, ssh://…, user@host:path, or file://… on the hub's own disk
    #[arg(long, value_name = "URL")]
    source: String,
    /// The folder in it that holds the hub's nouns
    #[arg(long, value_name = "DIR", default_value = "")]
    path: String,
    /// The branch, if not the repository's own default
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// A Secret of the Project with the credentials
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// How often the repository is asked whether it changed
    #[arg(long, value_name = "DURATION")]
    interval: Option<roadstead_model::DurationMs>,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    let mut source = json!({
        "apiVersion": "roadstead.dev/v1alpha1",
        "kind": "Source",
        "metadata": { "name": "bootstrap" },
        "spec": { "git": { "url": args.source } },
    });
    if let Some(branch) = args.branch {
        source["spec"]["git"]["branch"] = json!(branch);
    }
    if let Some(secret) = args.secret {
        source["spec"]["git"]["secret"] = json!(secret);
    }
    if let Some(interval) = args.interval {
        source["spec"]["interval"] = json!(interval);
    }
    let app = json!({
        "apiVersion": "roadstead.dev/v1alpha1",
        "kind": "App",
        "metadata": { "name": "bootstrap" },
        "spec": {
            "inputs": [{ "source": "bootstrap", "path": args.path }],
            "namespace": client.project,
            "targets": [{ "name": "hub", "clusters": { "names": ["hub"] } }],
        },
    });
    for object in [source, app] {
        let written = Written {
            place: format!("bootstrap {}", k8s_object::kind(&object)),
            object,
            text: None,
        };
        let options = Options {
            force: true,
            dry_run: false,
        };
        output::line(apply::apply(&client, &written, options).await?)?;
    }
    output::remark(
        global.quiet,
        "the hub reads the repository now; `roadstead why bootstrap` says how far it is",
    );
    Ok(ExitCode::SUCCESS)
}
