//! Writes the field tables of docs/nouns/ from the nouns' schemas.
//!
//! Only what stands between the two marks of a page is written; the text around it is by hand.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use roadstead_model::{Described, GROUP, VERSION, nouns};
use serde_json::Value;

use crate::{Context, only_check};

const FOLDER: &str = "docs/nouns";
const BEGIN: &str = "<!-- written by `cargo xtask nouns` from here -->";
const END: &str = "<!-- to here -->";

/// Runs `cargo xtask nouns [--check]`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let check = only_check(args)?;
    let folder = context.root.join(FOLDER);
    for noun in nouns() {
        let name = format!("{}.md", noun.info.singular);
        let path = folder.join(&name);
        let kept = fs::read_to_string(&path)
            .unwrap_or_else(|_| format!("# {}\n\n{}\n", noun.info.kind, noun.info.about));
        let made = put_in(&kept, &reference(&noun));
        if made == kept && path.exists() {
            continue;
        }
        if check {
            bail!(
                "{FOLDER}/{name} is not what the schema says; run `cargo xtask nouns` and commit"
            );
        }
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {FOLDER}"))?;
        fs::write(&path, made).with_context(|| format!("failed to write {FOLDER}/{name}"))?;
        println!("wrote {FOLDER}/{name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces what stands between the marks; a page without marks gets them at its end.
fn put_in(page: &str, reference: &str) -> String {
    let (before, after) = match page.split_once(BEGIN) {
        Some((before, rest)) => (
            before,
            rest.split_once(END).map_or("\n", |(_, after)| after),
        ),
        None => (page, "\n"),
    };
    format!(
        "{}\n\n{BEGIN}\n\n{reference}\n{END}{after}",
        before.trim_end()
    )
}

/// Everything that the schema knows.
fn reference(noun: &Described) -> String {
    let info = &noun.info;
    let mut out = String::new();
    let short = match info.short_names {
        [] => String::new(),
        names => format!(" (short: `{}`)", names.join("`, `")),
    };
    let scope = if info.namespaced {
        "in a Project"
    } else {
        "of the hub"
    };
    let writer = if info.written_by_hub {
        "the hub"
    } else {
        "people, or Git"
    };
    let _ = writeln!(out, "| | |\n|---|---|");
    let _ = writeln!(out, "| `apiVersion` | `{GROUP}/{VERSION}` |");
    let _ = writeln!(out, "| `kind` | `{}` |", info.kind);
    let _ = writeln!(out, "| `kubectl get` | `{}`{short} |", info.plural);
    let _ = writeln!(out, "| Scope | {scope} |\n| Written by | {writer} |");
    let schema = noun.schema.as_value();
    for (part, title) in [("spec", "Spec"), ("status", "Status")] {
        let mut rows = Vec::new();
        fields(&schema["properties"][part], part, &mut rows);
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "\n## {title}\n\n| Field | Type | Meaning |\n|---|---|---|"
        );
        for Row {
            path,
            kind,
            meaning,
        } in rows
        {
            let _ = writeln!(out, "| `{path}` | {kind} | {meaning} |");
        }
    }
    if !info.columns.is_empty() {
        let _ = writeln!(out, "\n## Columns\n\n| Column | From |\n|---|---|");
        for column in info.columns {
            let wide = if column.wide { ", with `-o wide`" } else { "" };
            let _ = writeln!(out, "| {} | `{}`{wide} |", column.name, column.path);
        }
    }
    out
}

/// One field of a noun.
struct Row {
    path: String,
    kind: String,
    meaning: String,
}

/// Lists the fields of an object's schema, depth first, in the schema's order.
fn fields(schema: &Value, path: &str, rows: &mut Vec<Row>) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut meaning = one_line(field["description"].as_str().unwrap_or_default());
        for (value, about) in variants(field) {
            if !about.is_empty() {
                let _ = write!(meaning, "<br>`{value}`: {}", one_line(about));
            }
        }
        if required.contains(&name.as_str()) {
            meaning.push_str(" **Required.**");
        }
        if let Some(default) = shown_default(&field["default"]) {
            let _ = write!(meaning, " Default: `{default}`.");
        }
        rows.push(Row {
            path: path.clone(),
            kind: kind(field),
            meaning: meaning.trim().to_owned(),
        });
        let (inner, path) = match type_of(field) {
            Some("array") => (&field["items"], format!("{path}[]")),
            _ if field["additionalProperties"].is_object() => {
                (&field["additionalProperties"], format!("{path}.*"))
            }
            _ => (field, path),
        };
        fields(inner, &path, rows);
        for choice in choices(inner).filter(|choice| choice["properties"].is_object()) {
            fields(choice, &path, rows);
        }
    }
}

