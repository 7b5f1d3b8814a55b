//! `roadstead hub`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use roadstead_hub::seal::Secret;
use roadstead_hub::{Hub, HubConfig};
use roadstead_model::DurationMs;

use super::backup;
use crate::args::Global;
use crate::client::{API, Ask, HubArgs};
use crate::output;
use crate::shell::{Hinted, Outcome};

/// Runs the hub, or looks after its data.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a running hub read its own nouns from Git; the same as `roadstead bootstrap`
    Bootstrap(crate::verbs::bootstrap::Args),
    /// Write everything that a hub is into one file, while it runs
    Backup(backup::BackupArgs),
    /// Replace the hub's data by a backup; the hub must not run
    Restore(backup::RestoreArgs),
    /// Sign orders with a new key; the old one vouches for it
    RotateKey {
        #[command(flatten)]
        hub: HubArgs,
    },
}

#[derive(Debug, ClapArgs)]
struct RunArgs {
    /// Where the hub keeps everything
    #[arg(long, default_value = "roadstead-data")]
    data: PathBuf,
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "0.0.0.0:8443", value_parser = super::address)]
    listen: SocketAddr,
    /// DNS names and addresses by which it is reached, the first one first
    #[arg(long = "name", value_name = "NAME", default_values = ["localhost", "127.0.0.1"])]
    names: Vec<String>,
    /// Write a kubeconfig for the administrator here when the hub serves
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How long a cluster may be silent before it counts as offline
    #[arg(long, default_value = "90s", value_name = "DURATION")]
    offline_after: DurationMs,
    /// How often an idle agent says that it is there
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    beat: DurationMs,
    /// How long an agent's ended certificate may still renew
    #[arg(long, default_value = "90d", value_name = "DURATION")]
    offline_grace: DurationMs,
    /// A file with the secret that webhooks are signed with
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// A file with a secret of at least 16 bytes that the hub's keys and Secrets are sealed with in its store. A hub that
    /// was started with it once needs it at every start
    #[arg(long, value_name = "FILE")]
    seal_key_file: Option<PathBuf>,
    /// How long it is kept who did what
    #[arg(long, default_value = "400d", value_name = "DURATION")]
    audit_keep: DurationMs,
    /// Do not run the agent that delivers nouns into the hub itself
    #[arg(long)]
    no_own_agent: bool,
    #[command(flatten)]
    in_cluster: super::in_cluster::InCluster,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    match args.command {
        Some(Command::Bootstrap(args)) => crate::verbs::bootstrap::run(args, global).await,
        Some(Command::Backup(args)) => backup::backup(args, global).await,
        Some(Command::Restore(args)) => backup::restore(&args),
        Some(Command::RotateKey { hub }) => rotate(&hub).await,
        None => serve(args.run).await,
    }
}

async fn rotate(hub: &HubArgs) -> Outcome {
    let client = hub.client()?;
    let path = format!("{API}/hubs/hub/rotate-key");
    let body = serde_json::json!({});
    let ask = Ask::send(http::Method::POST, &path, "application/json", &body);
    let answer = client.ask(ask).await?;
    output::line(answer["message"].as_str().unwrap_or("done"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a file with a secret.
pub(crate) fn secret(path: &Path) -> anyhow::Result<Secret> {
    let bytes =
        std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    Secret::new(&bytes).with_context(|| format!("failed to use {}", path.display()))
}

async fn serve(args: RunArgs) -> Outcome {
    let webhook_secret = match &args.webhook_secret_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    let config = HubConfig {
        data: args.data.clone(),
        listen: args.listen,
        names: names(&args)?,
        offline_after: Duration::from_millis(args.offline_after.0),
        offline_grace: Duration::from_millis(args.offline_grace.0),
        beat: Duration::from_millis(args.beat.0),
        webhook_secret,
        seal: args.seal_key_file.as_deref().map(secret).transpose()?,
        audit_keep: Duration::from_millis(args.audit_keep.0),
    };
    let hub = Hub::start(config)
        .await
        .context("failed to start the hub")?;
    let hub = std::sync::Arc::new(hub);
    let mut admin = hub.kubeconfig("admin", &["system:masters".to_owned()])?;
    if let Some(url) = &args.in_cluster.public_url {
        url.trim_end_matches('/').clone_into(&mut admin.server);
    }
    let tasks = args.in_cluster.start(&hub, &admin)?;
    let own = if args.no_own_agent {
        None
    } else {
        Some(
            super::agent::start_own(&hub, &args.data)
                .await
                .context("failed to start the hub's own agent")?,
        )
    };
    if let Some(path) = &args.kubeconfig {
        write_private(path, admin.to_yaml("roadstead").as_bytes())?;
        tracing::info!(path = %path.display(), "wrote the administrator's kubeconfig");
    }
    let broken = tokio::select! {
        () = ended() => None,
        // whoever started this starts it again, and the store is opened anew
        why = hub.broken() => Some(why),
    };
    tracing::info!("ending");
    if let Some(own) = own {
        own.abort();
    }
    for task in tasks {
        task.abort();
        // it holds the hub
        let _ = task.await;
    }
    if let Some(hub) = std::sync::Arc::into_inner(hub) {
        hub.stop().await;
    }
    match broken {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(Hinted {
            error: anyhow::anyhow!("{why}").context("the hub ended, its store broke"),
            hint: "start the hub again; if it breaks again, look at the disk of the data folder"
                .to_owned(),
        }
        .into()),
    }
}

/// By which names the hub is reached: those that are given, and the public one.
fn names(args: &RunArgs) -> anyhow::Result<Vec<String>> {
    let mut names = args.names.clone();
    names.extend(
        args.in_cluster
            .host()?
            .filter(|host| !args.names.contains(host)),
    );
    Ok(names)
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make {}", folder.display()))?;
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let failed = || format!("failed to write {}", path.display());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    std::fs::rename(&temporary, path).with_context(failed)
}

/// Waits until somebody wants the process to end.
pub(crate) async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
