//! Keeps the store from growing for ever: forgets the log's past, and contents that no kept Release reaches.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base_json::Digest;
use base_store::{Revision, Store};
use roadstead_control::VariantOutcome;
use roadstead_model::Time;

use crate::brain::Brain;
use crate::clock::now;
use crate::variants::Variants;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(300);
/// How much of the log's past is kept for watches that resume.
const PAST_MS: u64 = 3_600_000;
/// How old a content must be before it may go: one that a commit is about to name is younger.
const CONTENT_MS: u64 = 86_400_000;
/// How many looks there are between two sweeps of contents.
const SWEEP_EACH: u32 = 12;

/// Looks after the store until the hub ends.
pub(crate) async fn run(store: Arc<dyn Store>, brain: Brain, variants: Arc<Variants>) {
    let mut marks: VecDeque<(Time, Revision)> = VecDeque::new();
    for look in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        let at = now();
        marks.push_back((at, store.revision()));
        let mut due = None;
        while let Some((marked, revision)) = marks.front().copied() {
            if at.since_ms(marked) < PAST_MS {
                break;
            }
            marks.pop_front();
            due = Some(revision);
        }
        let compacts = Arc::clone(&store);
        if let Some(revision) = due {
            let done = tokio::task::spawn_blocking(move || compacts.compact(revision)).await;
            match done {
                Ok(Ok(())) => tracing::debug!(%revision, "compacted the log"),
                Ok(Err(error)) => tracing::warn!(%error, "failed to compact the log"),
                Err(_) => return,
            }
        }
        if look % SWEEP_EACH == 0 && !sweep(&store, &brain, &variants, at).await {
            return;
        }
    }
}

/// Removes contents that nothing reaches; false when the hub is ending.
async fn sweep(store: &Arc<dyn Store>, brain: &Brain, variants: &Arc<Variants>, at: Time) -> bool {
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
    let Some(ids) = asked.await else { return false };
    let (store, variants) = (Arc::clone(store), Arc::clone(variants));
    let swept = tokio::task::spawn_blocking(move || {
        let mut reached = ids.clone();
        for id in &ids {
            // a list that cannot be read now might name anything: nothing is swept then
            let Some(listed) = variants.get(id) else {
                return Ok(0);
            };
            reached.extend(&listed.contents);
        }
        let before = u64::try_from(at.0).unwrap_or(0).saturating_sub(CONTENT_MS);
        store.sweep_blobs(before, &|digest| reached.contains(digest))
    });
    match swept.await {
        Ok(Ok(0)) => true,
        Ok(Ok(count)) => {
            tracing::info!(count, "removed contents that nothing reaches");
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "failed to sweep contents");
            true
        }
        Err(_) => false,
    }
}
