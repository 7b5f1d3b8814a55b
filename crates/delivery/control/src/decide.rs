//! One look at an App: what to write and what to render.

use std::collections::BTreeMap;

use std::sync::Arc;

use base_json::Digest;
use base_store::{Expect, Op};
use bytes::Bytes;
use roadstead_dispatch::EntryPhase;
use roadstead_model::{App, AppKey, AppSpec, ClusterId, Key, Time};
use roadstead_rollout::{
    Assignment, Event, Good, May, Member, Phase, Rollout, Sighting, Step, schedule, step,
};
use serde::Serialize;

use crate::index::Index;
use crate::placement::{Placed, Placing};
use crate::records::{Barred, History, InputFact, ReleaseRecord, VariantOutcome, keys};
use crate::{leave, straggle};

/// How many ended Rollouts, and how many Releases, are kept of each App.
const KEPT: usize = 20;

/// What to do for one App.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// What to write, all or nothing. Empty: nothing.
    pub ops: Vec<Op>,
    /// What to render.
    pub render: Option<RenderJob>,
    /// When to look again, if nothing else happens.
    pub wake: Option<Time>,
    /// Why nothing can be delivered, if so: a reason in one word and a sentence.
    pub waiting: Option<(String, String)>,
}

/// Something to render: an App's inputs for the target inputs that have no variant yet.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderJob {
    /// The App.
    pub app: AppKey,
    /// The Release's number.
    pub number: u64,
    /// The record to add to.
    pub record: ReleaseRecord,
    /// The target inputs to render, by digest.
    pub needed: BTreeMap<Digest, roadstead_target::TargetInput>,
    /// Read the files for the expressions in them first: without these the target inputs are not known.
    pub scan: bool,
}

/// What a render came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// The expressions in the manifests, if they were asked for.
    pub uses: Option<Vec<(String, Option<String>)>>,
    /// What each target input came out as.
    pub outcomes: BTreeMap<Digest, VariantOutcome>,
    /// Objects and variant lists by digest; stored before the Release names them.
    pub blobs: Vec<(Digest, Bytes)>,
    /// Why nothing could be rendered; empty if something could.
    pub error: String,
    /// What the renderer noticed.
    pub warnings: Vec<String>,
    /// Why nothing came of it this time, if another try may work: nothing is written then.
    pub transient: Option<String>,
}

/// Collects writes under the keys of one App.
pub(crate) struct Writes<'a> {
    pub(crate) app: &'a AppKey,
    pub(crate) now: Time,
    /// By key: the last write of a key counts.
    ops: BTreeMap<String, Op>,
    seen: base_store::Revision,
    events: usize,
}

impl<'a> Writes<'a> {
    pub(crate) fn new(index: &Index, app: &'a AppKey, now: Time) -> Self {
        Self {
            app,
            now,
            ops: BTreeMap::new(),
            seen: index.revision(),
            events: 0,
        }
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: String, value: &T, expect: Expect) {
        // a record serialises: it has text keys and finite numbers
        let value = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        self.ops.insert(key.clone(), Op::Put { key, value, expect });
    }

    pub(crate) fn delete(&mut self, key: String) {
        let expect = Expect::Any;
        self.ops.insert(key.clone(), Op::Delete { key, expect });
    }

    /// Is this key written already?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.ops.contains_key(key)
    }

    /// Everything, to be committed together.
    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops.into_values().collect()
    }

    pub(crate) fn event(&mut self, rollout: u64, event: Event) {
        let key = keys::history(self.app, self.now, self.seen, self.events);
        self.events += 1;
        self.put(key, &History { rollout, event }, Expect::Any);
    }
}

