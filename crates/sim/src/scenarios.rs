//! Fixed scripts: one misfortune each, at a known moment.

use base_store::Faults;
use k8s_object::ObjectId;
use roadstead_dispatch::{Known, OrderError};
use roadstead_model::ClusterId;

use crate::Options;
use crate::world::{Event, World};

const DAY_MS: u64 = 86_400_000;

/// A fleet on which the first commit has been rolled out.
fn calm(seed: u64) -> World {
    let options = Options {
        chaos_ms: 0,
        faults: false,
        ..Options::default()
    };
    let mut world = World::new(seed, options);
    world.begins();
    for _ in 0..30 {
        world.run(20_000);
        for app in world.fleet.apps.clone() {
            let approve = roadstead_control::Command::Rollout {
                number: None,
                action: roadstead_rollout::Action::Approve { stage: None },
            };
            world.command(&crate::chaos::app_key(&app), &approve);
        }
        if world.converged().is_ok() {
            return world;
        }
    }
    panic!("{:?} {:#?}", world.converged(), world.violations);
}

fn next_commit(world: &mut World) {
    for content in world.fleet.contents.values_mut() {
        content.version += 1;
        content.configs = 1;
    }
    world.commits_to_git();
    world.webhook();
}

#[track_caller]
fn is_well(mut world: World, what: &str) {
    world.settles();
    assert!(
        world.violations.is_empty(),
        "{what}: {:#?}\n{:#?}",
        world.violations,
        world.tail
    );
}

#[test]
fn the_hub_dies_at_each_effect_of_a_rollout() {
    let mut died = 0;
    for fuse in (0..160).step_by(4) {
        let mut world = calm(7);
        let starts = world.stats.hub_starts;
        next_commit(&mut world);
        world.hub_fuse = Some(fuse);
        world.run(120_000);
        died += world.stats.hub_starts - starts;
        is_well(world, &format!("the hub dies at effect {fuse}"));
    }
    assert!(died > 30, "the hub died only {died} times");
}

#[test]
fn the_power_goes_in_the_middle_of_each_write_of_a_rollout() {
    let mut died = 0;
    for write in (0..120).step_by(5) {
        let mut world = calm(8);
        let starts = world.stats.hub_starts;
        next_commit(&mut world);
        world.disk.set_faults(Faults {
            power_loss_at: Some(world.disk.operations() + write),
            ..Faults::default()
        });
        world.run(120_000);
        died += world.stats.hub_starts - starts;
        is_well(world, &format!("the power goes at write {write}"));
    }
    assert!(died > 15, "the power went only {died} times");
}

#[test]
fn an_agent_dies_at_each_effect_of_a_sync() {
    for fuse in (0..60).step_by(2) {
        let mut world = calm(9);
        next_commit(&mut world);
        for agent in world.agents.values_mut() {
            agent.fuse = Some(fuse);
        }
        world.run(120_000);
        is_well(world, &format!("agents die at effect {fuse}"));
    }
}

