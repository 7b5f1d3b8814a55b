//! `roadstead bench kustomize`: overlays built alone, over a base that is remembered, and many over one base, beside the real
//! kustomize on the same files where there is one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args as ClapArgs;
use roadstead_kustomize::{Files, HelmOptions, Kustomizer, Layer, Limits, Options};
use serde_json::{Map, Value, json};

use super::figures::median;
use super::render::{Took, children_worked, ms, repeat};
use crate::shell::Outcome;
use crate::verbs::kustomize::is_kustomization;
use crate::verbs::render::read_files;

type Tree = BTreeMap<String, Bytes>;

/// Measures the building of kustomizations.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Files are in memory before the clock starts, and a build ends with the text that `kustomize build` prints; where the real
kustomize is found, the two texts must be the same.")]
pub(crate) struct Args {
    /// A folder: every kustomization below it that builds
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// How often each figure is taken; the median is told
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// How many overlays over one base
    #[arg(long, default_value_t = 1_000)]
    overlays: usize,
    /// The real kustomize; without it, the one in PATH, or the one that `make oracle` built
    #[arg(long, value_name = "FILE")]
    kustomize: Option<PathBuf>,
    /// How often the real kustomize builds; 0 for never
    #[arg(long, default_value_t = 3)]
    kustomize_runs: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Outcome {
    let real = Real::find(args)?;
    let mut out = Map::new();
    let mut tell = |what: String, figures: Value| {
        if !args.json {
            println!("{what}: {figures}");
        }
        out.insert(what, figures);
    };
    let version = real.as_ref().map_or("none", |real| &real.version);
    tell("kustomize".to_owned(), json!(version));
    for (name, resources) in [("50 resources", 50), ("4,000 resources", 4_000)] {
        let figures = overlay_of(args, resources, real.as_ref())?;
        tell(name.to_owned(), figures);
    }
    let figures = many(args, real.as_ref())?;
    tell(format!("{} overlays", args.overlays), figures);
    if let Some(corpus) = &args.corpus {
        let figures = corpus_of(args, corpus, real.as_ref())?;
        tell("corpus".to_owned(), figures);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&out)?);
    }
    if cfg!(debug_assertions) {
        eprintln!("(a build without optimisation)");
    }
    Ok(ExitCode::SUCCESS)
}

fn tree(files: Tree) -> Arc<dyn Files> {
    Arc::new(files)
}

fn fresh(files: &Arc<dyn Files>) -> Kustomizer {
    Kustomizer::new(Arc::clone(files), BTreeMap::new(), Limits::default())
}

