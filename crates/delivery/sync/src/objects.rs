//! The objects of an App. What is said of all of them is kept up as each changes, so that no step walks through all.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use k8s_health::Status;
use k8s_object::ObjectId;
use roadstead_dispatch::{HealthCounts, ProblemKind};

use crate::group::Tended;
use crate::object::Obj;
use crate::record::AppRecord;

/// A workload that just changed needs a moment to make its pods.
const PODS_FIRST_MS: u64 = 500;

/// Where an object stands in a round: the step, its rank in there, its number in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) step: u32,
    pub(crate) rank: u32,
    pub(crate) at: u32,
}

impl Place {
    /// The first place of a rank.
    pub(crate) fn first(step: u32, rank: u32) -> Self {
        Self { step, rank, at: 0 }
    }
}

/// What is said of an object in sums and lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    place: Option<Place>,
    unhealthy: bool,
    degraded: bool,
    terminal: bool,
    unknown_kind: bool,
    ailing: bool,
    cleaning: bool,
    troubled: bool,
    drifting: bool,
    count: Option<Count>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Healthy,
    Missing,
    Degraded,
    Progressing,
}

/// The objects of an App, and what is to be done about them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    map: BTreeMap<ObjectId, Obj>,
    /// Changed since they were judged.
    stale: Vec<ObjectId>,
    all_stale: bool,
    /// To be tended: something happened to them.
    pub(crate) todo: BTreeSet<Place>,
    /// To be tried again, once everything else has found room.
    pub(crate) again: BTreeSet<Place>,
    /// How those ended that were tended and did not settle.
    busy: BTreeSet<Place>,
    blocked: BTreeSet<Place>,
    errors: BTreeSet<Place>,
    /// When which is to be tended again.
    timers: BTreeSet<(u64, ObjectId)>,
    /// When whose pods are to be asked for.
    pod_timers: BTreeSet<(u64, ObjectId)>,
    /// Those that are to go, by the rank of their kind.
    leaving: BTreeSet<(u16, ObjectId)>,
    /// Those of them that something is to be done about.
    leaving_todo: BTreeSet<(u16, ObjectId)>,
    unhealthy: BTreeSet<Place>,
    cleaning: BTreeSet<ObjectId>,
    troubled: BTreeSet<ObjectId>,
    drifting: BTreeSet<ObjectId>,
    degraded: usize,
    terminal: usize,
    unknown_kinds: usize,
    counts: HealthCounts,
    /// How often an object was tended or judged: what a step costs.
    pub(crate) visits: u64,
}

