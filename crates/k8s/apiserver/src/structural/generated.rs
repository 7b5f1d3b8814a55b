//! JSON schemas as generators write them, made structural.

use serde_json::{Map, Value, json};

/// Turns a JSON schema as generators write it into the structural form: references are put in place, `null` becomes
/// `nullable`, alternatives of constants become an enum, other alternatives are left open.
pub(crate) fn from_json_schema(schema: &Value) -> Value {
    let definitions = schema
        .get("$defs")
        .or_else(|| schema.get("definitions"))
        .or_else(|| schema.pointer("/components/schemas"))
        .cloned()
        .unwrap_or_default();
    flatten(schema, &definitions, 0)
}

fn flatten(schema: &Value, definitions: &Value, depth: usize) -> Value {
    let open = || json!({"x-kubernetes-preserve-unknown-fields": true});
    // a type that holds itself is left open where it would never end
    if depth > 24 {
        return open();
    }
    let Some(map) = schema.as_object() else {
        return open();
    };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        let mut out = flatten(&definitions[name], definitions, depth + 1);
        if let (Some(out), Some(text)) = (out.as_object_mut(), map.get("description")) {
            out.insert("description".to_owned(), text.clone());
        }
        return with_default(out, map);
    }
    if let Some([one]) = map
        .get("allOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        let mut out = flatten(one, definitions, depth + 1);
        if let (Some(out), Some(text)) = (out.as_object_mut(), map.get("description")) {
            out.insert("description".to_owned(), text.clone());
        }
        return with_default(out, map);
    }
    let mut out = Map::new();
    if let Some(choices) = map
        .get("anyOf")
        .or_else(|| map.get("oneOf"))
        .and_then(Value::as_array)
    {
        out = alternatives(choices, definitions, depth);
    }
    for (key, value) in map {
        match key.as_str() {
            "$schema" | "$defs" | "definitions" | "title" | "anyOf" | "oneOf" | "components"
            | "$id" | "$comment" | "examples" => {}
            "type" => match value {
                Value::Array(types) => {
                    let real: Vec<&Value> = types.iter().filter(|ty| *ty != "null").collect();
                    if real.len() < types.len() {
                        out.insert("nullable".to_owned(), json!(true));
                    }
                    match real.as_slice() {
                        [one] => {
                            out.insert(key.clone(), (*one).clone());
                        }
                        _ => {
                            out.insert(
                                "x-kubernetes-preserve-unknown-fields".to_owned(),
                                json!(true),
                            );
                        }
                    }
                }
                value => {
                    out.insert(key.clone(), value.clone());
                }
            },
            "const" => {
                out.insert("enum".to_owned(), json!([value]));
            }
            "properties" => {
                let properties: Map<String, Value> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), flatten(value, definitions, depth + 1)))
                    .collect();
                out.insert(key.clone(), Value::Object(properties));
            }
            "items" => {
                out.insert(key.clone(), flatten(value, definitions, depth + 1));
            }
            "additionalProperties" => match value {
                Value::Bool(true) => {
                    out.insert(
                        "x-kubernetes-preserve-unknown-fields".to_owned(),
                        json!(true),
                    );
                }
                Value::Bool(false) => {}
                value => {
                    out.insert(key.clone(), flatten(value, definitions, depth + 1));
                }
            },
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    if out
        .keys()
        .all(|key| key == "description" || key == "default")
    {
        out.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            json!(true),
        );
    }
    Value::Object(out)
}

fn with_default(mut out: Value, map: &Map<String, Value>) -> Value {
    if let (Some(out), Some(value)) = (out.as_object_mut(), map.get("default")) {
        out.insert("default".to_owned(), value.clone());
    }
    out
}

fn alternatives(choices: &[Value], definitions: &Value, depth: usize) -> Map<String, Value> {
    let nullable = choices.iter().any(|choice| choice["type"] == "null");
    let real: Vec<Value> = choices
        .iter()
        .filter(|choice| choice["type"] != "null")
        .map(|choice| flatten(choice, definitions, depth + 1))
        .collect();
    let mut out = Map::new();
    let enums: Option<Vec<Value>> = real
        .iter()
        .map(|choice| choice.get("enum")?.as_array().cloned())
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.concat());
    let types: std::collections::BTreeSet<&str> = real
        .iter()
        .filter_map(|choice| choice["type"].as_str())
        .collect();
    match (real.as_slice(), enums) {
        ([one], _) => out = one.as_object().cloned().unwrap_or_default(),
        (_, Some(values)) if !real.is_empty() => {
            out.insert("type".to_owned(), real[0]["type"].clone());
            out.insert("enum".to_owned(), Value::Array(values));
        }
        _ if types.iter().copied().eq(["integer", "string"]) => {
            out.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
        }
        _ if types.len() == 1 && types.contains("object") => {
            // one of several shapes: every shape's fields may stand, none must
            let mut properties = Map::new();
            let mut closed = true;
            for choice in &real {
                closed &= choice.get("properties").is_some();
                for (name, property) in choice["properties"].as_object().into_iter().flatten() {
                    properties
                        .entry(name.clone())
                        .and_modify(|known| {
                            if known != property {
                                *known = json!({"x-kubernetes-preserve-unknown-fields": true});
                            }
                        })
                        .or_insert_with(|| property.clone());
                }
            }
            out.insert("type".to_owned(), json!("object"));
            if closed {
                out.insert("properties".to_owned(), Value::Object(properties));
            } else {
                out.insert(
                    "x-kubernetes-preserve-unknown-fields".to_owned(),
                    json!(true),
                );
            }
        }
        _ => {
            out.insert(
                "x-kubernetes-preserve-unknown-fields".to_owned(),
                json!(true),
            );
        }
    }
    if nullable {
        out.insert("nullable".to_owned(), json!(true));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_schemas_become_structural() {
        let schema = json!({"$schema": "x", "title": "T", "type": "object",
            "properties": {
                "a": {"$ref": "#/$defs/A", "description": "the a"},
                "b": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]},
                "c": {"oneOf": [{"const": "x", "type": "string"}, {"const": "y", "type": "string"}]},
                "d": {"type": ["integer", "null"]},
                "e": true,
            },
            "$defs": {"A": {"type": "object", "properties": {"n": {"type": "string"}}, "additionalProperties": false}}});
        assert_eq!(
            from_json_schema(&schema),
            json!({"type": "object", "properties": {
                "a": {"type": "object", "properties": {"n": {"type": "string"}}, "description": "the a"},
                "b": {"type": "object", "properties": {"n": {"type": "string"}}, "nullable": true},
                "c": {"type": "string", "enum": ["x", "y"]},
                "d": {"type": "integer", "nullable": true},
                "e": {"x-kubernetes-preserve-unknown-fields": true},
            }})
        );
    }
}
