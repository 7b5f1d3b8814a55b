//! Leases and the fences that commits carry.

use super::*;
use crate::Fence;

fn take(store: &dyn Store, name: &str, holder: &str, now_ms: u64) -> Option<Fence> {
    store
        .lease(name, holder, 100, now_ms)
        .expect("it is answered")
}

fn fenced(store: &dyn Store, fence: &Fence, key: &str) -> Result<Committed, CommitError> {
    let batch = Batch {
        fence: Some(fence.clone()),
        ..Batch::new(next_id(), vec![put(key, "1")])
    };
    store.commit(batch)
}

fn lost(fence: &Fence) -> CommitError {
    CommitError::FenceLost {
        lease: fence.lease.clone(),
    }
}

/// Who holds a lease renews it, under the same token; that takes no revision.
pub fn take_and_renew(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = store.revision();
    let first = take(&*store, "l", "a", 1000).expect("it is free");
    assert_eq!(first.lease, "l");
    assert_eq!(take(&*store, "l", "a", 1050), Some(first.clone()));
    assert_eq!(take(&*store, "l", "b", 1149), None, "renewed until 1150");
    assert_eq!(store.revision(), at);
}

/// A lease that is held is not given to another.
pub fn held_by_another(harness: &mut dyn Harness) {
    let store = harness.store();
    take(&*store, "l", "a", 1000).expect("it is free");
    assert_eq!(take(&*store, "l", "b", 1000), None);
    assert_eq!(take(&*store, "l", "b", 1099), None);
}

/// Who takes a lease that has ended gets a greater token; the former holder has lost it.
pub fn steal_after_end(harness: &mut dyn Harness) {
    let store = harness.store();
    let first = take(&*store, "l", "a", 1000).expect("it is free");
    let second = take(&*store, "l", "b", 1100).expect("it has ended");
    assert!(second.token > first.token);
    assert_eq!(take(&*store, "l", "a", 1150), None);
    let third = take(&*store, "l", "a", 1200).expect("it has ended");
    assert!(third.token > second.token);
    // Nobody took it in between: the same holder goes on.
    assert_eq!(take(&*store, "l", "a", 9000), Some(third));
}

/// A holder gives its lease back by asking for no time at all.
pub fn give_back(harness: &mut dyn Harness) {
    let store = harness.store();
    let first = take(&*store, "l", "a", 1000).expect("it is free");
    let end = store.lease("l", "a", 0, 1010).expect("it is answered");
    assert_eq!(end, Some(first.clone()));
    let second = take(&*store, "l", "b", 1010).expect("it is free again");
    assert!(second.token > first.token);
}

/// A commit whose fence is lost writes nothing; one whose fence holds is made, even after its end if nobody took it.
pub fn fence_is_checked_at_commit(harness: &mut dyn Harness) {
    let store = harness.store();
    let first = take(&*store, "l", "a", 1000).expect("it is free");
    fenced(&*store, &first, "k1").expect("it is held");
    let second = take(&*store, "l", "b", 5000).expect("it has ended");
    assert_eq!(fenced(&*store, &first, "k2"), Err(lost(&first)));
    fenced(&*store, &second, "k3").expect("it is held");
    let page = list(&*store, "", At::Newest);
    assert_eq!(pairs(&page), ["k1=1", "k3=1"]);
}

/// A fence of a lease that was never taken, or with a made-up token, is lost.
pub fn fence_without_a_lease_is_lost(harness: &mut dyn Harness) {
    let store = harness.store();
    let held = take(&*store, "l", "a", 1000).expect("it is free");
    let tokens = [("other", held.token), ("l", held.token + 1), ("l", 0)];
    for (lease, token) in tokens {
        let lease = lease.to_owned();
        let fence = Fence { lease, token };
        assert_eq!(fenced(&*store, &fence, "k"), Err(lost(&fence)));
    }
    assert_eq!(get(&*store, "k"), None);
}

/// Leases of different names have nothing to do with each other.
pub fn leases_are_independent(harness: &mut dyn Harness) {
    let store = harness.store();
    let one = take(&*store, "one", "a", 1000).expect("it is free");
    let two = take(&*store, "two", "b", 1000).expect("it is free");
    take(&*store, "one", "c", 2000).expect("it has ended");
    assert_eq!(fenced(&*store, &one, "k"), Err(lost(&one)));
    fenced(&*store, &two, "k").expect("it is held");
}

/// Leases and their tokens outlive a stop and a crash.
pub fn tokens_survive_reopening(harness: &mut dyn Harness) {
    let first = take(&*harness.store(), "l", "a", 1000).expect("it is free");
    harness.reopen();
    assert_eq!(take(&*harness.store(), "l", "b", 1050), None);
    fenced(&*harness.store(), &first, "k").expect("it is held");
    let second = take(&*harness.store(), "l", "b", 2000).expect("it has ended");
    assert!(second.token > first.token);
    harness.crash();
    let store = harness.store();
    assert_eq!(fenced(&*store, &first, "k2"), Err(lost(&first)));
    fenced(&*store, &second, "k2").expect("it is held");
    let third = take(&*store, "l", "c", 3000).expect("it has ended");
    assert!(third.token > second.token);
}
