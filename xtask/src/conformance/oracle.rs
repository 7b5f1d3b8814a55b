//! The real helm: run once for each input, its answers kept outside the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base_json::Hasher;
use serde_json::{Value, json};

use super::cases::{Case, KUBE_VERSION, NAMESPACE, RELEASE};
use super::corpus::{self, Content, Found};

/// How long helm may take; it has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands for the answer of a helm that took longer.
pub(super) const NO_ANSWER: &str = "helm gave no answer within a minute";

/// What helm answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) ok: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// How long the process took when it was run.
    pub(super) took: Duration,
}

/// One helm binary.
#[derive(Debug)]
pub(super) struct Helm {
    path: PathBuf,
    /// What tells this binary from others.
    digest: String,
    /// `v4.2`, as templates see it.
    pub(super) version: String,
    cache: PathBuf,
    scratch: PathBuf,
}

impl Helm {
    /// Takes a binary into use.
    pub(super) fn new(path: &Path, cache: &Path, scratch: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| {
            format!(
                "no helm at {}; see docs/development.md for how to build it",
                path.display()
            )
        })?;
        let out = Command::new(path)
            .args(["version", "--template", "{{.Version}}"])
            .output()?;
        if !out.status.success() {
            bail!("{} does not say its version", path.display());
        }
        fs::create_dir_all(cache)?;
        Ok(Self {
            path: path.to_owned(),
            digest: digest(&[&bytes]),
            version: String::from_utf8_lossy(&out.stdout).trim().to_owned(),
            cache: cache.to_owned(),
            scratch: scratch.to_owned(),
        })
    }

    /// What helm makes of a case; `run` tells runs of the same case apart.
    pub(super) fn answer(&self, chart: &Found, case: &Case, run: u32) -> Result<Answer> {
        let key = self.key(chart, case, run);
        let kept = self.cache.join(format!("{key}.json"));
        if let Ok(text) = fs::read(&kept)
            && let Ok(json) = serde_json::from_slice::<Value>(&text)
        {
            return Ok(read(&json));
        }
        let folder = self.scratch.join(&key);
        fs::create_dir_all(&folder)?;
        let answer = self.run(chart, case, &folder)?;
        fs::remove_dir_all(&folder)?;
        let json = json!({
            "ok": answer.ok,
            "stdout": answer.stdout,
            "stderr": answer.stderr,
            "micros": u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
        });
        fs::write(&kept, serde_json::to_vec(&json)?)?;
        Ok(answer)
    }

    /// Whether the answer is kept already.
    pub(super) fn knows(&self, chart: &Found, case: &Case, run: u32) -> bool {
        let key = self.key(chart, case, run);
        self.cache.join(format!("{key}.json")).is_file()
    }

    fn key(&self, chart: &Found, case: &Case, run: u32) -> String {
        let mut parts: Vec<Vec<u8>> = vec![self.digest.clone().into_bytes()];
        parts.push(run.to_string().into_bytes());
        match (&case.files, &chart.content) {
            (Some(files), _) | (None, Content::Folder(files)) => {
                for (path, content) in files {
                    parts.push(path.clone().into_bytes());
                    parts.push(content.clone());
                }
            }
            (None, Content::Archive(bytes)) => parts.push(bytes.clone()),
        }
        parts.push(arguments(case, "").join("\0").into_bytes());
        parts.extend(case.values.clone());
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        digest(&parts)
    }

    fn run(&self, chart: &Found, case: &Case, folder: &Path) -> Result<Answer> {
        let path = match &case.files {
            None => chart.path.to_string_lossy().into_owned(),
            Some(files) => {
                corpus::write(files, &folder.join("chart"))?;
                "./chart".to_owned()
            }
        };
        if let Some(values) = &case.values {
            fs::write(folder.join("values.yaml"), values)?;
        }
        let begun = Instant::now();
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let mut child = Command::new(&self.path)
            .args(arguments(case, &path))
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&stdout)?)
            .stderr(fs::File::create(&stderr)?)
            .spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |path: &Path| -> Result<String> {
            Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
        };
        Ok(match status {
            Some(status) => Answer {
                ok: status.success(),
                stdout: text(&stdout)?,
                stderr: text(&stderr)?,
                took: begun.elapsed(),
            },
            None => Answer {
                ok: false,
                stdout: String::new(),
                stderr: NO_ANSWER.to_owned(),
                took: begun.elapsed(),
            },
        })
    }
}

fn arguments(case: &Case, chart: &str) -> Vec<String> {
    let mut args: Vec<String> = [
        "template",
        RELEASE,
        chart,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBE_VERSION,
        "--include-crds",
    ]
    .map(str::to_owned)
    .to_vec();
    if case.values.is_some() {
        args.extend(["--values".to_owned(), "values.yaml".to_owned()]);
    }
    if let Some(set) = &case.set {
        args.extend(["--set".to_owned(), set.clone()]);
    }
    args
}

fn read(json: &Value) -> Answer {
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Answer {
        ok: json["ok"] == json!(true),
        stdout: text("stdout"),
        stderr: text("stderr"),
        took: Duration::from_micros(json["micros"].as_u64().unwrap_or(0)),
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Hasher::default();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish().to_string().replace(':', "-")
}

impl Answer {
    /// What helm says is wrong, without warnings before it and advice behind it.
    pub(super) fn error(&self) -> String {
        let text = match self.stderr.find("Error: ") {
            Some(at) => &self.stderr[at + "Error: ".len()..],
            None => &self.stderr,
        };
        text.trim_end()
            .trim_end_matches("Use --debug flag to render out invalid YAML")
            .trim_end()
            .to_owned()
    }
}
