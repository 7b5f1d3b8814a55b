//! The gRPC service: it authenticates, bounds and decodes, and leaves the rest to the gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::seats::Seats;
use super::{Connections, Gateway, Inbound, Limits, Link, Outbound, Refusal, RefusalKind, Session};
use crate::blob::{BlobSender, MAX_WANTS, Want};
use crate::identity::AgentIdentity;
use crate::message::{AgentSays, Answer, HubSays, JoinRequest, MAX_CONTENT, MAX_MESSAGE};
use crate::pki;
use crate::proto as pb;
use crate::tls::{ServerTls, now};

/// How long an agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a gateway may tidy up after a session whose connection has gone.
const AFTERMATH: Duration = Duration::from_secs(5);
/// The most bytes of a message of somebody without an agent's certificate.
const MAX_JOIN: usize = 64 << 10;
/// The most bytes of the name of an agent's process.
const MAX_INSTANCE: usize = 256;
/// How many messages wait for a slow agent.
const QUEUE: usize = 8;

pub(super) struct Agents<G> {
    gateway: Arc<G>,
    limits: Limits,
    joins: Semaphore,
    seats: Seats,
    connections: Connections,
    tls: Arc<ServerTls>,
}

/// The service, as the transport wants it.
pub(super) type Service<G> = pb::agent_server::AgentServer<Agents<G>>;

/// The service for agents, and the same for newcomers, who may send little.
pub(super) fn services<G: Gateway>(
    gateway: Arc<G>,
    limits: Limits,
    connections: Connections,
    tls: Arc<ServerTls>,
) -> (Service<G>, Service<G>) {
    let agents = Arc::new(Agents {
        gateway,
        limits,
        joins: Semaphore::new(limits.joins),
        seats: Seats::default(),
        connections,
        tls,
    });
    let [agents, newcomers] =
        [(agents.clone(), MAX_MESSAGE), (agents, MAX_JOIN)].map(|(agents, limit)| {
            Service::from_arc(agents)
                .max_decoding_message_size(limit)
                .max_encoding_message_size(MAX_MESSAGE)
        });
    (agents, newcomers)
}

fn link<T>(request: &Request<T>) -> Result<Link, Status> {
    request
        .extensions()
        .get::<Link>()
        .cloned()
        .ok_or_else(|| Status::internal("the connection is not known"))
}

/// The agent that asks, whether or not its certificate has ended.
fn any_agent(link: &Link) -> Result<AgentIdentity, Status> {
    link.info.agent().cloned().ok_or_else(|| {
        Status::unauthenticated("an agent's certificate is needed for this; join first")
    })
}

fn agent(link: &Link) -> Result<AgentIdentity, Status> {
    let agent = any_agent(link)?;
    if agent.not_after < now() {
        return Err(Status::unauthenticated(format!(
            "certificate of cluster {} ended at {}; it may only be renewed",
            agent.cluster,
            agent.not_after.seconds()
        )));
    }
    Ok(agent)
}

#[tonic::async_trait]
impl<G: Gateway> pb::agent_server::Agent for Agents<G> {
    async fn join(
        &self,
        request: Request<pb::JoinRequest>,
    ) -> Result<Response<pb::JoinReply>, Status> {
        let link = link(&request)?;
        let Ok(_place) = self.joins.try_acquire() else {
            return Err(Status::resource_exhausted(
                "too many clusters join at this moment; try again",
            ));
        };
        let request = JoinRequest::decode(request.into_inner()).map_err(Refusal::from)?;
        let reply = self.gateway.join(request, link.info.remote).await?;
        self.connections
            .close_revoked(&reply.cluster, |serial| self.tls.is_revoked(serial));
        Ok(Response::new(pb::JoinReply {
            cluster_id: reply.cluster.0,
            certificate_pem: reply.certificate_pem,
            ca_pem: reply.ca_pem,
            keys_json: reply.keys_json.into(),
            epoch: reply.epoch,
        }))
    }

    async fn renew(
        &self,
        request: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        let agent = any_agent(&link(&request)?)?;
        let request_pem = request.into_inner().csr_pem;
        let key = pki::request_key(&request_pem)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if agent.not_after < now() && key != agent.public_key {
            return Err(Status::permission_denied(
                "an ended certificate is renewed for the same key only; join again with a token for this cluster",
            ));
        }
        let reply = self.gateway.renew(&agent, &request_pem).await?;
        Ok(Response::new(pb::RenewReply {
            certificate_pem: reply.certificate_pem,
            ca_pem: reply.ca_pem,
            keys_json: reply.keys_json.into(),
        }))
    }

