//! What the cluster says: answers to requests, and what watches show.

use base_json::{Digest, Value};
use k8s_cluster::{ClusterError, ErrorKind, FieldConflict, Reply};
use k8s_object::ObjectId;
use roadstead_dispatch::{EntryPhase, ProblemKind};
use roadstead_model::{ConflictPolicy, HoldMode, ImmutablePolicy};

use crate::app::{AppSync, Progress};
use crate::claim::{Claim, claim};
use crate::core::{Core, Op, pause};
use crate::object::{Live, Presence, Verdict};
use crate::pods;
use crate::record::Run;

impl AppSync {
    /// Takes in an object as it is in the cluster.
    pub(crate) fn observe(&mut self, id: &ObjectId, tree: &Value, core: &mut Core) {
        let live = Live::of(tree, id, &self.key);
        let obj = self.objects.entry(id);
        // a watch that resumes may tell again of what had this name before
        if obj.live.as_ref().is_some_and(|old| live.older_than(old)) {
            return;
        }
        if obj.live.as_ref().is_some_and(|old| old.uid != live.uid) {
            obj.replacing = false;
        }
        obj.presence = Presence::Unknown;
        let definition = id.kind == "CustomResourceDefinition" && live.healthy();
        let (marked, run, ended) = (live.marked, !live.run.is_empty(), live.ended);
        obj.live = Some(live);
        let verdict = self.verdict(id, tree, core);
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        if let Some(live) = &mut obj.live {
            live.verdict = verdict;
        }
        let (spec, want) = (obj.spec.clone(), obj.want);
        let lasting = spec.as_ref().map_or(!run, |spec| !spec.hook);
        if marked && lasting && self.progress != Progress::Gone {
            let version = spec.as_ref().map_or_else(
                || {
                    k8s_object::api_version(tree)
                        .rsplit('/')
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                },
                |spec| spec.version.clone(),
            );
            self.hold(id, &version);
        }
        if let (Some(spec), Some(want)) = (&spec, want)
            && spec.once
            && !spec.hook
            && ended == Some(true)
            && self
                .record
                .held
                .get(id)
                .is_some_and(|held| held.applied == Some(want))
            && self.record.ended.get(id) != Some(&want)
        {
            self.record.ended.insert(id.clone(), want);
        }
        self.objects.touch(id);
        if definition {
            core.discover_missing();
        }
    }

    /// Compares an object with what is wanted.
    fn verdict(&self, id: &ObjectId, tree: &Value, core: &Core) -> Option<(Digest, Verdict)> {
        let obj = self.objects.get(id)?;
        let (spec, want) = (obj.spec.as_ref()?, obj.want?);
        let content = core.blobs.get(&spec.digest)?;
        let desired = self.compared(id, content, tree, core)?;
        let held = self.record.held.get(id);
        if let Some(held) = held
            && held.applied == Some(want)
            && held.settled.is_some()
            && held.settled == Some(crate::engine::settled(tree, &desired))
        {
            let same = Verdict {
                same: true,
                ..Verdict::default()
            };
            return Some((want, same));
        }
        Some((want, crate::engine::compare(tree, &desired)))
    }

    /// What an object is compared with: what would be applied, and the live values of what we own and leave to others.
    fn compared(&self, id: &ObjectId, content: &[u8], tree: &Value, core: &Core) -> Option<Value> {
        let obj = self.objects.get(id)?;
        let (mut desired, kept) = self.shape(id, obj, content, Some(tree), core)?;
        if let Some(kept) = kept {
            fill(&mut desired, kept);
        }
        if obj.spec.as_ref().is_some_and(|spec| spec.hook) {
            k8s_object::set_annotation(&mut desired, crate::RUN_ANNOTATION, &self.record.runs.run);
        }
        Some(desired)
    }

    /// Takes in that an object is gone, as a watch tells or an answer does.
    pub(crate) fn gone(&mut self, id: &ObjectId, certain: bool) {
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        let hook = obj.spec.as_ref().is_some_and(|spec| spec.hook);
        let meant = obj.removing || obj.replacing || hook;
        obj.live = None;
        // a watch by label also says "gone" when somebody took the label off
        obj.presence = if certain || meant {
            Presence::Absent
        } else {
            Presence::Unknown
        };
        obj.removing = false;
        obj.replacing = false;
        obj.clean = false;
        let ended = obj.want.is_some() && self.record.ended.get(id) == obj.want.as_ref();
        if obj.spec.is_none() || ended {
            if obj.presence == Presence::Absent || obj.spec.is_none() {
                self.record.held.remove(id);
            }
            obj.problem = None;
        }
        self.objects.touch(id);
    }

