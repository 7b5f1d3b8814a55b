//! The world: one queue, one clock, one source of chance, and everybody who lives on them.

use std::collections::{BTreeMap, VecDeque};

use base_json::Digest;
use base_sign::{Signer, Verifier};
use base_store::{Faults, SimDisk};
use bytes::Bytes;
use k8s_cluster::{Call, ClusterError, WatchEvent};
use k8s_object::{Gvk, ObjectId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roadstead_control::RenderJob;
use roadstead_dispatch::{OrderDelta, Report};
use roadstead_model::{ClusterId, Time};
use roadstead_sync::{CallId, Input};

use crate::agent::Agent;
use crate::chaos::Fleet;
use crate::cluster::SimCluster;
use crate::git::Git;
use crate::hub::Hub;
use crate::monitor::Monitor;
use crate::queue::Queue;
use crate::{Options, Stats};

/// When the simulated time begins.
const START: i64 = 1_795_000_000_000;

/// A key whose signatures cost next to nothing.
pub(crate) struct Toy;

impl Signer for Toy {
    fn key_id(&self) -> String {
        "toy".to_owned()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        fnv(0xcbf2_9ce4_8422_2325, message).to_be_bytes().to_vec()
    }
}

impl Verifier for Toy {
    fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        key_id == "toy" && signature == self.sign(message)
    }
}

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What an agent says to the hub.
#[derive(Debug, Clone)]
pub(crate) enum FromAgent {
    Hello { root: Digest },
    Report(Box<Report>),
    WantOrder { base: Option<Digest> },
    WantBlobs(Vec<Digest>),
}

/// What the hub says to an agent.
#[derive(Debug, Clone)]
pub(crate) enum FromHub {
    RootIs(Digest),
    NeedStatus,
    Order(Box<OrderDelta>),
    Blobs(Vec<(Digest, Bytes)>),
    NoBlobs(Vec<Digest>),
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    HubStart,
    Think {
        life: u64,
    },
    Poll {
        life: u64,
    },
    PollOnce {
        life: u64,
    },
    Rendered {
        life: u64,
        job: Box<RenderJob>,
    },
    ToHub {
        conn: u64,
        message: Box<FromAgent>,
    },
    ToAgent {
        conn: u64,
        message: Box<FromHub>,
    },
    HubLoses {
        conn: u64,
    },
    AgentLoses {
        conn: u64,
    },
    Connect {
        cluster: ClusterId,
        life: u64,
    },
    AgentStart {
        cluster: ClusterId,
    },
    AgentWake {
        cluster: ClusterId,
        life: u64,
    },
    Tell {
        cluster: ClusterId,
        life: u64,
        input: Box<Input>,
    },
    Ask {
        cluster: ClusterId,
        life: u64,
        id: CallId,
        call: Box<Call>,
    },
    Seen {
        cluster: ClusterId,
        life: u64,
        serial: u64,
        gvk: Gvk,
        item: Box<Result<WatchEvent, Option<ClusterError>>>,
    },
    Control {
        cluster: ClusterId,
        id: ObjectId,
    },
    Chaos,
    Heal(Trouble),
}

/// Something that ends by itself.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    Link(ClusterId),
    Slow(ClusterId),
    Disk,
}

/// A connection of an agent to the hub.
pub(crate) struct Conn {
    pub(crate) cluster: ClusterId,
    agent_open: bool,
    hub_open: bool,
    to_hub_at: u64,
    to_agent_at: u64,
}

