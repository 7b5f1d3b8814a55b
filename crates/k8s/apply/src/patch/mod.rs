//! The patches that do not track ownership: JSON patch, merge patch, strategic merge patch.

mod order;
mod strategic;

use serde_json::Value;

pub use strategic::strategic_merge;

/// A patch that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The JSON patch is no list of operations, or its copies grow beyond all bounds. (400)
    #[error("failed to read the JSON patch")]
    JsonSyntax(#[source] serde_json::Error),
    /// An operation failed: a missing path, a `test` that does not hold. (422)
    #[error("failed to apply the JSON patch")]
    JsonOperation(#[source] json_patch::PatchError),
    /// A JSON patch has too many operations. (413)
    #[error("the JSON patch has {0} operations, more than {MAX_OPERATIONS}")]
    TooManyOperations(usize),
    /// A directive of a strategic merge patch is wrong. (400)
    #[error("strategic merge patch, at {path}: {problem}")]
    Strategic {
        /// The place in the patch.
        path: String,
        /// What is wrong there.
        problem: String,
    },
}

/// Kubernetes' limit on the operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// Kubernetes' limit on what the copies of one JSON patch add up to.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a JSON patch (RFC 6902).
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    if let Some(operations) = patch.as_array()
        && operations.len() > MAX_OPERATIONS
    {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(PatchError::JsonSyntax)?;
    let mut out = target.clone();
    let mut copied = 0;
    for (index, operation) in patch.0.iter().enumerate() {
        // a few copies of copies would fill any memory
        if let json_patch::PatchOperation::Copy(copy) = operation {
            copied += out
                .pointer(copy.from.as_str())
                .map_or(0, |value| base_json::canonical(value).len());
            if copied > MAX_COPIED {
                let problem = format!("its copies hold more than {MAX_COPIED} bytes");
                return Err(PatchError::JsonSyntax(serde_json::Error::io(
                    std::io::Error::other(problem),
                )));
            }
        }
        json_patch::patch(&mut out, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = index;
            PatchError::JsonOperation(error)
        })?;
    }
    Ok(out)
}

/// Applies a merge patch (RFC 7386).
pub fn merge_patch(target: &Value, patch: &Value) -> Value {
    let mut out = target.clone();
    json_patch::merge(&mut out, patch);
    out
}
