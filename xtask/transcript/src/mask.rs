//! What differs from run to run.

use serde_json::{Value, json};

/// Puts marks in place of times, ids, revisions and addresses.
pub fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(map) => {
            let generated = map
                .get("generateName")
                .and_then(Value::as_str)
                .map(str::to_owned);
            // their order hangs on the second in which each wrote
            for (_, value) in map
                .iter_mut()
                .filter(|(key, _)| key.ends_with("managedFields"))
            {
                if let Value::Array(managers) = value {
                    managers.sort_by_key(|one| {
                        format!(
                            "{}{}{}",
                            one["manager"], one["operation"], one["subresource"]
                        )
                    });
                }
            }
            // the order of what is wrong changes from run to run
            if let Some(Value::Array(causes)) = map.get_mut("causes") {
                causes.sort_by_key(|one| format!("{}{}", one["field"], one["message"]));
            }
            for (key, value) in map.iter_mut() {
                let text = value.as_str().filter(|text| !text.is_empty());
                let mark = match (key.as_str(), text) {
                    ("uid", Some(_)) => Some("<uid>"),
                    ("resourceVersion", Some(_)) => Some("<revision>"),
                    ("continue", Some(_)) => Some("<continue>"),
                    ("name", Some(text)) if text.starts_with("kube-api-access-") => {
                        Some("<generated>")
                    }
                    ("clusterIP", Some(text)) if text != "None" => Some("<ip>"),
                    ("name", Some(text)) => generated
                        .as_deref()
                        .filter(|prefix| text.starts_with(prefix))
                        .map(|_| "<generated>"),
                    ("nodePort", None) if value.is_number() => Some("<port>"),
                    ("clusterIPs", None) if value[0] != "None" => {
                        *value = json!(["<ip>"]);
                        continue;
                    }
                    _ => None,
                };
                match mark {
                    Some(mark) => *value = json!(mark),
                    None => hide(value),
                }
            }
        }
        Value::String(text) => *text = without_ids(&without_times(text)),
        _ => {}
    }
}

/// Replaces each `16129b8a-3a57-40c0-8863-cc3fa03cebbd`.
fn without_ids(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit() && c != '-');
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    words
        .map(|word| {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            if is_id(bare) && !bare.starts_with("00000000") {
                word.replace(bare, "<uid>")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

/// Replaces each `2026-11-21T10:07:33Z`, with or without a fraction.
fn without_times(text: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let (mut out, mut rest) = (String::new(), 0);
    let mut at = 0;
    while at + SHAPE.len() < bytes.len() {
        let fits = SHAPE.iter().zip(&bytes[at..]).all(|(shape, byte)| {
            if *shape == b'0' {
                byte.is_ascii_digit()
            } else {
                shape == byte
            }
        });
        let tail = fits.then(|| {
            let tail = &bytes[at + SHAPE.len()..];
            let number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
            tail.iter().take_while(number).count()
        });
        match tail {
            Some(tail) if bytes.get(at + SHAPE.len() + tail) == Some(&b'Z') => {
                out.push_str(&text[rest..at]);
                out.push_str("<time>");
                at += SHAPE.len() + tail + 1;
                rest = at;
            }
            _ => at += 1,
        }
    }
    out.push_str(&text[rest..]);
    out
}

/// Finds where two values differ.
pub fn differences(
    place: &str,
    expected: &Value,
    found: &Value,
    out: &mut Vec<(String, String, String)>,
) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(&place, a, b, out),
                    (a, b) => out.push((place, short(a), short(b))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{place}/{index}"), a, b, out);
            }
        }
        _ if expected == found => {}
        _ => out.push((place.to_owned(), short(Some(expected)), short(Some(found)))),
    }
}

fn short(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    text.chars().take(600).collect()
}

#[test]
fn marks_stand_for_what_differs() {
    let mut value = json!({
        "metadata": {"uid": "a-b", "generateName": "x-", "name": "x-12345", "creationTimestamp": "2026-11-21T10:07:33Z"},
        "message": "at 2026-11-21T10:07:33.123456Z and 2026-11",
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"nodePort": 30001}]},
        "list": {"clusterIP": "None", "clusterIPs": ["None"]},
    });
    hide(&mut value);
    let expected = json!({
        "metadata": {"uid": "<uid>", "generateName": "x-", "name": "<generated>", "creationTimestamp": "<time>"},
        "message": "at <time> and 2026-11",
        "spec": {"clusterIP": "<ip>", "clusterIPs": ["<ip>"], "ports": [{"nodePort": "<port>"}]},
        "list": {"clusterIP": "None", "clusterIPs": ["None"]},
    });
    assert_eq!(value, expected);
}
