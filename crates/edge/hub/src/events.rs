//! Kubernetes Events on the hub's nouns, for `kubectl describe` and for tools that read them.
//!
//! They are made from the log's history as it goes by. Nothing depends on them: what cannot be written is left out, and
//! history tells it still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_apiserver::{DeleteOptions, ListOptions, Part, Registry, WriteOptions};
use roadstead_control::{Notice, Regarding};
use roadstead_model::{GROUP, Time};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::clock::now;
use crate::tasks::Task;

/// How many notices may wait; what comes beyond is left out.
const WAITING: usize = 4096;
/// How long notices are gathered, so that what is counted together is written once.
const GATHER: Duration = Duration::from_millis(250);
/// How long a notice waits for its noun to be there: the hub writes its own nouns a moment later.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an Event is kept after it was seen last.
const KEPT_MS: u64 = 3_600_000;
/// How many Events there may be.
const MOST: usize = 5_000;

/// How others tell what is to be shown.
#[derive(Clone)]
pub(crate) struct Notices(mpsc::Sender<Notice>);

impl Notices {
    /// Makes the two ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Tells; never waits.
    pub(crate) fn tell(&self, notice: Notice) {
        let _ = self.0.try_send(notice);
    }
}

/// What is said of a noun of the hub's own scope.
pub(crate) fn about(
    kind: &'static str,
    plural: &'static str,
    (project, name): (&str, &str),
    (warning, reason, message): (bool, &str, &str),
) -> Notice {
    Notice {
        regarding: Regarding {
            kind,
            plural,
            project: project.to_owned(),
            name: name.to_owned(),
        },
        warning,
        reason: reason.to_owned(),
        message: message.to_owned(),
        actor: "roadstead".to_owned(),
        at: now(),
    }
}

/// Writes Events until the hub ends.
pub(crate) async fn run(registry: Registry, mut notices: mpsc::Receiver<Notice>, task: Arc<Task>) {
    let mut waiting: Vec<(Instant, Notice)> = Vec::new();
    loop {
        let first = if waiting.is_empty() {
            notices.recv().await
        } else {
            // those whose noun is not there yet are tried again
            let soon = tokio::time::timeout(Duration::from_secs(1), notices.recv());
            soon.await.unwrap_or_default()
        };
        if first.is_none() && notices.is_closed() && notices.is_empty() {
            return;
        }
        waiting.extend(first.map(|notice| (Instant::now(), notice)));
        tokio::time::sleep(GATHER).await;
        while let Ok(notice) = notices.try_recv() {
            waiting.push((Instant::now(), notice));
        }
        let run = task.begin();
        let batch = std::mem::take(&mut waiting);
        let registry = registry.clone();
        let written = tokio::task::spawn_blocking(move || write(&registry, batch)).await;
        match written {
            Ok((again, Ok(count))) => {
                waiting = again;
                run.done(format!("{count} Events written"));
            }
            Ok((again, Err(problem))) => {
                waiting = again;
                run.failed(problem);
            }
            Err(_) => return,
        }
    }
}

type Batch = Vec<(Instant, Notice)>;

fn write(registry: &Registry, batch: Batch) -> (Batch, Result<usize, String>) {
    let mut together: BTreeMap<(String, String), Batch> = BTreeMap::new();
    for (came, notice) in batch {
        let key = (notice.namespace().to_owned(), notice.name());
        together.entry(key).or_default().push((came, notice));
    }
    let mut again = Vec::new();
    let mut count = 0;
    let mut problem = None;
    for ((namespace, name), same) in together {
        match one(registry, &namespace, &name, &same) {
            Ok(true) => count += 1,
            Ok(false) => again.extend(
                same.into_iter()
                    .filter(|(came, _)| came.elapsed() < PATIENCE),
            ),
            Err(error) => problem = Some(format!("{namespace}/{name}: {error}")),
        }
    }
    (again, problem.map_or(Ok(count), Err))
}

