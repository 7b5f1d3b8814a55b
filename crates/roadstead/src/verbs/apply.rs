//! `roadstead apply`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args as ClapArgs;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::args::Global;
use crate::client::{Ask, Client, HubArgs, Refused, is_missing};
use crate::output;
use crate::shell::{Hinted, Outcome};

/// Who the hub keeps as the writer of the fields.
pub(crate) const MANAGER: &str = "roadstead-cli";

/// Writes nouns to the hub.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Every file is read before anything is sent: one that cannot be read changes nothing. Objects that the hub refuses are
named with file and line; the others are applied, and the exit code is 1.")]
pub(crate) struct Args {
    /// A file, a folder (every *.yaml, *.yml and *.json below it), or - for standard input
    #[arg(long = "filename", short, required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Take fields over that somebody else wrote with another value
    #[arg(long)]
    force_conflicts: bool,
    /// Let the hub check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// One object and where it was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Value,
    /// The file and the line that it begins in.
    pub(crate) place: String,
    /// The file's name and text, and the line that the object begins in.
    pub(crate) text: Option<(Arc<str>, Arc<str>, usize)>,
}

impl Written {
    /// Where a field that the hub complains of stands: `file:line`, and the line itself.
    fn field(&self, message: &str) -> Option<(String, String)> {
        let (file, text, first) = self.text.as_ref()?;
        let mut at: usize = text
            .split_inclusive('\n')
            .take(first.saturating_sub(1))
            .map(str::len)
            .sum();
        let mut key = at;
        for step in named_field(message)?.split('.') {
            let name = step.split('[').next().unwrap_or(step);
            key = at + find_key(&text[at..], name)?;
            at = key + name.len();
        }
        let number = text[..key].matches('\n').count() + 1;
        let begin = text[..key].rfind('\n').map_or(0, |end| end + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let gutter = " ".repeat(number.to_string().len());
        let column = " ".repeat(text[begin..key].chars().count());
        Some((
            format!("{file}:{number}"),
            format!("{number} | {line}\n{gutter} | {column}^"),
        ))
    }
}

/// The field that a refusal is about: `spec.targets[0].clusters`.
fn named_field(message: &str) -> Option<&str> {
    if let Some((before, _)) = message.split_once(": field not declared in schema") {
        return before.rsplit(' ').next()?.strip_prefix('.');
    }
    let rest = match message.split_once("unknown field \"") {
        Some((_, rest)) => return rest.split('"').next(),
        None => message.split_once(" is invalid: ")?.1,
    };
    let path = rest.trim_start_matches('[').split(": ").next()?;
    path.starts_with("spec").then_some(path)
}

/// Where the next key of this name stands, in block or flow style.
fn find_key(text: &str, key: &str) -> Option<usize> {
    let found = text.match_indices(key).find(|(at, _)| {
        let before = text[..*at].chars().next_back();
        let after = text[at + key.len()..].trim_start_matches(['"', '\'']);
        after.trim_start_matches(' ').starts_with(':')
            && before.is_none_or(|c| c.is_whitespace() || "{,-\"'".contains(c))
    });
    found.map(|(at, _)| at)
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let mut all = Vec::new();
    for path in &args.files {
        read(path, &mut all)?;
    }
    if all.is_empty() {
        bail!(
            "no object in {}",
            args.files
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    // what others name comes first, so that nothing is refused because of its place in a folder
    all.sort_by_key(|written| rank(k8s_object::kind(&written.object)));
    let client = args.hub.client()?;
    let options = Options {
        force: args.force_conflicts,
        dry_run: args.dry_run,
    };
    let bar = output::bar(global.quiet, all.len(), "applying");
    let mut failed = Vec::new();
    for written in &all {
        match apply(&client, written, options).await {
            Ok(done) => bar.suspend(|| output::line(done))?,
            // the hub is away or does not know us: the rest would fail alike
            Err(error) if error.downcast_ref::<Refused>().is_none() && !error.is::<Misplaced>() => {
                bar.finish_and_clear();
                return Err(error);
            }
            Err(error) => {
                let text = crate::shell::tell(&error);
                bar.suspend(|| anstream::eprint!("{text}"));
                failed.push(written.place.clone());
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if all.len() == 1 {
        return Ok(ExitCode::from(1));
    }
    bail!(
        "{} of {} not applied",
        failed.len(),
        output::count(all.len(), "object")
    );
}

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
}

/// An object that cannot be sent as it is written.
#[derive(Debug)]
struct Misplaced(String);

impl std::fmt::Display for Misplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misplaced {}

/// Applies one object; what was done, for people.
pub(crate) async fn apply(
    client: &Client,
    written: &Written,
    options: Options,
) -> anyhow::Result<String> {
    let object = &written.object;
    let place = &written.place;
    let api_version = k8s_object::api_version(object);
    let (kind, name) = (k8s_object::kind(object), k8s_object::name(object));
    let kind = client.kind_of(api_version, kind).await.map_err(|error| {
        match error.downcast_ref::<Hinted>() {
            Some(_) => error,
            None => Misplaced(format!("{place}: {error}")).into(),
        }
    })?;
    let project = match k8s_object::namespace(object) {
        "" => client.project.as_str(),
        project => project,
    };
    let path = kind.path(Some(project), Some(name));
    let before = match client.ask(Ask::get(&path)).await {
        Ok(before) => Some(before),
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error),
    };
    let mut ask = Ask::send(Method::PATCH, &path, "application/apply-patch+yaml", object)
        .with("fieldManager", MANAGER)
        .with("fieldValidation", "Strict")
        .with("force", if options.force { "true" } else { "" });
    if options.dry_run {
        ask = ask.with("dryRun", "All");
    }
    let (code, after) = client.ask_with_code(ask).await.map_err(|error| {
        let Some(refused) = error.downcast_ref::<Refused>() else {
            return error;
        };
        let mut refused = refused.clone();
        let conflict = refused.reason == "Conflict";
        refused.message = match written.field(&refused.message) {
            Some((place, excerpt)) => format!("{place}: {}\n{excerpt}", refused.message),
            None => format!("{place}: {}", refused.message),
        };
        let error = anyhow::Error::new(refused);
        if conflict {
            error.context(format!(
                "{place}: another manager wrote a field with another value; --force-conflicts takes it over"
            ))
        } else {
            error
        }
    })?;
    let done = match &before {
        _ if code == StatusCode::CREATED => "created",
        None => "created",
        Some(before) if written_part(before) == written_part(&after) => "unchanged",
        Some(_) => "configured",
    };
    let dry = if options.dry_run { " (dry run)" } else { "" };
    Ok(format!("{} {done}{dry}", kind.readable(name)))
}

/// What people write of an object: the hub writes its status all the time.
fn written_part(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = k8s_object::meta_mut(&mut object) {
        for field in ["managedFields", "resourceVersion", "generation"] {
            meta.remove(field);
        }
    }
    object
}

fn rank(kind: &str) -> usize {
    let order = [
        "Project",
        "Secret",
        "ConfigMap",
        "Cluster",
        "ClusterSet",
        "Strategy",
        "Source",
        "App",
    ];
    order
        .iter()
        .position(|known| *known == kind)
        .unwrap_or(order.len())
}

/// Reads a file, a folder, or standard input.
pub(crate) fn read(path: &Path, into: &mut Vec<Written>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("failed to read standard input")?;
        return documents(&bytes, "standard input", into);
    }
    if path.is_dir() {
        let before = into.len();
        let mut files = Vec::new();
        below(path, &mut files)?;
        for file in files {
            read(&file, into)?;
        }
        if into.len() == before {
            bail!(
                "no *.yaml, *.yml or *.json with an object below {}",
                path.display()
            );
        }
        return Ok(());
    }
    let bytes =
        std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    documents(&bytes, &path.display().to_string(), into)
}

/// The manifests below a folder, sorted.
fn below(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = || format!("failed to read {}", folder.display());
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(failed)?;
    entries.sort();
    for path in entries {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        let is_manifest = path
            .extension()
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        if path.is_dir() {
            below(&path, into)?;
        } else if is_manifest {
            into.push(path);
        }
    }
    Ok(())
}

fn documents(bytes: &[u8], file: &str, into: &mut Vec<Written>) -> anyhow::Result<()> {
    let name: Arc<str> = file.into();
    let text: Arc<str> = String::from_utf8_lossy(bytes).into();
    let documents = base_yaml::parse_file(bytes, file).map_err(|error| anyhow!(error.report()))?;
    for document in documents {
        let place = format!("{file}:{}", document.line);
        let is_list = k8s_object::is_list(&document.value);
        for object in k8s_object::list_items(document.value) {
            let missing = [
                ("apiVersion", k8s_object::api_version(&object)),
                ("kind", k8s_object::kind(&object)),
                ("metadata.name", k8s_object::name(&object)),
            ];
            if let Some((field, _)) = missing.iter().find(|(_, text)| text.is_empty()) {
                let item = if is_list {
                    " (an item of the list)"
                } else {
                    ""
                };
                bail!("{place}: this document{item} has no {field}");
            }
            into.push(Written {
                object,
                place: place.clone(),
                text: Some((Arc::clone(&name), Arc::clone(&text), document.line)),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_place_of_what_it_cannot_read() {
        let check = |text: &str, expected: &str| {
            let error = documents(text.as_bytes(), "app.yaml", &mut Vec::new())
                .expect_err("must be refused");
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        check("a: 1\nb: [1\n", "app.yaml:");
        check("kind: App\n", "app.yaml:1: this document has no apiVersion");
        check(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {}\n",
            "app.yaml:2: this document has no metadata.name",
        );
    }

    #[test]
    fn finds_the_line_of_a_field() {
        let text = "# one\napiVersion: g/v\nkind: App\nmetadata: { name: x, spec: no }\nspec:\n  inputs: []\n  targets:\n    - name: a\n      clusters: { selector: { matchFoo: 1 } }\n";
        let mut all = Vec::new();
        documents(text.as_bytes(), "app.yaml", &mut all).expect("good");
        let check = |message: &str, expected: Option<&str>| {
            let found = all[0].field(message).map(|(place, _)| place);
            assert_eq!(found.as_deref(), expected, "{message}");
        };
        check(
            "… unknown field \"spec.targets[0].clusters.selector.matchFoo\"",
            Some("app.yaml:9"),
        );
        check(
            "… Kind=App): .spec.targets[name=\"a\"].clusters.selector.matchFoo: field not declared in schema",
            Some("app.yaml:9"),
        );
        check(
            "App \"x\" is invalid: spec.targets[0].name: Required value",
            Some("app.yaml:8"),
        );
        check(
            "App \"x\" is invalid: [spec.inputs: Required value, spec: bad]",
            Some("app.yaml:6"),
        );
        check("App \"x\" is invalid: spec.strategy: Required value", None);
        check("the hub is full", None);
    }

    #[test]
    fn what_is_named_by_others_goes_first() {
        let mut kinds = vec!["App", "Rollout", "Source", "Project"];
        kinds.sort_by_key(|kind| rank(kind));
        assert_eq!(kinds, ["Project", "Source", "App", "Rollout"]);
    }
}
