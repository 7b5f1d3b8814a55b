//! How an App stands, for the hub.

use std::collections::BTreeSet;

use k8s_health::Status;
use k8s_object::ObjectId;
use roadstead_dispatch::{AppReport, AppState, HealthCounts, Inventory, Problem, ProblemKind};

use crate::app::{AppSync, Progress};
use crate::core::Core;

impl AppSync {
    /// Comes to the state that the App is in.
    pub(crate) fn judge(&mut self, core: &mut Core) {
        let state = self.standing(core);
        if state != self.state {
            self.state = state;
            self.since = core.now.wall;
        }
    }

    fn standing(&mut self, core: &mut Core) -> AppState {
        if self.progress == Progress::Gone {
            return AppState::Gone;
        }
        if self.held {
            return AppState::Held;
        }
        if self.next.is_some() {
            return AppState::Waiting;
        }
        let degraded = self.degraded();
        match self.progress {
            Progress::Failing(_) | Progress::Failed => AppState::Failed,
            Progress::Running(_) => {
                let begun = self.planned && core.kinds.is_some();
                if degraded {
                    AppState::Degraded
                } else if !begun || !self.waiting.starts_with("applies") && self.blocked() {
                    AppState::Waiting
                } else {
                    AppState::Syncing
                }
            }
            Progress::Steady => {
                let steps = std::sync::Arc::clone(&self.steps);
                let mut ids = steps.iter().flat_map(|step| step.ranks.iter().flatten());
                let first = ids.find(|id| !self.is_healthy(id));
                let Some(first) = first.filter(|_| self.planned) else {
                    self.unhealthy_since = None;
                    return if !self.planned {
                        AppState::Waiting
                    } else if degraded {
                        AppState::Degraded
                    } else if self.pruning.chosen.is_some() && !self.pruning.done {
                        AppState::Syncing
                    } else {
                        AppState::Healthy
                    };
                };
                let since = *self.unhealthy_since.get_or_insert(core.now.mono_ms);
                let deadline = since.saturating_add(self.entry.options.wait_timeout.0);
                if core.now.mono_ms >= deadline {
                    let why = self.explain(first);
                    if let Some(obj) = self.objects.get_mut(first)
                        && obj.problem.is_none()
                    {
                        let seconds = self.entry.options.wait_timeout.0 / 1000;
                        let message = format!("not healthy for {seconds} s: {why}");
                        obj.note(first, ProblemKind::Deadline, "DeadlineExceeded", message);
                    }
                    return AppState::Degraded;
                }
                self.wake_at(deadline);
                if degraded {
                    AppState::Degraded
                } else {
                    AppState::Synced
                }
            }
            Progress::Gone => AppState::Gone,
        }
    }

    /// Does the round wait for something outside rather than work?
    fn blocked(&self) -> bool {
        matches!(self.progress, Progress::Running(0))
            && (self.waiting.starts_with("waits")
                || self.objects.values().any(|obj| {
                    obj.problem
                        .as_ref()
                        .is_some_and(|problem| problem.kind == ProblemKind::UnknownKind)
                }))
    }

    /// Is something that was applied in a bad way?
    fn degraded(&self) -> bool {
        self.objects.iter().any(|(id, obj)| {
            let Some(spec) = &obj.spec else {
                return false;
            };
            if spec.hook {
                return false;
            }
            let applied = self
                .record
                .held
                .get(id)
                .is_some_and(|held| held.applied.is_some() && held.applied == obj.want);
            let bad = obj
                .live
                .as_ref()
                .is_some_and(|live| live.status == Status::Degraded);
            applied && (bad || obj.pod.as_ref().is_some_and(|pod| pod.failing))
                || obj.terminal && self.progress == Progress::Steady
        })
    }

