//! One object of an App: what is wanted, what is there, what is under way.

use std::collections::VecDeque;
use std::sync::Arc;

use base_json::{Digest, Value};
use k8s_health::Status;
use k8s_object::{ObjectId, annotation, uid};
use roadstead_dispatch::{DriftItem, Problem, ProblemKind, VariantObject};
use roadstead_model::Time;

use crate::io::CallId;
use crate::objects::{Judged, Place};
use crate::pods::{self, PodProblem};
use crate::{HOLD_ANNOTATION, RUN_ANNOTATION};

/// What the cluster has, in short.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) uid: String,
    pub(crate) revision: String,
    pub(crate) deleting: bool,
    /// It carries this App's mark for itself.
    pub(crate) marked: bool,
    /// Whose mark it carries, where that is another App's.
    pub(crate) other: Option<roadstead_model::AppKey>,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// For hooks: whether it ended, and well.
    pub(crate) ended: Option<bool>,
    pub(crate) run: String,
    pub(crate) hold: Option<Time>,
    pub(crate) selector: Option<String>,
    /// When our last apply changed it, by the API server's clock.
    pub(crate) applied_at: Option<Time>,
    pub(crate) finalizers: String,
    /// Somebody scales it.
    pub(crate) scaled: bool,
    /// What it was compared with, and the outcome.
    pub(crate) verdict: Option<(Digest, Verdict)>,
}

/// The outcome of a comparison with what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Nothing would change.
    pub(crate) same: bool,
    /// What would change.
    pub(crate) fields: Vec<String>,
    /// Who changed it.
    pub(crate) manager: String,
}

/// What is known of an object that is not in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It may exist without our mark.
    #[default]
    Unknown,
    /// It was looked for and is not there.
    Absent,
}

/// One object.
#[derive(Debug, Default)]
pub(crate) struct Obj {
    pub(crate) spec: Option<Arc<VariantObject>>,
    pub(crate) want: Option<Digest>,
    pub(crate) ignored: Vec<String>,
    pub(crate) yielded: Vec<String>,
    pub(crate) live: Option<Live>,
    pub(crate) presence: Presence,
    pub(crate) flight: Option<CallId>,
    pub(crate) fails: u32,
    pub(crate) retry_at: Option<u64>,
    /// Another try alone will not mend the problem.
    pub(crate) terminal: bool,
    pub(crate) problem: Option<Problem>,
    /// It is being removed to be made again.
    pub(crate) replacing: bool,
    /// A removal was asked for; the object stays until its finalizers are done.
    pub(crate) removing: bool,
    pub(crate) drift: Option<DriftItem>,
    pub(crate) heals: VecDeque<(u64, Vec<String>)>,
    pub(crate) contested_until: Option<u64>,
    pub(crate) contests: u32,
    pub(crate) pod: Option<PodProblem>,
    pub(crate) pods_at: Option<u64>,
    pub(crate) clean: bool,
    /// It existed before and is being taken over.
    pub(crate) adopting: bool,
    /// Where it stands in the round.
    pub(crate) place: Option<Place>,
    /// It changed since it was judged.
    pub(crate) stale: bool,
    pub(crate) judged: Judged,
    /// When it is to be tended again.
    pub(crate) wake: Option<u64>,
    /// It is to go, with those of this rank.
    pub(crate) leaving: Option<u16>,
}

