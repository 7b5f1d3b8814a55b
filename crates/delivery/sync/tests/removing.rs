//! What is removed, what waits for approval, and what is left to others.

mod common;

use base_json::json;
use common::{World, app, config, deployment, id, item};
use roadstead_dispatch::{AppState, EntryPhase, ProblemKind};

const CONFIG: &str = "/ConfigMap/shop/a";
const WEB: &str = "apps/Deployment/shop/web";

fn shop() -> (World, roadstead_dispatch::Entry) {
    let mut world = World::default();
    let entry = world.deliver(
        "shop",
        vec![item(config("a", "1")), item(deployment("web", "i:1"))],
    );
    world.expect("shop", AppState::Healthy);
    (world, entry)
}

#[test]
fn removes_by_tombstone_only_and_when_all_else_is_healthy() {
    let (mut world, _) = shop();
    // absence removes nothing
    world.deliver("shop", vec![item(deployment("web", "i:1"))]);
    assert!(world.live(CONFIG).is_some());
    assert_eq!(
        world.state("shop").inventory.objects.as_ref().map(Vec::len),
        Some(2)
    );
    world.controllers = false;
    let mut entry = world.entry(vec![item(deployment("web", "i:2"))]);
    entry.tombstones = vec![id(CONFIG)];
    world.set("shop", entry);
    world.run(5_000);
    assert!(world.live(CONFIG).is_some(), "{:?}", world.state("shop"));
    world.controllers = true;
    world.run(5_000);
    assert!(world.live(CONFIG).is_none());
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.state("shop").inventory.objects, None);
}

#[test]
fn does_not_remove_what_is_not_ours() {
    let (mut world, _) = shop();
    let copy = "/ConfigMap/shop/copy";
    let mut object = config("copy", "1");
    object["metadata"]["annotations"] = json!({"roadstead.dev/owner": "p/shop:/ConfigMap/shop/a"});
    world.fake.put(object);
    let mut entry = world.entry(vec![item(deployment("web", "i:1"))]);
    entry.tombstones = vec![id(copy), id(CONFIG)];
    world.set("shop", entry);
    world.run(5_000);
    assert!(world.live(copy).is_some());
    assert!(world.live(CONFIG).is_none());
    world.expect("shop", AppState::Healthy);
}

#[test]
fn waits_for_approval_beyond_the_budget() {
    let mut world = World::default();
    let names = ["a", "b", "c", "d", "e"];
    world.deliver(
        "shop",
        names.iter().map(|name| item(config(name, "1"))).collect(),
    );
    let mut entry = world.entry(vec![item(config("e", "1"))]);
    entry.tombstones = names[..4]
        .iter()
        .map(|name| id(&format!("/ConfigMap/shop/{name}")))
        .collect();
    world.set("shop", entry.clone());
    world.run(5_000);
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.state("shop").awaiting_approval, entry.tombstones);
    assert_eq!(world.fake.deletes, []);
    entry.approved = entry.tombstones.clone();
    world.set("shop", entry);
    world.run(5_000);
    assert_eq!(world.fake.deletes.len(), 4);
    assert!(world.state("shop").awaiting_approval.is_empty());
}

#[test]
fn going_back_removes_what_the_failed_release_made() {
    let (mut world, good) = shop();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"}, "spec": {}});
    let mut items: Vec<_> = (0..6)
        .map(|n| item(config(&format!("new{n}"), "1")))
        .collect();
    items.push(item(config("a", "1")));
    items.push(item(deployment("web", "i:bad")));
    items.push(item(claim));
    world.deliver("shop", items);
    world.expect("shop", AppState::Degraded);
    let mut back = good;
    back.phase = EntryPhase::Revert;
    back.tombstones = (0..6)
        .map(|n| id(&format!("/ConfigMap/shop/new{n}")))
        .collect();
    back.tombstones.push(id("/PersistentVolumeClaim/shop/data"));
    world.set("shop", back);
    world.run(10_000);
    world.expect("shop", AppState::Healthy);
    let report = world.state("shop");
    assert_eq!(world.fake.deletes.len(), 6);
    assert_eq!(report.left_over.len(), 1, "{report:?}");
    assert!(world.live("/PersistentVolumeClaim/shop/data").is_some());
}

