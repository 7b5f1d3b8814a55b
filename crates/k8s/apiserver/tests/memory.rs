//! What an idle server costs: thousands of them stand in one process.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base_store::memory::MemoryStore;
use k8s_apiserver::{
    Catalog, Config, Extensions, ListOptions, Registry, Server, Sleep, WriteOptions,
};
use serde_json::json;

const SERVERS: usize = 5_000;
/// In bytes, store included. Measured: under 500.
const LIMIT: usize = 4 * 1024;

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("is there");
    let pages: usize = text
        .split(' ')
        .nth(1)
        .expect("a field")
        .parse()
        .expect("a number");
    pages * 4096
}

#[test]
fn idle_servers_are_small() {
    let counter = AtomicU32::new(1);
    let config = Config::new(
        || "2026-01-01T12:00:00Z".parse().expect("a time"),
        |_| -> Sleep { Box::pin(std::future::pending()) },
        move |buffer: &mut [u8]| {
            for byte in buffer {
                *byte = counter
                    .fetch_add(1, Ordering::Relaxed)
                    .wrapping_mul(0x9e37_79b9)
                    .to_le_bytes()[3];
            }
        },
    );
    let base = Arc::new(MemoryStore::new());
    let registry = Registry::open(
        Arc::clone(&base) as _,
        "",
        Arc::new(Catalog::kubernetes()),
        Arc::new(config),
    )
    .expect("opens");
    let nodes = registry.resource("", "nodes").expect("is served");
    for index in 0..50 {
        let node = json!({"metadata": {"name": format!("n{index}")}});
        registry
            .create(&nodes, "", node, &WriteOptions::manager("test"))
            .expect("creates");
    }
    let image = Arc::new(base.image());
    let extensions = Arc::new(Extensions::new());
    let before = resident();
    let servers: Vec<Server> = (0..SERVERS)
        .map(|_| {
            let store = Arc::new(MemoryStore::fork(Arc::clone(&image)));
            Server::with(registry.fork(store), Arc::clone(&extensions))
        })
        .collect();
    let each = resident().saturating_sub(before) / SERVERS;
    println!("{each} bytes for each of {SERVERS} idle servers");
    assert!(each < LIMIT, "{each} bytes");
    let last = servers.last().expect("there are some").registry();
    let list = last
        .list(&nodes, "", &ListOptions::default())
        .expect("lists");
    assert_eq!(list.items.len(), 50);
}
