//! Helm charts as an App's renderer.

use base_json::Digest;
use roadstead_model::{AppSpec, HelmValues, ReleaseId};
use serde::Serialize;

use crate::{Inputs, RenderError, Rendered};

/// What a chart gets for one target input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChartValues {
    /// What it sees as `.Release.Name`; empty for the App's name.
    pub release_name: String,
    /// Layers of values; a later one wins.
    pub layers: Vec<HelmValues>,
    /// What it sees as the Kubernetes version; empty for the renderer's own.
    pub kube_version: String,
    /// What it sees as API versions besides Kubernetes' own.
    pub api_versions: Vec<String>,
}

impl ChartValues {
    /// The digest of the canonical JSON: values with one digest render the same.
    pub fn digest(&self) -> Digest {
        Digest::of(&base_json::canonical_of(self).unwrap_or_default())
    }
}

/// A chart that is compiled once and rendered for many values.
#[derive(Debug)]
pub struct Chart {
    name: String,
}

impl Chart {
    /// Is the first input a chart? It is where the App says so, or where a `Chart.yaml` stands at its path and the App
    /// says nothing else.
    pub fn wanted(spec: &AppSpec, inputs: &Inputs) -> bool {
        let path = spec.inputs.first().map_or("", |input| input.path.as_str());
        let path = path.trim_matches('/');
        let file = if path.is_empty() || path == "." {
            "Chart.yaml".to_owned()
        } else {
            format!("{}/Chart.yaml", path.trim_start_matches("./"))
        };
        let silent = spec.render.plain == roadstead_model::PlainRenderer::default();
        spec.render.helm.is_some() || silent && inputs.first.contains_key(&file)
    }

    /// Compiles the chart at the first input's path.
    pub fn compile(
        app: &str,
        spec: &AppSpec,
        release: ReleaseId,
        inputs: &Inputs,
    ) -> Result<Self, RenderError> {
        let _ = (spec, release, inputs);
        Ok(Self {
            name: app.to_owned(),
        })
    }

    /// Renders it.
    pub fn render(&self, values: &ChartValues) -> Result<Vec<Rendered>, RenderError> {
        let _ = (&self.name, values);
        todo!()
    }
}
