//! Which of several replicas acts: the one that holds a Lease of the agent's own namespace.
//!
//! A replica believes that it leads only until a moment on its own clock that lies well before any other may take the
//! Lease over. What it would write after that moment is refused here, on the spot, so two replicas never both apply.

use std::sync::Arc;
use std::time::Duration;

use k8s_cluster::{Call, Cluster, ClusterError, ErrorKind, Reply, WatchSpec, WatchStream};
use k8s_object::{Gvk, ObjectId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::hub::chain;

const MANAGER: &str = "roadstead-agent";

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// How long a Lease counts after its last renewal, for the others.
    pub duration: Duration,
    /// How long it counts for its holder.
    pub trusted: Duration,
    /// How often it is renewed, and looked at.
    pub period: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            trusted: Duration::from_secs(10),
            period: Duration::from_secs(3),
        }
    }
}

/// One Lease, and who wants it.
#[derive(Clone)]
pub(crate) struct Elector {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) timing: LeaseTiming,
}

/// A Lease as it was read.
struct Found {
    holder: String,
    revision: String,
    renewed: String,
    duration: Duration,
    transitions: u64,
}

fn gvk() -> Gvk {
    Gvk::new("coordination.k8s.io/v1", "Lease")
}

fn stamp() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    format!("{now:.6}")
}

impl Elector {
    fn id(&self) -> ObjectId {
        ObjectId {
            group: "coordination.k8s.io".to_owned(),
            kind: "Lease".to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    async fn look(&self) -> Result<Option<Found>, ClusterError> {
        let call = Call::Get {
            gvk: gvk(),
            id: self.id(),
        };
        let object: Value = match self.cluster.call(call).await {
            Ok(Reply::Object(bytes)) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Ok(_) => return Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |pointer: &str| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        Ok(Some(Found {
            holder: text("/spec/holderIdentity"),
            revision: text("/metadata/resourceVersion"),
            renewed: text("/spec/renewTime"),
            duration: Duration::from_secs(number("/spec/leaseDurationSeconds")),
            transitions: number("/spec/leaseTransitions"),
        }))
    }

    /// Writes our name into the Lease, over the version that was seen. The moment until which that counts was fixed
    /// before the request was sent.
    async fn take(&self, found: Option<&Found>) -> Result<Instant, ClusterError> {
        let until = Instant::now() + self.timing.trusted;
        let now = stamp();
        let ours = found.is_some_and(|found| found.holder == self.holder);
        let mut spec = json!({
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.timing.duration.as_secs().max(1),
            "renewTime": now,
        });
        if !ours {
            spec["acquireTime"] = Value::from(now);
            spec["leaseTransitions"] = Value::from(found.map_or(0, |found| found.transitions + 1));
        }
        let call = match found {
            None => Call::Create {
                object: json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": { "name": self.name, "namespace": self.namespace },
                    "spec": spec,
                })
                .to_string()
                .into(),
                manager: MANAGER.to_owned(),
            },
            Some(found) => Call::Merge {
                gvk: gvk(),
                id: self.id(),
                patch: json!({ "metadata": { "resourceVersion": found.revision }, "spec": spec })
                    .to_string()
                    .into(),
                manager: MANAGER.to_owned(),
            },
        };
        // an answer that comes too late is none
        let answer = tokio::time::timeout(self.timing.trusted, self.cluster.call(call)).await;
        match answer {
            Ok(answer) => answer.map(|_| until),
            Err(_) => Err(ClusterError::new(
                ErrorKind::Unavailable,
                "no answer in time",
            )),
        }
    }

    /// Waits until nobody else leads, and takes the Lease.
    pub(crate) async fn acquire(&self) -> Term {
        // another's clock is not trusted: what counts is when we saw its Lease change last
        let mut watched: Option<(String, String, Instant)> = None;
        let mut told = String::new();
        loop {
            match self.look().await {
                Ok(found) => {
                    let free = match &found {
                        None => true,
                        Some(found) if found.holder.is_empty() || found.holder == self.holder => {
                            true
                        }
                        Some(found) => {
                            let same = watched.as_ref().filter(|(holder, renewed, _)| {
                                *holder == found.holder && *renewed == found.renewed
                            });
                            match same {
                                Some((_, _, since)) => {
                                    since.elapsed() >= found.duration.max(self.timing.trusted)
                                }
                                None => {
                                    let seen = (found.holder.clone(), found.renewed.clone());
                                    watched = Some((seen.0, seen.1, Instant::now()));
                                    false
                                }
                            }
                        }
                    };
                    if free {
                        match self.take(found.as_ref()).await {
                            Ok(until) => {
                                tracing::info!(lease = %self.name, holder = %self.holder, "leads");
                                return Term::start(self.clone(), until);
                            }
                            // another was faster
                            Err(error) if error.kind == ErrorKind::Conflict => {}
                            Err(error) => self.complain(&error),
                        }
                    } else if let Some(found) = &found
                        && told != found.holder
                    {
                        told.clone_from(&found.holder);
                        tracing::info!(leader = %told, "another replica leads; this one stands by");
                    }
                }
                Err(error) => self.complain(&error),
            }
            let spread = getrandom::u64().unwrap_or(0) % 500;
            tokio::time::sleep(self.timing.period.mul_f64(0.75) + Duration::from_millis(spread))
                .await;
        }
    }

    fn complain(&self, error: &ClusterError) {
        tracing::warn!(
            lease = %format!("{}/{}", self.namespace, self.name),
            error = %chain(error),
            "cannot use the lease that says which replica acts; trying again"
        );
    }
}

/// The time in which this replica leads.
pub(crate) struct Term {
    elector: Elector,
    until: Arc<Mutex<Instant>>,
    renewing: tokio::task::JoinHandle<()>,
    lost: tokio::sync::watch::Receiver<bool>,
}

impl Term {
    fn start(elector: Elector, until: Instant) -> Self {
        let until = Arc::new(Mutex::new(until));
        let (tell, lost) = tokio::sync::watch::channel(false);
        let (renews, shared) = (elector.clone(), Arc::clone(&until));
        let renewing = tokio::spawn(async move {
            renew(&renews, &shared).await;
            tell.send_replace(true);
        });
        Self {
            elector,
            until,
            renewing,
            lost,
        }
    }

