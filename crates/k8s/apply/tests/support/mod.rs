//! Random objects from a seed, small enough that managers meet on the same fields.

#[allow(dead_code)]
pub(crate) mod shapes;

use serde_json::{Map, Value, json};

/// Numbers from a seed (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).expect("small")]
    }

    /// Some of the items, now and then in another order.
    pub(crate) fn some<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut out: Vec<T> = items.iter().filter(|_| self.chance(50)).cloned().collect();
        if self.chance(30) {
            out.reverse();
        }
        if self.chance(20) && out.len() > 1 {
            let last = out.pop().expect("two or more");
            out.insert(0, last);
        }
        out
    }
}

fn put(
    rng: &mut Rng,
    map: &mut Map<String, Value>,
    key: &str,
    make: impl FnOnce(&mut Rng) -> Value,
) {
    if rng.chance(50) {
        let value = match rng.below(60) {
            0 => Value::Null,
            _ => make(rng),
        };
        map.insert(key.to_owned(), value);
    }
}

pub(crate) fn texts(rng: &mut Rng, keys: &[&str]) -> Value {
    let keys = rng.some(keys);
    let map: Map<String, Value> = keys
        .into_iter()
        .map(|key| (key.to_owned(), (*rng.pick(&["a", "b", ""])).into()))
        .collect();
    map.into()
}

fn metadata(rng: &mut Rng) -> Value {
    let mut meta = Map::new();
    meta.insert("name".to_owned(), "it".into());
    meta.insert("namespace".to_owned(), "here".into());
    put(rng, &mut meta, "labels", |rng| {
        texts(rng, &["app", "tier", "app.kubernetes.io/name"])
    });
    put(rng, &mut meta, "annotations", |rng| {
        texts(rng, &["note", "example.com/<x>&y"])
    });
    put(rng, &mut meta, "finalizers", |rng| {
        rng.some(&["x.io/a", "x.io/b", "x.io/c"]).into()
    });
    put(rng, &mut meta, "ownerReferences", |rng| {
        let owners = rng.some(&["u1", "u2"]);
        owners
            .into_iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": rng.pick(&["n", "m"]), "uid": uid}))
            .collect()
    });
    meta.into()
}

fn container(rng: &mut Rng, name: &str) -> Value {
    let mut out = Map::new();
    out.insert("name".to_owned(), name.into());
    put(rng, &mut out, "image", |rng| {
        (*rng.pick(&["i:1", "i:2"])).into()
    });
    put(rng, &mut out, "command", |rng| {
        rng.some(&["sh", "-c", "run"]).into()
    });
    put(rng, &mut out, "env", |rng| {
        let names = rng.some(&["A", "B", "C"]);
        names
            .into_iter()
            .map(|name| match rng.below(3) {
                0 => json!({"name": name, "valueFrom": {"configMapKeyRef": {"name": "c", "key": rng.pick(&["k", "l"])}}}),
                _ => json!({"name": name, "value": rng.pick(&["1", "2", ""])}),
            })
            .collect()
    });
    put(rng, &mut out, "ports", |rng| {
        let ports = rng.some(&[80, 443, 53]);
        ports
            .into_iter()
            .map(|port| {
                let mut out = json!({"containerPort": port});
                if rng.chance(50) {
                    out["protocol"] = "TCP".into();
                }
                if rng.chance(50) {
                    out["name"] = (*rng.pick(&["p", "q"])).into();
                }
                out
            })
            .collect()
    });
    put(rng, &mut out, "resources", |rng| {
        let mut out = Map::new();
        put(
            rng,
            &mut out,
            "limits",
            |rng| json!({"cpu": rng.pick(&["1", "500m"])}),
        );
        put(rng, &mut out, "requests", |rng| texts(rng, &[]));
        out.into()
    });
    put(rng, &mut out, "volumeMounts", |rng| {
        let paths = rng.some(&["/a", "/b"]);
        paths
            .into_iter()
            .map(|path| json!({"name": rng.pick(&["v", "w"]), "mountPath": path}))
            .collect()
    });
    put(
        rng,
        &mut out,
        "readinessProbe",
        |rng| json!({"httpGet": {"port": *rng.pick(&[80, 81]), "path": "/"}, "periodSeconds": rng.below(3)}),
    );
    out.into()
}

