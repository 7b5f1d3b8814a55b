//! Patches, server-side apply among them.

use base_store::{Entry, Expect};
use serde_json::Value;

use super::write::{Draft, check_fields, check_precondition, ends_now, resource_version};
use super::{Outcome, Part, Registry, WriteOptions};
use crate::{FieldError, ResourceDef, Schema, Status, codec, schema};

/// A change to an object.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902 operations.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own: lists merge by key.
    Strategic(Value),
    /// Server-side apply: what a field manager wants.
    Apply(Value),
}

/// What a patch did.
pub(crate) enum Patched {
    Written(Outcome),
    /// The object is as it was.
    Unchanged {
        object: Value,
        stored: Entry,
        warnings: Vec<String>,
    },
}

impl Registry {
    /// Changes an object. Apply creates it if it is missing.
    pub fn patch(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        self.patch_part(def, namespace, name, Part::Main, patch, options)
    }

    /// Applies what a field manager wants: server-side apply.
    pub fn apply(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        wanted: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        self.patch(def, namespace, name, &Patch::Apply(wanted), options)
    }

    /// Changes a part of an object. A patch that names no resourceVersion is made again when another write came first.
    pub fn patch_part(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let patched = self.patch_stored(def, namespace, name, part, patch, options)?;
        Ok(match patched {
            Patched::Written(outcome) => outcome,
            Patched::Unchanged {
                object, warnings, ..
            } => Outcome {
                object,
                created: false,
                removed: false,
                warnings,
            },
        })
    }

    /// Does the same; what did not change comes with the bytes that it is stored as.
    pub(crate) fn patch_stored(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        if matches!(patch, Patch::Apply(_)) && options.field_manager.is_empty() {
            return Err(Status::invalid_options(
                "PatchOptions",
                FieldError::required("fieldManager", "is required for apply patch"),
            ));
        }
        for _ in 0..=5 {
            let entry = self.entry(def, namespace, name)?;
            let (old, expect) = match &entry {
                Some(entry) => (
                    Some(codec::decode_entry(def, entry)?),
                    Expect::At(entry.modified),
                ),
                None => (None, Expect::Absent),
            };
            let mut draft = Draft {
                def,
                namespace,
                name,
                part,
                old,
                expect,
                applied: false,
                warnings: Vec::new(),
            };
            let new = match patch {
                Patch::Apply(wanted) => match self.merge_applied(&mut draft, wanted, options)? {
                    Some(new) => new,
                    None => match (entry, draft.old.take()) {
                        (Some(entry), Some(old)) if self.stays(&draft, &old, options)? => {
                            return Ok(Patched::Unchanged {
                                object: old,
                                stored: entry,
                                warnings: draft.warnings,
                            });
                        }
                        (_, old) => {
                            draft.old.clone_from(&old);
                            old.unwrap_or_default()
                        }
                    },
                },
                patch => {
                    let Some(old) = &draft.old else {
                        return Err(Status::not_found(def, name));
                    };
                    let mut new = change(def, old, patch)?;
                    new = self.accept(def, namespace, name, new)?;
                    draft.warnings = check_fields(def, &mut new, options)?;
                    let asked = resource_version(&new).to_owned();
                    check_precondition(def, name, old, &new, &asked)?;
                    new
                }
            };
            if let Some(outcome) = self.settle(draft, new, options)? {
                return Ok(Patched::Written(outcome));
            }
        }
        Err(Status::modified(def, name))
    }

    /// Is there nothing to do for a write that leaves an object as it is? What is stored was checked when it was written, by
    /// rules that do not change while this program runs; those of custom resources do.
    fn stays(
        &self,
        draft: &Draft<'_>,
        old: &Value,
        options: &WriteOptions,
    ) -> Result<bool, Status> {
        if !matches!(draft.def.schema, Schema::Builtin) || ends_now(draft.def, old) {
            return Ok(false);
        }
        if self.config().admission.is_empty() {
            return Ok(true);
        }
        let mut new = old.clone();
        self.admit(draft, Some(old), &mut new, options)?;
        Ok(new == *old)
    }

