//! The hub's one port: agents by gRPC, everything else to a handler of the caller's.

mod connections;
mod patience;
mod rpc;
mod seats;
mod turns;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;

use connections::CloseSignal;
pub use connections::Connections;
use patience::Patient;
pub use patience::{BodyError, read_body};
use turns::{Gathered, Starter, Turns};

use crate::blob::{BlobSender, Want};
use crate::identity::{AgentIdentity, Peer, PeerInfo};
use crate::message::{
    AgentSays, Answer, Hello, HubSays, JoinReply, JoinRequest, MessageError, RenewReply, Welcome,
};
use crate::proto as pb;
use crate::tls::{ServerTls, now};

/// What the hub does for its agents.
///
/// Every call has been authenticated: but for `join`, the agent is who its certificate says, which was signed by the
/// CA, is not revoked, and (but for `renew`) has not ended.
#[tonic::async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Makes a cluster, or gives an existing one a new agent. The token has not been checked.
    async fn join(&self, request: JoinRequest, remote: SocketAddr) -> Result<JoinReply, Refusal>;

    /// Makes a new certificate for the request. If the old one has ended, the request is for the same key.
    async fn renew(&self, agent: &AgentIdentity, request_pem: &str) -> Result<RenewReply, Refusal>;

    /// Holds a session to its end. Its first deed is [`Session::welcome`]. When it returns, the session ends. When the
    /// connection goes, or is closed, [`Inbound::next`] fails; five seconds later the call is dropped where it stands.
    async fn session(&self, session: Session) -> Result<(), Refusal>;

    /// Sends the contents that the agent may have, and a refusal for each of the others.
    async fn fetch(
        &self,
        agent: &AgentIdentity,
        wants: Vec<Want>,
        out: BlobSender,
    ) -> Result<(), Refusal>;

    /// Takes the answer to a request for detail.
    async fn answer(&self, agent: &AgentIdentity, answer: Answer) -> Result<(), Refusal>;
}

/// Why the hub does not do what an agent asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal it is.
    pub kind: RefusalKind,
    /// The sentence, for whoever reads the agent's log.
    pub message: String,
}

/// Kinds of refusal; an agent decides by them whether another try can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// It is not known who asks: no certificate, or a bad token.
    Unauthenticated,
    /// It may not.
    Denied,
    /// There is no such thing.
    NotFound,
    /// The name is taken.
    Taken,
    /// What it sent is wrong.
    Invalid,
    /// The two sides speak no common version.
    Version,
    /// Too much at once; try later.
    Busy,
    /// The hub cannot now; try later.
    Unavailable,
    /// Something broke in the hub.
    Internal,
}

impl Refusal {
    /// Makes one.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

const KINDS: &[(RefusalKind, tonic::Code)] = &[
    (RefusalKind::Unauthenticated, tonic::Code::Unauthenticated),
    (RefusalKind::Denied, tonic::Code::PermissionDenied),
    (RefusalKind::NotFound, tonic::Code::NotFound),
    (RefusalKind::Taken, tonic::Code::AlreadyExists),
    (RefusalKind::Invalid, tonic::Code::InvalidArgument),
    (RefusalKind::Version, tonic::Code::FailedPrecondition),
    (RefusalKind::Busy, tonic::Code::ResourceExhausted),
    (RefusalKind::Unavailable, tonic::Code::Unavailable),
    (RefusalKind::Internal, tonic::Code::Internal),
];

impl RefusalKind {
    fn code(self) -> tonic::Code {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or(tonic::Code::Internal, |(_, code)| *code)
    }

    pub(crate) fn of(code: tonic::Code) -> Self {
        KINDS
            .iter()
            .find(|(_, known)| *known == code)
            .map_or(Self::Internal, |(kind, _)| *kind)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind.code(), refusal.message)
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        Self::new(RefusalKind::Invalid, error.to_string())
    }
}

