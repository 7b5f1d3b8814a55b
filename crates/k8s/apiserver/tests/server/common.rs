//! A server for tests: memory store, frozen clock, counted randomness; over plain HTTP where a client needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base_store::Store;
use base_store::memory::MemoryStore;
use bytes::Bytes;
use http::Request;
use k8s_apiserver::{
    Body, Catalog, Config, Extensions, Registry, ResourceDef, Server, Sleep, UserInfo, WriteOptions,
};
use serde_json::{Value, json};

/// Time stands still at noon of the first day of 2026.
pub(crate) fn config() -> Config {
    let counter = AtomicU64::new(1);
    Config::new(
        || "2026-01-01T12:00:00Z".parse().expect("a time"),
        |duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) },
        move |buffer: &mut [u8]| {
            for chunk in buffer.chunks_mut(8) {
                let next = counter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                chunk.copy_from_slice(&next.rotate_left(17).to_le_bytes()[..chunk.len()]);
            }
        },
    )
}

/// A registry of Kubernetes' own kinds with the namespace `default`.
pub(crate) fn registry_with(config: Config) -> Registry {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let registry = Registry::open(store, "", Arc::new(Catalog::kubernetes()), Arc::new(config))
        .expect("opens");
    let namespaces = registry.resource("", "namespaces").expect("is served");
    registry
        .create(
            &namespaces,
            "",
            json!({"metadata": {"name": "default"}}),
            &WriteOptions::manager("test"),
        )
        .expect("creates");
    registry
}

pub(crate) fn registry() -> Registry {
    registry_with(config())
}

pub(crate) fn def(registry: &Registry, group: &str, plural: &str) -> Arc<ResourceDef> {
    registry.resource(group, plural).expect("is served")
}

/// A server with everything allowed.
pub(crate) fn server() -> Server {
    Server::with(registry(), Arc::new(Extensions::new()))
}

/// Sends a request; returns the code, the headers and the body.
pub(crate) async fn send(
    server: &Server,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, http::HeaderMap, String) {
    send_as(server, &UserInfo::admin(), method, uri, headers, body).await
}

pub(crate) async fn send_as(
    server: &Server,
    user: &UserInfo,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, http::HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(uri);
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    let request = request
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .expect("a request");
    let (parts, body) = server.handle(request, user).await.into_parts();
    let text = match body {
        Body::Full(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Body::Stream(mut stream) => {
            let mut out = Vec::new();
            while let Some(part) = futures_util::StreamExt::next(&mut stream).await {
                out.extend_from_slice(&part);
            }
            String::from_utf8_lossy(&out).into_owned()
        }
    };
    (parts.status.as_u16(), parts.headers, text)
}

/// Sends JSON; returns the code and the answer.
pub(crate) async fn call(server: &Server, method: &str, uri: &str, body: Value) -> (u16, Value) {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let (code, _, text) = send(server, method, uri, &[("content-type", kind)], &text).await;
    (
        code,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}
