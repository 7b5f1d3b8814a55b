//! Values as JSON and YAML text, written as Go's encoders do.

use base_yaml::go::{Stack, Writer, json_float, json_string, sort_entries};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_template::{FuncError, Limit, List, MAX_DEPTH, Map, Str, Underlying, Value};

use crate::objects::{DurationObject, PlainVersionObject, TimeObject, VersionObject};

/// Why a value has no text.
pub(crate) enum Unwritten {
    /// Go's error, which some functions swallow.
    Go(String),
    /// A bound of ours, which none may.
    Bound(FuncError),
}

impl Unwritten {
    /// The error, for functions that swallow none.
    pub(crate) fn error(self) -> FuncError {
        match self {
            Unwritten::Go(message) => FuncError::new(message),
            Unwritten::Bound(error) => error,
        }
    }
}

type Written = Result<(), Unwritten>;

/// What takes a value apart.
trait Sink {
    fn null(&mut self);
    fn bool(&mut self, value: bool);
    fn int(&mut self, value: i64);
    fn uint(&mut self, value: u64);
    fn float(&mut self, value: f64) -> Written;
    fn text(&mut self, text: &[u8]);
    /// A text that stands for something other than a string.
    fn bare(&mut self, text: &str) {
        self.text(text.as_bytes());
    }
    fn begin_map(&mut self, entries: usize);
    fn key(&mut self, key: &[u8], first: bool);
    fn end_map(&mut self, empty: bool);
    fn begin_list(&mut self, items: usize);
    fn item(&mut self, first: bool);
    fn end_list(&mut self, empty: bool);
    /// Puts entries into the order in which they are written; they come sorted by their bytes.
    fn order(&self, entries: &mut Vec<(Str, Value)>) {
        let _ = entries;
    }
    /// Whether values become JSON first.
    fn json(&self) -> bool {
        true
    }
}

/// Walks a value. The places of the containers on the way tell rings from what is merely deep.
fn walk(value: &Value, sink: &mut dyn Sink, way: &mut Vec<Value>) -> Written {
    match value {
        Value::Invalid | Value::Nil => sink.null(),
        Value::Bool(value) => sink.bool(*value),
        Value::Int(int) if int.kind().is_signed() => sink.int(int.as_i64()),
        Value::Int(int) => sink.uint(int.as_u64()),
        Value::Float(float) => sink.float(*float)?,
        Value::Complex(..) if sink.json() => {
            return Err(Unwritten::Go("json: unsupported type: complex128".into()));
        }
        Value::Complex(..) => {
            return Err(Unwritten::Go("cannot marshal type: complex128".into()));
        }
        Value::Str(text) => sink.text(text),
        Value::List(list) => return walk_list(list, sink, way),
        Value::Map(map) => return walk_map(map, sink, way),
        Value::Object(_) => return walk_object(value, sink, way),
        _ => sink.null(),
    }
    Ok(())
}

/// Whether both are one map or one list.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => a.same(b),
        (Value::List(a), Value::List(b)) => a.same(b),
        _ => false,
    }
}

fn enter(container: Value, way: &mut Vec<Value>) -> Written {
    if way.len() > 64 && way.iter().any(|outer| same(outer, &container)) {
        return Err(Unwritten::Go(format!(
            "json: unsupported value: encountered a cycle via {}",
            container.type_name()
        )));
    }
    if way.len() > MAX_DEPTH {
        return Err(Unwritten::Bound(FuncError::limit(Limit::Depth(MAX_DEPTH))));
    }
    way.push(container);
    Ok(())
}

fn walk_list(list: &List, sink: &mut dyn Sink, way: &mut Vec<Value>) -> Written {
    if sink.json() {
        if list.is_nil() {
            sink.null();
            return Ok(());
        }
        if let Some(bytes) = list.as_bytes() {
            sink.text(STANDARD.encode(&*bytes).as_bytes());
            return Ok(());
        }
    }
    enter(Value::List(list.clone()), way)?;
    let items = list.items();
    sink.begin_list(items.len());
    for (index, item) in items.iter().enumerate() {
        sink.item(index == 0);
        walk(item, sink, way)?;
    }
    sink.end_list(items.is_empty());
    way.pop();
    Ok(())
}

