//! A playground under the contract of every cluster, on a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use jiff::SignedDuration;
use k8s_apiserver::{Clock, Timer};
use k8s_cluster::contract::{Harness, Trouble};
use k8s_cluster::{Cluster, ClusterError, WatchEvent, WatchStream};
use serde_json::{Value, json};

use crate::{Config, DENY_ANNOTATION, Fault, Handle, Playground, PlaygroundError, VirtualTime};

/// A simulated cluster for [`k8s_cluster::contract::run`], asked through whatever stands before it.
pub struct Simulation {
    playground: Playground,
    simulated: Handle,
    time: VirtualTime,
    cluster: Arc<dyn Cluster>,
    patience: Arc<dyn Timer>,
}

impl Simulation {
    /// Makes one that is asked directly: what does not come at once does not come.
    pub fn direct() -> Result<Self, PlaygroundError> {
        let start = jiff::Timestamp::UNIX_EPOCH + SignedDuration::from_hours(490_000);
        let time = VirtualTime::starting_at(start);
        let clock = Arc::new(time.clone());
        let playground = Playground::new(
            Config::default(),
            Arc::clone(&clock) as Arc<dyn Clock>,
            clock,
        )?;
        let simulated = playground.add_cluster("contract")?;
        let at_once = |_: Duration| -> k8s_apiserver::Sleep { Box::pin(std::future::ready(())) };
        Ok(Self {
            cluster: Arc::new(simulated.clone()),
            playground,
            simulated,
            time,
            patience: Arc::new(at_once),
        })
    }

    /// The simulated cluster, to be served.
    pub fn handle(&self) -> &Handle {
        &self.simulated
    }

    /// Asks it through this; `patience` waits on the clock of what stands between.
    #[must_use]
    pub fn through(self, cluster: Arc<dyn Cluster>, patience: Arc<dyn Timer>) -> Self {
        Self {
            cluster,
            patience,
            ..self
        }
    }
}

#[async_trait::async_trait]
impl Harness for Simulation {
    fn cluster(&self) -> &dyn Cluster {
        self.cluster.as_ref()
    }

    async fn settle(&self) {
        let end = self.time.now() + SignedDuration::from_secs(10);
        while let Some(due) = self.playground.next_due().filter(|due| *due <= end) {
            self.time.advance_to(due);
            self.playground.run_due(self.time.now());
        }
    }

    async fn next(&self, watch: &mut WatchStream) -> Option<Result<WatchEvent, ClusterError>> {
        let end = self.patience.sleep(Duration::from_millis(400));
        match select(watch.next(), end).await {
            Either::Left((item, _)) => item,
            Either::Right(_) => None,
        }
    }

    async fn trouble(&self, trouble: Trouble) -> bool {
        self.simulated.set_fault(match trouble {
            Trouble::None => Fault::none(),
            Trouble::TooMany => Fault {
                too_many_per_mille: 1000,
                retry_after_s: 2,
                ..Fault::none()
            },
            Trouble::Errors => Fault {
                error_per_mille: 1000,
                ..Fault::none()
            },
            Trouble::Offline => Fault::offline(),
        });
        true
    }

    async fn forget(&self) -> bool {
        let store = self.simulated.registry().store();
        store.compact(store.revision()).is_ok()
    }

    fn refused_by_admission(&self, namespace: &str) -> Option<Value> {
        Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "refused",
                "namespace": namespace,
                "annotations": {DENY_ANNOTATION: "because"},
            },
        }))
    }
}
