//! What agents report becomes facts.

use base_store::{Expect, Op};
use bytes::Bytes;
use roadstead_dispatch::{AppReport, AppState, Report, served_digest};
use roadstead_model::{ClusterId, Time};
use serde::Serialize;

use crate::index::Index;
use crate::records::{Seen, keys};

/// Turns a report into writes; nothing that is known already is written again. A report on an App that is not assigned
/// to the cluster is dropped: an agent speaks of what it was told to run, and of nothing else.
pub fn ingest(index: &Index, cluster: &ClusterId, report: &Report, now: Time) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut put = |key: String, bytes: Vec<u8>| {
        ops.push(Op::Put {
            key,
            value: Bytes::from(bytes),
            expect: Expect::Any,
        })
    };
    let old = index.seen(cluster);
    let mut seen = old.cloned().unwrap_or(Seen {
        last: now,
        ..Seen::default()
    });
    if let Some(root) = &report.root {
        seen.root = Some(root.clone());
    }
    if let Some(facts) = &report.facts {
        let mut facts = facts.clone();
        // the list has a record of its own, which all clusters share that serve the same
        let list = std::mem::take(&mut facts.api_versions);
        if !index.served.contains_key(&facts.served) {
            if served_digest(&list).as_ref() == Some(&facts.served) {
                put(keys::served(&facts.served), encode(&list));
            } else {
                facts.served.clear();
            }
        }
        seen.facts = facts;
    }
    if let Some(clock) = report.clock {
        seen.clock_off = clock_off(seen.clock_off, clock, now);
    }
    match &report.unkept {
        Some(why) => seen.unkept.clone_from(why),
        // an agent that cannot keep its records says nothing else
        None => seen.unkept.clear(),
    }
    let first = report.whole && index.awaits_inventory(cluster);
    if report.whole {
        seen.epoch = index.epoch;
    }
    if old.is_none_or(|old| {
        let known = |seen: &Seen| (seen.epoch, seen.clock_off, seen.unkept.clone());
        old.root != seen.root || old.facts != seen.facts || known(old) != known(&seen)
    }) {
        seen.last = now;
        put(keys::seen(cluster), encode(&seen));
    }
    for (app, state) in report.apps.iter().filter(|_| first) {
        if let Some(ahead) = index.note_ahead(cluster, app, state) {
            put(keys::ahead(cluster, app), encode(&ahead));
        }
    }
    for (app, state) in &report.apps {
        let known = index.assignment(cluster, app).is_some();
        if !known {
            continue;
        }
        // by the hub's clock: an agent's may be wrong, and how long a state has lasted decides
        let old = index.observed(cluster, app);
        let lasts = old.filter(|old| {
            old.state == state.state && old.variant == state.variant && old.attempt == state.attempt
        });
        let still = |old: &&AppReport| {
            old.health == state.health
                && old.message == state.message
                && old.problems == state.problems
        };
        let state = AppReport {
            since: lasts.map_or(now, |old| old.since),
            moved: lasts
                .filter(still)
                .map_or(now, |old| old.moved.max(old.since)),
            ..state.clone()
        };
        if old != Some(&state) {
            put(keys::observed(cluster, app), encode(&state));
        }
    }
    if report.whole {
        // what a backup says that it holds, and it does not, is no ground for anything
        let lost = index.apps_of(cluster).filter(|app| {
            !report.apps.contains_key(*app)
                && index
                    .observed(cluster, app)
                    .is_some_and(|old| old.state != AppState::Gone)
        });
        ops.extend(lost.map(|app| Op::Delete {
            key: keys::observed(cluster, app),
            expect: Expect::Any,
        }));
    }
    for app in &report.gone {
        if index.observed(cluster, app).is_some() && index.assignment(cluster, app).is_none() {
            ops.push(Op::Delete {
                key: keys::observed(cluster, app),
                expect: Expect::Any,
            });
        }
    }
    ops
}

/// By how much a clock counts as wrong, in milliseconds: a report that was held up on its way says as much as that.
const CLOCK_OFF: i64 = 60_000;

/// How far an agent's clock is off, as it is kept: not at all, or in tens of seconds. What is known stays until it is
/// off by more than that, so that no report costs a write.
fn clock_off(known: i64, clock: Time, now: Time) -> i64 {
    let off = clock.0.saturating_sub(now.0);
    let off = if off.abs() < CLOCK_OFF {
        0
    } else {
        off / 10_000 * 10_000
    };
    let near = (off == 0) == (known == 0) && off.saturating_sub(known).abs() <= 20_000;
    if near { known } else { off }
}

/// Notes when a cluster was heard of, for when it comes and goes.
impl Index {
    /// The write that notes that the hub is alive, and hears of every agent that is connected: one for all of them.
    pub fn note_alive(now: Time) -> Op {
        Op::Put {
            key: keys::ALIVE.to_owned(),
            value: Bytes::from(encode(&now)),
            expect: Expect::Any,
        }
    }

    /// The write that notes that a cluster came or went now.
    pub fn note_seen(&self, cluster: &ClusterId, now: Time) -> Op {
        let seen = Seen {
            last: now,
            connected: self.is_connected(cluster),
            ..self.seen(cluster).cloned().unwrap_or_default()
        };
        Op::Put {
            key: keys::seen(cluster),
            value: Bytes::from(encode(&seen)),
            expect: Expect::Any,
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // a record serialises: it has text keys and finite numbers
    serde_json::to_vec(value).unwrap_or_default()
}
