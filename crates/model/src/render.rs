//! How an App's input becomes objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::{AppSpec, FieldError};

/// How an input is rendered. Without anything here, a folder with a `Chart.yaml` is a Helm chart, one with a
/// `kustomization.yaml` is built as kustomize does, and any other one holds plain manifests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Render {
    /// Manifests as they stand in files.
    #[serde(default)]
    pub plain: PlainRenderer,
    /// A Helm chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmRenderer>,
    /// A kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeRenderer>,
}

/// Takes every `*.yaml`, `*.yml` and `*.json` file below the path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlainRenderer {
    /// Globs of files to take, relative to the path; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Replaces `${cluster.…}` in the manifests too, not only in overlays.
    #[serde(default)]
    pub substitute: bool,
}

/// Renders the chart at the first input's path, as `helm template` does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmRenderer {
    /// What the chart sees as `.Release.Name`; without it, the App's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    /// The values that every cluster gets.
    #[serde(default, flatten)]
    pub values: HelmValues,
    /// Passes over a values file that is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_values_files: bool,
    /// Whose rules hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dialect: HelmDialect,
    /// What the chart sees as the cluster's Kubernetes version; without it, the newest that this renderer knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// What the chart sees as API versions besides Kubernetes' own, such as `monitoring.coreos.com/v1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
    /// What the chart sees of each cluster as its agent reported it. A cluster whose facts change is rendered anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_cluster: Vec<ClusterFact>,
    /// Leaves out what stands in `crds/`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_crds: bool,
    /// Leaves out the hooks that `helm test` runs. A delivery never runs them, whatever this says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_tests: bool,
    /// Does not hold the values against the chart's `values.schema.json`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_schema_validation: bool,
    /// What random functions, clocks and key makers give.
    #[serde(default, skip_serializing_if = "is_default")]
    pub random: RandomPolicy,
}

/// Values for a chart. A later layer wins over an earlier one, and `set` over files and `values` of the same layer. In
/// texts, `${cluster.…}` is replaced; a text that is one expression and nothing else takes the value's own type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HelmValues {
    /// Files of values, in order: relative to the chart, or `$input/path` for a file of another input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Values as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub values: Option<Value>,
    /// As `--set-json`: `key=JSON`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_json: Vec<String>,
    /// As `--set`: `a.b=1,c[0]=x`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// As `--set-string`: what is set stays a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_string: Vec<String>,
    /// As `--set-file`: `key=path` of a file of the chart, or `key=$input/path`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_file: Vec<String>,
    /// As `--set-literal`: everything behind the `=` is the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_literal: Vec<String>,
}

/// Which Helm's rules hold: the two differ in how they write YAML, in null values, and in error texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HelmDialect {
    /// Helm 4.
    #[default]
    Helm4,
    /// Helm 3.
    Helm3,
}

/// A fact of a cluster that a chart may see.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ClusterFact {
    /// The Kubernetes version.
    KubeVersion,
    /// The kinds that its API server serves.
    ApiVersions,
}

/// What functions give that come out otherwise each time: random texts, keys, certificates, the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RandomPolicy {
    /// What looks random and stays the same as long as chart, App and call stay the same.
    #[default]
    Seeded,
    /// An error that names the call.
    Forbid,
    /// Something new for each Release.
    Live,
}

impl HelmValues {
    /// Does it say anything?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every text in which `${cluster.…}` is replaced, but for those in `values`.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        let sets = [
            &self.values_files,
            &self.set_json,
            &self.set,
            &self.set_string,
            &self.set_file,
            &self.set_literal,
        ];
        sets.into_iter().flatten()
    }
}

/// Builds the kustomization at the first input's path, as `kustomize build` does. Bases elsewhere in the Source, remote bases
/// and charts of chart repositories are read at the commit, or pinned, when the Source is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeRenderer {
    /// What every cluster gets.
    #[serde(default, flatten)]
    pub changes: KustomizeChanges,
    /// Which files a kustomization may read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load_restrictor: LoadRestrictor,
    /// What each object tells of itself: `managedByLabel`, `originAnnotations`, `transformerAnnotations`. What the
    /// kustomization asks for counts too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<String>,
}

/// Changes to what a kustomization builds, as if another kustomization stood above it in its folder: the fields have the
/// names that they have there. Those of an overlay stand above those of `render.kustomize` and of earlier overlays. In
/// texts, `${cluster.…}` is replaced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KustomizeChanges {
    /// The folder of the kustomization, relative to the input's path; the last one that is said counts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Folders of components, relative to that folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Names, tags and digests of images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<KustomizeImage>,
    /// How many replicas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<KustomizeReplicas>,
    /// Patches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<KustomizePatch>,
    /// Stands before every name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_prefix: String,
    /// Stands behind every name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_suffix: String,
    /// The namespace that every object is put into.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<KustomizeLabels>,
    /// Annotations that every object and every template of Pods gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common_annotations: BTreeMap<String, String>,
}

/// Another name, tag or digest for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeImage {
    /// The image as it stands in the objects, without its tag.
    pub name: String,
    /// Its new name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub new_name: String,
    /// Its new tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub new_tag: String,
    /// Stands behind its tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag_suffix: String,
    /// Its new digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// How many replicas of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeReplicas {
    /// The name of a Deployment, StatefulSet, ReplicaSet or ReplicationController.
    pub name: String,
    /// How many: a number, or a text with `${cluster.…}` that becomes one.
    pub count: Value,
}

/// A patch of a kustomization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizePatch {
    /// The patch: YAML of a strategic merge patch, or of a list of JSON patch operations.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub patch: String,
    /// The file of the patch, relative to the kustomization's folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Which objects; a merge patch with kind and name needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<KustomizeTarget>,
    /// What a patch may change that it may not change otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<KustomizePatchOptions>,
}

