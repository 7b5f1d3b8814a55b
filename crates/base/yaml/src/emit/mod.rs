//! Writing as go-yaml does: libyaml's block style, with the choices of version 2 and of version 3.

mod analyze;
mod scalar;
mod sort;
mod trip;

pub(crate) use sort::{Key, compare, sort_by_key};
pub(crate) use trip::valid;

/// Can a text stand without quotes in block style, in version 3?
pub(crate) fn fits_plain(text: &str) -> bool {
    analyze::ordinary(text) || analyze::analyze(text, false).plain_allowed
}

use crate::GoError;
use crate::number;
use crate::resolve::Stack;

/// Version 2 folds scalars of more columns than this at spaces.
const WIDTH: usize = 80;
/// A key of more bytes than this is written in the long form.
const SIMPLE_KEY: usize = 128;

/// Writes one YAML document event by event, byte for byte as Go's libraries do.
///
/// Maps take keys and values in turns; a key is a scalar. Lengths are asked for because an empty list or map is written
/// in brackets. Keys are written in the order in which they come: [`natural_order`](crate::go::natural_order) says Go's.
///
/// ```
/// let mut writer = base_yaml::go::Writer::sigs();
/// writer.begin_map(2);
/// writer.str("a");
/// writer.int(1);
/// writer.str("b");
/// writer.begin_seq(1);
/// writer.str("yes");
/// writer.end();
/// writer.end();
/// assert_eq!(writer.finish().unwrap(), "a: 1\nb:\n- \"yes\"\n");
/// ```
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    stack: Stack,
    /// Do values pass through JSON first?
    json: bool,
    step: usize,
    width: usize,
    frames: Vec<Frame>,
    indent: Option<usize>,
    /// In characters.
    column: usize,
    whitespace: bool,
    indention: bool,
    /// Is a key that is being written in the short form?
    simple_key: bool,
    in_mapping: bool,
    /// Is every key to read back as itself?
    readable: bool,
    error: Option<GoError>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// The indent to go back to.
    outer: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    /// A key comes next.
    Key,
    /// The value of a key in the short form comes next.
    Value,
    /// The value of a key in the long form comes next.
    LongValue,
    /// Nothing comes: it was written in brackets.
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer {
    /// Writes as `sigs.k8s.io/yaml.Marshal` (Helm's `toYaml`, kubectl): what is written passes through JSON, so floats
    /// without a fraction become integers, and strings that JSON or YAML cannot carry are errors.
    pub fn sigs() -> Self {
        Self::new(Stack::V2, 2, true)
    }

    /// Writes as go-yaml version 2's `Marshal`.
    pub fn v2() -> Self {
        Self::new(Stack::V2, 2, false)
    }

    /// Writes as go-yaml version 3's encoder with this indent (Helm's `toYamlPretty` has 2, `Marshal` 4); 2 to 9.
    pub fn v3(indent: usize) -> Self {
        let step = if (2..=9).contains(&indent) { indent } else { 2 };
        Self::new(Stack::V3, step, false)
    }

    fn new(stack: Stack, step: usize, json: bool) -> Self {
        Self {
            out: Vec::new(),
            stack,
            json,
            step,
            width: if stack == Stack::V2 {
                WIDTH
            } else {
                usize::MAX
            },
            frames: Vec::new(),
            indent: None,
            column: 0,
            whitespace: true,
            indention: true,
            simple_key: false,
            in_mapping: false,
            readable: false,
            error: None,
        }
    }

    /// Begins a map of so many entries.
    pub fn begin_map(&mut self, entries: usize) {
        self.begin(entries, Kind::Key);
    }

    /// Begins a list of so many items.
    pub fn begin_seq(&mut self, items: usize) {
        self.begin(items, Kind::List);
    }

    fn begin(&mut self, entries: usize, kind: Kind) {
        self.before(false);
        let outer = self.indent;
        if entries == 0 {
            let brackets = if kind == Kind::List { "[]" } else { "{}" };
            self.indicator(brackets, true, false, false);
            self.frames.push(Frame {
                kind: Kind::Empty,
                outer,
            });
            return;
        }
        let indentless = kind == Kind::List && self.in_mapping && !self.indention;
        self.deeper(false, indentless && self.stack == Stack::V2);
        self.frames.push(Frame { kind, outer });
    }

    /// Ends the map or list that was begun last.
    pub fn end(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.indent = frame.outer;
        }
    }

    /// Writes a string.
    pub fn str(&mut self, text: &str) {
        if !self.json {
            return self.text(text);
        }
        let key = self.at_key();
        match trip::through_json(text, key) {
            Ok(text) => self.text(&text),
            Err(error) => self.fail(error),
        }
    }

    /// Writes a Go string, which may hold any bytes: through JSON, what is not UTF-8 becomes U+FFFD; otherwise such a
    /// string is written as `!!binary`.
    pub fn bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.str(text),
            Err(_) if self.json => self.str(&trip::valid(bytes)),
            Err(_) => {
                let text = trip::base64_lines(bytes);
                let style = if text.contains('\n') {
                    Style::Literal
                } else {
                    Style::Plain
                };
                self.scalar(&text, style, true);
            }
        }
    }

    /// Writes an integer.
    pub fn int(&mut self, int: i64) {
        self.bare(&int.to_string());
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, int: u64) {
        self.bare(&int.to_string());
    }

    /// Writes a 64-bit float.
    pub fn float(&mut self, float: f64) {
        if !self.json {
            return self.bare(&number::go_g_or_odd(float));
        }
        if float == 0.0 {
            return self.bare("0");
        }
        if !float.is_finite() {
            let text = number::go_g_or_odd(float);
            let text = match text.as_str() {
                ".inf" => "+Inf",
                "-.inf" => "-Inf",
                _ => "NaN",
            };
            let message = format!("error marshaling into JSON: json: unsupported value: {text}");
            return self.fail(GoError::plain(message));
        }
        match number::json_of(float) {
            Some(value) if value.is_f64() => self.bare(&number::go_g(float)),
            Some(value) => self.bare(&value.to_string()),
            None => self.bare("null"),
        }
    }

    /// Writes true or false.
    pub fn bool(&mut self, flag: bool) {
        self.bare(if flag { "true" } else { "false" });
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.bare("null");
    }

    /// Writes a text without quotes that stands for something other than a string, such as a time.
    pub fn bare(&mut self, text: &str) {
        self.scalar(text, Style::Plain, false);
    }

    /// Ends the document; the error is the first that came up.
    pub fn finish(mut self) -> Result<String, GoError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.indent = None;
        self.write_indent();
        String::from_utf8(self.out).map_err(|_| GoError::plain("yaml: output is not UTF-8"))
    }

    /// How many bytes are written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Is nothing written yet?
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub(crate) fn stack(&self) -> Stack {
        self.stack
    }

    fn fail(&mut self, error: GoError) {
        self.before(true);
        self.error.get_or_insert(error);
    }

    fn at_key(&self) -> bool {
        self.frames.last().is_some_and(|f| f.kind == Kind::Key)
    }

    /// Writes what stands before a node and notes what comes after it. A key in the short form is said so.
    fn before(&mut self, short_key: bool) {
        self.simple_key = false;
        self.in_mapping = true;
        let Some(frame) = self.frames.last_mut() else {
            self.in_mapping = false;
            return;
        };
        match frame.kind {
            Kind::List => {
                self.write_indent();
                self.indicator("-", true, false, true);
                self.in_mapping = false;
            }
            Kind::Key if short_key => {
                frame.kind = Kind::Value;
                self.write_indent();
                self.simple_key = true;
            }
            Kind::Key => {
                frame.kind = Kind::LongValue;
                self.write_indent();
                self.indicator("?", true, false, true);
            }
            Kind::Value => {
                frame.kind = Kind::Key;
                self.indicator(":", false, false, false);
            }
            Kind::LongValue => {
                frame.kind = Kind::Key;
                self.write_indent();
                self.indicator(":", true, false, true);
            }
            Kind::Empty => {}
        }
    }

    fn deeper(&mut self, flow: bool, indentless: bool) {
        self.indent = Some(match self.indent {
            None if flow => self.step,
            None => 0,
            Some(indent) if indentless => indent,
            Some(indent) if self.stack == Stack::V2 => indent + self.step,
            Some(indent) if self.frames.last().is_some_and(|f| f.kind == Kind::List) => indent + 2,
            Some(indent) => self.step * ((indent + self.step) / self.step),
        });
    }

    fn put(&mut self, byte: u8) {
        self.out.push(byte);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        if self.column < indent {
            self.out.resize(self.out.len() + indent - self.column, b' ');
            self.column = indent;
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_space: bool, is_space: bool, is_indention: bool) {
        if need_space && !self.whitespace {
            self.put(b' ');
        }
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.len();
        self.whitespace = is_space;
        self.indention &= is_indention;
    }
}

/// Writes a value for people and for us: always, and so that it reads back.
pub(crate) fn printed(value: &base_json::Value) -> String {
    let mut writer = Writer::new(Stack::V2, 2, false);
    writer.readable = true;
    writer.value(value);
    writer.finish().unwrap_or_default()
}