fn pod_spec(rng: &mut Rng) -> Value {
    let mut out = Map::new();
    put(rng, &mut out, "containers", |rng| {
        let names = rng.some(&["a", "b", "c", "d"]);
        names.into_iter().map(|name| container(rng, name)).collect()
    });
    put(rng, &mut out, "volumes", |rng| {
        let names = rng.some(&["v", "w"]);
        names
            .into_iter()
            .map(|name| match rng.below(2) {
                0 => json!({"name": name, "emptyDir": {}}),
                _ => json!({"name": name, "configMap": {"name": rng.pick(&["c", "d"])}}),
            })
            .collect()
    });
    put(rng, &mut out, "nodeSelector", |rng| {
        texts(rng, &["zone", "disk"])
    });
    put(rng, &mut out, "tolerations", |rng| {
        let keys = rng.some(&["k1", "k2"]);
        keys.into_iter()
            .map(|key| json!({"key": key, "operator": "Exists"}))
            .collect()
    });
    put(rng, &mut out, "serviceAccountName", |rng| {
        (*rng.pick(&["s", "t"])).into()
    });
    put(rng, &mut out, "hostNetwork", |rng| rng.chance(50).into());
    put(
        rng,
        &mut out,
        "securityContext",
        |rng| json!({"runAsUser": rng.below(2)}),
    );
    put(rng, &mut out, "imagePullSecrets", |rng| {
        let names = rng.some(&["x", "y"]);
        names
            .into_iter()
            .map(|name| json!({"name": name}))
            .collect()
    });
    put(rng, &mut out, "topologySpreadConstraints", |rng| {
        let keys = rng.some(&["zone", "host"]);
        keys.into_iter()
            .map(|key| json!({"topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "maxSkew": rng.below(2)}))
            .collect()
    });
    out.into()
}

fn conditions(rng: &mut Rng) -> Value {
    let types = rng.some(&["Ready", "Progressing"]);
    types
        .into_iter()
        .map(|name| json!({"type": name, "status": rng.pick(&["True", "False"])}))
        .collect()
}

/// Makes an object with a random part of its fields.
pub(crate) fn generate(rng: &mut Rng, api_version: &str, kind: &str) -> Value {
    let mut out = Map::new();
    out.insert("apiVersion".to_owned(), api_version.into());
    out.insert("kind".to_owned(), kind.into());
    out.insert("metadata".to_owned(), metadata(rng));
    match kind {
        "Deployment" => {
            let mut spec = Map::new();
            put(rng, &mut spec, "replicas", |rng| rng.below(3).into());
            put(
                rng,
                &mut spec,
                "selector",
                |rng| json!({"matchLabels": texts(rng, &["app", "tier"])}),
            );
            put(rng, &mut spec, "strategy", |rng| match rng.below(2) {
                0 => json!({"type": "Recreate"}),
                _ => json!({"rollingUpdate": {"maxSurge": rng.pick(&[json!(1), json!("25%")])}}),
            });
            let mut template = Map::new();
            put(
                rng,
                &mut template,
                "metadata",
                |rng| json!({"labels": texts(rng, &["app", "tier"])}),
            );
            template.insert("spec".to_owned(), pod_spec(rng));
            spec.insert("template".to_owned(), template.into());
            out.insert("spec".to_owned(), spec.into());
        }
        "Pod" => {
            out.insert("spec".to_owned(), pod_spec(rng));
        }
        "Service" => {
            let mut spec = Map::new();
            put(rng, &mut spec, "selector", |rng| {
                texts(rng, &["app", "tier"])
            });
            put(rng, &mut spec, "type", |rng| {
                (*rng.pick(&["ClusterIP", "NodePort"])).into()
            });
            put(rng, &mut spec, "externalIPs", |rng| {
                rng.some(&["1.1.1.1", "2.2.2.2"]).into()
            });
            put(rng, &mut spec, "ports", |rng| {
                let ports = rng.some(&[(80, "TCP"), (80, "UDP"), (443, "TCP")]);
                ports
                    .into_iter()
                    .map(|(port, protocol)| {
                        let mut out = json!({"port": port, "targetPort": rng.pick(&[json!(8080), json!("web")])});
                        if protocol == "UDP" || rng.chance(50) {
                            out["protocol"] = protocol.into();
                        }
                        out
                    })
                    .collect()
            });
            out.insert("spec".to_owned(), spec.into());
        }
        "ConfigMap" => {
            put(rng, &mut out, "data", |rng| texts(rng, &["a", "b", "c"]));
            put(rng, &mut out, "immutable", |rng| rng.chance(50).into());
        }
        _ => {
            out.insert("spec".to_owned(), widget_spec(rng));
        }
    }
    if matches!(kind, "Deployment" | "Pod" | "Service" | "Widget") && rng.chance(30) {
        out.insert("status".to_owned(), json!({"conditions": conditions(rng)}));
    }
    out.into()
}

fn widget_spec(rng: &mut Rng) -> Value {
    let mut spec = Map::new();
    put(rng, &mut spec, "size", |rng| {
        rng.pick(&[json!(1), json!(2), json!(1.5)]).clone()
    });
    put(rng, &mut spec, "tags", |rng| {
        rng.some(&["a", "b", "c"]).into()
    });
    put(rng, &mut spec, "numbers", |rng| rng.some(&[1, 2, 3]).into());
    put(rng, &mut spec, "plain", |rng| rng.some(&["a", "b"]).into());
    put(rng, &mut spec, "whole", |rng| texts(rng, &["a", "b"]));
    put(rng, &mut spec, "port", |rng| {
        rng.pick(&[json!(1), json!("one")]).clone()
    });
    put(rng, &mut spec, "free", |rng| {
        let mut out = Map::new();
        put(rng, &mut out, "x", |rng| texts(rng, &["a", "b"]));
        put(rng, &mut out, "y", |rng| rng.some(&[1, 2]).into());
        put(rng, &mut out, "z", |rng| {
            rng.pick(&[json!(1), json!({"a": 1}), json!([]), json!({})])
                .clone()
        });
        out.into()
    });
    put(rng, &mut spec, "limits", |rng| {
        let keys = rng.some(&["k", "l"]);
        let map: Map<String, Value> = keys
            .into_iter()
            .map(|key| (key.to_owned(), texts(rng, &["a", "b"])))
            .collect();
        map.into()
    });
    put(rng, &mut spec, "rules", |rng| {
        let keys = rng.some(&[("a", true), ("a", false), ("b", true)]);
        keys.into_iter()
            .map(|(host, secure)| {
                let mut out = json!({"host": host, "paths": rng.some(&["/", "/x"])});
                // the default is true
                if !secure || rng.chance(50) {
                    out["secure"] = secure.into();
                }
                if rng.chance(50) {
                    out["inner"] = rng
                        .some(&["p", "q"])
                        .into_iter()
                        .map(|id| json!({"id": id, "v": rng.below(2)}))
                        .collect();
                }
                out
            })
            .collect()
    });
    spec.into()
}

/// The structural schema of the custom kind that the tests use.
pub(crate) fn widget_schema() -> Value {
    let string = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "apiVersion": string, "kind": string, "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "size": {"type": "number"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": string},
            "numbers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "plain": {"type": "array", "items": string},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": string},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "limits": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": string}},
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host", "secure"],
                "items": {"type": "object", "required": ["host"], "properties": {
                    "host": string, "secure": {"type": "boolean", "default": true},
                    "paths": {"type": "array", "items": string},
                    "inner": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                        "items": {"type": "object", "properties": {"id": string, "v": {"type": "integer"}}}}}}}}},
        "status": {"type": "object", "properties": {"conditions": {"type": "array",
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "properties": {"type": string, "status": string}}}}}}})
}

