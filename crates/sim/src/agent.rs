//! The agents: the sync machine of each cluster, its disk, and its requests on their way.

use base_json::Value;
use k8s_cluster::{Call, ClusterError, ErrorKind, Reply, WatchEvent};
use k8s_object::Gvk;
use roadstead_dispatch::{Known, OrderDelta, OrderError, apply_delta, open_header};
use roadstead_model::{ClusterId, Now};
use roadstead_sync::{CallId, Effect, Input, Machine, ORDER_KEY, Persisted, Settings};

use crate::cluster::Wrote;
use crate::world::{Event, FromAgent, FromHub, Toy, World};

/// An agent's process, and what survives it.
pub(crate) struct Agent {
    /// `None` while it is dead.
    pub(crate) machine: Option<Machine>,
    pub(crate) life: u64,
    pub(crate) disk: Persisted,
    pub(crate) conn: Option<u64>,
    /// Dies when it reaches 0.
    pub(crate) fuse: Option<u32>,
    /// Latency to the hub in milliseconds, from and to.
    pub(crate) latency: (u64, u64),
    /// Can the hub be reached?
    pub(crate) link: bool,
    /// How often it tried to connect in vain.
    pub(crate) tries: u32,
    /// It is never started again.
    pub(crate) retired: bool,
    booted: u64,
    seen_at: u64,
    wake: Option<u64>,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self {
            machine: None,
            life: 0,
            disk: Persisted::new(),
            conn: None,
            fuse: None,
            latency: (1, 40),
            link: true,
            tries: 0,
            retired: false,
            booted: 0,
            seen_at: 0,
            wake: None,
        }
    }
}

impl World {
    fn agent_now(&self, agent: &Agent) -> Now {
        Now {
            wall: self.wall(),
            mono_ms: 1_000 + self.now - agent.booted,
        }
    }

    pub(crate) fn agent_starts(&mut self, cluster: &ClusterId) {
        let now = self.now;
        let Some(agent) = self.agents.get_mut(cluster) else {
            return;
        };
        if agent.machine.is_some() || agent.retired {
            return;
        }
        agent.life += 1;
        agent.booted = now;
        agent.wake = None;
        agent.machine = Some(Machine::new(Settings {
            agent_version: "sim".to_owned(),
        }));
        let (life, disk) = (agent.life, agent.disk.clone());
        self.note(format!("agent {cluster} starts"));
        self.stats.agent_starts += 1;
        self.agent_takes(cluster, Input::Restored(disk));
        let delay = self.random(1, 2_000);
        let cluster = cluster.clone();
        self.queue
            .put(self.now + delay, Event::Connect { cluster, life });
    }

    pub(crate) fn agent_dies(&mut self, cluster: &ClusterId) {
        let Some(agent) = self.agents.get_mut(cluster) else {
            return;
        };
        if agent.machine.take().is_none() {
            return;
        }
        agent.fuse = None;
        agent.life += 1;
        let conn = agent.conn.take();
        self.note(format!("agent {cluster} dies"));
        if let Some(sim) = self.clusters.get_mut(cluster) {
            sim.forget_watches();
        }
        if let Some(conn) = conn {
            self.agent_closes(conn);
        }
        let delay = self.random(200, 30_000);
        let cluster = cluster.clone();
        self.queue
            .put(self.now + delay, Event::AgentStart { cluster });
    }

