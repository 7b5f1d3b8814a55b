//! Removing: only what tombstones name, only what carries our mark, within the budget.

use std::collections::BTreeSet;

use k8s_cluster::{Call, Propagation};
use k8s_object::{ObjectId, kind_rank};
use roadstead_dispatch::{EntryPhase, Hashed, LeftOver, ProblemKind, is_protected};
use roadstead_model::{ReleaseId, RemovalBudget};

use crate::app::{AppSync, Pruning};
use crate::core::{Core, Op};
use crate::object::Presence;
use crate::objects::Place;

/// One tombstone whose object is there and ours.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) id: ObjectId,
    /// The Release that made it, where that is known.
    pub(crate) created: Option<ReleaseId>,
    /// It was taken over from somebody.
    pub(crate) adopted: bool,
    /// A hook's object.
    pub(crate) hook: bool,
}

/// What the choice hangs on.
pub(crate) struct Rules<'a> {
    pub(crate) phase: EntryPhase,
    pub(crate) budget: RemovalBudget,
    pub(crate) approved: &'a [ObjectId],
    /// How many lasting objects the App holds.
    pub(crate) held: usize,
    /// The Release that this round goes back from.
    pub(crate) from: Option<ReleaseId>,
    /// What the App holds after this round.
    pub(crate) wanted: &'a [ObjectId],
}

/// Chooses what is removed, what waits for approval, and what stays.
pub(crate) fn choose(candidates: &[Candidate], rules: &Rules<'_>) -> Pruning {
    let mut out = Pruning::default();
    let (mut remove, mut counted) = (Vec::new(), Vec::new());
    let wanted = Hashed::among(rules.wanted);
    let approved: BTreeSet<&ObjectId> = rules.approved.iter().collect();
    for candidate in candidates {
        let id = &candidate.id;
        if approved.contains(id) || candidate.hook {
            remove.push(id.clone());
        } else if is_protected(id) {
            if rules.phase == EntryPhase::Revert {
                out.left_over.push(LeftOver {
                    object: id.clone(),
                    reason: format!("going back removes no {} by itself", id.kind),
                });
            } else {
                out.awaiting.push(id.clone());
            }
        } else if candidate.adopted {
            out.awaiting.push(id.clone());
        } else if wanted.replaces(id)
            || rules.phase == EntryPhase::Revert
                && rules.from.is_some()
                && candidate.created == rules.from
        {
            remove.push(id.clone());
        } else {
            counted.push(id.clone());
        }
    }
    if counted.len() <= rules.budget.allows(rules.held) {
        remove.extend(counted);
    } else {
        out.awaiting.extend(counted);
    }
    out.awaiting.sort();
    out.chosen = Some(remove);
    out
}

impl AppSync {
    /// Removes what the tombstones name, once everything that stays is healthy.
    pub(crate) fn prune(&mut self, core: &mut Core) {
        if self.pruning.done {
            return;
        }
        if self.entry.tombstones.is_empty() || !self.may_prune() {
            self.pruning.done = true;
            return;
        }
        let now = core.now.mono_ms;
        let since = *self.pruning.since.get_or_insert(now);
        if self.entry.phase != EntryPhase::Remove {
            self.refresh(core);
            if let Some(id) = self.first_unhealthy() {
                let count = self.entry.tombstones.len();
                let why = self.explain(id);
                self.waiting =
                    format!("removes {count} objects once all others are healthy: {why}");
                return;
            }
        }
        if self.pruning.chosen.is_none() {
            let Some(there) = self.tombstones_there(core) else {
                self.waiting = "looks at what is to be removed".to_owned();
                return;
            };
            let wanted: Vec<ObjectId> = self
                .objects
                .iter()
                .filter(|(_, obj)| self.entry.phase != EntryPhase::Remove && obj.spec.is_some())
                .map(|(id, _)| id.clone())
                .collect();
            let chosen = choose(
                &there,
                &Rules {
                    phase: self.entry.phase,
                    budget: self.entry.options.removal_budget.unwrap_or_default(),
                    approved: &self.entry.approved,
                    held: self.record.held.len(),
                    from: self.record.from,
                    wanted: &wanted,
                },
            );
            for id in chosen.chosen.iter().flatten() {
                self.objects.leave(id, kind_rank(&id.group_kind()).0);
            }
            self.pruning = Pruning {
                since: self.pruning.since,
                ..chosen
            };
        }
        let deadline = since.saturating_add(self.entry.options.wait_timeout.0);
        let late = now >= deadline;
        if late && !self.pruning.late {
            self.pruning.late = true;
            self.objects.touch_all();
        }
        while let Some(id) = self.objects.next_leaving() {
            core.full = false;
            self.remove_one(&id, late, core);
            if core.full {
                self.objects.leave_later(&id);
                break;
            }
        }
        let left = self.objects.leaving();
        if left == 0 {
            self.pruning.done = true;
            return;
        }
        self.waiting = format!("removes {left} objects");
        if !late {
            self.wake_at(deadline);
        }
    }

