//! Many inputs, and the rules over several Releases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base_json::Digest;
use roadstead_dispatch::Variant;
use roadstead_model::{AppKey, AppSpec, ProjectSpec};
use roadstead_release::{Claim, Prepared, check_project, clashes, cycles, frozen, release_id};
use roadstead_target::TargetInput;
use serde_json::json;

fn spec(extra: serde_json::Value) -> AppSpec {
    let mut spec = json!({"inputs": [{"source": "git"}], "targets": [{"name": "all"}]});
    let fields = extra.as_object().expect("map").clone();
    spec.as_object_mut().expect("map").extend(fields);
    serde_json::from_value(spec).expect("spec")
}

fn variant(manifests: &str) -> (Variant, BTreeMap<Digest, bytes::Bytes>) {
    let files = BTreeMap::from([("a.yaml".to_owned(), manifests.to_owned())]);
    let prepared = Prepared::new(
        &AppKey::new("p", "a"),
        &spec(json!({})),
        Digest::of(b"r"),
        &files,
    )
    .expect("prepared");
    let mut built = prepared.build([&TargetInput::default()]);
    let (_, variant) = built.variants.pop_first().expect("one");
    (variant, built.blobs)
}

/// Ten objects, and as many inputs as clusters: each with its own replica count and label.
fn many(inputs: usize) -> usize {
    let mut manifests = String::new();
    for number in 0..10 {
        let _ = writeln!(
            manifests,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web-{number}}}\nspec:\n  replicas: 1\n  \
             selector: {{matchLabels: {{app: web-{number}}}}}\n  template:\n    metadata: {{labels: {{app: web-{number}}}}}\n    \
             spec:\n      containers:\n      - name: web\n        image: registry.example.org/web:1.2.3\n        \
             ports: [{{containerPort: 8080}}]\n        env:\n        - {{name: A, value: b}}\n"
        );
    }
    let files = BTreeMap::from([("a.yaml".to_owned(), manifests)]);
    let spec = spec(json!({"namespace": "web", "overlays": [{
        "name": "scale",
        "patches": [{"merge": {"kind": "Deployment", "metadata": {"name": "web-0"}, "spec": {"replicas": "${cluster.values.n}"}}}],
        "labels": {"cluster": "${cluster.name}"},
    }]}));
    let prepared =
        Prepared::new(&AppKey::new("p", "a"), &spec, Digest::of(b"r"), &files).expect("prepared");
    let inputs: Vec<TargetInput> = (0..inputs)
        .map(|number| TargetInput {
            overlays: vec!["scale".to_owned()],
            values: BTreeMap::from([
                ("cluster.values.n".to_owned(), json!(number)),
                ("cluster.name".to_owned(), json!(format!("c{number}"))),
            ]),
        })
        .collect();
    let built = prepared.build(&inputs);
    assert!(built.by_input.values().all(Result::is_ok));
    built.variants.len()
}

#[test]
fn each_distinct_input_has_its_variant() {
    assert_eq!(many(50), 50);
}

/// Run with `cargo test --release -- --ignored --nocapture`; the figure stands in the crate's benchmark notes.
#[test]
#[ignore = "a measurement"]
fn measure_five_thousand_inputs() {
    let start = std::time::Instant::now();
    assert_eq!(many(5_000), 5_000);
    eprintln!("5,000 inputs of 10 objects: {:?}", start.elapsed());
}

