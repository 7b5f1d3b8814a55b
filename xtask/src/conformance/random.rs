//! Which fields of manifests are random, by a written list of rules.

use serde_json::Value;

/// The list.
const RULES: &str = include_str!("random.txt");

/// One rule: a kind and a path.
#[derive(Debug)]
struct Rule {
    kind: String,
    path: Vec<String>,
}

/// The rules.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn read() -> Self {
        let lines = RULES
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.split_once(' '))
                .map(|(kind, path)| Rule {
                    kind: kind.to_owned(),
                    path: steps(path.trim()),
                })
                .collect(),
        )
    }

    /// Whether a field of an object of a kind may be random.
    pub(super) fn allow(&self, kind: &str, pointer: &str) -> bool {
        let path = steps(pointer);
        self.0
            .iter()
            .any(|rule| (rule.kind == "*" || rule.kind == kind) && fits(&rule.path, &path))
    }
}

fn steps(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn fits(rule: &[String], path: &[String]) -> bool {
    match rule.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => {
            (0..=path.len()).any(|skipped| fits(rest, &path[skipped..]))
        }
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(step, path)| step_fits(first, step) && fits(rest, path)),
    }
}

/// `*` stands for anything within a step.
fn step_fits(rule: &str, step: &str) -> bool {
    match rule.split_once('*') {
        None => rule == step,
        Some((before, behind)) => {
            step.len() >= before.len() + behind.len()
                && step.starts_with(before)
                && step.ends_with(behind)
        }
    }
}

/// The paths at which two values differ, as JSON pointers.
pub(super) fn differing(one: &Value, other: &Value) -> Vec<String> {
    let mut out = Vec::new();
    compare(one, other, &mut String::new(), &mut out);
    out
}

fn compare(one: &Value, other: &Value, path: &mut String, out: &mut Vec<String>) {
    let length = path.len();
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                path.push('/');
                path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => compare(one, other, path, out),
                    _ => out.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                path.push_str(&format!("/{index}"));
                compare(one, other, path, out);
                path.truncate(length);
            }
        }
        (one, other) => {
            if one != other {
                out.push(path.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_fit_paths() {
        let rules = Rules::read();
        assert!(rules.allow("Secret", "/data/tls.crt"));
        assert!(!rules.allow("ConfigMap", "/data/tls.crt"));
        assert!(!rules.allow("Secret", "/metadata/name"));
        let rule = steps("/spec/**/checksum~1*");
        assert!(fits(
            &rule,
            &steps("/spec/template/metadata/checksum~1secret")
        ));
        assert!(!fits(&rule, &steps("/spec/template/metadata/name")));
    }

    #[test]
    fn differing_paths_are_named() {
        assert_eq!(
            differing(
                &json!({"a": [1, {"b/c": 1}], "d": 1}),
                &json!({"a": [1, {"b/c": 2}], "e": 1})
            ),
            ["/a/1/b~1c", "/d", "/e"]
        );
    }
}
