//! What is served beside the agents' own: the API, metrics, health and webhooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_apiserver::{Body, Server, UserInfo};
use roadstead_wire::{BodyError, PeerInfo};

use crate::api;
use crate::audit::{self, Auditor};
use crate::brain::Brain;
use crate::front;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::sources::Asked;

/// How many bytes a request's body may have.
const MOST_BODY: usize = 3 << 20;
/// How long a request's body may take, as Kubernetes has it.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves everything that is no agent's.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) server: Server,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) brain: Brain,
    pub(crate) asked: Arc<Asked>,
    pub(crate) webhook_secret: Option<Arc<str>>,
    pub(crate) health: Arc<Health>,
    pub(crate) auditor: Arc<Auditor>,
}

fn plain(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Words a body that could not be read.
fn unread(error: &BodyError) -> k8s_apiserver::Status {
    match error {
        BodyError::TooLarge(most) => k8s_apiserver::Status::too_large(*most),
        BodyError::TooSlow(_) => k8s_apiserver::Status::new(504, "Timeout", error.to_string()),
        BodyError::Broken(_) => k8s_apiserver::Status::bad_request(error.to_string()),
    }
}

fn refused(status: &k8s_apiserver::Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = serde_json::to_vec(&status.to_value()).unwrap_or_default();
    let mut response = plain(code, bytes);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Why a client says that it writes.
fn reason(headers: &http::HeaderMap) -> String {
    let bytes = headers.get(audit::REASON).map(http::HeaderValue::as_bytes);
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn well(problem: Option<String>) -> Response<Body> {
    match problem {
        None => plain(StatusCode::OK, "ok"),
        Some(problem) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
}

impl Handler {
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: PeerInfo,
    ) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let body = match roadstead_wire::read_body(body, MOST_BODY, BODY_TIMEOUT).await {
            Ok(body) => body,
            Err(error) => return refused(&unread(&error)),
        };
        match parts.uri.path() {
            "/metrics" => {
                return match api::user_of(&peer, &parts.headers) {
                    Ok(user) if user.name != UserInfo::anonymous().name => {
                        plain(StatusCode::OK, self.metrics.text())
                    }
                    _ => plain(
                        StatusCode::UNAUTHORIZED,
                        "metrics need a client certificate\n",
                    ),
                };
            }
            "/readyz" => return well(self.health.unready()),
            "/livez" | "/healthz" => return well(self.health.dead()),
            "/webhook" if parts.method == http::Method::POST => {
                return self.webhook(&parts.headers, &body).await;
            }
            _ => {}
        }
        match api::user_of(&peer, &parts.headers) {
            Ok(mut user) => {
                if let Some(uri) = front::finds_nothing(&user, &parts.method, &parts.uri) {
                    parts.uri = uri;
                    user.groups.push("system:masters".to_owned());
                }
                let asked = audit::Asked {
                    method: parts.method.clone(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    reason: reason(&parts.headers),
                    body: body.clone(),
                    from: peer.remote.ip().to_string(),
                };
                let server = self.server.clone();
                let request = Request::from_parts(parts, body);
                let (response, entry) = audit::watched(asked, server.handle(request, &user)).await;
                if let Some(entry) = entry {
                    self.auditor.keep(entry).await;
                }
                response
            }
            Err(status) => refused(&status),
        }
    }

    /// A webhook only ever means: poll now.
    async fn webhook(&self, headers: &http::HeaderMap, body: &Bytes) -> Response<Body> {
        use roadstead_source::{normalise_url, webhook};
        let Some(secret) = &self.webhook_secret else {
            return plain(
                StatusCode::NOT_FOUND,
                "webhooks are off: the hub was started without a webhook secret\n",
            );
        };
        let Some(kind) = webhook::Kind::of(headers) else {
            return plain(
                StatusCode::BAD_REQUEST,
                "no header says which forge this comes from\n",
            );
        };
        if webhook::verify(kind, headers, body, secret.as_bytes()).is_err() {
            return plain(
                StatusCode::UNAUTHORIZED,
                "the signature is not made with the hub's webhook secret\n",
            );
        }
        let urls: Vec<String> = webhook::repo_urls(body)
            .iter()
            .map(|url| normalise_url(url))
            .collect();
        let asked = self
            .brain
            .ask(move |index, _| {
                let named = index
                    .sources()
                    .filter(|(_, source)| urls.contains(&normalise_url(source.spec.url())));
                named.map(|(key, _)| key.clone()).collect::<Vec<_>>()
            })
            .await
            .unwrap_or_default();
        let text = format!("{} Sources are polled now\n", asked.len());
        self.asked.ask(asked);
        plain(StatusCode::OK, text)
    }
}
