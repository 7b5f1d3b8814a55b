//! Builds the real programs from their Go modules, each once.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, bail};
use oracle_cluster::cache;

use crate::Context;

/// A program and where it comes from.
struct Program {
    name: &'static str,
    /// The folder below `oracle/` whose go.mod and go.sum pin it.
    module: &'static str,
    package: &'static str,
    /// The module whose version is the program's.
    versioned: &'static str,
    /// The variable that holds the version, with its package.
    stamp: Stamp,
    /// The package is a test, whose program is built.
    test: bool,
}

enum Stamp {
    /// As Kubernetes has it: several variables in two packages.
    Kubernetes,
    /// One variable; with the leading v or without.
    One(&'static str, bool),
    /// The program knows its version.
    Known,
}

const fn kubernetes(name: &'static str, package: &'static str) -> Program {
    Program {
        name,
        module: "kubernetes",
        package,
        versioned: "k8s.io/kubernetes",
        stamp: Stamp::Kubernetes,
        test: false,
    }
}

/// What stands for the images that pods need.
const IMAGES: &str = "images";

/// The API server goes first: the others of its module share most of it.
const PROGRAMS: &[Program] = &[
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Program {
        name: "etcd",
        module: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        versioned: "go.etcd.io/etcd/server/v3",
        stamp: Stamp::Known,
        test: false,
    },
    Program {
        name: "helm",
        module: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        versioned: "helm.sh/helm/v4",
        stamp: Stamp::One("helm.sh/helm/v4/internal/version.version", true),
        test: false,
    },
    Program {
        name: "helm3",
        module: "helm3",
        package: "helm.sh/helm/v3/cmd/helm",
        versioned: "helm.sh/helm/v3",
        stamp: Stamp::One("helm.sh/helm/v3/internal/version.version", true),
        test: false,
    },
    Program {
        name: "kustomize",
        module: "kustomize",
        package: "sigs.k8s.io/kustomize/kustomize/v5",
        versioned: "sigs.k8s.io/kustomize/kustomize/v5",
        stamp: Stamp::One("sigs.k8s.io/kustomize/api/provenance.version", true),
        test: false,
    },
    Program {
        name: "flux-source",
        module: "flux-source",
        package: "github.com/fluxcd/source-controller",
        versioned: "github.com/fluxcd/source-controller",
        stamp: Stamp::Known,
        test: false,
    },
    Program {
        name: "flux-kustomize",
        module: "flux-kustomize",
        package: "github.com/fluxcd/kustomize-controller",
        versioned: "github.com/fluxcd/kustomize-controller",
        stamp: Stamp::Known,
        test: false,
    },
    Program {
        name: "gitops-engine",
        module: "gitops-engine",
        package: "github.com/argoproj/gitops-engine/agent",
        versioned: "github.com/argoproj/gitops-engine",
        stamp: Stamp::Known,
        test: false,
    },
    Program {
        name: "kwok",
        module: "kwok",
        package: "sigs.k8s.io/kwok/cmd/kwok",
        versioned: "sigs.k8s.io/kwok",
        stamp: Stamp::One("sigs.k8s.io/kwok/pkg/consts.Version", true),
        test: false,
    },
    Program {
        name: "e2e.test",
        module: "e2e-suite",
        package: "k8s.io/kubernetes/test/e2e",
        versioned: "k8s.io/kubernetes",
        stamp: Stamp::Kubernetes,
        test: true,
    },
];

/// What is built only when it is named: benchmarks and other people's suites need it.
pub(crate) const RIVALS: &[&str] = &["flux-source", "flux-kustomize", "gitops-engine", "e2e.test"];

/// Runs `cargo xtask oracle build [NAME…]`.
pub(super) fn run(context: &Context, names: &[String]) -> anyhow::Result<ExitCode> {
    let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    for name in names {
        if name != IMAGES && !known.contains(&name.as_str()) {
            bail!(
                "no program {name:?}; there are {}, {IMAGES}",
                known.join(", ")
            );
        }
    }
    let bin = cache().join("bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("failed to make {}", bin.display()))?;
    let begun = Instant::now();
    let mut built = 0;
    for program in PROGRAMS {
        let asked = names.iter().any(|name| name == program.name);
        if asked || names.is_empty() && !RIVALS.contains(&program.name) {
            built += u32::from(program.build(&context.root, &bin)?);
        }
    }
    if names.is_empty() || names.iter().any(|name| name == IMAGES) {
        super::images::build(&context.root)?;
    }
    if names.is_empty() || names.iter().any(|name| name == "kwok") {
        super::images::stages(&context.root)?;
    }
    let seconds = begun.elapsed().as_secs();
    println!("oracle: {built} built in {seconds} s, in {}", bin.display());
    Ok(ExitCode::SUCCESS)
}

impl Program {
    /// Builds it unless it is there as its module pins it; says whether it did.
    fn build(&self, root: &Path, bin: &Path) -> anyhow::Result<bool> {
        let folder = root.join("oracle").join(self.module);
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read {}", path.display()))
        };
        let pins = read("go.mod")?;
        let version = version(&pins, self.versioned).with_context(|| {
            format!(
                "{}/go.mod does not require {}",
                folder.display(),
                self.versioned
            )
        })?;
        let flags = self.flags(&version);
        let recipe = format!("{}\n{flags}\n{pins}\n{}", self.package, read("go.sum")?);
        let target = bin.join(self.name);
        let stamp = Stamped {
            path: bin.join(format!(".{}.stamp", self.name)),
            sum: base_json::Digest::of(recipe.as_bytes()).hex(),
        };
        if stamp.holds(&target) {
            println!("oracle: {} {version} is there", self.name);
            return Ok(false);
        }
        println!(
            "oracle: building {} {version} from {}",
            self.name, self.package
        );
        let begun = Instant::now();
        let new = bin.join(format!(".{}.new", self.name));
        let verb: &[&str] = if self.test {
            &["test", "-c", "-vet=off"]
        } else {
            &["build"]
        };
        let status = Command::new("nice")
            .arg("go")
            .args(verb)
            .args(["-trimpath", "-buildvcs=false", "-mod=readonly"])
            .args(["-p", "2", "-ldflags", &flags, "-o"])
            .arg(&new)
            .arg(self.package)
            .current_dir(&folder)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .status()
            .context("failed to start go: the real programs are built from Go modules (Go 1.26 or newer)")?;
        if !status.success() {
            bail!("go build of {} ended with {status}", self.package);
        }
        // a program that runs can be replaced, but not written to
        std::fs::rename(&new, &target)
            .with_context(|| format!("failed to put {} in its place", target.display()))?;
        stamp.write(&target)?;
        println!(
            "oracle: built {} in {} s",
            self.name,
            begun.elapsed().as_secs()
        );
        Ok(true)
    }

    fn flags(&self, version: &str) -> String {
        let mut flags = vec!["-s -w".to_owned()];
        match self.stamp {
            Stamp::Known => {}
            Stamp::One(variable, v) => {
                let version = if v {
                    version
                } else {
                    version.trim_start_matches('v')
                };
                flags.push(format!("-X {variable}={version}"));
            }
            Stamp::Kubernetes => {
                let mut numbers = version.trim_start_matches('v').split('.');
                let major = numbers.next().unwrap_or_default();
                let minor = numbers.next().unwrap_or_default();
                for package in [
                    "k8s.io/component-base/version",
                    "k8s.io/client-go/pkg/version",
                ] {
                    flags.push(format!("-X {package}.gitVersion={version}"));
                    flags.push(format!("-X {package}.gitMajor={major}"));
                    flags.push(format!("-X {package}.gitMinor={minor}"));
                    flags.push(format!("-X {package}.gitTreeState=clean"));
                }
            }
        }
        flags.join(" ")
    }
}

/// What a built program was built from.
struct Stamped {
    path: PathBuf,
    sum: String,
}

impl Stamped {
    /// The size tells a program that somebody else put there.
    fn text(&self, target: &Path) -> Option<String> {
        let size = std::fs::metadata(target).ok()?.len();
        Some(format!("{} {size}\n", self.sum))
    }

