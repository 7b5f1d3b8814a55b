//! Our server, asked without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::anyhow;
use base_store::memory::MemoryStore;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use k8s_apiserver::{
    Body, Catalog, Config, Extensions, Rbac, Registry, Server, Sleep, UserInfo, WriteOptions,
    bootstrap_rbac,
};
use serde_json::json;

use crate::Respond;
use crate::script::{Answered, Step};

/// A server of ours with the kinds of Kubernetes, and the runtime that its answers want.
pub struct Ours {
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Ours {
    /// Makes one with an empty store.
    pub fn new() -> anyhow::Result<Self> {
        let counter = AtomicU64::new(1);
        let config = Config::new(
            jiff::Timestamp::now,
            |duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) },
            move |buffer: &mut [u8]| {
                for chunk in buffer.chunks_mut(8) {
                    let next = counter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                    chunk.copy_from_slice(&next.rotate_left(17).to_le_bytes()[..chunk.len()]);
                }
            },
        );
        let store = Arc::new(MemoryStore::new());
        let catalog = Arc::new(Catalog::kubernetes());
        let registry = Registry::open(store, "", catalog, Arc::new(config))?;
        let namespaces = registry.resource("", "namespaces")?;
        for name in ["default", "kube-system"] {
            let object = json!({"metadata": {"name": name}});
            registry.create(&namespaces, "", object, &WriteOptions::manager("test"))?;
        }
        bootstrap_rbac(&registry)?;
        let extensions = Extensions::new().authorizer(Arc::new(Rbac::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            server: Server::with(registry, Arc::new(extensions)),
            runtime,
        })
    }

    async fn ask(&self, step: &Step) -> anyhow::Result<Answered> {
        let mut request = Request::builder()
            .method(step.method.as_str())
            .uri(&step.path);
        for (name, value) in &step.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Bytes::from(step.body.clone()))
            .map_err(|error| anyhow!("{}: {error}", step.title))?;
        let answer = self.server.handle(request, &UserInfo::admin()).await;
        let (head, body) = answer.into_parts();
        let body = match body {
            Body::Full(bytes) => bytes.to_vec(),
            Body::Stream(mut stream) => {
                let mut out = Vec::new();
                while let Some(part) = stream.next().await {
                    out.extend_from_slice(&part);
                }
                out
            }
        };
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Ok(Answered {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body,
        })
    }
}

impl Respond for Ours {
    fn send(&self, step: &Step) -> anyhow::Result<Answered> {
        self.runtime.block_on(self.ask(step))
    }
}
