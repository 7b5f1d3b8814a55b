//! Watches: whole commits in order, without gaps, or an end that says so.

use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::ReadError;

const NOTHING: [&str; 0] = [];

/// What is committed is shown at once, with the bytes before and after.
pub fn watch(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let mut watch = store.watch("", from).expect("it begins");
    assert_eq!(drain(&mut watch), NOTHING);
    let r = from.0;
    write(&*store, "a", "1");
    assert_eq!(drain(&mut watch), [format!("{} a ->1", r + 1)]);
    write(&*store, "a", "2");
    commit(&*store, vec![delete("a")]);
    write(&*store, "a", "3");
    let expected = [
        format!("{} a 1>2", r + 2),
        format!("{} a 2>-", r + 3),
        format!("{} a ->3", r + 4),
    ];
    assert_eq!(drain(&mut watch), expected);
    assert_eq!(drain(&mut watch), NOTHING);
}

/// A watch from an old revision first shows what happened since, then what happens, without a gap or a repetition.
pub fn watch_from_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let floor = store.revision();
    let revisions: Vec<Revision> = (0..6)
        .map(|n| write(&*store, "a", &n.to_string()))
        .collect();
    let mut watches: Vec<Watch> = std::iter::once(&floor)
        .chain(&revisions)
        .map(|from| store.watch("", *from).expect("it begins"))
        .collect();
    write(&*store, "a", "6");
    for (skip, watch) in watches.iter_mut().enumerate() {
        let expected: Vec<String> = (skip as u64..7)
            .map(|n| {
                let old = n.checked_sub(1).map_or("-".to_owned(), |n| n.to_string());
                format!("{} a {old}>{n}", floor.0 + 1 + n)
            })
            .collect();
        assert_eq!(drain(watch), expected, "from {skip}");
    }
}

/// A commit is one item, with its last revision, whether it is shown from the past or as it happens.
pub fn watch_shows_whole_commits(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let mut live = store.watch("", from).expect("it begins");
    let created = write(&*store, "b", "0");
    let made = commit(&*store, vec![put("a", "1"), put("same", ""), delete("b")]);
    let mut late = store.watch("", from).expect("it begins");
    for watch in [&mut live, &mut late] {
        watch.try_next();
        let Some(WatchItem::Commit(commit)) = watch.try_next() else {
            panic!("a commit is ready");
        };
        assert_eq!(commit.revision, made.last);
        let changes: Vec<String> = commit.changes.iter().map(shown).collect();
        let r = made.first.0;
        assert_eq!(
            changes,
            [
                format!("{r} a ->1"),
                format!("{} same ->", r + 1),
                format!("{} b 0>-", r + 2)
            ]
        );
        let created_at: Vec<Revision> = commit.changes.iter().map(|c| c.created).collect();
        assert_eq!(created_at, [made.first, Revision(r + 1), created]);
    }
}

/// Only what is under the prefix is shown; the commit's revision is that of the whole commit.
pub fn watch_filters_by_prefix(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let mut live = store.watch("p/", from).expect("it begins");
    let made = commit(
        &*store,
        vec![put("a", "1"), put("p/1", "1"), put("p", "1"), put("q", "1")],
    );
    write(&*store, "p0", "1");
    let mut late = store.watch("p/", from).expect("it begins");
    for watch in [&mut live, &mut late] {
        let Some(WatchItem::Commit(commit)) = watch.try_next() else {
            panic!("a commit is ready");
        };
        assert_eq!(commit.revision, made.last);
        assert_eq!(commit.changes.len(), 1);
        assert_eq!(
            shown(&commit.changes[0]),
            format!("{} p/1 ->1", made.first.0 + 1)
        );
        assert_eq!(drain(watch), [format!("progress {}", made.last.0 + 1)]);
    }
}

/// A watch that begins inside a commit shows the rest of it.
pub fn watch_from_inside_a_commit(harness: &mut dyn Harness) {
    let store = harness.store();
    let made = commit(&*store, vec![put("a", "1"), put("b", "1"), put("c", "1")]);
    let mut watch = store.watch("", made.first).expect("it begins");
    let r = made.first.0;
    assert_eq!(
        drain(&mut watch),
        [format!("{} b ->1; {} c ->1", r + 1, r + 2)]
    );
}

