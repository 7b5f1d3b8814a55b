//! A cluster in memory with a few controllers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base_json::{Digest, Value, json};
use bytes::Bytes;
use k8s_apply::schema::TypeRef;
use k8s_apply::{ApplyError, ApplyOptions, UpdateOptions};
use k8s_cluster::{
    ApiResource, Call, ClusterError, ErrorKind, FieldConflict, Reply, Version, WatchEvent,
};
use k8s_object::{Gvk, LabelSelector, ObjectId};
use roadstead_model::Time;

/// A cluster.
#[derive(Default)]
pub struct Fake {
    pub objects: BTreeMap<ObjectId, Value>,
    pub revision: u64,
    pub uids: u64,
    pub watches: BTreeMap<Gvk, String>,
    pub events: VecDeque<(Gvk, WatchEvent)>,
    pub writes: Vec<String>,
    pub reads: usize,
    pub deletes: Vec<ObjectId>,
    pub now: Time,
    /// Errors to give to the next writes of an object.
    pub faults: BTreeMap<ObjectId, Vec<ErrorKind>>,
    /// Objects whose removal a finalizer stops.
    pub finalized: BTreeSet<ObjectId>,
    /// What every write left and found, to resume watches.
    pub history: Vec<(u64, Gvk, Option<Value>, Option<Value>)>,
}

pub fn id(text: &str) -> ObjectId {
    text.parse().expect(text)
}

fn kinds() -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("v1", "Namespace", false),
        ("v1", "ConfigMap", true),
        ("v1", "Secret", true),
        ("v1", "Service", true),
        ("v1", "Pod", true),
        ("v1", "PersistentVolumeClaim", true),
        ("apps/v1", "Deployment", true),
        ("apps/v1", "StatefulSet", true),
        ("batch/v1", "Job", true),
        ("autoscaling/v2", "HorizontalPodAutoscaler", true),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
    ]
}

impl Fake {
    pub fn stamp(&mut self, object: &mut Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
    }

    fn fits(labels: &str, object: &Value) -> bool {
        let selector: LabelSelector = labels.parse().expect("a selector");
        selector.matches(|key| k8s_object::label(object, key))
    }

    /// Stores an object and tells the watches.
    pub fn put(&mut self, mut object: Value) -> Value {
        let id = ObjectId::of(&object).expect("an object");
        let gvk = Gvk::of(&object).expect("an object");
        let old = self.objects.get(&id).cloned();
        match &old {
            None => {
                self.uids += 1;
                object["metadata"]["uid"] = Value::from(format!("u{}", self.uids));
                object["metadata"]["creationTimestamp"] = Value::from(self.now.seconds());
                object["metadata"]["generation"] = Value::from(1);
            }
            Some(old) => {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
                let changed = old.get("spec") != object.get("spec");
                object["metadata"]["generation"] = Value::from(generation + i64::from(changed));
            }
        }
        if let Some(old) = &old {
            let mut same = old.clone();
            same["metadata"]["generation"] = object["metadata"]["generation"].clone();
            if same == object {
                return old.clone();
            }
        }
        self.stamp(&mut object);
        self.objects.insert(id, object.clone());
        self.tell(gvk, old, Some(object.clone()));
        object
    }

    pub fn take(&mut self, id: &ObjectId) {
        if let Some(mut object) = self.objects.remove(id) {
            self.stamp(&mut object);
            let gvk = Gvk::of(&object).expect("an object");
            self.tell(gvk, Some(object), None);
        }
    }

    fn tell(&mut self, gvk: Gvk, old: Option<Value>, new: Option<Value>) {
        if let Some(labels) = self.watches.get(&gvk)
            && let Some(event) = Self::event(labels, old.as_ref(), new.as_ref())
        {
            self.events.push_back((gvk.clone(), event));
        }
        self.history.push((self.revision, gvk, old, new));
    }

