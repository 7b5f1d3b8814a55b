//! Jobs: pods that run to their end.

use k8s_cluster::Propagation;
use serde_json::{Map, Value, json};

use crate::api::{Refusal, read_time};
use crate::cx::{
    Condition, Cx, MANAGER, Said, condition, is_leaving, list, number, set_condition, status_of,
    text,
};
use crate::key::{Key, POD};
use crate::pods::{self, Extra};
use crate::queue::after;

const COMPONENT: &str = "job-controller";

fn holds(job: &Value, kind: &str) -> bool {
    condition(job, kind).is_some_and(|known| known["status"] == "True")
}

/// How often containers of a pod were started again.
fn restarts(pod: &Value) -> i64 {
    list(pod, "/status/containerStatuses")
        .iter()
        .filter_map(|container| number(container, "/restartCount"))
        .sum()
}

pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut job) = cx.get(key).filter(|job| !is_leaving(job)) else {
        return Ok(());
    };
    if holds(&job, "Complete") || holds(&job, "Failed") {
        return expire(cx, key, &job);
    }
    let pods = cx.children(&job, POD);
    let (active, ended): (Vec<&Value>, Vec<&Value>) =
        pods.iter().partition(|pod| pods::is_active(pod));
    let phase = |wanted: &str| {
        let of = ended.iter().filter(|pod| pods::phase(pod) == wanted);
        i64::try_from(of.count()).unwrap_or(0)
    };
    let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
    let now = cx.now_text();
    let mut status = status_of(&job);
    let suspended = job.pointer("/spec/suspend") == Some(&Value::Bool(true));
    if suspended {
        for pod in &active {
            remove(cx, &job, pod)?;
        }
        status.remove("startTime");
        let said = condition(&job, "Suspended").is_some();
        say(
            &mut status,
            "Suspended",
            "JobSuspended",
            "Job suspended",
            &now,
        );
        if !said {
            cx.event(COMPONENT, &job, Said::normal("Suspended", "Job suspended"));
        }
        counts(&mut status, 0, 0, succeeded, failed);
        return cx.set_status(MANAGER, &mut job, Value::Object(status));
    }
    if condition(&job, "Suspended").is_some() {
        let resumed = Condition {
            kind: "Suspended",
            holds: false,
            reason: "JobResumed",
            message: "Job resumed",
        };
        set_condition(&mut status, &resumed, &now, &[]);
    }
    status
        .entry("startTime")
        .or_insert_with(|| json!(now.clone()));
    let parallelism = number(&job, "/spec/parallelism").unwrap_or(1).max(0);
    let completions = number(&job, "/spec/completions");
    let tries = failed + active.iter().map(|pod| restarts(pod)).sum::<i64>();
    let limit = number(&job, "/spec/backoffLimit").unwrap_or(6);
    let deadline = number(&job, "/spec/activeDeadlineSeconds").and_then(|seconds| {
        let start = read_time(status.get("startTime"))?;
        Some(after(
            start,
            u64::try_from(seconds).ok()?.saturating_mul(1000),
        ))
    });
    let running = i64::try_from(active.len()).unwrap_or(0);
    let failure = if tries > limit {
        Some((
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else if deadline.is_some_and(|deadline| deadline <= cx.now) {
        Some((
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        ))
    } else {
        None
    };
    if let Some((reason, message)) = failure {
        for pod in &active {
            remove(cx, &job, pod)?;
        }
        say(&mut status, "FailureTarget", reason, message, &now);
        say(&mut status, "Failed", reason, message, &now);
        counts(&mut status, 0, 0, succeeded, failed + running);
        cx.event(COMPONENT, &job, Said::warning(reason, message));
        cx.set_status(MANAGER, &mut job, Value::Object(status))?;
        return expire(cx, key, &job);
    }
    let complete = match completions {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && running == 0,
    };
    if complete {
        for pod in &active {
            remove(cx, &job, pod)?;
        }
        let (reason, message) = (
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        );
        say(&mut status, "SuccessCriteriaMet", reason, message, &now);
        say(&mut status, "Complete", reason, message, &now);
        status.insert("completionTime".to_owned(), json!(now));
        counts(&mut status, 0, 0, succeeded, failed);
        if text(&job, "/spec/completionMode") == "Indexed" {
            status.insert("completedIndexes".to_owned(), json!(indexes(&ended)));
        }
        cx.event(COMPONENT, &job, Said::normal("Completed", "Job completed"));
        cx.set_status(MANAGER, &mut job, Value::Object(status))?;
        return expire(cx, key, &job);
    }
    let wanted = match completions {
        Some(completions) => parallelism.min(completions - succeeded),
        // Without a number the first success ends it: no new pods after that.
        None if succeeded > 0 => 0,
        None => parallelism,
    };
    let mut now_running = running;
    if let Some(due) = next_try(cx, &ended, failed).filter(|due| *due > cx.now) {
        cx.again_at(key, due);
    } else {
        let used = taken_indexes(&active, &ended);
        let indexed = text(&job, "/spec/completionMode") == "Indexed";
        let mut free = (0..completions.unwrap_or(0)).filter(|index| !used.contains(index));
        for _ in running..wanted {
            let index = if indexed { free.next() } else { None };
            start(cx, &job, index)?;
            now_running += 1;
        }
    }
    let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
    let ready = i64::try_from(ready).unwrap_or(0);
    counts(&mut status, now_running, ready, succeeded, failed);
    cx.set_status(MANAGER, &mut job, Value::Object(status))?;
    if let Some(deadline) = deadline {
        cx.again_at(key, deadline);
    }
    Ok(())
}

fn say(status: &mut Map<String, Value>, kind: &str, reason: &str, message: &str, now: &str) {
    let condition = Condition {
        kind,
        holds: true,
        reason,
        message,
    };
    set_condition(status, &condition, now, &[("lastProbeTime", json!(now))]);
}

fn counts(status: &mut Map<String, Value>, active: i64, ready: i64, succeeded: i64, failed: i64) {
    for (field, count) in [
        ("active", active),
        ("succeeded", succeeded),
        ("failed", failed),
    ] {
        if count == 0 {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), json!(count));
        }
    }
    status.insert("ready".to_owned(), json!(ready));
    status.insert("terminating".to_owned(), json!(0));
    status.insert("uncountedTerminatedPods".to_owned(), json!({}));
}

