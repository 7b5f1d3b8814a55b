//! What must happen to a Release on its way, case by case.

mod world;

use roadstead_rollout::{Action, Phase, StagePhase};
use world::{Fate, World, release, strategy};

fn fleet() -> World {
    World::new(&[("canary", 2), ("early", 8), ("main", 40)])
}

#[test]
fn a_good_release_reaches_everybody_stage_by_stage() {
    let mut world = fleet();
    let rollout = world.release(1, &strategy("Hold"));
    world.run(40);
    assert_eq!(world.rollout(rollout).phase, Phase::Completed);
    assert_eq!(world.on(1).len(), 50);
    let order: Vec<&str> = world
        .starts
        .iter()
        .map(|(_, stage, _)| stage.as_str())
        .collect();
    let mut sorted = order.clone();
    sorted.sort_by_key(|stage| {
        ["canary", "early", "main"]
            .iter()
            .position(|name| name == stage)
    });
    assert_eq!(order, sorted, "stages follow one another");
    let waves = world
        .events
        .iter()
        .filter(|(_, event)| event.reason == "WaveStarted")
        .count();
    assert_eq!(
        waves,
        2 + 4,
        "half and rest of early; one, a tenth, a third and the rest of main"
    );
    assert!(world.clusters.values().all(|c| {
        c.assignment
            .as_ref()
            .is_some_and(|a| a.good[0].release == release(1))
    }));
}

#[test]
fn a_bad_release_stops_at_the_canaries_and_they_go_back() {
    let mut world = fleet();
    world.release(1, &strategy("RollBack"));
    world.run(40);
    world.fate = Box::new(|_, which| {
        if *which == release(2) {
            Fate::Degraded
        } else {
            Fate::Healthy
        }
    });
    let starts = world.starts.len();
    let bad = world.release(2, &strategy("RollBack"));
    world.run(40);
    assert_eq!(world.rollout(bad).phase, Phase::RolledBack);
    assert!(
        world.starts[starts..]
            .iter()
            .all(|(_, stage, _)| stage == "canary"),
        "nobody else ever got it"
    );
    assert_eq!(world.on(2).len(), 0);
    assert_eq!(world.on(1).len(), 50);
    assert!(world.barred.contains(&release(2)));
    assert_eq!(
        world.rollout(bad).message,
        "stage canary: 2 of 2 clusters failed, 0 may (canary-00: Deployment shop/web: ImagePullBackOff: image \
         shop:missing cannot be pulled); its clusters went back"
    );
}

#[test]
fn hold_waits_for_somebody_and_a_newer_release_takes_over() {
    let mut world = fleet();
    world.fate = Box::new(|_, which| {
        if *which == release(1) {
            Fate::Fails
        } else {
            Fate::Healthy
        }
    });
    let bad = world.release(1, &strategy("Hold"));
    world.run(5);
    assert_eq!(world.rollout(bad).phase, Phase::Failed);
    assert_eq!(world.on(1).len(), 2, "the clusters keep what they have");
    let good = world.release(2, &strategy("Hold"));
    world.run(40);
    assert_eq!(world.rollout(bad).phase, Phase::Superseded);
    assert_eq!(world.rollout(good).phase, Phase::Completed);
    assert_eq!(world.on(2).len(), 50);
}

/// A first Release that behaves like this, and a good one 20 s later: after how long has the newer one taken over?
#[track_caller]
fn takes_over_after(fate: Fate, strategy: &roadstead_model::StrategySpec, most: usize) -> usize {
    let mut world = fleet();
    world.fate = Box::new(move |_, which| {
        if *which == release(1) {
            fate
        } else {
            Fate::Healthy
        }
    });
    let old = world.release(1, strategy);
    world.run(20);
    let new = world.release(2, strategy);
    for second in 1..=most {
        world.tick(1000);
        if world.rollout(old).phase == Phase::Superseded {
            world.run(120);
            assert_eq!(world.rollout(new).phase, Phase::Completed);
            assert_eq!(world.on(2).len(), 50);
            return second;
        }
    }
    panic!("{}", world.summary());
}

#[test]
fn what_is_retried_in_a_stage_does_not_keep_a_newer_release_out() {
    // its deadline is ten minutes
    assert!(takes_over_after(Fate::Silent, &strategy("Hold"), 300) <= 2);
}

#[test]
fn what_works_in_a_stage_has_its_time_and_no_more() {
    let after = takes_over_after(Fate::Works, &strategy("Hold"), 300);
    assert!((98..=104).contains(&after), "{after}");
}

