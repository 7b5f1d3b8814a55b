//! What a step costs when an App has many objects.

mod common;

use common::{World, app, config, deployment, item};
use roadstead_dispatch::{AppState, EntryPhase};

const MANY: usize = 5_000;

fn name(number: usize) -> String {
    format!("c{number:04}")
}

fn items(changed: &str) -> Vec<common::Item> {
    let maps = (0..MANY - 20).map(|number| {
        let value = if number == 7 { changed } else { "1" };
        item(config(&name(number), value)).wave(i32::try_from(number % 3).expect("small"))
    });
    let pods = (0..20).map(|number| item(deployment(&name(number), "i:1")).wave(1));
    maps.chain(pods).collect()
}

/// Runs until the App stands as it should, and returns how often objects were looked at meanwhile.
fn cost(world: &mut World, state: AppState) -> u64 {
    let before = world.machine.visits();
    world.run(60_000);
    world.expect("many", state);
    world.machine.visits() - before
}

#[test]
fn a_step_costs_what_changed() {
    let mut world = World::default();
    let many = u64::try_from(MANY).expect("small");
    let entry = world.entry(items("1"));
    world.set("many", entry);
    let first = cost(&mut world, AppState::Healthy);
    assert!(first < 16 * many, "the first sync took {first} looks");
    assert_eq!(world.fake.objects.len(), MANY + 1, "all, and a namespace");
    assert!(world.fake.reads < 100, "{} reads", world.fake.reads);
    let writes = world.fake.writes.len();

    // nothing changes
    let quiet = cost(&mut world, AppState::Healthy);
    assert_eq!((quiet, world.fake.writes.len()), (0, writes));

    // one object changes
    let entry = world.entry(items("2"));
    world.set("many", entry);
    let commit = cost(&mut world, AppState::Healthy);
    assert!(commit < 8 * many, "a commit took {commit} looks");
    assert_eq!(world.fake.writes.len(), writes + 1);

    // somebody removes one
    world.fake.take(&common::id("/ConfigMap/shop/c0009"));
    let heal = cost(&mut world, AppState::Healthy);
    assert!(heal < 20, "one object took {heal} looks");
    assert_eq!(world.fake.writes.len(), writes + 2);

    // the agent starts again
    world.restart();
    let start = cost(&mut world, AppState::Healthy);
    assert!(start < 16 * many, "a start took {start} looks");
    assert_eq!(world.fake.writes.len(), writes + 2);

    // everything goes
    let mut entry = world.entries[&app("many")].clone();
    entry.phase = EntryPhase::Remove;
    entry.tombstones = world
        .fake
        .objects
        .keys()
        .filter(|id| id.name.len() == 5)
        .cloned()
        .collect();
    entry.approved.clone_from(&entry.tombstones);
    assert_eq!(entry.tombstones.len(), MANY);
    world.set("many", entry);
    let end = cost(&mut world, AppState::Gone);
    assert!(end < 16 * many, "the end took {end} looks");
}

#[test]
fn an_answer_wakes_few_of_those_that_wait() {
    let turns = |apps: usize| {
        let mut world = World::default();
        for number in 0..apps {
            let key = format!("a{number:03}");
            let maps = (0..10).map(|map| item(config(&format!("{key}-{map}"), "1")));
            let entry = world.entry(maps.collect());
            world.set(&key, entry);
        }
        world.run(60_000);
        for number in 0..apps {
            world.expect(&format!("a{number:03}"), AppState::Healthy);
        }
        let answers = u64::try_from(world.fake.writes.len()).expect("few");
        world.machine.turns() as f64 / answers as f64
    };
    let (few, many) = (turns(4), turns(120));
    assert!(
        many < 4.0 * few + 4.0,
        "{few:.1} turns an answer with 4 Apps, {many:.1} with 120"
    );
}
