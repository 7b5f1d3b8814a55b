//! What kustomizations are built from besides the files at an input's path: other folders of the Source, other repositories,
//! files at addresses, charts.
//!
//! What lies elsewhere is pinned when the Source is read: a base that follows a branch is looked up again with the Source's
//! next commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base_json::{Digest, json};
use bytes::Bytes;
use roadstead_control::BasePin;
use roadstead_kustomize::{Entry, Files as Tree, Need, Remote};
use roadstead_render::{Fetched, Inputs, Reading, outermost};
use roadstead_source::{
    ArtifactPoll, Auth, Dependency, GitRequest, Poll, Reference, Snapshot, mask_url,
};

use super::{Ask, Listing, PATIENCE, Reader, Tip, Wanted, ask_of, tell};

/// How many bases may lie elsewhere.
const MOST: usize = 100;

/// The files of an input, and what else it is built from.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The files by their path relative to the input's path.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// Files elsewhere in the Source, by their path from its root.
    pub(crate) outside: BTreeMap<String, Bytes>,
    /// What remote bases led to.
    pub(crate) fetched: BTreeMap<String, Fetched>,
}

impl Loaded {
    /// Makes these the files of the first input.
    pub(crate) fn put(self, path: &str, inputs: &mut Inputs) {
        inputs.first = Inputs::below(path, self.files);
        inputs.first.extend(self.outside);
        inputs.fetched = self.fetched;
    }
}

/// What kustomizations at a path are built from.
pub(super) struct Gathered {
    /// Folders and files of the Source that do not lie at the path.
    outside: Vec<String>,
    /// What lies elsewhere, as it was resolved.
    pub(super) pins: Vec<BasePin>,
    /// The charts, by their files' paths from the Source's root.
    charts: BTreeMap<String, Bytes>,
    /// The files at addresses.
    files: BTreeMap<String, Bytes>,
    /// The repositories: at which commit, the folder, and which folders and files are needed.
    repositories: BTreeMap<String, (Snapshot, String, Vec<String>)>,
}

/// A tree as kustomizations see it.
struct View {
    git: Option<Snapshot>,
    files: BTreeMap<String, Bytes>,
}

impl View {
    fn of(tip: &Tip) -> Result<Self, String> {
        Ok(match tip {
            Tip::Git(snapshot) => Self {
                git: Some(snapshot.clone()),
                files: BTreeMap::new(),
            },
            Tip::Artifact(artifact) => Self {
                git: None,
                files: artifact.tree("").map_err(|error| tell(&error))?.files,
            },
        })
    }
}

impl Tree for View {
    fn entry(&self, path: &str) -> Option<Entry> {
        if let Some(found) = self.files.entry(path).filter(|_| !path.is_empty()) {
            return Some(found);
        }
        let Some(git) = &self.git else {
            return self.files.entry(path);
        };
        Some(if git.is_folder(path)? {
            Entry::Folder(path.to_owned())
        } else {
            Entry::File(path.to_owned())
        })
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        match (self.files.get(path), &self.git) {
            (Some(bytes), _) => Ok(bytes.clone()),
            (None, Some(git)) => git.read_file(path).map_err(|error| tell(&error)),
            (None, None) => Err("no such file".to_owned()),
        }
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let mut all = self.files.below(folder);
        if let Some(Ok(names)) = self.git.as_ref().map(|git| git.list(folder)) {
            let whole = |name: String| match folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            all.extend(names.into_iter().map(whole));
        }
        all
    }
}

