//! The contract of every cluster, held by the playground.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use jiff::SignedDuration;
use k8s_apiserver::Clock;
use k8s_cluster::contract::{Harness, Trouble, run};
use k8s_cluster::{Cluster, ClusterError, WatchEvent, WatchStream};
use k8s_playground::{Config, DENY_ANNOTATION, Fault, Handle, Playground, VirtualTime};
use serde_json::{Value, json};

struct Simulation {
    playground: Playground,
    cluster: Handle,
    time: VirtualTime,
}

#[async_trait::async_trait]
impl Harness for Simulation {
    fn cluster(&self) -> &dyn Cluster {
        &self.cluster
    }

    async fn settle(&self) {
        let end = self.time.now() + SignedDuration::from_secs(10);
        self.playground.run_until(&self.time, end);
    }

    async fn next(&self, watch: &mut WatchStream) -> Option<Result<WatchEvent, ClusterError>> {
        watch.next().now_or_never().flatten()
    }

    async fn trouble(&self, trouble: Trouble) -> bool {
        self.cluster.set_fault(match trouble {
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
        let store = self.cluster.registry().store();
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

#[tokio::test]
async fn the_playground_holds_the_contract() {
    let start = "2026-01-01T00:00:00Z".parse().expect("a moment");
    let time = VirtualTime::starting_at(start);
    let playground = Playground::new(
        Config::default(),
        Arc::new(time.clone()),
        Arc::new(time.clone()),
    )
    .expect("a playground");
    let cluster = playground.add_cluster("contract").expect("a cluster");
    let simulation = Simulation {
        playground,
        cluster,
        time,
    };
    let done = run(&simulation)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.len(), 26, "{done:?}");
}
