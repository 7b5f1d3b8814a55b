//! A hub of a few lines over real TLS, simulated clusters, and agents on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base_json::{Digest, Value, json};
use k8s_apiserver::{Clock, Timer};
use k8s_cluster::{Call, Cluster, Reply};
use k8s_object::{Gvk, ObjectId};
use k8s_playground::{Config, Handle, Playground};
use roadstead_agent::{AgentConfig, HubConfig, run};
use roadstead_dispatch::{
    AppReport, Entry, EntryPhase, OrderHeader, Phase, Variant, VariantObject, delta, root_of,
    sign_header,
};
use roadstead_model::{AppKey, ClusterId, SyncOptions, Time};
use roadstead_wire::keys::{KeySet, SigningKey};
use roadstead_wire::pki::{Ca, Validity};
use roadstead_wire::token::{JoinToken, TOKEN_BYTES};
use roadstead_wire::{
    AgentIdentity, AgentSays, Answer, Blob, BlobSender, ClientTrust, Connections, DetailRequest,
    Gateway, HubSays, JoinReply, JoinRequest, Limits, PeerInfo, Port, Refusal, RefusalKind,
    RenewReply, ServerTls, Session, Want, async_trait, serve, variant_patch,
};
use tokio::sync::{oneshot, watch};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

pub(crate) fn app() -> AppKey {
    AppKey::new("p", "shop")
}

pub(crate) struct Hub {
    pub(crate) ca: Ca,
    pub(crate) key: SigningKey,
    pub(crate) token: Digest,
    pub(crate) joined: Mutex<u32>,
    pub(crate) blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    pub(crate) fetched: Mutex<Vec<(Digest, bool)>>,
    pub(crate) order: watch::Sender<(u64, BTreeMap<AppKey, Entry>)>,
    /// Whom orders are signed for; tests of replay change it.
    pub(crate) signed_for: Mutex<Option<ClusterId>>,
    pub(crate) reports: watch::Sender<BTreeMap<AppKey, AppReport>>,
    pub(crate) refused: watch::Sender<String>,
    pub(crate) detail: watch::Sender<Option<DetailRequest>>,
    pub(crate) answers: watch::Sender<Vec<Answer>>,
    pub(crate) facts: watch::Sender<String>,
    /// What the agent said last of its records.
    pub(crate) unkept: watch::Sender<Option<String>>,
    /// The serial numbers of the certificates that were made, and of those that are good no more.
    pub(crate) made: Mutex<Vec<String>>,
    pub(crate) revoked: Arc<Mutex<BTreeSet<String>>>,
    /// By how many milliseconds its clock is ahead of the agent's.
    ahead: i64,
}

impl Hub {
    fn now(&self) -> Time {
        Time(now().0 + self.ahead)
    }
}

#[async_trait]
impl Gateway for Hub {
    async fn join(&self, request: JoinRequest, _: SocketAddr) -> Result<JoinReply, Refusal> {
        let token = request.token.parse::<JoinToken>();
        if token.map(|token| token.hash()) != Ok(self.token) {
            return Err(Refusal::new(RefusalKind::Unauthenticated, "no such token"));
        }
        *self.joined.lock().expect("a lock") += 1;
        let cluster = ClusterId("c-1".to_owned());
        let made = self
            .ca
            .agent(
                &request.request_pem,
                &cluster,
                Validity::starting(self.now(), DAY),
            )
            .map_err(|error| Refusal::new(RefusalKind::Denied, error.to_string()))?;
        self.made.lock().expect("a lock").push(made.serial.clone());
        Ok(JoinReply {
            cluster,
            certificate_pem: made.certificate_pem,
            ca_pem: self.ca.certificate_pem(),
            keys_json: KeySet::new(self.key.public().clone()).to_json(),
            epoch: 1,
        })
    }

    async fn renew(&self, agent: &AgentIdentity, request_pem: &str) -> Result<RenewReply, Refusal> {
        let made = self
            .ca
            .agent(
                request_pem,
                &agent.cluster,
                Validity::starting(self.now(), DAY),
            )
            .map_err(|error| Refusal::new(RefusalKind::Denied, error.to_string()))?;
        Ok(RenewReply {
            certificate_pem: made.certificate_pem,
            ca_pem: self.ca.certificate_pem(),
            keys_json: KeySet::new(self.key.public().clone()).to_json(),
        })
    }

