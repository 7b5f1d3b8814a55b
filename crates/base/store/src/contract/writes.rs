//! Commits: expectations, revisions, outcomes.

use std::sync::mpsc;

use bytes::Bytes;

use super::*;

/// The first revision of a new store is greater than 1.
pub fn first_revision_is_greater_than_one(harness: &mut dyn Harness) {
    let store = harness.store();
    assert!(write(&*store, "a", "1") > Revision(1));
}

/// A created key has its value, and is created and modified at the commit's revision.
pub fn create(harness: &mut dyn Harness) {
    let store = harness.store();
    let made = commit(&*store, vec![put_if("a", "1", Expect::Absent)]);
    assert_eq!(made.first, made.last);
    let expected = Entry {
        key: "a".to_owned(),
        value: Bytes::from_static(b"1"),
        created: made.last,
        modified: made.last,
    };
    assert_eq!(get(&*store, "a"), Some(expected));
    assert_eq!(store.revision(), made.last);
}

/// A key that exists is not created again, and the error says when it was written.
pub fn create_with_key_exist(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    assert_eq!(
        try_commit(&*store, vec![put_if("a", "2", Expect::Absent)]),
        Err(conflict("a", Some(at)))
    );
    assert_eq!(value(&*store, "a").as_deref(), Some("1"));
    assert_eq!(store.revision(), at);
}

fn conflict(key: &str, actual: Option<Revision>) -> CommitError {
    CommitError::Conflict {
        key: key.to_owned(),
        actual,
    }
}

/// An update keeps when the key was created and moves when it was modified.
pub fn update_at_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let created = write(&*store, "a", "1");
    let modified = commit(&*store, vec![put_if("a", "2", Expect::At(created))]).last;
    let entry = get(&*store, "a").expect("it is there");
    assert_eq!((entry.created, entry.modified), (created, modified));
    assert_eq!(&*entry.value, b"2");
}

/// An update that expects another revision, or a key that is absent, writes nothing.
pub fn update_with_conflict(harness: &mut dyn Harness) {
    let store = harness.store();
    let old = write(&*store, "a", "1");
    let new = write(&*store, "a", "2");
    let cases = [("a", old, Some(new)), ("b", old, None)];
    for (key, expected, actual) in cases {
        assert_eq!(
            try_commit(&*store, vec![put_if(key, "3", Expect::At(expected))]),
            Err(conflict(key, actual)),
            "{key}"
        );
    }
    assert_eq!(store.revision(), new);
    assert_eq!(pairs(&list(&*store, "", At::Newest)), ["a=2"]);
}

/// A delete takes a revision of its own.
pub fn unconditional_delete(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    let gone = commit(&*store, vec![delete("a")]);
    assert_eq!((gone.first.0, gone.last.0), (at.0 + 1, at.0 + 1));
    assert_eq!(get(&*store, "a"), None);
}

/// A delete with the right expectation deletes.
pub fn conditional_delete(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    commit(&*store, vec![delete_if("a", Expect::At(at))]);
    assert_eq!(get(&*store, "a"), None);
}

/// A delete with the wrong expectation deletes nothing.
pub fn delete_with_conflict(harness: &mut dyn Harness) {
    let store = harness.store();
    let old = write(&*store, "a", "1");
    let new = write(&*store, "a", "2");
    for expect in [Expect::At(old), Expect::Absent] {
        assert_eq!(
            try_commit(&*store, vec![delete_if("a", expect)]),
            Err(conflict("a", Some(new)))
        );
    }
    assert_eq!(value(&*store, "a").as_deref(), Some("2"));
}

/// A key that is not there takes no revision when it is deleted.
pub fn delete_of_absent_key_writes_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    for expect in [Expect::Any, Expect::Absent] {
        let made = commit(&*store, vec![delete_if("b", expect)]);
        assert_eq!((made.first.0, made.last), (at.0 + 1, at));
    }
    assert_eq!(
        try_commit(&*store, vec![delete_if("b", Expect::At(at))]),
        Err(conflict("b", None))
    );
    assert_eq!(store.revision(), at);
}

