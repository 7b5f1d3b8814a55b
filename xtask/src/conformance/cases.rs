//! What a chart is rendered with.

use std::collections::BTreeMap;

use serde_json::Map;

use super::corpus::{Content, Found};
use super::mutate;

pub(super) const RELEASE: &str = "conformance";
pub(super) const NAMESPACE: &str = "harbour";
pub(super) const KUBE_VERSION: &str = "1.34.2";

/// The sorts of cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Defaults,
    Ci,
    Mutated,
    Broken,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Defaults, Self::Ci, Self::Mutated, Self::Broken];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Ci => "ci",
            Self::Mutated => "mutated",
            Self::Broken => "broken",
        }
    }
}

/// One render of one chart.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The chart's files, where they are not as they lie in the corpus.
    pub(super) files: Option<BTreeMap<String, Vec<u8>>>,
    /// A values file.
    pub(super) values: Option<Vec<u8>>,
    /// A `--set`.
    pub(super) set: Option<String>,
}

impl Case {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            files: None,
            values: None,
            set: None,
        }
    }
}

/// Every case of a chart.
pub(super) fn of(chart: &Found, kinds: &[Kind]) -> Vec<Case> {
    let mut cases = Vec::new();
    let files = files(chart);
    let defaults = files
        .get("values.yaml")
        .and_then(|text| base_yaml::go::unmarshal(text).ok())
        .and_then(|values| values.as_object().cloned())
        .unwrap_or_default();
    for &kind in kinds {
        match kind {
            Kind::Defaults => cases.push(Case::new(kind, "defaults")),
            Kind::Ci => {
                for (path, content) in &files {
                    let values = path.ends_with(".yaml") || path.ends_with(".yml");
                    if path.starts_with("ci/") && values {
                        cases.push(Case {
                            values: Some(content.clone()),
                            ..Case::new(kind, path.as_str())
                        });
                    }
                }
            }
            Kind::Mutated => {
                for (name, values) in mutate::value_sets(&chart.name, &defaults) {
                    cases.push(Case {
                        values: Some(values.to_string().into_bytes()),
                        ..Case::new(kind, name)
                    });
                }
            }
            Kind::Broken => cases.extend(broken(chart, &files, &defaults)),
        }
    }
    cases
}

fn broken(
    chart: &Found,
    files: &BTreeMap<String, Vec<u8>>,
    defaults: &Map<String, serde_json::Value>,
) -> Vec<Case> {
    mutate::broken(&chart.name, files, defaults)
        .into_iter()
        .map(|broken| Case {
            files: broken.files,
            values: broken
                .values
                .map(|values| values.to_string())
                .or(broken.raw_values)
                .map(String::into_bytes),
            set: broken.set,
            ..Case::new(Kind::Broken, broken.name)
        })
        .collect()
}

/// A chart's files, unpacked.
fn files(chart: &Found) -> BTreeMap<String, Vec<u8>> {
    match &chart.content {
        Content::Folder(files) => files.clone(),
        Content::Archive(bytes) => {
            let limits = roadstead_helm::Limits::default();
            roadstead_helm::Chart::from_archive(&chart.name, bytes, &limits)
                .map(|chart| {
                    chart
                        .files()
                        .iter()
                        .map(|file| (file.path.clone(), file.data.to_vec()))
                        .collect()
                })
                .unwrap_or_default()
        }
    }
}
