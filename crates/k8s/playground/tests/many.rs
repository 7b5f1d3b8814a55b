//! Many clusters: what they cost, that they repeat, what is counted, what goes wrong.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_apiserver::{Clock, UserInfo, WriteOptions};
use k8s_cluster::{Call, Cluster, ErrorKind, Reply};
use k8s_object::{Gvk, ObjectId};
use k8s_playground::{Config, Fault, Handle, Playground, Timings, VirtualTime};
use serde_json::{Value, json};

struct World {
    playground: Playground,
    time: VirtualTime,
}

fn world(seed: u64) -> World {
    let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let config = Config {
        seed,
        ..Config::default()
    };
    let playground =
        Playground::new(config, Arc::new(time.clone()), Arc::new(time.clone())).unwrap();
    World { playground, time }
}

impl World {
    fn run(&self, ms: i64) {
        let end = self.time.now() + SignedDuration::from_millis(ms);
        self.playground.run_until(&self.time, end);
    }
}

fn apply(cluster: &Handle, object: &Value) -> Result<Value, ErrorKind> {
    let call = Call::Apply {
        object: base_json::canonical(object).into(),
        manager: "roadstead".to_owned(),
        force: false,
        dry_run: false,
    };
    match cluster.call(call).now_or_never().unwrap() {
        Ok(Reply::Object(bytes)) => Ok(serde_json::from_slice(&bytes).unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind),
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main",
                    "image": image,
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "A", "value": "B"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }]},
            },
        },
    })
}

fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"settings.yaml": "colour: blue\nsize: 3\n"},
    })
}

