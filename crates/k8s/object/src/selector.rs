//! Label selectors: the object form and kubectl's text form.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Selects by labels: every entry of `matchLabels` and every expression must hold. An empty selector matches all.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Expressions that must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One expression of a [`LabelSelector`].
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// The values; none for `Exists` and `DoesNotExist`, at least one for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub enum Operator {
    /// The label's value is one of the values.
    In,
    /// The label is missing, or its value is none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

/// A selector that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `In` or `NotIn` without values.
    #[error("label {key:?}: operator {operator:?} needs at least one value")]
    NoValues {
        /// The label.
        key: String,
        /// The operator.
        operator: Operator,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("label {key:?}: operator {operator:?} takes no values")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: Operator,
    },
    /// No key.
    #[error("an expression without a label key")]
    NoKey,
    /// A text that is no selector.
    #[error("{text:?} is not a label selector: {problem}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong.
        problem: String,
    },
}

impl LabelSelector {
    /// Checks the rules that the types do not hold.
    pub fn validate(&self) -> Result<(), SelectorError> {
        for Requirement {
            key,
            operator,
            values,
        } in &self.match_expressions
        {
            if key.is_empty() {
                return Err(SelectorError::NoKey);
            }
            match operator {
                Operator::In | Operator::NotIn if values.is_empty() => {
                    return Err(SelectorError::NoValues {
                        key: key.clone(),
                        operator: *operator,
                    });
                }
                Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                    return Err(SelectorError::Values {
                        key: key.clone(),
                        operator: *operator,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Does it match everything?
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Does it match these labels? `get` looks one up.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| get(key) == Some(value))
            && self.match_expressions.iter().all(
                |Requirement {
                     key,
                     operator,
                     values,
                 }| {
                    let found = get(key);
                    let listed =
                        found.is_some_and(|found| values.iter().any(|value| value == found));
                    match operator {
                        Operator::In => listed,
                        Operator::NotIn => !listed,
                        Operator::Exists => found.is_some(),
                        Operator::DoesNotExist => found.is_none(),
                    }
                },
            )
    }

    /// Does it match this map of labels?
    pub fn matches_map(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches(|key| labels.get(key).map(String::as_str))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .match_labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        parts.extend(self.match_expressions.iter().map(
            |Requirement {
                 key,
                 operator,
                 values,
             }| match operator {
                Operator::In => format!("{key} in ({})", values.join(",")),
                Operator::NotIn => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key.clone(),
                Operator::DoesNotExist => format!("!{key}"),
            },
        ));
        f.write_str(&parts.join(","))
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    /// Reads kubectl's form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let error = |problem: String| SelectorError::Text {
            text: text.to_owned(),
            problem,
        };
        let mut selector = Self::default();
        for part in split_outside_brackets(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(error("an empty part between commas".to_owned()));
            }
            let requirement = |key: &str, operator, values| Requirement {
                key: key.trim().to_owned(),
                operator,
                values,
            };
            let set = |rest: &str| -> Result<Vec<String>, SelectorError> {
                let inner = rest
                    .trim()
                    .strip_prefix('(')
                    .and_then(|rest| rest.strip_suffix(')'));
                let inner = inner
                    .ok_or_else(|| error(format!("expected values in brackets after {part:?}")))?;
                Ok(inner
                    .split(',')
                    .map(|value| value.trim().to_owned())
                    .collect())
            };
            let words: Vec<&str> = part.splitn(2, char::is_whitespace).collect();
            let expression = if let Some(rest) = part.strip_prefix('!') {
                requirement(rest, Operator::DoesNotExist, Vec::new())
            } else if let [key, rest] = words[..]
                && let Some(rest) = rest
                    .trim_start()
                    .strip_prefix("in")
                    .filter(|r| r.trim_start().starts_with('('))
            {
                requirement(key, Operator::In, set(rest)?)
            } else if let [key, rest] = words[..]
                && let Some(rest) = rest
                    .trim_start()
                    .strip_prefix("notin")
                    .filter(|r| r.trim_start().starts_with('('))
            {
                requirement(key, Operator::NotIn, set(rest)?)
            } else if let Some((key, value)) = part.split_once("!=") {
                requirement(key, Operator::NotIn, vec![value.trim().to_owned()])
            } else if let Some((key, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                requirement(key, Operator::In, vec![value.trim().to_owned()])
            } else {
                requirement(part, Operator::Exists, Vec::new())
            };
            let well_formed = |text: &str| {
                !text.contains(['(', ')', '=', '!', '<', '>'])
                    && !text.contains(char::is_whitespace)
            };
            if expression.key.is_empty() || !well_formed(&expression.key) {
                return Err(error(format!("{:?} is not a label key", expression.key)));
            }
            if let Some(value) = expression.values.iter().find(|value| !well_formed(value)) {
                return Err(error(format!("{value:?} is not a label value")));
            }
            selector.match_expressions.push(expression);
        }
        Ok(selector)
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let parsed: LabelSelector = selector.parse().expect(selector);
        let found = parsed.matches(|key| {
            labels
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        });
        assert_eq!(found, expected, "{selector} against {labels:?}");
    }

    #[test]
    fn matches_as_kubectl_does() {
        let labels = [("ring", "canary"), ("region", "eu")];
        check("", &labels, true);
        check("ring=canary", &labels, true);
        check("ring==canary,region!=us", &labels, true);
        check("ring in (early, canary)", &labels, true);
        check("ring notin (canary)", &labels, false);
        check("absent notin (canary)", &labels, true);
        check("ring", &labels, true);
        check("!ring", &labels, false);
        check("!absent,region", &labels, true);
    }

    #[test]
    fn refuses_what_is_no_selector() {
        for text in ["a in b", "a=b,,c", "=b", "a b", "a>3", "a in (x"] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
        let unknown = serde_json::from_str::<LabelSelector>(
            r#"{"matchExpressions":[{"key":"a","operator":"Like","values":["b"]}]}"#,
        );
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("unknown variant `Like`, expected one of `In`, `NotIn`")
        );
    }
}
