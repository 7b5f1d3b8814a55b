//! Renders Releases, on threads that may block, a few at a time.

use std::sync::Arc;
use std::time::Instant;

use base_store::{At, Batch, CommitId, Expect, Op, Store};
use bytes::Bytes;
use roadstead_control::{RenderJob, Rendered};
use roadstead_model::{Key, ProjectSpec};
use roadstead_render::{Inputs, Reading};
use tokio::sync::Semaphore;

use crate::brain::{Brain, Input};
use crate::clock::{commit_id, random};
use crate::error::HubError;
use crate::metrics::Metrics;
use crate::reader::{Reader, Wanted, request_of};
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
    /// What charts draw random texts from.
    pub(crate) seed: [u8; 32],
    pub(crate) task: Arc<Task>,
}

/// Where the seed lies.
const SEED: &str = "s/seed";

/// The hub's own secret that charts draw random texts from; made at the first start.
pub(crate) fn seed(store: &dyn Store) -> Result<[u8; 32], HubError> {
    if let Some(entry) = store.get(SEED, At::Newest)? {
        return <[u8; 32]>::try_from(&entry.value[..]).map_err(|_| HubError::Damaged {
            key: SEED.to_owned(),
            problem: format!("it has {} bytes in the place of 32", entry.value.len()),
        });
    }
    let mut seed = [0; 32];
    random(&mut seed);
    let op = Op::Put {
        key: SEED.to_owned(),
        value: Bytes::copy_from_slice(&seed),
        expect: Expect::Absent,
    };
    store.commit(Batch::new(CommitId(commit_id()), vec![op]))?;
    Ok(seed)
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
            let sources: Vec<Key> = job
                .record
                .inputs
                .iter()
                .map(|input| Key::new(app.project.clone(), input.source.clone()))
                .collect();
            let asked = brain
                .ask(move |index, _| {
                    let project = index
                        .project(&project_name)
                        .map(|project| project.spec.clone());
                    let wanted: Vec<Option<Wanted>> =
                        sources.iter().map(|key| request_of(index, key)).collect();
                    (project.unwrap_or_default(), wanted)
                })
                .await;
            let Some((project, wanted)) = asked else {
                return;
            };
            let run = this.task.begin();
            let this_again = this.clone();
            let outcome = tokio::task::spawn_blocking(move || {
                let started = Instant::now();
                let outcome = this_again.render(&job, &project, &wanted);
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
        wanted: &[Option<Wanted>],
    ) -> Rendered {
        let mut inputs = Inputs {
            seed: self.seed,
            now_ms: job.record.committed_at.0,
            ..Inputs::default()
        };
        for (index, (input, wanted)) in job.record.inputs.iter().zip(wanted).enumerate() {
            let Some(wanted) = wanted else {
                return failed(format!("Source {:?} is gone", input.source));
            };
            let reading = Reading::of(&job.record.frozen, index);
            let loaded = match self.reader.files(wanted, input, &reading) {
                Ok(loaded) => loaded,
                Err(error) => return later(error),
            };
            if index == 0 {
                loaded.put(&input.path, &mut inputs);
            } else {
                inputs.others.insert(input.name.clone(), loaded.files);
            }
        }
        let mut outcome = roadstead_control::render(job, &inputs, (&job.app.project, project));
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
