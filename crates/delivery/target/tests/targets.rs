//! Who gets an App, with which input, and what is said about mistakes.

use std::collections::BTreeMap;

use roadstead_model::{AppSpec, ClusterId, ClusterSetSpec, StrategySpec};
use roadstead_target::{
    ClusterView, Uses, collect, effective_values, placements, stage_of, substitute, target_input,
};
use serde_json::{Value, json};

fn cluster(name: &str, labels: &[(&str, &str)], values: Value) -> ClusterView {
    ClusterView {
        id: ClusterId(format!("uid-{name}")),
        name: name.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        values: serde_json::from_value(values).expect("values"),
        facts: BTreeMap::new(),
        cordoned: name == "cordoned",
    }
}

fn fleet() -> Vec<ClusterView> {
    vec![
        cluster(
            "eu-1",
            &[("region", "eu"), ("ring", "canary")],
            json!({"replicas": 3}),
        ),
        cluster("eu-2", &[("region", "eu")], json!({"replicas": 3})),
        cluster(
            "us-1",
            &[("region", "us")],
            json!({"db": {"hosts": ["a", "b"]}}),
        ),
        cluster("cordoned", &[("region", "us")], json!({})),
    ]
}

fn sets() -> BTreeMap<String, ClusterSetSpec> {
    let set = |value| serde_json::from_value(value).expect("set");
    BTreeMap::from([
        (
            "europe".to_owned(),
            set(json!({"selector": {"matchLabels": {"region": "eu"}}})),
        ),
        ("all".to_owned(), set(json!({}))),
    ])
}

fn app(targets: Value, overlays: Value) -> AppSpec {
    serde_json::from_value(json!({
        "inputs": [{"source": "git"}], "targets": targets, "overlays": overlays
    }))
    .expect("app")
}

fn check(targets: Value, overlays: Value, expected: &[&str]) {
    let spec = app(targets, overlays);
    let found: Vec<String> = match placements(&spec, &fleet(), &sets()) {
        Ok(found) => {
            let placed = found.placed.iter().map(|p| {
                let cordoned = if p.cordoned { " cordoned" } else { "" };
                format!("{} by {} {:?}{cordoned}", p.name, p.target, p.overlays)
            });
            placed
                .chain(found.warnings.iter().map(|w| format!("! {w}")))
                .collect()
        }
        Err(error) => vec![format!("error: {error}")],
    };
    assert_eq!(found, expected);
}

#[test]
fn the_first_target_that_matches_decides() {
    check(
        json!([
            {"name": "not-canary", "clusters": {"selector": {"matchLabels": {"ring": "canary"}}}, "skip": true},
            {"name": "europe", "clusters": {"clusterSet": "europe"}},
            {"name": "rest"},
        ]),
        json!([
            {"name": "us", "clusters": {"selector": {"matchLabels": {"region": "us"}}}},
            {"name": "everywhere"},
        ]),
        &[
            "eu-2 by europe [1]",
            "us-1 by rest [0, 1]",
            "cordoned by rest [0, 1] cordoned",
        ],
    );
}

#[test]
fn the_hub_is_a_target_only_by_name() {
    check(
        json!([{"name": "nouns", "clusters": {"names": ["hub"]}}]),
        json!([]),
        &["hub by nouns []"],
    );
    check(
        json!([{"name": "both", "clusters": {"names": ["hub", "eu-1"]}}]),
        json!([]),
        &["hub by both []", "eu-1 by both []"],
    );
}

#[test]
fn mistakes_are_named() {
    check(
        json!([
            {"name": "asia", "clusters": {"selector": {"matchLabels": {"region": "asia"}}}},
            {"name": "gone", "clusters": {"names": ["eu-9"]}},
            {"name": "eu", "clusters": {"names": ["eu-1"]}},
            {"name": "eu-again", "clusters": {"names": ["eu-1"]}},
        ]),
        json!([{"name": "us", "clusters": {"selector": {"matchLabels": {"region": "us"}}}}]),
        &[
            "eu-1 by eu []",
            "! target \"gone\" names cluster \"eu-9\", which is not registered",
            "! target \"asia\" matches no cluster",
            "! target \"gone\" matches no cluster",
            "! target \"eu-again\" decides nothing: targets before it match all of its clusters",
            "! overlay \"us\" applies to no cluster that gets the App",
        ],
    );
    check(
        json!([{"name": "asia", "clusters": {"clusterSet": "asia"}}]),
        json!([]),
        &["error: target \"asia\" names ClusterSet \"asia\", which does not exist"],
    );
}

#[test]
fn a_clusters_own_values_win_then_the_first_set_by_name() {
    let set = |values: Value| -> ClusterSetSpec {
        serde_json::from_value(json!({"values": values})).expect("set")
    };
    let sets = BTreeMap::from([
        (
            "a".to_owned(),
            set(json!({"x": 1, "db": {"host": "a", "port": 1}})),
        ),
        (
            "b".to_owned(),
            set(json!({"x": 2, "y": 2, "db": {"user": "b"}})),
        ),
    ]);
    let own = BTreeMap::from([("db".to_owned(), json!({"host": "own"}))]);
    let found = effective_values(&own, &BTreeMap::new(), &sets);
    let expected = json!({"x": 1, "y": 2, "db": {"host": "own", "port": 1, "user": "b"}});
    assert_eq!(serde_json::to_value(found).expect("json"), expected);
}

