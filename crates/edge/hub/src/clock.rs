//! The hub's clock and randomness: the only place that reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use roadstead_model::Time;

/// The wall clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Fills bytes at random.
pub(crate) fn random(bytes: &mut [u8]) {
    // without randomness nothing here is safe: neither keys nor tokens
    getrandom::fill(bytes).expect("the operating system has randomness");
}

/// A name for a commit that nobody else has.
pub(crate) fn commit_id() -> u128 {
    let mut bytes = [0; 16];
    random(&mut bytes);
    u128::from_le_bytes(bytes)
}
