//! Helm charts as an App's renderer.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use bytes::Bytes;
use roadstead_helm::{
    Capabilities, Compiled, Diagnostics, Dialect, HelmVersion, KubeVersion, Layer, Policy, Release,
    RenderInput,
};
use roadstead_model::{
    AppKey, AppSpec, HelmDialect, HelmRenderer, HelmValues, PlainRenderer, RandomPolicy, ReleaseId,
};
use serde::Serialize;

use crate::plain::{flatten, refuse_duplicates};
use crate::{Inputs, Origin, RenderError, RenderSettings, Rendered};

/// The Kubernetes version that charts see where an App says nothing.
pub const KUBE_VERSION: &str = "v1.36.0";

/// What a chart gets for one target input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChartValues {
    /// What it sees as `.Release.Name`; empty for the App's name.
    pub release_name: String,
    /// Layers of values with the places that they stand in; a later one wins.
    pub layers: Vec<(String, HelmValues)>,
    /// What it sees as the Kubernetes version; empty for [`KUBE_VERSION`].
    pub kube_version: String,
    /// What it sees as API versions besides Kubernetes' own, or besides what is served.
    pub api_versions: Vec<String>,
    /// What the cluster serves; `None` for what every Kubernetes does.
    pub served: Option<Arc<Vec<String>>>,
}

impl ChartValues {
    /// The digest of the canonical JSON: values with one digest render the same.
    pub fn digest(&self) -> Digest {
        Digest::of(&base_json::canonical_of(self).unwrap_or_default())
    }
}

/// A chart that is compiled once and rendered for many values.
pub struct Chart {
    compiled: Arc<Compiled>,
    app: String,
    spec: AppSpec,
    helm: HelmRenderer,
    /// The chart's files by their paths from its root, and those of the other inputs by `$name/path`.
    files: BTreeMap<String, Bytes>,
    seed: [u8; 32],
    now_ms: i64,
}

impl Chart {
    /// Is the first input a chart? It is where the App says so, or where a `Chart.yaml` stands at its path and the App
    /// says nothing else.
    pub fn wanted(spec: &AppSpec, inputs: &Inputs) -> bool {
        let silent =
            spec.render.plain == PlainRenderer::default() && spec.render.kustomize.is_none();
        let file = format!("{}Chart.yaml", root(spec));
        spec.render.helm.is_some() || silent && inputs.first.contains_key(&file)
    }

    /// Compiles the chart at the first input's path.
    pub fn compile(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        inputs: &Inputs,
    ) -> Result<Self, RenderError> {
        let helm = spec.render.helm.clone().unwrap_or_default();
        let root = root(spec);
        let own = inputs.first.iter().filter_map(|(path, bytes)| {
            let relative = path.strip_prefix(root.as_str())?;
            Some((relative.to_owned(), bytes.clone()))
        });
        let mut files: BTreeMap<String, Bytes> = own.collect();
        if !files.contains_key("Chart.yaml") {
            return Err(RenderError::NoChart {
                path: root.trim_end_matches('/').to_owned(),
            });
        }
        let limits = roadstead_helm::Limits::default();
        let dialect = match helm.dialect {
            HelmDialect::Helm4 => Dialect::HELM_4,
            HelmDialect::Helm3 => Dialect::HELM_3,
        };
        let chart = roadstead_helm::Chart::from_files(&files, &limits).map_err(|d| refused(&d))?;
        let compiled = chart.compile(dialect, limits).map_err(|d| refused(&d))?;
        for (name, others) in &inputs.others {
            let others = others.iter();
            files.extend(others.map(|(path, bytes)| (format!("${name}/{path}"), bytes.clone())));
        }
        if let Some(first) = spec.inputs.first() {
            let named = files.iter().filter(|(path, _)| !path.starts_with('$'));
            let named: Vec<_> = named
                .map(|(path, bytes)| (format!("${}/{path}", first.name), bytes.clone()))
                .collect();
            files.extend(named);
        }
        let seed = seed(inputs, app, release, helm.random);
        Ok(Self {
            compiled,
            app: app.name.clone(),
            spec: spec.clone(),
            helm,
            files,
            seed,
            now_ms: inputs.now_ms,
        })
    }

