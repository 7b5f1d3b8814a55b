//! Breaks one thing of an object, by seed, as people break it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::servers::Sent;

/// One broken object and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) title: String,
    /// The object as it was.
    pub(crate) original: Value,
    broken: Value,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Create,
    Strict,
    Apply,
    Update,
}

impl Case {
    pub(crate) fn is_apply(&self) -> bool {
        self.how == How::Apply
    }

    pub(crate) fn is_update(&self) -> bool {
        self.how == How::Update
    }

    pub(crate) fn body(&self) -> &Value {
        &self.broken
    }

    /// The request; nothing is kept.
    pub(crate) fn sent(&self, path: &str, revision: &str) -> Sent {
        let mut broken = self.broken.clone();
        if self.how == How::Update && broken["metadata"].is_object() {
            broken["metadata"]["resourceVersion"] = json!(revision);
        }
        let name = self.original["metadata"]["name"]
            .as_str()
            .unwrap_or_default();
        match self.how {
            How::Create | How::Strict => {
                let validation = if self.how == How::Strict {
                    "Strict"
                } else {
                    "Ignore"
                };
                let path = format!("{path}?dryRun=All&fieldValidation={validation}&fieldManager=t");
                Sent::json("POST", path, &broken)
            }
            How::Apply => Sent {
                content: "application/apply-patch+yaml",
                ..Sent::json(
                    "PATCH",
                    format!("{path}/{name}?dryRun=All&fieldManager=t&force=true"),
                    &broken,
                )
            },
            How::Update => Sent::json(
                "PUT",
                format!("{path}/{name}?dryRun=All&fieldManager=t"),
                &broken,
            ),
        }
    }
}

/// What is compared of an answer.
pub(crate) fn shown(found: &Value) -> Value {
    let body = &found["body"];
    if found["code"].as_u64().is_some_and(|code| code < 300) {
        return found.clone();
    }
    let mut message = body["message"].as_str().unwrap_or_default().to_owned();
    // where several things are wrong their order hangs on chance
    if body["details"]["causes"]
        .as_array()
        .is_some_and(|causes| causes.len() > 1)
        && let Some(at) = message.find("is invalid: ")
    {
        message.truncate(at);
    }
    json!({"code": found["code"], "reason": body["reason"], "message": message, "details": body["details"]})
}

/// A small generator: the same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % (sides.max(1) as u64)).unwrap_or(0)
    }
}

/// Every place of an object that may be broken.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    if !at.is_empty() {
        out.push(at.to_owned());
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                if !matches!(
                    below.as_str(),
                    "/apiVersion" | "/kind" | "/metadata/namespace" | "/status"
                ) {
                    places(value, &below, out);
                }
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

/// Every place of an object that holds one value, beside its name.
pub(crate) fn leaves(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    places(object, "", &mut all);
    all.retain(|place| {
        let value = object.pointer(place).unwrap_or(&Value::Null);
        place != "/metadata/name" && (value.is_string() || value.is_number() || value.is_boolean())
    });
    all
}