fn walk_map(map: &Map, sink: &mut dyn Sink, way: &mut Vec<Value>) -> Written {
    if map.is_nil() && sink.json() {
        sink.null();
        return Ok(());
    }
    enter(Value::Map(map.clone()), way)?;
    let mut entries = map.entries();
    sink.order(&mut entries);
    sink.begin_map(entries.len());
    for (index, (key, value)) in entries.iter().enumerate() {
        sink.key(key, index == 0);
        walk(value, sink, way)?;
    }
    sink.end_map(entries.is_empty());
    way.pop();
    Ok(())
}

fn walk_object(value: &Value, sink: &mut dyn Sink, way: &mut Vec<Value>) -> Written {
    let Value::Object(object) = value else {
        return Ok(());
    };
    if way.len() > MAX_DEPTH {
        return Err(Unwritten::Bound(FuncError::limit(Limit::Depth(MAX_DEPTH))));
    }
    if sink.json() {
        let value = object
            .json()
            .map_err(|error| Unwritten::Go(error.message().to_owned()))?;
        if matches!(value, Value::Object(_)) {
            return Err(Unwritten::Go(format!(
                "json: unsupported type: {}",
                object.type_name()
            )));
        }
        return walk(&value, sink, way);
    }
    if object.is_nil() {
        sink.null();
        return Ok(());
    }
    if let Some(time) = value.downcast::<TimeObject>() {
        let text = time.0.format(b"2006-01-02T15:04:05.999999999Z07:00");
        sink.bare(&String::from_utf8_lossy(&text));
        return Ok(());
    }
    let named = value.downcast::<DurationObject>().is_some()
        || value.downcast::<VersionObject>().is_some()
        || value.downcast::<PlainVersionObject>().is_some();
    if named && let Some(text) = object.string() {
        sink.text(text.as_bytes());
        return Ok(());
    }
    match object.underlying() {
        Underlying::Struct(fields) => {
            let fields: Vec<_> = fields.into_iter().filter(|field| field.exported).collect();
            sink.begin_map(fields.len());
            for (index, field) in fields.iter().enumerate() {
                sink.key(field.name.to_lowercase().as_bytes(), index == 0);
                walk(&field.value, sink, way)?;
            }
            sink.end_map(fields.is_empty());
            Ok(())
        }
        Underlying::Map(map) => walk_map(&map, sink, way),
        Underlying::List(list) => walk_list(&list, sink, way),
        Underlying::Str(text) => walk(&Value::Str(text), sink, way),
        Underlying::Int(int) => walk(&Value::Int(int), sink, way),
        Underlying::Float(float) => walk(&Value::Float(float), sink, way),
        Underlying::Bool(value) => walk(&Value::Bool(value), sink, way),
        Underlying::Func => Err(Unwritten::Go(format!(
            "cannot marshal type: {}",
            object.type_name()
        ))),
    }
}

/// JSON text.
struct Json {
    out: String,
    html: bool,
    pretty: bool,
    depth: usize,
}

impl Json {
    fn line(&mut self) {
        if self.pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("  ");
            }
        }
    }

    fn begin(&mut self, mark: char) {
        self.out.push(mark);
        self.depth += 1;
    }

    fn end(&mut self, mark: char, empty: bool) {
        self.depth -= 1;
        if !empty {
            self.line();
        }
        self.out.push(mark);
    }
}

