//! Renders one template with all functions, and asks the real Helm for the same.

#![allow(dead_code, reason = "not every test asks the oracle")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use roadstead_sprig::helm::{MESSAGE_END, MESSAGE_START, NO_VALUE, SET_NAME};
use roadstead_sprig::{Dialect, World, functions};
use roadstead_template::{
    Limits, Machine, Map, MissingKey, Set, Str, TextCache, Type, Unit, Value,
};
use serde_json::Value as Json;

/// The time of all renders here: the fourteenth of November 2023.
pub(crate) const NOW: i128 = 1_700_000_000_123_456_789;

/// The file that Helm calls the template.
const FILE: &str = "c/templates/t";

/// A table of functions, and a world of its own for each render.
pub(crate) struct Renderer {
    functions: Arc<roadstead_template::Functions>,
}

pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(value).collect()),
        Json::Object(fields) => {
            Value::dict(fields.iter().map(|(key, item)| (key.as_str(), value(item))))
        }
    }
}

impl Renderer {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            functions: Arc::new(functions(dialect)),
        }
    }

    /// Renders with the values of a chart; the error is what Helm 3 prints.
    pub(crate) fn render(&self, template: &str, values: &Json) -> Result<Vec<u8>, String> {
        self.render_in(&mut World::seeded(b"test", NOW), template, values)
    }

    pub(crate) fn render_in(
        &self,
        world: &mut World,
        template: &str,
        values: &Json,
    ) -> Result<Vec<u8>, String> {
        let unit = Unit::parse(FILE, template, &self.functions).map_err(|error| {
            let parts: Vec<&str> = error.go().split(": ").collect();
            format!(
                "parse error at ({}): {}",
                parts.get(1).unwrap_or(&""),
                parts.last().unwrap_or(&"")
            )
        })?;
        let mut set = Set::new(&self.functions)
            .with_missing_key(MissingKey::Zero)
            .with_name(SET_NAME);
        set.add(&Arc::new(unit));
        let values = match value(values) {
            Value::Map(map) => Map::typed(
                Type::Named("chartutil.Values", &Type::DICT),
                map.entries().into_iter().collect(),
            ),
            _ => Map::new(),
        };
        let data = Value::dict([("Values", Value::Map(values))]);
        let cache = TextCache::new(1 << 20);
        let mut machine = Machine::new(&set, world, Limits::default(), &cache);
        match machine.execute(FILE, data) {
            Ok(text) => Ok(without_no_value(&text)),
            Err(error) => Err(helm3_text(error.go())),
        }
    }
}

fn without_no_value(text: &[u8]) -> Vec<u8> {
    roadstead_sprig::go::unicode::replace(text, NO_VALUE, b"")
}

/// What Helm 3 makes of an error: a message of `fail` or `required` alone, any other as it is.
fn helm3_text(go: &str) -> String {
    let message = go
        .split_once(MESSAGE_START)
        .and_then(|(_, rest)| rest.rsplit_once(MESSAGE_END))
        .map(|(message, _)| message);
    let place = go.split(": ").nth(1).unwrap_or_default();
    match message {
        Some(message) => format!("execution error at ({place}): {message}"),
        None => go.to_owned(),
    }
}

/// Asks the oracle. Its program must answer every request.
pub(crate) fn ask(program: &str, requests: &[Json]) -> Vec<Json> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the oracle starts");
    let mut input = child.stdin.take().expect("piped");
    let text: String = requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the oracle ends");
    writer.join().expect("writer").expect("written");
    let answers: Vec<Json> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(answers.len(), requests.len(), "one answer for each request");
    answers
}

/// What the oracle answered, in the form of a render.
pub(crate) fn outcome(answer: &Json) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    match (answer.get("error"), answer.get("bytes"), answer.get("text")) {
        (Some(error), ..) => Err(error.as_str().unwrap_or_default().to_owned()),
        (_, Some(bytes), _) => Ok(base64::engine::general_purpose::STANDARD
            .decode(bytes.as_str().unwrap_or_default())
            .expect("base64")),
        (.., Some(text)) => Ok(text.as_str().unwrap_or_default().as_bytes().to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// A result as a person reads it.
pub(crate) fn shown(result: &Result<Vec<u8>, String>) -> String {
    match result {
        Ok(text) => format!("ok    {:?}", Str::from(&text[..])),
        Err(error) => format!("error {error:?}"),
    }
}