/// The inputs of an App as its Sources have them now, or why they are not known.
pub(crate) fn inputs_of(
    index: &Index,
    app: &AppKey,
    spec: &AppSpec,
) -> Result<Vec<InputFact>, (String, String)> {
    let waiting = |reason: &str, message: String| Err((reason.to_owned(), message));
    let mut inputs = Vec::new();
    for input in &spec.inputs {
        let key = Key::new(app.project.clone(), input.source.clone());
        let Some(source) = index.sources.get(&key) else {
            return waiting(
                "SourceMissing",
                format!(
                    "there is no Source {:?} in project {:?}",
                    input.source, app.project
                ),
            );
        };
        let Some(head) = index.head(&key) else {
            return waiting(
                "SourceNotRead",
                format!("Source {:?} has not been read yet", input.source),
            );
        };
        if head.origin != origin(source) {
            return waiting(
                "SourceNotRead",
                format!(
                    "Source {:?} changed and has not been read since",
                    input.source
                ),
            );
        }
        let read = |digest: &Digest, charts: &[crate::ChartPin]| InputFact {
            name: input.name.clone(),
            source: input.source.clone(),
            path: input.path.clone(),
            commit: head.commit.clone(),
            digest: *digest,
            charts: charts.to_vec(),
        };
        match head.inputs.get(&input.path) {
            Some(crate::HeadInput::Digest(digest)) => inputs.push(read(digest, &[])),
            Some(crate::HeadInput::Chart { digest, charts }) => inputs.push(read(digest, charts)),
            Some(crate::HeadInput::Error(error)) => {
                return waiting("InputUnreadable", error.clone());
            }
            None => {
                return waiting(
                    "SourceNotRead",
                    format!(
                        "path {:?} of Source {:?} has not been read yet",
                        input.path, input.source
                    ),
                );
            }
        }
    }
    Ok(inputs)
}

/// What a Source reads from, as text: a head that was read from elsewhere does not count.
pub fn origin(source: &roadstead_model::Source) -> String {
    source.spec.origin()
}

/// Looks at one App.
pub fn decide(index: &mut Index, app: &AppKey, now: Time, may_render: bool) -> Decision {
    let mut out = Decision::default();
    let mut writes = Writes::new(index, app, now);
    if let Some(key) = index.unreadable_app(app) {
        let message = format!("{key} cannot be read; nothing is done to this App until it can");
        out.waiting = Some(("Unreadable".to_owned(), message));
        return out;
    }
    if let Some(noun) = index.apps.get(app).cloned() {
        if noun.metadata.deletion_timestamp.is_none() {
            deliver(index, app, &noun, now, may_render, &mut writes, &mut out);
        } else {
            leave::app_deleted(index, app, &mut writes, &mut out);
        }
    } else {
        leave::app_deleted(index, app, &mut writes, &mut out);
    }
    leave::forgotten_clusters(index, app, &mut writes);
    out.ops = writes.into_ops();
    out
}

fn deliver(
    index: &mut Index,
    app: &AppKey,
    noun: &App,
    now: Time,
    may_render: bool,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let wanted = match wanted_release(index, app, noun, writes) {
        Ok(wanted) => wanted,
        Err(waiting) => {
            out.waiting = Some(waiting);
            // what is under way goes on without the Source
            None
        }
    };
    if let Some(number) = wanted {
        match missing(index, app, number) {
            Some(job) => out.render = may_render.then_some(job),
            None => make_rollout(index, app, noun, number, writes, out),
        }
    }
    leave::drained(index, app, writes);
    let placed = newest_placed(index, app);
    run_rollouts(index, app, noun, now, writes, out);
    straggle::catch_up(index, app, noun, now, writes, out);
    if let Some((number, placed)) = placed {
        leave::leavers(index, app, number, &placed, writes, out);
    }
    if let Some(until) = index.next_hold_end(app, noun, now) {
        out.wake = Some(out.wake.map_or(until, |old| old.min(until)));
    }
    sweep(index, app, writes);
}