fn remove(object: &mut Value, place: &str) -> bool {
    let Some((above, key)) = place.rsplit_once('/') else {
        return false;
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(above) {
        Some(Value::Object(map)) => map.remove(&key).is_some(),
        Some(Value::Array(items)) => match key.parse::<usize>() {
            Ok(at) if at < items.len() => {
                items.remove(at);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Adds to the metadata what may not stand there.
fn break_metadata(object: &mut Value, dice: &mut Dice) -> Option<String> {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "", "uid": "u"});
    let (field, value, word) = match dice.roll(7) {
        0 => ("labels", json!({"Bad Key!": "x"}), "a bad key of a label"),
        1 => ("labels", json!({"a/b": "Bad value!"}), "a bad label"),
        2 => ("labels", json!({"a": 1}), "a number as label"),
        3 => ("annotations", json!({"-a": "x"}), "a bad annotation"),
        4 => ("annotations", json!({"a": true}), "an annotation of true"),
        5 => ("finalizers", json!(["a b"]), "a bad finalizer"),
        _ => ("ownerReferences", json!([owner]), "a nameless owner"),
    };
    object["metadata"]
        .as_object_mut()?
        .insert(field.to_owned(), value);
    Some(format!("with {word}"))
}

/// Breaks one place; says how.
fn break_at(object: &mut Value, place: &str, dice: &mut Dice) -> Option<String> {
    if place == "/metadata" {
        return break_metadata(object, dice);
    }
    let long = "x".repeat(300);
    if dice.roll(4) == 0 {
        return remove(object, place).then(|| "left out".to_owned());
    }
    let value = object.pointer_mut(place)?;
    let (new, word) = match value {
        Value::String(text) => match dice.roll(9) {
            0 => (json!(""), "empty"),
            1 => (json!("Bad_Name!"), "Bad_Name!"),
            2 => (json!(format!("-{text}")), "with a dash in front"),
            3 => (json!(long), "of 300 characters"),
            4 => (json!(7), "a number"),
            5 => (json!(true), "true"),
            6 => (json!({}), "an object"),
            7 => (json!(format!("{text}x")), "with an x behind"),
            _ => (json!(text.to_uppercase()), "in capitals"),
        },
        Value::Number(_) => match dice.roll(7) {
            0 => (json!(-1), "-1"),
            1 => (json!(0), "0"),
            2 => (json!(70_000), "70000"),
            3 => (json!("12"), "a text"),
            4 => (json!(1.5), "1.5"),
            5 => (json!([1]), "a list"),
            _ => (json!(5_000_000_000_i64), "too large for 32 bits"),
        },
        Value::Bool(on) => match dice.roll(3) {
            0 => (json!(!*on), "the opposite"),
            1 => (json!("yes"), "a text"),
            _ => (json!(1), "a number"),
        },
        Value::Array(items) => match dice.roll(5) {
            0 if !items.is_empty() => {
                let mut twice = items.clone();
                twice.push(items[0].clone());
                (json!(twice), "with its first item twice")
            }
            1 => (json!("text"), "a text"),
            2 => (json!({"a": "b"}), "an object"),
            3 => (json!([{}]), "with an empty item"),
            _ => (json!([]), "empty"),
        },
        Value::Object(map) => match dice.roll(6) {
            0 => (json!("text"), "a text"),
            1 => (json!([]), "a list"),
            2 => (json!({}), "empty"),
            3 | 4 => {
                let mut more = map.clone();
                more.insert("unknownField".to_owned(), json!("x"));
                (json!(more), "with an unknown field")
            }
            _ => {
                let mut more = map.clone();
                more.insert("Bad Key!".to_owned(), json!("Bad value!"));
                (json!(more), "with a bad key")
            }
        },
        Value::Null => return None,
    };
    if *value == new {
        return None;
    }
    *value = new;
    Some(word.to_owned())
}

/// Puts another value of the object, of the same sort, into one place.
fn mix_at(object: &mut Value, place: &str, dice: &mut Dice) -> Option<String> {
    let sort = |value: &Value| match value {
        Value::String(_) => 1,
        Value::Number(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Bool(_) | Value::Null => 0,
    };
    let own = object.pointer(place)?.clone();
    let mut all = Vec::new();
    places(object, "", &mut all);
    all.retain(|other| {
        let value = object.pointer(other).unwrap_or(&Value::Null);
        sort(value) != 0
            && sort(value) == sort(&own)
            && *value != own
            && !place.starts_with(other.as_str())
    });
    if all.is_empty() {
        return None;
    }
    let from = all[dice.roll(all.len())].clone();
    let value = object.pointer(&from)?.clone();
    *object.pointer_mut(place)? = value;
    Some(format!("with what {from} holds"))
}

/// Makes so many cases; mixed ones have a value of their own in another place.
pub(crate) fn cases(bodies: &[Value], count: usize, seed: u64, mixed: bool) -> Vec<Case> {
    let mut dice = Dice(seed);
    let mut out = Vec::new();
    let mut titles = BTreeSet::new();
    let mut tries = 0;
    while out.len() < count && tries < count * 20 {
        tries += 1;
        let original = &bodies[dice.roll(bodies.len())];
        let own = original["metadata"]["namespace"] != crate::NAMESPACE;
        let mut all = Vec::new();
        places(original, "", &mut all);
        if all.is_empty() {
            continue;
        }
        let place = all[dice.roll(all.len())].clone();
        let mut broken = original.clone();
        let word = if mixed {
            mix_at(&mut broken, &place, &mut dice)
        } else {
            break_at(&mut broken, &place, &mut dice)
        };
        let Some(word) = word else {
            continue;
        };
        // what stands in the corpus is not there to be updated
        let how = match dice.roll(6) {
            0 => How::Create,
            1 => How::Strict,
            2 | 3 if own => How::Update,
            _ => How::Apply,
        };
        if how != How::Update && own {
            // what is there already would only be said to be there
            let name = original["metadata"]["name"].as_str().unwrap_or_default();
            if broken["metadata"]["name"] == name && matches!(how, How::Create | How::Strict) {
                broken["metadata"]["name"] = json!(format!("new-{name}"));
            }
        }
        let title = format!("{} {how:?} {place} {word}", crate::title(original));
        if titles.insert(title.clone()) {
            out.push(Case {
                title,
                original: original.clone(),
                broken,
                how,
            });
        }
    }
    out
}

/// Reads the manifests of a folder; what is a template or no object is left out.
pub(crate) fn manifests(folder: &Path) -> Vec<Value> {
    let mut out = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return out;
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            out.extend(manifests(&path));
            continue;
        }
        let name = path.to_string_lossy();
        if !name.ends_with(".yaml") && !name.ends_with(".yml") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let Ok(documents) = base_yaml::parse_documents(&text, &name) else {
            continue;
        };
        for document in documents {
            let mut object = document.value;
            if !object["metadata"]["name"].is_string() || !object["kind"].is_string() {
                continue;
            }
            object["metadata"]["namespace"] = json!(crate::NAMESPACE);
            out.push(object);
        }
    }
    out
}
