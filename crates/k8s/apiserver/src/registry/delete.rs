//! Deleting: preconditions, finalizers, grace, propagation.

use base_store::{Expect, Op};
use bytes::Bytes;
use serde_json::{Value, json};

use super::write::{ends_now, resource_version, set_meta};
use super::{ListOptions, Registry, WriteOptions};
use crate::{AdmissionRequest, ResourceDef, Selector, Status, codec, crd, status, world};

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are collected afterwards.
    Background,
    /// They are collected first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// How many seconds the object is given to end; `None` for the kind's own.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of owned objects; `None` for the kind's own rule.
    pub propagation: Option<Propagation>,
    /// The uid that the object must have; empty for any.
    pub uid: String,
    /// The resourceVersion that the object must have; empty for any.
    pub resource_version: String,
    /// Do everything but write?
    pub dry_run: bool,
    /// Who asks; for admission.
    pub user: crate::UserInfo,
}

/// What a delete did.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// The object as it was at the end, or as it waits for its finalizers.
    pub object: Value,
    /// Is it gone?
    pub gone: bool,
}

impl Deleted {
    /// Writes what goes over the wire: a Status if the object is gone, else the object.
    pub fn answer(self, def: &ResourceDef) -> Value {
        if self.gone {
            status::success(
                def,
                k8s_object::name(&self.object),
                k8s_object::uid(&self.object),
            )
        } else {
            self.object
        }
    }
}

