//! Assignments as people and programs read them.

use roadstead_dispatch::{AppState, DriftItem, EntryPhase, Problem};
use roadstead_model::{AppKey, ClusterId, Hold, Time, VariantId};
use roadstead_rollout::{OutcomeKind, Sighting};
use serde::Serialize;

use crate::index::Index;

/// One assignment with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentView {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's labels, to select by.
    #[serde(skip)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The Project.
    pub project: String,
    /// The App.
    pub app: String,
    /// The Release's number.
    pub release: u64,
    /// The list of objects that the cluster should have; clusters with the same one have the same objects.
    pub variant: VariantId,
    /// Its commit.
    pub commit: String,
    /// What the agent is to do.
    pub phase: EntryPhase,
    /// What the agent says; `None`: nothing yet.
    pub state: Option<AppState>,
    /// Does what the agent holds match what it should?
    pub current: bool,
    /// Is the agent connected?
    pub connected: bool,
    /// What became of it in its Rollout.
    pub outcome: Option<OutcomeKind>,
    /// One sentence.
    pub message: String,
    /// Healthy and all lasting objects.
    pub objects: String,
    /// Writes in the cluster for this App so far.
    pub writes: u64,
    /// How many times drift was healed.
    pub healed: u64,
    /// What differs.
    pub drift: Vec<DriftItem>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The hold on this assignment alone.
    pub hold: Option<Hold>,
    /// Objects whose removal waits for approval.
    pub awaiting_approval: Vec<String>,
    /// When the hub assigned it.
    pub since: Time,
    /// When the agent came into its state.
    pub state_since: Option<Time>,
}

/// Some assignments of many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssignmentPage {
    /// In the order of Project, App and cluster's name.
    pub views: Vec<AssignmentView>,
    /// How many come after these.
    pub remaining: usize,
    /// What to give as `after` for the next page; `None` when this is the last one.
    pub next: Option<String>,
}

/// The assignments of a Project (of all, when it is empty) that come after a place, at most so many. Only those that are
/// returned are looked at: a page of a hundred costs the same wherever it is.
pub fn assignment_page(
    index: &Index,
    project: &str,
    after: &str,
    limit: usize,
    now: Time,
) -> AssignmentPage {
    let mut out = AssignmentPage::default();
    let (after_app, after_cluster) = match after.rsplit_once('/') {
        Some((app, cluster)) => (app.parse::<AppKey>().ok(), cluster),
        None => (None, ""),
    };
    for (app, of) in &index.assigned {
        if !project.is_empty() && app.project != project {
            continue;
        }
        if after_app.as_ref().is_some_and(|after| app < after) {
            continue;
        }
        let resumes = after_app.as_ref() == Some(app);
        if out.views.len() >= limit && !resumes {
            out.remaining += of.len();
            continue;
        }
        let mut names: Vec<(&str, &ClusterId)> = of
            .keys()
            .map(|id| (index.cluster_name(id), id))
            .filter(|(name, _)| !resumes || *name > after_cluster)
            .collect();
        names.sort_unstable();
        let room = limit - out.views.len();
        out.remaining += names.len().saturating_sub(room);
        for (name, id) in names.into_iter().take(room) {
            out.next = Some(format!("{app}/{name}"));
            out.views.extend(index.assignment_view(id, app, now));
        }
    }
    if out.remaining == 0 {
        out.next = None;
    }
    out
}

/// Every assignment, sorted by Project, App and cluster.
pub fn assignments(index: &Index, now: Time) -> Vec<AssignmentView> {
    assignment_page(index, "", "", usize::MAX, now).views
}

impl Index {
    /// One assignment with what is known of it.
    pub fn assignment_view(
        &self,
        id: &ClusterId,
        app: &AppKey,
        now: Time,
    ) -> Option<AssignmentView> {
        let (assignment, _) = self.assignment(id, app)?;
        let observed = self.observed(id, app);
        let record = self.release(app, &assignment.release);
        let sighting = self.sighting(id, now);
        let mut message = observed
            .map(|observed| observed.message.clone())
            .unwrap_or_default();
        if sighting == Sighting::Offline {
            message = match self.seen(id) {
                Some(seen) => format!("not heard of since {}", self.heard(seen).seconds()),
                None => "never heard of".to_owned(),
            };
        } else if observed.is_none() {
            "the agent has not reported on it yet".clone_into(&mut message);
        }
        Some(AssignmentView {
            cluster: self.cluster_name(id).to_owned(),
            labels: self.labels_of(id).clone(),
            project: app.project.clone(),
            app: app.name.clone(),
            release: record.map_or(0, |record| record.number),
            variant: assignment.variant,
            commit: record
                .map(|record| crate::records::short_revision(&record.commit).to_owned())
                .unwrap_or_default(),
            phase: assignment.phase,
            state: observed.map(|observed| observed.state),
            current: observed.is_some_and(|o| {
                o.variant == assignment.variant && o.release == assignment.release
            }),
            connected: self.is_connected(id),
            outcome: assignment.outcome.as_ref().map(|outcome| outcome.kind),
            message,
            objects: observed
                .map(|o| format!("{}/{}", o.health.healthy, o.health.total))
                .unwrap_or_default(),
            writes: observed.map_or(0, |observed| observed.writes),
            healed: observed.map_or(0, |observed| observed.healed),
            drift: observed
                .map(|observed| observed.drift.clone())
                .unwrap_or_default(),
            problems: observed
                .map(|observed| observed.problems.clone())
                .unwrap_or_default(),
            hold: self.hold(id, app).cloned(),
            awaiting_approval: observed
                .map(|observed| {
                    observed
                        .awaiting_approval
                        .iter()
                        .map(ToString::to_string)
                        .collect()
                })
                .unwrap_or_default(),
            since: assignment.since,
            state_since: observed.map(|observed| observed.since),
        })
    }
}
