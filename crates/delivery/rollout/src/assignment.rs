//! What one cluster should run of one App.

use std::collections::BTreeSet;

use roadstead_dispatch::EntryPhase;
use roadstead_model::{ReleaseId, Time, VariantId};
use serde::{Deserialize, Serialize};

/// What one cluster should run of one App. Written by the hub's decisions alone; what the cluster says of it is another
/// record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The Release.
    pub release: ReleaseId,
    /// Its variant for this cluster.
    pub variant: VariantId,
    /// What the agent is to do with it.
    pub phase: EntryPhase,
    /// The Rollout that assigned it; 0 when none did (a cluster that joined or returned, an emergency start).
    pub rollout: u64,
    /// Since when.
    pub since: Time,
    /// Grows with each retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The cluster was good before this Release started on it, so a failure counts against the budget.
    #[serde(default)]
    pub counted: bool,
    /// Somebody started it past every gate: it stays until a Rollout comes along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// The approved list of removals that covers everything that waits for approval there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<base_json::Digest>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The Releases that were good here through their soak, the newest first; at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub good: Vec<Good>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A Release that was good on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// The Release.
    pub release: ReleaseId,
    /// Its variant there.
    pub variant: VariantId,
}

/// What became of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Good or bad.
    pub kind: OutcomeKind,
    /// When it became so.
    pub at: Time,
    /// Why, in one sentence; empty when it is healthy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcomeKind {
    /// The cluster became healthy with it.
    Healthy,
    /// It could not be applied, was degraded for too long, or was not healthy in time.
    Failed,
}

impl Assignment {
    /// Notes that its Release was good here through its soak.
    pub fn mark_good(&mut self) {
        let good = Good {
            release: self.release,
            variant: self.variant,
        };
        if self.good.first() != Some(&good) {
            self.good.retain(|old| old.release != good.release);
            self.good.insert(0, good);
            self.good.truncate(2);
        }
    }

    /// The newest Release that was good here and is not barred; the one that is gone back from is barred by now.
    pub fn good_besides(&self, barred: &BTreeSet<ReleaseId>) -> Option<Good> {
        self.good
            .iter()
            .find(|good| !barred.contains(&good.release))
            .copied()
    }

    /// Has it failed?
    pub fn has_failed(&self) -> bool {
        self.outcome
            .as_ref()
            .is_some_and(|outcome| outcome.kind == OutcomeKind::Failed)
    }

    /// Has it become healthy?
    pub fn is_healthy(&self) -> bool {
        self.outcome
            .as_ref()
            .is_some_and(|outcome| outcome.kind == OutcomeKind::Healthy)
    }
}