/// One overlay: alone, over a base that is remembered, and by changes over a root that is remembered.
fn overlay_of(args: &Args, resources: usize, real: Option<&Real>) -> anyhow::Result<Value> {
    let written = overlay(resources);
    let files = tree(written.clone());
    let options = Options::default();
    let text = fresh(&files).build("over", &options)?.to_text();
    let cold = repeat(args.runs, || {
        drop(fresh(&files).build("over", &options)?.to_text());
        Ok(())
    })?;
    let kustomizer = fresh(&files);
    kustomizer.build("over", &options)?;
    // to objects, as delivery takes them
    let warm = repeat(args.runs, || {
        drop(kustomizer.build("over", &options)?);
        Ok(())
    })?;
    let layer = Layer {
        place: "cluster".to_owned(),
        fields: fields(json!({ "images": [{ "name": "registry.example/web", "newTag": "3" }] })),
    };
    let options = Options {
        layers: vec![layer],
        ..Options::default()
    };
    kustomizer.build("over", &options)?;
    let changed = repeat(args.runs, || {
        drop(kustomizer.build("over", &options)?);
        Ok(())
    })?;
    let mut figures = json!({
        "cold": Took::of(&cold).json(),
        "base remembered, to objects": Took::of(&warm).json(),
        "an image more over a remembered root, to objects": Took::of(&changed).json(),
        "bytes": text.len(),
    });
    if let Some(real) = real {
        let folder = real.folder(&written)?;
        let mut runs = Vec::new();
        // kustomize takes minutes for thousands
        let most = if resources > 1_000 { 1 } else { usize::MAX };
        for _ in 0..args.kustomize_runs.min(most) {
            let (took, theirs) = real.build(&folder.path().join("over"))?;
            if theirs != text {
                bail!("{resources} resources: kustomize builds something else");
            }
            runs.push(took);
        }
        figures["kustomize"] = Took::of(&runs).json();
    }
    Ok(figures)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Many overlays over one base, built one after the other.
fn many(args: &Args, real: Option<&Real>) -> anyhow::Result<Value> {
    let mut written = overlay(10);
    for number in 0..args.overlays {
        let text = format!(
            "resources: [../base]\nnamePrefix: c{number}-\nimages: [{{name: registry.example/web, newTag: v{number}}}]\n"
        );
        written.insert(format!("c{number}/kustomization.yaml"), Bytes::from(text));
    }
    let files = tree(written.clone());
    let options = Options::default();
    let mut bytes = 0;
    let all = repeat(3, || {
        let kustomizer = fresh(&files);
        bytes = 0;
        for number in 0..args.overlays {
            bytes += kustomizer
                .build(&format!("c{number}"), &options)?
                .to_text()
                .len();
        }
        Ok(())
    })?;
    let mut figures = json!({ "all of them": Took::of(&all).json(), "bytes": bytes });
    if let Some(real) = real {
        let folder = real.folder(&written)?;
        let some = args.overlays.min(4 * args.kustomize_runs);
        let mut runs = Vec::new();
        for number in 0..some {
            let (took, theirs) = real.build(&folder.path().join(format!("c{number}")))?;
            if theirs
                != fresh(&files)
                    .build(&format!("c{number}"), &options)?
                    .to_text()
            {
                bail!("overlay {number}: kustomize builds something else");
            }
            runs.push(took);
        }
        let each = Took::of(&runs);
        figures["kustomize, for all, by a median of some"] = json!({
            "wallMs": each.wall * args.overlays as f64,
            "processorMs": each.processor * args.overlays as f64,
            "some": some,
        });
    }
    Ok(figures)
}

/// Every kustomization of a folder that builds.
fn corpus_of(args: &Args, corpus: &Path, real: Option<&Real>) -> anyhow::Result<Value> {
    let mut roots = Vec::new();
    roots_below(corpus, &mut roots)?;
    let files = tree(read_files(corpus)?);
    let options = Options {
        helm: Some(HelmOptions::default()),
        ..Options::default()
    };
    let (mut ours, mut theirs, mut failed) = (Vec::new(), Vec::new(), 0_usize);
    for root in &roots {
        let inner = root.strip_prefix(corpus).unwrap_or(root);
        let inner = inner.to_string_lossy().into_owned();
        let Ok(built) = fresh(&files).build(&inner, &options) else {
            failed += 1;
            continue;
        };
        drop(built);
        let took = repeat(args.runs, || {
            drop(fresh(&files).build(&inner, &options)?.to_text());
            Ok(())
        })?;
        ours.push(Took::of(&took).wall);
        if let Some(real) = real
            && let Ok(((took, _), _)) = real.build(root)
        {
            theirs.push(took);
        }
    }
    let summary = |all: &[f64]| {
        json!({
            "built": all.len(),
            "medianMs": median(all),
            "mostMs": all.iter().copied().fold(0.0, f64::max),
            "allMs": all.iter().sum::<f64>(),
        })
    };
    let mut figures = json!({ "cold": summary(&ours), "refused": failed });
    if !theirs.is_empty() {
        figures["kustomize"] = summary(&theirs);
    }
    Ok(figures)
}

fn roots_below(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if is_kustomization(folder) {
        into.push(folder.to_owned());
    }
    let failed = || format!("failed to read {}", folder.display());
    let entries: std::io::Result<Vec<_>> =
        std::fs::read_dir(folder).with_context(failed)?.collect();
    let entries = entries.with_context(failed)?.into_iter();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
        .iter()
        .try_for_each(|folder| roots_below(folder, into))
}

/// A base of Deployments, Services and ConfigMaps, and an overlay with a prefix, a namespace, labels, an image, and a patch of
/// each tenth Deployment.
fn overlay(resources: usize) -> Tree {
    let (mut base, mut patches) = (String::new(), String::new());
    for number in 0..resources {
        let of = number / 3;
        let _ = match number % 3 {
            0 => write!(
                base,
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{of}\n  labels: {{app: web-{of}}}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: web-{of}}}\n  template:\n    metadata:\n      labels: {{app: web-{of}}}\n    spec:\n      containers:\n      - name: app\n        image: registry.example/web:1\n        envFrom:\n        - configMapRef: {{name: conf-{of}}}\n        ports:\n        - containerPort: 8080\n        resources:\n          requests: {{cpu: 10m, memory: 16Mi}}\n"
            ),
            1 => write!(
                base,
                "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web-{of}\nspec:\n  selector: {{app: web-{of}}}\n  ports:\n  - port: 80\n    targetPort: 8080\n"
            ),
            _ => write!(
                base,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf-{of}\ndata:\n  a: \"{number}\"\n  text: |\n    one\n    two\n"
            ),
        };
        if number % 30 == 0 {
            let _ = write!(
                patches,
                "- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: web-{of}}}\n    spec:\n      template:\n        spec:\n          containers:\n          - name: app\n            env:\n            - {{name: A, value: b}}\n"
            );
        }
    }
    let over = format!(
        "resources: [../base]\nnamePrefix: p-\nnamespace: here\nlabels:\n- pairs: {{team: blue}}\n  includeTemplates: true\nimages:\n- name: registry.example/web\n  newTag: \"2\"\npatches:\n{patches}"
    );
    let files = [
        ("base/all.yaml", base),
        (
            "base/kustomization.yaml",
            "resources: [all.yaml]\n".to_owned(),
        ),
        ("over/kustomization.yaml", over),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), Bytes::from(text)));
    BTreeMap::from(files)
}

