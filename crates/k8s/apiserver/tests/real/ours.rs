//! This library's server, asked without a socket.

use std::sync::Arc;

use base_store::memory::MemoryStore;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use k8s_apiserver::{
    Body, Catalog, Config, Extensions, Rbac, Registry, Server, Sleep, UserInfo, WriteOptions,
    bootstrap_rbac,
};
use serde_json::json;

use crate::script::{Answered, Step};

pub(crate) fn server() -> Server {
    let config = Config::new(
        jiff::Timestamp::now,
        |duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) },
        {
            let counter = std::sync::atomic::AtomicU64::new(1);
            move |buffer: &mut [u8]| {
                for chunk in buffer.chunks_mut(8) {
                    let next = counter
                        .fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
                    chunk.copy_from_slice(&next.rotate_left(17).to_le_bytes()[..chunk.len()]);
                }
            }
        },
    );
    let store = Arc::new(MemoryStore::new());
    let registry = Registry::open(store, "", Arc::new(Catalog::kubernetes()), Arc::new(config))
        .expect("opens");
    let namespaces = registry.resource("", "namespaces").expect("is served");
    for name in ["default", "kube-system"] {
        let object = json!({"metadata": {"name": name}});
        registry
            .create(&namespaces, "", object, &WriteOptions::manager("test"))
            .expect("creates");
    }
    bootstrap_rbac(&registry).expect("writes the default roles");
    let extensions = Extensions::new().authorizer(Arc::new(Rbac::new()));
    Server::with(registry, Arc::new(extensions))
}

pub(crate) async fn ask(server: &Server, step: &Step) -> Answered {
    let mut request = Request::builder()
        .method(step.method.as_str())
        .uri(&step.path);
    for (name, value) in &step.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Bytes::from(step.body.clone()))
        .unwrap_or_else(|error| panic!("{}: {error}", step.title));
    let user = UserInfo::admin();
    let (head, body) = server.handle(request, &user).await.into_parts();
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
    Answered {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body,
    }
}
