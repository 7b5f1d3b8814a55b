//! Helm charts on the road: from Git, with values that differ from cluster to cluster.

use serde_json::{Value, json};

use crate::real::corpus;
use crate::world::{World, find};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: \"7\"\n";
const TEMPLATE: &str = r#"{{- if eq .Values.region "mars" }}{{ fail "nobody lives there" }}{{ end }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "web.name" . }}
data:
  region: {{ .Values.region | quote }}
  size: {{ .Values.size | toString | quote }}
  password: {{ randAlphaNum 12 | quote }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "web.name" . }}
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: main
          image: {{ printf "web:%s" .Chart.AppVersion | quote }}
"#;
const HELPERS: &str = "{{- define \"web.name\" -}}{{ .Release.Name }}-web{{- end -}}\n";
const HOOK: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations:\n    helm.sh/hook: pre-install,pre-upgrade\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{ name: main, image: \"migrate:1\" }]\n";

fn map(world: &World, cluster: &str) -> Value {
    let found = find(
        &world.cluster(cluster),
        ("", "configmaps"),
        ("web", "web-web"),
    );
    found.expect("a ConfigMap")["data"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_chart_varies_by_cluster_and_a_refusal_stays_where_it_is() {
    let mut world = World::start().await;
    for (name, region) in [("one", "eu"), ("two", "us"), ("three", "mars")] {
        world.join(name, json!({ "region": region })).await;
    }
    let files = [
        ("Chart.yaml", CHART),
        ("values.yaml", "region: nowhere\nreplicas: 1\nsize: 1\n"),
        ("templates/web.yaml", TEMPLATE),
        ("templates/_helpers.tpl", HELPERS),
        ("templates/migrate.yaml", HOOK),
    ];
    for (name, text) in files {
        world.repository.write(&format!("apps/web/{name}"), text);
    }
    world
        .repository
        .write("config/regions/eu.yaml", "size: 5\n");
    let first = world.push("a chart").await;
    let helm = |replicas: u32| {
        json!({ "helm": {
            "valuesFiles": ["$config/regions/${cluster.labels.region}.yaml"],
            "ignoreMissingValuesFiles": true,
            "values": { "region": "${cluster.labels.region}", "replicas": replicas },
        }})
    };
    world
        .app(
            "web",
            json!({
                "inputs": [
                    { "source": "repo", "path": "apps/web" },
                    { "name": "config", "source": "repo", "path": "config" },
                ],
                "render": helm(2),
                "overlays": [{
                    "name": "american",
                    "clusters": { "selector": { "matchLabels": { "region": "us" } } },
                    "helm": { "set": ["size=7"] },
                }],
            }),
        )
        .await;
    let healthy = |found: &Value| found["status"]["state"] == "Healthy";
    for cluster in ["one", "two"] {
        world.assignment("web", cluster, "healthy", healthy).await;
    }
    let (eu, us) = (map(&world, "one"), map(&world, "two"));
    assert_eq!((&eu["region"], &eu["size"]), (&json!("eu"), &json!("5")));
    assert_eq!((&us["region"], &us["size"]), (&json!("us"), &json!("7")));
    let job = find(&world.cluster("one"), ("batch", "jobs"), ("web", "migrate"));
    assert!(job.is_some(), "the hook has run");
    world
        .why_says("web", "three", &["nobody lives there", "web.yaml:1"])
        .await;

    // other values are another Release; what looks random stays
    world.change_app("web", json!({ "render": helm(3) })).await;
    let scaled = |found: Option<&Value>| found.is_some_and(|one| one["spec"]["replicas"] == 3);
    let deployment = (("apps", "deployments"), ("web", "web-web"));
    world
        .object("one", deployment.0, deployment.1, scaled)
        .await;
    assert_eq!(map(&world, "one"), eu);

    // and a commit of another input is one too
    world
        .repository
        .write("config/regions/eu.yaml", "size: 6\n");
    world.push("more for Europe").await;
    let larger = |found: Option<&Value>| found.is_some_and(|one| one["data"]["size"] == "6");
    let maps = (("", "configmaps"), ("web", "web-web"));
    world.object("one", maps.0, maps.1, larger).await;
    assert_eq!(map(&world, "two"), us);
    assert_eq!(first.len(), 40);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_charts_are_delivered_upgraded_and_taken_back() {
    let Some(corpus) = corpus() else {
        println!("skipped: no corpus beside the repository, and ROADSTEAD_CORPUS names none");
        return;
    };
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    let charts = [
        ("podinfo", "podinfo/charts/podinfo", "podinfo"),
        ("boutique", "online-boutique/helm-chart", "frontend"),
    ];
    for (name, from, _) in charts {
        world
            .repository
            .copy(&corpus.join(from), &format!("apps/{name}"));
    }
    let commit = world.push("real charts").await;
    for (name, _, _) in charts {
        world.app(name, json!({})).await;
    }
    for (name, _, deployment) in charts {
        world.healthy(name, &commit, 1).await;
        let found = find(
            &world.cluster("one"),
            ("apps", "deployments"),
            (name, deployment),
        );
        assert!(found.is_some(), "{name}/{deployment}");
    }
    // an upgrade by values, and back
    let replicas = |wanted: u32| {
        move |found: Option<&Value>| found.is_some_and(|one| one["spec"]["replicas"] == wanted)
    };
    let values = json!({ "render": { "helm": { "values": { "replicaCount": 3 } } } });
    world.change_app("podinfo", values).await;
    let at = (("apps", "deployments"), ("podinfo", "podinfo"));
    world.object("one", at.0, at.1, replicas(3)).await;
    world.healthy("podinfo", "", 1).await;
    let undo = json!({ "command": "rollout", "action": { "action": "undo" } });
    world.act_when_possible("podinfo", undo).await;
    world.object("one", at.0, at.1, replicas(1)).await;
    world.end().await;
}