impl Live {
    /// Reads what matters of an object.
    pub(crate) fn of(object: &Value, id: &ObjectId, app: &roadstead_model::AppKey) -> Self {
        let mut health = k8s_health::health(object);
        // The hub's own nouns are delivered once they are accepted: whether an App gets on is that App's own matter,
        // and must not fail the App that wrote it down.
        if id.group == roadstead_model::GROUP {
            health.status = k8s_health::Status::Healthy;
        }
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let scaled = crate::desired::scales(id)
            && crate::engine::owners_of(object, crate::desired::REPLICAS)
                .iter()
                .any(|(_, subresource)| *subresource == "scale");
        let owner = crate::claim::owner(object, id).map(|owner| owner.app);
        Self {
            uid: uid(object).to_owned(),
            revision: text("/metadata/resourceVersion").to_owned(),
            deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
            marked: owner.as_ref() == Some(app),
            other: owner.filter(|owner| owner != app),
            status: health.status,
            ended: ended(object, id, health.status),
            reason: health.reason,
            message: health.message,
            run: annotation(object, RUN_ANNOTATION)
                .unwrap_or_default()
                .to_owned(),
            hold: annotation(object, HOLD_ANNOTATION).and_then(|text| text.parse().ok()),
            selector: pods::selector(object, id),
            applied_at: applied_at(object),
            finalizers: object
                .pointer("/metadata/finalizers")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            scaled,
            verdict: None,
        }
    }

    pub(crate) fn healthy(&self) -> bool {
        !self.deleting && matches!(self.status, Status::Healthy | Status::Suspended)
    }

    /// Was it written after this revision of its kind? Kubernetes' revisions are numbers that grow.
    pub(crate) fn is_newer_than(&self, revision: &str) -> bool {
        let own = self.revision.parse::<u64>();
        own.is_ok_and(|own| revision.parse::<u64>().is_ok_and(|revision| own > revision))
    }

    /// Is this older than `other`? Versions that are no numbers cannot be compared: what comes later is newer.
    pub(crate) fn older_than(&self, other: &Self) -> bool {
        match (self.revision.parse::<u64>(), other.revision.parse::<u64>()) {
            (Ok(own), Ok(other)) => own < other,
            _ => false,
        }
    }
}

fn applied_at(object: &Value) -> Option<Time> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let own = entries.iter().find(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(crate::MANAGER)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
    })?;
    own.get("time")?.as_str()?.parse().ok()
}

fn ended(object: &Value, id: &ObjectId, status: Status) -> Option<bool> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("batch", "Job") => {
            let conditions = object
                .pointer("/status/conditions")
                .and_then(Value::as_array);
            conditions.into_iter().flatten().find_map(|condition| {
                if condition.get("status")?.as_str()? != "True" {
                    return None;
                }
                match condition.get("type")?.as_str()? {
                    "Complete" => Some(true),
                    "Failed" => Some(false),
                    _ => None,
                }
            })
        }
        ("", "Pod") => match object.pointer("/status/phase")?.as_str()? {
            "Succeeded" => Some(true),
            "Failed" => Some(false),
            _ => None,
        },
        _ => match status {
            Status::Healthy => Some(true),
            Status::Degraded => Some(false),
            _ => None,
        },
    }
}

impl Obj {
    /// Forgets what one round left: errors, retries.
    pub(crate) fn fresh_round(&mut self) {
        self.fails = 0;
        self.retry_at = None;
        self.terminal = false;
        self.problem = None;
        self.yielded.clear();
        self.adopting = false;
        self.replacing = false;
        self.drift = None;
        self.contested_until = None;
        self.contests = 0;
        self.heals.clear();
        self.spec = None;
        self.want = None;
        self.place = None;
    }

    pub(crate) fn fail(&mut self, id: &ObjectId, kind: ProblemKind, reason: &str, message: String) {
        self.terminal = true;
        self.note(id, kind, reason, message);
    }

    pub(crate) fn note(&mut self, id: &ObjectId, kind: ProblemKind, reason: &str, message: String) {
        self.problem = Some(Problem {
            object: id.clone(),
            kind,
            reason: reason.to_owned(),
            message,
        });
    }

    pub(crate) fn succeeded(&mut self) {
        self.fails = 0;
        self.retry_at = None;
        self.terminal = false;
        if self
            .problem
            .as_ref()
            .is_some_and(|problem| problem.kind != ProblemKind::Contested)
        {
            self.problem = None;
        }
    }

    /// The outcome of the comparison with what is wanted now.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        let (want, verdict) = self.live.as_ref()?.verdict.as_ref()?;
        (Some(*want) == self.want).then_some(verdict)
    }
}
