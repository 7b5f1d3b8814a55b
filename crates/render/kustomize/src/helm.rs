//! Charts in a kustomization, rendered by our own engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use roadstead_helm::{
    Capabilities, Chart, Dialect, HelmVersion, KubeVersion, Layer, Policy, Release, RenderInput,
    Show,
};
use serde_json::{Map, Value};

use crate::diag::Fault;
use crate::kfile::HelmChart;
use crate::node::Step;

/// What charts are rendered with.
#[derive(Debug, Clone)]
pub struct HelmOptions {
    /// Whose rules hold.
    pub dialect: Dialect,
    /// The Kubernetes version that charts see where the kustomization says none.
    pub kube_version: String,
    /// What functions give that come out otherwise each time.
    pub policy: Policy,
    /// What random functions draw from.
    pub seed: [u8; 32],
    /// The time for `now`, in nanoseconds since 1970.
    pub now: i128,
}

impl Default for HelmOptions {
    fn default() -> Self {
        Self {
            dialect: Dialect::HELM_4,
            kube_version: "v1.36.0".to_owned(),
            policy: Policy::Seeded,
            seed: [0; 32],
            now: 0,
        }
    }
}

/// The files that a chart and its values need.
pub(crate) struct Given {
    /// The chart's files, by their paths from its root.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// The values file with its name.
    pub(crate) values: (String, Bytes),
    pub(crate) more: Vec<(String, Bytes)>,
}

fn refused(diagnostics: &roadstead_helm::Diagnostics) -> Fault {
    Fault::new(diagnostics.to_string())
}

/// Renders a chart to the text that `helm template` prints.
pub(crate) fn render(chart: &HelmChart, given: &Given, options: &HelmOptions) -> Step<String> {
    let limits = roadstead_helm::Limits::default();
    let loaded = Chart::from_files(&given.files, &limits).map_err(|d| refused(&d))?;
    let compiled = loaded
        .compile(options.dialect, limits)
        .map_err(|d| refused(&d))?;
    let (name, bytes) = &given.values;
    let mut layers = Vec::new();
    if chart.values_inline.is_empty() {
        layers.push(Layer::File {
            name: name.clone(),
            text: bytes.to_vec(),
        });
    } else {
        let values = match chart.values_merge.as_str() {
            "replace" => chart.values_inline.clone(),
            merge => {
                let file = base_yaml::go::unmarshal(bytes)
                    .map_err(|error| Fault::new(format!("{name}: {error}")))?;
                let file = match file {
                    Value::Object(map) => map,
                    _ => Map::new(),
                };
                let (mut under, over) = if merge == "merge" {
                    (chart.values_inline.clone(), file)
                } else {
                    (file, chart.values_inline.clone())
                };
                overlay(&mut under, over);
                under
            }
        };
        layers.push(Layer::Inline {
            name: format!("valuesInline of chart {}", chart.name),
            values,
        });
    }
    layers.extend(given.more.iter().map(|(name, bytes)| Layer::File {
        name: name.clone(),
        text: bytes.to_vec(),
    }));
    let version = match chart.kube_version.as_str() {
        "" => &options.kube_version,
        version => version,
    };
    let kube = KubeVersion::parse(version).map_err(|e| Fault::new(format!("kubeVersion: {e}")))?;
    let helm = HelmVersion::of(options.dialect);
    let mut input = RenderInput::new(&layers, Capabilities::new(kube, &chart.api_versions, helm));
    let name = match (chart.release_name.as_str(), chart.name_template.as_str()) {
        ("", "") => {
            let text = format!("chart {:?} has no releaseName", chart.name);
            return Err(Fault::new(text)
                .hint("set releaseName: without one the name would be another each time"));
        }
        ("", template) if !template.contains("{{") => template,
        ("", _) => {
            let text = format!("chart {:?} has a nameTemplate with calls", chart.name);
            return Err(Fault::new(text).hint("set releaseName"));
        }
        (name, _) => name,
    };
    let namespace = match chart.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    input.release = Release::install(name, namespace);
    input.policy = options.policy;
    input.seed = options.seed;
    input.now = options.now;
    let rendered = compiled.render(&input).map_err(|d| refused(&d))?;
    Ok(rendered.to_text(&Show {
        crds: chart.include_crds,
        hooks: !chart.skip_hooks,
        tests: !chart.skip_tests,
    }))
}

/// Puts values over others; a null takes one away.
fn overlay(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (_, Value::Null) => {
                under.remove(&name);
            }
            (Some(Value::Object(under)), Value::Object(over)) => overlay(under, over),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}
