//! The repository that is delivered: the examples, manifests of each kind, and real projects' where they are at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// What every image is replaced by.
const IMAGE: &str = "oracle.local/web:1";

/// Manifests of real projects: what the App is called, where they stand in the corpus, and their namespace.
const REAL: [(&str, &str, &str); 2] = [
    (
        "todo",
        "kcd23ams-gitops-patterns/apps/pattern2/todo",
        "todo",
    ),
    (
        "boutique",
        "online-boutique/release/kubernetes-manifests.yaml",
        "boutique",
    ),
];

/// How a Release travels here: one cluster, then the two others, of which one may be away.
const STRATEGY: &str = "\
apiVersion: roadstead.dev/v1alpha1
kind: Strategy
metadata:
  name: canary-first
  namespace: default
spec:
  stages:
    - name: canary
      clusters:
        matchLabels: { ring: canary }
      # long enough for the hub to be killed in the middle
      soak: 5s
      deadline: 9m
    - name: main
      clusters:
        matchLabels: { ring: main }
      waves:
        - percent: 50
      deadline: 9m
      maxSetAside: 50%
  onFailure: RollBack
";

/// A Git repository, with Apps in it.
pub(super) struct Repository {
    folder: PathBuf,
    /// The Apps in it, and the namespace that each fills in.
    pub(super) apps: Vec<(String, String)>,
}

impl Repository {
    /// Makes it, without a commit.
    pub(super) fn make(
        root: &Path,
        folder: PathBuf,
        corpus: Option<&Path>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let mut this = Self {
            folder,
            apps: Vec::new(),
        };
        this.git(&["init", "--quiet", "--initial-branch=main"])?;
        for part in ["fleet", "apps"] {
            this.copy(&root.join("examples").join(part), Path::new(part))?;
        }
        this.copy(&root.join("xtask/src/e2e/kinds"), Path::new("apps/kinds"))?;
        let app = this.folder.join("apps/kinds/app.yaml");
        std::fs::rename(&app, this.folder.join("fleet/app-kinds.yaml"))?;
        this.write("fleet/strategy.yaml", STRATEGY)?;
        // what the simulated clusters only pretend to run
        this.replace(
            "apps/shop/migrate.yaml",
            "args: [\"--to\", \"latest\"]",
            "args: [job]",
        )?;
        this.replace(
            "apps/greeter/values.yaml",
            "registry.example/greeter",
            "oracle.local/web",
        )?;
        let chart = std::fs::read_to_string(this.folder.join("apps/greeter/Chart.yaml"))?;
        let chart: Vec<&str> = chart
            .lines()
            .map(|line| match line.starts_with("appVersion:") {
                true => "appVersion: \"1\"",
                false => line,
            })
            .collect();
        this.write("apps/greeter/Chart.yaml", &chart.join("\n"))?;
        for app in ["shop", "metrics", "greeter", "kinds"] {
            this.apps.push((app.to_owned(), app.to_owned()));
        }
        for (app, from, namespace) in REAL {
            let Some(from) = corpus.map(|corpus| corpus.join("apps").join(from)) else {
                continue;
            };
            let to = PathBuf::from(format!("apps/{app}"));
            let to = if from.is_file() {
                to.join("all.yaml")
            } else {
                to
            };
            this.copy(&from, &to)?;
            this.write(
                &format!("fleet/app-{app}.yaml"),
                &format!(
                    "apiVersion: roadstead.dev/v1alpha1\nkind: App\nmetadata:\n  name: {app}\n  namespace: default\n\
                     spec:\n  inputs:\n    - {{ source: bootstrap, path: apps/{app} }}\n  namespace: {namespace}\n\
                     \x20 strategy: canary-first\n  targets:\n    - name: every-cluster\n"
                ),
            )?;
            this.apps.push((app.to_owned(), namespace.to_owned()));
        }
        Ok(this)
    }

    /// Copies files, with their images replaced by one that is here, and their pods made small.
    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let failed = || format!("failed to copy {}", from.display());
        if from.is_dir() {
            for entry in std::fs::read_dir(from).with_context(failed)? {
                let entry = entry.with_context(failed)?;
                self.copy(&entry.path(), &to.join(entry.file_name()))?;
            }
            return Ok(());
        }
        let text = std::fs::read_to_string(from).with_context(failed)?;
        self.write(&to.display().to_string(), &adapted(&text))
    }

    /// Writes a file.
    pub(super) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let file = self.folder.join(path);
        let failed = || format!("failed to write {}", file.display());
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        std::fs::write(&file, text).with_context(failed)
    }

    /// Replaces a text in a file; the text must be there.
    pub(super) fn replace(&self, path: &str, old: &str, new: &str) -> anyhow::Result<()> {
        let text = self.read(path)?;
        if !text.contains(old) {
            bail!("{path} does not hold {old:?}");
        }
        self.write(path, &text.replacen(old, new, 1))
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &str) -> anyhow::Result<()> {
        let file = self.folder.join(path);
        std::fs::remove_file(&file).with_context(|| format!("failed to remove {}", file.display()))
    }

    /// Reads a file.
    pub(super) fn read(&self, path: &str) -> anyhow::Result<String> {
        let file = self.folder.join(path);
        std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Commits everything; returns the commit.
    pub(super) fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(["-c", "commit.gpgsign=false"])
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

/// One small node has no registry, and no room for what real pods ask for.
fn adapted(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let (list, rest) = match bare.strip_prefix("- ") {
            Some(rest) => ("- ", rest),
            None => ("", bare),
        };
        let indent = &line[..line.len() - bare.len()];
        let key = rest.split(':').next().unwrap_or_default();
        let of_template = rest.contains("{{");
        match key {
            "image" if !of_template && rest != "image:" => {
                out.push_str(&format!("{indent}{list}image: {IMAGE}"));
            }
            "imagePullPolicy" => {
                out.push_str(&format!("{indent}{list}imagePullPolicy: IfNotPresent"));
            }
            "cpu" if rest.ends_with('m') => out.push_str(&format!("{indent}{list}cpu: 10m")),
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_images_and_shrinks_pods() {
        let text = "  - image: \"a/b:1\"\n    imagePullPolicy: Always\n    cpu: 300m\nimage:\n  image: {{ .x }}\nmemory: 64Mi\n";
        assert_eq!(
            adapted(text),
            "  - image: oracle.local/web:1\n    imagePullPolicy: IfNotPresent\n    cpu: 10m\nimage:\n  image: {{ .x }}\nmemory: 64Mi\n"
        );
    }
}