/// An assertion takes no revision; one that does not hold stops the batch.
pub fn assert_writes_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    let made = commit(
        &*store,
        vec![
            assert_that("a", Expect::At(at)),
            assert_that("x", Expect::Absent),
            put("b", "1"),
        ],
    );
    assert_eq!((made.first.0, made.last.0), (at.0 + 1, at.0 + 1));
    assert_eq!(
        try_commit(
            &*store,
            vec![put("c", "1"), assert_that("a", Expect::Absent)]
        ),
        Err(conflict("a", Some(at)))
    );
    assert_eq!(get(&*store, "c"), None);
    let only = commit(&*store, vec![assert_that("a", Expect::At(at))]);
    assert_eq!((only.first.0, only.last), (made.last.0 + 1, made.last));
}

/// One operation that fails leaves nothing of the others.
pub fn batch_is_all_or_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = commit(&*store, vec![put("a", "1"), put("b", "1")]).last;
    let batch = vec![
        put("a", "2"),
        delete("b"),
        put("c", "1"),
        put_if("d", "1", Expect::At(at)),
        put("e", "1"),
    ];
    assert_eq!(try_commit(&*store, batch), Err(conflict("d", None)));
    assert_eq!(pairs(&list(&*store, "", At::Newest)), ["a=1", "b=1"]);
    assert_eq!(store.revision(), at);
    assert_eq!(store.stats().expect("readable").keys, 2);
}

/// Each operation that writes has a revision, without holes, in the order of the batch.
pub fn revisions_are_contiguous(harness: &mut dyn Harness) {
    let store = harness.store();
    let before = store.revision().0;
    let made = commit(&*store, vec![put("c", "1"), put("a", "1"), put("b", "1")]);
    assert_eq!((made.first.0, made.last.0), (before + 1, before + 3));
    let modified = |key| get(&*store, key).expect("it is there").modified.0 - before;
    assert_eq!((modified("c"), modified("a"), modified("b")), (1, 2, 3));
    let made = commit(&*store, vec![delete("a"), put("b", "1"), put("c", "2")]);
    assert_eq!((made.first.0, made.last.0), (before + 4, before + 5));
    assert_eq!(modified("c"), 5);
}

/// A put of the bytes that are there writes nothing; its expectation still counts.
pub fn same_bytes_write_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    let mut watch = store.watch("", at).expect("it begins");
    for expect in [Expect::Any, Expect::At(at)] {
        let made = commit(&*store, vec![put_if("a", "1", expect)]);
        assert_eq!((made.first.0, made.last), (at.0 + 1, at));
    }
    assert_eq!(
        try_commit(&*store, vec![put_if("a", "1", Expect::Absent)]),
        Err(conflict("a", Some(at)))
    );
    assert_eq!(get(&*store, "a").expect("it is there").modified, at);
    assert_eq!(drain(&mut watch), [""; 0]);
    let empty = commit(&*store, vec![]);
    assert_eq!((empty.first.0, empty.last), (at.0 + 1, at));
}

/// A key that was deleted begins anew.
pub fn recreated_key_is_new(harness: &mut dyn Harness) {
    let store = harness.store();
    write(&*store, "a", "1");
    commit(&*store, vec![delete("a")]);
    let again = commit(&*store, vec![put_if("a", "1", Expect::Absent)]).last;
    let entry = get(&*store, "a").expect("it is there");
    assert_eq!((entry.created, entry.modified), (again, again));
}

/// A key that stands twice, or is empty, makes no batch.
pub fn malformed_batches_are_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = store.revision();
    let cases = [
        (vec![put("a", "1"), put("a", "2")], "\"a\""),
        (vec![put("a", "1"), put("b", "1"), delete("a")], "\"a\""),
        (vec![assert_that("a", Expect::Any), put("a", "1")], "\"a\""),
        (vec![put("", "1")], "empty"),
        (vec![put("a", "1"), delete("")], "empty"),
    ];
    for (ops, word) in cases {
        let error = try_commit(&*store, ops.clone());
        assert!(
            matches!(&error, Err(CommitError::Malformed { problem }) if problem.contains(word)),
            "{ops:?}: {error:?}"
        );
    }
    assert_eq!(store.revision(), at);
}

