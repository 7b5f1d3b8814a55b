//! A hub that came back from a backup: what agents hold may be newer than what it knows.
//!
//! Nothing is ordered for a cluster until its agent has said what it holds in this epoch. Where that is newer than what
//! the hub would order, the cluster keeps it: until the hub comes to the same Release or a newer one by itself, since Git
//! still has it, or until somebody lets the cluster go back.

use base_json::Digest;
use roadstead_dispatch::{AppReport, AppState};
use roadstead_model::{AppKey, ClusterId, ReleaseId};
use roadstead_rollout::Rollout;

use crate::index::Index;
use crate::records::{Ahead, keys};
use crate::text::{clusters, names};
use crate::writes::Writes;

/// Clusters that hold what is newer than what they would get, and wait for leave to go back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoingBack {
    /// The clusters.
    pub clusters: Vec<ClusterId>,
    /// The digest of the list, which an approval names.
    pub digest: Option<Digest>,
}

impl Index {
    /// Has the hub come back from a backup, and this cluster's agent not yet said what it holds?
    pub fn awaits_inventory(&self, cluster: &ClusterId) -> bool {
        self.epoch > 1
            && self
                .seen(cluster)
                .is_none_or(|seen| seen.epoch < self.epoch)
    }

    /// Would a cluster that holds `held` go back with `release`?
    fn is_older(&self, app: &AppKey, release: &ReleaseId, held: &Ahead) -> bool {
        if *release == held.release {
            return false;
        }
        let Some(record) = self.release(app, release) else {
            return true;
        };
        let Some(held_record) = self.release(app, &held.release) else {
            // what was made since the hub came back was made from what Git has now
            return record.created_at < held.since;
        };
        let newest = |of: &ReleaseId| {
            let rollouts = self.rollouts(app).rev();
            rollouts
                .filter(|rollout| rollout.release == *of)
                .map(|rollout| rollout.number)
                .next()
        };
        match (newest(&held.release), newest(release)) {
            (Some(held), Some(other)) => held > other,
            _ => held_record.number > record.number,
        }
    }

    /// Would a cluster go back, from what it held when the hub came back from a backup, with this Release?
    pub(crate) fn goes_back(&self, app: &AppKey, cluster: &ClusterId, release: &ReleaseId) -> bool {
        self.ahead
            .get(app)
            .and_then(|of| of.get(cluster))
            .is_some_and(|held| self.is_older(app, release, held))
    }

    /// What a cluster keeps of an App, because what it should run is older.
    pub fn keeps(&self, cluster: &ClusterId, app: &AppKey) -> Option<&Ahead> {
        let held = self.ahead.get(app)?.get(cluster)?;
        let older = self
            .assignment(cluster, app)
            .is_none_or(|(assignment, _)| self.is_older(app, &assignment.release, held));
        older.then_some(held)
    }

    /// The Apps of which a cluster keeps what is newer than what it should run.
    pub fn kept_by(&self, cluster: &ClusterId) -> impl Iterator<Item = &AppKey> {
        self.ahead
            .keys()
            .filter(move |app| self.keeps(cluster, app).is_some())
    }

    /// Why nothing is assigned to a cluster since the hub came back; empty if that does not keep it.
    pub(crate) fn withheld_since_restore(
        &self,
        app: &AppKey,
        cluster: &ClusterId,
        release: &ReleaseId,
    ) -> String {
        if self.awaits_inventory(cluster) {
            "its agent has not said what it holds since the hub was restored".to_owned()
        } else if self.goes_back(app, cluster, release) {
            "it holds a newer Release, which the restored hub did not know".to_owned()
        } else {
            String::new()
        }
    }

    /// What an agent holds beyond what the hub knows, when it says so for the first time in this epoch.
    pub(crate) fn note_ahead(
        &self,
        cluster: &ClusterId,
        app: &AppKey,
        state: &AppReport,
    ) -> Option<Ahead> {
        let held = Ahead {
            release: state.release,
            variant: state.variant,
            attempt: state.attempt,
            since: self.began,
        };
        let newer = match self.assignment(cluster, app) {
            Some((assignment, _)) => self.is_older(app, &assignment.release, &held),
            None => state.state != AppState::Gone,
        };
        newer.then_some(held)
    }
}

/// The clusters that wait for leave to go back.
pub fn going_back(index: &Index, app: &AppKey) -> GoingBack {
    let all = index.ahead.get(app).into_iter().flat_map(|of| of.keys());
    let clusters: Vec<ClusterId> = all
        .filter(|cluster| index.keeps(cluster, app).is_some())
        .cloned()
        .collect();
    let digest = (!clusters.is_empty()).then(|| crate::leave::list_digest(&clusters));
    GoingBack { clusters, digest }
}

/// What to do about an App that clusters hold and this hub, which came back from a backup, does not know; `None` if there
/// is no such thing.
pub(crate) fn unknown(index: &Index, app: &AppKey) -> Option<String> {
    if index.app(app).is_some() {
        return None;
    }
    let waiting = going_back(index, app);
    let digest = waiting.digest?;
    Some(format!(
        "this restored hub does not know App {app}, and {} ({}) keep what they hold of it: make an App of that name again, \
         or let it go, so that its objects stay and are nobody's: `roadstead rollout approve {app} --going-back --list {}`",
        clusters(waiting.clusters.len()),
        names(index, &waiting.clusters),
        digest.short()
    ))
}

/// Why an App waits, if clusters keep what is newer and nothing that is under way may bring them on.
pub(crate) fn waiting(index: &Index, app: &AppKey) -> Option<(String, String)> {
    let under_way = |rollout: &Rollout| !rollout.phase.is_terminal() && !rollout.phase.yields();
    let waiting = going_back(index, app);
    let digest = waiting
        .digest
        .filter(|_| !index.rollouts(app).any(under_way))?;
    let said = format!(
        "{} would go back from a newer Release, which this restored hub does not know ({}): approve list {}, or deliver \
         a newer one",
        clusters(waiting.clusters.len()),
        names(index, &waiting.clusters),
        digest.short()
    );
    Some(("AwaitingApproval".to_owned(), said))
}

/// Forgets what clusters were ahead with, where the hub has caught up or the cluster is no more.
pub(crate) fn caught_up(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    let readable = !index.has_unreadable("clusters/");
    for cluster in index.ahead.get(app).into_iter().flat_map(|of| of.keys()) {
        let gone =
            readable && cluster.0 != roadstead_target::HUB && !index.clusters.contains_key(cluster);
        if gone || index.keeps(cluster, app).is_none() {
            writes.delete(keys::ahead(cluster, app));
        }
    }
}

/// Lets the clusters go back that wait for leave to.
pub(crate) fn let_go_back(clusters: &[ClusterId], writes: &mut Writes<'_>) {
    for cluster in clusters {
        writes.delete(keys::ahead(cluster, writes.app));
    }
}
