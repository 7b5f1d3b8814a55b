//! An agent on a simulated cluster, with a hub of a few lines over real TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base_json::{Digest, Value, json};
use k8s_apiserver::{Clock, Timer};
use k8s_cluster::{Call, Cluster, Propagation, Reply};
use k8s_object::{Gvk, ObjectId};
use k8s_playground::{Config, Handle, Playground};
use roadstead_agent::{AgentConfig, HubConfig, run};
use roadstead_dispatch::{
    AppReport, AppState, Entry, EntryPhase, OrderHeader, Phase, Variant, VariantObject, delta,
    root_of, sign_header,
};
use roadstead_model::{AppKey, ClusterId, SyncOptions, Time};
use roadstead_wire::keys::{KeySet, SigningKey};
use roadstead_wire::pki::{Ca, Validity};
use roadstead_wire::token::{JoinToken, TOKEN_BYTES};
use roadstead_wire::{
    AgentIdentity, AgentSays, Answer, Blob, BlobSender, ClientTrust, Connections, DetailKind,
    DetailRequest, Gateway, HubSays, JoinReply, JoinRequest, Limits, PeerInfo, Port, Refusal,
    RefusalKind, RenewReply, ServerTls, Session, Want, async_trait, serve, variant_patch,
};
use tokio::sync::{oneshot, watch};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

fn app() -> AppKey {
    AppKey::new("p", "shop")
}

struct Hub {
    ca: Ca,
    key: SigningKey,
    token: Digest,
    joined: Mutex<u32>,
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    fetched: Mutex<Vec<(Digest, bool)>>,
    order: watch::Sender<(u64, BTreeMap<AppKey, Entry>)>,
    /// Whom orders are signed for; tests of replay change it.
    signed_for: Mutex<Option<ClusterId>>,
    reports: watch::Sender<BTreeMap<AppKey, AppReport>>,
    refused: watch::Sender<String>,
    detail: watch::Sender<Option<DetailRequest>>,
    answers: watch::Sender<Vec<Answer>>,
    facts: watch::Sender<String>,
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
                Validity::starting(now(), DAY),
            )
            .map_err(|error| Refusal::new(RefusalKind::Denied, error.to_string()))?;
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
            .agent(request_pem, &agent.cluster, Validity::starting(now(), DAY))
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
                            issued_at: now(),
                            root: root_of(&entries),
                            critical: Vec::new(),
                        };
                        let order = delta(None, &entries, sign_header(&header, &self.key));
                        session.outbound.send(&HubSays::Order(Box::new(order))).await?;
                    }
                    Some(AgentSays::Report(report)) => {
                        let report = *report;
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
    fn order(&self, sequence: u64, objects: &[Value]) {
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
        let entry = Entry {
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
        };
        self.order
            .send_replace((sequence, BTreeMap::from([(app(), entry)])));
    }

    async fn until(&self, what: &str, good: impl Fn(&AppReport) -> bool) -> AppReport {
        let mut reports = self.reports.subscribe();
        let found = reports.wait_for(|reports| reports.get(&app()).is_some_and(&good));
        match tokio::time::timeout(Duration::from_secs(30), found).await {
            Ok(Ok(reports)) => reports[&app()].clone(),
            _ => panic!("never {what}: {:#?}", self.reports.borrow().get(&app())),
        }
    }
}

async fn start() -> (Arc<Hub>, String, String) {
    let validity = Validity::starting(now(), 100 * DAY);
    let ca = Ca::generate("test", validity).expect("a CA");
    let server = ca
        .server(&["127.0.0.1".to_owned()], validity)
        .expect("a certificate");
    let clients = ClientTrust {
        ca_pems: vec![ca.certificate_pem()],
        offline_grace: DAY,
        is_revoked: Arc::new(|_| false),
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

fn cluster() -> Handle {
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

struct Agent {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), roadstead_agent::AgentError>>,
}

fn agent(cluster: &Handle, folder: &Path, url: &str, token: Option<String>) -> Agent {
    let config = AgentConfig {
        cluster: Arc::new(cluster.clone()),
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
    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("no panic").expect("a clean end");
    }
}

fn config(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": value}})
}

fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "stringData": {"p": "hidden"}})
}

fn web(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}}}})
}