    /// Waits until this replica leads no longer.
    pub(crate) async fn lost(&mut self) {
        // without its sender it is lost as well
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// What keeps writes back once this replica leads no longer.
    pub(crate) fn fence(&self) -> Fence {
        Fence(Arc::clone(&self.until))
    }

    /// Gives the Lease back, so that the next replica need not wait.
    pub(crate) async fn release(self) {
        self.renewing.abort();
        *self.until.lock() = Instant::now();
        let given = async {
            let found = self.elector.look().await?;
            let Some(found) = found.filter(|found| found.holder == self.elector.holder) else {
                return Ok(());
            };
            let patch = json!({
                "metadata": { "resourceVersion": found.revision },
                "spec": { "holderIdentity": "", "leaseDurationSeconds": 1 },
            });
            let call = Call::Merge {
                gvk: gvk(),
                id: self.elector.id(),
                patch: patch.to_string().into(),
                manager: MANAGER.to_owned(),
            };
            self.elector.cluster.call(call).await.map(drop)
        };
        match tokio::time::timeout(Duration::from_secs(2), given).await {
            Ok(Ok(())) => {}
            _ => tracing::warn!(
                "could not give the lease back; the next replica waits until it ends"
            ),
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.renewing.abort();
        *self.until.lock() = Instant::now();
    }
}

/// Renews until that is no longer possible.
async fn renew(elector: &Elector, until: &Mutex<Instant>) {
    loop {
        tokio::time::sleep(elector.timing.period).await;
        let left = until.lock().saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::error!("the lease could not be renewed in time; this replica stops");
            return;
        }
        let once = async {
            let Some(found) = elector.look().await? else {
                return elector.take(None).await.map(Some);
            };
            if found.holder != elector.holder {
                tracing::error!(leader = %found.holder, "another replica took the lease; this one stops");
                return Ok(None);
            }
            elector.take(Some(&found)).await.map(Some)
        };
        match tokio::time::timeout(left, once).await {
            Ok(Ok(Some(next))) => *until.lock() = next,
            Ok(Ok(None)) => {
                *until.lock() = Instant::now();
                return;
            }
            Ok(Err(error)) => elector.complain(&error),
            Err(_) => {}
        }
    }
}

/// Keeps writes back once a replica leads no longer.
#[derive(Clone)]
pub(crate) struct Fence(Arc<Mutex<Instant>>);

impl Fence {
    /// A cluster that is written to only while this replica leads.
    pub(crate) fn around(&self, cluster: Arc<dyn Cluster>) -> Arc<dyn Cluster> {
        Arc::new(Fenced {
            cluster,
            until: Arc::clone(&self.0),
        })
    }
}

/// A cluster that is written to only while its agent leads.
struct Fenced {
    cluster: Arc<dyn Cluster>,
    until: Arc<Mutex<Instant>>,
}

#[async_trait::async_trait]
impl Cluster for Fenced {
    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        let reads = matches!(
            call,
            Call::Discover
                | Call::Get { .. }
                | Call::List { .. }
                | Call::Names { .. }
                | Call::Apply { dry_run: true, .. }
        );
        if reads {
            return self.cluster.call(call).await;
        }
        let late = || {
            ClusterError::new(
                ErrorKind::Unavailable,
                "this replica does not lead any more",
            )
        };
        let until = *self.until.lock();
        if Instant::now() >= until {
            return Err(late());
        }
        self.cluster.call(call).await
    }

    async fn watch(&self, spec: WatchSpec) -> Result<WatchStream, ClusterError> {
        self.cluster.watch(spec).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_micro_time() {
        let text = stamp();
        assert_eq!(text.len(), "2026-01-31T10:20:30.123456Z".len(), "{text}");
    }
}
