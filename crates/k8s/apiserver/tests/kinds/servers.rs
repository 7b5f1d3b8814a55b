//! The two servers that are compared, asked in the same way.

use std::sync::Arc;

use base_store::memory::MemoryStore;
use bytes::Bytes;
use http::Request;
use k8s_apiserver::{
    Body, Catalog, Config, Extensions, Rbac, Registry, Server, Sleep, UserInfo, WriteOptions,
    bootstrap_rbac,
};
use oracle_cluster::RealCluster;
use serde_json::{Value, json};

/// A request with a body.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) content: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) accept: String,
}

impl Sent {
    pub(crate) fn json(method: &'static str, path: String, body: &Value) -> Self {
        Self {
            method,
            path,
            content: "application/json",
            body: body.to_string().into_bytes(),
            accept: "application/json".to_owned(),
        }
    }
}

/// Somebody who answers.
pub(crate) trait Ask {
    fn ask(&self, sent: &Sent) -> Value;
}

fn answer(status: u16, body: &[u8]) -> Value {
    let body: Value =
        serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
    json!({"code": status, "body": body})
}

impl Ask for RealCluster {
    fn ask(&self, sent: &Sent) -> Value {
        let answer_ = self
            .admin()
            .send(
                sent.method,
                &sent.path,
                &[("content-type", sent.content), ("accept", &sent.accept)],
                &sent.body,
            )
            .unwrap_or_else(|error| panic!("{}: {error:#}", sent.path));
        answer(answer_.status, &answer_.body)
    }
}

/// This library's server, asked without a socket.
pub(crate) struct Ours {
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let counter = std::sync::atomic::AtomicU64::new(1);
        let config = Config::new(
            jiff::Timestamp::now,
            |duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) },
            move |buffer: &mut [u8]| {
                for chunk in buffer.chunks_mut(8) {
                    let step = 0x9e37_79b9_7f4a_7c15;
                    let next = counter.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
                    chunk.copy_from_slice(&next.rotate_left(17).to_le_bytes()[..chunk.len()]);
                }
            },
        );
        let catalog = Arc::new(Catalog::kubernetes());
        let store = Arc::new(MemoryStore::new());
        let registry = Registry::open(store, "", catalog, Arc::new(config)).expect("opens");
        let namespaces = registry.resource("", "namespaces").expect("is served");
        for name in ["default", "kube-system"] {
            let object = json!({"metadata": {"name": name}});
            registry
                .create(&namespaces, "", object, &WriteOptions::manager("test"))
                .expect("creates");
        }
        bootstrap_rbac(&registry).expect("writes the default roles");
        let extensions = Extensions::new().authorizer(Arc::new(Rbac::new()));
        Self {
            server: Server::with(registry, Arc::new(extensions)),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }
}

impl Ask for Ours {
    fn ask(&self, sent: &Sent) -> Value {
        let request = Request::builder()
            .method(sent.method)
            .uri(&sent.path)
            .header("content-type", sent.content)
            .header("accept", &sent.accept)
            .body(Bytes::from(sent.body.clone()))
            .expect("a request");
        let user = UserInfo::admin();
        let whole = self.runtime.block_on(self.server.handle(request, &user));
        let (head, body) = whole.into_parts();
        match body {
            Body::Full(bytes) => answer(head.status.as_u16(), &bytes),
            Body::Stream(_) => panic!("{}: a stream", sent.path),
        }
    }
}