/// Keys may hold any text, values any bytes, up to a megabyte and more.
pub fn odd_keys_and_values(harness: &mut dyn Harness) {
    let long_key = "k/".repeat(1000);
    let keys = [
        "\0",
        "\u{1}",
        " ",
        "%_",
        "a",
        "a\0b",
        "a b",
        "a%",
        "a'b",
        "a/\"b\"",
        "a_",
        "a\u{7f}",
        "á",
        "日本",
        "\u{10ffff}",
        &long_key,
    ];
    let store = harness.store();
    for (n, key) in keys.iter().enumerate() {
        write(&*store, key, &n.to_string());
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(value(&*store, key), Some(n.to_string()), "{key:?}");
        let page = list(&*store, key, At::Newest);
        let mut below: Vec<&str> = keys
            .iter()
            .copied()
            .filter(|k| k.starts_with(key))
            .collect();
        below.sort_unstable();
        let found: Vec<&str> = page.entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!(found, below, "{key:?}");
    }
    let megabyte: Vec<u8> = (0..1 << 20).map(|n: u32| (n ^ (n >> 8)) as u8).collect();
    for (key, bytes) in [("big", megabyte), ("empty", vec![]), ("zeros", vec![0; 3])] {
        let op = Op::Put {
            key: key.to_owned(),
            value: bytes.clone().into(),
            expect: Expect::Any,
        };
        commit(&*store, vec![op]);
        assert_eq!(
            *get(&*store, key).expect("it is there").value,
            *bytes,
            "{key}"
        );
    }
    drop(store);
    harness.reopen();
    let store = harness.store();
    assert_eq!(value(&*store, "a\0b").as_deref(), Some("5"));
    assert_eq!(
        get(&*store, "big").map(|entry| entry.value.len()),
        Some(1 << 20)
    );
    assert_eq!(value(&*store, "empty").as_deref(), Some(""));
}

/// What became of a commit is known by its id; one that was refused was never made.
pub fn outcome_by_id(harness: &mut dyn Harness) {
    let store = harness.store();
    let (made, refused) = (next_id(), next_id());
    assert_eq!(store.outcome(made), Ok(None));
    let committed = store.commit(Batch::new(made, vec![put("a", "1"), put("b", "1")]));
    assert!(committed.is_ok());
    let failed = store.commit(Batch::new(refused, vec![put_if("a", "1", Expect::Absent)]));
    assert!(failed.is_err());
    assert_eq!(store.outcome(made), Ok(committed.ok()));
    assert_eq!(store.outcome(refused), Ok(None));
    let largest = CommitId(u128::MAX);
    let committed = store.commit(Batch::new(largest, vec![put("a", "2")]));
    assert_eq!(store.outcome(largest), Ok(committed.ok()));
}

/// An id names one commit: the second is refused, and writes nothing.
pub fn commit_id_is_used_once(harness: &mut dyn Harness) {
    let store = harness.store();
    let id = next_id();
    let made = store.commit(Batch::new(id, vec![put("a", "1")]));
    let again = store.commit(Batch::new(id, vec![put("a", "2")]));
    assert!(
        matches!(again, Err(CommitError::Malformed { .. })),
        "{again:?}"
    );
    assert_eq!(value(&*store, "a").as_deref(), Some("1"));
    assert_eq!(store.outcome(id), Ok(made.ok()));
}

/// The outcomes of the last 10,000 commits are remembered.
pub fn outcomes_are_remembered(harness: &mut dyn Harness) {
    let store = harness.store();
    let first = next_id();
    store
        .commit(Batch::new(first, vec![put("first", "1")]))
        .expect("it is made");
    let (sender, receiver) = mpsc::channel();
    for n in 0..9_999 {
        let sender = sender.clone();
        let batch = Batch::new(next_id(), vec![put("a", &n.to_string())]);
        let done = move |outcome| sender.send(outcome).expect("the test waits");
        store.submit(batch, Box::new(done));
    }
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 9_999);
    assert!(matches!(store.outcome(first), Ok(Some(_))));
}

