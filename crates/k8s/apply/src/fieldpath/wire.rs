//! FieldsV1: how Kubernetes writes a set of paths as JSON.

use serde_json::{Map, Value};

use super::element::ElementError;
use super::{FieldSet, PathElement};

/// A value that is no FieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A level of it is no map.
    #[error("managed fields hold {0} where a map belongs")]
    NotAMap(String),
    /// A key of it is no path element.
    #[error(transparent)]
    Element(#[from] ElementError),
}

impl FieldSet {
    /// Writes the set as FieldsV1.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(self.encode(false))
    }

    fn encode(&self, member: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if member && !self.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for node in &self.nodes {
            map.insert(
                node.element.encode(),
                Value::Object(node.children.encode(node.member)),
            );
        }
        map
    }

    /// Reads FieldsV1.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsError> {
        let map = fields
            .as_object()
            .ok_or_else(|| FieldsError::NotAMap(fields.to_string()))?;
        let mut set = Self::new();
        for (key, below) in map {
            if key == "." {
                continue;
            }
            let children = Self::from_fields_v1(below)?;
            let member = children.is_empty() || below.get(".").is_some();
            set.push(PathElement::decode(key)?, member, children);
        }
        set.sort();
        Ok(set)
    }
}
