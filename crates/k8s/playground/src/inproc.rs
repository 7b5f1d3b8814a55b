//! The controllers' view of the API server, without a socket between.

use base_store::{At, Range};
use k8s_apiserver::{
    DeleteOptions, ListOptions, Part, Propagation as How, Registry, ResourceDef, Status, UserInfo,
    WriteOptions,
};
use k8s_cluster::Propagation;
use serde_json::Value;
use std::sync::Arc;

use crate::api::{Api, Refusal};
use crate::key::{Key, Kind};

/// An [`Api`] over a [`Registry`].
pub(crate) struct InProcess<'a> {
    registry: &'a Registry,
}

fn refusal(status: &Status) -> Refusal {
    let message = status.message.clone();
    match status.code {
        404 => Refusal::NotFound(message),
        409 if status.is_already_exists() => Refusal::Exists(message),
        409 => Refusal::Conflict(message),
        _ => Refusal::Refused(message),
    }
}

impl<'a> InProcess<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self { registry }
    }

    fn def(&self, kind: Kind<'_>) -> Option<Arc<ResourceDef>> {
        self.registry
            .catalog()
            .by_kind(kind.group(), kind.version(), kind.kind)
            .map(Arc::clone)
    }

    fn write(&self, manager: &str, object: &Value, part: Option<Part>) -> Result<Value, Refusal> {
        let def = self
            .registry
            .resource_of(object)
            .map_err(|status| refusal(&status))?;
        let options = WriteOptions::manager(manager);
        let (namespace, name) = (k8s_object::namespace(object), k8s_object::name(object));
        let outcome = match part {
            None => self
                .registry
                .create(&def, namespace, object.clone(), &options),
            Some(part) => {
                self.registry
                    .update_part(&def, namespace, name, part, object.clone(), &options)
            }
        };
        outcome
            .map(|outcome| outcome.object)
            .map_err(|status| refusal(&status))
    }
}

impl Api for InProcess<'_> {
    fn get(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Option<Value> {
        let def = self.def(kind)?;
        // An owner may be asked for in the namespace of what it owns although its kind has none.
        if def.namespaced == namespace.is_empty() || name.is_empty() {
            return None;
        }
        self.registry.find(&def, namespace, name).ok().flatten()
    }

    fn list(&self, kind: Kind<'_>, namespace: &str) -> Vec<Value> {
        let Some(def) = self.def(kind) else {
            return Vec::new();
        };
        self.registry
            .list(&def, namespace, &ListOptions::default())
            .map(|list| list.values().collect())
            .unwrap_or_default()
    }

    fn contents(&self, namespace: &str) -> Vec<Key> {
        let catalog = self.registry.catalog();
        let mut keys = Vec::new();
        for def in catalog.all().filter(|def| def.namespaced && !def.review) {
            let range = Range {
                prefix: self.registry.key_prefix(def, namespace),
                after: None,
                limit: 0,
                at: At::Newest,
            };
            let Ok(page) = self.registry.store().range(&range) else {
                continue;
            };
            let api_version = def.api_version();
            let kind = Kind::new(&api_version, &def.kind);
            keys.extend(page.entries.iter().filter_map(|entry| {
                let name = entry.key.strip_prefix(&range.prefix)?;
                Some(Key::new(kind, namespace, name))
            }));
        }
        keys
    }

    fn create(&self, manager: &str, object: Value) -> Result<Value, Refusal> {
        self.write(manager, &object, None)
    }

    fn update(&self, manager: &str, object: &Value) -> Result<Value, Refusal> {
        self.write(manager, object, Some(Part::Main))
    }

    fn update_status(&self, manager: &str, object: &Value) -> Result<Value, Refusal> {
        self.write(manager, object, Some(Part::Status))
    }

    fn finalize(&self, manager: &str, namespace: &Value) -> Result<Value, Refusal> {
        self.write(manager, namespace, Some(Part::Finalize))
    }

    fn delete(&self, key: &Key, uid: &str, how: Propagation, now: bool) -> Result<(), Refusal> {
        let Some(def) = self.def(key.kind()) else {
            return Err(Refusal::NotFound(format!("no kind {key:?}")));
        };
        let options = DeleteOptions {
            grace_period_seconds: now.then_some(0),
            propagation: Some(propagation(how)),
            uid: uid.to_owned(),
            user: UserInfo::admin(),
            ..DeleteOptions::default()
        };
        match self
            .registry
            .delete(&def, key.namespace(), key.name(), &options)
        {
            Ok(_) => Ok(()),
            Err(status) if status.is_not_found() => Ok(()),
            Err(status) => Err(refusal(&status)),
        }
    }
}

pub(crate) fn propagation(how: Propagation) -> How {
    match how {
        Propagation::Background => How::Background,
        Propagation::Foreground => How::Foreground,
        Propagation::Orphan => How::Orphan,
    }
}