    async fn session(&self, mut session: Session) -> Result<(), Refusal> {
        session.welcome("test", 1).await?;
        let (mut order, mut detail) = (self.order.subscribe(), self.detail.subscribe());
        order.mark_changed();
        loop {
            tokio::select! {
                changed = order.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let root = root_of(&order.borrow_and_update().1);
                    session.outbound.send(&HubSays::RootIs(root)).await?;
                }
                changed = detail.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let request = detail.borrow_and_update().clone();
                    if let Some(request) = request {
                        session.outbound.send(&HubSays::Detail(request)).await?;
                    }
                }
                says = session.inbound.next() => match says? {
                    None => return Ok(()),
                    Some(AgentSays::WantOrder { .. }) => {
                        let (sequence, entries) = self.order.borrow().clone();
                        let cluster = self.signed_for.lock().expect("a lock").clone();
                        let header = OrderHeader {
                            cluster: cluster.unwrap_or_else(|| session.agent.cluster.clone()),
                            epoch: 1,
                            sequence,
                            issued_at: self.now(),
                            root: root_of(&entries),
                            critical: Vec::new(),
                        };
                        let order = delta(None, &entries, sign_header(&header, &self.key));
                        session.outbound.send(&HubSays::Order(Box::new(order))).await?;
                    }
                    Some(AgentSays::Report(report)) => {
                        let report = *report;
                        if report.unkept.is_some() {
                            self.unkept.send_replace(report.unkept);
                        }
                        if let Some(root) = report.root {
                            self.refused.send_replace(root.refused);
                        }
                        if let Some(facts) = report.facts {
                            self.facts.send_replace(facts.kubernetes_version);
                        }
                        self.reports.send_modify(|reports| reports.extend(report.apps));
                    }
                    Some(_) => {}
                },
            }
        }
    }

    async fn fetch(
        &self,
        _: &AgentIdentity,
        wants: Vec<Want>,
        out: BlobSender,
    ) -> Result<(), Refusal> {
        for want in wants {
            let blob = {
                let blobs = self.blobs.lock().expect("a lock");
                let patch = want.base.and_then(|base| {
                    let patch = variant_patch(blobs.get(&base)?, blobs.get(&want.digest)?).ok()?;
                    Some(Blob::patch(base, &patch))
                });
                self.fetched
                    .lock()
                    .expect("a lock")
                    .push((want.digest, patch.is_some()));
                patch.unwrap_or_else(|| match blobs.get(&want.digest) {
                    Some(bytes) => Blob::whole(bytes),
                    None => Blob::refused("no such content"),
                })
            };
            let sent = out.send(want.digest, &blob).await;
            sent.map_err(|_| Refusal::new(RefusalKind::Unavailable, "gone"))?;
        }
        Ok(())
    }

    async fn answer(&self, _: &AgentIdentity, answer: Answer) -> Result<(), Refusal> {
        self.answers.send_modify(|answers| answers.push(answer));
        Ok(())
    }
}

impl Hub {
    pub(crate) fn order(&self, sequence: u64, objects: &[Value]) {
        let entry = self.entry(objects);
        self.order
            .send_replace((sequence, BTreeMap::from([(app(), entry)])));
    }

    /// An App's entry that delivers these objects.
    pub(crate) fn entry(&self, objects: &[Value]) -> Entry {
        let mut blobs = self.blobs.lock().expect("a lock");
        let mut variant = Variant {
            objects: Vec::new(),
            namespaces: vec!["shop".to_owned()],
        };
        for object in objects {
            let bytes = base_json::canonical(object);
            let digest = Digest::of(&bytes);
            let gvk = Gvk::of(object).expect("a kind");
            variant.objects.push(VariantObject {
                id: ObjectId::of(object).expect("an id"),
                version: gvk.version,
                digest,
                size: 0,
                phase: Phase::Sync,
                wave: 0,
                hook: false,
                once: false,
                hook_delete: Vec::new(),
                on_rollback: false,
                keep: false,
            });
            blobs.insert(digest, bytes);
        }
        let bytes = base_json::canonical_of(&variant).expect("JSON");
        let id = Digest::of(&bytes);
        blobs.insert(id, bytes);
        Entry {
            release: id,
            commit: String::new(),
            variant: id,
            phase: EntryPhase::Deliver,
            options: SyncOptions::default(),
            adopt: roadstead_model::Adopt::Unowned,
            takes_over_from: Vec::new(),
            waits_for: Vec::new(),
            hold: None,
            tombstones: Vec::new(),
            approved: Vec::new(),
            attempt: 0,
        }
    }

    pub(crate) async fn until(&self, what: &str, good: impl Fn(&AppReport) -> bool) -> AppReport {
        self.until_of(&app(), what, Duration::from_secs(30), good)
            .await
    }

