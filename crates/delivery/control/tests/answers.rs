//! What people are told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use base_json::Digest;
use roadstead_dispatch::AppState;
use roadstead_model::Key;
use roadstead_rollout::OutcomeKind;
use serde_json::json;
use world::{World, app, config, id};

fn ready(world: &World) -> String {
    let shown = world.shown(&app("web"));
    shown[0].status["conditions"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn why_tells_that_its_source_cannot_be_read() {
    let mut world = World::new();
    let clusters = world.fleet(1);
    world.app("web", &json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    let repo = Key::new("default", "repo");
    let problem = "https://git.example.com/fleet: connection refused";
    world.index.note_poll(&repo, Some(problem));
    let said = world.why(&app("web"), None);
    assert_eq!(
        said[1],
        "Source repo cannot be read now, so nothing newer comes from it: https://git.example.com/fleet: connection refused."
    );
    world.index.note_poll(&repo, None);
    assert_eq!(world.why(&app("web"), None).len(), 1);
    assert_eq!(ready(&world), "its only cluster is healthy");
}

#[test]
fn a_straggler_that_is_late_has_failed_and_is_counted() {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    world.cluster("late", "main");
    world.connect("late");
    world.settle();
    assert_eq!(world.ordered("late", &app("web")), Some(1));
    world.says_of("late", &app("web"), |state| state.state = AppState::Syncing);
    world.waits(599_000);
    let outcome = |world: &World| {
        let (assignment, _) = world.index.assignment(&id("late"), &app("web")).unwrap();
        assignment.outcome.clone()
    };
    assert_eq!(outcome(&world), None);
    assert!(world.wakes[&app("web")] <= world.now.plus_ms(1_000));
    world.waits(1_000);
    let failed = outcome(&world).expect("it is late");
    assert_eq!(failed.kind, OutcomeKind::Failed);
    assert_eq!(failed.reason, "not healthy within 10m: it is Syncing");
    assert_eq!(ready(&world), "2 of 3 clusters are healthy, 1 failed");
    // what failed may still come round
    world.obeys("late");
    world.settle();
    assert_eq!(outcome(&world).map(|o| o.kind), Some(OutcomeKind::Healthy));
}

#[test]
fn the_time_of_a_straggler_runs_from_when_it_is_back() {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    world.cluster("late", "main");
    world.connect("late");
    world.settle();
    world.disconnect("late");
    world.waits(3_600_000);
    world.connect("late");
    world.waits(60_000);
    let (assignment, _) = world.index.assignment(&id("late"), &app("web")).unwrap();
    assert_eq!(assignment.outcome, None);
}

#[test]
fn a_strategy_that_was_renamed_is_missed_by_name_and_stops_nothing() {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.settle();
    world.delete("n/roadstead.dev/strategies/default/waves");
    let spec = json!({"stages": [{"name": "all"}]});
    world.noun(
        "strategies",
        "Strategy",
        "default",
        "rings",
        &json!({}),
        &spec,
    );
    // what is under way goes on
    world.delivers(&clusters);
    assert_eq!(world.ordered("c1", &app("web")), Some(1));
    world.git("web", &[("a.yaml", config("a", "2"))]);
    world.settle();
    assert_eq!(
        world.why(&app("web"), None)[0],
        "default/web: strategy \"waves\" is neither in project \"default\" nor in \"default\": there is rings; what is \
         under way goes on with the one that it began with."
    );
    let releases: Vec<Digest> = world.index.releases(&app("web")).map(|r| r.id).collect();
    world.app("web", &json!({"strategy": "rings"}));
    world.delivers(&clusters);
    assert_eq!(world.ordered("c1", &app("web")), Some(2));
    let now: Vec<Digest> = world.index.releases(&app("web")).map(|r| r.id).collect();
    assert_eq!(now, releases, "another Strategy makes no other Release");
}

#[test]
fn pages_of_assignments_hold_each_once_and_count_the_rest() {
    let mut world = World::new();
    let clusters = world.fleet(7);
    for name in ["web", "web-1", "api"] {
        world.app(name, &json!({}));
        world.git(name, &[("a.yaml", config(name, "1"))]);
    }
    world.delivers(&clusters);
    let all = roadstead_control::assignments(&world.index, world.now);
    assert_eq!(all.len(), 21);
    for limit in [1, 2, 5, 7, 20, 21, 50] {
        let (mut read, mut after) = (Vec::new(), String::new());
        loop {
            let page = roadstead_control::assignment_page(
                &world.index,
                "default",
                &after,
                limit,
                world.now,
            );
            assert!(page.views.len() <= limit);
            read.extend(page.views);
            assert_eq!(page.remaining, all.len() - read.len(), "limit {limit}");
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(read, all, "limit {limit}");
    }
    let other = roadstead_control::assignment_page(&world.index, "other", "", 5, world.now);
    assert_eq!(other, Default::default());
}

fn condition(world: &World, cluster: &str, kind: &str) -> Option<(String, String)> {
    let shown = world
        .index
        .project_cluster(&id(cluster), world.now)
        .unwrap();
    let conditions = shown.status["conditions"].as_array().cloned().unwrap();
    let found = conditions.iter().find(|known| known["type"] == kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("message")))
}

#[test]
fn a_cluster_of_another_version_and_a_clock_that_is_wrong_are_warned_of() {
    let mut world = World::new();
    world.fleet(2);
    let says = |world: &mut World, version: &str, clock: i64| {
        let report = roadstead_dispatch::Report {
            facts: Some(roadstead_dispatch::AgentFacts {
                kubernetes_version: version.to_owned(),
                ..roadstead_dispatch::AgentFacts::default()
            }),
            clock: Some(roadstead_model::Time(world.now.0 + clock)),
            ..roadstead_dispatch::Report::default()
        };
        let ops = roadstead_control::ingest(&world.index, &id("c1"), &report, world.now);
        let wrote = !ops.is_empty();
        world.commit(ops);
        wrote
    };
    for version in ["v1.31.0", "v1.36.3", "v1.35.2-eks-1", ""] {
        says(&mut world, version, 59_000);
        assert_eq!(condition(&world, "c1", "VersionSkew"), None, "{version}");
        assert_eq!(condition(&world, "c1", "ClockSkew"), None);
    }
    for (version, word) in [
        ("v1.30.14", "older"),
        ("v1.37.0-alpha.1", "newer"),
        ("v2.0.0", "newer"),
    ] {
        says(&mut world, version, 0);
        let (status, message) = condition(&world, "c1", "VersionSkew").unwrap();
        assert_eq!(status, "True");
        assert!(
            message.contains(version) && message.contains(word) && message.contains("works on"),
            "{message}"
        );
    }
    for (clock, words) in [(601_000, "10m00s ahead of"), (-605_000, "10m00s behind")] {
        assert!(says(&mut world, "v1.36.0", clock));
        let (status, message) = condition(&world, "c1", "ClockSkew").unwrap();
        assert_eq!(status, "True");
        assert!(message.contains(words), "{message}");
        // no report costs a write by itself
        assert!(!says(&mut world, "v1.36.0", clock + 9_000));
    }
    let (status, _) = condition(&world, "c1", "Ready").unwrap();
    assert_eq!(status, "True", "it works on");
    says(&mut world, "v1.36.0", 100);
    assert_eq!(condition(&world, "c1", "ClockSkew"), None);
}

#[test]
fn an_agent_that_cannot_keep_its_records_is_shown_until_it_can() {
    let mut world = World::new();
    world.fleet(2);
    let says = |world: &mut World, unkept: Option<&str>| {
        let report = roadstead_dispatch::Report {
            unkept: unkept.map(str::to_owned),
            ..roadstead_dispatch::Report::default()
        };
        let ops = roadstead_control::ingest(&world.index, &id("c1"), &report, world.now);
        world.commit(ops);
        condition(world, "c1", "Ready").unwrap()
    };
    let full = "failed to write \"/var/lib/x\": No space left on device";
    let (status, message) = says(&mut world, Some(full));
    assert_eq!(status, "False");
    assert!(
        message.contains(full) && message.contains("stays as it is"),
        "{message}"
    );
    assert_eq!(says(&mut world, Some("")).0, "True");
    says(&mut world, Some(full));
    assert_eq!(says(&mut world, None).0, "True");
}

#[test]
fn a_commit_that_goes_back_is_the_one_that_is_shown() {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    let number = |commits: u32| format!("{commits:040x}");
    let shown = |world: &World| {
        let web = app("web");
        let releases = world.index.releases(&web);
        let all: Vec<String> = releases.map(|record| record.commit.clone()).collect();
        all
    };
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    world.git("web", &[("a.yaml", config("a", "2"))]);
    world.delivers(&clusters);
    let first = shown(&world);
    // a commit that changes nothing of the App is none of its
    world.git("other", &[("a.yaml", config("a", "9"))]);
    world.delivers(&clusters);
    assert_eq!(shown(&world), first);
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    let commits = world.commits;
    assert_eq!(shown(&world), [number(commits), first[1].clone()]);
    assert_eq!(world.ordered("c1", &app("web")), Some(1));
    world.git("other", &[("a.yaml", config("a", "10"))]);
    world.delivers(&clusters);
    assert_eq!(shown(&world)[0], number(commits));
}