/// What a value may be, in a few words.
fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "number or percentage".to_owned();
    }
    if schema["pattern"]
        .as_str()
        .is_some_and(|pattern| pattern.contains("(d|h|m|s|ms)"))
    {
        return "duration".to_owned();
    }
    if let Some(inner) = optional(schema) {
        return kind(inner);
    }
    let variants: Vec<String> = variants(schema)
        .map(|(value, _)| format!("`{value}`"))
        .collect();
    if !variants.is_empty() {
        let more = if choices(schema).any(|choice| choice["type"] == "object") {
            " or object"
        } else {
            ""
        };
        return format!("{}{more}", variants.join(", "));
    }
    match type_of(schema) {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Some("string") if schema["format"] == "date-time" => "time".to_owned(),
        Some(other) => other.to_owned(),
        None => "anything".to_owned(),
    }
}

/// The type, where "or null" does not count.
fn type_of(schema: &Value) -> Option<&str> {
    let types = schema["type"].as_array();
    let of_many = types.and_then(|types| {
        types
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
    });
    schema["type"].as_str().or(of_many)
}

/// What is left when one of two choices is null.
fn optional(schema: &Value) -> Option<&Value> {
    let mut real = choices(schema).filter(|choice| choice["type"] != "null");
    match (choices(schema).count(), real.next(), real.next()) {
        (2, Some(only), None) => Some(only),
        _ => None,
    }
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"]
        .into_iter()
        .flat_map(|key| schema[key].as_array().into_iter().flatten())
}

/// The values of an enumeration, each with its own sentence if it has one.
fn variants(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    std::iter::once(schema)
        .chain(choices(schema))
        .flat_map(|choice| {
            let about = choice["description"].as_str().unwrap_or_default();
            // the description of the field itself is not one of a value
            let about = if std::ptr::eq(choice, schema) {
                ""
            } else {
                about
            };
            let values = choice["enum"].as_array().into_iter().flatten();
            values
                .chain(choice.get("const"))
                .filter_map(Value::as_str)
                .map(move |value| (value, about))
        })
}

/// A default that says more than "nothing".
fn shown_default(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_the_marks_stays() {
        let page = "# App\n\nBy hand.\n";
        let first = put_in(page, "one\n");
        assert_eq!(
            first,
            format!("# App\n\nBy hand.\n\n{BEGIN}\n\none\n\n{END}\n")
        );
        let more = format!("{first}\n## After\n");
        let second = put_in(&more, "two\n");
        assert_eq!(
            second,
            format!("# App\n\nBy hand.\n\n{BEGIN}\n\ntwo\n\n{END}\n\n## After\n")
        );
        assert_eq!(put_in(&second, "two\n"), second);
    }

    #[test]
    fn every_field_says_what_it_means() {
        for noun in nouns() {
            let schema = noun.schema.as_value();
            let mut rows = Vec::new();
            fields(&schema["properties"]["spec"], "spec", &mut rows);
            fields(&schema["properties"]["status"], "status", &mut rows);
            assert!(!rows.is_empty(), "{} has no fields", noun.info.kind);
            for row in rows {
                assert!(
                    !row.meaning.is_empty(),
                    "{}: {} says nothing",
                    noun.info.kind,
                    row.path
                );
                assert_ne!(row.kind, "", "{}: {}", noun.info.kind, row.path);
            }
        }
    }

    #[test]
    fn what_the_docs_and_the_examples_write_is_valid() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut texts = Vec::new();
        for noun in nouns() {
            let name = format!("{FOLDER}/{}.md", noun.info.singular);
            let page = fs::read_to_string(root.join(&name)).expect("every noun has a page");
            let blocks = page.split("```yaml\n").skip(1);
            texts.extend(blocks.map(|block| {
                let block = block.split("```").next().unwrap_or_default();
                (name.clone(), block.to_owned())
            }));
        }
        for entry in fs::read_dir(root.join("examples/fleet")).expect("examples") {
            let path = entry.expect("entry").path();
            let text = fs::read_to_string(&path).expect("example");
            texts.push((path.display().to_string(), text));
        }
        assert!(texts.len() >= 9, "found only {} texts", texts.len());
        for (place, text) in texts {
            for document in base_yaml::parse_documents(&text, &place).expect("yaml") {
                let kind = document.value["kind"].as_str().unwrap_or_default();
                let noun = nouns().into_iter().find(|noun| noun.info.kind == kind);
                let noun = noun.unwrap_or_else(|| panic!("{place}: {kind:?} is no noun"));
                assert_eq!(
                    (noun.validate)(&document.value),
                    Vec::new(),
                    "{place}: {kind}"
                );
            }
        }
    }
}