    pub(crate) async fn until_of(
        &self,
        app: &AppKey,
        what: &str,
        within: Duration,
        good: impl Fn(&AppReport) -> bool,
    ) -> AppReport {
        let mut reports = self.reports.subscribe();
        let found = reports.wait_for(|reports| reports.get(app).is_some_and(&good));
        match tokio::time::timeout(within, found).await {
            Ok(Ok(reports)) => reports[app].clone(),
            _ => panic!("never {what}: {:#?}", self.reports.borrow().get(app)),
        }
    }
}

pub(crate) async fn start() -> (Arc<Hub>, String, String) {
    start_ahead(0).await
}

/// A hub whose clock is so many milliseconds ahead of the agent's.
pub(crate) async fn start_ahead(ahead: i64) -> (Arc<Hub>, String, String) {
    let validity = Validity::starting(Time(now().0 + ahead), 100 * DAY);
    let ca = Ca::generate("test", validity).expect("a CA");
    let server = ca
        .server(&["127.0.0.1".to_owned()], validity)
        .expect("a certificate");
    let revoked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let none = Arc::clone(&revoked);
    let clients = ClientTrust {
        ca_pems: vec![ca.certificate_pem()],
        offline_grace: DAY,
        is_revoked: Arc::new(move |serial| none.lock().expect("a lock").contains(serial)),
    };
    let chain = server.certificate.certificate_pem.clone() + &ca.certificate_pem();
    let tls = ServerTls::new(&chain, &server.key_pem, clients).expect("TLS");
    let token = JoinToken::new(&[7; TOKEN_BYTES], ca.hash());
    let hub = Arc::new(Hub {
        key: SigningKey::generate().expect("a key"),
        token: token.hash(),
        ca,
        joined: Mutex::default(),
        blobs: Mutex::default(),
        fetched: Mutex::default(),
        order: watch::Sender::new((0, BTreeMap::new())),
        signed_for: Mutex::default(),
        reports: watch::Sender::default(),
        refused: watch::Sender::default(),
        detail: watch::Sender::default(),
        answers: watch::Sender::default(),
        facts: watch::Sender::default(),
        unkept: watch::Sender::default(),
        made: Mutex::default(),
        revoked,
        ahead,
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let port = Port {
        listener,
        tls: Arc::new(tls),
        gateway: Arc::clone(&hub),
        other: |_: http::Request<hyper::body::Incoming>, _: PeerInfo| async {
            http::Response::new(String::new())
        },
        connections: Connections::default(),
        limits: Limits::default(),
    };
    tokio::spawn(serve(port, std::future::pending()));
    (hub, url, token.to_string())
}

pub(crate) fn cluster() -> Handle {
    let clock: Arc<dyn Clock> = Arc::new(jiff::Timestamp::now);
    let timer: Arc<dyn Timer> = Arc::new(|duration: Duration| -> k8s_apiserver::Sleep {
        Box::pin(tokio::time::sleep(duration))
    });
    let playground = Playground::new(Config::default(), clock, timer).expect("a playground");
    let handle = playground.add_cluster("one").expect("a cluster");
    tokio::spawn(async move {
        loop {
            playground.run_due(jiff::Timestamp::now());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    handle
}

pub(crate) struct Agent {
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: tokio::task::JoinHandle<Result<(), roadstead_agent::AgentError>>,
}

pub(crate) fn agent(cluster: &Handle, folder: &Path, url: &str, token: Option<String>) -> Agent {
    agent_on(Arc::new(cluster.clone()), folder, url, token)
}

pub(crate) fn agent_on(
    cluster: Arc<dyn Cluster>,
    folder: &Path,
    url: &str,
    token: Option<String>,
) -> Agent {
    let config = AgentConfig {
        cluster,
        state_dir: folder.join("state"),
        hub: HubConfig {
            url: url.to_owned(),
            token,
            ..HubConfig::default()
        },
        name: "one".to_owned(),
        version: "test".to_owned(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(run(config, async {
        let _ = stopped.await;
    }));
    Agent { stop, task }
}

impl Agent {
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("no panic").expect("a clean end");
    }
}

pub(crate) fn config(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": value}})
}

pub(crate) fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "stringData": {"p": "hidden"}})
}

pub(crate) fn web(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}}}})
}

pub(crate) async fn get(cluster: &dyn Cluster, api_version: &str, id: &str) -> Option<Value> {
    let id: ObjectId = id.parse().expect("an id");
    let call = Call::Get {
        gvk: Gvk::new(api_version, &id.kind),
        id,
    };
    match cluster.call(call).await {
        Ok(Reply::Object(bytes)) => Some(serde_json::from_slice(&bytes).expect("JSON")),
        _ => None,
    }
}

pub(crate) const WEB: &str = "apps/Deployment/shop/web";
