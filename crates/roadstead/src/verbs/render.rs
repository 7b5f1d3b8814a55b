//! `roadstead render`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args as ClapArgs;
use roadstead_model::{App, AppKey, AppSpec, ClusterId, Input, Target, TargetClusters};
use roadstead_release::{Prepared, release_id};
use roadstead_render::{Inputs, Reading};
use roadstead_target::{ClusterView, HUB, placements, target_input};
use serde_json::Value;

use super::pair;
use crate::args::Global;
use crate::output;
use crate::shell::Outcome;

/// Renders an App's folder, a Helm chart or a kustomization here.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Without --app, a folder is rendered as it is, by an App without targets and overlays, a Helm chart (a folder with a
Chart.yaml, or a .tgz) as `helm template` prints it, and a folder with a kustomization.yaml as `kustomize build` does; remote
bases are not fetched here. With --app, overlays that match the cluster described by
--cluster-name, --cluster-labels and --cluster-values apply, as they do in delivery, and the path stands for the App's
first input; the others are given by --input.")]
pub(crate) struct Args {
    /// The folder, file, chart or kustomization
    path: PathBuf,
    /// The App, in a file
    #[arg(long, value_name = "FILE")]
    app: Option<PathBuf>,
    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = "example")]
    cluster_name: String,
    /// The cluster's labels
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = pair)]
    cluster_labels: Vec<(String, String)>,
    /// The cluster's values, in a YAML file
    #[arg(long, value_name = "FILE")]
    cluster_values: Option<PathBuf>,
    /// Another input of the App: its name and its folder
    #[arg(long = "input", value_name = "NAME=DIR", value_parser = pair)]
    inputs: Vec<(String, String)>,
    /// Only name the objects
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    chart: super::chart::ChartArgs,
    #[command(flatten)]
    kustomize: super::kustomize::KustomizeArgs,
}

