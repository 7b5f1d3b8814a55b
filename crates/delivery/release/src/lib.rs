//! Rendered objects to variants, digests and releases.
