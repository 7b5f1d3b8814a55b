//! Real applications come up healthy, and a second apply writes nothing.
//!
//! `ROADSTEAD_CORPUS` names a folder with checkouts of public repositories; without it nothing is checked.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::SignedDuration;
use k8s_apiserver::Clock;
use k8s_cluster::{Call, Cluster, ClusterError, Reply};
use k8s_object::{GroupKind, Gvk, ObjectId};
use k8s_playground::{Config, Handle, Playground, VirtualTime};
use serde_json::{Value, json};

fn read(path: &Path) -> Vec<Value> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|file| {
                file.extension()
                    .is_some_and(|end| end == "yaml" || end == "yml")
            })
            .collect();
        files.sort();
    }
    let mut objects: Vec<Value> = files
        .iter()
        .flat_map(|file| {
            let bytes = std::fs::read(file).unwrap();
            base_yaml::parse_file(&bytes, &file.to_string_lossy()).unwrap()
        })
        .flat_map(|document| k8s_object::list_items(document.value))
        // An agent gives objects with generateName a name; that is not what this is about.
        .filter(|object| {
            k8s_object::kind(object) != "Kustomization" && !k8s_object::name(object).is_empty()
        })
        .collect();
    objects.sort_by_key(|object| {
        let id = ObjectId::of(object).unwrap();
        k8s_object::kind_rank(&GroupKind::new(&id.group, &id.kind))
    });
    objects
}

fn apply(cluster: &Handle, object: &Value) -> Result<Reply, ClusterError> {
    let call = Call::Apply {
        object: base_json::canonical(object).into(),
        manager: "roadstead".to_owned(),
        force: true,
        dry_run: false,
    };
    cluster.call(call).now_or_never().unwrap()
}

fn check(path: &Path) {
    let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let playground = Playground::new(
        Config::default(),
        Arc::new(time.clone()),
        Arc::new(time.clone()),
    )
    .unwrap();
    let cluster = playground.add_cluster("one").unwrap();
    let mut objects = read(path);
    assert!(!objects.is_empty(), "{path:?} holds no objects");
    let mut namespaces = BTreeSet::from(["default".to_owned()]);
    for object in &mut objects {
        let gvk = Gvk::of(object).unwrap();
        let catalog = cluster.registry().catalog();
        let def = catalog.by_kind(&gvk.group, &gvk.version, &gvk.kind);
        let namespaced = def.is_some_and(|def| def.namespaced);
        if namespaced && k8s_object::namespace(object).is_empty() {
            object["metadata"]["namespace"] = json!("default");
        }
        let namespace = k8s_object::namespace(object).to_owned();
        if namespaced && namespaces.insert(namespace.clone()) {
            let meta = json!({"name": namespace});
            let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta});
            apply(&cluster, &made).unwrap();
        }
        if let Err(error) = apply(&cluster, object) {
            panic!("{path:?}: {}: {error}", ObjectId::of(object).unwrap());
        }
    }
    playground.run_until(&time, time.now() + SignedDuration::from_secs(10));
    let settled = cluster.registry().revision();
    let mut unhealthy = Vec::new();
    for object in &objects {
        apply(&cluster, object).unwrap();
        let id = ObjectId::of(object).unwrap();
        let gvk = Gvk::of(object).unwrap();
        let get = Call::Get {
            gvk,
            id: id.clone(),
        };
        let Ok(Reply::Object(bytes)) = cluster.call(get).now_or_never().unwrap() else {
            panic!("{path:?}: {id} is gone");
        };
        let health = k8s_health::health(&serde_json::from_slice(&bytes).unwrap());
        if health.status != k8s_health::Status::Healthy {
            unhealthy.push(format!("{id}: {health:?}"));
        }
    }
    assert!(unhealthy.is_empty(), "{path:?}: {unhealthy:#?}");
    let revision = cluster.registry().revision();
    assert_eq!(revision, settled, "{path:?}: the second apply wrote");
}

#[test]
fn real_applications_come_up() {
    let Ok(corpus) = std::env::var("ROADSTEAD_CORPUS") else {
        eprintln!("ROADSTEAD_CORPUS is not set: nothing was checked");
        return;
    };
    for part in [
        "online-boutique/release/kubernetes-manifests.yaml",
        "argocd-example-apps/guestbook",
        "argocd-example-apps/sock-shop/base",
        "argocd-example-apps/sync-waves",
    ] {
        check(&Path::new(&corpus).join("apps").join(part));
    }
}
