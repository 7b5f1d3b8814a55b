//! `${cluster.…}` in texts: finding and replacing.
//!
//! An expression is `${cluster.name}`, `${cluster.labels.KEY}` or `${cluster.values.PATH}`, with a default behind `:-`.
//! A text that is one expression and nothing else takes the value's own type; inside a longer text the value is written
//! as text. `$${cluster.…}` stands for itself without the first `$`. Any other `${…}` is left alone: manifests are full
//! of shell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const OPEN: &str = "${cluster.";

/// One expression: what it refers to, and its default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expression {
    /// What it refers to, such as `cluster.values.replicas`.
    pub path: String,
    /// What stands for a missing value.
    pub default: Option<String>,
}

/// An expression that cannot be read, or whose value does not fit its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// No closing brace.
    #[error("{0:?} has no closing brace")]
    Unclosed(String),
    /// Something that a cluster does not have.
    #[error("${{{0}}} is unknown: use cluster.name, cluster.labels.KEY or cluster.values.PATH")]
    Unknown(String),
    /// A value that is missing and has no default.
    #[error(
        "${{{path}}} has no value; set it on the cluster or a ClusterSet, or write a default: ${{{path}:-…}}"
    )]
    Missing {
        /// What it refers to.
        path: String,
    },
    /// A map or list inside a longer text.
    #[error("${{{path}}} is a {kind}, which cannot stand inside a text")]
    NotText {
        /// What it refers to.
        path: String,
        /// What it is.
        kind: &'static str,
    },
}

enum Part<'t> {
    Text(&'t str),
    Expression(Expression),
}

fn split(text: &str) -> Result<Vec<Part<'_>>, ExpressionError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            parts.push(Part::Text(&rest[..at - 1]));
            parts.push(Part::Text(OPEN));
            rest = &rest[at + OPEN.len()..];
            continue;
        }
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        let body = &rest[at + 2..];
        let Some(end) = body.find('}') else {
            let shown: String = rest[at..].chars().take(60).collect();
            return Err(ExpressionError::Unclosed(shown));
        };
        parts.push(Part::Expression(parse(&body[..end])?));
        rest = &body[end + 1..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn parse(body: &str) -> Result<Expression, ExpressionError> {
    let (path, default) = match body.split_once(":-") {
        Some((path, default)) => (path, Some(default.to_owned())),
        None => (body, None),
    };
    let path = path.trim();
    let known = path == "cluster.name"
        || path
            .strip_prefix("cluster.labels.")
            .is_some_and(|key| !key.is_empty())
        || path
            .strip_prefix("cluster.values.")
            .is_some_and(|path| path.split('.').all(|step| !step.is_empty()));
    if !known {
        return Err(ExpressionError::Unknown(path.to_owned()));
    }
    let path = path.to_owned();
    Ok(Expression { path, default })
}

/// Gathers the expressions of a text.
pub fn collect_text(text: &str, into: &mut BTreeSet<Expression>) -> Result<(), ExpressionError> {
    if !text.contains(OPEN) {
        return Ok(());
    }
    into.extend(split(text)?.into_iter().filter_map(|part| match part {
        Part::Expression(expression) => Some(expression),
        Part::Text(_) => None,
    }));
    Ok(())
}

/// Gathers the expressions of every text in a value; keys are not looked into.
pub fn collect(value: &Value, into: &mut BTreeSet<Expression>) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) => collect_text(text, into),
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, into)),
        Value::Object(map) => map.values().try_for_each(|item| collect(item, into)),
        _ => Ok(()),
    }
}

/// Does any text in a value hold an expression, or an escaped one?
pub(crate) fn contains(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(OPEN),
        Value::Array(items) => items.iter().any(contains),
        Value::Object(map) => map.values().any(contains),
        _ => false,
    }
}

/// Fields that hold texts only, wherever they stand: there a number is written as text.
const TEXTS: [&str; 7] = [
    "labels",
    "annotations",
    "matchLabels",
    "stringData",
    "env",
    "args",
    "command",
];

