//! Prints what requests about one object cost, from a request's bytes to a response's:
//! `cargo run --release -p k8s-apiserver --example cost`; with words behind it, only what these begin.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and says what it measured"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base_store::memory::MemoryStore;
use bytes::Bytes;
use http::Request;
use k8s_apiserver::{Body, Catalog, Config, NamespacePolicy, Registry, Server, Sleep, UserInfo};
use serde_json::{Value, json};

const PATH: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

fn deployment(image: &str) -> Value {
    let mut env: Vec<Value> = (0..7)
        .map(|n| json!({"name": format!("VAR_{n}"), "value": "x"}))
        .collect();
    // one whose default is inside of what is owned as one thing
    let pod = json!({"fieldRef": {"fieldPath": "metadata.name"}});
    env.push(json!({"name": "POD_NAME", "valueFrom": pod}));
    let container = json!({"name": "web", "image": image, "env": env,
        "ports": [{"containerPort": 8080}, {"containerPort": 9090}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"note": "a"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}}}})
}

struct Bench {
    server: Server,
    runtime: tokio::runtime::Runtime,
    admin: UserInfo,
}

impl Bench {
    fn ask(&self, method: &str, query: &str, body: &Bytes) -> Bytes {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PATH}{query}"))
            .header("content-type", "application/apply-patch+yaml")
            .header("accept", "application/json")
            .body(body.clone())
            .expect("a request");
        let answer = self
            .runtime
            .block_on(self.server.handle(request, &self.admin));
        let status = answer.status();
        match answer.into_body() {
            Body::Full(bytes) if status.is_success() => bytes,
            Body::Full(bytes) => panic!("{status}: {}", String::from_utf8_lossy(&bytes)),
            Body::Stream(_) => panic!("a stream"),
        }
    }

    /// Medians of rounds: other work on the machine lengthens some of them only.
    fn time(&self, what: &str, mut work: impl FnMut()) {
        let asked: Vec<String> = std::env::args().skip(1).collect();
        if !asked.is_empty() && !asked.iter().any(|asked| what.starts_with(asked.as_str())) {
            return;
        }
        let mut all: Vec<f64> = (0..31)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..100 {
                    work();
                }
                start.elapsed().as_secs_f64() * 1e6 / 100.0
            })
            .collect();
        all.sort_by(f64::total_cmp);
        println!("{what:50} {:>8.1} µs, fastest {:.1}", all[15], all[0]);
    }
}

fn main() {
    let counter = AtomicU64::new(1);
    let mut config = Config::new(
        jiff::Timestamp::now,
        |duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) },
        move |buffer: &mut [u8]| {
            let next = counter.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            buffer
                .iter_mut()
                .zip(next.iter().cycle())
                .for_each(|(to, from)| *to = *from);
        },
    );
    config.namespaces = NamespacePolicy::Open;
    let registry = Registry::open(
        Arc::new(MemoryStore::new()),
        "",
        Arc::new(Catalog::kubernetes()),
        Arc::new(config),
    )
    .expect("opens");
    let bench = Bench {
        server: Server::new(registry),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime"),
        admin: UserInfo::admin(),
    };
    let apply = "?fieldManager=roadstead&force=true";
    let images = ["web:1", "web:2"].map(|image| Bytes::from(deployment(image).to_string()));
    let [same, other] = &images;
    let first = bench.ask("PATCH", apply, same);
    println!("{} bytes applied, {} answered", same.len(), first.len());
    let none = Bytes::new();
    bench.time("get", || {
        bench.ask("GET", "", &none);
    });
    bench.time("apply that changes nothing", || {
        bench.ask("PATCH", apply, same);
    });
    let read = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let again = bench.ask("PATCH", apply, same);
    assert_eq!(read(&again), read(&first), "nothing was written");
    let mut turn = false;
    bench.time("apply that changes the image", || {
        turn = !turn;
        bench.ask("PATCH", apply, if turn { other } else { same });
    });
    let dry = "?fieldManager=roadstead&force=true&dryRun=All";
    bench.time("the same as a dry run", || {
        turn = !turn;
        bench.ask("PATCH", dry, if turn { other } else { same });
    });
}
