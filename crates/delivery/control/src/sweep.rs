//! Forgets what nobody has any more.

use std::collections::BTreeSet;

use base_json::Digest;
use base_store::{Expect, Op};
use roadstead_model::{AppKey, ClusterId};

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

/// Forgets what hangs on clusters that are no more, and what agents said of Apps that they were not told to run.
pub fn leftovers(index: &Index) -> Vec<Op> {
    // a Cluster that cannot be read has not gone
    if index.has_unreadable("clusters/") {
        return Vec::new();
    }
    let is_gone =
        |id: &ClusterId| id.0 != roadstead_target::HUB && !index.clusters.contains_key(id);
    let seen = index.seen.keys().filter(|id| is_gone(id)).map(keys::seen);
    let holds = index.holds.keys().filter(|(id, _)| is_gone(id));
    let holds = holds.map(|(id, app)| keys::hold(id, app));
    let ahead = index.ahead.iter().flat_map(|(app, of)| {
        let gone = of.keys().filter(|id| is_gone(id));
        gone.map(move |id| keys::ahead(id, app))
    });
    let observed = index.observed.iter().flat_map(|(app, of)| {
        let unasked = of
            .keys()
            .filter(move |id| index.assignment(id, app).is_none());
        unasked.map(move |id| keys::observed(id, app))
    });
    // what a Cluster shows is what charts are rendered with, and may lag behind
    let said = index.seen.values().map(|seen| &seen.value.facts.served);
    let shown = index.clusters.values();
    let shown = shown.map(|cluster| &cluster.status.facts.api_versions);
    let in_use: BTreeSet<&str> = said.chain(shown).map(String::as_str).collect();
    let unserved = index.served.keys().map(String::as_str);
    let unserved = unserved.filter(|digest| !in_use.contains(digest));
    let seen = seen.chain(unserved.map(keys::served));
    let all = seen.chain(holds).chain(ahead).chain(observed);
    all.map(|key| Op::Delete {
        key,
        expect: Expect::Any,
    })
    .collect()
}
