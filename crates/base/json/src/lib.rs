//! Canonical JSON, strict parsing and digests.
//!
//! Everything that Roadstead addresses by content is hashed over *canonical bytes*: UTF-8, no white space, object
//! keys sorted by bytes, integers exact to `i64`/`u64`, every other number as the shortest decimal that reads back as
//! the same `f64`. Compression is never part of a digest. The test vectors in `tests/vectors.txt` pin the form.
//!
//! This crate does no I/O and keeps no state.

mod digest;
mod strict;

pub use digest::{Digest, DigestError, Hasher};
pub use serde_json::{Map, Number, Value, json};
pub use strict::{JsonError, parse_strict};

/// Writes a value in canonical form.
///
/// `serde_json` keeps object keys in a sorted map (its `preserve_order` feature must stay off in this workspace), and
/// writes numbers in their shortest form, so its compact form is the canonical one.
pub fn canonical(value: &Value) -> Vec<u8> {
    // A Value always serialises: its keys are strings and its numbers are finite.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Writes any serialisable value in canonical form, by way of [`Value`] so that keys are sorted.
pub fn canonical_of<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    Ok(canonical(&serde_json::to_value(value)?))
}