    fn event(labels: &str, old: Option<&Value>, new: Option<&Value>) -> Option<WatchEvent> {
        let bytes = |object: &Value| Bytes::from(base_json::canonical(object));
        match (old, new) {
            (_, Some(new)) if Self::fits(labels, new) => Some(WatchEvent::Applied(bytes(new))),
            (Some(old), new) if Self::fits(labels, old) => {
                Some(WatchEvent::Deleted(bytes(new.unwrap_or(old))))
            }
            _ => None,
        }
    }

    /// Somebody else changes an object.
    pub fn edit(
        &mut self,
        id: &ObjectId,
        manager: &str,
        subresource: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let old = self
            .objects
            .get(id)
            .cloned()
            .unwrap_or_else(|| panic!("{id} is there"));
        let mut new = old.clone();
        change(&mut new);
        let gvk = Gvk::of(&new).expect("an object");
        let tracked = k8s_apply::track_update(
            Some(&old),
            &new,
            &UpdateOptions {
                manager,
                subresource,
                now: &self.now.seconds(),
                schema: TypeRef::builtin_or_deduced(&gvk),
                reset_fields: None,
                versions: None,
            },
        );
        self.put(tracked);
    }

    fn resources(&self) -> Vec<ApiResource> {
        let mut out: Vec<ApiResource> = kinds()
            .into_iter()
            .map(|(version, kind, namespaced)| ApiResource {
                gvk: Gvk::new(version, kind),
                plural: format!("{}s", kind.to_lowercase()),
                namespaced,
                preferred: true,
                verbs: vec!["get".to_owned(), "list".to_owned(), "watch".to_owned()],
            })
            .collect();
        for (id, object) in &self.objects {
            if id.kind == "CustomResourceDefinition"
                && object.pointer("/status/conditions").is_some()
            {
                let text = |pointer: &str| {
                    object
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .expect("text")
                };
                out.push(ApiResource {
                    gvk: Gvk::new(
                        &format!("{}/v1", text("/spec/group")),
                        text("/spec/names/kind"),
                    ),
                    plural: text("/spec/names/plural").to_owned(),
                    namespaced: true,
                    preferred: true,
                    verbs: vec!["watch".to_owned()],
                });
            }
        }
        out
    }

    fn knows(&self, gvk: &Gvk) -> bool {
        self.resources().iter().any(|resource| resource.gvk == *gvk)
    }