#[test]
fn the_same_content_is_the_same_release() {
    let app = AppKey::new("p", "a");
    let inputs = BTreeMap::from([("main".to_owned(), Digest::of(b"tree"))]);
    let plain = spec(json!({}));
    let id = |spec: &AppSpec, renderer| release_id(&app, spec, &inputs, renderer);
    let first = id(&plain, "plain/1");
    for same in [
        json!({"pin": first.to_string()}),
        json!({"strategy": "slow"}),
        json!({"hold": {"mode": "Sync"}}),
    ] {
        let same = spec(same);
        assert_eq!(id(&same, "plain/1"), first);
        assert_eq!(frozen(&same), plain);
    }
    for other in [
        json!({"namespace": "x"}),
        json!({"onLeave": "Remove"}),
        json!({"targets": [{"name": "some"}]}),
        json!({"sync": {"prune": false}}),
    ] {
        assert_ne!(id(&spec(other), "plain/1"), first);
    }
    assert_ne!(id(&plain, "plain/2"), first);
    assert_ne!(
        release_id(&AppKey::new("p", "b"), &plain, &inputs, "plain/1"),
        first
    );
}

#[test]
fn circles_are_found_once() {
    let key = |name: &str| AppKey::new("p", name);
    let apps = |edges: &[(&str, &[&str])]| {
        edges
            .iter()
            .map(|(app, needs)| (key(app), needs.iter().map(|n| key(n)).collect()))
            .collect()
    };
    let check = |edges: &[(&str, &[&str])], expected: &[&[&str]]| {
        let found: Vec<Vec<String>> = cycles(&apps(edges))
            .into_iter()
            .map(|circle| circle.into_iter().map(|app| app.name).collect())
            .collect();
        assert_eq!(found, expected, "{edges:?}");
    };
    check(&[("a", &["b"]), ("b", &["c"]), ("c", &["gone"])], &[]);
    check(
        &[("a", &["b"]), ("b", &["a"]), ("c", &["a"])],
        &[&["a", "b"]],
    );
    check(&[("a", &["a"])], &[&["a"]]);
    check(
        &[
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["a"]),
            ("x", &["y", "a"]),
            ("y", &["x"]),
        ],
        &[&["a", "b", "c"], &["x", "y"]],
    );
}

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn the_second_owner_is_refused_and_names_the_first() {
    let (variant, _) = variant(CONFIG);
    let (first, second) = (AppKey::new("p", "first"), AppKey::new("p", "second"));
    let claim = |app, takes_over_from| Claim {
        app,
        variant: &variant,
        takes_over_from,
    };
    let found = clashes(&[claim(&first, &[]), claim(&second, &[])]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "ConfigMap default/a is owned by App p/first; App p/second cannot own it too (takesOverFrom would hand it over)"
        ]
    );
    let from = [first.clone()];
    assert!(clashes(&[claim(&first, &[]), claim(&second, &from)]).is_empty());
}

#[test]
fn a_project_allows_only_what_it_names() {
    let (variant, blobs) = variant(&format!(
        "{CONFIG}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: team-x}}\n---\napiVersion: v1\nkind: \
         Secret\nmetadata: {{name: sealed, namespace: team-x}}\nsops: {{mac: abc}}\n---\napiVersion: \
         roadstead.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: c}}\n"
    ));
    let fetch = |digest: &Digest| blobs.get(digest).cloned();
    let check = |spec: &ProjectSpec| -> Vec<String> {
        check_project("p", spec, &variant, &fetch)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert!(check(&ProjectSpec::everything()).is_empty());
    let narrow: ProjectSpec = serde_json::from_value(json!({
        "kinds": [{"kind": "*"}], "namespaces": ["team-*"]
    }))
    .expect("spec");
    assert_eq!(
        check(&narrow),
        [
            "Project \"p\" does not allow plain Secrets (Secret team-x/s); encrypt it with SOPS, or have an admin set spec.plainSecrets",
            "Project \"p\" does not allow namespace \"default\" (ConfigMap default/a); an admin can add it to spec.namespaces",
            "Project \"p\" does not allow kind Cluster.roadstead.dev (Cluster c); an admin can add it to spec.kinds",
            "Project \"p\" does not allow the hub's own nouns (Cluster c); an admin can set spec.hub",
        ]
    );
    // four kinds, three namespaces, one plain Secret, one noun
    assert_eq!(check(&ProjectSpec::default()).len(), 4 + 3 + 1 + 1);
}
