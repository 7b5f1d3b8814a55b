//! The agent's side of the wire.

mod connect;
mod error;
mod proxy;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base_json::Digest;
use bytes::Bytes;
use http::Uri;
use hyper::client::conn::http2::SendRequest;
use roadstead_model::ClusterId;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};

pub use error::WireError;
pub use proxy::ProxySettings;

use crate::blob::{Assembler, Fetched, Want};
use crate::message::{
    AgentSays, Answer, Hello, HubSays, JoinReply, JoinRequest, MAX_MESSAGE, MessageError,
    RenewReply, Welcome,
};
use crate::proto as pb;
use crate::server::RefusalKind;
use connect::Fate;

/// How long the hub may take to welcome an agent.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call that is one question and one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may come of contents that are on their way.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// The size of a piece of an answer.
const PIECE: usize = 64 << 10;

/// How an agent knows its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubTrust {
    /// By the hub's CA, in PEM; there may be several.
    Ca(String),
    /// By the hash of the CA's certificate alone, as on first contact with a join token.
    Pin(Digest),
}

/// How a hub knows its agent.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// The private key, in PKCS#8 PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// Where the hub is, and how to get there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL: `https://host[:port]`.
    pub hub_url: String,
    /// How the hub is known.
    pub trust: HubTrust,
    /// Who we are; none to join.
    pub identity: Option<ClientIdentity>,
    /// The way out.
    pub proxy: ProxySettings,
    /// Further CAs, in PEM, that the hub's certificate may be signed by.
    pub extra_ca_pems: Vec<String>,
    /// How long connecting may take, all in all.
    pub connect_timeout: Duration,
}

impl Endpoint {
    /// An endpoint for a direct connection.
    pub fn new(hub_url: &str, trust: HubTrust, identity: Option<ClientIdentity>) -> Self {
        Self {
            hub_url: hub_url.to_owned(),
            trust,
            identity,
            proxy: ProxySettings::default(),
            extra_ca_pems: Vec::new(),
            connect_timeout: Duration::from_secs(15),
        }
    }
}

/// One connection to the hub. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct AgentClient {
    rpc: pb::agent_client::AgentClient<Http2>,
    fate: Fate,
    pin: Option<Digest>,
    ca_pem: Option<String>,
}

impl std::fmt::Debug for AgentClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentClient")
    }
}

