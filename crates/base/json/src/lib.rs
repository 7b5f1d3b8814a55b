//! Canonical JSON, strict parsing and digests.