/// The Release that the App's inputs ask for now, made if it is new; `None` while a new one is being written.
fn wanted_release(
    index: &Index,
    app: &AppKey,
    noun: &App,
    writes: &mut Writes<'_>,
) -> Result<Option<u64>, (String, String)> {
    if !noun.spec.pin.is_empty() {
        let pinned = noun
            .spec
            .pin
            .parse()
            .ok()
            .and_then(|id| index.release(app, &id));
        return match pinned {
            Some(record) => Ok(Some(record.number)),
            None => Err((
                "PinnedReleaseMissing".to_owned(),
                format!("there is no Release {} of this App", noun.spec.pin),
            )),
        };
    }
    if let Some(project) = index.projects.get(&app.project) {
        for input in &noun.spec.inputs {
            let key = Key::new(app.project.clone(), input.source.clone());
            if let Some(source) = index.sources.get(&key)
                && !index.may_read(&project.metadata.name, source.spec.url())
            {
                let message = format!(
                    "project {:?} may not read {:?}",
                    app.project,
                    source.spec.url()
                );
                return Err(("NotAllowed".to_owned(), message));
            }
        }
    } else {
        return Err((
            "ProjectMissing".to_owned(),
            format!("there is no Project {:?}", app.project),
        ));
    }
    if let Some(cycle) = index.cycle_through(app) {
        return Err((
            "DependencyCycle".to_owned(),
            format!("dependsOn goes in a circle: {cycle}"),
        ));
    }
    let inputs = inputs_of(index, app, &noun.spec)?;
    let digests: BTreeMap<String, Digest> = inputs
        .iter()
        .map(|input| (input.name.clone(), input.digest))
        .collect();
    let basis = roadstead_release::release_id(app, &noun.spec, &digests, "");
    if let Some(record) = index
        .releases(app)
        .rev()
        .find(|record| record.basis == basis)
    {
        return Ok(Some(record.number));
    }
    let renderer = roadstead_render::RENDERER_VERSION;
    let number = index
        .releases(app)
        .next_back()
        .map_or(1, |record| record.number + 1);
    let head = noun
        .spec
        .inputs
        .first()
        .and_then(|input| index.head(&Key::new(app.project.clone(), input.source.clone())));
    let Some(head) = head else { return Ok(None) };
    let record = ReleaseRecord {
        number,
        id: roadstead_release::release_id(app, &noun.spec, &digests, renderer),
        basis,
        frozen: roadstead_release::frozen(&noun.spec),
        inputs,
        commit: head.commit.clone(),
        author: head.author.clone(),
        message: head.message.clone(),
        committed_at: head.committed_at,
        created_at: writes.now,
        renderer: renderer.to_owned(),
        uses: None,
        variants: BTreeMap::new(),
        error: String::new(),
        barred: None,
        warnings: Vec::new(),
    };
    let short = record.commit.get(..12).unwrap_or(&record.commit).to_owned();
    writes.put(keys::release(app, number), &record, Expect::Absent);
    writes.event(
        0,
        Event::own(
            writes.now,
            "ReleaseMade",
            format!("release {number} from commit {short}"),
        ),
    );
    Ok(None)
}