    type SessionStream = ReceiverStream<Result<pb::HubMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let link = link(&request)?;
        let agent = agent(&link)?;
        let mut closed = link.closed.clone();
        let place = link.sessions.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted("this connection holds too many sessions already")
        })?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let gateway = self.gateway.clone();
        let beat = self.limits.beat;
        let seats = self.seats.clone();
        let stream = request.into_inner();
        tokio::spawn(async move {
            let _place = place;
            let outdated = outdated(agent.clone());
            let held = hold(&gateway, &seats, agent, &link, stream, beat, sender.clone());
            let mut held = std::pin::pin!(held);
            let ended = tokio::select! {
                // first: the gateway hears of the end too, and may be quicker to return than the farewell
                biased;
                refusal = async {
                    tokio::select! {
                        refusal = closed.wait() => refusal,
                        refusal = outdated => refusal,
                    }
                } => {
                    let farewell = HubSays::Ended { reason: refusal.message.clone() };
                    let _ = Outbound(sender.clone()).try_send(&farewell);
                    let _ = sender.try_send(Err(refusal.into()));
                    let _ = tokio::time::timeout(AFTERMATH, held).await;
                    return;
                }
                () = sender.closed() => {
                    let _ = tokio::time::timeout(AFTERMATH, held).await;
                    return;
                }
                held = held.as_mut() => held.err(),
            };
            if let Some(refusal) = ended {
                let last = sender.send(Err(refusal.into()));
                let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type FetchStream = ReceiverStream<Result<pb::BlobFrame, Status>>;

    async fn fetch(
        &self,
        request: Request<pb::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let agent = agent(&link(&request)?)?;
        let wants = request.into_inner().wants;
        if wants.len() > MAX_WANTS {
            return Err(Status::invalid_argument(format!(
                "{} contents were asked for at once, {MAX_WANTS} are allowed",
                wants.len()
            )));
        }
        let wants: Result<Vec<_>, _> = wants.iter().map(Want::decode).collect();
        let wants = wants.map_err(Refusal::from)?;
        let (sender, receiver) = mpsc::channel(2);
        let gateway = self.gateway.clone();
        tokio::spawn(async move {
            let fetched = tokio::select! {
                fetched = gateway.fetch(&agent, wants, BlobSender(sender.clone())) => fetched,
                () = sender.closed() => return,
            };
            if let Err(refusal) = fetched {
                let _ = sender.send(Err(refusal.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn answer(
        &self,
        request: Request<Streaming<pb::AnswerPart>>,
    ) -> Result<Response<pb::AnswerReply>, Status> {
        let agent = agent(&link(&request)?)?;
        let mut parts = request.into_inner();
        let mut id = None;
        let mut data = Vec::new();
        let mut error = String::new();
        while let Some(part) = parts.message().await? {
            id.get_or_insert(part.request_id);
            data.extend_from_slice(&part.data);
            error.push_str(&part.error);
            if data.len() + error.len() > MAX_CONTENT {
                return Err(Status::invalid_argument(format!(
                    "answer is larger than {MAX_CONTENT} bytes"
                )));
            }
        }
        let Some(id) = id else {
            return Err(Status::invalid_argument("answer has no part"));
        };
        let outcome = if error.is_empty() {
            Ok(data.into())
        } else {
            Err(error)
        };
        self.gateway.answer(&agent, Answer { id, outcome }).await?;
        Ok(Response::new(pb::AnswerReply {}))
    }
}

/// Waits until the certificate that a session was opened with has ended.
async fn outdated(agent: AgentIdentity) -> Refusal {
    loop {
        let left = agent.not_after.since_ms(now());
        if left == 0 {
            let text = format!(
                "certificate of cluster {} has ended; renew it",
                agent.cluster
            );
            return Refusal::new(RefusalKind::Unauthenticated, text);
        }
        // a clock that is set is noticed, and no timer reaches further than it can
        tokio::time::sleep(Duration::from_millis(left.min(600_000))).await;
    }
}

/// Hears the hello, then lets the gateway hold the session.
async fn hold<G: Gateway>(
    gateway: &Arc<G>,
    seats: &Seats,
    agent: AgentIdentity,
    link: &Link,
    mut stream: Streaming<pb::AgentMessage>,
    beat: Duration,
    sender: mpsc::Sender<Result<pb::HubMessage, Status>>,
) -> Result<(), Refusal> {
    let invalid = |text: &str| Refusal::new(RefusalKind::Invalid, text);
    let first = tokio::time::timeout(HELLO_TIMEOUT, stream.message())
        .await
        .map_err(|_| invalid("no hello came"))?
        .map_err(|status| Refusal::new(RefusalKind::of(status.code()), status.message()))?
        .ok_or_else(|| invalid("session ended before its hello"))?;
    let Some(AgentSays::Hello(hello)) = AgentSays::decode(first)? else {
        return Err(invalid("first message of a session is no hello"));
    };
    if hello.cluster != agent.cluster {
        let text = format!(
            "hello names cluster {}, the certificate is of cluster {}",
            hello.cluster, agent.cluster
        );
        return Err(Refusal::new(RefusalKind::Denied, text));
    }
    let version = hello
        .version()
        .map_err(|text| Refusal::new(RefusalKind::Version, text))?;
    if hello.instance.len() > MAX_INSTANCE {
        return Err(invalid("name of the agent's process is too long"));
    }
    let outbound = Outbound(sender);
    let remote = link.info.remote;
    let taken = seats.take(&agent.cluster, &hello.instance, remote, &outbound);
    let mut seat = taken.await?;
    let session = Session {
        agent,
        remote,
        hello,
        version,
        inbound: Inbound {
            stream,
            beat,
            closed: link.closed.clone(),
            heard: seat.heard(),
        },
        outbound: outbound.clone(),
    };
    tokio::select! {
        held = gateway.session(session) => held,
        refusal = seat.left() => {
            let farewell = HubSays::Ended { reason: refusal.message.clone() };
            let _ = outbound.try_send(&farewell);
            Err(refusal)
        }
    }
}
