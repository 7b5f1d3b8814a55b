//! Every rule, as text: a file has a base object, and each case patches it (RFC 7396) and says what is expected.
//!
//! ```text
//! base {"apiVersion": "v1", …}
//!
//! # name of the case
//! {"status": …}
//! => Progressing Reason: message
//! !! Reason container image failing: message     (pod_problem; `!! none` for none)
//! ```

use serde_json::Value;

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn shown_health(object: &Value) -> String {
    let health = k8s_health::health(object);
    let text = format!("=> {} {}: {}", health.status, health.reason, health.message);
    text.trim_end_matches([' ', ':']).to_owned()
}

fn shown_problem(object: &Value) -> String {
    let Some(problem) = k8s_health::pod_problem(object) else {
        return "!! none".to_owned();
    };
    let dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    format!(
        "!! {} {} {} {}: {}",
        problem.reason,
        dash(&problem.container),
        dash(&problem.image),
        if problem.failing {
            "failing"
        } else {
            "waiting"
        },
        problem.message
    )
    .trim_end_matches([' ', ':'])
    .to_owned()
}

/// Runs one file and returns how many cases it holds; expected lines that differ are shown beside what came.
fn check(file: &str, text: &str) -> usize {
    let (mut base, mut object, mut name) = (Value::Null, Value::Null, String::new());
    let (mut json, mut cases, mut wrong) = (String::new(), 0, Vec::new());
    for line in text.lines() {
        let parse = |json: &str| -> Value {
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{file}: {name}: {error}"))
        };
        if let Some(title) = line.strip_prefix("# ") {
            if base.is_null() {
                base = parse(json.trim_start().trim_start_matches("base"));
            }
            name = title.to_owned();
            json.clear();
        } else if line.starts_with("=> ") || line.starts_with("!! ") {
            if line.starts_with("=> ") {
                object = base.clone();
                merge(&mut object, &parse(&json));
                cases += 1;
            }
            let found = if line.starts_with("=> ") {
                shown_health(&object)
            } else {
                shown_problem(&object)
            };
            if found != line {
                wrong.push(format!(
                    "{file}: {name}\n  expected {line}\n  found    {found}"
                ));
            }
        } else {
            json.push_str(line);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    cases
}

#[test]
fn every_rule() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        cases += check(&path.file_name().unwrap().to_string_lossy(), &text);
    }
    assert!(cases >= 100, "only {cases} cases were read");
}

#[test]
fn worse_is_greater() {
    use k8s_health::Status::{Degraded, Healthy, Progressing, Suspended, Unknown};
    let mut all = [Degraded, Unknown, Healthy, Progressing, Suspended];
    all.sort();
    assert_eq!(all, [Healthy, Suspended, Progressing, Degraded, Unknown]);
}
