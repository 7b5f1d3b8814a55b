//! How long builds take, beside the real kustomize on the same files in the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use roadstead_kustomize::{Files, Kustomizer, Limits, Options};

type Tree = BTreeMap<String, Bytes>;

/// Measures, and gives a table.
pub(super) fn run(tool: &Path) -> anyhow::Result<String> {
    let mut out = String::from(
        "| What | kustomize | ours, cold | ours, base remembered |\n|---|---|---|---|\n",
    );
    for (what, resources) in [("overlay of 50 resources", 50), ("4,000 resources", 4000)] {
        let tree = overlay(resources);
        let scratch = tempfile::tempdir()?;
        write(&tree, scratch.path())?;
        let runs = if resources > 1000 { 3 } else { 9 };
        let mut printed = String::new();
        let real = best(runs, || {
            let output = Command::new(tool)
                .arg("build")
                .arg(scratch.path().join("over"))
                .output()
                .with_context(|| format!("failed to start {}", tool.display()))?;
            printed = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(())
        })?;
        let files: Arc<dyn Files> = Arc::new(tree);
        let mut ours = String::new();
        let cold = best(runs, || {
            let kustomizer =
                Kustomizer::new(Arc::clone(&files), BTreeMap::new(), Limits::default());
            ours = kustomizer.build("over", &Options::default())?.to_text();
            Ok(())
        })?;
        if ours != printed {
            bail!("{what}: the two builds differ");
        }
        let kustomizer = Kustomizer::new(Arc::clone(&files), BTreeMap::new(), Limits::default());
        kustomizer.build("over", &Options::default())?;
        let warm = best(runs, || {
            kustomizer.build("over", &Options::default())?;
            Ok(())
        })?;
        let _ = writeln!(
            out,
            "| {what} | {} | {} | {} |",
            ms(real),
            ms(cold),
            ms(warm)
        );
    }
    let mut tree = overlay(10);
    for number in 0..1000 {
        let text = format!("resources: [../base]\nnamePrefix: c{number}-\n");
        tree.insert(format!("c{number}/kustomization.yaml"), Bytes::from(text));
    }
    let files: Arc<dyn Files> = Arc::new(tree);
    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
    let begun = Instant::now();
    for number in 0..1000 {
        kustomizer.build(&format!("c{number}"), &Options::default())?;
    }
    let all = begun.elapsed();
    let _ = writeln!(
        out,
        "| 1,000 overlays over one base of 10 resources | – | – | {} |",
        ms(all)
    );
    if cfg!(debug_assertions) {
        out.push_str("\n(of a build without optimisation)\n");
    }
    Ok(out)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn best(runs: usize, mut run: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let begun = Instant::now();
        run()?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

fn write(tree: &Tree, folder: &Path) -> anyhow::Result<()> {
    for (path, bytes) in tree {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, bytes)?;
    }
    Ok(())
}

/// A base of Deployments, Services and ConfigMaps, and an overlay with a prefix, labels, an image, and a patch for each tenth.
fn overlay(resources: usize) -> Tree {
    let mut base = String::new();
    let mut patches = String::new();
    for number in 0..resources {
        let object = match number % 3 {
            0 => format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{number}\n  labels: {{app: web-{number}}}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: web-{number}}}\n  template:\n    metadata:\n      labels: {{app: web-{number}}}\n    spec:\n      containers:\n      - name: app\n        image: registry.example/web:1\n        envFrom:\n        - configMapRef: {{name: conf-{}}}\n        ports:\n        - containerPort: 8080\n        resources:\n          requests: {{cpu: 10m, memory: 16Mi}}\n",
                number + 2
            ),
            1 => format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: web-{}\nspec:\n  selector: {{app: web-{}}}\n  ports:\n  - port: 80\n    targetPort: 8080\n",
                number - 1,
                number - 1
            ),
            _ => format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf-{number}\ndata:\n  a: \"{number}\"\n  text: |\n    one\n    two\n"
            ),
        };
        base.push_str("---\n");
        base.push_str(&object);
        if number % 30 == 0 {
            let _ = write!(
                patches,
                "- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: web-{number}}}\n    spec:\n      template:\n        spec:\n          containers:\n          - name: app\n            env:\n            - {{name: A, value: b}}\n"
            );
        }
    }
    let head = "resources: [../base]\nnamePrefix: p-\nnamespace: here\nlabels:\n- pairs: {team: blue}\n  includeTemplates: true\nimages:\n- name: registry.example/web\n  newTag: \"2\"\n";
    let patches = if patches.is_empty() {
        String::new()
    } else {
        format!("patches:\n{patches}")
    };
    BTreeMap::from([
        ("base/all.yaml".to_owned(), Bytes::from(base)),
        (
            "base/kustomization.yaml".to_owned(),
            Bytes::from("resources: [all.yaml]\n"),
        ),
        (
            "over/kustomization.yaml".to_owned(),
            Bytes::from(format!("{head}{patches}")),
        ),
    ])
}
