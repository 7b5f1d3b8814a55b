//! Lists of JSON operations, as evanphx's library at version 4 takes them: an index may count from the end, and what is
//! replaced in a map need not be there.

use serde_json::Value;

use crate::diag::Fault;
use crate::node::{MAX_DEPTH, Step};

/// Operations that were read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operations(Vec<Operation>);

#[derive(Debug, Clone, PartialEq)]
struct Operation {
    kind: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

/// How many operations a patch may hold, and how much copies may add to a document.
const MAX_OPERATIONS: usize = 10_000;
const MAX_COPIED: usize = 4 << 20;

impl Operations {
    /// Reads a text in JSON or YAML; nothing if it says nothing.
    pub(crate) fn read(text: &[u8]) -> Step<Option<Self>> {
        let fault = |error: base_yaml::GoError| {
            let (line, column) = error.place.unwrap_or((0, 0));
            let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
            Fault::new(error.text).at(narrow(line), narrow(column))
        };
        if text.is_empty() {
            return Err(Fault::new("there are no operations"));
        }
        let value = if text.starts_with(b"[") {
            serde_json::from_slice(text).map_err(|error| {
                let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
                Fault::new(error.to_string()).at(narrow(error.line()), narrow(error.column()))
            })?
        } else {
            base_yaml::go::yaml_to_json(text).map_err(fault)?
        };
        let items = match value {
            Value::Null => return Ok(None),
            Value::Array(items) => items,
            _ => return Err(Fault::new("JSON operations must be a list")),
        };
        if items.len() > MAX_OPERATIONS {
            let text = format!("a patch has more than {MAX_OPERATIONS} operations");
            return Err(Fault::new(text));
        }
        let read = |(number, item): (usize, Value)| match item {
            Value::Object(mut map) => {
                let mut text = |name: &str| match map.remove(name) {
                    Some(Value::String(text)) => Some(text),
                    _ => None,
                };
                Ok(Operation {
                    kind: text("op").unwrap_or_else(|| "unknown".to_owned()),
                    path: text("path"),
                    from: text("from"),
                    value: map.remove("value"),
                })
            }
            Value::Null => Ok(Operation {
                kind: "unknown".to_owned(),
                path: None,
                from: None,
                value: None,
            }),
            _ => Err(Fault::new(format!("operation {number} is no map"))),
        };
        let all = items.into_iter().enumerate().map(read);
        Ok(Some(Self(all.collect::<Step<_>>()?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Carries them out, one after the other.
    pub(crate) fn apply(&self, value: &mut Value) -> Step<()> {
        let mut copied = 0;
        for (number, operation) in self.0.iter().enumerate() {
            operation.apply(value, &mut copied).map_err(|fault| {
                let path = operation.path.as_deref().unwrap_or_default();
                fault.within(&format!("operation {number} ({} {path:?})", operation.kind))
            })?;
        }
        Ok(())
    }
}

impl Operation {
    fn apply(&self, value: &mut Value, copied: &mut usize) -> Step<()> {
        let path = self
            .path
            .as_deref()
            .ok_or_else(|| Fault::new("path is missing"));
        let from = self
            .from
            .as_deref()
            .ok_or_else(|| Fault::new("from is missing"));
        let own = || self.value.clone().unwrap_or(Value::Null);
        match self.kind.as_str() {
            "add" => add(value, path?, own()),
            "remove" => remove(value, path?).map(drop),
            "replace" => match path? {
                "" if own().is_object() || own().is_array() => {
                    *value = own();
                    Ok(())
                }
                "" => Err(Fault::new("the whole object can be replaced by a map only")),
                path => {
                    shallow(path, &own())?;
                    let (container, key) = container(value, path)?;
                    match container {
                        Value::Object(map) => {
                            map.insert(key, own());
                        }
                        Value::Array(items) => {
                            let at = index(&key, items.len(), items.len())?;
                            items[at] = own();
                        }
                        _ => return Err(missing(path)),
                    }
                    Ok(())
                }
            },
            "move" => {
                let moved = remove(value, from?)?;
                add(value, path?, moved)
            }
            "copy" => {
                let found = get(value, from?)?;
                *copied += found.to_string().len();
                if *copied > MAX_COPIED {
                    let text = format!("copies come to more than {MAX_COPIED} bytes");
                    return Err(Fault::new(text));
                }
                add(value, path?, found)
            }
            "test" => {
                let found = match path? {
                    "" => value.clone(),
                    path => get(value, path)?,
                };
                if found == own() {
                    return Ok(());
                }
                Err(Fault::new("the value is another"))
            }
            other => Err(Fault::new(format!("there is no operation {other:?}"))
                .hint("use add, remove, replace, move, copy or test")),
        }
    }
}

fn missing(path: &str) -> Fault {
    Fault::new(format!("nothing is at {path:?}"))
}

/// What the last part of a path stands in.
fn container<'a>(value: &'a mut Value, path: &str) -> Step<(&'a mut Value, String)> {
    let mut parts: Vec<String> = path
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    let key = match parts.len() {
        0 | 1 => return Err(missing(path)),
        _ => parts.pop().unwrap_or_default(),
    };
    let mut at = value;
    for part in &parts[1..] {
        let next = match at {
            Value::Object(map) => map.get_mut(part),
            Value::Array(items) => {
                let at = index(part, items.len(), items.len())?;
                items.get_mut(at)
            }
            _ => None,
        };
        at = next
            .filter(|next| next.is_object() || next.is_array())
            .ok_or_else(|| missing(path))?;
    }
    Ok((at, key))
}

/// A list's index, which may count from behind.
fn index(key: &str, len: usize, end: usize) -> Step<usize> {
    let fault = || Fault::new(format!("{key:?} is no index of a list with {len} items"));
    let number: i64 = key.parse().map_err(|_| fault())?;
    let behind = i64::try_from(end).map_err(|_| fault())?;
    let number = if number < 0 { number + behind } else { number };
    let at = usize::try_from(number).map_err(|_| fault())?;
    if at < end { Ok(at) } else { Err(fault()) }
}

/// How many levels a value has.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => None,
    };
    1 + inner.unwrap_or(0)
}

fn shallow(path: &str, new: &Value) -> Step<()> {
    if path.matches('/').count() + depth(new) > MAX_DEPTH {
        return Err(Fault::new("the value would lie too deep"));
    }
    Ok(())
}

fn add(value: &mut Value, path: &str, new: Value) -> Step<()> {
    shallow(path, &new)?;
    let (container, key) = container(value, path)?;
    match container {
        Value::Object(map) => {
            map.insert(key, new);
        }
        Value::Array(items) if key == "-" => items.push(new),
        Value::Array(items) => {
            let at = index(&key, items.len(), items.len() + 1)?;
            items.insert(at, new);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(value: &mut Value, path: &str) -> Step<Value> {
    let (container, key) = container(value, path)?;
    match container {
        Value::Object(map) => map.remove(&key).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let at = index(&key, items.len(), items.len())?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}

fn get(value: &mut Value, path: &str) -> Step<Value> {
    let (container, key) = container(value, path)?;
    match container {
        Value::Object(map) => Ok(map.get(&key).cloned().unwrap_or(Value::Null)),
        Value::Array(items) => {
            let at = index(&key, items.len(), items.len())?;
            Ok(items[at].clone())
        }
        _ => Err(missing(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(doc: &str, patch: &str, wanted: &str) {
        let mut doc: Value = serde_json::from_str(doc).unwrap();
        let operations = Operations::read(patch.as_bytes()).unwrap().unwrap();
        let done = operations.apply(&mut doc);
        let shown = match done {
            Ok(()) => doc.to_string(),
            Err(fault) => format!("error: {}", fault.text),
        };
        assert_eq!(shown, wanted, "{patch}");
    }

    #[test]
    fn operations_do_what_the_library_does() {
        let doc = r#"{"a":{"b":[1,2]},"c":1}"#;
        for (patch, wanted) in [
            (
                "- {op: add, path: /a/b/-, value: 3}",
                r#"{"a":{"b":[1,2,3]},"c":1}"#,
            ),
            (
                "- {op: add, path: /a/b/-1, value: 3}",
                r#"{"a":{"b":[1,2,3]},"c":1}"#,
            ),
            (
                "- {op: replace, path: /new, value: 3}",
                r#"{"a":{"b":[1,2]},"c":1,"new":3}"#,
            ),
            ("- {op: remove, path: /a/b/-1}", r#"{"a":{"b":[1]},"c":1}"#),
            ("- {op: move, from: /c, path: /a/b}", r#"{"a":{"b":1}}"#),
            ("- {op: test, path: /c, value: 1}", doc),
            (
                "- {op: remove, path: /x}",
                r#"error: operation 0 (remove "/x"): nothing is at "/x""#,
            ),
            (
                "- {op: add, path: /x/y, value: 1}",
                r#"error: operation 0 (add "/x/y"): nothing is at "/x/y""#,
            ),
            (
                "- {op: test, path: /c, value: 2}",
                r#"error: operation 0 (test "/c"): the value is another"#,
            ),
        ] {
            check(doc, patch, wanted);
        }
    }
}
