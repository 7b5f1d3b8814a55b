//! What a fork shares with its image, and what it costs.

use std::sync::Arc;

use base_store::memory::{Image, Limits, MemoryStore};
use base_store::{
    At, Batch, CommitId, Entry, Expect, NoDisk, Op, Range, ReadError, Revision, Store, WatchItem,
};
use bytes::Bytes;
use proptest::prelude::*;

fn image() -> Arc<Image> {
    let entries = (0..350).map(|n| Entry {
        key: format!("core/configmaps/default/c{n:03}"),
        value: Bytes::from(vec![b'x'; 500]),
        created: Revision(n + 2),
        modified: Revision(n + 2),
    });
    Arc::new(Image::new(entries, Revision(1000)))
}

fn put(store: &dyn Store, id: u128, key: &str, value: &str) -> Revision {
    let op = Op::Put {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expect: Expect::Any,
    };
    let batch = Batch::new(CommitId(id), vec![op]);
    store.commit(batch).expect("a put succeeds").last
}

fn all(at: At) -> Range {
    Range {
        prefix: "core/".to_owned(),
        after: None,
        limit: 0,
        at,
    }
}

#[test]
fn an_idle_fork_costs_a_few_hundred_bytes() {
    assert!(
        size_of::<MemoryStore<NoDisk>>() <= 400,
        "{}",
        size_of::<MemoryStore<NoDisk>>()
    );
}

#[test]
fn forks_share_the_image_and_hide_their_changes_from_each_other() {
    let image = image();
    let (one, two) = (
        MemoryStore::fork(Arc::clone(&image)),
        MemoryStore::fork(Arc::clone(&image)),
    );
    let mut watch = one
        .watch("core/", Revision(1000))
        .expect("a fork begins at its image");
    let key = "core/configmaps/default/c007";
    assert_eq!(put(&one, 1, key, "mine"), Revision(1001));
    let delete = Op::Delete {
        key: "core/configmaps/default/c349".to_owned(),
        expect: Expect::At(Revision(351)),
    };
    one.commit(Batch::new(CommitId(2), vec![delete]))
        .expect("the key is there");

    let mine = one.get(key, At::Newest).expect("readable").expect("there");
    assert_eq!((mine.created, mine.modified), (Revision(9), Revision(1001)));
    let theirs = two.get(key, At::Newest).expect("readable").expect("there");
    assert_eq!((theirs.value.len(), theirs.modified), (500, Revision(9)));
    let old = one
        .get(key, At::Revision(Revision(1000)))
        .expect("readable");
    assert_eq!(old, Some(theirs));
    assert_eq!(
        one.range(&all(At::Newest)).expect("readable").entries.len(),
        349
    );
    assert_eq!(
        one.range(&all(At::Revision(Revision(1000)))),
        two.range(&all(At::Newest))
    );
    assert!(matches!(watch.try_next(), Some(WatchItem::Commit(c)) if c.revision == Revision(1001)));
    assert!(matches!(watch.try_next(), Some(WatchItem::Commit(c)) if c.revision == Revision(1002)));
    assert_eq!(watch.try_next(), None);
    assert_eq!(
        one.stats().map(|s| (s.keys, s.revision)),
        Ok((349, Revision(1002)))
    );
}

#[test]
fn a_fork_forgets_its_oldest_history_by_itself() {
    let fork = MemoryStore::fork(image());
    for n in 0..200 {
        put(&fork, n, "core/configmaps/default/c007", &n.to_string());
    }
    assert_eq!(fork.revision(), Revision(1200));
    assert_eq!(
        fork.get("x", At::Revision(Revision(1001))),
        Err(ReadError::Compacted {
            asked: Revision(1001),
            oldest: Revision(1072)
        })
    );
    assert!(fork.range(&all(At::Revision(Revision(1072)))).is_ok());
}

#[test]
fn an_image_of_a_fork_is_its_state() {
    let fork = MemoryStore::fork(image());
    put(&fork, 1, "core/a", "1");
    put(&fork, 2, "core/z", "2");
    let second = MemoryStore::fork(Arc::new(fork.image()));
    assert_eq!(second.range(&all(At::Newest)), fork.range(&all(At::Newest)));
    assert_eq!(second.revision(), fork.revision());
}

fn apply(
    store: &dyn Store,
    id: u128,
    step: [u8; 4],
) -> Result<base_store::Committed, base_store::CommitError> {
    let key = format!("core/{}", step[0] % 12);
    let other = format!("core/{}x", step[1] % 12);
    let expect = match step[2] % 4 {
        0 => Expect::Absent,
        1 => Expect::At(
            store
                .get(&key, At::Newest)
                .expect("readable")
                .map_or(Revision(1), |e| e.modified),
        ),
        _ => Expect::Any,
    };
    let mut ops = vec![match step[2] >> 2 & 1 {
        0 => Op::Delete { key, expect },
        _ => Op::Put {
            key,
            value: vec![b'v'; usize::from(step[3] % 3)].into(),
            expect,
        },
    }];
    if step[3] & 4 != 0 {
        ops.push(Op::Put {
            key: other,
            value: vec![b'w'; usize::from(step[3] >> 5)].into(),
            expect: Expect::Any,
        });
    }
    store.commit(Batch::new(CommitId(id), ops))
}

proptest! {
    #[test]
    fn a_fork_does_what_a_store_of_its_own_does(
        before in prop::collection::vec(any::<[u8; 4]>(), 0..30),
        after in prop::collection::vec(any::<[u8; 4]>(), 0..30),
    ) {
        let own = MemoryStore::new();
        for (id, step) in (0..).zip(&before) {
            let _ = apply(&own, id, *step);
        }
        let from = own.revision();
        let fork = MemoryStore::fork_with(Arc::new(own.image()), Limits::STORE);
        let (mut own_watch, mut fork_watch) = (own.watch("core/1", from).unwrap(), fork.watch("core/1", from).unwrap());
        for (id, step) in (1000..).zip(&after) {
            prop_assert_eq!(apply(&own, id, *step), apply(&fork, id, *step));
            prop_assert_eq!(own_watch.try_next(), fork_watch.try_next());
        }
        for at in from.0..=own.revision().0 {
            for (prefix, after, limit) in [("", None, 0), ("core/1", None, 2), ("core/", Some("core/3"), 3), ("core/", Some("core/5x0"), 1)] {
                let range = Range {
                    prefix: prefix.to_owned(),
                    after: after.map(str::to_owned),
                    limit,
                    at: At::Revision(Revision(at)),
                };
                prop_assert_eq!(own.range(&range), fork.range(&range));
            }
        }
        let (own, fork) = (own.stats().unwrap(), fork.stats().unwrap());
        prop_assert_eq!((own.keys, own.bytes, own.revision), (fork.keys, fork.bytes, fork.revision));
    }
}
