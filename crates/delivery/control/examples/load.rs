//! Folds what a hub knows of many clusters and Apps, and times what the hub does then.
//!
//! `cargo run --release -p roadstead-control --example load -- 5000 50` (clusters, Apps). Figures of a run stand in
//! docs/benchmarks.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and says what it measured"
)]

#[path = "../tests/world/mod.rs"]
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_control::{
    Decision, Index, VariantSource, assignment_page, assignments, decide, entries, ingest, keys,
    project,
};
use roadstead_dispatch::{AppState, EntryPhase, Report};
use roadstead_model::{AppKey, StrategySpec, VariantId};
use roadstead_rollout::{Assignment, Good, Outcome, OutcomeKind, Phase, Rollout, StagePhase};
use serde_json::json;
use world::{Lists, World, app, config, id};

fn timed<T>(what: &str, times: u32, mut run: impl FnMut() -> T) -> T {
    let mut spent = Vec::new();
    let mut last = None;
    for _ in 0..times {
        let from = Instant::now();
        last = Some(run());
        spent.push(from.elapsed());
    }
    spent.sort();
    let median = spent[spent.len() / 2];
    println!("{what:<58} {:>12}", text(median));
    last.unwrap_or_else(|| unreachable!("it ran at least once"))
}

fn text(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 1_000.0 => format!("{us:.1} µs"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Everything at rest: each App's Release on every cluster, healthy.
fn at_rest(clusters: usize, apps: usize) -> World {
    let mut world = World::new();
    for n in 0..clusters {
        let ring = ["canary", "early", "main"][(n % 50).min(2)];
        world.cluster_with(
            &format!("c{n}"),
            &json!({"ring": ring, "region": "eu"}),
            &json!({}),
        );
    }
    let objects: Vec<(String, String)> = (0..10)
        .map(|n| (format!("{n}.yaml"), config(&format!("config-{n}"), "1")))
        .collect();
    for n in 0..apps {
        let name = format!("app{n:02}");
        world.app(&name, &json!({}));
        let files: Vec<(&str, String)> = objects
            .iter()
            .map(|(f, t)| (f.as_str(), t.clone()))
            .collect();
        world.git(&name, &files);
        // nobody is connected yet: the Release is made and rendered, and nothing starts
        for _ in 0..4 {
            world.look(&app(&name));
        }
        let record = world
            .index
            .releases(&app(&name))
            .next()
            .expect("it was made")
            .clone();
        let variant = match record.variants.values().next() {
            Some(roadstead_control::VariantOutcome::Variant { id, .. }) => *id,
            other => panic!("{other:?}"),
        };
        let mut rollout = Rollout::new(1, record.id, &StrategySpec::built_in(), world.now);
        rollout.phase = Phase::Completed;
        rollout.ended_at = Some(world.now);
        for stage in &mut rollout.stages {
            stage.phase = StagePhase::Passed;
        }
        world.put(
            &keys::rollout(&app(&name), 1),
            &serde_json::to_value(&rollout).expect("it is plain"),
        );
        let good = Good {
            release: record.id,
            variant,
        };
        let assignment = Assignment {
            release: record.id,
            variant,
            phase: EntryPhase::Deliver,
            rollout: 1,
            since: world.now,
            attempt: 0,
            counted: true,
            emergency: false,
            removals: None,
            outcome: Some(Outcome {
                kind: OutcomeKind::Healthy,
                at: world.now,
                reason: String::new(),
            }),
            good: vec![good],
        };
        let assignment = serde_json::to_value(&assignment).expect("it is plain");
        for n in 0..clusters {
            world.put(
                &keys::assigned(&id(&format!("c{n}")), &app(&name)),
                &assignment,
            );
        }
        let entry = entries(&world.index, &id("c0"), &Lists(&world.blobs), world.now)
            .and_then(|mut all| all.remove(&app(&name)))
            .expect("it is assigned");
        let state = world.reached(&entry, AppState::Healthy);
        let state = serde_json::to_value(&state).expect("it is plain");
        for n in 0..clusters {
            world.put(&keys::observed(&id(&format!("c{n}")), &app(&name)), &state);
        }
    }
    for n in 0..clusters {
        world.connect(&format!("c{n}"));
    }
    world
}

/// Variant lists that are read once, as the hub keeps them.
struct Known<'a>(
    &'a BTreeMap<Digest, Bytes>,
    RefCell<BTreeMap<VariantId, Option<Arc<[ObjectId]>>>>,
);

impl VariantSource for Known<'_> {
    fn lasting(&self, variant: &VariantId) -> Option<Arc<[ObjectId]>> {
        let mut known = self.1.borrow_mut();
        known
            .entry(*variant)
            .or_insert_with(|| Lists(self.0).lasting(variant))
            .clone()
    }
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok());
    let clusters: usize = numbers.next().unwrap_or(500);
    let apps: usize = numbers.next().unwrap_or(10);
    println!("{clusters} clusters × {apps} Apps");
    let mut world = at_rest(clusters, apps);
    let now = world.now.plus_ms(1_000);
    let before = memory();
    let facts = std::mem::take(&mut world.facts);
    let bytes: usize = facts.iter().map(|(k, (v, _))| k.len() + v.len()).sum();
    println!("{:<58} {:>12}", "records", facts.len());
    println!(
        "{:<58} {:>8.2} MiB",
        "their bytes",
        bytes as f64 / 1048576.0
    );
    let mut index = Index::default();
    timed("fold everything, as a hub that starts does", 1, || {
        index = Index::new(now, 60_000);
        for (key, (value, at)) in &facts {
            index.apply_entry(key, Some(value), *at);
        }
    });
    println!(
        "{:<58} {:>8.0} MiB",
        "memory of the folded index",
        memory() - before
    );
    for n in 0..clusters {
        index.session_up(&id(&format!("c{n}")), now);
    }
    let all: Vec<AppKey> = index.apps().map(|(app, _)| app.clone()).collect();
    let looked = timed("the first look at every App after a start", 1, || {
        let looks: Vec<Decision> = all
            .iter()
            .map(|app| decide(&mut index, app, now, true))
            .collect();
        looks.iter().map(|look| look.ops.len()).sum::<usize>()
    });
    println!("{:<58} {looked:>12}", "  writes of these");
    index.take_dirty();
    let one = app("app00");
    timed("one look at one App at rest", 15, || {
        decide(&mut index, &one, now, true)
    });
    let lists = Known(&world.blobs, RefCell::default());
    timed("one cluster's order", 51, || {
        entries(&index, &id("c1"), &lists, now)
    });
    let mut state = index
        .observed(&id("c1"), &one)
        .expect("it is observed")
        .clone();
    let mut nth = 0;
    timed("one report of one App, and its fold", 51, || {
        nth += 1;
        state.writes = nth;
        let report = Report {
            apps: BTreeMap::from([(one.clone(), state.clone())]),
            ..Report::default()
        };
        for op in ingest(&index, &id("c1"), &report, now) {
            if let base_store::Op::Put { key, value, .. } = op {
                index.apply_entry(&key, Some(&value), index.revision());
            }
        }
    });
    index.take_dirty();
    timed("the minute's note that everybody is heard of", 15, || {
        if let base_store::Op::Put { key, value, .. } = Index::note_alive(now) {
            index.apply_entry(&key, Some(&value), index.revision());
        }
    });
    index.take_dirty();
    timed("what people see of one App", 15, || {
        project(&index, &one, None, now).len()
    });
    timed("what people see of one cluster", 51, || {
        index.project_cluster(&id("c1"), now)
    });
    timed("every assignment as people see it", 1, || {
        assignments(&index, now).len()
    });
    let after = format!("default/app{:02}/c1", apps / 2);
    timed("a page of 100 assignments in the middle", 15, || {
        assignment_page(&index, "", &after, 100, now).views.len()
    });
    timed(
        "a cluster that comes: its Apps are looked at again",
        3,
        || {
            index.session_up(&id("c1"), now);
            index.take_dirty().apps.len()
        },
    );
    let record = index.releases(&one).next().expect("it is there").clone();
    let value = serde_json::to_vec(&record).expect("it is plain");
    let marked = timed(
        "a changed record of a Release, and the orders it marks",
        5,
        || {
            index.apply_entry(&keys::release(&one, 1), Some(&value), index.revision());
            index.take_dirty().orders.len()
        },
    );
    println!("{:<58} {marked:>12}", "  orders marked");
    world.index = index;
    world.facts = facts;
    world.git("app00", &[("0.yaml", config("config-0", "2"))]);
    let mut looks = Vec::new();
    for _ in 0..6 {
        let from = Instant::now();
        world.index.mark(&one);
        world.look(&one);
        looks.push(from.elapsed());
    }
    looks.sort();
    let worst = looks.last().copied().unwrap_or_default();
    println!(
        "{:<58} {:>12}",
        "the slowest look at an App with a Rollout under way",
        text(worst)
    );
}
