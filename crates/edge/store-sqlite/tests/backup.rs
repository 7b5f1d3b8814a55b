//! Backups while commits go on, and stores that come back from them.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};

use base_json::Digest;
use base_store::{
    At, Batch, CommitError, CommitId, Expect, Fence, Op, Page, Range, ReadError, Revision, Store,
};
use bytes::Bytes;
use roadstead_store_sqlite::{Options, SqliteStore, restore};
use tempfile::TempDir;

static IDS: AtomicU64 = AtomicU64::new(0);

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).expect("it opens")
}

fn put(store: &SqliteStore, key: &str, value: &str) -> Revision {
    let op = Op::Put {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expect: Expect::Any,
    };
    let id = CommitId(u128::from(IDS.fetch_add(1, Ordering::Relaxed)));
    store
        .commit(Batch::new(id, vec![op]))
        .expect("it is made")
        .last
}

fn everything(store: &SqliteStore, at: At) -> Result<Page, ReadError> {
    store.range(&Range {
        prefix: String::new(),
        after: None,
        limit: 0,
        at,
    })
}

#[test]
fn a_backup_is_one_moment_while_commits_go_on() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder.path().join("hub.db"));
    for n in 0..1000 {
        put(&store, &format!("k{n:04}"), &"x".repeat(3000));
    }
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let backup = folder.path().join("backup.db");
    let (made, seen) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let n = commits.fetch_add(1, Ordering::SeqCst);
                put(&store, &format!("k{:04}", n % 1000), &n.to_string());
            }
        });
        let mut seen = Vec::new();
        let made = store.backup(&backup, |progress| {
            seen.push(progress);
            // Commits come between the steps: a copy that each of them began anew would never end.
            let before = commits.load(Ordering::SeqCst);
            while commits.load(Ordering::SeqCst) < before + 2 {
                std::thread::yield_now();
            }
        });
        stop.store(true, Ordering::SeqCst);
        (made.expect("it is made"), seen)
    });
    assert!(seen.len() > 2);
    assert!(
        seen.windows(2)
            .all(|two| two[0].done < two[1].done && two[0].total == two[1].total)
    );
    assert!(seen.last().is_some_and(|last| last.done == last.total));
    assert!(store.revision() > made.revision);
    let then = everything(&store, At::Revision(made.revision)).expect("readable");
    assert_eq!(
        std::fs::metadata(&backup).expect("it is there").len(),
        made.bytes
    );
    let copy = open(&backup);
    assert_eq!(everything(&copy, At::Newest), Ok(then));
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .filter(|name| name.to_string_lossy().contains("part"))
        .collect();
    assert_eq!(names, [""; 0]);
}

#[test]
fn a_backup_overwrites_nothing() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder.path().join("hub.db"));
    let backup = folder.path().join("backup.db");
    std::fs::write(&backup, "precious").expect("it writes");
    let error = store.backup(&backup, |_| {}).expect_err("it is refused");
    let expected = format!(
        "{} is there already: choose another name, or remove it",
        backup.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read(&backup).expect("it is there"), b"precious");
}