    /// Merges what a manager wants into the object; `None` where that changes nothing.
    fn merge_applied(
        &self,
        draft: &mut Draft<'_>,
        wanted: &Value,
        options: &WriteOptions,
    ) -> Result<Option<Value>, Status> {
        let (def, name) = (draft.def, draft.name);
        let own = k8s_object::namespace(wanted).to_owned();
        let version = if def.group.is_empty() {
            format!("/{}", def.version)
        } else {
            def.api_version()
        };
        let given = wanted.pointer("/metadata/name").and_then(Value::as_str);
        let given = given.unwrap_or_default();
        let what = format!("({own}/{given}; {version}, Kind={})", def.kind);
        if let Some(problem) = schema::apply_problem(def, wanted) {
            // apply has no place for what it cannot merge, whatever the field validation says
            let text = format!("failed to create typed patch object {what}: {problem}");
            return Err(Status::new(500, "", text));
        }
        let mut wanted = wanted.clone();
        // what is there lends its name
        if draft.old.is_some()
            && wanted.pointer("/metadata/name").is_none()
            && let Some(meta) = k8s_object::meta_mut(&mut wanted)
        {
            meta.insert("name".to_owned(), name.into());
        }
        let mut wanted = self.accept(def, draft.namespace, name, wanted)?;
        if def.group == crate::crd::GROUP
            && let Some(problem) = crate::crd::misfit(&wanted)
            && let Some(problem) = inner_misfit(&problem)
        {
            let text = format!(
                "failed to convert new object {what} to proper version: unable to convert unstructured object to {version}, Kind={}: {problem}",
                def.kind
            );
            return Err(Status::new(500, "", text));
        }
        if let Some(problem) = schema::convert_problem(def, &mut wanted) {
            let text = format!(
                "failed to convert new object {what} to proper version: unable to convert unstructured object to {version}, Kind={}: {problem}",
                def.kind
            );
            return Err(Status::new(500, "", text));
        }
        draft.warnings = check_fields(def, &mut wanted, options)?;
        let managed = k8s_object::meta(&wanted).and_then(|meta| meta.get("managedFields"));
        if managed
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
        {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let asked = resource_version(&wanted).to_owned();
        match &draft.old {
            Some(old) => {
                if !asked.is_empty() {
                    check_precondition(def, name, old, &wanted, &asked)?;
                }
            }
            None if draft.part != Part::Main => return Err(Status::not_found(def, name)),
            None => {
                if !k8s_object::uid(&wanted).is_empty() {
                    let uid = k8s_object::uid(&wanted);
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(Status::conflict(def, name, &why));
                }
                self.check_namespace(def, draft.namespace, name)?;
            }
        }
        if let Some(meta) = k8s_object::meta_mut(&mut wanted) {
            meta.remove("resourceVersion");
            meta.remove("managedFields");
        }
        draft.applied = true;
        schema::apply(
            def,
            name,
            draft.old.as_ref(),
            &schema::Applied {
                wanted: &wanted,
                manager: &options.field_manager,
                force: options.force,
                subresource: draft.part.subresource(),
            },
            self.clock().now(),
        )
    }
}

/// What is wrong in a schema that is read on its own, as those of items and of further properties are: its path begins there.
fn inner_misfit(problem: &str) -> Option<String> {
    let start = "Go struct field JSONSchemaProps.";
    let (before, rest) = problem.split_once(start)?;
    let (path, kind) = rest.split_once(" of type ")?;
    let parts: Vec<&str> = path.split('.').collect();
    let last = parts
        .iter()
        .rposition(|part| matches!(*part, "items" | "additionalProperties"))?;
    Some(format!(
        "{before}{start}{} of type {kind}",
        parts[last + 1..].join(".")
    ))
}

fn change(def: &ResourceDef, old: &Value, patch: &Patch) -> Result<Value, Status> {
    match patch {
        Patch::Json(operations) => schema::json_patch(old, operations),
        Patch::Merge(patch) if !patch.is_object() => {
            Err(schema::undecoded(patch, "map[string]interface {}"))
        }
        Patch::Merge(patch) => {
            let mut new = old.clone();
            merge(&mut new, patch);
            Ok(new)
        }
        Patch::Strategic(patch) => schema::strategic(def, old, patch),
        Patch::Apply(_) => Ok(old.clone()),
    }
}

/// Merges as RFC 7396 says.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
