//! What somebody approves is one exact list.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use k8s_object::ObjectId;
use roadstead_control::{Command, leaving, removals};
use roadstead_dispatch::EntryPhase;
use serde_json::json;
use world::{World, app, config, id};

fn objects(names: &[&str]) -> Vec<ObjectId> {
    let all = names.iter().map(|name| format!("/ConfigMap/shop/{name}"));
    all.map(|text| text.parse().unwrap()).collect()
}

/// Five ConfigMaps, then one: four removals wait in c0 and c1, as their agents say.
fn four_wait() -> World {
    let mut world = World::new();
    let clusters = world.fleet(3);
    world.app("web", &json!({"strategy": ""}));
    let five = ["a", "b", "c", "d", "e"].map(|name| (name, config(name, "1")));
    let files: Vec<(String, String)> = five
        .iter()
        .map(|(name, text)| (format!("{name}.yaml"), text.clone()))
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
    world.git("web", &files);
    world.delivers(&clusters);
    world.git("web", &files[..1]);
    world.settle();
    world
}

fn waits(world: &mut World, cluster: &str, names: &[&str]) {
    let waiting = objects(names);
    let held = objects(&["a", "b", "c", "d", "e"]);
    world.says_of(cluster, &app("web"), |state| {
        state.awaiting_approval = waiting;
        state.inventory.objects = Some(held);
    });
}

fn approved(world: &World, cluster: &str) -> usize {
    world.orders[&id(cluster)][&app("web")].approved.len()
}

#[test]
fn one_approval_covers_one_releases_exact_list_over_all_clusters() {
    let mut world = four_wait();
    // the first wave is one cluster
    let first = world
        .orders
        .iter()
        .find(|(_, order)| {
            world
                .index
                .release(&app("web"), &order[&app("web")].release)
                .unwrap()
                .number
                == 2
        })
        .map(|(id, _)| id.0.trim_start_matches("id-").to_owned())
        .unwrap();
    waits(&mut world, &first, &["b", "c", "d", "e"]);
    assert_eq!(approved(&world, &first), 0);
    let lists = removals(&world.index, &app("web"));
    assert_eq!((lists.len(), lists[0].number, lists[0].clusters), (1, 2, 1));
    let list = Some(lists[0].digest.short());
    world
        .command(&app("web"), &Command::ApproveRemovals { list })
        .unwrap();
    assert_eq!(approved(&world, &first), 4);
    assert!(removals(&world.index, &app("web")).is_empty());
    // the next wave: the same list is covered, a longer one is not, not even in part
    let others: Vec<String> = ["c0", "c1", "c2"]
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| *name != first)
        .collect();
    for _ in 0..3 {
        world.obeys(&first);
        world.waits(2_000);
    }
    let second = others
        .iter()
        .find(|name| world.ordered(name, &app("web")) == Some(2))
        .expect("the next wave")
        .clone();
    assert_eq!(
        approved(&world, &second),
        0,
        "nobody has said that it waits there"
    );
    waits(&mut world, &second, &["a", "b", "c", "d", "e"]);
    assert_eq!(approved(&world, &second), 0, "a longer list waits again");
    waits(&mut world, &second, &["b", "c", "d", "e"]);
    assert_eq!(approved(&world, &second), 4);
}

#[test]
fn a_list_that_changed_since_it_was_seen_is_not_approved() {
    let mut world = four_wait();
    let first = world
        .orders
        .iter()
        .find(|(_, order)| {
            world
                .index
                .release(&app("web"), &order[&app("web")].release)
                .unwrap()
                .number
                == 2
        })
        .map(|(id, _)| id.0.trim_start_matches("id-").to_owned())
        .unwrap();
    waits(&mut world, &first, &["b", "c", "d", "e"]);
    let seen = removals(&world.index, &app("web"))[0].digest.short();
    waits(&mut world, &first, &["a", "b", "c", "d", "e"]);
    let stale = Command::ApproveRemovals { list: Some(seen) };
    let refused = world.command(&app("web"), &stale).unwrap_err().to_string();
    assert!(
        refused.starts_with("what would be removed changed since: it is list "),
        "{refused}"
    );
    assert_eq!(approved(&world, &first), 0);
}

#[test]
fn an_approved_leaving_is_of_these_clusters_and_no_others() {
    let mut world = World::new();
    let clusters = world.fleet(4);
    let ring = json!([{"name": "main", "clusters": {"selector": {"matchLabels": {"in": "yes"}}}}]);
    for name in &clusters {
        world.cluster_with(name, &json!({"ring": "main", "in": "yes"}), &json!({}));
    }
    world.app("web", &json!({"targets": ring, "strategy": ""}));
    world.git("web", &[("a.yaml", config("a", "1"))]);
    world.delivers(&clusters);
    for name in ["c1", "c2"] {
        world.cluster_with(name, &json!({"ring": "main"}), &json!({}));
    }
    world.settle();
    let (reason, message) = world.waiting[&app("web")].clone();
    let seen = leaving(&mut world.index, &app("web"))
        .digest
        .unwrap()
        .short();
    assert_eq!(reason, "AwaitingApproval");
    assert_eq!(
        message,
        format!(
            "2 clusters would be left (c1, c2): approve list {seen}, or change the targets back"
        )
    );
    // a third one goes before anybody approves
    world.cluster_with("c3", &json!({"ring": "main"}), &json!({}));
    world.settle();
    let stale = Command::ApproveLeaving { list: Some(seen) };
    let refused = world.command(&app("web"), &stale).unwrap_err().to_string();
    assert!(
        refused.contains("the list of clusters changed since"),
        "{refused}"
    );
    let now = leaving(&mut world.index, &app("web"))
        .digest
        .unwrap()
        .short();
    let list = Some(now);
    world
        .command(&app("web"), &Command::ApproveLeaving { list })
        .unwrap();
    let phase = |name: &str| world.orders[&id(name)][&app("web")].phase;
    assert_eq!(phase("c0"), EntryPhase::Deliver);
    assert!(
        ["c1", "c2", "c3"]
            .iter()
            .all(|name| phase(name) == EntryPhase::Release)
    );
}