    /// May something be written for this App now?
    fn acting(&self, core: &Core) -> bool {
        let hold = self.entry.hold.as_ref();
        let held = hold
            .filter(|hold| hold.is_active(core.now.wall))
            .is_some_and(|hold| hold.mode == HoldMode::Sync);
        self.next.is_none()
            && !held
            && self.planned
            && matches!(self.entry.phase, EntryPhase::Deliver | EntryPhase::Revert)
            && !matches!(self.progress, Progress::Failed | Progress::Gone)
    }

    /// Takes in the answer to a request.
    pub(crate) fn reply(
        &mut self,
        id: &ObjectId,
        op: Op,
        result: Result<Reply, ClusterError>,
        core: &mut Core,
    ) {
        if op == Op::Pods {
            self.pods(id, result, core);
            return;
        }
        if let Some(obj) = self.objects.get_mut(id) {
            obj.flight = None;
        }
        self.objects.touch(id);
        match result {
            Ok(Reply::Object(bytes)) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(tree) => self.object(id, op, &tree, core),
                Err(error) => {
                    let message =
                        format!("cannot read the answer about {}: {error}", id.readable());
                    let error = ClusterError::new(ErrorKind::Unavailable, message);
                    self.refused(id, op, &error, core);
                }
            },
            Ok(Reply::Deleted { pending }) => self.deleted(id, &op, pending),
            Ok(_) => {}
            Err(error) => self.refused(id, op, &error, core),
        }
    }

    fn object(&mut self, id: &ObjectId, op: Op, tree: &Value, core: &mut Core) {
        match op {
            Op::Look => {
                self.observe(id, tree, core);
                self.looked(id, tree, core);
            }
            Op::Keep { then, want } => {
                self.record.writes += 1;
                self.observe(id, tree, core);
                if self.acting(core) {
                    self.send_apply(id, then, want, false, false, core);
                }
            }
            Op::Apply { want, heal, fresh } => self.applied(id, want, heal, fresh, tree, core),
            Op::Adopt => {
                self.record.writes += 1;
                self.observe(id, tree, core);
                if self.acting(core) {
                    self.settle(id, Some(tree), core);
                }
            }
            Op::Unmark => {
                self.record.writes += 1;
                self.record.held.remove(id);
                self.gone(id, true);
            }
            _ => {}
        }
    }

    /// Decides on an object that was just read.
    fn looked(&mut self, id: &ObjectId, tree: &Value, core: &mut Core) {
        if !self.acting(core) {
            return;
        }
        let known = self.record.held.get(id).map(|held| held.uid.clone());
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        let hook = obj.spec.as_ref().is_some_and(|spec| spec.hook);
        let busy = obj.replacing || obj.live.as_ref().is_none_or(|live| live.deleting);
        if busy {
            return;
        }
        obj.succeeded();
        if obj.spec.is_none() || hook {
            return;
        }
        let found = claim(
            tree,
            id,
            &self.key,
            &self.entry.adopt,
            &self.entry.takes_over_from,
            known.as_deref(),
        );
        match found {
            Claim::Refused(message) => obj.fail(id, ProblemKind::Owner, "NotOurs", message),
            Claim::Free { adopted } => {
                obj.adopting = adopted;
                self.settle(id, Some(tree), core);
            }
            Claim::Ours => {
                self.settle(id, Some(tree), core);
            }
        }
    }

    fn applied(
        &mut self,
        id: &ObjectId,
        want: Digest,
        heal: bool,
        fresh: bool,
        tree: &Value,
        core: &mut Core,
    ) {
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        let revision = tree
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        if obj.live.as_ref().map(|live| live.revision.as_str()) != revision || revision.is_none() {
            self.record.writes += 1;
        }
        obj.succeeded();
        obj.drift = None;
        if heal {
            self.record.healed += 1;
        }
        let adopted = std::mem::take(&mut obj.adopting);
        let spec = obj.spec.clone();
        let hook = spec.as_ref().map_or_else(
            || k8s_object::annotation(tree, crate::RUN_ANNOTATION).is_some(),
            |spec| spec.hook,
        );
        if hook {
            self.observe(id, tree, core);
            // one of an earlier run says nothing of this one's
            let run = k8s_object::annotation(tree, crate::RUN_ANNOTATION);
            if run == Some(self.record.runs.run.as_str()) {
                self.record
                    .runs
                    .hooks
                    .entry(id.clone())
                    .or_insert(Run::Started(core.now.wall));
            }
            return;
        }
        let version = k8s_object::api_version(tree)
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let release = self.entry.release;
        self.hold(id, version);
        if let Some(held) = self.record.held.get_mut(id) {
            version.clone_into(&mut held.version);
            k8s_object::uid(tree).clone_into(&mut held.uid);
            held.applied = Some(want);
            held.settled = None;
            held.adopted |= adopted;
            if fresh && !heal {
                held.created = Some(release);
            }
        }
        self.observe(id, tree, core);
        // the cluster may write what was applied in another way; what it made of it is what to compare with
        // unless somebody changed it since, which a watch may have told before this answer came
        let newest = |obj: &crate::object::Obj| {
            let live = obj.live.as_ref().map(|live| live.revision.as_str());
            live == revision
        };
        let settled = match self.objects.get(id) {
            Some(obj)
                if newest(obj)
                    && obj.want == Some(want)
                    && obj.verdict().is_some_and(|verdict| !verdict.same) =>
            {
                spec.and_then(|spec| core.blobs.get(&spec.digest))
                    .and_then(|content| self.compared(id, content, tree, core))
                    .map(|desired| crate::engine::settled(tree, &desired))
            }
            _ => None,
        };
        if let Some(settled) = settled {
            if let Some(held) = self.record.held.get_mut(id) {
                held.settled = Some(settled);
            }
            let same = Verdict {
                same: true,
                ..Verdict::default()
            };
            if let Some(live) = self.objects.get_mut(id).and_then(|obj| obj.live.as_mut()) {
                live.verdict = Some((want, same));
            }
        }
        if id.kind == "CustomResourceDefinition" {
            core.discover(core.now.mono_ms.saturating_add(200));
        }
    }

    fn deleted(&mut self, id: &ObjectId, op: &Op, pending: bool) {
        self.record.writes += 1;
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        obj.fails = 0;
        obj.retry_at = None;
        match op {
            Op::Prune => obj.removing = true,
            Op::Replace => obj.replacing = true,
            _ => {}
        }
        if let Some(live) = &mut obj.live {
            live.deleting = true;
        }
        if !pending {
            self.gone(id, true);
        }
    }

    fn pods(&mut self, id: &ObjectId, result: Result<Reply, ClusterError>, core: &Core) {
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        let Some(live) = obj.live.as_ref().filter(|live| !live.healthy()) else {
            obj.pod = None;
            return;
        };
        if let Ok(Reply::Page { items, .. }) = result {
            obj.pod = pods::worst(&items, &id.namespace, live.applied_at, core.now.wall);
        }
    }

    fn refused(&mut self, id: &ObjectId, op: Op, error: &ClusterError, core: &mut Core) {
        let now = core.now.mono_ms;
        match (&op, &error.kind) {
            (
                Op::Look | Op::Prune | Op::Clean | Op::Replace | Op::Unmark,
                ErrorKind::NotFound | ErrorKind::NamespaceMissing,
            ) => {
                self.gone(id, true);
                return;
            }
            (_, ErrorKind::UnknownKind) => {
                core.forget_kind(&id.group_kind());
                core.discover_again();
                if let Some(obj) = self.objects.get_mut(id) {
                    obj.presence = Presence::Unknown;
                }
                return;
            }
            (_, ErrorKind::Conflict) => {
                // it is not what we thought it was: look again
                if let Some(obj) = self.objects.get_mut(id) {
                    obj.live = None;
                    obj.presence = Presence::Unknown;
                }
            }
            (Op::Apply { .. }, ErrorKind::FieldConflict(conflicts))
                if self.entry.options.conflict == ConflictPolicy::Yield
                    && self.yielded(id, conflicts) =>
            {
                return;
            }
            (Op::Apply { .. }, ErrorKind::Immutable { .. }) => {
                let once = self
                    .objects
                    .get(id)
                    .and_then(|obj| obj.spec.as_ref())
                    .is_some_and(|spec| spec.once || spec.hook);
                if once || self.on_immutable(id) == ImmutablePolicy::Replace {
                    self.replace(id, core);
                    return;
                }
            }
            (Op::Apply { .. }, ErrorKind::NamespaceMissing) => {
                core.namespaces.remove(&id.namespace);
            }
            _ => {}
        }
        let lasting = matches!(
            error.kind,
            ErrorKind::FieldConflict(_)
                | ErrorKind::Immutable { .. }
                | ErrorKind::Invalid { .. }
                | ErrorKind::Forbidden
                | ErrorKind::Admission
                | ErrorKind::Other
        );
        let removal = matches!(op, Op::Prune | Op::Unmark | Op::Clean);
        let Some(obj) = self.objects.get_mut(id) else {
            return;
        };
        obj.fails = obj.fails.saturating_add(1);
        let kind = if removal {
            ProblemKind::Remove
        } else {
            ProblemKind::Apply
        };
        let message = format!("{}: {}", id.readable(), sentence(error));
        if lasting && !removal {
            obj.fail(id, kind, reason(&error.kind), message);
            return;
        }
        let mut wait = pause(error, obj.fails);
        if lasting {
            wait = wait.max(30_000);
        }
        obj.retry_at = Some(now.saturating_add(wait));
        if op == Op::Clean && obj.fails > 5 {
            obj.clean = false;
        }
        // one hiccup is nothing to show
        if lasting || obj.fails > 2 {
            obj.note(id, kind, reason(&error.kind), message);
        }
    }

    /// Leaves the fields to their managers; says whether that changes anything.
    fn yielded(&mut self, id: &ObjectId, conflicts: &[FieldConflict]) -> bool {
        let Some(obj) = self.objects.get_mut(id) else {
            return false;
        };
        let before = obj.yielded.len();
        for conflict in conflicts {
            let Some(pointer) = pointer(&conflict.field) else {
                return false;
            };
            if !obj.yielded.contains(&pointer) {
                obj.yielded.push(pointer);
            }
        }
        // the verdict was made with the fields
        if let Some(live) = &mut obj.live {
            live.verdict = None;
        }
        obj.yielded.len() > before
    }
}