    pub fn call(&mut self, call: Call) -> Result<Reply, ClusterError> {
        let refuse = |kind: ErrorKind| {
            Err(ClusterError::new(
                kind.clone(),
                format!("refused: {kind:?}"),
            ))
        };
        let target = match &call {
            Call::Apply { object, .. } | Call::Create { object, .. } => {
                let object: Value = serde_json::from_slice(object).expect("JSON");
                Some((
                    Gvk::of(&object).expect("kind"),
                    ObjectId::of(&object).expect("id"),
                ))
            }
            Call::Get { gvk, id } | Call::Merge { gvk, id, .. } | Call::Delete { gvk, id, .. } => {
                Some((gvk.clone(), id.clone()))
            }
            _ => None,
        };
        if let Some((gvk, id)) = &target {
            if !self.knows(gvk) {
                return refuse(ErrorKind::UnknownKind);
            }
            let reads = matches!(call, Call::Get { .. });
            if !reads
                && let Some(faults) = self.faults.get_mut(id)
                && !faults.is_empty()
            {
                return refuse(faults.remove(0));
            }
        }
        match call {
            Call::Discover => Ok(Reply::Discovered {
                version: Version {
                    git_version: "v1.36.0".to_owned(),
                },
                resources: self.resources(),
            }),
            Call::Get { id, .. } => {
                self.reads += 1;
                match self.objects.get(&id) {
                    Some(object) => Ok(Reply::Object(base_json::canonical(object).into())),
                    None => refuse(ErrorKind::NotFound),
                }
            }
            Call::List { gvk, labels, .. } => {
                let items = self.objects.values();
                let items = items.filter(|object| Gvk::of(object).as_ref() == Some(&gvk));
                let items = items.filter(|object| Self::fits(&labels, object));
                Ok(Reply::Page {
                    items: items
                        .map(|object| base_json::canonical(object).into())
                        .collect(),
                    token: String::new(),
                    revision: self.revision.to_string(),
                })
            }
            Call::Names {
                gvk,
                namespace,
                limit,
                token,
            } => {
                self.reads += 1;
                let ids = self.objects.iter().filter(|(id, object)| {
                    id.namespace == namespace && Gvk::of(object).as_ref() == Some(&gvk)
                });
                let names: Vec<String> = ids.map(|(id, _)| id.name.clone()).collect();
                let rest = names.into_iter().filter(|name| *name > token);
                let limit = usize::try_from(limit).expect("small");
                let mut names: Vec<String> = rest.collect();
                let more = names.len() > limit;
                names.truncate(limit);
                let token = names.last().filter(|_| more).cloned().unwrap_or_default();
                Ok(Reply::Names { names, token })
            }
            Call::Apply {
                object,
                manager,
                force,
                ..
            } => {
                let config: Value = serde_json::from_slice(&object).expect("JSON");
                let (gvk, id) = target.expect("a target");
                if !id.namespace.is_empty() && !self.objects.contains_key(&ns(&id.namespace)) {
                    return refuse(ErrorKind::NamespaceMissing);
                }
                let live = self.objects.get(&id).cloned();
                let merged = k8s_apply::apply(
                    live.as_ref(),
                    &config,
                    &ApplyOptions {
                        manager: &manager,
                        force,
                        subresource: "",
                        now: &self.now.seconds(),
                        schema: TypeRef::builtin_or_deduced(&gvk),
                        reset_fields: None,
                        versions: None,
                    },
                );
                let merged = match merged {
                    Ok(merged) => merged,
                    Err(ApplyError::Conflicts(conflicts)) => {
                        return refuse(ErrorKind::FieldConflict(
                            conflicts
                                .into_iter()
                                .map(|conflict| FieldConflict {
                                    manager: conflict.manager.clone(),
                                    field: conflict.path.to_string(),
                                })
                                .collect(),
                        ));
                    }
                    Err(error) => panic!("{error}: {config}"),
                };
                if live.as_ref() == Some(&merged) {
                    return Ok(Reply::Object(base_json::canonical(&merged).into()));
                }
                let selector = "/spec/selector";
                if let Some(live) = &live
                    && gvk.kind == "Deployment"
                    && live.pointer(selector) != merged.pointer(selector)
                {
                    return refuse(ErrorKind::Immutable {
                        fields: vec!["spec.selector".to_owned()],
                    });
                }
                self.writes.push(format!("apply {id} by {manager}"));
                let stored = self.put(merged);
                Ok(Reply::Object(base_json::canonical(&stored).into()))
            }
            Call::Create { object, .. } => {
                let object: Value = serde_json::from_slice(&object).expect("JSON");
                let id = ObjectId::of(&object).expect("id");
                if self.objects.contains_key(&id) {
                    return refuse(ErrorKind::Conflict);
                }
                self.writes.push(format!("create {id}"));
                let stored = self.put(object);
                Ok(Reply::Object(base_json::canonical(&stored).into()))
            }
            Call::Merge { id, patch, .. } => {
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                let Some(mut object) = self.objects.get(&id).cloned() else {
                    return refuse(ErrorKind::NotFound);
                };
                if let Some(wanted) = patch.pointer("/metadata/resourceVersion")
                    && object.pointer("/metadata/resourceVersion") != Some(wanted)
                {
                    return refuse(ErrorKind::Conflict);
                }
                for field in ["labels", "annotations"] {
                    let keys = patch
                        .pointer(&format!("/metadata/{field}"))
                        .and_then(Value::as_object);
                    for (key, value) in keys.into_iter().flatten() {
                        assert!(value.is_null(), "only marks are taken off");
                        object["metadata"][field]
                            .as_object_mut()
                            .expect("a map")
                            .remove(key);
                    }
                }
                if let Some(entries) = patch.pointer("/metadata/managedFields") {
                    object["metadata"]["managedFields"] = entries.clone();
                }
                self.writes.push(format!("merge {id}"));
                let stored = self.put(object);
                Ok(Reply::Object(base_json::canonical(&stored).into()))
            }
            Call::Delete { id, uid, .. } => {
                let Some(object) = self.objects.get(&id).cloned() else {
                    return refuse(ErrorKind::NotFound);
                };
                assert!(!uid.is_empty(), "every removal has a uid");
                if k8s_object::uid(&object) != uid {
                    return refuse(ErrorKind::Conflict);
                }
                self.deletes.push(id.clone());
                self.writes.push(format!("delete {id}"));
                if self.finalized.contains(&id) {
                    let mut object = object;
                    object["metadata"]["deletionTimestamp"] = Value::from(self.now.seconds());
                    object["metadata"]["finalizers"] = json!(["example.org/keep"]);
                    self.put(object);
                    return Ok(Reply::Deleted { pending: true });
                }
                self.take(&id);
                Ok(Reply::Deleted { pending: false })
            }
        }
    }

