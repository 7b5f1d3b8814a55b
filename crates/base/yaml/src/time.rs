//! Times as go-yaml reads and writes them.

use std::fmt;

/// A point in time with its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// The year, 0 to 9999.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day, from 1.
    pub day: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
    /// The part of a second, in nanoseconds.
    pub nanos: u32,
    /// Minutes east of UTC.
    pub offset: i16,
}

impl Timestamp {
    /// Reads the forms that go-yaml takes for a time: RFC 3339 with short fields, with a space and no zone, or a date.
    pub fn parse(text: &str) -> Option<Self> {
        let year = text
            .get(..4)
            .filter(|y| y.bytes().all(|b| b.is_ascii_digit()))?;
        let mut rest = text.get(4..)?.strip_prefix('-')?;
        let month = take(&mut rest, 1, 12)?;
        rest = rest.strip_prefix('-')?;
        let day = take(&mut rest, 1, 31)?;
        let year: u16 = year.parse().ok()?;
        let mut time = Self {
            year,
            month,
            day,
            hour: 0,
            minute: 0,
            second: 0,
            nanos: 0,
            offset: 0,
        };
        if day > days(year, month) {
            return None;
        }
        let zoned = match rest.as_bytes().first() {
            None => return Some(time),
            Some(b'T' | b't') => true,
            Some(b' ') => false,
            Some(_) => return None,
        };
        rest = if zoned {
            &rest[1..]
        } else {
            rest.trim_start_matches(' ')
        };
        time.hour = take(&mut rest, 0, 23)?;
        rest = rest.strip_prefix(':')?;
        time.minute = take(&mut rest, 0, 59)?;
        rest = rest.strip_prefix(':')?;
        time.second = take(&mut rest, 0, 59)?;
        if let Some(fraction) = rest.strip_prefix(['.', ',']) {
            let end = fraction
                .bytes()
                .position(|b| !b.is_ascii_digit())
                .unwrap_or(fraction.len());
            if end > 0 {
                let digits = &fraction[..end.min(9)];
                let scale = 10_u32.pow(9 - u32::try_from(digits.len()).ok()?);
                time.nanos = digits.parse::<u32>().ok()? * scale;
                rest = &fraction[end..];
            }
        }
        if zoned {
            time.offset = zone(&mut rest)?;
        }
        rest.is_empty().then_some(time)
    }
}

/// One or two digits, within bounds.
fn take(rest: &mut &str, low: u8, high: u8) -> Option<u8> {
    let bytes = rest.as_bytes();
    let digits = bytes
        .iter()
        .take(2)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let number: u8 = rest.get(..digits)?.parse().ok()?;
    *rest = &rest[digits..];
    (low..=high).contains(&number).then_some(number)
}

fn zone(rest: &mut &str) -> Option<i16> {
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Some(0);
    }
    let bytes = rest.as_bytes().get(..6)?;
    let [sign, h1, h2, b':', m1, m2] = bytes else {
        return None;
    };
    let two = |a: &u8, b: &u8| {
        (a.is_ascii_digit() && b.is_ascii_digit())
            .then(|| i16::from(a - b'0') * 10 + i16::from(b - b'0'))
    };
    let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    *rest = &rest[6..];
    match sign {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

fn days(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 with as many digits of a second as it needs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(out, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return out.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let offset = self.offset.abs();
        write!(out, "{sign}{:02}:{:02}", offset / 60, offset % 60)
    }
}
