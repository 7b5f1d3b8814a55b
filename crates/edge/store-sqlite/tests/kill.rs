//! A process that commits and is killed: what it was told is there, and of the rest all or nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use base_store::{At, Batch, CommitId, Expect, Op, Range, Revision, Store};
use bytes::Bytes;
use roadstead_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

const PATH: &str = "ROADSTEAD_TEST_KILL_PATH";
const ROUND: &str = "ROADSTEAD_TEST_KILL_ROUND";
const THREADS: u128 = 3;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).expect("it opens")
}

/// Three operations, so that half a commit would show.
fn batch(id: u128) -> Batch {
    let ops = ["a", "b", "c"].map(|part| Op::Put {
        key: format!("{id}/{part}"),
        value: Bytes::from(id.to_string().repeat(1 + (id % 200) as usize)),
        expect: Expect::Absent,
    });
    Batch::new(CommitId(id), ops.into())
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) else {
        return;
    };
    let round: u128 = round.parse().expect("a number");
    let store = open(Path::new(&path));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for n in 0.. {
                    let id = (round * THREADS + thread) * 1_000_000 + n;
                    let made = store.commit(batch(id)).expect("it is made");
                    let mut out = std::io::stdout().lock();
                    // The parent may be gone; then so is this soon.
                    let _ = writeln!(out, "made {id} {} {} .", made.first, made.last);
                    if n % 40 == 39 {
                        store.compact(made.first).expect("it compacts");
                    }
                }
            });
        }
    });
}

fn parse(line: &str) -> Option<(u128, u64, u64)> {
    let mut words = line.split(' ');
    if words.next() != Some("made") {
        return None;
    }
    let id = words.next()?.parse().ok()?;
    let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next() == Some(".")).then_some((id, first, last))
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let mut acknowledged = BTreeMap::new();
    for round in 0..8_usize {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "child", "--nocapture"])
            .env(PATH, &path)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = out.lines();
        let mut wanted = 20 + 37 * round;
        let mut killed = false;
        // After the kill the rest of what it said still counts.
        while let Some(Ok(line)) = lines.next() {
            if let Some((id, first, last)) = parse(&line) {
                acknowledged.insert(id, (first, last));
                wanted = wanted.saturating_sub(1);
            }
            if wanted == 0 && !killed {
                child.kill().expect("it is killed");
                killed = true;
            }
        }
        assert!(killed, "the child ended by itself");
        child.wait().expect("it is gone");
        check(&open(&path), &acknowledged);
    }
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
}

fn check(store: &SqliteStore, acknowledged: &BTreeMap<u128, (u64, u64)>) {
    for (id, (first, last)) in acknowledged {
        let made = store.outcome(CommitId(*id)).expect("readable");
        let made = made.map(|made| (made.first.0, made.last.0));
        assert_eq!(made, Some((*first, *last)), "commit {id}");
    }
    let page = store.range(&Range {
        prefix: String::new(),
        after: None,
        limit: 0,
        at: At::Newest,
    });
    let page = page.expect("readable");
    let mut commits: BTreeMap<u128, Vec<Revision>> = BTreeMap::new();
    for entry in &page.entries {
        let (id, _) = entry.key.split_once('/').expect("our keys");
        let id = id.parse().expect("our keys");
        let value = batch(id).ops.into_iter().find_map(|op| match op {
            Op::Put { key, value, .. } if key == entry.key => Some(value),
            _ => None,
        });
        assert_eq!(Some(&entry.value), value.as_ref());
        commits.entry(id).or_default().push(entry.modified);
    }
    let mut revisions: Vec<Revision> = Vec::new();
    for (id, at) in &commits {
        assert_eq!(at.len(), 3, "commit {id} is whole");
        revisions.extend(at);
    }
    revisions.sort_unstable();
    let newest = store.revision();
    let contiguous: Vec<Revision> = (2..=newest.0).map(Revision).collect();
    assert_eq!(revisions, contiguous, "no revision is lost");
    for id in acknowledged.keys() {
        assert!(commits.contains_key(id), "commit {id} is there");
    }
    let stats = store.stats().expect("readable");
    assert_eq!(stats.keys, page.entries.len() as u64);
    assert_eq!(
        stats.bytes,
        page.entries
            .iter()
            .map(|e| e.value.len() as u64)
            .sum::<u64>()
    );
}
