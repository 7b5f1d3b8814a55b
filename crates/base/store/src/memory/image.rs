//! An immutable state that any number of stores share.

use std::ops::Bound;

use bytes::Bytes;

use crate::{Entry, Revision};

/// A key's current value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) value: Bytes,
    pub(super) created: u64,
    pub(super) modified: u64,
}

/// An immutable state that any number of stores share: what they do not change costs them nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    entries: Box<[(Box<str>, Slot)]>,
    revision: u64,
    bytes: u64,
}

impl Image {
    /// Makes an image of entries as they stand at a revision. Of two with the same key the later one counts; the image's
    /// revision is raised to the newest of the entries.
    pub fn new(entries: impl IntoIterator<Item = Entry>, revision: Revision) -> Self {
        let mut revision = revision.0.max(super::FLOOR);
        let mut sorted: Vec<(Box<str>, Slot)> = entries
            .into_iter()
            .map(|entry| {
                revision = revision.max(entry.modified.0);
                let slot = Slot {
                    value: entry.value,
                    created: entry.created.0,
                    modified: entry.modified.0,
                };
                (entry.key.into_boxed_str(), slot)
            })
            .collect();
        // Stable and reversed, so that the later of two stands first and stays.
        sorted.reverse();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|later, first| later.0 == first.0);
        Self::from_sorted(sorted, revision)
    }

    pub(super) fn from_sorted(entries: Vec<(Box<str>, Slot)>, revision: u64) -> Self {
        Self {
            bytes: entries
                .iter()
                .map(|(_, slot)| slot.value.len() as u64)
                .sum(),
            entries: entries.into_boxed_slice(),
            revision,
        }
    }

    /// Returns the revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// Returns how many keys it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of its values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, key: &str) -> Option<&Slot> {
        let at = self.entries.binary_search_by(|(have, _)| (**have).cmp(key));
        at.ok().map(|at| &self.entries[at].1)
    }

    pub(super) fn from(&self, start: Bound<&str>) -> impl Iterator<Item = (&str, &Slot)> {
        let at = self.entries.partition_point(|(key, _)| match start {
            Bound::Included(start) => **key < *start,
            Bound::Excluded(start) => **key <= *start,
            Bound::Unbounded => false,
        });
        self.entries[at..].iter().map(|(key, slot)| (&**key, slot))
    }
}
