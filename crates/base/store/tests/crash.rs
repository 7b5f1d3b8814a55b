//! Crashes at every operation of the disk, full disks, failing syncs, rot: by seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use base_store::memory::{Limits, MemoryStore, OpenError};
use base_store::{
    At, Batch, CommitError, CommitId, DiskError, DiskFile, Expect, Faults, Op, Range, ReadError,
    Revision, SimDisk, Store,
};
use bytes::Bytes;

const SEEDS: u64 = 300;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

type Rows = BTreeMap<String, Bytes>;

fn rows(store: &dyn Store) -> Rows {
    let range = Range {
        prefix: String::new(),
        after: None,
        limit: 0,
        at: At::Newest,
    };
    let page = store.range(&range).expect("readable");
    page.entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

fn ops(random: &mut Random) -> Vec<Op> {
    let first = random.below(8);
    (0..=random.below(3))
        .map(|n| {
            let key = format!("k{}", (first + n) % 8);
            let expect = Expect::Any;
            if random.below(4) == 0 {
                return Op::Delete { key, expect };
            }
            let len = 1 + random.below(2000) as usize;
            let value = Bytes::from(vec![random.below(256) as u8; len]);
            Op::Put { key, value, expect }
        })
        .collect()
}

fn after(rows: &Rows, ops: &[Op]) -> Rows {
    let mut rows = rows.clone();
    for op in ops {
        match op {
            Op::Put { key, value, .. } => {
                rows.insert(key.clone(), value.clone());
            }
            op => {
                rows.remove(op.key());
            }
        }
    }
    rows
}

fn open(disk: &SimDisk) -> Result<MemoryStore<SimDisk>, OpenError> {
    MemoryStore::open(disk.clone(), Limits::STORE)
}

/// What a run has been promised.
struct Promised {
    rows: Rows,
    revision: Revision,
    oldest: Revision,
    commits: Vec<CommitId>,
    blobs: Vec<(Digest, Bytes)>,
    token: u64,
}

/// Works on the disk until it fails or the work is done; returns the batch whose outcome is open.
fn work(store: &MemoryStore<SimDisk>, random: &mut Random, so_far: &mut Promised) -> Option<Batch> {
    for _ in 0..12 {
        match random.below(10) {
            0 => match store.compact(so_far.revision) {
                Ok(()) => so_far.oldest = so_far.revision,
                Err(CommitError::Full { .. }) => {}
                Err(CommitError::Closed { .. }) => return None,
                Err(error) => panic!("{error}"),
            },
            1 => {
                let bytes = Bytes::from(random.below(u64::MAX >> 33).to_string().repeat(200));
                let blob = (Digest::of(&bytes), bytes);
                if store.put_blobs(std::slice::from_ref(&blob)).is_ok() {
                    so_far.blobs.push(blob);
                }
            }
            2 => {
                let (holder, now) = (random.below(3).to_string(), random.below(1000) * 100);
                if let Ok(Some(fence)) = store.lease("l", &holder, 100, now) {
                    assert!(fence.token >= so_far.token);
                    so_far.token = fence.token;
                }
            }
            _ => {
                let batch = Batch::new(
                    CommitId(u128::from(random.below(u64::MAX >> 33))),
                    ops(random),
                );
                match store.commit(batch.clone()) {
                    Ok(made) => {
                        so_far.rows = after(&so_far.rows, &batch.ops);
                        so_far.revision = made.last;
                        if made.first <= made.last {
                            so_far.commits.push(batch.id);
                        }
                    }
                    Err(CommitError::Full { .. }) => {}
                    Err(CommitError::OutcomeUnknown { .. }) => {
                        assert_eq!(rows(store), so_far.rows, "what is not known is not shown");
                        assert!(store.outcome(batch.id).is_err());
                        return Some(batch);
                    }
                    Err(CommitError::Closed { .. }) => return None,
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(rows(store), so_far.rows);
            }
        }
    }
    None
}

/// Checks that what was promised is there, and of what is open either all or nothing.
fn verify(
    store: &MemoryStore<SimDisk>,
    so_far: &mut Promised,
    open: Option<&Batch>,
    context: &str,
) {
    let found = rows(store);
    if let Some(batch) = open
        && let Some(made) = store.outcome(batch.id).expect("it is known now")
    {
        so_far.rows = after(&so_far.rows, &batch.ops);
        so_far.revision = made.last;
        so_far.commits.push(batch.id);
    }
    assert_eq!(found, so_far.rows, "{context}");
    assert_eq!(store.revision(), so_far.revision, "{context}");
    for id in &so_far.commits {
        assert!(matches!(store.outcome(*id), Ok(Some(_))), "{context}");
    }
    for (digest, bytes) in &so_far.blobs {
        assert_eq!(store.get_blob(digest), Ok(Some(bytes.clone())), "{context}");
    }
    if so_far.token > 0 {
        let fence = store.lease("l", context, 0, u64::MAX).expect("it writes");
        let token = fence.expect("every lease has ended").token;
        assert!(token > so_far.token, "{context}");
        so_far.token = token;
    }
}

fn promised(store: &dyn Store) -> Promised {
    Promised {
        rows: rows(store),
        revision: store.revision(),
        oldest: store.revision(),
        commits: Vec::new(),
        blobs: Vec::new(),
        token: 0,
    }
}

/// Runs one seed: cycles of work under faults, each ended by a crash; returns what the disk went through.
fn run(seed: u64, faults: impl Fn(&mut Random) -> Faults) -> (u64, u64) {
    let mut random = Random(seed);
    let mut disk = SimDisk::new(Faults {
        seed,
        ..Faults::default()
    });
    let mut so_far = promised(&open(&disk).expect("an empty disk opens"));
    for cycle in 0..6 {
        let store = open(&disk).expect("it opens");
        disk.set_faults(faults(&mut random));
        let unknown = work(&store, &mut random, &mut so_far);
        drop(store);
        disk = disk.crash();
        disk.set_faults(Faults::default());
        let store =
            open(&disk).unwrap_or_else(|error| panic!("seed {seed} cycle {cycle}: {error}"));
        verify(
            &store,
            &mut so_far,
            unknown.as_ref(),
            &format!("seed {seed} cycle {cycle}"),
        );
    }
    (disk.operations(), disk.syncs())
}

#[test]
fn acknowledged_commits_survive_faults_of_every_kind() {
    for seed in 0..SEEDS {
        let faults = |random: &mut Random| Faults {
            seed: random.below(1 << 30),
            full: random.below(200) as u16,
            sync: random.below(100) as u16,
            power_loss_at: None,
            room: Some(10_000 + random.below(30_000)),
        };
        let first = run(seed, faults);
        if seed < 20 {
            assert_eq!(run(seed, faults), first, "seed {seed} replays");
        }
    }
}

#[test]
fn acknowledged_commits_survive_a_loss_of_power_at_every_operation() {
    for seed in 0..SEEDS / 10 {
        for at in 0.. {
            let mut random = Random(seed);
            let disk = SimDisk::new(Faults {
                seed,
                power_loss_at: Some(at),
                ..Faults::default()
            });
            let store = match open(&disk) {
                Ok(store) => store,
                Err(OpenError::Disk {
                    source: DiskError::Failed { .. },
                    ..
                }) => {
                    // The power went while the files were made.
                    let disk = disk.crash();
                    disk.set_faults(Faults::default());
                    assert_eq!(rows(&open(&disk).expect("it opens")), Rows::new());
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let mut so_far = promised(&store);
            let mut unknown = None;
            for _ in 0..3 {
                unknown = unknown.or(work(&store, &mut random, &mut so_far));
            }
            let done = disk.operations() <= at;
            drop(store);
            let disk = disk.crash();
            disk.set_faults(Faults::default());
            let context = format!("seed {seed} power loss at {at}");
            let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            verify(&store, &mut so_far, unknown.as_ref(), &context);
            if done {
                break;
            }
        }
    }
}

fn put(store: &dyn Store, id: u128, value: &str) -> Result<base_store::Committed, CommitError> {
    let op = Op::Put {
        key: format!("k{id}"),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expect: Expect::Any,
    };
    store.commit(Batch::new(CommitId(id), vec![op]))
}

#[test]
fn a_full_disk_refuses_and_later_goes_on() {
    let disk = SimDisk::new(Faults::default());
    let store = open(&disk).expect("it opens");
    put(&store, 1, "one").expect("there is room");
    disk.set_faults(Faults {
        room: Some(200),
        ..Faults::default()
    });
    let large = "x".repeat(500);
    let error = put(&store, 2, &large).expect_err("there is no room");
    assert_eq!(
        error.to_string(),
        "no room to write: no space left on the disk"
    );
    assert_eq!(rows(&store).len(), 1);
    assert_eq!(store.outcome(CommitId(2)), Ok(None));
    disk.set_faults(Faults::default());
    put(&store, 3, "three").expect("there is room again");
    drop(store);
    assert_eq!(rows(&open(&disk.crash()).expect("it opens")).len(), 2);
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_it_is_opened_again() {
    let disk = SimDisk::new(Faults::default());
    let store = open(&disk).expect("it opens");
    put(&store, 1, "one").expect("it is made");
    disk.set_faults(Faults {
        sync: 1000,
        ..Faults::default()
    });
    let unknown = put(&store, 2, "two");
    assert!(matches!(unknown, Err(CommitError::OutcomeUnknown { .. })));
    disk.set_faults(Faults::default());
    let closed = put(&store, 3, "three").expect_err("it is closed");
    assert_eq!(
        closed.to_string(),
        "store is closed: disk failed: input/output error"
    );
    assert_eq!(rows(&store).len(), 1, "reads go on");
    drop(store);
    let store = open(&disk.crash()).expect("it opens");
    let made = store
        .outcome(CommitId(2))
        .expect("it is known now")
        .is_some();
    assert_eq!(rows(&store).len(), 1 + usize::from(made));
    put(&store, 3, "three").expect("it writes again");
}

#[test]
fn what_is_torn_is_cut_off_and_what_is_rotten_is_an_error() {
    let disk = SimDisk::new(Faults::default());
    let store = open(&disk).expect("it opens");
    let mut ends = vec![disk.len(DiskFile::Log)];
    for id in 1..=5 {
        put(&store, id, &"v".repeat(40)).expect("it is made");
        ends.push(disk.len(DiskFile::Log));
    }
    drop(store);
    let mut whole = Vec::new();
    disk.rot(DiskFile::Log, |bytes| whole.clone_from(bytes));
    let opened = |bytes: &[u8]| {
        disk.rot(DiskFile::Log, |file| *file = bytes.to_vec());
        open(&disk).map(|store| rows(&store).len())
    };
    for cut in ends[0]..=whole.len() {
        let whole_ones = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(opened(&whole[..cut]), Ok(whole_ones), "cut at {cut}");
    }
    for at in 0..ends[4] {
        let mut rotten = whole.clone();
        rotten[at] ^= 1;
        let error = opened(&rotten).expect_err("a promise is broken");
        let frame = ends.iter().rev().find(|end| **end <= at);
        match frame {
            None => assert_eq!(
                error,
                OpenError::Foreign {
                    file: DiskFile::Log
                }
            ),
            Some(offset) => {
                let file = DiskFile::Log;
                assert_eq!(
                    error,
                    OpenError::Damaged {
                        file,
                        offset: *offset
                    },
                    "byte {at}"
                );
            }
        }
    }
}

#[test]
fn compaction_gives_the_room_back() {
    let disk = SimDisk::new(Faults::default());
    let store = open(&disk).expect("it opens");
    for n in 0..100 {
        let op = Op::Put {
            key: "k".to_owned(),
            value: Bytes::from(format!("{n:01000}")),
            expect: Expect::Any,
        };
        store
            .commit(Batch::new(CommitId(n), vec![op]))
            .expect("it is made");
    }
    let before = disk.len(DiskFile::Log);
    store.compact(store.revision()).expect("it compacts");
    assert!(disk.len(DiskFile::Log) * 10 < before);
}

#[test]
fn a_commit_is_synced_once_and_what_changes_nothing_not_at_all() {
    let disk = SimDisk::new(Faults::default());
    let store = Arc::new(open(&disk).expect("it opens"));
    let before = disk.syncs();
    put(&*store, 1, "one").expect("it is made");
    assert_eq!(disk.syncs(), before + 1);
    put(&*store, 2, "").expect("it is made");
    let again = Op::Put {
        key: "k1".to_owned(),
        value: Bytes::from_static(b"one"),
        expect: Expect::Any,
    };
    store
        .commit(Batch::new(CommitId(3), vec![again]))
        .expect("nothing changes");
    assert_eq!(
        disk.syncs(),
        before + 2,
        "what changes nothing writes nothing"
    );
}

#[test]
fn a_restored_store_has_everything_and_is_taken_for_no_other() {
    let store = open(&SimDisk::new(Faults::default())).expect("it opens");
    put(&store, 1, "one").expect("it is made");
    let blob = Bytes::from_static(b"content");
    let digest = Digest::of(&blob);
    store.put_blobs(&[(digest, blob.clone())]).expect("stored");
    let fence = store
        .lease("l", "a", 1000, 0)
        .expect("answered")
        .expect("free");
    let backup = store.backup();
    let lost = put(&store, 2, "after the backup").expect("it is made").last;

    let disk = SimDisk::new(Faults::default());
    let restored = MemoryStore::restore(disk.clone(), Limits::STORE, &backup, lost);
    let revision = Revision(lost.0 + 1_000_000_000);
    assert_eq!(restored.expect("it is restored").revision(), revision);
    let store = open(&disk.crash()).expect("it opens");
    assert_eq!(store.revision(), revision);
    assert_eq!(rows(&store).len(), 1);
    assert_eq!(store.get_blob(&digest), Ok(Some(blob)));
    assert!(matches!(
        store.watch("", lost),
        Err(ReadError::Compacted { .. })
    ));
    let next = store
        .lease("l", "b", 1000, 0)
        .expect("answered")
        .expect("free");
    assert!(next.token > fence.token + 1);
    assert_eq!(
        put(&store, 3, "three").expect("it is made").last.0,
        revision.0 + 1
    );
}
