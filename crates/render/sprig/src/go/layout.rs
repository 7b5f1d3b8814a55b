//! The parts of a time layout: the reference time's own numbers stand for what they are.

/// A part of a layout that a time fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// An offset: whether zero is `Z`, and how it is written.
    Offset(bool, OffsetForm),
    /// Digits of a second after a separator; trimmed or not.
    Fraction {
        digits: usize,
        trim: bool,
        separator: u8,
    },
}

/// How an offset is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetForm {
    /// `-0700`
    Plain,
    /// `-07:00`
    Colon,
    /// `-07`
    Short,
    /// `-070000`
    Seconds,
    /// `-07:00:00`
    ColonSeconds,
}

const OFFSETS: [(&[u8], OffsetForm); 5] = [
    (b"070000", OffsetForm::Seconds),
    (b"07:00:00", OffsetForm::ColonSeconds),
    (b"0700", OffsetForm::Plain),
    (b"07:00", OffsetForm::Colon),
    (b"07", OffsetForm::Short),
];

/// Finds the first part: the text before it, the part with its length, and where the layout goes on.
pub(super) fn next(layout: &[u8]) -> (&[u8], Option<Part>, &[u8]) {
    for at in 0..layout.len() {
        if let Some((skip, length, part)) = starts(&layout[at..]) {
            return (
                &layout[..at + skip],
                Some(part),
                &layout[at + skip + length..],
            );
        }
    }
    (layout, None, b"")
}

/// The part that a layout starts with: text before it, its length, itself.
fn starts(layout: &[u8]) -> Option<(usize, usize, Part)> {
    let lower = |at: usize| layout.get(at).is_some_and(u8::is_ascii_lowercase);
    let found = |length: usize, part: Part| Some((0, length, part));
    match layout[0] {
        b'J' if layout.starts_with(b"January") => found(7, Part::LongMonth),
        b'J' if layout.starts_with(b"Jan") && !lower(3) => found(3, Part::Month),
        b'M' if layout.starts_with(b"Monday") => found(6, Part::LongWeekDay),
        b'M' if layout.starts_with(b"Mon") && !lower(3) => found(3, Part::WeekDay),
        b'M' if layout.starts_with(b"MST") => found(3, Part::ZoneName),
        b'0' => match layout.get(1) {
            Some(b'1') => found(2, Part::ZeroMonth),
            Some(b'2') => found(2, Part::ZeroDay),
            Some(b'3') => found(2, Part::ZeroHour12),
            Some(b'4') => found(2, Part::ZeroMinute),
            Some(b'5') => found(2, Part::ZeroSecond),
            Some(b'6') => found(2, Part::Year),
            Some(b'0') if layout.get(2) == Some(&b'2') => found(3, Part::ZeroYearDay),
            _ => None,
        },
        b'1' if layout.get(1) == Some(&b'5') => found(2, Part::Hour),
        b'1' => found(1, Part::NumMonth),
        b'2' if layout.starts_with(b"2006") => found(4, Part::LongYear),
        b'2' => found(1, Part::Day),
        b'_' if layout.starts_with(b"_2006") => Some((1, 4, Part::LongYear)),
        b'_' if layout.starts_with(b"_2") => found(2, Part::UnderDay),
        b'_' if layout.starts_with(b"__2") => found(3, Part::UnderYearDay),
        b'3' => found(1, Part::Hour12),
        b'4' => found(1, Part::Minute),
        b'5' => found(1, Part::Second),
        b'P' if layout.starts_with(b"PM") => found(2, Part::UpperPm),
        b'p' if layout.starts_with(b"pm") => found(2, Part::LowerPm),
        mark @ (b'-' | b'Z') => OFFSETS
            .iter()
            .find(|(text, _)| layout[1..].starts_with(text))
            .and_then(|(text, form)| found(text.len() + 1, Part::Offset(mark == b'Z', *form))),
        separator @ (b'.' | b',') => {
            let digit = *layout.get(1).filter(|byte| matches!(byte, b'0' | b'9'))?;
            let digits = layout[1..]
                .iter()
                .take_while(|byte| **byte == digit)
                .count();
            if layout.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            found(
                1 + digits,
                Part::Fraction {
                    digits,
                    trim: digit == b'9',
                    separator,
                },
            )
        }
        _ => None,
    }
}
