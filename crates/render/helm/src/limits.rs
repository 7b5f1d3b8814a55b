//! How much a chart may take, so that a hostile one cannot stop the hub.

/// Bounds of loading, compiling and rendering. Each has an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file of a chart; Helm's own bound.
    pub file_bytes: u64,
    /// Unpacked bytes of one archive; Helm's own bound.
    pub archive_bytes: u64,
    /// Unpacked bytes of a chart with all charts that lie in it, packed or not.
    pub total_bytes: u64,
    /// Files of a chart with all charts that lie in it.
    pub files: usize,
    /// How deep charts may lie in charts.
    pub chart_depth: usize,
    /// Bytes of one rendered file.
    pub output_file_bytes: usize,
    /// Bytes of all rendered files.
    pub output_bytes: usize,
    /// Documents of all rendered files.
    pub documents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 5 << 20,
            archive_bytes: 100 << 20,
            total_bytes: 256 << 20,
            files: 20_000,
            chart_depth: 64,
            output_file_bytes: 32 << 20,
            output_bytes: 128 << 20,
            documents: 50_000,
        }
    }
}