    /// The whole state.
    pub(crate) fn report(&self) -> AppReport {
        let objects: Vec<ObjectId> = self.record.held.keys().cloned().collect();
        let lasting: BTreeSet<&ObjectId> = self
            .variant
            .iter()
            .flat_map(|variant| variant.lasting().map(|object| &object.id))
            .collect();
        let exact = self.variant.is_some() && lasting.iter().copied().eq(objects.iter());
        let digest = Inventory::digest_of(&objects);
        let problems = self.problems();
        AppReport {
            release: self.entry.release,
            variant: self.entry.variant,
            attempt: self.entry.attempt,
            state: self.state,
            since: self.since,
            moved: roadstead_model::Time(0),
            message: self.message(&problems),
            health: self.counts(),
            problems,
            drift: self
                .objects
                .values()
                .filter_map(|obj| obj.drift.clone())
                .collect(),
            healed: self.record.healed,
            writes: self.record.writes,
            inventory: Inventory {
                digest,
                objects: (!exact).then_some(objects),
            },
            left_over: self.pruning.left_over.clone(),
            awaiting_approval: self.pruning.awaiting.clone(),
        }
    }

    fn message(&self, problems: &[Problem]) -> String {
        let mut message = match self.state {
            AppState::Failed => self
                .record
                .failed
                .as_ref()
                .map(|(_, message)| message.clone())
                .unwrap_or_default(),
            AppState::Held => self.entry.hold.as_ref().map_or_else(String::new, |hold| {
                let mut text = format!("on hold by {}", hold.actor);
                if !hold.reason.is_empty() {
                    text += &format!(": {}", hold.reason);
                }
                text
            }),
            AppState::Degraded => problems
                .first()
                .map(|problem| problem.message.clone())
                .unwrap_or_default(),
            AppState::Healthy if self.pruning.awaiting.is_empty() => String::new(),
            AppState::Healthy => {
                format!("{} removals wait for approval", self.pruning.awaiting.len())
            }
            _ => self.waiting.clone(),
        };
        if message.is_empty() && !self.pruning.awaiting.is_empty() {
            message = format!("{} removals wait for approval", self.pruning.awaiting.len());
        }
        for loud in &self.loud {
            if !message.is_empty() {
                message += "; ";
            }
            message += loud;
        }
        message
    }

    fn counts(&self) -> HealthCounts {
        let mut counts = HealthCounts::default();
        for (id, obj) in &self.objects {
            if obj.spec.as_ref().is_none_or(|spec| spec.hook) {
                continue;
            }
            counts.total += 1;
            if self.is_healthy(id) {
                counts.healthy += 1;
                continue;
            }
            match &obj.live {
                None => counts.missing += 1,
                Some(live) if live.status == Status::Degraded => counts.degraded += 1,
                Some(_) if obj.pod.as_ref().is_some_and(|pod| pod.failing) => counts.degraded += 1,
                Some(_) => counts.progressing += 1,
            }
        }
        counts
    }

    fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        for (id, obj) in &self.objects {
            let mut own = obj.problem.clone();
            if let Some(pod) = &obj.pod
                && (pod.failing || own.is_some())
            {
                out.push(Problem {
                    object: id.clone(),
                    kind: ProblemKind::Health,
                    reason: pod.reason.clone(),
                    message: format!("{}: {}: {}", id.readable(), pod.reason, pod.message),
                });
                own = own.filter(|problem| problem.kind != ProblemKind::Health);
            } else if let Some(live) = obj.live.as_ref().filter(|live| {
                live.status == Status::Degraded
                    && own.is_none()
                    && obj.spec.as_ref().is_some_and(|spec| !spec.hook)
            }) {
                own = Some(Problem {
                    object: id.clone(),
                    kind: ProblemKind::Health,
                    reason: live.reason.clone(),
                    message: format!("{}: {}: {}", id.readable(), live.reason, live.message),
                });
            }
            out.extend(own);
        }
        out.sort_by_key(|problem| match problem.kind {
            ProblemKind::Owner => 0,
            ProblemKind::Apply => 1,
            ProblemKind::Health => 2,
            ProblemKind::Deadline => 3,
            ProblemKind::Remove => 4,
            ProblemKind::Contested => 5,
            ProblemKind::UnknownKind => 6,
        });
        out
    }
}
