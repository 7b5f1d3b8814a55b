//! The hub's background tasks: each is registered once, and shows what it did last.
//!
//! A task that only has a rhythm is driven from here ([`Tasks::every`]). One with a thread or a loop of its own keeps a
//! [`Task`] and says when a run begins and how it ended.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_apiserver::{
    Column, ListOptions, ResourceDef, Status, SubresourceHandler, SubresourceRequest,
    SubresourceResponse, VirtualList, VirtualRequest,
};
use parking_lot::Mutex;
use roadstead_model::{GROUP, Time, VERSION};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::clock::now;
use crate::listing;

/// What a task is, for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) does: &'static str,
    /// How often it runs at least; `None` if only something wakes it.
    pub(crate) period: Option<Duration>,
    /// What wakes it before its time.
    pub(crate) woken_by: &'static str,
}

/// How a run ended.
#[derive(Debug, Clone)]
struct Ended {
    at: Time,
    took: Duration,
    outcome: Result<String, String>,
}

#[derive(Debug, Default)]
struct State {
    runs: u64,
    failures: u64,
    under_way: u64,
    since: Option<Time>,
    last: Option<Ended>,
    failed: Option<Ended>,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    about: About,
    /// Is it driven from here, so that it can be woken?
    driven: bool,
    state: Mutex<State>,
    wake: Notify,
}

impl Task {
    /// Says that a run begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Run {
        let mut state = self.state.lock();
        state.under_way += 1;
        state.since.get_or_insert_with(now);
        drop(state);
        Run {
            task: Arc::clone(self),
            began: Instant::now(),
            outcome: None,
        }
    }

    /// Lets it run now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    fn ended(&self, took: Duration, outcome: Result<String, String>) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            state.since = None;
        }
        state.runs += 1;
        let ended = Ended {
            at: now(),
            took,
            outcome,
        };
        if ended.outcome.is_err() {
            state.failures += 1;
            state.failed = Some(ended.clone());
        }
        state.last = Some(ended);
    }

    fn shown(&self) -> Value {
        let state = self.state.lock();
        let about = &self.about;
        let result = match (&state.last, state.under_way) {
            (Some(last), _) if last.outcome.is_err() => "Failed",
            (_, running) if running > 0 => "Running",
            (Some(_), _) => "Succeeded",
            (None, _) => "NeverRan",
        };
        let message = state
            .last
            .as_ref()
            .map(|last| match &last.outcome {
                Ok(text) | Err(text) => text.clone(),
            })
            .unwrap_or_default();
        let mut shown = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Task",
            "metadata": { "name": about.name },
            "spec": {
                "does": about.does,
                "every": about.period.map(told),
                "wokenBy": about.woken_by,
            },
            "status": {
                "result": result,
                "message": message,
                "lastRun": state.last.as_ref().map(|last| last.at),
                "took": state.last.as_ref().map(|last| told(last.took)),
                "runs": state.runs,
                "failures": state.failures,
                "lastFailure": state.failed.as_ref().map(|failed| json!({
                    "at": failed.at,
                    "message": failed.outcome.as_ref().err(),
                })),
                "runningSince": state.since,
            },
        });
        // what has not happened is left out, as in every noun
        for part in ["spec", "status"] {
            if let Some(map) = shown[part].as_object_mut() {
                map.retain(|_, value| !value.is_null());
            }
        }
        shown
    }
}

/// A run that is under way. One that is dropped without an end has ended by a bug, and says so.
pub(crate) struct Run {
    task: Arc<Task>,
    began: Instant,
    outcome: Option<Result<String, String>>,
}

impl Run {
    /// It ended well.
    pub(crate) fn done(mut self, message: impl Into<String>) {
        self.outcome = Some(Ok(message.into()));
    }

    /// It failed.
    pub(crate) fn failed(mut self, why: impl Into<String>) {
        self.outcome = Some(Err(why.into()));
    }

    /// It ended so.
    pub(crate) fn ended(mut self, outcome: Result<String, String>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let bug = || Err("it ended by a bug; see the hub's log".to_owned());
        let outcome = self.outcome.take().unwrap_or_else(bug);
        self.task.ended(self.began.elapsed(), outcome);
    }
}

/// Every task of one hub.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<BTreeMap<&'static str, Arc<Task>>>);

impl Tasks {
    /// Registers a task that runs by itself.
    pub(crate) fn register(&self, about: About) -> Arc<Task> {
        self.add(about, false)
    }

    fn add(&self, about: About, driven: bool) -> Arc<Task> {
        let task = Arc::new(Task {
            about,
            driven,
            state: Mutex::default(),
            wake: Notify::new(),
        });
        let before = self.0.lock().insert(about.name, Arc::clone(&task));
        debug_assert!(before.is_none(), "task {} stands twice", about.name);
        task
    }

    /// Registers a task and runs it each time that its period has passed or that it is woken, until the hub ends.
    pub(crate) fn every<F, R>(&self, about: About, mut activate: F) -> tokio::task::JoinHandle<()>
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<String, String>> + Send,
    {
        let task = self.add(about, true);
        let runs = task;
        tokio::spawn(async move {
            loop {
                let woken = runs.wake.notified();
                match about.period {
                    Some(period) => drop(tokio::time::timeout(period, woken).await),
                    None => woken.await,
                }
                let run = runs.begin();
                let outcome = activate().await;
                if let Err(problem) = &outcome {
                    tracing::warn!(task = about.name, %problem, "a background task failed");
                }
                run.ended(outcome);
            }
        })
    }

    fn all(&self) -> Vec<Value> {
        self.0.lock().values().map(|task| task.shown()).collect()
    }
}

