//! The loop: inputs to the machine, effects to the world.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base_json::Digest;
use bytes::Bytes;
use futures_util::StreamExt as _;
use k8s_cluster::{Cluster, ClusterError, ErrorKind, WatchSpec};
use k8s_object::Gvk;
use roadstead_dispatch::{OrderDelta, OrderError, OrderHeader, Report, apply_delta, open_header};
use roadstead_model::{Now, Time};
use roadstead_sync::{Effect, Input, Machine, Settings};
use roadstead_wire::{
    AgentClient, AgentSays, Answer, ContentError, DetailRequest, HubSays, MAX_WANTS, ToHub, Want,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::hub::{self, FromSession, Holding, chain};
use crate::state::{Identity, StateDir};
use crate::{AgentConfig, AgentError, detail};

/// Features of orders that this agent knows.
const UNDERSTOOD: &[&str] = &[];
/// How long the cluster may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two tries to write to a disk that refuses.
const DISK_PAUSE: Duration = Duration::from_secs(2);
/// The shortest time between two renewals that an unknown signing key calls for.
const KEYS_PAUSE: Duration = Duration::from_secs(60);

/// Something for the loop.
pub(crate) enum Event {
    /// For the machine.
    Input(Input),
    /// Of a watch; the number tells it from an earlier one of the same kind.
    Watch(u64, Input),
    /// Of the hub.
    Hub(FromSession),
    /// A report is with the hub.
    Reported,
}

/// The wall clock.
pub(crate) fn wall() -> Time {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Runs an agent until `shutdown` ends: joins if it has not, and then heals, obeys and reports. It comes back early only
/// if it cannot start.
pub async fn run(
    config: AgentConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    tokio::pin!(shutdown);
    let state = StateDir::open(&config.state_dir)?;
    let identity = match state.identity()? {
        Some(identity) => identity,
        None => tokio::select! {
            identity = hub::join(&config, &state) => identity?,
            () = &mut shutdown => return Ok(()),
        },
    };
    let records = state.records()?;
    let (to, mut events) = mpsc::channel(256);
    let mut shell = Shell {
        machine: Machine::new(Settings {
            agent_version: config.version.clone(),
        }),
        cluster: Arc::clone(&config.cluster),
        state,
        identity: identity.clone(),
        start: Instant::now(),
        wake: None,
        to: to.clone(),
        tasks: JoinSet::new(),
        watches: BTreeMap::new(),
        watch_count: 0,
        hub: None,
        epoch: 0,
        keys_asked: None,
    };
    shell.input(Input::Restored(records)).await;
    let (holding, held) = watch::channel(shell.holding());
    let (renew, asked) = mpsc::channel(1);
    shell
        .tasks
        .spawn(hub::sessions(config, identity, held, asked, to));
    loop {
        let wake = shell.wake.unwrap_or(u64::MAX);
        let until = shell.start + Duration::from_millis(wake.min(shell.mono() + 3_600_000));
        let event = tokio::select! {
            event = events.recv() => event,
            () = tokio::time::sleep_until(until.into()) => {
                if shell.wake.is_some_and(|at| at <= shell.mono()) {
                    shell.wake = None;
                }
                Some(Event::Input(Input::Wake))
            }
            () = &mut shutdown => return Ok(()),
        };
        while shell.tasks.try_join_next().is_some() {}
        match event {
            None => return Ok(()),
            Some(Event::Input(input)) => shell.input(input).await,
            Some(Event::Watch(number, input)) => shell.watched(number, input).await,
            Some(Event::Reported) => shell.input(Input::ReportSent).await,
            Some(Event::Hub(event)) => shell.hub(event, &renew).await,
        }
        holding.send_replace(shell.holding());
    }
}

struct Shell {
    machine: Machine,
    cluster: Arc<dyn Cluster>,
    state: StateDir,
    identity: Identity,
    start: Instant,
    /// When to wake the machine, in milliseconds since the start.
    wake: Option<u64>,
    to: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    watches: BTreeMap<Gvk, (u64, AbortHandle)>,
    watch_count: u64,
    hub: Option<(AgentClient, ToHub)>,
    /// The epoch of the hub that it spoke to last.
    epoch: u64,
    keys_asked: Option<Instant>,
}

impl Shell {
    fn mono(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn holding(&self) -> Holding {
        Holding {
            root: Some(self.machine.root()),
            known: self.machine.known(),
        }
    }

    async fn input(&mut self, input: Input) {
        let now = Now {
            wall: wall(),
            mono_ms: self.mono(),
        };
        for effect in self.machine.step(now, input) {
            self.effect(effect).await;
        }
    }

    async fn watched(&mut self, number: u64, input: Input) {
        let (Input::Watch { gvk, .. } | Input::WatchEnded { gvk, .. }) = &input else {
            return;
        };
        // what an earlier watch still had to say is not part of this one
        if self
            .watches
            .get(gvk)
            .is_some_and(|(current, _)| *current == number)
        {
            if matches!(input, Input::WatchEnded { .. }) {
                self.watches.remove(&gvk.clone());
            }
            self.input(input).await;
        }
    }

    async fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Call { id, call } => {
                let (cluster, to) = (Arc::clone(&self.cluster), self.to.clone());
                self.tasks.spawn(async move {
                    let call = tokio::time::timeout(CALL_TIMEOUT, cluster.call(call));
                    let result = call.await.unwrap_or_else(|_| {
                        let message = format!("no answer in {} s", CALL_TIMEOUT.as_secs());
                        Err(ClusterError::new(ErrorKind::Unavailable, message))
                    });
                    let input = Input::Reply { call: id, result };
                    drop(to.send(Event::Input(input)).await);
                });
            }
            Effect::Watch(spec) => {
                self.unwatch(&spec.gvk);
                self.watch_count += 1;
                let (gvk, number) = (spec.gvk.clone(), self.watch_count);
                let task = follow(Arc::clone(&self.cluster), spec, number, self.to.clone());
                let handle = self.tasks.spawn(task);
                self.watches.insert(gvk, (number, handle));
            }
            Effect::Unwatch(gvk) => self.unwatch(&gvk),
            Effect::Fetch(digests) => self.fetch(digests),
            Effect::Persist { key, value } => {
                // what follows hangs on it: better late than lost
                while let Err(error) = self.state.keep(&key, value.as_ref()) {
                    tracing::error!(error = %chain(&error), "cannot keep a record; trying again");
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
            Effect::Report(report) => self.report(report),
            Effect::WakeAt(at) => self.wake = Some(at),
        }
    }

    fn unwatch(&mut self, gvk: &Gvk) {
        if let Some((_, handle)) = self.watches.remove(gvk) {
            handle.abort();
        }
    }

    fn report(&mut self, report: Report) {
        let Some((_, hub)) = self.hub.clone() else {
            return;
        };
        let to = self.to.clone();
        self.tasks.spawn(async move {
            match hub.send(&AgentSays::Report(Box::new(report))).await {
                Ok(()) => drop(to.send(Event::Reported).await),
                // the session's own end tells the machine
                Err(error) => tracing::warn!(error = %chain(&error), "cannot send a report"),
            }
        });
    }

    fn fetch(&mut self, digests: Vec<Digest>) {
        let Some((client, _)) = self.hub.clone() else {
            return;
        };
        for part in digests.chunks(MAX_WANTS) {
            let wants: Vec<Want> = part
                .iter()
                .map(|digest| Want {
                    digest: *digest,
                    base: self.machine.base_of(digest),
                })
                .collect();
            let bases = wants.iter().filter_map(|want| want.base);
            let bases: BTreeMap<Digest, Bytes> = bases
                .filter_map(|base| Some((base, self.machine.content(&base)?)))
                .collect();
            let (client, to) = (client.clone(), self.to.clone());
            self.tasks.spawn(fetched(client, wants, bases, to));
        }
    }

    async fn hub(&mut self, event: FromSession, renew: &mpsc::Sender<()>) {
        match event {
            FromSession::Up(client, hub, epoch) => {
                tracing::info!(cluster = %self.identity.cluster, "connected to the hub");
                self.hub = Some((client, hub));
                self.epoch = epoch;
                self.input(Input::Connected).await;
            }
            FromSession::Down => {
                if self.hub.take().is_some() {
                    self.input(Input::Disconnected).await;
                }
            }
            FromSession::Renewed(identity) => {
                while let Err(error) = self.state.keep_identity(&identity) {
                    tracing::error!(error = %chain(&error), "cannot keep the certificate; trying again");
                    tokio::time::sleep(DISK_PAUSE).await;
                }
                if identity.keys.ids().len() > self.identity.keys.ids().len() {
                    // asking helped; a key that comes soon after may be asked for at once
                    self.keys_asked = None;
                }
                self.identity = *identity;
                // an order that was signed by a key that was not known yet may be believed now
                self.want_order(Some(self.machine.root())).await;
            }
            FromSession::Says(says) => self.says(says, renew).await,
        }
    }

    async fn says(&mut self, says: HubSays, renew: &mpsc::Sender<()>) {
        match says {
            HubSays::RootIs(root) => {
                let own = self.machine.root();
                let known = self.machine.known().epoch;
                // an order of a new epoch makes all of older ones worthless, whatever it says
                if root != own || known == 0 || known < self.epoch {
                    self.want_order(Some(own)).await;
                }
            }
            HubSays::Order(delta) => self.order(&delta, renew).await,
            HubSays::Detail(request) => self.detail(request),
            HubSays::NeedStatus => self.input(Input::Connected).await,
            HubSays::Welcome(_) | HubSays::Ended { .. } => {}
        }
    }

    async fn want_order(&mut self, base: Option<Digest>) {
        let Some((_, hub)) = self.hub.clone() else {
            return;
        };
        // an agent that never had an order holds nothing to start from
        let base =
            base.filter(|_| self.machine.known().epoch != 0 || self.machine.known().sequence != 0);
        self.tasks.spawn(async move {
            if let Err(error) = hub.send(&AgentSays::WantOrder { base }).await {
                tracing::warn!(error = %chain(&error), "cannot ask for the order");
            }
        });
    }

    async fn order(&mut self, delta: &OrderDelta, renew: &mpsc::Sender<()>) {
        let opened = open_header(&delta.header, &self.identity.keys).and_then(|header| {
            let entries = apply_delta(
                self.machine.entries(),
                &self.identity.cluster,
                self.machine.known(),
                &header,
                delta,
                UNDERSTOOD,
            )?;
            Ok((header, entries))
        });
        match opened {
            Ok((header, entries)) => {
                let OrderHeader {
                    epoch,
                    sequence,
                    root,
                    ..
                } = header;
                tracing::info!(epoch, sequence, apps = entries.len(), "obeys a new order");
                let known = roadstead_dispatch::Known { epoch, sequence };
                self.input(Input::Order {
                    entries,
                    known,
                    root,
                })
                .await;
            }
            // two were asked for before the first one came: from what is held now the rest is small
            Err(OrderError::OtherBase { held, .. }) => {
                let came = open_header(&delta.header, &self.identity.keys);
                if came.is_ok_and(|header| header.root != held) {
                    self.want_order(Some(held)).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "refuses an order");
                let pause = self.keys_asked.is_none_or(|at| at.elapsed() > KEYS_PAUSE);
                if matches!(error, OrderError::Signature(_)) && pause {
                    // a new key may be on its way, vouched for by one that is trusted
                    self.keys_asked = Some(Instant::now());
                    let _ = renew.try_send(());
                }
                self.input(Input::OrderRefused(error.to_string())).await;
            }
        }
    }

    fn detail(&mut self, request: DetailRequest) {
        let Some((mut client, _)) = self.hub.clone() else {
            return;
        };
        let DetailRequest { id, kind, object } = request;
        let gvk = self.machine.may_show(&object);
        let cluster = Arc::clone(&self.cluster);
        self.tasks.spawn(async move {
            let outcome = match gvk {
                Some(gvk) => detail::answer(cluster, kind, gvk, object).await,
                None => Err(format!(
                    "{} belongs to no App of this cluster",
                    object.readable()
                )),
            };
            if let Err(error) = client.answer(Answer { id, outcome }).await {
                tracing::warn!(error = %chain(&error), "cannot answer a request for detail");
            }
        });
    }
}

async fn follow(cluster: Arc<dyn Cluster>, spec: WatchSpec, number: u64, to: mpsc::Sender<Event>) {
    let gvk = spec.gvk.clone();
    let error = match cluster.watch(spec).await {
        Err(error) => Some(error),
        Ok(mut stream) => loop {
            match stream.next().await {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(event)) => {
                    let input = Input::Watch {
                        gvk: gvk.clone(),
                        event,
                    };
                    if to.send(Event::Watch(number, input)).await.is_err() {
                        return;
                    }
                }
            }
        },
    };
    drop(
        to.send(Event::Watch(number, Input::WatchEnded { gvk, error }))
            .await,
    );
}

async fn fetched(
    mut client: AgentClient,
    wants: Vec<Want>,
    bases: BTreeMap<Digest, Bytes>,
    to: mpsc::Sender<Event>,
) {
    let mut missing: Vec<Digest> = wants.iter().map(|want| want.digest).collect();
    let mut reason = "the hub did not send it".to_owned();
    let mut next = wants;
    // a patch that does not fit is asked for again, whole
    while !next.is_empty() {
        let wants = std::mem::take(&mut next);
        let mut stream = match client.fetch(&wants).await {
            Ok(stream) => stream,
            Err(error) => {
                reason = chain(&error);
                break;
            }
        };
        loop {
            let fetched = match stream.next().await {
                Ok(Some(fetched)) => fetched,
                Ok(None) => break,
                Err(error) => {
                    reason = chain(&error);
                    break;
                }
            };
            let digest = fetched.digest;
            match fetched.resolve(|base| bases.get(base).map(|bytes| bytes.to_vec())) {
                Ok(bytes) => {
                    missing.retain(|wanted| *wanted != digest);
                    let input = Input::Blobs(vec![(digest, Bytes::from(bytes))]);
                    if to.send(Event::Input(input)).await.is_err() {
                        return;
                    }
                }
                Err(ContentError::Refused { reason: why, .. }) => reason = why,
                Err(error) => {
                    reason = chain(&error);
                    if wants
                        .iter()
                        .any(|want| want.digest == digest && want.base.is_some())
                    {
                        next.push(Want::whole(digest));
                    }
                }
            }
        }
    }
    if !missing.is_empty() {
        tracing::warn!(count = missing.len(), %reason, "content is missing");
        let input = Input::BlobsFailed {
            digests: missing,
            reason,
        };
        drop(to.send(Event::Input(input)).await);
    }
}
