//! `roadstead apply`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    pub(crate) place: String,
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
    bail!("{} of {} not applied", failed.len(), output::count(all.len(), "object"));
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
    let kind = client
        .kind_of(api_version, kind)
        .await
        .map_err(|error| match error.downcast_ref::<Hinted>() {
            Some(_) => error,
            None => Misplaced(format!("{place}: {error}")).into(),
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
        refused.message = format!("{place}: {}", refused.message);
        let error = anyhow::Error::new(refused);
        if conflict {
            error.context(format!(
                "{place}: another manager wrote a field with another value; --force-conflicts takes it over"
            ))
        } else {
            error
        }
    })?;
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let done = match &before {
        _ if code == StatusCode::CREATED => "created",
        None => "created",
        Some(before) if options.dry_run && before["spec"] == after["spec"] => "unchanged",
        Some(before) if !options.dry_run && version(before) == version(&after) => "unchanged",
        Some(_) => "configured",
    };
    let dry = if options.dry_run { " (dry run)" } else { "" };
    Ok(format!("{} {done}{dry}", kind.readable(name)))
}

fn rank(kind: &str) -> usize {
    let order = [
        "Project", "Secret", "ConfigMap", "Cluster", "ClusterSet", "Strategy", "Source", "App",
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
            bail!("no *.yaml, *.yml or *.json with an object below {}", path.display());
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
                let item = if is_list { " (an item of the list)" } else { "" };
                bail!("{place}: this document{item} has no {field}");
            }
            into.push(Written {
                object,
                place: place.clone(),
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
    fn what_is_named_by_others_goes_first() {
        let mut kinds = vec!["App", "Rollout", "Source", "Project"];
        kinds.sort_by_key(|kind| rank(kind));
        assert_eq!(kinds, ["Project", "Source", "App", "Rollout"]);
    }
}
