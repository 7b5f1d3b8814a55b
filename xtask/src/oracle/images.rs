//! The images that pods of tests run, and how simulated nodes behave: made of what the Go modules hold.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use oracle_cluster::cache;

/// What real images are replaced by: what serves, under several versions. One that was delivered before is no new Release.
const WEB: [&str; 5] = [
    "oracle.local/web:1",
    "oracle.local/web:2",
    "oracle.local/web:3",
    "oracle.local/web:4",
    "oracle.local/web:5",
];

/// Programs that manifests of real projects call by name; here they end well.
const CALLED: [&str; 3] = ["http", "psql", "sh"];

/// A stage that kwok lacks.
const READY_AGAIN: &str = include_str!("pod-ready-again.yaml");

/// Builds the images.
pub(super) fn build(root: &Path) -> anyhow::Result<()> {
    let folder = cache().join("images");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make {}", folder.display()))?;
    let program = folder.join(".workload");
    let status = Command::new("nice")
        .args([
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            "-s -w",
            "-o",
        ])
        .arg(&program)
        .arg(".")
        .current_dir(root.join("oracle/workload"))
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .status()
        .context("failed to start go")?;
    if !status.success() {
        bail!("go build of oracle/workload ended with {status}");
    }
    let binary = std::fs::read(&program).context("failed to read what was built")?;
    for (file, names, entry) in [
        (
            "pause.tar",
            &["oracle.local/pause:1"][..],
            &["/program", "pause"][..],
        ),
        ("web.tar", &WEB[..], &["/program"][..]),
    ] {
        let archive = crate::image::one_program(names, &binary, entry, &CALLED);
        // others may read it meanwhile
        let new = folder.join(format!(".{file}.new"));
        crate::image::write(&new, &archive)?;
        std::fs::rename(&new, folder.join(file))
            .with_context(|| format!("failed to put {file} in its place"))?;
        println!("oracle: built the image {}", names.join(", "));
    }
    Ok(())
}

/// Takes the stages through which kwok moves nodes and pods from its module, and adds one.
pub(super) fn stages(root: &Path) -> anyhow::Result<()> {
    let out = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"])
        .current_dir(root.join("oracle/kwok"))
        .env("GOWORK", "off")
        .output()
        .context("failed to start go")?;
    let module = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if !out.status.success() || module.is_empty() {
        bail!(
            "failed to find kwok's module: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    let mut all = String::new();
    for file in [
        "node/fast/node-initialize.yaml",
        "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
        "pod/fast/pod-ready.yaml",
        "pod/fast/pod-complete.yaml",
        "pod/fast/pod-delete.yaml",
    ] {
        let path = Path::new(&module).join("kustomize/stage").join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        all.push_str("---\n");
        all.push_str(&text);
    }
    all.push_str(READY_AGAIN);
    crate::image::write(&cache().join("bin/kwok-stages.yaml"), all.as_bytes())
}
