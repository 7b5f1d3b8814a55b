//! The patches that do not track ownership: JSON patch, merge patch, strategic merge patch.

mod json;
mod order;
mod strategic;

pub use json::{json_patch, merge_patch};
pub use strategic::strategic_merge;

/// A patch that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The JSON patch is no list of operations. (400)
    #[error("failed to read the JSON patch: {0}")]
    JsonSyntax(String),
    /// An operation failed: a missing path, a `test` that does not hold, copies beyond all bounds. (422)
    #[error("failed to apply operation {operation} of the JSON patch: {problem}")]
    JsonOperation {
        /// The place of the operation.
        operation: usize,
        /// Why.
        problem: String,
    },
    /// A JSON patch has too many operations. (413)
    #[error("the JSON patch has {0} operations, more than 10000")]
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
