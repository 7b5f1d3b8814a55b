//! What the hub does for its agents.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base_json::Digest;
use base_store::Store;
use bytes::Bytes;
use k8s_apiserver::{Registry, WriteOptions};
use parking_lot::Mutex;
use roadstead_control::{Audit, AuditObject, AuditResult};
use roadstead_dispatch::{OrderHeader, delta, sign_header};
use roadstead_model::{ClusterId, GROUP, VERSION};
use roadstead_rollout::By;
use roadstead_wire::token::{JoinToken, TokenFor};
use roadstead_wire::{
    AgentIdentity, AgentSays, Answer, Blob, BlobSender, DetailKind, DetailRequest, Gateway,
    HubSays, JoinReply, JoinRequest, Refusal, RefusalKind, RenewReply, Session, Want, async_trait,
    variant_patch,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::HubError;
use crate::audit::Auditor;
use crate::brain::{Brain, Input};
use crate::clock::{now, random};
use crate::events::{Notices, about};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::orders::{ClusterOrder, Orders};
use crate::variants::Variants;

/// How long somebody waits for an agent's answer.
const DETAIL_PATIENCE: Duration = Duration::from_secs(10);
/// How much later each connected agent may get its order signed again, for each agent that is: all of them ask for
/// keys then, and each that asks costs a signature and a commit.
const AGAIN_EACH_MS: u64 = 10;
/// The same, at most in all.
const AGAIN_MOST_MS: u64 = 60_000;
/// How long the last word to an agent may travel before its connection is closed.
const LAST_WORD: Duration = Duration::from_millis(700);
/// How long a session waits for the index to have what the store has.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How many orders a session remembers, to send deltas against.
const REMEMBERED: usize = 4;

/// Somebody who waits for the answer of a cluster.
type Waiting = (ClusterId, oneshot::Sender<Result<Bytes, String>>);

/// Requests for detail that wait for an agent.
#[derive(Default)]
pub(crate) struct Details {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Waiting>>,
    sessions: Mutex<BTreeMap<ClusterId, roadstead_wire::Outbound>>,
}

impl Details {
    /// Tells a cluster's agent to take itself away; says whether it was there to hear it.
    pub(crate) async fn let_go(&self, cluster: &ClusterId) -> bool {
        let Some(outbound) = self.sessions.lock().get(cluster).cloned() else {
            return false;
        };
        let told = outbound.send(&HubSays::Leave).await.is_ok();
        if told {
            tokio::time::sleep(LAST_WORD).await;
        }
        told
    }

    /// Asks a cluster's agent about an object.
    pub(crate) async fn ask(
        &self,
        cluster: &ClusterId,
        kind: DetailKind,
        object: k8s_object::ObjectId,
    ) -> Result<Bytes, String> {
        let Some(outbound) = self.sessions.lock().get(cluster).cloned() else {
            return Err("its agent is not connected".to_owned());
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        self.open.lock().insert(id, (cluster.clone(), sender));
        let sent = outbound
            .send(&HubSays::Detail(DetailRequest { id, kind, object }))
            .await;
        let answer = match sent {
            Ok(()) => tokio::time::timeout(DETAIL_PATIENCE, receiver).await,
            Err(_) => Ok(Ok(Err("its agent has gone".to_owned()))),
        };
        self.open.lock().remove(&id);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("its agent has gone".to_owned()),
            Err(_) => Err(format!(
                "its agent has not answered within {} s",
                DETAIL_PATIENCE.as_secs()
            )),
        }
    }
}

/// Serves the agents.
pub(crate) struct Agents {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) identity: Arc<Identity>,
    pub(crate) brain: Brain,
    pub(crate) orders: Arc<Orders>,
    pub(crate) variants: Arc<Variants>,
    pub(crate) details: Arc<Details>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ready: Ready,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) notices: Notices,
}

/// How many bytes of contents are kept ready to be sent.
const READY_BYTES: usize = 16 << 20;

/// Contents as they travel, made once for all the clusters that lack the same: by digest and base.
#[derive(Default)]
pub(crate) struct Ready(Mutex<(usize, Contents)>);

/// By digest and base.
type Contents = BTreeMap<(Digest, Option<Digest>), Blob>;

impl Ready {
    fn get(&self, want: &Want) -> Option<Blob> {
        self.0.lock().1.get(&(want.digest, want.base)).cloned()
    }

    fn keep(&self, want: &Want, blob: &Blob) {
        let mut kept = self.0.lock();
        if kept.0 + blob.wire_len() > READY_BYTES {
            *kept = Default::default();
        }
        if kept.0 + blob.wire_len() <= READY_BYTES
            && kept
                .1
                .insert((want.digest, want.base), blob.clone())
                .is_none()
        {
            kept.0 += blob.wire_len();
        }
    }
}