/// What a watch would have to show and is compacted, refuses it.
pub fn watch_of_compacted_revision_is_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let revisions: Vec<Revision> = (0..4)
        .map(|n| write(&*store, "a", &n.to_string()))
        .collect();
    store.compact(revisions[2]).expect("it compacts");
    for asked in [Revision(0), revisions[0], revisions[1]] {
        let oldest = revisions[2];
        let expected = ReadError::Compacted { asked, oldest };
        assert_eq!(store.watch("", asked).err(), Some(expected));
    }
    let mut watch = store.watch("", revisions[2]).expect("it begins");
    assert_eq!(drain(&mut watch), [format!("{} a 2>3", revisions[3])]);
    let mut watch = store.watch("", revisions[3]).expect("it begins");
    assert_eq!(drain(&mut watch), NOTHING);
}

/// A watch cannot begin in the future.
pub fn watch_of_future_revision_is_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let newest = store.revision();
    let asked = Revision(newest.0 + 1);
    let expected = ReadError::Future { asked, newest };
    assert_eq!(store.watch("", asked).err(), Some(expected));
}

/// Compaction takes nothing from a watch that has begun.
pub fn watch_outlives_compaction(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let mut watch = store.watch("", from).expect("it begins");
    write(&*store, "a", "1");
    let newest = write(&*store, "a", "2");
    store.compact(newest).expect("it compacts");
    write(&*store, "a", "3");
    let r = from.0;
    let expected = [
        format!("{} a ->1", r + 1),
        format!("{} a 1>2", r + 2),
        format!("{} a 2>3", r + 3),
    ];
    assert_eq!(drain(&mut watch), expected);
}

/// Writes more than a watch may have waiting.
fn overflow(harness: &dyn Harness, store: &dyn Store, key: &str) {
    let half = "x".repeat(harness.watch_bytes() / 2);
    for n in 0..4 {
        write(store, key, &format!("{n}{half}"));
    }
}

/// A watch that is too slow shows a part without a gap, then `Compacted`, then nothing; the writer never waits for it.
pub fn watch_overflow_ends_in_compacted(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let mut watch = store.watch("", from).expect("it begins");
    overflow(harness, &*store, "a");
    let mut next = from.0 + 1;
    loop {
        match watch.try_next() {
            Some(WatchItem::Commit(commit)) => {
                assert_eq!(commit.revision.0, next);
                next += 1;
            }
            Some(WatchItem::Compacted(_)) => break,
            other => panic!("neither a commit nor the end: {other:?}"),
        }
    }
    assert!(next <= from.0 + 4, "it was not all shown");
    assert_eq!(watch.try_next(), None);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(watch.poll_next(&mut cx), Poll::Ready(None));
    let mut again = store.watch("", store.revision()).expect("it begins again");
    write(&*store, "a", "after");
    assert_eq!(drain(&mut again).len(), 1);
}

/// Others see everything while one is too slow.
pub fn slow_watch_disturbs_no_other(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let _slow = store.watch("", from).expect("it begins");
    let mut quick = store.watch("", from).expect("it begins");
    let half = "x".repeat(harness.watch_bytes() / 2);
    for n in 0..6 {
        write(&*store, "a", &format!("{n}{half}"));
        assert_eq!(drain(&mut quick).len(), 1, "commit {n}");
    }
}

/// What happens under other prefixes does not count for a watch.
pub fn quiet_watch_does_not_overflow(harness: &mut dyn Harness) {
    let store = harness.store();
    let mut watch = store.watch("quiet/", store.revision()).expect("it begins");
    overflow(harness, &*store, "loud");
    let at = write(&*store, "quiet/a", "1");
    assert_eq!(drain(&mut watch), [format!("{at} quiet/a ->1")]);
}

