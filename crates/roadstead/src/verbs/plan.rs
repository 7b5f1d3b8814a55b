//! `roadstead plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http::Method;
use owo_colors::OwoColorize as _;
use roadstead_plan::{Mark, Plan};
use roadstead_render::Reading;
use serde_json::{Value, json};

use super::app_path;
use crate::args::Global;
use crate::client::{Ask, HubArgs};
use crate::output;
use crate::shell::Outcome;

/// How many bytes of files are sent at most; the hub takes little more.
const MOST: usize = 2 << 20;

/// Shows what would change.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The hub renders by the code that delivers, and compares with what each cluster confirmed last. What an API server makes of
each object, or why it refuses it, is worked out by the code of one, of Kubernetes 1.36. Of objects that are new to a
cluster its agent says which are there already, whose they are and what taking them over would change. Of the clusters
that get the same change and run the same minor version of Kubernetes, the API server of one is asked for a dry-run: it
confirms the change, or says what it refuses or changes besides. Nothing is written.

Exit codes: 0 nothing would change, 2 something would, 1 it failed, a cluster has no answer, or an object is refused: it
belongs to somebody else, or an API server does not take it or would not.")]
pub(crate) struct Args {
    /// The App
    app: String,
    /// A branch, a tag or a commit [default: the newest commit that the hub has read]
    #[arg(long, value_name = "REVISION", conflicts_with = "path")]
    revision: Option<String>,
    /// A folder on this machine, in the place of the App's first input
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Ask no API server for a dry-run
    #[arg(long)]
    predict_only: bool,
    /// How to write it
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    hub: HubArgs,
}

/// How to write a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    let files = args.path.as_deref().map(files_of).transpose()?;
    let body = json!({
        "files": files,
        "revision": args.revision,
        "predictOnly": args.predict_only,
    });
    let path = app_path(&client, &args.app, "plan").await?;
    let waiting = output::spinner(global.quiet, format!("planning {}", args.app));
    let answer = client
        .ask(Ask::send(Method::POST, &path, "application/json", &body))
        .await;
    waiting.finish_and_clear();
    let answer = answer.with_context(|| format!("App {} cannot be planned", args.app))?;
    let plan: Plan = serde_json::from_value(answer["plan"].clone())
        .map_err(|error| anyhow!("the hub sent a plan that cannot be read: {error}"))?;
    match args.output {
        Some(Format::Json) => output::line(serde_json::to_string_pretty(&answer["plan"])?)?,
        Some(Format::Yaml) => output::print(&output::yaml(&answer["plan"]))?,
        None => output::print(&roadstead_plan::text(&plan, &paint))?,
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().unwrap_or_default();
        output::remark(global.quiet, format!("warning: {text}"));
    }
    Ok(ExitCode::from(plan.exit_code()))
}

/// Colours a piece of a plan.
pub(super) fn paint(mark: Mark, text: &str) -> String {
    match mark {
        Mark::Heading => text.bold().to_string(),
        Mark::Added => text.green().to_string(),
        Mark::Removed => text.red().to_string(),
        Mark::Changed => text.yellow().to_string(),
        Mark::Alert => text.red().bold().to_string(),
        Mark::Note => text.dimmed().to_string(),
    }
}

/// What an App is rendered from, below a folder and around it.
fn files_of(path: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    // which of the kustomizations below it the App builds, the hub knows
    let any = Reading::Kustomize {
        folders: ["${cluster.any}".to_owned()].into(),
        components: BTreeSet::new(),
    };
    match super::kustomize::read(path, &any)? {
        Some((folder, files)) => sources(path, &folder, files),
        None => manifests(path),
    }
}

/// All files that kustomizations are built from; one that lies elsewhere is named as it is seen from the folder.
fn sources(
    path: &Path,
    folder: &str,
    files: BTreeMap<String, Bytes>,
) -> anyhow::Result<BTreeMap<String, Value>> {
    let steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    let total: usize = files.values().map(Bytes::len).sum();
    if total > MOST {
        bail!(
            "the kustomizations below {} read more than {MOST} bytes; push a branch and plan it with --revision",
            path.display()
        );
    }
    let mut out = BTreeMap::new();
    for (name, bytes) in files {
        // what is no text can only be read by the hub itself
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let parts: Vec<&str> = name.split('/').collect();
        let same = steps.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        let up = std::iter::repeat_n("..", steps.len() - same);
        let seen: Vec<&str> = up.chain(parts[same..].iter().copied()).collect();
        out.insert(seen.join("/"), Value::from(text));
    }
    Ok(out)
}

/// The manifests below a folder. Other files are not read by any renderer, and stay here.
fn manifests(path: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut out = BTreeMap::new();
    let mut total = 0;
    for (name, bytes) in super::render::read_files(path)? {
        let manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        if !manifest {
            continue;
        }
        total += bytes.len();
        if total > MOST {
            bail!(
                "the manifests below {} have more than {MOST} bytes; push a branch and plan it with --revision",
                path.display()
            );
        }
        let text = std::str::from_utf8(&bytes)
            .with_context(|| format!("{} is not UTF-8", path.join(&name).display()))?;
        out.insert(name, Value::from(text));
    }
    if out.is_empty() {
        bail!("no *.yaml, *.yml or *.json below {}", path.display());
    }
    Ok(out)
}