/// What is kept of a join: the token's public part, never its secret one.
fn joined(request: &JoinRequest, from: SocketAddr, outcome: &Result<JoinReply, Refusal>) -> Audit {
    let token = request.token.parse::<JoinToken>();
    let by = By {
        actor: match &token {
            Ok(token) => format!("token {}", token.id()),
            Err(_) => "system:anonymous".to_owned(),
        },
        at: now(),
        reason: String::new(),
    };
    let object = AuditObject {
        resource: "clusters".to_owned(),
        name: request.name.clone(),
        ..AuditObject::default()
    };
    let (result, said) = match outcome {
        Ok(reply) => (AuditResult::Done, format!("joined as {}", reply.cluster)),
        Err(refusal) => {
            let result = match refusal.kind {
                RefusalKind::Internal | RefusalKind::Unavailable => AuditResult::Failed,
                RefusalKind::Unauthenticated | RefusalKind::Denied => AuditResult::Forbidden,
                _ => AuditResult::Refused,
            };
            (result, refusal.message.clone())
        }
    };
    Audit::new(&by, "join", object, result)
        .saying(&said)
        .from(&from.ip().to_string())
}

fn internal(error: &HubError) -> Refusal {
    tracing::error!(%error, "failed to serve an agent");
    Refusal::new(RefusalKind::Internal, error.to_string())
}

impl Agents {
    async fn tell(&self, input: Input) {
        let brain = self.brain.clone();
        let _ = tokio::task::spawn_blocking(move || brain.send(input)).await;
    }

    /// Signs the order as it is now and sends what changed since `base`.
    async fn send_order(
        &self,
        session: &Session,
        order: &Arc<ClusterOrder>,
        base: Option<Digest>,
        sent: &mut Vec<Arc<ClusterOrder>>,
    ) -> Result<(), Refusal> {
        let started = std::time::Instant::now();
        let header = OrderHeader {
            cluster: session.agent.cluster.clone(),
            epoch: self.identity.epoch,
            sequence: self.store.revision().0,
            issued_at: now(),
            root: order.root,
            critical: Vec::new(),
        };
        let signed = sign_header(&header, &self.identity.order_keys().key);
        let known = base.and_then(|base| sent.iter().find(|old| old.root == base).cloned());
        let delta = delta(
            known.as_ref().map(|old| (old.root, &old.entries)),
            &order.entries,
            signed,
        );
        self.metrics.orders.inc();
        self.metrics
            .order_bytes
            .inc_by(serde_json::to_vec(&delta).map_or(0, |bytes| bytes.len() as u64));
        session
            .outbound
            .send(&HubSays::Order(Box::new(delta)))
            .await?;
        self.metrics
            .send_seconds
            .observe(started.elapsed().as_secs_f64());
        if sent.iter().all(|old| old.root != order.root) {
            sent.push(Arc::clone(order));
        }
        if sent.len() > REMEMBERED {
            sent.remove(0);
        }
        Ok(())
    }

