//! A plan held against what API servers said to it in dry-runs.

use std::collections::BTreeMap;

use k8s_object::ObjectId;
use roadstead_dispatch::Tried;
use serde::{Deserialize, Serialize};

use crate::{Group, Plan};

/// Clusters that get the same and run the same minor version of Kubernetes: what one API server says holds for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Their names, sorted.
    pub clusters: Vec<String>,
    /// The minor version, such as `1.36`; empty if no agent told it yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub minor: String,
    /// The one that was asked; empty if none could be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked: String,
    /// Why nothing, or not everything, could be said; empty if it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unknown: String,
    /// The objects that the API server refuses, where the plan does not say so in the same words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// The objects that it takes, though the plan says that they are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<ObjectId>,
    /// What it changes besides what was predicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<Beyond>,
}

/// An object that an API server refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub object: ObjectId,
    /// In the server's own words.
    pub message: String,
}

/// Fields of an object that change, though nobody predicted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Which.
    pub object: ObjectId,
    /// The fields.
    pub fields: Vec<String>,
}

impl Check {
    /// Did an API server say the same as the plan?
    pub fn is_confirmed(&self) -> bool {
        !self.asked.is_empty()
            && self.unknown.is_empty()
            && self.refused.is_empty()
            && self.taken.is_empty()
            && self.beyond.is_empty()
    }
}

impl Plan {
    /// Adds what the API servers of those that were asked said, by the names of their clusters.
    pub fn checked(&mut self, answers: &BTreeMap<String, Result<Vec<Tried>, String>>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            match answers.get(&check.asked) {
                None => {}
                Some(Err(why)) => {
                    check.unknown.clone_from(why);
                    check.asked.clear();
                }
                Some(Ok(tried)) => {
                    let group = self
                        .groups
                        .iter()
                        .find(|group| group.clusters.contains(&check.asked));
                    if let Some(group) = group {
                        judge(check, group, tried);
                    }
                }
            }
        }
        self.checks = checks;
    }
}

fn judge(check: &mut Check, group: &Group, tried: &[Tried]) {
    for one in tried {
        let changed = group
            .changes
            .changed
            .iter()
            .find(|changed| changed.id == one.object);
        let mut predicted = group.changes.refused.iter();
        let predicted = predicted.find(|refused| refused.object == one.object);
        // that it is replaced, or refused for this reason, is in the plan already
        let replaced = one.immutable
            && predicted.is_none()
            && changed.is_some_and(|changed| changed.immutable.is_some());
        let told = replaced || predicted.is_some_and(|known| known.message == one.refused);
        if !one.unknown.is_empty() {
            let more = format!("{}: {}", one.object.readable(), one.unknown);
            if check.unknown.is_empty() {
                check.unknown = more;
            }
        } else if !one.refused.is_empty() && !told {
            check.refused.push(Refused {
                object: one.object.clone(),
                message: one.refused.clone(),
            });
        } else if one.refused.is_empty() && predicted.is_some() {
            check.taken.push(one.object.clone());
        }
        let Some(changed) = changed else {
            // what is new and there already is told with its owner
            continue;
        };
        let healed = group.drift.iter().filter(|item| item.object == one.object);
        let expected: Vec<String> = changed
            .fields
            .iter()
            .map(|field| names(&field.path))
            .chain(healed.flat_map(|item| item.fields.iter().map(|field| names(field))))
            .collect();
        let within = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut fields = one.fields.clone();
        fields.retain(|field| {
            let field = names(field);
            !expected
                .iter()
                .any(|known| within(&field, known) || within(known, &field))
        });
        if !fields.is_empty() {
            check.beyond.push(Beyond {
                object: one.object.clone(),
                fields,
            });
        }
    }
}

/// A path by the names of its fields alone: the two sides name the items of lists in different ways.
fn names(path: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut quoted) = (0_u32, false);
    for c in path.trim_start_matches('.').chars() {
        match c {
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changed, Changes, FieldChange};

    fn id(name: &str) -> ObjectId {
        format!("apps/Deployment/shop/{name}")
            .parse()
            .expect("an id")
    }

    fn tried(name: &str, fields: &[&str], refused: &str) -> Tried {
        Tried {
            object: id(name),
            absent: false,
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            refused: refused.to_owned(),
            immutable: false,
            unknown: String::new(),
        }
    }

    fn check(answer: Result<Vec<Tried>, String>, expected: &str) {
        check_with("", answer, expected);
    }

    fn check_with(predicted: &str, answer: Result<Vec<Tried>, String>, expected: &str) {
        let refused = (!predicted.is_empty()).then(|| Refused {
            object: id("web"),
            message: predicted.to_owned(),
        });
        let changed = Changed {
            id: id("web"),
            fields: vec![FieldChange {
                path: "spec.template.spec.containers[name=web].image".to_owned(),
                old: None,
                new: None,
                masked: false,
            }],
            immutable: None,
            as_written: false,
        };
        let mut plan = Plan {
            groups: vec![Group {
                clusters: vec!["a".to_owned(), "b".to_owned()],
                changes: Changes {
                    changed: vec![changed],
                    refused: refused.into_iter().collect(),
                    ..Changes::default()
                },
                first: false,
                leaves: None,
                drift: Vec::new(),
                existing: Vec::new(),
                unasked: String::new(),
            }],
            checks: vec![Check {
                clusters: vec!["a".to_owned(), "b".to_owned()],
                minor: "1.36".to_owned(),
                asked: "a".to_owned(),
                ..Check::default()
            }],
            ..Plan::default()
        };
        plan.checked(&[("a".to_owned(), answer)].into());
        let found = &plan.checks[0];
        let shown = format!(
            "{} {:?} {:?} {}",
            found.is_confirmed(),
            found.refused.iter().map(|r| &r.message).collect::<Vec<_>>(),
            found.beyond.iter().map(|b| &b.fields).collect::<Vec<_>>(),
            found.unknown
        );
        assert_eq!(shown.trim_end(), expected);
        // what an API server takes it takes, whatever was predicted
        let refused = found.refused.len() + usize::from(!predicted.is_empty());
        let expected = match (refused, found.taken.is_empty()) {
            (0, _) | (_, false) => 2,
            _ => 1,
        };
        assert_eq!(plan.exit_code(), expected);
    }

    #[test]
    fn a_predicted_refusal_is_confirmed_or_taken_back() {
        check_with("no", Ok(vec![tried("web", &[], "no")]), "true [] []");
        check_with(
            "no",
            Ok(vec![tried("web", &[], "never")]),
            r#"false ["never"] []"#,
        );
        check_with("no", Ok(vec![tried("web", &[], "")]), "false [] []");
        check_with("no", Err("gone".to_owned()), "false [] [] gone");
    }

    #[test]
    fn an_answer_confirms_or_tells_what_differs() {
        let image = r#".spec.template.spec.containers[name="web"].image"#;
        check(Ok(vec![tried("web", &[image], "")]), "true [] []");
        check(Ok(vec![tried("web", &[], "")]), "true [] []");
        check(Ok(vec![tried("new", &[".spec.x"], "")]), "true [] []");
        check(
            Ok(vec![tried("web", &[image, ".spec.replicas"], "")]),
            r#"false [] [[".spec.replicas"]]"#,
        );
        check(Ok(vec![tried("web", &[], "no")]), r#"false ["no"] []"#);
        check(
            Err("its agent is not connected".to_owned()),
            "false [] [] its agent is not connected",
        );
    }
}