impl Reader {
    /// What kustomizations at a path are built from; nothing where there is none. With `pins`, what lies elsewhere is read
    /// as it was then.
    pub(super) fn gather(
        &self,
        wanted: &Wanted,
        tip: &Tip,
        path: &str,
        reading: &Reading,
        pins: Option<&[BasePin]>,
    ) -> Result<Option<Gathered>, String> {
        if *reading == Reading::Files {
            return Ok(None);
        }
        let mut view = View::of(tip)?;
        let mut charts = BTreeMap::new();
        let mut files = BTreeMap::new();
        let mut repositories: BTreeMap<String, (Snapshot, String)> = BTreeMap::new();
        let mut found: Vec<BasePin> = Vec::new();
        let plan = loop {
            let tree: Arc<dyn Tree> = Arc::new(view);
            let remotes = files.iter().map(|(address, bytes): (&String, &Bytes)| {
                (address.clone(), Remote::File(bytes.clone()))
            });
            let mut remotes: BTreeMap<String, Remote> = remotes.collect();
            for (address, (snapshot, path)) in &repositories {
                let files: Arc<dyn Tree> = Arc::new(View {
                    git: Some(snapshot.clone()),
                    files: BTreeMap::new(),
                });
                let path = path.clone();
                remotes.insert(address.clone(), Remote::Folder { files, path });
            }
            let Some(plan) = reading.plan(&tree, path, &remotes) else {
                return Ok(None);
            };
            // a chart that could not be had is asked for again
            let known: BTreeSet<&str> = found.iter().map(|pin| pin.address.as_str()).collect();
            let mut needs = plan.needs.iter();
            if needs.all(|need| known.contains(need.address())) {
                break plan;
            }
            for need in &plan.needs {
                if found.iter().any(|pin| pin.address == need.address()) {
                    continue;
                }
                if found.len() >= MOST {
                    return Err(format!(
                        "its kustomizations are built from more than {MOST} remote bases"
                    ));
                }
                let address = need.address();
                let pin = pins.map(|pins| {
                    let pin = pins.iter().find(|pin| pin.address == address);
                    let pin = pin.map(|pin| pin.revision.as_str());
                    pin.ok_or_else(|| "it was not there when the Source was read".to_owned())
                });
                let revision = pin.transpose().and_then(|pin| match need {
                    Need::File { address } => {
                        let (digest, bytes) = self.remote_file(wanted, address, pin)?;
                        files.insert(address.clone(), bytes);
                        Ok(digest)
                    }
                    Need::Git {
                        repository,
                        reference,
                        path,
                        ..
                    } => {
                        let snapshot = self.remote_tree(wanted, repository, reference, pin)?;
                        let commit = snapshot.commit.clone();
                        repositories.insert(address.to_owned(), (snapshot, path.clone()));
                        Ok(commit)
                    }
                    Need::Chart {
                        repository,
                        name,
                        version,
                        path,
                    } => {
                        let dependency = Dependency {
                            name: name.clone(),
                            version: version.clone(),
                            repository: repository.clone(),
                        };
                        let (revision, tree) = self.remote_chart(wanted, &dependency, pin)?;
                        let whole = tree
                            .into_iter()
                            .map(|(name, b)| (format!("{path}/{name}"), b));
                        charts.extend(whole);
                        Ok(revision)
                    }
                });
                let revision = revision.map_err(|problem: String| {
                    let address = mask_url(address);
                    format!("base {address:?} of a kustomization cannot be read: {problem}")
                })?;
                found.push(BasePin {
                    address: address.to_owned(),
                    revision,
                });
            }
            drop(tree);
            view = View::of(tip)?;
            view.files.extend(charts.clone());
        };
        found.sort_by(|one, other| one.address.cmp(&other.address));
        let of = |all: &BTreeSet<(String, String)>, tree: &str| -> BTreeSet<String> {
            let of = all.iter().filter(|(at, _)| at == tree);
            of.map(|(_, path)| path.clone()).collect()
        };
        let is_chart = |path: &str| {
            charts
                .keys()
                .any(|file: &String| file.starts_with(&format!("{path}/")))
        };
        let mut folders = of(&plan.folders, "");
        folders.retain(|folder| !is_chart(folder));
        let here = roadstead_render::join("", path).unwrap_or_default();
        folders.insert(here.clone());
        let mut outside = outermost(&folders, &of(&plan.files, ""));
        outside.retain(|one| *one != here);
        let repositories = repositories.into_iter().map(|(address, (snapshot, path))| {
            let mut folders = of(&plan.folders, &address);
            folders.insert(roadstead_render::join("", &path).unwrap_or_default());
            let needed = outermost(&folders, &of(&plan.files, &address));
            (address, (snapshot, path, needed))
        });
        Ok(Some(Gathered {
            outside,
            pins: found,
            charts,
            files,
            repositories: repositories.collect(),
        }))
    }

