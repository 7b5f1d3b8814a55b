//! What a kustomization on this machine is built from and lies elsewhere: repositories, files at addresses, charts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use roadstead_kustomize::{Entry, Files, Need, Remote};
use roadstead_source::{
    ArtifactPoll, ArtifactRequest, Artifacts, Auth, Followed, GitRequest, Limits, Snapshot,
    SourceError, Sources, mask_url,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What was fetched so far, and where from.
pub(crate) struct Elsewhere {
    sources: Sources,
    artifacts: Artifacts,
    pub(crate) remotes: BTreeMap<String, Remote>,
    /// Charts, by their files' paths in the tree.
    pub(crate) charts: BTreeMap<String, Bytes>,
    known: Vec<String>,
}

impl Elsewhere {
    /// Keeps clones in the user's cache folder, so that the next build fetches only what is new.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
        let folder =
            cache.context("there is no home folder to keep clones in: set XDG_CACHE_HOME")?;
        let folder = folder.join("roadstead/bases");
        let limits = Limits::default();
        let mut tries = 0;
        let sources = loop {
            match Sources::open(folder.join("git"), limits) {
                // another build beside this one
                Err(SourceError::CacheInUse { .. }) if tries < 30 => tries += 1,
                done => break done?,
            }
        };
        Ok(Self {
            sources,
            artifacts: Artifacts::open(folder.join("artifacts"), limits)?,
            remotes: BTreeMap::new(),
            charts: BTreeMap::new(),
            known: Vec::new(),
        })
    }

    /// Fetches what is needed and is not here; says whether there was any.
    pub(crate) fn fetch(&mut self, needs: &[Need]) -> anyhow::Result<bool> {
        let mut any = false;
        for need in needs {
            let address = need.address();
            if self.known.iter().any(|known| known == address) {
                continue;
            }
            any = true;
            self.known.push(address.to_owned());
            let shown = mask_url(address);
            self.get(need)
                .with_context(|| format!("base {shown:?} cannot be read"))?;
        }
        Ok(any)
    }

    fn get(&mut self, need: &Need) -> anyhow::Result<()> {
        match need {
            Need::File { address } => {
                let found = self
                    .artifacts
                    .file(address, &Auth::None, None, PATIENCE, None);
                let (_, bytes) = found.map_err(told)?;
                self.remotes.insert(address.clone(), Remote::File(bytes));
            }
            Need::Git {
                address,
                repository,
                reference,
                path,
                ..
            } => {
                let request = GitRequest::new(repository.clone());
                let snapshot = self.sources.named(&request, reference).map_err(told)?;
                let remote = Remote::Folder {
                    files: Arc::new(Commit(snapshot)),
                    path: path.clone(),
                };
                self.remotes.insert(address.clone(), remote);
            }
            Need::Chart {
                repository,
                name,
                version,
                path,
            } => {
                let request = ArtifactRequest {
                    what: Followed::Chart {
                        repository: repository.clone(),
                        chart: name.clone(),
                        version: version.clone(),
                    },
                    auth: Auth::None,
                    ca_bundle: None,
                    insecure: false,
                    timeout: PATIENCE,
                };
                let ArtifactPoll::Changed(chart) =
                    self.artifacts.poll(&request, None).map_err(told)?
                else {
                    return Err(anyhow!("chart {name} of {repository} could not be read"));
                };
                let tree = chart.tree("").map_err(told)?;
                let files = tree.files.into_iter();
                self.charts
                    .extend(files.map(|(file, bytes)| (format!("{path}/{file}"), bytes)));
            }
        }
        Ok(())
    }
}

fn told(error: SourceError) -> anyhow::Error {
    let hint = error.hint();
    let error = anyhow::Error::from(error);
    match hint {
        Some(hint) => anyhow!("{error:#} ({hint})"),
        None => error,
    }
}

/// The tree of a commit.
struct Commit(Snapshot);

impl Files for Commit {
    fn entry(&self, path: &str) -> Option<Entry> {
        Some(if self.0.is_folder(path)? {
            Entry::Folder(path.to_owned())
        } else {
            Entry::File(path.to_owned())
        })
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        self.0.read_file(path).map_err(|error| error.to_string())
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let names = self.0.list(folder).unwrap_or_default();
        let whole = |name: String| match folder {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        names.into_iter().map(whole).collect()
    }
}
