//! Holds: somebody wants a thing left alone for a while.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Time;

/// Leaves an App, a Cluster or one Assignment alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hold {
    /// What is left undone.
    #[serde(default)]
    pub mode: HoldMode,
    /// Who holds it.
    #[serde(default)]
    pub actor: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When the hold ends by itself; without it, it must be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// What a hold leaves undone.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum HoldMode {
    /// Drift is shown, not healed; new Releases are still delivered.
    Heal,
    /// Nothing is applied, healed or removed.
    #[default]
    Sync,
}

impl Hold {
    /// Does it still hold?
    pub fn is_active(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The stronger of two holds.
    pub fn stronger<'a>(a: Option<&'a Self>, b: Option<&'a Self>) -> Option<&'a Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.mode > a.mode { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