/// Writes one Event for what is counted together; false if its noun is not there.
fn one(registry: &Registry, namespace: &str, name: &str, same: &Batch) -> Result<bool, String> {
    let told = |status: k8s_apiserver::Status| status.message.clone();
    let Some((_, first)) = same.first() else {
        return Ok(true);
    };
    let noun = registry
        .resource(GROUP, first.regarding.plural)
        .map_err(told)?;
    let found = registry
        .find(&noun, &first.regarding.project, &first.regarding.name)
        .map_err(told)?;
    let Some(found) = found else {
        return Ok(false);
    };
    let uid = k8s_object::uid(&found);
    let events = registry.resource("", "events").map_err(told)?;
    let options = WriteOptions::manager("roadstead");
    let counted = |mut old: Option<Value>| {
        for (_, notice) in same {
            old = Some(notice.object(uid, old.as_ref()));
        }
        old.unwrap_or_default()
    };
    if registry
        .find(&events, namespace, name)
        .map_err(told)?
        .is_none()
    {
        registry
            .create(&events, namespace, counted(None), &options)
            .map_err(told)?;
        return Ok(true);
    }
    registry
        .modify(&events, namespace, name, Part::Main, &options, |object| {
            *object = counted(Some(object.take()));
            true
        })
        .map_err(told)?;
    Ok(true)
}

/// Removes Events that are old, and the oldest where there are too many.
pub(crate) fn expire(registry: &Registry, now: Time) -> Result<String, String> {
    let told = |status: k8s_apiserver::Status| status.message.clone();
    let events = registry.resource("", "events").map_err(told)?;
    let list = registry
        .list(&events, "", &ListOptions::default())
        .map_err(told)?;
    let mut all: Vec<(i64, String, String)> = list
        .values()
        .map(|event| {
            (
                last_seen(&event),
                k8s_object::namespace(&event).to_owned(),
                k8s_object::name(&event).to_owned(),
            )
        })
        .collect();
    all.sort();
    let many = all.len().saturating_sub(MOST);
    let mut removed = 0;
    for (index, (at, namespace, name)) in all.iter().enumerate() {
        if index >= many && now.since_ms(Time(*at)) <= KEPT_MS {
            break;
        }
        registry
            .delete(&events, namespace, name, &DeleteOptions::default())
            .map_err(told)?;
        removed += 1;
    }
    Ok(format!("{removed} of {} Events removed", all.len()))
}

/// When an Event was seen last, in milliseconds; one that does not say is as old as it was made.
fn last_seen(event: &Value) -> i64 {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let times = times
        .into_iter()
        .filter_map(|time| time.as_str()?.parse::<jiff::Timestamp>().ok());
    times.map(|time| time.as_millisecond()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base_store::memory::MemoryStore;
    use roadstead_control::NOUNS;
    use serde_json::json;

    use super::*;

    fn registry() -> Registry {
        let registry = Registry::open(
            Arc::new(MemoryStore::new()),
            NOUNS,
            Arc::new(crate::api::catalog()),
            Arc::new(crate::api::config()),
        )
        .expect("a registry");
        let def = registry.resource(GROUP, "projects").expect("a resource");
        let project = json!({ "apiVersion": "roadstead.dev/v1alpha1", "kind": "Project",
            "metadata": { "name": "default" }, "spec": {} });
        let options = WriteOptions::manager("test");
        registry.create(&def, "", project, &options).expect("made");
        registry
    }

    fn all(registry: &Registry) -> Vec<Value> {
        let def = registry.resource("", "events").expect("a resource");
        let list = registry.list(&def, "", &ListOptions::default());
        list.expect("a list").values().collect()
    }

    fn told(registry: &Registry, notice: Notice) -> (usize, usize) {
        let (again, written) = write(registry, vec![(Instant::now(), notice)]);
        (again.len(), written.expect("written"))
    }

    #[test]
    fn what_is_said_again_is_counted_and_goes_an_hour_later() {
        let registry = registry();
        let about_project = |at| Notice {
            at: Time(at),
            ..about(
                "Project",
                "projects",
                ("", "default"),
                (false, "Told", "something"),
            )
        };
        let start = now().0 / 1000 * 1000;
        assert_eq!(told(&registry, about_project(start)), (0, 1));
        assert_eq!(told(&registry, about_project(start + 60_000)), (0, 1));
        let events = all(&registry);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["count"], 2);
        assert_eq!(k8s_object::namespace(&events[0]), "default");
        let hour = 3_600_000;
        // counted from when it was seen last
        let said = expire(&registry, Time(start + hour + 1)).expect("done");
        assert_eq!(said, "0 of 1 Events removed");
        let said = expire(&registry, Time(start + 60_000 + hour + 1)).expect("done");
        assert_eq!(said, "1 of 1 Events removed");
        assert!(all(&registry).is_empty());
    }

    #[test]
    fn what_is_said_of_a_noun_that_is_not_there_yet_waits() {
        let registry = registry();
        let notice = about(
            "App",
            "apps",
            ("default", "later"),
            (true, "Told", "something"),
        );
        assert_eq!(told(&registry, notice), (1, 0));
        assert!(all(&registry).is_empty());
    }
}
