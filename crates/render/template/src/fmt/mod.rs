//! Go's `fmt`: `print`, `printf`, `println` and all their verbs, on [`Value`]s.

mod format;
mod printer;
mod printf;

use crate::error::Limit;
use crate::value::Value;
use printer::Printer;

/// The longest text that the functions of this module make unless they are told otherwise.
pub const MAX_TEXT: usize = 16 << 20;

/// `fmt.Sprint(args...)`: a space between two arguments neither of which is a string.
pub fn sprint(args: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new(Vec::new(), MAX_TEXT);
    printer.print(args);
    printer.finish()
}

/// `fmt.Sprintln(args...)`: a space between all arguments, and a line's end.
pub fn sprintln(args: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new(Vec::new(), MAX_TEXT);
    printer.println(args);
    printer.finish()
}

/// `fmt.Sprintf(format, args...)`.
pub fn sprintf(format: &[u8], args: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new(Vec::new(), MAX_TEXT);
    printer.printf(format, args);
    printer.finish()
}

/// Appends a value as `%v` prints it. What is in `out` already counts towards `max`.
pub fn append_value(out: &mut Vec<u8>, value: &Value, max: usize) -> Result<(), Limit> {
    match value {
        Value::Str(text) if out.len() + text.len() <= max => out.extend_from_slice(text),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        // a number of few digits, as most are
        Value::Float(value)
            if value.fract() == 0.0
                && value.abs() < 1e6
                && (*value != 0.0 || value.is_sign_positive()) =>
        {
            append_integer(out, *value as i64);
        }
        Value::Int(int) if int.kind().is_signed() => append_integer(out, int.as_i64()),
        _ => {
            let mut printer = Printer::new(std::mem::take(out), max);
            printer.print_arg(value, 'v');
            let (text, result) = printer.into_parts();
            *out = text;
            return result;
        }
    }
    Ok(())
}

fn append_integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// The arguments as Go's escapers join them: pointers are followed, and nil is `<no value>`.
pub(crate) fn sprint_printable(args: &[Value]) -> Result<Vec<u8>, Limit> {
    let mut printer = Printer::new(Vec::new(), MAX_TEXT);
    printer.print_printable(args);
    printer.finish()
}

/// Appends a value as an action prints it: pointers are followed, and nil is `<no value>`.
pub(crate) fn append_printable(out: &mut Vec<u8>, value: &Value, max: usize) -> Result<(), Limit> {
    match value {
        Value::Invalid | Value::Nil => {
            out.extend_from_slice(b"<no value>");
            Ok(())
        }
        Value::Object(_) => {
            let mut printer = Printer::new(std::mem::take(out), max);
            printer.print_followed(value);
            let (text, result) = printer.into_parts();
            *out = text;
            result
        }
        _ => append_value(out, value, max),
    }
}

/// A value as `%v` prints it.
pub fn value_text(value: &Value) -> Result<Vec<u8>, Limit> {
    let mut out = Vec::new();
    append_value(&mut out, value, MAX_TEXT)?;
    Ok(out)
}
