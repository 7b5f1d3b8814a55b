//! The loop: inputs to the machine, effects to the world.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base_json::Digest;
use bytes::Bytes;
use k8s_cluster::{ClusterError, ErrorKind};
use k8s_object::Gvk;
use roadstead_dispatch::{OrderDelta, OrderError, OrderHeader, Report, apply_delta, open_header};
use roadstead_model::{Now, Time};
use roadstead_sync::{Effect, Input, Machine, Settings};
use roadstead_wire::{
    AgentClient, AgentSays, Answer, DetailKind, DetailRequest, HubSays, MAX_WANTS, ToHub, Want,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::begin::{opened, patiently};
use crate::clusters::Clusters;
use crate::detail::About;
use crate::health::{Doing, Health};
use crate::hub::{self, FromSession, Holding, chain};
use crate::lease::Elector;
use crate::state::{Changes, Identity, SecretState, State, StateError};
use crate::streams::{fetched, follow};
use crate::{AgentConfig, AgentError, Surroundings, detail, leave, nodes};

/// Features of orders that this agent knows.
const UNDERSTOOD: &[&str] = &[];
/// How long the cluster may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two tries to write to a disk that refuses.
pub(crate) const DISK_PAUSE: Duration = Duration::from_secs(2);
/// After how many such tries the hub is told again.
const TELL_AGAIN: u32 = 15;
/// How many events are taken in before what they ask for is carried out.
const AT_ONCE: usize = 128;
/// The shortest time between two renewals that an unknown signing key calls for.
const KEYS_PAUSE: Duration = Duration::from_secs(10);

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
/// if it cannot start. Its state is in the folder of its configuration.
pub async fn run(
    config: AgentConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    serve(config, Surroundings::default(), shutdown).await
}

/// Runs an agent as [`run`] does, with what else there is around it: in a cluster its state is in Secrets there, and of
/// several replicas the one that holds the Lease acts.
pub async fn serve(
    config: AgentConfig,
    surroundings: Surroundings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    tokio::pin!(shutdown);
    let health = Health::new();
    if let Some(listener) = surroundings.health {
        health.serve(listener).map_err(AgentError::Health)?;
    }
    let Some(own) = surroundings.own else {
        let begun = async {
            let folder = opened(&config, &health).await?;
            let mut state = State::Folder(folder);
            let identity = patiently(&config, &mut state, &health).await?;
            Ok::<_, AgentError>((state, identity))
        };
        let (state, identity) = tokio::select! {
            begun = begun => begun?,
            () = &mut shutdown => return Ok(()),
        };
        let clusters = Clusters::new(Arc::clone(&config.cluster), surroundings.on_behalf, None);
        let never = std::future::pending();
        let ended = lead(
            &config,
            clusters,
            state,
            identity,
            &health,
            shutdown.as_mut(),
            never,
        )
        .await?;
        if ended == Ended::LetGo {
            tracing::info!("the agent ends; what it delivered stays");
        }
        return Ok(());
    };
    let elector = Elector {
        cluster: Arc::clone(&own.cluster),
        namespace: own.namespace.clone(),
        name: own.name.clone(),
        holder: own.holder.clone(),
        timing: own.timing,
    };
    loop {
        health.doing(Doing::StandingBy);
        let mut term = tokio::select! {
            term = elector.acquire() => term,
            () = &mut shutdown => return Ok(()),
        };
        health.doing(Doing::Starting);
        let mut state = State::Secrets(Box::new(SecretState::new(
            term.fence().around(Arc::clone(&own.cluster)),
            &own.namespace,
            &own.name,
            &own.holder,
        )));
        let identity = tokio::select! {
            identity = patiently(&config, &mut state, &health) => Some(identity?),
            () = term.lost() => None,
            () = &mut shutdown => {
                term.release().await;
                return Ok(());
            }
        };
        if let Some(identity) = identity {
            let clusters = Clusters::new(
                Arc::clone(&config.cluster),
                surroundings.on_behalf.clone(),
                Some(term.fence()),
            );
            let ended = lead(
                &config,
                clusters,
                state,
                identity,
                &health,
                shutdown.as_mut(),
                term.lost(),
            )
            .await?;
            match ended {
                Ended::Replaced => {}
                Ended::Asked => {
                    term.release().await;
                    return Ok(());
                }
                Ended::LetGo => {
                    match leave::remove_itself(&own).await {
                        Ok(done) => tracing::info!("{done}"),
                        Err(error) => {
                            tracing::error!(error = %chain(&error), "cannot remove itself; take the agent away with the cluster's own tools");
                        }
                    }
                    // its pod goes; until then it must not start again
                    shutdown.as_mut().await;
                    return Ok(());
                }
            }
        }
        tracing::warn!("this replica leads no longer; it stands by");
    }
}

/// Why an agent stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Somebody wanted it to.
    Asked,
    /// Another acts in its place.
    Replaced,
    /// The hub let go of its cluster.
    LetGo,
}

