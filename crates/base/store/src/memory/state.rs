//! The state of a memory store: what is current, what was before, and how a batch changes it. No disk and no watches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::image::{Image, Slot};
use crate::fanout::OVERHEAD;
use crate::{
    At, Batch, Change, CommitError, CommitId, Committed, Entry, Expect, Fence, Op, Page, Range,
    ReadError, Revision,
};

/// A commit that can still be read about, and undone.
pub(super) struct Past {
    pub(super) id: CommitId,
    pub(super) changes: Arc<[Change]>,
    /// For each change, when the value before it was written; 0 if there was none.
    pub(super) before: Box<[u64]>,
    pub(super) bytes: usize,
}

impl Past {
    pub(super) fn first(&self) -> u64 {
        self.changes.first().map_or(0, |change| change.revision.0)
    }

    pub(super) fn last(&self) -> u64 {
        self.changes.last().map_or(0, |change| change.revision.0)
    }

    /// Yields what each key was before this commit's changes behind `to`, the latest first.
    fn undo(&self, to: u64) -> impl Iterator<Item = (&str, Option<Slot>)> {
        let steps = self.changes.iter().zip(&self.before).rev();
        steps
            .take_while(move |(change, _)| change.revision.0 > to)
            .map(|(change, before)| {
                let slot = change.old.as_ref().map(|old| Slot {
                    value: old.clone(),
                    created: change.created.0,
                    modified: *before,
                });
                (change.key.as_str(), slot)
            })
    }
}

/// What a commit's history keeps alive: the bytes before. Those after it are the next change's before, or current.
fn held(changes: &[Change]) -> usize {
    let old = |change: &Change| change.old.as_ref().map_or(0, |bytes| bytes.len());
    let held = |change: &Change| OVERHEAD + change.key.len() + old(change);
    changes.iter().map(held).sum()
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) holder: Box<str>,
    pub(super) token: u64,
    pub(super) until_ms: u64,
}

#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) order: VecDeque<CommitId>,
    pub(super) by_id: BTreeMap<CommitId, Committed>,
}

pub(super) struct State {
    pub(super) base: Option<Arc<Image>>,
    /// What differs from the base; `None` for a key of the base that is removed.
    pub(super) overlay: BTreeMap<Box<str>, Option<Slot>>,
    pub(super) revision: u64,
    pub(super) oldest: u64,
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) history: VecDeque<Past>,
    pub(super) history_bytes: usize,
    pub(super) outcomes: Option<Box<Outcomes>>,
    pub(super) leases: BTreeMap<Box<str>, Lease>,
}

impl State {
    pub(super) fn new(base: Option<Arc<Image>>) -> Self {
        let revision = base.as_ref().map_or(super::FLOOR, |base| base.revision().0);
        Self {
            overlay: BTreeMap::new(),
            revision,
            oldest: revision,
            keys: base.as_ref().map_or(0, |base| base.len() as u64),
            bytes: base.as_ref().map_or(0, |base| base.bytes()),
            history: VecDeque::new(),
            history_bytes: 0,
            outcomes: None,
            leases: BTreeMap::new(),
            base,
        }
    }

    pub(super) fn current(&self, key: &str) -> Option<&Slot> {
        match self.overlay.get(key) {
            Some(slot) => slot.as_ref(),
            None => self.base.as_ref()?.get(key),
        }
    }

    /// Sets or removes a key's current value.
    pub(super) fn set(&mut self, key: &str, slot: Option<Slot>) {
        if let Some(old) = self.current(key) {
            self.bytes -= old.value.len() as u64;
            self.keys -= 1;
        }
        if let Some(new) = &slot {
            self.bytes += new.value.len() as u64;
            self.keys += 1;
        }
        let in_base = self.base.as_ref().and_then(|base| base.get(key));
        // What is as in the base needs no place of its own: an undone or reverted change costs nothing.
        if slot.as_ref() == in_base {
            self.overlay.remove(key);
        } else {
            self.overlay.insert(key.into(), slot);
        }
    }

    fn expects(&self, op: &Op) -> Result<(), CommitError> {
        let actual = match op.expect() {
            Expect::Any => return Ok(()),
            Expect::Absent | Expect::At(_) => self.current(op.key()).map(|slot| slot.modified),
        };
        let expected = match op.expect() {
            Expect::At(revision) => Some(revision.0),
            Expect::Any | Expect::Absent => None,
        };
        if actual == expected {
            return Ok(());
        }
        Err(CommitError::Conflict {
            key: op.key().to_owned(),
            actual: actual.map(Revision),
        })
    }

