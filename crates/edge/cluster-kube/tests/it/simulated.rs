//! The contract of every cluster, held over HTTP against a simulated API server.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_apiserver::{Sleep, UserInfo};
use k8s_cluster::contract::run;
use k8s_playground::{Handle, Simulation};
use roadstead_cluster_kube::KubeCluster;

pub(crate) async fn serve(simulated: Handle) -> http::Uri {
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
    let simulation = Simulation::direct().expect("a playground");
    let url = serve(simulation.handle().clone()).await;
    let cluster = KubeCluster::at(url).expect("a client");
    let sleep = |duration: Duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) };
    let simulation = simulation.through(Arc::new(cluster), Arc::new(sleep));
    let done = run(&simulation)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.len(), 31, "{done:?}");
}
