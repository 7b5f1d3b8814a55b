// A server of its own for every input: Kubernetes' own kinds, one definition, a clock that stands still.

use std::sync::{Arc, OnceLock};
use std::sync::atomic::{AtomicU64, Ordering};

use base_store::memory::{Image, MemoryStore};
use bytes::Bytes;
use k8s_apiserver::{Catalog, Config, Extensions, Registry, Server, Sleep, UserInfo, WriteOptions};
use serde_json::json;

/// What every server begins as. Making it costs thousands of times what a fork costs.
static FIRST: OnceLock<(Registry, Arc<Image>)> = OnceLock::new();

/// Makes a server that begins as the first one did.
pub fn server() -> Server {
    let (registry, image) = FIRST.get_or_init(first);
    let store = Arc::new(MemoryStore::fork(Arc::clone(image)));
    Server::with(registry.fork(store), Arc::new(Extensions::new()))
}

fn first() -> (Registry, Arc<Image>) {
    let counter = AtomicU64::new(1);
    let config = Config::new(
        || "2026-01-01T12:00:00Z".parse().expect("a time"),
        |_| -> Sleep { Box::pin(std::future::ready(())) },
        move |buffer: &mut [u8]| {
            for chunk in buffer.chunks_mut(8) {
                let next = counter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
            }
        },
    );
    let catalog = Arc::new(Catalog::kubernetes());
    let store = Arc::new(MemoryStore::new());
    let registry = Registry::open(store.clone(), "", catalog, Arc::new(config)).expect("opens");
    let options = WriteOptions::manager("fuzz");
    for (group, plural, namespace, object) in [
        ("", "namespaces", "", json!({"metadata": {"name": "default"}})),
        ("", "configmaps", "default", json!({"metadata": {"name": "a"}, "data": {"k": "v"}})),
        ("apps", "deployments", "default", json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})),
        ("apiextensions.k8s.io", "customresourcedefinitions", "", json!({"metadata": {"name": "xs.e.org"}, "spec": {
            "group": "e.org", "scope": "Namespaced", "names": {"plural": "xs", "kind": "X"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
                        "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}}},
                    "s": {"type": "string", "pattern": "^[a-z]*$"}, "e": {"x-kubernetes-int-or-string": true}}}}}}}]}})),
        ("e.org", "xs", "default", json!({"apiVersion": "e.org/v1", "kind": "X", "metadata": {"name": "a"}, "spec": {"l": [{"n": "1"}]}})),
    ] {
        let def = registry.resource(group, plural).expect("is served");
        registry.create(&def, namespace, object, &options).expect("creates");
    }
    let image = Arc::new(store.image());
    (registry, image)
}

/// Sends a request; nobody reads a watch.
pub fn send(server: &Server, method: &str, path: &str, kind: &str, body: &[u8]) {
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let Ok(request) = request.body(Bytes::copy_from_slice(body)) else { return };
    let answer = futures_executor::block_on(server.handle(request, &UserInfo::admin()));
    assert!(answer.status().as_u16() >= 200);
}