    async fn hold(&self, session: &mut Session) -> Result<(), Refusal> {
        let cluster = session.agent.cluster.clone();
        let mut order = self.orders.follow(&cluster);
        let mut sent: Vec<Arc<ClusterOrder>> = Vec::new();
        // an agent that holds what is ordered now may be sent deltas at once
        let current = order.borrow_and_update().clone();
        if let Some(current) = current {
            if session.hello.root == Some(current.root) {
                sent.push(Arc::clone(&current));
            }
            session
                .outbound
                .send(&HubSays::RootIs(current.root))
                .await?;
        }
        session.outbound.send(&HubSays::NeedStatus).await?;
        let mut signings = self.orders.signings();
        let mut again_at: Option<tokio::time::Instant> = None;
        loop {
            let again = async {
                match again_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                said = session.inbound.next() => match said? {
                    None => return Ok(()),
                    Some(AgentSays::WantOrder { base }) => {
                        let current = order.borrow().clone();
                        if let Some(current) = current {
                            self.send_order(session, &current, base, &mut sent).await?;
                        }
                    }
                    Some(AgentSays::Report(report)) => self.tell(Input::Report(cluster.clone(), report)).await,
                    Some(AgentSays::Beat | AgentSays::Hello(_)) => {}
                },
                changed = signings.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let most = AGAIN_EACH_MS * u64::try_from(self.metrics.connected.get()).unwrap_or(0);
                    let mut seed = [0; 8];
                    random(&mut seed);
                    let wait = u64::from_le_bytes(seed) % (most.min(AGAIN_MOST_MS) + 1);
                    again_at = Some(tokio::time::Instant::now() + Duration::from_millis(wait));
                }
                () = again => {
                    again_at = None;
                    let current = order.borrow().clone();
                    // an agent whose order is not this one asks by itself
                    if let Some(current) = current
                        && let Some(held) = sent.iter().find(|held| held.root == current.root)
                    {
                        let base = Some(held.root);
                        self.send_order(session, &current, base, &mut sent).await?;
                    }
                }
                changed = order.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let root = order.borrow_and_update().as_ref().map(|order| order.root);
                    if let Some(root) = root {
                        session.outbound.send(&HubSays::RootIs(root)).await?;
                    }
                }
            }
        }
    }

    /// Every digest that a cluster may have: the variants of its order, and what they hold.
    fn allowed(&self, cluster: &ClusterId) -> BTreeSet<Digest> {
        let mut allowed = BTreeSet::new();
        if let Some(order) = self.orders.get(cluster) {
            for entry in order.entries.values() {
                if let Some(listed) = self.variants.get(&entry.variant) {
                    allowed.insert(entry.variant);
                    allowed.extend(&listed.contents);
                }
            }
        }
        allowed
    }

    fn blob(&self, cluster: &ClusterId, want: &Want, allowed: &BTreeSet<Digest>) -> Blob {
        if !allowed.contains(&want.digest) {
            return Blob::refused("not assigned to this cluster");
        }
        // a base that was never this cluster's is as good as none, before the cache is asked
        let base = want
            .base
            .filter(|base| self.orders.was_ordered(cluster, base));
        let want = &Want { base, ..*want };
        if let Some(ready) = self.ready.get(want) {
            return ready;
        }
        let bytes = match self.store.get_blob(&want.digest) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Blob::refused("the hub does not have it"),
            Err(error) => return Blob::refused(error.to_string()),
        };
        if let Some(base) = base
            && let Ok(Some(old)) = self.store.get_blob(&base)
            && let Ok(patch) = variant_patch(&old, &bytes)
            && patch.len() < bytes.len()
        {
            let blob = Blob::patch(base, &patch);
            self.ready.keep(want, &blob);
            return blob;
        }
        let blob = Blob::whole(&bytes);
        self.ready.keep(want, &blob);
        blob
    }

    fn join_now(&self, request: &JoinRequest) -> Result<JoinReply, Refusal> {
        let token: JoinToken =
            request
                .token
                .parse()
                .map_err(|error: roadstead_wire::token::TokenError| {
                    Refusal::new(RefusalKind::Unauthenticated, error.to_string())
                })?;
        let unknown = || {
            Refusal::new(
                RefusalKind::Unauthenticated,
                roadstead_wire::token::TokenRefused::Unknown.to_string(),
            )
        };
        let (record, revision) = self
            .identity
            .token(&token)
            .map_err(|e| internal(&e))?
            .ok_or_else(unknown)?;
        record
            .check(&token, &request.name, now())
            .map_err(|why| Refusal::new(RefusalKind::Unauthenticated, why.to_string()))?;
        let def = self
            .registry
            .resource(GROUP, "clusters")
            .map_err(|s| Refusal::new(RefusalKind::Internal, s.message.clone()))?;
        let existing = self
            .registry
            .find(&def, "", &request.name)
            .map_err(|s| Refusal::new(RefusalKind::Internal, s.message.clone()))?;
        let uid = |object: &Value| ClusterId(k8s_object::uid(object).to_owned());
        let (cluster, replaces) = match (&record.target, existing) {
            (TokenFor::Cluster { id, .. }, Some(object)) if uid(&object) == *id => {
                (Some(id.clone()), true)
            }
            (_, Some(_)) => {
                let text = format!(
                    "there is a cluster {:?} already; to give it a new agent, make a token with `roadstead cluster join {}`",
                    request.name, request.name
                );
                return Err(Refusal::new(RefusalKind::Taken, text));
            }
            (TokenFor::Cluster { name, .. }, None) => {
                return Err(Refusal::new(
                    RefusalKind::NotFound,
                    format!("cluster {name:?}, which the token is for, is gone"),
                ));
            }
            (_, None) => (None, false),
        };
        if !self
            .identity
            .use_token(&record, revision)
            .map_err(|e| internal(&e))?
        {
            return Err(Refusal::new(
                RefusalKind::Busy,
                "the token is being used by another agent at this moment; try again",
            ));
        }
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => {
                let object = json!({
                    "apiVersion": format!("{GROUP}/{VERSION}"),
                    "kind": "Cluster",
                    "metadata": { "name": request.name, "labels": record.labels },
                    "spec": {},
                });
                let made = self
                    .registry
                    .create(&def, "", object, &WriteOptions::manager("roadstead-join"))
                    .map_err(|status| Refusal::new(RefusalKind::Invalid, status.message.clone()))?;
                uid(&made.object)
            }
        };
        let issued = self
            .identity
            .agent(&request.request_pem, &cluster, replaces)
            .map_err(|error| Refusal::new(RefusalKind::Invalid, error.to_string()))?;
        self.metrics.joins.inc();
        tracing::info!(cluster = %request.name, id = %cluster, serial = %issued.serial, token = %record.id, "cluster joined");
        Ok(JoinReply {
            cluster,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.identity.ca.certificate_pem(),
            keys_json: self.identity.order_keys().set.to_json(),
            epoch: self.identity.epoch,
        })
    }
}

