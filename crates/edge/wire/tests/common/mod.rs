//! A small hub for the tests: real TLS on loopback, a gateway that keeps everything in memory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it"
)]

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base_json::Digest;
use base_sign::Signer as _;
use http_body_util::StreamBody;
use roadstead_dispatch::{OrderHeader, Report, delta, root_of, sign_header};
use roadstead_model::{ClusterId, Time};
use roadstead_wire::keys::{KeySet, SigningKey};
use roadstead_wire::pki::{Ca, TlsKey, Validity};
use roadstead_wire::token::{JoinToken, TOKEN_BYTES, TokenFor, TokenRecord};
use roadstead_wire::{
    AgentClient, AgentIdentity, AgentSays, Answer, Blob, BlobSender, ClientIdentity, ClientTrust,
    Connections, DetailKind, DetailRequest, Endpoint, Gateway, HubSays, HubTrust, JoinReply,
    JoinRequest, Limits, Port, Refusal, RefusalKind, RenewReply, ServerTls, Session, Want,
    WireError, async_trait, serve, variant_patch,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic::body::Body;

pub const DAY: Duration = Duration::from_secs(86_400);

pub fn now() -> Time {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Time(since.as_millis() as i64)
}

/// A body without an end; counts itself while it is there.
pub struct Endless(Arc<AtomicUsize>);

impl Endless {
    fn new(live: Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(live)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl futures_util::Stream for Endless {
    type Item = Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let part = bytes::Bytes::from_static(&[b'x'; 16 << 10]);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(part))))
    }
}

/// A validity that ended so long ago.
pub fn ended(ago: Duration) -> Validity {
    let until = Time(now().0 - ago.as_millis() as i64);
    Validity {
        from: Time(until.0 - 86_400_000),
        until,
    }
}

pub struct TestGateway {
    pub ca: Ca,
    pub key: SigningKey,
    pub tokens: Mutex<BTreeMap<String, TokenRecord>>,
    pub clusters: Mutex<BTreeMap<String, ClusterId>>,
    pub blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    /// What each cluster may have; everything if it is not in here.
    pub forbidden: Mutex<HashSet<(ClusterId, Digest)>>,
    pub reports: Mutex<Vec<(ClusterId, Report)>>,
    pub answers: watch::Sender<Vec<Answer>>,
    pub beats: watch::Sender<usize>,
    pub ends: watch::Sender<Vec<Result<(), Refusal>>>,
}

fn denied(error: impl ToString) -> Refusal {
    Refusal::new(RefusalKind::Denied, error.to_string())
}

#[async_trait]
impl Gateway for TestGateway {
    async fn join(&self, request: JoinRequest, _: SocketAddr) -> Result<JoinReply, Refusal> {
        let unauthenticated = |error: String| Refusal::new(RefusalKind::Unauthenticated, error);
        let token: JoinToken =
            request
                .token
                .parse()
                .map_err(|error: roadstead_wire::token::TokenError| {
                    unauthenticated(error.to_string())
                })?;
        let mut tokens = self.tokens.lock().unwrap();
        let record = tokens.get_mut(token.id()).ok_or_else(|| {
            unauthenticated(roadstead_wire::token::TokenRefused::Unknown.to_string())
        })?;
        record
            .check(&token, &request.name, now())
            .map_err(|refused| unauthenticated(refused.to_string()))?;
        let mut clusters = self.clusters.lock().unwrap();
        let replaces = matches!(record.target, TokenFor::Cluster { .. });
        if clusters.contains_key(&request.name) && !replaces {
            let text = format!("a cluster named {:?} exists", request.name);
            return Err(Refusal::new(RefusalKind::Taken, text));
        }
        record.uses_left -= 1;
        let next = ClusterId(format!("c-{}", clusters.len()));
        let cluster = clusters.entry(request.name).or_insert(next).clone();
        let made = self
            .ca
            .agent(
                &request.request_pem,
                &cluster,
                Validity::starting(now(), DAY),
            )
            .map_err(denied)?;
        Ok(JoinReply {
            cluster,
            certificate_pem: made.certificate_pem,
            ca_pem: self.ca.certificate_pem(),
            keys_json: KeySet::new(self.key.public().clone()).to_json(),
            epoch: 3,
        })
    }

    async fn renew(&self, agent: &AgentIdentity, request_pem: &str) -> Result<RenewReply, Refusal> {
        let made = self
            .ca
            .agent(request_pem, &agent.cluster, Validity::starting(now(), DAY))
            .map_err(denied)?;
        Ok(RenewReply {
            certificate_pem: made.certificate_pem,
            ca_pem: self.ca.certificate_pem(),
            keys_json: KeySet::new(self.key.public().clone()).to_json(),
        })
    }

