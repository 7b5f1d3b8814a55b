//! Patches, server-side apply among them.

use base_store::Entry;
use serde_json::Value;

use super::write::{Draft, check_fields, check_precondition, ends_now, resource_version};
use super::{Outcome, Part, Registry, WriteOptions, decoded};
use crate::{FieldError, ResourceDef, Schema, Status, schema};

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
            let (old, expect) = decoded(def, entry.as_ref())?;
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
                    check_precondition(def, name, old, &new, &asked)
                        .map_err(|status| status.beside(&draft.warnings))?;
                    new
                }
            };
            let warnings = draft.warnings.clone();
            let settled = self.settle(draft, new, options);
            if let Some(outcome) = settled.map_err(|status| status.beside(&warnings))? {
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
        let mut problem = None;
        if def.group == crate::crd::GROUP {
            problem = crate::crd::converted_misfit(&wanted);
        }
        let problem = problem.or_else(|| schema::convert_problem(def, &mut wanted));
        if problem.is_none() {
            draft.warnings = check_fields(def, &mut wanted, options)?;
        }
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
        let merged = schema::apply(
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
        )?;
        // what cannot be read is found out when it is converted, after conflicts
        match problem {
            None => Ok(merged),
            Some(problem) => Err(Status::new(
                500,
                "",
                format!(
                    "failed to convert new object {what} to proper version: unable to convert unstructured object to {version}, Kind={}: {problem}",
                    def.kind
                ),
            )),
        }
    }
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
