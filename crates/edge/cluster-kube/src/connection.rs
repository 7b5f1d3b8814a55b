//! Who asks, and how credentials that were changed on disk are taken up.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use k8s_cluster::{ClusterError, ErrorKind};
use kube::client::Body;
use tokio::time::Instant;

use crate::{SetupError, error};

/// The API server itself gives up after 60 s; what is silent for longer is dead and nobody said so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(65);
/// Credentials that do not help are not read again for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Where credentials come from.
pub(crate) enum Origin {
    Kubeconfig {
        path: PathBuf,
        context: Option<String>,
    },
    InCluster,
    Fixed(http::Uri),
}

impl Origin {
    pub(crate) async fn client(&self) -> Result<kube::Client, SetupError> {
        match self {
            Self::Kubeconfig { path, context } => {
                let failed = |source| SetupError::Kubeconfig {
                    path: path.display().to_string(),
                    source: Box::new(source),
                };
                let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(failed)?;
                let options = kube::config::KubeConfigOptions {
                    context: context.clone(),
                    ..Default::default()
                };
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
                make(config.await.map_err(failed)?)
            }
            Self::InCluster => in_cluster(),
            Self::Fixed(url) => at(url),
        }
    }
}

pub(crate) fn in_cluster() -> Result<kube::Client, SetupError> {
    let config = kube::Config::incluster();
    make(config.map_err(|source| SetupError::InCluster(Box::new(source)))?)
}

pub(crate) fn at(url: &http::Uri) -> Result<kube::Client, SetupError> {
    make(kube::Config::new(url.clone()))
}

fn make(mut config: kube::Config) -> Result<kube::Client, SetupError> {
    // whoever asks decides when to ask again: the sync machine knows what else there is to do meanwhile
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|source| SetupError::Client(Box::new(source)))
}

/// A client that is made anew when its credentials are refused.
pub(crate) struct Connection {
    origin: Origin,
    /// With a number that grows each time.
    client: RwLock<(u64, kube::Client)>,
    tried: tokio::sync::Mutex<Option<Instant>>,
}

impl Connection {
    pub(crate) fn new(origin: Origin, client: kube::Client) -> Self {
        Self {
            origin,
            client: RwLock::new((0, client)),
            tried: tokio::sync::Mutex::new(None),
        }
    }

    fn client(&self) -> (u64, kube::Client) {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }

    /// Reads the credentials again, unless another did since, or that was just tried. Says whether asking again makes sense.
    async fn renew(&self, seen: u64) -> bool {
        if matches!(self.origin, Origin::Fixed(_)) {
            return false;
        }
        let mut tried = self.tried.lock().await;
        if self.client().0 != seen {
            return true;
        }
        if tried.is_some_and(|last| last.elapsed() < PAUSE) {
            return false;
        }
        *tried = Some(Instant::now());
        match self.origin.client().await {
            Ok(client) => {
                tracing::info!("credentials were refused and have been read again");
                let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
                *place = (seen + 1, client);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "credentials were refused and cannot be read again");
                false
            }
        }
    }

    /// Sends a request; the answer's body has not been read yet.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Body>, ClusterError> {
        let (seen, client) = self.client();
        let first = send(client, &method, path, &headers, body.clone()).await;
        let refused = match &first {
            Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
            // a server with another authority, or a certificate of ours that has ended
            Err(error) => error.message.contains("certificate"),
        };
        if refused && self.renew(seen).await {
            return send(self.client().1, &method, path, &headers, body).await;
        }
        first
    }
}

async fn send(
    client: kube::Client,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<http::Response<Body>, ClusterError> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(place) = request.headers_mut() {
        place.clone_from(headers);
    }
    let request = request.body(Body::from(body)).map_err(|source| {
        ClusterError::new(ErrorKind::Other, format!("cannot ask for {path}: {source}"))
    })?;
    match tokio::time::timeout(PATIENCE, client.send(request)).await {
        Ok(answer) => answer.map_err(|source| error::transport(&source)),
        Err(_) => Err(error::silent()),
    }
}
