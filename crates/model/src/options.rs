//! How an App's objects are synced in a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Amount, DurationMs};

/// How an App's objects are applied, healed and removed in each cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncOptions {
    /// Removes objects that a newer Release no longer holds, after the new ones are healthy.
    pub prune: bool,
    /// Puts back what somebody changed or removed by hand.
    pub self_heal: bool,
    /// How many objects one Release may remove in one cluster without approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal_budget: Option<RemovalBudget>,
    /// What to do when a field that cannot change must change.
    pub on_immutable: ImmutablePolicy,
    /// Exceptions from `onImmutable`, per kind or object; the first that matches holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub immutable_rules: Vec<ImmutableRule>,
    /// What to do when another field manager owns a field that we set.
    pub conflict: ConflictPolicy,
    /// Fields that are set when an object is created and left alone afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<IgnoreRule>,
    /// How long to wait for a wave's objects to become healthy, for a hook to end, or for a kind to become known.
    pub wait_timeout: DurationMs,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            prune: true,
            self_heal: true,
            removal_budget: None,
            on_immutable: ImmutablePolicy::Fail,
            immutable_rules: Vec::new(),
            conflict: ConflictPolicy::Force,
            ignore_differences: Vec::new(),
            wait_timeout: DurationMs::secs(600),
        }
    }
}

/// How many objects may be removed without approval: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RemovalBudget {
    /// So many objects.
    pub objects: u32,
    /// So many in a hundred of the App's objects in that cluster.
    pub percent: u8,
}

impl Default for RemovalBudget {
    fn default() -> Self {
        Self {
            objects: 3,
            percent: 10,
        }
    }
}

impl RemovalBudget {
    /// How many of `held` objects may be removed without approval.
    pub fn allows(self, held: usize) -> usize {
        (self.objects as usize).max(Amount::Percent(self.percent.min(100)).of_up(held))
    }
}

/// What to do when a field that cannot change must change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImmutablePolicy {
    /// The sync fails and names the field.
    #[default]
    Fail,
    /// The object is removed and made again.
    Replace,
}

/// An exception for a kind, or for one object of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImmutableRule {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The object's name; empty for all of the kind.
    #[serde(default)]
    pub name: String,
    /// What to do.
    pub policy: ImmutablePolicy,
}

/// What to do when another field manager owns a field that we set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConflictPolicy {
    /// Take the field.
    #[default]
    Force,
    /// Leave the field to the other manager.
    Yield,
    /// The sync fails and names manager and field.
    Fail,
}

/// Names fields that are set when an object is created and left alone afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreRule {
    /// The API group; `*` for any, empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind; `*` for any.
    pub kind: String,
    /// The object's name; empty for all.
    #[serde(default)]
    pub name: String,
    /// The object's namespace; empty for all.
    #[serde(default)]
    pub namespace: String,
    /// The fields as JSON pointers, such as `/spec/replicas`.
    pub json_pointers: Vec<String>,
}

/// May objects that exist already be taken over?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Adopt {
    /// Objects that no other owner marks are taken over.
    #[default]
    Unowned,
    /// An object that exists already is an error.
    Never,
    /// Also those that these tools applied, once they no longer write.
    From(Vec<AdoptFrom>),
}

/// A tool whose objects may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AdoptFrom {
    /// `kubectl apply`.
    Kubectl,
    /// A Helm release.
    Helm,
    /// Argo CD.
    Argocd,
    /// Flux.
    Flux,
}
