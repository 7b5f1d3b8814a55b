//! Checks the plan of the house: which crate may depend on which.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{Context, cargo};

/// The districts, in the order of the road. A crate depends only on its own or on one further up.
const DISTRICTS: &[District] = &[
    District::new("crates/base"),
    District {
        sees: Some(&["crates/base"]),
        ..District::new("crates/k8s")
    },
    District::new("crates/model"),
    District::new("crates/render"),
    District::new("crates/policy"),
    District::new("crates/delivery"),
    District::new("crates/edge"),
    District::new("crates/sim"),
    District::new("crates/roadstead"),
    District::new("xtask"),
];

/// Districts that are published as they stand, without our prefix.
const UNPREFIXED: &[&str] = &["crates/base", "crates/k8s", "xtask"];

/// Heavy dependencies: each has one importer, so that only its crate waits for it and knows it.
const ONE_IMPORTER: &[(&str, &str)] = &[
    ("gix", "crates/edge/source"),
    ("kube", "crates/edge/cluster-kube"),
    ("tonic", "crates/edge/wire"),
    ("rusqlite", "crates/edge/store-sqlite"),
    ("tokio-postgres", "crates/edge/store-postgres"),
];

/// What must not be part of anything that we build, and why.
const BARRED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one crypto provider"),
    ("openssl-sys", "aws-lc-rs is the one crypto provider"),
    ("native-tls", "rustls is the one TLS"),
];

/// A file of more lines than this wants splitting along a seam that has a name.
const LONG: usize = 800;

/// A folder whose crates obey one rule.
struct District {
    folder: &'static str,
    /// The only other districts it may use; `None`: all further up.
    sees: Option<&'static [&'static str]>,
}

impl District {
    const fn new(folder: &'static str) -> Self {
        Self { folder, sees: None }
    }
}

/// What the rules look at of one crate.
#[derive(Debug)]
struct Crate {
    name: String,
    /// Relative to the root, with `/`.
    folder: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    dev: bool,
    /// The folder, of one of our own crates.
    folder: Option<String>,
}

/// Runs `cargo xtask structure`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    if !args.is_empty() {
        bail!("expected no arguments, got {args:?}");
    }
    let crates = read(&context.root)?;
    let mut findings = check(&crates);
    findings.extend(barred(&tree(&context.root)?));
    for (lines, file) in long_files(&context.root)? {
        println!("note: {file} has {lines} lines; more than {LONG} want splitting");
    }
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    if findings.is_empty() {
        println!("structure: {} crates keep to the plan", crates.len());
        Ok(ExitCode::SUCCESS)
    } else {
        bail!("{} findings", findings.len())
    }
}

fn read(root: &Path) -> anyhow::Result<Vec<Crate>> {
    let output = cargo()
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("failed to start cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("failed to read cargo metadata")?;
    let packages = metadata["packages"].as_array();
    packages
        .context("cargo metadata has no packages")?
        .iter()
        .map(|package| package_of(root, package))
        .collect()
}

fn package_of(root: &Path, package: &Value) -> anyhow::Result<Crate> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let below = |path: &str| {
        let path = Path::new(path);
        let path = path.strip_prefix(root).unwrap_or(path);
        path.to_string_lossy().replace('\\', "/")
    };
    let manifest = below(&text(&package["manifest_path"]));
    let dependencies = package["dependencies"]
        .as_array()
        .context("a package has no dependencies field")?
        .iter()
        .map(|dependency| Dependency {
            name: text(&dependency["name"]),
            dev: dependency["kind"] == "dev",
            folder: dependency["path"].as_str().map(below),
        })
        .collect();
    Ok(Crate {
        name: text(&package["name"]),
        folder: manifest.trim_end_matches("/Cargo.toml").to_owned(),
        dependencies,
    })
}

/// The rules that need only the crates' own manifests.
fn check(crates: &[Crate]) -> Vec<String> {
    let mut findings = Vec::new();
    for krate in crates {
        let Some(own) = district(&krate.folder) else {
            findings.push(format!(
                "{} is at {}, which is in no district",
                krate.name, krate.folder
            ));
            continue;
        };
        let home = &DISTRICTS[own];
        let prefixed = krate.name == "roadstead" || krate.name.starts_with("roadstead-");
        if prefixed == UNPREFIXED.contains(&home.folder) {
            let rule = if prefixed {
                "must not carry"
            } else {
                "must carry"
            };
            findings.push(format!(
                "{} in {} {rule} the prefix roadstead-",
                krate.name, home.folder
            ));
        }
        for dependency in &krate.dependencies {
            let Some(folder) = &dependency.folder else {
                continue;
            };
            let allowed = match (district(folder), home.sees) {
                (Some(theirs), _) if theirs == own => true,
                // tests may look around in what is published without our prefix
                (Some(theirs), _) if dependency.dev => {
                    UNPREFIXED.contains(&DISTRICTS[theirs].folder)
                }
                (Some(theirs), Some(sees)) => sees.contains(&DISTRICTS[theirs].folder),
                (Some(theirs), None) => theirs < own,
                (None, _) => false,
            };
            if !allowed {
                findings.push(format!(
                    "{} ({}) depends on {} ({folder}), which is further down the road",
                    krate.name, krate.folder, dependency.name
                ));
            }
        }
        for (name, importer) in ONE_IMPORTER {
            let imports = krate
                .dependencies
                .iter()
                .any(|dependency| dependency.name == *name);
            if imports && krate.folder != *importer {
                findings.push(format!(
                    "{} imports {name}; only {importer} may",
                    krate.name
                ));
            }
        }
    }
    findings
}

