//! Clusters and sets of them.

use std::collections::BTreeMap;

use k8s_object::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::noun::{check_selector, noun};
use crate::{Column, Condition, FieldError, Hold, NounInfo, Time};

/// One registered cluster. Its labels and values are set here only; what the agent reports informs and grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Free values that Apps may refer to as `${cluster.values.…}`; not secret, at most 16 KiB.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
    /// A Secret of the hub in which a join token for this cluster waits, under the key `token`, until its agent has joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_secret: Option<SecretReference>,
    /// Gets no new assignments; what it has is still healed.
    pub cordoned: bool,
    /// Removes our Apps from it.
    pub drained: bool,
    /// Leaves everything in it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// A Secret of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReference {
    /// Its name.
    pub name: String,
    /// The Project that it is in.
    #[serde(default = "default_project")]
    pub namespace: String,
}

/// Could an object be named so?
fn is_name(text: &str) -> bool {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = text.chars().all(|c| may(c) || c == '-' || c == '.');
    text.len() <= 253 && inner && text.starts_with(may) && text.ends_with(may)
}

fn default_project() -> String {
    "default".to_owned()
}

/// What is known of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// `Connected`, `Offline` or `NeverSeen`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connection: String,
    /// When the agent was heard of last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// What the agent says about the cluster.
    pub facts: ClusterFacts,
    /// How many Apps are assigned to it.
    pub apps: u32,
    /// How many of them are healthy.
    pub healthy: u32,
    /// `healthy/apps`, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

/// What an agent says about its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterFacts {
    /// The agent's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Kubernetes' version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// How many kinds it serves.
    pub api_kinds: u32,
    /// The digest of the list of what it serves (`group/version` and `group/version/Kind`), which the hub keeps.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_versions: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// What they leave to pods together, in thousandths of a core.
    pub cpu_millis: u64,
    /// What they leave to pods together, in bytes of memory.
    pub memory_bytes: u64,
    /// How many pods they take together.
    pub pods: u64,
}

noun!(
    Cluster = Object<ClusterSpec, ClusterStatus>,
    NounInfo {
        kind: "Cluster",
        plural: "clusters",
        singular: "cluster",
        short_names: &["cl"],
        namespaced: false,
        written_by_hub: false,
        columns: &[
            Column { name: "Connection", path: ".status.connection", kind: "string", wide: false },
            Column { name: "Apps", path: ".status.summary", kind: "string", wide: false },
            Column { name: "Last Seen", path: ".status.lastSeen", kind: "date", wide: false },
            Column { name: "Version", path: ".status.facts.kubernetesVersion", kind: "string", wide: false },
            Column { name: "Agent", path: ".status.facts.agentVersion", kind: "string", wide: true },
            Column { name: "Cordoned", path: ".spec.cordoned", kind: "string", wide: true },
        ],
        about: "One registered Kubernetes cluster, with the labels and values that Apps select and vary by.",
    },
    |cluster, errors| {
        let size = serde_json::to_vec(&cluster.spec.values).map_or(0, |bytes| bytes.len());
        if size > 16 * 1024 {
            errors.push(FieldError::new("spec.values", format!("is {size} bytes long; at most 16384 are allowed")));
        }
        if let Some(secret) = &cluster.spec.join_secret {
            for (field, text) in [("name", &secret.name), ("namespace", &secret.namespace)] {
                if !is_name(text) {
                    let problem = format!("{text:?} is no name: small letters, digits, \"-\" and \".\", beginning and ending with a letter or digit");
                    errors.push(FieldError::new(format!("spec.joinSecret.{field}"), problem));
                }
            }
        }
        if cluster.metadata.name == "hub" {
            errors.push(FieldError::new("metadata.name", "\"hub\" is the hub itself"));
        }
    }
);

/// A named selection of clusters, with default values for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSetSpec {
    /// Which clusters.
    #[serde(default)]
    pub selector: LabelSelector,
    /// Values that its clusters have unless they set their own. Where sets overlap, the first by name wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
}

/// What is known of a ClusterSet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSetStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// How many clusters it selects.
    pub clusters: u32,
}

noun!(
    ClusterSet = Object<ClusterSetSpec, ClusterSetStatus>,
    NounInfo {
        kind: "ClusterSet",
        plural: "clustersets",
        singular: "clusterset",
        short_names: &["cs"],
        namespaced: false,
        written_by_hub: false,
        columns: &[Column { name: "Clusters", path: ".status.clusters", kind: "integer", wide: false }],
        about: "A named label selector over Clusters, with default values for them.",
    },
    |set, errors| check_selector(&set.spec.selector, "spec.selector", errors)
);
