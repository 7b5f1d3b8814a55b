//! A hub that came back from a backup that is older than what its agents hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use roadstead_control::{Command, going_back};
use roadstead_rollout::Phase;
use world::{World, app, config, id};

/// Release 1 everywhere; the backup; then Release 2 everywhere. The hub comes back from the backup.
fn restored() -> (World, Vec<String>) {
    let mut world = World::new();
    let clusters = world.fleet(3);
    world.app("web", &serde_json::json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    let backup = world.facts.clone();
    world.git("web", &[("a.yaml", config("a", "2"))]);
    world.delivers(&clusters);
    assert_eq!(world.ordered("c2", &app("web")), Some(2));
    world.now = world.now.plus_ms(60_000);
    world.starts_from(backup, 2);
    world.settle();
    (world, clusters)
}

#[test]
fn nothing_is_ordered_until_the_agent_has_said_what_it_holds() {
    let (mut world, _) = restored();
    world.connect("c1");
    world.settle();
    assert!(world.orders.is_empty(), "{:?}", world.orders);
    assert!(world.index.awaits_inventory(&id("c1")));
    let shown = world.index.project_cluster(&id("c1"), world.now).unwrap();
    assert_eq!(shown.status["conditions"][0]["reason"], "AwaitingInventory");
    assert_eq!(
        world.why(&app("web"), Some("c1"))[0],
        "c1 gets no order: its agent has not said what it holds since the hub was restored from a backup."
    );
    world.comes_back("c1");
    assert_eq!(world.orders.len(), 1);
    // what is new since has nothing to say, and says so
    world.cluster("new", "main");
    world.connect("new");
    world.settle();
    assert!(!world.orders.contains_key(&id("new")));
    world.says("new", Default::default(), true);
    world.settle();
    assert_eq!(world.ordered("new", &app("web")), Some(1));
}

#[test]
fn a_cluster_keeps_what_is_newer_until_git_brings_it_again() {
    let (mut world, clusters) = restored();
    let held = world.held[&id("c2")][&app("web")].clone();
    clusters.iter().for_each(|name| world.comes_back(name));
    let entry = &world.orders[&id("c2")][&app("web")];
    assert_eq!((entry.release, entry.variant), (held.release, held.variant));
    assert!(entry.tombstones.is_empty());
    assert_eq!(world.waiting[&app("web")].0, "AwaitingApproval");
    let said = &world.why(&app("web"), Some("c2"));
    assert!(
        said[0].starts_with("c2 keeps a newer Release of default/web than this restored hub knows"),
        "{said:?}"
    );
    let shown = world.index.project_cluster(&id("c2"), world.now).unwrap();
    assert_eq!(shown.status["conditions"][0]["reason"], "HoldsNewer");
    // Git still has it: the Release comes to be the same again, and nobody ever went back
    world.poll();
    for _ in 0..20 {
        world.settle();
        for name in &clusters {
            assert_eq!(
                world.orders[&id(name)][&app("web")].release,
                held.release,
                "{name} goes back"
            );
            world.obeys(name);
        }
        world.now = world.now.plus_ms(1_000);
    }
    let rollout = world.index.rollouts(&app("web")).next_back().unwrap();
    assert_eq!((rollout.number, rollout.phase), (2, Phase::Completed));
    assert!(world.waiting.is_empty(), "{:?}", world.waiting);
    assert!(world.keys("d/ahead/").is_empty());
}

#[test]
fn something_newer_needs_no_leave_and_going_back_does() {
    let (mut world, clusters) = restored();
    clusters.iter().for_each(|name| world.comes_back(name));
    let waiting = going_back(&world.index, &app("web"));
    assert_eq!(waiting.clusters.len(), 3);
    let stale = Command::ApproveGoingBack {
        list: Some("0123456789".to_owned()),
    };
    let refused = world.command(&app("web"), &stale).unwrap_err();
    assert!(refused.to_string().contains("changed since"), "{refused}");
    let list = waiting.digest.map(|digest| digest.short());
    world
        .command(&app("web"), &Command::ApproveGoingBack { list })
        .unwrap();
    assert_eq!(world.ordered("c2", &app("web")), Some(1));
    assert!(world.waiting.is_empty(), "{:?}", world.waiting);

    let (mut world, clusters) = restored();
    clusters.iter().for_each(|name| world.comes_back(name));
    world.git("web", &[("a.yaml", config("a", "3"))]);
    world.delivers(&clusters);
    assert!(
        clusters
            .iter()
            .all(|name| world.ordered(name, &app("web")) == Some(2))
    );
    assert!(world.keys("d/ahead/").is_empty());
}

/// Two clusters that hold an App, and a hub whose backup is from before it.
fn unknown() -> (World, Vec<String>) {
    let mut world = World::new();
    let clusters = world.fleet(2);
    let backup = world.facts.clone();
    world.app("web", &serde_json::json!({}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    world.starts_from(backup, 2);
    clusters.iter().for_each(|name| world.comes_back(name));
    (world, clusters)
}

#[test]
fn an_app_that_the_backup_does_not_know_is_kept() {
    let (mut world, clusters) = unknown();
    let held = world.held[&id("c1")][&app("web")].clone();
    // an App that an order does not name would be let go of
    assert_eq!(world.orders[&id("c1")][&app("web")].variant, held.variant);
    world.app("web", &serde_json::json!({}));
    world.poll();
    world.delivers(&clusters);
    assert_eq!(world.orders[&id("c1")][&app("web")].release, held.release);
    assert!(world.keys("d/ahead/").is_empty());
}

#[test]
fn an_app_that_the_backup_does_not_know_can_be_let_go() {
    let (mut world, clusters) = unknown();
    let list = going_back(&world.index, &app("web")).digest.unwrap();
    let shown = world.index.project_cluster(&id("c1"), world.now).unwrap();
    let said = shown.status["conditions"][0]["message"].to_string();
    let way = format!(
        "`roadstead rollout approve default/web --going-back --list {}`",
        list.short()
    );
    assert!(said.contains(&way), "{said}");
    assert!(
        world.why(&app("web"), None)[0].contains(&way),
        "{:?}",
        world.why(&app("web"), None)
    );
    let done = world.command(
        &app("web"),
        &Command::ApproveGoingBack {
            list: Some(list.short()),
        },
    );
    assert_eq!(
        done.unwrap(),
        "default/web, which this hub does not know, is let go of by 2 clusters; its objects stay as they are"
    );
    world.settle();
    for name in &clusters {
        assert!(
            world.orders[&id(name)].is_empty(),
            "{:?}",
            world.orders[&id(name)]
        );
        world.obeys(name);
        let shown = world.index.project_cluster(&id(name), world.now).unwrap();
        assert_eq!(shown.status["conditions"][0]["reason"], "Connected");
    }
    assert!(world.keys("d/ahead/").is_empty());
}

#[test]
fn what_the_backup_says_that_a_cluster_holds_is_no_ground_for_removing() {
    let (mut world, _) = restored();
    // the agent has lost everything
    world.connect("c1");
    world.says("c1", Default::default(), true);
    world.settle();
    assert!(world.index.observed(&id("c1"), &app("web")).is_none());
    assert!(world.orders[&id("c1")][&app("web")].tombstones.is_empty());
}
