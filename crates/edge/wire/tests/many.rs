//! How much a session costs. Measured, not judged: `cargo test -p roadstead-wire --test many -- --ignored --nocapture`.

mod common;

use std::time::{Duration, Instant};

use base_json::Digest;
use common::Hub;
use roadstead_dispatch::Known;
use roadstead_model::ClusterId;
use roadstead_wire::{AgentSays, Hello, HubSays, Want};

const AGENTS: usize = 200;

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4096
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{what}: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn two_hundred_sessions_and_what_they_cost() {
    let hub = Hub::start().await;
    let content = vec![b'x'; 4096];
    let digest = Digest::of(&content);
    hub.gateway.blobs.lock().unwrap().insert(digest, content);
    let before = resident();
    let started = Instant::now();
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        let (mut client, _) = hub.agent(&format!("c-{n}")).await;
        let hello = Hello::new(ClusterId(format!("c-{n}")), "0.1.0", None, Known::default());
        let mut session = client.session(hello).await.unwrap();
        let _ = session.inbound.next().await.unwrap();
        agents.push((client, session));
    }
    println!(
        "{AGENTS} certificates, handshakes and sessions, one after the other: {:?}",
        started.elapsed()
    );
    let each = (resident() - before) / AGENTS / 1024;
    println!("resident memory a session, both sides together: {each} KiB");
    let tasks = agents.into_iter().map(|(mut client, mut session)| {
        tokio::spawn(async move {
            let started = Instant::now();
            let want = AgentSays::WantOrder { base: None };
            session.outbound.send(&want).await.unwrap();
            let order = session.inbound.next().await.unwrap();
            assert!(matches!(order, Some(HubSays::Order(_))));
            let ordered = started.elapsed();
            let mut stream = client.fetch(&[Want::whole(digest)]).await.unwrap();
            assert!(stream.next().await.unwrap().is_some());
            (ordered, started.elapsed(), client, session)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut orders, mut fetches, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for task in tasks {
        let (order, fetch, client, session) = task.await.unwrap();
        orders.push(order);
        fetches.push(fetch);
        kept.push((client, session));
    }
    assert_eq!(hub.connections.count().0, AGENTS);
    show("all ask at once, signed order arrives", orders);
    show("and its content", fetches);
}