/// Everything.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: u64,
    pub(crate) queue: Queue<Event>,
    rng: ChaCha8Rng,
    pub(crate) disk: SimDisk,
    /// The disk fails now and then.
    pub(crate) disk_fails: bool,
    pub(crate) hub: Option<Hub>,
    pub(crate) hub_life: u64,
    /// The hub dies when it reaches 0.
    pub(crate) hub_fuse: Option<u32>,
    pub(crate) epoch: u64,
    pub(crate) backup: Option<base_store::memory::Backup>,
    pub(crate) commits: u64,
    pub(crate) agents: BTreeMap<ClusterId, Agent>,
    pub(crate) clusters: BTreeMap<ClusterId, SimCluster>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    pub(crate) git: Git,
    pub(crate) fleet: Fleet,
    pub(crate) monitor: Monitor,
    /// Orders that were signed at some time, for whoever wants to send them again.
    pub(crate) old_orders: VecDeque<(ClusterId, OrderDelta)>,
    pub(crate) stats: Stats,
    pub(crate) violations: Vec<String>,
    hash: u64,
    pub(crate) tail: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        Self {
            options,
            now: 0,
            queue: Queue::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            disk: SimDisk::new(Faults {
                seed,
                ..Faults::default()
            }),
            disk_fails: false,
            hub: None,
            hub_life: 0,
            hub_fuse: None,
            epoch: 1,
            backup: None,
            commits: 0,
            agents: BTreeMap::new(),
            clusters: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            git: Git::default(),
            fleet: Fleet::default(),
            monitor: Monitor::default(),
            old_orders: VecDeque::new(),
            stats: Stats::default(),
            violations: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            tail: VecDeque::new(),
        }
    }

    pub(crate) fn wall(&self) -> Time {
        Time(START.saturating_add(i64::try_from(self.now).unwrap_or(i64::MAX)))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn random(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.random(1, 100) <= percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let last = list.len().checked_sub(1)?;
        let at = self.random(0, last as u64);
        list.get(usize::try_from(at).ok()?).cloned()
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&mut self, text: String) {
        let line = format!("{:>9} {text}", self.now);
        self.hash = fnv(self.hash, line.as_bytes());
        if self.tail.len() >= self.options.tail {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn violation(&mut self, text: String) {
        self.note(format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    pub(crate) fn remember_order(&mut self, cluster: &ClusterId, order: OrderDelta) {
        self.old_orders.push_back((cluster.clone(), order));
        if self.old_orders.len() > 40 {
            self.old_orders.pop_front();
        }
    }

    /// Lets everything happen that is due within so many milliseconds; ends at the first violation.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.violations.is_empty() {
            let Some((at, event)) = self.queue.pop(end) else {
                break;
            };
            self.now = self.now.max(at);
            self.stats.events += 1;
            self.happens(event);
            for text in self.monitor.take() {
                self.violation(text);
            }
        }
        self.now = self.now.max(end);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::HubStart => self.hub_starts(),
            Event::Think { life } if life == self.hub_life => self.hub_thinks(),
            Event::Poll { life } if life == self.hub_life => self.hub_polls(false),
            Event::PollOnce { life } if life == self.hub_life => self.hub_polls(true),
            Event::Rendered { life, job } if life == self.hub_life => self.hub_rendered(&job),
            Event::Think { .. }
            | Event::Poll { .. }
            | Event::PollOnce { .. }
            | Event::Rendered { .. } => {}
            Event::ToHub { conn, message } => {
                let Some(known) = self.conns.get(&conn).filter(|known| known.hub_open) else {
                    return;
                };
                let cluster = known.cluster.clone();
                if self.hub.is_none() || !self.link(&cluster) {
                    self.breaks(conn);
                    return;
                }
                self.hub_hears(conn, &cluster, *message);
            }
            Event::ToAgent { conn, message } => {
                let Some(known) = self.conns.get(&conn).filter(|known| known.agent_open) else {
                    return;
                };
                let cluster = known.cluster.clone();
                if !self.link(&cluster) {
                    self.breaks(conn);
                    return;
                }
                self.agent_hears(&cluster, conn, *message);
            }
            Event::HubLoses { conn } => {
                if let Some(known) = self.conns.get_mut(&conn) {
                    known.hub_open = false;
                }
                self.hub_loses(conn);
            }
            Event::AgentLoses { conn } => self.agent_loses(conn),
            Event::Connect { cluster, life } => self.connects(cluster, life),
            Event::AgentStart { cluster } => self.agent_starts(&cluster),
            Event::AgentWake { cluster, life } => self.agent_wakes(&cluster, life),
            Event::Tell {
                cluster,
                life,
                input,
            } => {
                if self.lives(&cluster, life) {
                    self.agent_takes(&cluster, *input);
                }
            }
            Event::Ask {
                cluster,
                life,
                id,
                call,
            } => self.cluster_answers(&cluster, life, id, &call),
            Event::Seen {
                cluster,
                life,
                serial,
                gvk,
                item,
            } => {
                if self.lives(&cluster, life) {
                    self.agent_sees(&cluster, serial, gvk, *item);
                }
            }
            Event::Control { cluster, id } => {
                let now = self.wall();
                if let Some(sim) = self.clusters.get_mut(&cluster) {
                    sim.control(now, &id);
                }
                self.flush(&cluster);
            }
            Event::Chaos => self.chaos(),
            Event::Heal(trouble) => self.heals(trouble),
        }
    }

    fn link(&self, cluster: &ClusterId) -> bool {
        self.agents.get(cluster).is_some_and(|agent| agent.link)
    }

    fn connects(&mut self, cluster: ClusterId, life: u64) {
        if !self.lives(&cluster, life) {
            return;
        }
        let up = self.hub.is_some() && self.link(&cluster);
        let Some(agent) = self.agents.get_mut(&cluster) else {
            return;
        };
        if agent.conn.is_some() {
            return;
        }
        if !up {
            agent.tries = agent.tries.saturating_add(1).min(12);
            let most = 1_000_u64 << agent.tries.saturating_sub(2).min(9);
            let most = if self.options.faults {
                most.min(8_000)
            } else {
                most
            };
            let delay = self.random(500, most);
            self.queue
                .put(self.now + delay, Event::Connect { cluster, life });
            return;
        }
        self.next_conn += 1;
        let conn = self.next_conn;
        agent.conn = Some(conn);
        agent.tries = 0;
        let root = agent.machine.as_ref().map(roadstead_sync::Machine::root);
        self.conns.insert(
            conn,
            Conn {
                cluster: cluster.clone(),
                agent_open: true,
                hub_open: true,
                to_hub_at: 0,
                to_agent_at: 0,
            },
        );
        self.note(format!("{cluster} connects as {conn}"));
        if let Some(root) = root {
            self.send_hub(conn, &cluster, FromAgent::Hello { root });
        }
    }

    fn latency(&mut self, cluster: &ClusterId) -> u64 {
        let (from, to) = self
            .agents
            .get(cluster)
            .map_or((1, 40), |agent| agent.latency);
        self.random(from, to)
    }

    pub(crate) fn send_hub(&mut self, conn: u64, cluster: &ClusterId, message: FromAgent) {
        let at = self.now + self.latency(cluster);
        if let Some(known) = self.conns.get_mut(&conn) {
            known.to_hub_at = known.to_hub_at.max(at);
            let message = Box::new(message);
            self.queue
                .put(known.to_hub_at, Event::ToHub { conn, message });
        }
    }

    pub(crate) fn send_agent(&mut self, conn: u64, message: FromHub) {
        let Some(cluster) = self.conns.get(&conn).map(|known| known.cluster.clone()) else {
            return;
        };
        let at = self.now + self.latency(&cluster);
        // a message that comes twice does no harm
        let twice = self.options.faults && self.chance(3);
        if let Some(known) = self.conns.get_mut(&conn) {
            known.to_agent_at = known.to_agent_at.max(at);
            let at = known.to_agent_at;
            let message = Box::new(message);
            if twice {
                let message = message.clone();
                self.queue.put(at, Event::ToAgent { conn, message });
            }
            self.queue.put(at, Event::ToAgent { conn, message });
        }
    }

    /// A connection breaks: what is under way is lost, and each side notices in its own time.
    pub(crate) fn breaks(&mut self, conn: u64) {
        let Some(known) = self.conns.get(&conn) else {
            return;
        };
        let (agent_open, hub_open) = (known.agent_open, known.hub_open);
        self.note(format!("connection {conn} breaks"));
        if agent_open {
            let delay = self.random(1, 15_000);
            self.queue.put(self.now + delay, Event::AgentLoses { conn });
        }
        if hub_open {
            // the hub may notice long after the agent is back on another connection
            let delay = self.random(1, 30_000);
            self.queue.put(self.now + delay, Event::HubLoses { conn });
        }
    }

    pub(crate) fn hub_closes(&mut self, conn: u64) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.hub_open = false;
        }
        self.hub_loses(conn);
        let delay = self.random(1, 3_000);
        self.queue.put(self.now + delay, Event::AgentLoses { conn });
    }

    pub(crate) fn agent_closes(&mut self, conn: u64) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.agent_open = false;
        }
        let delay = self.random(1, 10_000);
        self.queue.put(self.now + delay, Event::HubLoses { conn });
    }

    fn agent_loses(&mut self, conn: u64) {
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        known.agent_open = false;
        let cluster = known.cluster.clone();
        let Some(agent) = self
            .agents
            .get_mut(&cluster)
            .filter(|agent| agent.conn == Some(conn))
        else {
            return;
        };
        agent.conn = None;
        let life = agent.life;
        self.agent_takes(&cluster, Input::Disconnected);
        let delay = self.random(200, 5_000);
        self.queue
            .put(self.now + delay, Event::Connect { cluster, life });
    }

    /// A trouble is over.
    pub(crate) fn heals(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Link(cluster) => {
                if let Some(agent) = self.agents.get_mut(&cluster) {
                    agent.link = true;
                }
            }
            Trouble::Slow(cluster) => {
                if let Some(agent) = self.agents.get_mut(&cluster) {
                    agent.latency = (1, 40);
                }
            }
            Trouble::Disk => {
                self.disk_fails = false;
                self.disk.set_faults(Faults::default());
            }
        }
    }
}