    /// The first object of the round, apart from what follows a failure, that is not healthy.
    pub(crate) fn first_unhealthy(&self) -> Option<&ObjectId> {
        let steps = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let (from, to) = (Place::first(0, 0), Place::first(steps, 0));
        let first = self.objects.first_unhealthy(from, to)?;
        self.at(first)
    }

    fn may_prune(&self) -> bool {
        self.entry.options.prune || self.entry.phase != EntryPhase::Deliver
    }

    /// The tombstones whose objects are there and carry our mark; `None` while that is not known of all.
    fn tombstones_there(&mut self, core: &mut Core) -> Option<Vec<Candidate>> {
        let now = core.now.mono_ms;
        let (mut out, mut known) = (Vec::new(), true);
        for id in self.entry.tombstones.clone() {
            let obj = self.objects.entry(&id);
            // what the order also wants stays, whatever the tombstone says
            if obj.spec.is_some() && self.entry.phase != EntryPhase::Remove {
                continue;
            }
            let (flying, retry) = (obj.flight.is_some(), obj.retry_at.filter(|at| *at > now));
            match &obj.live {
                Some(live) if !live.marked => {
                    self.record.held.remove(&id);
                    self.record.left.insert(id);
                }
                Some(live) => {
                    let held = self.record.held.get(&id);
                    out.push(Candidate {
                        created: held.and_then(|held| held.created),
                        adopted: held.is_some_and(|held| held.adopted),
                        hook: !live.run.is_empty(),
                        id,
                    });
                }
                None if obj.presence == Presence::Absent => {
                    self.record.held.remove(&id);
                }
                None => {
                    if self.gvk(&id, core).is_none() {
                        if let Some(obj) = self.objects.get_mut(&id) {
                            let message = format!(
                                "{} cannot be removed: this cluster does not know its kind",
                                id.readable()
                            );
                            obj.note(&id, ProblemKind::Remove, "UnknownKind", message);
                        }
                        continue;
                    }
                    known = false;
                    if let Some(at) = retry {
                        self.wake_at(at);
                    } else if !flying {
                        self.look(&id, core);
                    }
                }
            }
        }
        known.then_some(out)
    }

