//! One cluster: objects, server-side apply, watches, and controllers that take their time.
//!
//! It is the small sister of the playground: a few kinds, no admission, and every effect as data, so that hundreds of
//! seeds are affordable.

use std::collections::{BTreeMap, VecDeque};

use base_json::{Digest, Value, json};
use bytes::Bytes;
use k8s_apply::schema::TypeRef;
use k8s_apply::{ApplyError, ApplyOptions};
use k8s_cluster::{
    ApiResource, Call, ClusterError, ErrorKind, FieldConflict, Reply, Version, WatchEvent,
    WatchSpec,
};
use k8s_object::{Gvk, LabelSelector, ObjectId};
use roadstead_model::Time;

/// How much of what happened a watch can resume from.
const REMEMBERED: usize = 300;

const KINDS: [(&str, &str, bool); 6] = [
    ("v1", "Namespace", false),
    ("v1", "ConfigMap", true),
    ("v1", "Service", true),
    ("v1", "Pod", true),
    ("apps/v1", "Deployment", true),
    ("batch/v1", "Job", true),
];

/// A watch that is open.
#[derive(Debug, Clone)]
struct Follow {
    serial: u64,
    labels: String,
}

/// A cluster.
#[derive(Debug, Default)]
pub(crate) struct SimCluster {
    pub(crate) objects: BTreeMap<ObjectId, Value>,
    revision: u64,
    uids: u64,
    serials: u64,
    watches: BTreeMap<Gvk, Follow>,
    past: VecDeque<(u64, Gvk, Value, bool)>,
    /// Watch events to deliver.
    pub(crate) events: Vec<(Gvk, u64, Result<WatchEvent, Option<ClusterError>>)>,
    /// Objects for controllers to look at.
    pub(crate) todo: Vec<ObjectId>,
    /// Writes by anybody that changed something, status and controllers excepted.
    pub(crate) writes: u64,
    /// Until when requests may fail.
    pub(crate) trouble_until: u64,
}

/// A request that changed something, for whoever checks what happened.
#[derive(Debug, Clone)]
pub(crate) enum Wrote {
    Created(ObjectId, Value),
    Changed(ObjectId, Value),
    Deleted(ObjectId, Value),
}

fn refuse<T>(kind: ErrorKind, message: &str) -> Result<T, ClusterError> {
    Err(ClusterError::new(kind, message.to_owned()))
}

