//! What goes on after a round: healing, holds, looking at pods, letting go.

use base_json::Value;
use k8s_cluster::Call;
use k8s_object::{Gvk, ObjectId};
use roadstead_dispatch::{APP_LABEL, DriftItem, DriftKind, OWNER_ANNOTATION, ProblemKind};

use crate::MANAGER;
use crate::app::{AppSync, Progress};
use crate::core::{Core, Op};
use crate::group::Tended;
use crate::object::Presence;
use crate::objects::Place;

/// Three heals of one field in this time make it contested.
const CONTEST_MS: u64 = 300_000;
const CONTEST_HEALS: usize = 3;
/// An annotation in the cluster holds for a day at most.
const HOLD_MAX_MS: u64 = 24 * 3_600_000;
/// How often pods are looked at while their workload is not healthy.
const PODS_MS: u64 = 2_000;

impl AppSync {
    /// Puts back what is not as it should be in the steps before `until`.
    pub(crate) fn heal(&mut self, core: &mut Core, until: usize) {
        let until = Place::first(u32::try_from(until).unwrap_or(u32::MAX), 0);
        self.tend_all(Place::first(0, 0), until, core, true);
    }

    /// Does the order or the App's options say that drift is only shown?
    pub(crate) fn healing_held(&self, core: &Core) -> bool {
        let hold = self.entry.hold.as_ref();
        !self.entry.options.self_heal || hold.is_some_and(|hold| hold.is_active(core.now.wall))
    }

    /// Does somebody in the cluster hold the object, by its own or its namespace's annotation?
    pub(crate) fn held_in_cluster(&mut self, id: &ObjectId, core: &Core) -> bool {
        let own = self
            .objects
            .get(id)
            .and_then(|obj| obj.live.as_ref())
            .and_then(|live| live.hold);
        let namespace = core.namespaces.get(&id.namespace).copied().flatten();
        for (until, what) in [
            (own, id.readable()),
            (namespace, format!("namespace {}", id.namespace)),
        ] {
            let Some(until) = until.filter(|until| *until > core.now.wall) else {
                continue;
            };
            if until.since_ms(core.now.wall) > HOLD_MAX_MS {
                let text = format!(
                    "{what} carries {}: {until}, which is more than 24 h ahead and is ignored",
                    crate::HOLD_ANNOTATION
                );
                self.loud.insert(id.clone(), text);
                continue;
            }
            let text = format!("{what} is held in the cluster until {until}");
            self.loud.insert(id.clone(), text);
            let at = core.mono_of(until);
            self.objects.wake_at(id, at);
            return true;
        }
        false
    }

    /// Notes drift, and heals it if nothing speaks against it.
    pub(crate) fn drifted(
        &mut self,
        id: &ObjectId,
        fields: Vec<String>,
        manager: String,
        tree: Option<&Value>,
        app_holds: bool,
        core: &mut Core,
    ) -> Tended {
        let now = core.now.mono_ms;
        let Some(obj) = self.objects.get_mut(id) else {
            return Tended::Settled;
        };
        let kind = if obj.live.is_some() {
            DriftKind::Changed
        } else {
            DriftKind::Removed
        };
        let since = obj
            .drift
            .as_ref()
            .map_or(core.now.wall, |drift| drift.since);
        obj.drift = Some(DriftItem {
            object: id.clone(),
            kind,
            fields: fields.clone(),
            since,
        });
        if app_holds {
            return Tended::Settled;
        }
        if let Some(until) = obj.contested_until.filter(|until| *until > now) {
            self.objects.wake_at(id, until);
            return Tended::Settled;
        }
        obj.heals
            .retain(|(at, _)| at.saturating_add(CONTEST_MS) > now);
        let again = obj
            .heals
            .iter()
            .filter(|(_, healed)| {
                fields.is_empty() && healed.is_empty()
                    || healed.iter().any(|field| fields.contains(field))
            })
            .count();
        if again >= CONTEST_HEALS {
            let pause = CONTEST_MS << obj.contests.min(4);
            obj.contests += 1;
            obj.contested_until = Some(now.saturating_add(pause));
            obj.heals.clear();
            let who = if manager.is_empty() {
                "somebody".to_owned()
            } else {
                format!("manager {manager:?}")
            };
            let what = fields.first().map_or("it", String::as_str);
            obj.note(
                id,
                ProblemKind::Contested,
                "Contested",
                format!(
                    "{}: {who} keeps changing {what}; healing of it waits {} min",
                    id.readable(),
                    pause / 60_000
                ),
            );
            let until = now.saturating_add(pause);
            self.objects.wake_at(id, until);
            return Tended::Settled;
        }
        if self.held_in_cluster(id, core) {
            return Tended::Settled;
        }
        self.apply(id, tree, true, core)
    }

    /// Remembers a heal, to see whether it has to be done again and again.
    pub(crate) fn note_heal(&mut self, id: &ObjectId, core: &Core) {
        if let Some(obj) = self.objects.get_mut(id) {
            let fields = obj.drift.as_ref().map(|drift| drift.fields.clone());
            obj.heals
                .push_back((core.now.mono_ms, fields.unwrap_or_default()));
        }
    }