    /// Controllers bring every object one step on.
    pub fn controllers(&mut self) {
        for (id, object) in self.objects.clone() {
            let mut new = object.clone();
            let generation = object["metadata"]["generation"].clone();
            match id.kind.as_str() {
                "Deployment" | "StatefulSet" => {
                    let replicas = object
                        .pointer("/spec/replicas")
                        .and_then(Value::as_i64)
                        .unwrap_or(1);
                    let image = object
                        .pointer("/spec/template/spec/containers/0/image")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned();
                    let bad = image.contains("bad");
                    let ready = if bad { 0 } else { replicas };
                    new["status"] = json!({"observedGeneration": generation, "replicas": replicas,
                        "updatedReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
                        "conditions": [{"type": "Available", "status": if bad { "False" } else { "True" }}]});
                    let pod = ObjectId {
                        group: String::new(),
                        kind: "Pod".to_owned(),
                        namespace: id.namespace.clone(),
                        name: format!("{}-{}", id.name, Digest::of(image.as_bytes()).short()),
                    };
                    if bad && !self.objects.contains_key(&pod) {
                        self.put(json!({"apiVersion": "v1", "kind": "Pod",
                            "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": {"app": id.name}},
                            "status": {"phase": "Pending", "containerStatuses": [{"name": "main", "image": image, "ready": false,
                                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]}}));
                    }
                }
                "Job" => {
                    let hint = k8s_object::annotation(&object, "test/job").unwrap_or_default();
                    let condition = match hint {
                        "hang" => continue,
                        "fail" => "Failed",
                        _ => "Complete",
                    };
                    if object.pointer("/status/conditions").is_none() {
                        new["status"] = json!({"conditions": [{"type": condition, "status": "True", "reason": "Test"}]});
                    }
                }
                "CustomResourceDefinition" => {
                    new["status"] = json!({"conditions": [{"type": "Established", "status": "True"},
                        {"type": "NamesAccepted", "status": "True"}]});
                }
                "PersistentVolumeClaim" => new["status"] = json!({"phase": "Bound"}),
                "HorizontalPodAutoscaler" => {
                    new["status"] = json!({"conditions": [{"type": "AbleToScale", "status": "True"},
                        {"type": "ScalingActive", "status": "True"}]});
                }
                _ => {}
            }
            if new != object {
                self.put(new);
            }
        }
    }

    pub fn watch(&mut self, gvk: Gvk, labels: String, from: &str) {
        if let Ok(from) = from.parse::<u64>() {
            for (revision, other, old, new) in &self.history {
                if *revision > from
                    && *other == gvk
                    && let Some(event) = Self::event(&labels, old.as_ref(), new.as_ref())
                {
                    self.events.push_back((gvk.clone(), event));
                }
            }
            self.watches.insert(gvk, labels);
            return;
        }
        for object in self.objects.values() {
            if Gvk::of(object).as_ref() == Some(&gvk) && Self::fits(&labels, object) {
                let bytes = base_json::canonical(object).into();
                self.events
                    .push_back((gvk.clone(), WatchEvent::Applied(bytes)));
            }
        }
        self.events
            .push_back((gvk.clone(), WatchEvent::Synced(self.revision.to_string())));
        self.watches.insert(gvk, labels);
    }
}

fn ns(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}
