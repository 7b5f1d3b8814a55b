//! The App: what to deliver, to whom, and what varies.

use std::collections::BTreeMap;

use k8s_object::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::noun::{MESSAGE_COLUMN, READY_COLUMN, check_selector, check_unique, noun};
use crate::{
    Adopt, Column, Condition, FieldError, HelmValues, Hold, KustomizeChanges, NounInfo, Render,
    SyncOptions,
};

/// What to deliver, to whom, and what varies: the unit of delivery, history and rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSpec {
    /// Where configuration comes from. The first input is rendered; the others can be referred to by name.
    pub inputs: Vec<Input>,
    /// How the first input is rendered.
    #[serde(default)]
    pub render: Render,
    /// The namespace of objects that name none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Puts every object into this namespace, and refuses cluster-scoped ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub force_namespace: String,
    /// Who gets it. The first target that matches a cluster decides; a cluster that none matches gets nothing.
    pub targets: Vec<Target>,
    /// What varies. Every overlay that matches a cluster applies, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<Overlay>,
    /// The Strategy, looked for in the Project and then in the hub; without it the built-in one applies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strategy: String,
    /// Apps that must be ready first on the same cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Depends>,
    /// What happens to the objects in a cluster that is no longer a target.
    #[serde(default)]
    pub on_leave: OnLeave,
    /// Apps of this Project whose objects this one takes over without a removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes_over_from: Vec<String>,
    /// May objects that exist already be taken over?
    #[serde(default)]
    pub adopt: Adopt,
    /// How objects are applied, healed and removed.
    #[serde(default)]
    pub sync: SyncOptions,
    /// Leaves the App alone on every cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Stays at this stored Release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pin: String,
}

/// A named place in a Source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The input's name.
    #[serde(default = "main_input")]
    pub name: String,
    /// The Source, in the App's Project.
    pub source: String,
    /// The folder or file in it.
    #[serde(default)]
    pub path: String,
}

fn main_input() -> String {
    "main".to_owned()
}

/// Selects clusters that get the App, or that are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The target's name.
    pub name: String,
    /// Which clusters.
    #[serde(default)]
    pub clusters: TargetClusters,
    /// Gives these clusters nothing.
    #[serde(default)]
    pub skip: bool,
}

/// Selects clusters. All that is given must hold; nothing given matches every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetClusters {
    /// By labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// By a ClusterSet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_set: String,
    /// By name. The name `hub` is the hub itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Changes what some clusters get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overlay {
    /// The overlay's name.
    pub name: String,
    /// Which clusters.
    #[serde(default)]
    pub clusters: TargetClusters,
    /// Changes to objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// More values for the chart: they count after those of `render.helm` and of earlier overlays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmValues>,
    /// More changes to what the kustomization builds: they stand above those of `render.kustomize` and of earlier overlays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeChanges>,
    /// Labels that every object gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations that every object gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Changes the objects that its target names: by a strategic merge patch, or by JSON patch operations (RFC 6902).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// Which objects; a merge patch with kind and name needs none.
    #[serde(default)]
    pub target: PatchTarget,
    /// The merge patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub merge: Option<Value>,
    /// The operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<JsonPatchOp>,
}

/// Names objects; what is empty matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchTarget {
    /// The API group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// One operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonPatchOp {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub op: String,
    /// Where.
    pub path: String,
    /// From where, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// An App that must be ready first on the same cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Depends {
    /// The App, in this Project.
    pub app: String,
    /// When it counts as ready.
    #[serde(default)]
    pub ready: Ready,
    /// Does not matter where that App does not exist.
    #[serde(default)]
    pub optional: bool,
}

/// When an App that others wait for counts as ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ready {
    /// When it is healthy, at whatever commit.
    #[default]
    Healthy,
    /// When it is healthy at the commit that is delivered here.
    SameCommit,
}

/// What happens to the objects in a cluster that is no longer a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLeave {
    /// They stay, and are nobody's.
    #[default]
    Keep,
    /// They are removed, within the removal budget.
    Remove,
}

/// What is known of an App.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready, Progressing, Stalled and others.
    pub conditions: Vec<Condition>,
    /// The newest Release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub release: String,
    /// The commit that it came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The Rollout under way, or the last one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rollout: String,
    /// How many clusters are targets.
    pub clusters: u32,
    /// How many run the newest Release.
    pub current: u32,
    /// How many are healthy.
    pub healthy: u32,
    /// How many have drifted.
    pub drifted: u32,
    /// `current/clusters`, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
}

const COLUMNS: &[Column] = &[
    READY_COLUMN,
    Column {
        name: "Current",
        path: ".status.progress",
        kind: "string",
        wide: false,
    },
    Column {
        name: "Healthy",
        path: ".status.healthy",
        kind: "integer",
        wide: false,
    },
    Column {
        name: "Commit",
        path: ".status.commit",
        kind: "string",
        wide: false,
    },
    Column {
        name: "Rollout",
        path: ".status.rollout",
        kind: "string",
        wide: true,
    },
    MESSAGE_COLUMN,
];

