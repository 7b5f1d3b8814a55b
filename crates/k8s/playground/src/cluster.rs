//! A cluster as an agent sees it, asked in the same process.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use k8s_apiserver::{
    DeleteOptions, EventKind, ListOptions, ObjectWatch, Outcome, Patch, ResourceDef, Selector,
    Status, UserInfo, WatchOptions, WriteOptions,
};
use k8s_cluster::{
    ApiResource, Call, ClusterError, ErrorKind, Reply, Version, WatchEvent, WatchSpec, WatchStream,
};
use k8s_object::{Gvk, ObjectId};
use serde_json::Value;

use crate::inproc::propagation;
use crate::playground::{Answer, Handle, Line};

fn offline(handle: &Handle) -> ClusterError {
    ClusterError::new(
        ErrorKind::Unavailable,
        format!("no connection to cluster {:?}", handle.name()),
    )
}

fn refused(status: &Status, kind: &str) -> ClusterError {
    ClusterError::from_status(&status.to_value(), kind)
}

fn parse(object: &Bytes) -> Result<Value, ClusterError> {
    serde_json::from_slice(object).map_err(|error| {
        ClusterError::new(
            ErrorKind::Invalid { fields: Vec::new() },
            format!("the object is not JSON: {error}"),
        )
    })
}

fn encode(object: &Value) -> Reply {
    Reply::Object(base_json::canonical(object).into())
}

impl Handle {
    /// Lets a fault have its way before a request is looked at.
    async fn pass(&self) -> Result<(), ClusterError> {
        let strike = self.strike();
        if strike.latency_ms > 0 {
            self.0
                .timer
                .sleep(Duration::from_millis(strike.latency_ms))
                .await;
        }
        match strike.answer {
            None => Ok(()),
            Some(Answer::Offline) => Err(offline(self)),
            Some(Answer::TooMany(seconds)) => Err(refused(
                &Status::too_many_requests(
                    "the playground was told to refuse: too many requests",
                    seconds,
                ),
                "",
            )),
            Some(Answer::Error) => Err(refused(
                &Status::internal("the playground was told to fail"),
                "",
            )),
        }
    }

    fn def(&self, gvk: &Gvk) -> Result<Arc<ResourceDef>, ClusterError> {
        self.registry()
            .catalog()
            .by_kind(&gvk.group, &gvk.version, &gvk.kind)
            .map(Arc::clone)
            .ok_or_else(|| {
                ClusterError::new(
                    ErrorKind::UnknownKind,
                    format!("the server could not find the requested resource: {gvk}"),
                )
            })
    }

    fn def_of(&self, object: &Value) -> Result<Arc<ResourceDef>, ClusterError> {
        let gvk = Gvk::of(object).ok_or_else(|| {
            ClusterError::new(
                ErrorKind::Invalid { fields: Vec::new() },
                "the object has no apiVersion or kind",
            )
        })?;
        self.def(&gvk)
    }

    fn discover(&self) -> Reply {
        let catalog = self.registry().catalog();
        let mut resources = Vec::new();
        for group in catalog.groups() {
            for (index, version) in catalog.versions(group).into_iter().enumerate() {
                for def in catalog.resources(group, version) {
                    resources.push(ApiResource {
                        gvk: Gvk::new(&def.api_version(), &def.kind),
                        plural: def.plural.clone(),
                        namespaced: def.namespaced,
                        preferred: index == 0,
                        verbs: def.verbs.clone(),
                    });
                }
            }
        }
        Reply::Discovered {
            version: Version {
                git_version: self.registry().config().version.git_version.clone(),
            },
            resources,
        }
    }

    fn list(
        &self,
        gvk: &Gvk,
        (labels, fields): (&str, &str),
        limit: u32,
        token: String,
    ) -> Result<Reply, ClusterError> {
        let def = self.def(gvk)?;
        let options = ListOptions {
            selector: Selector::parse(labels, fields)
                .map_err(|status| refused(&status, &gvk.kind))?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            continue_token: token,
            ..ListOptions::default()
        };
        let list = self
            .registry()
            .list(&def, "", &options)
            .map_err(|status| refused(&status, &gvk.kind))?;
        Ok(Reply::Page {
            items: list.items,
            token: list.continue_token,
            revision: list.revision.to_string(),
        })
    }

    fn write(
        &self,
        verb: &'static str,
        id: &ObjectId,
        dry_run: bool,
        write: impl FnOnce() -> Result<Outcome, Status>,
    ) -> Result<Reply, ClusterError> {
        let before = self.registry().revision().0;
        let outcome = write();
        let changed = outcome.as_ref().is_ok_and(|outcome| {
            outcome.removed
                || outcome.object["metadata"]["resourceVersion"]
                    .as_str()
                    .and_then(|revision| revision.parse::<u64>().ok())
                    .is_some_and(|revision| revision > before)
        });
        if !dry_run {
            self.count(|counters| counters.write(verb, id.to_string(), changed));
        }
        if changed {
            self.touch();
        }
        match outcome {
            Ok(outcome) => Ok(encode(&outcome.object)),
            Err(status) => Err(refused(&status, &id.kind)),
        }
    }

    fn delete(
        &self,
        gvk: &Gvk,
        id: &ObjectId,
        uid: &str,
        how: k8s_cluster::Propagation,
    ) -> Result<Reply, ClusterError> {
        let def = self.def(gvk)?;
        let options = DeleteOptions {
            propagation: Some(propagation(how)),
            uid: uid.to_owned(),
            user: agent("agent"),
            ..DeleteOptions::default()
        };
        let deleted = self
            .registry()
            .delete(&def, &id.namespace, &id.name, &options);
        let done = deleted.is_ok();
        self.count(|counters| counters.write("delete", id.to_string(), done));
        self.touch();
        match deleted {
            Ok(deleted) => Ok(Reply::Deleted {
                pending: !deleted.gone,
            }),
            Err(status) => Err(refused(&status, &id.kind)),
        }
    }

