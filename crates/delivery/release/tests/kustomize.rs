//! Kustomizations that vary from cluster to cluster.

use std::collections::BTreeMap;

use base_json::Digest;
use bytes::Bytes;
use roadstead_model::{AppKey, AppSpec, Cluster};
use roadstead_release::{BuildError, Built, Prepared};
use roadstead_render::Inputs;
use roadstead_target::{ClusterView, placements, target_input};
use serde_json::{Value, json};

const TREE: &[(&str, &str)] = &[
    (
        "apps/web/base/kustomization.yaml",
        "resources: [web.yaml]\n",
    ),
    (
        "apps/web/base/web.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: \"web:1\"}]\n",
    ),
    (
        "apps/web/overlays/eu/kustomization.yaml",
        "resources: [../../base]\nnamePrefix: eu-\n",
    ),
    (
        "apps/web/overlays/us/kustomization.yaml",
        "resources: [../../base]\npatches:\n- target: {kind: Service}\n  patch: '[]'\n- path: gone.yaml\n",
    ),
    (
        "components/tls/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {tls: \"on\"}\n",
    ),
];

fn inputs() -> Inputs {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let files = TREE
        .iter()
        .map(|(path, content)| ((*path).to_owned(), text(content)));
    Inputs {
        first: files.collect(),
        ..Inputs::default()
    }
}

fn spec(more: Value) -> AppSpec {
    let mut spec =
        json!({"inputs": [{"source": "git", "path": "apps/web"}], "targets": [{"name": "all"}]});
    let fields = more.as_object().expect("map").clone();
    spec.as_object_mut().expect("map").extend(fields);
    serde_json::from_value(spec).expect("spec")
}

fn prepared(spec: &AppSpec) -> Result<Prepared, BuildError> {
    let app = AppKey::new("team", "web");
    Prepared::of(&app, spec, Digest::of(b"r"), &inputs())
}

fn clusters(all: &[(&str, Value, Value)]) -> Vec<ClusterView> {
    let view = |(name, labels, values): &(&str, Value, Value)| {
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name, "uid": name, "labels": labels},
            "spec": {"values": values},
        }))
        .expect("a cluster");
        ClusterView::of(&cluster, &BTreeMap::new())
    };
    all.iter().map(view).collect()
}