/// One agent's session, as the hub holds it.
#[derive(Debug)]
pub struct Session {
    /// The agent.
    pub agent: AgentIdentity,
    /// Its address.
    pub remote: SocketAddr,
    /// What it said first.
    pub hello: Hello,
    /// The protocol's version: the newest that both sides speak.
    pub version: u32,
    /// What it says.
    pub inbound: Inbound,
    /// What it is told.
    pub outbound: Outbound,
}

impl Session {
    /// Answers the hello.
    pub async fn welcome(&self, hub_id: &str, epoch: u64) -> Result<(), Refusal> {
        let welcome = Welcome {
            version: self.version,
            beat_interval: self.inbound.beat,
            hub_id: hub_id.to_owned(),
            epoch,
        };
        self.outbound.send(&HubSays::Welcome(welcome)).await
    }
}

/// What an agent says in its session.
#[derive(Debug)]
pub struct Inbound {
    stream: tonic::Streaming<pb::AgentMessage>,
    beat: Duration,
    closed: CloseSignal,
    heard: watch::Sender<u64>,
}

impl Inbound {
    /// The next message; `None` when the agent has ended the session. An agent that is silent for three beats, or
    /// speaks garbage, is refused. It may be dropped while it waits, and called again: no message is lost.
    pub async fn next(&mut self) -> Result<Option<AgentSays>, Refusal> {
        let silence = self.beat * 3;
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(silence, self.stream.message()) => message,
                refusal = self.closed.wait() => return Err(refusal),
            };
            let message = message
                .map_err(|_| {
                    let text = format!("agent was silent for {} s", silence.as_secs_f32());
                    Refusal::new(RefusalKind::Unavailable, text)
                })?
                .map_err(|status| Refusal::new(RefusalKind::of(status.code()), status.message()))?;
            let Some(message) = message else {
                return Ok(None);
            };
            self.heard.send_modify(|count| *count += 1);
            match AgentSays::decode(message)? {
                Some(AgentSays::Hello(_)) => {
                    let text = "hello came a second time in one session";
                    return Err(Refusal::new(RefusalKind::Invalid, text));
                }
                Some(says) => return Ok(Some(says)),
                None => {}
            }
        }
    }
}

/// What an agent is told in its session: a short queue, since what is to be told is a level (its root) and no log.
#[derive(Debug, Clone)]
pub struct Outbound(mpsc::Sender<Result<pb::HubMessage, Status>>);

impl Outbound {
    /// Says something, and waits while the queue is full.
    pub async fn send(&self, says: &HubSays) -> Result<(), Refusal> {
        let message = says.encode()?;
        self.0
            .send(Ok(message))
            .await
            .map_err(|_| Refusal::new(RefusalKind::Unavailable, "agent has gone"))
    }

    /// Says something if the queue has room and the agent is there; returns whether it did.
    pub fn try_send(&self, says: &HubSays) -> Result<bool, MessageError> {
        Ok(self.0.try_send(Ok(says.encode()?)).is_ok())
    }
}

/// How much the port takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at a time; further ones wait in the kernel.
    pub connections: usize,
    /// The most connections at a time without a client certificate; further ones are closed.
    pub strangers: usize,
    /// The most handshakes at a time.
    pub handshakes: usize,
    /// How long a handshake may take; and how long it may take after it until the head of the first request is there.
    pub handshake_timeout: Duration,
    /// How long what is to be sent may wait for a reader that reads nothing.
    pub stalled_timeout: Duration,
    /// The most joins at a time; a further one is told to try again.
    pub joins: usize,
    /// How often an idle agent says that it is there.
    pub beat: Duration,
    /// How long requests may take to end when the port closes.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            strangers: 2_000,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(10),
            stalled_timeout: Duration::from_secs(30),
            joins: 32,
            beat: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// The port, set up.
#[derive(Debug)]
pub struct Port<G, H> {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its TLS.
    pub tls: Arc<ServerTls>,
    /// What serves the agents.
    pub gateway: Arc<G>,
    /// What serves every other request: `Fn(Request<Incoming>, PeerInfo) -> Future<Output = Response<B>>`.
    pub other: H,
    /// The live connections, for whoever has to end one.
    pub connections: Connections,
    /// How much it takes on.
    pub limits: Limits,
}

