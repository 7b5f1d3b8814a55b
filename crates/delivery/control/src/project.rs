//! What people see: nouns that the hub writes, and the status of those that people write.

use roadstead_dispatch::AppState;
use roadstead_model::{
    App, AppKey, AppStatus, ClusterFacts, ClusterId, ClusterStatus, Condition, ConditionStatus,
    ReleaseSpec, ReleaseStatus, RolloutSpec, RolloutStatus, StageStatus, Time, set_condition,
};
use roadstead_rollout::{Assignment, Phase, Rollout, Sighting, StagePhase, aside};
use serde_json::{Value, json};

use crate::index::{Index, Made};
use crate::records::{ReleaseRecord, VariantOutcome};

/// How one noun should look.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Its plural name.
    pub plural: &'static str,
    /// Its Project; empty for what belongs to the hub.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its spec, for nouns that the hub makes.
    pub spec: Option<Value>,
    /// Its status.
    pub status: Value,
    /// Its record is gone, so it goes too.
    pub gone: bool,
}

fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Time,
    generation: i64,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now,
        observed_generation: generation,
    }
}

/// The name of a Release's or a Rollout's noun: the App's, and the number.
pub(crate) fn numbered(app: &AppKey, number: u64) -> String {
    format!("{}-{number}", app.name)
}

/// Writes how an App, its Releases and its Rollouts look. `waiting` is what [`decide`](crate::decide()) said last.
pub fn project(
    index: &Index,
    app: &AppKey,
    waiting: Option<&(String, String)>,
    now: Time,
) -> Vec<Projection> {
    let mut out = Vec::new();
    if let Some(noun) = index.app(app) {
        out.push(Projection {
            plural: "apps",
            namespace: app.project.clone(),
            name: app.name.clone(),
            spec: None,
            status: to_value(&app_status(index, app, noun, waiting, now)),
            gone: false,
        });
    }
    for record in index.releases(app) {
        out.push(release(app, record, now));
    }
    for shown in index.rollouts(app) {
        out.push(rollout(index, app, shown, now));
    }
    out.extend(gone(index, app));
    out
}

/// The nouns that the hub made and whose records are gone: swept, or their App's.
fn gone<'a>(index: &'a Index, app: &'a AppKey) -> impl Iterator<Item = Projection> + 'a {
    let made = index.made.get(app).into_iter().flatten();
    made.filter_map(|(what, number)| {
        let (plural, kept) = match what {
            Made::Release => ("releases", index.numbered_release(app, *number).is_some()),
            Made::Rollout => ("rollouts", index.rollout(app, *number).is_some()),
        };
        (!kept).then(|| Projection {
            plural,
            namespace: app.project.clone(),
            name: numbered(app, *number),
            spec: None,
            status: Value::Null,
            gone: true,
        })
    })
}

fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn app_status(
    index: &Index,
    app: &AppKey,
    noun: &App,
    waiting: Option<&(String, String)>,
    now: Time,
) -> AppStatus {
    let generation = noun.metadata.generation;
    let mut status = AppStatus {
        conditions: noun.status.conditions.clone(),
        observed_generation: generation,
        ..AppStatus::default()
    };
    let newest = index.releases(app).next_back();
    let latest = index.rollouts(app).next_back();
    if let Some(record) = newest {
        status.release = record.id.to_string();
        status.commit = crate::records::short_revision(&record.commit).to_owned();
    }
    let placed = newest.and_then(|record| index.placements.peek(app, record.number));
    status.clusters = count(placed.map_or(0, |placed| placed.clusters.len()));
    let mut failed = 0_u32;
    for (id, assignment) in index.assignments_of(app) {
        let observed = index.observed(id, app);
        failed += u32::from(assignment.has_failed());
        let confirmed = observed.is_some_and(|observed| {
            observed.variant == assignment.variant && observed.state >= AppState::Synced
        });
        status.current +=
            u32::from(confirmed && newest.is_some_and(|record| record.id == assignment.release));
        status.healthy +=
            u32::from(observed.is_some_and(|observed| observed.state == AppState::Healthy));
        status.drifted += u32::from(observed.is_some_and(|observed| !observed.drift.is_empty()));
    }
    status.progress = format!("{}/{}", status.current, status.clusters);
    if let Some(rollout) = latest {
        status.rollout = numbered(app, rollout.number);
    }
    let under_way = latest.filter(|rollout| !rollout.phase.is_terminal());
    let nobody = placed.is_some_and(|placed| placed.clusters.is_empty());
    let (ready, reason, message) = match (waiting, latest) {
        (Some((reason, message)), _) => (false, reason.clone(), message.clone()),
        (None, Some(rollout)) if rollout.phase == Phase::Completed && nobody => (
            false,
            "NoClusters".to_owned(),
            "no cluster matches the targets".to_owned(),
        ),
        (None, Some(rollout))
            if rollout.phase == Phase::Completed && status.healthy >= status.clusters =>
        {
            (
                true,
                "Healthy".to_owned(),
                match status.clusters {
                    1 => "its only cluster is healthy".to_owned(),
                    all => format!("every one of {all} clusters is healthy"),
                },
            )
        }
        (None, Some(rollout)) if rollout.phase == Phase::Completed => {
            let failed = match failed {
                0 => String::new(),
                failed => format!(", {failed} failed"),
            };
            let message = format!(
                "{} of {} clusters are healthy{failed}",
                status.healthy, status.clusters
            );
            (false, "NotAllHealthy".to_owned(), message)
        }
        (None, Some(rollout)) => (false, rollout.phase.to_string(), rollout.message.clone()),
        (None, None) => (
            false,
            "Rendering".to_owned(),
            "the first Release is being made".to_owned(),
        ),
    };
    let progressing = under_way.is_some_and(|rollout| {
        matches!(
            rollout.phase,
            Phase::Pending | Phase::Progressing | Phase::RollingBack
        )
    });
    let stuck = [
        "SourceMissing",
        "InputUnreadable",
        "RenderFailed",
        "NotAllowed",
        "ProjectMissing",
        "DependencyCycle",
        "StrategyMissing",
        "PinnedReleaseMissing",
        "AwaitingApproval",
    ];
    let stalled = stuck.contains(&reason.as_str()) || matches!(reason.as_str(), "Failed" | "Held");
    set_condition(
        &mut status.conditions,
        condition("Ready", ready, &reason, &message, now, generation),
    );
    set_condition(
        &mut status.conditions,
        condition(
            "Progressing",
            progressing,
            &reason,
            &message,
            now,
            generation,
        ),
    );
    set_condition(
        &mut status.conditions,
        condition("Stalled", stalled, &reason, &message, now, generation),
    );
    status
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn release(app: &AppKey, record: &ReleaseRecord, now: Time) -> Projection {
    let spec = ReleaseSpec {
        app: app.name.clone(),
        id: record.id.to_string(),
        number: record.number,
        commit: record.commit.clone(),
        author: record.author.clone(),
        message: record.message.clone(),
        committed_at: Some(record.committed_at),
        inputs: record
            .inputs
            .iter()
            .map(|input| (input.name.clone(), input.digest.to_string()))
            .collect(),
        renderer: record.renderer.clone(),
        frozen: record.frozen.clone(),
    };
    let good = record
        .variants
        .values()
        .filter_map(|outcome| match outcome {
            VariantOutcome::Variant { id, objects } => Some((*id, *objects)),
            VariantOutcome::Error(_) => None,
        });
    let variants: std::collections::BTreeMap<_, _> = good.collect();
    let phase = match (
        &record.barred,
        record.error.is_empty(),
        record.variants.is_empty(),
    ) {
        (Some(_), _, _) => "Barred",
        (None, false, _) => "Failed",
        (None, true, true) => "Rendering",
        (None, true, false) => "Ready",
    };
    let mut status = ReleaseStatus {
        conditions: Vec::new(),
        variants: count(variants.len()),
        objects: variants.values().copied().max().unwrap_or(0),
        barred: record
            .barred
            .as_ref()
            .map(|barred| barred.reason.clone())
            .unwrap_or_default(),
        error: record.error.clone(),
        phase: phase.to_owned(),
    };
    let message = if record.error.is_empty() {
        &status.barred
    } else {
        &record.error
    };
    let ready = condition(
        "Ready",
        phase == "Ready",
        phase,
        message,
        record.barred.as_ref().map_or(record.created_at, |b| b.at),
        1,
    );
    let _ = now;
    set_condition(&mut status.conditions, ready);
    Projection {
        plural: "releases",
        namespace: app.project.clone(),
        name: numbered(app, record.number),
        spec: Some(to_value(&spec)),
        status: to_value(&status),
        gone: false,
    }
}

fn rollout(index: &Index, app: &AppKey, rollout: &Rollout, now: Time) -> Projection {
    let record = index.release(app, &rollout.release);
    let spec = RolloutSpec {
        app: app.name.clone(),
        release: rollout.release.to_string(),
        number: rollout.number,
        strategy: rollout.strategy.clone(),
    };
    let ended = rollout.phase.is_terminal();
    let mut status = RolloutStatus {
        phase: if rollout.paused.is_some() && !ended {
            "Paused".to_owned()
        } else {
            rollout.phase.to_string()
        },
        message: rollout.message.clone(),
        stage: rollout
            .current()
            .filter(|_| !ended)
            .map(|at| rollout.stages[at].name.clone())
            .unwrap_or_default(),
        started_at: Some(rollout.created_at),
        ended_at: rollout.ended_at,
        ..RolloutStatus::default()
    };
    status.stages = rollout
        .stages
        .iter()
        .zip(&rollout.strategy.stages)
        .map(|(state, stage)| StageStatus {
            name: state.name.clone(),
            phase: state.phase.to_string(),
            wave: if state.phase == StagePhase::Pending {
                0
            } else {
                count(state.wave + 1)
            },
            waves: count(stage.waves.len().max(state.wave + 1)),
            ..StageStatus::default()
        })
        .collect();
    let placed = record.and_then(|record| index.placements.peek(app, record.number));
    let variants = record
        .map(|record| index.variants_now(app, &record.id))
        .unwrap_or_default();
    // what ended is told by what was kept of it: later Releases have moved its clusters on
    let placed = placed.filter(|_| !ended);
    for (id, place) in placed.into_iter().flat_map(|placing| &placing.clusters) {
        let stage = rollout.stage_of(index.labels_of(id));
        let Some(shown) = status.stages.get_mut(stage) else {
            continue;
        };
        shown.clusters += 1;
        let assignment = index.assignment(id, app).map(|(assignment, _)| assignment);
        let ours = assignment.filter(|assignment| {
            assignment.rollout == rollout.number && assignment.release == rollout.release
        });
        shown.started += u32::from(ours.is_some());
        shown.healthy += u32::from(ours.is_some_and(Assignment::is_healthy));
        shown.failed +=
            u32::from(ours.is_some_and(Assignment::has_failed) && ours.is_some_and(|a| a.counted));
        let not_renderable = "it is not rendered";
        let member = roadstead_rollout::Member {
            id,
            name: index.cluster_name(id),
            stage,
            variant: match &place.input {
                Ok(_) => variants.get(id).copied().ok_or(not_renderable),
                Err(error) => Err(error),
            },
            sighting: index.sighting(id, now),
            connected_since: None,
            withheld: "",
            assignment,
            observed: index.observed(id, app),
        };
        let settled =
            ours.is_some_and(|assignment| assignment.outcome.is_some() && assignment.counted);
        shown.set_aside += u32::from(!settled && aside(&member, rollout).is_some());
    }
    for (stage, state) in status.stages.iter_mut().zip(&rollout.stages) {
        if let Some(tally) = state.tally {
            stage.clusters = tally.clusters;
            stage.started = tally.started;
            stage.healthy = tally.healthy;
            stage.failed = tally.failed;
            stage.set_aside = tally.set_aside;
        }
    }
    for stage in &status.stages {
        status.clusters += stage.clusters;
        status.started += stage.started;
        status.healthy += stage.healthy;
        status.failed += stage.failed;
        status.set_aside += stage.set_aside;
    }
    status.progress = format!("{}/{}", status.healthy, status.clusters);
    let at = rollout.ended_at.unwrap_or(rollout.created_at);
    let good = rollout.phase == Phase::Completed;
    let stalled = matches!(
        rollout.phase,
        Phase::Failed | Phase::Held | Phase::RolledBack
    );
    for (kind, holds) in [
        ("Ready", good),
        ("Progressing", !ended && !stalled),
        ("Stalled", stalled),
    ] {
        set_condition(
            &mut status.conditions,
            condition(kind, holds, &status.phase.clone(), &rollout.message, at, 1),
        );
    }
    Projection {
        plural: "rollouts",
        namespace: app.project.clone(),
        name: numbered(app, rollout.number),
        spec: Some(to_value(&spec)),
        status: to_value(&status),
        gone: false,
    }
}

/// The minor versions of Kubernetes 1 that this release is meant for.
const KUBERNETES: std::ops::RangeInclusive<u32> = 31..=36;

/// What is to be said of a cluster of another version.
fn skew(version: &str) -> Option<String> {
    let mut numbers = version.strip_prefix('v')?.split(['.', '-', '+']);
    let (major, minor) = (
        numbers.next()?.parse::<u32>().ok()?,
        numbers.next()?.parse::<u32>().ok()?,
    );
    let (first, last) = (KUBERNETES.start(), KUBERNETES.end());
    if major == 1 && KUBERNETES.contains(&minor) {
        return None;
    }
    let (than, hint) = if (major, minor) < (1, *first) {
        ("older", "bring the cluster to a newer one")
    } else {
        ("newer", "see whether there is a newer agent")
    };
    Some(format!(
        "Kubernetes {version} is {than} than this release is meant for (1.{first} to 1.{last}): the agent works on, and \
         names what it cannot do there; {hint}"
    ))
}

/// What is to be said of an agent's clock.
fn clocks_differ(off: i64) -> Option<String> {
    let seconds = off.unsigned_abs() / 1000;
    let (minutes, rest) = (seconds / 60, seconds % 60);
    let way = match off {
        0 => return None,
        1.. => "ahead of",
        _ => "behind",
    };
    Some(format!(
        "the clock of the agent's node is {minutes}m{rest:02}s {way} the hub's: holds and deadlines end by that clock there, and \
         certificates may seem not to be valid; set the clock that is wrong"
    ))
}

impl Index {
    /// Writes how a cluster looks.
    pub fn project_cluster(&self, id: &ClusterId, now: Time) -> Option<Projection> {
        let noun = self.cluster(id)?;
        let seen = self.seen(id);
        let connection = match self.sighting(id, now) {
            _ if self.is_connected(id) => "Connected",
            Sighting::Never => "NeverSeen",
            Sighting::Online => "Reconnecting",
            Sighting::Offline => "Offline",
        };
        let apps: Vec<&AppKey> = self.apps_of(id).collect();
        let healthy = apps
            .iter()
            .filter(|app| {
                self.observed(id, app)
                    .is_some_and(|o| o.state == AppState::Healthy)
            })
            .count();
        let mut status = ClusterStatus {
            observed_generation: noun.metadata.generation,
            conditions: noun.status.conditions.clone(),
            connection: connection.to_owned(),
            last_seen: seen
                .map(|seen| self.heard(seen))
                .filter(|_| !self.is_connected(id))
                .or(seen.map(|seen| seen.last)),
            facts: seen
                .map(|seen| ClusterFacts {
                    agent_version: seen.facts.agent_version.clone(),
                    kubernetes_version: seen.facts.kubernetes_version.clone(),
                    api_kinds: seen.facts.api_kinds,
                    nodes: seen.facts.nodes,
                    api_versions: seen.facts.served.clone(),
                    cpu_millis: seen.facts.capacity.cpu_millis,
                    memory_bytes: seen.facts.capacity.memory_bytes,
                    pods: seen.facts.capacity.pods,
                })
                .unwrap_or_default(),
            apps: count(apps.len()),
            healthy: count(healthy),
            summary: format!("{healthy}/{}", apps.len()),
        };
        let refused = seen
            .and_then(|seen| seen.root.as_ref())
            .map(|root| root.refused.as_str())
            .unwrap_or_default();
        let newer: Vec<String> = self.kept_by(id).map(ToString::to_string).collect();
        let newer = match newer.len() {
            0 => String::new(),
            _ => {
                let unknown = self
                    .kept_by(id)
                    .find_map(|app| crate::restored::unknown(self, app));
                let unknown = unknown.map_or_else(String::new, |unknown| format!("; {unknown}"));
                format!(
                    "it holds a newer Release than this restored hub knows, and keeps it: {}{unknown}",
                    newer.join(", ")
                )
            }
        };
        let unkept = seen.map(|seen| seen.unkept.as_str()).unwrap_or_default();
        let unkept = match unkept {
            "" => String::new(),
            why => format!(
                "the agent does nothing until it can keep its records; what was delivered stays as it is: {why}"
            ),
        };
        let (ready, reason, message) = match connection {
            "Connected" if !unkept.is_empty() => (false, "CannotKeepRecords", unkept.as_str()),
            "Connected" if !refused.is_empty() => (false, "OrderRefused", refused),
            "Connected" if self.awaits_inventory(id) => (
                false,
                "AwaitingInventory",
                "the hub was restored from a backup and orders nothing until the agent has said what it holds",
            ),
            "Connected" if !newer.is_empty() => (false, "HoldsNewer", newer.as_str()),
            "Connected" => (true, "Connected", "the agent is connected"),
            "NeverSeen" => (false, "NeverSeen", "no agent has ever connected"),
            "Reconnecting" => (
                false,
                "Reconnecting",
                "the agent is not connected at this moment",
            ),
            _ => (
                false,
                "Offline",
                "the agent has not been heard of for too long",
            ),
        };
        set_condition(
            &mut status.conditions,
            condition(
                "Ready",
                ready,
                reason,
                message,
                now,
                noun.metadata.generation,
            ),
        );
        let warnings = [
            (
                "VersionSkew",
                "OtherVersion",
                skew(&status.facts.kubernetes_version),
            ),
            (
                "ClockSkew",
                "ClocksDiffer",
                clocks_differ(seen.map_or(0, |seen| seen.clock_off)),
            ),
        ];
        for (kind, reason, message) in warnings {
            let there = status.conditions.iter().any(|known| known.kind == kind);
            let (holds, reason, message) = match message {
                Some(message) => (true, reason, message),
                // a warning that never was needs no word
                None if there => (false, "AsExpected", String::new()),
                None => continue,
            };
            set_condition(
                &mut status.conditions,
                condition(kind, holds, reason, &message, now, noun.metadata.generation),
            );
        }
        Some(Projection {
            plural: "clusters",
            namespace: String::new(),
            name: noun.metadata.name.clone(),
            spec: None,
            status: to_value(&status),
            gone: false,
        })
    }

    /// Writes how a Source looks; `problem` is what its last poll said, if it failed.
    pub fn project_source(
        &self,
        key: &roadstead_model::Key,
        problem: Option<&str>,
        now: Time,
    ) -> Option<Projection> {
        let noun = self.sources.get(key)?;
        let head = self
            .head(key)
            .filter(|head| head.origin == crate::wanted::origin(noun));
        let generation = noun.metadata.generation;
        let mut conditions = noun.status.conditions.clone();
        let (ready, reason, message) = match (problem, head) {
            (Some(problem), _) => (false, "ReadFailed", problem.to_owned()),
            (None, Some(head)) => (
                true,
                "Read",
                format!("read at {}", crate::records::short_revision(&head.commit)),
            ),
            (None, None) => (false, "NotRead", "has not been read yet".to_owned()),
        };
        set_condition(
            &mut conditions,
            condition("Ready", ready, reason, &message, now, generation),
        );
        let mut status = json!({ "observedGeneration": generation, "conditions": conditions });
        if let Some(map) = status.as_object_mut() {
            map.insert("url".to_owned(), json!(noun.spec.url()));
        }
        if let (Some(head), Some(map)) = (head, status.as_object_mut()) {
            map.insert("commit".to_owned(), json!(head.commit));
            map.insert("author".to_owned(), json!(head.author));
            map.insert("message".to_owned(), json!(head.message));
            map.insert("committedAt".to_owned(), json!(head.committed_at));
            map.insert("fetchedAt".to_owned(), json!(head.fetched_at));
        }
        Some(Projection {
            plural: "sources",
            namespace: key.project.clone(),
            name: key.name.clone(),
            spec: None,
            status,
            gone: false,
        })
    }
}
