//! The real kubectl against the server, over plain HTTP.

mod common;
#[path = "common/http.rs"]
mod http_server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interactive() {
    let url = http_server::listen(common::server()).await;
    if let Ok(path) = std::env::var("KUBECTL_URL_FILE") {
        std::fs::write(path, &url).expect("writes");
        tokio::time::sleep(std::time::Duration::from_secs(3000)).await;
    }
}
