//! May these objects be removed without approval? The agent decides by the same rules.

use k8s_object::ObjectId;
use roadstead_dispatch::{Hashed, is_protected};
use roadstead_model::RemovalBudget;
use serde::{Deserialize, Serialize};

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
        let wanted = Hashed::among(wanted.iter().copied());
        let counted: Vec<&ObjectId> = others
            .into_iter()
            .filter(|id| !wanted.replaces(id))
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
