//! Files that cannot be opened, or written: each with its message, and nothing lost.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc;

use base_store::{At, Batch, CommitError, CommitId, Committed, Expect, Op, Range, Store};
use bytes::Bytes;
use roadstead_store_sqlite::{OpenError, Options, SCHEMA_VERSION, SqliteStore};
use tempfile::TempDir;

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, Options::default())
}

fn batch(id: u128, len: usize) -> Batch {
    let op = Op::Put {
        key: format!("k{id}"),
        value: Bytes::from(vec![b'v'; len]),
        expect: Expect::Any,
    };
    Batch::new(CommitId(id), vec![op])
}

fn keys(store: &SqliteStore) -> usize {
    let range = Range {
        prefix: String::new(),
        after: None,
        limit: 0,
        at: At::Newest,
    };
    store.range(&range).expect("readable").entries.len()
}

/// The message, and those of its causes, without the folder's name.
fn message(error: &dyn std::error::Error, folder: &Path) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace(&format!("{}/", folder.display()), "")
}

/// Makes a store, does something to its file, and returns what opening it then says.
fn refused(change: impl FnOnce(&Path)) -> String {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = open(&path).expect("it opens");
    for id in 0..200 {
        store.commit(batch(id, 2000)).expect("it is made");
    }
    drop(store);
    change(&path);
    let error = open(&path).err().expect("it is refused");
    message(&error, folder.path())
}

fn sql(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).expect("it opens");
    connection.execute_batch(sql).expect("it runs");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("it opens");
    file.seek(SeekFrom::Start(at)).expect("it is that long");
    file.write_all(bytes).expect("it writes");
}

#[test]
fn two_stores_on_one_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let holder = Options {
        holder: "hub north".to_owned(),
        ..Options::default()
    };
    let first = SqliteStore::open(&path, holder).expect("it opens");
    let error = open(&path).err().expect("it is refused");
    // in a container every process is the first: the host tells them apart
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => String::new(),
        host => format!(" on {host}"),
    };
    let expected = format!(
        "hub.db is in use by hub north (process {}{host}): stop it first, or give this one a file of its own",
        std::process::id()
    );
    assert_eq!(message(&error, folder.path()), expected);
    first.commit(batch(1, 1)).expect("the first goes on");
    drop(first);
    let second = open(&path).expect("the lock is free");
    assert_eq!(keys(&second), 1);
}

#[test]
fn a_file_that_is_no_database() {
    let said = refused(|path| overwrite(path, 0, b"apiVersion: v1\nkind: List\n"));
    assert_eq!(
        said,
        "hub.db is damaged (file is not a database): keep a copy of it, and restore the newest backup"
    );
}

#[test]
fn a_file_whose_pages_are_overwritten() {
    for page in 1..8 {
        let said = refused(|path| overwrite(path, page * 4096, &[0x5a; 4096]));
        let is_damage = said.starts_with("hub.db is damaged (")
            && said.ends_with("): keep a copy of it, and restore the newest backup");
        assert!(is_damage, "page {page}: {said}");
    }
}

#[test]
fn a_file_that_is_cut_short() {
    let said = refused(|path| {
        let file = std::fs::File::options()
            .write(true)
            .open(path)
            .expect("it opens");
        file.set_len(5 * 4096).expect("it is cut");
    });
    assert!(said.starts_with("hub.db is damaged ("), "{said}");
}

#[test]
fn a_file_of_a_newer_version() {
    let said = refused(|path| {
        sql(
            path,
            &format!("PRAGMA user_version = {}", SCHEMA_VERSION + 1),
        )
    });
    let expected = format!(
        "hub.db was written by a newer Roadstead (schema {}, this one knows {SCHEMA_VERSION}): run that one, or restore a \
         backup from before",
        SCHEMA_VERSION + 1
    );
    assert_eq!(said, expected);
}

#[test]
fn a_database_of_another_program() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    sql(
        &path,
        "CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('La Mer')",
    );
    let mut before = Vec::new();
    let read = |into: &mut Vec<u8>| {
        let mut file = std::fs::File::open(&path).expect("it opens");
        file.read_to_end(into).expect("it reads")
    };
    read(&mut before);
    let error = open(&path).err().expect("it is refused");
    assert_eq!(
        message(&error, folder.path()),
        "hub.db is a database of another program"
    );
    let mut after = Vec::new();
    read(&mut after);
    assert_eq!(before, after, "it is left alone");
}

