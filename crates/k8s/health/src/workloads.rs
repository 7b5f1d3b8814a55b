//! The rules of kinds that run pods.

use crate::Health;
use crate::view::View;

/// The first of these counts that is short of what it should be, as a verdict.
fn short(counts: &[(i64, i64, &str, &str)]) -> Option<Health> {
    counts
        .iter()
        .find(|(found, wanted, _, _)| found < wanted)
        .map(|(found, wanted, reason, what)| {
            Health::progressing(*reason, format!("{found} of {wanted} replicas {what}"))
        })
}

fn too_many(found: i64, wanted: i64) -> Option<Health> {
    (found > wanted).then(|| {
        let extra = found - wanted;
        let s = if extra == 1 { "" } else { "s" };
        Health::progressing("OldReplicas", format!("{extra} old replica{s} still there"))
    })
}

fn wanted(view: &View<'_>) -> i64 {
    view.number("/spec/replicas").unwrap_or(1)
}

pub(crate) fn deployment(view: &View<'_>) -> Health {
    let progressing = view.condition("Progressing");
    if view.flag("/spec/paused") {
        return Health::suspended("Paused", "the Deployment is paused");
    }
    if let Some(progressing) = progressing
        && progressing.reason() == "ProgressDeadlineExceeded"
    {
        return Health::degraded("ProgressDeadlineExceeded", progressing.message());
    }
    let status = |field: &str| view.count(&format!("/status/{field}"));
    let (wanted, all, updated) = (wanted(view), status("replicas"), status("updatedReplicas"));
    let failure = || {
        let failure = view.holds("ReplicaFailure")?;
        Some(Health::progressing(
            failure.reason_or_kind(),
            failure.message(),
        ))
    };
    let unavailable = || {
        let available = view.condition("Available");
        if available.is_some_and(|available| available.is("True")) {
            return None;
        }
        Some(Health::progressing(
            available.map_or("NotAvailable", |available| available.reason_or_kind()),
            available.map_or("no condition Available yet", |available| {
                available.message()
            }),
        ))
    };
    // 2147483647 seconds stand for "no deadline": then nobody writes the condition.
    let deadline = view
        .number("/spec/progressDeadlineSeconds")
        .is_some_and(|seconds| seconds != i64::from(i32::MAX));
    let unfinished = || {
        let done = progressing.is_some_and(|progressing| {
            progressing.is("True") && progressing.reason() == "NewReplicaSetAvailable"
        });
        (deadline && !done).then(|| {
            Health::progressing(
                progressing.map_or("Progressing", |progressing| progressing.reason_or_kind()),
                progressing.map_or("", |progressing| progressing.message()),
            )
        })
    };
    failure()
        .or_else(|| {
            short(&[
                (updated, wanted, "Updating", "are updated"),
                (all, wanted, "Creating", "exist"),
            ])
        })
        .or_else(|| too_many(all, updated))
        .or_else(|| {
            short(&[
                (
                    status("availableReplicas"),
                    updated,
                    "NotAvailable",
                    "are available",
                ),
                (status("readyReplicas"), wanted, "NotReady", "are ready"),
            ])
        })
        .or_else(unfinished)
        .or_else(unavailable)
        .unwrap_or_else(|| Health::healthy("Available"))
}

