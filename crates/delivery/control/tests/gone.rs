//! What is left of things that are gone: nothing that anybody would take for alive.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use roadstead_control::Command;
use roadstead_model::{Hold, HoldMode};
use serde_json::json;
use world::{World, app, config, id};

fn hold(world: &mut World, cluster: &str, until: Option<roadstead_model::Time>) {
    let hold = Hold {
        mode: HoldMode::Sync,
        actor: String::new(),
        reason: String::new(),
        until,
    };
    let cluster = cluster.to_owned();
    world
        .command(&app("web"), &Command::Hold { cluster, hold })
        .unwrap();
}

fn delivered() -> (World, Vec<String>) {
    let mut world = World::new();
    let clusters = world.fleet(2);
    world.app("web", &json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    (world, clusters)
}

/// Writes the nouns that the hub makes, as its API server does.
fn shows(world: &mut World) {
    for shown in world.shown(&app("web")) {
        let key = format!(
            "n/roadstead.dev/{}/{}/{}",
            shown.plural, shown.namespace, shown.name
        );
        if shown.gone {
            world.delete(&key);
        } else if let Some(spec) = shown.spec {
            world.put(
                &key,
                &json!({"metadata": {"name": shown.name}, "spec": spec}),
            );
        }
    }
}

#[test]
fn nothing_is_left_of_a_deleted_app_but_its_history_and_its_count() {
    let (mut world, clusters) = delivered();
    hold(&mut world, "c1", None);
    shows(&mut world);
    assert_eq!(world.keys("n/roadstead.dev/rollouts/").len(), 1);
    world.delete("n/roadstead.dev/apps/default/web");
    world.settle();
    world
        .command(&app("web"), &Command::ApproveLeaving { list: None })
        .unwrap();
    world.delivers(&clusters);
    shows(&mut world);
    for prefix in [
        "d/assigned/",
        "d/observed/",
        "d/release/",
        "d/rollout/",
        "d/approval/",
        "d/hold/",
        "n/roadstead.dev/releases/",
        "n/roadstead.dev/rollouts/",
    ] {
        assert!(
            world.keys(prefix).is_empty(),
            "{prefix}: {:?}",
            world.keys(prefix)
        );
    }
    assert!(!world.keys("h/default/web/").is_empty());
    // one of the same name counts on, so that no noun and no history is taken for another's
    world.app("web", &json!({}));
    world.delivers(&clusters);
    let numbers: Vec<u64> = world
        .index
        .rollouts(&app("web"))
        .map(|r| r.number)
        .collect();
    assert_eq!(numbers, [2]);
    let shown = world.shown(&app("web"));
    assert!(
        shown
            .iter()
            .any(|p| p.plural == "releases" && p.name == "web-2")
    );
}

#[test]
fn nouns_of_releases_that_were_swept_go() {
    let (mut world, clusters) = delivered();
    for n in 0..25 {
        world.git("web", &[("a.yaml", config("a", &format!("v{n}")))]);
        world.delivers(&clusters);
        shows(&mut world);
    }
    let releases = world.keys("n/roadstead.dev/releases/");
    assert!((20..=21).contains(&releases.len()), "{releases:?}");
    assert!(!releases.contains("n/roadstead.dev/releases/default/web-1"));
    assert_eq!(releases.len(), world.keys("d/release/").len());
    assert_eq!(
        world.keys("n/roadstead.dev/rollouts/").len(),
        world.keys("d/rollout/").len()
    );
}

#[test]
fn nothing_hangs_on_a_cluster_that_is_no_more() {
    let (mut world, _) = delivered();
    hold(&mut world, "c1", None);
    world.delete("n/roadstead.dev/clusters/c1");
    world.disconnect("c1");
    world.settle();
    for key in [
        "d/seen/id-c1",
        "d/hold/id-c1/default/web",
        "d/assigned/id-c1/default/web",
        "d/observed/id-c1/default/web",
    ] {
        assert!(!world.facts.contains_key(key), "{key}");
    }
    assert!(world.facts.contains_key("d/seen/id-c0"));
}

#[test]
fn a_hold_that_ends_wakes_its_app_and_goes() {
    let (mut world, clusters) = delivered();
    let until = world.now.plus_ms(60_000);
    hold(&mut world, "c1", Some(until));
    world.git("web", &[("a.yaml", config("a", "2"))]);
    for _ in 0..5 {
        clusters.iter().for_each(|name| world.obeys(name));
        world.waits(2_000);
    }
    assert_eq!(world.ordered("c1", &app("web")), Some(1), "it is on hold");
    assert_eq!(world.wakes.get(&app("web")), Some(&until));
    world.now = until;
    world.settle();
    assert!(world.keys("d/hold/").is_empty());
    world.delivers(&clusters);
    assert_eq!(world.ordered("c1", &app("web")), Some(2));
    let told = world.keys("h/default/web/").iter().any(|key| {
        let text = String::from_utf8_lossy(&world.facts[key].0).into_owned();
        text.contains("the hold on cluster c1 has ended by itself")
    });
    assert!(told);
}

#[test]
fn a_noun_that_cannot_be_read_takes_nothing_away() {
    let (mut world, _) = delivered();
    let before = world.orders.clone();
    let facts = world.keys("d/");
    for key in [
        "n/roadstead.dev/apps/default/web",
        "n/roadstead.dev/clusters/c1",
        "n/roadstead.dev/projects/default",
    ] {
        let damaged = json!({"spec": {"nonsense": true}});
        let value = serde_json::to_vec(&damaged).unwrap();
        world.revision += 1;
        let at = base_store::Revision(world.revision);
        world.index.apply_entry(key, Some(&value), at);
        assert_eq!(world.index.take_problems().len(), 1, "{key}");
        world.index.mark(&app("web"));
        world.settle();
    }
    assert_eq!(world.orders, before);
    assert_eq!(world.keys("d/"), facts);
    assert!(
        world.waiting[&app("web")].1.contains("cannot be read"),
        "{:?}",
        world.waiting
    );
    assert_eq!(world.orders[&id("c1")].len(), 1);
}
