//! YAML read and written as Go's libraries do, with the place of every mistake.
//!
//! Scanner, parser and emitter follow libyaml's rules as go-yaml has them, so that what it accepts, refuses and writes is
//! what this crate does. There are two ways in:
//!
//! - [`parse_documents`], [`parse_file`] and [`to_string`] are for our own files: all documents, scalars as Kubernetes
//!   (`sigs.k8s.io/yaml` over go-yaml version 2) resolves them, and stricter in three ways: a key that stands twice is an
//!   error, aliases may expand to a bounded size only, and nesting has a bound. A mistake has file, line, column and an excerpt.
//! - [`go`] is what a Go program sees: the first document, in the mode that the program chose, with Go's own error texts; and
//!   a [`go::Writer`] for both versions of go-yaml, event by event.
//!
//! The libraries themselves are the oracle of the tests (`oracle/yaml`). Comments are skipped; tokens carry their style
//! and marks. This crate does no I/O and keeps no state.

mod any;
mod budget;
mod decode;
mod decode3;
mod emit;
mod error;
pub mod go;
mod input;
mod node;
mod number;
mod parse;
mod problem;
mod resolve;
mod scan;
mod syntax;
mod time;
mod tree;

pub use base_json::Value;
pub use error::{GoError, YamlError};

/// How deep maps and lists may nest; one level less than JSON readers commonly accept.
pub const MAX_DEPTH: usize = 120;

/// Writes a value as a YAML document, ended by a line break, as kubectl prints it: block style, sorted keys, quotes only
/// where they are needed.
///
/// What [`go::to_yaml`] refuses is written all the same, and what it writes so that it would not read back (a key `<<`)
/// is written in quotes.
pub fn to_string(value: &Value) -> String {
    emit::printed(value)
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// The line that its content starts in, from 1.
    pub line: usize,
    /// Its number in the file, from 0; empty documents count.
    pub index: usize,
}

/// Reads every document of a YAML text. Empty documents are left out.
pub fn parse_documents(text: &str, file_name: &str) -> Result<Vec<Document>, YamlError> {
    decode::documents(text, file_name)
}

/// Reads a file by its name: `*.json` as one strict JSON value, anything else as YAML.
pub fn parse_file(bytes: &[u8], file_name: &str) -> Result<Vec<Document>, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good
            .rsplit('\n')
            .next()
            .map_or(0, |last| last.chars().count())
            + 1;
        YamlError::new(&good, file_name, line, column, "text is not UTF-8")
    })?;
    if !file_name.ends_with(".json") {
        return parse_documents(text, file_name);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let value = base_json::parse_strict(text.as_bytes()).map_err(|error| {
        YamlError::new(
            text,
            file_name,
            error.line,
            error.column.max(1),
            error.message,
        )
    })?;
    let before = text.len() - text.trim_start().len();
    Ok(vec![Document {
        value,
        line: text[..before].matches('\n').count() + 1,
        index: 0,
    }])
}