#[test]
fn old_orders_and_those_of_others_are_refused() {
    let mut world = calm(10);
    next_commit(&mut world);
    world.run(240_000);
    let orders: Vec<_> = world.old_orders.iter().cloned().collect();
    let clusters: Vec<ClusterId> = world.agents.keys().cloned().collect();
    let known = |world: &World, id: &ClusterId| -> Option<Known> {
        Some(world.agents.get(id)?.machine.as_ref()?.known())
    };
    let (mut replayed, mut foreign) = (0, 0);
    for (owner, order) in &orders {
        for cluster in &clusters {
            let before = known(&world, cluster);
            match world.agent_opens(cluster, order) {
                Err(OrderError::Replayed { .. }) => {
                    assert_eq!(owner, cluster);
                    replayed += 1;
                }
                Err(OrderError::OtherCluster { .. }) => {
                    assert_ne!(owner, cluster);
                    foreign += 1;
                }
                // the order that it obeys already
                Ok(()) => assert_eq!(owner, cluster),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(known(&world, cluster), before);
        }
    }
    assert!(
        replayed > 3 && foreign > 10,
        "{replayed} replayed, {foreign} foreign"
    );
    is_well(world, "old orders");
}

#[test]
fn a_restored_backup_raises_the_epoch_and_comes_to_the_newest_again() {
    let mut world = calm(11);
    let backup = world.hub.as_ref().expect("a hub").store.backup();
    next_commit(&mut world);
    world.run(240_000);
    world.restore(&backup);
    world.run(120_000);
    let epochs = world
        .agents
        .values()
        .filter_map(|agent| Some(agent.machine.as_ref()?.known().epoch));
    assert_eq!(epochs.min(), Some(2));
    is_well(world, "a restored backup");
}

#[test]
fn agents_heal_for_thirty_days_without_the_hub() {
    let mut world = calm(12);
    for agent in world.agents.values_mut() {
        agent.link = false;
    }
    let conns: Vec<u64> = world.conns.keys().copied().collect();
    conns.iter().for_each(|conn| world.breaks(*conn));
    let web: ObjectId = "apps/Deployment/shop-web/web".parse().expect("an id");
    for day in 0..30 {
        world.run(DAY_MS);
        for id in world.agents.keys().cloned().collect::<Vec<_>>() {
            if day % 7 == 3 {
                world.agent_dies(&id);
            }
            let sim = world.clusters.get_mut(&id).expect("a cluster");
            sim.take(&web);
            world.flush(&id);
        }
        world.run(60_000);
        for (id, sim) in &world.clusters {
            assert!(
                sim.objects.contains_key(&web),
                "{id} has not healed on day {day}"
            );
        }
    }
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
    is_well(world, "thirty days");
}

#[test]
fn a_bad_release_stays_in_the_canary_stage_and_is_left() {
    for seed in 20..26 {
        let mut world = calm(seed);
        for content in world.fleet.contents.values_mut() {
            content.version += 1;
            content.bad = true;
        }
        world.commits_to_git();
        world.webhook();
        world.run(300_000);
        let barred = world.fleet.apps.iter().all(|app| {
            let hub = world.hub.as_ref().expect("a hub");
            let newest = hub.index.releases(&crate::chaos::app_key(app)).next_back();
            newest.is_some_and(|record| record.barred.is_some())
        });
        // one that waits for another App does not fail by itself
        assert!(barred || world.fleet.apps.len() > 2, "seed {seed}");
        // the monitor has seen each write: none outside the canary stage
        is_well(world, &format!("a bad release, seed {seed}"));
    }
}

#[test]
fn nothing_is_left_in_the_queue_of_the_dead() {
    let mut world = calm(13);
    let life = world.hub_life;
    world.hub_dies();
    world.queue.put(world.now, Event::Think { life });
    world.queue.put(world.now, Event::Poll { life });
    world.run(120_000);
    is_well(world, "events of a hub that is dead");
}

#[test]
fn a_cluster_keeps_what_a_restored_hub_does_not_know_until_git_brings_it() {
    let mut world = calm(14);
    let backup = world.hub.as_ref().expect("a hub").store.backup();
    next_commit(&mut world);
    world.run(240_000);
    let writes = world.stats.writes;
    // Git cannot be read, so all that the hub knows is old
    world.git.away_until = u64::MAX;
    world.restore(&backup);
    world.run(180_000);
    assert_eq!(world.stats.writes, writes, "nothing goes back by itself");
    let hub = world.hub.as_ref().expect("a hub");
    assert!(world.fleet.apps.iter().all(|app| {
        !roadstead_control::going_back(&hub.index, &crate::chaos::app_key(app))
            .clusters
            .is_empty()
    }));
    world.git.away_until = 0;
    is_well(world, "what a restored hub does not know");
}

#[test]
fn what_a_deleted_app_and_a_drained_cluster_leave() {
    for seed in 30..33 {
        let mut world = calm(seed);
        let Some(app) = world.fleet.apps.iter().find(|app| *app != "web").cloned() else {
            continue;
        };
        let op = world.fleet.deleted_app(&app);
        assert!(world.api_write(vec![op]));
        world.fleet.apps.retain(|other| *other != app);
        world.fleet.contents.remove(&app);
        world.fleet.deleted.push(app);
        let (id, known) = world.fleet.clusters.last_key_value().expect("a cluster");
        let (id, mut known) = (id.clone(), known.clone());
        known.drained = true;
        assert!(world.api_write(vec![crate::chaos::Fleet::cluster(&known)]));
        for _ in 0..6 {
            world.operator();
            world.run(30_000);
        }
        // Jobs stay: a hook that ran is no object of the App's any more
        let left = |(object, value): &(&ObjectId, &base_json::Value)| {
            object.kind != "Job"
                && k8s_object::annotation(value, roadstead_dispatch::OWNER_ANNOTATION).is_some()
        };
        let left = world.clusters[&id].objects.iter().filter(left).count();
        assert_eq!(
            left,
            0,
            "seed {seed}: a drained cluster has nothing of ours: {:#?}",
            world.left_on(&id)
        );
        is_well(
            world,
            &format!("a deleted App and a drained cluster, seed {seed}"),
        );
    }
}
