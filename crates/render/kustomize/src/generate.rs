//! ConfigMaps and Secrets from literals, files and lists of variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;

use crate::diag::Fault;
use crate::kfile::{GeneratorArgs, GeneratorOptions};
use crate::node::{Kind, Node, Step, Style, Tag, Tree, tagged};
use crate::resource::{Behavior, Item};

/// Reads files for a generator.
pub(crate) type Load<'a> = &'a mut dyn FnMut(&str) -> Result<bytes::Bytes, Fault>;

/// A longer line of variables is not read by kustomize either.
const MAX_LINE: usize = 64 * 1024;

impl GeneratorOptions {
    /// Takes in what holds for all generators.
    pub(crate) fn merged(own: Option<&Self>, global: Option<&Self>) -> Option<Self> {
        let Some(global) = global else {
            return own.cloned();
        };
        let mut out = own.cloned().unwrap_or_default();
        for (name, value) in &global.labels {
            let known = out.labels.entry(name.clone());
            known.or_insert_with(|| value.clone());
        }
        for (name, value) in &global.annotations {
            let known = out.annotations.entry(name.clone());
            known.or_insert_with(|| value.clone());
        }
        out.disable_name_suffix_hash |= global.disable_name_suffix_hash;
        out.immutable |= global.immutable;
        Some(out)
    }
}

/// Makes an object.
pub(crate) fn make(args: &GeneratorArgs, secret: bool, load: Load<'_>) -> Step<Item> {
    let kind = if secret { "Secret" } else { "ConfigMap" };
    if args.name.is_empty() {
        return Err(Fault::new(format!("a generated {kind} needs a name")));
    }
    let mut tree = Tree::new(Node::new(Kind::Map));
    tree.set_text(&["apiVersion"], "v1")?;
    tree.set_text(&["kind"], kind)?;
    tree.set_text(&["metadata", "name"], &args.name)?;
    if !args.namespace.is_empty() {
        tree.set_text(&["metadata", "namespace"], &args.namespace)?;
    }
    let root = tree.root;
    if secret {
        let name = match args.secret_type.as_str() {
            "" => "Opaque",
            name => name,
        };
        let value = tree.add(Node::string(name));
        tree.set_field(root, "type", value)?;
    }
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (key, value) in pairs(args, load)? {
        if data.contains_key(&key) {
            let text = format!("{kind} {:?} gets the key {key:?} twice", args.name);
            return Err(Fault::new(text));
        }
        data.insert(key, value);
    }
    if secret {
        tree.lookup_create(root, Kind::Map, &["data"])?;
    }
    for (key, value) in data {
        let (field, text) = match String::from_utf8(value) {
            Ok(text) if !secret => ("data", text),
            Ok(text) => ("data", packed(text.as_bytes())),
            Err(error) if secret => ("data", packed(error.as_bytes())),
            Err(error) => ("binaryData", packed(error.as_bytes())),
        };
        if let Some(map) = tree.lookup_create(root, Kind::Map, &[field])? {
            let value = tree.add(Node::string(text));
            tree.set_field(map, &key, value)?;
        }
    }
    if let Some(options) = &args.options {
        for (field, map) in [
            ("labels", &options.labels),
            ("annotations", &options.annotations),
        ] {
            for (key, value) in map {
                let path = ["metadata", field];
                if let Some(at) = tree.lookup_create(root, Kind::Map, &path)? {
                    let value = tree.add(Node {
                        style: Style::Single,
                        ..Node::string(value.as_str())
                    });
                    tree.set_field(at, key, value)?;
                }
            }
        }
        if options.immutable {
            let value = tree.add(tagged("true", Tag::Bool));
            tree.set_field(root, "immutable", value)?;
        }
    }
    let mut item = Item::new(tree, Arc::from(""));
    let options = args.options.as_ref();
    item.marks.hash = options.is_none_or(|options| !options.disable_name_suffix_hash);
    item.marks.behavior = Behavior::of(&args.behavior);
    Ok(item)
}

/// Base64 in lines of 70, as go-yaml lays out what is not text.
fn packed(bytes: &[u8]) -> String {
    let packed = base64::engine::general_purpose::STANDARD.encode(bytes);
    if packed.len() < 70 {
        return packed;
    }
    let mut out = String::with_capacity(packed.len() + packed.len() / 70 + 1);
    for line in packed.as_bytes().chunks(70) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out
}

fn pairs(args: &GeneratorArgs, load: Load<'_>) -> Step<Vec<(String, Vec<u8>)>> {
    let mut out = Vec::new();
    for file in &args.envs {
        let bytes = load(file)?;
        variables(&bytes, &mut out).map_err(|fault| fault.within(&format!("file {file:?}")))?;
    }
    for (number, literal) in args.literals.iter().enumerate() {
        match literal.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                out.push((key.to_owned(), unquoted(value).as_bytes().to_vec()));
            }
            // it may be a secret, so it is not shown
            _ => return Err(Fault::new(format!("literals[{number}] is not key=value"))),
        }
    }
    for file in &args.files {
        let (key, path) = match file.split_once('=') {
            None => (
                file.rsplit('/').find(|part| !part.is_empty()),
                file.as_str(),
            ),
            Some((key, path)) if key.is_empty() || path.is_empty() || path.contains('=') => {
                let text = format!("file {file:?} is neither a path nor key=path");
                return Err(Fault::new(text));
            }
            Some((key, path)) => (Some(key), path),
        };
        out.push((key.unwrap_or(path).to_owned(), load(path)?.to_vec()));
    }
    Ok(out)
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

fn variables(bytes: &[u8], out: &mut Vec<(String, Vec<u8>)>) -> Step<()> {
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let fault = |text: String| Err(Fault::new(format!("line {}: {text}", number + 1)));
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            return fault("text is not UTF-8".to_owned());
        };
        if line.len() >= MAX_LINE {
            return fault(format!("longer than {MAX_LINE} bytes"));
        }
        let line = match number {
            0 => line.strip_prefix('\u{feff}').unwrap_or(line),
            _ => line,
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if !key.is_empty() {
            out.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_variables_are_read() {
        let mut out = Vec::new();
        let text = "\u{feff}A=1\n  # no\n\n  B = x=y \r\nC\n=d\n";
        variables(text.as_bytes(), &mut out).unwrap();
        let shown: Vec<_> = out
            .iter()
            .map(|(k, v)| format!("{k}|{}", String::from_utf8_lossy(v)))
            .collect();
        assert_eq!(shown, ["A|1", "B | x=y ", "C|"]);
    }
}