/// Does `pattern`, in which `*` stands for any text, match?
pub fn matches_text(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// What of a Release has not been rendered; `None` if nothing is missing.
fn missing(index: &mut Index, app: &AppKey, number: u64) -> Option<RenderJob> {
    let placing = index.placed(app, number);
    let record = &index.releases.get(app)?.get(&number)?.value;
    if !record.error.is_empty() {
        return None;
    }
    let scan = record.frozen.render.plain.substitute && record.uses.is_none();
    let inputs = placing
        .clusters
        .values()
        .filter_map(|placed| placed.input.as_ref().ok())
        .filter(|_| !scan);
    let needed: BTreeMap<Digest, roadstead_target::TargetInput> = inputs
        .map(|input| (input.digest(), input.clone()))
        .filter(|(digest, _)| !record.variants.contains_key(digest))
        .collect();
    (scan || !needed.is_empty()).then(|| RenderJob {
        app: app.clone(),
        number,
        record: record.clone(),
        needed,
        scan,
    })
}

/// Makes a Rollout of a Release that is rendered, unless it has one already or is barred.
fn make_rollout(
    index: &Index,
    app: &AppKey,
    noun: &App,
    number: u64,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let Some(record) = index
        .releases
        .get(app)
        .and_then(|of| of.get(&number))
        .map(|kept| &kept.value)
    else {
        return;
    };
    if !record.error.is_empty() {
        out.waiting = Some(("RenderFailed".to_owned(), record.error.clone()));
        return;
    }
    let latest = index.rollouts(app).next_back();
    if latest.is_some_and(|rollout| rollout.release == record.id) {
        return;
    }
    if let Some(barred) = &record.barred {
        out.waiting = Some((
            "Barred".to_owned(),
            format!("release {number} is barred: {}", barred.reason),
        ));
        return;
    }
    let strategy = match index.strategy_of(app, &noun.spec.strategy) {
        Ok(strategy) => strategy,
        Err(message) => {
            out.waiting = Some(("StrategyMissing".to_owned(), message));
            return;
        }
    };
    let next = latest.map_or(1, |rollout| rollout.number + 1);
    let rollout = Rollout::new(next, record.id, &strategy, writes.now);
    writes.put(keys::rollout(app, next), &rollout, Expect::Absent);
    let short = record.commit.get(..12).unwrap_or(&record.commit);
    writes.event(
        next,
        Event::own(
            writes.now,
            "RolloutMade",
            format!("rollout {next} of release {number} ({short})"),
        ),
    );
}

/// Where the Release that is meant now puts clusters.
fn newest_placed(index: &mut Index, app: &AppKey) -> Option<(u64, Arc<Placing>)> {
    let number = index.meant(app)?.number;
    Some((number, index.placed(app, number)))
}

/// Lets each Rollout take its step.
fn run_rollouts(
    index: &mut Index,
    app: &AppKey,
    noun: &App,
    now: Time,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let plan = {
        let active: Vec<&Rollout> = index
            .rollouts(app)
            .filter(|rollout| !rollout.phase.is_terminal())
            .collect();
        if active.is_empty() {
            return;
        }
        schedule(&active)
    };
    let numbers: Vec<u64> = index
        .rollouts(app)
        .filter(|r| !r.phase.is_terminal())
        .map(|r| r.number)
        .collect();
    let barred = index.barred(app);
    let going_back = index
        .rollouts(app)
        .find(|rollout| rollout.phase == Phase::RollingBack)
        .map(|rollout| rollout.number);
    for number in numbers.into_iter().rev() {
        let Some(kept) = index.rollouts.get(app).and_then(|of| of.get(&number)) else {
            continue;
        };
        let (mut rollout, revision) = (kept.value.clone(), kept.revision);
        let before = rollout.clone();
        let mut done = Step::default();
        if let Some((_, newer)) = plan.superseded.iter().find(|(older, _)| *older == number) {
            done.events.push(rollout.supersede(*newer, now));
        } else {
            let release = index
                .releases(app)
                .find(|record| record.id == rollout.release)
                .map(|record| record.number);
            let placed = release
                .map(|release| index.placed(app, release))
                .unwrap_or_default();
            let facts = members(index, app, noun, &rollout, release, &placed, now);
            let list: Vec<Member<'_>> = facts.iter().map(Fact::member).collect();
            let may = May {
                enter: plan.enter.contains(&number),
                start: going_back.is_none_or(|back| back == number),
            };
            done = step(&mut rollout, now, &list, may, &barred);
            offline_wakes(index, &rollout, &placed, now, out);
        }
        apply_step(index, app, &rollout, done, writes, out);
        if rollout != before {
            writes.put(keys::rollout(app, number), &rollout, Expect::At(revision));
        }
    }
}

/// What is known of one target, owned so that members can borrow it.
struct Fact {
    id: ClusterId,
    name: String,
    stage: usize,
    variant: Result<base_json::Digest, String>,
    sighting: Sighting,
    connected_since: Option<Time>,
    withheld: String,
    assignment: Option<Assignment>,
    observed: Option<roadstead_dispatch::AppReport>,
}

impl Fact {
    fn member(&self) -> Member<'_> {
        Member {
            id: &self.id,
            name: &self.name,
            stage: self.stage,
            variant: self.variant.as_ref().map(|id| *id).map_err(String::as_str),
            sighting: self.sighting,
            connected_since: self.connected_since,
            withheld: &self.withheld,
            assignment: self.assignment.as_ref(),
            observed: self.observed.as_ref(),
        }
    }
}

fn members(
    index: &Index,
    app: &AppKey,
    noun: &App,
    rollout: &Rollout,
    release: Option<u64>,
    placed: &Placing,
    now: Time,
) -> Vec<Fact> {
    let record = release
        .and_then(|number| index.releases.get(app)?.get(&number))
        .map(|kept| &kept.value);
    let going_back = rollout.phase == Phase::RollingBack;
    let placed = &placed.clusters;
    let mut facts = Vec::with_capacity(placed.len());
    let assigned = index.assigned.get(app);
    // going back concerns whoever has the Release, targets or not
    let others = assigned.into_iter().flatten().filter(|(id, kept)| {
        going_back && kept.value.rollout == rollout.number && !placed.contains_key(*id)
    });
    for id in placed.keys().chain(others.map(|(id, _)| id)) {
        let assignment = assigned
            .and_then(|of| of.get(id))
            .map(|kept| kept.value.clone());
        let variant = match placed.get(id).map(|placed| &placed.input) {
            Some(Ok(input)) => match record.and_then(|record| record.variants.get(&input.digest()))
            {
                Some(VariantOutcome::Variant { id, .. }) => Ok(*id),
                Some(VariantOutcome::Error(error)) => Err(error.clone()),
                None => Err("it is being rendered".to_owned()),
            },
            Some(Err(error)) => Err(error.clone()),
            None => Err("it is no target any more".to_owned()),
        };
        facts.push(Fact {
            id: id.clone(),
            name: index.cluster_name(id).to_owned(),
            stage: rollout.stage_of(&index.labels_of(id)),
            variant,
            sighting: index.sighting(id, now),
            connected_since: index.sessions.get(id).copied(),
            withheld: index.withheld(app, noun, id, now),
            assignment,
            observed: index
                .observed
                .get(app)
                .and_then(|of| of.get(id))
                .map(|kept| kept.value.clone()),
        });
    }
    facts
}

