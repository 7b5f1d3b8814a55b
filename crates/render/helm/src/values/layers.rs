//! Values and where they come from: files, inline values, and what was set by `--set` and its relatives.

use serde_json::{Map, Value};

use super::strvals::{self, Style};
use crate::Dialect;
use crate::diag::{Code, Diagnostic, Diagnostics, Place};
use crate::load::unread;
use crate::setby::line_of;
use crate::yaml::{self, Failure};

/// One source of values; later ones win over earlier ones, as Helm orders them.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// A values file.
    File {
        /// What messages call it.
        name: String,
        /// What is in it.
        text: Vec<u8>,
    },
    /// Values as data, such as a Cluster's own. Numbers count as floats, as if they had come from a file.
    Inline {
        /// What messages call it.
        name: String,
        /// The values.
        values: Map<String, Value>,
    },
    /// What a `--set-json` says.
    SetJson(String),
    /// What a `--set` says.
    Set(String),
    /// What a `--set-string` says.
    SetString(String),
    /// What a `--set-file` says, with the files that it may name.
    SetFile {
        /// `path.of.value=name`.
        text: String,
        /// The files by their names.
        files: std::collections::BTreeMap<String, String>,
    },
    /// What a `--set-literal` says.
    SetLiteral(String),
}

impl Layer {
    /// What messages call this layer.
    pub fn name(&self) -> String {
        match self {
            Self::File { name, .. } | Self::Inline { name, .. } => name.clone(),
            Self::SetJson(text) => format!("--set-json {text}"),
            Self::Set(text) => format!("--set {text}"),
            Self::SetString(text) => format!("--set-string {text}"),
            Self::SetFile { text, .. } => format!("--set-file {text}"),
            Self::SetLiteral(text) => format!("--set-literal {text}"),
        }
    }
}

