//! Everything that can make one cluster's rendering differ from another's.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use roadstead_model::{AppSpec, ClusterFact, HelmValues, KustomizeChanges};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expression::{Expression, ExpressionError, collect, collect_text, contains};
use crate::{ClusterView, Placement};

/// What a rendering depends on besides the Release: clusters with the same input share one variant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetInput {
    /// The overlays that apply, by name, in order.
    pub overlays: Vec<String>,
    /// The values of exactly those expressions that this rendering uses; one that falls back to its default is absent.
    pub values: BTreeMap<String, Value>,
}

impl TargetInput {
    /// The digest of the canonical JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(&base_json::canonical_of(self).unwrap_or_default())
    }
}

/// The expressions that an App uses, gathered once for each Release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Those in the manifests, where the App replaces them there.
    pub manifests: BTreeSet<Expression>,
    /// Those that a chart's values or a kustomization's changes, which all clusters get, are made from.
    pub render: BTreeSet<Expression>,
    /// What a chart sees of each cluster.
    pub facts: BTreeSet<ClusterFact>,
    /// Those in each overlay.
    pub overlays: Vec<BTreeSet<Expression>>,
}

/// A cluster whose own values do not suffice to render an App. It is set aside; no other is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cluster {cluster:?} cannot be rendered: {source}")]
pub struct MissingValue {
    /// The cluster's name.
    pub cluster: String,
    /// What is missing.
    pub source: ExpressionError,
}

impl Uses {
    /// Gathers the expressions of an App and, where it replaces them there, of its manifests.
    pub fn of<'a>(
        spec: &AppSpec,
        manifests: impl IntoIterator<Item = &'a Value>,
    ) -> Result<Self, ExpressionError> {
        let mut uses = Self::default();
        if spec.render.plain.substitute {
            for manifest in manifests {
                collect(manifest, &mut uses.manifests)?;
            }
        }
        if let Some(helm) = &spec.render.helm {
            collect_values(&helm.values, &mut uses.render)?;
            for text in [&helm.release_name, &helm.kube_version] {
                collect_text(text, &mut uses.render)?;
            }
            uses.facts.extend(&helm.from_cluster);
        }
        if let Some(kustomize) = &spec.render.kustomize {
            collect_changes(&kustomize.changes, &mut uses.render)?;
        }
        for overlay in &spec.overlays {
            let mut found = BTreeSet::new();
            if let Some(values) = &overlay.helm {
                collect_values(values, &mut found)?;
            }
            if let Some(changes) = &overlay.kustomize {
                collect_changes(changes, &mut found)?;
            }
            for patch in &overlay.patches {
                if let Some(merge) = &patch.merge {
                    collect(merge, &mut found)?;
                }
                for operation in &patch.json {
                    if let Some(value) = &operation.value {
                        collect(value, &mut found)?;
                    }
                }
            }
            for text in overlay.labels.values().chain(overlay.annotations.values()) {
                collect_text(text, &mut found)?;
            }
            uses.overlays.push(found);
        }
        Ok(uses)
    }

    /// Does a manifest hold anything that substitution would change?
    pub fn touches(manifest: &Value) -> bool {
        contains(manifest)
    }
}

fn collect_values(
    values: &HelmValues,
    into: &mut BTreeSet<Expression>,
) -> Result<(), ExpressionError> {
    if let Some(values) = &values.values {
        collect(values, into)?;
    }
    values.texts().try_for_each(|text| collect_text(text, into))
}

fn collect_changes(
    changes: &KustomizeChanges,
    into: &mut BTreeSet<Expression>,
) -> Result<(), ExpressionError> {
    let fields = Value::Object(changes.fields());
    collect(&fields, into)?;
    collect_text(&changes.path, into)
}

/// The key of a cluster's fact among an input's values.
pub fn fact_key(fact: ClusterFact) -> &'static str {
    match fact {
        ClusterFact::KubeVersion => "cluster.kubeVersion",
        ClusterFact::ApiVersions => "cluster.apiVersions",
    }
}

/// Makes the input of one cluster; the error names the cluster and the value that it lacks.
pub fn target_input(
    spec: &AppSpec,
    uses: &Uses,
    cluster: &ClusterView,
    placement: &Placement,
) -> Result<TargetInput, MissingValue> {
    let mut input = TargetInput::default();
    let overlays = placement.overlays.iter().filter_map(|index| {
        let name = &spec.overlays.get(*index)?.name;
        Some((name, uses.overlays.get(*index)?))
    });
    for fact in &uses.facts {
        let key = fact_key(*fact);
        // an agent that has not said it yet leaves the renderer's own
        if let Some(value) = cluster.facts.get(key) {
            input.values.insert(key.to_owned(), value.clone());
        }
    }
    let mut used: Vec<&Expression> = uses.manifests.iter().chain(&uses.render).collect();
    for (name, found) in overlays {
        input.overlays.push(name.clone());
        used.extend(found);
    }
    for expression in used {
        match lookup(cluster, &expression.path) {
            Some(value) => {
                input.values.insert(expression.path.clone(), value);
            }
            None if expression.default.is_some() => {}
            None => {
                return Err(MissingValue {
                    cluster: cluster.name.clone(),
                    source: ExpressionError::Missing {
                        path: expression.path.clone(),
                    },
                });
            }
        }
    }
    Ok(input)
}

fn lookup(cluster: &ClusterView, path: &str) -> Option<Value> {
    if path == "cluster.name" {
        return Some(Value::String(cluster.name.clone()));
    }
    if let Some(key) = path.strip_prefix("cluster.labels.") {
        return cluster.labels.get(key).cloned().map(Value::String);
    }
    let mut steps = path.strip_prefix("cluster.values.")?.split('.');
    let mut value = cluster.values.get(steps.next()?)?;
    for step in steps {
        value = match value {
            Value::Object(map) => map.get(step)?,
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    // null is how a cluster takes back a set's value
    (!value.is_null()).then(|| value.clone())
}
