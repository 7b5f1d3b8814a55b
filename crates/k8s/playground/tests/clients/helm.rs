//! helm 4: install, upgrade, rollback and uninstall with `--wait`, beside the same session on the real control plane with a
//! node that kwok plays.
//!
//! `ROADSTEAD_CORPUS` names a folder with `charts/`, or it lies in `../shared/corpus` beside the repository; without it
//! nothing is checked.

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_playground::Config;
use oracle_cluster::{Client, RealCluster, Tools};
use serde_json::{Value, json};

use crate::served::{Served, run, tools};

fn charts() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let given = std::env::var_os("ROADSTEAD_CORPUS").map(PathBuf::from);
    let folders = given.into_iter().chain([
        root.join("../shared/corpus"),
        root.join("../../shared/corpus"),
    ]);
    let found = folders
        .map(|folder| folder.join("charts"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("skipped: no folder with charts; ROADSTEAD_CORPUS names one");
    }
    found
}

/// A cluster that helm is pointed at.
struct Side {
    helm: PathBuf,
    kubeconfig: PathBuf,
    client: Client,
    home: tempfile::TempDir,
}

/// What somebody installs, and then changes.
struct Chart {
    name: &'static str,
    values: &'static [&'static str],
    change: &'static [&'static str],
    /// Do its pods become ready on a node that only plays them?
    played: bool,
}

const NAMESPACE: &str = "shop";

const KINDS: &[(&str, &str)] = &[
    ("apis/apps/v1", "deployments"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/networking.k8s.io/v1", "networkpolicies"),
    ("apis/policy/v1", "poddisruptionbudgets"),
    ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    ("apis/rbac.authorization.k8s.io/v1", "roles"),
    ("api/v1", "configmaps"),
    ("api/v1", "persistentvolumeclaims"),
    ("api/v1", "secrets"),
    ("api/v1", "serviceaccounts"),
    ("api/v1", "services"),
];

impl Side {
    fn new(tools: &Tools, kubeconfig: PathBuf, client: Client) -> Self {
        Self {
            helm: tools.path("helm"),
            kubeconfig,
            client,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn helm(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.helm);
        command
            .args(args)
            .args(["--namespace", NAMESPACE])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("XDG_DATA_HOME", self.home.path());
        run(&mut command, true)
    }

    fn list(&self, version: &str, plural: &str) -> Vec<Value> {
        let path = format!("/{version}/namespaces/{NAMESPACE}/{plural}");
        let mut list = self.client.get(&path).unwrap().json().unwrap();
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("{path}: {other}"),
        }
    }

    /// Everything of the namespace that has a name of its own, as far as two clusters can agree on it.
    fn objects(&self, pods: bool) -> Vec<Value> {
        let all = KINDS.iter().flat_map(|(version, plural)| {
            self.list(version, plural)
                .into_iter()
                .map(move |object| settled(plural, object))
        });
        let mut all: Vec<Value> = all.collect();
        if pods {
            // of pods only the number: their names are drawn
            let mut pods = self.list("api/v1", "pods");
            pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            all.push(json!({ "pods": pods.len() }));
        }
        all
    }
}

/// Leaves out what each cluster chooses by itself, and what a chart draws.
fn settled(plural: &str, mut object: Value) -> Value {
    let mut out = json!({"resource": plural});
    let meta = object["metadata"].as_object_mut().unwrap();
    for drawn in ["uid", "resourceVersion", "creationTimestamp"] {
        meta.remove(drawn);
    }
    if let Some(Value::Array(managers)) = meta.get_mut("managedFields") {
        managers.retain(|entry| entry["manager"] == "helm");
        for entry in managers {
            entry["time"] = Value::Null;
        }
    }
    if let Some(labels) = meta.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove("modifiedAt");
    }
    if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
        // the controller's, which may not have come by yet
        annotations.remove("deployment.kubernetes.io/revision");
    }
    let masked = |map: Option<&mut Value>, which: fn(&str) -> bool| {
        for (key, value) in map.and_then(Value::as_object_mut).into_iter().flatten() {
            if which(key) {
                *value = "…".into();
            }
        }
    };
    masked(
        object.pointer_mut("/spec/template/metadata/annotations"),
        |key| key.starts_with("checksum/"),
    );
    if plural == "secrets" || object["metadata"]["name"] == "kube-root-ca.crt" {
        masked(object.get_mut("data"), |_| true);
    }
    if plural == "services" {
        for field in ["clusterIP", "clusterIPs"] {
            if object["spec"][field] != "None" && object["spec"][field] != json!(["None"]) {
                object["spec"][field] = "…".into();
            }
        }
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
            if let Some(drawn) = port.get_mut("nodePort") {
                *drawn = "…".into();
            }
        }
        if let Some(drawn) = object["spec"].get_mut("healthCheckNodePort") {
            *drawn = "…".into();
        }
    }
    for (key, value) in object.as_object().unwrap() {
        // in a list each item is of its kind, and only some servers say so again
        if !["status", "apiVersion", "kind"].contains(&key.as_str()) {
            out[key.as_str()] = value.clone();
        }
    }
    out
}

