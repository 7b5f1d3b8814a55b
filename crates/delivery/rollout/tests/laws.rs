//! Whatever clusters and people do: one Rollout a stage, nobody before its turn, and an end when faults stop.

mod world;

use proptest::prelude::*;
use roadstead_model::ClusterId;
use roadstead_rollout::Action;
use world::{Fate, World, strategy};

#[derive(Debug, Clone)]
enum Happening {
    Release,
    Offline(usize),
    Online(usize),
    Ticks(u8),
    Act(u8, Action),
}

fn happening() -> impl Strategy<Value = Happening> {
    let action = prop_oneof![
        Just(Action::Pause),
        Just(Action::Resume),
        Just(Action::Abort),
        Just(Action::Retry),
        Just(Action::Undo),
        Just(Action::Approve { stage: None }),
    ];
    prop_oneof![
        2 => Just(Happening::Release),
        2 => (0..20_usize).prop_map(Happening::Offline),
        2 => (0..20_usize).prop_map(Happening::Online),
        6 => (1..20_u8).prop_map(Happening::Ticks),
        2 => (0..8_u8, action).prop_map(|(which, action)| Happening::Act(which, action)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // World::tick checks the invariants at each step
    #[test]
    fn nothing_starts_before_its_turn_and_everything_ends(
        happenings in prop::collection::vec(happening(), 1..40),
        bad in prop::collection::btree_set((0..20_usize, 1..12_u8), 0..12),
        roll_back in any::<bool>(),
    ) {
        let strategy = strategy(if roll_back { "RollBack" } else { "Hold" });
        let mut world = World::new(&[("canary", 2), ("early", 6), ("main", 12)]);
        let names: Vec<ClusterId> = world.clusters.keys().cloned().collect();
        let bad: Vec<(String, base_json::Digest)> =
            bad.into_iter().map(|(at, n)| (names[at].0.clone(), world::release(n))).collect();
        world.fate = Box::new(move |name, release| {
            if bad.iter().any(|(cluster, which)| cluster == name && which == release) { Fate::Fails } else { Fate::Healthy }
        });
        let mut released = 0;
        for happening in happenings {
            match happening {
                Happening::Release => {
                    released += 1;
                    world.release(released, &strategy);
                }
                Happening::Offline(at) => world.clusters.get_mut(&names[at]).expect("it is there").online = false,
                Happening::Online(at) => world.clusters.get_mut(&names[at]).expect("it is there").online = true,
                Happening::Ticks(ticks) => world.run(usize::from(ticks)),
                Happening::Act(which, action) => {
                    let number = u64::from(which) + 1;
                    if (number as usize) <= world.rollouts.len() {
                        let _ = world.act(number, &action);
                    }
                }
            }
        }
        // faults stop, and a last good Release comes
        for cluster in world.clusters.values_mut() {
            cluster.online = true;
        }
        world.fate = Box::new(|_, _| Fate::Healthy);
        let last = world.release(200, &strategy);
        for number in 1..=last {
            let _ = world.act(number, &Action::Resume);
        }
        world.run(300);
        prop_assert_eq!(world.on(200).len(), 20, "everybody converges; {}", world.summary());
        prop_assert!(world.rollouts.iter().all(|rollout| rollout.phase.is_terminal()), "everything ends; {}", world.summary());
    }
}
