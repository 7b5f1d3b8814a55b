//! Many clusters, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use base_store::memory::{Image, MemoryStore};
use jiff::Timestamp;
use k8s_apiserver::{
    Catalog, Clock, Part, Registry, Server, Status, Timer, UserInfo, WriteOptions, bootstrap_rbac,
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::admission::Defaults;
use crate::config::Config;
use crate::counters::Counters;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::image;
use crate::packed::{PackedStore, Packer};
use crate::sim::Simulated;
use crate::virtual_time::VirtualTime;

/// Why a playground or a cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// The objects that every cluster has could not be made.
    #[error("failed to make the base image: {object}")]
    Image {
        /// Which object.
        object: String,
        /// What the API server said.
        source: Status,
    },
    /// The compression of stored objects could not be set up.
    #[error("failed to set up the compression of stored objects")]
    Packer,
    /// There is a cluster of this name.
    #[error("there is a cluster {name:?} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// A cluster's API server could not be opened.
    #[error("failed to open cluster {name:?}")]
    Open {
        /// The cluster.
        name: String,
        /// What it said.
        source: Status,
    },
}

/// Typical objects as they are stored: what clusters compress theirs with. `tests/typical.rs` writes it.
const TYPICAL: &[u8] = include_bytes!("typical.txt");

/// Any number of simulated clusters. Cheap to clone; all clones are one playground.
#[derive(Clone)]
pub struct Playground(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    timer: Arc<dyn Timer>,
    catalog: Arc<Catalog>,
    image: Arc<Image>,
    packer: Arc<Packer>,
    members: Mutex<BTreeMap<String, Handle>>,
    agenda: Arc<Agenda>,
}

/// Which cluster is due when.
#[derive(Default)]
struct Agenda(Mutex<Due>);

#[derive(Default)]
struct Due {
    next_id: u64,
    by_time: BTreeSet<(Timestamp, u64)>,
    by_id: BTreeMap<u64, (Option<Timestamp>, Handle)>,
    /// Something became due sooner than the driver knows.
    news: bool,
    waker: Option<Waker>,
}

impl Agenda {
    /// Notes that a cluster is due at a moment, unless it is due sooner already.
    fn sooner(&self, id: u64, at: Timestamp) {
        let waker = {
            let mut due = self.0.lock();
            let before = due.by_time.first().map(|(at, _)| *at);
            let Some((known, _)) = due.by_id.get_mut(&id) else {
                return;
            };
            if known.is_some_and(|known| known <= at) {
                return;
            }
            if let Some(old) = known.replace(at) {
                due.by_time.remove(&(old, id));
            }
            due.by_time.insert((at, id));
            if before.is_some_and(|before| before <= at) {
                return;
            }
            due.news = true;
            due.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn remove(&self, id: u64) {
        let mut due = self.0.lock();
        if let Some((Some(at), _)) = due.by_id.remove(&id) {
            due.by_time.remove(&(at, id));
        }
    }
}

/// One cluster: asked in the same process through [`k8s_cluster::Cluster`]. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Member>);

pub(crate) struct Member {
    name: String,
    id: AtomicU64,
    pub(crate) registry: Registry,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) server: OnceLock<Server>,
    sim: Mutex<Simulated>,
    outside: Mutex<Outside>,
    /// How often all connections were broken.
    breaks: AtomicU64,
    agenda: Arc<Agenda>,
}

/// What lies between a cluster and those who ask it.
struct Outside {
    fault: Fault,
    counters: Counters,
    dice: Dice,
    next_line: u64,
    /// Who waits on a connection, by the connection's number.
    waiting: BTreeMap<u64, Waker>,
}

impl Playground {
    /// Makes an empty playground. All clusters go by one clock, real or virtual; the timer is for latency and for what
    /// the API server waits for.
    pub fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, PlaygroundError> {
        let config = Arc::new(config);
        let catalog = Arc::new(Catalog::kubernetes());
        let api = api_config(&config, &clock, &timer, "image");
        let image = Arc::new(make_image(&config, &catalog, api)?);
        let packer = Packer::new(TYPICAL).ok_or(PlaygroundError::Packer)?;
        Ok(Self(Arc::new(Inner {
            config,
            clock,
            timer,
            catalog,
            image,
            packer: Arc::new(packer),
            members: Mutex::default(),
            agenda: Arc::default(),
        })))
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Makes a cluster.
    pub fn add_cluster(&self, name: &str) -> Result<Handle, PlaygroundError> {
        let Inner {
            config,
            clock,
            timer,
            catalog,
            image,
            packer,
            members,
            agenda,
        } = &*self.0;
        let mut members = members.lock();
        if members.contains_key(name) {
            return Err(PlaygroundError::Exists {
                name: name.to_owned(),
            });
        }
        let store = Arc::new(PackedStore::fork(Arc::clone(image), Arc::clone(packer)));
        let api = api_config(config, clock, timer, name);
        let registry =
            Registry::open(store, "", Arc::clone(catalog), Arc::new(api)).map_err(|source| {
                PlaygroundError::Open {
                    name: name.to_owned(),
                    source,
                }
            })?;
        let handle = Handle(Arc::new(Member {
            name: name.to_owned(),
            id: AtomicU64::new(0),
            sim: Mutex::new(Simulated::new(registry.clone(), Arc::clone(config), name)),
            registry,
            timer: Arc::clone(timer),
            server: OnceLock::new(),
            outside: Mutex::new(Outside {
                fault: Fault::none(),
                counters: Counters::default(),
                dice: Dice::new(config.seed, &format!("{name} outside")),
                next_line: 0,
                waiting: BTreeMap::new(),
            }),
            breaks: AtomicU64::new(0),
            agenda: Arc::clone(agenda),
        }));
        let id = {
            let mut due = agenda.0.lock();
            due.next_id += 1;
            let id = due.next_id;
            due.by_id.insert(id, (None, handle.clone()));
            id
        };
        handle.0.id.store(id, Ordering::Relaxed);
        members.insert(name.to_owned(), handle.clone());
        Ok(handle)
    }

    /// Takes a cluster away with all that it holds; its handles answer as if it were offline.
    pub fn remove_cluster(&self, name: &str) -> bool {
        let Some(handle) = self.0.members.lock().remove(name) else {
            return false;
        };
        let id = handle.0.id.load(Ordering::Relaxed);
        self.0.agenda.remove(id);
        handle.set_fault(Fault::offline());
        true
    }

    /// Finds a cluster.
    pub fn cluster(&self, name: &str) -> Option<Handle> {
        self.0.members.lock().get(name).cloned()
    }

    /// Names all clusters, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.members.lock().keys().cloned().collect()
    }