#[async_trait]
impl Gateway for Agents {
    async fn join(&self, request: JoinRequest, from: SocketAddr) -> Result<JoinReply, Refusal> {
        tokio::task::block_in_place(|| {
            let outcome = self.join_now(&request);
            self.auditor.keep_now(joined(&request, from, &outcome));
            if outcome.is_ok() {
                let told = (false, "Joined", "an agent joined as this cluster");
                let name = request.name.as_str();
                self.notices
                    .tell(about("Cluster", "clusters", ("", name), told));
            }
            outcome
        })
    }

    async fn renew(&self, agent: &AgentIdentity, request_pem: &str) -> Result<RenewReply, Refusal> {
        self.known(&agent.cluster).await?;
        let issued =
            tokio::task::block_in_place(|| self.identity.agent(request_pem, &agent.cluster, false))
                .map_err(|error| Refusal::new(RefusalKind::Invalid, error.to_string()))?;
        Ok(RenewReply {
            certificate_pem: issued.certificate_pem,
            ca_pem: self.identity.ca.certificate_pem(),
            keys_json: self.identity.order_keys().set.to_json(),
        })
    }

    async fn session(&self, mut session: Session) -> Result<(), Refusal> {
        let cluster = session.agent.cluster.clone();
        self.known(&cluster).await?;
        session
            .welcome(&self.identity.hub_id, self.identity.epoch)
            .await?;
        self.details
            .sessions
            .lock()
            .insert(cluster.clone(), session.outbound.clone());
        // one task says both, in this order, however this future ends
        let (alive, gone) = oneshot::channel::<()>();
        let brain = self.brain.clone();
        tokio::spawn(async move {
            let up = (brain.clone(), cluster.clone());
            let _ = tokio::task::spawn_blocking(move || up.0.send(Input::SessionUp(up.1))).await;
            let _ = gone.await;
            let _ =
                tokio::task::spawn_blocking(move || brain.send(Input::SessionDown(cluster))).await;
        });
        let ended = self.hold(&mut session).await;
        drop(alive);
        ended
    }

    async fn fetch(
        &self,
        agent: &AgentIdentity,
        wants: Vec<Want>,
        out: BlobSender,
    ) -> Result<(), Refusal> {
        let allowed = tokio::task::block_in_place(|| self.allowed(&agent.cluster));
        for want in wants {
            let blob = tokio::task::block_in_place(|| self.blob(&agent.cluster, &want, &allowed));
            self.metrics.blobs.inc();
            self.metrics.blob_bytes.inc_by(blob.wire_len() as u64);
            if out.send(want.digest, &blob).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn answer(&self, agent: &AgentIdentity, answer: Answer) -> Result<(), Refusal> {
        let mut open = self.details.open.lock();
        // an agent answers only what it was asked itself
        if open
            .get(&answer.id)
            .is_some_and(|(cluster, _)| *cluster == agent.cluster)
            && let Some((_, waiting)) = open.remove(&answer.id)
        {
            let _ = waiting.send(answer.outcome);
        }
        Ok(())
    }
}

impl Agents {
    async fn known(&self, cluster: &ClusterId) -> Result<(), Refusal> {
        if cluster.0 == "hub" {
            return Ok(());
        }
        // a cluster that has just joined stands in the store before it stands in the index
        let written = self.store.revision();
        let started = std::time::Instant::now();
        while started.elapsed() < CATCH_UP {
            let id = cluster.clone();
            let known = self
                .brain
                .ask(move |index, _| (index.cluster(&id).is_some(), index.revision()))
                .await;
            match known {
                Some((true, _)) => return Ok(()),
                Some((false, seen)) if seen >= written => {
                    return Err(Refusal::new(
                        RefusalKind::Denied,
                        "this cluster was forgotten; join it again",
                    ));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                None => {
                    return Err(Refusal::new(RefusalKind::Unavailable, "the hub is ending"));
                }
            }
        }
        Err(Refusal::new(
            RefusalKind::Unavailable,
            "the hub has not yet taken in what it wrote; try again",
        ))
    }
}