    async fn session(&self, mut session: Session) -> Result<(), Refusal> {
        session.welcome("test-hub", 3).await?;
        let result = self.talk(&mut session).await;
        self.ends.send_modify(|ends| ends.push(result.clone()));
        result
    }

    async fn fetch(
        &self,
        agent: &AgentIdentity,
        wants: Vec<Want>,
        out: BlobSender,
    ) -> Result<(), Refusal> {
        for want in wants {
            let blob = {
                let blobs = self.blobs.lock().unwrap();
                let forbidden = self.forbidden.lock().unwrap();
                let base = want.base.and_then(|base| Some((base, blobs.get(&base)?)));
                match (blobs.get(&want.digest), base) {
                    _ if forbidden.contains(&(agent.cluster.clone(), want.digest)) => {
                        Blob::refused("no variant of this cluster holds it")
                    }
                    (None, _) => Blob::refused("no such content"),
                    (Some(bytes), Some((base, old))) => match variant_patch(old, bytes) {
                        Ok(patch) => Blob::patch(base, &patch),
                        Err(_) => Blob::whole(bytes),
                    },
                    (Some(bytes), None) => Blob::whole(bytes),
                }
            };
            out.send(want.digest, &blob).await.map_err(denied)?;
        }
        Ok(())
    }

    async fn answer(&self, _: &AgentIdentity, answer: Answer) -> Result<(), Refusal> {
        self.answers.send_modify(|answers| answers.push(answer));
        Ok(())
    }
}

impl TestGateway {
    pub fn order(&self, cluster: &ClusterId) -> roadstead_dispatch::OrderDelta {
        let entries = BTreeMap::new();
        let header = OrderHeader {
            cluster: cluster.clone(),
            epoch: 3,
            sequence: 1,
            issued_at: now(),
            root: root_of(&entries),
            critical: Vec::new(),
        };
        delta(None, &entries, sign_header(&header, &self.key))
    }

    async fn talk(&self, session: &mut Session) -> Result<(), Refusal> {
        let root = root_of(&BTreeMap::new());
        session.outbound.send(&HubSays::RootIs(root)).await?;
        while let Some(says) = session.inbound.next().await? {
            match says {
                AgentSays::WantOrder { .. } => {
                    let order = self.order(&session.agent.cluster);
                    let order = HubSays::Order(Box::new(order));
                    session.outbound.send(&order).await?;
                }
                AgentSays::Report(report) => {
                    let cluster = session.agent.cluster.clone();
                    self.reports.lock().unwrap().push((cluster, *report));
                    let detail = DetailRequest {
                        id: 42,
                        kind: DetailKind::Events,
                        object: "apps/Deployment/shop/cart".parse().unwrap(),
                    };
                    session.outbound.send(&HubSays::Detail(detail)).await?;
                }
                AgentSays::Beat => self.beats.send_modify(|beats| *beats += 1),
                AgentSays::Hello(_) => unreachable!("the library takes it"),
            }
        }
        Ok(())
    }
}

