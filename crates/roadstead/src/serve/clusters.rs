//! Simulated clusters behind one TLS port: `/clusters/NAME/…` is a cluster's API server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_apiserver::{Body, Clock, Status, Timer, UserInfo};
use k8s_playground::{Config, Fault, Handle, Playground};
use roadstead_hub::Kubeconfig;
use roadstead_wire::pki::{Ca, Validity};
use roadstead_wire::{
    AgentIdentity, Answer, BlobSender, BodyError, ClientTrust, Connections, Gateway, JoinReply,
    JoinRequest, Limits, Peer, PeerInfo, Port, Refusal, RefusalKind, RenewReply, ServerTls,
    Session, Want,
};
use serde_json::json;
use tokio::net::TcpListener;

use super::hub::{ended, write_private};
use crate::shell::Outcome;

const DAY: Duration = Duration::from_secs(86_400);
/// How large a request's body may be, and how long it may take, as Kubernetes has it.
const MOST_BODY: usize = 3 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves simulated clusters.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Args {
    /// How many clusters
    #[arg(long, default_value_t = 3)]
    pub(crate) clusters: usize,
    /// What their names begin with
    #[arg(long, default_value = "cluster")]
    pub(crate) prefix: String,
    /// Where the port listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where a kubeconfig for each cluster is written, and one for the playground itself
    #[arg(long, default_value = "playground")]
    pub(crate) kubeconfigs: PathBuf,
    /// Everything random comes from this number
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// The names of the clusters.
pub(crate) fn names(prefix: &str, clusters: usize) -> Vec<String> {
    let width = clusters.to_string().len().max(2);
    (1..=clusters)
        .map(|number| format!("{prefix}-{number:0width$}"))
        .collect()
}

/// Runs until it is ended.
pub(crate) async fn run(args: Args) -> Outcome {
    let served = start(&args).await?;
    tracing::info!(address = %served, clusters = args.clusters, "simulated clusters are up");
    ended().await;
    Ok(ExitCode::SUCCESS)
}

/// Starts to serve; returns the address.
pub(crate) async fn start(args: &Args) -> anyhow::Result<SocketAddr> {
    let clock: Arc<dyn Clock> = Arc::new(jiff::Timestamp::now);
    let timer: Arc<dyn Timer> = Arc::new(|duration: Duration| -> k8s_apiserver::Sleep {
        Box::pin(tokio::time::sleep(duration))
    });
    let config = Config {
        seed: args.seed,
        ..Config::default()
    };
    let playground =
        Playground::new(config, clock, timer).context("failed to make the playground")?;
    for name in names(&args.prefix, args.clusters) {
        playground
            .add_cluster(&name)
            .with_context(|| format!("failed to make cluster {name}"))?;
    }
    tokio::spawn(drive(playground.clone()));

    let now = roadstead_model::Time(jiff::Timestamp::now().as_millisecond());
    let ca = Ca::generate("Roadstead playground", Validity::starting(now, 365 * DAY))?;
    let server = ca.server(
        &["127.0.0.1".to_owned(), "localhost".to_owned()],
        Validity::starting(now, 365 * DAY),
    )?;
    let admin = ca.user(
        "admin",
        &["system:masters".to_owned()],
        Validity::starting(now, 365 * DAY),
    )?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let kubeconfig = |path: &str| Kubeconfig {
        server: format!("https://{address}{path}"),
        ca_pem: ca.certificate_pem(),
        certificate_pem: admin.certificate.certificate_pem.clone(),
        key_pem: admin.key_pem.clone(),
    };
    for name in playground.names() {
        let file = args.kubeconfigs.join(format!("{name}.yaml"));
        write_private(
            &file,
            kubeconfig(&format!("/clusters/{name}"))
                .to_yaml(&name)
                .as_bytes(),
        )?;
    }
    let chain = format!(
        "{}{}",
        server.certificate.certificate_pem,
        ca.certificate_pem()
    );
    let clients = ClientTrust {
        ca_pems: vec![ca.certificate_pem()],
        offline_grace: DAY,
        is_revoked: Arc::new(|_| false),
    };
    let port = Port {
        listener,
        tls: Arc::new(ServerTls::new(&chain, &server.key_pem, clients)?),
        gateway: Arc::new(NoAgents),
        other: move |request, peer| {
            let playground = playground.clone();
            async move { answer(&playground, request, &peer).await }
        },
        connections: Connections::default(),
        limits: Limits::default(),
    };
    // the last file that is written says that everything is there
    write_private(
        &args.kubeconfigs.join("playground.yaml"),
        kubeconfig("").to_yaml("playground").as_bytes(),
    )?;
    tokio::spawn(roadstead_wire::serve(port, std::future::pending()));
    Ok(address)
}

/// Does what is due in the clusters, when it is due.
async fn drive(playground: Playground) {
    loop {
        let runs = playground.clone();
        let _ = tokio::task::spawn_blocking(move || runs.run_due(jiff::Timestamp::now())).await;
        let wait = match playground.next_due() {
            Some(at) => Duration::try_from(at.duration_since(jiff::Timestamp::now()))
                .unwrap_or(Duration::ZERO),
            None => Duration::from_secs(60),
        };
        let news = std::future::poll_fn(|cx| playground.poll_news(cx));
        let _ = tokio::time::timeout(wait, news).await;
    }
}

fn plain(code: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

async fn answer(
    playground: &Playground,
    request: Request<Incoming>,
    peer: &PeerInfo,
) -> Response<Body> {
    let user = match &peer.peer {
        Peer::User(user) => {
            let mut groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
            groups.push("system:authenticated");
            UserInfo::new(&user.name, &groups)
        }
        _ => UserInfo::anonymous(),
    };
    let (mut parts, body) = request.into_parts();
    let body = match roadstead_wire::read_body(body, MOST_BODY, BODY_TIMEOUT).await {
        Ok(body) => body,
        Err(error) => {
            let status = match &error {
                BodyError::TooLarge(most) => Status::too_large(*most),
                BodyError::TooSlow(_) => Status::new(504, "Timeout", error.to_string()),
                BodyError::Broken(_) => Status::bad_request(error.to_string()),
            };
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::BAD_REQUEST);
            return plain(code, status.to_value().to_string());
        }
    };
    let path = parts.uri.path().to_owned();
    let Some(rest) = path.strip_prefix("/clusters/") else {
        return plain(
            StatusCode::NOT_FOUND,
            "{\"message\":\"clusters are at /clusters/NAME\"}\n",
        );
    };
    let (name, inner) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(cluster) = playground.cluster(name) else {
        return plain(
            StatusCode::NOT_FOUND,
            format!("{{\"message\":\"there is no cluster {name:?}\"}}\n"),
        );
    };
    if let Some(verb) = inner.strip_prefix("playground/") {
        if !user.in_group("system:masters") {
            return plain(
                StatusCode::FORBIDDEN,
                "{\"message\":\"only an administrator plays with clusters\"}\n",
            );
        }
        return play(&cluster, verb, &body);
    }
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    parts.uri = match format!("/{inner}{query}").parse() {
        Ok(uri) => uri,
        Err(_) => return plain(StatusCode::BAD_REQUEST, "{\"message\":\"not a path\"}\n"),
    };
    cluster
        .handle(Request::from_parts(parts, body), &user)
        .await
}

fn play(cluster: &Handle, verb: &str, body: &[u8]) -> Response<Body> {
    match verb {
        "fault" => match serde_json::from_slice::<Fault>(body) {
            Ok(fault) => {
                cluster.set_fault(fault);
                plain(StatusCode::OK, "{}\n")
            }
            Err(error) => plain(
                StatusCode::BAD_REQUEST,
                json!({ "message": error.to_string() }).to_string(),
            ),
        },
        "counters" => {
            let counters = cluster.counters();
            let tally = |tally: &k8s_playground::Tally| json!({ "requests": tally.requests, "changes": tally.changes });
            let map = |map: &BTreeMap<String, k8s_playground::Tally>| {
                map.iter()
                    .map(|(key, value)| (key.clone(), tally(value)))
                    .collect::<serde_json::Map<_, _>>()
            };
            let writes: serde_json::Map<_, _> = counters
                .writes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), tally(value)))
                .collect();
            plain(StatusCode::OK, json!({ "reads": counters.reads, "writes": writes, "objects": map(&counters.objects) }).to_string())
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "{\"message\":\"there are `fault` and `counters`\"}\n",
        ),
    }
}

/// A playground's port serves no agents of a hub.
struct NoAgents;

fn refused() -> Refusal {
    Refusal::new(
        RefusalKind::NotFound,
        "this is a playground's port, not a hub's",
    )
}

#[roadstead_wire::async_trait]
impl Gateway for NoAgents {
    async fn join(&self, _: JoinRequest, _: SocketAddr) -> Result<JoinReply, Refusal> {
        Err(refused())
    }

    async fn renew(&self, _: &AgentIdentity, _: &str) -> Result<RenewReply, Refusal> {
        Err(refused())
    }

    async fn session(&self, _: Session) -> Result<(), Refusal> {
        Err(refused())
    }

    async fn fetch(&self, _: &AgentIdentity, _: Vec<Want>, _: BlobSender) -> Result<(), Refusal> {
        Err(refused())
    }

    async fn answer(&self, _: &AgentIdentity, _: Answer) -> Result<(), Refusal> {
        Err(refused())
    }
}

/// The kubeconfig of a cluster.
pub(crate) fn kubeconfig_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.yaml"))
}
