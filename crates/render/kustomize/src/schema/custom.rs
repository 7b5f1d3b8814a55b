//! Definitions from an OpenAPI document of somebody's own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Property, Shape, Table};
use crate::diag::Fault;
use crate::node::Step;

/// How deep definitions may nest without a reference.
const MAX_DEPTH: usize = 64;

/// Reads `definitions` of a document in JSON or YAML.
pub(crate) fn read(bytes: &[u8]) -> Step<Table> {
    let value = base_yaml::go::yaml_to_json(bytes).map_err(|error| {
        let (line, column) = error.place.unwrap_or((0, 0));
        let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
        Fault::new(error.text).at(narrow(line), narrow(column))
    })?;
    let mut table = Table::default();
    let Some(definitions) = value.get("definitions").and_then(Value::as_object) else {
        return Ok(table);
    };
    let mut numbers = BTreeMap::new();
    for name in definitions.keys() {
        numbers.insert(format!("#/definitions/{name}"), table.definitions.len());
        table.definitions.push(BTreeMap::new());
    }
    for (at, definition) in definitions.values().enumerate() {
        let fields = fields(definition, &numbers, &mut table, 0);
        table.definitions[at] = fields;
        let kinds = definition.get("x-kubernetes-group-version-kind");
        for kind in kinds.and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| kind.get(name).and_then(Value::as_str).unwrap_or_default();
            let version = match text("group") {
                "" => text("version").to_owned(),
                group => format!("{group}/{}", text("version")),
            };
            table.kinds.insert((version, text("kind").to_owned()), at);
        }
    }
    Ok(table)
}

fn fields(
    definition: &Value,
    numbers: &BTreeMap<String, usize>,
    table: &mut Table,
    depth: usize,
) -> BTreeMap<String, Property> {
    let empty = Map::new();
    let properties = definition.get("properties").and_then(Value::as_object);
    let properties = properties.unwrap_or(&empty).iter();
    properties
        .map(|(name, schema)| (name.clone(), property(schema, numbers, table, depth)))
        .collect()
}

fn property(
    schema: &Value,
    numbers: &BTreeMap<String, usize>,
    table: &mut Table,
    depth: usize,
) -> Property {
    let is_list = schema.get("type").and_then(Value::as_str) == Some("array");
    let (shape, inner) = match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) if is_list => (Shape::List, items),
        (_, Some(values)) if schema.get("properties").is_none() => (Shape::Map, values),
        _ => (Shape::One, schema),
    };
    let reference = inner.get("$ref").and_then(Value::as_str);
    let inner = match reference {
        Some(reference) => numbers.get(reference).copied(),
        None if depth >= MAX_DEPTH => None,
        None => {
            let fields = fields(inner, numbers, table, depth + 1);
            table.definitions.push(fields);
            Some(table.definitions.len() - 1)
        }
    };
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    let strategy = text("x-kubernetes-patch-strategy").unwrap_or_default();
    let keys = match schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
    {
        Some(keys) => keys
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        None => text("x-kubernetes-patch-merge-key")
            .map(str::to_owned)
            .into_iter()
            .collect(),
    };
    Property {
        shape,
        inner,
        merges: strategy.split(',').any(|one| one == "merge"),
        keys,
    }
}