async fn lead(
    config: &AgentConfig,
    clusters: Clusters,
    mut state: State,
    identity: Identity,
    health: &Health,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    lost: impl Future<Output = ()>,
) -> Result<Ended, AgentError> {
    tokio::pin!(lost);
    let records = loop {
        match state.records().await {
            Ok(records) => break records,
            Err(error) if matches!(state, State::Folder(_)) && !error.may_pass() => {
                return Err(error.into());
            }
            Err(error) if error.taken => return Ok(Ended::Replaced),
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot read the agent's records; trying again");
                tokio::select! {
                    () = tokio::time::sleep(DISK_PAUSE) => {}
                    () = &mut lost => return Ok(Ended::Replaced),
                    () = &mut shutdown => return Ok(Ended::Asked),
                }
            }
        }
    };
    let (to, mut events) = mpsc::channel(256);
    let mut shell = Shell {
        machine: Machine::new(Settings {
            agent_version: config.version.clone(),
        }),
        clusters,
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
        pending: Vec::new(),
        renewed: false,
        let_go: false,
        health: health.clone(),
    };
    shell.input(Input::Restored(records));
    let (holding, held) = watch::channel(shell.holding());
    let (renew, asked) = mpsc::channel(1);
    shell
        .tasks
        .spawn(nodes::follow(shell.clusters.agent(), to.clone()));
    shell
        .tasks
        .spawn(hub::sessions(config.clone(), identity, held, asked, to));
    loop {
        let kept = tokio::select! {
            kept = shell.carry_out() => kept,
            () = &mut lost => return Ok(Ended::Replaced),
            () = &mut shutdown => return Ok(Ended::Asked),
        };
        if let Err(error) = kept {
            tracing::error!(error = %chain(&error), "another agent writes this agent's state");
            return Ok(Ended::Replaced);
        }
        if shell.let_go {
            return Ok(Ended::LetGo);
        }
        holding.send_replace(shell.holding());
        shell.rests();
        let wake = shell.wake.unwrap_or(u64::MAX);
        let until = shell.start + Duration::from_millis(wake.min(shell.mono() + 3_600_000));
        let event = tokio::select! {
            biased;
            () = &mut lost => return Ok(Ended::Replaced),
            () = &mut shutdown => return Ok(Ended::Asked),
            event = events.recv() => event,
            () = tokio::time::sleep_until(until.into()) => {
                if shell.wake.is_some_and(|at| at <= shell.mono()) {
                    shell.wake = None;
                }
                Some(Event::Input(Input::Wake))
            }
        };
        health.doing(Doing::Working(Instant::now()));
        while shell.tasks.try_join_next().is_some() {}
        let Some(event) = event else {
            return Ok(Ended::Asked);
        };
        for event in burst(event, &mut events) {
            shell.event(event, &renew);
        }
    }
}

/// An event with what came meanwhile, which is taken in at once, so that its records are kept together.
fn burst<T>(first: T, rest: &mut mpsc::Receiver<T>) -> Vec<T> {
    let mut taken = vec![first];
    while taken.len() < AT_ONCE
        && let Ok(next) = rest.try_recv()
    {
        taken.push(next);
    }
    taken
}

struct Shell {
    machine: Machine,
    clusters: Clusters,
    state: State,
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
    /// When the hub was, or will be, asked for its keys.
    keys_asked: Option<Instant>,
    /// What the machine wants done and is not done yet.
    pending: Vec<Effect>,
    /// The identity changed and is not kept yet.
    renewed: bool,
    /// The hub let go of the cluster.
    let_go: bool,
    health: Health,
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