async fn get(cluster: &Handle, api_version: &str, id: &str) -> Option<Value> {
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

const WEB: &str = "apps/Deployment/shop/web";

#[tokio::test]
async fn a_cluster_joins_obeys_heals_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let cluster = cluster();
    let first = agent(&cluster, folder.path(), &url, Some(token));
    hub.order(1, &[config("1"), secret(), web("i:1")]);
    let report = hub
        .until("healthy", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!((report.health.total, report.health.healthy), (3, 3));
    assert!(
        hub.facts.borrow().starts_with('v'),
        "{:?}",
        hub.facts.borrow()
    );

    // a change sends the one object that changed, and the list as a patch
    hub.fetched.lock().expect("a lock").clear();
    hub.order(2, &[config("2"), secret(), web("i:1")]);
    let variant = hub.order.borrow().1[&app()].variant;
    hub.until("healthy on the second", |report| {
        report.variant == variant && report.state == AppState::Healthy
    })
    .await;
    assert_eq!(
        get(&cluster, "v1", "/ConfigMap/shop/a")
            .await
            .expect("there")["data"]["k"],
        "2"
    );
    let fetched = hub.fetched.lock().expect("a lock").clone();
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert_eq!(fetched[0], (variant, true));

    // detail is masked
    let ask = |id: u64, object: &str| {
        hub.detail.send_replace(Some(DetailRequest {
            id,
            kind: DetailKind::Object,
            object: object.parse().expect("an id"),
        }));
    };
    let answered = async |count: usize| {
        let mut answers = hub.answers.subscribe();
        let found = answers.wait_for(|answers| answers.len() == count);
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        found
            .expect("an answer")
            .expect("a hub")
            .last()
            .expect("one")
            .clone()
    };
    ask(1, "/Secret/shop/s");
    let answer = answered(1).await;
    let text = String::from_utf8(answer.outcome.expect("an object").to_vec()).expect("text");
    assert!(text.contains("***") && !text.contains("aGlkZGVu"), "{text}");
    ask(2, "/Secret/kube-system/other");
    assert!(
        answered(2)
            .await
            .outcome
            .expect_err("refused")
            .contains("belongs to no App")
    );

    // what is removed by hand is back within a second
    let remove = || Call::Delete {
        gvk: Gvk::new("apps/v1", "Deployment"),
        id: WEB.parse().expect("an id"),
        uid: String::new(),
        propagation: Propagation::Background,
    };
    let begun = Instant::now();
    cluster.call(remove()).await.expect("removed");
    while get(&cluster, "apps/v1", WEB).await.is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "not healed in a second"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let healed = hub
        .until("healed", |report| {
            report.healed == 1 && report.state == AppState::Healthy
        })
        .await;

    // an order that was signed for another cluster is refused
    *hub.signed_for.lock().expect("a lock") = Some(ClusterId("c-2".to_owned()));
    hub.order(3, &[config("3")]);
    let mut refused = hub.refused.subscribe();
    let found = refused.wait_for(|refused| refused.contains("order is for cluster c-2"));
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("refused")
        .expect("a hub");
    assert_eq!(
        get(&cluster, "v1", "/ConfigMap/shop/a")
            .await
            .expect("there")["data"]["k"],
        "2"
    );
    // and so is an old one
    *hub.signed_for.lock().expect("a lock") = None;
    hub.order(1, &[config("1")]);
    let found = refused.wait_for(|refused| refused.contains("was obeyed already"));
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("refused")
        .expect("a hub");
    first.stop().await;

    // without the hub it goes on from what it kept, and writes nothing that is right already
    hub.reports.send_replace(BTreeMap::new());
    let second = agent(&cluster, folder.path(), "https://127.0.0.1:1", None);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.call(remove()).await.expect("removed");
    while get(&cluster, "apps/v1", WEB).await.is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "not healed without a hub"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.stop().await;
    hub.order(4, &[config("2"), secret(), web("i:1")]);
    let third = agent(&cluster, folder.path(), &url, None);
    let report = hub
        .until("healthy again", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 1);
    // one write: the Deployment that was healed while the hub was away
    assert_eq!((report.healed, report.writes), (2, healed.writes + 1));
    third.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_hub, url, token) = start().await;
    let cluster = cluster();
    for (token, text) in [
        (None, "has not joined"),
        (Some("nonsense".to_owned()), "join token cannot be used"),
        (
            Some(token.replace("rs1.", "rs9.")),
            "join token cannot be used",
        ),
    ] {
        let agent = agent(&cluster, folder.path(), &url, token);
        let error = agent.task.await.expect("no panic").expect_err("refused");
        assert!(error.to_string().contains(text), "{error}");
    }
}
