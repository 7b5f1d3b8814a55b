//! One scenario per rule of delivery inside a cluster; what is removed has a file of its own.

mod common;

use base_json::{Value, json};
use common::{World, app, config, deployment, id, item, job};
use k8s_cluster::{ErrorKind, WatchEvent};
use k8s_object::Gvk;
use roadstead_dispatch::{
    AppState, DriftKind, Entry, EntryPhase, HookDelete, Phase, ProblemKind, WaitsFor,
};
use roadstead_model::{ConflictPolicy, Hold, HoldMode, IgnoreRule, ImmutablePolicy, Time};

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
fn delivers_until_healthy_and_then_writes_nothing() {
    let (mut world, _) = shop();
    assert_eq!(
        world.fake.writes,
        [
            "create /Namespace//shop",
            "apply /ConfigMap/shop/a by roadstead",
            "apply apps/Deployment/shop/web by roadstead",
        ]
    );
    let report = world.state("shop").clone();
    assert_eq!(
        (report.health.total, report.health.healthy, report.writes),
        (2, 2, 3)
    );
    assert_eq!(report.inventory.objects, None);
    world.run(120_000);
    world.restart();
    world.run(120_000);
    // the state directory is lost: still nothing to write
    world.persisted.clear();
    world.restart();
    world.run(120_000);
    assert_eq!(world.fake.writes.len(), 3, "{:?}", world.fake.writes);
    world.expect("shop", AppState::Healthy);
}

#[test]
fn applies_only_what_changed() {
    let (mut world, _) = shop();
    world.fake.writes.clear();
    world.deliver(
        "shop",
        vec![item(config("a", "1")), item(deployment("web", "i:2"))],
    );
    world.expect("shop", AppState::Healthy);
    assert_eq!(
        world.fake.writes,
        ["apply apps/Deployment/shop/web by roadstead"]
    );
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(
        world.live(WEB).and_then(|web| web.pointer(image)),
        Some(&json!("i:2"))
    );
}

#[test]
fn removes_a_field_that_is_no_longer_delivered() {
    let mut world = World::default();
    let mut more = config("a", "1");
    more["data"]["extra"] = json!("x");
    world.deliver("shop", vec![item(more)]);
    world.deliver("shop", vec![item(config("a", "1"))]);
    assert_eq!(
        world.live(CONFIG).expect("there")["data"],
        json!({"k": "1"})
    );
}

#[test]
fn waits_for_health_between_waves() {
    let mut world = World {
        controllers: false,
        ..World::default()
    };
    let items = vec![
        item(deployment("web", "i:1")),
        item(config("a", "1")).wave(1),
    ];
    world.deliver("shop", items);
    assert!(world.live(CONFIG).is_none());
    world.expect("shop", AppState::Syncing);
    assert!(
        world.state("shop").message.contains("Deployment shop/web"),
        "{:?}",
        world.state("shop").message
    );
    world.controllers = true;
    world.run(5_000);
    assert!(world.live(CONFIG).is_some());
    world.expect("shop", AppState::Healthy);
}

#[test]
fn fails_a_wave_at_its_deadline() {
    let mut world = World {
        controllers: false,
        ..World::default()
    };
    let items = vec![
        item(deployment("web", "i:1")),
        item(config("a", "1")).wave(1),
    ];
    world.deliver("shop", items);
    world.run(600_000);
    world.expect("shop", AppState::Failed);
    assert!(
        world.state("shop").message.contains("600 s"),
        "{:?}",
        world.state("shop").message
    );
    assert_eq!(world.state("shop").problems[0].kind, ProblemKind::Deadline);
    // it stays so over a restart
    world.restart();
    world.run(1_000);
    world.expect("shop", AppState::Failed);
    // another attempt clears it
    world.controllers = true;
    let mut entry = world.entries[&app("shop")].clone();
    entry.attempt = 1;
    world.set("shop", entry);
    world.run(5_000);
    world.expect("shop", AppState::Healthy);
}