/// The id that comes before all others.
fn nobody() -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: String::new(),
        namespace: String::new(),
        name: String::new(),
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, is: bool) {
    if is {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

fn add(sum: &mut usize, before: bool, after: bool) {
    *sum = (*sum + usize::from(after)).saturating_sub(usize::from(before));
}

impl Objects {
    pub(crate) fn get(&self, id: &ObjectId) -> Option<&Obj> {
        self.map.get(id)
    }

    /// The object, to be changed.
    pub(crate) fn get_mut(&mut self, id: &ObjectId) -> Option<&mut Obj> {
        let obj = self.map.get_mut(id)?;
        if !std::mem::replace(&mut obj.stale, true) {
            self.stale.push(id.clone());
        }
        Some(obj)
    }

    /// The object, to be changed; made if it is not known.
    pub(crate) fn entry(&mut self, id: &ObjectId) -> &mut Obj {
        let obj = match self.map.entry(id.clone()) {
            btree_map::Entry::Occupied(found) => found.into_mut(),
            btree_map::Entry::Vacant(place) => place.insert(Obj::default()),
        };
        if !std::mem::replace(&mut obj.stale, true) {
            self.stale.push(id.clone());
        }
        obj
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Obj)> {
        self.map.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectId> {
        self.map.keys()
    }

    /// Every object, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&ObjectId, &mut Obj)> {
        self.all_stale = true;
        self.map.iter_mut()
    }

    /// Begins a round: everything that has a place is to be tended.
    pub(crate) fn begin(&mut self) {
        self.all_stale = true;
        self.again.clear();
        self.busy.clear();
        self.blocked.clear();
        self.errors.clear();
        self.timers.clear();
        self.leaving.clear();
        self.leaving_todo.clear();
        for obj in self.map.values_mut() {
            obj.wake = None;
            obj.leaving = None;
        }
        self.touch_all();
    }

    /// Something happened to an object: it is to be looked at again.
    pub(crate) fn touch(&mut self, id: &ObjectId) {
        let Some(obj) = self.map.get(id) else {
            return;
        };
        if let Some(rank) = obj.leaving {
            self.leaving_todo.insert((rank, id.clone()));
        }
        if let Some(place) = obj.place {
            self.todo.insert(place);
        }
    }

    /// Something happened that may matter to every object.
    pub(crate) fn touch_all(&mut self) {
        self.todo = self.map.values().filter_map(|obj| obj.place).collect();
        self.leaving_todo = self.leaving.clone();
    }

    /// Tends an object again at this time at the latest.
    pub(crate) fn wake_at(&mut self, id: &ObjectId, at: u64) {
        let Some(obj) = self.map.get_mut(id) else {
            return;
        };
        match obj.wake {
            Some(other) if other <= at => return,
            Some(other) => drop(self.timers.remove(&(other, id.clone()))),
            None => {}
        }
        obj.wake = Some(at);
        self.timers.insert((at, id.clone()));
    }

    /// Takes up those whose time has come.
    pub(crate) fn wake(&mut self, now: u64) {
        while let Some((at, id)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, id));
                return;
            }
            if let Some(obj) = self.map.get_mut(&id) {
                obj.wake = None;
            }
            self.touch(&id);
        }
    }

    /// When something is to be done next. What is due and found no room waits for room.
    pub(crate) fn next_wake(&self, now: u64) -> Option<u64> {
        let later = (now.saturating_add(1), nobody());
        let timers = [&self.timers, &self.pod_timers];
        let next = timers.map(|set| Some(set.range(&later..).next()?.0));
        next.into_iter().flatten().min()
    }

    /// Notes what came of tending an object.
    pub(crate) fn tended(&mut self, place: Place, outcome: Tended) {
        self.todo.remove(&place);
        self.again.remove(&place);
        put(&mut self.busy, place, outcome == Tended::Busy);
        put(&mut self.blocked, place, outcome == Tended::Blocked);
        put(&mut self.errors, place, outcome == Tended::Error);
        if outcome == Tended::Later {
            self.again.insert(place);
        }
    }

    /// Is something of these places under way, or still to be begun?
    pub(crate) fn has_work(&self, from: Place, to: Place) -> bool {
        [&self.todo, &self.again, &self.busy]
            .iter()
            .any(|set| set.range(from..to).next().is_some())
    }

    pub(crate) fn first_blocked(&self, from: Place, to: Place) -> Option<Place> {
        self.blocked.range(from..to).next().copied()
    }

    /// The first that ended with an error, and how many there are.
    pub(crate) fn first_error(&self, from: Place, to: Place) -> Option<(Place, usize)> {
        let first = self.errors.range(from..to).next().copied()?;
        Some((first, self.errors.range(from..to).count()))
    }

    /// Says that an object is to go.
    pub(crate) fn leave(&mut self, id: &ObjectId, rank: u16) {
        self.entry(id).leaving = Some(rank);
        self.leaving.insert((rank, id.clone()));
        self.leaving_todo.insert((rank, id.clone()));
    }

    /// An object that was to go is gone, or stays after all.
    pub(crate) fn left(&mut self, id: &ObjectId) {
        if let Some(rank) = self.map.get_mut(id).and_then(|obj| obj.leaving.take()) {
            self.leaving.remove(&(rank, id.clone()));
            self.leaving_todo.remove(&(rank, id.clone()));
        }
    }

    /// How many are still to go.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// The next of the last rank that something is to be done about; it counts as done then.
    pub(crate) fn next_leaving(&mut self) -> Option<ObjectId> {
        let rank = self.leaving.last()?.0;
        let found = self.leaving_todo.range((rank, nobody())..).next()?.clone();
        self.leaving_todo.remove(&found);
        Some(found.1)
    }

    /// Takes one of those up again that [`Self::next_leaving`] gave.
    pub(crate) fn leave_later(&mut self, id: &ObjectId) {
        if let Some(rank) = self.map.get(id).and_then(|obj| obj.leaving) {
            self.leaving_todo.insert((rank, id.clone()));
        }
    }

    /// The objects whose pods are to be asked for now; each is given once.
    pub(crate) fn next_pods(&mut self, now: u64) -> Option<ObjectId> {
        let (at, id) = self.pod_timers.pop_first()?;
        if at > now {
            self.pod_timers.insert((at, id));
            return None;
        }
        Some(id)
    }

    pub(crate) fn pods_at(&mut self, id: &ObjectId, at: u64) {
        if let Some(obj) = self.map.get_mut(id) {
            if let Some(old) = obj.pods_at.replace(at) {
                self.pod_timers.remove(&(old, id.clone()));
            }
            self.pod_timers.insert((at, id.clone()));
        }
    }

    /// The first place before this one whose object is not healthy.
    pub(crate) fn first_unhealthy(&self, from: Place, to: Place) -> Option<Place> {
        self.unhealthy.range(from..to).next().copied()
    }

    pub(crate) fn cleaning(&self) -> &BTreeSet<ObjectId> {
        &self.cleaning
    }

    /// Those that there is something to say about.
    pub(crate) fn troubled(&self) -> impl Iterator<Item = (&ObjectId, &Obj)> {
        let known = |id| Some((id, self.map.get(id)?));
        self.troubled.iter().filter_map(known)
    }

    pub(crate) fn drifting(&self) -> impl Iterator<Item = &Obj> {
        self.drifting.iter().filter_map(|id| self.map.get(id))
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded > 0
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal > 0
    }

    pub(crate) fn has_unknown_kind(&self) -> bool {
        self.unknown_kinds > 0
    }

    pub(crate) fn counts(&self) -> HealthCounts {
        self.counts
    }

    /// Judges what changed.
    pub(crate) fn judge(&mut self, record: &AppRecord, now: u64) {
        if std::mem::take(&mut self.all_stale) {
            self.stale = self.map.keys().cloned().collect();
        }
        for id in std::mem::take(&mut self.stale) {
            self.judge_one(&id, record, now);
        }
    }

    fn judge_one(&mut self, id: &ObjectId, record: &AppRecord, now: u64) {
        let Some(obj) = self.map.get_mut(id) else {
            return;
        };
        self.visits += 1;
        obj.stale = false;
        let mut judged = judged(id, obj, record);
        if !judged.ailing && obj.pod.take().is_some() {
            judged = self::judged(id, obj, record);
        }
        let before = std::mem::replace(&mut obj.judged, judged);
        if judged.ailing && obj.pods_at.is_none() {
            let at = now.saturating_add(PODS_FIRST_MS);
            obj.pods_at = Some(at);
            self.pod_timers.insert((at, id.clone()));
        } else if !judged.ailing
            && let Some(at) = obj.pods_at.take()
        {
            self.pod_timers.remove(&(at, id.clone()));
        }
        if before == judged {
            return;
        }
        if before.unhealthy
            && let Some(place) = before.place
        {
            self.unhealthy.remove(&place);
        }
        if judged.unhealthy
            && let Some(place) = judged.place
        {
            self.unhealthy.insert(place);
        }
        for (set, was, is) in [
            (&mut self.cleaning, before.cleaning, judged.cleaning),
            (&mut self.troubled, before.troubled, judged.troubled),
            (&mut self.drifting, before.drifting, judged.drifting),
        ] {
            if was != is {
                put(set, id.clone(), is);
            }
        }
        add(&mut self.degraded, before.degraded, judged.degraded);
        add(&mut self.terminal, before.terminal, judged.terminal);
        add(
            &mut self.unknown_kinds,
            before.unknown_kind,
            judged.unknown_kind,
        );
        self.count(before.count, false);
        self.count(judged.count, true);
    }

    fn count(&mut self, count: Option<Count>, up: bool) {
        let Some(count) = count else {
            return;
        };
        let counts = &mut self.counts;
        let number = match count {
            Count::Healthy => &mut counts.healthy,
            Count::Missing => &mut counts.missing,
            Count::Degraded => &mut counts.degraded,
            Count::Progressing => &mut counts.progressing,
        };
        for number in [number, &mut counts.total] {
            *number = if up {
                number.saturating_add(1)
            } else {
                number.saturating_sub(1)
            };
        }
    }
}