/// The real kustomize.
struct Real {
    path: PathBuf,
    version: String,
}

impl Real {
    /// The one that was named, the one in PATH, or the one that was built for tests.
    fn find(args: &Args) -> anyhow::Result<Option<Self>> {
        if args.kustomize_runs == 0 {
            return Ok(None);
        }
        let built =
            std::env::home_dir().map(|home| home.join(".cache/roadstead/oracle/bin/kustomize"));
        let candidates = match &args.kustomize {
            Some(path) => vec![path.clone()],
            None => [Some(PathBuf::from("kustomize")), built]
                .into_iter()
                .flatten()
                .collect(),
        };
        for path in candidates {
            let output = Command::new(&path).arg("version").output();
            if let Ok(output) = output
                && output.status.success()
            {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Ok(Some(Self { path, version }));
            }
        }
        match &args.kustomize {
            Some(path) => bail!("{} is no kustomize", path.display()),
            None => Ok(None),
        }
    }

    /// Writes a tree where it can be built.
    fn folder(&self, files: &Tree) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("roadstead-bench-")
            .tempdir()?;
        for (path, bytes) in files {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
            std::fs::write(file, bytes)?;
        }
        Ok(folder)
    }

    /// Builds in a process of its own: how long it took by the clock and on processors, in milliseconds, and the text.
    fn build(&self, root: &Path) -> anyhow::Result<((f64, f64), String)> {
        let (clock, worked) = (Instant::now(), children_worked());
        let output = Command::new(&self.path)
            .arg("build")
            .arg(root)
            .stdin(Stdio::null())
            .output()
            .context("failed to run kustomize")?;
        let took = (ms(clock.elapsed()), children_worked() - worked);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kustomize {}: {}", self.path.display(), said.trim());
        }
        Ok((took, String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}