#[test]
fn a_restored_store_has_everything_and_is_taken_for_no_other() {
    let folder = TempDir::new().expect("a folder");
    let (path, backup) = (
        folder.path().join("hub.db"),
        folder.path().join("backup.db"),
    );
    let store = open(&path);
    assert_eq!(store.epoch(), 1);
    let blob = Bytes::from_static(b"content");
    let digest = Digest::of(&blob);
    put(&store, "a", "1");
    let at = put(&store, "b", "1");
    store.put_blobs(&[(digest, blob.clone())]).expect("stored");
    let old_fence = store
        .lease("l", "x", 1000, 1000)
        .expect("answered")
        .expect("free");
    store.backup(&backup, |_| {}).expect("it is made");
    let lost = put(&store, "c", "after the backup");
    drop(store);

    let restored = restore(&backup, &path, 0).expect("it is restored");
    assert_eq!(restored.revision.0, lost.0 + 1_000_000_000);
    assert_eq!(restored.epoch, 2);
    let store = open(&path);
    assert_eq!(store.epoch(), 2);
    assert_eq!(store.revision(), restored.revision);
    let page = everything(&store, At::Newest).expect("readable");
    let keys: Vec<(&str, u64)> = page
        .entries
        .iter()
        .map(|e| (&*e.key, e.modified.0))
        .collect();
    assert_eq!(keys, [("a", at.0 - 1), ("b", at.0)]);
    assert_eq!(store.get_blob(&digest), Ok(Some(blob)));
    // Old lists and watches are told to begin again, also at revisions that the backup had not reached.
    for asked in [at, lost] {
        let oldest = restored.revision;
        let compacted = ReadError::Compacted { asked, oldest };
        assert_eq!(store.watch("", asked).err(), Some(compacted.clone()));
        assert_eq!(everything(&store, At::Revision(asked)), Err(compacted));
    }
    assert!(store.watch("", restored.revision).is_ok());
    assert_eq!(put(&store, "d", "1").0, restored.revision.0 + 1);
    // Who held a lease before holds none now.
    let new_fence: Fence = store
        .lease("l", "y", 1000, 1000)
        .expect("answered")
        .expect("free");
    assert!(new_fence.token > old_fence.token + 1);
    let fenced = Batch {
        fence: Some(old_fence),
        ..Batch::new(CommitId(u128::MAX), vec![])
    };
    assert!(matches!(
        store.commit(fenced),
        Err(CommitError::FenceLost { .. })
    ));
    drop(store);

    // What was there before is whole, under another name.
    let replaced = open(&restored.replaced.expect("there was a store"));
    assert_eq!(replaced.revision(), lost);

    // The same backup again is another epoch, and further on.
    let second = restore(&backup, &path, 0).expect("it is restored");
    assert_eq!(second.epoch, 3);
    assert!(second.revision.0 > restored.revision.0 + 1_000_000_000);
    let third = restore(&backup, &path, 40).expect("it is restored");
    assert_eq!(third.epoch, 41, "agents have seen 40");
    // With nothing to compare with, the backup counts.
    let elsewhere = restore(&backup, &folder.path().join("new.db"), 0).expect("it is restored");
    assert_eq!((elsewhere.epoch, elsewhere.replaced), (2, None));
    assert_eq!(elsewhere.revision.0, at.0 + 1_000_000_000);
}

#[test]
fn a_restore_touches_nothing_when_it_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let (path, backup) = (
        folder.path().join("hub.db"),
        folder.path().join("backup.db"),
    );
    let store = open(&path);
    put(&store, "a", "1");
    store.backup(&backup, |_| {}).expect("it is made");
    let error = restore(&backup, &path, 0).expect_err("it is in use");
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(cause.is_some_and(|cause| cause.contains("is in use by a hub (process ")));
    drop(store);
    std::fs::write(
        folder.path().join("text"),
        "no backup at all, but rather long for a header",
    )
    .expect("it writes");
    std::fs::write(folder.path().join("empty"), "").expect("it writes");
    std::fs::copy(&backup, folder.path().join("rotten")).expect("it copies");
    let rotten = std::fs::File::options()
        .write(true)
        .open(folder.path().join("rotten"));
    std::os::unix::fs::FileExt::write_all_at(&rotten.expect("it opens"), &[0x5a; 4096], 4096)
        .expect("it writes");
    for (name, word) in [
        ("absent", "absent is no backup: "),
        ("empty", "empty is no backup: it is empty"),
        ("text", "file is not a database"),
        ("rotten", "rotten is damaged ("),
    ] {
        let error = restore(&folder.path().join(name), &path, 0).expect_err("it is refused");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let said = format!("{error}: {}", cause.unwrap_or_default());
        assert!(said.contains(word), "{name}: {said}");
        let store = open(&path);
        assert_eq!(store.epoch(), 1);
        assert_eq!(
            everything(&store, At::Newest)
                .expect("readable")
                .entries
                .len(),
            1
        );
    }
}

#[test]
fn a_damaged_store_is_replaced() {
    let folder = TempDir::new().expect("a folder");
    let (path, backup) = (
        folder.path().join("hub.db"),
        folder.path().join("backup.db"),
    );
    let store = open(&path);
    put(&store, "a", "1");
    store.backup(&backup, |_| {}).expect("it is made");
    drop(store);
    std::fs::write(&path, "rubbish").expect("it writes");
    // What a killed hub leaves beside it must not be played into the restored file.
    std::fs::write(folder.path().join("hub.db-wal"), "rubbish").expect("it writes");
    let restored = restore(&backup, &path, 0).expect("it is restored");
    assert!(restored.replaced.is_some());
    assert_eq!(
        everything(&open(&path), At::Newest)
            .expect("readable")
            .entries
            .len(),
        1
    );
}
