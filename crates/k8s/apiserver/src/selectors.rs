//! Label and field selectors over objects.

use k8s_object::LabelSelector;
use serde_json::Value;

use crate::registry::words;
use crate::{ResourceDef, Status};

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field, such as `status.phase`.
    pub field: String,
    /// What it must be, or must not be.
    pub value: String,
    /// Must it be equal?
    pub equal: bool,
}

/// What objects must be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// What their labels must be.
    pub labels: LabelSelector,
    /// What their fields must be.
    pub fields: Vec<FieldTerm>,
}

impl Selector {
    /// Selects by labels.
    pub fn labels(labels: LabelSelector) -> Self {
        Self {
            labels,
            fields: Vec::new(),
        }
    }

    /// Reads both text forms; empty texts select everything.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Status> {
        let unreadable =
            |why: String| Status::bad_request(format!("unable to parse requirement: {why}"));
        let labels = labels
            .parse::<LabelSelector>()
            .map_err(|error| unreadable(syntax_problem(labels).unwrap_or(error.to_string())))?;
        check_labels(&labels).map_err(unreadable)?;
        let mut terms = Vec::new();
        for term in split_terms(fields) {
            let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) =
                term.split_once("==").or_else(|| term.split_once('='))
            {
                (field, value, true)
            } else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{fields}'; can't understand '{term}'"
                )));
            };
            terms.push(FieldTerm {
                field: field.trim().to_owned(),
                value: unescape(value.trim()),
                equal,
            });
        }
        Ok(Self {
            labels,
            fields: terms,
        })
    }

    /// Does it select everything?
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Checks that the resource knows the fields.
    pub fn check(&self, def: &ResourceDef) -> Result<(), Status> {
        for FieldTerm { field, .. } in &self.fields {
            let known = field == "metadata.name"
                || field == "metadata.namespace"
                || def.selectable_fields.iter().any(|known| known == field);
            if !known {
                // only a kind with fields of its own has a say in the words
                let why = if def.selectable_fields.is_empty() && !def.custom {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {field}")
                };
                return Err(Status::bad_request(why));
            }
        }
        Ok(())
    }

    /// Returns the one name that can match, if the selector says so.
    pub fn only_name(&self) -> Option<&str> {
        self.fields
            .iter()
            .find(|term| term.equal && term.field == "metadata.name")
            .map(|term| term.value.as_str())
    }

    /// Does this object match?
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(|key| k8s_object::label(object, key))
            && self
                .fields
                .iter()
                .all(|term| (field_text(object, &term.field) == term.value) == term.equal)
    }
}

/// What of a selector cannot be read, in the words of Kubernetes' parser; nothing if it is about something else.
fn syntax_problem(text: &str) -> Option<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let special = |c: char| "(),!=<>".contains(c);
        let end = if special(first) {
            let operators = ["==", "!=", ">=", "<="];
            operators
                .iter()
                .find(|one| rest.starts_with(**one))
                .map_or(1, |one| one.len())
        } else {
            rest.find(|c: char| special(c) || c.is_whitespace())
                .unwrap_or(rest.len())
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    let mut tokens = tokens.into_iter();
    let mut next = || tokens.next().unwrap_or("");
    let is_word = |token: &str| !token.is_empty() && !"(),!=<>".contains(&token[..1]);
    loop {
        let mut key = next();
        let negated = key == "!";
        if negated {
            key = next();
        }
        if !is_word(key) {
            return Some(format!(
                "found '{key}', expected: !, identifier, or 'end of string'"
            ));
        }
        let mut operator = next();
        if !negated && !matches!(operator, "" | ",") {
            match operator {
                "in" | "notin" => {
                    let open = next();
                    if open != "(" {
                        return Some(format!("found '{open}' expected: '('"));
                    }
                    loop {
                        let value = next();
                        if value == ")" {
                            break;
                        }
                        if !is_word(value) && value != "," {
                            return Some(format!("found '{value}', expected: ',', or identifier"));
                        }
                        if value == "," {
                            continue;
                        }
                        match next() {
                            "," => {}
                            ")" => break,
                            other => {
                                return Some(format!("found '{other}', expected: ',' or ')'"));
                            }
                        }
                    }
                }
                "=" | "==" | "!=" | "<" | ">" => {
                    let value = next();
                    if value.is_empty() || value == "," {
                        operator = value;
                    } else if !is_word(value) {
                        return Some(format!("found '{value}', expected: identifier"));
                    }
                }
                other => {
                    return Some(format!(
                        "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                    ));
                }
            }
            if operator != "," {
                operator = next();
            }
        }
        match operator {
            "" => return None,
            "," => {}
            other => return Some(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
}

/// Checks that keys and values are ones that labels can have.
fn check_labels(selector: &LabelSelector) -> Result<(), String> {
    let key = |key: &str| match words::qualified(key).join("; ") {
        why if why.is_empty() => Ok(()),
        why => Err(format!("<nil>: Invalid value: {key:?}: {why}")),
    };
    let value = |index: usize, name: &str, value: &str| match words::Form::LabelValue
        .problems(value)
        .join("; ")
    {
        why if why.is_empty() => Ok(()),
        why => Err(format!(
            "values[{index}][{name}]: Invalid value: {value:?}: {why}"
        )),
    };
    for (name, wanted) in &selector.match_labels {
        key(name)?;
        value(0, name, wanted)?;
    }
    for term in &selector.match_expressions {
        key(&term.key)?;
        for (index, wanted) in term.values.iter().enumerate() {
            value(index, &term.key, wanted)?;
        }
    }
    Ok(())
}

fn split_terms(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' {
            chars.next().unwrap_or('\\')
        } else {
            c
        });
    }
    out
}

/// Reads a field as a text; missing is empty. Both Event versions' names of the same field are understood.
fn field_text(object: &Value, path: &str) -> String {
    let mut value = object;
    for part in path.split('.') {
        match value.get(part) {
            Some(next) => value = next,
            None => {
                return match path {
                    // fields whose absence means a value
                    "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
                    _ => String::new(),
                };
            }
        }
    }
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selects_by_fields_and_labels() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "replicas": 3},
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("x=y", "metadata.name=a", true),
            ("x=z", "", false),
            ("", "status.phase!=Running", false),
            ("", "status.phase==Running,spec.nodeName=n1", true),
            ("", "status.replicas=3", true),
            ("", "spec.unschedulable=false", true),
            ("", "status.reason=", true),
        ] {
            let selector = Selector::parse(labels, fields).expect("parses");
            assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
        }
        assert!(Selector::parse("", "nonsense").is_err());
        let def = ResourceDef::new("", "v1", "Pod", "pods", true);
        let unknown = Selector::parse("", "spec.x=1").expect("parses");
        assert_eq!(
            unknown.check(&def).expect_err("unknown").message,
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
}
