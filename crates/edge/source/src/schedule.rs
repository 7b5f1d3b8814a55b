//! When to poll again; pure.

use std::ops::Add;
use std::time::Duration;

/// The longest wait that failures lead to, before jitter. A Source whose own interval is longer keeps its interval.
pub const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// Says when to poll next: `now` and [`poll_delay`].
pub fn next_poll<T: Add<Duration, Output = T>>(
    now: T,
    interval: Duration,
    failures: u32,
    seed: u64,
) -> T {
    now + poll_delay(interval, failures, seed)
}

/// Says how long to wait after a poll.
///
/// The interval doubles with each failure in a row, up to [`MAX_BACKOFF`]. A tenth of it, chosen by `seed`, is taken
/// away or added, so that many Sources do not ask at the same moment. The same arguments give the same answer.
pub fn poll_delay(interval: Duration, failures: u32, seed: u64) -> Duration {
    // A zero interval would turn a failing Source into a busy loop.
    let interval = interval.max(Duration::from_secs(1));
    let factor = 1u32 << failures.min(16);
    let base = interval
        .saturating_mul(factor)
        .min(MAX_BACKOFF.max(interval));
    let millis = u64::try_from(base.as_millis()).unwrap_or(u64::MAX / 2);
    let spread = millis / 5;
    let offset = mix(seed ^ u64::from(failures).rotate_left(32)) % (spread + 1);
    Duration::from_millis(millis - spread / 2 + offset)
}

/// Spreads a seed over all bits (the finaliser of SplitMix64), so that neighbouring seeds do not poll together.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_a_tenth_of_the_doubled_interval() {
        for (interval, failures, expected) in [
            (60, 0, 60),
            (60, 1, 120),
            (60, 3, 480),
            (60, 4, 600),
            (60, u32::MAX, 600),
            (3600, 0, 3600),
            (3600, 9, 3600),
            (0, 0, 1),
        ] {
            for seed in 0..200 {
                let delay = poll_delay(Duration::from_secs(interval), failures, seed).as_millis();
                let expected = expected * 1000;
                assert!(
                    delay >= expected * 9 / 10 && delay <= expected * 11 / 10,
                    "{interval} {failures} {seed}: {delay}"
                );
            }
        }
    }

    #[test]
    fn spreads_neighbouring_seeds() {
        let delays: std::collections::BTreeSet<_> = (0..100)
            .map(|seed| poll_delay(Duration::from_secs(60), 0, seed))
            .collect();
        assert!(delays.len() > 90, "{} distinct", delays.len());
        assert_eq!(
            next_poll(Duration::from_secs(5), Duration::from_secs(60), 2, 7),
            next_poll(Duration::from_secs(5), Duration::from_secs(60), 2, 7)
        );
    }
}
