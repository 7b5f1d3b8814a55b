//! Who asks.

use std::collections::BTreeMap;

/// An authenticated caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The uid; mostly empty.
    pub uid: String,
    /// More facts.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// Makes one.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The administrator: in the group `system:masters`.
    pub fn admin() -> Self {
        Self::new("admin", &["system:masters", "system:authenticated"])
    }

    /// A caller that showed nothing.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    /// Is it in this group?
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}