/// Commits of several threads each have revisions of their own, without holes.
pub fn commits_of_several_threads_are_distinct(harness: &mut dyn Harness) {
    const THREADS: usize = 4;
    const EACH: usize = 25;
    let before = harness.store().revision().0;
    let (sender, receiver) = mpsc::channel();
    let jobs = (0..THREADS).map(|thread| {
        let (store, sender) = (harness.store(), sender.clone());
        Box::new(move || {
            for n in 0..EACH {
                let ops = vec![
                    put(&format!("t{thread}"), &n.to_string()),
                    put(&format!("t{thread}/{n}"), ""),
                ];
                let made = commit(&*store, ops);
                assert!(store.revision() >= made.last, "a later read sees it");
                sender.send(made).expect("the test waits");
            }
        }) as Box<dyn FnOnce() + Send>
    });
    harness.parallel(jobs.collect());
    drop(sender);
    let mut made: Vec<Committed> = receiver.iter().collect();
    made.sort_by_key(|made| made.first);
    let mut next = before + 1;
    for made in &made {
        assert_eq!((made.first.0, made.last.0), (next, next + 1));
        next += 2;
    }
    assert_eq!(made.len(), THREADS * EACH);
    assert_eq!(harness.store().revision().0, next - 1);
    let store = harness.store();
    let page = list(&*store, "t", At::Newest);
    assert_eq!(page.entries.len(), THREADS * EACH + THREADS);
}

/// Of those who change the same key at the same revision, one wins; nobody's change is lost.
pub fn one_of_many_contenders_wins(harness: &mut dyn Harness) {
    let store = harness.store();
    write(&*store, "counter", "0");
    let jobs = (0..4).map(|_| {
        let store = harness.store();
        Box::new(move || {
            for _ in 0..10 {
                loop {
                    let entry = get(&*store, "counter").expect("it is there");
                    let count: u64 = text(&entry.value).parse().expect("a number");
                    let op = put_if(
                        "counter",
                        &(count + 1).to_string(),
                        Expect::At(entry.modified),
                    );
                    match try_commit(&*store, vec![op]) {
                        Ok(_) => break,
                        Err(CommitError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }) as Box<dyn FnOnce() + Send>
    });
    harness.parallel(jobs.collect());
    assert_eq!(value(&*store, "counter").as_deref(), Some("40"));
}

/// Batches that one thread submits without waiting happen in that order, each alone, whether or not it is refused.
pub fn submitted_batches_keep_their_order(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "0").0;
    let (sender, receiver) = mpsc::channel();
    let batches = [
        vec![put_if("a", "1", Expect::At(Revision(at)))],
        vec![put_if("a", "never", Expect::At(Revision(at)))],
        vec![
            put_if("a", "2", Expect::At(Revision(at + 1))),
            put("b", "1"),
        ],
        vec![put("c", "1"), put_if("b", "never", Expect::Absent)],
        vec![delete_if("b", Expect::At(Revision(at + 3)))],
    ];
    for (n, ops) in batches.into_iter().enumerate() {
        let sender = sender.clone();
        let done = move |outcome: Result<Committed, CommitError>| {
            let outcome = outcome.map(|made| (made.first.0 - at, made.last.0 - at));
            sender.send((n, outcome)).expect("the test waits");
        };
        store.submit(Batch::new(next_id(), ops), Box::new(done));
    }
    drop(sender);
    let mut outcomes: Vec<_> = receiver.iter().collect();
    outcomes.sort_by_key(|(n, _)| *n);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(
        outcomes,
        [
            Ok((1, 1)),
            Err(conflict("a", Some(Revision(at + 1)))),
            Ok((2, 3)),
            Err(conflict("b", Some(Revision(at + 3)))),
            Ok((4, 4)),
        ]
    );
    assert_eq!(pairs(&list(&*store, "", At::Newest)), ["a=2"]);
}