/// What each connection shares.
struct Shared<G, H> {
    tls: Arc<ServerTls>,
    agents: rpc::Service<G>,
    /// The same for whoever has no certificate yet: all that they may send is small.
    newcomers: rpc::Service<G>,
    other: H,
    connections: Connections,
    limits: Limits,
    handshakes: Semaphore,
    strangers: Semaphore,
}

/// The most gRPC calls of one connection at a time whose messages are being read.
const CALLS: usize = 8;
/// The most sessions of one connection at a time: one that ends, and the next.
const SESSIONS: usize = 2;

/// What every request knows of its connection.
#[derive(Clone)]
struct Link {
    info: PeerInfo,
    closed: CloseSignal,
    calls: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

/// Serves the port until `shutdown` is done, then lets what is under way end.
///
/// Requests of content type `application/grpc` go to the gateway, and everything else, HTTP/2 or HTTP/1.1, to the
/// handler. An agent whose certificate has ended reaches nothing but `renew`.
pub async fn serve<G, H, F, B>(port: Port<G, H>, shutdown: impl Future<Output = ()> + Send)
where
    G: Gateway,
    H: Fn(Request<Incoming>, PeerInfo) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Port {
        listener,
        tls,
        gateway,
        other,
        connections,
        limits,
    } = port;
    let (agents, newcomers) = rpc::services(gateway, limits, connections.clone(), tls.clone());
    let shared = Arc::new(Shared {
        tls,
        agents,
        newcomers,
        other,
        connections,
        limits,
        handshakes: Semaphore::new(limits.handshakes),
        strangers: Semaphore::new(limits.strangers),
    });
    let room = Arc::new(Semaphore::new(limits.connections));
    let (drain, draining) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (shared, draining) = (shared.clone(), draining.clone());
                tokio::spawn(async move {
                    connection(&shared, stream, remote, draining).await;
                    drop(place);
                });
            }
            Err(error) => {
                // out of file descriptors, or a connection that ended before it was taken: neither ends the port
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let _ = drain.send(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let drained = tokio::time::timeout(
        limits.drain + Duration::from_secs(1),
        room.acquire_many(all),
    );
    if drained.await.is_err() {
        tracing::warn!("connections were cut off: they did not end in time");
    }
}

async fn connection<G, H, F, B>(
    shared: &Arc<Shared<G, H>>,
    stream: TcpStream,
    remote: SocketAddr,
    mut draining: watch::Receiver<bool>,
) where
    G: Gateway,
    H: Fn(Request<Incoming>, PeerInfo) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = match handshake(shared, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%remote, %error, "TLS handshake failed");
            return;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let info = match shared.tls.peer(certificates) {
        Ok(peer) => PeerInfo { peer, remote },
        Err(error) => {
            tracing::warn!(%remote, %error, "a connection is refused");
            return;
        }
    };
    let _place = match info.peer {
        Peer::Anonymous => match shared.strangers.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => {
                tracing::warn!(%remote, limit = shared.limits.strangers, "too many connections without a certificate");
                return;
            }
        },
        Peer::Agent(_) | Peer::User(_) | Peer::FrontProxy(_) => None,
    };
    // registered before revocation is looked at once more: one that came after the handshake's look is either seen
    // here, or finds the connection registered
    let registered = shared.connections.register(&info);
    let serial = match &info.peer {
        Peer::Anonymous | Peer::FrontProxy(_) => None,
        Peer::Agent(agent) => Some(&agent.serial),
        Peer::User(user) => Some(&user.serial),
    };
    if serial.is_some_and(|serial| shared.tls.is_revoked(serial)) {
        return;
    }
    let mut closed = registered.signal();
    let link = Link {
        info,
        closed: closed.clone(),
        calls: Arc::new(Semaphore::new(CALLS)),
        sessions: Arc::new(Semaphore::new(SESSIONS)),
    };
    let begun = AtomicBool::new(false);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        begun.store(true, Ordering::Relaxed);
        let http2 = request.version() == Version::HTTP_2;
        let (shared, link) = (shared.clone(), link.clone());
        async move {
            let answer = async move { route(&shared, link, request).await };
            if !http2 {
                return Ok(answer.await);
            }
            // the connection's task has its streams to serve: what a request asks for is worked out beside it
            AbortOnDropHandle::new(tokio::spawn(answer)).await
        }
    });
    let starter = Starter::default();
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = Gathered::new(stream, http2);
    let mut turns = Turns::new(starter.clone(), stream.clone());
    let mut builder = auto::Builder::new(starter);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(15));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(128 << 10)
        .initial_connection_window_size(512 << 10)
        .max_send_buf_size(64 << 10)
        // a beat comes more often than this, so only who has vanished, or watches in silence, is ever asked
        .keep_alive_interval(shared.limits.beat * 3)
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    // whoever opens a connection and says nothing on it, or not even which version it speaks, has no timer elsewhere
    let silent = async {
        tokio::time::sleep(shared.limits.handshake_timeout).await;
        if begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let patience = tokio::select! {
        ended = poll_fn(|cx| turns.poll(&mut serving, cx)) => {
            let error = match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(error) => error.into(),
            };
            tracing::debug!(%remote, %error, "connection ended");
            return;
        }
        () = silent => {
            tracing::debug!(%remote, "connection ended: no request came");
            return;
        }
        _ = closed.wait() => Duration::from_secs(1),
        _ = draining.wait_for(|draining| *draining) => shared.limits.drain,
    };
    registered.close(&Refusal::new(
        RefusalKind::Unavailable,
        "the hub closes its port",
    ));
    serving.as_mut().graceful_shutdown();
    let last = poll_fn(|cx| turns.poll(&mut serving, cx));
    let _ = tokio::time::timeout(patience, last).await;
}

