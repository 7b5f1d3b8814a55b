//! Prints what an apply costs: `cargo run --release -p k8s-apply --example cost`.

use std::time::Instant;

use k8s_apply::fieldpath::FieldSet;
use k8s_apply::managed::Managed;
use k8s_apply::patch::strategic_merge;
use k8s_apply::schema::{Schemas, TypeRef};
use k8s_apply::{ApplyOptions, UpdateOptions, apply, track_update};
use k8s_object::Gvk;
use serde_json::{Value, json};

fn deployment(containers: usize, image: &str) -> Value {
    let containers: Vec<Value> = (0..containers)
        .map(|at| {
            let env: Vec<Value> = (0..8)
                .map(|n| json!({"name": format!("VAR_{n}"), "value": "x"}))
                .collect();
            json!({"name": format!("c{at}"), "image": image, "env": env,
                "ports": [{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9090, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
        })
        .collect();
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers, "volumes": [{"name": "v", "emptyDir": {}}]}}}})
}

fn time(what: &str, mut work: impl FnMut()) {
    work();
    let rounds = 200;
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    println!(
        "{what:60} {:>9.1} µs",
        start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    );
}

fn main() {
    let start = Instant::now();
    let schema = Schemas::builtin()
        .lookup(&Gvk::new("apps/v1", "Deployment"))
        .unwrap_or_else(TypeRef::deduced);
    println!(
        "{:60} {:>9.1} µs",
        "reading the table of types, once",
        start.elapsed().as_secs_f64() * 1e6
    );
    let options = |manager| ApplyOptions {
        manager,
        force: true,
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        schema: schema.clone(),
        reset_fields: None,
        versions: None,
    };
    let go = |live: Option<&Value>, config: &Value, manager| {
        apply(live, config, &options(manager)).unwrap_or_default()
    };
    for containers in [1, 10, 100] {
        let (one, two) = (deployment(containers, "i:1"), deployment(containers, "i:2"));
        let live = go(None, &one, "roadstead");
        let shared = go(Some(&live), &deployment(containers, "i:1"), "other");
        let fields =
            Managed::of(&live).map_or(0, |m| m.entries.iter().map(|e| e.fields.len()).sum());
        println!("-- {containers} containers, {fields} owned fields");
        time("apply, created", || drop(go(None, &one, "roadstead")));
        time("apply, unchanged", || {
            drop(go(Some(&live), &one, "roadstead"))
        });
        time("apply, every image changed", || {
            drop(go(Some(&live), &two, "roadstead"))
        });
        let fewer = deployment(containers / 2, "i:1");
        time("apply, half of the containers removed", || {
            drop(go(Some(&live), &fewer, "roadstead"))
        });
        time("apply, two managers share it, images changed", || {
            drop(go(Some(&shared), &two, "roadstead"))
        });
        let update = UpdateOptions {
            manager: "hpa",
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            schema: schema.clone(),
            reset_fields: None,
            versions: None,
        };
        let mut scaled = live.clone();
        scaled["spec"]["replicas"] = 5.into();
        time("update, replicas changed", || {
            drop(track_update(Some(&live), &scaled, &update))
        });
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c0", "image": "i:9"}]}}}});
        time("strategic merge, one image", || {
            drop(strategic_merge(&live, &patch, &schema))
        });
        let raw = live["metadata"]["managedFields"][0]["fieldsV1"].clone();
        time("FieldsV1, read", || drop(FieldSet::from_fields_v1(&raw)));
    }
}