const NAMESPACES_THAT_STAY: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Registry {
    /// Deletes an object, or marks it for deletion when finalizers or a grace period hold it.
    pub fn delete(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let is_namespace = def.group.is_empty() && def.plural == "namespaces";
        if is_namespace && NAMESPACES_THAT_STAY.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(Status::forbidden(def, name, why));
        }
        for _ in 0..=10 {
            let (old, expect) = self.load(def, namespace, name)?;
            let Some(old) = old else {
                return Err(Status::not_found(def, name));
            };
            check(def, name, &old, options)?;
            let request = AdmissionRequest {
                user: &options.user,
                operation: "delete",
                def,
                subresource: "",
                namespace,
                name,
                old: Some(&old),
                dry_run: options.dry_run,
            };
            for admission in &self.config().admission {
                admission.admit(self, &request, None)?;
            }
            let mut new = self.mark(def, &old, options);
            if def.group == crd::GROUP && def.plural == crd::PLURAL && new != old {
                crd::ending(&mut new, self.clock().now(), false);
            }
            if ends_now(def, &new) {
                if options.dry_run {
                    return Ok(Deleted {
                        object: old,
                        gone: true,
                    });
                }
                let key = self.key(def, namespace, name);
                if let Some(committed) = self.commit(vec![Op::Delete { key, expect }])? {
                    self.definition_changed(def)?;
                    let mut object = old;
                    set_meta(
                        &mut object,
                        "resourceVersion",
                        json!(committed.last.to_string()),
                    );
                    return Ok(Deleted { object, gone: true });
                }
            } else if options.dry_run || new == old {
                return Ok(Deleted {
                    object: new,
                    gone: false,
                });
            } else if let Some(object) = self.mark_stored(def, namespace, name, new, expect)? {
                if def.group == crd::GROUP && def.plural == crd::PLURAL {
                    self.finish_definition(def, &object)?;
                }
                return Ok(Deleted {
                    object,
                    gone: false,
                });
            }
            if !options.resource_version.is_empty() {
                break;
            }
        }
        Err(Status::modified(def, name))
    }

    /// Deletes the objects of a definition that is being deleted, and lets it go when none is left. What finalizers
    /// hold is left for a later call.
    pub fn finish_definition(&self, def: &ResourceDef, definition: &Value) -> Result<(), Status> {
        let spec = &definition["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let plural = spec["names"]["plural"].as_str().unwrap_or_default();
        if let Some(own) = self.catalog().preferred(group, plural) {
            let options = DeleteOptions::default();
            self.delete_collection(own, "", &Selector::default(), &options)?;
            if !self
                .list(own, "", &ListOptions::default())?
                .items
                .is_empty()
            {
                return Ok(());
            }
        }
        let options = WriteOptions::manager("apiextensions-apiserver");
        self.remove_finalizer(
            def,
            "",
            k8s_object::name(definition),
            crd::CLEANUP,
            &options,
        )
    }

    fn mark_stored(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        mut new: Value,
        expect: Expect,
    ) -> Result<Option<Value>, Status> {
        let op = Op::Put {
            key: self.key(def, namespace, name),
            value: codec::encode(def, &new)?,
            expect,
        };
        let Some(committed) = self.commit(vec![op])? else {
            return Ok(None);
        };
        self.definition_changed(def)?;
        set_meta(
            &mut new,
            "resourceVersion",
            json!(committed.last.to_string()),
        );
        Ok(Some(new))
    }

    /// Marks an object for deletion, in memory.
    fn mark(&self, def: &ResourceDef, old: &Value, options: &DeleteOptions) -> Value {
        let mut new = old.clone();
        let now = self.clock().now();
        let default_grace = def.grace.map_or(0, |grace| grace(old));
        let asked = match options.grace_period_seconds {
            Some(negative) if negative < 0 => 1,
            Some(asked) if def.grace.is_some() && default_grace > 0 => asked,
            _ if def.grace.is_some() => default_grace,
            _ => 0,
        };
        let Some(meta) = k8s_object::meta_mut(&mut new) else {
            return new;
        };
        let mut finalizers: Vec<Value> = meta
            .get("finalizers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let before = finalizers.clone();
        if let Some(propagation) = options.propagation {
            finalizers.retain(|name| name != "orphan" && name != "foregroundDeletion");
            match propagation {
                Propagation::Orphan => finalizers.push(json!("orphan")),
                Propagation::Foreground => finalizers.push(json!("foregroundDeletion")),
                Propagation::Background => {}
            }
        }
        if finalizers != before {
            if finalizers.is_empty() {
                meta.remove("finalizers");
            } else {
                meta.insert("finalizers".to_owned(), Value::Array(finalizers));
            }
        }
        match meta
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
        {
            // the period may only become shorter
            Some(period) if meta.contains_key("deletionTimestamp") => {
                if asked < period {
                    let at = now + jiff::SignedDuration::from_secs(asked);
                    meta.insert("deletionTimestamp".to_owned(), json!(world::time_text(at)));
                    meta.insert("deletionGracePeriodSeconds".to_owned(), json!(asked));
                }
            }
            _ => {
                let at = now + jiff::SignedDuration::from_secs(asked);
                meta.insert("deletionTimestamp".to_owned(), json!(world::time_text(at)));
                // a namespace ends when it is empty
                if !(def.group.is_empty() && def.kind == "Namespace") {
                    meta.insert("deletionGracePeriodSeconds".to_owned(), json!(asked));
                }
                if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
                    meta.insert("generation".to_owned(), json!(generation + 1));
                }
            }
        }
        if def.group.is_empty() && def.kind == "Namespace" {
            new["status"]["phase"] = json!("Terminating");
        }
        new
    }

    /// Deletes every object that is selected; returns each as it was, or as it is marked.
    pub fn delete_collection(
        &self,
        def: &ResourceDef,
        namespace: &str,
        selector: &Selector,
        options: &DeleteOptions,
    ) -> Result<Vec<Bytes>, Status> {
        let list = self.list(def, namespace, &ListOptions::select(selector.clone()))?;
        let mut out = Vec::with_capacity(list.items.len());
        for object in list.values() {
            let (namespace, name) = (k8s_object::namespace(&object), k8s_object::name(&object));
            match self.delete(def, namespace, name, options) {
                // as text at once: parsed, they would take twenty times as much
                Ok(deleted) => out.push(deleted.object.to_string().into()),
                // another was faster
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        Ok(out)
    }

    /// Removes a finalizer, as a controller does when its work is done.
    pub fn remove_finalizer(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        finalizer: &str,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let done = self.modify(def, namespace, name, super::Part::Main, options, |object| {
            let list = k8s_object::meta_mut(object)
                .and_then(|meta| meta.get_mut("finalizers")?.as_array_mut());
            let Some(list) = list else { return false };
            let before = list.len();
            list.retain(|own| own != finalizer);
            list.len() != before
        });
        match done {
            Err(status) if status.is_not_found() => Ok(()),
            done => done.map(|_| ()),
        }
    }
}

fn check(
    def: &ResourceDef,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let own = k8s_object::uid(old);
    if !options.uid.is_empty() && options.uid != own {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({own}). The object might have been deleted and then recreated",
            options.uid
        );
        return Err(Status::precondition(def, name, &why));
    }
    let own = resource_version(old);
    if !options.resource_version.is_empty() && options.resource_version != own {
        let why = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({own}). The object might have been modified",
            options.resource_version
        );
        return Err(Status::precondition(def, name, &why));
    }
    Ok(())
}