/// The connection as the generated client wants it.
#[derive(Clone)]
struct Http2(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Http2 {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // HTTP/2 takes any number of requests; on a connection that is gone the call itself fails, with its cause
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl AgentClient {
    /// Connects, and waits until each side has accepted the other's certificate.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, WireError> {
        let connected = connect::connect(endpoint).await?;
        let origin: Uri = connected.origin;
        let rpc = pb::agent_client::AgentClient::with_origin(Http2(connected.sender), origin)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(Self {
            rpc,
            fate: connected.fate,
            pin: match &endpoint.trust {
                HubTrust::Ca(_) => None,
                HubTrust::Pin(hash) => Some(*hash),
            },
            ca_pem: connected.ca_pem,
        })
    }

    /// The hub's CA in PEM, if it was found by its hash.
    pub fn found_ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// How many bytes the hub has sent over this connection, inside TLS: HTTP/2's own are counted.
    pub fn received_bytes(&self) -> u64 {
        self.fate.received()
    }

    /// Is the connection known to be gone?
    pub fn is_gone(&self) -> bool {
        self.fate.is_gone()
    }

    fn error(&self, status: Status) -> WireError {
        explain(&self.fate, &status)
    }

    /// Joins with a token.
    pub async fn join(&mut self, request: &JoinRequest) -> Result<JoinReply, WireError> {
        let call = self.rpc.join(request.encode());
        let reply = within("joining", CALL_TIMEOUT, call).await?;
        let reply = reply.map_err(|status| self.error(status))?.into_inner();
        if let Some(pin) = self.pin {
            connect::check_pin(pin, &reply.ca_pem)?;
        }
        Ok(JoinReply {
            cluster: ClusterId(reply.cluster_id),
            certificate_pem: reply.certificate_pem,
            ca_pem: reply.ca_pem,
            keys_json: reply.keys_json.into(),
            epoch: reply.epoch,
        })
    }

    /// Gets a new certificate; the request is for the same key if the old one has ended.
    pub async fn renew(&mut self, request_pem: &str) -> Result<RenewReply, WireError> {
        let call = self.rpc.renew(pb::RenewRequest {
            csr_pem: request_pem.to_owned(),
        });
        let reply = within("renewing the certificate", CALL_TIMEOUT, call).await?;
        let reply = reply.map_err(|status| self.error(status))?.into_inner();
        Ok(RenewReply {
            certificate_pem: reply.certificate_pem,
            ca_pem: reply.ca_pem,
            keys_json: reply.keys_json.into(),
        })
    }

    /// Opens a session: says hello, and hears the welcome. Beats are sent by themselves while nothing else is said.
    pub async fn session(&mut self, hello: Hello) -> Result<AgentSession, WireError> {
        let (sender, queue) = mpsc::channel(8);
        let first = AgentSays::Hello(hello).encode()?;
        let outgoing = beating(first, queue);
        let opening = self.rpc.session(outgoing);
        let opened = within("opening a session", WELCOME_TIMEOUT, opening).await?;
        let stream = opened.map_err(|status| self.error(status))?.into_inner();
        let mut inbound = FromHub {
            stream,
            fate: self.fate.clone(),
            beats: sender.downgrade(),
        };
        let heard = within("the hub's welcome", WELCOME_TIMEOUT, inbound.next()).await??;
        let welcome = match heard {
            Some(HubSays::Welcome(welcome)) => welcome,
            Some(HubSays::Ended { reason }) => return Err(WireError::Ended { reason }),
            Some(_) => {
                return Err(WireError::Protocol(
                    "its first message is no welcome".to_owned(),
                ));
            }
            None => {
                return Err(WireError::Protocol(
                    "it ended the session before its welcome".to_owned(),
                ));
            }
        };
        let _ = sender.send(Queued::BeatEvery(welcome.beat_interval)).await;
        Ok(AgentSession {
            welcome,
            inbound,
            outbound: ToHub(sender),
        })
    }

    /// Asks for contents; they come in any order.
    pub async fn fetch(&mut self, wants: &[Want]) -> Result<FetchStream, WireError> {
        let wants = wants.iter().map(|want| want.encode()).collect();
        let call = self.rpc.fetch(pb::FetchRequest { wants });
        let stream = within("asking for contents", CALL_TIMEOUT, call).await?;
        let stream = stream.map_err(|status| self.error(status))?.into_inner();
        Ok(FetchStream {
            stream,
            assembler: Assembler::default(),
            fate: self.fate.clone(),
        })
    }

    /// Answers a request for detail, on a stream of its own.
    pub async fn answer(&mut self, answer: Answer) -> Result<(), WireError> {
        let Answer { id, outcome } = answer;
        let (data, error) = match outcome {
            Ok(data) => (data, String::new()),
            Err(error) => (Bytes::new(), error),
        };
        let count = data.len().div_ceil(PIECE).max(1);
        let parts = (0..count).map(move |n| pb::AnswerPart {
            request_id: id,
            data: data.slice(n * PIECE..((n + 1) * PIECE).min(data.len())),
            error: if n == 0 { error.clone() } else { String::new() },
        });
        let call = self.rpc.answer(tokio_stream::iter(parts));
        let done = within("answering", CALL_TIMEOUT, call).await?;
        done.map(drop).map_err(|status| self.error(status))
    }
}

async fn within<T>(
    step: &'static str,
    after: Duration,
    call: impl Future<Output = T>,
) -> Result<T, WireError> {
    tokio::time::timeout(after, call)
        .await
        .map_err(|_| WireError::Timeout { step, after })
}

/// What goes into a session's queue.
enum Queued {
    /// A message.
    Says(pb::AgentMessage),
    /// From now on, how often to beat.
    BeatEvery(Duration),
}

/// The hello, then what is queued, and a beat whenever nothing was for a while.
fn beating(
    hello: pb::AgentMessage,
    queue: mpsc::Receiver<Queued>,
) -> impl futures_core::Stream<Item = pb::AgentMessage> + Send + 'static {
    let state = (Some(hello), queue, Duration::from_secs(30));
    futures_util::stream::unfold(state, async |(hello, mut queue, mut every)| {
        if let Some(hello) = hello {
            return Some((hello, (None, queue, every)));
        }
        loop {
            let message = match tokio::time::timeout(every, queue.recv()).await {
                Ok(Some(Queued::Says(message))) => message,
                Ok(Some(Queued::BeatEvery(interval))) => {
                    // a hub that asks for a flood of beats does not get it
                    every = interval.max(Duration::from_millis(10));
                    continue;
                }
                Ok(None) => return None,
                Err(_) => pb::AgentMessage {
                    says: Some(pb::agent_message::Says::Beat(pb::Beat {})),
                },
            };
            return Some((message, (None, queue, every)));
        }
    })
}

