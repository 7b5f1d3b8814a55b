//! What becomes of rendered files: documents, their heads, hooks, and the order in which all of it is installed.

mod sort;
mod split;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Dialect;
use crate::diag::{Code, Diagnostic};
use crate::yaml::{self, Failure, Struct, Type};
pub(crate) use sort::by_kind;

/// What Helm reads of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`; nothing, where a document has none.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.annotations`, numbers and booleans as text.
    pub annotations: BTreeMap<String, String>,
}

impl Head {
    /// Whether the object stays when its chart goes: `helm.sh/resource-policy: keep`.
    pub fn is_kept(&self) -> bool {
        self.annotations
            .get("helm.sh/resource-policy")
            .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
    }
}

/// One document that a chart renders to.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The template, as Helm names it: `chart/templates/x.yaml`.
    pub source: String,
    /// The line of the rendered file in which it begins, from 1.
    pub line: usize,
    /// The document, word for word.
    pub text: String,
    /// What Helm reads of it.
    pub head: Head,
    /// The document as data, numbers as they are written; a key that stands twice has its last value. Null, where it
    /// holds nothing but comments.
    pub object: Value,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are Helm's own")]
pub enum Event {
    PreInstall,
    PostInstall,
    PreDelete,
    PostDelete,
    PreUpgrade,
    PostUpgrade,
    PreRollback,
    PostRollback,
    Test,
}

impl Event {
    /// The event by its name in `helm.sh/hook`.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "pre-install" => Self::PreInstall,
            "post-install" => Self::PostInstall,
            "pre-delete" => Self::PreDelete,
            "post-delete" => Self::PostDelete,
            "pre-upgrade" => Self::PreUpgrade,
            "post-upgrade" => Self::PostUpgrade,
            "pre-rollback" => Self::PreRollback,
            "post-rollback" => Self::PostRollback,
            "test" | "test-success" => Self::Test,
            _ => return None,
        })
    }
}

/// A document that is no part of what stays, but runs at some event.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The document.
    pub manifest: Manifest,
    /// When it runs.
    pub events: Vec<Event>,
    /// Lower ones run first.
    pub weight: i64,
    /// `helm.sh/hook-delete-policy`, as it is written but in lower case.
    pub delete_policies: Vec<String>,
    /// `helm.sh/hook-output-log-policy`, as it is written but in lower case.
    pub output_log_policies: Vec<String>,
}

impl Hook {
    /// Whether it is a test.
    pub fn is_test(&self) -> bool {
        self.events.contains(&Event::Test)
    }
}

const METADATA: Struct = Struct {
    name: "",
    fields: &[
        ("name", Type::Text),
        ("annotations", Type::Map(&Type::Text)),
    ],
};

const HEAD: Struct = Struct {
    name: "SimpleHead",
    fields: &[
        ("apiVersion", Type::Text),
        ("kind", Type::Text),
        ("metadata", Type::Struct(&METADATA)),
    ],
};

/// What a chart's files came to.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) warnings: Vec<String>,
}

/// Cuts files apart and sorts what is in them.
pub(crate) fn sort(
    files: &BTreeMap<String, String>,
    dialect: Dialect,
    most: usize,
) -> Result<Sorted, Box<Diagnostic>> {
    let mut sorted = Sorted::default();
    for (path, content) in files {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.starts_with('_') || content.trim().is_empty() {
            continue;
        }
        for (line, document) in split::documents(content, dialect) {
            if sorted.manifests.len() + sorted.hooks.len() >= most {
                let text = format!("the chart renders to more than {most} documents");
                return Err(Diagnostic::helm(Code::Limit, text).at(path, line, 0).into());
            }
            let manifest = read(path, line, document, dialect)
                .map_err(|failure| no_yaml(path, line, content, failure))?;
            sorted.add(manifest);
        }
    }
    by_kind(&mut sorted.manifests, dialect, |manifest| {
        &manifest.head.kind
    });
    by_kind(&mut sorted.hooks, dialect, |hook| &hook.manifest.head.kind);
    Ok(sorted)
}

/// Says that a document is no YAML, or none of a manifest.
fn no_yaml(path: &str, line: usize, content: &str, failure: Failure) -> Diagnostic {
    let within = if failure.line > 0 {
        line + failure.line - 1
    } else {
        line
    };
    Diagnostic::new(
        Code::Output,
        format!("what was rendered is no manifest: {}", failure.message),
        format!("YAML parse error on {path}: {}", failure.helm),
    )
    .at(path, 0, 0)
    .rendered(content, within, failure.column)
}

fn read(path: &str, line: usize, document: &str, dialect: Dialect) -> Result<Manifest, Failure> {
    let object = yaml::read(document.as_bytes())?;
    let package = if dialect.is_3() {
        "releaseutil"
    } else {
        "util"
    };
    let head = yaml::fit_ref(&object, Type::Struct(&HEAD), package)?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let metadata = head.get("metadata");
    let annotations = metadata
        .and_then(|it| it.get("annotations"))
        .and_then(Value::as_object);
    Ok(Manifest {
        source: path.to_owned(),
        line,
        text: document.to_owned(),
        head: Head {
            api_version: text(head.get("apiVersion")),
            kind: text(head.get("kind")),
            name: text(metadata.and_then(|it| it.get("name"))),
            annotations: annotations
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), text(Some(value))))
                .collect(),
        },
        object,
    })
}

impl Sorted {
    /// Takes a document for a hook, if it says so. One with an event that is not known is dropped, as Helm does.
    fn add(&mut self, manifest: Manifest) {
        let annotations = &manifest.head.annotations;
        let Some(names) = annotations.get("helm.sh/hook") else {
            self.manifests.push(manifest);
            return;
        };
        let list = |text: &str| -> Vec<String> {
            text.split(',')
                .map(|part| part.trim().to_lowercase())
                .collect()
        };
        let events: Option<Vec<Event>> = list(names)
            .iter()
            .map(|name| Event::by_name(name))
            .collect();
        let Some(events) = events else {
            self.warnings.push(format!(
                "{}: dropped {} {:?}: \"helm.sh/hook: {names}\" names an event that Helm does not know",
                manifest.source, manifest.head.kind, manifest.head.name
            ));
            return;
        };
        let policies = |name: &str| annotations.get(name).map_or_else(Vec::new, |it| list(it));
        self.hooks.push(Hook {
            events,
            weight: annotations
                .get("helm.sh/hook-weight")
                .and_then(|weight| weight.parse().ok())
                .unwrap_or(0),
            delete_policies: policies("helm.sh/hook-delete-policy"),
            output_log_policies: policies("helm.sh/hook-output-log-policy"),
            manifest,
        });
    }
}
