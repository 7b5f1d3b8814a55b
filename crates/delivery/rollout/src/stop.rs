//! When a stage fails or cannot be judged, and how clusters go back.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_dispatch::{AppState, EntryPhase};
use roadstead_model::{Amount, ClusterId, ReleaseId, Stage, Time};

use crate::judge::{Counts, DEFAULT_DEADLINE, Member, Sighting};
use crate::{Event, OutcomeKind, Phase, Rollout, StagePhase, Step};

const DEFAULT_MAX_SET_ASIDE: Amount = Amount::Percent(10);

/// Why the stage fails, if it does.
pub(crate) fn over_budget(
    rollout: &Rollout,
    index: usize,
    stage: &Stage,
    counts: &Counts,
) -> Option<String> {
    let eligible = counts.members - counts.aside;
    let of = |amount: Amount| match amount {
        Amount::Count(count) => count as usize,
        // the larger of one and the percentage: a percentage that allows no failure at all is written as 0
        Amount::Percent(0) => 0,
        Amount::Percent(_) => amount.of_up(eligible).max(1),
    };
    let whole = stage.failure_budget.map_or(0, of);
    let wave = stage
        .waves
        .get(rollout.stages[index].wave)
        .and_then(|wave| wave.failure_budget)
        .map_or(whole, of);
    let allowed = whole.min(wave);
    (counts.failed > allowed).then(|| {
        format!(
            "stage {}: {} of {} clusters failed, {allowed} may",
            stage.name, counts.failed, counts.members
        )
    })
}

/// Why the stage cannot be judged now, if it cannot.
pub(crate) fn cannot_judge(
    rollout: &Rollout,
    index: usize,
    stage: &Stage,
    counts: &Counts,
) -> Option<String> {
    if counts.aside == counts.members {
        return Some(match counts.members {
            1 => format!("stage {}: its only cluster is set aside", stage.name),
            all => format!(
                "stage {}: all of its {all} clusters are set aside",
                stage.name
            ),
        });
    }
    // a gate that measured nothing good never passes, and must not keep a newer Release out
    if counts.failed > 0 && counts.failed + counts.aside == counts.members {
        return Some(match counts.members {
            1 => format!(
                "stage {}: its only cluster did not become healthy",
                stage.name
            ),
            all => format!(
                "stage {}: none of its {all} clusters became healthy",
                stage.name
            ),
        });
    }
    if rollout.stages[index].overridden.is_some() {
        return None;
    }
    let most = stage
        .max_set_aside
        .unwrap_or(DEFAULT_MAX_SET_ASIDE)
        .of_up(counts.members);
    (counts.aside > most).then(|| {
        let are = if counts.aside == 1 { "is" } else { "are" };
        format!(
            "stage {}: {} of {} clusters {are} set aside, {most} may",
            stage.name, counts.aside, counts.members
        )
    })
}

pub(crate) fn fail(
    rollout: &mut Rollout,
    now: Time,
    index: usize,
    why: String,
    members: &[Member<'_>],
    outcomes: &BTreeMap<ClusterId, OutcomeKind>,
    out: &mut Step,
) {
    rollout.stages[index].phase = StagePhase::Failed;
    let first = members.iter().find_map(|member| {
        let failed = outcomes.get(member.id) == Some(&OutcomeKind::Failed);
        let new = out
            .outcomes
            .iter()
            .find(|(id, _)| id == member.id)
            .map(|(_, outcome)| outcome);
        let old = member
            .assignment
            .and_then(|assignment| assignment.outcome.as_ref());
        let outcome = new
            .or(old)
            .filter(|outcome| failed && !outcome.reason.is_empty())?;
        Some(format!("{}: {}", member.name, outcome.reason))
    });
    let why = first.map_or_else(|| why.clone(), |first| format!("{why} ({first})"));
    out.bar = Some(why.clone());
    out.events.push(Event::own(now, "StageFailed", why.clone()));
    match rollout.strategy.on_failure {
        roadstead_model::OnFailure::Hold => {
            rollout.phase = Phase::Failed;
            rollout.message = why;
        }
        roadstead_model::OnFailure::RollBack => {
            rollout.phase = Phase::RollingBack;
            rollout.message = format!("{why}; its clusters go back");
            out.events.push(Event::own(
                now,
                "RollingBack",
                "its clusters go back to their last good Release",
            ));
        }
    }
}

/// Takes every cluster that has the Release back to its last good one, and ends when all that can be reached are back.
pub(crate) fn go_back(
    rollout: &mut Rollout,
    now: Time,
    members: &[Member<'_>],
    barred: &BTreeSet<ReleaseId>,
    out: &mut Step,
) {
    if out.bar.is_none() {
        out.bar = Some(rollout.message.clone());
    }
    let (mut waiting, mut nowhere, mut offline) = (0_usize, 0_usize, 0_usize);
    for member in members {
        let Some(assignment) = member.assignment else {
            continue;
        };
        if assignment.release == rollout.release {
            match assignment.good_besides(barred) {
                Some(good) => {
                    out.back.push((member.id.clone(), good));
                    waiting += 1;
                }
                // the first Release of all: there is nothing to go back to
                None => nowhere += 1,
            }
        } else if assignment.rollout == rollout.number && assignment.phase == EntryPhase::Revert {
            let back = member.observed.is_some_and(|observed| {
                observed.variant == assignment.variant
                    && matches!(
                        observed.state,
                        AppState::Healthy | AppState::Degraded | AppState::Failed
                    )
            });
            let stage = rollout.strategy.stages.get(member.stage);
            let limit = stage
                .and_then(|stage| stage.deadline)
                .unwrap_or(DEFAULT_DEADLINE);
            let late = assignment.since.plus_ms(limit.0);
            // one cluster that cannot go back must not keep everybody else from what comes next
            let reachable =
                member.sighting == Sighting::Online && member.withheld.is_empty() && now < late;
            if !back && reachable {
                out.wake_at(late);
            }
            if !back {
                waiting += usize::from(reachable);
                offline += usize::from(!reachable);
            }
        }
    }
    if waiting > 0 {
        return;
    }
    let mut message = rollout
        .message
        .replace("; its clusters go back", "; its clusters went back");
    message = message.replace(": its clusters go back", ": its clusters went back");
    if nowhere > 0 {
        message.push_str(&format!("; {nowhere} had nothing to go back to"));
    }
    if offline > 0 {
        message.push_str(&format!("; {offline} more follow when they can"));
    }
    rollout.end(Phase::RolledBack, message.clone(), now);
    out.events.push(Event::own(now, "RolledBack", message));
}
