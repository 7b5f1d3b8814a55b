//! A simulated cluster behind a port of this machine.

use std::future::poll_fn;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use k8s_apiserver::{Sleep, UserInfo};
use k8s_playground::{Config, Handle, Playground};
use oracle_cluster::{Client, Tools};

/// A cluster, and a folder for its clients; everything ends when it is dropped.
pub(crate) struct Served {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // watches that are open would be waited for
            runtime.shutdown_background();
        }
    }
}

impl Served {
    pub(crate) fn start(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let sleep = |duration: Duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) };
        let playground =
            Playground::new(config, Arc::new(Timestamp::now), Arc::new(sleep)).unwrap();
        let cluster = playground.add_cluster("one").unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(drive(playground));
        runtime.spawn(serve(cluster, listener));
        let served = Self {
            folder: tempfile::tempdir().unwrap(),
            url,
            runtime: Some(runtime),
        };
        std::fs::write(
            served.kubeconfig(),
            format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
                 clusters: [{{name: one, cluster: {{server: \"{}\"}}}}]\n\
                 users: [{{name: one, user: {{}}}}]\n\
                 contexts: [{{name: one, context: {{cluster: one, user: one}}}}]\n",
                served.url
            ),
        )
        .unwrap();
        served
    }

    /// A plain way to ask it.
    pub(crate) fn client(&self) -> Client {
        Client::plain(self.url.rsplit(':').next().unwrap().parse().unwrap())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

/// Runs what is due until the end of the test: what the binary does, in small.
async fn drive(playground: Playground) {
    loop {
        playground.run_due(Timestamp::now());
        let news = poll_fn(|cx| playground.poll_news(cx));
        match playground.next_due() {
            None => news.await,
            Some(due) => {
                let wait = due.as_millisecond() - Timestamp::now().as_millisecond();
                let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
                let _ = tokio::time::timeout(wait, news).await;
            }
        }
    }
}

async fn serve(cluster: Handle, listener: tokio::net::TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let cluster = cluster.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let cluster = cluster.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let request = http::Request::from_parts(parts, body);
                Ok::<_, hyper::Error>(cluster.handle(request, &UserInfo::admin()).await)
            }
        });
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The programs, if all of these are built; says that the test is skipped if not.
pub(crate) fn tools(names: &[&str]) -> Option<Tools> {
    let tools = Tools::in_folder(oracle_cluster::cache().join("bin"));
    match tools.need(names) {
        Ok(()) => Some(tools),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Runs a program and returns what it says; `good` is whether it should succeed.
pub(crate) fn run(command: &mut Command, good: bool) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.success(),
        good,
        "{command:?} ended with {}:\n{said}{errors}",
        output.status
    );
    if good { said } else { errors.into_owned() }
}

/// Looks again and again until it finds what it looks for.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > end => panic!("waited for {what}: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
