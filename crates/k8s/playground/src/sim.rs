//! One simulated cluster: its objects, its controllers, and what is due.

use std::sync::Arc;

use base_store::{At, Change, Range, Watch, WatchItem};
use jiff::Timestamp;
use k8s_apiserver::Registry;

use crate::api::{Api, Refusal};
use crate::config::Config;
use crate::controllers;
use crate::cx::{Cx, State};
use crate::dice::Dice;
use crate::index::{Head, Index};
use crate::inproc::InProcess;
use crate::queue::{Work, after};

/// Controllers that keep finding something to do at one moment are stopped after so many steps, and go on at the next.
const STEPS_AT_ONCE: usize = 100_000;

/// A simulated cluster. It does nothing by itself: [`run_due`](Self::run_due) does what is due.
pub(crate) struct Simulated {
    registry: Registry,
    watch: Option<Watch>,
    state: State,
    config: Arc<Config>,
    /// It was stopped in the middle: go on at this moment.
    go_on: Option<Timestamp>,
    /// When history may be forgotten, if there is any: so long after the last write.
    forget_at: Option<Timestamp>,
}

impl Simulated {
    /// Makes one over the objects of a registry. Those that are there already are taken as settled.
    pub(crate) fn new(registry: Registry, config: Arc<Config>, name: &str) -> Self {
        let newest = registry.revision();
        Self {
            watch: registry.store().watch(registry.prefix(), newest).ok(),
            state: State::new(Dice::new(config.seed, name)),
            registry,
            config,
            go_on: None,
            forget_at: None,
        }
    }

    /// Looks at every object anew, for when changes were missed.
    pub(crate) fn resync(&mut self, now: Timestamp) {
        let range = Range {
            prefix: self.registry.prefix().to_owned(),
            after: None,
            limit: 0,
            at: At::Newest,
        };
        let Ok(page) = self.registry.store().range(&range) else {
            return;
        };
        self.state.index = Index::default();
        self.watch = self
            .registry
            .store()
            .watch(self.registry.prefix(), page.revision)
            .ok();
        for entry in page.entries {
            self.take_in(now, None, Some(&entry.value));
        }
    }

    fn take_in(&mut self, now: Timestamp, old: Option<&[u8]>, new: Option<&[u8]>) {
        let head = |bytes: Option<&[u8]>| -> Option<Head> { serde_json::from_slice(bytes?).ok() };
        let (old, new) = (head(old), head(new));
        let gather = after(now, self.config.timings.gather.least_ms);
        controllers::route(&mut self.state, gather, old.as_ref(), new.as_ref());
        self.state.index.change(old.as_ref(), new.as_ref());
    }

    /// Puts the forgetting of history off, since something was written.
    fn written(&mut self, now: Timestamp) {
        let at = after(now, self.config.timings.history_ms);
        if self.forget_at.replace(at).is_none() {
            self.state.queue.add_at(at, Work::Forget);
        }
    }

    fn forget(&mut self, now: Timestamp) {
        match self.forget_at {
            Some(at) if at > now => self.state.queue.add_at(at, Work::Forget),
            _ => {
                self.forget_at = None;
                // A store that cannot forget only costs memory.
                let _ = self.registry.store().compact(self.registry.revision());
            }
        }
    }

    /// Takes in what changed since the last time.
    fn drain(&mut self, now: Timestamp) {
        loop {
            let item = self.watch.as_mut().map(Watch::try_next);
            match item {
                Some(Some(WatchItem::Commit(commit))) => {
                    self.written(now);
                    for Change { old, new, .. } in commit.changes.iter() {
                        self.take_in(now, old.as_deref(), new.as_deref());
                    }
                }
                Some(Some(WatchItem::Progress(_))) => {}
                Some(None) => return,
                Some(Some(WatchItem::Compacted(_))) | None => return self.resync(now),
            }
        }
    }

    /// Does everything that is due at `now`, and what follows from it at once. Says how many steps that took.
    pub(crate) fn run_due(&mut self, now: Timestamp) -> usize {
        let mut steps = 0;
        self.go_on = None;
        self.drain(now);
        while let Some(work) = self.state.queue.take(now) {
            if work == Work::Forget {
                self.forget(now);
                continue;
            }
            let api = InProcess::new(&self.registry);
            let mut cx = Cx {
                api: &api as &dyn Api,
                now,
                config: &self.config,
                state: &mut self.state,
            };
            if let Err(refusal) = controllers::run(&mut cx, &work) {
                self.put_off(now, work, &refusal);
            }
            steps += 1;
            if steps >= STEPS_AT_ONCE {
                self.go_on = Some(after(now, 1));
                break;
            }
            self.drain(now);
        }
        steps
    }

    /// What was refused is tried again later, unless what it was about is gone.
    fn put_off(&mut self, now: Timestamp, work: Work, refusal: &Refusal) {
        let span = self.config.timings.retry;
        let wait = match refusal {
            Refusal::Conflict(_) => 1 + self.state.dice.below(10),
            Refusal::NotFound(_) => return,
            Refusal::Exists(_) | Refusal::Refused(_) => self.state.dice.within(span),
        };
        self.state.queue.add_at(after(now, wait), work);
    }

    /// When something is due next; `None` while nothing is.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.go_on.or_else(|| self.state.queue.next_due())
    }
}
