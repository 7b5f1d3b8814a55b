//! `roadstead agent`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use k8s_cluster::Cluster;
use roadstead_agent::{
    AgentConfig, HubConfig, Identity, LeaseTiming, OnBehalf, OwnPlace, StateDir, Surroundings,
};
use roadstead_cluster_kube::KubeCluster;
use roadstead_hub::Hub;
use roadstead_wire::ProxySettings;
use roadstead_wire::keys::KeySet;
use roadstead_wire::pki::TlsKey;

use super::hub::{ended, write_private};
use crate::shell::Outcome;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the agent of one cluster.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The hub's URL
    #[arg(long)]
    hub: String,
    /// The cluster's name, to join as
    #[arg(long)]
    name: String,
    /// The join token; only needed until the agent has joined
    #[arg(long, env = "ROADSTEAD_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The kubeconfig of the cluster; without it, the service account that the agent runs as
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Where the agent keeps its identity and what it was told: a folder, or `secrets` for Secrets of its namespace
    #[arg(long, default_value = "roadstead-agent", value_name = "FOLDER|secrets")]
    state: PathBuf,
    /// The agent's own namespace, for `--state secrets`
    #[arg(long, env = "POD_NAMESPACE", default_value = "roadstead-agent")]
    own_namespace: String,
    /// The name of its Deployment, Lease and Secrets there; replicas share it
    #[arg(long, default_value = "roadstead-agent")]
    own_name: String,
    /// The name of this replica, to be shown
    #[arg(long, env = "POD_NAME", default_value = "agent", hide = true)]
    pod_name: String,
    /// Do what an App asks for as the service account OWN_NAME-project-PROJECT of the agent's own namespace
    #[arg(long)]
    impersonate_projects: bool,
    /// Answer /livez and /readyz here, over plain HTTP
    #[arg(long, value_name = "[ADDRESS]:PORT", value_parser = super::address)]
    health: Option<std::net::SocketAddr>,
    /// The proxy on the way to the hub
    #[arg(long, env = "HTTPS_PROXY", hide_env_values = true)]
    https_proxy: Option<String>,
    /// Hosts that are reached without the proxy
    #[arg(long, env = "NO_PROXY", default_value = "")]
    no_proxy: String,
    /// Files with further CAs (PEM) that the hub's certificate may be signed by
    #[arg(long = "extra-ca", value_name = "FILE")]
    extra_cas: Vec<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    let cluster = match &args.kubeconfig {
        Some(path) => KubeCluster::from_kubeconfig(path, None)
            .await
            .with_context(|| format!("failed to use kubeconfig {}", path.display()))?,
        None => KubeCluster::in_cluster()
            .context("failed to use the service account that the agent runs as")?,
    };
    let extra_ca_pems = args
        .extra_cas
        .iter()
        .map(|path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let in_secrets = args.state.as_os_str() == "secrets";
    let own = in_secrets.then(|| OwnPlace {
        cluster: Arc::new(cluster.clone()),
        namespace: args.own_namespace.clone(),
        name: args.own_name.clone(),
        holder: format!("{}_{:016x}", args.pod_name, chance()),
        timing: LeaseTiming::default(),
    });
    let (acts, namespace, name) = (cluster.clone(), args.own_namespace, args.own_name);
    let on_behalf = args.impersonate_projects.then(|| -> OnBehalf {
        Arc::new(move |project| {
            Arc::new(acts.impersonating(&namespace, &format!("{name}-project-{project}")))
        })
    });
    let health = match args.health {
        Some(address) => Some(
            std::net::TcpListener::bind(address)
                .with_context(|| format!("failed to listen on {address}"))?,
        ),
        None => None,
    };
    let surroundings = Surroundings {
        own,
        health,
        on_behalf,
    };
    let config = AgentConfig {
        cluster: Arc::new(cluster),
        state_dir: args.state,
        hub: HubConfig {
            url: args.hub,
            token: args.token,
            proxy: ProxySettings {
                https_proxy: args.https_proxy.filter(|url| !url.is_empty()),
                no_proxy: args.no_proxy,
            },
            extra_ca_pems,
        },
        name: args.name,
        version: VERSION.to_owned(),
    };
    roadstead_agent::serve(config, surroundings, ended())
        .await
        .context("the agent cannot start")?;
    Ok(ExitCode::SUCCESS)
}

/// Tells this process from every other of the same name.
fn chance() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // the standard library's own keys are random, and different in each process
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// Starts the agent that delivers nouns into the hub itself: the same agent, over the same wire, against the hub's API.
pub(crate) async fn start_own(
    hub: &Hub,
    data: &Path,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let folder = data.join("own-agent");
    let kubeconfig = folder.join("kubeconfig");
    let access = hub.kubeconfig("roadstead-own-agent", &["system:masters".to_owned()])?;
    write_private(&kubeconfig, access.to_yaml("hub").as_bytes())?;
    let state_dir = folder.join("state");
    {
        let state = StateDir::open(&state_dir)?;
        if state.identity()?.is_none() {
            let key = TlsKey::generate()?;
            let reply = hub.own_agent(&key.request_pem()?)?;
            state.keep_identity(&Identity {
                cluster: reply.cluster,
                key_pem: key.to_pem(),
                certificate_pem: reply.certificate_pem,
                ca_pem: reply.ca_pem,
                keys: KeySet::from_json(&reply.keys_json)?,
            })?;
        }
    }
    let cluster = KubeCluster::from_kubeconfig(&kubeconfig, None).await?;
    let config = AgentConfig {
        cluster: Arc::new(cluster) as Arc<dyn Cluster>,
        state_dir,
        hub: HubConfig {
            url: hub.url(),
            ..HubConfig::default()
        },
        name: "hub".to_owned(),
        version: VERSION.to_owned(),
    };
    Ok(tokio::spawn(async move {
        loop {
            if let Err(error) = roadstead_agent::run(config.clone(), std::future::pending()).await {
                tracing::error!(%error, "the hub's own agent ended");
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }))
}
