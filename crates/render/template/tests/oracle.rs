//! Compares templates with Go by the answers that it gave (`tests/oracle/*.txt` and `*.answers.jsonl`).
//!
//! `ORACLE_TEMPLATE` names the built program of `oracle/template`; with it, the answers are asked for again.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use support::{Answer, ask, difference, oracle, render, same};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/oracle")
        .join(name)
}

/// A file of cases: each line is a template, but for
/// `# …` (a remark), `@data JSON` and `@missingkey OPTION` (hold from here on), and
/// `@file NAME` … `@end`: a case of several files over many lines, of which the first is executed.
fn requests(name: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(data(&format!("{name}.txt"))).expect(name);
    let mut requests = Vec::new();
    let (mut values, mut missing) = (Json::Null, "zero".to_owned());
    let mut files: Vec<(String, String)> = Vec::new();
    let request = |files: &[(String, String)], values: &Json, missing: &str| {
        let list: Vec<Json> = files
            .iter()
            .map(|(name, text)| json!({"name": name, "text": text}))
            .collect();
        json!({"files": list, "execute": files[0].0, "missingkey": missing, "data": values})
    };
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("@file ") {
            files.push((name.to_owned(), String::new()));
        } else if line == "@end" {
            requests.push(request(&files, &values, &missing));
            files.clear();
        } else if let Some((_, text)) = files.last_mut() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        } else if let Some(json) = line.strip_prefix("@data ") {
            values = serde_json::from_str(json).expect(json);
        } else if let Some(option) = line.strip_prefix("@missingkey ") {
            missing = option.to_owned();
        } else if !line.is_empty() && !line.starts_with("# ") {
            requests.push(request(
                &[("t".to_owned(), line.to_owned())],
                &values,
                &missing,
            ));
        }
    }
    requests
}

fn readable(answer: &Answer) -> Json {
    let (key, bytes) = match answer {
        Ok(out) => ("out", out),
        Err(error) => ("error", error),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({key: text}),
        Err(_) => json!({key: {"base64": support::encode(bytes)}}),
    }
}

fn read(line: &str) -> Answer {
    let json: Json = serde_json::from_str(line).expect(line);
    let bytes = |json: &Json| match json.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => support::decode(json["base64"].as_str().expect("base64")),
    };
    match json.get("error") {
        Some(error) => Err(bytes(error)),
        None => Ok(bytes(&json["out"])),
    }
}

fn check(name: &str) {
    let requests = requests(name);
    let path = data(&format!("{name}.answers.jsonl"));
    if let Some(program) = oracle() {
        let text: String = ask(&program, &requests)
            .iter()
            .map(|answer| format!("{}\n", readable(answer)))
            .collect();
        std::fs::write(&path, text).expect("answers are written");
    }
    let text = std::fs::read_to_string(&path).expect(name);
    let answers: Vec<Answer> = text.lines().map(read).collect();
    assert_eq!(
        requests.len(),
        answers.len(),
        "{name}: one answer for each case"
    );
    let mut wrong = Vec::new();
    for (request, theirs) in requests.iter().zip(&answers) {
        let ours = render(request);
        if !same(&ours, theirs) {
            wrong.push(difference(request, &ours, theirs));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ\n{}",
        wrong.len(),
        requests.len(),
        wrong.join("\n")
    );
}

#[test]
fn actions_do_as_in_go() {
    check("actions");
}

#[test]
fn expressions_do_as_in_go() {
    check("expressions");
}

#[test]
fn builtins_do_as_in_go() {
    check("builtins");
}

#[test]
fn printf_does_as_in_go() {
    check("printf");
}

#[test]
fn broken_templates_are_refused_as_in_go() {
    check("broken");
}
