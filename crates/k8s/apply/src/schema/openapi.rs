//! OpenAPI documents made from a schema.

use std::collections::BTreeSet;

use k8s_object::Gvk;
use serde_json::{Map, Value, json};

use super::{ListKind, Scalar, Schema, Shape, TypeId, TypeRef};

/// Makes the OpenAPI v3 components of a group and version: every kind of it and all that these refer to.
///
/// The caller adds `paths`; each kind carries `x-kubernetes-group-version-kind`.
pub fn openapi_v3(schema: &Schema, group: &str, version: &str) -> Value {
    let mut writer = Writer {
        schema,
        todo: Vec::new(),
        seen: BTreeSet::new(),
        out: Map::new(),
    };
    for (gvk, id) in &schema.kinds {
        if gvk.group == group && gvk.version == version {
            writer.want(*id);
        }
    }
    writer.finish();
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "components": {"schemas": writer.out},
    })
}

/// Makes the OpenAPI v3 schemas of one type and all that it refers to, by component name; the type's own name is `name`.
pub fn openapi_v3_type(ty: &TypeRef, name: &str, gvk: Option<&Gvk>) -> Map<String, Value> {
    let mut writer = Writer {
        schema: &ty.schema,
        todo: Vec::new(),
        seen: BTreeSet::new(),
        out: Map::new(),
    };
    let mut own = writer.inline(ty.id);
    if let (Some(own), Some(gvk)) = (own.as_object_mut(), gvk) {
        own.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!([tag(gvk)]),
        );
    }
    writer.finish();
    writer.out.insert(name.to_owned(), own);
    writer.out
}

fn tag(gvk: &Gvk) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

/// Returns the name that Kubernetes gives to a type of the table in its documents.
fn component(name: &str) -> String {
    let prefix = match name.split('.').next() {
        Some("meta") => "io.k8s.apimachinery.pkg.apis.",
        Some("apiextensions") => "io.k8s.apiextensions-apiserver.pkg.apis.",
        Some("apiregistration") => "io.k8s.kube-aggregator.pkg.apis.",
        Some("version") => "io.k8s.apimachinery.pkg.",
        _ => "io.k8s.api.",
    };
    format!("{prefix}{name}")
}

struct Writer<'a> {
    schema: &'a Schema,
    todo: Vec<(TypeId, String)>,
    seen: BTreeSet<String>,
    out: Map<String, Value>,
}

impl Writer<'_> {
    fn want(&mut self, id: TypeId) -> Option<String> {
        let name = component(self.schema.types[id.0 as usize].name.as_deref()?);
        if self.seen.insert(name.clone()) {
            self.todo.push((id, name.clone()));
        }
        Some(name)
    }

    fn finish(&mut self) {
        while let Some((id, name)) = self.todo.pop() {
            let mut schema = self.inline(id);
            let kinds: Vec<Value> = self
                .schema
                .kinds
                .iter()
                .filter(|(_, kind)| **kind == id)
                .map(|(gvk, _)| tag(gvk))
                .collect();
            if let (false, Some(map)) = (kinds.is_empty(), schema.as_object_mut()) {
                map.insert(
                    "x-kubernetes-group-version-kind".to_owned(),
                    Value::Array(kinds),
                );
            }
            self.out.insert(name, schema);
        }
    }

    fn refer(&mut self, id: TypeId) -> Value {
        match self.want(id) {
            Some(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
            None => self.inline(id),
        }
    }

    fn inline(&mut self, id: TypeId) -> Value {
        match self.schema.shape(id) {
            Shape::Scalar(scalar) => of_scalar(*scalar),
            Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
            Shape::List { item, kind } => {
                let mut out = json!({"type": "array", "items": self.refer(*item)});
                match kind {
                    ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
                    ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
                    ListKind::Map(keys) => {
                        out["x-kubernetes-list-type"] = "map".into();
                        out["x-kubernetes-list-map-keys"] =
                            keys.iter().map(|key| Value::from(&**key)).collect();
                    }
                }
                out
            }
            Shape::Map { element, atomic } => {
                let mut out = json!({"type": "object"});
                if !matches!(self.schema.shape(*element), Shape::Any) {
                    out["additionalProperties"] = self.refer(*element);
                }
                if *atomic {
                    out["x-kubernetes-map-type"] = "atomic".into();
                }
                out
            }
            Shape::Struct {
                fields,
                rest,
                atomic,
            } => {
                let mut properties = Map::new();
                for field in fields {
                    let mut value = self.refer(field.ty);
                    if value.get("$ref").is_some() && field.default.is_some() {
                        value = json!({"allOf": [value]});
                    }
                    if let Some(map) = value.as_object_mut() {
                        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
                        if let Some(default) = &field.default {
                            put("default", default.clone());
                        }
                        let strategies: Vec<&str> = [
                            (field.patch.merge, "merge"),
                            (field.patch.replace, "replace"),
                            (field.patch.retain_keys, "retainKeys"),
                        ]
                        .into_iter()
                        .filter_map(|(on, name)| on.then_some(name))
                        .collect();
                        if !strategies.is_empty() {
                            put("x-kubernetes-patch-strategy", strategies.join(",").into());
                        }
                        if let Some(key) = &field.merge_key {
                            put("x-kubernetes-patch-merge-key", Value::from(&**key));
                        }
                    }
                    properties.insert(field.name.to_string(), value);
                }
                let mut out = json!({"type": "object", "properties": properties});
                let required: Vec<Value> = fields
                    .iter()
                    .filter(|field| field.required)
                    .map(|field| Value::from(&*field.name))
                    .collect();
                if !required.is_empty() {
                    out["required"] = Value::Array(required);
                }
                if *atomic {
                    out["x-kubernetes-map-type"] = "atomic".into();
                }
                if rest.is_some() {
                    out["x-kubernetes-preserve-unknown-fields"] = true.into();
                }
                out
            }
        }
    }
}

fn of_scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::String => json!({"type": "string"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
        Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
        Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
        Scalar::Double => json!({"type": "number", "format": "double"}),
        Scalar::Bool => json!({"type": "boolean"}),
        Scalar::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Scalar::Time | Scalar::MicroTime => json!({"type": "string", "format": "date-time"}),
        Scalar::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
    }
}
