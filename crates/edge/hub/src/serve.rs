//! Starting a hub, and what it serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base_store::{Store, WatchItem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use k8s_apiserver::{Body, Registry, Server, UserInfo, WriteOptions, bootstrap_rbac};
use roadstead_control::NOUNS;
use roadstead_model::{ClusterId, GROUP, ProjectSpec, VERSION};
use roadstead_source::{Auth, Limits, Sources};
use roadstead_store_sqlite::{Options, SqliteStore};
use roadstead_wire::{ClientTrust, Connections, PeerInfo, Port, ServerTls};
use serde_json::json;
use tokio::net::TcpListener;

use crate::HubError;
use crate::api::{self, Api};
use crate::brain::{Brain, Hands, Input, Thread};
use crate::gateway::{Agents, Details};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::renders::Renders;
use crate::shown::Shown;
use crate::sources::{Asked, Poller, Reader, auth_of};
use crate::variants::Variants;

/// How many bytes a request's body may have.
const MOST_BODY: usize = 3 << 20;

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
    serving: tokio::task::JoinHandle<()>,
    polling: tokio::task::JoinHandle<()>,
    keeping: tokio::task::JoinHandle<()>,
    following: tokio::task::JoinHandle<()>,
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
            holder: format!("roadstead hub, process {}", std::process::id()),
            // the log's own follower must never be too slow for a burst
            watch_bytes: 256 << 20,
            ..Options::default()
        };
        let opened = tokio::task::block_in_place(|| SqliteStore::open(&path, options));
        let sqlite = Arc::new(opened.map_err(HubError::Open)?);
        let store: Arc<dyn Store> = Arc::clone(&sqlite) as Arc<dyn Store>;
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
        let (index, revision) = Thread::load(&*store, offline_after_ms)?;
        let mut log = store.watch("", revision)?;
        let (brain, inputs) = Brain::new();
        let (to_brain, followed) = (brain.clone(), Arc::clone(&store));
        let following = tokio::spawn(async move {
            while let Some(item) = log.next().await {
                if matches!(item, WatchItem::Compacted(_)) {
                    // followed from here before everything is read again, so that nothing falls in between; what is
                    // seen twice does no harm
                    match followed.watch("", followed.revision()) {
                        Ok(again) => log = again,
                        Err(error) => {
                            tracing::error!(%error, "failed to follow the log again");
                            return;
                        }
                    }
                }
                let brain = to_brain.clone();
                if tokio::task::spawn_blocking(move || brain.send(Input::Log(item)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        let orders = Arc::new(Orders::default());
        let variants = Arc::new(Variants::new(Arc::clone(&store)));
        let cache = config.data.join("sources");
        let sources = tokio::task::block_in_place(|| Sources::open(cache, Limits::default()))
            .map_err(HubError::Sources)?;
        let secrets = registry.clone();
        let reader = Arc::new(Reader::new(sources, move |project, name| {
            secret(&secrets, project, name)
        }));
        let renders = Renders {
            store: Arc::clone(&store),
            reader: Arc::clone(&reader),
            brain: brain.clone(),
            metrics: Arc::clone(&metrics),
            room: Renders::room(),
        };
        let asked = Arc::new(Asked::default());
        let poller = Poller {
            reader: Arc::clone(&reader),
            store: Arc::clone(&store),
            brain: brain.clone(),
            metrics: Arc::clone(&metrics),
            asked: Arc::clone(&asked),
        };
        let runtime = tokio::runtime::Handle::current();
        let to_poll = Arc::clone(&asked);
        let connections = Connections::default();
        let (forgets, closes) = (Arc::clone(&identity), connections.clone());
        let thread = Thread {
            store: Arc::clone(&store),
            inputs,
            orders: Arc::clone(&orders),
            variants: Arc::clone(&variants),
            shown: Shown::start(registry.clone()).map_err(HubError::Thread)?,
            hands: Hands {
                render: Box::new(move |job| {
                    let _inside = runtime.enter();
                    renders.start(job);
                }),
                poll: Box::new(move |keys| to_poll.ask(keys)),
                forget: Box::new(move |cluster| match forgets.revoke(cluster) {
                    Ok(_) => drop(closes.close_cluster(cluster, "this cluster was forgotten")),
                    Err(error) => {
                        tracing::error!(%cluster, %error, "failed to revoke a forgotten cluster's certificate")
                    }
                }),
            },
            metrics: Arc::clone(&metrics),
            offline_after_ms,
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
        let polling = tokio::spawn(poller.run());
        let keeping = tokio::spawn(crate::housekeeping::run(
            Arc::clone(&store),
            brain.clone(),
            Arc::clone(&variants),
        ));

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
        let api = Api {
            registry: registry.clone(),
            brain: brain.clone(),
            identity: Arc::clone(&identity),
            details: Arc::clone(&details),
            reader,
            asked: Arc::clone(&asked),
            connections: connections.clone(),
        };
        let handler = Handler {
            server: api::server(api),
            metrics: Arc::clone(&metrics),
            brain: brain.clone(),
            asked,
            webhook_secret: config.webhook_secret.clone().map(Arc::from),
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
            polling,
            keeping,
            following,
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
        let name = self
            .names
            .first()
            .cloned()
            .unwrap_or_else(|| self.address.ip().to_string());
        format!("https://{name}:{}", self.address.port())
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
            keys_json: self.identity.keys.to_json(),
            epoch: self.identity.epoch,
        })
    }

    /// The store, for backups.
    pub fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// Ends: lets what is under way end, and closes the store.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = self.serving.await;
        self.polling.abort();
        self.keeping.abort();
        // it holds the store, which closes when the last who asks it has gone
        self.following.abort();
        let brain = self.brain.clone();
        let _ = tokio::task::spawn_blocking(move || brain.send(Input::Stop)).await;
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
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

/// Serves everything that is no agent's.
#[derive(Clone)]
struct Handler {
    server: Server,
    metrics: Arc<Metrics>,
    brain: Brain,
    asked: Arc<Asked>,
    webhook_secret: Option<Arc<str>>,
}

fn plain(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn refused(status: &k8s_apiserver::Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = serde_json::to_vec(&status.to_value()).unwrap_or_default();
    let mut response = plain(code, bytes);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>, peer: PeerInfo) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, MOST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return plain(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("a request may have {MOST_BODY} bytes\n"),
                );
            }
        };
        match parts.uri.path() {
            "/metrics" => {
                return match api::user_of(&peer, &parts.headers) {
                    Ok(user) if user.name != UserInfo::anonymous().name => {
                        plain(StatusCode::OK, self.metrics.text())
                    }
                    _ => plain(
                        StatusCode::UNAUTHORIZED,
                        "metrics need a client certificate\n",
                    ),
                };
            }
            "/webhook" if parts.method == http::Method::POST => {
                return self.webhook(&parts.headers, &body).await;
            }
            _ => {}
        }
        match api::user_of(&peer, &parts.headers) {
            Ok(user) => {
                let server = self.server.clone();
                server.handle(Request::from_parts(parts, body), &user).await
            }
            Err(status) => refused(&status),
        }
    }

    /// A webhook only ever means: poll now.
    async fn webhook(&self, headers: &http::HeaderMap, body: &Bytes) -> Response<Body> {
        use roadstead_source::{normalise_url, webhook};
        let Some(secret) = &self.webhook_secret else {
            return plain(
                StatusCode::NOT_FOUND,
                "webhooks are off: the hub was started without a webhook secret\n",
            );
        };
        let Some(kind) = webhook::Kind::of(headers) else {
            return plain(
                StatusCode::BAD_REQUEST,
                "no header says which forge this comes from\n",
            );
        };
        if webhook::verify(kind, headers, body, secret.as_bytes()).is_err() {
            return plain(
                StatusCode::UNAUTHORIZED,
                "the signature is not made with the hub's webhook secret\n",
            );
        }
        let urls: Vec<String> = webhook::repo_urls(body)
            .iter()
            .map(|url| normalise_url(url))
            .collect();
        let asked = self
            .brain
            .ask(move |index, _| {
                let named = index
                    .sources()
                    .filter(|(_, source)| urls.contains(&normalise_url(&source.spec.git.url)));
                named.map(|(key, _)| key.clone()).collect::<Vec<_>>()
            })
            .await
            .unwrap_or_default();
        let text = format!("{} Sources are polled now\n", asked.len());
        self.asked.ask(asked);
        plain(StatusCode::OK, text)
    }
}
