//! Many agents in one process: each with a connection, a certificate and a session of its own. They take orders, check
//! them, fetch what they lack, and report it healthy; they have no cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use base_json::Digest;
use clap::Args as ClapArgs;
use roadstead_dispatch::{
    AgentFacts, AppReport, AppState, Entry, HealthCounts, Inventory, Known, OrderDelta, OrderError,
    Report, RootAck, Variant, apply_delta, open_header, root_of,
};
use roadstead_model::{AppKey, ClusterId, Time};
use roadstead_wire::keys::KeySet;
use roadstead_wire::pki::TlsKey;
use roadstead_wire::token::JoinToken;
use roadstead_wire::{
    AgentClient, AgentSays, ClientIdentity, Endpoint, Hello, HubSays, HubTrust, JoinReply,
    JoinRequest, ToHub, Want,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How many agents join at once.
const JOINING: usize = 8;

/// The agents of `bench fanout`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The hub's URL
    #[arg(long)]
    hub: String,
}

/// What the agents are told, one JSON value a line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    /// Join, and hold a session.
    Join { name: String, token: String },
    /// Say how many bytes came so far.
    Count,
}

/// What the agents say, one JSON value a line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// An agent's session stands.
    Connected { agent: String },
    /// An agent holds an order and everything in it.
    Held(Box<Held>),
    /// An agent has failed; the figures are worth nothing.
    Failed { agent: String, error: String },
    /// How many bytes each agent has received.
    Counted { received: BTreeMap<String, u64> },
}

/// An order that is held with all its contents. Times are microseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) agent: String,
    /// The commits of the entries that came, by App.
    pub(super) changed: BTreeMap<String, String>,
    /// How many entries the order has.
    pub(super) entries: usize,
    /// When the hub said that there is another order.
    pub(super) told_at: u64,
    /// When the order was there and had been checked.
    pub(super) order_at: u64,
    /// When every content was there.
    pub(super) held_at: u64,
    /// How many contents were fetched.
    pub(super) contents: usize,
    /// All bytes that this connection has brought so far.
    pub(super) received: u64,
}

pub(super) fn micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Runs the agents until standard input ends.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (say, mut said) = mpsc::unbounded_channel::<Said>();
    std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        while let Some(said) = said.blocking_recv() {
            let line = serde_json::to_string(&said).unwrap_or_default();
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    let (hear, mut heard) = mpsc::unbounded_channel::<String>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if hear.send(line).is_err() {
                return;
            }
        }
    });
    let room = Arc::new(Semaphore::new(JOINING));
    let clients: Clients = Arc::default();
    while let Some(line) = heard.recv().await {
        match serde_json::from_str(&line).context("what the agents are told cannot be read")? {
            Tell::Count => {
                let clients = clients.lock().await;
                let received = clients
                    .iter()
                    .map(|(name, client)| (name.clone(), client.received_bytes()))
                    .collect();
                let _ = say.send(Said::Counted { received });
            }
            Tell::Join { name, token } => {
                let (say, room, clients) = (say.clone(), Arc::clone(&room), Arc::clone(&clients));
                let hub = args.hub.clone();
                tokio::spawn(async move {
                    let ended = async {
                        let place = room.acquire_owned().await?;
                        let mut agent = Agent::join(&hub, &name, &token, say.clone()).await?;
                        drop(place);
                        clients
                            .lock()
                            .await
                            .insert(name.clone(), agent.client.clone());
                        agent.stay(&clients).await
                    };
                    let error = match ended.await {
                        Ok(never) => match never {},
                        Err(error) => format!("{error:#}"),
                    };
                    let _ = say.send(Said::Failed { agent: name, error });
                });
            }
        }
    }
    Ok(())
}

/// The connections as they are now, by cluster.
type Clients = Arc<tokio::sync::Mutex<BTreeMap<String, AgentClient>>>;

/// How long the hub may be away.
const AWAY: Duration = Duration::from_secs(180);

/// A little chance, so that not all come back at one moment.
fn chance() -> u8 {
    let seed = std::collections::hash_map::RandomState::new();
    std::hash::BuildHasher::hash_one(&seed, 0_u8) as u8
}

