//! The part of JSON path that columns, scales and selectable fields use.
//!
//! `.a.b`, `['a.b']`, `[0]`, `[*]` and filters `[?(@.type=="Ready")]`; an optional `{…}` around it.

use serde_json::{Map, Value};

#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter(Vec<String>, Value),
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim();
    if let Some(inner) = rest
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        rest = inner;
    }
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after)?;
            let inside = &after[..end];
            rest = &after[end + 1..];
            steps.push(bracket(inside)?);
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let mut name = String::new();
            let mut chars = after.char_indices();
            let mut end = after.len();
            while let Some((index, c)) = chars.next() {
                match c {
                    '.' | '[' => {
                        end = index;
                        break;
                    }
                    '\\' => name.extend(chars.next().map(|(_, c)| c)),
                    c => name.push(c),
                }
            }
            rest = &after[end..];
            match name.as_str() {
                "" if rest.is_empty() && steps.is_empty() => {}
                "" => return None,
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
        }
    }
    Some(steps)
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ']') => return Some(index),
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Option<&str> {
    let text = text.trim();
    ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn bracket(inside: &str) -> Option<Step> {
    let inside = inside.trim();
    if inside == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquote(inside) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inside
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let (field, value) = filter.split_once("==")?;
        let field = field.trim().strip_prefix('@')?;
        let fields = field
            .split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let value = match unquote(value) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(value.trim()).ok()?,
        };
        return Some(Step::Filter(fields, value));
    }
    inside.parse().ok().map(Step::Index)
}

/// Finds every value at a path; a path that cannot be read finds nothing.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let Some(steps) = parse(path) else {
        return Vec::new();
    };
    let mut found = vec![object];
    for step in &steps {
        let mut next = Vec::new();
        for value in found {
            match (step, value) {
                (Step::Field(name), Value::Object(map)) => next.extend(map.get(name)),
                (Step::Index(index), Value::Array(list)) => {
                    let index = if *index < 0 {
                        usize::try_from(list.len() as i64 + index).ok()
                    } else {
                        usize::try_from(*index).ok()
                    };
                    next.extend(index.and_then(|index| list.get(index)));
                }
                (Step::All, Value::Array(list)) => next.extend(list),
                (Step::All, Value::Object(map)) => next.extend(map.values()),
                (Step::Filter(fields, wanted), Value::Array(list)) => {
                    next.extend(list.iter().filter(|item| {
                        fields
                            .iter()
                            .try_fold(*item, |value, field| value.get(field))
                            == Some(wanted)
                    }));
                }
                _ => {}
            }
        }
        found = next;
    }
    found
}

/// Finds the first value at a path.
pub(crate) fn first<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    find(object, path).into_iter().next()
}

/// Can this path be read?
pub(crate) fn is_valid(path: &str) -> bool {
    parse(path).is_some()
}

/// Sets a plain path of fields, making the maps between.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) {
    let Some(steps) = parse(path) else { return };
    let mut at = object;
    for step in &steps {
        let Step::Field(name) = step else { return };
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(name.clone()).or_insert(Value::Null);
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_columns_ask_for() {
        let object = json!({
            "spec": {"a.b": 1, "list": [{"n": "x"}, {"n": "y"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        for (path, expected) in [
            (".spec['a.b']", json!([1])),
            (".spec.a\\.b", json!([1])),
            (".spec.list[*].n", json!(["x", "y"])),
            (".spec.list[-1].n", json!(["y"])),
            ("{.spec.list[0].n}", json!(["x"])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type=='Other')].status",
                json!(["False"]),
            ),
            (".nothing.here", json!([])),
            ("..", json!([])),
        ] {
            let found: Vec<Value> = find(&object, path).into_iter().cloned().collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        }
        let mut object = json!({});
        set(&mut object, ".spec.replicas", json!(3));
        assert_eq!(object, json!({"spec": {"replicas": 3}}));
    }
}
