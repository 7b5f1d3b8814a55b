//! What is to be done, and when.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::key::Key;

/// One thing to do. Each is idempotent: it looks at the present state, whatever made it due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Let an object's controller look at it.
    Reconcile(Key),
    /// Let the garbage collector look at an object.
    Collect(Key),
    /// Look at everything in a namespace that selects pods.
    Selectors(String),
    /// Remove Events that are too old.
    ExpireEvents,
    /// Forget the history, if nothing was written for a while.
    Forget,
}

/// Work by when it is due; the same work is never due twice at the same moment.
#[derive(Default)]
pub(crate) struct Queue {
    now: BTreeSet<Work>,
    later: BTreeSet<(Timestamp, Work)>,
}

impl Queue {
    pub(crate) fn add(&mut self, work: Work) {
        self.now.insert(work);
    }

    pub(crate) fn add_at(&mut self, at: Timestamp, work: Work) {
        self.later.insert((at, work));
    }

    /// Takes the first thing that is due.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Work> {
        if let Some(work) = self.now.pop_first() {
            return Some(work);
        }
        if self.later.first()?.0 > now {
            return None;
        }
        self.later.pop_first().map(|(_, work)| work)
    }

    /// When the next thing is due; `Timestamp::MIN` if something is due already.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        if self.now.is_empty() {
            self.later.first().map(|(at, _)| *at)
        } else {
            Some(Timestamp::MIN)
        }
    }
}

/// Adds milliseconds to a moment.
pub(crate) fn after(now: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    now.checked_add(SignedDuration::from_millis(ms))
        .unwrap_or(Timestamp::MAX)
}