fn judged(id: &ObjectId, obj: &Obj, record: &AppRecord) -> Judged {
    let mut out = Judged {
        place: obj.place,
        cleaning: obj.clean,
        drifting: obj.drift.is_some(),
        ..Judged::default()
    };
    out.unknown_kind = obj
        .problem
        .as_ref()
        .is_some_and(|problem| problem.kind == ProblemKind::UnknownKind);
    let bad = obj
        .live
        .as_ref()
        .is_some_and(|live| live.status == Status::Degraded);
    out.troubled = obj.problem.is_some() || obj.pod.is_some();
    let Some(spec) = &obj.spec else {
        return out;
    };
    out.ailing = obj.live.as_ref().is_some_and(|live| {
        !live.healthy()
            && !live.deleting
            && live.ended.is_none_or(|well| !well)
            && live.selector.is_some()
    });
    let healthy = is_healthy(id, obj, record);
    out.unhealthy = !healthy;
    if spec.hook {
        return out;
    }
    out.troubled |= bad;
    let failing = out.ailing && obj.pod.as_ref().is_some_and(|pod| pod.failing);
    let applied = record
        .held
        .get(id)
        .is_some_and(|held| held.applied.is_some() && held.applied == obj.want);
    out.degraded = applied && (bad || failing);
    out.terminal = obj.terminal;
    out.count = Some(match &obj.live {
        _ if healthy => Count::Healthy,
        None => Count::Missing,
        Some(_) if bad || failing => Count::Degraded,
        Some(_) => Count::Progressing,
    });
    out
}

/// Is the object there and healthy, or at its end?
pub(crate) fn is_healthy(id: &ObjectId, obj: &Obj, record: &AppRecord) -> bool {
    let Some(spec) = &obj.spec else {
        return true;
    };
    if spec.hook || obj.want.is_some() && record.ended.get(id) == obj.want.as_ref() {
        return true;
    }
    obj.live.as_ref().is_some_and(crate::object::Live::healthy)
}
