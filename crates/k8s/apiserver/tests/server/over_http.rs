//! The server over plain HTTP on a port of its own.

use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_apiserver::{Server, UserInfo};

/// Serves until the runtime ends; returns the URL.
pub(crate) async fn listen(server: Server) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let server = server.clone();
            tokio::spawn(async move {
                let service =
                    hyper::service::service_fn(move |request| answer(server.clone(), request));
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    url
}

async fn answer(
    server: Server,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<k8s_apiserver::Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let user = UserInfo::admin();
    Ok(server
        .handle(http::Request::from_parts(parts, body), &user)
        .await)
}