fn index_of(pod: &Value) -> Option<i64> {
    k8s_object::annotation(pod, "batch.kubernetes.io/job-completion-index")?
        .parse()
        .ok()
}

fn taken_indexes(active: &[&Value], ended: &[&Value]) -> Vec<i64> {
    let done = ended.iter().filter(|pod| pods::phase(pod) == "Succeeded");
    active
        .iter()
        .chain(done)
        .filter_map(|pod| index_of(pod))
        .collect()
}

fn indexes(ended: &[&Value]) -> String {
    let mut done = taken_indexes(&[], ended);
    done.sort_unstable();
    done.dedup();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < done.len() {
        let start = at;
        while at + 1 < done.len() && done[at + 1] == done[at] + 1 {
            at += 1;
        }
        out.push(if start == at {
            done[at].to_string()
        } else {
            format!("{}-{}", done[start], done[at])
        });
        at += 1;
    }
    out.join(",")
}

/// After a failure the next pod waits, twice as long each time.
fn next_try(cx: &Cx<'_>, ended: &[&Value], failed: i64) -> Option<jiff::Timestamp> {
    let last = ended
        .iter()
        .filter(|pod| pods::phase(pod) == "Failed")
        .filter_map(|pod| {
            list(pod, "/status/containerStatuses")
                .iter()
                .filter_map(|c| read_time(c.pointer("/state/terminated/finishedAt")))
                .max()
        })
        .max()?;
    let timings = &cx.config.timings;
    let doublings = u32::try_from(failed - 1).unwrap_or(0).min(20);
    let wait = timings
        .back_off
        .least_ms
        .saturating_mul(1 << doublings)
        .min(timings.back_off_max_ms);
    Some(after(last, wait))
}

fn start(cx: &mut Cx<'_>, job: &Value, index: Option<i64>) -> Result<(), Refusal> {
    let name = k8s_object::name(job);
    let suffix = cx.state.dice.suffix(5);
    let pod_name = match index {
        Some(index) => format!("{name}-{index}-{suffix}"),
        None => format!("{name}-{suffix}"),
    };
    let uid = k8s_object::uid(job).to_owned();
    let mut extra = Extra {
        labels: vec![
            ("batch.kubernetes.io/controller-uid", uid.clone()),
            ("batch.kubernetes.io/job-name", name.to_owned()),
            ("controller-uid", uid),
            ("job-name", name.to_owned()),
        ],
        ..Extra::default()
    };
    if let Some(index) = index {
        let key = "batch.kubernetes.io/job-completion-index";
        extra.annotations.push((key, index.to_string()));
        extra.labels.push((key, index.to_string()));
    }
    let template = job.pointer("/spec/template").unwrap_or(&Value::Null);
    let pod = pods::from_template(job, template, &pod_name, &extra);
    pods::create(cx, MANAGER, job, pod)?;
    let message = format!("Created pod: {pod_name}");
    cx.event(COMPONENT, job, Said::normal("SuccessfulCreate", &message));
    Ok(())
}

fn remove(cx: &mut Cx<'_>, job: &Value, pod: &Value) -> Result<(), Refusal> {
    if is_leaving(pod) {
        return Ok(());
    }
    let key = Key::of(pod);
    cx.api
        .delete(&key, k8s_object::uid(pod), Propagation::Background, false)?;
    let message = format!("Deleted pod: {}", k8s_object::name(pod));
    cx.event(COMPONENT, job, Said::normal("SuccessfulDelete", &message));
    Ok(())
}

/// Removes a Job that has ended, when its time to live is over.
fn expire(cx: &mut Cx<'_>, key: &Key, job: &Value) -> Result<(), Refusal> {
    let Some(ttl) = number(job, "/spec/ttlSecondsAfterFinished") else {
        return Ok(());
    };
    let ended = ["Complete", "Failed"]
        .iter()
        .filter_map(|kind| condition(job, kind))
        .filter_map(|known| read_time(known.get("lastTransitionTime")))
        .max()
        .unwrap_or(cx.now);
    let due = after(ended, u64::try_from(ttl).unwrap_or(0).saturating_mul(1000));
    if due > cx.now {
        cx.again_at(key, due);
        return Ok(());
    }
    cx.api
        .delete(key, k8s_object::uid(job), Propagation::Background, false)
}
