//! Renders Releases, on threads that may block, a few at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base_store::Store;
use bytes::Bytes;
use roadstead_control::{RenderJob, Rendered};
use roadstead_model::{Key, ProjectSpec};
use tokio::sync::Semaphore;

use crate::brain::{Brain, Input};
use crate::metrics::Metrics;
use crate::sources::Reader;
use crate::tasks::Task;

/// How many renders run at once.
const AT_ONCE: usize = 2;

/// Renders Releases.
#[derive(Clone)]
pub(crate) struct Renders {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) brain: Brain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) task: Arc<Task>,
}

impl Renders {
    pub(crate) fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(AT_ONCE))
    }

    /// Starts a job; its outcome goes to the thread that asked.
    pub(crate) fn start(&self, job: RenderJob) {
        let this = self.clone();
        tokio::spawn(async move {
            let Ok(_place) = this.room.clone().acquire_owned().await else {
                return;
            };
            let (app, number) = (job.app.clone(), job.number);
            let brain = this.brain.clone();
            let project_name = app.project.clone();
            let key = job
                .record
                .inputs
                .first()
                .map(|input| Key::new(app.project.clone(), input.source.clone()));
            let asked = brain
                .ask(move |index, _| {
                    let project = index
                        .project(&project_name)
                        .map(|project| project.spec.clone());
                    let request = key.and_then(|key| crate::sources::request_of(index, &key));
                    (project.unwrap_or_default(), request)
                })
                .await;
            let Some((project, request)) = asked else {
                return;
            };
            let run = this.task.begin();
            let this_again = this.clone();
            let outcome = tokio::task::spawn_blocking(move || {
                let started = Instant::now();
                let outcome = this_again.render(&job, &project, request);
                this_again.metrics.renders.inc();
                this_again
                    .metrics
                    .render_seconds
                    .observe(started.elapsed().as_secs_f64());
                outcome
            })
            .await
            .unwrap_or_else(|_| {
                failed("the renderer ended by a bug; see the hub's log".to_owned())
            });
            run.ended(match (&outcome.transient, outcome.error.as_str()) {
                (Some(problem), _) => Err(format!("{app}: {problem}")),
                // what is wrong in Git is the App's own trouble, and is told there
                (None, "") => Ok(format!("release {number} of {app}")),
                (None, error) => Ok(format!("release {number} of {app}: {error}")),
            });
            let brain = this.brain.clone();
            let _ = tokio::task::spawn_blocking(move || {
                brain.send(Input::Rendered(app, number, Box::new(outcome)))
            })
            .await;
        });
    }

    fn render(
        &self,
        job: &RenderJob,
        project: &ProjectSpec,
        request: Option<crate::sources::Wanted>,
    ) -> Rendered {
        let Some(input) = job.record.inputs.first() else {
            return failed("the App has no input".to_owned());
        };
        let Some(request) = request else {
            return failed(format!("Source {:?} is gone", input.source));
        };
        let files = match self.reader.files(&request, &input.commit, &input.path) {
            Ok(files) => files,
            Err(error) => return later(error),
        };
        let files: BTreeMap<String, Bytes> = files
            .into_iter()
            .map(|(name, bytes)| {
                let folder = input.path.trim_matches('/');
                let whole = if folder.is_empty() || name == folder {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                (whole, bytes)
            })
            .collect();
        let mut outcome = roadstead_control::render(job, &files, (&job.app.project, project));
        // contents first: what a Release names must be there
        if let Err(error) = self.store.put_blobs(&outcome.blobs) {
            return later(format!(
                "rendered, but the contents could not be stored: {error}"
            ));
        }
        outcome.blobs.clear();
        outcome
    }
}

/// What may work another time.
fn later(problem: String) -> Rendered {
    Rendered {
        transient: Some(problem),
        ..Rendered::default()
    }
}

fn failed(error: String) -> Rendered {
    Rendered {
        error,
        ..Rendered::default()
    }
}
