//! Reads: one key, ranges, old revisions, compaction, statistics.

use super::*;
use crate::{ReadError, Stats};

/// A key is read as it was written; an absent one is none, whatever is near it.
pub fn get(harness: &mut dyn Harness) {
    let store = harness.store();
    let cases = [
        ("a/b", true),
        ("a", false),
        ("a/", false),
        ("a/bc", false),
        ("a/b/", false),
    ];
    write(&*store, "a/b", "1");
    for (key, there) in cases {
        assert_eq!(value(&*store, key).is_some(), there, "{key}");
    }
}

/// A key is read as it was at any revision.
pub fn get_at_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let floor = store.revision();
    let one = write(&*store, "a", "1");
    write(&*store, "b", "x");
    let two = write(&*store, "a", "2");
    let gone = commit(&*store, vec![delete("a")]).last;
    let again = write(&*store, "a", "3");
    let cases = [
        (floor.0, None),
        (one.0, Some(("1", one, one))),
        (one.0 + 1, Some(("1", one, one))),
        (two.0, Some(("2", one, two))),
        (gone.0, None),
        (again.0, Some(("3", again, again))),
    ];
    for (at, expected) in cases {
        let entry = store
            .get("a", At::Revision(Revision(at)))
            .expect("readable");
        let entry = entry.map(|e| (text(&e.value), e.created, e.modified));
        let expected =
            expected.map(|(value, created, modified)| (value.to_owned(), created, modified));
        assert_eq!(entry, expected, "at {at}");
    }
}

fn fill(store: &dyn Store) -> Revision {
    let keys = ["a", "p/1", "p/2", "p/3", "p/4", "p/5", "q"];
    commit(store, keys.iter().map(|key| put(key, "v")).collect()).last
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect()
}

/// A range is what begins with the prefix, at the newest revision, and says so.
pub fn list(harness: &mut dyn Harness) {
    let store = harness.store();
    let empty = super::list(&*store, "", At::Newest);
    assert_eq!(
        (empty.entries.len(), empty.remaining, empty.revision),
        (0, 0, store.revision())
    );
    let at = fill(&*store);
    let cases: [(&str, &[&str]); 6] = [
        ("", &["a", "p/1", "p/2", "p/3", "p/4", "p/5", "q"]),
        ("p/", &["p/1", "p/2", "p/3", "p/4", "p/5"]),
        ("p/3", &["p/3"]),
        ("p/33", &[]),
        ("b", &[]),
        ("z", &[]),
    ];
    for (prefix, expected) in cases {
        let page = super::list(&*store, prefix, At::Newest);
        assert_eq!(keys(&page), expected, "{prefix}");
        assert_eq!((page.revision, page.remaining), (at, 0), "{prefix}");
    }
}

/// Pages of any size show every entry once, and count what follows.
pub fn list_paging(harness: &mut dyn Harness) {
    let store = harness.store();
    fill(&*store);
    for limit in 1..=6 {
        let mut range = everything("p/", At::Newest);
        range.limit = limit;
        let mut seen = Vec::new();
        loop {
            let page = store.range(&range).expect("readable");
            assert!(page.entries.len() <= limit);
            seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
            assert_eq!(page.remaining, 5 - seen.len(), "limit {limit}");
            range.after = seen.last().cloned();
            range.at = At::Revision(page.revision);
            if page.remaining == 0 {
                break;
            }
        }
        assert_eq!(seen, ["p/1", "p/2", "p/3", "p/4", "p/5"], "limit {limit}");
    }
}

/// Keys are sorted by their bytes.
pub fn list_is_sorted_by_bytes(harness: &mut dyn Harness) {
    let store = harness.store();
    let sorted = ["A", "Z", "a", "a/", "a0", "aa", "z", "Ä", "日", "\u{1f600}"];
    for key in sorted.iter().rev() {
        write(&*store, key, "");
    }
    assert_eq!(keys(&super::list(&*store, "", At::Newest)), sorted);
}

/// Later pages at the first page's revision do not see what came between.
pub fn list_continuation_at_one_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = fill(&*store);
    let mut range = everything("p/", At::Newest);
    range.limit = 2;
    let first = store.range(&range).expect("readable");
    assert_eq!(keys(&first), ["p/1", "p/2"]);
    commit(
        &*store,
        vec![
            put("p/2x", "new"),
            delete("p/3"),
            put("p/4", "changed"),
            put("p/6", "new"),
        ],
    );
    range.after = Some("p/2".to_owned());
    range.at = At::Revision(first.revision);
    let second = store.range(&range).expect("readable");
    assert_eq!(pairs(&second), ["p/3=v", "p/4=v"]);
    assert_eq!((second.revision, second.remaining), (at, 1));
    range.at = At::Newest;
    let newest = store.range(&range).expect("readable");
    assert_eq!(pairs(&newest), ["p/2x=new", "p/4=changed"]);
    assert_eq!(newest.remaining, 2);
}

/// A page may start behind any text, there or not, inside the prefix or not.
pub fn list_after_absent_key(harness: &mut dyn Harness) {
    let store = harness.store();
    fill(&*store);
    let cases: [(&str, &[&str]); 6] = [
        ("p/30", &["p/4", "p/5"]),
        ("a", &["p/1", "p/2", "p/3", "p/4", "p/5"]),
        ("p/", &["p/1", "p/2", "p/3", "p/4", "p/5"]),
        ("p/5", &[]),
        ("p/9", &[]),
        ("z", &[]),
    ];
    for (after, expected) in cases {
        let mut range = everything("p/", At::Newest);
        range.after = Some(after.to_owned());
        let page = store.range(&range).expect("readable");
        assert_eq!(keys(&page), expected, "after {after}");
        assert_eq!(page.remaining, 0);
    }
}

