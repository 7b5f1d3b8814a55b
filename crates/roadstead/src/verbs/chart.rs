//! `roadstead render CHART`: what `helm template` prints, without helm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args as ClapArgs, ValueEnum};
use roadstead_helm::{
    Capabilities, Chart, Dialect, HelmVersion, KubeVersion, Layer, Limits, Policy, Release,
    RenderInput, Show,
};

use super::render::read_files;
use crate::args::Global;
use crate::output;
use crate::shell::Outcome;

/// What a chart is rendered with.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Helm charts")]
pub(crate) struct ChartArgs {
    /// Files of values
    #[arg(long, short = 'f', value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Values: a.b=1,c[0]=x
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Values that stay texts
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// Values as JSON
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// Values from files
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// Values whose text is taken as it is
    #[arg(long, value_name = "KEY=TEXT")]
    set_literal: Vec<String>,
    /// The release's name
    #[arg(long, value_name = "NAME", default_value = "release-name")]
    release_name: String,
    /// The release's namespace
    #[arg(long, short = 'n', value_name = "NAME", default_value = "default")]
    namespace: String,
    /// The cluster's Kubernetes version
    #[arg(long, value_name = "VERSION", default_value = roadstead_render::KUBE_VERSION)]
    kube_version: String,
    /// API versions that the cluster serves besides Kubernetes' own
    #[arg(long, short = 'a', value_name = "GROUP/VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Whose rules hold: helm3, helm4, or a version of them
    #[arg(long, value_name = "HELM", default_value = "helm4")]
    dialect: Dialect,
    /// Prints what stands in crds/ too
    #[arg(long)]
    include_crds: bool,
    /// Leaves out the hooks that `helm test` runs
    #[arg(long)]
    skip_tests: bool,
    /// Leaves out all hooks
    #[arg(long)]
    no_hooks: bool,
    /// Renders as for an upgrade
    #[arg(long)]
    is_upgrade: bool,
    /// Does not hold the values against values.schema.json
    #[arg(long)]
    skip_schema_validation: bool,
    /// Prints only what these templates render to
    #[arg(long, short = 's', value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Prints what NOTES.txt says, in place of the manifests
    #[arg(long, conflicts_with = "show_only")]
    notes: bool,
    /// What random functions, clocks and key makers give
    #[arg(long, value_enum, default_value = "seeded")]
    random: Random,
}

/// What functions give that come out otherwise each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Random {
    /// The same every time
    Seeded,
    /// An error that names the call
    Forbid,
    /// Something new
    Live,
}

/// Is this a chart: a folder with a Chart.yaml, or an archive?
pub(crate) fn is_chart(path: &Path) -> bool {
    let archive = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(".tgz"));
    path.join("Chart.yaml").is_file() || archive && path.is_file()
}

/// Renders and prints it.
pub(crate) fn run(path: &Path, args: &ChartArgs, global: &Global) -> Outcome {
    let shown = path.display().to_string();
    let limits = Limits::default();
    let refused = |diagnostics: &roadstead_helm::Diagnostics| {
        anyhow!("{diagnostics}").context(format!("chart {shown} cannot be rendered"))
    };
    let chart = if path.is_dir() {
        Chart::from_files(&read_files(path)?, &limits)
    } else {
        let bytes = std::fs::read(path).with_context(|| format!("failed to read {shown}"))?;
        Chart::from_archive(&shown, &bytes, &limits)
    };
    let chart = chart.map_err(|diagnostics| refused(&diagnostics))?;
    let compiled = chart
        .compile(args.dialect, limits)
        .map_err(|diagnostics| refused(&diagnostics))?;
    let layers = layers(args)?;
    let kube = KubeVersion::parse(&args.kube_version)
        .map_err(|problem| anyhow!("--kube-version: {problem}"))?;
    let helm = HelmVersion::of(args.dialect);
    let mut input = RenderInput::new(&layers, Capabilities::new(kube, &args.api_versions, helm));
    input.release = Release::install(&args.release_name, &args.namespace);
    input.release.is_upgrade = args.is_upgrade;
    input.skip_schema = args.skip_schema_validation;
    let now = jiff::Timestamp::now();
    input.policy = match args.random {
        Random::Seeded => Policy::Seeded,
        Random::Forbid => Policy::Forbid,
        Random::Live => {
            getrandom::fill(&mut input.seed)
                .map_err(|error| anyhow!("no random bytes: {error}"))?;
            input.now = now.as_nanosecond();
            Policy::Live
        }
    };
    let rendered = compiled
        .render(&input)
        .map_err(|diagnostics| refused(&diagnostics))?;
    for warning in &rendered.warnings {
        output::remark(global.quiet, format!("warning: {warning}"));
    }
    if args.notes {
        let notes = rendered.notes.trim_end();
        if notes.is_empty() {
            output::remark(global.quiet, "the chart has no notes");
        } else {
            output::print(&format!("{notes}\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let show = Show {
        crds: args.include_crds,
        hooks: !args.no_hooks,
        tests: !args.skip_tests,
    };
    let text = rendered.to_text(&show);
    let name = &compiled.metadata().name;
    output::print(&only(&text, name, &args.show_only)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What some templates rendered to.
fn only(text: &str, chart: &str, templates: &[String]) -> anyhow::Result<String> {
    if templates.is_empty() {
        return Ok(text.to_owned());
    }
    let documents: Vec<&str> = text.split("---\n# Source: ").skip(1).collect();
    let mut out = String::new();
    for template in templates {
        let source = format!("{chart}/{template}");
        let mut found = documents
            .iter()
            .filter(|document| document.lines().next() == Some(source.as_str()))
            .peekable();
        if found.peek().is_none() {
            bail!("template {template:?} is not in the chart, or renders to nothing");
        }
        for document in found {
            out.push_str("---\n# Source: ");
            out.push_str(document);
        }
    }
    Ok(out)
}

fn layers(args: &ChartArgs) -> anyhow::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for file in &args.values {
        let name = file.display().to_string();
        let text = std::fs::read(file).with_context(|| format!("failed to read {name}"))?;
        layers.push(Layer::File { name, text });
    }
    layers.extend(args.set_json.iter().cloned().map(Layer::SetJson));
    layers.extend(args.set.iter().cloned().map(Layer::Set));
    layers.extend(args.set_string.iter().cloned().map(Layer::SetString));
    for text in &args.set_file {
        let mut files = BTreeMap::new();
        for part in text.split(',') {
            let Some((_, file)) = part.split_once('=') else {
                bail!("--set-file {text:?}: expected key=path");
            };
            let content = std::fs::read(file).with_context(|| format!("failed to read {file}"))?;
            let content = String::from_utf8_lossy(&content).into_owned();
            files.insert(file.to_owned(), content);
        }
        let text = text.clone();
        layers.push(Layer::SetFile { text, files });
    }
    layers.extend(args.set_literal.iter().cloned().map(Layer::SetLiteral));
    Ok(layers)
}
