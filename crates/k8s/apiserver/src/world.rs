//! What the server takes from outside: time, timers, randomness.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// A future that ends when its time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits; watches end and send bookmarks by it.
pub trait Timer: Send + Sync {
    /// Returns a future that ends after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

impl<F: Fn(Duration) -> Sleep + Send + Sync> Timer for F {
    fn sleep(&self, duration: Duration) -> Sleep {
        self(duration)
    }
}

/// Gives random bytes: for uids, generated names, ids of commits.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

impl<F: Fn(&mut [u8]) + Send + Sync> Entropy for F {
    fn fill(&self, buffer: &mut [u8]) {
        self(buffer);
    }
}

/// Makes a random uid (version 4).
pub(crate) fn uid(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Makes the five characters that follow a `generateName`.
pub(crate) fn suffix(entropy: &dyn Entropy) -> String {
    // no vowels, so that no word can come out of it
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = [0_u8; 5];
    entropy.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}

/// Writes a moment as Kubernetes does: UTC, whole seconds.
pub fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes an age as kubectl does: `5m`, `3h12m`, `8d`.
pub fn age_text(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => pair(hours / 24 / 365, "y", (hours / 24) % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}

/// Writes how long ago `text` was, or `<unknown>`.
pub(crate) fn since(text: Option<&str>, now: Timestamp) -> String {
    text.and_then(|text| text.parse::<Timestamp>().ok())
        .map_or_else(
            || "<unknown>".to_owned(),
            |at| age_text(now.as_second() - at.as_second()),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_520, "3h12m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
        ] {
            assert_eq!(age_text(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn uids_are_version_4() {
        let entropy = |buffer: &mut [u8]| buffer.fill(0xff);
        assert_eq!(uid(&entropy), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(suffix(&entropy).len(), 5);
    }
}
