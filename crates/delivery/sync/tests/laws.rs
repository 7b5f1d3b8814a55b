//! Laws that hold whatever happens in whatever order.

mod common;

use base_json::json;
use common::{World, app, config, deployment, id, item, job};
use k8s_cluster::{ClusterError, ErrorKind};
use k8s_object::{Gvk, ObjectId};
use proptest::prelude::*;
use roadstead_dispatch::{AppState, Phase};
use roadstead_sync::Input;

/// Something that happens to a cluster or its agent.
#[derive(Debug, Clone)]
enum Act {
    /// The hub orders a release of an App: which of six objects it holds, and what is in them.
    Order(u8, u8, u8),
    /// A reply or watch event, in any order.
    Turn(usize),
    /// Time passes.
    Run(u64),
    /// The agent dies and starts again.
    Restart,
    /// It loses its state directory as well.
    Lose,
    /// Somebody changes an object.
    Edit(u8, u8),
    /// Somebody removes an object.
    Take(u8, u8),
    /// The API server refuses the next writes of an object.
    Fault(u8, u8, u8),
    /// A watch ends.
    WatchEnds(bool),
    /// The hub goes away, or comes back.
    Connect(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..2_u8, 1..64_u8, 0..3_u8).prop_map(|(a, b, c)| Act::Order(a, b, c)),
        12 => (0..8_usize).prop_map(Act::Turn),
        4 => (1..3_000_u64).prop_map(Act::Run),
        2 => Just(Act::Restart),
        1 => Just(Act::Lose),
        2 => (0..2_u8, 0..6_u8).prop_map(|(a, b)| Act::Edit(a, b)),
        2 => (0..2_u8, 0..6_u8).prop_map(|(a, b)| Act::Take(a, b)),
        2 => (0..2_u8, 0..6_u8, 1..4_u8).prop_map(|(a, b, c)| Act::Fault(a, b, c)),
        1 => any::<bool>().prop_map(Act::WatchEnds),
        1 => any::<bool>().prop_map(Act::Connect),
    ]
}

fn name(app: u8, object: u8) -> ObjectId {
    match object {
        0..=2 => id(&format!("/ConfigMap/shop/a{app}-{object}")),
        3 | 4 => id(&format!("apps/Deployment/shop/a{app}-{object}")),
        _ => id(&format!("batch/Job/shop/a{app}-{object}")),
    }
}

fn items(app: u8, mask: u8, version: u8) -> Vec<common::Item> {
    (0..6)
        .filter(|object| mask & (1 << object) != 0)
        .map(|object| {
            let name = format!("a{app}-{object}");
            match object {
                0..=2 => item(config(&name, &version.to_string())).wave(object),
                3 | 4 => item(deployment(&name, &format!("i:{version}"))).wave(object - 3),
                _ => item(job(&name, "")).hook(Phase::PreSync),
            }
        })
        .collect()
}

fn order(world: &mut World, which: u8, mask: u8, version: u8) {
    let mut entry = world.entry(items(which, mask, version));
    // as the hub does: what was ever delivered and is not wanted now goes, and somebody approved it
    entry.tombstones = (0..5)
        .filter(|object| mask & (1 << object) == 0)
        .map(|object| name(which, object))
        .collect();
    entry.approved.clone_from(&entry.tombstones);
    world.set(&format!("a{which}"), entry);
}

fn check(acts: &[Act]) {
    let mut world = World::default();
    let mut masks = [63_u8, 63];
    let mut versions = [0_u8, 0];
    order(&mut world, 0, 63, 0);
    order(&mut world, 1, 63, 0);
    for act in acts {
        match act.clone() {
            Act::Order(which, mask, version) => {
                masks[usize::from(which)] = mask;
                versions[usize::from(which)] = version;
                if world.connected {
                    order(&mut world, which, mask, version);
                } else {
                    // the hub signs it all the same; the agent gets it when it is back
                    world.connected = true;
                    world.input(Input::Connected);
                    order(&mut world, which, mask, version);
                }
            }
            Act::Turn(at) => {
                world.turn_at(at);
            }
            Act::Run(ms) => world.run(ms),
            Act::Restart => world.restart(),
            Act::Lose => {
                world.persisted.clear();
                world.connected = true;
                world.restart();
            }
            Act::Edit(which, object) => {
                let id = name(which, object);
                if world.fake.objects.contains_key(&id) && object < 3 {
                    world.fake.edit(&id, "hand", "", |object| {
                        object["data"]["k"] = json!("by hand")
                    });
                }
            }
            Act::Take(which, object) => world.fake.take(&name(which, object)),
            Act::Fault(which, object, count) => {
                let faults = vec![ErrorKind::Unavailable; usize::from(count)];
                world.fake.faults.insert(name(which, object), faults);
            }
            Act::WatchEnds(expired) => {
                let gvk = Gvk::new("v1", "ConfigMap");
                if world.fake.watches.remove(&gvk).is_some() {
                    world.fake.events.retain(|(other, _)| *other != gvk);
                    let kind = if expired {
                        ErrorKind::Expired
                    } else {
                        ErrorKind::Unavailable
                    };
                    world.input(Input::WatchEnded {
                        gvk,
                        error: Some(ClusterError::new(kind, "ended")),
                    });
                }
            }
            Act::Connect(on) => {
                world.connected = on;
                world.inputs.clear();
                world.input(if on {
                    Input::Connected
                } else {
                    Input::Disconnected
                });
            }
        }
    }
    world.fake.faults.clear();
    world.connected = true;
    world.input(Input::Connected);
    world.order();
    world.run(1_200_000);
    // hooks that somebody removed while they ran are failures that only another attempt clears
    for which in 0..2_u8 {
        let key = app(&format!("a{which}"));
        if world.apps[&key].state == AppState::Failed {
            let mut entry = world.entries[&key].clone();
            entry.attempt += 1;
            world.set(&format!("a{which}"), entry);
            world.run(60_000);
        }
    }
    for which in 0..2_u8 {
        world.expect(&format!("a{which}"), AppState::Healthy);
        for object in 0..5 {
            let wanted = masks[usize::from(which)] & (1 << object) != 0;
            let found = world.fake.objects.get(&name(which, object));
            assert_eq!(found.is_some(), wanted, "{}", name(which, object));
            let version = versions[usize::from(which)];
            if let Some(found) = found {
                let value = found
                    .pointer("/data/k")
                    .or(found.pointer("/spec/template/spec/containers/0/image"));
                let value = value.and_then(|value| value.as_str()).expect("a value");
                assert_eq!(value.trim_start_matches("i:"), version.to_string());
            }
        }
    }
    let writes = world.fake.writes.len();
    world.restart();
    world.run(60_000);
    assert_eq!(
        world.fake.writes.len(),
        writes,
        "{:?}",
        &world.fake.writes[writes..]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comes_to_rest_as_ordered_and_removes_nothing_else(acts in prop::collection::vec(act(), 0..60)) {
        check(&acts);
    }
}