/// A range at a revision is what was there, with the bytes and revisions of then.
pub fn consistent_list(harness: &mut dyn Harness) {
    let store = harness.store();
    let mut history = vec![super::list(&*store, "k", At::Newest)];
    for n in 0..20_u32 {
        let key = format!("k{}", n * 7 % 5);
        let other = format!("k{}", n * 3 % 4);
        let mut ops = vec![if n % 4 == 3 {
            delete(&key)
        } else {
            put(&key, &n.to_string())
        }];
        if other != key {
            ops.push(put(&other, &n.to_string()));
        }
        commit(&*store, ops);
        write(&*store, "unrelated", &n.to_string());
        history.push(super::list(&*store, "k", At::Newest));
    }
    for expected in history {
        assert_eq!(
            super::list(&*store, "k", At::Revision(expected.revision)),
            expected
        );
    }
}

/// A revision inside a commit shows the operations up to it.
pub fn revision_inside_a_commit(harness: &mut dyn Harness) {
    let store = harness.store();
    write(&*store, "b", "1");
    let made = commit(&*store, vec![put("a", "2"), put("b", "2"), put("c", "2")]);
    write(&*store, "a", "3");
    let page = super::list(&*store, "", At::Revision(Revision(made.first.0 + 1)));
    assert_eq!(pairs(&page), ["a=2", "b=2"]);
    let page = super::list(&*store, "", At::Revision(made.first));
    assert_eq!(pairs(&page), ["a=2", "b=1"]);
}

/// A revision that is not there yet is refused, with the newest.
pub fn future_revision_is_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let newest = write(&*store, "a", "1");
    let asked = Revision(newest.0 + 1);
    let expected = ReadError::Future { asked, newest };
    assert_eq!(store.get("a", At::Revision(asked)), Err(expected.clone()));
    let range = everything("", At::Revision(asked));
    assert_eq!(store.range(&range), Err(expected));
}

/// What is older than a compaction cannot be read, and the error says from where on it can.
pub fn compact_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let revisions: Vec<Revision> = (0..5)
        .map(|n| write(&*store, "a", &n.to_string()))
        .collect();
    store.compact(revisions[2]).expect("it compacts");
    for (n, at) in revisions.iter().enumerate() {
        let read = store.get("a", At::Revision(*at));
        if n < 2 {
            let expected = ReadError::Compacted {
                asked: *at,
                oldest: revisions[2],
            };
            assert_eq!(read, Err(expected.clone()));
            assert_eq!(
                store.range(&everything("", At::Revision(*at))),
                Err(expected)
            );
        } else {
            let entry = read.expect("readable").expect("it is there");
            assert_eq!(text(&entry.value), n.to_string());
            assert_eq!((entry.created, entry.modified), (revisions[0], *at));
        }
    }
    assert_eq!(store.stats().expect("readable").oldest, revisions[2]);
    // Compacting again, or less far, changes nothing.
    store.compact(revisions[1]).expect("it compacts");
    store.compact(revisions[2]).expect("it compacts");
    assert_eq!(store.stats().expect("readable").oldest, revisions[2]);
    store
        .compact(revisions[4])
        .expect("it compacts up to the newest");
    assert_eq!(value(&*store, "a").as_deref(), Some("4"));
}

/// Compaction keeps every current value, takes no revision, and writes go on.
pub fn compact_keeps_what_is_current(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = fill(&*store);
    commit(&*store, vec![delete("a"), put("q", "w")]);
    let before = super::list(&*store, "", At::Newest);
    store.compact(before.revision).expect("it compacts");
    assert_eq!(super::list(&*store, "", At::Newest), before);
    assert_eq!(
        super::list(&*store, "", At::Revision(before.revision)),
        before
    );
    let made = commit(
        &*store,
        vec![put_if("p/1", "w", Expect::At(Revision(at.0 - 5)))],
    );
    assert_eq!(made.last.0, before.revision.0 + 1);
}

/// A compaction of what is not there yet is refused.
pub fn compact_in_the_future_is_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = write(&*store, "a", "1");
    let error = store.compact(Revision(at.0 + 1));
    assert!(
        matches!(error, Err(CommitError::Malformed { .. })),
        "{error:?}"
    );
    assert!(store.get("a", At::Revision(at)).is_ok());
}

/// Keys, bytes and revisions are counted.
pub fn stats(harness: &mut dyn Harness) {
    let store = harness.store();
    let floor = store.revision();
    let counted = || store.stats().expect("readable");
    let empty = Stats {
        revision: floor,
        oldest: floor,
        ..Stats::default()
    };
    assert_eq!(counted(), empty);
    commit(&*store, vec![put("a", "12345"), put("b", "123")]);
    write(&*store, "a", "1");
    let newest = commit(&*store, vec![put("c", ""), delete("b")]).last;
    let blobs = ["one", "three"].map(|t| (Digest::of(t.as_bytes()), Bytes::from(t)));
    store.put_blobs(&blobs).expect("they are stored");
    let expected = Stats {
        keys: 2,
        bytes: 1,
        blobs: 2,
        blob_bytes: 8,
        revision: newest,
        oldest: floor,
    };
    assert_eq!(counted(), expected);
}