    /// Does everything that is due at `now` in all clusters; says how many steps of controllers that took.
    pub fn run_due(&self, now: Timestamp) -> usize {
        let mut steps = 0;
        // What a cluster does at a moment can make it due again at the same moment, but not another cluster.
        loop {
            let first = {
                let mut due = self.0.agenda.0.lock();
                due.news = false;
                let first = due.by_time.first().copied().filter(|(at, _)| *at <= now);
                let Some((at, id)) = first else { break };
                due.by_time.remove(&(at, id));
                let Some((known, handle)) = due.by_id.get_mut(&id) else {
                    continue;
                };
                *known = None;
                handle.clone()
            };
            steps += first.run_due(now);
        }
        steps
    }

    /// Moves a virtual clock on to `end`, from one thing that is due to the next; says how many steps that took. `time`
    /// must be the clock that the playground was made with.
    pub fn run_until(&self, time: &VirtualTime, end: Timestamp) -> usize {
        let mut steps = 0;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            time.advance_to(due);
            steps += self.run_due(time.now());
        }
        time.advance_to(end);
        steps
    }

    /// When something is due next; `None` while nothing is. A moment in the past means now.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = self.0.agenda.0.lock();
        due.by_time.first().map(|(at, _)| *at)
    }

    /// Is ready when something became due sooner than [`next_due`](Self::next_due) said at the last
    /// [`run_due`](Self::run_due). A driver sleeps until `next_due`, or until this is ready, and then runs.
    pub fn poll_news(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut due = self.0.agenda.0.lock();
        if std::mem::take(&mut due.news) {
            return Poll::Ready(());
        }
        due.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Handle {
    /// Returns the cluster's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the cluster's objects below HTTP: nothing asked here counts, or meets a fault.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Says that something may have been written, so that the controllers look. Only those who write through
    /// [`registry`](Self::registry) need it.
    pub fn touch(&self) {
        let id = self.0.id.load(Ordering::Relaxed);
        self.0.agenda.sooner(id, Timestamp::MIN);
    }

    fn run_due(&self, now: Timestamp) -> usize {
        let (steps, next) = {
            let mut sim = self.0.sim.lock();
            let steps = sim.run_due(now);
            (steps, sim.next_due())
        };
        // Somebody may have touched it meanwhile; the sooner moment counts.
        if let Some(next) = next {
            let id = self.0.id.load(Ordering::Relaxed);
            self.0.agenda.sooner(id, next);
        }
        steps
    }

    /// Sets what goes wrong between this cluster and those who ask it. Going offline breaks the watches that run.
    pub fn set_fault(&self, fault: Fault) {
        let wakers = {
            let mut outside = self.0.outside.lock();
            let breaks = fault.offline;
            outside.fault = fault;
            if breaks {
                self.0.breaks.fetch_add(1, Ordering::SeqCst);
                std::mem::take(&mut outside.waiting)
            } else {
                BTreeMap::new()
            }
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Returns what goes wrong.
    pub fn fault(&self) -> Fault {
        self.0.outside.lock().fault.clone()
    }

    /// Breaks every watch that runs; new ones work at once.
    pub fn drop_connections(&self) {
        let wakers = {
            let mut outside = self.0.outside.lock();
            self.0.breaks.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut outside.waiting)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Line {
        let mut outside = self.0.outside.lock();
        outside.next_line += 1;
        Line {
            number: outside.next_line,
            breaks: self.0.breaks.load(Ordering::SeqCst),
            waker: None,
            handle: self.clone(),
        }
    }

    /// Returns what was asked of this cluster so far.
    pub fn counters(&self) -> Counters {
        self.0.outside.lock().counters.clone()
    }

    /// Starts counting anew.
    pub fn reset_counters(&self) {
        self.0.outside.lock().counters = Counters::default();
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.0.outside.lock().counters);
    }

    /// Draws whether a fault answers this request.
    pub(crate) fn strike(&self) -> Strike {
        let mut outside = self.0.outside.lock();
        let Outside {
            fault,
            counters,
            dice,
            ..
        } = &mut *outside;
        let answer = if fault.offline {
            Some(Answer::Offline)
        } else if dice.hits(fault.too_many_per_mille) {
            Some(Answer::TooMany(fault.retry_after_s))
        } else if dice.hits(fault.error_per_mille) {
            Some(Answer::Error)
        } else {
            None
        };
        counters.faults += u64::from(answer.is_some());
        Strike {
            latency_ms: fault.latency_ms,
            answer,
        }
    }
}

/// A connection on which a watch runs, until all connections are broken.
pub(crate) struct Line {
    number: u64,
    breaks: u64,
    /// Who is woken already when it breaks.
    waker: Option<Waker>,
    pub(crate) handle: Handle,
}

impl Line {
    /// Is it broken? If not, the task is woken when it is.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> bool {
        let member = &self.handle.0;
        let known = self.waker.as_ref();
        if known.is_none_or(|known| !known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let mut outside = member.outside.lock();
            outside.waiting.insert(self.number, cx.waker().clone());
        }
        // whoever breaks it counts first and wakes then, so one that is not seen here wakes this task
        member.breaks.load(Ordering::SeqCst) != self.breaks
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.handle.0.outside.lock().waiting.remove(&self.number);
    }
}

/// What a fault does to one request.
pub(crate) struct Strike {
    pub(crate) latency_ms: u64,
    pub(crate) answer: Option<Answer>,
}

pub(crate) enum Answer {
    Offline,
    TooMany(u32),
    Error,
}

fn api_config(
    config: &Config,
    clock: &Arc<dyn Clock>,
    timer: &Arc<dyn Timer>,
    name: &str,
) -> k8s_apiserver::Config {
    let dice = Mutex::new(Dice::new(config.seed, &format!("{name} server")));
    let (own_clock, own_timer) = (Arc::clone(clock), Arc::clone(timer));
    let mut api = k8s_apiserver::Config::new(
        move || own_clock.now(),
        move |duration| own_timer.sleep(duration),
        move |buffer: &mut [u8]| dice.lock().fill(buffer),
    );
    api.admission.push(Arc::new(Defaults));
    api.version
        .git_version
        .clone_from(&config.kubernetes_version);
    api
}

/// Makes the objects that every cluster has, lets the controllers settle, and keeps the result.
fn make_image(
    config: &Arc<Config>,
    catalog: &Arc<Catalog>,
    api: k8s_apiserver::Config,
) -> Result<Image, PlaygroundError> {
    let failed = |object: &Value| {
        let object = format!("{} {}", k8s_object::kind(object), k8s_object::name(object));
        move |source| PlaygroundError::Image { object, source }
    };
    let store = Arc::new(MemoryStore::new());
    let now = api.clock.now();
    let registry = Registry::open(
        Arc::clone(&store) as _,
        "",
        Arc::clone(catalog),
        Arc::new(api),
    )
    .map_err(|source| PlaygroundError::Image {
        object: "registry".to_owned(),
        source,
    })?;
    let mut sim = Simulated::new(registry.clone(), Arc::clone(config), "image");
    for object in image::objects(config) {
        let def = registry.resource_of(&object).map_err(failed(&object))?;
        let options = WriteOptions {
            user: UserInfo::admin(),
            ..WriteOptions::manager("kube-apiserver")
        };
        let namespace = k8s_object::namespace(&object);
        let mut made = registry
            .create(&def, namespace, object.clone(), &options)
            .map_err(failed(&object))?
            .object;
        if let Some(status) = object.get("status") {
            made["status"] = status.clone();
            let name = k8s_object::name(&object);
            registry
                .update_part(&def, namespace, name, Part::Status, made, &options)
                .map_err(failed(&object))?;
        }
    }
    bootstrap_rbac(&registry).map_err(|source| PlaygroundError::Image {
        object: "roles".to_owned(),
        source,
    })?;
    sim.run_due(now);
    Ok(store.image())
}
