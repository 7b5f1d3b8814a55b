//! Kustomizations on the road: overlays that differ from cluster to cluster, bases that lie elsewhere, real projects.

use std::process::Command;

use serde_json::{Value, json};

use crate::host::Host;
use crate::real::corpus;
use crate::repository::Repository;
use crate::world::{World, config_map, deployment, find};

const DEPLOYMENTS: (&str, &str) = ("apps", "deployments");
const MAPS: (&str, &str) = ("", "configmaps");

fn replicas(wanted: u32) -> impl Fn(Option<&Value>) -> bool {
    move |found| found.is_some_and(|one| one["spec"]["replicas"] == wanted)
}

fn image(wanted: &str) -> impl Fn(Option<&Value>) -> bool {
    move |found| {
        found.is_some_and(|one| one["spec"]["template"]["spec"]["containers"][0]["image"] == wanted)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlays_differ_by_cluster_and_follow_a_base_that_lies_outside_the_input() {
    let mut world = World::start().await;
    for (name, region) in [("one", "eu"), ("two", "us"), ("three", "mars")] {
        world.join(name, json!({ "region": region })).await;
    }
    let write = |path: &str, text: &str| world.repository.write(path, text);
    write("lib/web/kustomization.yaml", "resources: [web.yaml]\n");
    write("lib/web/web.yaml", &deployment("web", "web:1"));
    write(
        "apps/web/overlays/eu/kustomization.yaml",
        "resources: [../../../../lib/web]\nnamePrefix: eu-\n",
    );
    write(
        "apps/web/overlays/us/kustomization.yaml",
        "resources: [../../../../lib/web]\nnamePrefix: us-\n",
    );
    world.push("two overlays over a base").await;
    let spec = json!({
        "render": { "kustomize": {
            "path": "overlays/${cluster.labels.region}",
            "images": [{ "name": "web", "newName": "registry.example/web" }],
        }},
        "overlays": [{
            "name": "american",
            "clusters": { "selector": { "matchLabels": { "region": "us" } } },
            "kustomize": { "replicas": [{ "name": "web", "count": 2 }], "nameSuffix": "-a" },
        }],
    });
    world.app("web", spec).await;
    let european = ("web", "eu-web");
    let american = ("web", "us-web-a");
    let good = image("registry.example/web:1");
    world.object("one", DEPLOYMENTS, european, &good).await;
    world.object("two", DEPLOYMENTS, american, &good).await;
    world
        .object("two", DEPLOYMENTS, american, replicas(2))
        .await;
    let parts = ["apps/web/overlays/mars", "holds no kustomization"];
    world.why_says("web", "three", &parts).await;

    // the base is no part of the App's input, and yet the App follows it
    world
        .repository
        .write("lib/web/web.yaml", &deployment("web", "web:2"));
    world.push("another image in the base").await;
    let newer = image("registry.example/web:2");
    world.object("one", DEPLOYMENTS, european, &newer).await;
    world.object("two", DEPLOYMENTS, american, &newer).await;

    // one overlay that is broken stops nobody else
    world.repository.write(
        "apps/web/overlays/us/kustomization.yaml",
        "resources: [../../../../lib/web]\nnamePrefix: us-\npatches:\n- path: nowhere.yaml\n",
    );
    world
        .repository
        .write("lib/web/web.yaml", &deployment("web", "web:3"));
    world.push("a patch that is not there").await;
    let newest = image("registry.example/web:3");
    world.object("one", DEPLOYMENTS, european, &newest).await;
    let parts = [
        "apps/web/overlays/us/kustomization.yaml:4:3",
        "nowhere.yaml",
    ];
    world.why_says("web", "two", &parts).await;
    assert!(newer(
        find(&world.cluster("two"), DEPLOYMENTS, american).as_ref()
    ));

    // a plan takes the same road, also for files that are sent
    let sent = json!({ "files": {
        "overlays/eu/kustomization.yaml": "resources: [../../../../lib/web]\nnamePrefix: eu-\n",
        "overlays/us/kustomization.yaml": "resources: [../../../../lib/web]\nnamePrefix: us-\n",
        "../../lib/web/kustomization.yaml": "resources: [web.yaml]\n",
        "../../lib/web/web.yaml": deployment("web", "web:4"),
    }});
    let path = "namespaces/default/apps/web/plan";
    let planned = world.api.post(path, &sent).await.expect("a plan");
    let text = planned["text"].as_str().expect("a text");
    assert!(text.contains("registry.example/web:4"), "{text}");
    world.end().await;
}

/// Packs a chart as a repository serves it.
fn chart(world: &World, name: &str, version: &str) -> Vec<u8> {
    let folder = world.folder.path().join("charts");
    let chart = folder.join(name);
    std::fs::create_dir_all(chart.join("templates")).expect("a folder");
    let head = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    std::fs::write(chart.join("Chart.yaml"), head).expect("a file");
    std::fs::write(chart.join("values.yaml"), "size: small\n").expect("a file");
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  key: {{ .Values.size }}\n";
    std::fs::write(chart.join("templates/map.yaml"), template).expect("a file");
    let packed = Command::new("tar")
        .args(["-czf", "-", name])
        .current_dir(&folder)
        .output()
        .expect("tar on the path");
    assert!(packed.status.success());
    packed.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bases_charts_and_files_elsewhere_are_pinned_when_the_source_is_read() {
    let mut world = World::start().await;
    world.join("one", json!({ "n": "1" })).await;
    let served = world.folder.path().join("served");
    let host = Host::start(served.clone());
    let bases = Repository::make(&served.join("bases"));
    bases.write(
        "parts/kustomization.yaml",
        "namePrefix: far-\nresources: [map.yaml, ../more]\n",
    );
    bases.write("parts/map.yaml", &config_map("base", "one"));
    bases.write("more/kustomization.yaml", "resources: [map.yaml]\n");
    bases.write("more/map.yaml", &config_map("more", "one"));
    bases.commit("bases");
    let page = |value: &str| Some(config_map("page", value).into_bytes());
    host.page("/files/page.yaml", page("one"));
    host.page("/charts/box-1.2.0.tgz", Some(chart(&world, "box", "1.2.0")));
    let index = "apiVersion: v1\nentries:\n  box:\n  - version: 1.2.0\n    urls: [box-1.2.0.tgz]\n";
    host.page("/charts/index.yaml", Some(index.into()));

    let url = &host.url;
    let text = format!(
        "resources:\n- {url}/git/bases//parts?ref=main\n- {url}/files/page.yaml\nhelmCharts:\n- name: box\n  repo: {url}/charts\n  \
         version: 1.x\n  releaseName: box\n  valuesInline: {{size: large}}\n"
    );
    world.repository.write("apps/far/kustomization.yaml", &text);
    world.push("bases that lie elsewhere").await;
    let spec = json!({ "overlays": [{
        "name": "named", "kustomize": { "nameSuffix": "-${cluster.labels.n}" },
    }]});
    world.app("far", spec).await;
    let holds = |wanted: &'static str| {
        move |found: Option<&Value>| found.is_some_and(|one| one["data"]["key"] == wanted)
    };
    for name in ["far-base-1", "far-more-1", "page-1"] {
        world.object("one", MAPS, ("far", name), holds("one")).await;
    }
    world
        .object("one", MAPS, ("far", "box-1"), holds("large"))
        .await;

    // whatever moves elsewhere: a cluster that joins gets what the Release was made from
    bases.write("parts/map.yaml", &config_map("base", "two"));
    bases.commit("another base");
    host.page("/files/page.yaml", page("two"));
    world.join("two", json!({ "n": "2" })).await;
    for name in ["far-base-2", "page-2"] {
        world.object("two", MAPS, ("far", name), holds("one")).await;
    }

    // the next commit looks again
    world
        .repository
        .write("apps/far/note.txt", "read it again\n");
    world.push("a note").await;
    for (cluster, n) in [("one", "1"), ("two", "2")] {
        let name = format!("far-base-{n}");
        world
            .object(cluster, MAPS, ("far", &name), holds("two"))
            .await;
        let name = format!("page-{n}");
        world
            .object(cluster, MAPS, ("far", &name), holds("two"))
            .await;
    }

    // what cannot be had says so, and takes nothing away
    host.page("/files/page.yaml", None);
    world.repository.write("apps/far/note.txt", "and again\n");
    world.push("another note").await;
    let parts = ["/files/page.yaml", "404"];
    world.why_says("far", "", &parts).await;
    assert!(find(&world.cluster("one"), MAPS, ("far", "page-1")).is_some());
    // and is tried again, without another commit
    host.page("/files/page.yaml", page("three"));
    world.poll().await;
    let at = ("far", "page-1");
    world.object("one", MAPS, at, holds("three")).await;
    world.end().await;
}

const ROUTES: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: routes.route.openshift.io
spec:
  group: route.openshift.io
  scope: Namespaced
  names: {kind: Route, plural: routes, singular: route, listKind: RouteList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_kustomizations_become_healthy() {
    let Some(corpus) = corpus() else {
        println!("skipped: no corpus beside the repository, and ROADSTEAD_CORPUS names none");
        return;
    };
    let mut world = World::start().await;
    let one = world.join("one", json!({ "env": "dev" })).await;
    let two = world.join("two", json!({ "env": "production" })).await;
    for (from, to) in [
        ("online-boutique/kustomize", "apps/boutique"),
        ("podinfo/deploy", "apps/podinfo"),
        ("argocd-example-apps/pre-post-sync", "apps/pre-post-sync"),
        (
            "argocd-example-apps/kustomize-guestbook",
            "apps/kustomize-guestbook",
        ),
        ("kcd23ams-gitops-patterns/apps", "patterns"),
    ] {
        world.repository.copy(&corpus.join(from), to);
    }
    world.repository.write("apps/routes/routes.yaml", ROUTES);
    let commit = world.push("real things").await;
    world.app("routes", json!({})).await;
    let components = [
        "components/network-policies",
        "components/single-shared-session",
        "components/container-images-tag",
    ];
    let less = json!([{
        "name": "small",
        "clusters": { "names": ["two"] },
        "kustomize": { "components": ["components/without-loadgenerator"] },
    }]);
    let spec = json!({ "render": { "kustomize": { "components": components } }, "overlays": less });
    world.app("boutique", spec).await;
    let spec = json!({ "render": { "kustomize": { "path": "overlays/${cluster.labels.env}" } } });
    world.app("podinfo", spec).await;
    world.app("pre-post-sync", json!({})).await;

    let patterns = [
        ("bgd", "pattern1/bgd/overlays/bgd"),
        ("bgdk", "pattern1/bgd/overlays/bgdk"),
        ("project-1", "pattern3/dev-env/namespaces/project001"),
        ("project-2", "pattern3/dev-env/namespaces/project002"),
        ("httpbin", "pattern4/dev-env/apps/dev-httpbin-app"),
        ("dev-2", "pattern4/dev-env/namespaces/dev-project-002"),
        ("prod-3", "pattern4/prod-env/namespaces/prod-project-003"),
        ("pacman", "pattern4/prod-env/apps/prod-pacman-app"),
        ("parksmap", "pattern4/staging-env/apps/staging-parksmap-app"),
        (
            "staging-1",
            "pattern4/staging-env/namespaces/staging-project-001",
        ),
    ];
    for (name, path) in patterns {
        let spec = json!({
            "inputs": [{ "source": "repo", "path": format!("patterns/{path}") }],
            "dependsOn": [{ "app": "routes" }],
        });
        world.app(name, spec).await;
    }
    // of these two the real kustomize refuses the second as well
    let regions = json!([
        { "name": "dev", "clusters": { "names": ["one"] }, "kustomize": { "path": "envs/prod-us", "namespace": "dev" } },
        { "name": "eu", "clusters": { "names": ["two"] }, "kustomize": { "path": "envs/prod-eu" } },
    ]);
    let spec = json!({
        "inputs": [{ "source": "repo", "path": "patterns/pattern6" }], "overlays": regions,
    });
    world.app("welcome", spec).await;

    let all = ["routes", "boutique", "podinfo", "pre-post-sync"].into_iter();
    for name in all.chain(patterns.iter().map(|(name, _)| *name)) {
        world.healthy(name, &commit, 2).await;
    }
    let there = |cluster: &k8s_playground::Handle, kind, at| find(cluster, kind, at).is_some();
    let policies = ("networking.k8s.io", "networkpolicies");
    assert!(there(&one, policies, ("boutique", "frontend")));
    assert!(there(&one, DEPLOYMENTS, ("boutique", "loadgenerator")));
    assert!(!there(&two, DEPLOYMENTS, ("boutique", "loadgenerator")));
    assert!(there(&one, DEPLOYMENTS, ("dev", "frontend")));
    assert!(there(&two, DEPLOYMENTS, ("production", "frontend")));
    let guestbook = ("pre-post-sync", "pre-post-sync-kustomize-guestbook-ui");
    assert!(there(&one, DEPLOYMENTS, guestbook));
    assert!(there(
        &one,
        ("route.openshift.io", "routes"),
        ("bgd", "bgd")
    ));
    let bgdk = find(&two, DEPLOYMENTS, ("bgdk", "bgd")).expect("a Deployment");
    let colour = &bgdk["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"];
    assert_eq!(colour, "yellow");

    let healthy = |found: &Value| found["status"]["state"] == "Healthy";
    world.assignment("welcome", "one", "healthy", healthy).await;
    let parts = [
        "patterns/pattern6/variants/eu/kustomization.yaml:",
        "welcome-app",
    ];
    world.why_says("welcome", "two", &parts).await;
    world.end().await;
}
