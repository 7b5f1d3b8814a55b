//! Times as people say them.

use jiff::Timestamp;
use roadstead_model::Time;

/// The wall clock.
pub(crate) fn now() -> Time {
    Time(Timestamp::now().as_millisecond())
}

/// How long ago, in at most two units: `42s`, `3m20s`, `5h`, `12d`.
pub(crate) fn ago(then: Time, now: Time) -> String {
    let seconds = now.since_ms(then) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_times_shortly() {
        let check = |seconds: i64, expected: &str| {
            assert_eq!(ago(Time(0), Time(seconds * 1000)), expected);
        };
        check(-5, "0s");
        check(119, "119s");
        check(120, "2m");
        check(200, "3m20s");
        check(3600, "60m");
        check(4 * 3600 + 60, "4h1m");
        check(86_400, "24h");
        check(3 * 86_400, "3d");
        check(30 * 86_400, "30d");
    }
}
