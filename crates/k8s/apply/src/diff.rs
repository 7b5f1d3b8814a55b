//! What differs between two objects, for people.

use serde_json::Value;

use crate::managed;
use crate::schema::TypeRef;
use crate::typed;

/// Lists the paths of fields that differ between two objects, list items by their keys; managedFields are left out.
pub fn changed_paths(a: &Value, b: &Value, schema: &TypeRef) -> Vec<String> {
    let (a, b) = (managed::without(a), managed::without(b));
    let difference = typed::compare(&a, &b, schema.clone().literal().ty());
    difference
        .added
        .union(&difference.modified)
        .union(&difference.removed)
        .paths()
        .into_iter()
        .map(|path| path.to_string())
        .collect()
}