pub(crate) fn image(object: &Value) -> &str {
    object
        .pointer("/spec/template/spec/containers/0/image")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn bytes(object: &Value) -> Bytes {
    base_json::canonical(object).into()
}

impl SimCluster {
    fn fits(labels: &str, object: &Value) -> bool {
        labels
            .parse::<LabelSelector>()
            .is_ok_and(|selector| selector.matches(|key| k8s_object::label(object, key)))
    }

    /// Stores an object and tells the watches. Says whether anything changed.
    pub(crate) fn put(&mut self, now: Time, mut object: Value) -> Option<Value> {
        let id = ObjectId::of(&object)?;
        let gvk = Gvk::of(&object)?;
        let old = self.objects.get(&id).cloned();
        let generation = match &old {
            None => {
                self.uids += 1;
                object["metadata"]["uid"] = Value::from(format!("u{}", self.uids));
                object["metadata"]["creationTimestamp"] = Value::from(now.seconds());
                1
            }
            Some(old) => {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
                generation + i64::from(old.get("spec") != object.get("spec"))
            }
        };
        object["metadata"]["generation"] = Value::from(generation);
        if old.as_ref() == Some(&object) {
            return old;
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        self.objects.insert(id.clone(), object.clone());
        if matches!(id.kind.as_str(), "Deployment" | "Job") {
            self.todo.push(id);
        }
        if let Some(follow) = self.watches.get(&gvk).cloned() {
            let before = old.is_some_and(|old| Self::fits(&follow.labels, &old));
            if Self::fits(&follow.labels, &object) {
                let event = WatchEvent::Applied(bytes(&object));
                self.events.push((gvk.clone(), follow.serial, Ok(event)));
            } else if before {
                let event = WatchEvent::Deleted(bytes(&object));
                self.events.push((gvk.clone(), follow.serial, Ok(event)));
            }
        }
        self.remember(gvk, object.clone(), false);
        Some(object)
    }

    fn remember(&mut self, gvk: Gvk, object: Value, gone: bool) {
        self.past.push_back((self.revision, gvk, object, gone));
        if self.past.len() > REMEMBERED {
            self.past.pop_front();
        }
    }

    /// Removes an object, and the pods that belong to it.
    pub(crate) fn take(&mut self, id: &ObjectId) {
        let Some(mut object) = self.objects.remove(id) else {
            return;
        };
        let Some(gvk) = Gvk::of(&object) else { return };
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        if let Some(follow) = self.watches.get(&gvk)
            && Self::fits(&follow.labels, &object)
        {
            let event = WatchEvent::Deleted(bytes(&object));
            self.events.push((gvk.clone(), follow.serial, Ok(event)));
        }
        self.remember(gvk, object, true);
        if id.kind == "Deployment" {
            for pod in self.pods_of(id) {
                self.take(&pod);
            }
        }
    }

    fn pods_of(&self, id: &ObjectId) -> Vec<ObjectId> {
        let belongs = |(pod, object): &(&ObjectId, &Value)| {
            pod.kind == "Pod"
                && pod.namespace == id.namespace
                && k8s_object::label(object, "run") == Some(id.name.as_str())
        };
        let pods = self.objects.iter().filter(belongs);
        pods.map(|(pod, _)| pod.clone()).collect()
    }

    fn resources() -> Vec<ApiResource> {
        let kinds = KINDS.iter().map(|(version, kind, namespaced)| ApiResource {
            gvk: Gvk::new(version, kind),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced: *namespaced,
            preferred: true,
            verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        });
        kinds.collect()
    }

    fn knows(gvk: &Gvk) -> bool {
        KINDS
            .iter()
            .any(|(version, kind, _)| Gvk::new(version, kind) == *gvk)
    }

    /// Answers a request; what it wrote is told too.
    pub(crate) fn call(
        &mut self,
        now: Time,
        call: &Call,
    ) -> (Result<Reply, ClusterError>, Option<Wrote>) {
        match self.answer(now, call) {
            Ok((reply, wrote)) => {
                self.writes += u64::from(wrote.is_some());
                (Ok(reply), wrote)
            }
            Err(error) => (Err(error), None),
        }
    }

    fn answer(&mut self, now: Time, call: &Call) -> Result<(Reply, Option<Wrote>), ClusterError> {
        let read = |reply| Ok((reply, None));
        match call {
            Call::Discover => read(Reply::Discovered {
                version: Version {
                    git_version: "v1.36.0".to_owned(),
                },
                resources: Self::resources(),
            }),
            Call::Get { gvk, id } => {
                if !Self::knows(gvk) {
                    return refuse(ErrorKind::UnknownKind, "no such kind");
                }
                match self.objects.get(id) {
                    Some(object) => read(Reply::Object(bytes(object))),
                    None => refuse(ErrorKind::NotFound, "not found"),
                }
            }
            Call::List { gvk, labels, .. } => {
                let items = self.objects.values();
                let items = items.filter(|object| {
                    Gvk::of(object).as_ref() == Some(gvk) && Self::fits(labels, object)
                });
                read(Reply::Page {
                    items: items.map(bytes).collect(),
                    token: String::new(),
                    revision: self.revision.to_string(),
                })
            }
            Call::Names { gvk, namespace, .. } => {
                let ids = self.objects.iter().filter(|(id, object)| {
                    id.namespace == *namespace && Gvk::of(object).as_ref() == Some(gvk)
                });
                read(Reply::Names {
                    names: ids.map(|(id, _)| id.name.clone()).collect(),
                    token: String::new(),
                })
            }
            Call::Apply {
                object,
                manager,
                force,
                dry_run,
            } => self.apply(now, object, manager, *force, *dry_run),
            Call::Create { object, .. } => {
                let object = parse(object)?;
                let id = identity(&object)?;
                if self.objects.contains_key(&id) {
                    return refuse(ErrorKind::Conflict, "exists already");
                }
                self.needs_namespace(&id)?;
                let stored = self.put(now, object).unwrap_or_default();
                let wrote = Wrote::Created(id, stored.clone());
                Ok((Reply::Object(bytes(&stored)), Some(wrote)))
            }
            Call::Merge { id, patch, .. } => self.merge(now, id, patch),
            Call::Delete { id, uid, .. } => {
                let Some(object) = self.objects.get(id).cloned() else {
                    return refuse(ErrorKind::NotFound, "not found");
                };
                if !uid.is_empty() && k8s_object::uid(&object) != uid {
                    return refuse(ErrorKind::Conflict, "another uid");
                }
                self.take(id);
                let wrote = Wrote::Deleted(id.clone(), object);
                Ok((Reply::Deleted { pending: false }, Some(wrote)))
            }
        }
    }

    fn needs_namespace(&self, id: &ObjectId) -> Result<(), ClusterError> {
        let namespace = ObjectId {
            group: String::new(),
            kind: "Namespace".to_owned(),
            namespace: String::new(),
            name: id.namespace.clone(),
        };
        if id.namespace.is_empty() || self.objects.contains_key(&namespace) {
            Ok(())
        } else {
            refuse(ErrorKind::NamespaceMissing, "the namespace is missing")
        }
    }

    fn apply(
        &mut self,
        now: Time,
        object: &Bytes,
        manager: &str,
        force: bool,
        dry_run: bool,
    ) -> Result<(Reply, Option<Wrote>), ClusterError> {
        let config = parse(object)?;
        let id = identity(&config)?;
        let Some(gvk) = Gvk::of(&config).filter(Self::knows) else {
            return refuse(ErrorKind::UnknownKind, "no such kind");
        };
        self.needs_namespace(&id)?;
        let live = self.objects.get(&id).cloned();
        let options = ApplyOptions {
            manager,
            force,
            subresource: "",
            now: &now.seconds(),
            schema: TypeRef::builtin_or_deduced(&gvk),
            reset_fields: None,
            versions: None,
        };
        let merged = match k8s_apply::apply(live.as_ref(), &config, &options) {
            Ok(merged) => merged,
            Err(ApplyError::Conflicts(conflicts)) => {
                let conflicts = conflicts.into_iter().map(|conflict| FieldConflict {
                    manager: conflict.manager.clone(),
                    field: conflict.path.to_string(),
                });
                return refuse(ErrorKind::FieldConflict(conflicts.collect()), "conflict");
            }
            Err(error) => {
                return refuse(
                    ErrorKind::Invalid { fields: Vec::new() },
                    &error.to_string(),
                );
            }
        };
        let Some(live) = live else {
            if dry_run {
                return Ok((Reply::Object(bytes(&merged)), None));
            }
            let stored = self.put(now, merged).unwrap_or_default();
            return Ok((
                Reply::Object(bytes(&stored)),
                Some(Wrote::Created(id, stored)),
            ));
        };
        if live == merged {
            return Ok((Reply::Object(bytes(&live)), None));
        }
        let fixed = match gvk.kind.as_str() {
            "Deployment" => "/spec/selector",
            "Job" => "/spec/template",
            _ => "",
        };
        if !fixed.is_empty() && live.pointer(fixed) != merged.pointer(fixed) {
            let fields = vec![fixed.trim_start_matches('/').replace('/', ".")];
            return refuse(ErrorKind::Immutable { fields }, "field is immutable");
        }
        if dry_run {
            return Ok((Reply::Object(bytes(&merged)), None));
        }
        let stored = self.put(now, merged).unwrap_or_default();
        Ok((
            Reply::Object(bytes(&stored)),
            Some(Wrote::Changed(id, stored)),
        ))
    }

    fn merge(
        &mut self,
        now: Time,
        id: &ObjectId,
        patch: &Bytes,
    ) -> Result<(Reply, Option<Wrote>), ClusterError> {
        let patch = parse(patch)?;
        let Some(live) = self.objects.get(id).cloned() else {
            return refuse(ErrorKind::NotFound, "not found");
        };
        if let Some(wanted) = patch.pointer("/metadata/resourceVersion")
            && live.pointer("/metadata/resourceVersion") != Some(wanted)
        {
            return refuse(ErrorKind::Conflict, "another resourceVersion");
        }
        let mut object = live.clone();
        for field in ["labels", "annotations"] {
            let keys = patch
                .pointer(&format!("/metadata/{field}"))
                .and_then(Value::as_object);
            for (key, value) in keys.into_iter().flatten() {
                if value.is_null() {
                    if let Some(map) = object["metadata"][field].as_object_mut() {
                        map.remove(key);
                    }
                } else {
                    object["metadata"][field][key] = value.clone();
                }
            }
        }
        if object == live {
            return Ok((Reply::Object(bytes(&live)), None));
        }
        let stored = self.put(now, object).unwrap_or_default();
        let wrote = Wrote::Changed(id.clone(), stored.clone());
        Ok((Reply::Object(bytes(&stored)), Some(wrote)))
    }

    /// Opens a watch in place of one of the same kind; returns its serial.
    pub(crate) fn watch(&mut self, spec: &WatchSpec) {
        self.serials += 1;
        let serial = self.serials;
        let gvk = spec.gvk.clone();
        let mut out: Vec<Result<WatchEvent, Option<ClusterError>>> = Vec::new();
        if spec.from.is_empty() {
            for object in self.objects.values() {
                if Gvk::of(object).as_ref() == Some(&gvk) && Self::fits(&spec.labels, object) {
                    out.push(Ok(WatchEvent::Applied(bytes(object))));
                }
            }
            out.push(Ok(WatchEvent::Synced(self.revision.to_string())));
        } else {
            let from: u64 = spec.from.parse().unwrap_or(0);
            let oldest = self.past.front().map_or(0, |(revision, ..)| *revision);
            if from + 1 < oldest {
                out.push(Err(Some(ClusterError::new(
                    ErrorKind::Expired,
                    "too old a resourceVersion",
                ))));
            } else {
                for (_, _, object, gone) in self
                    .past
                    .iter()
                    .filter(|(revision, kind, ..)| *revision > from && *kind == gvk)
                {
                    let fits = Self::fits(&spec.labels, object);
                    out.push(Ok(if *gone || !fits {
                        WatchEvent::Deleted(bytes(object))
                    } else {
                        WatchEvent::Applied(bytes(object))
                    }));
                }
            }
        }
        let open = !matches!(out.last(), Some(Err(_)));
        self.events
            .extend(out.into_iter().map(|item| (gvk.clone(), serial, item)));
        if open {
            let labels = spec.labels.clone();
            self.watches.insert(gvk, Follow { serial, labels });
        }
    }

    pub(crate) fn unwatch(&mut self, gvk: &Gvk) {
        self.watches.remove(gvk);
    }

    /// The serial of a kind's open watch.
    pub(crate) fn serial(&self, gvk: &Gvk) -> Option<u64> {
        self.watches.get(gvk).map(|follow| follow.serial)
    }

    /// Ends every watch, as a server that is restarted does.
    pub(crate) fn end_watches(&mut self, expired: bool) {
        for (gvk, follow) in std::mem::take(&mut self.watches) {
            let error =
                expired.then(|| ClusterError::new(ErrorKind::Expired, "the server was restarted"));
            self.events.push((gvk, follow.serial, Err(error)));
        }
    }

    /// Whoever watched is gone.
    pub(crate) fn forget_watches(&mut self) {
        self.watches.clear();
        self.events.clear();
    }

    /// A controller looks at an object.
    pub(crate) fn control(&mut self, now: Time, id: &ObjectId) {
        let Some(object) = self.objects.get(id).cloned() else {
            return;
        };
        let mut new = object.clone();
        let generation = object["metadata"]["generation"].clone();
        match id.kind.as_str() {
            "Deployment" => {
                let replicas = object
                    .pointer("/spec/replicas")
                    .and_then(Value::as_i64)
                    .unwrap_or(1);
                let image = image(&object).to_owned();
                let bad = image.contains("/bad:");
                let ready = if bad { 0 } else { replicas };
                new["status"] = json!({"observedGeneration": generation, "replicas": replicas,
                    "updatedReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
                    "conditions": [{"type": "Available", "status": if bad { "False" } else { "True" }}]});
                let name = format!("{}-{}", id.name, Digest::of(image.as_bytes()).short());
                for pod in self.pods_of(id) {
                    if !bad || pod.name != name {
                        self.take(&pod);
                    }
                }
                if bad && self.pods_of(id).is_empty() {
                    self.put(now, json!({"apiVersion": "v1", "kind": "Pod",
                        "metadata": {"name": name, "namespace": id.namespace, "labels": {"run": id.name}},
                        "status": {"phase": "Pending", "containerStatuses": [{"name": "main", "image": image, "ready": false,
                            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]}}));
                }
            }
            "Job" if object.pointer("/status/conditions").is_none() => {
                new["status"] = json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Done"}]});
            }
            _ => return,
        }
        if new != object {
            self.put(now, new);
            // its own status is nothing to look at again
            self.todo.retain(|todo| todo != id);
        }
    }
}

fn parse(bytes: &Bytes) -> Result<Value, ClusterError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ClusterError::new(ErrorKind::Invalid { fields: Vec::new() }, error.to_string())
    })
}

fn identity(object: &Value) -> Result<ObjectId, ClusterError> {
    ObjectId::of(object).ok_or_else(|| {
        ClusterError::new(ErrorKind::Invalid { fields: Vec::new() }, "no kind or name")
    })
}
