//! A cluster over HTTP: the API server, with faults before it and counters behind it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Method, Request, Response, header};
use k8s_apiserver::{Body, ByteStream, Extensions, Rbac, Server, Status, UserInfo};
use serde::Deserialize;

use crate::key::Kind;
use crate::playground::{Answer, Handle, Line};

/// What a request is about, as far as counting needs it.
struct About {
    verb: &'static str,
    write: bool,
    object: String,
}

impl About {
    fn of(request: &Request<Bytes>) -> Option<Self> {
        let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let resource = rest.first().copied().filter(|name| !name.is_empty())?;
        let name = rest.get(1).copied().unwrap_or_default();
        let query = request.uri().query().unwrap_or_default();
        let has = |part: &str| query.split('&').any(|own| own == part);
        let content = request.headers().get(header::CONTENT_TYPE);
        let applies = content
            .and_then(|content| content.to_str().ok())
            .is_some_and(|content| content.starts_with("application/apply-patch"));
        let (verb, write) = match *request.method() {
            Method::POST => ("create", true),
            Method::PUT => ("update", true),
            Method::PATCH if applies => ("apply", true),
            Method::PATCH => ("patch", true),
            Method::DELETE => ("delete", true),
            _ if has("watch=true") || has("watch=1") => ("watch", false),
            _ if name.is_empty() => ("list", false),
            _ => ("get", false),
        };
        if write && query.contains("dryRun=All") {
            return None;
        }
        Some(Self {
            verb,
            write,
            object: format!("{group}/{resource}/{namespace}/{name}"),
        })
    }

    /// Who was written and whether it changed, as the answer tells.
    fn outcome(&self, response: &Response<Body>, before: u64) -> (String, bool) {
        let written: Option<(Written<'_>, u64)> = response.body().full().and_then(|bytes| {
            let written: Written<'_> = serde_json::from_slice(bytes).ok()?;
            let revision = written.metadata.resource_version.parse().ok()?;
            Some((written, revision))
        });
        let good = response.status().is_success();
        match written {
            Some((written, revision)) if good && written.kind != "Status" => {
                let object = format!(
                    "{}/{}/{}/{}",
                    Kind::new(&written.api_version, &written.kind).group(),
                    written.kind,
                    written.metadata.namespace,
                    written.metadata.name
                );
                (object, self.verb == "delete" || revision > before)
            }
            _ => (self.object.clone(), good && self.verb == "delete"),
        }
    }
}

/// The parts of an answer that tell what was written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metadata: WrittenMeta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMeta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

fn refuse(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::from(base_json::canonical(&status.to_value())));
    *response.status_mut() =
        http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let json = header::HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let pause = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if status.code == 429 {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from(pause.max(1)));
    }
    response
}

impl Handle {
    /// Returns the cluster's API server. What is asked of it directly meets no fault and does not count; after writes,
    /// [`touch`](Self::touch) the cluster.
    pub fn server(&self) -> &Server {
        self.0.server.get_or_init(|| {
            let extensions = Extensions::new().authorizer(Arc::new(Rbac::new()));
            Server::with(self.registry().clone(), Arc::new(extensions))
        })
    }

    /// Answers one HTTP request of a caller that was authenticated. An offline cluster answers 503 here; a listener that
    /// wants to show the real thing asks [`fault`](Self::fault) and closes the connection.
    pub async fn handle(&self, request: Request<Bytes>, user: &UserInfo) -> Response<Body> {
        let strike = self.strike();
        if strike.latency_ms > 0 {
            let wait = Duration::from_millis(strike.latency_ms);
            self.0.timer.sleep(wait).await;
        }
        match strike.answer {
            None => {}
            Some(Answer::Offline) => {
                return refuse(&Status::unavailable(format!(
                    "cluster {:?} is offline",
                    self.name()
                )));
            }
            Some(Answer::TooMany(seconds)) => {
                let why = "the playground was told to refuse: too many requests";
                return refuse(&Status::too_many_requests(why, seconds));
            }
            Some(Answer::Error) => {
                return refuse(&Status::internal("the playground was told to fail"));
            }
        }
        let about = About::of(&request);
        let before = self.registry().revision().0;
        let line = self.connect();
        let response = self.server().handle(request, user).await;
        match about {
            Some(about) if about.write => {
                let (object, changed) = about.outcome(&response, before);
                self.count(|counters| counters.write(about.verb, object, changed));
            }
            Some(about) => self.count(|counters| counters.read(about.verb)),
            None => {}
        }
        if self.registry().revision().0 != before {
            self.touch();
        }
        response.map(|body| match body {
            Body::Stream(inner) => Body::Stream(Box::pin(Breakable { line, inner })),
            full @ Body::Full(_) => full,
        })
    }
}

/// A watch that ends when the cluster's connections break.
struct Breakable {
    line: Line,
    inner: ByteStream,
}

impl Stream for Breakable {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.line.poll_broken(cx) {
            return Poll::Ready(None);
        }
        self.inner.as_mut().poll_next(cx)
    }
}