    fn holds(&self, target: &Path) -> bool {
        let found = std::fs::read_to_string(&self.path).ok();
        found.is_some() && found == self.text(target)
    }

    fn write(&self, target: &Path) -> anyhow::Result<()> {
        let text = self.text(target).context("what was built is not there")?;
        std::fs::write(&self.path, text)
            .with_context(|| format!("failed to write {}", self.path.display()))
    }
}

/// The version of a module that a go.mod requires.
fn version(pins: &str, module: &str) -> Option<String> {
    pins.lines().find_map(|line| {
        let line = line.trim();
        let mut words = line
            .strip_prefix("require ")
            .unwrap_or(line)
            .split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
            .map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_in_both_forms() {
        let pins =
            "module m\n\nrequire a.io/x v1.2.3\n\nrequire (\n\ta.io/y v0.36.3 // indirect\n)\n";
        assert_eq!(version(pins, "a.io/x").as_deref(), Some("v1.2.3"));
        assert_eq!(version(pins, "a.io/y").as_deref(), Some("v0.36.3"));
        assert_eq!(version(pins, "a.io/z"), None);
    }

    #[test]
    fn every_program_is_pinned() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for program in PROGRAMS {
            let folder = root.join("oracle").join(program.module);
            let pins = std::fs::read_to_string(folder.join("go.mod")).unwrap();
            assert!(
                version(&pins, program.versioned).is_some(),
                "{}",
                program.name
            );
            assert!(folder.join("go.sum").is_file(), "{}", program.name);
        }
    }

    #[test]
    fn a_stamp_holds_for_what_was_built_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("program");
        let stamp = |sum: &str| Stamped {
            path: folder.path().join(".program.stamp"),
            sum: sum.to_owned(),
        };
        assert!(!stamp("a").holds(&target));
        std::fs::write(&target, "one").unwrap();
        assert!(!stamp("a").holds(&target));
        stamp("a").write(&target).unwrap();
        assert!(stamp("a").holds(&target));
        assert!(!stamp("b").holds(&target));
        std::fs::write(&target, "another").unwrap();
        assert!(!stamp("a").holds(&target));
    }
}
