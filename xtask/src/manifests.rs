//! Writes the plain manifests in deploy/ from the charts, by the real helm.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::Context;

/// One file, and how its chart is rendered.
struct Manifests {
    file: &'static str,
    chart: &'static str,
    /// Release and namespace.
    name: &'static str,
    values: &'static [&'static str],
}

/// What stands in capitals is put in by `roadstead cluster join`.
const ALL: &[Manifests] = &[
    Manifests {
        file: "hub.yaml",
        chart: "roadstead",
        name: "roadstead",
        values: &["namespace.create=true"],
    },
    Manifests {
        file: "hub-aggregated.yaml",
        chart: "roadstead",
        name: "roadstead",
        values: &["namespace.create=true", "aggregation.enabled=true"],
    },
    Manifests {
        file: "agent.yaml",
        chart: "roadstead-agent",
        name: "roadstead-agent",
        values: AGENT,
    },
    Manifests {
        file: "agent-limited.yaml",
        chart: "roadstead-agent",
        name: "roadstead-agent",
        values: LIMITED,
    },
];

const AGENT: &[&str] = &[
    "namespace.create=true",
    "hub.url=https://hub.example.com",
    "hub.ca=HUB-CA",
    "cluster.name=cluster-name",
    "join.token=rs1.TOKEN",
];
const LIMITED: &[&str] = &[
    "namespace.create=true",
    "hub.url=https://hub.example.com",
    "hub.ca=HUB-CA",
    "cluster.name=cluster-name",
    "join.token=rs1.TOKEN",
    "rbac.mode=limited",
    "rbac.limited.projects[0].name=project-name",
    "rbac.limited.projects[0].namespaces[0]=namespace-name",
];

const HEAD: &str = "# Written by `cargo xtask manifests` from deploy/charts; do not edit.\n";

/// Runs it.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let check = crate::only_check(args)?;
    let Some(helm) = helm() else {
        if check {
            println!(
                "skipped: there is no helm 4 here, so deploy/*.yaml were not compared with the charts"
            );
            return Ok(ExitCode::SUCCESS);
        }
        bail!("helm 4 is needed; put it on PATH, or let `cargo xtask oracle build` build it");
    };
    let deploy = context.root.join("deploy");
    let charts = deploy.join("charts");
    for (chart, values) in [("roadstead", &[][..]), ("roadstead-agent", AGENT)] {
        let mut lint = Command::new(&helm);
        lint.args(["lint", "--strict", "--quiet"])
            .arg(charts.join(chart));
        sets(&mut lint, values);
        output(&mut lint)?;
    }
    let mut stale = Vec::new();
    for manifests in ALL {
        let mut template = Command::new(&helm);
        template
            .args(["template", manifests.name])
            .arg(charts.join(manifests.chart))
            .args(["--namespace", manifests.name]);
        sets(&mut template, manifests.values);
        let text = plain(&output(&mut template)?);
        let path = deploy.join(manifests.file);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if before == text {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            std::fs::write(&path, text)
                .with_context(|| format!("failed to write {}", path.display()))?;
            println!("wrote {}", shown(&path, &context.root));
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for path in stale {
        eprintln!("{} is not what its chart says", shown(&path, &context.root));
    }
    eprintln!("run `cargo xtask manifests`");
    Ok(ExitCode::FAILURE)
}

fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Helm 4, from the cache of oracles or the PATH.
fn helm() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cached = cache
        .or(home)
        .map(|cache| cache.join("roadstead/oracle/bin/helm4"))
        .filter(|path| path.exists());
    let candidates = cached.into_iter().chain([PathBuf::from("helm")]);
    candidates.into_iter().find(|helm| {
        let version = Command::new(helm).args(["version", "--short"]).output();
        version.is_ok_and(|version| version.stdout.starts_with(b"v4"))
    })
}

fn sets(command: &mut Command, values: &[&str]) {
    for value in values {
        command.args(["--set", value]);
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let out = command.output().context("failed to run helm")?;
    if !out.status.success() {
        bail!(
            "helm failed: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What belongs to no Helm release says so.
fn plain(text: &str) -> String {
    let mut out = HEAD.to_owned();
    let mut blank = false;
    for line in text.lines() {
        let line = line.trim_end();
        // helm leaves empty lines between documents
        if line.is_empty() {
            blank = true;
            continue;
        }
        if blank && !line.starts_with("---") && !line.starts_with('#') {
            out.push('\n');
        }
        blank = false;
        let line = line.replace(
            "app.kubernetes.io/managed-by: Helm",
            "app.kubernetes.io/managed-by: roadstead",
        );
        if line.starts_with("# Source:") {
            continue;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}