struct Agent {
    name: String,
    cluster: ClusterId,
    keys: KeySet,
    endpoint: Endpoint,
    client: AgentClient,
    known: Known,
    entries: BTreeMap<AppKey, Entry>,
    /// The bytes of the variants that are held, as bases of patches.
    variants: BTreeMap<Digest, (Vec<u8>, Variant)>,
    contents: BTreeSet<Digest>,
    say: mpsc::UnboundedSender<Said>,
}

impl Agent {
    async fn join(
        hub: &str,
        name: &str,
        token: &str,
        say: mpsc::UnboundedSender<Said>,
    ) -> anyhow::Result<Self> {
        let pin = token.parse::<JoinToken>()?.ca_hash();
        let key = TlsKey::generate()?;
        let request = JoinRequest {
            token: token.to_owned(),
            name: name.to_owned(),
            request_pem: key.request_pem()?,
            agent_version: VERSION.to_owned(),
            facts: None,
        };
        let mut first = AgentClient::connect(&Endpoint::new(hub, HubTrust::Pin(pin), None)).await?;
        let JoinReply {
            cluster,
            certificate_pem,
            ca_pem,
            keys_json,
            ..
        } = first.join(&request).await.context("failed to join")?;
        let own = ClientIdentity {
            certificate_pem,
            key_pem: key.to_pem(),
        };
        let mut endpoint = Endpoint::new(hub, HubTrust::Ca(ca_pem), Some(own));
        endpoint.connect_timeout = Duration::from_secs(60);
        Ok(Self {
            name: name.to_owned(),
            cluster,
            keys: KeySet::from_json(&keys_json)?,
            client: AgentClient::connect(&endpoint).await?,
            endpoint,
            known: Known::default(),
            entries: BTreeMap::new(),
            variants: BTreeMap::new(),
            contents: BTreeSet::new(),
            say,
        })
    }

    /// Holds a session, and comes back when the hub was away, as real agents do.
    async fn stay(&mut self, clients: &Clients) -> anyhow::Result<std::convert::Infallible> {
        let mut first = true;
        let mut lost = std::time::Instant::now();
        loop {
            let ended = self.serve(&mut first).await;
            if first {
                // it never had a session
                ended?;
            } else if ended.is_ok() {
                lost = std::time::Instant::now();
            }
            loop {
                let spread = u64::from(chance()) * 2;
                tokio::time::sleep(Duration::from_millis(250 + spread)).await;
                match AgentClient::connect(&self.endpoint).await {
                    Ok(client) => {
                        clients
                            .lock()
                            .await
                            .insert(self.name.clone(), client.clone());
                        self.client = client;
                        lost = std::time::Instant::now();
                        break;
                    }
                    Err(error) if lost.elapsed() > AWAY => return Err(error.into()),
                    Err(_) => {}
                }
            }
        }
    }

    async fn serve(&mut self, first: &mut bool) -> anyhow::Result<()> {
        let root = (!*first).then(|| root_of(&self.entries));
        let hello = Hello::new(self.cluster.clone(), VERSION, root, self.known);
        let mut session = self.client.session(hello).await?;
        if std::mem::take(first) {
            let agent = self.name.clone();
            let _ = self.say.send(Said::Connected { agent });
        }
        let mut told_at = micros();
        while let Some(says) = session.inbound.next().await? {
            match says {
                HubSays::RootIs(root) if root != root_of(&self.entries) => {
                    told_at = micros();
                    let base = (self.known != Known::default()).then(|| root_of(&self.entries));
                    session
                        .outbound
                        .send(&AgentSays::WantOrder { base })
                        .await?;
                }
                HubSays::Order(delta) => self.order(&delta, told_at, &session.outbound).await?,
                HubSays::NeedStatus => {
                    let report = Report {
                        facts: Some(AgentFacts {
                            agent_version: VERSION.to_owned(),
                            kubernetes_version: "v1.36.0".to_owned(),
                            api_kinds: 60,
                            nodes: 1,
                        }),
                        ..Report::default()
                    };
                    let says = AgentSays::Report(Box::new(report));
                    session.outbound.send(&says).await?;
                }
                HubSays::Ended { reason } => bail!("the hub ended the session: {reason}"),
                HubSays::RootIs(_) | HubSays::Welcome(_) | HubSays::Detail(_) => {}
            }
        }
        Ok(())
    }

