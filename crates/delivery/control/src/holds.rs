//! Who is left alone, and until when.

use roadstead_model::{App, AppKey, ClusterId, Time};
use roadstead_rollout::Event;

use crate::index::Index;
use crate::records::keys;
use crate::writes::Writes;

/// Forgets holds that have ended, and those of what a cluster does not have any more.
pub(crate) fn clean(index: &Index, app: &AppKey, now: Time, writes: &mut Writes<'_>) {
    let readable = index.unreadable_app(app).is_none() && !index.has_unreadable("clusters/");
    for ((id, _), hold) in index.holds.iter().filter(|((_, of), _)| of == app) {
        let key = keys::hold(id, app);
        if !hold.is_active(now) {
            let name = index.cluster_name(id);
            let said = format!("the hold on cluster {name} has ended by itself");
            writes.event(0, Event::own(now, "Unheld", said));
            writes.delete(key);
        } else if readable && index.assignment(id, app).is_none() {
            writes.delete(key);
        }
    }
}

impl Index {
    /// When the next hold that concerns an App ends by itself.
    pub(crate) fn next_hold_end(&self, app: &AppKey, noun: &App, now: Time) -> Option<Time> {
        let clusters = self
            .clusters
            .values()
            .filter_map(|cluster| cluster.spec.hold.as_ref());
        let own = self
            .holds
            .iter()
            .filter(|((_, of), _)| of == app)
            .map(|(_, hold)| hold);
        let all = clusters.chain(own).chain(noun.spec.hold.as_ref());
        all.filter_map(|hold| hold.until)
            .filter(|until| *until > now)
            .min()
    }

    /// Why nothing may be assigned to a cluster now; empty if it may.
    pub(crate) fn withheld(&self, app: &AppKey, noun: &App, id: &ClusterId, now: Time) -> String {
        let hold = |what: &str, hold: Option<&roadstead_model::Hold>| {
            let hold = hold.filter(|hold| {
                hold.is_active(now) && hold.mode == roadstead_model::HoldMode::Sync
            })?;
            let why = if hold.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", hold.reason)
            };
            Some(format!(
                "{what} is on hold by {}{why}",
                if hold.actor.is_empty() {
                    "somebody"
                } else {
                    &hold.actor
                }
            ))
        };
        let cluster = self.clusters.get(id);
        hold("the App", noun.spec.hold.as_ref())
            .or_else(|| {
                hold(
                    "the cluster",
                    cluster.and_then(|cluster| cluster.spec.hold.as_ref()),
                )
            })
            .or_else(|| hold("the assignment", self.hold(id, app)))
            .or_else(|| {
                cluster.and_then(|cluster| {
                    if cluster.spec.drained {
                        Some("the cluster is drained".to_owned())
                    } else {
                        cluster
                            .spec
                            .cordoned
                            .then(|| "the cluster is cordoned".to_owned())
                    }
                })
            })
            .unwrap_or_default()
    }
}
