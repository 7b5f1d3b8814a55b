//! Working through phases and waves: apply in kind order, hooks once, health before the next wave.

use std::collections::BTreeSet;
use std::sync::Arc;

use base_json::Value;
use bytes::Bytes;
use k8s_cluster::Call;
use k8s_object::{ObjectId, set_annotation};
use roadstead_dispatch::{EntryPhase, ProblemKind};
use roadstead_model::{ConflictPolicy, ImmutablePolicy};

use crate::app::{AppSync, Progress, Step};
use crate::core::{Core, Op};
use crate::desired;
use crate::object::{Obj, Presence};
use crate::objects::Place;
use crate::record::Run;
use crate::{MANAGER, RUN_ANNOTATION};

/// What has become of an object in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tended {
    /// Nothing is to be done.
    Settled,
    /// Something is under way; what comes after it waits.
    Busy,
    /// It waits for something outside; others go on.
    Blocked,
    /// It ended with an error.
    Error,
    /// It is tried again when everything else has found room.
    Later,
}

enum Outcome {
    Done,
    Pending,
    Failed(String),
}

impl AppSync {
    /// Goes on with the round as far as possible.
    pub(crate) fn advance(&mut self, core: &mut Core) {
        loop {
            match self.progress {
                Progress::Running(at) if at < self.steps.len() => {
                    self.heal(core, at);
                    let steps = Arc::clone(&self.steps);
                    let (step, last) = (&steps[at], at + 1 == steps.len());
                    match self.run_step(at, step, last, core) {
                        Outcome::Done => self.enter(Progress::Running(at + 1), core),
                        Outcome::Pending => return,
                        Outcome::Failed(message) => {
                            if let Some(round) = self.record.round.clone() {
                                self.record.failed = Some((round, message));
                            }
                            self.enter(Progress::Failing(0), core);
                        }
                    }
                }
                Progress::Running(_) => {
                    self.record.synced = self.record.round.clone();
                    self.record.failed = None;
                    self.enter(Progress::Steady, core);
                }
                Progress::Failing(at) if at < self.fail_steps.len() => {
                    let steps = Arc::clone(&self.fail_steps);
                    match self.run_step(self.steps.len() + at, &steps[at], false, core) {
                        Outcome::Pending => return,
                        Outcome::Done | Outcome::Failed(_) => {
                            self.enter(Progress::Failing(at + 1), core);
                        }
                    }
                }
                Progress::Failing(_) => self.enter(Progress::Failed, core),
                Progress::Steady => {
                    self.heal(core, self.steps.len());
                    self.prune(core);
                    return;
                }
                Progress::Failed | Progress::Gone => return,
            }
        }
    }

    fn enter(&mut self, progress: Progress, core: &Core) {
        self.progress = progress;
        self.entered = core.now.mono_ms;
    }

