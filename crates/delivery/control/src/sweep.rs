//! Forgets what nobody has any more.

use base_json::Digest;
use roadstead_model::AppKey;

use crate::index::Index;
use crate::records::keys;
use crate::writes::Writes;

/// How many ended Rollouts, and how many Releases, are kept of each App.
const KEPT: usize = 20;

/// Forgets ended Rollouts and Releases beyond what is kept, unless a cluster still has them.
pub(crate) fn sweep(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    let Some(rollouts) = index.rollouts.get(app).filter(|of| of.len() > KEPT) else {
        return;
    };
    let held: std::collections::BTreeSet<Digest> = index
        .assignments_of(app)
        .flat_map(|(_, assignment)| {
            assignment
                .good
                .iter()
                .map(|good| good.release)
                .chain([assignment.release])
        })
        .collect();
    let surplus = rollouts.len() - KEPT;
    for rollout in rollouts.values().take(surplus).map(|kept| &kept.value) {
        if rollout.phase.is_terminal() && !held.contains(&rollout.release) {
            writes.delete(keys::rollout(app, rollout.number));
        }
    }
    let Some(releases) = index.releases.get(app).filter(|of| of.len() > KEPT) else {
        return;
    };
    let surplus = releases.len() - KEPT;
    for record in releases.values().take(surplus).map(|kept| &kept.value) {
        if !held.contains(&record.id)
            && !rollouts
                .values()
                .any(|kept| kept.value.release == record.id)
        {
            writes.delete(keys::release(app, record.number));
        }
    }
}