#[test]
fn what_waits_for_leave_to_start_does_not_keep_a_newer_release_out() {
    let mut asks = strategy("Hold");
    asks.stages[0].approval.before = true;
    let mut world = fleet();
    let old = world.release(1, &asks);
    world.run(5);
    assert_eq!(
        world.rollout(old).stages[0].phase,
        StagePhase::AwaitingStart
    );
    let new = world.release(2, &asks);
    world.run(5);
    assert_eq!(world.rollout(old).phase, Phase::Superseded);
    assert_eq!(
        world.rollout(new).stages[0].phase,
        StagePhase::AwaitingStart
    );
}

#[test]
fn a_paused_release_keeps_its_stage() {
    let mut world = fleet();
    world.fate = Box::new(|_, _| Fate::Silent);
    let old = world.release(1, &strategy("Hold"));
    world.run(5);
    world.act(old, &Action::Pause).expect("it can be paused");
    world.release(2, &strategy("Hold"));
    world.run(120);
    assert_eq!(world.rollout(old).phase, Phase::Progressing);
}

#[test]
fn a_soaking_release_is_not_starved_by_newer_ones() {
    let mut world = fleet();
    let mut strategy = strategy("Hold");
    strategy.stages[0].soak = Some(roadstead_model::DurationMs::secs(60));
    strategy.stages[1].soak = Some(roadstead_model::DurationMs::secs(120));
    // a commit every 20 seconds against soaks of 60 and 120
    let mut newest = 0;
    for n in 1..=30 {
        newest = world.release(n, &strategy);
        world.run(20);
    }
    let passed_early = world
        .rollouts
        .iter()
        .filter(|r| r.stages[1].phase == StagePhase::Passed)
        .count();
    assert!(
        passed_early >= 3,
        "only {passed_early} releases passed the second stage in ten minutes"
    );
    assert!(world.rollouts.iter().any(|r| r.phase == Phase::Completed));
    world.run(600);
    assert_eq!(world.rollout(newest).phase, Phase::Completed);
    assert_eq!(world.on(30).len(), 50);
}

#[test]
fn offline_clusters_are_set_aside_up_to_a_limit() {
    let mut world = fleet();
    for (id, cluster) in &mut world.clusters {
        cluster.online = !id.0.starts_with("main-0");
    }
    let rollout = world.release(1, &strategy("Hold"));
    world.run(60);
    assert_eq!(
        world.rollout(rollout).phase,
        Phase::Held,
        "10 of 40 are away, 4 may"
    );
    assert_eq!(
        world.rollout(rollout).message,
        "stage main: 10 of 40 clusters are set aside, 4 may"
    );
    for cluster in world.clusters.values_mut() {
        cluster.online = true;
    }
    world.clusters.values_mut().last().expect("clusters").online = false;
    world.run(60);
    assert_eq!(world.rollout(rollout).phase, Phase::Completed);
    assert_eq!(
        world.on(1).len(),
        49,
        "the one that is away is not waited for"
    );
}

#[test]
fn a_stage_whose_clusters_are_all_away_holds_and_an_empty_one_is_skipped() {
    let mut world = World::new(&[("canary", 2), ("main", 3)]);
    for (id, cluster) in &mut world.clusters {
        cluster.online = !id.0.starts_with("canary");
    }
    let rollout = world.release(1, &strategy("Hold"));
    world.run(20);
    assert_eq!(world.rollout(rollout).phase, Phase::Held);
    assert_eq!(
        world.on(1).len(),
        0,
        "a gate that measured nothing never passes"
    );
    for cluster in world.clusters.values_mut() {
        cluster.online = true;
    }
    world.run(40);
    assert_eq!(world.rollout(rollout).phase, Phase::Completed);
    assert_eq!(world.rollout(rollout).stages[1].phase, StagePhase::Skipped);
}

#[test]
fn the_failure_budget_counts_only_clusters_that_were_good_before() {
    let mut world = fleet();
    // two of forty may fail in main; one more was bad before
    world.fate = Box::new(|name, _| {
        if ["main-10", "main-11", "main-12"].contains(&name) {
            Fate::Fails
        } else {
            Fate::Healthy
        }
    });
    world.release(1, &strategy("Hold"));
    world.run(60);
    assert_eq!(
        world.rollout(1).phase,
        Phase::Failed,
        "three of forty failed, two may"
    );
    world.release(2, &strategy("Hold"));
    world.run(60);
    assert_eq!(
        world.rollout(2).phase,
        Phase::Completed,
        "they were bad before, so they are set aside"
    );
}