#[test]
fn a_folder_that_is_not_there() {
    let folder = TempDir::new().expect("a folder");
    let error = open(&folder.path().join("nowhere/hub.db"))
        .err()
        .expect("it is refused");
    assert_eq!(
        message(&error, folder.path()),
        "failed to lock nowhere/hub.db.lock: No such file or directory (os error 2)"
    );
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let bounded = Options {
        max_bytes: Some(400_000),
        ..Options::default()
    };
    let store = SqliteStore::open(&path, bounded).expect("it opens");
    let mut made = 0;
    let error = loop {
        match store.commit(batch(made, 5000)) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    let expected = CommitError::Full {
        cause: "database or disk is full".to_owned(),
    };
    assert_eq!(error, expected);
    assert!(made > 20, "{made}");
    assert_eq!(store.outcome(CommitId(made)), Ok(None));
    // In a group, too, nothing is half written and everybody is told.
    let (sender, receiver) = mpsc::channel();
    for id in 1000..1100 {
        let sender = sender.clone();
        let done = move |outcome: Result<Committed, CommitError>| {
            sender.send((id, outcome)).expect("the test waits");
        };
        store.submit(batch(id, 5000), Box::new(done));
    }
    drop(sender);
    let outcomes: Vec<_> = receiver.iter().collect();
    assert_eq!(outcomes.len(), 100);
    let there = |id| {
        store
            .get(&format!("k{id}"), At::Newest)
            .expect("readable")
            .is_some()
    };
    for (id, outcome) in outcomes {
        assert_eq!(outcome.is_ok(), there(id), "{outcome:?}");
        made += u128::from(outcome.is_ok());
    }
    assert_eq!(keys(&store) as u128, made, "reads go on");
    assert_eq!(store.stats().expect("readable").keys as u128, made);
    drop(store);
    let store = open(&path).expect("it opens");
    assert_eq!(keys(&store) as u128, made);
    store
        .commit(batch(5000, 5000))
        .expect("there is room again");
}

#[test]
fn what_breaks_while_it_is_open_closes_the_store_and_says_so() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = open(&path).expect("it opens");
    store.commit(batch(1, 10)).expect("it is made");
    sql(&path, "DROP TABLE outcome");
    let said = store
        .commit(batch(2, 10))
        .expect_err("it cannot be written");
    assert!(matches!(said, CommitError::Closed { .. }), "{said:?}");
    let again = store.commit(batch(3, 10)).expect_err("it is closed");
    assert_eq!(again, said);
    assert_eq!(keys(&store), 1, "reads go on, and nothing is half written");
}

#[test]
fn a_commit_that_fails_at_its_end_is_unknown_until_the_file_is_opened_again() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = open(&path).expect("it opens");
    store.commit(batch(1, 10)).expect("it is made");
    // A constraint that is looked at only when the transaction ends stands for a disk that fails then.
    sql(
        &path,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE orphan (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER fail AFTER INSERT ON entry BEGIN INSERT INTO orphan VALUES (7); END",
    );
    let mut watch = store.watch("", store.revision()).expect("it begins");
    let said = store.commit(batch(2, 10)).expect_err("it fails");
    let cause = "FOREIGN KEY constraint failed".to_owned();
    assert_eq!(
        said,
        CommitError::OutcomeUnknown {
            id: CommitId(2),
            cause: cause.clone()
        }
    );
    assert!(store.outcome(CommitId(2)).is_err(), "nobody knows");
    assert!(store.outcome(CommitId(1)).is_ok_and(|made| made.is_some()));
    assert_eq!(
        store.commit(batch(3, 10)),
        Err(CommitError::Closed { cause })
    );
    assert_eq!(
        (keys(&store), watch.try_next()),
        (1, None),
        "what is not known is not shown"
    );
    drop(store);
    sql(&path, "DROP TRIGGER fail");
    let store = open(&path).expect("it opens");
    assert_eq!(store.outcome(CommitId(2)), Ok(None), "now it is known");
    store.commit(batch(2, 10)).expect("it is made");
}

#[test]
fn what_is_submitted_together_is_written_together() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = open(&path).expect("it opens");
    let wal = || {
        std::fs::metadata(folder.path().join("hub.db-wal"))
            .expect("it is there")
            .len()
    };
    let before = wal();
    for id in 0..20 {
        store.commit(batch(id, 10)).expect("it is made");
    }
    let alone = wal() - before;
    let (sender, receiver) = mpsc::channel();
    let before = wal();
    // The first is slow enough for the others to wait behind it.
    store.submit(batch(100, 1 << 20), Box::new(|_| {}));
    let large = 1 << 20;
    for id in 200..400 {
        let sender = sender.clone();
        let done = move |outcome: Result<Committed, CommitError>| {
            sender.send(outcome.is_ok()).expect("the test waits");
        };
        store.submit(batch(id, 10), Box::new(done));
    }
    drop(sender);
    assert!(receiver.iter().all(|made| made));
    let together = wal().saturating_sub(before + large);
    assert!(
        together < alone * 5,
        "200 commits took {together} bytes of log, 20 took {alone}"
    );
}

#[test]
fn what_was_written_over_is_nowhere_in_a_file_that_was_rewritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.db");
    let store = open(&path).expect("opened");
    let put = |id: u128, value: &str| {
        let op = Op::Put {
            key: "secret".to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expect: Expect::Any,
        };
        store
            .commit(Batch::new(CommitId(id), vec![op]))
            .expect("committed")
    };
    let holds = |part: &str| {
        ["hub.db", "hub.db-wal"].iter().any(|name| {
            let bytes = std::fs::read(folder.path().join(name)).unwrap_or_default();
            bytes.windows(part.len()).any(|w| w == part.as_bytes())
        })
    };
    put(1, "hunter2-hunter2-hunter2");
    put(2, "sealed");
    assert!(holds("hunter2-hunter2-hunter2"));
    store.compact(store.revision()).expect("compacted");
    store.rewrite().expect("rewritten");
    assert!(!holds("hunter2-hunter2-hunter2"));
    put(3, "it goes on");
    drop(store);
    let store = open(&path).expect("opened again");
    let entry = store
        .get("secret", At::Newest)
        .expect("read")
        .expect("there");
    assert_eq!(entry.value, b"it goes on".as_slice());
}