/// A cluster that is silent now becomes offline by itself: look again then.
fn offline_wakes(
    index: &Index,
    rollout: &Rollout,
    placed: &Placing,
    now: Time,
    out: &mut Decision,
) {
    if rollout.phase.is_terminal() {
        return;
    }
    let times = placed
        .clusters
        .keys()
        .filter_map(|id| index.offline_at(id))
        .filter(|at| *at > now);
    if let Some(at) = times.min() {
        out.wake = Some(out.wake.map_or(at, |old| old.min(at)));
    }
}

/// Turns what a step said into writes.
fn apply_step(
    index: &Index,
    app: &AppKey,
    rollout: &Rollout,
    done: Step,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    if let Some(wake) = done.wake {
        out.wake = Some(out.wake.map_or(wake, |old| old.min(wake)));
    }
    for event in done.events {
        writes.event(rollout.number, event);
    }
    let mut changed: BTreeMap<ClusterId, Assignment> = BTreeMap::new();
    let current = |id: &ClusterId| {
        index
            .assignment(id, app)
            .map(|(assignment, _)| assignment.clone())
    };
    for (id, outcome) in done.outcomes {
        if let Some(mut assignment) = current(&id) {
            assignment.outcome = Some(outcome);
            changed.insert(id, assignment);
        }
    }
    for id in done.good {
        if let Some(mut assignment) = changed.remove(&id).or_else(|| current(&id)) {
            assignment.mark_good();
            changed.insert(id, assignment);
        }
    }
    let mut index_placed: Option<BTreeMap<ClusterId, base_json::Digest>> = None;
    for id in done.start {
        let variants =
            index_placed.get_or_insert_with(|| index.variants_now(app, &rollout.release));
        let Some(variant) = variants.get(&id).copied() else {
            continue;
        };
        let old = current(&id);
        let counted = index.observed(&id, app).is_none_or(|observed| {
            !matches!(
                observed.state,
                roadstead_dispatch::AppState::Degraded | roadstead_dispatch::AppState::Failed
            )
        });
        changed.insert(
            id,
            Assignment {
                release: rollout.release,
                variant,
                phase: EntryPhase::Deliver,
                rollout: rollout.number,
                since: writes.now,
                attempt: old.as_ref().map_or(0, |old| old.attempt),
                counted,
                emergency: false,
                outcome: None,
                good: old.map(|old| old.good).unwrap_or_default(),
            },
        );
    }
    for (id, Good { release, variant }) in done.back {
        if let Some(old) = changed.remove(&id).or_else(|| current(&id)) {
            let back = Assignment {
                release,
                variant,
                phase: EntryPhase::Revert,
                rollout: rollout.number,
                since: writes.now,
                emergency: false,
                outcome: None,
                ..old
            };
            changed.insert(id, back);
        }
    }
    for (id, assignment) in changed {
        let expect = index
            .assignment(&id, app)
            .map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
        writes.put(keys::assigned(&id, app), &assignment, expect);
    }
    if let Some(reason) = done.bar
        && let Some(kept) = index
            .releases
            .get(app)
            .and_then(|of| of.values().find(|kept| kept.value.id == rollout.release))
        && kept.value.barred.is_none()
    {
        let record = ReleaseRecord {
            barred: Some(Barred {
                reason,
                at: writes.now,
            }),
            ..kept.value.clone()
        };
        writes.put(
            keys::release(app, record.number),
            &record,
            Expect::At(kept.revision),
        );
    }
}