/// Changes an object: takes over parts of another one, drops fields, reorders lists.
pub(crate) fn mutate(rng: &mut Rng, object: &Value, other: &Value) -> Value {
    let mut out = object.clone();
    blend(rng, &mut out, other, 0);
    out
}

fn blend(rng: &mut Rng, target: &mut Value, other: &Value, depth: usize) {
    match (target, other) {
        (Value::Object(target), Value::Object(other)) => {
            let keys: Vec<String> = target.keys().chain(other.keys()).cloned().collect();
            for key in keys {
                if matches!(
                    key.as_str(),
                    "apiVersion" | "kind" | "name" | "uid" | "managedFields" | "namespace"
                ) {
                    continue;
                }
                match (target.get_mut(&key), other.get(&key)) {
                    (Some(target), Some(other)) if rng.chance(60) => {
                        blend(rng, target, other, depth + 1)
                    }
                    (Some(_), None) if depth > 0 && rng.chance(25) => {
                        target.remove(&key);
                    }
                    (None, Some(other)) if rng.chance(50) => {
                        target.insert(key, other.clone());
                    }
                    _ => {}
                }
            }
        }
        (Value::Array(target), Value::Array(other)) => match rng.below(3) {
            0 => target.reverse(),
            1 => {
                target.pop();
            }
            // an item that stands twice
            2 if rng.chance(5) && !target.is_empty() => target.push(target[0].clone()),
            _ => *target = other.clone(),
        },
        (target, other) => *target = other.clone(),
    }
}

