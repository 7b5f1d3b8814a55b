//! Writes `src/typical.txt`: typical objects, as the dictionary with which clusters compress theirs.
//!
//! `cargo test -p k8s-playground --test typical -- --ignored`, after the stored form of objects has changed. An old
//! file only costs memory.

use std::sync::Arc;

use base_store::{At, Range};
use futures_util::FutureExt;
use jiff::SignedDuration;
use k8s_apiserver::Clock;
use k8s_cluster::{Call, Cluster};
use k8s_playground::{Config, Playground, VirtualTime};
use serde_json::{Value, json};

/// How much of a dictionary is worth its while.
const MOST: usize = 48 * 1024;

#[test]
#[ignore = "it writes a file of the sources"]
fn write_typical_objects() {
    let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let playground = Playground::new(
        Config::default(),
        Arc::new(time.clone()),
        Arc::new(time.clone()),
    )
    .unwrap();
    let cluster = playground.add_cluster("typical").unwrap();
    for object in objects() {
        let call = Call::Apply {
            object: base_json::canonical(&object).into(),
            manager: "roadstead".to_owned(),
            force: true,
            dry_run: false,
        };
        cluster.call(call).now_or_never().unwrap().unwrap();
    }
    let end = time.now() + SignedDuration::from_secs(60);
    while let Some(due) = playground.next_due().filter(|due| *due <= end) {
        time.advance_to(due);
        playground.run_due(time.now());
    }
    let range = Range {
        prefix: String::new(),
        after: None,
        limit: 0,
        at: At::Newest,
    };
    let mut entries = cluster.registry().store().range(&range).unwrap().entries;
    entries.retain(|entry| entry.key.contains("/shop"));
    // What is near the end of a dictionary is cheapest to refer to: the kinds that there are most of.
    let often = [
        "deployments/",
        "configmaps/",
        "events/",
        "replicasets/",
        "pods/",
    ];
    entries.sort_by_key(|entry| {
        let rank = often.iter().position(|part| entry.key.contains(part));
        (rank.map_or(0, |rank| rank + 1), entry.key.clone())
    });
    let text: Vec<String> = entries
        .iter()
        .map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
        .collect();
    let text = text.join("\n");
    let surplus = text.len().saturating_sub(MOST);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/typical.txt");
    std::fs::write(file, &text[surplus..]).unwrap();
}

fn objects() -> Vec<Value> {
    let pods = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{
            "name": "web",
            "image": "registry.example.org/web:1.0.0",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "MODE", "value": "production"}],
            "envFrom": [{"configMapRef": {"name": "web"}}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "200m", "memory": "256Mi"},
            },
        }]},
    });
    let mut job = pods.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    let meta = json!({
        "name": "web",
        "namespace": "shop",
        "labels": {"app": "web", "app.kubernetes.io/name": "web"},
    });
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"settings": "a"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"key": "YQ=="}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": job}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"}, "spec": {
            "serviceName": "db", "selector": selector, "template": pods,
        }}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {
            "replicas": 2, "selector": selector, "template": pods,
        }}),
    ]
}
