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