    /// Loads what was gathered.
    pub(super) fn load_gathered(
        tip: &Tip,
        gathered: Gathered,
        loaded: &mut Loaded,
    ) -> Result<(), String> {
        for path in &gathered.outside {
            load_below(&tip.list(path)?, path, &mut loaded.outside)?;
        }
        loaded.outside.extend(gathered.charts);
        let files = gathered.files.into_iter();
        loaded.fetched = files
            .map(|(address, bytes)| (address, Fetched::File(bytes)))
            .collect();
        for (address, (snapshot, path, needed)) in gathered.repositories {
            let mut files = BTreeMap::new();
            for one in needed {
                let input = snapshot.input(&one).map_err(|error| {
                    format!(
                        "base {:?} of a kustomization: {}",
                        mask_url(&address),
                        tell(&error)
                    )
                })?;
                load_below(&Listing::Git(input), &one, &mut files)?;
            }
            let files = Arc::new(files);
            loaded
                .fetched
                .insert(address, Fetched::Folder { files, path });
        }
        Ok(())
    }

    /// The digest of all that is built from.
    pub(super) fn digest_gathered(
        tip: &Tip,
        own: Digest,
        gathered: &Gathered,
    ) -> Result<Digest, String> {
        if gathered.outside.is_empty() && gathered.pins.is_empty() {
            return Ok(own);
        }
        let mut outside = Vec::new();
        for path in &gathered.outside {
            outside.push(json!([path, tip.list(path)?.digest().to_string()]));
        }
        let pins = gathered
            .pins
            .iter()
            .map(|pin| json!([pin.address, pin.revision]));
        let pins: Vec<_> = pins.collect();
        Ok(Digest::of_value(&json!([own.to_string(), outside, pins])))
    }

    fn may_read(wanted: &Wanted, url: &str) -> Result<(), String> {
        let allowed = |pattern: &String| roadstead_control::matches_text(pattern, url);
        if wanted.repositories.allowed.iter().any(allowed) {
            return Ok(());
        }
        let project = &wanted.key.project;
        Err(format!(
            "project {project:?} may not read {:?}",
            mask_url(url)
        ))
    }

    fn remote_file(
        &self,
        wanted: &Wanted,
        address: &str,
        pin: Option<&str>,
    ) -> Result<(String, Bytes), String> {
        Self::may_read(wanted, address)?;
        let found = self
            .artifacts
            .file(address, &Auth::None, None, PATIENCE, pin);
        found.map_err(|error| tell(&error))
    }

    /// A repository at a branch, a tag or a commit. A Source of the same repository says how it is read.
    fn remote_tree(
        &self,
        wanted: &Wanted,
        repository: &str,
        reference: &str,
        pin: Option<&str>,
    ) -> Result<Snapshot, String> {
        Self::may_read(wanted, repository)?;
        let mut request = GitRequest::new(repository.to_owned());
        let name = roadstead_source::normalise_url(repository);
        let known =
            wanted.repositories.known.iter().find(|spec| {
                spec.git.is_some() && roadstead_source::normalise_url(spec.url()) == name
            });
        if let Some(spec) = known {
            if let Some(Ask::Git(found)) = ask_of(spec) {
                request = found;
            }
            if !spec.secret().is_empty() {
                request.auth = (self.secrets)(&wanted.key.project, spec.secret())?;
            }
        }
        request.timeout = PATIENCE;
        let Some(commit) = pin else {
            let found = self.sources.named(&request, reference);
            return found.map_err(|error| tell(&error));
        };
        request.reference = Reference::Commit(commit.to_owned());
        match self.sources.poll(&request, None, &AtomicBool::new(false)) {
            Ok(Poll::Changed(snapshot)) => Ok(snapshot),
            Ok(Poll::Unchanged { .. }) => Err("it could not be read".to_owned()),
            Err(error) => Err(tell(&error)),
        }
    }

    fn remote_chart(
        &self,
        wanted: &Wanted,
        dependency: &Dependency,
        pin: Option<&str>,
    ) -> Result<(String, BTreeMap<String, Bytes>), String> {
        let request = self.repository(wanted, dependency)?;
        let artifact = match pin {
            Some(revision) => self.artifacts.revision(&request, revision),
            None => match self.artifacts.poll(&request, None) {
                Ok(ArtifactPoll::Changed(artifact)) => Ok(artifact),
                Ok(ArtifactPoll::Unchanged) => return Err("it could not be read".to_owned()),
                Err(error) => Err(error),
            },
        };
        let artifact = artifact.map_err(|error| tell(&error))?;
        let tree = artifact.tree("").map_err(|error| tell(&error))?;
        Ok((artifact.revision, tree.files))
    }
}

/// Loads files below a path, by their paths from the root.
fn load_below(
    listing: &Listing,
    path: &str,
    into: &mut BTreeMap<String, Bytes>,
) -> Result<(), String> {
    into.extend(Inputs::below(path, listing.load()?));
    Ok(())
}