/// Forgets ended Rollouts and Releases beyond what is kept, unless a cluster still has them.
fn sweep(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
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

/// Writes what a render came to. `None` if the Release is gone, or another render has been faster.
pub fn rendered(
    index: &Index,
    app: &AppKey,
    number: u64,
    rendered: &Rendered,
    now: Time,
) -> Vec<Op> {
    let mut writes = Writes::new(index, app, now);
    let Some(kept) = index.releases.get(app).and_then(|of| of.get(&number)) else {
        return Vec::new();
    };
    let mut record = kept.value.clone();
    if rendered.uses.is_some() {
        record.uses.clone_from(&rendered.uses);
    }
    for (input, outcome) in &rendered.outcomes {
        record
            .variants
            .entry(*input)
            .or_insert_with(|| outcome.clone());
    }
    if record.variants.is_empty() {
        record.error.clone_from(&rendered.error);
        if !record.error.is_empty() {
            writes.event(
                0,
                Event::own(
                    now,
                    "RenderFailed",
                    format!("release {number}: {}", record.error),
                ),
            );
        }
    }
    for warning in &rendered.warnings {
        if !record.warnings.contains(warning) {
            record.warnings.push(warning.clone());
        }
    }
    if record != kept.value {
        let key = keys::release(app, number);
        writes.put(key, &record, Expect::At(kept.revision));
    }
    writes.into_ops()
}

impl Index {
    /// The Release that is meant now: that of the newest Rollout whose Release is not barred. Its number need not be the
    /// highest: who goes back in Git, or pins, means an older one.
    pub(crate) fn meant(&self, app: &AppKey) -> Option<&ReleaseRecord> {
        let usable = |record: &&ReleaseRecord| {
            record.error.is_empty() && !record.variants.is_empty() && record.barred.is_none()
        };
        let rollouts = self.rollouts(app).rev();
        rollouts
            .filter_map(|rollout| self.release(app, &rollout.release))
            .find(usable)
    }

    /// May a Project's Sources read this URL?
    pub fn may_read(&self, project: &str, url: &str) -> bool {
        let project = self.projects.get(project);
        project.is_some_and(|project| {
            project
                .spec
                .sources
                .iter()
                .any(|pattern| matches_text(pattern, url))
        })
    }

    /// The Releases of an App that nothing goes back to.
    pub(crate) fn barred(&self, app: &AppKey) -> std::collections::BTreeSet<Digest> {
        self.releases(app)
            .filter(|record| record.barred.is_some())
            .map(|record| record.id)
            .collect()
    }

    /// The labels of a cluster.
    pub(crate) fn labels_of(&self, id: &ClusterId) -> BTreeMap<String, String> {
        self.clusters
            .get(id)
            .map(|cluster| cluster.metadata.labels.clone())
            .unwrap_or_default()
    }

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

    /// The variant of a Release for each cluster that it puts somewhere, as far as it is rendered.
    pub(crate) fn variants_now(
        &self,
        app: &AppKey,
        release: &Digest,
    ) -> BTreeMap<ClusterId, Digest> {
        let Some(record) = self.release(app, release) else {
            return BTreeMap::new();
        };
        let placed = self.placements.peek(app, record.number);
        let variant =
            |placed: &Placed| match record.variants.get(&placed.input.as_ref().ok()?.digest())? {
                VariantOutcome::Variant { id, .. } => Some(*id),
                VariantOutcome::Error(_) => None,
            };
        placed
            .into_iter()
            .flat_map(|placing| &placing.clusters)
            .filter_map(|(id, placed)| Some((id.clone(), variant(placed)?)))
            .collect()
    }

    /// A circle of dependsOn that goes through an App, written out.
    pub(crate) fn cycle_through(&self, app: &AppKey) -> Option<String> {
        let graph: BTreeMap<AppKey, Vec<AppKey>> = self
            .apps
            .iter()
            .filter(|(key, _)| key.project == app.project)
            .map(|(key, noun)| {
                let on = noun
                    .spec
                    .depends_on
                    .iter()
                    .map(|depends| AppKey::new(key.project.clone(), depends.app.clone()));
                (key.clone(), on.collect())
            })
            .collect();
        let cycle = roadstead_release::cycles(&graph)
            .into_iter()
            .find(|cycle| cycle.contains(app))?;
        let mut names: Vec<&str> = cycle.iter().map(|key| key.name.as_str()).collect();
        names.push(cycle.first()?.name.as_str());
        Some(names.join(" → "))
    }
}

#[cfg(test)]
mod tests {
    use super::matches_text;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            (
                "https://git.example.com/*",
                "https://git.example.com/team/repo",
                true,
            ),
            (
                "https://git.example.com/*",
                "https://evil.example.com/team/repo",
                false,
            ),
            ("*/repo", "a/repo", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "ab", true),
            ("a*ba", "aba", true),
            ("a*ba", "ba", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches_text(pattern, text), expected, "{pattern} {text}");
        }
    }
}
