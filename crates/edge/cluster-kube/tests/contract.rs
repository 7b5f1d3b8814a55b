//! The contract of every cluster, held over HTTP against a simulated API server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::SignedDuration;
use k8s_apiserver::{Clock, UserInfo};
use k8s_cluster::contract::{Harness, Trouble, run};
use k8s_cluster::{Cluster, ClusterError, WatchEvent, WatchStream};
use k8s_playground::{Config, DENY_ANNOTATION, Fault, Handle, Playground, VirtualTime};
use roadstead_cluster_kube::KubeCluster;
use serde_json::{Value, json};

struct Served {
    playground: Playground,
    simulated: Handle,
    cluster: KubeCluster,
    time: VirtualTime,
}

#[async_trait::async_trait]
impl Harness for Served {
    fn cluster(&self) -> &dyn Cluster {
        &self.cluster
    }

    async fn settle(&self) {
        let end = self.time.now() + SignedDuration::from_secs(10);
        while let Some(due) = self.playground.next_due().filter(|due| *due <= end) {
            self.time.advance_to(due);
            self.playground.run_due(self.time.now());
        }
    }

    async fn next(&self, watch: &mut WatchStream) -> Option<Result<WatchEvent, ClusterError>> {
        let next = tokio::time::timeout(Duration::from_millis(400), watch.next());
        next.await.ok().flatten()
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

async fn serve(simulated: Handle) -> http::Uri {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let simulated = simulated.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let simulated = simulated.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let user =
                            UserInfo::new("agent", &["system:masters", "system:authenticated"]);
                        let request = http::Request::from_parts(parts, body);
                        Ok::<_, hyper::Error>(simulated.handle(request, &user).await)
                    }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    format!("http://{address}").parse().expect("a URL")
}

#[tokio::test]
async fn a_cluster_behind_http_holds_the_contract() {
    let start = "2026-01-01T00:00:00Z".parse().expect("a moment");
    let time = VirtualTime::starting_at(start);
    let playground = Playground::new(
        Config::default(),
        Arc::new(time.clone()),
        Arc::new(time.clone()),
    )
    .expect("a playground");
    let simulated = playground.add_cluster("contract").expect("a cluster");
    let url = serve(simulated.clone()).await;
    let served = Served {
        playground,
        simulated,
        cluster: KubeCluster::at(url).expect("a client"),
        time,
    };
    let done = run(&served)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.len(), 26, "{done:?}");
}