pub(crate) fn stateful_set(view: &View<'_>) -> Health {
    if view.text("/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy("OnDelete");
    }
    let status = |field: &str| view.count(&format!("/status/{field}"));
    let wanted = wanted(view);
    let available = view
        .number("/status/availableReplicas")
        .unwrap_or(status("readyReplicas"));
    let counts = short(&[
        (status("replicas"), wanted, "Creating", "exist"),
        (status("readyReplicas"), wanted, "NotReady", "are ready"),
        (available, wanted, "NotAvailable", "are available"),
    ])
    .or_else(|| too_many(status("replicas"), wanted));
    if let Some(verdict) = counts {
        return verdict;
    }
    let partition = view.count("/spec/updateStrategy/rollingUpdate/partition");
    let updated = status("updatedReplicas");
    if partition > 0 {
        let due = (wanted - partition).max(0);
        return short(&[(updated, due, "Updating", "above the partition are updated")])
            .unwrap_or_else(|| Health::healthy("PartitionUpdated"));
    }
    let (current, update) = (
        view.text("/status/currentRevision"),
        view.text("/status/updateRevision"),
    );
    if current == update {
        return Health::healthy("Available");
    }
    Health::progressing(
        "Updating",
        format!("{updated} of {wanted} replicas have the new revision {update}"),
    )
}

pub(crate) fn daemon_set(view: &View<'_>) -> Health {
    if view.text("/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy("OnDelete");
    }
    let status = |field: &str| view.count(&format!("/status/{field}"));
    let wanted = status("desiredNumberScheduled");
    short(&[
        (
            status("currentNumberScheduled"),
            wanted,
            "Creating",
            "are scheduled",
        ),
        (
            status("updatedNumberScheduled"),
            wanted,
            "Updating",
            "are updated",
        ),
        (
            status("numberAvailable"),
            wanted,
            "NotAvailable",
            "are available",
        ),
        (status("numberReady"), wanted, "NotReady", "are ready"),
    ])
    .unwrap_or_else(|| Health::healthy("Available"))
}

pub(crate) fn replica_set(view: &View<'_>) -> Health {
    if let Some(failure) = view.holds("ReplicaFailure") {
        return Health::degraded(failure.reason_or_kind(), failure.message());
    }
    let status = |field: &str| view.count(&format!("/status/{field}"));
    let wanted = wanted(view);
    short(&[
        (status("replicas"), wanted, "Creating", "exist"),
        (
            status("fullyLabeledReplicas"),
            wanted,
            "Creating",
            "are labelled",
        ),
        (
            status("availableReplicas"),
            wanted,
            "NotAvailable",
            "are available",
        ),
        (status("readyReplicas"), wanted, "NotReady", "are ready"),
    ])
    .or_else(|| too_many(status("replicas"), wanted))
    .unwrap_or_else(|| Health::healthy("Available"))
}

pub(crate) fn job(view: &View<'_>) -> Health {
    if let Some(failed) = view.holds("Failed") {
        return Health::degraded(failed.reason_or_kind(), failed.message());
    }
    if view.holds("Complete").is_some() {
        return Health::healthy("Complete");
    }
    if view.flag("/spec/suspend") || view.holds("Suspended").is_some() {
        return Health::suspended("JobSuspended", "the Job is suspended");
    }
    if let Some(failing) = view.holds("FailureTarget") {
        return Health::progressing(failing.reason_or_kind(), failing.message());
    }
    Health::progressing(
        "Running",
        format!(
            "{} pods active, {} succeeded, {} failed",
            view.count("/status/active"),
            view.count("/status/succeeded"),
            view.count("/status/failed"),
        ),
    )
}

/// A suspended CronJob is as its owner wants it: it must not hold up what comes after it.
pub(crate) fn cron_job(view: &View<'_>) -> Health {
    if view.flag("/spec/suspend") {
        return Health::healthy("Suspended");
    }
    let (scheduled, succeeded) = (
        view.text("/status/lastScheduleTime"),
        view.text("/status/lastSuccessfulTime"),
    );
    if scheduled.is_empty() || succeeded.is_empty() {
        return Health::healthy("Scheduled");
    }
    if !view.list("/status/active").is_empty() {
        return Health::healthy("Active");
    }
    // Both are RFC 3339 in UTC, whole seconds, as the API server writes them: text order is time order.
    if succeeded < scheduled {
        return Health::degraded(
            "LastRunFailed",
            format!("the run of {scheduled} did not succeed; the last that did ended {succeeded}"),
        );
    }
    Health::healthy("Scheduled")
}