#[test]
fn tells_a_bad_image_within_seconds() {
    let mut world = World::default();
    let entry = world.entry(vec![item(deployment("web", "i:bad"))]);
    world.set("shop", entry);
    world.run(3_000);
    world.expect("shop", AppState::Degraded);
    let report = world.state("shop");
    assert_eq!(report.problems[0].reason, "ImagePullBackOff");
    assert!(report.message.contains("i:bad"), "{}", report.message);
    // what the pods of the release before say is not held against the next one
    world.states.clear();
    world.run(3_000);
    world.deliver("shop", vec![item(deployment("web", "i:2"))]);
    world.expect("shop", AppState::Healthy);
    assert!(
        !world.states.contains(&(app("shop"), AppState::Degraded)),
        "{:?}",
        world.states
    );
}

#[test]
fn heals_what_was_changed_or_removed() {
    let (mut world, _) = shop();
    world.fake.edit(&id(CONFIG), "hand", "", |object| {
        object["data"]["k"] = json!("2")
    });
    world.run(900);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
    world.fake.take(&id(WEB));
    world.run(900);
    assert!(world.live(WEB).is_some());
    // a label that is taken off hides the object from the watch
    world.fake.edit(&id(CONFIG), "hand", "", |object| {
        object["metadata"]
            .as_object_mut()
            .expect("a map")
            .remove("labels");
    });
    world.run(900);
    assert!(k8s_object::label(world.live(CONFIG).expect("there"), "roadstead.dev/app").is_some());
    world.run(5_000);
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.state("shop").healed, 3);
    assert!(world.state("shop").drift.is_empty());
    // what others add beside our fields is none of our business
    let writes = world.fake.writes.len();
    world.fake.edit(&id(CONFIG), "hand", "", |object| {
        object["data"]["other"] = json!("x")
    });
    world.run(5_000);
    assert_eq!(world.fake.writes.len(), writes);
}

#[test]
fn heals_what_was_removed_while_the_agent_was_away() {
    let (mut world, _) = shop();
    world.fake.watches.clear();
    world.fake.take(&id(WEB));
    world.connected = false;
    world.restart();
    world.run(2_000);
    assert!(world.live(WEB).is_some());
}

#[test]
fn shows_drift_on_hold_and_leaves_it() {
    for mode in [HoldMode::Heal, HoldMode::Sync] {
        let (mut world, mut entry) = shop();
        entry.hold = Some(Hold {
            mode,
            actor: "ann".to_owned(),
            reason: "looking".to_owned(),
            until: Some(Time(common::START + 3_600_000)),
        });
        world.set("shop", entry);
        world.run(1_000);
        world.fake.edit(&id(CONFIG), "hand", "", |object| {
            object["data"]["k"] = json!("2")
        });
        world.fake.take(&id(WEB));
        world.run(10_000);
        assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "2");
        assert!(world.live(WEB).is_none());
        let report = world.state("shop").clone();
        let drift: Vec<_> = report
            .drift
            .iter()
            .map(|item| (item.kind, item.fields.clone()))
            .collect();
        assert_eq!(
            drift,
            [
                (DriftKind::Changed, vec![".data.k".to_owned()]),
                (DriftKind::Removed, vec![])
            ]
        );
        assert_eq!(
            report.state == AppState::Held,
            mode == HoldMode::Sync,
            "{report:?}"
        );
        // it ends by itself
        world.run(3_600_000);
        assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
        assert!(world.live(WEB).is_some());
        world.expect("shop", AppState::Healthy);
    }
}

#[test]
fn an_annotation_holds_an_object_or_a_namespace_for_a_day_at_most() {
    for (target, hours, held) in [
        (CONFIG, 2, true),
        ("/Namespace//shop", 2, true),
        (CONFIG, 48, false),
    ] {
        let (mut world, _) = shop();
        let until = Time(common::START + hours * 3_600_000).to_string();
        world.fake.edit(&id(target), "hand", "", |object| {
            k8s_object::set_annotation(object, "roadstead.dev/hold-until", &until);
        });
        world.run(1_000);
        world.fake.edit(&id(CONFIG), "hand", "", |object| {
            object["data"]["k"] = json!("2")
        });
        world.run(10_000);
        let value = world.live(CONFIG).expect("there")["data"]["k"].clone();
        assert_eq!(value == "2", held, "{target} for {hours} h");
        if held {
            assert!(world.state("shop").message.contains("held in the cluster"));
            world.run(3 * 3_600_000);
            assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
        }
    }
}