    fn remove_one(&mut self, id: &ObjectId, late: bool, core: &mut Core) {
        let now = core.now.mono_ms;
        self.objects.visits += 1;
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        let flying = obj.flight.is_some();
        let retry = obj.retry_at.filter(|at| *at > now);
        let Some(live) = &obj.live else {
            if obj.presence == Presence::Absent {
                self.record.held.remove(id);
                self.objects.left(id);
            } else if let Some(at) = retry {
                self.objects.wake_at(id, at);
            } else if !flying {
                self.look(id, core);
            }
            return;
        };
        if !live.marked {
            // somebody took the mark off meanwhile
            self.record.held.remove(id);
            self.record.left.insert(id.clone());
            self.objects.left(id);
            return;
        }
        let deleting = live.deleting;
        let uid = live.uid.clone();
        if late && deleting {
            let message = format!(
                "{} was told to go and is still there; it waits for finalizers: {}",
                id.readable(),
                live.finalizers
            );
            obj.note(id, ProblemKind::Remove, "Finalizers", message);
        }
        if flying {
            return;
        }
        if let Some(at) = retry {
            self.objects.wake_at(id, at);
            return;
        }
        if deleting {
            obj.retry_at = Some(now.saturating_add(5_000));
            self.objects.wake_at(id, now.saturating_add(5_000));
            self.look(id, core);
            return;
        }
        if let Some(gvk) = self.gvk(id, core) {
            let call = Call::Delete {
                gvk,
                id: id.clone(),
                uid,
                propagation: Propagation::Background,
            };
            self.send(id, Op::Prune, call, core);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<ObjectId> {
        text.split_whitespace()
            .map(|id| id.parse().expect(id))
            .collect()
    }

    fn check(
        phase: EntryPhase,
        tombstones: &str,
        approved: &str,
        wanted: &str,
        held: usize,
        expected: [&str; 3],
    ) {
        let candidates: Vec<Candidate> = ids(tombstones)
            .into_iter()
            .map(|id| Candidate {
                created: Some(base_json::Digest::of(if id.name.starts_with("new") {
                    b"bad"
                } else {
                    b"old"
                })),
                adopted: id.name.starts_with("adopted"),
                hook: false,
                id,
            })
            .collect();
        let found = choose(
            &candidates,
            &Rules {
                phase,
                budget: RemovalBudget::default(),
                approved: &ids(approved),
                held,
                from: Some(base_json::Digest::of(b"bad")),
                wanted: &ids(wanted),
            },
        );
        let mut chosen = found.chosen.unwrap_or_default();
        chosen.sort();
        let left: Vec<ObjectId> = found
            .left_over
            .into_iter()
            .map(|left| left.object)
            .collect();
        assert_eq!(
            [chosen, found.awaiting, left],
            expected.map(ids),
            "{phase:?} {tombstones}"
        );
    }

    #[test]
    fn keeps_to_the_budget() {
        let deliver = EntryPhase::Deliver;
        let three = "/ConfigMap/n/a /ConfigMap/n/b /ConfigMap/n/c";
        let four = "/ConfigMap/n/a /ConfigMap/n/b /ConfigMap/n/c /ConfigMap/n/d";
        check(deliver, three, "", "", 10, [three, "", ""]);
        check(deliver, four, "", "", 10, ["", four, ""]);
        check(deliver, four, "", "", 40, [four, "", ""]);
        check(deliver, four, "/ConfigMap/n/a", "", 10, [four, "", ""]);
        check(
            deliver,
            "/ConfigMap/n/a /PersistentVolumeClaim/n/data",
            "",
            "",
            10,
            ["/ConfigMap/n/a", "/PersistentVolumeClaim/n/data", ""],
        );
        check(
            deliver,
            "/ConfigMap/n/adopted",
            "",
            "",
            10,
            ["", "/ConfigMap/n/adopted", ""],
        );
    }

    #[test]
    fn does_not_count_hash_suffixes_and_what_a_failed_release_made() {
        let hashed = "/ConfigMap/n/a-2t8hm4k5gb /ConfigMap/n/b-2t8hm4k5gb /Secret/n/c-2t8hm4k5gb /Secret/n/d-2t8hm4k5gb";
        let wanted = "/ConfigMap/n/a-bcdfghkmt2 /ConfigMap/n/b-bcdfghkmt2 /Secret/n/c-bcdfghkmt2 /Secret/n/d-bcdfghkmt2";
        check(EntryPhase::Deliver, hashed, "", wanted, 4, [hashed, "", ""]);
        check(EntryPhase::Deliver, hashed, "", "", 4, ["", hashed, ""]);
        let made = "/ConfigMap/n/new1 /ConfigMap/n/new2 /ConfigMap/n/new3 /ConfigMap/n/new4";
        check(EntryPhase::Revert, made, "", "", 4, [made, "", ""]);
        check(EntryPhase::Deliver, made, "", "", 4, ["", made, ""]);
        check(
            EntryPhase::Revert,
            "/Namespace//new apps/StatefulSet/n/new",
            "",
            "",
            4,
            ["", "", "/Namespace//new apps/StatefulSet/n/new"],
        );
    }
}
