//! Starting a hub, and what it serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base_store::{Store, WatchItem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_apiserver::{Registry, WriteOptions, bootstrap_rbac};
use roadstead_control::{History, NOUNS, Retention, app_of_history, notices};
use roadstead_model::{ClusterId, GROUP, ProjectSpec, VERSION};
use roadstead_source::{Artifacts, Auth, Limits, Sources};
use roadstead_store_sqlite::{Options, SqliteStore};
use roadstead_wire::{ClientTrust, Connections, Port, ServerTls};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::HubError;
use crate::api::{self, Api};
use crate::audit::Auditor;
use crate::brain::{Brain, Hands, Input, Thread};
use crate::events::{self, Notices};
use crate::gateway::{Agents, Details};
use crate::handler::Handler;
use crate::health::Health;
use crate::housekeeping as keep;
use crate::identity::Identity;
use crate::invitations::{INVITE, Invitations};
use crate::itself::{self, Itself};
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::reader::{Reader, auth_of};
use crate::renders::Renders;
use crate::seal::Secret;
use crate::shown::Shown;
use crate::sources::{Asked, Poller};
use crate::tasks::{About, Task, Tasks};
use crate::variants::Variants;
use crate::vault::Vault;

/// How a hub is set up.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The DNS names and addresses by which it is reached; its certificate is made for them.
    pub names: Vec<String>,
    /// How long a cluster may be silent before it counts as offline.
    pub offline_after: Duration,
    /// How long an agent's ended certificate may still renew.
    pub offline_grace: Duration,
    /// How often an idle agent says that it is there.
    pub beat: Duration,
    /// The secret that webhooks are signed with; without one, webhooks are refused.
    pub webhook_secret: Option<String>,
    /// What the hub's keys and its Secrets are sealed with in the store; without it they stand there open.
    pub seal: Option<Secret>,
    /// How long audit entries are kept.
    pub audit_keep: Duration,
}

/// A kubeconfig's parts: how to reach the hub, and as whom.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The hub's URL.
    pub server: String,
    /// The CA that its certificate is signed by, in PEM.
    pub ca_pem: String,
    /// The user's certificate, in PEM.
    pub certificate_pem: String,
    /// The user's key, in PEM.
    pub key_pem: String,
}

impl Kubeconfig {
    /// Writes it as a file that kubectl reads.
    pub fn to_yaml(&self, context: &str) -> String {
        let value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{ "name": context, "cluster": {
                "server": self.server,
                "certificate-authority-data": BASE64.encode(&self.ca_pem),
            } }],
            "users": [{ "name": context, "user": {
                "client-certificate-data": BASE64.encode(&self.certificate_pem),
                "client-key-data": BASE64.encode(&self.key_pem),
            } }],
            "contexts": [{ "name": context, "context": { "cluster": context, "user": context, "namespace": "default" } }],
        });
        base_yaml::to_string(&value)
    }
}

/// A hub that runs.
pub struct Hub {
    address: SocketAddr,
    identity: Arc<Identity>,
    brain: Brain,
    names: Vec<String>,
    tls: Arc<ServerTls>,
    stop: tokio::sync::watch::Sender<bool>,
    serving: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    health: Arc<Health>,
    thread: Option<std::thread::JoinHandle<()>>,
    store: Arc<SqliteStore>,
}

impl Hub {
    /// Opens the store and starts to serve.
    pub async fn start(config: HubConfig) -> Result<Self, HubError> {
        let folder = |path: &Path| {
            let path = path.to_owned();
            move |source| HubError::Folder { path, source }
        };
        std::fs::create_dir_all(&config.data).map_err(folder(&config.data))?;
        // the CA's key and the key that orders are signed with are in there
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&config.data, own).map_err(folder(&config.data))?;
        let path = config.data.join("hub.db");
        let options = Options {
            holder: "roadstead hub".to_owned(),
            // the log's own follower must never be too slow for a burst
            watch_bytes: 256 << 20,
            ..Options::default()
        };
        let opened = tokio::task::block_in_place(|| SqliteStore::open(&path, options));
        let sqlite = Arc::new(opened.map_err(HubError::Open)?);
        itself::remove_left_over(&config.data);
        let health = Arc::new(Health::default());
        let store = tokio::task::block_in_place(|| open_vault(&sqlite, &config, &health))?;
        let tasks = Arc::new(Tasks::default());
        let auditor = Arc::new(Auditor::new(Arc::clone(&store)));
        let since = crate::clock::now();
        let identity = Arc::new(Identity::open(Arc::clone(&store), sqlite.epoch())?);
        let api_problem = |status: k8s_apiserver::Status| HubError::Api(status.message.clone());
        let registry = Registry::open(
            Arc::clone(&store),
            NOUNS,
            Arc::new(api::catalog()),
            Arc::new(api::config()),
        )
        .map_err(api_problem)?;
        bootstrap_rbac(&registry).map_err(api_problem)?;
        first_project(&registry).map_err(api_problem)?;