impl Sink for Json {
    fn null(&mut self) {
        self.out.push_str("null");
    }
    fn bool(&mut self, value: bool) {
        self.out.push_str(if value { "true" } else { "false" });
    }
    fn int(&mut self, value: i64) {
        self.out.push_str(&value.to_string());
    }
    fn uint(&mut self, value: u64) {
        self.out.push_str(&value.to_string());
    }
    fn float(&mut self, value: f64) -> Written {
        let Some(text) = json_float(value) else {
            let text = base_yaml::go::format_g(value);
            return Err(Unwritten::Go(format!("json: unsupported value: {text}")));
        };
        self.out.push_str(&text);
        Ok(())
    }
    fn text(&mut self, text: &[u8]) {
        json_string(&mut self.out, text, self.html);
    }
    fn begin_map(&mut self, _: usize) {
        self.begin('{');
    }
    fn key(&mut self, key: &[u8], first: bool) {
        self.item(first);
        json_string(&mut self.out, key, self.html);
        self.out.push_str(if self.pretty { ": " } else { ":" });
    }
    fn end_map(&mut self, empty: bool) {
        self.end('}', empty);
    }
    fn begin_list(&mut self, _: usize) {
        self.begin('[');
    }
    fn item(&mut self, first: bool) {
        if !first {
            self.out.push(',');
        }
        self.line();
    }
    fn end_list(&mut self, empty: bool) {
        self.end(']', empty);
    }
}

/// Writes JSON: with `html`, what means something there is escaped; with `pretty`, a line for each value.
pub(crate) fn to_json(value: &Value, html: bool, pretty: bool) -> Result<String, Unwritten> {
    let mut json = Json {
        out: String::new(),
        html,
        pretty,
        depth: 0,
    };
    walk(value, &mut json, &mut Vec::new())?;
    Ok(json.out)
}

/// YAML text.
struct Yaml {
    writer: Writer,
    stack: Stack,
}

impl Sink for Yaml {
    fn null(&mut self) {
        self.writer.null();
    }
    fn bool(&mut self, value: bool) {
        self.writer.bool(value);
    }
    fn int(&mut self, value: i64) {
        self.writer.int(value);
    }
    fn uint(&mut self, value: u64) {
        self.writer.uint(value);
    }
    fn float(&mut self, value: f64) -> Written {
        self.writer.float(value);
        Ok(())
    }
    fn text(&mut self, text: &[u8]) {
        self.writer.bytes(text);
    }
    fn bare(&mut self, text: &str) {
        self.writer.bare(text);
    }
    fn begin_map(&mut self, entries: usize) {
        self.writer.begin_map(entries);
    }
    fn key(&mut self, key: &[u8], _: bool) {
        self.writer.bytes(key);
    }
    fn end_map(&mut self, _: bool) {
        self.writer.end();
    }
    fn begin_list(&mut self, items: usize) {
        self.writer.begin_seq(items);
    }
    fn item(&mut self, _: bool) {}
    fn end_list(&mut self, _: bool) {
        self.writer.end();
    }
    fn order(&self, entries: &mut Vec<(Str, Value)>) {
        let names: Vec<_> = entries.iter().map(|(key, _)| key.to_text()).collect();
        let mut places: Vec<(&str, usize)> = names.iter().map(AsRef::as_ref).zip(0..).collect();
        sort_entries(&mut places, self.stack, |place| place.0);
        let moved = places
            .iter()
            .map(|(_, place)| entries[*place].clone())
            .collect();
        *entries = moved;
    }
    fn json(&self) -> bool {
        self.stack == Stack::V2
    }
}

/// Writes YAML as `sigs.k8s.io/yaml.Marshal` does, with its last line break.
pub(crate) fn to_yaml(value: &Value) -> Result<String, Unwritten> {
    written(value, Writer::sigs(), Stack::V2)
}

/// Writes YAML as go-yaml version 3 does with an indent of two.
pub(crate) fn to_yaml_pretty(value: &Value) -> Result<String, Unwritten> {
    written(value, Writer::v3(2), Stack::V3)
}

fn written(value: &Value, writer: Writer, stack: Stack) -> Result<String, Unwritten> {
    let mut yaml = Yaml { writer, stack };
    walk(value, &mut yaml, &mut Vec::new())?;
    yaml.writer
        .finish()
        .map_err(|error| Unwritten::Go(error.text))
}