    fn run_step(&mut self, number: usize, step: &Step, last: bool, core: &mut Core) -> Outcome {
        let number = u32::try_from(number).unwrap_or(u32::MAX - 1);
        let deadline = self.deadline();
        let late = core.now.mono_ms >= deadline;
        let ranks = u32::try_from(step.ranks.len()).unwrap_or(u32::MAX);
        let (from, to) = (Place::first(number, 0), Place::first(number + 1, 0));
        let mut busy = false;
        for rank in 0..ranks {
            let (from, to) = (Place::first(number, rank), Place::first(number, rank + 1));
            self.tend_all(from, to, core, false);
            busy = self.objects.has_work(from, to);
            if busy {
                break;
            }
        }
        self.wake_at(deadline);
        self.refresh(core);
        let place = format!("{} wave {}", step.phase, step.wave);
        let running = self.record.runs.hooks.iter().find(|(id, run)| {
            let place = self.objects.get(id).and_then(|obj| obj.place);
            matches!(run, Run::Started(_)) && place.is_some_and(|place| place.step == number)
        });
        if let Some((id, _)) = running {
            // it has a deadline of its own
            self.waiting = format!("{place}: hook {} runs", id.readable());
            return Outcome::Pending;
        }
        if busy && !late {
            self.waiting = format!("applies {place}");
            return Outcome::Pending;
        }
        if let Some((first, errors)) = self.objects.first_error(from, to) {
            let why = self
                .at(first)
                .and_then(|id| self.objects.get(id)?.problem.as_ref())
                .map_or_else(String::new, |problem| problem.message.clone());
            let more = match errors {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            return Outcome::Failed(format!("{place}: {why}{more}"));
        }
        let unhealthy = if last {
            None
        } else {
            let first = self.objects.first_unhealthy(from, to);
            first.and_then(|first| self.at(first).cloned())
        };
        let blocked = self.objects.first_blocked(from, to);
        let wait = if let Some(id) = blocked.and_then(|first| self.at(first)) {
            let why = self
                .objects
                .get(id)
                .and_then(|obj| obj.problem.as_ref())
                .map_or_else(
                    || format!("waits for {}", id.readable()),
                    |problem| problem.message.clone(),
                );
            Some((id.clone(), why))
        } else if busy {
            Some((step.ranks[0][0].clone(), format!("{place} is not applied")))
        } else {
            unhealthy.map(|id| {
                let why = self.explain(&id);
                (id, why)
            })
        };
        let Some((id, why)) = wait else {
            return Outcome::Done;
        };
        if !late {
            self.waiting = format!("{place} waits: {why}");
            return Outcome::Pending;
        }
        let seconds = self.entry.options.wait_timeout.0 / 1000;
        if let Some(obj) = self.objects.get_mut(&id)
            && obj.problem.is_none()
        {
            obj.note(&id, ProblemKind::Deadline, "DeadlineExceeded", why.clone());
        }
        Outcome::Failed(format!("{place}: not done after {seconds} s: {why}"))
    }

    /// Tends the objects of these places that something is to be done about.
    pub(crate) fn tend_all(&mut self, from: Place, to: Place, core: &mut Core, steady: bool) {
        let mut next = from;
        loop {
            let todo = self.objects.todo.range(next..to).next().copied();
            let again = self.objects.again.range(next..to).next().copied();
            let place = match (todo, again.filter(|_| core.retries)) {
                (Some(todo), Some(again)) => todo.min(again),
                (Some(place), None) | (None, Some(place)) => place,
                (None, None) => {
                    core.starved |= again.is_some();
                    return;
                }
            };
            let Some(id) = self.at(place).cloned() else {
                self.objects.todo.remove(&place);
                self.objects.again.remove(&place);
                continue;
            };
            self.objects.visits += 1;
            self.loud.remove(&id);
            core.full = false;
            let outcome = self.tend(&id, core, steady);
            if core.full {
                // whoever comes next finds no room either
                self.objects.todo.insert(place);
                return;
            }
            self.objects.tended(place, outcome);
            next = Place {
                at: place.at + 1,
                ..place
            };
        }
    }

    /// Why an object is not healthy, in a sentence.
    pub(crate) fn explain(&self, id: &ObjectId) -> String {
        let name = id.readable();
        let Some(obj) = self.objects.get(id) else {
            return format!("{name} is not known");
        };
        if let Some(pod) = &obj.pod {
            return format!("{name}: {}: {}", pod.reason, pod.message);
        }
        match &obj.live {
            None => format!("{name} is not there"),
            Some(live) if live.deleting => format!("{name} is being removed"),
            Some(live) if live.message.is_empty() => {
                format!("{name} is {} ({})", live.status, live.reason)
            }
            Some(live) => format!("{name} is {}: {}", live.status, live.message),
        }
    }

    /// Brings one object on its way. In a steady round errors are tried again by and by, and hold nothing up.
    pub(crate) fn tend(&mut self, id: &ObjectId, core: &mut Core, steady: bool) -> Tended {
        let now = core.now.mono_ms;
        let Some(obj) = self.objects.get_mut(id) else {
            return Tended::Settled;
        };
        let Some(spec) = obj.spec.clone() else {
            return Tended::Settled;
        };
        if spec.hook {
            let skipped = self.entry.phase == EntryPhase::Revert && !spec.on_rollback;
            match self.record.runs.hooks.get(id) {
                _ if skipped || steady => return Tended::Settled,
                Some(Run::Succeeded) => return Tended::Settled,
                Some(Run::Failed(_)) => return Tended::Error,
                Some(Run::Started(_)) => return Tended::Busy,
                None => {}
            }
        }
        if obj.flight.is_some() {
            return Tended::Busy;
        }
        if obj.terminal {
            if !steady {
                return Tended::Error;
            }
            obj.retry_at.get_or_insert(now.saturating_add(60_000));
        }
        if let Some(at) = obj.retry_at {
            if at > now {
                self.objects.wake_at(id, at);
                return Tended::Busy;
            }
            if !core.retries {
                core.starved = true;
                return Tended::Later;
            }
            obj.retry_at = None;
            obj.terminal = false;
        }
        let gvk = spec.gvk();
        if !core.knows(&gvk) {
            obj.note(
                id,
                ProblemKind::UnknownKind,
                "UnknownKind",
                format!("{}: this cluster does not know {gvk} yet", id.readable()),
            );
            core.discover_again();
            return Tended::Blocked;
        }
        if !core.watch(&gvk) {
            return Tended::Busy;
        }
        if obj
            .problem
            .as_ref()
            .is_some_and(|problem| problem.kind == ProblemKind::UnknownKind)
        {
            obj.problem = None;
        }
        if spec.once
            && !spec.hook
            && obj.want.is_some()
            && self.record.ended.get(id) == obj.want.as_ref()
        {
            obj.drift = None;
            return Tended::Settled;
        }
        if obj.live.as_ref().is_some_and(|live| live.deleting)
            || obj.replacing && obj.live.is_some()
        {
            // the watch tells when it is gone; the look is for objects that it does not see
            obj.retry_at = Some(now.saturating_add(2_000));
            self.look(id, core);
            return Tended::Busy;
        }
        if obj.live.is_none() && obj.presence == Presence::Unknown {
            self.find(id, core);
            return Tended::Busy;
        }
        if spec.hook {
            return self.start_hook(id, core);
        }
        self.settle(id, None, core)
    }

    /// Reads the object, to decide on what is there.
    pub(crate) fn look(&mut self, id: &ObjectId, core: &mut Core) {
        if let Some(gvk) = self.gvk(id, core) {
            let call = Call::Get {
                gvk,
                id: id.clone(),
            };
            self.send(id, Op::Look, call, core);
        }
    }

    /// Decides on a lasting object whose presence is known. `tree` is the object itself, if it was just read.
    pub(crate) fn settle(
        &mut self,
        id: &ObjectId,
        tree: Option<&Value>,
        core: &mut Core,
    ) -> Tended {
        let held = self.record.held.get(id).cloned();
        let app_holds = self.healing_held(core);
        let Some(obj) = self.objects.get_mut(id) else {
            return Tended::Settled;
        };
        let (Some(spec), Some(want)) = (obj.spec.clone(), obj.want) else {
            return Tended::Settled;
        };
        let applied = held.as_ref().is_some_and(|held| held.applied == Some(want));
        let verdict = obj.verdict().cloned();
        let Some(live) = &obj.live else {
            if applied {
                return self.drifted(id, Vec::new(), String::new(), tree, app_holds, core);
            }
            return self.apply(id, tree, false, core);
        };
        let known = applied && held.as_ref().is_some_and(|held| held.uid == live.uid);
        match verdict {
            Some(verdict) if verdict.same && live.marked => {
                let uid = live.uid.clone();
                obj.drift = None;
                obj.succeeded();
                if obj
                    .contested_until
                    .is_some_and(|until| until <= core.now.mono_ms)
                {
                    obj.contested_until = None;
                    obj.problem = None;
                }
                if !known {
                    let version = spec.version.clone();
                    self.hold(id, &version);
                    if let Some(entry) = self.record.held.get_mut(id) {
                        entry.version = version;
                        entry.uid = uid;
                        entry.applied = Some(want);
                        entry.settled = None;
                    }
                }
                return Tended::Settled;
            }
            // somebody made another one under the same name, or it was changed
            Some(verdict) if applied => {
                return self.drifted(id, verdict.fields, verdict.manager, tree, app_holds, core);
            }
            _ => {}
        }
        if tree.is_none()
            && (!live.marked
                || verdict.is_none() && held.as_ref().is_none_or(|held| held.applied.is_none()))
        {
            self.look(id, core);
            return Tended::Busy;
        }
        if self.held_in_cluster(id, core) {
            return Tended::Blocked;
        }
        if spec.once && self.objects.get(id).is_some_and(|obj| obj.live.is_some()) && held.is_some()
        {
            // a Job cannot be changed: it is made again
            return self.replace(id, core);
        }
        self.apply(id, tree, false, core)
    }

    /// Applies what is wanted.
    pub(crate) fn apply(
        &mut self,
        id: &ObjectId,
        tree: Option<&Value>,
        heal: bool,
        core: &mut Core,
    ) -> Tended {
        let Some(obj) = self.objects.get(id) else {
            return Tended::Settled;
        };
        let (Some(spec), Some(want)) = (&obj.spec, obj.want) else {
            return Tended::Settled;
        };
        let there = obj.live.is_some();
        if obj.adopting
            && let Some(patch) = tree.and_then(crate::adopt::hand_over)
            && let Some(gvk) = self.gvk(id, core)
        {
            let call = Call::Merge {
                gvk,
                id: id.clone(),
                patch: base_json::canonical(&patch).into(),
                manager: MANAGER.to_owned(),
            };
            self.send(id, Op::Adopt, call, core);
            return Tended::Busy;
        }
        if there && tree.is_none() && !self.left_out(id, obj, core).is_empty() {
            // the values of fields that are let go must be known
            self.look(id, core);
            return Tended::Busy;
        }
        let hook = spec.hook;
        let Some(content) = core.need_blob(spec.digest) else {
            let digest = spec.digest;
            self.lacking = (BTreeSet::from([digest]), 1);
            self.planned = false;
            return Tended::Busy;
        };
        let Some((mut object, keep)) = self.shape(id, obj, &content, tree.filter(|_| there), core)
        else {
            return self.unreadable(id);
        };
        if hook {
            set_annotation(&mut object, RUN_ANNOTATION, &self.record.runs.run);
        }
        let object: Bytes = base_json::canonical(&object).into();
        let sent = if let Some(kept) = keep {
            let call = Call::Apply {
                object: base_json::canonical(&kept).into(),
                manager: crate::KEEP_MANAGER.to_owned(),
                force: true,
                dry_run: false,
            };
            self.send(id, Op::Keep { then: object, want }, call, core)
        } else {
            self.send_apply(id, object, want, heal, !there, core)
        };
        if sent && heal {
            self.note_heal(id, core);
        }
        Tended::Busy
    }

    pub(crate) fn send_apply(
        &mut self,
        id: &ObjectId,
        object: Bytes,
        want: base_json::Digest,
        heal: bool,
        fresh: bool,
        core: &mut Core,
    ) -> bool {
        let call = Call::Apply {
            object,
            manager: MANAGER.to_owned(),
            force: self.entry.options.conflict == ConflictPolicy::Force,
            dry_run: false,
        };
        self.send(id, Op::Apply { want, heal, fresh }, call, core)
    }

    fn unreadable(&mut self, id: &ObjectId) -> Tended {
        if let Some(obj) = self.objects.get_mut(id) {
            let message = format!("{}: what was delivered is no object", id.readable());
            obj.fail(id, ProblemKind::Apply, "Unreadable", message);
        }
        Tended::Error
    }

    /// The fields that are left to others once the object exists.
    pub(crate) fn left_out(&self, id: &ObjectId, obj: &Obj, core: &Core) -> Vec<String> {
        let mut out = obj.ignored.clone();
        out.extend(obj.yielded.iter().cloned());
        let scaled = obj.live.as_ref().is_some_and(|live| live.scaled) || core.scaled.contains(id);
        if desired::scales(id) && scaled && !out.iter().any(|pointer| pointer == desired::REPLICAS)
        {
            out.push(desired::REPLICAS.to_owned());
        }
        out
    }

    /// What to apply to `live`, and what to give to the keeping manager before.
    pub(crate) fn shape(
        &self,
        id: &ObjectId,
        obj: &Obj,
        content: &[u8],
        live: Option<&Value>,
        core: &Core,
    ) -> Option<(Value, Option<Value>)> {
        let mut object = desired::marked(content, &self.key, id)?;
        let Some(live) = live else {
            return Some((object, None));
        };
        let mut own = Vec::new();
        for pointer in self.left_out(id, obj, core) {
            desired::take(&mut object, &pointer);
            let owners = crate::engine::owners_of(live, &pointer);
            if !owners.is_empty() && owners.iter().all(|(manager, _)| *manager == MANAGER) {
                own.push(pointer);
            }
        }
        Some((object, desired::keeping(live, &own)))
    }

    /// Removes an object so that it can be made again.
    pub(crate) fn replace(&mut self, id: &ObjectId, core: &mut Core) -> Tended {
        let uid = self
            .objects
            .get(id)
            .and_then(|obj| obj.live.as_ref())
            .map(|live| live.uid.clone());
        if let (Some(uid), Some(gvk)) = (uid, self.gvk(id, core)) {
            let call = Call::Delete {
                gvk,
                id: id.clone(),
                uid,
                propagation: k8s_cluster::Propagation::Background,
            };
            if self.send(id, Op::Replace, call, core)
                && let Some(obj) = self.objects.get_mut(id)
            {
                obj.replacing = true;
            }
        }
        Tended::Busy
    }

    /// What the App's rules say about a field of this object that cannot change.
    pub(crate) fn on_immutable(&self, id: &ObjectId) -> ImmutablePolicy {
        let options = &self.entry.options;
        options
            .immutable_rules
            .iter()
            .find(|rule| {
                rule.group == id.group
                    && rule.kind == id.kind
                    && (rule.name.is_empty() || rule.name == id.name)
            })
            .map_or(options.on_immutable, |rule| rule.policy)
    }

    fn start_hook(&mut self, id: &ObjectId, core: &mut Core) -> Tended {
        let run = self.record.runs.run.clone();
        let live = self.objects.get(id).and_then(|obj| obj.live.as_ref());
        match live {
            None => self.apply(id, None, false, core),
            Some(live) if live.marked && live.run == run => {
                self.record
                    .runs
                    .hooks
                    .insert(id.clone(), Run::Started(core.now.wall));
                self.check_hooks(core);
                // one that ended before it was seen says nothing more
                match self.record.runs.hooks.get(id) {
                    Some(Run::Succeeded) => Tended::Settled,
                    Some(Run::Failed(_)) => Tended::Error,
                    _ => Tended::Busy,
                }
            }
            Some(live) if live.marked => self.replace(id, core),
            // one that an App left behind from which this one takes over; while it runs, it is waited for
            Some(live)
                if live
                    .other
                    .as_ref()
                    .is_some_and(|app| self.entry.takes_over_from.contains(app)) =>
            {
                if live.ended.is_some() {
                    return self.replace(id, core);
                }
                let at = core.now.mono_ms.saturating_add(2_000);
                if let Some(obj) = self.objects.get_mut(id) {
                    obj.retry_at = Some(at);
                }
                self.look(id, core);
                Tended::Busy
            }
            Some(_) => {
                if let Some(obj) = self.objects.get_mut(id) {
                    let message = format!(
                        "hook {} exists already and is not this App's; rename the hook or remove that object",
                        id.readable()
                    );
                    obj.fail(id, ProblemKind::Owner, "NotOurs", message);
                }
                Tended::Error
            }
        }
    }

    /// Notes which running hooks have ended.
    pub(crate) fn check_hooks(&mut self, core: &Core) {
        let timeout = self.entry.options.wait_timeout.0;
        let running: Vec<(ObjectId, roadstead_model::Time)> = self
            .record
            .runs
            .hooks
            .iter()
            .filter_map(|(id, run)| match run {
                Run::Started(since) => Some((id.clone(), *since)),
                _ => None,
            })
            .collect();
        for (id, since) in running {
            let deadline = since.plus_ms(timeout);
            let explained = self.explain(&id);
            let Some(obj) = self.objects.get_mut(&id) else {
                if core.now.wall >= deadline {
                    let message = format!("hook {} was lost", id.readable());
                    self.record.runs.hooks.insert(id, Run::Failed(message));
                } else {
                    self.wake_wall(Some(deadline), core);
                }
                continue;
            };
            let outcome = match &obj.live {
                Some(live) if live.run != self.record.runs.run => None,
                Some(live) => live.ended.map(|well| {
                    if well {
                        Ok(())
                    } else {
                        Err(format!("hook {} failed: {explained}", id.readable()))
                    }
                }),
                None if obj.presence == Presence::Absent && obj.flight.is_none() => Some(Err(
                    format!("hook {} was removed before it ended", id.readable()),
                )),
                None => None,
            };
            let outcome = outcome.or_else(|| {
                (core.now.wall >= deadline).then(|| {
                    Err(format!(
                        "hook {} did not end within {} s: {explained}",
                        id.readable(),
                        timeout / 1000
                    ))
                })
            });
            match outcome {
                None => self.wake_wall(Some(deadline), core),
                Some(Ok(())) => {
                    obj.clean = cleans(obj, roadstead_dispatch::HookDelete::Succeeded);
                    obj.problem = None;
                    self.record.runs.hooks.insert(id, Run::Succeeded);
                }
                Some(Err(message)) => {
                    obj.clean = cleans(obj, roadstead_dispatch::HookDelete::Failed);
                    obj.note(&id, ProblemKind::Health, "HookFailed", message.clone());
                    self.record.runs.hooks.insert(id, Run::Failed(message));
                }
            }
        }
    }

    /// Removes the objects of hooks that ended, where they say so.
    pub(crate) fn clean(&mut self, core: &mut Core) {
        let now = core.now.mono_ms;
        self.refresh(core);
        let flies = |id: &ObjectId| self.objects.get(id).is_some_and(|obj| obj.flight.is_some());
        let cleaning = self.objects.cleaning().iter();
        let ids: Vec<ObjectId> = cleaning.filter(|id| !flies(id)).cloned().collect();
        for id in ids {
            let Some(obj) = self.objects.get_mut(&id) else {
                continue;
            };
            let Some(live) = obj
                .live
                .as_ref()
                .filter(|live| live.marked && !live.deleting)
            else {
                obj.clean = false;
                continue;
            };
            if let Some(at) = obj.retry_at.filter(|at| *at > now) {
                self.wake_at(at);
                continue;
            }
            let uid = live.uid.clone();
            if let Some(gvk) = self.gvk(&id, core) {
                let call = Call::Delete {
                    gvk,
                    id: id.clone(),
                    uid,
                    propagation: k8s_cluster::Propagation::Background,
                };
                self.send(&id, Op::Clean, call, core);
            }
        }
    }
}

fn cleans(obj: &Obj, when: roadstead_dispatch::HookDelete) -> bool {
    obj.spec
        .as_ref()
        .is_some_and(|spec| spec.hook_delete.contains(&when))
}
