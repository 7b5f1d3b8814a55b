//! Releases and Rollouts: what the hub writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::noun;
use crate::{AppSpec, Column, Condition, NounInfo, StrategySpec, Time};

/// One App at one set of inputs. Its id is the digest of what went in; commit and author are attached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseSpec {
    /// The App.
    pub app: String,
    /// The id: `sha256:…`.
    pub id: String,
    /// Counts the App's Releases, from 1.
    pub number: u64,
    /// The commit of the first input.
    pub commit: String,
    /// The commit's author.
    #[serde(default)]
    pub author: String,
    /// The first line of its message.
    #[serde(default)]
    pub message: String,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Time>,
    /// The digest of each input's files, by the input's name.
    pub inputs: std::collections::BTreeMap<String, String>,
    /// The renderer's version.
    pub renderer: String,
    /// The App as it was: targets, overlays and options are frozen with the Release.
    pub frozen: AppSpec,
}

/// What is known of a Release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// How many variants it has.
    pub variants: u32,
    /// How many objects the largest variant has.
    pub objects: u32,
    /// Why it is barred; empty if it is not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub barred: String,
    /// What a failed render said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// `Rendering`, `Ready`, `Failed` or `Barred`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

noun!(
    Release = Object<ReleaseSpec, ReleaseStatus>,
    NounInfo {
        kind: "Release",
        plural: "releases",
        singular: "release",
        short_names: &["rel"],
        namespaced: true,
        written_by_hub: true,
        columns: &[
            Column { name: "App", path: ".spec.app", kind: "string", wide: false },
            Column { name: "Phase", path: ".status.phase", kind: "string", wide: false },
            Column { name: "Commit", path: ".spec.commit", kind: "string", wide: false },
            Column { name: "Variants", path: ".status.variants", kind: "integer", wide: false },
            Column { name: "Message", path: ".spec.message", kind: "string", wide: false },
            Column { name: "Author", path: ".spec.author", kind: "string", wide: true },
            Column { name: "Barred", path: ".status.barred", kind: "string", wide: true },
        ],
        about: "One App at one set of inputs, with its rendered variants. Made by the hub; never changed afterwards.",
    },
    |_, _| {}
);

/// One Release going through one Strategy over the App's targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// The App.
    pub app: String,
    /// The Release's id.
    pub release: String,
    /// The Release's number.
    pub number: u64,
    /// The Strategy as it was when the Rollout started.
    pub strategy: StrategySpec,
}

/// How far a Rollout is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Ready, Progressing, Stalled.
    pub conditions: Vec<Condition>,
    /// `Pending`, `Progressing`, `Paused`, `Held`, `Failed`, `RollingBack`, `RolledBack`, `Aborted`, `Superseded` or `Completed`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// One sentence on what it does or waits for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The stage it is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Each stage.
    pub stages: Vec<StageStatus>,
    /// How many clusters are targets.
    pub clusters: u32,
    /// How many have got the Release.
    pub started: u32,
    /// How many are healthy with it.
    pub healthy: u32,
    /// How many failed.
    pub failed: u32,
    /// How many are set aside.
    pub set_aside: u32,
    /// `healthy/clusters`, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// How far a stage is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StageStatus {
    /// The stage.
    pub name: String,
    /// `Pending`, `AwaitingApproval`, `Running`, `Soaking`, `Passed`, `Skipped`, `Held` or `Failed`.
    pub phase: String,
    /// The wave, from 1.
    pub wave: u32,
    /// How many waves there are.
    pub waves: u32,
    /// How many clusters it has.
    pub clusters: u32,
    /// How many have got the Release.
    pub started: u32,
    /// How many are healthy with it.
    pub healthy: u32,
    /// How many failed.
    pub failed: u32,
    /// How many are set aside.
    pub set_aside: u32,
}

noun!(
    Rollout = Object<RolloutSpec, RolloutStatus>,
    NounInfo {
        kind: "Rollout",
        plural: "rollouts",
        singular: "rollout",
        short_names: &["ro"],
        namespaced: true,
        written_by_hub: true,
        columns: &[
            Column { name: "App", path: ".spec.app", kind: "string", wide: false },
            Column { name: "Phase", path: ".status.phase", kind: "string", wide: false },
            Column { name: "Stage", path: ".status.stage", kind: "string", wide: false },
            Column { name: "Healthy", path: ".status.progress", kind: "string", wide: false },
            Column { name: "Failed", path: ".status.failed", kind: "integer", wide: false },
            Column { name: "Set Aside", path: ".status.setAside", kind: "integer", wide: false },
            Column { name: "Message", path: ".status.message", kind: "string", wide: false },
        ],
        about: "One Release going through one Strategy over the App's targets, with its whole history.",
    },
    |_, _| {}
);
