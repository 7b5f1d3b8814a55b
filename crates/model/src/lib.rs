//! Identifiers and the nouns of Roadstead as Rust types.
//!
//! One place for each noun: its fields with their documentation (the JSON schema is derived from them), defaults,
//! validation that names the field, printer columns and short names. Nothing here acts, reads a clock or does I/O.

mod app;
mod cluster;
mod hold;
mod ids;
mod noun;
mod options;
mod project;
mod quantity;
mod release;
mod render;
mod source;
mod strategy;
mod time;

pub use app::{
    App, AppSpec, AppStatus, Depends, Input, JsonPatchOp, OnLeave, Overlay, Patch, PatchTarget,
    Ready, Target, TargetClusters,
};
pub use cluster::{
    Cluster, ClusterFacts, ClusterSet, ClusterSetSpec, ClusterSetStatus, ClusterSpec,
    ClusterStatus, SecretReference,
};
pub use hold::{Hold, HoldMode};
pub use ids::{AppKey, ClusterId, GROUP, IdError, Key, ReleaseId, VERSION, VariantId};
pub use noun::{
    Column, Condition, ConditionStatus, Described, FieldError, Metadata, Noun, NounInfo, Object,
    nouns, parse_noun, set_condition, value_at,
};
pub use options::{
    Adopt, AdoptFrom, ConflictPolicy, IgnoreRule, ImmutablePolicy, ImmutableRule, RemovalBudget,
    SyncOptions,
};
pub use project::{Project, ProjectKind, ProjectSpec, ProjectStatus};
pub use quantity::{Amount, DurationMs};
pub use release::{
    Release, ReleaseSpec, ReleaseStatus, Rollout, RolloutSpec, RolloutStatus, StageStatus,
};
pub use render::{
    ClusterFact, HelmDialect, HelmRenderer, HelmValues, KustomizeChanges, KustomizeImage,
    KustomizeLabels, KustomizePatch, KustomizePatchOptions, KustomizeRenderer, KustomizeReplicas,
    KustomizeTarget, LoadRestrictor, PlainRenderer, RandomPolicy, Render,
};
pub use source::{
    ChartSource, GitSource, OciSource, Source, SourceLimits, SourceSpec, SourceStatus,
};
pub use strategy::{
    Approval, OnFailure, Stage, Strategy, StrategySpec, StrategyStatus, Wave, WaveSize,
};
pub use time::{Now, Time};
