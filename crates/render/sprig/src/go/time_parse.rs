//! Reading times by a layout, in the order and with the error texts of Go's `time.ParseInLocation`.

use super::layout::{self, OffsetForm, Part};
use super::time::{
    Time, Zone, days_from_civil, leap, month_by_name, month_length, quote, week_day_by_name,
};

/// What one part could not take.
enum Bad {
    Text,
    Range(&'static str),
}

#[derive(Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanoseconds: u32,
    upper_half: bool,
    lower_half: bool,
    utc: bool,
    offset: Option<i64>,
    zone: Option<Vec<u8>>,
}

pub(super) fn parse(layout: &[u8], value: &[u8], zone: &Zone) -> Result<Time, String> {
    let cannot = |element: &[u8], part: &[u8]| {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(value),
            quote(layout),
            quote(element),
            quote(part)
        )
    };
    let wrong = |message: &str| format!("parsing time {}{message}", quote(value));
    let mut fields = Fields::default();
    let (mut rest_layout, mut rest) = (layout, value);
    loop {
        let (prefix, part, after) = layout::next(rest_layout);
        let element = &rest_layout[prefix.len()..rest_layout.len() - after.len()];
        rest = skip(rest, prefix).map_err(|rest| cannot(rest, prefix))?;
        let Some(part) = part else {
            if !rest.is_empty() {
                return Err(wrong(&format!(": extra text: {}", quote(rest))));
            }
            break;
        };
        rest_layout = after;
        let hold = rest;
        match fields.read(part, rest, after) {
            Ok(left) => rest = left,
            Err(Bad::Range(what)) => return Err(wrong(&format!(": {what} out of range"))),
            Err(Bad::Text) => return Err(cannot(hold, element)),
        }
    }
    fields.time(zone).map_err(|message| wrong(&message))
}

/// Takes a layout's literal text off a value; a run of spaces fits any other.
fn skip<'a>(value: &'a [u8], prefix: &[u8]) -> Result<&'a [u8], &'a [u8]> {
    let (mut value, mut prefix) = (value, prefix);
    while let Some(&first) = prefix.first() {
        if first == b' ' {
            if value.first().is_some_and(|byte| *byte != b' ') {
                return Err(value);
            }
            prefix = prefix.trim_ascii_start_spaces();
            value = value.trim_ascii_start_spaces();
            continue;
        }
        if value.first() != Some(&first) {
            return Err(value);
        }
        prefix = &prefix[1..];
        value = &value[1..];
    }
    Ok(value)
}

trait Spaces {
    fn trim_ascii_start_spaces(&self) -> &Self;
}

impl Spaces for [u8] {
    fn trim_ascii_start_spaces(&self) -> &[u8] {
        let count = self.iter().take_while(|byte| **byte == b' ').count();
        &self[count..]
    }
}

fn digit(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}

/// One or two digits; exactly two where the layout has a leading zero.
fn number(text: &[u8], fixed: bool) -> Result<(i64, &[u8]), Bad> {
    if !digit(text, 0) || fixed && !digit(text, 1) {
        return Err(Bad::Text);
    }
    let length = if digit(text, 1) { 2 } else { 1 };
    Ok((digits(&text[..length]), &text[length..]))
}

fn digits(text: &[u8]) -> i64 {
    text.iter()
        .fold(0_i64, |value, byte| value * 10 + i64::from(byte - b'0'))
}

/// Go's `atoi` over a few bytes: a sign, then digits.
fn atoi(text: &[u8]) -> Result<i64, Bad> {
    let (negative, body) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if body.is_empty() || !body.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Text);
    }
    Ok(if negative {
        -digits(body)
    } else {
        digits(body)
    })
}

/// A separator and digits, `length` bytes in all, as nanoseconds.
fn fraction(text: &[u8], length: usize) -> Result<u32, Bad> {
    if !matches!(text[0], b'.' | b',') {
        return Err(Bad::Text);
    }
    let length = length.min(10);
    let value = atoi(&text[1..length])?;
    if value < 0 {
        return Err(Bad::Range("fractional second"));
    }
    let scaled = value * 10_i64.pow(u32::try_from(10 - length).map_err(|_| Bad::Text)?);
    u32::try_from(scaled).map_err(|_| Bad::Text)
}