    /// Renders it: what stands in `crds/`, the manifests in the order in which Helm installs them, and the hooks.
    pub fn render(&self, values: &ChartValues) -> Result<Vec<Rendered>, RenderError> {
        let layers = self.layers(values)?;
        let version = match values.kube_version.as_str() {
            "" => KUBE_VERSION,
            version => version,
        };
        let kube = KubeVersion::parse(version).map_err(|problem| RenderError::Chart {
            problem: format!("spec.render.helm.kubeVersion: {problem}"),
            excerpt: None,
        })?;
        let helm = HelmVersion::of(self.compiled.dialect());
        let capabilities = match &values.served {
            None => Capabilities::new(kube, &values.api_versions, helm),
            Some(served) => {
                let all = served.iter().chain(&values.api_versions);
                Capabilities::exactly(kube, all, helm)
            }
        };
        let mut input = RenderInput::new(&layers, capabilities);
        let name = match values.release_name.as_str() {
            "" => self.app.as_str(),
            name => name,
        };
        let namespace = [&self.spec.force_namespace, &self.spec.namespace];
        let namespace = namespace.into_iter().find(|name| !name.is_empty());
        input.release = Release::install(name, namespace.map_or("default", String::as_str));
        input.policy = match self.helm.random {
            RandomPolicy::Seeded => Policy::Seeded,
            RandomPolicy::Forbid => Policy::Forbid,
            RandomPolicy::Live => Policy::Live,
        };
        input.seed = self.seed;
        input.now = i128::from(self.now_ms) * 1_000_000;
        input.skip_schema = self.helm.skip_schema_validation;
        let rendered = self.compiled.render(&input).map_err(|d| refused(&d))?;
        let mut out = Vec::new();
        if !self.helm.skip_crds {
            for crd in &rendered.crds {
                for document in base_yaml::parse_documents(&crd.text, &crd.source)? {
                    let origin = origin(&crd.source, document.line);
                    flatten(document.value, origin, &mut out)?;
                }
            }
        }
        let skips = self.helm.skip_tests;
        let hooks = rendered
            .hooks
            .iter()
            .filter(|hook| !(skips && hook.is_test()));
        let hooks = hooks.map(|hook| &hook.manifest);
        for manifest in rendered.manifests.iter().chain(hooks) {
            if !manifest.object.is_null() {
                let origin = origin(&manifest.source, manifest.line);
                flatten(manifest.object.clone(), origin, &mut out)?;
            }
        }
        if out.is_empty() {
            return Err(RenderError::NoObjects {
                chart: self.compiled.metadata().name.clone(),
            });
        }
        refuse_duplicates(&out, &RenderSettings::of(&self.spec))?;
        Ok(out)
    }

    fn layers(&self, values: &ChartValues) -> Result<Vec<Layer>, RenderError> {
        let mut layers = Vec::new();
        for (place, layer) in &values.layers {
            for file in &layer.values_files {
                match self.files.get(file) {
                    Some(bytes) => layers.push(Layer::File {
                        name: file.clone(),
                        text: bytes.to_vec(),
                    }),
                    None if self.helm.ignore_missing_values_files => {}
                    None => {
                        return Err(RenderError::NoValuesFile {
                            place: place.clone(),
                            file: file.clone(),
                        });
                    }
                }
            }
            if let Some(serde_json::Value::Object(values)) = &layer.values {
                layers.push(Layer::Inline {
                    name: format!("{place}.values"),
                    values: values.clone(),
                });
            }
            layers.extend(layer.set_json.iter().cloned().map(Layer::SetJson));
            layers.extend(layer.set.iter().cloned().map(Layer::Set));
            layers.extend(layer.set_string.iter().cloned().map(Layer::SetString));
            for text in &layer.set_file {
                let named = text.split_once('=').map_or("", |(_, file)| file);
                let bytes = self.files.get(named);
                let bytes = bytes.ok_or_else(|| RenderError::NoValuesFile {
                    place: place.clone(),
                    file: named.to_owned(),
                })?;
                let content = String::from_utf8_lossy(bytes).into_owned();
                layers.push(Layer::SetFile {
                    text: text.clone(),
                    files: BTreeMap::from([(named.to_owned(), content)]),
                });
            }
            layers.extend(layer.set_literal.iter().cloned().map(Layer::SetLiteral));
        }
        Ok(layers)
    }
}

impl std::fmt::Debug for Chart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chart = &self.compiled.metadata().name;
        f.debug_struct("Chart")
            .field("chart", chart)
            .finish_non_exhaustive()
    }
}

/// The first input's path as a prefix of its files.
pub(crate) fn root(spec: &AppSpec) -> String {
    let path = spec.inputs.first().map_or("", |input| input.path.as_str());
    let path = path.trim_start_matches("./").trim_matches('/');
    match path {
        "" | "." => String::new(),
        path => format!("{path}/"),
    }
}

/// What random functions draw from. It is the hub's own secret, so nobody else can guess a password that a chart made up;
/// it hangs on the App alone, so that passwords survive a change of the chart.
pub(crate) fn seed(
    inputs: &Inputs,
    app: &AppKey,
    release: ReleaseId,
    policy: RandomPolicy,
) -> [u8; 32] {
    let mut parts = inputs.seed.to_vec();
    parts.extend_from_slice(app.to_string().as_bytes());
    if policy == RandomPolicy::Live {
        parts.extend_from_slice(release.to_string().as_bytes());
    }
    *Digest::of(&parts).as_bytes()
}

fn origin(file: &str, line: usize) -> Origin {
    Origin {
        file: file.to_owned(),
        line: line.max(1),
        document: 0,
        item: None,
    }
}

/// Takes over what is wrong. What was rendered is not shown, since it may hold a Secret and this is kept in a status for
/// all to read.
fn refused(diagnostics: &Diagnostics) -> RenderError {
    let shown = diagnostics.all().iter().map(|diagnostic| {
        let mut diagnostic = diagnostic.clone();
        let of_output = diagnostic.excerpt.as_deref();
        if of_output.is_some_and(|excerpt| excerpt.trim_start().starts_with("in what was rendered"))
        {
            diagnostic.excerpt = None;
        }
        diagnostic.to_string()
    });
    RenderError::Chart {
        problem: shown.collect::<Vec<_>>().join("\n"),
        excerpt: None,
    }
}
