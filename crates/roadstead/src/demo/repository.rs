//! The Git repository that the demo delivers from, made with the `git` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// What is in the first commit.
const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("../../../../examples/README.md")),
    (
        "fleet/strategy.yaml",
        include_str!("../../../../examples/fleet/strategy.yaml"),
    ),
    (
        "fleet/app-shop.yaml",
        include_str!("../../../../examples/fleet/app-shop.yaml"),
    ),
    (
        "fleet/app-metrics.yaml",
        include_str!("../../../../examples/fleet/app-metrics.yaml"),
    ),
    (
        "apps/shop/config.yaml",
        include_str!("../../../../examples/apps/shop/config.yaml"),
    ),
    (
        "apps/shop/migrate.yaml",
        include_str!("../../../../examples/apps/shop/migrate.yaml"),
    ),
    (
        "apps/shop/api.yaml",
        include_str!("../../../../examples/apps/shop/api.yaml"),
    ),
    (
        "apps/shop/web.yaml",
        include_str!("../../../../examples/apps/shop/web.yaml"),
    ),
    (
        "apps/metrics/collector.yaml",
        include_str!("../../../../examples/apps/metrics/collector.yaml"),
    ),
    (
        "fleet/app-greeter.yaml",
        include_str!("../../../../examples/fleet/app-greeter.yaml"),
    ),
    (
        "apps/greeter/Chart.yaml",
        include_str!("../../../../examples/apps/greeter/Chart.yaml"),
    ),
    (
        "apps/greeter/values.yaml",
        include_str!("../../../../examples/apps/greeter/values.yaml"),
    ),
    (
        "apps/greeter/regions/ap.yaml",
        include_str!("../../../../examples/apps/greeter/regions/ap.yaml"),
    ),
    (
        "apps/greeter/regions/eu.yaml",
        include_str!("../../../../examples/apps/greeter/regions/eu.yaml"),
    ),
    (
        "apps/greeter/regions/us.yaml",
        include_str!("../../../../examples/apps/greeter/regions/us.yaml"),
    ),
    (
        "apps/greeter/templates/_helpers.tpl",
        include_str!("../../../../examples/apps/greeter/templates/_helpers.tpl"),
    ),
    (
        "apps/greeter/templates/greeter.yaml",
        include_str!("../../../../examples/apps/greeter/templates/greeter.yaml"),
    ),
    (
        "fleet/app-kiosk.yaml",
        include_str!("../../../../examples/fleet/app-kiosk.yaml"),
    ),
    (
        "apps/kiosk/base/kustomization.yaml",
        include_str!("../../../../examples/apps/kiosk/base/kustomization.yaml"),
    ),
    (
        "apps/kiosk/base/kiosk.yaml",
        include_str!("../../../../examples/apps/kiosk/base/kiosk.yaml"),
    ),
    (
        "apps/kiosk/overlays/canary/kustomization.yaml",
        include_str!("../../../../examples/apps/kiosk/overlays/canary/kustomization.yaml"),
    ),
    (
        "apps/kiosk/overlays/early/kustomization.yaml",
        include_str!("../../../../examples/apps/kiosk/overlays/early/kustomization.yaml"),
    ),
    (
        "apps/kiosk/overlays/main/kustomization.yaml",
        include_str!("../../../../examples/apps/kiosk/overlays/main/kustomization.yaml"),
    ),
];

/// A Git repository of the demo's own.
pub(crate) struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Makes it, with the examples as its first commit.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let this = Self::empty(folder)?;
        for (path, text) in FILES {
            this.write(path, text)?;
        }
        this.commit("Deliver the shop, its metrics, a greeter and a kiosk")?;
        Ok(this)
    }

    /// Makes it, without a commit.
    pub(crate) fn empty(folder: &Path) -> anyhow::Result<Self> {
        let this = Self {
            folder: folder.to_owned(),
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        this.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(this)
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let file = self.folder.join(path);
        let failed = || format!("failed to write {}", file.display());
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        std::fs::write(&file, text).with_context(failed)
    }

    /// Replaces a text in a file; the text must be there.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) -> anyhow::Result<()> {
        let file = self.folder.join(path);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        if !text.contains(old) {
            bail!("{path} does not hold {old:?}");
        }
        self.write(path, &text.replacen(old, new, 1))
    }

    /// Commits everything; returns the commit.
    pub(crate) fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .context("failed to run git; is it installed?")?;
        if !output.status.success() {
            bail!(
                "git {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