/// Everything that a cluster was ever made to store, as one digest.
fn trace(seed: u64) -> String {
    let world = world(seed);
    let clusters: Vec<Handle> = ["a", "b"]
        .iter()
        .map(|name| world.playground.add_cluster(name).unwrap())
        .collect();
    let mut watches: Vec<_> = clusters
        .iter()
        .map(|cluster| {
            let store = cluster.registry().store();
            store.watch("", store.revision()).unwrap()
        })
        .collect();
    let mut text = String::new();
    for step in 0..6 {
        for cluster in &clusters {
            apply(cluster, &namespace("shop")).unwrap();
            let image = [
                "web:1",
                "web:2",
                "web:missing",
                "web:crash",
                "web:2",
                "web:slow",
            ][step];
            apply(cluster, &deployment("web", image, 3)).unwrap();
        }
        world.run(4_000);
        for watch in &mut watches {
            while let Some(item) = watch.try_next() {
                text.push_str(&format!("{item:?}\n"));
            }
        }
    }
    base_json::Digest::of(text.as_bytes()).to_string()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn clusters_do_not_touch_each_other() {
    let world = world(3);
    let one = world.playground.add_cluster("one").unwrap();
    let two = world.playground.add_cluster("two").unwrap();
    assert!(world.playground.add_cluster("one").is_err());
    let before = two.registry().revision();
    apply(&one, &namespace("shop")).unwrap();
    apply(&one, &deployment("web", "web:1", 2)).unwrap();
    world.run(3_000);
    assert_eq!(two.registry().revision(), before);
    assert_eq!(
        apply(&two, &deployment("web", "web:1", 2)),
        Err(ErrorKind::NamespaceMissing)
    );
    assert_eq!(world.playground.names(), ["one", "two"]);
    assert!(world.playground.remove_cluster("one"));
    assert_eq!(apply(&one, &namespace("shop")), Err(ErrorKind::Unavailable));
    assert_eq!(world.playground.names(), ["two"]);
}

#[test]
fn a_settled_cluster_is_due_only_for_old_events() {
    let world = world(4);
    let cluster = world.playground.add_cluster("one").unwrap();
    assert_eq!(world.playground.next_due(), None);
    apply(&cluster, &namespace("shop")).unwrap();
    apply(&cluster, &deployment("web", "web:1", 2)).unwrap();
    assert_eq!(world.playground.next_due(), Some(Timestamp::MIN));
    world.run(2 * 3_600_000);
    assert_eq!(world.playground.next_due(), None);
    let gvk = Gvk::new("v1", "Event");
    let list = Call::List {
        gvk,
        labels: String::new(),
        fields: String::new(),
        limit: 0,
        token: String::new(),
    };
    let reply = cluster.call(list).now_or_never().unwrap();
    assert!(matches!(reply, Ok(Reply::Page { items, .. }) if items.is_empty()));
}

#[test]
fn the_driver_hears_when_something_became_due_sooner() {
    let world = world(5);
    let cluster = world.playground.add_cluster("one").unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(world.playground.poll_news(&mut cx).is_pending());
    apply(&cluster, &namespace("shop")).unwrap();
    assert!(world.playground.poll_news(&mut cx).is_ready());
    assert!(world.playground.poll_news(&mut cx).is_pending());
    world.playground.run_due(world.time.now());
    // A read makes nothing due, and neither does an apply that changes nothing.
    apply(&cluster, &namespace("shop")).unwrap();
    world.playground.run_due(world.time.now());
    assert!(world.playground.poll_news(&mut cx).is_pending());
}

#[test]
fn what_is_applied_twice_is_counted_and_changes_nothing() {
    let world = world(6);
    let cluster = world.playground.add_cluster("one").unwrap();
    apply(&cluster, &namespace("shop")).unwrap();
    apply(&cluster, &deployment("web", "web:1", 2)).unwrap();
    world.run(3_000);
    apply(&cluster, &deployment("web", "web:1", 2)).unwrap();
    let counters = cluster.counters();
    assert_eq!(
        (
            counters.all_writes().requests,
            counters.all_writes().changes
        ),
        (3, 2)
    );
    let web = counters.objects["apps/Deployment/shop/web"];
    assert_eq!((web.requests, web.changes), (2, 1));
    cluster.reset_counters();
    assert_eq!(cluster.counters().all_writes().requests, 0);
}

fn http(cluster: &Handle, method: &str, path: &str, content: &str, body: &Value) -> (u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(Bytes::from(base_json::canonical(body)))
        .unwrap();
    let response = cluster
        .handle(request, &UserInfo::admin())
        .now_or_never()
        .unwrap();
    let code = response.status().as_u16();
    let body = response.body().full().cloned().unwrap_or_default();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

#[test]
fn http_counts_and_meets_faults_too() {
    let world = world(7);
    let cluster = world.playground.add_cluster("one").unwrap();
    let json_type = "application/json";
    let (code, _) = http(
        &cluster,
        "POST",
        "/api/v1/namespaces",
        json_type,
        &namespace("shop"),
    );
    assert_eq!(code, 201);
    assert_eq!(world.playground.next_due(), Some(Timestamp::MIN));
    world.run(100);
    let path = "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=m";
    let web = deployment("web", "web:1", 1);
    for _ in 0..2 {
        let (code, _) = http(
            &cluster,
            "PATCH",
            path,
            "application/apply-patch+yaml",
            &web,
        );
        assert!(code == 201 || code == 200, "{code}");
    }
    let counters = cluster.counters();
    let web = counters.objects["apps/Deployment/shop/web"];
    assert_eq!((web.requests, web.changes), (2, 1));
    assert_eq!(counters.writes["create"].changes, 1);
    let dry = format!("{path}&dryRun=All");
    http(
        &cluster,
        "PATCH",
        &dry,
        "application/apply-patch+yaml",
        &deployment("web", "web:2", 1),
    );
    assert_eq!(cluster.counters().all_writes().requests, 3);
    cluster.set_fault(Fault {
        too_many_per_mille: 1000,
        retry_after_s: 3,
        ..Fault::none()
    });
    let (code, status) = http(
        &cluster,
        "GET",
        "/api/v1/namespaces/shop",
        json_type,
        &json!(null),
    );
    assert_eq!(
        (code, &status["details"]["retryAfterSeconds"]),
        (429, &json!(3))
    );
    cluster.set_fault(Fault::offline());
    let (code, _) = http(
        &cluster,
        "GET",
        "/api/v1/namespaces/shop",
        json_type,
        &json!(null),
    );
    assert_eq!(code, 503);
    assert_eq!(cluster.counters().faults, 2);
    cluster.set_fault(Fault::none());
    let (code, _) = http(
        &cluster,
        "GET",
        "/api/v1/namespaces/shop",
        json_type,
        &json!(null),
    );
    assert_eq!(code, 200);
}

#[test]
fn changes_that_were_missed_are_looked_up() {
    let world = world(11);
    let cluster = world.playground.add_cluster("one").unwrap();
    apply(&cluster, &namespace("shop")).unwrap();
    world.run(1_000);
    let store = cluster.registry().store();
    let mut witness = store.watch("", store.revision()).unwrap();
    // More than waits for a slow watch, in a form that does not compress.
    for number in 0..100 {
        let mut noise = String::new();
        for part in 0..512 {
            let digest = base_json::Digest::of(format!("{number} {part}").as_bytes());
            noise.push_str(&digest.hex());
        }
        let mut object = config_map(&format!("noise{number}"));
        object["data"]["noise"] = json!(noise);
        apply(&cluster, &object).unwrap();
    }
    apply(&cluster, &deployment("web", "web:1", 2)).unwrap();
    let missed = std::iter::from_fn(|| witness.try_next())
        .any(|item| matches!(item, base_store::WatchItem::Compacted(_)));
    assert!(missed, "this was too little to overflow a watch");
    world.run(3_000);
    let def = cluster.registry().resource("apps", "deployments").unwrap();
    let web = cluster.registry().get(&def, "shop", "web").unwrap();
    let health = k8s_health::health(&web);
    assert_eq!(health.status, k8s_health::Status::Healthy, "{health:?}");
}

#[test]
fn without_delays_everything_comes_at_once() {
    let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let config = Config {
        timings: Timings::instant(),
        ..Config::default()
    };
    let playground =
        Playground::new(config, Arc::new(time.clone()), Arc::new(time.clone())).unwrap();
    let cluster = playground.add_cluster("one").unwrap();
    apply(&cluster, &namespace("shop")).unwrap();
    apply(&cluster, &deployment("web", "web:1", 5)).unwrap();
    apply(&cluster, &deployment("bad", "bad:crash", 2)).unwrap();
    playground.run_due(time.now());
    let def = cluster.registry().resource("apps", "deployments").unwrap();
    let status = |name: &str| {
        let found = cluster.registry().get(&def, "shop", name).unwrap();
        k8s_health::health(&found).status
    };
    assert_eq!(status("web"), k8s_health::Status::Healthy);
    assert_eq!(status("bad"), k8s_health::Status::Progressing);
}

#[test]
fn odd_objects_harm_nobody() {
    let world = world(12);
    let cluster = world.playground.add_cluster("one").unwrap();
    apply(&cluster, &namespace("shop")).unwrap();
    let kinds = [
        ("v1", "Pod"),
        ("v1", "Service"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("v1", "Node"),
        ("v1", "Event"),
        ("v1", "ServiceAccount"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ControllerRevision"),
        ("batch/v1", "Job"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("networking.k8s.io/v1", "Ingress"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("storage.k8s.io/v1", "StorageClass"),
    ];
    let selector = json!({"matchLabels": {"a": "b"}});
    let template = |spec: Value| json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    let specs = [
        json!(null),
        json!("text"),
        json!([1, 2]),
        json!({}),
        json!({"replicas": -1, "selector": "x", "template": 7}),
        json!({"containers": "none", "nodeName": 3, "volumes": {}}),
        json!({"containers": [7, {"name": 5, "image": {}}], "restartPolicy": []}),
        json!({"replicas": 2, "selector": selector, "serviceName": "s", "template": template(json!({"containers": []}))}),
        json!({"selector": selector, "strategy": "x", "updateStrategy": 1, "template": template(json!({"containers": [{"name": "c"}]}))}),
        json!({"selector": {"a": 1}, "ports": "http", "type": "LoadBalancer", "clusterIP": 9}),
        json!({"template": template(json!({"restartPolicy": "Never"})), "completions": "x", "parallelism": 1e30}),
    ];
    let mut taken = 0;
    for (api_version, kind) in kinds {
        for (number, spec) in specs.iter().enumerate() {
            for status in [
                json!(null),
                json!("odd"),
                json!({"conditions": 4, "phase": []}),
            ] {
                let object = json!({
                    "apiVersion": api_version,
                    "kind": kind,
                    "metadata": {"name": format!("odd{number}"), "namespace": "shop"},
                    "spec": spec,
                    "status": status,
                });
                // by create: apply refuses what has no place in the type
                let registry = cluster.registry();
                let Ok(def) = registry.resource_of(&object) else {
                    panic!("{api_version} {kind} is not served");
                };
                let namespace = if def.namespaced { "shop" } else { "" };
                let made = registry.create(&def, namespace, object, &WriteOptions::manager("odd"));
                taken += usize::from(made.is_ok());
                cluster.touch();
                world.run(50);
            }
        }
    }
    world.run(5_000);
    assert!(taken > 20, "only {taken} odd objects were taken");
    // Those who come after them are served.
    apply(&cluster, &deployment("web", "web:1", 2)).unwrap();
    world.run(5_000);
    let def = cluster.registry().resource("apps", "deployments").unwrap();
    let web = cluster.registry().get(&def, "shop", "web").unwrap();
    let health = k8s_health::health(&web);
    assert_eq!(health.status, k8s_health::Status::Healthy, "{health:?}");
}

#[test]
fn latency_takes_the_time_that_it_says() {
    let world = world(8);
    let cluster = world.playground.add_cluster("one").unwrap();
    cluster.set_fault(Fault {
        latency_ms: 250,
        ..Fault::none()
    });
    let mut call = std::pin::pin!(cluster.call(Call::Discover));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    world
        .time
        .advance_to(world.time.now() + SignedDuration::from_millis(249));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    world
        .time
        .advance_to(world.time.now() + SignedDuration::from_millis(1));
    assert!(call.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn some_of_many_requests_fail_as_often_as_asked() {
    let world = world(9);
    let cluster = world.playground.add_cluster("one").unwrap();
    cluster.set_fault(Fault {
        error_per_mille: 200,
        ..Fault::none()
    });
    let id = ObjectId {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: "default".to_owned(),
    };
    let failed = (0..1000)
        .filter(|_| {
            let gvk = Gvk::new("v1", "Namespace");
            let get = Call::Get {
                gvk,
                id: id.clone(),
            };
            cluster.call(get).now_or_never().unwrap().is_err()
        })
        .count();
    assert!((150..250).contains(&failed), "{failed} of 1000");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Prints what clusters cost: `cargo test --release -p k8s-playground --test many -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_clusters_cost() {
    const CLUSTERS: usize = 300;
    let world = world(10);
    let before = resident_kib();
    let started = std::time::Instant::now();
    let clusters: Vec<Handle> = (0..CLUSTERS)
        .map(|number| world.playground.add_cluster(&format!("c{number}")).unwrap())
        .collect();
    let each = |now: u64| (now - before) as f64 / CLUSTERS as f64;
    let empty = resident_kib();
    println!(
        "empty: {:.1} KiB each, {:?} each",
        each(empty),
        started.elapsed() / CLUSTERS as u32
    );
    let started = std::time::Instant::now();
    for cluster in &clusters {
        apply(cluster, &namespace("shop")).unwrap();
        // 5 Deployments of 3 make 5 ReplicaSets and 15 pods; with 23 ConfigMaps and what a namespace has, 51 objects.
        for number in 0..5 {
            apply(cluster, &deployment(&format!("web{number}"), "web:1", 3)).unwrap();
        }
        for number in 0..23 {
            apply(cluster, &config_map(&format!("settings{number}"))).unwrap();
        }
    }
    println!("applied after {:?}", started.elapsed());
    world.run(5_000);
    println!("settled after {:?}", started.elapsed());
    let busy = resident_kib();
    println!("just settled: {:.1} KiB each", each(busy));
    world.run(2 * 3_600_000);
    println!(
        "two hours later: {:.1} KiB each (resident; freed pages may stay)",
        each(resident_kib())
    );
    let stats = clusters[0].registry().store().stats().unwrap();
    println!(
        "{} keys, {} bytes of values in all with the image",
        stats.keys, stats.bytes
    );
    assert_eq!(world.playground.next_due(), None);
}
