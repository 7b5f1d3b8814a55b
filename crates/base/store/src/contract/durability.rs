//! What outlives a stop and a crash.

use super::*;
use crate::ReadError;

fn fill(store: &dyn Store) {
    for n in 0..30_u32 {
        let key = format!("k{}", n % 7);
        let op = if n % 5 == 4 {
            delete(&key)
        } else {
            put(&key, &n.to_string())
        };
        commit(store, vec![op, put(&format!("n{n}"), "x")]);
    }
}

/// After a stop everything is as it was: values, revisions, counts.
pub fn reopen_keeps_everything(harness: &mut dyn Harness) {
    fill(&*harness.store());
    let before = list(&*harness.store(), "", At::Newest);
    let stats = harness.store().stats();
    harness.reopen();
    assert_eq!(list(&*harness.store(), "", At::Newest), before);
    assert_eq!(harness.store().stats(), stats);
    harness.reopen();
    assert_eq!(list(&*harness.store(), "", At::Newest), before);
}

/// A crash takes nothing that was acknowledged.
pub fn crash_keeps_what_was_acknowledged(harness: &mut dyn Harness) {
    for round in 0..5 {
        write(&*harness.store(), &format!("r{round}"), "1");
        let before = list(&*harness.store(), "", At::Newest);
        harness.crash();
        assert_eq!(
            list(&*harness.store(), "", At::Newest),
            before,
            "round {round}"
        );
    }
}

/// Revisions go on where they were.
pub fn revisions_go_on_after_reopening(harness: &mut dyn Harness) {
    let last = write(&*harness.store(), "a", "1");
    harness.reopen();
    assert_eq!(harness.store().revision(), last);
    let next = commit(&*harness.store(), vec![put_if("a", "2", Expect::At(last))]);
    assert_eq!((next.first.0, next.last.0), (last.0 + 1, last.0 + 1));
}

/// Old revisions are read, and watched from, as before.
pub fn history_survives_reopening(harness: &mut dyn Harness) {
    let floor = harness.store().revision();
    fill(&*harness.store());
    let newest = harness.store().revision().0;
    let pages = |harness: &dyn Harness| -> Vec<Page> {
        let store = harness.store();
        let at = |revision| list(&*store, "k", At::Revision(Revision(revision)));
        (floor.0..=newest).map(at).collect()
    };
    let watched = |harness: &dyn Harness| {
        let store = harness.store();
        drain(&mut store.watch("k", floor).expect("it begins"))
    };
    let before = (pages(harness), watched(harness));
    assert_eq!(before.1.len(), 29, "one delete found nothing");
    harness.reopen();
    assert_eq!((pages(harness), watched(harness)), before);
}

/// What became of a commit is known after a stop.
pub fn outcomes_survive_reopening(harness: &mut dyn Harness) {
    let ids: Vec<CommitId> = (0..5).map(|_| next_id()).collect();
    let mut outcomes = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let ops = vec![put("a", &n.to_string()), put("b", &n.to_string())];
        let made = harness.store().commit(Batch::new(*id, ops));
        outcomes.push(made.expect("it is made"));
    }
    let compacted = outcomes[2].last;
    harness.store().compact(compacted).expect("it compacts");
    harness.reopen();
    for (id, made) in ids.iter().zip(outcomes) {
        assert_eq!(harness.store().outcome(*id), Ok(Some(made)));
    }
    assert_eq!(harness.store().outcome(next_id()), Ok(None));
}

/// What was compacted stays so, what was not stays readable, also when the compaction ends inside a commit.
pub fn compaction_survives_reopening(harness: &mut dyn Harness) {
    fill(&*harness.store());
    let newest = harness.store().revision().0;
    let oldest = Revision(newest - 11);
    harness.store().compact(oldest).expect("it compacts");
    let at = |harness: &dyn Harness, revision| {
        let range = everything("", At::Revision(Revision(revision)));
        harness.store().range(&range)
    };
    let before: Vec<_> = (oldest.0..=newest).map(|r| at(harness, r)).collect();
    assert!(before.iter().all(Result::is_ok));
    harness.crash();
    let after: Vec<_> = (oldest.0..=newest).map(|r| at(harness, r)).collect();
    assert_eq!(after, before);
    let asked = Revision(oldest.0 - 1);
    let refused = ReadError::Compacted { asked, oldest };
    assert_eq!(at(harness, asked.0), Err(refused.clone()));
    assert_eq!(harness.store().watch("", asked).err(), Some(refused));
    let mut watch = harness.store().watch("k", oldest).expect("it begins");
    assert!(!drain(&mut watch).is_empty());
}