    /// Shows drift without healing it.
    pub(crate) fn see_drift(&mut self, core: &mut Core) {
        for place in std::mem::take(&mut self.objects.todo) {
            let Some(id) = self.at(place).cloned() else {
                continue;
            };
            let id = &id;
            self.objects.visits += 1;
            let Some(obj) = self.objects.get_mut(id) else {
                continue;
            };
            let hook = obj.spec.as_ref().is_none_or(|spec| spec.hook);
            let applied = self
                .record
                .held
                .get(id)
                .is_some_and(|held| held.applied.is_some() && held.applied == obj.want);
            let ended = self.record.ended.contains_key(id);
            if hook || !applied || ended || obj.flight.is_some() {
                continue;
            }
            let fields = match (&obj.live, obj.verdict()) {
                (None, _) => Vec::new(),
                (Some(_), Some(verdict)) if !verdict.same => verdict.fields.clone(),
                _ => {
                    obj.drift = None;
                    continue;
                }
            };
            self.drifted(id, fields, String::new(), None, true, core);
        }
    }

    /// Asks the pods of workloads that are not healthy what is wrong.
    pub(crate) fn look_at_pods(&mut self, core: &mut Core) {
        self.refresh(core);
        let now = core.now.mono_ms;
        while let Some(id) = self.objects.next_pods(now) {
            let live = self.objects.get(&id).and_then(|obj| obj.live.as_ref());
            let Some(labels) = live.and_then(|live| live.selector.clone()) else {
                continue;
            };
            let call = Call::List {
                gvk: Gvk::new("v1", "Pod"),
                labels,
                fields: format!("metadata.namespace={}", id.namespace),
                limit: 50,
                token: String::new(),
            };
            let sent = self.send(&id, Op::Pods, call, core);
            let next = if sent {
                now.saturating_add(PODS_MS)
            } else {
                now
            };
            self.objects.pods_at(&id, next);
            if !sent {
                return;
            }
        }
    }

    /// Takes the marks off everything that is held, and forgets the App.
    pub(crate) fn release(&mut self, core: &mut Core) {
        if self.progress == Progress::Gone {
            return;
        }
        match self.watched(core) {
            Some(true) => {}
            Some(false) => {
                self.waiting = self.unlisted(core);
                return;
            }
            None => return,
        }
        if self.objects.leaving() == 0 {
            let ids: Vec<ObjectId> = self.record.held.keys().cloned().collect();
            for id in ids {
                self.objects.leave(&id, 0);
            }
        }
        while let Some(id) = self.objects.next_leaving() {
            core.full = false;
            if self.let_go(&id, core) {
                self.record.held.remove(&id);
                self.objects.left(&id);
            } else if core.full {
                self.objects.leave_later(&id);
                break;
            }
        }
        if self.record.held.is_empty() {
            self.progress = Progress::Gone;
        } else {
            self.waiting = format!("lets go of {} objects", self.record.held.len());
        }
    }

    /// Takes the marks off an object; says whether it has none.
    fn let_go(&mut self, id: &ObjectId, core: &mut Core) -> bool {
        let now = core.now.mono_ms;
        self.objects.visits += 1;
        let Some(obj) = self.objects.get(id).filter(|obj| obj.flight.is_none()) else {
            return false;
        };
        if let Some(at) = obj.retry_at.filter(|at| *at > now) {
            self.objects.wake_at(id, at);
            return false;
        }
        match &obj.live {
            None if obj.presence == Presence::Unknown => {
                self.look(id, core);
                false
            }
            Some(live) if live.marked && !live.deleting => {
                let patch = base_json::json!({"metadata": {
                    "resourceVersion": live.revision,
                    "labels": { APP_LABEL: null },
                    "annotations": { OWNER_ANNOTATION: null },
                }});
                if let Some(gvk) = self.gvk(id, core) {
                    let call = Call::Merge {
                        gvk,
                        id: id.clone(),
                        patch: base_json::canonical(&patch).into(),
                        manager: MANAGER.to_owned(),
                    };
                    self.send(id, Op::Unmark, call, core);
                }
                false
            }
            _ => true,
        }
    }

    /// Removes what the tombstones name, and forgets the App.
    pub(crate) fn remove(&mut self, core: &mut Core) {
        if self.progress == Progress::Gone {
            return;
        }
        match self.watched(core) {
            Some(true) => {}
            Some(false) => {
                self.waiting = self.unlisted(core);
                return;
            }
            None => return,
        }
        let hold = self.entry.hold.as_ref();
        if let Some(hold) = hold.filter(|hold| hold.is_active(core.now.wall)) {
            let until = hold.until;
            self.wake_wall(until, core);
            self.held = true;
            return;
        }
        self.prune(core);
        if self.pruning.done && self.pruning.awaiting.is_empty() {
            self.progress = Progress::Gone;
        }
    }
}
