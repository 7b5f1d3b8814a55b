//! The one queue: everything that will happen, by the time at which it does.

use std::collections::BTreeMap;

/// Events by time; those of one time in the order in which they were put there.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    next: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            events: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn put(&mut self, at: u64, event: E) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    /// Takes the next event that is due by `until`.
    pub(crate) fn pop(&mut self, until: u64) -> Option<(u64, E)> {
        let ((at, _), _) = self.events.first_key_value()?;
        if *at > until {
            return None;
        }
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
