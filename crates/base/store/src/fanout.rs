//! Hands committed changes to the watches that follow them; backends share it.
//!
//! Each watch has a queue of its own, bounded in bytes. A watch that falls behind the bound is ended with
//! [`WatchItem::Compacted`]: the writer never waits for a reader. Progress is told on demand: a watch that is polled
//! while its queue is empty says how far the store has come, if that is further than it last said. Commits under other
//! prefixes do not wake it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::{Change, Commit, Revision, Watch, WatchItem, WatchSource};

/// What a queued change costs beside its bytes.
pub(crate) const OVERHEAD: usize = 128;

/// Estimates what changes cost in memory.
fn cost(changes: &[Change]) -> usize {
    changes
        .iter()
        .map(|change| {
            OVERHEAD
                + change.key.len()
                + change.old.as_ref().map_or(0, |bytes| bytes.len())
                + change.new.as_ref().map_or(0, |bytes| bytes.len())
        })
        .sum()
}

/// The watches of one store.
#[derive(Default)]
pub struct Fanout {
    queues: Vec<Arc<Mutex<Queue>>>,
}

struct Queue {
    prefix: Box<str>,
    items: VecDeque<(Commit, usize)>,
    /// Bytes of queued items that arrived after the watch began.
    bytes: usize,
    limit: usize,
    /// Up to where the store has come.
    newest: Revision,
    /// Up to where the watch has said that it has come.
    told: Revision,
    end: End,
    waker: Option<Waker>,
}

enum End {
    Open,
    Compacted(Revision),
    Closed,
}

impl Fanout {
    /// Makes an empty one.
    pub const fn new() -> Self {
        Self { queues: Vec::new() }
    }

    /// Adds a watch that starts behind `from` with `backlog`: the whole commits since then, in order. `newest` is the
    /// store's revision, `limit` the bytes that may wait in the queue; the backlog does not count.
    pub fn add(
        &mut self,
        prefix: &str,
        from: Revision,
        newest: Revision,
        limit: usize,
        backlog: impl IntoIterator<Item = (Arc<[Change]>, Revision)>,
    ) -> Watch {
        self.prune();
        let items = backlog
            .into_iter()
            .filter_map(|(changes, revision)| {
                let changes = select(&changes, prefix, from)?;
                Some((Commit { changes, revision }, 0))
            })
            .collect();
        let queue = Arc::new(Mutex::new(Queue {
            prefix: prefix.into(),
            items,
            bytes: 0,
            limit,
            newest,
            told: from,
            end: End::Open,
            waker: None,
        }));
        self.queues.push(Arc::clone(&queue));
        Watch::new(Source(queue))
    }

    /// Hands a commit to the watches that it concerns. `oldest` is the oldest revision that can be read. The wakers
    /// are for the caller to wake once it has let go of its locks.
    pub fn publish(
        &mut self,
        changes: &Arc<[Change]>,
        revision: Revision,
        oldest: Revision,
        wakers: &mut Vec<Waker>,
    ) {
        self.prune();
        for queue in &self.queues {
            let mut queue = queue.lock();
            queue.newest = revision;
            if !matches!(queue.end, End::Open) {
                continue;
            }
            let Some(changes) = select(changes, &queue.prefix, Revision(0)) else {
                continue;
            };
            let bytes = cost(&changes);
            // An empty queue takes any commit: else a large one would end every watch, for ever.
            if queue.bytes > 0 && queue.bytes + bytes > queue.limit {
                queue.items = VecDeque::new();
                queue.bytes = 0;
                queue.end = End::Compacted(oldest);
            } else {
                queue.bytes += bytes;
                queue.items.push_back((Commit { changes, revision }, bytes));
            }
            wakers.extend(queue.waker.take());
        }
    }

    /// Ends every watch, after what it has in its queue. The wakers are for the caller to wake.
    #[must_use]
    pub fn close(&mut self) -> Vec<Waker> {
        let end = |queue: Arc<Mutex<Queue>>| {
            let mut queue = queue.lock();
            if matches!(queue.end, End::Open) {
                queue.end = End::Closed;
            }
            queue.waker.take()
        };
        self.queues.drain(..).filter_map(end).collect()
    }

    fn prune(&mut self) {
        self.queues.retain(|queue| Arc::strong_count(queue) > 1);
    }
}

/// Picks the changes under a prefix and behind a revision; shares them when that is all of them.
fn select(changes: &Arc<[Change]>, prefix: &str, from: Revision) -> Option<Arc<[Change]>> {
    let wanted = |change: &&Change| change.revision > from && change.key.starts_with(prefix);
    match changes.iter().filter(wanted).count() {
        0 => None,
        n if n == changes.len() => Some(Arc::clone(changes)),
        _ => Some(changes.iter().filter(wanted).cloned().collect()),
    }
}

struct Source(Arc<Mutex<Queue>>);

impl WatchSource for Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        let mut queue = self.0.lock();
        if let Some((commit, bytes)) = queue.items.pop_front() {
            queue.bytes -= bytes;
            queue.told = commit.revision;
            return Poll::Ready(Some(WatchItem::Commit(commit)));
        }
        match queue.end {
            End::Compacted(oldest) => {
                queue.end = End::Closed;
                queue.told = queue.newest;
                return Poll::Ready(Some(WatchItem::Compacted(oldest)));
            }
            End::Closed => return Poll::Ready(None),
            End::Open => {}
        }
        if queue.newest > queue.told {
            queue.told = queue.newest;
            return Poll::Ready(Some(WatchItem::Progress(queue.newest)));
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