async fn handshake<G, H>(
    shared: &Shared<G, H>,
    stream: TcpStream,
) -> io::Result<TlsStream<Patient<TcpStream>>> {
    let place = shared.handshakes.acquire().await;
    let _ = stream.set_nodelay(true);
    let acceptor = tokio_rustls::TlsAcceptor::from(shared.tls.config());
    let stream = Patient::new(stream, shared.limits.stalled_timeout);
    let accept = acceptor.accept(stream).into_fallible();
    let (error, mut stream) =
        match tokio::time::timeout(shared.limits.handshake_timeout, accept).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => failed,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
    drop(place);
    // what the client has sent on is read away, or closing would reset the connection and the alert that says why
    // would be lost on its way
    let _ = stream.shutdown().await;
    let linger = async {
        let mut sink = [0; 1024];
        let mut left = 64;
        while left > 0 && stream.read(&mut sink).await.is_ok_and(|count| count > 0) {
            left -= 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), linger).await;
    Err(error)
}

async fn route<G, H, F, B>(
    shared: &Shared<G, H>,
    link: Link,
    mut request: Request<Incoming>,
) -> Response<Body>
where
    G: Gateway,
    H: Fn(Request<Incoming>, PeerInfo) -> F,
    F: Future<Output = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        let mut agents = match link.info.peer {
            Peer::Agent(_) => shared.agents.clone(),
            Peer::Anonymous | Peer::User(_) | Peer::FrontProxy(_) => shared.newcomers.clone(),
        };
        let calls = link.calls.clone();
        let _place = calls.acquire().await;
        request.extensions_mut().insert(link);
        return match agents.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }
    if let Some(agent) = link.info.agent()
        && agent.not_after < now()
    {
        let text = format!(
            "certificate of cluster {} ended at {}; it may only be renewed\n",
            agent.cluster,
            agent.not_after.seconds()
        );
        let mut response = Response::new(Body::new(text));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    }
    (shared.other)(request, link.info).await.map(Body::new)
}
