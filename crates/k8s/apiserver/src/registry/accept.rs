//! Whether a body is about what its path names.

use serde_json::{Map, Value, json};

use super::Registry;
use super::write::{set_meta, unreadable};
use crate::{ResourceDef, Status};

impl Registry {
    /// Checks that an object is what the path says; fills in what the path knows.
    pub(super) fn accept(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        mut object: Value,
    ) -> Result<Value, Status> {
        let Some(map) = object.as_object_mut() else {
            return Err(Status::bad_request(
                "the object provided is not a JSON object",
            ));
        };
        let expected = def.api_version();
        let api_version = map
            .entry("apiVersion")
            .or_insert_with(|| json!(expected.clone()))
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let kind = map
            .entry("kind")
            .or_insert_with(|| json!(def.kind))
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if matches!(def.schema, crate::Schema::Builtin) {
            self.convertible(def, &api_version, &kind)?;
        }
        // a custom object of another kind is found out when it is checked
        if kind != def.kind && !(def.custom && api_version == expected) {
            return Err(Status::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: converting ({kind}) to ({}): unknown conversion",
                def.version, def.kind, def.kind
            )));
        }
        if api_version != expected {
            return Err(Status::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
        }
        if !map
            .get("metadata")
            .is_none_or(|meta| meta.is_object() || meta.is_null())
        {
            if def.custom
                && let Some(problem) = map.get("metadata").and_then(crate::structural::meta_misfit)
            {
                return Err(unreadable(def, &problem));
            }
            let found = match map.get("metadata") {
                Some(Value::Array(_)) => "array",
                Some(Value::Bool(_)) => "bool",
                Some(Value::Number(_)) => "number",
                _ => "string",
            };
            let problem = format!(
                "json: cannot unmarshal {found} into Go struct field {}.metadata of type v1.ObjectMeta",
                def.kind
            );
            return Err(unreadable(def, &problem));
        }
        if map.get("metadata").is_none_or(Value::is_null) {
            map.insert("metadata".to_owned(), Value::Object(Map::new()));
        }
        let own = k8s_object::namespace(&object).to_owned();
        if def.namespaced {
            if own.is_empty() {
                set_meta(&mut object, "namespace", json!(namespace));
            } else if own != namespace {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        } else if let Some(meta) = k8s_object::meta_mut(&mut object) {
            meta.remove("namespace");
        }
        let builtin = matches!(def.schema, crate::Schema::Builtin);
        let given = object.pointer("/metadata/name");
        // what is no text is told where types are
        let odd = builtin && given.is_some_and(|given| !given.is_string() && !given.is_null());
        if !name.is_empty() && !odd {
            let own = k8s_object::name(&object).to_owned();
            if own.is_empty() && builtin {
                return Err(Status::bad_request(format!(
                    "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                )));
            }
            if own.is_empty() {
                set_meta(&mut object, "name", json!(name));
            } else if own != name {
                return Err(Status::bad_request(format!(
                    "the name of the object ({own}) does not match the name on the URL ({name})"
                )));
            }
        }
        Ok(object)
    }

    /// Checks that what a body says it is can become what the path names, in Kubernetes' words.
    fn convertible(&self, def: &ResourceDef, api_version: &str, kind: &str) -> Result<(), Status> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if kind == def.kind && group == def.group && version == def.version {
            return Ok(());
        }
        let catalog = self.catalog();
        let known = catalog.by_kind(group, version, kind);
        let known = known.is_some_and(|def| matches!(def.schema, crate::Schema::Builtin));
        let problem = if !known || version.is_empty() {
            format!(
                "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )
        } else if kind == def.kind && group == def.group {
            return Ok(());
        } else {
            let package = match def.group.split('.').next() {
                None | Some("" | "events") => "core",
                Some(first) => first,
            };
            format!(
                "converting ({version}.{kind}) to ({package}.{}): unknown conversion",
                def.kind
            )
        };
        Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {problem}",
            def.kind
        )))
    }

    /// Checks a review, which is never stored.
    pub(crate) fn accept_review(
        &self,
        def: &ResourceDef,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Status> {
        self.accept(def, namespace, "", object)
    }
}
