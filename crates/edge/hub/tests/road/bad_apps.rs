//! What people get wrong in Git and in nouns: each is said with its place, and slows nobody else.

use serde_json::{Value, json};

use crate::world::{World, app_spec, condition, config_map, says, text, until};

struct Bad {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    more: Value,
    reason: &'static str,
    says: &'static [&'static str],
}

fn bad(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    reason: &'static str,
    says: &'static [&'static str],
) -> Bad {
    Bad {
        name,
        files,
        more: json!({}),
        reason,
        says,
    }
}

fn cases() -> Vec<Bad> {
    vec![
        bad(
            "unparsable",
            &[(
                "web.yaml",
                "apiVersion: v1\nkind: ConfigMap\n  metadata: {}\n",
            )],
            "RenderFailed",
            &["web.yaml:3:"],
        ),
        bad(
            "key-twice",
            &[(
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  k: '1'\n  k: '2'\n",
            )],
            "RenderFailed",
            &["a.yaml:6:3", "\"k\""],
        ),
        bad(
            "duplicates",
            &[
                (
                    "one.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n",
                ),
                (
                    "two.yaml",
                    "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n",
                ),
            ],
            "RenderFailed",
            &["two.yaml:3", "ConfigMap", "defined twice", "one.yaml:1"],
        ),
        bad(
            "kindless",
            &[(
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\napiVersion: v1\nmetadata: { name: b }\n",
            )],
            "RenderFailed",
            &["a.yaml:5", "kind"],
        ),
        bad(
            "nameless",
            &[("a.yaml", "apiVersion: v1\nkind: ConfigMap\ndata: {}\n")],
            "RenderFailed",
            &["a.yaml:1", "name"],
        ),
        bad(
            "of-two-renderers",
            &[
                ("kustomization.yaml", "resources: []\n"),
                ("Chart.yaml", "apiVersion: v2\nname: both\nversion: 1.0.0\n"),
            ],
            "RenderFailed",
            &["Chart.yaml and a kustomization", "spec.render"],
        ),
        bad(
            "kustomized",
            &[("kustomization.yaml", "resources: [gone.yaml]\n")],
            "RenderFailed",
            &["apps/kustomized/kustomization.yaml:1:13", "gone.yaml"],
        ),
        bad(
            "not-there",
            &[],
            "InputUnreadable",
            &["apps/not-there", "is not in commit"],
        ),
        bad(
            "linked-out",
            &[],
            "InputUnreadable",
            &[
                "apps/linked-out/passwd",
                "leaves the repository",
                "/etc/passwd",
            ],
        ),
        Bad {
            more: json!({ "inputs": [{ "source": "nowhere", "path": "x" }] }),
            ..bad(
                "sourceless",
                &[],
                "SourceMissing",
                &["no Source \"nowhere\"", "project \"default\""],
            )
        },
        Bad {
            more: json!({ "strategy": "boldly" }),
            ..bad(
                "aimless",
                &[(
                    "a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n",
                )],
                "StrategyMissing",
                &["boldly"],
            )
        },
        Bad {
            more: json!({ "dependsOn": [{ "app": "egg" }] }),
            ..bad("hen", &[], "DependencyCycle", &["hen", "egg"])
        },
        Bad {
            more: json!({ "dependsOn": [{ "app": "hen" }] }),
            ..bad("egg", &[], "DependencyCycle", &["hen", "egg"])
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_app_is_told_where_it_is_bad_and_slows_no_other() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    for case in cases() {
        for (file, content) in case.files {
            let path = format!("apps/{}/{file}", case.name);
            world.repository.write(&path, content);
        }
    }
    world
        .repository
        .link("apps/linked-out/passwd.yaml", "/etc/passwd");
    world
        .repository
        .write("apps/good/a.yaml", &config_map("a", "v1"));
    for case in cases() {
        world.app(case.name, case.more).await;
    }
    world.app("good", json!({})).await;
    let commit = world.push("good and bad").await;

    for case in cases() {
        let said = world.app_says(case.name, case.reason).await;
        says(&said, case.says);
        let app = world.get_app(case.name).await;
        assert_eq!(
            condition(&app, "Stalled")["status"],
            "True",
            "{}",
            case.name
        );
        says(&world.why(case.name, "").await, &[&said]);
    }
    world.healthy("good", &commit, 1).await;

    // what is mended goes on
    world
        .repository
        .write("apps/unparsable/web.yaml", &config_map("web", "v1"));
    world
        .repository
        .write("apps/good/a.yaml", &config_map("a", "v2"));
    let commit = world.push("mended").await;
    world.healthy("unparsable", &commit, 1).await;
    world.healthy("good", &commit, 1).await;

    // and what breaks again keeps what it has
    world
        .repository
        .write("apps/good/a.yaml", "apiVersion: v1\nkind: [\n");
    world.push("broken").await;
    says(&world.app_says("good", "RenderFailed").await, &["a.yaml:"]);
    let kept = |found: Option<&Value>| found.is_some_and(|found| found["data"]["key"] == "v2");
    world
        .object("one", ("", "configmaps"), ("good", "a"), kept)
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_cannot_be_read_says_so() {
    let mut world = World::start().await;
    world.join("one", json!({})).await;
    let missing = format!(
        "file://{}/no-such-repository",
        world.folder.path().display()
    );
    let url = world.repository.url();
    world.source("missing", &missing, "").await;
    world.source("branchless", &url, "no-such-branch").await;
    world
        .source("unreachable", "https://127.0.0.1:1/x.git", "")
        .await;
    world
        .repository
        .write("apps/good/a.yaml", &config_map("a", "v1"));
    let commit = world.push("good").await;
    world.app("good", json!({})).await;
    let cases: &[(&str, &[&str])] = &[
        ("missing", &["no Git repository", "no-such-repository"]),
        ("branchless", &["branch", "no-such-branch", "is not in"]),
        ("unreachable", &["127.0.0.1:1"]),
    ];
    for (name, parts) in cases {
        let inputs = json!({ "inputs": [{ "source": name, "path": "x" }] });
        world.app(&format!("of-{name}"), inputs).await;
        let path = format!("namespaces/default/sources/{name}");
        let said = until(
            &format!("Source {name} says that it cannot be read"),
            || async {
                let source = world.api.get(&path).await.expect("a Source");
                let ready = condition(&source, "Ready");
                let failed = ready["reason"] == "ReadFailed";
                failed
                    .then(|| text(&ready["message"]))
                    .ok_or(source["status"].to_string())
            },
        )
        .await;
        says(&said, parts);
        let said = world.app_says(&format!("of-{name}"), "SourceNotRead").await;
        says(&said, &[name]);
    }
    world.healthy("good", &commit, 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_noun_that_makes_no_sense_is_refused_by_field() {
    let world = World::start().await;
    let target = |selector: Value| json!([{ "name": "t", "clusters": { "selector": selector } }]);
    let near = |operator: &str| json!({ "matchExpressions": [{ "key": "ring", "operator": operator, "values": ["a"] }] });
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({ "colour": "red" }), &["spec.colour"]),
        (json!({ "sync": { "prun": true } }), &["spec.sync.prun"]),
        (
            json!({ "targets": target(near("Near")) }),
            &["operator", "Near"],
        ),
        (json!({ "targets": [] }), &["spec.targets"]),
        (json!({ "inputs": [] }), &["spec.inputs"]),
        (
            json!({ "inputs": [{ "source": "repo", "path": "../elsewhere" }] }),
            &["spec.inputs[0].path", "leaves the tree"],
        ),
        (json!({ "onLeave": "Burn" }), &["spec.onLeave", "Burn"]),
        (
            json!({ "sync": { "waitTimeout": "soon" } }),
            &["waitTimeout", "soon"],
        ),
    ];
    for (more, parts) in cases {
        let spec = app_spec("bad", more.clone());
        let refused = world.try_noun("apps", "App", "bad", spec).await;
        let refused = refused.expect_err(&format!("{more} is refused"));
        assert!([400, 422].contains(&refused.code), "{more}: {refused:?}");
        says(&refused.message, parts);
    }
    let strategy = json!({ "stages": [{ "name": "a", "waves": [{ "percent": 130 }] }] });
    let refused = world
        .try_noun("strategies", "Strategy", "bad", strategy)
        .await;
    says(
        &refused.expect_err("refused").message,
        &["spec.stages[0].waves[0].percent", "130"],
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_target_that_matches_nothing_is_said_and_nothing_happens() {
    let mut world = World::start().await;
    world.join("one", json!({ "ring": "main" })).await;
    world
        .repository
        .write("apps/nobody/a.yaml", &config_map("a", "v1"));
    world.push("for nobody").await;
    let target = json!([{ "name": "moon", "clusters": { "selector": { "matchLabels": { "ring": "moon" } } } }]);
    world.app("nobody", json!({ "targets": target })).await;
    let said = world.app_says("nobody", "NoClusters").await;
    says(&said, &["no cluster matches the targets"]);
    says(
        &world.why("nobody", "").await,
        &["no cluster matches the targets"],
    );
    says(
        &world.why("nobody", "one").await,
        &["no target of the App matches it"],
    );
    assert!(world.assignments("nobody").await.is_empty());
    // a cluster that matches later gets it
    world.label("one", json!({ "ring": "moon" })).await;
    world.healthy("nobody", "", 1).await;
    world.end().await;
}