#[test]
fn backs_off_when_a_field_is_contested() {
    let (mut world, _) = shop();
    for _ in 0..6 {
        world.fake.edit(&id(CONFIG), "rival", "", |object| {
            object["data"]["k"] = json!("2")
        });
        world.run(10_000);
    }
    let report = world.state("shop");
    let contested = report
        .problems
        .iter()
        .find(|problem| problem.kind == ProblemKind::Contested);
    assert!(
        contested.expect("contested").message.contains("\"rival\""),
        "{report:?}"
    );
    assert_eq!(report.healed, 3);
    assert_eq!(report.drift.len(), 1);
    world.run(600_000);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
    assert!(
        world.state("shop").problems.is_empty(),
        "{:?}",
        world.state("shop")
    );
}

#[test]
fn waits_for_other_apps() {
    let mut world = World::default();
    let mut entry = world.entry(vec![item(config("a", "1"))]);
    entry.waits_for = vec![WaitsFor {
        app: app("db"),
        commit: String::new(),
    }];
    world.set("shop", entry);
    world.run(2_000);
    world.expect("shop", AppState::Waiting);
    assert!(
        world.state("shop").message.contains("waits for App p/db"),
        "{:?}",
        world.state("shop").message
    );
    assert!(world.live(CONFIG).is_none());
    world.deliver("db", vec![item(deployment("db", "i:1"))]);
    assert!(world.live(CONFIG).is_some());
    world.expect("shop", AppState::Healthy);
}

#[test]
fn a_kind_that_is_not_known_yet_is_waited_for() {
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true}]}});
    // in one App: at once
    let mut world = World::default();
    world.deliver("shop", vec![item(definition.clone()), item(widget.clone())]);
    world.expect("shop", AppState::Healthy);
    assert!(world.live("example.org/Widget/shop/w").is_some());
    // in two: the rest of the wave is not held up
    let mut world = World::default();
    world.deliver("shop", vec![item(widget.clone()), item(config("a", "1"))]);
    world.expect("shop", AppState::Waiting);
    assert_eq!(
        world.state("shop").problems[0].kind,
        ProblemKind::UnknownKind
    );
    assert!(world.live(CONFIG).is_some());
    world.deliver("crds", vec![item(definition)]);
    world.run(60_000);
    world.expect("shop", AppState::Healthy);
    // until the wait timeout
    let mut world = World::default();
    world.deliver("shop", vec![item(widget)]);
    world.run(600_000);
    world.expect("shop", AppState::Failed);
}

#[test]
fn runs_a_hook_once() {
    let mut world = World::default();
    let hook = |name: &str, hint: &str| {
        let mut hook = item(job(name, hint)).hook(Phase::PreSync);
        hook.hook_delete = vec![HookDelete::Succeeded];
        hook
    };
    world.deliver("shop", vec![hook("migrate", ""), item(config("a", "1"))]);
    world.expect("shop", AppState::Healthy);
    assert!(
        world.live("batch/Job/shop/migrate").is_none(),
        "it is removed after it succeeded"
    );
    let applied = |world: &World| {
        world
            .fake
            .writes
            .iter()
            .filter(|write| write.contains("apply batch/Job"))
            .count()
    };
    assert_eq!(applied(&world), 1);
    world.restart();
    world.run(60_000);
    assert_eq!(applied(&world), 1);
    // a new release runs it again
    world.deliver("shop", vec![hook("migrate", ""), item(config("a", "2"))]);
    assert_eq!(applied(&world), 2);
    // going back does not
    let mut back = world.entry(vec![hook("migrate", ""), item(config("a", "1"))]);
    back.phase = EntryPhase::Revert;
    world.set("shop", back);
    world.run(5_000);
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "1");
    assert_eq!(applied(&world), 2);
    // nor does getting that Release again: its hook ran here
    let again = world.entry(vec![hook("migrate", ""), item(config("a", "1"))]);
    world.set("shop", again.clone());
    world.run(5_000);
    world.expect("shop", AppState::Healthy);
    assert_eq!(applied(&world), 2);
    // unless somebody asks for another attempt
    world.set(
        "shop",
        Entry {
            attempt: 1,
            ..again
        },
    );
    world.run(5_000);
    assert_eq!(applied(&world), 3);
}

