//! YAML read and written as Kubernetes' own library (`sigs.k8s.io/yaml`) does, with the place of every mistake.
//!
//! Reading resolves scalars by YAML 1.1 (`yes` is true, `017` is 15), turns keys into strings as that library does,
//! understands anchors and merge keys, and yields JSON values. It is stricter in three ways: a key that stands twice is
//! an error, aliases may expand to a bounded size only, and nesting has a bound. Writing is what kubectl prints. The
//! library itself is the oracle of the tests (`oracle/yaml`).
//!
//! This crate does no I/O and keeps no state.

mod any;
mod budget;
mod decode;
mod decode3;
mod emit;
mod error;
pub mod go;
mod input;
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