/// Masks what the clock says.
fn timeless(text: &str) -> String {
    // how old each resource is, in an order that is drawn
    let text = text.split("RESOURCES:").next().unwrap_or_default();
    let lines = text.lines().map(|line| {
        if line.starts_with("LAST DEPLOYED: ") {
            return "LAST DEPLOYED: …".to_owned();
        }
        match serde_json::from_str::<Value>(line) {
            Ok(mut value) => {
                for release in value.as_array_mut().into_iter().flatten() {
                    release["updated"] = Value::Null;
                }
                value.to_string()
            }
            Err(_) => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// One thing that was asked, and what came of it.
type Step = (String, String);

/// `wait` is left out where nothing would ever be ready.
fn session(side: &Side, chart: &Chart, folder: &Path, waits: bool) -> Vec<Step> {
    let path = folder.join(chart.name).display().to_string();
    let sets = |values: &[&'static str]| -> Vec<&'static str> {
        values.iter().flat_map(|value| ["--set", value]).collect()
    };
    let (values, change) = (sets(chart.values), sets(chart.change));
    let wait: &[&str] = if waits {
        &["--wait", "--timeout", "120s"]
    } else {
        &["--wait=hookOnly"]
    };
    let mut steps = Vec::new();
    let mut ask = |what: &str, args: &[&str]| {
        let said = side.helm(args);
        steps.push((what.to_owned(), timeless(&said)));
        for object in side.objects(chart.played) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            steps.push((
                format!("{what}: {} {name}", object["resource"]),
                serde_json::to_string_pretty(&object).unwrap(),
            ));
        }
    };
    let all = |head: &[&'static str], more: &[&[&'static str]]| -> Vec<&'static str> {
        head.iter()
            .chain(more.iter().copied().flatten())
            .copied()
            .collect()
    };
    let installing: Vec<&str> = ["install", "web", &path, "--create-namespace"]
        .into_iter()
        .chain(all(wait, &[&values]))
        .collect();
    ask("install", &installing);
    ask("status", &["status", "web"]);
    ask("manifest", &["get", "manifest", "web"]);
    let upgrading: Vec<&str> = ["upgrade", "web", &path]
        .into_iter()
        .chain(all(wait, &[&values, &change]))
        .collect();
    ask("upgrade", &upgrading);
    ask("new manifest", &["get", "manifest", "web"]);
    ask("values", &["get", "values", "web"]);
    ask("history", &["history", "web", "--output", "json"]);
    ask("rollback", &all(&["rollback", "web", "1"], &[wait]));
    ask("old manifest", &["get", "manifest", "web"]);
    ask("history after", &["history", "web", "--output", "json"]);
    ask("list", &["list", "--output", "json"]);
    ask("uninstall", &all(&["uninstall", "web"], &[wait]));
    ask("list after", &["list", "--output", "json"]);
    steps
}

/// Checks what must be so on any cluster, whether there is a real one to compare with or not.
fn plausible(chart: &str, steps: &[Step]) {
    let said = |what: &str| {
        let found = steps.iter().find(|(name, _)| name == what);
        &found.unwrap_or_else(|| panic!("{chart}: no step {what}")).1
    };
    assert!(said("status").contains("STATUS: deployed"), "{chart}");
    assert_eq!(said("manifest"), said("old manifest"), "{chart}");
    assert_ne!(said("manifest"), said("new manifest"), "{chart}");
    let history: Value = serde_json::from_str(said("history after")).unwrap();
    let states: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["status"])
        .collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"], "{chart}");
    assert_eq!(said("list after"), "[]", "{chart}");
    let left = steps
        .iter()
        .filter(|(name, _)| name.starts_with("list after: "));
    let left: Vec<_> = left
        .map(|(name, _)| name.trim_start_matches("list after: "))
        .collect();
    for one in left {
        let own = ["kube-root-ca.crt", "default"]
            .iter()
            .any(|own| one.ends_with(own));
        // claims of a StatefulSet stay
        assert!(
            own || one.starts_with("null") || one.contains("claims"),
            "{chart}: {one} is left"
        );
    }
}

fn check(chart: &Chart) {
    let (Some(tools), Some(folder)) = (tools(&["helm"]), charts()) else {
        return;
    };
    let served = Served::start(Config::default());
    let ours = Side::new(&tools, served.kubeconfig(), served.client());
    let ours = session(&ours, chart, &folder, true);
    plausible(chart.name, &ours);

    let started = RealCluster::start_with(|settings| settings.simulated_nodes = 1);
    let Some(real) = started.unwrap() else {
        eprintln!("skipped: no real control plane to compare helm's session with");
        return;
    };
    let theirs = Side::new(&tools, real.kubeconfig(), real.admin().clone());
    let theirs = session(&theirs, chart, &folder, chart.played);
    let names = |steps: &[Step]| {
        steps
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&ours), names(&theirs), "{}", chart.name);
    let wrong: Vec<String> = ours
        .iter()
        .zip(&theirs)
        .filter(|((_, ours), (_, theirs))| ours != theirs)
        .map(|((name, ours), (_, theirs))| format!("{name}:\n{}", differing(ours, theirs)))
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", chart.name, wrong.join("\n"));
}