impl Fields {
    fn read<'a>(&mut self, part: Part, text: &'a [u8], after: &[u8]) -> Result<&'a [u8], Bad> {
        let named = |found: Option<(i64, usize)>| {
            found
                .map(|(index, length)| (index, &text[length..]))
                .ok_or(Bad::Text)
        };
        let within = |value: i64, from: i64, to: i64, what: &'static str| {
            if (from..to).contains(&value) {
                Ok(value)
            } else {
                Err(Bad::Range(what))
            }
        };
        let rest;
        match part {
            Part::Year => {
                let year = atoi(text.get(..2).ok_or(Bad::Text)?)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
                rest = &text[2..];
            }
            Part::LongYear => {
                if text.len() < 4 || !digit(text, 0) {
                    return Err(Bad::Text);
                }
                self.year = atoi(&text[..4])?;
                rest = &text[4..];
            }
            Part::Month | Part::LongMonth => {
                let (month, left) = named(month_by_name(text, part == Part::LongMonth))?;
                self.month = Some(month + 1);
                rest = left;
            }
            Part::NumMonth | Part::ZeroMonth => {
                let (month, left) = number(text, part == Part::ZeroMonth)?;
                self.month = Some(within(month, 1, 13, "month")?);
                rest = left;
            }
            Part::WeekDay | Part::LongWeekDay => {
                rest = named(week_day_by_name(text, part == Part::LongWeekDay))?.1;
            }
            Part::Day | Part::UnderDay | Part::ZeroDay => {
                let text = match text.first() {
                    Some(b' ') if part == Part::UnderDay => &text[1..],
                    _ => text,
                };
                let (day, left) = number(text, part == Part::ZeroDay)?;
                self.day = Some(day);
                rest = left;
            }
            Part::UnderYearDay | Part::ZeroYearDay => {
                let mut text = text;
                for _ in 0..2 {
                    if part == Part::UnderYearDay && text.first() == Some(&b' ') {
                        text = &text[1..];
                    }
                }
                let length = text
                    .iter()
                    .take(3)
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                if length == 0 || part == Part::ZeroYearDay && length != 3 {
                    return Err(Bad::Text);
                }
                self.year_day = Some(digits(&text[..length]));
                rest = &text[length..];
            }
            Part::Hour => {
                let (hour, left) = number(text, false)?;
                self.hour = within(hour, 0, 24, "hour")?;
                rest = left;
            }
            Part::Hour12 | Part::ZeroHour12 => {
                let (hour, left) = number(text, part == Part::ZeroHour12)?;
                self.hour = within(hour, 0, 13, "hour")?;
                rest = left;
            }
            Part::Minute | Part::ZeroMinute => {
                let (minute, left) = number(text, part == Part::ZeroMinute)?;
                self.minute = within(minute, 0, 60, "minute")?;
                rest = left;
            }
            Part::Second | Part::ZeroSecond => {
                let (second, left) = number(text, part == Part::ZeroSecond)?;
                self.second = within(second, 0, 60, "second")?;
                rest = self.loose_fraction(left, after)?;
            }
            Part::UpperPm | Part::LowerPm => {
                let (pm, am): (&[u8], &[u8]) = if part == Part::UpperPm {
                    (b"PM", b"AM")
                } else {
                    (b"pm", b"am")
                };
                match text.get(..2) {
                    Some(half) if half == pm => self.upper_half = true,
                    Some(half) if half == am => self.lower_half = true,
                    _ => return Err(Bad::Text),
                }
                rest = &text[2..];
            }
            Part::Offset(zulu, form) => {
                if zulu && text.first() == Some(&b'Z') {
                    self.utc = true;
                    return Ok(&text[1..]);
                }
                let (offset, left) = read_offset(text, form)?;
                self.offset = Some(offset);
                rest = left;
            }
            Part::ZoneName => {
                if text.starts_with(b"UTC") {
                    self.utc = true;
                    return Ok(&text[3..]);
                }
                let length = zone_name(text).ok_or(Bad::Text)?;
                self.zone = Some(text[..length].to_vec());
                rest = &text[length..];
            }
            Part::Fraction {
                digits,
                trim: false,
                ..
            } => {
                if text.len() < 1 + digits {
                    return Err(Bad::Text);
                }
                self.nanoseconds = fraction(text, 1 + digits)?;
                rest = &text[1 + digits..];
            }
            Part::Fraction { .. } => {
                if text.len() < 2 || !matches!(text[0], b'.' | b',') || !digit(text, 1) {
                    return Ok(text);
                }
                let length = 1 + text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
                self.nanoseconds = fraction(text, length)?;
                rest = &text[length..];
            }
        }
        Ok(rest)
    }

    /// A fraction of a second may follow the seconds though the layout has none.
    fn loose_fraction<'a>(&mut self, text: &'a [u8], after: &[u8]) -> Result<&'a [u8], Bad> {
        if text.len() < 2 || !matches!(text[0], b'.' | b',') || !digit(text, 1) {
            return Ok(text);
        }
        if matches!(layout::next(after).1, Some(Part::Fraction { .. })) {
            return Ok(text);
        }
        let length = 1 + text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.nanoseconds = fraction(text, length)?;
        Ok(&text[length..])
    }

    fn time(mut self, zone: &Zone) -> Result<Time, String> {
        if self.upper_half && self.hour < 12 {
            self.hour += 12;
        } else if self.lower_half && self.hour == 12 {
            self.hour = 0;
        }
        let (month, day) = match self.year_day {
            Some(year_day) => {
                let length = if leap(self.year) { 366 } else { 365 };
                if !(1..=length).contains(&year_day) {
                    return Err(": day-of-year out of range".to_owned());
                }
                let (mut month, mut day) = (1, year_day);
                while day > month_length(month, self.year) {
                    day -= month_length(month, self.year);
                    month += 1;
                }
                if self.month.is_some_and(|given| given != month) {
                    return Err(": day-of-year does not match month".to_owned());
                }
                if self.day.is_some_and(|given| given != day) {
                    return Err(": day-of-year does not match day".to_owned());
                }
                (month, day)
            }
            None => (self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        if day < 1 || day > month_length(month, self.year) {
            return Err(": day out of range".to_owned());
        }
        let local = days_from_civil(self.year, month, day) * 86_400
            + self.hour * 3600
            + self.minute * 60
            + self.second;
        let at = |unix: i64, zone: Zone| Ok(Time::at(unix, self.nanoseconds, zone));
        if self.utc {
            return at(local, Zone::Utc);
        }
        let name = self
            .zone
            .as_deref()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        if let Some(offset) = self.offset {
            let unix = local - offset;
            let (here, here_offset) = zone.at(unix);
            if here_offset == offset && name.as_ref().is_none_or(|name| *name == here) {
                return at(unix, zone.clone());
            }
            let offset = i32::try_from(offset).unwrap_or(0);
            return at(unix, Zone::Fixed(name.unwrap_or_default(), offset));
        }
        if let Some(name) = name {
            if zone.at(local).0 == name {
                return at(local - zone.at(local).1, zone.clone());
            }
            let offset = name
                .strip_prefix("GMT")
                .and_then(|hours| hours.parse::<i32>().ok())
                .map_or(0, |hours| hours * 3600);
            return at(local, Zone::Fixed(name, offset));
        }
        let guess = local - zone.at(local).1;
        at(local - zone.at(guess).1, zone.clone())
    }
}

fn read_offset(text: &[u8], form: OffsetForm) -> Result<(i64, &[u8]), Bad> {
    let (length, minutes, seconds) = match form {
        OffsetForm::Colon => (6, Some(4), None),
        OffsetForm::Short => (3, None, None),
        OffsetForm::ColonSeconds => (9, Some(4), Some(7)),
        OffsetForm::Seconds => (7, Some(3), Some(5)),
        OffsetForm::Plain => (5, Some(3), None),
    };
    if text.len() < length {
        return Err(Bad::Text);
    }
    let colons = matches!(form, OffsetForm::Colon | OffsetForm::ColonSeconds);
    if colons && text[3] != b':' || form == OffsetForm::ColonSeconds && text[6] != b':' {
        return Err(Bad::Text);
    }
    // Go looks at the bounds before it looks at what could not be read.
    let mut broken = false;
    let mut two = |at: Option<usize>| match at {
        Some(at) if !broken => {
            let read = number(&text[at..at + 2], true);
            broken = read.is_err();
            read.map_or(0, |(value, _)| value)
        }
        _ => 0,
    };
    let (hours, minutes, seconds) = (two(Some(1)), two(minutes), two(seconds));
    // Of several bounds that are passed Go names the last.
    if seconds > 60 {
        return Err(Bad::Range("time zone offset second"));
    }
    if minutes > 60 {
        return Err(Bad::Range("time zone offset minute"));
    }
    if hours > 24 {
        return Err(Bad::Range("time zone offset hour"));
    }
    let offset = (hours * 60 + minutes) * 60 + seconds;
    match text[0] {
        b'+' if !broken => Ok((offset, &text[length..])),
        b'-' if !broken => Ok((-offset, &text[length..])),
        _ => Err(Bad::Text),
    }
}

/// How long the abbreviation of a zone is that a text starts with.
fn zone_name(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if text.starts_with(b"GMT") {
        return Some(3 + signed_hours(&text[3..]));
    }
    if matches!(text[0], b'+' | b'-') {
        return Some(signed_hours(text)).filter(|length| *length > 0);
    }
    let letters = text
        .iter()
        .take(6)
        .take_while(|b| b.is_ascii_uppercase())
        .count();
    match letters {
        5 if text[4] == b'T' => Some(5),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}

/// How long a signed number of hours is; 0 if there is none.
fn signed_hours(text: &[u8]) -> usize {
    if !matches!(text.first(), Some(b'+' | b'-')) {
        return 0;
    }
    let length = text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let significant = text[1..=length].iter().skip_while(|b| **b == b'0').count();
    if length == 0 || significant > 2 || digits(&text[1 + length - significant..=length]) > 23 {
        return 0;
    }
    1 + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(layout: &str, value: &str, expected: &str) {
        let found = Time::parse(layout.as_bytes(), value.as_bytes(), &Zone::Local)
            .map_or_else(|error| error, |time| time.to_string());
        assert_eq!(found, expected, "{layout} {value}");
    }

    #[test]
    fn reads_by_layout() {
        check("2006-01-02", "2024-02-29", "2024-02-29 00:00:00 +0000 UTC");
        check(
            "2006-01-02",
            "2023-02-29",
            "parsing time \"2023-02-29\": day out of range",
        );
        check(
            "2006-01-02T15:04:05Z07:00",
            "2020-01-02T03:04:05.25+02:00",
            "2020-01-02 03:04:05.25 +0200 +0200",
        );
        check(
            "Jan _2 2006 3:04PM MST",
            "feb  3 2021 12:05AM EST",
            "2021-02-03 00:05:00 +0000 EST",
        );
        check("2006 002", "2020 366", "2020-12-31 00:00:00 +0000 UTC");
        check(
            "2006-01-02",
            "x",
            "parsing time \"x\" as \"2006-01-02\": cannot parse \"x\" as \"2006\"",
        );
        check("2006", "2020x", "parsing time \"2020x\": extra text: \"x\"");
    }

    #[test]
    fn writes_by_layout() {
        let time = Time::at(1_700_000_000, 120_000_000, Zone::Utc);
        let text = |layout: &str| String::from_utf8(time.format(layout.as_bytes())).unwrap();
        assert_eq!(
            text("Monday Mon January Jan 1 01 _2 02 2 06 2006 002 __2"),
            "Tuesday Tue November Nov 11 11 14 14 14 23 2023 318 318"
        );
        assert_eq!(
            text("15 3 03 4 04 5 05 PM pm MST Z0700 -07:00 .000 .999 .99999 ,000"),
            "22 10 10 13 13 20 20 PM pm UTC Z +00:00 .120 .12 .12 ,120"
        );
        let berlin = time.within(Zone::load("Europe/Berlin").unwrap());
        assert_eq!(berlin.to_string(), "2023-11-14 23:13:20.12 +0100 CET");
        assert!(Zone::load("europe/berlin").is_none());
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
    }
}
