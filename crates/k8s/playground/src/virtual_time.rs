//! Time that moves only when it is told to.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use k8s_apiserver::{Clock, Sleep, Timer};
use parking_lot::Mutex;

use crate::queue::after;

/// A clock and its timers, moved by hand: for tests and simulations. Cheap to clone; all clones are one clock.
#[derive(Clone)]
pub struct VirtualTime(Arc<Mutex<Inner>>);

struct Inner {
    now: Timestamp,
    next: u64,
    sleepers: BTreeMap<(Timestamp, u64), Option<Waker>>,
}

impl VirtualTime {
    /// Starts a clock.
    pub fn starting_at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            now,
            next: 0,
            sleepers: BTreeMap::new(),
        })))
    }

    /// Moves on to a moment, and wakes those who slept until then. Time never goes back.
    pub fn advance_to(&self, now: Timestamp) {
        let mut wakers = Vec::new();
        {
            let mut inner = self.0.lock();
            inner.now = inner.now.max(now);
            let now = inner.now;
            while let Some(first) = inner.sleepers.first_entry()
                && first.key().0 <= now
            {
                wakers.extend(first.remove());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// When the next sleeper wants to be woken.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.0.lock().sleepers.keys().next().map(|(at, _)| *at)
    }
}

impl Clock for VirtualTime {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }
}

impl Timer for VirtualTime {
    fn sleep(&self, duration: Duration) -> Sleep {
        let this = Arc::clone(&self.0);
        let (at, number) = {
            let mut inner = this.lock();
            inner.next += 1;
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let key = (after(inner.now, ms), inner.next);
            inner.sleepers.insert(key, None);
            key
        };
        // A sleep that is dropped leaves an entry behind until its time has come; that wakes nobody.
        Box::pin(poll_fn(move |cx| {
            let mut inner = this.lock();
            if at <= inner.now {
                inner.sleepers.remove(&(at, number));
                return Poll::Ready(());
            }
            inner
                .sleepers
                .insert((at, number), Some(cx.waker().clone()));
            Poll::Pending
        }))
    }
}