    /// Applies a batch, or nothing of it. A batch that writes nothing leaves no trace.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        crate::batch::check(batch)?;
        if self.outcome(batch.id).is_some() {
            return Err(crate::batch::used_twice(batch.id));
        }
        if let Some(fence) = &batch.fence {
            self.check_fence(fence)?;
        }
        for op in &batch.ops {
            self.expects(op)?;
        }
        Ok(self.write(batch))
    }

    /// Writes a batch without asking what it expects.
    pub(super) fn write(&mut self, batch: &Batch) -> Committed {
        let first = self.revision + 1;
        let mut next = first;
        let mut changes = Vec::new();
        let mut before = Vec::new();
        for op in &batch.ops {
            let (key, new) = match op {
                Op::Put { key, value, .. } => (key, Some(value)),
                Op::Delete { key, .. } => (key, None),
                Op::Assert { .. } => continue,
            };
            let old = self.current(key);
            if old.map(|slot| &slot.value) == new {
                continue;
            }
            let created = old.map_or(next, |slot| slot.created);
            before.push(old.map_or(0, |slot| slot.modified));
            changes.push(Change {
                revision: Revision(next),
                key: key.clone(),
                old: old.map(|slot| slot.value.clone()),
                new: new.cloned(),
                created: Revision(created),
            });
            let slot = new.map(|value| Slot {
                value: value.clone(),
                created,
                modified: next,
            });
            self.set(key, slot);
            next += 1;
        }
        let committed = Committed {
            first: Revision(first),
            last: Revision(next - 1),
        };
        if !changes.is_empty() {
            let bytes = held(&changes);
            self.revision = next - 1;
            self.history_bytes += bytes;
            self.history.push_back(Past {
                id: batch.id,
                changes: changes.into(),
                before: before.into(),
                bytes,
            });
            self.remember(batch.id, committed);
        }
        committed
    }

    pub(super) fn remember(&mut self, id: CommitId, committed: Committed) {
        let outcomes = self.outcomes.get_or_insert_default();
        if outcomes.by_id.insert(id, committed).is_none() {
            outcomes.order.push_back(id);
        }
    }

    /// Takes back the newest commit, as if it had never been made.
    pub(super) fn undo_last(&mut self) {
        let Some(past) = self.history.pop_back() else {
            return;
        };
        self.history_bytes -= past.bytes;
        for (key, slot) in past.undo(0) {
            self.set(key, slot);
        }
        self.revision = past.first() - 1;
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.by_id.remove(&past.id);
            outcomes.order.pop_back();
        }
    }

    /// Forgets the oldest history and outcomes beyond the limits.
    pub(super) fn trim(&mut self, commits: usize, bytes: usize, outcomes: usize) {
        while self.history.len() > commits || self.history_bytes > bytes {
            let Some(past) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= past.bytes;
            self.oldest = self.oldest.max(past.last());
        }
        if let Some(kept) = &mut self.outcomes {
            while kept.order.len() > outcomes {
                if let Some(id) = kept.order.pop_front() {
                    kept.by_id.remove(&id);
                }
            }
        }
    }

    /// Forgets history up to and including a revision, which can still be read.
    pub(super) fn compact(&mut self, to: u64) {
        while self.history.front().is_some_and(|past| past.last() <= to) {
            if let Some(past) = self.history.pop_front() {
                self.history_bytes -= past.bytes;
            }
        }
        self.history.shrink_to_fit();
        self.oldest = self.oldest.max(to);
    }

    pub(super) fn outcome(&self, id: CommitId) -> Option<Committed> {
        self.outcomes.as_ref()?.by_id.get(&id).copied()
    }

    pub(super) fn check_fence(&self, fence: &Fence) -> Result<(), CommitError> {
        let held = self.leases.get(fence.lease.as_str());
        if held.is_some_and(|lease| lease.token == fence.token) {
            return Ok(());
        }
        Err(CommitError::FenceLost {
            lease: fence.lease.clone(),
        })
    }

    /// Computes what a lease becomes when `holder` asks for it; `None` if another holds it.
    pub(super) fn ask_lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Option<Lease> {
        let held = self.leases.get(name);
        let token = match held {
            Some(lease) if *lease.holder == *holder => lease.token,
            Some(lease) if lease.until_ms > now_ms => return None,
            Some(lease) => lease.token + 1,
            None => 1,
        };
        Some(Lease {
            holder: holder.into(),
            token,
            until_ms: now_ms.saturating_add(ttl_ms),
        })
    }

    pub(super) fn set_lease(&mut self, name: &str, lease: Lease) {
        self.leases.insert(name.into(), lease);
    }

    fn readable(&self, at: At) -> Result<u64, ReadError> {
        match at {
            At::Newest => Ok(self.revision),
            At::Revision(asked) if asked.0 < self.oldest => Err(ReadError::Compacted {
                asked,
                oldest: Revision(self.oldest),
            }),
            At::Revision(asked) if asked.0 > self.revision => Err(ReadError::Future {
                asked,
                newest: Revision(self.revision),
            }),
            At::Revision(asked) => Ok(asked.0),
        }
    }

    pub(super) fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
        let at = self.readable(at)?;
        let newer = self
            .history
            .iter()
            .rev()
            .take_while(|past| past.last() > at);
        let undone = newer
            .flat_map(|past| past.undo(at))
            .filter(|(changed, _)| *changed == key)
            .last();
        let slot = match undone {
            Some((_, slot)) => slot,
            None => self.current(key).cloned(),
        };
        Ok(slot.map(|slot| entry(key, &slot)))
    }

    pub(super) fn range(&self, range: &Range) -> Result<Page, ReadError> {
        let revision = self.readable(range.at)?;
        let mut undone: BTreeMap<&str, Option<Slot>> = BTreeMap::new();
        for past in self.history.iter().rev() {
            if past.last() <= revision {
                break;
            }
            let undo = past.undo(revision);
            undone.extend(undo.filter(|(key, _)| key.starts_with(&range.prefix)));
        }
        let start = match &range.after {
            Some(after) if **after >= *range.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let undone = undone
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(key, slot)| (*key, slot.as_ref()));
        let mut rows = Merge::new(self.rows(start), undone)
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .filter_map(|(key, slot)| Some((key, slot?)));
        let limit = if range.limit == 0 {
            usize::MAX
        } else {
            range.limit
        };
        let entries = rows
            .by_ref()
            .take(limit)
            .map(|(key, slot)| entry(key, slot))
            .collect();
        Ok(Page {
            entries,
            revision: Revision(revision),
            remaining: rows.count(),
        })
    }

    /// Yields the current keys from a place on; a key without a value is one that is removed.
    pub(super) fn rows<'a>(
        &'a self,
        start: Bound<&'a str>,
    ) -> impl Iterator<Item = (&'a str, Option<&'a Slot>)> {
        let base = self.base.as_deref().into_iter();
        let base = base.flat_map(move |base| base.from(start));
        let overlay = self.overlay.range::<str, _>((start, Bound::Unbounded));
        Merge::new(
            base.map(|(key, slot)| (key, Some(slot))),
            overlay.map(|(key, slot)| (&**key, slot.as_ref())),
        )
    }

    /// Makes the state as it was before the commits of the history from the given one on; it has no history.
    pub(super) fn before(&self, kept: usize) -> Self {
        let mut state = Self::new(Some(Arc::new(self.image())));
        for past in self.history.range(kept..).rev() {
            for (key, slot) in past.undo(0) {
                state.set(key, slot);
            }
            state.revision = past.first() - 1;
        }
        state.leases = self.leases.clone();
        for id in self.outcomes.iter().flat_map(|outcomes| &outcomes.order) {
            if let Some(committed) = self.outcome(*id)
                && committed.last.0 <= state.revision
            {
                state.remember(*id, committed);
            }
        }
        state
    }

    /// Makes an image of what is current.
    pub(super) fn image(&self) -> Image {
        let rows = self.rows(Bound::Unbounded);
        let entries = rows.filter_map(|(key, slot)| Some((Box::from(key), slot?.clone())));
        Image::from_sorted(entries.collect(), self.revision)
    }

    /// Yields the commits behind a revision, for a watch.
    pub(super) fn since(&self, from: u64) -> impl Iterator<Item = (Arc<[Change]>, Revision)> {
        let start = self.history.partition_point(|past| past.last() <= from);
        self.history
            .range(start..)
            .map(|past| (Arc::clone(&past.changes), Revision(past.last())))
    }

    pub(super) fn can_watch(&self, from: Revision) -> Result<(), ReadError> {
        self.readable(At::Revision(from)).map(|_| ())
    }
}

