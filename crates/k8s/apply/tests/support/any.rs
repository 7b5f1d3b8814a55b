//! Random objects of any built-in kind, made from its OpenAPI document.

use std::collections::BTreeMap;

use k8s_apply::schema::{Schemas, openapi_v3};
use serde_json::{Map, Value, json};

use crate::support::{self, Rng};

/// OpenAPI components by API version.
pub(crate) struct Documents(BTreeMap<String, Map<String, Value>>);

impl Documents {
    pub(crate) fn of(kinds: &[(&str, &str)]) -> Self {
        let mut documents = BTreeMap::new();
        for (api_version, _) in kinds {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            let document = openapi_v3(Schemas::builtin(), group, version);
            let schemas = document["components"]["schemas"].as_object().cloned();
            documents.insert((*api_version).to_owned(), schemas.expect("components"));
        }
        Self(documents)
    }

    pub(crate) fn generate(&self, rng: &mut Rng, api_version: &str, kind: &str) -> Value {
        let schemas = &self.0[api_version];
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let tag = json!({"group": group, "version": version, "kind": kind});
        let schema = schemas
            .values()
            .find(|schema| {
                let tags = schema["x-kubernetes-group-version-kind"].as_array();
                tags.is_some_and(|tags| tags.contains(&tag))
            })
            .unwrap_or_else(|| panic!("no {api_version} {kind}"));
        let mut out = value(rng, schemas, schema, 0);
        out["apiVersion"] = api_version.into();
        out["kind"] = kind.into();
        let mut metadata = json!({"name": "it", "namespace": "here"});
        if rng.chance(50) {
            metadata["labels"] = support::texts(rng, &["app", "tier"]);
        }
        out["metadata"] = metadata;
        out
    }
}

fn resolve<'a>(schemas: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    let schema = schema["allOf"].get(0).unwrap_or(schema);
    match schema["$ref"].as_str() {
        Some(name) => &schemas[name.rsplit('/').next().expect("a name")],
        None => schema,
    }
}

fn value(rng: &mut Rng, schemas: &Map<String, Value>, schema: &Value, depth: u64) -> Value {
    let schema = resolve(schemas, schema);
    match schema["type"].as_str() {
        Some("string") => match schema["format"].as_str() {
            Some("date-time") => "2001-01-01T00:00:00Z".into(),
            Some("byte") => (*rng.pick(&["YQ==", "Yg=="])).into(),
            _ => (*rng.pick(&["a", "b", ""])).into(),
        },
        Some("integer") => rng.below(3).into(),
        Some("number") => rng.pick(&[json!(0.5), json!(1)]).clone(),
        Some("boolean") => rng.chance(50).into(),
        Some("array") => list(rng, schemas, schema, depth),
        Some("object") if schema.get("properties").is_some() => {
            let mut out = Map::new();
            for (name, property) in schema["properties"].as_object().expect("a map") {
                if rng.chance(60 / (1 + depth / 2)) && depth < 9 {
                    out.insert(name.clone(), value(rng, schemas, property, depth + 1));
                }
            }
            out.into()
        }
        Some("object") => {
            let mut out = Map::new();
            for key in rng.some(&["a", "b"]) {
                let inner = schema.get("additionalProperties");
                let inner =
                    inner.map_or_else(|| json!(1), |inner| value(rng, schemas, inner, depth + 1));
                out.insert(key.to_owned(), inner);
            }
            out.into()
        }
        // a quantity, an int-or-string or anything
        _ if schema.get("oneOf").is_some() => rng.pick(&[json!(1), json!("50%")]).clone(),
        _ => rng.pick(&[json!({"a": 1}), json!([1]), json!("x")]).clone(),
    }
}

fn list(rng: &mut Rng, schemas: &Map<String, Value>, schema: &Value, depth: u64) -> Value {
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let item = resolve(schemas, &schema["items"]);
    let mut out: Vec<Value> = Vec::new();
    for at in rng.some(&[0u64, 1, 2]) {
        let mut made = value(rng, schemas, item, depth + 1);
        for (place, key) in keys.iter().enumerate() {
            let property = &item["properties"][*key];
            made[*key] = match resolve(schemas, property)["type"].as_str() {
                // the first key differs, the others may
                Some("integer") => (if place == 0 { at } else { rng.below(2) }).into(),
                Some("string") if place == 0 => format!("n{at}").into(),
                _ => value(rng, schemas, property, depth + 1),
            };
        }
        if schema["x-kubernetes-list-type"] == "set" && out.contains(&made) {
            continue;
        }
        out.push(made);
    }
    out.into()
}
