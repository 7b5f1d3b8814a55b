//! Why is it as it is? One answer for anything that waits.

use roadstead_dispatch::AppState;
use roadstead_model::{AppKey, ClusterId, Key, ReleaseId, Time};
use roadstead_rollout::{Phase, Sighting};

use crate::index::Index;
use crate::placement::Placed;
use crate::records::VariantOutcome;

/// Answers for an App, or for an App on one cluster: the first sentence is the answer, the others are the grounds.
pub fn why(
    index: &mut Index,
    app: &AppKey,
    cluster: Option<&ClusterId>,
    waiting: Option<&(String, String)>,
    now: Time,
) -> Vec<String> {
    if index.app(app).is_none() && index.assigned.get(app).is_none_or(|of| of.is_empty()) {
        let said = crate::restored::unknown(index, app);
        return vec![said.unwrap_or_else(|| format!("there is no App {app}"))];
    }
    match cluster {
        Some(cluster) => on_cluster(index, app, cluster, waiting, now),
        None => overall(index, app, waiting, now),
    }
}

fn overall(
    index: &mut Index,
    app: &AppKey,
    waiting: Option<&(String, String)>,
    now: Time,
) -> Vec<String> {
    let mut out = Vec::new();
    let latest = index.rollouts(app).next_back().cloned();
    let inputs = index
        .app(app)
        .into_iter()
        .flat_map(|noun| &noun.spec.inputs);
    let mut sources: Vec<&str> = inputs.map(|input| input.source.as_str()).collect();
    sources.dedup();
    let unread = sources.into_iter().filter_map(|name| {
        let problem = index
            .poll_problems
            .get(&Key::new(app.project.clone(), name))?;
        let problem = problem.trim_end_matches('.');
        Some(format!(
            "Source {name} cannot be read now, so nothing newer comes from it: {problem}."
        ))
    });
    let unread: Vec<String> = unread.collect();
    let number = |index: &Index, id| index.release(app, id).map_or(0, |record| record.number);
    if let Some((_, message)) = waiting {
        out.push(format!("{app}: {message}."));
    }
    match &latest {
        Some(rollout) => {
            let release = number(index, &rollout.release);
            let commit: String = index
                .release(app, &rollout.release)
                .map(|r| crate::records::short_revision(&r.commit).to_owned())
                .unwrap_or_default();
            let nobody = index
                .release(app, &rollout.release)
                .and_then(|record| index.placements.peek(app, record.number))
                .is_some_and(|placed| placed.clusters.is_empty());
            let state = match rollout.phase {
                Phase::Completed if nobody => {
                    "goes nowhere: no cluster matches the targets".to_owned()
                }
                Phase::Completed => "is on every cluster that could take it".to_owned(),
                Phase::RolledBack | Phase::Failed
                    if index
                        .release(app, &rollout.release)
                        .is_some_and(|r| r.barred.is_some()) =>
                {
                    format!("is barred: {}", rollout.message)
                }
                _ if rollout.paused.is_some() => rollout.message.clone(),
                _ => format!(
                    "is {}: {}",
                    rollout.phase.to_string().to_lowercase(),
                    rollout.message
                ),
            };
            out.push(format!(
                "Release {release} of {app} (commit {commit}) {state}."
            ));
        }
        None if waiting.is_none() => out.push(format!(
            "{app} has no Rollout yet: its first Release is being made."
        )),
        None => {}
    }
    out.extend(unread);
    let ids: Vec<ClusterId> = index
        .assignments_of(app)
        .map(|(id, _)| id.clone())
        .collect();
    for id in ids {
        let Some(observed) = index.observed(&id, app) else {
            continue;
        };
        if matches!(
            observed.state,
            AppState::Healthy | AppState::Synced | AppState::Syncing
        ) && index.sighting(&id, now) == Sighting::Online
        {
            continue;
        }
        if out.len() > 8 {
            out.push(
                "… and more: ask with --cluster, or see `roadstead get assignments`.".to_owned(),
            );
            break;
        }
        let answer = on_cluster(index, app, &id, None, now);
        out.extend(answer.into_iter().next());
    }
    out
}

/// Why a Release has no variant for a cluster.
fn unrenderable(
    index: &Index,
    app: &AppKey,
    release: &ReleaseId,
    placed: Option<&Placed>,
) -> Option<String> {
    let input = match &placed?.input {
        Err(error) => return Some(error.clone()),
        Ok(input) => input,
    };
    match index.release(app, release)?.variants.get(&input.digest())? {
        VariantOutcome::Error(error) => Some(error.clone()),
        VariantOutcome::Variant { .. } => None,
    }
}