/// Replaces the expressions in every text of a value. Where Kubernetes takes texts only (labels, annotations, `env`,
/// `args`, `command`, a ConfigMap's data) they stay texts whatever their value's type.
pub fn substitute(
    value: &mut Value,
    values: &BTreeMap<String, Value>,
) -> Result<(), ExpressionError> {
    let config_map = value.get("kind").and_then(Value::as_str) == Some("ConfigMap");
    match value {
        // each text exactly once: what an escape leaves would be replaced by a second pass
        Value::Object(map) if config_map => map.iter_mut().try_for_each(|(key, item)| {
            let texts = key == "data" || !item.is_string() && TEXTS.contains(&key.as_str());
            walk(item, values, texts)
        }),
        value => walk(value, values, false),
    }
}

/// The same for the value at a JSON pointer, whose steps say whether it must stay a text.
pub fn substitute_at(
    pointer: &str,
    value: &mut Value,
    values: &BTreeMap<String, Value>,
) -> Result<(), ExpressionError> {
    let texts = pointer.split('/').any(|step| TEXTS.contains(&step));
    walk(value, values, texts)
}

/// Replaces the expressions in a chart's values, where every text may take its value's own type.
pub fn substitute_values(
    value: &mut Value,
    values: &BTreeMap<String, Value>,
) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) if text.contains(OPEN) => {
            *value = replace(text, values)?;
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| substitute_values(item, values)),
        Value::Object(map) => map
            .values_mut()
            .try_for_each(|item| substitute_values(item, values)),
        _ => Ok(()),
    }
}

fn walk(
    value: &mut Value,
    values: &BTreeMap<String, Value>,
    texts: bool,
) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) if text.contains(OPEN) => {
            *value = if texts {
                Value::String(substitute_text(text, values)?)
            } else {
                replace(text, values)?
            };
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| walk(item, values, texts)),
        Value::Object(map) => map.iter_mut().try_for_each(|(key, item)| {
            let texts = texts || !item.is_string() && TEXTS.contains(&key.as_str());
            walk(item, values, texts)
        }),
        _ => Ok(()),
    }
}

fn replace(text: &str, values: &BTreeMap<String, Value>) -> Result<Value, ExpressionError> {
    if let [Part::Expression(expression)] = &split(text)?[..] {
        return match values.get(&expression.path) {
            Some(value) => Ok(value.clone()),
            None => expression.default.as_deref().map(typed).ok_or_else(|| {
                let path = expression.path.clone();
                ExpressionError::Missing { path }
            }),
        };
    }
    substitute_text(text, values).map(Value::String)
}

/// A default takes the type that it has in JSON; anything else is a text.
fn typed(default: &str) -> Value {
    base_json::parse_strict(default.as_bytes())
        .unwrap_or_else(|_| Value::String(default.to_owned()))
}

/// Replaces the expressions in a text, which stays a text.
pub fn substitute_text(
    text: &str,
    values: &BTreeMap<String, Value>,
) -> Result<String, ExpressionError> {
    let mut out = String::with_capacity(text.len());
    for part in split(text)? {
        let expression = match part {
            Part::Text(text) => {
                out.push_str(text);
                continue;
            }
            Part::Expression(expression) => expression,
        };
        let path = expression.path;
        match (values.get(&path), expression.default) {
            (Some(Value::String(text)), _) => out.push_str(text),
            (Some(Value::Object(_)), _) => {
                return Err(ExpressionError::NotText { path, kind: "map" });
            }
            (Some(Value::Array(_)), _) => {
                return Err(ExpressionError::NotText { path, kind: "list" });
            }
            (Some(value), _) => out.push_str(&value.to_string()),
            (None, Some(default)) => out.push_str(&default),
            (None, None) => return Err(ExpressionError::Missing { path }),
        }
    }
    Ok(out)
}
