//! Blobs by digest.

use super::*;
use crate::BlobError;

fn blob(text: &str) -> (Digest, Bytes) {
    (
        Digest::of(text.as_bytes()),
        Bytes::copy_from_slice(text.as_bytes()),
    )
}

fn stored(harness: &dyn Harness) -> (u64, u64) {
    let stats = harness.store().stats().expect("readable");
    (stats.blobs, stats.blob_bytes)
}

/// A blob is read as it was stored; one that was not is none. No revision is taken.
pub fn put_and_get(harness: &mut dyn Harness) {
    let store = harness.store();
    let at = store.revision();
    let large: Vec<u8> = (0..3 << 20).map(|n: u32| (n ^ (n >> 9)) as u8).collect();
    let large = (Digest::of(&large), Bytes::from(large));
    let all = [blob("one"), blob(""), large];
    store.put_blobs(&all).expect("they are stored");
    store.put_blobs(&[]).expect("nothing is stored");
    for (digest, bytes) in &all {
        assert_eq!(store.get_blob(digest), Ok(Some(bytes.clone())), "{digest}");
    }
    assert_eq!(store.get_blob(&blob("never").0), Ok(None));
    assert_eq!(store.revision(), at);
}

/// A blob that is there already, or stands twice in the call, is stored once.
pub fn put_twice_costs_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    let (one, two) = (blob("one"), blob("three"));
    store
        .put_blobs(&[one.clone(), one.clone()])
        .expect("stored");
    store.put_blobs(&[two, one]).expect("stored");
    assert_eq!(stored(harness), (2, 8));
}

/// Those that are missing are told, in the order they were asked for.
pub fn missing(harness: &mut dyn Harness) {
    let store = harness.store();
    let all: Vec<(Digest, Bytes)> = (0..2000).map(|n| blob(&n.to_string())).collect();
    let (there, absent): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(n, _)| n % 3 == 0);
    let there: Vec<(Digest, Bytes)> = there.into_iter().map(|(_, blob)| blob.clone()).collect();
    let absent: Vec<Digest> = absent.into_iter().map(|(_, (digest, _))| *digest).collect();
    store.put_blobs(&there).expect("stored");
    let asked: Vec<Digest> = all.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(store.missing_blobs(&asked), Ok(absent));
    assert_eq!(store.missing_blobs(&[]), Ok(vec![]));
}

/// Bytes that do not have the digest they come with are refused, and nothing of the call is stored.
pub fn wrong_digest_is_refused(harness: &mut dyn Harness) {
    let store = harness.store();
    let (digest, _) = blob("right");
    let wrong = (digest, Bytes::from_static(b"wrong"));
    assert_eq!(
        store.put_blobs(&[blob("other"), wrong]),
        Err(BlobError::Damaged { digest })
    );
    assert_eq!(stored(harness), (0, 0));
}

/// A blob whose bytes have changed is an error, then counts as missing, and storing it again heals it.
pub fn damaged_blob_is_an_error_and_heals(harness: &mut dyn Harness) {
    let store = harness.store();
    let (good, bad) = (blob("good"), blob("bad"));
    store
        .put_blobs(&[good.clone(), bad.clone()])
        .expect("stored");
    harness.damage_blob(&bad.0);
    let error = Err(BlobError::Damaged { digest: bad.0 });
    assert_eq!(store.get_blob(&bad.0), error);
    assert_eq!(store.get_blob(&bad.0), error);
    assert_eq!(store.get_blob(&good.0), Ok(Some(good.1)));
    assert_eq!(store.missing_blobs(&[good.0, bad.0]), Ok(vec![bad.0]));
    store.put_blobs(std::slice::from_ref(&bad)).expect("stored");
    assert_eq!(store.get_blob(&bad.0), Ok(Some(bad.1)));
    assert_eq!(store.missing_blobs(&[bad.0]), Ok(vec![]));
}

/// Only what nobody keeps and is old is swept.
pub fn sweep_spares_what_is_kept_or_young(harness: &mut dyn Harness) {
    let store = harness.store();
    let (old, kept, young) = (blob("old"), blob("kept"), blob("young"));
    harness.set_now(1000);
    store
        .put_blobs(&[old.clone(), kept.clone()])
        .expect("stored");
    harness.set_now(5000);
    store
        .put_blobs(std::slice::from_ref(&young))
        .expect("stored");
    let keep = |digest: &Digest| *digest == kept.0;
    assert_eq!(store.sweep_blobs(1000, &keep), Ok(0), "nothing is that old");
    assert_eq!(store.sweep_blobs(5000, &keep), Ok(1));
    assert_eq!(store.get_blob(&old.0), Ok(None));
    assert_eq!(store.get_blob(&kept.0), Ok(Some(kept.1.clone())));
    assert_eq!(store.get_blob(&young.0), Ok(Some(young.1.clone())));
    assert_eq!(store.sweep_blobs(5001, &keep), Ok(1));
    assert_eq!(stored(harness), (1, 4));
    assert_eq!(
        store.missing_blobs(&[old.0, kept.0, young.0]),
        Ok(vec![old.0, young.0])
    );
}

/// What is stored again is as young as if it were new, so that a sweep does not take what a commit is about to name.
pub fn stored_again_is_young_again(harness: &mut dyn Harness) {
    let store = harness.store();
    let one = blob("one");
    harness.set_now(1000);
    store.put_blobs(std::slice::from_ref(&one)).expect("stored");
    harness.set_now(9000);
    store.put_blobs(std::slice::from_ref(&one)).expect("stored");
    assert_eq!(store.sweep_blobs(9000, &|_| false), Ok(0));
    drop(store);
    harness.crash();
    let store = harness.store();
    assert_eq!(store.sweep_blobs(9000, &|_| false), Ok(0));
    assert_eq!(store.sweep_blobs(9001, &|_| false), Ok(1));
}

/// Blobs, and that some were swept, outlive a stop and a crash.
pub fn blobs_survive_reopening(harness: &mut dyn Harness) {
    let all: Vec<(Digest, Bytes)> = (0..50).map(|n| blob(&n.to_string())).collect();
    harness.set_now(1000);
    harness.store().put_blobs(&all).expect("stored");
    harness.crash();
    for (digest, bytes) in &all {
        assert_eq!(harness.store().get_blob(digest), Ok(Some(bytes.clone())));
    }
    let keep = |digest: &Digest| *digest == all[7].0;
    assert_eq!(harness.store().sweep_blobs(2000, &keep), Ok(49));
    harness.crash();
    assert_eq!(stored(harness), (1, 1));
    harness.reopen();
    assert_eq!(
        harness.store().get_blob(&all[7].0),
        Ok(Some(all[7].1.clone()))
    );
}
