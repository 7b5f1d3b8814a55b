//! Polls Sources: one clone a URL, a few polls at a time, each Source on its own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base_store::{Batch, CommitId, Expect, Op, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_control::keys;
use roadstead_model::Key;
use roadstead_source::poll_delay;
use tokio::sync::{Notify, Semaphore};

use crate::brain::{Brain, Input};
use crate::clock::{commit_id, random};
use crate::events::{Notices, about};
use crate::metrics::Metrics;
use crate::reader::{Reader, request_of};
use crate::tasks::Task;

/// How many polls run at once: those that hang must leave room for the others.
const AT_ONCE: usize = 16;

/// Polls every Source when it is due, or when somebody asks.
pub(crate) struct Poller {
    pub(crate) reader: Arc<Reader>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) brain: Brain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) asked: Arc<Asked>,
    pub(crate) task: Arc<Task>,
    pub(crate) notices: Notices,
}

/// Sources that somebody asked to be polled now.
#[derive(Default)]
pub(crate) struct Asked {
    keys: Mutex<BTreeSet<Key>>,
    wake: Notify,
}

impl Asked {
    /// Asks for polls.
    pub(crate) fn ask(&self, keys: impl IntoIterator<Item = Key>) {
        self.keys.lock().extend(keys);
        self.wake.notify_one();
    }
}

struct Turn {
    due: Instant,
    failures: u32,
    busy: bool,
    again: bool,
}

impl Poller {
    /// Polls until the hub ends.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let turns: Arc<Mutex<BTreeMap<Key, Turn>>> = Arc::default();
        loop {
            let known = this
                .brain
                .ask(|index, _| {
                    index
                        .sources()
                        .map(|(key, _)| key.clone())
                        .collect::<BTreeSet<Key>>()
                })
                .await;
            let Some(known) = known else { return };
            let start = Instant::now();
            let asked = std::mem::take(&mut *this.asked.keys.lock());
            let mut next = start + Duration::from_secs(5);
            let mut go = Vec::new();
            {
                let mut turns = turns.lock();
                turns.retain(|key, turn| known.contains(key) || turn.busy);
                for key in known {
                    let turn = turns.entry(key.clone()).or_insert(Turn {
                        due: start,
                        failures: 0,
                        busy: false,
                        again: false,
                    });
                    if asked.contains(&key) {
                        turn.due = start;
                        turn.again = turn.busy;
                    }
                    if turn.busy {
                        continue;
                    }
                    if turn.due <= start {
                        turn.busy = true;
                        go.push(key);
                    } else {
                        next = next.min(turn.due);
                    }
                }
            }
            for key in go {
                let (this, room, turns) =
                    (Arc::clone(&this), Arc::clone(&room), Arc::clone(&turns));
                tokio::spawn(async move {
                    let Ok(_place) = room.acquire_owned().await else {
                        return;
                    };
                    let outcome = this.once(&key).await;
                    let mut turns = turns.lock();
                    if let Some(turn) = turns.get_mut(&key) {
                        turn.busy = false;
                        turn.failures = if outcome.is_ok() {
                            0
                        } else {
                            turn.failures.saturating_add(1)
                        };
                        let mut seed = [0; 8];
                        random(&mut seed);
                        let interval = match outcome {
                            Ok(interval) | Err(interval) => interval,
                        };
                        let wait = poll_delay(interval, turn.failures, u64::from_le_bytes(seed));
                        turn.due = if std::mem::take(&mut turn.again) {
                            Instant::now()
                        } else {
                            Instant::now() + wait
                        };
                    }
                    this.asked.wake.notify_one();
                });
            }
            let _ = tokio::time::timeout(
                next.saturating_duration_since(Instant::now()),
                this.asked.wake.notified(),
            )
            .await;
        }
    }

    /// Polls one Source; its interval, in `Err` if the poll failed.
    async fn once(self: &Arc<Self>, key: &Key) -> Result<Duration, Duration> {
        let asked = key.clone();
        let Some(Some(wanted)) = self
            .brain
            .ask(move |index, _| request_of(index, &asked))
            .await
        else {
            return Ok(Duration::from_secs(60));
        };
        let interval = wanted.interval;
        if wanted.suspended || !wanted.allowed {
            return Ok(interval);
        }
        self.metrics.polls.inc();
        let run = self.task.begin();
        let this = Arc::clone(self);
        let polled = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let head = this.reader.poll(&wanted)?;
            if let Some(head) = head {
                // a head is written whole; a newer one simply follows
                let value = Bytes::from(serde_json::to_vec(&head).unwrap_or_default());
                let op = Op::Put {
                    key: keys::head(&wanted.key),
                    value,
                    expect: Expect::Any,
                };
                this.store
                    .commit(Batch::new(CommitId(commit_id()), vec![op]))
                    .map_err(|error| error.to_string())?;
                tracing::info!(source = %wanted.key, commit = %head.commit, "new commit");
            }
            this.metrics
                .poll_seconds
                .observe(started.elapsed().as_secs_f64());
            Ok::<(), String>(())
        })
        .await
        .unwrap_or_else(|_| Err("the poll ended by a bug; see the hub's log".to_owned()));
        let problem = polled.as_ref().err().cloned();
        if let Some(problem) = &problem {
            self.metrics.poll_errors.inc();
            tracing::warn!(source = %key, %problem, "failed to read a Source");
            let told = (true, "ReadFailed", problem.as_str());
            self.notices
                .tell(about("Source", "sources", (&key.project, &key.name), told));
        }
        run.ended(match &problem {
            None => Ok(format!("{key} was read")),
            Some(problem) => Err(format!("{key}: {problem}")),
        });
        let (brain, key) = (self.brain.clone(), key.clone());
        let _ = tokio::task::spawn_blocking(move || brain.send(Input::Polled(key, problem))).await;
        if polled.is_ok() {
            Ok(interval)
        } else {
            Err(interval)
        }
    }
}
