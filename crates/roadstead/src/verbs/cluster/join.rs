//! `roadstead cluster join`: a token, and what uses it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args as ClapArgs, ValueEnum};
use http::Method;
use roadstead_model::{DurationMs, Time};
use serde_json::json;

use super::manifests::{Limits, Manifests, values};
use super::path;
use crate::args::Global;
use crate::client::{Ask, HubArgs};
use crate::output;
use crate::shell::{Hinted, Outcome};
use crate::verbs::pair;

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The agent's manifests, for `| kubectl apply -f -`
    Manifests,
    /// Values for the chart deploy/charts/roadstead-agent
    Values,
    /// The command that runs the agent outside of the cluster
    Command,
    /// The token alone
    Token,
}

/// Lets a cluster join.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The cluster's name; with a `*`, any name of that pattern
    name: String,
    /// A label that the cluster gets
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// How many clusters may join with it
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// How long it works
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    duration: DurationMs,
    /// What to print [default: manifests; a token for a pattern of names]
    #[arg(long, short, value_name = "WHAT")]
    output: Option<Output>,
    /// The same as --output token
    #[arg(long, conflicts_with = "output")]
    token_only: bool,
    /// The URL by which the agent reaches the hub, if it is not the kubeconfig's
    #[arg(long, value_name = "URL")]
    hub_url: Option<String>,
    /// The agent's image
    #[arg(long, value_name = "IMAGE", help_heading = "The agent")]
    image: Option<String>,
    /// The namespace that is made for the agent
    #[arg(
        long,
        value_name = "NAME",
        default_value = "roadstead-agent",
        help_heading = "The agent"
    )]
    agent_namespace: String,
    /// The proxy on the agent's way to the hub
    #[arg(long, value_name = "URL", help_heading = "The agent")]
    https_proxy: Option<String>,
    /// Hosts that the agent reaches without the proxy, by commas
    #[arg(
        long,
        value_name = "HOSTS",
        requires = "https_proxy",
        default_value = "",
        hide_default_value = true,
        help_heading = "The agent"
    )]
    no_proxy: String,
    /// Files with further CAs (PEM) that the agent trusts, for a hub behind what opens TLS on purpose
    #[arg(long = "extra-ca", value_name = "FILE", help_heading = "The agent")]
    extra_cas: Vec<PathBuf>,
    /// Let the agent write only what and where the next two flags say, as one service account a Project
    #[arg(long, requires = "allow", help_heading = "The agent")]
    limited: bool,
    /// A Project and a namespace that its Apps may write
    #[arg(
        long,
        value_name = "PROJECT:NAMESPACE",
        requires = "limited",
        help_heading = "The agent"
    )]
    allow: Vec<String>,
    /// A resource that may be written there, such as `apps/deployments` or `services` [default: the usual ones]
    #[arg(
        long = "kind",
        value_name = "[GROUP/]RESOURCE",
        requires = "limited",
        help_heading = "The agent"
    )]
    kinds: Vec<String>,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let pattern = args.name.contains('*');
    let output = match args.output {
        _ if args.token_only => Output::Token,
        Some(output) => output,
        None if pattern => Output::Token,
        None => Output::Manifests,
    };
    if pattern && matches!(output, Output::Manifests | Output::Values) {
        return Err(Hinted {
            error: anyhow!(
                "{:?} is a pattern, and the agent's manifests name one cluster",
                args.name
            ),
            hint: "print the token with --output token, and give it to each cluster's own values or manifests"
                .to_owned(),
        }
        .into());
    }
    // before a token is made that nobody will use
    let limits = args
        .limited
        .then(|| Limits::parse(&args.allow, &args.kinds))
        .transpose()?;
    let extra_cas = authorities(&args.extra_cas)?;
    let client = args.hub.client()?;
    let asked = format!("{}/join", path(&client, &args.name).await?);
    let labels: BTreeMap<String, String> = args.labels.into_iter().collect();
    let body = json!({
        "labels": labels,
        "uses": args.uses,
        "minutes": args.duration.0.div_ceil(60_000),
    });
    let ask = Ask::send(Method::POST, &asked, "application/json", &body);
    let answer = client.ask(ask).await?;
    let Some(token) = answer["token"].as_str() else {
        bail!("the hub sent no token");
    };
    if output == Output::Token {
        output::line(token)?;
        return Ok(ExitCode::SUCCESS);
    }
    let until = answer["expiresAt"]
        .as_str()
        .and_then(|text| text.parse::<Time>().ok())
        .map(Time::seconds)
        .unwrap_or_default();
    let url = args.hub_url.as_deref().unwrap_or_else(|| client.server());
    let name = if pattern { "NAME" } else { &args.name };
    let next = match output {
        Output::Manifests => "Apply this in the cluster, such as with `| kubectl apply -f -`",
        Output::Values => "Install the chart with this: helm install roadstead-agent … --values -",
        _ => "Run this where the agent can reach the cluster",
    };
    output::remark(
        global.quiet,
        format!(
            "The token works until {until}, for {}. {next}:",
            output::count(args.uses as usize, "cluster")
        ),
    );
    if output == Output::Command {
        let mut line = format!("roadstead agent --hub {url} --name {name} --token {token}");
        if let Some(proxy) = &args.https_proxy {
            line.push_str(&format!(" --https-proxy {proxy}"));
        }
        if !args.no_proxy.is_empty() {
            line.push_str(&format!(" --no-proxy {}", args.no_proxy));
        }
        for file in &args.extra_cas {
            line.push_str(&format!(" --extra-ca {}", file.display()));
        }
        output::line(line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let manifests = Manifests {
        url,
        ca_pem: &String::from_utf8_lossy(client.ca_pem()),
        name,
        token,
        namespace: &args.agent_namespace,
        image: args.image.as_deref(),
        https_proxy: args.https_proxy.as_deref(),
        no_proxy: &args.no_proxy,
        extra_cas: &extra_cas,
        limits: limits.as_ref(),
    };
    let text = match output {
        Output::Values => output::yaml(&values(&manifests)),
        _ => manifests.text()?,
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What the files hold, one after the other.
fn authorities(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut all = String::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            bail!("{} holds no certificate in PEM", file.display());
        }
        all.push_str(text.trim_end());
        all.push('\n');
    }
    Ok(all)
}