/// Runs it.
pub(crate) fn run(args: &Args, global: &Global) -> Outcome {
    if args.app.is_none() && super::chart::is_chart(&args.path) {
        return super::chart::run(&args.path, &args.chart, global);
    }
    if args.app.is_none() && super::kustomize::is_kustomization(&args.path) {
        return super::kustomize::run(&args.path, &args.kustomize, args.names, global);
    }
    let (key, mut spec) = match &args.app {
        Some(file) => read_app(file)?,
        None => {
            let name = args
                .path
                .canonicalize()
                .ok()
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            (
                AppKey::new("default", name.unwrap_or_else(|| "app".to_owned())),
                plain_app(),
            )
        }
    };
    let reading = Reading::of(&spec, 0);
    let (path, first) = match super::kustomize::read(&args.path, &reading)? {
        Some(found) => found,
        None => (String::new(), read_files(&args.path)?),
    };
    // the folder stands for the App's first input
    for input in spec.inputs.iter_mut().take(1) {
        input.path.clone_from(&path);
    }
    let mut inputs = Inputs {
        first,
        now_ms: jiff::Timestamp::now().as_millisecond(),
        ..Inputs::default()
    };
    for (name, folder) in &args.inputs {
        inputs
            .others
            .insert(name.clone(), read_files(Path::new(folder))?);
    }
    let id = release_id(&key, &spec, &BTreeMap::new(), "local");
    let prepared = Prepared::of(&key, &spec, id, &inputs).map_err(|error| {
        let excerpt = error
            .excerpt()
            .map(|excerpt| format!("\n{excerpt}"))
            .unwrap_or_default();
        anyhow!("{error}{excerpt}").context(format!("{} cannot be rendered", args.path.display()))
    })?;
    let cluster = cluster(args)?;
    // the hub is always there to be named; it is in no list
    let known = if cluster.id.0 == HUB {
        &[]
    } else {
        std::slice::from_ref(&cluster)
    };
    let placed = placements(&spec, known, &BTreeMap::new())?;
    let Some(placement) = placed
        .placed
        .iter()
        .find(|placement| placement.cluster == cluster.id)
    else {
        bail!(
            "no target of App {key} matches cluster {:?} with these labels: it gets nothing",
            cluster.name
        );
    };
    let input = target_input(&spec, prepared.uses(), &cluster, placement)?;
    let built = prepared.build([&input]);
    for warning in &built.warnings {
        output::remark(global.quiet, format!("warning: {warning}"));
    }
    let outcome = built
        .by_input
        .values()
        .next()
        .ok_or_else(|| anyhow!("nothing was rendered"))?;
    let variant = match outcome {
        Ok(id) => built
            .variants
            .get(id)
            .ok_or_else(|| anyhow!("variant {id} is missing"))?,
        Err(error) => bail!("{error}"),
    };
    let mut text = String::new();
    for object in &variant.objects {
        if args.names {
            text.push_str(&object.id.readable());
            text.push('\n');
            continue;
        }
        let bytes = built
            .blobs
            .get(&object.digest)
            .ok_or_else(|| anyhow!("{} is missing", object.id.readable()))?;
        let value: Value = serde_json::from_slice(bytes)?;
        text.push_str("---\n");
        text.push_str(&output::yaml(&value));
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// An App that takes a folder as it is.
fn plain_app() -> AppSpec {
    let mut spec: AppSpec = AppSpec {
        inputs: vec![Input {
            name: "main".to_owned(),
            source: "local".to_owned(),
            path: String::new(),
        }],
        ..empty_app()
    };
    spec.targets = vec![Target {
        name: "all".to_owned(),
        clusters: TargetClusters::default(),
        skip: false,
    }];
    spec
}

fn empty_app() -> AppSpec {
    serde_json::from_value(serde_json::json!({ "inputs": [], "targets": [] }))
        .expect("because both required fields are there")
}

fn cluster(args: &Args) -> anyhow::Result<ClusterView> {
    let values = match &args.cluster_values {
        None => BTreeMap::new(),
        Some(file) => {
            let shown = file.display().to_string();
            let bytes = std::fs::read(file).with_context(|| format!("failed to read {shown}"))?;
            let documents =
                base_yaml::parse_file(&bytes, &shown).map_err(|error| anyhow!(error.report()))?;
            match documents.into_iter().next().map(|document| document.value) {
                Some(Value::Object(map)) => map.into_iter().collect(),
                None => BTreeMap::new(),
                Some(_) => bail!("{shown} holds no map of values"),
            }
        }
    };
    if args.cluster_name == HUB {
        return Ok(ClusterView::hub());
    }
    let mut view = ClusterView::hub();
    view.id = ClusterId("example".to_owned());
    view.name = args.cluster_name.clone();
    view.labels = args.cluster_labels.iter().cloned().collect();
    view.values = values;
    Ok(view)
}

/// Reads the App of a file.
fn read_app(file: &Path) -> anyhow::Result<(AppKey, AppSpec)> {
    let mut written = Vec::new();
    super::apply::read(file, &mut written)?;
    let mut apps = written
        .into_iter()
        .filter(|one| k8s_object::kind(&one.object) == "App");
    let Some(one) = apps.next() else {
        bail!("there is no App in {}", file.display());
    };
    if apps.next().is_some() {
        bail!("there is more than one App in {}", file.display());
    }
    let app: App = roadstead_model::parse_noun(&one.object)
        .map_err(|error| anyhow!("{}: {error}", one.place))?;
    let problems = roadstead_model::Noun::validate(&app);
    if let Some(first) = problems.first() {
        bail!("{}: {first}", one.place);
    }
    let project = if app.metadata.namespace.is_empty() {
        "default"
    } else {
        &app.metadata.namespace
    };
    Ok((AppKey::new(project, app.metadata.name.clone()), app.spec))
}

/// The files below a folder (or one file), by their paths from it.
pub(crate) fn read_files(path: &Path) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let mut out = BTreeMap::new();
    let failed = || format!("failed to read {}", path.display());
    let meta = std::fs::metadata(path).with_context(failed)?;
    if meta.is_file() {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        out.insert(name, std::fs::read(path).with_context(failed)?.into());
        return Ok(out);
    }
    walk(path, "", &mut out)?;
    Ok(out)
}

fn walk(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Bytes>) -> anyhow::Result<()> {
    let failed = |path: &Path| format!("failed to read {}", path.display());
    for entry in std::fs::read_dir(folder).with_context(|| failed(folder))? {
        let entry = entry.with_context(|| failed(folder))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            bail!("{} is not UTF-8", path.display());
        };
        if name == ".git" {
            continue;
        }
        let whole = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        // what a link points at is read as delivery reads it: inside the tree only
        let kind = entry.file_type().with_context(|| failed(&path))?;
        if kind.is_dir() {
            walk(&path, &whole, into)?;
        } else if kind.is_file() {
            into.insert(
                whole,
                std::fs::read(&path).with_context(|| failed(&path))?.into(),
            );
        } else if kind.is_symlink() {
            let target = path.canonicalize().with_context(|| failed(&path))?;
            let root = folder_root(folder, prefix)?;
            if !target.starts_with(&root) {
                bail!(
                    "{} is a link that leaves {}",
                    path.display(),
                    root.display()
                );
            }
            if target.is_file() {
                into.insert(
                    whole,
                    std::fs::read(&target)
                        .with_context(|| failed(&path))?
                        .into(),
                );
            }
        }
    }
    Ok(())
}

/// The folder where the walk began.
fn folder_root(folder: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let up = prefix.split('/').filter(|step| !step.is_empty()).count();
    let here = folder
        .canonicalize()
        .with_context(|| format!("failed to read {}", folder.display()))?;
    Ok(here.ancestors().nth(up).unwrap_or(&here).to_owned())
}