#[test]
fn a_hook_that_ended_under_an_agent_before_is_not_run_again() {
    for (hint, state) in [("", AppState::Healthy), ("fail", AppState::Failed)] {
        let mut world = World::default();
        let hook = item(job("migrate", hint)).hook(Phase::PreSync);
        world.deliver("shop", vec![hook, item(config("a", "1"))]);
        world.expect("shop", state);
        let made = world.fake.writes.len();
        // the cluster was let go of and joined again: nothing is remembered of it
        world.persisted.clear();
        world.apps.clear();
        world.restart();
        world.run(5_000);
        world.expect("shop", state);
        assert_eq!(world.fake.writes[made..], [] as [String; 0]);
    }
}

#[test]
fn a_failed_hook_stops_the_sync_and_runs_what_follows_a_failure() {
    let mut world = World::default();
    world.deliver(
        "shop",
        vec![
            item(job("migrate", "fail")).hook(Phase::PreSync),
            item(config("a", "1")),
            item(job("tell", "")).hook(Phase::SyncFail),
        ],
    );
    world.expect("shop", AppState::Failed);
    assert!(
        world.state("shop").message.contains("Job shop/migrate"),
        "{:?}",
        world.state("shop").message
    );
    assert!(world.live(CONFIG).is_none());
    assert!(world.live("batch/Job/shop/tell").is_some());
}

#[test]
fn a_newer_release_lets_a_running_hook_end_up_to_its_deadline() {
    let mut world = World::default();
    world.deliver(
        "shop",
        vec![
            item(job("migrate", "hang")).hook(Phase::PreSync),
            item(config("a", "1")),
        ],
    );
    world.deliver("shop", vec![item(config("a", "2"))]);
    assert!(world.live(CONFIG).is_none());
    assert!(
        world.state("shop").message.contains("waits for hook"),
        "{:?}",
        world.state("shop").message
    );
    world.run(600_000);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "2");
    world.expect("shop", AppState::Healthy);
}

#[test]
fn a_newer_release_that_comes_while_a_hook_is_being_made_runs_its_own() {
    let mut world = World::default();
    let items = |value: &str| {
        let hook = item(job("migrate", "")).hook(Phase::PreSync);
        vec![hook, item(config("a", value))]
    };
    let applied = |world: &World| {
        let writes = world.fake.writes.iter();
        writes.filter(|write| write.contains("Job")).count()
    };
    let first = world.entry(items("1"));
    world.set("shop", first);
    while applied(&world) == 0 {
        assert!(world.turn());
    }
    // the answer to that request is still under way
    let second = world.entry(items("2"));
    world.set("shop", second);
    world.run(30_000);
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.live(CONFIG).expect("there")["data"]["k"], "2");
    let made = world.fake.writes.iter();
    let made = made.filter(|write| write.starts_with("apply batch/Job"));
    assert_eq!(made.count(), 2, "{:?}", world.fake.writes);
}

#[test]
fn an_app_that_takes_over_runs_its_own_hook_in_the_place_of_the_other_s() {
    let mut world = World::default();
    let items = |hint: &str| {
        let hook = item(job("migrate", hint)).hook(Phase::PreSync);
        vec![hook, item(config("a", "1"))]
    };
    world.deliver("old", items(""));
    world.expect("old", AppState::Healthy);
    let uid = |world: &World| {
        let hook = world.live("batch/Job/shop/migrate").expect("there");
        k8s_object::uid(hook).to_owned()
    };
    let before = uid(&world);
    let mut heir = world.entry(items(""));
    heir.takes_over_from = vec![app("old")];
    world.set("new", heir);
    world.run(30_000);
    world.expect("new", AppState::Healthy);
    assert_ne!(uid(&world), before);
    // without that it is refused
    let other = world.entry(items(""));
    world.set("other", other);
    world.run(30_000);
    world.expect("other", AppState::Failed);
    let message = &world.state("other").message;
    assert!(message.contains("not this App's"), "{message}");
}

