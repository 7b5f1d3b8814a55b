//! Overlays: patches, labels and annotations for some clusters.

use std::collections::BTreeMap;

use k8s_apply::patch;
use k8s_apply::schema::TypeRef;
use k8s_object::{Gvk, set_annotation, set_label};
use roadstead_model::{Overlay, Patch, PatchTarget};
use roadstead_target::{substitute, substitute_at, substitute_text};
use serde_json::Value;

use crate::InputError;
use crate::prepare::Draft;

/// Applies one overlay to all objects of a variant.
pub(crate) fn apply(
    overlay: &Overlay,
    drafts: &mut Vec<Draft<'_>>,
    values: &BTreeMap<String, Value>,
) -> Result<(), InputError> {
    for (number, patch) in overlay.patches.iter().enumerate() {
        let label = || format!("overlay {:?}, patch {number}", overlay.name);
        let (target, change) = read(patch, values)
            .map_err(|problem| InputError::plain(format!("{}: {problem}", label())))?;
        let mut matched = false;
        for draft in drafts
            .iter_mut()
            .filter(|draft| hits(&target, &draft.object))
        {
            matched = true;
            let changed = change.apply(&draft.object).map_err(|problem| {
                InputError::at(
                    draft.origin,
                    format!(
                        "{}: {} cannot be patched: {problem}",
                        label(),
                        draft.readable()
                    ),
                )
            })?;
            draft.replace(changed);
        }
        if !matched {
            let message = format!("{} matches no object: {}", label(), describe(&target));
            return Err(InputError::plain(message));
        }
        drafts.retain(|draft| {
            !draft
                .object
                .as_object()
                .is_some_and(base_json::Map::is_empty)
        });
    }
    let texts = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(key, text)| Ok((key.clone(), substitute_text(text, values)?)))
            .collect::<Result<Vec<_>, roadstead_target::ExpressionError>>()
            .map_err(|problem| InputError::plain(format!("overlay {:?}: {problem}", overlay.name)))
    };
    let (labels, annotations) = (texts(&overlay.labels)?, texts(&overlay.annotations)?);
    if labels.is_empty() && annotations.is_empty() {
        return Ok(());
    }
    for draft in drafts {
        let mut object = draft.take();
        for (key, text) in &labels {
            set_label(&mut object, key, text);
        }
        for (key, text) in &annotations {
            set_annotation(&mut object, key, text);
        }
        draft.replace(object);
    }
    Ok(())
}

enum Change {
    Merge(Value),
    Json(Value),
}

impl Change {
    fn apply(&self, object: &Value) -> Result<Value, String> {
        match self {
            Self::Merge(merge) => {
                if merge.get("$patch").and_then(Value::as_str) == Some("delete") {
                    return Ok(Value::Object(base_json::Map::new()));
                }
                let schema = Gvk::of(object)
                    .map_or_else(TypeRef::deduced, |gvk| TypeRef::builtin_or_deduced(&gvk));
                patch::strategic_merge(object, merge, &schema).map_err(|error| error.to_string())
            }
            Self::Json(operations) => {
                patch::json_patch(object, operations).map_err(|error| error.to_string())
            }
        }
    }
}

/// Reads a patch with its expressions replaced: whom it hits and what it does.
fn read(patch: &Patch, values: &BTreeMap<String, Value>) -> Result<(PatchTarget, Change), String> {
    let mut target = patch.target.clone();
    if let Some(merge) = &patch.merge {
        let mut merge = merge.clone();
        substitute(&mut merge, values).map_err(|error| error.to_string())?;
        identify(&mut target, &mut merge);
        return Ok((target, Change::Merge(merge)));
    }
    let mut operations = serde_json::to_value(&patch.json).map_err(|error| error.to_string())?;
    // an explicit null is read as no value, and these operations have one always
    for operation in operations.as_array_mut().into_iter().flatten() {
        let name = operation
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let needs_value = matches!(name, "add" | "replace" | "test");
        if let Some(map) = operation.as_object_mut().filter(|_| needs_value) {
            map.entry("value").or_insert(Value::Null);
        }
        let path = operation
            .get("path")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if let (Some(path), Some(value)) = (path, operation.get_mut("value")) {
            substitute_at(&path, value, values).map_err(|error| error.to_string())?;
        }
    }
    Ok((target, Change::Json(operations)))
}

/// Takes the identity out of a merge patch: it says which object is meant, and never renames one.
fn identify(target: &mut PatchTarget, merge: &mut Value) {
    let Some(map) = merge.as_object_mut() else {
        return;
    };
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let version = text(map.remove("apiVersion"));
    let kind = text(map.remove("kind"));
    if !version.is_empty() && target.group.is_none() {
        target.group = Some(Gvk::new(&version, &kind).group);
    }
    let fill = |field: &mut String, value: String| {
        if field.is_empty() {
            *field = value;
        }
    };
    fill(&mut target.kind, kind);
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        fill(&mut target.name, text(metadata.remove("name")));
        fill(&mut target.namespace, text(metadata.remove("namespace")));
    }
}

fn hits(target: &PatchTarget, object: &Value) -> bool {
    let Some(gvk) = Gvk::of(object) else {
        return false;
    };
    let same = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    target
        .group
        .as_ref()
        .is_none_or(|group| *group == gvk.group)
        && same(&target.kind, &gvk.kind)
        && same(&target.name, k8s_object::name(object))
        && same(&target.namespace, k8s_object::namespace(object))
}

fn describe(target: &PatchTarget) -> String {
    let mut parts = Vec::new();
    if let Some(group) = &target.group {
        parts.push(format!("group {group:?}"));
    }
    for (name, value) in [
        ("kind", &target.kind),
        ("name", &target.name),
        ("namespace", &target.namespace),
    ] {
        if !value.is_empty() {
            parts.push(format!("{name} {value:?}"));
        }
    }
    if parts.is_empty() {
        return "the App has no objects".to_owned();
    }
    format!("none has {}", parts.join(", "))
}
