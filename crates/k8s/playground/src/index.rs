//! Who owns whom.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde::Deserialize;

use crate::key::{Key, Kind};

/// The parts of an object that tell who it is and whose; everything else stays unparsed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Head {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Meta,
}

/// The metadata of a [`Head`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) owner_references: Vec<Owner>,
    pub(crate) deletion_timestamp: Option<String>,
    pub(crate) finalizers: Vec<String>,
}

/// An owner reference.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Owner {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) controller: bool,
    pub(crate) block_owner_deletion: bool,
}

impl Head {
    pub(crate) fn kind(&self) -> Kind<'_> {
        Kind::new(&self.api_version, &self.kind)
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.kind(), &self.metadata.namespace, &self.metadata.name)
    }

    /// The key of an owner: it stands in the same namespace, or in none.
    pub(crate) fn owner_key(&self, owner: &Owner) -> Key {
        Key::new(
            Kind::new(&owner.api_version, &owner.kind),
            &self.metadata.namespace,
            &owner.name,
        )
    }
}

/// A uid as a number; those that are none are hashed.
pub(crate) fn uid_number(uid: &str) -> u128 {
    let hex: String = uid.chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&hex, 16).unwrap_or_else(|_| {
        let digest = base_json::Digest::of(uid.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        u128::from_be_bytes(bytes)
    })
}

/// The objects that each object owns.
#[derive(Default)]
pub(crate) struct Index(BTreeSet<(u128, Key)>);

impl Index {
    /// Takes in a change.
    pub(crate) fn change(&mut self, old: Option<&Head>, new: Option<&Head>) {
        if let (Some(old), Some(new)) = (old, new)
            && old.metadata.owner_references == new.metadata.owner_references
        {
            return;
        }
        for owner in old.iter().flat_map(|head| &head.metadata.owner_references) {
            if let Some(head) = old {
                self.0.remove(&(uid_number(&owner.uid), head.key()));
            }
        }
        for owner in new.iter().flat_map(|head| &head.metadata.owner_references) {
            if let Some(head) = new {
                self.0.insert((uid_number(&owner.uid), head.key()));
            }
        }
    }

    /// Names what an object owns, sorted.
    pub(crate) fn children(&self, uid: &str) -> Vec<Key> {
        let uid = uid_number(uid);
        let least = Key::new(Kind::new("", ""), "", "");
        self.0
            .range((Bound::Included((uid, least)), Bound::Unbounded))
            .take_while(|(owner, _)| *owner == uid)
            .map(|(_, key)| key.clone())
            .collect()
    }
}
