//! Transcripts: requests as data files, played against a real kube-apiserver and against ours, and the answers compared.
//!
//! A file is a script (see [`Step`]). Each has a namespace of its own name, with a service account `default` in it. What differs
//! from run to run is masked in every answer. A file `differences.txt` beside the scripts names where ours answers otherwise,
//! and why.

mod mask;
mod ours;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use oracle_cluster::Client;
use serde_json::{Value, json};

pub use mask::{differences, hide};
pub use ours::Ours;
pub use script::{Answered, Step, parse};

/// How long a step asks again for the code that it waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that answers requests.
pub trait Respond {
    /// Sends the request of a step.
    fn send(&self, step: &Step) -> anyhow::Result<Answered>;
}

impl Respond for Client {
    fn send(&self, step: &Step) -> anyhow::Result<Answered> {
        let headers: Vec<(&str, &str)> = step
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = Client::send(self, &step.method, &step.path, &headers, &step.body)
            .with_context(|| step.title.clone())?;
        Ok(Answered {
            status: answer.status,
            headers: answer.headers.into_iter().collect(),
            body: answer.body,
        })
    }
}

/// Reads every script of a folder, by name.
pub fn scripts(folder: &Path) -> anyhow::Result<Vec<(String, Vec<Step>)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".txt") && name != "differences.txt" {
            names.push(name);
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(folder.join(&name))?;
            let steps = parse(&text).map_err(|error| anyhow!("{name}: {error}"))?;
            Ok((name.trim_end_matches(".txt").to_owned(), steps))
        })
        .collect()
}

/// Plays a script; returns what each step shows, by title.
pub fn play(
    name: &str,
    steps: &[Step],
    server: &dyn Respond,
) -> anyhow::Result<BTreeMap<String, Value>> {
    prepare(name, server)?;
    let mut saved = BTreeMap::new();
    let mut out = BTreeMap::new();
    for step in steps {
        let ready = step.with(&saved);
        let mut answered = server.send(&ready)?;
        let pause = Duration::from_millis(100);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if step.until.is_none_or(|code| code == answered.status) {
                break;
            }
            std::thread::sleep(pause);
            answered = server.send(&ready)?;
        }
        step.save(&answered, &mut saved)
            .map_err(|error| anyhow!("{name}: {error}"))?;
        out.insert(step.title.clone(), step.shown(&answered));
    }
    Ok(out)
}

/// What every server has before a script begins.
fn prepare(name: &str, server: &dyn Respond) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
    for (path, object) in [("/api/v1/namespaces", namespace), (&accounts, account)] {
        let answered = server.send(&Step::post(path, &object))?;
        ensure!(
            answered.status == 201,
            "{path}: {}",
            String::from_utf8_lossy(&answered.body)
        );
    }
    Ok(())
}

/// Where two plays of a script differ: a line `SCRIPT: TITLE: PLACE`, and what each said.
pub fn compare(
    name: &str,
    steps: &[Step],
    real: &BTreeMap<String, Value>,
    ours: &BTreeMap<String, Value>,
) -> Vec<Difference> {
    let mut out = Vec::new();
    for step in steps {
        let mut places = Vec::new();
        let of = |all: &BTreeMap<String, Value>| all.get(&step.title).cloned().unwrap_or_default();
        differences("", &of(real), &of(ours), &mut places);
        for (place, real, ours) in places {
            out.push(Difference {
                place: format!("{name}: {}: {place}", step.title),
                real,
                ours,
            });
        }
    }
    out
}

/// One place where the answers differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// `SCRIPT: TITLE: PLACE`.
    pub place: String,
    /// What the real one says there.
    pub real: String,
    /// What ours says.
    pub ours: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { place, real, ours } = self;
        write!(f, "{place}\n    real: {real}\n    ours: {ours}")
    }
}

/// The differences that are known, each with its reason.
#[derive(Debug, Default)]
pub struct Known {
    places: BTreeSet<String>,
    met: BTreeSet<String>,
}

impl Known {
    /// Reads `differences.txt`: `SCRIPT: TITLE: PLACE`, or `SCRIPT: TITLE` for a whole answer; a place covers what is below it.
    /// Behind ` # ` stands why, and it must.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("differences.txt");
        let mut places = BTreeSet::new();
        if path.exists() {
            for line in std::fs::read_to_string(&path)?.lines() {
                if line.starts_with('#') || line.is_empty() {
                    continue;
                }
                let reason = line.split_once(" # ").filter(|(_, why)| !why.is_empty());
                let (place, _) = reason.with_context(|| format!("no reason given: {line}"))?;
                places.insert(place.trim().to_owned());
            }
        }
        Ok(Self {
            places,
            met: BTreeSet::new(),
        })
    }

    /// Is this difference known?
    pub fn covers(&mut self, difference: &Difference) -> bool {
        let found = self.places.iter().find(|known| {
            difference
                .place
                .strip_prefix(known.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
        });
        if let Some(found) = found {
            self.met.insert(found.clone());
        }
        found.is_some()
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// What no longer differs.
    pub fn stale(&self) -> impl Iterator<Item = &String> {
        self.places.difference(&self.met)
    }
}
