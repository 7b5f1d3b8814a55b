//! How an App stands, for the hub.

use std::collections::BTreeSet;

use k8s_health::Status;
use k8s_object::ObjectId;
use roadstead_dispatch::{AppReport, AppState, Inventory, Problem, ProblemKind};

use crate::app::{AppSync, Progress};
use crate::core::Core;

impl AppSync {
    /// Comes to the state that the App is in.
    pub(crate) fn judge(&mut self, core: &mut Core) {
        self.refresh(core);
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
                let first = self.first_unhealthy().cloned();
                let Some(first) = &first.filter(|_| self.planned) else {
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
            && (self.waiting.starts_with("waits") || self.objects.has_unknown_kind())
    }

    /// Is something that was applied in a bad way?
    fn degraded(&self) -> bool {
        self.objects.is_degraded()
            || self.objects.has_terminal() && self.progress == Progress::Steady
    }

    /// The whole state.
    pub(crate) fn report(&self) -> AppReport {
        let objects: Vec<ObjectId> = self.record.held.keys().cloned().collect();
        let lasting = self.objects.iter().filter(|(_, obj)| {
            let spec = obj.spec.as_ref();
            spec.is_some_and(|spec| !spec.hook)
        });
        let exact = self.known && lasting.map(|(id, _)| id).eq(objects.iter());
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
            health: self.objects.counts(),
            problems,
            drift: self
                .objects
                .drifting()
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
            AppState::Synced => self.first_unhealthy().map_or_else(String::new, |id| {
                let counts = self.objects.counts();
                let more = match counts.total.saturating_sub(counts.healthy) {
                    0 | 1 => String::new(),
                    all => format!(" (and {} more)", all - 1),
                };
                format!("waits: {}{more}", self.explain(id))
            }),
            _ => self.waiting.clone(),
        };
        if message.is_empty() && !self.pruning.awaiting.is_empty() {
            message = format!("{} removals wait for approval", self.pruning.awaiting.len());
        }
        let loud: BTreeSet<&String> = self.loud.values().collect();
        for loud in loud {
            if !message.is_empty() {
                message += "; ";
            }
            message += loud;
        }
        message
    }

    fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        for (id, obj) in self.objects.troubled() {
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