#[test]
fn tells_which_finalizers_keep_an_object() {
    let (mut world, _) = shop();
    world.fake.finalized.insert(id(CONFIG));
    let mut entry = world.entry(vec![item(deployment("web", "i:1"))]);
    entry.tombstones = vec![id(CONFIG)];
    world.set("shop", entry);
    world.run(5_000);
    world.expect("shop", AppState::Syncing);
    world.run(700_000);
    let report = world.state("shop");
    assert_eq!(report.problems[0].kind, ProblemKind::Remove);
    assert!(report.problems[0].message.contains("example.org/keep"));
    assert_eq!(world.fake.deletes.len(), 1);
    world.fake.take(&id(CONFIG));
    world.run(10_000);
    world.expect("shop", AppState::Healthy);
}

#[test]
fn lets_go_of_an_app_that_the_order_no_longer_names() {
    let (mut world, _) = shop();
    world.fake.writes.clear();
    world.entries.clear();
    world.sequence += 1;
    world.order();
    world.run(5_000);
    assert_eq!(world.gone, [app("shop")]);
    world.fake.take(&id(CONFIG));
    world.run(5_000);
    assert!(world.live(WEB).is_some());
    assert_eq!(world.fake.writes, Vec::<String>::new());
}

#[test]
fn releases_objects_without_removing_them() {
    let (mut world, mut entry) = shop();
    entry.phase = EntryPhase::Release;
    world.set("shop", entry);
    world.run(5_000);
    world.expect("shop", AppState::Gone);
    for object in [CONFIG, WEB] {
        let object = world.live(object).expect("kept");
        assert!(k8s_object::label(object, "roadstead.dev/app").is_none());
        assert!(k8s_object::annotation(object, "roadstead.dev/owner").is_none());
    }
}

#[test]
fn removes_an_app() {
    let (mut world, mut entry) = shop();
    entry.phase = EntryPhase::Remove;
    entry.tombstones = vec![id(CONFIG), id(WEB)];
    world.set("shop", entry);
    world.run(5_000);
    world.expect("shop", AppState::Gone);
    // workloads go before what they read
    assert_eq!(world.fake.deletes, [id(WEB), id(CONFIG)]);
    assert!(world.live("/Namespace//shop").is_some());
}

#[test]
fn leaves_the_objects_of_others() {
    let mark = |owner: &str| {
        let mut object = config("a", "theirs");
        object["metadata"]["annotations"] = json!({"roadstead.dev/owner": owner});
        object
    };
    let mut helm = config("a", "theirs");
    helm["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "web"});
    for (there, taken, text) in [
        (mark("p/first:/ConfigMap/shop/a"), false, "App p/first"),
        (mark("p/old:/ConfigMap/shop/a"), true, ""),
        (mark("p/first:/ConfigMap/shop/b"), true, ""),
        (helm, false, "Helm release"),
        (config("a", "theirs"), true, ""),
    ] {
        let mut world = World::default();
        world
            .fake
            .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        world.fake.put(there.clone());
        let mut entry = world.entry(vec![item(config("a", "ours"))]);
        entry.takes_over_from = vec![app("old")];
        world.set("shop", entry);
        world.run(5_000);
        let value = world.live(CONFIG).expect("there")["data"]["k"].clone();
        assert_eq!(value == "ours", taken, "{there}");
        let report = world.state("shop");
        if !taken {
            assert_eq!(
                (report.state, report.problems[0].kind),
                (AppState::Failed, ProblemKind::Owner)
            );
            assert!(report.message.contains(text), "{}", report.message);
        }
    }
}

#[test]
fn two_apps_that_own_one_object() {
    let (mut world, _) = shop();
    world.deliver("other", vec![item(config("a", "2"))]);
    world.expect("other", AppState::Failed);
    assert!(
        world
            .state("other")
            .message
            .contains("belongs to App p/shop"),
        "{:?}",
        world.state("other")
    );
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
}

#[test]
fn the_first_removal_of_an_adopted_object_waits_for_approval() {
    let mut world = World::default();
    world
        .fake
        .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    world.fake.put(config("a", "theirs"));
    world.deliver("shop", vec![item(config("a", "1")), item(config("b", "1"))]);
    let mut entry = world.entry(vec![item(config("b", "1"))]);
    entry.tombstones = vec![id(CONFIG)];
    world.set("shop", entry);
    world.run(5_000);
    assert_eq!(world.state("shop").awaiting_approval, [id(CONFIG)]);
    assert!(world.live(CONFIG).is_some());
}