/// What each cluster gets: its objects, or why it gets none.
fn built(spec: &AppSpec, clusters: &[ClusterView]) -> (Built, BTreeMap<String, String>) {
    let prepared = prepared(spec).expect("prepared");
    let placed = placements(spec, clusters, &BTreeMap::new()).expect("placed");
    let inputs = placed.placed.iter().map(|placement| {
        let mut all = clusters.iter();
        let cluster = all.find(|one| one.id == placement.cluster).expect("known");
        let input = target_input(spec, prepared.uses(), cluster, placement).expect("an input");
        (cluster.name.clone(), input)
    });
    let inputs: BTreeMap<String, _> = inputs.collect();
    let built = prepared.build(inputs.values());
    let got = inputs.iter().map(|(name, input)| {
        let text = match &built.by_input[&input.digest()] {
            Err(error) => error.to_string(),
            Ok(id) => {
                let objects = built.variants[id].objects.iter();
                objects
                    .map(|object| {
                        String::from_utf8_lossy(&built.blobs[&object.digest]).into_owned()
                    })
                    .collect()
            }
        };
        (name.clone(), text)
    });
    let got = got.collect();
    (built, got)
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn folders_images_replicas_and_patches_vary_by_cluster() {
    let spec = spec(json!({
        "render": {"kustomize": {
            "path": "base",
            "images": [{"name": "web", "newTag": "${cluster.values.tag:-2}"}],
            "buildMetadata": ["managedByLabel"],
        }},
        "overlays": [
            {"name": "by-region", "clusters": {"selector": {"matchExpressions": [{"key": "region", "operator": "Exists"}]}},
             "kustomize": {
                "path": "overlays/${cluster.labels.region}",
                "replicas": [{"name": "web", "count": "${cluster.values.replicas}"}],
                "components": ["../../../../components/tls"],
             }},
            {"name": "big", "clusters": {"names": ["c"]}, "kustomize": {
                "patches": [{"patch": "- {op: add, path: /metadata/labels, value: {size: big}}", "target": {"kind": "Deployment"}}],
                "nameSuffix": "-big",
            }},
        ],
    }));
    let region = |region: &str| json!({"region": region});
    let all = clusters(&[
        ("a", json!({}), json!({})),
        ("b", region("eu"), json!({"replicas": 3, "tag": 7})),
        ("c", region("eu"), json!({"replicas": 4})),
        ("d", region("us"), json!({"replicas": 1})),
        ("e", region("mars"), json!({"replicas": 1})),
        ("f", region("eu"), json!({"replicas": "many"})),
        ("g", region("../../../secrets"), json!({"replicas": 1})),
        ("h", json!({}), json!({})),
    ]);
    let (built, got) = built(&spec, &all);
    holds(
        &got["a"],
        &[
            r#""name":"web""#,
            r#""image":"web:2""#,
            r#""replicas":1"#,
            r#""app.kubernetes.io/managed-by":"kustomize-v5.8.1""#,
        ],
    );
    holds(
        &got["b"],
        &[
            r#""name":"eu-web""#,
            r#""image":"web:7""#,
            r#""replicas":3"#,
            r#""tls":"on""#,
        ],
    );
    holds(
        &got["c"],
        &[
            r#""name":"eu-web-big""#,
            r#""replicas":4"#,
            r#""size":"big""#,
        ],
    );
    // each of these fails alone, and says where
    holds(
        &got["d"],
        &[
            "apps/web/overlays/us/kustomization.yaml:5:3: ",
            "there is no file \"gone.yaml\"",
        ],
    );
    holds(
        &got["e"],
        &["path \"apps/web/overlays/mars\" holds no kustomization"],
    );
    holds(
        &got["f"],
        &["overlay \"by-region\": replicas[0].count: \"many\" is no number"],
    );
    holds(&got["g"], &["leaves the input"]);
    // and what is the same is made once
    assert_eq!(got["a"], got["h"]);
    assert_eq!(built.variants.len(), 3);
}

#[test]
fn a_kustomization_is_found_where_it_stands() {
    let at = |path: &str, more: Value| {
        let mut spec = spec(more);
        path.clone_into(&mut spec.inputs[0].path);
        spec
    };
    let (_, got) = built(
        &at("apps/web/overlays/eu", json!({})),
        &clusters(&[("a", json!({}), json!({}))]),
    );
    holds(&got["a"], &[r#""name":"eu-web""#]);

    let refused = |spec: &AppSpec| prepared(spec).expect_err("refused").to_string();
    holds(
        &refused(&at("apps/web", json!({"render": {"kustomize": {}}}))),
        &[
            "path \"apps/web\" holds no kustomization",
            "spec.render.kustomize.path",
        ],
    );
    holds(
        &refused(&at(
            "components",
            json!({"overlays": [{"name": "o", "kustomize": {"namePrefix": "x-"}}]}),
        )),
        &["overlay \"o\" changes a kustomization, and path \"components\" holds none"],
    );
    let mut both = inputs();
    both.first.insert(
        "apps/web/base/Chart.yaml".to_owned(),
        Bytes::from("name: x\n"),
    );
    let spec = at("apps/web/base", json!({}));
    let refused = Prepared::of(&AppKey::new("team", "web"), &spec, Digest::of(b"r"), &both);
    holds(
        &refused.expect_err("refused").to_string(),
        &["a Chart.yaml and a kustomization"],
    );
}

#[test]
fn no_line_of_a_secret_is_shown() {
    let mut inputs = inputs();
    let text = "resources: [web.yaml]\nsecretGenerator:\n- {name: s, literals: [\"password=hunter2\"], unknown: hunter2}\n";
    let path = "apps/web/base/kustomization.yaml".to_owned();
    inputs.first.insert(path, Bytes::from(text));
    let spec = spec(json!({"render": {"kustomize": {"path": "base"}}}));
    let app = AppKey::new("team", "web");
    // the same for every cluster, and so it is the Release that fails
    let refused = Prepared::of(&app, &spec, Digest::of(b"r"), &inputs);
    let error = refused.expect_err("refused").to_string();
    holds(&error, &["apps/web/base/kustomization.yaml:3:"]);
    assert!(!error.contains("hunter2"), "{error}");
}
