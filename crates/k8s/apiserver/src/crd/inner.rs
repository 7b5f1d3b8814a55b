//! Schemas that stand inside of others, as those of items and of further properties: Kubernetes reads each on its own, and
//! forgets in silence what it does not know there.

use k8s_apply::schema::{Schemas, TypeRef, drop_empty, prune};
use serde_json::Value;

/// Makes the inner schemas of a definition into what Kubernetes reads.
pub(super) fn tidy(definition: &mut Value) {
    let Some(ty) = Schemas::builtin().named("apiextensions.v1.JSONSchemaProps") else {
        return;
    };
    let versions = definition.pointer_mut("/spec/versions");
    for version in versions.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            below(schema, &ty);
        }
    }
}

fn below(schema: &mut Value, ty: &TypeRef) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    for (field, value) in map {
        match (field.as_str(), value) {
            // what is neither a schema nor several is read as none
            ("items", value) if holds_none(value) => *value = Value::Null,
            ("items", value) => own(value, ty),
            ("additionalProperties" | "additionalItems", value) => own(value, ty),
            ("dependencies", Value::Object(all)) => {
                all.values_mut().for_each(|value| own(value, ty));
            }
            ("not", value) => below(value, ty),
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => {
                all.iter_mut().for_each(|value| below(value, ty));
            }
            ("properties" | "patternProperties" | "definitions", Value::Object(all)) => {
                all.values_mut().for_each(|value| below(value, ty));
            }
            _ => {}
        }
    }
}

/// A schema that is read on its own, or a list of them.
fn own(value: &mut Value, ty: &TypeRef) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| own(value, ty)),
        Value::Object(_) => {
            prune(value, ty);
            drop_empty(value, ty);
            below(value, ty);
        }
        _ => {}
    }
}

fn holds_none(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(all) => all.is_empty(),
        _ => true,
    }
}
