//! Types from a custom resource definition's schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Field, ListKind, PatchStrategy, Scalar, Schema, Schemas, Shape, TypeId, TypeRef};

impl TypeRef {
    /// Makes the type of a custom kind from its structural schema (`openAPIV3Schema`).
    ///
    /// Its `apiVersion`, `kind` and `metadata` are those of every object.
    pub fn from_crd_schema(open_api: &Value) -> Self {
        let mut schema = Schema::default();
        let id = schema.structural(open_api, true);
        let mut ty = Arc::new(schema).refer(id);
        // a custom object has only what was written
        ty.fill = false;
        ty
    }
}

impl Schema {
    fn structural(&mut self, node: &Value, is_object: bool) -> TypeId {
        let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| node.get(key).and_then(Value::as_bool).unwrap_or_default();
        if flag("x-kubernetes-int-or-string") {
            return self.add(None, Shape::Scalar(Scalar::IntOrString));
        }
        let shape = match text("type") {
            "string" => Shape::Scalar(match text("format") {
                "byte" => Scalar::Bytes,
                _ => Scalar::String,
            }),
            "integer" => Shape::Scalar(match text("format") {
                "int32" => Scalar::Int32,
                _ => Scalar::Int64,
            }),
            "number" => Shape::Scalar(Scalar::Double),
            "boolean" => Shape::Scalar(Scalar::Bool),
            "array" => {
                let item = match node.get("items") {
                    Some(items) => self.structural(items, false),
                    None => self.add(None, Shape::Any),
                };
                let keys = node
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array);
                let kind = match (text("x-kubernetes-list-type"), keys) {
                    ("set", _) => ListKind::Set,
                    ("map", Some(keys)) => ListKind::Map(
                        keys.iter()
                            .filter_map(Value::as_str)
                            .map(Into::into)
                            .collect(),
                    ),
                    _ => ListKind::Atomic,
                };
                Shape::List { item, kind }
            }
            _ => self.structural_map(node, is_object),
        };
        self.add(None, shape)
    }

    fn structural_map(&mut self, node: &Value, is_object: bool) -> Shape {
        let flag = |key: &str| node.get(key).and_then(Value::as_bool).unwrap_or_default();
        let is_object = is_object || flag("x-kubernetes-embedded-resource");
        let open = flag("x-kubernetes-preserve-unknown-fields");
        let atomic = node.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic");
        let properties = node.get("properties").and_then(Value::as_object);
        let required: Vec<&str> = node
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if let (None, false, Some(element)) = (
            properties,
            is_object,
            node.get("additionalProperties")
                .filter(|value| value.is_object()),
        ) {
            let element = self.structural(element, false);
            return Shape::Map { element, atomic };
        }
        let allows_any = node.get("additionalProperties") == Some(&Value::Bool(true));
        if properties.is_none() && !is_object {
            if node.get("type").is_none() {
                return Shape::Any;
            }
            if open || allows_any {
                let element = self.add(None, Shape::Any);
                return Shape::Map { element, atomic };
            }
        }
        let mut fields = Vec::new();
        for (name, value) in properties.into_iter().flatten() {
            if is_object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let ty = self.structural(value, false);
            fields.push(Field {
                name: name.as_str().into(),
                ty,
                required: required.contains(&name.as_str()),
                present: false,
                default: value.get("default").cloned(),
                patch: PatchStrategy::default(),
                merge_key: None,
                kept: super::Kept::default(),
            });
        }
        if is_object {
            self.add_identity(&mut fields);
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let rest = (open || allows_any).then(|| self.add(None, Shape::Any));
        Shape::Struct {
            fields,
            rest,
            atomic,
        }
    }

    fn add_identity(&mut self, fields: &mut Vec<Field>) {
        let string = self.add(None, Shape::Scalar(Scalar::String));
        let mut put = |name: &str, ty| {
            fields.push(Field {
                name: name.into(),
                ty,
                required: false,
                present: false,
                default: None,
                patch: PatchStrategy::default(),
                merge_key: None,
                kept: super::Kept::default(),
            });
        };
        put("apiVersion", string);
        put("kind", string);
        let builtin = Schemas::builtin();
        if let Some(meta) = builtin.names.get("meta.v1.ObjectMeta") {
            let meta = self.import(builtin, *meta, &mut BTreeMap::new());
            put("metadata", meta);
        }
    }
}