#[test]
fn clusters_with_the_same_used_values_share_an_input() {
    let overlays = json!([{
        "name": "scale", "clusters": {"clusterSet": "europe"},
        "patches": [{"merge": {"kind": "Deployment", "spec": {"replicas": "${cluster.values.replicas}"}}}],
        "labels": {"region": "${cluster.labels.region}"},
    }]);
    let spec = app(json!([{"name": "all"}]), overlays);
    let uses = Uses::of(&spec, []).expect("uses");
    let (fleet, sets) = (fleet(), sets());
    let placed = placements(&spec, &fleet, &sets).expect("placed").placed;
    let inputs: Vec<_> = placed
        .iter()
        .map(|p| {
            let view = fleet.iter().find(|c| c.id == p.cluster).expect("view");
            target_input(&spec, &uses, view, p).expect("input")
        })
        .collect();
    assert_eq!(inputs[0].digest(), inputs[1].digest(), "eu-1 and eu-2");
    assert_eq!(inputs[2].digest(), inputs[3].digest(), "no overlay applies");
    assert_ne!(inputs[0].digest(), inputs[2].digest());
    assert_eq!(
        serde_json::to_value(&inputs[0]).expect("json"),
        json!({"overlays": ["scale"], "values": {"cluster.values.replicas": 3, "cluster.labels.region": "eu"}})
    );
}

#[test]
fn a_missing_value_fails_its_cluster_by_name() {
    let overlays = json!([{"name": "o", "patches": [{"merge": {"spec": {"host": "${cluster.values.db.hosts.1}"}}}]}]);
    let spec = app(json!([{"name": "all"}]), overlays);
    let uses = Uses::of(&spec, []).expect("uses");
    let fleet = fleet();
    let placed = placements(&spec, &fleet, &sets()).expect("placed").placed;
    let found: Vec<String> = fleet
        .iter()
        .zip(&placed)
        .map(|(view, p)| match target_input(&spec, &uses, view, p) {
            Ok(input) => input.values["cluster.values.db.hosts.1"].to_string(),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        found[0],
        "cluster \"eu-1\" cannot be rendered: ${cluster.values.db.hosts.1} has no value; set it on the cluster or a \
         ClusterSet, or write a default: ${cluster.values.db.hosts.1:-…}"
    );
    assert_eq!(found[2], "\"b\"");
}

#[test]
fn expressions_are_replaced() {
    let values = BTreeMap::from([
        ("cluster.name".to_owned(), json!("eu-1")),
        ("cluster.values.n".to_owned(), json!(3)),
        ("cluster.values.m".to_owned(), json!({"a": [1]})),
    ]);
    for (text, expected) in [
        (json!("${cluster.values.n}"), json!(3)),
        (json!("n=${cluster.values.n}"), json!("n=3")),
        (json!("${cluster.name}-${cluster.name}"), json!("eu-1-eu-1")),
        (json!("${cluster.values.m}"), json!({"a": [1]})),
        (json!("${cluster.values.x:-7}"), json!(7)),
        (json!("${cluster.values.x:-a b}"), json!("a b")),
        (json!("${cluster.values.x:-}"), json!("")),
        (
            json!("$${cluster.name} ${HOME} $${HOME}"),
            json!("${cluster.name} ${HOME} $${HOME}"),
        ),
        (
            json!({"labels": {"n": "${cluster.values.n}"}}),
            json!({"labels": {"n": "3"}}),
        ),
        (json!(["${cluster.name}", 1]), json!(["eu-1", 1])),
        (
            json!({"env": [{"name": "N", "value": "${cluster.values.n}"}], "replicas": "${cluster.values.n}"}),
            json!({"env": [{"name": "N", "value": "3"}], "replicas": 3}),
        ),
        (
            json!({"kind": "ConfigMap", "data": {"n": "${cluster.values.n}"}}),
            json!({"kind": "ConfigMap", "data": {"n": "3"}}),
        ),
        (
            json!("a${cluster.values.m}"),
            json!("error: ${cluster.values.m} is a map, which cannot stand inside a text"),
        ),
        (
            json!("${cluster.name"),
            json!("error: \"${cluster.name\" has no closing brace"),
        ),
        (
            json!("${cluster.id}"),
            json!(
                "error: ${cluster.id} is unknown: use cluster.name, cluster.labels.KEY or cluster.values.PATH"
            ),
        ),
    ] {
        let mut found = text.clone();
        if let Err(error) = substitute(&mut found, &values) {
            found = json!(format!("error: {error}"));
        }
        assert_eq!(found, expected, "{text}");
        let mut uses = std::collections::BTreeSet::new();
        let bad = expected
            .as_str()
            .is_some_and(|t| t.contains("closing") || t.contains("unknown"));
        assert_eq!(collect(&text, &mut uses).is_err(), bad, "{text}");
    }
}

#[test]
fn a_cluster_belongs_to_the_first_stage_that_selects_it() {
    let strategy: StrategySpec = serde_json::from_value(json!({"stages": [
        {"name": "canary", "clusters": {"matchLabels": {"ring": "canary"}}},
        {"name": "europe", "clusters": {"matchLabels": {"region": "eu"}}},
    ]}))
    .expect("strategy");
    let stages: Vec<Option<usize>> = fleet()
        .iter()
        .map(|c| stage_of(&strategy, &c.labels))
        .collect();
    assert_eq!(stages, [Some(0), Some(1), None, None]);
}
