//! Fields that cannot change in place.

use k8s_object::ObjectId;
use roadstead_model::{ImmutablePolicy, SyncOptions};
use serde::{Deserialize, Serialize};

/// What happens since a field cannot change in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Immutable {
    /// The field, as the API server names it; empty if it names none.
    pub path: String,
    /// `Fail`: the sync fails there. `Replace`: the object is removed and made again.
    pub policy: ImmutablePolicy,
}

/// What the App says about fields of an object that cannot change in place.
pub(crate) fn policy(id: &ObjectId, sync: &SyncOptions) -> ImmutablePolicy {
    let rule = sync.immutable_rules.iter().find(|rule| {
        rule.group == id.group
            && rule.kind == id.kind
            && (rule.name.is_empty() || rule.name == id.name)
    });
    match rule {
        Some(rule) => rule.policy,
        None if id.group == "batch" && id.kind == "Job" => ImmutablePolicy::Replace,
        None => sync.on_immutable,
    }
}
