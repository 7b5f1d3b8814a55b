//! How much a build may take.

/// Bounds of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep kustomizations may lie in each other.
    pub depth: usize,
    /// How many kustomizations a build may read.
    pub kustomizations: usize,
    /// How many objects there may be at once.
    pub objects: usize,
    /// How large a file may be, in bytes.
    pub file_bytes: usize,
    /// How large all files may be that a build reads, in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            kustomizations: 1_000,
            objects: 50_000,
            file_bytes: 32 << 20,
            bytes: 256 << 20,
        }
    }
}