/// Names objects, each by a pattern for the whole text; what is empty matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KustomizeTarget {
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels that the object has, such as `app=web`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// Annotations that the object has.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub annotation_selector: String,
}

/// What a patch may change that it may not change otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KustomizePatchOptions {
    /// The object's name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_name_change: bool,
    /// The object's kind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_kind_change: bool,
}

/// Labels, and where they are put besides the objects' own metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeLabels {
    /// The labels.
    pub pairs: BTreeMap<String, String>,
    /// Into selectors and templates too. A selector of an object that exists cannot change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_selectors: bool,
    /// Into templates too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_templates: bool,
}

/// Which files a kustomization may read. No file outside the Source's tree is read, whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoadRestrictor {
    /// Those in its own folder and below.
    #[default]
    RootOnly,
    /// Any of the tree, as `--load-restrictor LoadRestrictionsNone` allows.
    None,
}

impl KustomizeChanges {
    /// Does it say anything?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The fields of the kustomization that would stand above: all but the path.
    pub fn fields(&self) -> serde_json::Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut fields)) => {
                fields.remove("path");
                fields
            }
            _ => serde_json::Map::new(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(crate) fn check(spec: &AppSpec, errors: &mut Vec<FieldError>) {
    let plain = &spec.render.plain;
    if let Some(helm) = &spec.render.helm {
        if *plain != PlainRenderer::default() {
            errors.push(FieldError::new(
                "spec.render",
                "plain and helm exclude each other",
            ));
        }
        check_values(spec, &helm.values, "spec.render.helm", errors);
    }
    if let Some(kustomize) = &spec.render.kustomize {
        if *plain != PlainRenderer::default() || spec.render.helm.is_some() {
            errors.push(FieldError::new(
                "spec.render",
                "plain, helm and kustomize exclude each other",
            ));
        }
        check_changes(&kustomize.changes, "spec.render.kustomize", errors);
        let known = [
            "managedByLabel",
            "originAnnotations",
            "transformerAnnotations",
        ];
        for (index, name) in kustomize.build_metadata.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                errors.push(FieldError::new(
                    format!("spec.render.kustomize.buildMetadata[{index}]"),
                    format!("{name:?} is none of {}", known.join(", ")),
                ));
            }
        }
    }
    for (index, overlay) in spec.overlays.iter().enumerate() {
        if let Some(changes) = &overlay.kustomize {
            let at = format!("spec.overlays[{index}].kustomize");
            if *plain != PlainRenderer::default() || spec.render.helm.is_some() {
                errors.push(FieldError::new(
                    at.clone(),
                    "the App is not built by kustomize: spec.render says otherwise",
                ));
            }
            check_changes(changes, &at, errors);
        }
        if let Some(values) = &overlay.helm {
            check_values(
                spec,
                values,
                &format!("spec.overlays[{index}].helm"),
                errors,
            );
        }
    }
}

fn check_changes(changes: &KustomizeChanges, at: &str, errors: &mut Vec<FieldError>) {
    let path = &changes.path;
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        errors.push(FieldError::new(
            format!("{at}.path"),
            format!(
                "{path:?} leaves the input: it is relative to the input's path and has no \"..\""
            ),
        ));
    }
    for (index, component) in changes.components.iter().enumerate() {
        if component.is_empty() || component.starts_with('/') {
            errors.push(FieldError::new(
                format!("{at}.components[{index}]"),
                format!("{component:?} is no path relative to the kustomization's folder"),
            ));
        }
    }
    for (index, replicas) in changes.replicas.iter().enumerate() {
        let text = replicas.count.as_str();
        let expression = text.is_some_and(|text| text.contains("${cluster."));
        if !expression && replicas.count.as_u64().is_none() {
            errors.push(FieldError::new(
                format!("{at}.replicas[{index}].count"),
                format!(
                    "{} is neither a number nor a text with ${{cluster.…}}",
                    replicas.count
                ),
            ));
        }
    }
    for (index, patch) in changes.patches.iter().enumerate() {
        if patch.patch.is_empty() == patch.path.is_empty() {
            errors.push(FieldError::new(
                format!("{at}.patches[{index}]"),
                "a patch has either `patch` or `path`",
            ));
        }
    }
}

fn check_values(spec: &AppSpec, values: &HelmValues, at: &str, errors: &mut Vec<FieldError>) {
    if values.values.as_ref().is_some_and(|v| !v.is_object()) {
        errors.push(FieldError::new(
            format!("{at}.values"),
            "values are a map of names",
        ));
    }
    let files = values.values_files.iter().enumerate();
    for (index, file) in files {
        let field = format!("{at}.valuesFiles[{index}]");
        check_file(spec, file, &field, errors);
    }
    for (index, set) in values.set_file.iter().enumerate() {
        let field = format!("{at}.setFile[{index}]");
        match set.split_once('=') {
            Some((_, file)) => check_file(spec, file, &field, errors),
            None => errors.push(FieldError::new(field, format!("{set:?} is not key=path"))),
        }
    }
}

/// A file is named relative to the chart, or by another input.
fn check_file(spec: &AppSpec, file: &str, field: &str, errors: &mut Vec<FieldError>) {
    if file.starts_with("${") {
        return;
    }
    let path = match file.strip_prefix('$') {
        Some(rest) => {
            let (input, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !spec.inputs.iter().any(|known| known.name == input) {
                let message = format!("{file:?}: the App has no input {input:?}");
                errors.push(FieldError::new(field, message));
            }
            path
        }
        None => file,
    };
    if path.is_empty() {
        let message = format!("{file:?} names no file");
        errors.push(FieldError::new(field, message));
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        let message = format!("{file:?} leaves the input: name another input as $name/path");
        errors.push(FieldError::new(field, message));
    }
}