/// Makes a strategic merge patch, with directives here and there.
#[allow(dead_code)]
pub(crate) fn strategic_patch(rng: &mut Rng, api_version: &str, kind: &str) -> Value {
    let mut patch = generate(rng, api_version, kind);
    direct(rng, &mut patch);
    if rng.chance(20) {
        let gone = rng.some(&["x.io/a", "x.io/b"]);
        // a patch that adds and deletes the same has no one meaning
        if let Some(Value::Array(kept)) = patch["metadata"].get_mut("finalizers") {
            kept.retain(|item| !gone.iter().any(|gone| item == gone));
        }
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = gone.into();
    }
    patch
}

fn direct(rng: &mut Rng, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|value| direct(rng, value));
            if rng.chance(2) && !map.contains_key("metadata") && !map.contains_key("name") {
                map.insert(
                    "$patch".to_owned(),
                    (*rng.pick(&["replace", "delete"])).into(),
                );
            }
            if rng.chance(2) {
                let keys: Vec<Value> = map.keys().map(|key| key.as_str().into()).collect();
                map.insert("$retainKeys".to_owned(), keys.into());
            }
            for list in ["containers", "volumes", "env"] {
                if let Some(Value::Array(items)) = map.get(list)
                    && !items.is_empty()
                    && rng.chance(30)
                {
                    let mut order: Vec<Value> = items
                        .iter()
                        .filter_map(|item| Some(json!({"name": item.get("name")?})))
                        .collect();
                    if rng.chance(40) {
                        order.insert(0, json!({"name": "c"}));
                        order.dedup();
                    }
                    map.insert(format!("$setElementOrder/{list}"), order.into());
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|value| direct(rng, value));
            let named = items.first().is_some_and(|item| item.get("name").is_some());
            if named && rng.chance(15) {
                items.push(json!({"name": "b", "$patch": "delete"}));
            }
            if named && rng.chance(3) {
                // at the end, Kubernetes takes it for an item out of order
                items.insert(0, json!({"$patch": "replace"}));
            }
        }
        _ => {}
    }
}