/// Turns `.spec.replicas` into `/spec/replicas`; `None` for fields inside of lists, which have no lasting place.
fn pointer(field: &str) -> Option<String> {
    if field.contains('[') {
        return None;
    }
    Some(field.replace('.', "/"))
}

fn fill(desired: &mut Value, kept: Value) {
    match (desired, kept) {
        (Value::Object(desired), Value::Object(kept)) => {
            for (key, value) in kept {
                match desired.get_mut(&key) {
                    Some(found) => fill(found, value),
                    None => {
                        desired.insert(key, value);
                    }
                }
            }
        }
        (desired, kept) => *desired = kept,
    }
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "NotFound",
        ErrorKind::UnknownKind => "UnknownKind",
        ErrorKind::NamespaceMissing => "NamespaceMissing",
        ErrorKind::FieldConflict(_) => "FieldConflict",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Immutable { .. } => "Immutable",
        ErrorKind::Invalid { .. } => "Invalid",
        ErrorKind::Forbidden => "Forbidden",
        ErrorKind::Admission => "AdmissionRefused",
        ErrorKind::Unauthorized => "Unauthorized",
        ErrorKind::TooManyRequests { .. } => "TooManyRequests",
        ErrorKind::Expired => "Expired",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::Other => "Refused",
    }
}

fn sentence(error: &ClusterError) -> String {
    match &error.kind {
        ErrorKind::FieldConflict(conflicts) => {
            let each: Vec<String> = conflicts
                .iter()
                .map(|conflict| format!("{} is owned by {:?}", conflict.field, conflict.manager))
                .collect();
            format!(
                "{} (conflict: Force takes, Yield leaves them)",
                each.join(", ")
            )
        }
        ErrorKind::Immutable { fields } if !fields.is_empty() => format!(
            "{} cannot be changed; onImmutable: Replace removes the object and makes it again: {}",
            fields.join(", "),
            error.message
        ),
        _ => error.message.clone(),
    }
}
