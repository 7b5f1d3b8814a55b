//! Writes what people see: nouns of the hub's own making, and the status of others.
//!
//! All of it derives from records: a write that is lost is made again when its subject changes, and once at each start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use k8s_apiserver::{DeleteOptions, Part, Registry, WriteOptions};
use roadstead_control::Projection;
use roadstead_model::{AppKey, GROUP, VERSION};
use serde_json::{Value, json};

use crate::tasks::Task;

/// The finalizer that keeps a deleted App until its clusters are let go of.
pub(crate) const FINALIZER: &str = "roadstead.dev/delivery";

enum Job {
    Write(Projection),
    LetGo(AppKey),
}

/// How others reach the writer.
#[derive(Clone)]
pub(crate) struct Shown(Sender<Job>);

impl Shown {
    /// Starts the writer's thread.
    pub(crate) fn start(registry: Registry, task: Arc<Task>) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("status-writer".to_owned())
            .spawn(move || run(&registry, &receiver, &task))?;
        Ok(Self(sender))
    }

    /// Writes how nouns look.
    pub(crate) fn write(&self, projections: Vec<Projection>) {
        for projection in projections {
            let _ = self.0.send(Job::Write(projection));
        }
    }

    /// Lets a deleted App go.
    pub(crate) fn let_go(&self, app: &AppKey) {
        let _ = self.0.send(Job::LetGo(app.clone()));
    }
}

fn run(registry: &Registry, jobs: &Receiver<Job>, task: &Arc<Task>) {
    let options = WriteOptions::manager("roadstead");
    let mut last: BTreeMap<(String, String, String), Arc<Value>> = BTreeMap::new();
    while let Ok(first) = jobs.recv() {
        let run = task.begin();
        let (mut written, mut problem) = (0, None);
        // of each noun only the newest look counts
        let mut newest: BTreeMap<(String, String, String), Projection> = BTreeMap::new();
        let mut gone = Vec::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::Write(p) => drop(newest.insert(
                    (p.plural.to_owned(), p.namespace.clone(), p.name.clone()),
                    p,
                )),
                Job::LetGo(app) => gone.push(app),
            }
        }
        for (key, projection) in newest {
            if last.get(&key).is_some_and(|old| **old == projection.status) {
                continue;
            }
            match write(registry, &projection, &options) {
                Ok(()) => {
                    written += 1;
                    last.insert(key, Arc::new(projection.status));
                }
                Err(error) => {
                    problem = Some(format!("{} {}: {error}", key.0, key.2));
                    tracing::warn!(plural = %key.0, namespace = %key.1, name = %key.2, %error, "failed to write a status");
                }
            }
        }
        for app in gone {
            if let Err(error) = let_go(registry, &app, &options) {
                tracing::warn!(%app, %error, "failed to let a deleted App go");
                problem = Some(format!("App {app}: {error}"));
            }
        }
        run.ended(problem.map_or_else(|| Ok(format!("{written} written")), Err));
    }
}

fn write(registry: &Registry, shown: &Projection, options: &WriteOptions) -> Result<(), String> {
    let def = registry
        .resource(GROUP, shown.plural)
        .map_err(|status| status.message.clone())?;
    let found = registry
        .find(&def, &shown.namespace, &shown.name)
        .map_err(|status| status.message.clone())?;
    if shown.gone {
        return match found {
            Some(_) => registry
                .delete(
                    &def,
                    &shown.namespace,
                    &shown.name,
                    &DeleteOptions::default(),
                )
                .map(|_| ())
                .map_err(|status| status.message.clone()),
            None => Ok(()),
        };
    }
    if found.is_none() {
        // what people write and have removed again is not made anew
        let Some(spec) = &shown.spec else {
            return Ok(());
        };
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": def.kind,
            "metadata": { "name": shown.name, "namespace": shown.namespace, "labels": { "roadstead.dev/app-name": spec["app"] } },
            "spec": spec,
        });
        registry
            .create(&def, &shown.namespace, object, options)
            .map_err(|status| status.message.clone())?;
    }
    registry
        .modify(
            &def,
            &shown.namespace,
            &shown.name,
            Part::Status,
            options,
            |object| {
                if object.get("status") == Some(&shown.status) {
                    return false;
                }
                object["status"] = shown.status.clone();
                true
            },
        )
        .map(|_| ())
        .map_err(|status| status.message.clone())
}

fn let_go(registry: &Registry, app: &AppKey, options: &WriteOptions) -> Result<(), String> {
    let def = registry
        .resource(GROUP, "apps")
        .map_err(|status| status.message.clone())?;
    registry
        .modify(
            &def,
            &app.project,
            &app.name,
            Part::Main,
            options,
            |object| {
                let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() else {
                    return false;
                };
                let before = finalizers.len();
                finalizers.retain(|finalizer| finalizer != FINALIZER);
                finalizers.len() != before
            },
        )
        .map(|_| ())
        .map_err(|status| status.message.clone())
}
