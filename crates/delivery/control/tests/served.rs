//! What clusters serve, as agents tell it: charts see it where their App asks for it, and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use roadstead_control::{ingest, keys};
use roadstead_dispatch::{AgentFacts, Report, served_digest};
use serde_json::{Value, json};
use world::{World, app, id};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
const TEMPLATE: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data:
  monitors: {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" | quote }}
  old: {{ .Capabilities.APIVersions.Has "extensions/v1beta1" | quote }}
"#;

/// The agent of a cluster says what its cluster serves; the hub shows it at the Cluster.
fn serves(world: &mut World, cluster: &str, list: &[&str], digest: Option<&str>) {
    let list: Vec<String> = list.iter().map(|&it| it.to_owned()).collect();
    let served = digest.map_or_else(|| served_digest(&list).unwrap(), str::to_owned);
    let facts = AgentFacts {
        served,
        api_versions: list,
        ..AgentFacts::default()
    };
    let report = Report {
        facts: Some(facts),
        ..Report::default()
    };
    let ops = ingest(&world.index, &id(cluster), &report, world.now);
    assert!(world.commit(ops));
    let shown = world.index.project_cluster(&id(cluster), world.now);
    let mut noun = serde_json::to_value(world.index.cluster(&id(cluster)).unwrap()).unwrap();
    noun["status"] = shown.unwrap().status;
    let key = format!("n/roadstead.dev/clusters/{cluster}");
    world.put(&key, &noun);
    world.settle();
}

fn chart(world: &mut World) {
    let files = [("Chart.yaml", CHART), ("templates/web.yaml", TEMPLATE)];
    let files = files.map(|(name, text)| (name, text.to_owned()));
    world.git("web", &files);
}

/// What a cluster is ordered to hold.
fn data(world: &World, cluster: &str) -> Value {
    let entry = &world.orders[&id(cluster)][&app("web")];
    let list: Value = serde_json::from_slice(&world.blobs[&entry.variant]).unwrap();
    let object = list["objects"][0]["digest"].as_str().unwrap();
    let object = &world.blobs[&object.parse().unwrap()];
    serde_json::from_slice::<Value>(object).unwrap()["data"].clone()
}

const PLAIN: &[&str] = &["apps/v1", "apps/v1/Deployment", "v1", "v1/ConfigMap"];
const MONITORED: &[&str] = &[
    "apps/v1",
    "apps/v1/Deployment",
    "monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "v1",
    "v1/ConfigMap",
];

#[test]
fn charts_see_what_each_cluster_serves_where_their_app_asks() {
    let mut world = World::new();
    let clusters = world.fleet(3);
    let render = json!({"helm": {"fromCluster": ["ApiVersions"]}});
    world.app("web", &json!({ "render": render }));
    serves(&mut world, "c0", PLAIN, None);
    serves(&mut world, "c1", MONITORED, None);
    serves(&mut world, "c2", PLAIN, None);
    chart(&mut world);
    world.delivers(&clusters);
    let of = |monitors: &str| json!({"monitors": monitors, "old": "false"});
    assert_eq!(data(&world, "c0"), of("false"));
    assert_eq!(data(&world, "c1"), of("true"));
    assert_eq!(data(&world, "c2"), of("false"));
    assert_eq!(
        world.keys("d/served/").len(),
        2,
        "one list for two clusters"
    );
    let seen = world.facts[&keys::seen(&id("c1"))].0.clone();
    assert!(seen.len() < 1_000, "{}", String::from_utf8_lossy(&seen));

    // a kind arrives: that cluster alone changes, within the same Release
    serves(&mut world, "c2", MONITORED, None);
    world.delivers(&clusters);
    assert_eq!(data(&world, "c2"), of("true"));
    assert_eq!(data(&world, "c0"), of("false"));
    assert_eq!(world.ordered("c2", &app("web")), Some(1));

    // the digest alone, of a list that is known, is enough
    let known = served_digest(
        &MONITORED
            .iter()
            .map(|&it| it.to_owned())
            .collect::<Vec<_>>(),
    );
    serves(&mut world, "c0", &[], known.as_deref());
    world.delivers(&clusters);
    assert_eq!(data(&world, "c0"), of("true"));
    let gone = roadstead_control::leftovers(&world.index);
    world.commit(gone);
    assert_eq!(world.keys("d/served/").len(), 1, "nobody serves the other");
}

#[test]
fn an_app_that_does_not_ask_is_not_rendered_anew() {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    chart(&mut world);
    world.delivers(&clusters);
    let before = world.orders.clone();
    assert_eq!(
        data(&world, "c1"),
        json!({"monitors": "false", "old": "true"}),
        "what every Kubernetes has, as Helm knows it"
    );
    serves(&mut world, "c1", MONITORED, None);
    world.delivers(&clusters);
    assert_eq!(world.orders, before);
}

#[test]
fn a_list_that_is_not_what_it_says_is_not_taken() {
    let mut world = World::new();
    world.fleet(1);
    let other = served_digest(&["v1".to_owned()]);
    serves(&mut world, "c0", MONITORED, other.as_deref());
    assert!(world.keys("d/served/").is_empty());
    serves(&mut world, "c0", &[], other.as_deref());
    let shown = world.index.project_cluster(&id("c0"), world.now).unwrap();
    assert_eq!(shown.status["facts"].get("apiVersions"), None);
    assert_eq!(served_digest(&["b".to_owned(), "a".to_owned()]), None);
    let long: Vec<String> = (0..10_001).map(|n| format!("g{n:05}/v1")).collect();
    assert_eq!(served_digest(&long), None);
}
