//! Real manifests, when the corpus is there: `ROADSTEAD_CORPUS`, or `../shared/corpus` beside the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base_json::Digest;
use roadstead_dispatch::Variant;
use roadstead_model::{AppKey, AppSpec};
use roadstead_release::Prepared;
use roadstead_target::TargetInput;
use serde_json::json;

fn corpus() -> Option<PathBuf> {
    let path = std::env::var("ROADSTEAD_CORPUS").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus"),
        PathBuf::from,
    );
    let path = path.join("apps");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no corpus at {}", path.display());
    None
}

fn files(root: &Path, under: &str) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut paths = vec![root.join(under)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("folder");
            paths.extend(entries.map(|entry| entry.expect("entry").path()));
        } else {
            let name = path
                .strip_prefix(root)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            out.insert(name, std::fs::read(&path).expect("file"));
        }
    }
    out
}

fn build(root: &Path, path: &str, exclude: &[&str]) -> Variant {
    let spec: AppSpec = serde_json::from_value(json!({
        "inputs": [{"source": "git", "path": path}],
        "render": {"plain": {"exclude": exclude}},
        "namespace": "shop",
        "targets": [{"name": "all"}],
    }))
    .expect("spec");
    let app = AppKey::new("team", "shop");
    let prepared = Prepared::new(&app, &spec, Digest::of(b"r"), &files(root, path))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let input = TargetInput::default();
    let mut built = prepared.build([&input]);
    if let Err(error) = &built.by_input[&input.digest()] {
        panic!("{path}: {error}");
    }
    built.variants.pop_first().expect("one").1
}

#[test]
fn real_apps_are_delivered_whole() {
    let Some(root) = corpus() else { return };
    for (path, objects, hooks) in [
        ("online-boutique/release/kubernetes-manifests.yaml", 35, 0),
        ("argocd-example-apps/guestbook", 2, 0),
        ("argocd-example-apps/sock-shop/base", 29, 0),
        ("argocd-example-apps/sync-waves", 7, 3),
    ] {
        let variant = build(&root, path, &[]);
        let found = (
            variant.objects.len(),
            variant.objects.iter().filter(|o| o.hook).count(),
        );
        assert_eq!(found, (objects, hooks), "{path}");
    }
}

#[test]
fn argos_waves_keep_their_order() {
    let Some(root) = corpus() else { return };
    let variant = build(&root, "argocd-example-apps/sync-waves", &[]);
    let places: Vec<String> = variant
        .objects
        .iter()
        .map(|o| format!("{} {} {} {}", o.phase, o.wave, o.id.kind, o.id.name))
        .collect();
    assert!(
        places[0].starts_with("PreSync 0 Job upgrade-sql-schema"),
        "{places:?}"
    );
    assert_eq!(
        places[1..],
        [
            "Sync 0 Service backend",
            "Sync 0 ReplicaSet backend",
            "Sync 1 Job maint-page-up",
            "Sync 2 Service frontend",
            "Sync 2 ReplicaSet frontend",
            "Sync 3 Job maint-page-down",
        ]
    );
}

#[test]
fn kustomizations_and_charts_are_rendered() {
    let Some(root) = corpus() else { return };
    let names = |path: &str| -> Vec<String> {
        let variant = build(&root, path, &[]);
        variant.objects.iter().map(|o| o.id.readable()).collect()
    };
    assert_eq!(
        names("argocd-example-apps/kustomize-guestbook"),
        [
            "Service shop/kustomize-guestbook-ui",
            "Deployment shop/kustomize-guestbook-ui"
        ]
    );
    assert_eq!(
        names("argocd-example-apps/helm-guestbook"),
        [
            "Service shop/shop-helm-guestbook",
            "Deployment shop/shop-helm-guestbook"
        ]
    );
}
