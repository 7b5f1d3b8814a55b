//! Identifiers and the nouns of Roadstead as Rust types.