/// A watch that is asked says how far it has seen, once, and only if that is news.
pub fn progress_on_demand(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    write(&*store, "other", "1");
    let mut watch = store.watch("p/", from).expect("it begins");
    assert_eq!(
        watch.try_next(),
        Some(WatchItem::Progress(store.revision()))
    );
    assert_eq!(watch.try_next(), None);
    let seen = write(&*store, "p/1", "1");
    assert_eq!(drain(&mut watch), [format!("{seen} p/1 ->1")]);
    write(&*store, "other", "2");
    write(&*store, "other", "3");
    assert_eq!(
        watch.try_next(),
        Some(WatchItem::Progress(store.revision()))
    );
    assert_eq!(watch.try_next(), None);
}

/// What was deleted is shown with its last bytes and its own revision, also when it was created in the same past.
pub fn delete_shows_the_old_bytes(harness: &mut dyn Harness) {
    let store = harness.store();
    let from = store.revision();
    let created = write(&*store, "a", "1");
    let gone = commit(&*store, vec![delete("a")]).last;
    let mut watch = store.watch("a", created).expect("it begins");
    let Some(WatchItem::Commit(commit)) = watch.try_next() else {
        panic!("a commit is ready");
    };
    let expected = Change {
        revision: gone,
        key: "a".to_owned(),
        old: Some(Bytes::from_static(b"1")),
        new: None,
        created,
    };
    assert_eq!(*commit.changes, [expected]);
    assert!(created > from);
}

/// A watch that begins while others commit misses nothing and repeats nothing.
pub fn watch_begun_amid_commits_has_no_gap(harness: &mut dyn Harness) {
    const COMMITS: u64 = 150;
    let floor = harness.store().revision();
    let writer = {
        let store = harness.store();
        Box::new(move || {
            for n in 0..COMMITS {
                commit(
                    &*store,
                    vec![put("a", &n.to_string()), put("b", &n.to_string())],
                );
            }
        }) as Box<dyn FnOnce() + Send>
    };
    let watchers = (0..3).map(|behind: u64| {
        let store = harness.store();
        Box::new(move || {
            let mut begun = Vec::new();
            let end = Revision(floor.0 + 2 * COMMITS);
            let mut seen = Revision(0);
            while seen < end {
                let newest = store.revision();
                if newest == seen {
                    continue;
                }
                seen = newest;
                // Whole commits: two revisions each.
                let now = (newest.0 - floor.0) / 2;
                let from = Revision(floor.0 + 2 * now.saturating_sub(behind * 5));
                begun.push((from, store.watch("", from).expect("it begins")));
            }
            for (from, mut watch) in begun {
                let mut next = from.0;
                while let Some(item) = watch.try_next() {
                    let WatchItem::Commit(commit) = item else {
                        panic!("not a commit: {item:?}");
                    };
                    assert_eq!(commit.changes.len(), 2);
                    assert_eq!(commit.revision.0, next + 2, "from {from}");
                    next += 2;
                }
                assert_eq!(next, end.0, "from {from}");
            }
        }) as Box<dyn FnOnce() + Send>
    });
    let jobs = watchers.chain(std::iter::once(writer)).collect();
    harness.parallel(jobs);
}

struct Flag(std::sync::atomic::AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A waiting watch is woken by what concerns it.
pub fn waiting_watch_is_woken(harness: &mut dyn Harness) {
    let store = harness.store();
    let mut watch = store.watch("p/", store.revision()).expect("it begins");
    let flag = Arc::new(Flag(false.into()));
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(watch.poll_next(&mut cx), Poll::Pending);
    write(&*store, "p/1", "1");
    assert!(flag.0.load(Ordering::SeqCst));
    assert!(watch.poll_next(&mut cx).is_ready());
}

/// When the store is closed, a watch shows what it has, then ends.
pub fn watch_ends_with_the_store(harness: &mut dyn Harness) {
    let store = harness.store();
    let mut watch = store.watch("", store.revision()).expect("it begins");
    write(&*store, "a", "1");
    drop(store);
    harness.reopen();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        watch.poll_next(&mut cx),
        Poll::Ready(Some(WatchItem::Commit(_)))
    ));
    assert_eq!(watch.poll_next(&mut cx), Poll::Ready(None));
}