    fn input(&mut self, input: Input) {
        let now = Now {
            wall: wall(),
            mono_ms: self.mono(),
        };
        self.pending.extend(self.machine.step(now, input));
    }

    fn event(&mut self, event: Event, renew: &mpsc::Sender<()>) {
        match event {
            Event::Input(input) => self.input(input),
            Event::Watch(number, input) => self.watched(number, input),
            Event::Reported => self.input(Input::ReportSent),
            Event::Hub(event) => self.hub(event, renew),
        }
    }

    /// Carries out what is pending: first everything is kept that is to be kept, in one go, and then the rest follows in
    /// its order. It fails only when another agent writes this agent's state.
    async fn carry_out(&mut self) -> Result<(), StateError> {
        let mut changes = Changes::new();
        let mut identity = None;
        for effect in &mut self.pending {
            if let Effect::Persist { key, value } = effect {
                changes.insert(std::mem::take(key), value.take());
            }
        }
        if std::mem::take(&mut self.renewed) {
            identity = Some(self.identity.clone());
        }
        let since = Instant::now();
        let mut tries = 0_u32;
        loop {
            let kept = async {
                if let Some(identity) = &identity {
                    self.state.keep_identity(identity).await?;
                }
                self.state.keep(&mut changes).await
            };
            match kept.await {
                Ok(()) => break,
                Err(error) if error.taken => return Err(error),
                // what follows hangs on it: better late than lost
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(%error, "cannot keep a record; trying again");
                    // an earlier report that comes after it says that all is well
                    if tries.is_multiple_of(TELL_AGAIN) {
                        self.unkept(error.clone());
                    }
                    tries += 1;
                    self.health.cannot_keep(since, error);
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        }
        if tries > 0 {
            self.unkept(String::new());
        }
        for effect in std::mem::take(&mut self.pending) {
            self.effect(effect);
        }
        Ok(())
    }

    /// Tells the hub that nothing is done, and why, or that all is well again. It hangs on no record, and goes past all
    /// that does.
    fn unkept(&mut self, why: String) {
        let Some((_, hub)) = self.hub.clone() else {
            return;
        };
        let report = Report {
            clock: Some(wall()),
            unkept: Some(why),
            ..Report::default()
        };
        self.tasks.spawn(async move {
            if let Err(error) = hub.send(&AgentSays::Report(Box::new(report))).await {
                tracing::warn!(error = %chain(&error), "cannot tell the hub");
            }
        });
    }

    /// Tells that there is nothing to do but to wait.
    fn rests(&self) {
        self.health.doing(Doing::Waiting);
        let due = self
            .wake
            .and_then(|at| self.start.checked_add(Duration::from_millis(at)));
        self.health.due(due);
    }

    fn watched(&mut self, number: u64, input: Input) {
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
            self.input(input);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Call { id, call } => {
                let cluster = self.clusters.of(self.machine.caller(id));
                let to = self.to.clone();
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
                let task = follow(self.clusters.agent(), spec, number, self.to.clone());
                let handle = self.tasks.spawn(task);
                self.watches.insert(gvk, (number, handle));
            }
            Effect::Unwatch(gvk) => self.unwatch(&gvk),
            Effect::Fetch(digests) => self.fetch(digests),
            // kept already
            Effect::Persist { .. } => {}
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

    fn hub(&mut self, event: FromSession, renew: &mpsc::Sender<()>) {
        match event {
            FromSession::Up(client, hub, epoch) => {
                tracing::info!(cluster = %self.identity.cluster, "connected to the hub");
                self.hub = Some((client, hub));
                self.health.hub(true);
                self.epoch = epoch;
                self.input(Input::Connected);
            }
            FromSession::Down => {
                self.health.hub(false);
                if self.hub.take().is_some() {
                    self.input(Input::Disconnected);
                }
            }
            FromSession::Refused(why) => self.health.refused(why),
            FromSession::Renewed(identity) => {
                if identity.keys.ids().len() > self.identity.keys.ids().len() {
                    // asking helped; a key that comes soon after may be asked for at once
                    self.keys_asked = None;
                }
                self.identity = *identity;
                self.renewed = true;
                // an order that was signed by a key that was not known yet may be believed now
                self.want_order(Some(self.machine.root()));
            }
            FromSession::Says(says) => self.says(says, renew),
        }
    }

    fn says(&mut self, says: HubSays, renew: &mpsc::Sender<()>) {
        match says {
            HubSays::RootIs(root) => {
                let own = self.machine.root();
                let known = self.machine.known().epoch;
                // an order of a new epoch makes all of older ones worthless, whatever it says
                if root != own || known == 0 || known < self.epoch {
                    self.want_order(Some(own));
                }
            }
            HubSays::Order(delta) => self.order(&delta, renew),
            HubSays::Detail(request) => self.detail(request),
            HubSays::NeedStatus => self.input(Input::Connected),
            HubSays::Leave => {
                tracing::warn!("the hub let go of this cluster; what was delivered stays as it is");
                self.let_go = true;
            }
            HubSays::Welcome(_) | HubSays::Ended { .. } => {}
        }
    }

    fn want_order(&mut self, base: Option<Digest>) {
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

    fn order(&mut self, delta: &OrderDelta, renew: &mpsc::Sender<()>) {
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
                });
            }
            // two were asked for before the first one came: from what is held now the rest is small
            Err(OrderError::OtherBase { held, .. }) => {
                let came = open_header(&delta.header, &self.identity.keys);
                if came.is_ok_and(|header| header.root != held) {
                    self.want_order(Some(held));
                }
            }
            Err(error) => {
                tracing::error!(%error, "refuses an order");
                if matches!(error, OrderError::Signature(_)) {
                    self.ask_for_keys(renew);
                }
                self.input(Input::OrderRefused(error.to_string()));
            }
        }
    }

    /// Asks the hub for its keys: a new one may be on its way, vouched for by one that is trusted. Not too often, but
    /// what was asked may have been lost with its session, so that each refusal is followed by one answer at least.
    fn ask_for_keys(&mut self, renew: &mpsc::Sender<()>) {
        let now = Instant::now();
        let at = self.keys_asked.map_or(now, |at| at + KEYS_PAUSE).max(now);
        if self.keys_asked.is_some_and(|asked| asked > now) {
            return;
        }
        self.keys_asked = Some(at);
        let renew = renew.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            // a full queue has one already; without a session the next order asks again
            let _ = renew.try_send(());
        });
    }

    fn detail(&mut self, request: DetailRequest) {
        let Some((mut client, _)) = self.hub.clone() else {
            return;
        };
        let DetailRequest { id, kind, object } = request;
        let about = match kind {
            DetailKind::Survey(survey) => {
                // as the App's Project may look
                let cluster = self.clusters.of(Some(&survey.app));
                self.tasks.spawn(async move {
                    let outcome = detail::survey(cluster, *survey).await;
                    answered(&mut client, Answer { id, outcome }).await;
                });
                return;
            }
            DetailKind::Trial(trial) => {
                let cluster = self.clusters.of(Some(&trial.app));
                self.tasks.spawn(async move {
                    let outcome = detail::trial(cluster, *trial).await;
                    answered(&mut client, Answer { id, outcome }).await;
                });
                return;
            }
            DetailKind::Object => About::Itself,
            DetailKind::Events => About::Events,
        };
        let gvk = self.machine.may_show(&object);
        let cluster = self.clusters.agent();
        self.tasks.spawn(async move {
            let outcome = match gvk {
                Some(gvk) => detail::answer(cluster, about, gvk, object).await,
                None => Err(format!(
                    "{} belongs to no App of this cluster",
                    object.readable()
                )),
            };
            answered(&mut client, Answer { id, outcome }).await;
        });
    }
}

async fn answered(client: &mut AgentClient, answer: Answer) {
    if let Err(error) = client.answer(answer).await {
        tracing::warn!(error = %chain(&error), "cannot answer a request for detail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_lose_nothing_between_them() {
        let count = 3 * AT_ONCE + 1;
        let (to, mut events) = mpsc::channel(count);
        for number in 0..count {
            to.try_send(number).expect("there is room");
        }
        let mut taken = Vec::new();
        while let Ok(first) = events.try_recv() {
            let some = burst(first, &mut events);
            assert!(some.len() <= AT_ONCE);
            taken.extend(some);
        }
        assert_eq!(taken, (0..count).collect::<Vec<_>>());
    }
}