/// The lines that only one of two texts has: ours with `-`, theirs with `+`.
fn differing(ours: &str, theirs: &str) -> String {
    let only = |sign: &str, these: &str, those: &str| -> String {
        let those: Vec<&str> = those.lines().collect();
        let these = these.lines().filter(|line| !those.contains(line));
        these.map(|line| format!("{sign}{line}\n")).collect()
    };
    only("-", ours, theirs) + &only("+", theirs, ours)
}

#[test]
fn helm_keeps_a_deployment() {
    check(&Chart {
        name: "bitnami/nginx",
        values: &["replicaCount=2", "tls.enabled=false"],
        change: &[
            "replicaCount=3",
            "image.tag=other",
            "service.type=ClusterIP",
        ],
        played: false,
    });
}

#[test]
fn helm_keeps_stateful_sets() {
    check(&Chart {
        name: "bitnami/redis",
        values: &[
            "auth.password=known",
            "replica.replicaCount=2",
            "master.persistence.enabled=false",
            "replica.persistence.enabled=false",
        ],
        change: &[
            "image.tag=other",
            "replica.replicaCount=1",
            "metrics.enabled=true",
        ],
        played: false,
    });
}

#[test]
fn helm_keeps_a_chart_of_another_publisher() {
    check(&Chart {
        name: "prometheus-community/prometheus-blackbox-exporter",
        values: &["replicas=1"],
        change: &[
            "replicas=2",
            "image.tag=other",
            "podDisruptionBudget.maxUnavailable=1",
        ],
        played: true,
    });
}