fn on_cluster(
    index: &mut Index,
    app: &AppKey,
    id: &ClusterId,
    waiting: Option<&(String, String)>,
    now: Time,
) -> Vec<String> {
    let name = index.cluster_name(id).to_owned();
    let mut out = Vec::new();
    let newest = index
        .releases(app)
        .next_back()
        .map(|record| (record.number, record.id));
    let placed: Option<Placed> =
        newest.and_then(|(number, _)| index.placed(app, number).clusters.get(id).cloned());
    let Some((assignment, _)) = index.assignment(id, app).map(|(a, r)| (a.clone(), r)) else {
        let reason = match placed {
            None => "no target of the App matches it".to_owned(),
            Some(Placed {
                input: Err(error), ..
            }) => format!("its variant cannot be rendered: {error}"),
            Some(Placed {
                input: Ok(input), ..
            }) => {
                let record = newest.and_then(|(_, release)| index.release(app, &release));
                match record.and_then(|record| record.variants.get(&input.digest())) {
                    Some(VariantOutcome::Error(error)) => {
                        format!("its variant cannot be rendered: {error}")
                    }
                    _ => match (index.sighting(id, now), waiting) {
                        (Sighting::Never, _) => "its agent has never connected".to_owned(),
                        (Sighting::Offline, _) => {
                            "it is offline, and gets the Release when it returns".to_owned()
                        }
                        (_, Some((_, message))) => message.clone(),
                        _ => "no Release has reached its stage yet".to_owned(),
                    },
                }
            }
        };
        return vec![format!("{name} has nothing of {app}: {reason}.")];
    };
    let release = index
        .release(app, &assignment.release)
        .map_or(0, |record| record.number);
    if index.awaits_inventory(id) {
        out.push(format!(
            "{name} gets no order: its agent has not said what it holds since the hub was restored from a backup."
        ));
    } else if let Some(held) = index.keeps(id, app) {
        let list = crate::restored::going_back(index, app)
            .digest
            .map_or_else(String::new, |digest| digest.short());
        out.push(format!(
            "{name} keeps a newer Release of {app} than this restored hub knows ({}): deliver a newer one, or approve list \
             {list} to let it go back to release {release}.",
            held.release.short()
        ));
    }
    let observed = index.observed(id, app);
    let headline = match (index.sighting(id, now), observed) {
        (Sighting::Offline, _) => {
            let since = index
                .seen(id)
                .map(|seen| index.heard(seen).seconds())
                .unwrap_or_default();
            format!(
                "{name} has not been heard of since {since}; release {release} of {app} is there for it when it returns"
            )
        }
        (_, None) => format!(
            "{name} was told to run release {release} of {app} at {}, and has not reported on it",
            assignment.since.seconds()
        ),
        (_, Some(seen)) if seen.variant != assignment.variant => {
            format!(
                "{name} was told to run release {release} of {app} at {}, and is still {:?} with another",
                assignment.since.seconds(),
                seen.state
            )
        }
        (_, Some(seen)) => {
            let because = match seen.problems.first() {
                Some(problem) => format!(
                    ": {}: {}: {}",
                    problem.object.readable(),
                    problem.reason,
                    problem.message
                ),
                None if seen.message.is_empty() => String::new(),
                None => format!(": {}", seen.message),
            };
            format!(
                "{name} is {} with release {release} of {app} since {}{because}",
                format!("{:?}", seen.state).to_lowercase(),
                seen.since.seconds()
            )
        }
    };
    out.push(format!("{}.", headline.trim_end_matches('.')));
    if let Some((number, newer)) = newest.filter(|(_, newer)| *newer != assignment.release)
        && let Some(error) = unrenderable(index, app, &newer, placed.as_ref())
    {
        out.push(format!(
            "Release {number} cannot be rendered for it: {}.",
            error.trim_end_matches('.')
        ));
    }
    if let Some(outcome) = assignment
        .outcome
        .as_ref()
        .filter(|outcome| !outcome.reason.is_empty())
    {
        out.push(format!(
            "It failed at {}: {}.",
            outcome.at.seconds(),
            outcome.reason.trim_end_matches('.')
        ));
    }
    let withheld = index
        .app(app)
        .cloned()
        .map(|noun| index.withheld(app, &noun, id, now))
        .unwrap_or_default();
    if !withheld.is_empty() {
        out.push(format!("Nothing new is assigned: {withheld}."));
    }
    if let Some(observed) = index.observed(id, app) {
        for problem in observed.problems.iter().skip(1).take(5) {
            out.push(format!(
                "{}: {}: {}.",
                problem.object.readable(),
                problem.reason,
                problem.message.trim_end_matches('.')
            ));
        }
        for drift in observed.drift.iter().take(5) {
            out.push(format!(
                "{} was {:?} by hand at {}.",
                drift.object.readable(),
                drift.kind,
                drift.since.seconds()
            ));
        }
        if !observed.awaiting_approval.is_empty() {
            let names: Vec<String> = observed
                .awaiting_approval
                .iter()
                .take(5)
                .map(|object| object.readable())
                .collect();
            out.push(format!(
                "{} removals wait for approval: {}.",
                observed.awaiting_approval.len(),
                names.join(", ")
            ));
        }
    }
    out
}
