//! Compares reading and writing with Kubernetes' own library, by the answers that it gave (`tests/oracle/*.jsonl`).
//!
//! `ORACLE_YAML` names the built program of `oracle/yaml`; with it, the answers are asked for again and the corpus is
//! compared too.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/oracle")
        .join(name)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn ask(program: &str, requests: &[Value]) -> Vec<Value> {
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
    lines(&String::from_utf8(output.stdout).expect("UTF-8"))
}

fn answers(name: &str) -> Vec<(Value, Value)> {
    let requests = lines(&std::fs::read_to_string(data(&format!("{name}.jsonl"))).expect(name));
    let path = data(&format!("{name}.answers.jsonl"));
    if let Ok(program) = std::env::var("ORACLE_YAML") {
        let found = ask(&program, &requests);
        let text: String = found.iter().map(|answer| format!("{answer}\n")).collect();
        std::fs::write(&path, text).expect("answers are written");
    }
    let answers = lines(&std::fs::read_to_string(&path).expect(name));
    assert_eq!(
        requests.len(),
        answers.len(),
        "{name}: one answer for each request"
    );
    requests.into_iter().zip(answers).collect()
}

fn read(text: &str) -> Result<Value, String> {
    let documents =
        base_yaml::parse_documents(text, "t.yaml").map_err(|error| error.to_string())?;
    Ok(documents
        .into_iter()
        .next()
        .map_or(Value::Null, |document| document.value))
}

/// Where this reader differs on purpose: stricter, or following a newer YAML.
fn differs_on_purpose(text: &str) -> bool {
    let known = std::fs::read_to_string(data("differences.txt")).expect("differences");
    known
        .lines()
        .any(|line| serde_json::from_str::<String>(line).is_ok_and(|line| line == text))
}

#[test]
fn reads_as_kubernetes_does() {
    let mut wrong = Vec::new();
    for (request, answer) in answers("read") {
        let text = request["read"].as_str().expect("text");
        let found = read(text);
        let same = match (&found, answer.get("value")) {
            (Ok(found), Some(expected)) => found == expected,
            (Err(_), None) => true,
            _ => false,
        };
        if same == differs_on_purpose(text) {
            wrong.push(format!("{text:?}\n  expected {answer}\n  found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn writes_as_kubectl_does() {
    let mut wrong = Vec::new();
    for (request, answer) in answers("write") {
        let value = &request["write"];
        let found = base_yaml::to_string(value);
        let back = read(&found);
        if answer
            .get("text")
            .is_some_and(|text| text != found.as_str())
        {
            wrong.push(format!("{value}\n  expected {answer}\n  found {found:?}"));
        }
        let number = |value: &Value| value.is_f64();
        if back.as_ref() != Ok(value) && !number(value) {
            wrong.push(format!("{value} reads back as {back:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reads_real_manifests_as_kubernetes_does() {
    let Ok(program) = std::env::var("ORACLE_YAML") else {
        eprintln!("skipped: ORACLE_YAML does not name the built oracle");
        return;
    };
    let corpus = std::env::var("ROADSTEAD_CORPUS").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus"),
        PathBuf::from,
    );
    let mut texts = Vec::new();
    let mut folders = vec![corpus.join("apps")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
            if path.is_dir() {
                folders.push(path);
            } else if manifest && let Ok(text) = std::fs::read_to_string(&path) {
                for part in text.split("\n---") {
                    texts.push((path.clone(), part.to_owned()));
                }
            }
        }
    }
    if texts.is_empty() {
        eprintln!("skipped: no corpus");
        return;
    }
    let requests: Vec<Value> = texts
        .iter()
        .map(|(_, text)| serde_json::json!({"read": text}))
        .collect();
    let answers = ask(&program, &requests);
    let (mut wrong, mut written) = (Vec::new(), Vec::new());
    for ((path, text), answer) in texts.iter().zip(&answers) {
        let found = read(text);
        match (&found, answer.get("value")) {
            (Ok(found), Some(expected)) if found == expected => {
                if !found.is_null() {
                    written.push(found.clone());
                }
            }
            (Err(_), None) => {}
            (Err(error), Some(_)) if error.contains("duplicate key") => {}
            _ => wrong.push(format!(
                "{}: {text:.300}\n  expected {answer:.300}\n  found {found:.300?}",
                path.display()
            )),
        }
    }
    eprintln!("{} documents compared", texts.len());
    let requests: Vec<Value> = written
        .iter()
        .map(|value| serde_json::json!({"write": value}))
        .collect();
    for (value, answer) in written.iter().zip(ask(&program, &requests)) {
        let found = base_yaml::to_string(value);
        if answer["text"] != found.as_str() {
            let expected = answer["text"].as_str().unwrap_or_default();
            let place = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
            wrong.push(format!("written otherwise: {place:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
