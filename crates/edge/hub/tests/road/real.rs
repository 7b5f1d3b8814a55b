//! Manifests of real projects, where they are at hand: they are copied into the test's own repository when it runs.

use std::path::PathBuf;

use serde_json::json;

use crate::world::{World, find};

pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus");
    let given = std::env::var_os("ROADSTEAD_CORPUS").map(PathBuf::from);
    let apps = given.unwrap_or(beside).join("apps");
    apps.is_dir().then_some(apps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_manifests_become_healthy() {
    let Some(corpus) = corpus() else {
        println!("skipped: no corpus beside the repository, and ROADSTEAD_CORPUS names none");
        return;
    };
    let mut world = World::start().await;
    let one = world.join("one", json!({})).await;
    world.join("two", json!({})).await;
    let apps = [
        (
            "boutique",
            "online-boutique/release/kubernetes-manifests.yaml",
            "apps/boutique/all.yaml",
        ),
        (
            "guestbook",
            "argocd-example-apps/guestbook",
            "apps/guestbook",
        ),
        (
            "sock-shop",
            "argocd-example-apps/sock-shop/base",
            "apps/sock-shop",
        ),
        (
            "sync-waves",
            "argocd-example-apps/sync-waves",
            "apps/sync-waves",
        ),
    ];
    for (_, from, to) in apps {
        world.repository.copy(&corpus.join(from), to);
    }
    let commit = world.push("real things").await;
    for (name, _, _) in apps {
        world.app(name, json!({})).await;
    }
    for (name, _, _) in apps {
        world.healthy(name, &commit, 2).await;
    }
    for (namespace, name) in [
        ("boutique", "frontend"),
        ("guestbook", "guestbook-ui"),
        ("sock-shop", "front-end"),
    ] {
        let found = find(&one, ("apps", "deployments"), (namespace, name));
        assert!(found.is_some(), "{namespace}/{name}");
    }
    world.end().await;
}