    async fn order(&mut self, delta: &OrderDelta, told_at: u64, hub: &ToHub) -> anyhow::Result<()> {
        let header = open_header(&delta.header, &self.keys)?;
        let applied = apply_delta(
            &self.entries,
            &self.cluster,
            self.known,
            &header,
            delta,
            &[],
        );
        let entries = match applied {
            // two orders were asked for before the first one came
            Err(OrderError::OtherBase { held, .. }) => {
                if header.root != held {
                    let base = Some(held);
                    hub.send(&AgentSays::WantOrder { base }).await?;
                }
                return Ok(());
            }
            applied => applied?,
        };
        let order_at = micros();
        let lists: Vec<Want> = delta
            .changed
            .iter()
            .filter(|(_, entry)| !self.variants.contains_key(&entry.variant))
            .map(|(app, entry)| Want {
                digest: entry.variant,
                base: self.entries.get(app).map(|old| old.variant),
            })
            .collect();
        let mut contents = lists.len();
        for (digest, bytes) in self.fetch(&lists).await? {
            let variant = serde_json::from_slice(&bytes).context("a variant cannot be read")?;
            self.variants.insert(digest, (bytes, variant));
        }
        let mut objects = BTreeSet::new();
        for entry in delta.changed.values() {
            if let Some((_, variant)) = self.variants.get(&entry.variant) {
                objects.extend(variant.objects.iter().map(|object| object.digest));
            }
        }
        let wants: Vec<Want> = objects
            .difference(&self.contents)
            .map(|digest| Want::whole(*digest))
            .collect();
        contents += wants.len();
        let fetched = self.fetch(&wants).await?;
        self.contents
            .extend(fetched.iter().map(|(digest, _)| *digest));
        let held_at = micros();
        self.known = Known {
            epoch: header.epoch,
            sequence: header.sequence,
        };
        self.entries = entries;
        let held: BTreeSet<Digest> = self.entries.values().map(|entry| entry.variant).collect();
        self.variants.retain(|digest, _| held.contains(digest));
        let _ = self.say.send(Said::Held(Box::new(Held {
            agent: self.name.clone(),
            changed: delta
                .changed
                .iter()
                .map(|(app, entry)| (app.name.clone(), entry.commit.clone()))
                .collect(),
            entries: self.entries.len(),
            told_at,
            order_at,
            held_at,
            contents,
            received: self.client.received_bytes(),
        })));
        let report = Report {
            root: Some(RootAck {
                root: header.root,
                known: self.known,
                refused: String::new(),
            }),
            apps: delta
                .changed
                .iter()
                .map(|(app, entry)| (app.clone(), self.healthy(entry)))
                .collect(),
            gone: delta.gone.clone(),
            ..Report::default()
        };
        hub.send(&AgentSays::Report(Box::new(report))).await?;
        Ok(())
    }

    async fn fetch(&mut self, wants: &[Want]) -> anyhow::Result<Vec<(Digest, Vec<u8>)>> {
        let mut out = Vec::new();
        if wants.is_empty() {
            return Ok(out);
        }
        let mut stream = self.client.fetch(wants).await?;
        while let Some(fetched) = stream.next().await? {
            let digest = fetched.digest;
            let held = |base: &Digest| self.variants.get(base).map(|(bytes, _)| bytes.clone());
            out.push((digest, fetched.resolve(held)?));
        }
        if out.len() != wants.len() {
            bail!(
                "{} contents were asked for, {} came",
                wants.len(),
                out.len()
            );
        }
        Ok(out)
    }

    fn healthy(&self, entry: &Entry) -> AppReport {
        let variant = self.variants.get(&entry.variant);
        let mut lasting: Vec<_> = variant
            .iter()
            .flat_map(|(_, variant)| variant.lasting().map(|object| object.id.clone()))
            .collect();
        lasting.sort();
        let total = u32::try_from(lasting.len()).unwrap_or(u32::MAX);
        AppReport {
            release: entry.release,
            variant: entry.variant,
            attempt: entry.attempt,
            state: AppState::Healthy,
            since: Time(i64::try_from(micros() / 1000).unwrap_or(i64::MAX)),
            moved: Time(0),
            message: String::new(),
            health: HealthCounts {
                total,
                healthy: total,
                ..HealthCounts::default()
            },
            problems: Vec::new(),
            drift: Vec::new(),
            healed: 0,
            writes: 0,
            inventory: Inventory {
                digest: Inventory::digest_of(&lasting),
                objects: None,
            },
            left_over: Vec::new(),
            awaiting_approval: Vec::new(),
        }
    }
}