fn district(folder: &str) -> Option<usize> {
    DISTRICTS.iter().position(|district| {
        folder == district.folder
            || folder
                .strip_prefix(district.folder)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Everything that is built on any target, one `name vVERSION` a line.
fn tree(root: &Path) -> anyhow::Result<String> {
    let output = cargo()
        .current_dir(root)
        .args([
            "tree",
            "--workspace",
            "--target",
            "all",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .output()
        .context("failed to start cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("cargo tree does not speak UTF-8")
}

fn barred(tree: &str) -> Vec<String> {
    let built: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    BARRED
        .iter()
        .filter(|(name, _)| built.contains(name))
        .map(|(name, why)| {
            format!("{name} is built, but {why}; `cargo tree --target all -i {name}` says for whom")
        })
        .collect()
}

/// Rust files that are too long, the longest first; generated ones do not count.
fn long_files(root: &Path) -> anyhow::Result<Vec<(usize, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("xtask")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let skipped = ["target", "generated"]
                .iter()
                .any(|name| path.ends_with(name));
            if path.is_dir() && !skipped {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                let lines = text.lines().count();
                if lines > LONG {
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    found.push((lines, below.display().to_string()));
                }
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(folder: &str, name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Crate {
        Crate {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dependencies: dependencies
                .iter()
                .map(|(name, folder, dev)| Dependency {
                    name: (*name).to_owned(),
                    dev: *dev,
                    folder: folder.map(str::to_owned),
                })
                .collect(),
        }
    }

    #[test]
    fn the_road_goes_one_way() {
        let model = Some("crates/model");
        let cases: &[(Crate, Option<&str>)] = &[
            (
                krate(
                    "crates/model",
                    "roadstead-model",
                    &[("base-json", Some("crates/base/json"), false)],
                ),
                None,
            ),
            (
                krate(
                    "crates/k8s/object",
                    "k8s-object",
                    &[("roadstead-model", model, false)],
                ),
                Some("further down"),
            ),
            (
                krate(
                    "crates/base/json",
                    "base-json",
                    &[("roadstead-model", model, true)],
                ),
                Some("further down"),
            ),
            (
                krate(
                    "crates/k8s/playground",
                    "k8s-playground",
                    &[("k8s-health", Some("crates/k8s/health"), true)],
                ),
                None,
            ),
            (
                krate(
                    "crates/delivery/plan",
                    "roadstead-plan",
                    &[("roadstead-hub", Some("crates/edge/hub"), false)],
                ),
                Some("further down"),
            ),
            (
                krate(
                    "crates/edge/hub",
                    "roadstead-hub",
                    &[("rusqlite", None, false)],
                ),
                Some("only crates/edge/store-sqlite may"),
            ),
            (
                krate(
                    "crates/edge/store-sqlite",
                    "roadstead-store-sqlite",
                    &[("rusqlite", None, false)],
                ),
                None,
            ),
            (
                krate("crates/render/helm", "helm", &[]),
                Some("must carry the prefix"),
            ),
            (
                krate("crates/base/json", "roadstead-json", &[]),
                Some("must not carry the prefix"),
            ),
            (
                krate("crates/extra", "roadstead-extra", &[]),
                Some("in no district"),
            ),
            (
                krate("crates/modelling", "roadstead-modelling", &[]),
                Some("in no district"),
            ),
        ];
        for (krate, expected) in cases {
            let findings = check(std::slice::from_ref(krate));
            match expected {
                None => assert!(findings.is_empty(), "{findings:?}"),
                Some(text) => assert!(
                    findings.len() == 1 && findings[0].contains(text),
                    "{}: {findings:?}",
                    krate.folder
                ),
            }
        }
    }

    #[test]
    fn a_second_crypto_provider_is_found() {
        assert!(barred("rustls v0.23.46\nring-buffer v1.0.0\naws-lc-rs v1.19.0").is_empty());
        assert_eq!(barred("rustls v0.23.46\nring v0.17.14 (*)").len(), 1);
    }
}
