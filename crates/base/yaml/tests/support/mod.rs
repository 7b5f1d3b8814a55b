//! What the tests share: the oracle, the corpus, and a source of numbers that repeats itself.
#![allow(dead_code, unreachable_pub)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base_json::{Value, json};
use base_yaml::go::Any;

/// The built program of `oracle/yaml`, which `ORACLE_YAML` names.
pub fn oracle() -> Option<String> {
    let found = std::env::var("ORACLE_YAML").ok();
    if found.is_none() {
        eprintln!("skipped: ORACLE_YAML does not name the built oracle");
    }
    found
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Asks the oracle; one answer for each request.
pub fn ask(program: &str, requests: &[Value]) -> Vec<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
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
    let answers = lines(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert_eq!(answers.len(), requests.len(), "one answer for each request");
    answers
}

/// Every YAML file of the corpus but templates: `ROADSTEAD_CORPUS`, or `../shared/corpus` beside the repository.
pub fn corpus() -> Vec<(PathBuf, String)> {
    let root = std::env::var("ROADSTEAD_CORPUS").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus"),
        PathBuf::from,
    );
    let mut out = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "templates") {
                    folders.push(path);
                }
            } else if yaml && let Ok(text) = std::fs::read_to_string(&path) {
                out.push((path, text));
            }
        }
    }
    out.sort();
    if out.is_empty() {
        eprintln!("skipped: no corpus");
    }
    out
}

/// Numbers that are the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("small")
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    pub fn character(&mut self, from: &[char]) -> char {
        from[self.roll(from.len())]
    }
}

/// Counts, and keeps the first differences to show.
#[derive(Default)]
pub struct Tally {
    pub compared: usize,
    pub wrong: usize,
    pub other_line: usize,
    pub other_text: usize,
    pub shown: Vec<String>,
}

impl Tally {
    pub fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        self.show(what);
    }

    pub fn show(&mut self, what: impl FnOnce() -> String) {
        if self.shown.len() < 25 {
            self.shown.push(what());
        }
    }

    /// Compares an answer of the oracle with a result of ours.
    pub fn reading(&mut self, request: &Value, answer: &Value, found: Result<Value, String>) {
        self.compared += 1;
        match (&found, answer.get("error").and_then(Value::as_str)) {
            (Ok(found), None) if same(found, &answer["value"]) => {}
            (Err(found), Some(expected)) if found == expected => {}
            (Err(found), Some(expected)) => {
                if line_of(found) != line_of(expected) {
                    self.other_line += 1;
                } else {
                    self.other_text += 1;
                }
                self.show(|| {
                    format!("{request:.500}\n  expected {expected:?}\n  found    {found:?}")
                });
            }
            _ => self.wrong(|| {
                format!("{request:.500}\n  expected {answer:.500}\n  found {found:.500?}")
            }),
        }
    }

    pub fn writing(&mut self, request: &Value, answer: &Value, found: Result<String, String>) {
        self.compared += 1;
        let expected = match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["text"].as_str().unwrap_or_default().to_owned()),
        };
        if found != expected {
            self.wrong(|| match (&found, &expected) {
                (Ok(found), Ok(expected)) if found.len() > 300 => {
                    let place = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
                    format!("{request:.100}\n  expected, found: {place:?}")
                }
                _ => format!("{request:.600}\n  expected {expected:?}\n  found    {found:?}"),
            });
        }
    }

    /// All that was compared is the same, but for a share of the errors' lines.
    pub fn finish(self, name: &str, lines_may_differ: usize) {
        eprintln!(
            "{name}: {} compared, {} wrong, {} errors with another line, {} with another text",
            self.compared, self.wrong, self.other_line, self.other_text
        );
        let bad = self.wrong > 0 || self.other_line + self.other_text > lines_may_differ;
        if bad || std::env::var_os("SHOW").is_some() {
            eprintln!("{}", self.shown.join("\n"));
        }
        assert!(!bad, "{name} differs");
    }
}

/// A value in the form that the oracle gives version 3's values.
pub fn typed(value: &Any) -> Value {
    match value {
        Any::Null => Value::Null,
        Any::Bool(flag) => json!(flag),
        Any::Int(int) => json!({"int": int.to_string()}),
        Any::Uint(int) => json!({"uint": int.to_string()}),
        Any::Float(float) => json!({"float": base_yaml::go::format_g(*float)}),
        Any::Str(text) => json!(text),
        Any::Bytes(bytes) => {
            let mut out = String::new();
            base_yaml::go::json_string(&mut out, bytes, false);
            serde_json::from_str(&out).expect("a string")
        }
        Any::Time(time) => json!({"time": time.to_string()}),
        Any::List(items) => items.iter().map(typed).collect(),
        Any::Map(fields) => {
            let mut pairs: Vec<Value> = fields
                .iter()
                .map(|(key, value)| json!([typed(key), typed(value)]))
                .collect();
            pairs.sort_by_key(|pair| base_yaml::go::to_json(&pair[0], true));
            json!({"map": pairs})
        }
    }
}

/// Are two values the same? The answer's floats are read by a JSON reader that is not exact in the last digit.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            (a - b).abs() <= a.abs() * 1e-15
        }
        _ => a == b,
    }
}

fn line_of(error: &str) -> &str {
    let Some(at) = error.find("line ") else {
        return "";
    };
    let rest = &error[at + 5..];
    &rest[..rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len())]
}