    fn answer(&self, call: Call) -> Result<Reply, ClusterError> {
        match call {
            Call::Discover => {
                self.count(|counters| counters.read("discover"));
                Ok(self.discover())
            }
            Call::Get { gvk, id } => {
                self.count(|counters| counters.read("get"));
                let def = self.def(&gvk)?;
                self.registry()
                    .get_bytes(&def, &id.namespace, &id.name)
                    .map(Reply::Object)
                    .map_err(|status| refused(&status, &gvk.kind))
            }
            Call::List {
                gvk,
                labels,
                fields,
                limit,
                token,
            } => {
                self.count(|counters| counters.read("list"));
                self.list(&gvk, (&labels, &fields), limit, token)
            }
            Call::Names {
                gvk,
                namespace,
                limit,
                token,
            } => {
                self.count(|counters| counters.read("list"));
                let place = if namespace.is_empty() {
                    String::new()
                } else {
                    format!("metadata.namespace={namespace}")
                };
                let Reply::Page { items, token, .. } =
                    self.list(&gvk, ("", &place), limit, token)?
                else {
                    return Err(ClusterError::new(ErrorKind::Other, "a list is no page"));
                };
                let names = items.iter().map(|item| {
                    let item = parse(item)?;
                    Ok(k8s_object::name(&item).to_owned())
                });
                Ok(Reply::Names {
                    names: names.collect::<Result<_, ClusterError>>()?,
                    token,
                })
            }
            Call::Apply {
                object,
                manager,
                force,
                dry_run,
            } => {
                let object = parse(&object)?;
                let def = self.def_of(&object)?;
                let id = identity(&object)?;
                let options = WriteOptions {
                    force,
                    dry_run,
                    ..options(&manager)
                };
                self.write("apply", &id, dry_run, || {
                    self.registry()
                        .apply(&def, &id.namespace, &id.name, object, &options)
                })
            }
            Call::Create { object, manager } => {
                let object = parse(&object)?;
                let def = self.def_of(&object)?;
                let mut id = ObjectId::of(&object).unwrap_or_else(|| ObjectId {
                    group: def.group.clone(),
                    kind: def.kind.clone(),
                    namespace: k8s_object::namespace(&object).to_owned(),
                    name: String::new(),
                });
                if !def.namespaced {
                    id.namespace.clear();
                }
                self.write("create", &id, false, || {
                    self.registry()
                        .create(&def, &id.namespace, object, &options(&manager))
                })
            }
            Call::Merge {
                gvk,
                id,
                patch,
                manager,
            } => {
                let def = self.def(&gvk)?;
                let patch = Patch::Merge(parse(&patch)?);
                self.write("patch", &id, false, || {
                    self.registry()
                        .patch(&def, &id.namespace, &id.name, &patch, &options(&manager))
                })
            }
            Call::Delete {
                gvk,
                id,
                uid,
                propagation,
            } => self.delete(&gvk, &id, &uid, propagation),
        }
    }
}

fn identity(object: &Value) -> Result<ObjectId, ClusterError> {
    ObjectId::of(object).ok_or_else(|| {
        ClusterError::new(
            ErrorKind::Invalid {
                fields: vec!["metadata.name".to_owned()],
            },
            "the object has no name",
        )
    })
}

fn agent(manager: &str) -> UserInfo {
    UserInfo::new(manager, &["system:masters", "system:authenticated"])
}

fn options(manager: &str) -> WriteOptions {
    WriteOptions {
        user: agent(manager),
        field_validation: k8s_apiserver::FieldValidation::Warn,
        ..WriteOptions::manager(manager)
    }
}

#[async_trait::async_trait]
impl k8s_cluster::Cluster for Handle {
    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        self.pass().await?;
        self.answer(call)
    }

    async fn watch(&self, spec: WatchSpec) -> Result<WatchStream, ClusterError> {
        self.pass().await?;
        self.count(|counters| counters.read("watch"));
        let def = self.def(&spec.gvk)?;
        let initial = spec.from.is_empty();
        let options = WatchOptions {
            selector: Selector::parse(&spec.labels, "").map_err(|status| refused(&status, ""))?,
            resource_version: spec.from,
            send_initial_events: initial,
            bookmarks: true,
        };
        let line = self.connect();
        let watch = self
            .registry()
            .watch(&def, "", &options)
            .map_err(|status| refused(&status, &spec.gvk.kind))?;
        Ok(Box::pin(Events {
            line,
            watch,
            ended: false,
        }))
    }
}

/// A watch that breaks when the cluster's connections do.
struct Events {
    line: Line,
    watch: ObjectWatch,
    ended: bool,
}

impl Stream for Events {
    type Item = Result<WatchEvent, ClusterError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.line.poll_broken(cx) {
            self.ended = true;
            return Poll::Ready(Some(Err(offline(&self.line.handle))));
        }
        match self.watch.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(None)) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Err(status)) => {
                self.ended = true;
                Poll::Ready(Some(Err(refused(&status, ""))))
            }
            Poll::Ready(Ok(Some(event))) => Poll::Ready(Some(Ok(match event.kind {
                EventKind::Added | EventKind::Modified => WatchEvent::Applied(event.object),
                EventKind::Deleted => WatchEvent::Deleted(event.object),
                EventKind::Bookmark if event.initial_events_end => {
                    WatchEvent::Synced(event.revision.to_string())
                }
                EventKind::Bookmark => WatchEvent::Bookmark(event.revision.to_string()),
            }))),
        }
    }
}
