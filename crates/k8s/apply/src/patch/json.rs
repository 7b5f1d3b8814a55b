//! JSON patch (RFC 6902), with the liberties that Kubernetes takes, and merge patch (RFC 7386), likewise.
//!
//! Indices may have a sign and leading zeros and count from the end when negative, `replace` sets a key that is not
//! there, and a copy of a key that is not there is null.

use serde_json::{Map, Value};

use super::PatchError;

/// Kubernetes' limit on the operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// Kubernetes' limit on what the copies of one JSON patch add up to, in bytes.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a JSON patch.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(operations) = patch.as_array() else {
        return Err(PatchError::JsonSyntax(
            "it is no list of operations".to_owned(),
        ));
    };
    if let Some(at) = operations.iter().position(|one| !one.is_object()) {
        return Err(PatchError::JsonSyntax(format!(
            "operation {at} is not an object"
        )));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut document = Document {
        root: target.clone(),
        copied: 0,
    };
    for (operation, one) in operations.iter().enumerate() {
        document.change(one).map_err(|problem| {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            PatchError::JsonOperation {
                operation,
                problem: format!("{} {:?}: {problem}", text("op"), text("path")),
            }
        })?;
    }
    Ok(document.root)
}

struct Document {
    root: Value,
    copied: usize,
}

impl Document {
    fn change(&mut self, operation: &Value) -> Result<(), String> {
        let text = |key: &str| {
            operation
                .get(key)
                .and_then(Value::as_str)
                .ok_or_else(|| format!("it has no {key:?}"))
        };
        let value = || operation.get("value").cloned().unwrap_or_default();
        match operation.get("op").and_then(Value::as_str) {
            Some("add") => self.add(text("path")?, value()),
            Some("remove") => self.remove(text("path")?).map(drop),
            Some("replace") => self.replace(text("path")?, value()),
            Some("move") => {
                let moved = self.remove(text("from")?)?;
                self.add(text("path")?, moved)
            }
            Some("copy") => {
                let (above, key) = self.place(text("from")?)?;
                let copied = get(above, &key)?.cloned().unwrap_or_default();
                // a few copies of copies would fill any memory
                self.copied += base_json::canonical(&copied).len();
                if self.copied > MAX_COPIED {
                    return Err(format!("its copies hold more than {MAX_COPIED} bytes"));
                }
                self.add(text("path")?, copied)
            }
            Some("test") => self.test(text("path")?, operation.get("value")),
            Some(other) => Err(format!("there is no operation {other:?}")),
            None => Err("it has no \"op\"".to_owned()),
        }
    }

    /// What holds the place that a pointer names, and the last part of it.
    fn place(&mut self, pointer: &str) -> Result<(&mut Value, String), String> {
        let mut parts = pointer.split('/').skip(1).map(decode);
        let Some(mut key) = parts.next() else {
            return Err("the pointer names no part of the object".to_owned());
        };
        let mut above = &mut self.root;
        for next in parts {
            above = match get_mut(above, &key)? {
                Some(below @ (Value::Object(_) | Value::Array(_))) => below,
                Some(_) => return Err(format!("{key:?} holds nothing below it")),
                None => return Err(format!("there is no {key:?}")),
            };
            key = next;
        }
        Ok((above, key))
    }

    fn add(&mut self, pointer: &str, value: Value) -> Result<(), String> {
        let (above, key) = self.place(pointer)?;
        match above {
            Value::Object(map) => drop(map.insert(key, value)),
            Value::Array(items) if key == "-" => items.push(value),
            Value::Array(items) => {
                let at = index(&key, items.len() + 1)?;
                items.insert(at, value);
            }
            _ => return Err("there is no list or map".to_owned()),
        }
        Ok(())
    }

    fn remove(&mut self, pointer: &str) -> Result<Value, String> {
        let (above, key) = self.place(pointer)?;
        match above {
            Value::Object(map) => map
                .remove(&key)
                .ok_or_else(|| format!("there is no {key:?}")),
            Value::Array(items) => {
                let at = index(&key, items.len())?;
                Ok(items.remove(at))
            }
            _ => Err("there is no list or map".to_owned()),
        }
    }

    fn replace(&mut self, pointer: &str, value: Value) -> Result<(), String> {
        if pointer.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err("the whole can only become a list or a map".to_owned());
            }
            self.root = value;
            return Ok(());
        }
        let (above, key) = self.place(pointer)?;
        match above {
            Value::Object(map) => drop(map.insert(key, value)),
            Value::Array(items) => {
                let at = index(&key, items.len())?;
                items[at] = value;
            }
            _ => return Err("there is no list or map".to_owned()),
        }
        Ok(())
    }

    fn test(&mut self, pointer: &str, expected: Option<&Value>) -> Result<(), String> {
        let found = if pointer.is_empty() {
            Some(&self.root)
        } else {
            let (above, key) = self.place(pointer)?;
            get(above, &key)?
        };
        if found.unwrap_or(&Value::Null) == expected.unwrap_or(&Value::Null) {
            Ok(())
        } else {
            Err("another value stands there".to_owned())
        }
    }
}

fn decode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('~') {
        out.push_str(&rest[..at]);
        let (decoded, length) = match rest.as_bytes().get(at + 1) {
            Some(b'0') => ('~', 2),
            Some(b'1') => ('/', 2),
            _ => ('~', 1),
        };
        out.push(decoded);
        rest = &rest[at + length..];
    }
    out + rest
}

/// Reads an index of a list; negative ones count from the end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key
        .parse()
        .map_err(|_| format!("{key:?} is no index of a list"))?;
    let at = match usize::try_from(number) {
        Ok(at) => Some(at).filter(|at| *at < length),
        Err(_) => usize::try_from(number.unsigned_abs())
            .ok()
            .and_then(|back| length.checked_sub(back)),
    };
    at.ok_or_else(|| format!("the list has no index {key}"))
}

fn get<'a>(above: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match above {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => Ok(items.get(index(key, items.len())?)),
        _ => Err("there is no list or map".to_owned()),
    }
}

fn get_mut<'a>(above: &'a mut Value, key: &str) -> Result<Option<&'a mut Value>, String> {
    match above {
        Value::Object(map) => Ok(map.get_mut(key)),
        Value::Array(items) => {
            let at = index(key, items.len())?;
            Ok(items.get_mut(at))
        }
        _ => Err("there is no list or map".to_owned()),
    }
}

/// Applies a merge patch. Nulls are taken out of what it adds too, also inside of lists.
pub fn merge_patch(target: &Value, patch: &Value) -> Value {
    let mut out = target.clone();
    merge(&mut out, patch);
    out
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => merge_maps(target, patch),
        (target @ Value::Object(_), other) => *target = other.clone(),
        (target, other) => *target = without_nulls(other),
    }
}

fn merge_maps(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
            continue;
        }
        match target.get_mut(key) {
            Some(there) => merge(there, value),
            None => drop(target.insert(key.clone(), without_nulls(value))),
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        _ => value.clone(),
    }
}
