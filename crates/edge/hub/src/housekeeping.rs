//! Keeps the store from growing for ever: forgets the log's past, old history, and contents that no kept Release reaches.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base_json::Digest;
use base_store::{At, Batch, CommitId, Expect, Op, Range, Revision, Store};
use parking_lot::Mutex;
use roadstead_control::{Retention, VariantOutcome, keys, surplus};
use roadstead_model::Time;

use crate::brain::Brain;
use crate::clock::{commit_id, now};
use crate::tasks::About;
use crate::variants::Variants;

/// How much of the log's past is kept for watches that resume.
const PAST_MS: u64 = 3_600_000;
/// How old a content must be before it may go: one that a commit is about to name is younger.
const CONTENT_MS: u64 = 86_400_000;
/// How many entries of history are removed in one commit.
const REMOVED_AT_ONCE: usize = 500;

const MINUTE: Duration = Duration::from_secs(60);

/// Forgets the log's past.
pub(crate) const COMPACT: About = About {
    name: "compact-log",
    does: "Forgets the log's past beyond an hour; watches from before read everything again.",
    period: Some(Duration::from_secs(300)),
    woken_by: "nothing else",
};
/// Removes contents.
pub(crate) const SWEEP: About = About {
    name: "sweep-contents",
    does: "Removes contents that no kept Release reaches and that are a day old.",
    period: Some(Duration::from_secs(3600)),
    woken_by: "nothing else",
};
/// Removes old history.
pub(crate) const HISTORY: About = About {
    name: "expire-history",
    does: "Removes history and audit entries that are too old or too many.",
    period: Some(Duration::from_secs(3600)),
    woken_by: "nothing else",
};
/// Removes old Events.
pub(crate) const EVENTS: About = About {
    name: "expire-events",
    does: "Removes Kubernetes Events an hour after they were seen last.",
    period: Some(MINUTE),
    woken_by: "nothing else",
};
/// Removes ended tokens.
pub(crate) const JOINS: About = About {
    name: "expire-joins",
    does: "Forgets join tokens a week after their end, and revocations of certificates that ended long ago.",
    period: Some(Duration::from_secs(3600)),
    woken_by: "nothing else",
};
/// Finds out whether the store can be written again.
pub(crate) const PROBE: About = About {
    name: "probe-store",
    does: "After a write found no room, tries whether there is room again.",
    period: Some(Duration::from_secs(2)),
    woken_by: "nothing else",
};

/// What was reached when, in the order of time.
#[derive(Default)]
pub(crate) struct Marks(Mutex<VecDeque<(Time, Revision)>>);

impl Marks {
    /// Notes where the log is, and says up to where it may be forgotten.
    fn due(&self, at: Time, revision: Revision) -> Option<Revision> {
        let mut marks = self.0.lock();
        marks.push_back((at, revision));
        let mut due = None;
        while let Some((marked, revision)) = marks.front().copied() {
            if at.since_ms(marked) < PAST_MS {
                break;
            }
            marks.pop_front();
            due = Some(revision);
        }
        due
    }
}

/// What ends a task's run when the hub ends meanwhile.
fn ending<E>(_: E) -> String {
    "the hub is ending".to_owned()
}

/// Forgets the log's past.
pub(crate) async fn compact(store: Arc<dyn Store>, marks: Arc<Marks>) -> Result<String, String> {
    let Some(revision) = marks.due(now(), store.revision()) else {
        return Ok("the log is younger than an hour".to_owned());
    };
    tokio::task::spawn_blocking(move || store.compact(revision))
        .await
        .map_err(ending)?
        .map_err(|error| error.to_string())?;
    Ok(format!("compacted up to revision {revision}"))
}

/// Removes history and audit entries that are too old or too many.
pub(crate) async fn history(store: Arc<dyn Store>, retention: Retention) -> Result<String, String> {
    tokio::task::spawn_blocking(move || {
        let range = Range {
            prefix: keys::HISTORY.to_owned(),
            after: None,
            limit: 0,
            at: At::Newest,
        };
        let page = store.range(&range).map_err(|error| error.to_string())?;
        let entries = page
            .entries
            .iter()
            .map(|entry| (entry.key.as_str(), &*entry.value));
        let goes = surplus(entries, now(), &retention);
        for some in goes.chunks(REMOVED_AT_ONCE) {
            let ops = some.iter().map(|key| Op::Delete {
                key: key.clone(),
                expect: Expect::Any,
            });
            store
                .commit(Batch::new(CommitId(commit_id()), ops.collect()))
                .map_err(|error| error.to_string())?;
        }
        Ok(format!(
            "{} of {} entries removed",
            goes.len(),
            page.entries.len()
        ))
    })
    .await
    .map_err(ending)?
}

/// Removes contents that nothing reaches.
pub(crate) async fn sweep(
    store: Arc<dyn Store>,
    brain: Brain,
    variants: Arc<Variants>,
) -> Result<String, String> {
    let at = now();
    let asked = brain.ask(|index, _| {
        let mut ids: BTreeSet<Digest> = BTreeSet::new();
        let apps: Vec<_> = index.apps_with_releases().cloned().collect();
        for app in &apps {
            for release in index.releases(app) {
                ids.extend(
                    release
                        .variants
                        .values()
                        .filter_map(|outcome| match outcome {
                            VariantOutcome::Variant { id, .. } => Some(*id),
                            VariantOutcome::Error(_) => None,
                        }),
                );
            }
            for (_, assignment) in index.assignments_of(app) {
                ids.insert(assignment.variant);
                ids.extend(assignment.good.iter().map(|good| good.variant));
            }
        }
        ids
    });
    let ids = asked.await.ok_or("the hub is ending")?;
    tokio::task::spawn_blocking(move || {
        let mut reached = ids.clone();
        for id in &ids {
            // a list that cannot be read now might name anything: nothing is swept then
            let Some(listed) = variants.get(id) else {
                return Err(format!(
                    "the list of variant {id} cannot be read; nothing was removed"
                ));
            };
            reached.extend(&listed.contents);
        }
        let before = u64::try_from(at.0).unwrap_or(0).saturating_sub(CONTENT_MS);
        let count = store
            .sweep_blobs(before, &|digest| reached.contains(digest))
            .map_err(|error| error.to_string())?;
        Ok(format!(
            "{count} contents removed, {} are reached",
            reached.len()
        ))
    })
    .await
    .map_err(ending)?
}

/// Tries whether the store can be written, if it could not be.
pub(crate) async fn probe(
    store: Arc<dyn Store>,
    health: Arc<crate::health::Health>,
) -> Result<String, String> {
    if !health.is_troubled() {
        return Ok("the store can be written".to_owned());
    }
    let at = u64::try_from(now().0).unwrap_or(0);
    tokio::task::spawn_blocking(move || store.lease("probe", "hub", 1, at))
        .await
        .map_err(ending)?
        .map_err(|error| error.to_string())?;
    Ok("the store can be written again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_forgotten_an_hour_late() {
        let marks = Marks::default();
        let minute = |n: i64| Time(n * 60_000);
        assert_eq!(marks.due(minute(0), Revision(10)), None);
        assert_eq!(marks.due(minute(30), Revision(20)), None);
        assert_eq!(marks.due(minute(60), Revision(30)), Some(Revision(10)));
        assert_eq!(marks.due(minute(61), Revision(31)), None);
        assert_eq!(marks.due(minute(200), Revision(99)), Some(Revision(31)));
    }
}