#[test]
fn a_job_that_ended_is_not_missed_and_a_changed_one_is_made_again() {
    let mut world = World::default();
    world.deliver("shop", vec![item(job("load", ""))]);
    world.expect("shop", AppState::Healthy);
    world.fake.take(&id("batch/Job/shop/load"));
    world.run(5_000);
    assert!(world.live("batch/Job/shop/load").is_none());
    world.expect("shop", AppState::Healthy);
    let mut changed = job("load", "");
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
    world.deliver("shop", vec![item(changed.clone())]);
    let image = |world: &World| {
        world
            .live("batch/Job/shop/load")
            .map(|job| job["spec"]["template"]["spec"]["containers"][0]["image"].clone())
    };
    assert_eq!(image(&world), Some(json!("i:2")));
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:3");
    world.deliver("shop", vec![item(changed)]);
    assert_eq!(image(&world), Some(json!("i:3")));
    assert_eq!(world.fake.deletes, [id("batch/Job/shop/load")]);
}

#[test]
fn conflicts_by_policy() {
    for (policy, state, value) in [
        (ConflictPolicy::Force, AppState::Healthy, "2"),
        (ConflictPolicy::Yield, AppState::Healthy, "hand"),
        (ConflictPolicy::Fail, AppState::Failed, "hand"),
    ] {
        let mut world = World::default();
        let mut entry = world.entry(vec![item(config("a", "1"))]);
        entry.options.self_heal = false;
        world.set("shop", entry);
        world.run(5_000);
        world.fake.edit(&id(CONFIG), "hand", "", |object| {
            object["data"]["k"] = json!("hand")
        });
        let mut entry = world.entry(vec![item(config("a", "2"))]);
        entry.options.self_heal = false;
        entry.options.conflict = policy;
        world.set("shop", entry);
        world.run(60_000);
        world.expect("shop", state);
        assert_eq!(
            world.live(CONFIG).expect("there")["data"]["k"],
            value,
            "{policy:?}"
        );
        if policy == ConflictPolicy::Fail {
            assert!(
                world
                    .state("shop")
                    .message
                    .contains(".data.k is owned by \"hand\""),
                "{:?}",
                world.state("shop").message
            );
        }
    }
}

#[test]
fn replicas_yield_to_whoever_scales() {
    let (mut world, _) = shop();
    world.fake.edit(&id(WEB), "hpa", "scale", |object| {
        object["spec"]["replicas"] = json!(7)
    });
    world.run(10_000);
    assert_eq!(world.live(WEB).expect("there")["spec"]["replicas"], 7);
    world.deliver(
        "shop",
        vec![item(config("a", "1")), item(deployment("web", "i:2"))],
    );
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.live(WEB).expect("there")["spec"]["replicas"], 7);
    assert_eq!(world.state("shop").healed, 0);
}

#[test]
fn an_ignored_field_is_set_once_and_kept_by_another_manager() {
    let mut world = World::default();
    let rules = vec![IgnoreRule {
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        name: String::new(),
        namespace: String::new(),
        json_pointers: vec!["/spec/replicas".to_owned()],
    }];
    let mut entry = world.entry(vec![item(deployment("web", "i:1"))]);
    entry.options.ignore_differences = rules.clone();
    world.set("shop", entry);
    world.run(5_000);
    assert_eq!(world.live(WEB).expect("there")["spec"]["replicas"], 2);
    assert_eq!(world.fake.writes.len(), 2, "{:?}", world.fake.writes);
    let mut entry = world.entry(vec![item(deployment("web", "i:2"))]);
    entry.options.ignore_differences = rules;
    world.set("shop", entry);
    world.run(5_000);
    let web = world.live(WEB).expect("there");
    assert_eq!(web["spec"]["replicas"], 2);
    assert!(
        world
            .fake
            .writes
            .contains(&format!("apply {WEB} by roadstead-keep")),
        "{:?}",
        world.fake.writes
    );
    let owners = web["metadata"]["managedFields"].as_array().expect("a list");
    let owns = |entry: &&Value| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some();
    let owners: Vec<_> = owners
        .iter()
        .filter(owns)
        .map(|entry| entry["manager"].clone())
        .collect();
    assert_eq!(owners, ["roadstead-keep"]);
    // nobody minds what becomes of it
    world.fake.edit(&id(WEB), "hand", "", |object| {
        object["spec"]["replicas"] = json!(9)
    });
    world.run(5_000);
    assert_eq!(world.live(WEB).expect("there")["spec"]["replicas"], 9);
    world.expect("shop", AppState::Healthy);
}

