//! Objects as rows of a table.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::world::since;
use crate::{Cell, ResourceDef, jsonpath};

/// What of the object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "None" => Some(Self::None),
            "" | "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// Writes objects as a table.
pub(crate) fn table(
    def: &ResourceDef,
    version: &str,
    objects: impl Iterator<Item = Value>,
    metadata: Value,
    include: Include,
    now: Timestamp,
    headings: bool,
) -> Value {
    let columns: Vec<Value> = def
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    let builtin = matches!(def.schema, crate::Schema::Builtin);
    let rows: Vec<Value> = objects
        .map(|object| {
            let cells: Vec<Value> = def
                .columns
                .iter()
                .map(|column| {
                    let cell = cell(&column.cell, &column.kind, &object, now);
                    match column.kind.as_str() {
                        // what is built in prints what is not there as its type's zero
                        "string" if builtin && cell.is_null() => json!(""),
                        "boolean" if builtin && cell.is_null() => json!(false),
                        _ => cell,
                    }
                })
                .collect();
            let mut row = json!({"cells": cells});
            match include {
                Include::None => {}
                Include::Metadata => row["object"] = partial(&object, version),
                Include::Object => row["object"] = object,
            }
            row
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": if headings { json!(columns) } else { Value::Null }, "rows": rows,
    })
}

/// Keeps only an object's metadata.
pub(crate) fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())),
    })
}

fn cell(cell: &Cell, kind: &str, object: &Value, now: Timestamp) -> Value {
    match cell {
        Cell::Name => json!(k8s_object::name(object)),
        Cell::Age => json!(since(object["metadata"]["creationTimestamp"].as_str(), now)),
        Cell::Compute(compute) => compute(object, now),
        Cell::Path(path) => match jsonpath::find(object, path).as_slice() {
            [] => Value::Null,
            [one] => typed(one, kind, path, now),
            many => {
                let texts: Vec<String> = many.iter().map(|value| text(value)).collect();
                json!(texts.join(","))
            }
        },
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn typed(value: &Value, kind: &str, path: &str, now: Timestamp) -> Value {
    match kind {
        // a moment of creation is shown as it stands, as kubectl does for roles
        "date" if path == ".metadata.creationTimestamp" && value.is_string() => value.clone(),
        "date" => json!(since(value.as_str(), now)),
        "integer" => value
            .as_i64()
            .or_else(|| value.as_f64().map(|number| number as i64))
            .map_or(Value::Null, |number| json!(number)),
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "number" | "boolean" => Value::Null,
        _ => json!(text(value)),
    }
}