        let metrics = Arc::new(Metrics::new());
        let offline_after_ms = u64::try_from(config.offline_after.as_millis()).unwrap_or(u64::MAX);
        let (index, revision) = Thread::load(&*store, offline_after_ms, identity.epoch)?;
        let log = store.watch("", revision)?;
        let (brain, inputs) = Brain::new();
        let (told, waiting) = Notices::new();
        let following = tokio::spawn(follow(
            log,
            Arc::clone(&store),
            brain.clone(),
            told.clone(),
            tasks.register(FOLLOW),
        ));
        let showing = tokio::spawn(events::run(
            registry.clone(),
            waiting,
            tasks.register(EVENTS),
        ));
        let orders = Arc::new(Orders::default());
        let variants = Arc::new(Variants::new(Arc::clone(&store)));
        let cache = config.data.join("sources");
        let (sources, artifacts) = tokio::task::block_in_place(|| {
            let sources = Sources::open(&cache, Limits::default())?;
            let artifacts = Artifacts::open(cache.join("artifacts"), Limits::default())?;
            Ok((sources, artifacts))
        })
        .map_err(HubError::Sources)?;
        let secrets = registry.clone();
        let reader = Arc::new(Reader::new(sources, artifacts, move |project, name| {
            secret(&secrets, project, name)
        }));
        let seed = tokio::task::block_in_place(|| crate::renders::seed(&*store))?;
        let renders = Renders {
            store: Arc::clone(&store),
            reader: Arc::clone(&reader),
            brain: brain.clone(),
            metrics: Arc::clone(&metrics),
            room: Renders::room(),
            seed,
            task: tasks.register(RENDER),
        };
        let asked = Arc::new(Asked::default());
        let poller = Poller {
            reader: Arc::clone(&reader),
            store: Arc::clone(&store),
            brain: brain.clone(),
            metrics: Arc::clone(&metrics),
            asked: Arc::clone(&asked),
            task: tasks.register(POLL),
            notices: told.clone(),
        };
        let runtime = tokio::runtime::Handle::current();
        let to_poll = Arc::clone(&asked);
        let connections = Connections::default();
        let (forgets, closes) = (Arc::clone(&identity), connections.clone());
        let forgotten = Arc::clone(&auditor);
        let thread = Thread {
            store: Arc::clone(&store),
            inputs,
            orders: Arc::clone(&orders),
            variants: Arc::clone(&variants),
            shown: Shown::start(registry.clone(), tasks.register(SHOW))
                .map_err(HubError::Thread)?,
            hands: Hands {
                render: Box::new(move |job| {
                    let _inside = runtime.enter();
                    renders.start(job);
                }),
                poll: Box::new(move |keys| to_poll.ask(keys)),
                forget: Box::new(move |cluster| {
                    let revoked = forgets.revoke(cluster);
                    match &revoked {
                        Ok(_) => drop(closes.close_cluster(cluster, "this cluster was forgotten")),
                        Err(error) => {
                            tracing::error!(%cluster, %error, "failed to revoke a forgotten cluster's certificate")
                        }
                    }
                    if !matches!(revoked, Ok(None)) {
                        forgotten.keep_now(revocation(cluster, &revoked));
                    }
                }),
            },
            health: Arc::clone(&health),
            notices: told.clone(),
            task: tasks.register(DECIDE),
            metrics: Arc::clone(&metrics),
            offline_after_ms,
            epoch: identity.epoch,
        };
        let thread = std::thread::Builder::new()
            .name("brain".to_owned())
            .spawn(move || {
                let ran =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| thread.run(index)));
                if ran.is_err() {
                    // a hub that decides nothing must not look alive: whoever started it starts it again
                    tracing::error!("the deciding thread ended by a bug; the hub ends with it");
                    std::process::exit(70);
                }
            })
            .map_err(HubError::Thread)?;
        let mut background = vec![following, showing, tokio::spawn(poller.run())];
        background.extend(housekeeping(
            &tasks, &store, &brain, &variants, &health, &identity, &registry, &config,
        ));
        let invitations = Arc::new(Invitations {
            brain: brain.clone(),
            identity: Arc::clone(&identity),
            registry: registry.clone(),
            notices: told.clone(),
            auditor: Arc::clone(&auditor),
        });
        background.push(tasks.every(INVITE, move || Arc::clone(&invitations).keep()));

        let listener =
            TcpListener::bind(config.listen)
                .await
                .map_err(|source| HubError::Listen {
                    address: config.listen,
                    source,
                })?;
        let address = listener.local_addr().map_err(|source| HubError::Listen {
            address: config.listen,
            source,
        })?;
        let server = identity.server(&config.names)?;
        let chain = format!(
            "{}{}",
            server.certificate.certificate_pem,
            identity.ca.certificate_pem()
        );
        let revoked = Arc::clone(&identity);
        let clients = ClientTrust {
            ca_pems: vec![identity.ca.certificate_pem()],
            offline_grace: config.offline_grace,
            is_revoked: Arc::new(move |serial| revoked.is_revoked(serial)),
        };
        let details = Arc::new(Details::default());
        let url = url_of(&config.names, address);
        let itself = Arc::new(Itself {
            identity: Arc::clone(&identity),
            sqlite: Arc::clone(&sqlite),
            metrics: Arc::clone(&metrics),
            orders: Arc::clone(&orders),
            url,
            folder: config.data.clone(),
            sealed: config.seal.is_some(),
            since,
        });
        let api = Api {
            registry: registry.clone(),
            brain: brain.clone(),
            identity: Arc::clone(&identity),
            details: Arc::clone(&details),
            reader,
            seed,
            asked: Arc::clone(&asked),
            connections: connections.clone(),
            tasks,
            auditor: Arc::clone(&auditor),
            itself,
        };
        let handler = Handler {
            server: api::server(api),
            metrics: Arc::clone(&metrics),
            brain: brain.clone(),
            asked,
            webhook_secret: config.webhook_secret.clone().map(Arc::from),
            health: Arc::clone(&health),
            auditor: Arc::clone(&auditor),
        };
        let agents = Agents {
            store: Arc::clone(&store),
            registry,
            identity: Arc::clone(&identity),
            brain: brain.clone(),
            orders,
            variants,
            details,
            metrics,
            ready: crate::gateway::Ready::default(),
            auditor,
            notices: told,
        };
        let tls = Arc::new(ServerTls::new(&chain, &server.key_pem, clients)?);
        let port = Port {
            listener,
            tls: Arc::clone(&tls),
            gateway: Arc::new(agents),
            other: move |request, peer| {
                let handler = handler.clone();
                async move { handler.answer(request, peer).await }
            },
            connections,
            limits: roadstead_wire::Limits {
                beat: config.beat,
                // a fleet that starts at once joins at once; each join is a signature and two commits
                joins: 256,
                ..roadstead_wire::Limits::default()
            },
        };
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let serving = tokio::spawn(roadstead_wire::serve(port, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        tracing::info!(%address, data = %config.data.display(), "hub serves");
        Ok(Self {
            address,
            identity,
            brain,
            names: config.names,
            tls,
            stop,
            serving,
            background,
            health,
            thread: Some(thread),
            store: sqlite,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL by which it is reached.
    pub fn url(&self) -> String {
        url_of(&self.names, self.address)
    }

    /// Makes a kubeconfig for a user.
    pub fn kubeconfig(&self, user: &str, groups: &[String]) -> Result<Kubeconfig, HubError> {
        let pair = self.identity.user(user, groups)?;
        Ok(Kubeconfig {
            server: self.url(),
            ca_pem: self.identity.ca.certificate_pem(),
            certificate_pem: pair.certificate.certificate_pem,
            key_pem: pair.key_pem,
        })
    }

    /// Lets proxies in that ask for others, such as the API server in front of an aggregated one.
    pub fn trust_front_proxies(
        &self,
        proxies: Option<roadstead_wire::FrontProxies>,
    ) -> Result<(), HubError> {
        Ok(self.tls.trust_front_proxies(proxies)?)
    }

    /// Makes the identity of the hub's own agent, which delivers nouns into the hub itself: certificate from a request,
    /// the CA, and the keys that orders are signed with.
    pub fn own_agent(&self, request_pem: &str) -> Result<roadstead_wire::JoinReply, HubError> {
        let cluster = ClusterId("hub".to_owned());
        let issued = self.identity.agent(request_pem, &cluster, false)?;
        Ok(roadstead_wire::JoinReply {
            cluster,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.identity.ca.certificate_pem(),
            keys_json: self.identity.order_keys().set.to_json(),
            epoch: self.identity.epoch,
        })
    }

    /// Waits until only a new start helps, and says why: a store that broke stays closed until it is opened again.
    pub async fn broken(&self) -> String {
        self.health.fatal().await
    }

    /// The store, for backups. Its keys and Secrets are as the disk has them: sealed, if the hub seals.
    pub fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// Ends: lets what is under way end, and closes the store.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = self.serving.await;
        for task in &self.background {
            // they hold the store, which closes when the last who asks it has gone
            task.abort();
        }
        let brain = self.brain.clone();
        let _ = tokio::task::spawn_blocking(move || brain.send(Input::Stop)).await;
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

const FOLLOW: About = About {
    name: "follow-log",
    does: "Brings every commit of the store to what decides, and tells what happened as Events.",
    period: None,
    woken_by: "commits",
};
const DECIDE: About = About {
    name: "decide",
    does: "Looks at the Apps that something changed for, and writes what should happen next.",
    period: None,
    woken_by: "commits, agents' reports, renders, and the time that an App waits for",
};
const RENDER: About = About {
    name: "render",
    does: "Renders a Release for its clusters, two at a time.",
    period: None,
    woken_by: "decide",
};
const POLL: About = About {
    name: "poll-sources",
    does: "Asks each Source whether it has moved.",
    period: None,
    woken_by: "each Source's own interval, webhooks, `sources/poll`, new and changed Sources",
};
const SHOW: About = About {
    name: "write-status",
    does: "Writes Releases, Rollouts and the status of every noun, as people see them.",
    period: None,
    woken_by: "decide",
};
const EVENTS: About = About {
    name: "write-events",
    does: "Writes what happened as Kubernetes Events on the hub's nouns.",
    period: None,
    woken_by: "follow-log, polls and joins",
};

/// Opens the store behind its seal. One that is sealed for the first time is cleaned of what stood there open.
fn open_vault(
    sqlite: &Arc<SqliteStore>,
    config: &HubConfig,
    health: &Arc<Health>,
) -> Result<Arc<dyn Store>, HubError> {
    let inner = Arc::clone(sqlite) as Arc<dyn Store>;
    let (vault, fresh) = Vault::open(inner, config.seal.as_ref(), Arc::clone(health))?;
    if fresh {
        sqlite.compact(sqlite.revision())?;
        sqlite.rewrite().map_err(HubError::Open)?;
    }
    if !vault.is_sealed() {
        tracing::warn!(
            "the hub's keys and Secrets stand open in its store; --seal-key-file seals them"
        );
    }
    Ok(Arc::new(vault))
}

fn url_of(names: &[String], address: SocketAddr) -> String {
    let name = names
        .first()
        .cloned()
        .unwrap_or_else(|| address.ip().to_string());
    format!("https://{name}:{}", address.port())
}

/// What is kept when a cluster that is no more loses its certificate.
fn revocation(
    cluster: &ClusterId,
    revoked: &Result<Option<String>, HubError>,
) -> roadstead_control::Audit {
    use roadstead_control::{Audit, AuditObject, AuditResult};
    let by = roadstead_rollout::By {
        actor: "roadstead".to_owned(),
        at: crate::clock::now(),
        reason: "the cluster was forgotten".to_owned(),
    };
    let object = AuditObject {
        resource: "clusters".to_owned(),
        name: cluster.to_string(),
        ..AuditObject::default()
    };
    let (result, said) = match revoked {
        Ok(Some(serial)) => (
            AuditResult::Done,
            format!("certificate {serial}, and those before it"),
        ),
        Ok(None) => (AuditResult::Done, "it had no certificate".to_owned()),
        Err(error) => (AuditResult::Failed, error.to_string()),
    };
    Audit::new(&by, "revoke", object, result).saying(&said)
}

/// Brings the log to the deciding thread, until the hub ends.
async fn follow(
    mut log: base_store::Watch,
    store: Arc<dyn Store>,
    brain: Brain,
    told: Notices,
    task: Arc<Task>,
) {
    while let Some(item) = log.next().await {
        let run = task.begin();
        let mut said = "up to date".to_owned();
        match &item {
            WatchItem::Compacted(_) => {
                // followed from here before everything is read again, so that nothing falls in between; what is
                // seen twice does no harm
                match store.watch("", store.revision()) {
                    Ok(again) => log = again,
                    Err(error) => {
                        tracing::error!(%error, "failed to follow the log again");
                        run.failed(error.to_string());
                        return;
                    }
                }
            }
            WatchItem::Commit(commit) => {
                said = format!("at revision {}", commit.revision);
                for change in commit.changes.iter() {
                    let (Some(app), None, Some(value)) =
                        (app_of_history(&change.key), &change.old, &change.new)
                    else {
                        continue;
                    };
                    if let Ok(history) = serde_json::from_slice::<History>(value) {
                        notices(&app, &history)
                            .into_iter()
                            .for_each(|n| told.tell(n));
                    }
                }
            }
            WatchItem::Progress(_) => {}
        }
        let brain = brain.clone();
        let sent = tokio::task::spawn_blocking(move || brain.send(Input::Log(item))).await;
        if sent.is_err() {
            return;
        }
        run.done(said);
    }
}

/// Starts the tasks that only have a rhythm.
#[expect(
    clippy::too_many_arguments,
    reason = "each task needs its own part of the hub"
)]
fn housekeeping(
    tasks: &Tasks,
    store: &Arc<dyn Store>,
    brain: &Brain,
    variants: &Arc<Variants>,
    health: &Arc<Health>,
    identity: &Arc<Identity>,
    registry: &Registry,
    config: &HubConfig,
) -> Vec<JoinHandle<()>> {
    let marks = Arc::new(keep::Marks::default());
    let retention = Retention {
        audit_age_ms: u64::try_from(config.audit_keep.as_millis()).unwrap_or(u64::MAX),
        ..Retention::default()
    };
    let of = Arc::clone(store);
    let compacting = tasks.every(keep::COMPACT, move || {
        keep::compact(Arc::clone(&of), Arc::clone(&marks))
    });
    let (of, brain, variants) = (Arc::clone(store), brain.clone(), Arc::clone(variants));
    let sweeping = tasks.every(keep::SWEEP, move || {
        keep::sweep(Arc::clone(&of), brain.clone(), Arc::clone(&variants))
    });
    let of = Arc::clone(store);
    let expiring = tasks.every(keep::HISTORY, move || {
        keep::history(Arc::clone(&of), retention)
    });
    let (of, health) = (Arc::clone(store), Arc::clone(health));
    let probing = tasks.every(keep::PROBE, move || {
        keep::probe(Arc::clone(&of), Arc::clone(&health))
    });
    let registry = registry.clone();
    let events = tasks.every(keep::EVENTS, move || {
        let registry = registry.clone();
        async move {
            let expire = move || events::expire(&registry, crate::clock::now());
            let expired = tokio::task::spawn_blocking(expire).await;
            expired.map_err(|error| error.to_string())?
        }
    });
    let (identity, grace) = (Arc::clone(identity), config.offline_grace);
    let joins = tasks.every(keep::JOINS, move || {
        let identity = Arc::clone(&identity);
        async move {
            let forget = move || identity.forget_ended(crate::clock::now(), grace);
            let (tokens, revoked) = tokio::task::spawn_blocking(forget)
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            Ok(format!(
                "{tokens} tokens and {revoked} revocations forgotten"
            ))
        }
    });
    vec![compacting, sweeping, expiring, probing, events, joins]
}

/// The Project `default`, which may use everything until an admin narrows it.
fn first_project(registry: &Registry) -> Result<(), k8s_apiserver::Status> {
    let def = registry.resource(GROUP, "projects")?;
    if registry.find(&def, "", "default")?.is_some() {
        return Ok(());
    }
    let project = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Project",
        "metadata": { "name": "default" },
        "spec": ProjectSpec::everything(),
    });
    registry.create(&def, "", project, &WriteOptions::manager("roadstead"))?;
    Ok(())
}

/// Reads a Secret of a Project as credentials for a Source.
fn secret(registry: &Registry, project: &str, name: &str) -> Result<Auth, String> {
    let def = registry
        .resource("", "secrets")
        .map_err(|status| status.message.clone())?;
    let found = registry
        .find(&def, project, name)
        .map_err(|status| status.message.clone())?;
    let found =
        found.ok_or_else(|| format!("there is no Secret {name:?} in project {project:?}"))?;
    let mut data = BTreeMap::new();
    for (key, value) in found["data"].as_object().into_iter().flatten() {
        let bytes = value
            .as_str()
            .and_then(|text| BASE64.decode(text).ok())
            .unwrap_or_default();
        data.insert(key.clone(), String::from_utf8(bytes).unwrap_or_default());
    }
    auth_of(&data).map_err(|problem| format!("Secret {name:?} of project {project:?}: {problem}"))
}