#[test]
fn a_field_that_cannot_change_fails_or_replaces() {
    for policy in [ImmutablePolicy::Fail, ImmutablePolicy::Replace] {
        let (mut world, _) = shop();
        let mut web = deployment("web", "i:1");
        web["spec"]["selector"]["matchLabels"]["tier"] = json!("front");
        let mut entry = world.entry(vec![item(config("a", "1")), item(web)]);
        entry.options.on_immutable = policy;
        if policy == ImmutablePolicy::Replace {
            world.removable.insert(id(WEB));
        }
        world.set("shop", entry);
        world.run(10_000);
        if policy == ImmutablePolicy::Fail {
            world.expect("shop", AppState::Failed);
            assert!(
                world.state("shop").message.contains("spec.selector"),
                "{:?}",
                world.state("shop").message
            );
        } else {
            world.expect("shop", AppState::Healthy);
            assert_eq!(
                world.live(WEB).expect("there")["spec"]["selector"]["matchLabels"]["tier"],
                "front"
            );
        }
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_fails() {
    let mut world = World::default();
    let busy = || ErrorKind::TooManyRequests {
        retry_after_ms: 4_000,
    };
    world.fake.faults.insert(
        id(CONFIG),
        vec![ErrorKind::Unavailable, busy(), ErrorKind::Unavailable],
    );
    let entry = world.entry(vec![item(config("a", "1"))]);
    world.set("shop", entry);
    world.run(3_000);
    assert!(world.live(CONFIG).is_none());
    world.run(10_000);
    world.expect("shop", AppState::Healthy);
    for kind in [
        ErrorKind::Admission,
        ErrorKind::Forbidden,
        ErrorKind::Invalid { fields: Vec::new() },
    ] {
        let mut world = World::default();
        world.fake.faults.insert(id(CONFIG), vec![kind]);
        world.deliver("shop", vec![item(config("a", "1")), item(config("b", "1"))]);
        world.expect("shop", AppState::Failed);
        assert!(
            world.live("/ConfigMap/shop/b").is_some(),
            "others of the wave are applied"
        );
    }
}

#[test]
fn a_newer_order_pre_empts_what_is_retried() {
    let mut world = World::default();
    world
        .fake
        .faults
        .insert(id(CONFIG), vec![ErrorKind::Unavailable; 1_000]);
    world.deliver("shop", vec![item(config("a", "1"))]);
    world.expect("shop", AppState::Syncing);
    world.deliver("shop", vec![item(config("b", "1"))]);
    world.expect("shop", AppState::Healthy);
    assert!(world.live(CONFIG).is_none());
}

#[test]
fn goes_on_without_the_hub_and_after_a_lost_watch() {
    let (mut world, _) = shop();
    world.connected = false;
    world.input(roadstead_sync::Input::Disconnected);
    world.restart();
    world.run(5_000);
    world.fake.take(&id(WEB));
    world.run(1_000);
    assert!(world.live(WEB).is_some());
    let gvk = Gvk::new("v1", "ConfigMap");
    world.fake.watches.remove(&gvk);
    world.fake.take(&id(CONFIG));
    world
        .fake
        .events
        .retain(|(other, event)| *other != gvk || matches!(event, WatchEvent::Synced(_)));
    world.input(roadstead_sync::Input::WatchEnded {
        gvk,
        error: Some(k8s_cluster::ClusterError::new(
            ErrorKind::Expired,
            "too old",
        )),
    });
    world.run(2_000);
    assert!(world.live(CONFIG).is_some());
}

#[test]
fn an_app_in_trouble_holds_up_no_other() {
    let mut world = World::default();
    for n in 0..20 {
        let name = format!("c{n}");
        world.fake.faults.insert(
            id(&format!("/ConfigMap/shop/{name}")),
            vec![ErrorKind::Unavailable; 1_000],
        );
    }
    world.deliver(
        "bad",
        (0..20)
            .map(|n| item(config(&format!("c{n}"), "1")))
            .collect(),
    );
    world.run(60_000);
    world.deliver(
        "shop",
        vec![item(config("a", "1")), item(deployment("web", "i:1"))],
    );
    world.expect("shop", AppState::Healthy);
}
