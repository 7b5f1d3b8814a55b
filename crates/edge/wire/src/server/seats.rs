//! One session a cluster: which of two agents with one identity is heard.
//!
//! The one that was there first is, as long as it is there. Another process that shows the same identity is told so and
//! refused. An agent that does not answer has gone without a farewell, and its seat is free.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_model::{ClusterId, Time};
use tokio::sync::watch;

use super::{Outbound, Refusal, RefusalKind};
use crate::message::HubSays;
use crate::tls::now;

/// How long an agent may take to say that it is still there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who sits where.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<ClusterId, Sitting>,
}

#[derive(Debug, Clone)]
struct Sitting {
    id: u64,
    instance: String,
    remote: SocketAddr,
    since: Time,
    outbound: Outbound,
    /// How many messages came.
    heard: watch::Sender<u64>,
    leave: watch::Sender<Option<Refusal>>,
}

/// A cluster's seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    cluster: ClusterId,
    id: u64,
    leave: watch::Receiver<Option<Refusal>>,
    heard: watch::Sender<u64>,
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sits down; what sits there already is asked to answer first.
    pub(super) async fn take(
        &self,
        cluster: &ClusterId,
        instance: &str,
        remote: SocketAddr,
        outbound: &Outbound,
    ) -> Result<Seat, Refusal> {
        loop {
            let sitting = self.lock().seats.get(cluster).cloned();
            if let Some(sitting) = &sitting {
                // a process that comes again has lost its earlier session, and knows it
                let other = sitting.instance != instance
                    && !sitting.instance.is_empty()
                    && !instance.is_empty();
                if other && answers(sitting).await {
                    let text = format!(
                        "another agent with the identity of this cluster is connected, from {} since {}; stop one of the \
                         two, or give this one an identity of its own: remove its state and join it with a new token",
                        sitting.remote,
                        sitting.since.seconds()
                    );
                    tracing::warn!(%cluster, first = %sitting.remote, second = %remote, "two agents have one identity; the second is refused");
                    return Err(Refusal::new(RefusalKind::Taken, text));
                }
            }
            let mut taken = self.lock();
            let now_there = taken.seats.get(cluster).map(|sitting| sitting.id);
            if now_there.is_some() && now_there != sitting.as_ref().map(|sitting| sitting.id) {
                // somebody sat down meanwhile
                continue;
            }
            if let Some(sitting) = &sitting {
                sitting.leave.send_replace(Some(Refusal::new(
                    RefusalKind::Unavailable,
                    "the agent of this cluster opened another session",
                )));
            }
            let id = taken.next;
            taken.next += 1;
            let (leave, leaving) = watch::channel(None);
            let heard = watch::Sender::new(0);
            let sitting = Sitting {
                id,
                instance: instance.to_owned(),
                remote,
                since: now(),
                outbound: outbound.clone(),
                heard: heard.clone(),
                leave,
            };
            taken.seats.insert(cluster.clone(), sitting);
            return Ok(Seat {
                seats: self.clone(),
                cluster: cluster.clone(),
                id,
                leave: leaving,
                heard,
            });
        }
    }
}

/// Asks who sits there to say something.
async fn answers(sitting: &Sitting) -> bool {
    let mut heard = sitting.heard.subscribe();
    heard.mark_unchanged();
    let gone = sitting.leave.is_closed();
    if gone || !matches!(sitting.outbound.try_send(&HubSays::NeedStatus), Ok(true)) {
        return false;
    }
    tokio::select! {
        said = tokio::time::timeout(PATIENCE, heard.changed()) => matches!(said, Ok(Ok(()))),
        () = sitting.leave.closed() => false,
    }
}

impl Seat {
    /// Waits until somebody else sits here.
    pub(super) async fn left(&mut self) -> Refusal {
        let told = self.leave.wait_for(Option::is_some).await;
        let told = told.ok().and_then(|told| told.clone());
        told.unwrap_or_else(|| Refusal::new(RefusalKind::Unavailable, "the session has ended"))
    }

    /// What is told of every message that comes.
    pub(super) fn heard(&self) -> watch::Sender<u64> {
        self.heard.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if taken
            .seats
            .get(&self.cluster)
            .is_some_and(|sitting| sitting.id == self.id)
        {
            taken.seats.remove(&self.cluster);
        }
    }
}
