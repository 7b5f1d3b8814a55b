//! Projects: tenants of the hub.

use k8s_object::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::{check_selector, noun};
use crate::{Column, Condition, FieldError, NounInfo, RemovalBudget};

/// A tenant: a namespace of the hub and what its Apps may use. What is not allowed here is refused; a new Project may
/// use nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProjectSpec {
    /// What the Project is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// URLs that its Sources may read; `*` stands for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Clusters that its Apps may target; without it, none. An empty selector allows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<LabelSelector>,
    /// Kinds that its Apps may deliver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<ProjectKind>,
    /// Namespaces that its Apps may deliver into; `*` stands for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// May its Apps deliver plain Secrets from a Source?
    pub plain_secrets: bool,
    /// May its Apps deliver the hub's own nouns?
    pub hub: bool,
    /// Widens the removal budget of its Apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal_budget: Option<RemovalBudget>,
}

/// A kind that may be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectKind {
    /// The API group; `*` for any, empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind; `*` for any.
    pub kind: String,
}

/// What is known of a Project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// How many Apps it holds.
    pub apps: u32,
}

impl ProjectSpec {
    /// May use everything, as the hub's own `default` does until an admin narrows it.
    pub fn everything() -> Self {
        let any = || "*".to_owned();
        Self {
            description: "The hub's own Project; may use everything until it is narrowed."
                .to_owned(),
            sources: vec![any()],
            clusters: Some(LabelSelector::default()),
            kinds: vec![ProjectKind {
                group: any(),
                kind: any(),
            }],
            namespaces: vec![any()],
            plain_secrets: true,
            hub: true,
            removal_budget: None,
        }
    }
}

noun!(
    Project = Object<ProjectSpec, ProjectStatus>,
    NounInfo {
        kind: "Project",
        plural: "projects",
        singular: "project",
        short_names: &["proj"],
        namespaced: false,
        written_by_hub: false,
        columns: &[Column { name: "Apps", path: ".status.apps", kind: "integer", wide: false }],
        about: "A tenant: a namespace of the hub, and what its Apps may use: sources, clusters, kinds and namespaces.",
    },
    |project, errors| {
        if let Some(selector) = &project.spec.clusters {
            check_selector(selector, "spec.clusters", errors);
        }
        if project.spec.removal_budget.is_some_and(|budget| budget.percent > 100) {
            errors.push(FieldError::new("spec.removalBudget.percent", "is more than 100"));
        }
    }
);
