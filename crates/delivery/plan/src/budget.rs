//! May these objects be removed without approval? The agent decides by the same rules.

use k8s_object::ObjectId;
use roadstead_model::RemovalBudget;
use serde::{Deserialize, Serialize};

/// Kinds that are never removed without approval: what is in them cannot be made again.
const PROTECTED: [(&str, &str); 5] = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apps", "StatefulSet"),
];

/// What the removal budget says to a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How many removals count.
    pub counted: usize,
    /// How many may go without approval.
    pub allowed: usize,
    /// The removals that wait for approval.
    pub waiting: Vec<ObjectId>,
}

impl Verdict {
    /// Does somebody have to approve?
    pub fn needs_approval(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn of(
        removed: &[&ObjectId],
        wanted: &[&ObjectId],
        held: usize,
        budget: RemovalBudget,
    ) -> Self {
        let (protected, others): (Vec<&ObjectId>, Vec<&ObjectId>) =
            removed.iter().partition(|id| is_protected(id));
        let counted: Vec<&ObjectId> = others
            .into_iter()
            .filter(|id| !wanted.iter().any(|new| succeeds(new, id)))
            .collect();
        let allowed = budget.allows(held);
        let mut waiting: Vec<ObjectId> = protected.into_iter().cloned().collect();
        if counted.len() > allowed {
            waiting.extend(counted.iter().copied().cloned());
        }
        waiting.sort();
        Self {
            counted: counted.len(),
            allowed,
            waiting,
        }
    }
}

/// Is it of a kind that is never removed without approval?
pub fn is_protected(id: &ObjectId) -> bool {
    PROTECTED.contains(&(id.group.as_str(), id.kind.as_str()))
}

/// Is `new` the same thing as `old` under another hash suffix?
fn succeeds(new: &ObjectId, old: &ObjectId) -> bool {
    let hashed = old.group.is_empty() && matches!(old.kind.as_str(), "ConfigMap" | "Secret");
    hashed
        && new.group_kind() == old.group_kind()
        && new.namespace == old.namespace
        && base_name(&new.name).is_some_and(|base| Some(base) == base_name(&old.name))
}

/// The name without the hash that kustomize and kubectl put behind it.
fn base_name(name: &str) -> Option<&str> {
    let (base, hash) = name.rsplit_once('-')?;
    let letters = |c: char| "bcdfghkmt2456789".contains(c);
    (hash.len() == 10 && hash.chars().all(letters)).then_some(base)
}
