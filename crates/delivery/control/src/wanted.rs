//! Which Release an App's inputs ask for, what of it is still to be rendered, and its Rollout.

use std::collections::BTreeMap;

use base_json::Digest;
use base_store::{Expect, Op};
use bytes::Bytes;
use roadstead_model::{App, AppKey, AppSpec, Key, Time};
use roadstead_release::Served;
use roadstead_render::Reading;
use roadstead_rollout::{Event, Rollout};

use crate::decide::Decision;
use crate::index::Index;
use crate::records::short_revision;
use crate::records::{InputFact, ReleaseRecord, VariantOutcome, keys};
use crate::writes::Writes;

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
    /// What clusters serve, by the digests that the target inputs name.
    pub served: Served,
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

/// The inputs of an App as its Sources have them now, or why they are not known.
pub(crate) fn inputs_of(
    index: &Index,
    app: &AppKey,
    spec: &AppSpec,
) -> Result<Vec<InputFact>, (String, String)> {
    let waiting = |reason: &str, message: String| Err((reason.to_owned(), message));
    let mut inputs = Vec::new();
    for (number, input) in spec.inputs.iter().enumerate() {
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
        let read = |digest: &Digest| InputFact {
            name: input.name.clone(),
            source: input.source.clone(),
            path: input.path.clone(),
            commit: head.commit.clone(),
            digest: *digest,
            charts: Vec::new(),
            bases: Vec::new(),
        };
        let key = Reading::of(spec, number).key(&input.path);
        match head.inputs.get(&key) {
            Some(crate::HeadInput::Digest(digest)) => inputs.push(read(digest)),
            Some(crate::HeadInput::Chart { digest, charts }) => inputs.push(InputFact {
                charts: charts.clone(),
                ..read(digest)
            }),
            Some(crate::HeadInput::Kustomization { digest, bases }) => inputs.push(InputFact {
                bases: bases.clone(),
                ..read(digest)
            }),
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

/// The Release that the App's inputs ask for now, made if it is new; `None` while a new one is being written.
pub(crate) fn wanted_release(
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
        asked_again(index, app, record, inputs, writes);
        return Ok(Some(record.number));
    }
    let renderer = roadstead_render::RENDERER_VERSION;
    let number = index.counted(app).release + 1;
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
    let short = short_revision(&record.commit).to_owned();
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

/// A newer commit asks for what an older one asked for, after something else was delivered: from here on the Release is
/// that commit's, for people and for Apps that wait for the same commit. A commit that changes nothing of the App is
/// none of its.
fn asked_again(
    index: &Index,
    app: &AppKey,
    record: &ReleaseRecord,
    inputs: Vec<InputFact>,
    writes: &mut Writes<'_>,
) {
    let Some(input) = inputs.first() else {
        return;
    };
    let latest = index.rollouts(app).next_back();
    let delivered = latest.is_none_or(|rollout| rollout.release == record.id);
    if delivered
        || record.barred.is_some()
        || !record.error.is_empty()
        || record.commit == input.commit
    {
        return;
    }
    let head = index.head(&Key::new(app.project.clone(), input.source.clone()));
    let kept = index
        .releases
        .get(app)
        .and_then(|of| of.get(&record.number));
    let (Some(head), Some(kept)) = (head, kept) else {
        return;
    };
    let record = ReleaseRecord {
        commit: head.commit.clone(),
        author: head.author.clone(),
        message: head.message.clone(),
        committed_at: head.committed_at,
        inputs,
        ..record.clone()
    };
    let number = record.number;
    let text = format!(
        "release {number} is asked for again, by commit {}",
        short_revision(&record.commit)
    );
    writes.put(
        keys::release(app, number),
        &record,
        Expect::At(kept.revision),
    );
    writes.event(0, Event::own(writes.now, "ReleaseAgain", text));
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
pub(crate) fn missing(index: &mut Index, app: &AppKey, number: u64) -> Option<RenderJob> {
    let placing = index.placed(app, number);
    let record = &index.releases.get(app)?.get(&number)?.value;
    if !record.error.is_empty() {
        return None;
    }
    let scan = record.frozen.render.plain.substitute && record.uses.is_none();
    let mut needed: BTreeMap<Digest, roadstead_target::TargetInput> = BTreeMap::new();
    for placed in placing.clusters.values().filter(|_| !scan) {
        if let (Ok(input), Some(digest)) = (&placed.input, placed.digest)
            && !record.variants.contains_key(&digest)
        {
            needed
                .entry(digest)
                .or_insert_with(|| roadstead_target::TargetInput::clone(input));
        }
    }
    (scan || !needed.is_empty()).then(|| RenderJob {
        app: app.clone(),
        number,
        record: record.clone(),
        needed,
        scan,
        served: index.served_for(&record.frozen),
    })
}

/// Makes a Rollout of a Release that is rendered, unless it has one already or is barred.
pub(crate) fn make_rollout(
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
    let next = index.counted(app).rollout + 1;
    let rollout = Rollout::new(next, record.id, &strategy, writes.now);
    writes.put(keys::rollout(app, next), &rollout, Expect::Absent);
    let short = short_revision(&record.commit);
    writes.event(
        next,
        Event::own(
            writes.now,
            "RolloutMade",
            format!("rollout {next} of release {number} ({short})"),
        ),
    );
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