noun!(
    App = Object<AppSpec, AppStatus>,
    NounInfo {
        kind: "App",
        plural: "apps",
        singular: "app",
        short_names: &[],
        namespaced: true,
        written_by_hub: false,
        columns: COLUMNS,
        about: "What to deliver, to which clusters, and what varies between them. The unit of delivery, history and rollback.",
    },
    validate
);

fn validate(app: &App, errors: &mut Vec<FieldError>) {
    let spec = &app.spec;
    if spec.inputs.is_empty() {
        errors.push(FieldError::new(
            "spec.inputs",
            "an App needs at least one input",
        ));
    }
    check_unique(
        spec.inputs.iter().map(|input| input.name.as_str()),
        "spec.inputs",
        "input",
        errors,
    );
    for (index, input) in spec.inputs.iter().enumerate() {
        if input.source.is_empty() {
            errors.push(FieldError::new(
                format!("spec.inputs[{index}].source"),
                "an input needs a Source",
            ));
        }
        if input.path.starts_with('/') || input.path.split('/').any(|part| part == "..") {
            let message = format!(
                "{:?} leaves the tree: a path is relative to the tree's root and has no \"..\"",
                input.path
            );
            errors.push(FieldError::new(
                format!("spec.inputs[{index}].path"),
                message,
            ));
        }
    }
    crate::render::check(spec, errors);
    if !spec.namespace.is_empty() && !spec.force_namespace.is_empty() {
        errors.push(FieldError::new(
            "spec.forceNamespace",
            "namespace and forceNamespace exclude each other",
        ));
    }
    if spec.targets.is_empty() {
        errors.push(FieldError::new(
            "spec.targets",
            "an App needs at least one target",
        ));
    }
    check_unique(
        spec.targets.iter().map(|target| target.name.as_str()),
        "spec.targets",
        "target",
        errors,
    );
    for (index, target) in spec.targets.iter().enumerate() {
        check_clusters(
            &target.clusters,
            &format!("spec.targets[{index}].clusters"),
            errors,
        );
    }
    check_unique(
        spec.overlays.iter().map(|overlay| overlay.name.as_str()),
        "spec.overlays",
        "overlay",
        errors,
    );
    for (index, overlay) in spec.overlays.iter().enumerate() {
        let at = format!("spec.overlays[{index}]");
        check_clusters(&overlay.clusters, &format!("{at}.clusters"), errors);
        for (number, patch) in overlay.patches.iter().enumerate() {
            check_patch(patch, &format!("{at}.patches[{number}]"), errors);
        }
    }
    for (index, depends) in spec.depends_on.iter().enumerate() {
        if depends.app == app.metadata.name {
            errors.push(FieldError::new(
                format!("spec.dependsOn[{index}].app"),
                "an App cannot depend on itself",
            ));
        }
    }
    if !spec.pin.is_empty() && spec.pin.parse::<base_json::Digest>().is_err() {
        errors.push(FieldError::new(
            "spec.pin",
            format!("{:?} is not a Release's id (sha256:…)", spec.pin),
        ));
    }
    if let Some(budget) = spec.sync.removal_budget
        && budget.percent > 100
    {
        errors.push(FieldError::new(
            "spec.sync.removalBudget.percent",
            "is more than 100",
        ));
    }
    for (index, rule) in spec.sync.ignore_differences.iter().enumerate() {
        for pointer in &rule.json_pointers {
            if !pointer.starts_with('/') {
                let field = format!("spec.sync.ignoreDifferences[{index}].jsonPointers");
                errors.push(FieldError::new(
                    field,
                    format!("{pointer:?} is not a JSON pointer: it must begin with \"/\""),
                ));
            }
        }
    }
}

fn check_clusters(clusters: &TargetClusters, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(selector) = &clusters.selector {
        check_selector(selector, &format!("{field}.selector"), errors);
    }
}

fn check_patch(patch: &Patch, field: &str, errors: &mut Vec<FieldError>) {
    match (&patch.merge, patch.json.is_empty()) {
        (None, true) => errors.push(FieldError::new(field, "a patch needs `merge` or `json`")),
        (Some(_), false) => errors.push(FieldError::new(
            field,
            "a patch has either `merge` or `json`, not both",
        )),
        (Some(merge), true) if !merge.is_object() => {
            errors.push(FieldError::new(
                format!("{field}.merge"),
                "a merge patch is a map of fields",
            ));
        }
        _ => {}
    }
    for (index, op) in patch.json.iter().enumerate() {
        let at = format!("{field}.json[{index}]");
        let known = ["add", "remove", "replace", "move", "copy", "test"];
        if !known.contains(&op.op.as_str()) {
            errors.push(FieldError::new(
                format!("{at}.op"),
                format!("{:?} is none of {}", op.op, known.join(", ")),
            ));
        }
        if !op.path.is_empty() && !op.path.starts_with('/') {
            errors.push(FieldError::new(
                format!("{at}.path"),
                format!("{:?} is not a JSON pointer", op.path),
            ));
        }
    }
}
