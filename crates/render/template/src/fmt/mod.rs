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