/// Tells a refusal by the hub from a connection that is gone.
fn explain(fate: &Fate, status: &Status) -> WireError {
    // a status that the hub sent has no source; one that was made here, of a transport that failed, has
    let local = std::error::Error::source(status);
    if let Some(source) = local {
        let mut text = source.to_string();
        let mut next = source.source();
        while let Some(deeper) = next {
            text = format!("{text}: {deeper}");
            next = deeper.source();
        }
        return fate.explain(&text);
    }
    if status.code() == Code::Unimplemented {
        return WireError::Refused {
            kind: RefusalKind::Version,
            message: "hub is too old: it does not know this call; upgrade the hub".to_owned(),
        };
    }
    WireError::Refused {
        kind: RefusalKind::of(status.code()),
        message: status.message().to_owned(),
    }
}

/// A session, as the agent holds it.
#[derive(Debug)]
pub struct AgentSession {
    /// The hub's welcome.
    pub welcome: Welcome,
    /// What the hub says.
    pub inbound: FromHub,
    /// What the hub is told. The session ends when this and every clone of it is dropped.
    pub outbound: ToHub,
}

/// What the hub says in a session.
pub struct FromHub {
    stream: Streaming<pb::HubMessage>,
    fate: Fate,
    beats: mpsc::WeakSender<Queued>,
}

impl std::fmt::Debug for FromHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromHub")
    }
}

impl FromHub {
    /// The next message; `None` when the hub has ended the session.
    pub async fn next(&mut self) -> Result<Option<HubSays>, WireError> {
        loop {
            let message = self.stream.message().await;
            let message = message.map_err(|status| explain(&self.fate, &status))?;
            match message.map(HubSays::decode).transpose()? {
                None => return Ok(None),
                Some(Some(says)) => {
                    if says == HubSays::NeedStatus {
                        self.here();
                    }
                    return Ok(Some(says));
                }
                Some(None) => {}
            }
        }
    }

    /// Says at once that somebody is here: gathering the status may take a while, and the hub may ask because another
    /// agent says that it is this one.
    fn here(&self) {
        if let Some(beats) = self.beats.upgrade() {
            let beat = pb::AgentMessage {
                says: Some(pb::agent_message::Says::Beat(pb::Beat {})),
            };
            let _ = beats.try_send(Queued::Says(beat));
        }
    }
}

/// What the hub is told in a session.
#[derive(Debug, Clone)]
pub struct ToHub(mpsc::Sender<Queued>);

impl ToHub {
    /// Says something, and waits while the queue is full.
    pub async fn send(&self, says: &AgentSays) -> Result<(), WireError> {
        let message = says.encode()?;
        self.0
            .send(Queued::Says(message))
            .await
            .map_err(|_| WireError::Lost("the session has ended".to_owned()))
    }

    /// Says something if the queue has room and the session is alive; returns whether it did.
    pub fn try_send(&self, says: &AgentSays) -> Result<bool, MessageError> {
        Ok(self.0.try_send(Queued::Says(says.encode()?)).is_ok())
    }
}

/// Contents on their way.
pub struct FetchStream {
    stream: Streaming<pb::BlobFrame>,
    assembler: Assembler,
    fate: Fate,
}

impl std::fmt::Debug for FetchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FetchStream")
    }
}

impl FetchStream {
    /// The next content, whole or as a patch; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Fetched>, WireError> {
        loop {
            let piece = within(
                "the next piece of a content",
                FETCH_TIMEOUT,
                self.stream.message(),
            );
            let piece = piece.await?;
            let Some(piece) = piece.map_err(|status| explain(&self.fate, &status))? else {
                return Ok(None);
            };
            if let Some(fetched) = self.assembler.take(piece)? {
                return Ok(Some(fetched));
            }
        }
    }
}