pub struct Hub {
    pub gateway: Arc<TestGateway>,
    pub address: SocketAddr,
    /// How many bodies without an end are being sent.
    pub endless: Arc<AtomicUsize>,
    pub connections: Connections,
    pub revoked: Arc<Mutex<HashSet<String>>>,
    pub tls: Arc<ServerTls>,
    pub served: tokio::task::JoinHandle<()>,
    pub stop: Option<oneshot::Sender<()>>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::with(Limits::default(), &["localhost", "127.0.0.1"]).await
    }

    pub async fn with(limits: Limits, names: &[&str]) -> Self {
        let years = Validity::starting(now(), DAY * 3650);
        let ca = Ca::generate(
            "test hub",
            Validity {
                from: Time(0),
                ..years
            },
        )
        .unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let server = ca.server(&names, years).unwrap();
        let chain = server.certificate.certificate_pem.clone() + &ca.certificate_pem();
        let revoked: Arc<Mutex<HashSet<String>>> = Arc::default();
        let is_revoked = revoked.clone();
        let trust = ClientTrust {
            ca_pems: vec![ca.certificate_pem()],
            offline_grace: DAY * 90,
            is_revoked: Arc::new(move |serial| is_revoked.lock().unwrap().contains(serial)),
        };
        let tls = Arc::new(ServerTls::new(&chain, &server.key_pem, trust).unwrap());
        let gateway = Arc::new(TestGateway {
            ca,
            key: SigningKey::generate().unwrap(),
            tokens: Mutex::default(),
            clusters: Mutex::default(),
            blobs: Mutex::default(),
            forbidden: Mutex::default(),
            reports: Mutex::default(),
            answers: watch::Sender::default(),
            beats: watch::Sender::default(),
            ends: watch::Sender::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::default();
        let endless: Arc<AtomicUsize> = Arc::default();
        let counted = endless.clone();
        let port = Port {
            listener,
            tls: tls.clone(),
            gateway: gateway.clone(),
            other: move |request: http::Request<hyper::body::Incoming>,
                         info: roadstead_wire::PeerInfo| {
                let live = counted.clone();
                async move {
                    let who = match &info.peer {
                        roadstead_wire::Peer::Anonymous => "anonymous".to_owned(),
                        roadstead_wire::Peer::FrontProxy(_) => "a proxy".to_owned(),
                        roadstead_wire::Peer::Agent(agent) => format!("agent {}", agent.cluster),
                        roadstead_wire::Peer::User(user) => {
                            format!("user {} of {}", user.name, user.groups.join("+"))
                        }
                    };
                    let path = request.uri().path().to_owned();
                    let text = format!("{path} {:?} {who}", request.version());
                    let text = match path.as_str() {
                        "/endless" => {
                            return http::Response::new(Body::new(StreamBody::new(Endless::new(
                                live,
                            ))));
                        }
                        "/body" => {
                            let body = request.into_body();
                            let read =
                                roadstead_wire::read_body(body, 1_000, Duration::from_millis(300));
                            read.await.map_or_else(
                                |error| error.to_string(),
                                |body| format!("{} bytes", body.len()),
                            )
                        }
                        _ => text,
                    };
                    http::Response::new(Body::new(text))
                }
            },
            connections: connections.clone(),
            limits,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(port, async {
            let _ = stopped.await;
        }));
        Self {
            gateway,
            address,
            endless,
            connections,
            revoked,
            tls,
            served,
            stop: Some(stop),
        }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub fn ca_pem(&self) -> String {
        self.gateway.ca.certificate_pem()
    }

    pub fn token(&self, target: TokenFor, uses_left: u32, expires_at: Time) -> String {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).unwrap();
        let token = JoinToken::new(&random, self.gateway.ca.hash());
        let record = TokenRecord {
            id: token.id().to_owned(),
            hash: token.hash(),
            target,
            labels: BTreeMap::new(),
            uses_left,
            expires_at,
            created_by: "test".to_owned(),
        };
        self.gateway
            .tokens
            .lock()
            .unwrap()
            .insert(record.id.clone(), record);
        token.to_string()
    }

    /// An identity that the CA made without a join.
    pub fn identity(&self, cluster: &str, validity: Validity) -> (ClientIdentity, String) {
        let key = TlsKey::generate().unwrap();
        let made = self
            .gateway
            .ca
            .agent(
                &key.request_pem().unwrap(),
                &ClusterId(cluster.to_owned()),
                validity,
            )
            .unwrap();
        let identity = ClientIdentity {
            certificate_pem: made.certificate_pem,
            key_pem: key.to_pem(),
        };
        (identity, made.serial)
    }

    pub fn endpoint(&self, identity: Option<ClientIdentity>) -> Endpoint {
        Endpoint::new(&self.url(), HubTrust::Ca(self.ca_pem()), identity)
    }

    pub async fn agent(&self, cluster: &str) -> (AgentClient, String) {
        let (identity, serial) = self.identity(cluster, Validity::starting(now(), DAY));
        let client = AgentClient::connect(&self.endpoint(Some(identity))).await;
        (client.unwrap(), serial)
    }

    pub fn key_id(&self) -> String {
        self.gateway.key.key_id()
    }
}

pub fn join_request(token: &str, name: &str, key: &TlsKey) -> JoinRequest {
    JoinRequest {
        token: token.to_owned(),
        name: name.to_owned(),
        request_pem: key.request_pem().unwrap(),
        agent_version: "0.1.0".to_owned(),
        facts: None,
    }
}

/// Waits for a value, not for a change, and not for ever.
pub async fn wait_for<T: Clone>(watched: &watch::Sender<T>, until: impl FnMut(&T) -> bool) -> T {
    let mut receiver = watched.subscribe();
    let value = tokio::time::timeout(Duration::from_secs(10), receiver.wait_for(until)).await;
    value.expect("it comes in time").unwrap().clone()
}

/// The error and its causes in one line.
pub fn chain(error: &WireError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