    /// The machine takes an input; its effects are carried out until it dies.
    pub(crate) fn agent_takes(&mut self, cluster: &ClusterId, input: Input) {
        let Some(agent) = self.agents.get(cluster) else {
            return;
        };
        let now = self.agent_now(agent);
        let Some(agent) = self.agents.get_mut(cluster) else {
            return;
        };
        let Some(machine) = &mut agent.machine else {
            return;
        };
        let effects = machine.step(now, input);
        self.stats.agent_steps += 1;
        for effect in effects {
            self.stats.agent_effects += 1;
            let Some(agent) = self.agents.get_mut(cluster) else {
                return;
            };
            match &mut agent.fuse {
                Some(0) => {
                    self.agent_dies(cluster);
                    return;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.agent_does(cluster, effect);
        }
    }

    fn agent_does(&mut self, cluster: &ClusterId, effect: Effect) {
        let (from, to) = (1, 30);
        let delay = self.random(from, to);
        let at = self.now + delay;
        let Some(agent) = self.agents.get_mut(cluster) else {
            return;
        };
        let life = agent.life;
        match effect {
            Effect::Call { id, call } => {
                let name = cluster.clone();
                self.queue.put(
                    at,
                    Event::Ask {
                        cluster: name,
                        life,
                        id,
                        call: Box::new(call),
                    },
                );
            }
            Effect::Watch(spec) => {
                if let Some(sim) = self.clusters.get_mut(cluster) {
                    sim.watch(&spec);
                }
                self.flush(cluster);
            }
            Effect::Unwatch(gvk) => {
                if let Some(sim) = self.clusters.get_mut(cluster) {
                    sim.unwatch(&gvk);
                }
            }
            Effect::Fetch(digests) => match agent.conn {
                Some(conn) => self.send_hub(conn, cluster, FromAgent::WantBlobs(digests)),
                None => {
                    let input = Input::BlobsFailed {
                        digests,
                        reason: "not connected".to_owned(),
                    };
                    let input = Box::new(input);
                    let cluster = cluster.clone();
                    self.queue.put(
                        self.now + 1,
                        Event::Tell {
                            cluster,
                            life,
                            input,
                        },
                    );
                }
            },
            Effect::Persist { key, value } => {
                if key == ORDER_KEY {
                    let known = value
                        .as_ref()
                        .and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok())
                        .and_then(|value| {
                            serde_json::from_value::<Known>(value.get("known")?.clone()).ok()
                        });
                    self.monitor.obeyed(cluster, known);
                }
                match value {
                    Some(value) => drop(agent.disk.insert(key, value)),
                    None => drop(agent.disk.remove(&key)),
                }
            }
            Effect::Report(report) => {
                if let Some(conn) = agent.conn {
                    let states: Vec<String> = report
                        .apps
                        .iter()
                        .map(|(app, state)| {
                            format!(
                                "{} {:?} {} {}",
                                app.name,
                                state.state,
                                state.release.short(),
                                state.message
                            )
                        })
                        .collect();
                    self.note(format!("{cluster} reports {states:?}"));
                    self.send_hub(conn, cluster, FromAgent::Report(Box::new(report)));
                    let cluster = cluster.clone();
                    let input = Box::new(Input::ReportSent);
                    self.queue.put(
                        self.now + 1,
                        Event::Tell {
                            cluster,
                            life,
                            input,
                        },
                    );
                }
            }
            Effect::WakeAt(mono) => {
                let at = (agent.booted + mono.saturating_sub(1_000)).max(self.now);
                agent.wake = Some(at);
                let cluster = cluster.clone();
                self.queue.put(at, Event::AgentWake { cluster, life });
            }
        }
    }

    pub(crate) fn agent_wakes(&mut self, cluster: &ClusterId, life: u64) {
        let now = self.now;
        let Some(agent) = self.agents.get_mut(cluster) else {
            return;
        };
        if agent.life == life && agent.wake == Some(now) {
            agent.wake = None;
            self.agent_takes(cluster, Input::Wake);
        }
    }

    /// Is this still the process that it was?
    pub(crate) fn lives(&self, cluster: &ClusterId, life: u64) -> bool {
        self.agents
            .get(cluster)
            .is_some_and(|agent| agent.life == life && agent.machine.is_some())
    }

    /// A request reaches the cluster, whether its agent still lives or not.
    pub(crate) fn cluster_answers(
        &mut self,
        cluster: &ClusterId,
        life: u64,
        id: CallId,
        call: &Call,
    ) {
        let now = self.wall();
        let trouble = self
            .clusters
            .get(cluster)
            .is_some_and(|sim| sim.trouble_until > self.now)
            && self.chance(40);
        let result: Result<Reply, ClusterError> = if trouble {
            let kind = if self.chance(50) {
                ErrorKind::Unavailable
            } else {
                ErrorKind::TooManyRequests {
                    retry_after_ms: 500,
                }
            };
            Err(ClusterError::new(kind, "the API server has trouble"))
        } else {
            let Some(sim) = self.clusters.get_mut(cluster) else {
                return;
            };
            let (result, wrote) = sim.call(now, call);
            if let Some(wrote) = wrote {
                self.stats.writes += 1;
                let text = match &wrote {
                    Wrote::Created(id, _) => format!("{cluster} creates {id}"),
                    Wrote::Changed(id, _) => format!("{cluster} changes {id}"),
                    Wrote::Deleted(id, _) => format!("{cluster} deletes {id}"),
                };
                self.note(text);
                if let Some(sim) = self.clusters.get(cluster) {
                    self.monitor.wrote(cluster, &wrote, &sim.objects);
                }
            }
            result
        };
        self.flush(cluster);
        let delay = self.random(1, 30);
        let cluster = cluster.clone();
        self.queue.put(
            self.now + delay,
            Event::Tell {
                cluster,
                life,
                input: Box::new(Input::Reply { call: id, result }),
            },
        );
    }

    /// What happened in a cluster goes to its watches and controllers.
    pub(crate) fn flush(&mut self, cluster: &ClusterId) {
        let Some(sim) = self.clusters.get_mut(cluster) else {
            return;
        };
        let events = std::mem::take(&mut sim.events);
        let mut todo = std::mem::take(&mut sim.todo);
        todo.dedup();
        for id in todo {
            let delay = self.random(300, 4_000);
            let cluster = cluster.clone();
            self.queue
                .put(self.now + delay, Event::Control { cluster, id });
        }
        for (gvk, serial, item) in events {
            let delay = self.random(1, 50);
            let Some(agent) = self.agents.get_mut(cluster) else {
                return;
            };
            // a stream keeps its order
            agent.seen_at = agent.seen_at.max(self.now + delay);
            let event = Event::Seen {
                cluster: cluster.clone(),
                life: agent.life,
                serial,
                gvk,
                item: Box::new(item),
            };
            self.queue.put(agent.seen_at, event);
        }
    }

    pub(crate) fn agent_sees(
        &mut self,
        cluster: &ClusterId,
        serial: u64,
        gvk: Gvk,
        item: Result<WatchEvent, Option<ClusterError>>,
    ) {
        let current = self.clusters.get(cluster).and_then(|sim| sim.serial(&gvk));
        match item {
            Ok(event) if current == Some(serial) => {
                self.agent_takes(cluster, Input::Watch { gvk, event });
            }
            // one that was replaced since says nothing any more
            Ok(_) => {}
            Err(error) if current.is_none() => {
                self.agent_takes(cluster, Input::WatchEnded { gvk, error });
            }
            Err(_) => {}
        }
    }

    /// A message of the hub reaches the agent.
    pub(crate) fn agent_hears(&mut self, cluster: &ClusterId, conn: u64, message: FromHub) {
        let Some(agent) = self.agents.get(cluster) else {
            return;
        };
        let Some(machine) = &agent.machine else {
            return;
        };
        match message {
            FromHub::RootIs(root) => {
                let known = machine.known();
                if machine.root() != root || known == Known::default() || known.epoch < self.epoch {
                    let base = (machine.known() != Known::default()).then_some(machine.root());
                    self.send_hub(conn, cluster, FromAgent::WantOrder { base });
                }
            }
            FromHub::NeedStatus => self.agent_takes(cluster, Input::Connected),
            FromHub::Order(delta) => {
                if self
                    .agent_opens(cluster, &delta)
                    .is_err_and(|error| matches!(error, OrderError::OtherBase { .. }))
                {
                    self.send_hub(conn, cluster, FromAgent::WantOrder { base: None });
                }
            }
            FromHub::Blobs(blobs) => self.agent_takes(cluster, Input::Blobs(blobs)),
            FromHub::NoBlobs(digests) => {
                let reason = "refused".to_owned();
                self.agent_takes(cluster, Input::BlobsFailed { digests, reason });
            }
        }
    }

    /// The agent checks an order, wherever it came from, and obeys or refuses it.
    pub(crate) fn agent_opens(
        &mut self,
        cluster: &ClusterId,
        delta: &OrderDelta,
    ) -> Result<(), OrderError> {
        let Some(machine) = self
            .agents
            .get(cluster)
            .and_then(|agent| agent.machine.as_ref())
        else {
            return Ok(());
        };
        let opened = open_header(&delta.header, &Toy).and_then(|header| {
            let entries = apply_delta(
                machine.entries(),
                cluster,
                machine.known(),
                &header,
                delta,
                &[],
            )?;
            Ok((header, entries))
        });
        match opened {
            Ok((header, entries)) => {
                self.monitor.obeys(cluster, &header);
                let known = Known {
                    epoch: header.epoch,
                    sequence: header.sequence,
                };
                self.note(format!(
                    "{cluster} obeys {}.{}",
                    known.epoch, known.sequence
                ));
                self.agent_takes(
                    cluster,
                    Input::Order {
                        entries,
                        known,
                        root: header.root,
                    },
                );
                Ok(())
            }
            Err(error) => {
                self.note(format!("{cluster} refuses: {error}"));
                if !matches!(error, OrderError::OtherBase { .. }) {
                    self.stats.refused += 1;
                    self.agent_takes(cluster, Input::OrderRefused(error.to_string()));
                }
                Err(error)
            }
        }
    }
}