impl Layer {
    /// Where this layer sets a path, if it does.
    pub(crate) fn sets(&self, path: &str) -> Option<Place> {
        let place = |line| Place {
            file: self.name(),
            line,
            column: 0,
        };
        match self {
            Self::File { text, .. } => line_of(text, path).map(place),
            Self::Inline { values, .. } => {
                let mut at = values;
                let mut names = path.split('.').peekable();
                while let Some(name) = names.next() {
                    let value = at.get(name)?;
                    if names.peek().is_none() {
                        return Some(place(0));
                    }
                    at = value.as_object()?;
                }
                None
            }
            Self::SetJson(text)
            | Self::Set(text)
            | Self::SetString(text)
            | Self::SetLiteral(text)
            | Self::SetFile { text, .. } => {
                // to set something in a value is to set it
                let set = |part: &str| {
                    let key = part.split('=').next().unwrap_or("").trim();
                    let inside = key.strip_prefix(path);
                    inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                text.split(',').any(set).then(|| place(0))
            }
        }
    }
}

/// Reads a values file: all its documents in Helm 4, the first in Helm 3.
pub(crate) fn read(bytes: &[u8], dialect: Dialect) -> Result<Map<String, Value>, Failure> {
    if dialect.is_3() {
        return yaml::read_map(bytes);
    }
    let mut values = Map::new();
    for document in documents(bytes)? {
        let read = yaml::read_map(&document.text).map_err(|mut failure| {
            failure.helm = format!("cannot unmarshal yaml document: {}", failure.helm);
            if failure.line > 0 {
                failure.line += document.line;
            }
            failure
        })?;
        merge(&mut values, read);
    }
    Ok(values)
}

/// One document of a values file.
struct Document {
    text: Vec<u8>,
    /// How many lines stand before it.
    line: usize,
}

/// Cuts a values file at lines of `---`, which may be followed by a comment only.
fn documents(bytes: &[u8]) -> Result<Vec<Document>, Failure> {
    let mut out = Vec::new();
    let mut current = Document {
        text: Vec::new(),
        line: 0,
    };
    let mut lines = bytes.split(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if lines.peek().is_none() && line.is_empty() {
            break;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(behind) = line.strip_prefix(b"---") {
            let behind = String::from_utf8_lossy(behind);
            let behind = behind.trim();
            if !behind.is_empty() && !behind.starts_with('#') {
                return Err(Failure {
                    helm: format!(
                        "error reading yaml document: invalid Yaml document separator: {behind}"
                    ),
                    message: format!("nothing but a comment may follow ---, not {behind:?}"),
                    line: number + 1,
                    column: 4,
                });
            }
            if !current.text.is_empty() {
                out.push(std::mem::replace(
                    &mut current,
                    Document {
                        text: Vec::new(),
                        line: number + 1,
                    },
                ));
                continue;
            }
        }
        if current.text.is_empty() {
            current.line = number;
        }
        current.text.extend_from_slice(line);
        current.text.push(b'\n');
    }
    if !current.text.is_empty() {
        out.push(current);
    }
    Ok(out)
}

/// Merges maps into maps; anything else of the newer values replaces what was there.
pub(crate) fn merge(values: &mut Map<String, Value>, newer: Map<String, Value>) {
    for (key, value) in newer {
        match (values.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                values.insert(key, value);
            }
        }
    }
}

/// Puts the layers together in Helm's order: files first, then `--set-json`, `--set`, `--set-string`, `--set-file`,
/// `--set-literal`, whatever order they are given in.
pub fn combine(layers: &[Layer], dialect: Dialect) -> Result<Map<String, Value>, Diagnostics> {
    let mut values = Map::new();
    let mut ordered: Vec<(usize, &Layer)> = layers
        .iter()
        .map(|layer| {
            let rank = match layer {
                Layer::File { .. } | Layer::Inline { .. } => 0,
                Layer::SetJson(_) => 1,
                Layer::Set(_) => 2,
                Layer::SetString(_) => 3,
                Layer::SetFile { .. } => 4,
                Layer::SetLiteral(_) => 5,
            };
            (rank, layer)
        })
        .collect();
    ordered.sort_by_key(|&(rank, _)| rank);
    for (_, layer) in ordered {
        add(&mut values, layer, dialect)?;
    }
    Ok(values)
}

fn add(
    values: &mut Map<String, Value>,
    layer: &Layer,
    dialect: Dialect,
) -> Result<(), Diagnostics> {
    let set = |values: &mut _, text: &str, style, flag: &str| {
        strvals::parse_into(text, values, style, dialect)
            .map_err(|why| unset(layer, &why, format!("failed parsing {flag} data: {why}")))
    };
    match layer {
        Layer::File { name, text } => {
            let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            let read = read(text, dialect).map_err(|failure| {
                unread(
                    Code::Values,
                    &format!("failed to parse {name}"),
                    failure,
                    name,
                    text,
                )
            })?;
            merge(values, read);
            Ok(())
        }
        Layer::Inline { values: inline, .. } => {
            let Value::Object(inline) = strvals::floats(Value::Object(inline.clone())) else {
                return Ok(());
            };
            merge(values, inline);
            Ok(())
        }
        Layer::SetJson(text) => {
            let trimmed = text.trim();
            if dialect.is_4() && trimmed.starts_with('{') {
                let read: Map<String, Value> = serde_json::from_str(trimmed).map_err(|error| {
                    let helm = format!("failed parsing --set-json data JSON: {text}");
                    unset(layer, &error.to_string(), helm)
                })?;
                let Value::Object(read) = strvals::floats(Value::Object(read)) else {
                    return Ok(());
                };
                merge(values, read);
                return Ok(());
            }
            strvals::parse_into(text, values, Style::Json, dialect).map_err(|why| {
                unset(
                    layer,
                    &why,
                    format!("failed parsing --set-json data {text}"),
                )
            })
        }
        Layer::Set(text) => set(values, text, Style::Typed, "--set"),
        Layer::SetString(text) => set(values, text, Style::Strings, "--set-string"),
        Layer::SetLiteral(text) => set(values, text, Style::Literal, "--set-literal"),
        Layer::SetFile { text, files } => {
            let read = |name: &str| {
                files
                    .get(name)
                    .cloned()
                    .ok_or_else(|| format!("open {name}: no such file or directory"))
            };
            strvals::parse_files_into(text, values, &read, dialect).map_err(|why| {
                unset(
                    layer,
                    &why,
                    format!("failed parsing --set-file data: {why}"),
                )
            })
        }
    }
}

fn unset(layer: &Layer, why: &str, helm: String) -> Diagnostics {
    Diagnostic::new(Code::Values, why, helm)
        .at(layer.name(), 0, 0)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_merged_in_helm_4_and_the_first_counts_in_helm_3() {
        let text = b"a: 1\nb: {c: 1}\n---\nb: {d: 2}\n--- # more\na: null\n";
        assert_eq!(
            Value::Object(read(text, Dialect::HELM_4).unwrap()),
            json!({"a": null, "b": {"c": 1.0, "d": 2.0}})
        );
        assert_eq!(
            Value::Object(read(text, Dialect::HELM_3).unwrap()),
            json!({"a": 1.0, "b": {"c": 1.0}})
        );
        let failure = read(b"a: 1\n--- b: 2\n", Dialect::HELM_4).unwrap_err();
        assert_eq!(
            failure.helm,
            "error reading yaml document: invalid Yaml document separator: b: 2"
        );
        assert_eq!(failure.line, 2);
        let failure = read(b"---\na: 1\n---\nb: 1\nc: d: e\n", Dialect::HELM_4).unwrap_err();
        assert_eq!(failure.line, 5);
    }

    #[test]
    fn layers_come_in_helms_order() {
        let layers = [
            Layer::Set("a=1,x.v=set".to_owned()),
            Layer::File {
                name: "one.yaml".to_owned(),
                text: b"a: 2\nx: {v: file, z: file}\nw: 3".to_vec(),
            },
            Layer::SetLiteral("l=a,b=c".to_owned()),
            Layer::SetString("a=7".to_owned()),
            Layer::SetJson("{\"x\": {\"j\": 1}}".to_owned()),
        ];
        assert_eq!(
            Value::Object(combine(&layers, Dialect::HELM_4).unwrap()),
            json!({"a": "7", "x": {"v": "set", "z": "file", "j": 1.0}, "w": 3.0, "l": "a,b=c"})
        );
        let error = combine(&[Layer::Set("a".to_owned())], Dialect::HELM_4).unwrap_err();
        assert_eq!(
            error.helm_compat(),
            "failed parsing --set data: key \"a\" has no value"
        );
    }
}