/// A duration for people: `90s`, `1.5ms`.
fn told(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() == 0 => format!("{}µs", duration.as_micros()),
        0 => format!("{}ms", duration.as_millis()),
        1..60 => {
            let tenths = duration.subsec_millis() / 100;
            if tenths == 0 {
                format!("{seconds}s")
            } else {
                format!("{seconds}.{tenths}s")
            }
        }
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

/// A cell that stays empty where there is nothing to show.
fn text(path: &'static str) -> impl Fn(&Value, jiff::Timestamp) -> Value + Send + Sync {
    move |object, _| object.pointer(path).cloned().unwrap_or_else(|| json!(""))
}

/// The resource `tasks`.
pub(crate) fn resource() -> ResourceDef {
    let mut def = ResourceDef::new(GROUP, VERSION, "Task", "tasks", false);
    "task".clone_into(&mut def.singular);
    def.verbs = vec!["get".to_owned(), "list".to_owned()];
    "What the hub does in the background, and how it went the last time. Never stored."
        .clone_into(&mut def.description);
    def.columns = vec![
        Column::name(),
        Column::compute("Every", "string", text("/spec/every")),
        Column::path("Last run", "date", ".status.lastRun"),
        Column::compute("Took", "string", text("/status/took")),
        Column::path("Result", "string", ".status.result"),
        Column::path("Runs", "integer", ".status.runs"),
        Column::path("Failures", "integer", ".status.failures"),
        Column::path("Message", "string", ".status.message"),
        Column::path("Woken by", "string", ".spec.wokenBy").wide(),
        Column::path("Does", "string", ".spec.does").wide(),
    ];
    def.selectable_fields = vec!["status.result".to_owned()];
    def.subresources = vec!["run".to_owned()];
    def
}

#[async_trait::async_trait]
impl k8s_apiserver::VirtualResource for Tasks {
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status> {
        let found = self.0.lock().get(request.name.as_str()).cloned();
        let found = found.ok_or_else(|| Status::not_found(&resource(), &request.name))?;
        Ok(found.shown())
    }

    async fn list(&self, _: &VirtualRequest, options: &ListOptions) -> Result<VirtualList, Status> {
        Ok(listing::page(self.all(), options, String::new()))
    }
}

#[async_trait::async_trait]
impl SubresourceHandler for Tasks {
    async fn handle(&self, request: SubresourceRequest) -> Result<SubresourceResponse, Status> {
        if request.method != http::Method::POST {
            return Err(Status::method_not_allowed());
        }
        let found = self.0.lock().get(request.name.as_str()).cloned();
        let task = found.ok_or_else(|| Status::not_found(&resource(), &request.name))?;
        if !task.driven {
            let text = format!(
                "task {} runs when it has something to do: {}",
                task.about.name, task.about.woken_by
            );
            return Err(Status::new(409, "Conflict", text));
        }
        task.wake();
        let said = format!("task {} runs now", task.about.name);
        Ok(SubresourceResponse::Object(json!({ "message": said })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &'static str, period: Option<Duration>) -> About {
        About {
            name,
            does: "Counts.",
            period,
            woken_by: "nobody",
        }
    }

    #[test]
    fn tells_durations() {
        let check = |duration, text: &str| assert_eq!(told(duration), text);
        check(Duration::from_micros(12), "12µs");
        check(Duration::from_millis(450), "450ms");
        check(Duration::from_millis(1500), "1.5s");
        check(Duration::from_secs(20), "20s");
        check(Duration::from_secs(90), "1m30s");
        check(Duration::from_secs(300), "5m");
        check(Duration::from_secs(7200), "2h");
        check(Duration::from_secs(86_400), "1d");
    }

    #[test]
    fn a_run_that_panics_is_a_failure() {
        let tasks = Tasks::default();
        let task = tasks.register(about("count", None));
        assert_eq!(task.shown()["status"]["result"], "NeverRan");
        let run = task.begin();
        assert_eq!(task.shown()["status"]["result"], "Running");
        run.done("three");
        assert_eq!(task.shown()["status"]["message"], "three");
        let run = task.begin();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _run = run;
            panic!("a bug");
        }));
        assert!(ended.is_err());
        let shown = task.shown();
        assert_eq!(shown["status"]["result"], "Failed");
        assert_eq!(shown["status"]["runs"], 2);
        assert_eq!(shown["status"]["failures"], 1);
        assert!(
            shown["status"]["lastFailure"]["message"]
                .to_string()
                .contains("bug")
        );
    }

    #[tokio::test]
    async fn a_driven_task_runs_by_its_period_and_when_it_is_woken() {
        let tasks = Tasks::default();
        let mut left = 2;
        let mut count = move || {
            left -= 1;
            match left {
                0.. => Ok(format!("{left} left")),
                _ => Err("none left".to_owned()),
            }
        };
        let hour = Some(Duration::from_secs(3600));
        let driver = tasks.every(about("tick", hour), move || std::future::ready(count()));
        let soon = tasks.every(about("soon", Some(Duration::from_millis(1))), || {
            std::future::ready(Ok("again".to_owned()))
        });
        let find = |name: &str| tasks.0.lock().get(name).cloned().expect("registered");
        let runs = async |name: &str, wanted: u64| {
            let task = find(name);
            let enough = async {
                while task.state.lock().runs < wanted {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(30), enough).await;
            waited.expect("it runs");
            task.shown()["status"].clone()
        };
        assert_eq!(runs("soon", 3).await["message"], "again");
        assert_eq!(runs("tick", 0).await["runs"], 0);
        for (wanted, message) in [(1, "1 left"), (2, "0 left"), (3, "none left")] {
            find("tick").wake();
            assert_eq!(runs("tick", wanted).await["message"], message);
        }
        assert_eq!(runs("tick", 3).await["result"], "Failed");
        driver.abort();
        soon.abort();
    }
}
