//! Random schemas of custom kinds, with every kind of list and map, and random objects of them.

use serde_json::{Map, Value, json};

use super::Rng;

/// Makes the structural schema of a kind whose spec holds a field `renamed` of each form, and others.
pub(crate) fn schema(rng: &mut Rng, renamed: &str) -> Value {
    let mut fields = Map::new();
    for name in ["a", "b", "c", "d", renamed] {
        fields.insert(name.to_owned(), shape(rng, 0));
    }
    let string = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "apiVersion": string, "kind": string, "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": fields},
        "status": shape(rng, 1)}})
}

/// The same schema, with what was granular atomic here and there, or the other way.
pub(crate) fn vary(rng: &mut Rng, schema: &Value) -> Value {
    let mut out = schema.clone();
    vary_at(rng, &mut out, 0);
    out
}

/// Calls one field of the spec otherwise.
pub(crate) fn rename(schema: &Value, from: &str, to: &str) -> Value {
    let mut out = schema.clone();
    let fields = out["properties"]["spec"]["properties"]
        .as_object_mut()
        .expect("a spec has fields");
    let field = fields.remove(from).expect("it is there");
    fields.insert(to.to_owned(), field);
    out
}

fn vary_at(rng: &mut Rng, node: &mut Value, depth: usize) {
    let keyed = node.get("x-kubernetes-list-map-keys").is_some();
    if depth > 1 && rng.chance(25) {
        if node["type"] == "array" {
            node["x-kubernetes-list-type"] = match node["x-kubernetes-list-type"].as_str() {
                Some("atomic") if keyed => "map",
                Some("atomic") if node["items"]["type"] == "string" => "set",
                _ => "atomic",
            }
            .into();
        } else if node["type"] == "object" {
            node["x-kubernetes-map-type"] = match node["x-kubernetes-map-type"].as_str() {
                Some("atomic") => "granular",
                _ => "atomic",
            }
            .into();
        }
    }
    for part in ["items", "additionalProperties"] {
        if node[part].is_object() {
            vary_at(rng, &mut node[part], depth + 1);
        }
    }
    if let Some(fields) = node.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, field) in fields {
            if depth > 0 || name == "spec" || name == "status" {
                vary_at(rng, field, depth + 1);
            }
        }
    }
    // the keys of what is atomic now are kept aside
    if node["x-kubernetes-list-type"] != "map"
        && let Some(map) = node.as_object_mut()
        && let Some(keys) = map.remove("x-kubernetes-list-map-keys")
    {
        map.insert("x-keys".to_owned(), keys);
    } else if node["x-kubernetes-list-type"] == "map"
        && let Some(map) = node.as_object_mut()
        && let Some(keys) = map.remove("x-keys")
    {
        map.insert("x-kubernetes-list-map-keys".to_owned(), keys);
    }
    for part in ["items", "additionalProperties", "properties"] {
        if node[part].is_null()
            && let Some(map) = node.as_object_mut()
        {
            map.remove(part);
        }
    }
}

fn scalar(rng: &mut Rng) -> Value {
    rng.pick(&[
        json!({"type": "string"}),
        json!({"type": "string"}),
        json!({"type": "integer"}),
        json!({"type": "boolean"}),
        json!({"type": "number"}),
        json!({"x-kubernetes-int-or-string": true}),
    ])
    .clone()
}

