//! JSON patches and merge patches.

use k8s_apply::patch::{json_patch, merge_patch};
use serde_json::{Value, json};

use crate::support::Rng;
use crate::{ask, cases, rng, show};

/// Makes any value of JSON.
fn any(rng: &mut Rng, depth: u64) -> Value {
    match rng.below(if depth > 3 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => rng.chance(50).into(),
        2 => rng.below(3).into(),
        3 | 4 => (*rng.pick(&["", "x", "y/z", "~"])).into(),
        5 => (0..rng.below(4)).map(|_| any(rng, depth + 1)).collect(),
        _ => map(rng, depth),
    }
}

fn map(rng: &mut Rng, depth: u64) -> Value {
    let keys = rng.some(&["a", "b", "", "c/d", "e~f", "0"]);
    keys.into_iter()
        .map(|key| (key.to_owned(), any(rng, depth + 1)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Makes a pointer, mostly to something that is there.
fn pointer(rng: &mut Rng, value: &Value) -> String {
    let mut out = String::new();
    let mut at = value;
    loop {
        let (key, below) = match at {
            Value::Object(map) if !map.is_empty() && rng.chance(80) => {
                let keys: Vec<&String> = map.keys().collect();
                let key = *rng.pick(&keys);
                (key.clone(), map.get(key))
            }
            Value::Array(items) if rng.chance(80) => {
                let index = rng.below(items.len() as u64 + 1);
                (
                    index.to_string(),
                    items.get(usize::try_from(index).expect("small")),
                )
            }
            _ => {
                let key = rng.pick(&["a", "b", "-", "1", "01", "-1", "x", "+1"]);
                ((*key).to_owned(), None)
            }
        };
        out.push('/');
        out += &key.replace('~', "~0").replace('/', "~1");
        match below {
            Some(below) if rng.chance(60) => at = below,
            _ => return out,
        }
    }
}

fn operations(rng: &mut Rng, document: &Value) -> Value {
    let mut all = Vec::new();
    for _ in 0..=rng.below(4) {
        let path = match rng.chance(2) {
            true => (*rng.pick(&["", "a", "/"])).to_owned(),
            false => pointer(rng, document),
        };
        let op = *rng.pick(&["add", "remove", "replace", "move", "copy", "test", "add"]);
        let mut one = json!({"op": op, "path": path});
        match op {
            "add" | "replace" => one["value"] = any(rng, 2),
            "test" => {
                one["value"] = match document.pointer(&path) {
                    Some(value) if rng.chance(80) => value.clone(),
                    _ => any(rng, 2),
                }
            }
            "move" | "copy" => one["from"] = pointer(rng, document).into(),
            _ => {}
        }
        all.push(one);
    }
    all.into()
}

#[test]
fn json_patches_as_kubernetes_does() {
    let mut questions = Vec::new();
    for case in 0..cases(2000) {
        let mut rng = rng(10, case);
        let live = map(&mut rng, 0);
        questions.push(match rng.chance(40) {
            true => json!({"Op": "merge", "Live": live, "New": map(&mut rng, 0)}),
            false => {
                let operations = operations(&mut rng, &live);
                json!({"Op": "jsonpatch", "Live": live, "Operations": operations})
            }
        });
    }
    let Some(answers) = ask("json", &questions) else {
        return;
    };
    let (mut refused, mut fell) = (0, 0);
    for (question, theirs) in questions.iter().zip(&answers) {
        let ours = if question["Op"] == "merge" {
            Ok(merge_patch(&question["Live"], &question["New"]))
        } else {
            json_patch(&question["Live"], &question["Operations"])
                .map_err(|error| error.to_string())
                // what a patch leaves of an object must be one, and the oracle reads it as one
                .and_then(|left| match left.is_array() {
                    true => Err("a list is no object".to_owned()),
                    false => Ok(left),
                })
        };
        match (&ours, theirs.get("Error")) {
            // a null inside of a list that is tested
            (_, Some(Value::String(error))) if error.starts_with("panic") => fell += 1,
            (Ok(ours_value), None) => {
                let out = theirs.get("Out").cloned().unwrap_or_else(|| json!({}));
                assert!(*ours_value == out, "{}", show(question, &ours, theirs));
            }
            (Err(_), Some(_)) => refused += 1,
            _ => panic!("{}", show(question, &ours, theirs)),
        }
    }
    eprintln!(
        "json: {} patches the same, {refused} refused by both, {fell} made the other fall",
        questions.len()
    );
    assert!(fell < questions.len() / 50);
    assert!(refused < questions.len() * 2 / 3);
}