#[test]
fn the_deadline_fails_a_cluster_that_never_answers() {
    let mut world = World::new(&[("canary", 2)]);
    world.fate = Box::new(|_, _| Fate::Silent);
    let mut strategy = strategy("Hold");
    strategy.stages[0].deadline = Some(roadstead_model::DurationMs::secs(30));
    world.release(1, &strategy);
    world.run(29);
    assert_eq!(world.rollout(1).phase, Phase::Progressing);
    world.run(5);
    assert_eq!(world.rollout(1).phase, Phase::Failed);
    assert!(
        world
            .rollout(1)
            .message
            .contains("not healthy within 30s: it is Syncing"),
        "{}",
        world.rollout(1).message
    );
}

#[test]
fn people_pause_resume_abort_retry_approve_and_undo() {
    let mut world = fleet();
    world.release(1, &strategy("Hold"));
    world.run(40);
    let mut careful = strategy("Hold");
    careful.stages[1].approval.before = true;
    careful.stages[1].approval.after = true;
    let two = world.release(2, &careful);
    world.tick(1000);
    world.act(two, &Action::Pause).expect("it runs");
    assert!(
        world
            .act(two, &Action::Pause)
            .unwrap_err()
            .to_string()
            .starts_with("ann paused it already")
    );
    let before = world.starts.len();
    world.run(20);
    assert_eq!(
        world.starts.len(),
        before,
        "nothing new starts while it is paused"
    );
    world.act(two, &Action::Resume).expect("it is paused");
    world.run(20);
    assert_eq!(
        world.rollout(two).stages[1].phase,
        StagePhase::AwaitingStart
    );
    assert_eq!(world.on(2).len(), 2);
    let nowhere = Action::Approve {
        stage: Some("nowhere".to_owned()),
    };
    assert_eq!(
        world.act(two, &nowhere).unwrap_err().to_string(),
        "there is no stage \"nowhere\"; the stages are canary, early, main"
    );
    world
        .act(two, &Action::Approve { stage: None })
        .expect("it waits for that");
    world.run(20);
    assert_eq!(world.rollout(two).stages[1].phase, StagePhase::AwaitingPass);
    world
        .act(two, &Action::Approve { stage: None })
        .expect("it waits for that");
    world.run(40);
    assert_eq!(world.rollout(two).phase, Phase::Completed);
    world
        .act(two, &Action::Undo)
        .expect("a completed one can be undone");
    world.run(5);
    assert_eq!(world.rollout(two).phase, Phase::RolledBack);
    assert_eq!(world.on(1).len(), 50);
    assert!(world.barred.contains(&release(2)));
    // retried, it starts from its first stage again
    world.act(two, &Action::Retry).expect("it went back");
    world.run(3);
    assert_eq!(world.on(2).len(), 2);
    world.act(two, &Action::Abort).expect("it runs");
    world.run(20);
    assert_eq!(
        world.on(2).len(),
        2,
        "clusters keep what they have, and nobody else gets it"
    );
    assert_eq!(
        world.act(two, &Action::Pause).unwrap_err().to_string(),
        "rollout 2 has ended: it is Aborted"
    );
}

#[test]
fn the_first_release_of_all_has_nothing_to_go_back_to() {
    let mut world = fleet();
    world.fate = Box::new(|_, _| Fate::Fails);
    world.release(1, &strategy("RollBack"));
    world.run(20);
    assert_eq!(world.rollout(1).phase, Phase::RolledBack);
    assert!(
        world
            .rollout(1)
            .message
            .ends_with("2 had nothing to go back to"),
        "{}",
        world.rollout(1).message
    );
    assert_eq!(world.on(1).len(), 2);
}

#[test]
fn a_stage_in_which_nobody_became_healthy_is_held_and_keeps_no_newer_release_out() {
    let mut world = World::new(&[("canary", 2), ("early", 1), ("main", 1)]);
    world.fate = Box::new(|cluster, which| {
        if *which == release(1) && cluster.starts_with("main") {
            Fate::Fails
        } else {
            Fate::Healthy
        }
    });
    let first = world.release(1, &strategy("Hold"));
    world.run(40);
    // the only cluster failed, and the budget allows for one
    assert_eq!(world.rollout(first).phase, Phase::Held);
    assert_eq!(
        world.rollout(first).message,
        "stage main: none of its 1 clusters became healthy"
    );
    let second = world.release(2, &strategy("Hold"));
    world.run(60);
    assert_eq!(world.rollout(second).phase, Phase::Completed);
    assert_eq!(world.rollout(first).phase, Phase::Superseded);
}