fn entry(key: &str, slot: &Slot) -> Entry {
    Entry {
        key: key.to_owned(),
        value: slot.value.clone(),
        created: Revision(slot.created),
        modified: Revision(slot.modified),
    }
}

type Row<'a> = (&'a str, Option<&'a Slot>);

/// Two sorted rows of keys as one; where both have a key, the upper one counts.
struct Merge<L: Iterator, U: Iterator> {
    lower: std::iter::Peekable<L>,
    upper: std::iter::Peekable<U>,
}

impl<'a, L: Iterator<Item = Row<'a>>, U: Iterator<Item = Row<'a>>> Merge<L, U> {
    fn new(lower: L, upper: U) -> Self {
        Self {
            lower: lower.peekable(),
            upper: upper.peekable(),
        }
    }
}

impl<'a, L: Iterator<Item = Row<'a>>, U: Iterator<Item = Row<'a>>> Iterator for Merge<L, U> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let (Some((low, _)), Some((up, _))) = (self.lower.peek(), self.upper.peek()) else {
            return self.upper.next().or_else(|| self.lower.next());
        };
        match low.cmp(up) {
            std::cmp::Ordering::Less => self.lower.next(),
            std::cmp::Ordering::Equal => {
                self.lower.next();
                self.upper.next()
            }
            std::cmp::Ordering::Greater => self.upper.next(),
        }
    }
}

/// A blob, and when it was stored last.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) bytes: Bytes,
    pub(super) stored_ms: u64,
    /// A read has found that it does not have its digest.
    pub(super) damaged: bool,
}

impl Blob {
    pub(super) fn new(bytes: Bytes, stored_ms: u64) -> Self {
        Self {
            bytes,
            stored_ms,
            damaged: false,
        }
    }
}

pub(super) type Blobs = BTreeMap<base_json::Digest, Blob>;
