//! The live connections, so that one can be ended when its certificate is revoked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roadstead_model::ClusterId;
use tokio::sync::watch;

use super::{Refusal, RefusalKind};
use crate::identity::{Peer, PeerInfo};

/// The live connections of a port.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Live>>);

#[derive(Debug, Default)]
struct Live {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    close: watch::Sender<Option<Refusal>>,
}

/// Tells a connection's parts that it is to end, and why.
#[derive(Debug, Clone)]
pub(super) struct CloseSignal(watch::Receiver<Option<Refusal>>);

impl CloseSignal {
    /// Waits until the connection is to end.
    pub(super) async fn wait(&mut self) -> Refusal {
        let told = self.0.wait_for(Option::is_some).await;
        let told = told.ok().and_then(|told| told.clone());
        told.unwrap_or_else(|| Refusal::new(RefusalKind::Unavailable, "the connection has ended"))
    }
}

/// A connection's place in the list, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    connections: Connections,
    id: u64,
    signal: CloseSignal,
}

impl Registered {
    pub(super) fn signal(&self) -> CloseSignal {
        self.signal.clone()
    }

    /// Tells the connection's parts to end, unless they were told already.
    pub(super) fn close(&self, refusal: &Refusal) {
        if let Some(entry) = self.connections.lock().entries.get(&self.id) {
            entry.close(refusal);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.id);
    }
}

impl Entry {
    fn close(&self, refusal: &Refusal) {
        self.close.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(refusal.clone());
            }
            first
        });
    }

    fn serial(&self) -> Option<&str> {
        match &self.peer {
            Peer::Anonymous | Peer::FrontProxy(_) => None,
            Peer::Agent(agent) => Some(&agent.serial),
            Peer::User(user) => Some(&user.serial),
        }
    }

    fn cluster(&self) -> Option<&ClusterId> {
        match &self.peer {
            Peer::Agent(agent) => Some(&agent.cluster),
            _ => None,
        }
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, info: &PeerInfo) -> Registered {
        let (close, signal) = watch::channel(None);
        let mut live = self.lock();
        let id = live.next;
        live.next += 1;
        let peer = info.peer.clone();
        live.entries.insert(id, Entry { peer, close });
        Registered {
            connections: self.clone(),
            id,
            signal: CloseSignal(signal),
        }
    }

    fn close_where(&self, reason: &str, which: impl Fn(&Entry) -> bool) -> usize {
        let refusal = Refusal::new(RefusalKind::Denied, reason);
        let live = self.lock();
        let entries = live.entries.values().filter(|entry| which(entry));
        entries.map(|entry| entry.close(&refusal)).count()
    }

    /// Ends every connection of a cluster's agent; its sessions are told why. Returns how many there were. A cluster
    /// whose certificate is revoked is to be marked so first, or it comes back.
    pub fn close_cluster(&self, cluster: &ClusterId, reason: &str) -> usize {
        self.close_where(reason, |entry| entry.cluster() == Some(cluster))
    }

    /// Ends a cluster's connections whose certificates were revoked, such as by the join of another agent in its place.
    pub(super) fn close_revoked(&self, cluster: &ClusterId, is_revoked: impl Fn(&str) -> bool) {
        let reason = "another agent joined in the place of this one; its certificate was revoked";
        self.close_where(reason, |entry| {
            entry.cluster() == Some(cluster) && entry.serial().is_some_and(&is_revoked)
        });
    }

    /// Ends every connection that was made with one certificate, by its serial number.
    pub fn close_serial(&self, serial: &str, reason: &str) -> usize {
        self.close_where(reason, |entry| entry.serial() == Some(serial))
    }

    /// How many connections there are: of agents, and of others.
    pub fn count(&self) -> (usize, usize) {
        let live = self.lock();
        let all = live.entries.len();
        let agents = live.entries.values().filter(|e| e.cluster().is_some());
        let agents = agents.count();
        (agents, all - agents)
    }
}