fn shape(rng: &mut Rng, depth: u64) -> Value {
    if depth > 3 || rng.chance(15 * depth) {
        return scalar(rng);
    }
    match rng.below(8) {
        0 => scalar(rng),
        1 | 2 => {
            let fields: Map<String, Value> = ["p", "q", "r"]
                .iter()
                .map(|name| ((*name).to_owned(), shape(rng, depth + 1)))
                .collect();
            let mut out = json!({"type": "object", "properties": fields});
            if rng.chance(15) {
                out["x-kubernetes-map-type"] = "atomic".into();
            }
            out
        }
        3 => {
            let mut out = json!({"type": "object", "additionalProperties": shape(rng, depth + 1)});
            if rng.chance(25) {
                out["x-kubernetes-map-type"] = "atomic".into();
            }
            out
        }
        4 => {
            let item = match rng.chance(70) {
                true => json!({"type": "string"}),
                false => json!({"type": "integer"}),
            };
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": item})
        }
        5 | 6 => {
            let mut fields: Map<String, Value> = ["v", "w"]
                .iter()
                .map(|name| ((*name).to_owned(), shape(rng, depth + 1)))
                .collect();
            fields.insert("id".to_owned(), json!({"type": "string"}));
            let mut keys = vec!["id"];
            if rng.chance(40) {
                keys.push("no");
                let mut number = json!({"type": "integer"});
                if rng.chance(50) {
                    number["default"] = 1.into();
                }
                fields.insert("no".to_owned(), number);
            }
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
                "items": {"type": "object", "properties": fields}})
        }
        _ => match rng.chance(50) {
            true => {
                json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": shape(rng, depth + 1)})
            }
            false => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        },
    }
}

/// Makes an object of a schema.
pub(crate) fn object(rng: &mut Rng, schema: &Value, api_version: &str) -> Value {
    let mut out =
        json!({"apiVersion": api_version, "kind": "Shape", "metadata": super::metadata(rng)});
    for part in ["spec", "status"] {
        if rng.chance(85) {
            out[part] = value(rng, &schema["properties"][part]);
        }
    }
    out
}

fn value(rng: &mut Rng, schema: &Value) -> Value {
    if schema["x-kubernetes-int-or-string"] == true {
        return rng.pick(&[json!(1), json!("1"), json!("50%")]).clone();
    }
    match schema["type"].as_str() {
        Some("string") => (*rng.pick(&["x", "y", ""])).into(),
        Some("integer") => rng.below(3).into(),
        Some("number") => rng.pick(&[json!(0), json!(1.5), json!(2)]).clone(),
        Some("boolean") => rng.chance(50).into(),
        Some("array") => {
            // items keep their keys where the list is atomic for a while: a server lets nothing else become a map again
            let keys = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .or(schema["x-keys"].as_array());
            match (schema["x-kubernetes-list-type"].as_str(), keys) {
                (Some("set"), _) => match schema["items"]["type"].as_str() {
                    Some("string") => rng.some(&["s", "t", "u"]).into(),
                    _ => rng.some(&[1, 2, 3]).into(),
                },
                (_, Some(keys)) => {
                    let defaulted = schema["items"]["properties"]["no"].get("default").is_some();
                    let ids = rng.some(&[("i", 1), ("j", 1), ("i", 2), ("k", 2)]);
                    let mut items = Vec::new();
                    for (id, number) in ids {
                        let mut item = value(rng, &schema["items"]);
                        if !item.is_object() {
                            item = json!({});
                        }
                        item["id"] = id.into();
                        if keys.len() == 2 {
                            item["no"] = number.into();
                            if defaulted && number == 1 && rng.chance(50) {
                                item.as_object_mut().expect("a map").remove("no");
                            }
                        } else if items
                            .iter()
                            .any(|one: &Value| one["id"] == id && !rng.chance(3))
                        {
                            continue;
                        }
                        items.push(item);
                    }
                    items.into()
                }
                _ => (0..rng.below(3))
                    .map(|_| value(rng, &schema["items"]))
                    .collect(),
            }
        }
        _ => {
            let mut out = Map::new();
            if let Some(fields) = schema["properties"].as_object() {
                for (name, field) in fields {
                    if rng.chance(55) {
                        // no item of a list is null: a server refuses that
                        let made = match rng.chance(1) {
                            true => Value::Null,
                            false => value(rng, field),
                        };
                        out.insert(name.clone(), made);
                    }
                }
            } else if schema["additionalProperties"].is_object() {
                for key in rng.some(&["k", "l", "m"]) {
                    out.insert(key.to_owned(), value(rng, &schema["additionalProperties"]));
                }
            } else {
                for key in rng.some(&["free", "wild"]) {
                    let any = [json!(1), json!({"x": 1}), json!([1, 2]), json!("s")];
                    out.insert(key.to_owned(), rng.pick(&any).clone());
                }
            }
            out.into()
        }
    }
}
