//! Format strings.

use super::format::Flags;
use super::printer::Printer;
use crate::strconv;
use crate::types::Kind;
use crate::value::{Underlying, Value};

/// A width or precision beyond this is an error in the text, as in Go.
const MAX_NUMBER: i64 = 1_000_000;

fn too_large(number: i64) -> bool {
    !(-MAX_NUMBER..=MAX_NUMBER).contains(&number)
}

/// A number in `text[from..to]`: the number if there is one, and where it ends.
fn parse_number(text: &[u8], from: usize, to: usize) -> (Option<usize>, usize) {
    let (mut number, mut found, mut at) = (0i64, false, from);
    if from >= to {
        return (None, to);
    }
    while at < to && text[at].is_ascii_digit() {
        if too_large(number) {
            return (None, to);
        }
        number = number * 10 + i64::from(text[at] - b'0');
        found = true;
        at += 1;
    }
    (found.then_some(number as usize), at)
}

/// `[n]` at the beginning of the text: the index from 0 if it is good, and how many bytes it takes.
fn parse_index(text: &[u8]) -> (Option<usize>, usize) {
    if text.len() < 3 {
        return (None, 1);
    }
    let Some(close) = text
        .iter()
        .skip(1)
        .position(|byte| *byte == b']')
        .map(|at| at + 1)
    else {
        return (None, 1);
    };
    match parse_number(text, 1, close) {
        // [0] is read well, and is no index
        (Some(number), end) if end == close => (Some(number.wrapping_sub(1)), close + 1),
        _ => (None, close + 1),
    }
}

struct Place {
    arg: usize,
    at: usize,
    after_index: bool,
    good: bool,
    reordered: bool,
}

impl Place {
    fn index(&mut self, format: &[u8], count: usize) {
        self.after_index = false;
        if format.get(self.at) != Some(&b'[') {
            return;
        }
        self.reordered = true;
        let (index, width) = parse_index(&format[self.at..]);
        self.at += width;
        match index {
            Some(index) if index < count => {
                self.arg = index;
                self.after_index = true;
            }
            found => {
                self.good = false;
                self.after_index = found.is_some();
            }
        }
    }

    fn star(&mut self, args: &[Value]) -> Option<i64> {
        let value = args.get(self.arg)?;
        self.arg += 1;
        let int = match value {
            Value::Int(int) => Some(*int),
            Value::Object(object) => match object.underlying() {
                Underlying::Int(int) if object.kind() != Kind::Pointer => Some(int),
                _ => None,
            },
            _ => None,
        }?;
        i64::try_from(int.as_i128())
            .ok()
            .filter(|number| !too_large(*number))
    }
}

impl Printer {
    pub(super) fn printf(&mut self, format: &[u8], args: &[Value]) {
        let end = format.len();
        let mut place = Place {
            arg: 0,
            at: 0,
            after_index: false,
            good: true,
            reordered: false,
        };
        'format: while place.at < end && self.check() {
            place.good = true;
            let plain = format[place.at..]
                .iter()
                .position(|byte| *byte == b'%')
                .unwrap_or(end - place.at);
            self.write(&format[place.at..place.at + plain]);
            place.at += plain;
            if place.at >= end {
                break;
            }
            place.at += 1;
            self.layout.flags = Flags::default();
            while place.at < end {
                let flags = &mut self.layout.flags;
                match format[place.at] {
                    b'#' => flags.sharp = true,
                    b'0' => flags.zero = true,
                    b'+' => flags.plus = true,
                    b'-' => flags.minus = true,
                    b' ' => flags.space = true,
                    verb @ b'a'..=b'z' if place.arg < args.len() => {
                        // the common case: a verb without width, precision or index
                        self.verb(&args[place.arg], char::from(verb));
                        place.arg += 1;
                        place.at += 1;
                        continue 'format;
                    }
                    _ => break,
                }
                place.at += 1;
            }
            place.index(format, args.len());
            self.width(format, args, &mut place);
            self.precision(format, args, &mut place);
            if !place.after_index {
                place.index(format, args.len());
            }
            if place.at >= end {
                self.write(b"%!(NOVERB)");
                break;
            }
            let (verb, width) = strconv::decode_rune(&format[place.at..]);
            place.at += width;
            if verb == '%' {
                self.write(b"%");
            } else if !place.good {
                self.complain(verb, b"(BADINDEX)");
            } else if let Some(arg) = args.get(place.arg) {
                self.verb(arg, verb);
                place.arg += 1;
            } else {
                self.complain(verb, b"(MISSING)");
            }
        }
        if !place.reordered && place.arg < args.len() {
            self.extra(&args[place.arg..]);
        }
    }

    fn verb(&mut self, arg: &Value, verb: char) {
        if matches!(verb, 'v' | 'w') {
            let flags = &mut self.layout.flags;
            flags.sharp_v = std::mem::replace(&mut flags.sharp, false);
            flags.plus_v = std::mem::replace(&mut flags.plus, false);
        }
        self.print_arg(arg, verb);
    }

    fn complain(&mut self, verb: char, what: &[u8]) {
        self.write(b"%!");
        strconv::append_rune(&mut self.layout.out, u32::from(verb));
        self.write(what);
    }

    fn width(&mut self, format: &[u8], args: &[Value], place: &mut Place) {
        if format.get(place.at) == Some(&b'*') {
            place.at += 1;
            let width = place.star(args);
            self.layout.flags.width = width.map(|width| width.unsigned_abs() as usize);
            match width {
                None => self.write(b"%!(BADWIDTH)"),
                Some(..0) => {
                    self.layout.flags.minus = true;
                    self.layout.flags.zero = false;
                }
                Some(_) => {}
            }
            place.after_index = false;
        } else {
            (self.layout.flags.width, place.at) = parse_number(format, place.at, format.len());
            if place.after_index && self.layout.flags.width.is_some() {
                place.good = false;
            }
        }
    }

    fn precision(&mut self, format: &[u8], args: &[Value], place: &mut Place) {
        if place.at + 1 >= format.len() || format[place.at] != b'.' {
            return;
        }
        place.at += 1;
        if place.after_index {
            place.good = false;
        }
        place.index(format, args.len());
        if format.get(place.at) == Some(&b'*') {
            place.at += 1;
            self.layout.flags.precision = place
                .star(args)
                .and_then(|number| usize::try_from(number).ok());
            if self.layout.flags.precision.is_none() {
                self.write(b"%!(BADPREC)");
            }
            place.after_index = false;
        } else {
            let (precision, at) = parse_number(format, place.at, format.len());
            place.at = at;
            self.layout.flags.precision = Some(precision.unwrap_or(0));
        }
    }

    fn extra(&mut self, args: &[Value]) {
        self.layout.flags = Flags::default();
        self.write(b"%!(EXTRA ");
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                self.write(b", ");
            }
            if arg.is_untyped_nil() {
                self.write(b"<nil>");
            } else {
                self.write(arg.type_name().as_bytes());
                self.write(b"=");
                self.print_arg(arg, 'v');
            }
        }
        self.write(b")");
    }
}
