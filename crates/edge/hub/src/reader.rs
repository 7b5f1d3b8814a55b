//! Reads Sources of every kind: what stands at a revision, below a path.

mod bases;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base_json::{Digest, json};
use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_control::{BasePin, ChartPin, Head, HeadInput, Index, InputFact};
use roadstead_model::{Key, SourceSpec, Time};
use roadstead_render::Reading;
use roadstead_source::{
    Artifact, ArtifactPoll, ArtifactRequest, Artifacts, Auth, Dependency, Followed, GitRequest,
    OciReference, Poll, Reference, Snapshot, SourceError, Sources, SshKey,
};

use crate::clock::now;

pub(crate) use bases::Loaded;

/// How long one poll may take, a first clone included.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to ask of which repository, and what Apps read of it.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) ask: Ask,
    pub(crate) origin: String,
    pub(crate) interval: Duration,
    pub(crate) suspended: bool,
    pub(crate) secret: String,
    pub(crate) reads: BTreeMap<String, (String, Reading)>,
    pub(crate) head: Option<Head>,
    pub(crate) allowed: bool,
    /// What charts and kustomizations in this Source may be made from besides.
    repositories: Repositories,
}

/// What is asked.
#[derive(Clone)]
pub(crate) enum Ask {
    Git(GitRequest),
    Artifact(ArtifactRequest),
}

/// The repositories of a Project: what it may read, and as whom.
#[derive(Clone, Default)]
struct Repositories {
    allowed: Vec<String>,
    known: Vec<SourceSpec>,
}

/// What a Source asks for; `None` if there is no such Source.
pub(crate) fn request_of(index: &Index, key: &Key) -> Option<Wanted> {
    let (_, source) = index.sources().find(|(found, _)| *found == key)?;
    let of_project = index
        .sources()
        .filter(|(other, _)| other.project == key.project);
    let repositories = Repositories {
        allowed: index
            .project(&key.project)
            .map(|project| project.spec.sources.clone())
            .unwrap_or_default(),
        known: of_project.map(|(_, source)| source.spec.clone()).collect(),
    };
    Some(Wanted {
        key: key.clone(),
        ask: ask_of(&source.spec)?,
        origin: roadstead_control::origin(source),
        interval: Duration::from_millis(source.spec.interval.0),
        suspended: source.spec.suspend,
        secret: source.spec.secret().to_owned(),
        reads: index.reads_of(key),
        head: index.head(key).cloned(),
        allowed: index.may_read(&key.project, source.spec.url()),
        repositories,
    })
}

/// What is asked for a Source; `None` if it names no repository.
fn ask_of(spec: &SourceSpec) -> Option<Ask> {
    let pem = |bundle: &str| (!bundle.is_empty()).then(|| bundle.as_bytes().to_vec());
    if let Some(git) = &spec.git {
        let mut request = GitRequest::new(git.url.clone());
        request.reference = match (&git.branch, &git.tag, &git.commit) {
            (branch, _, _) if !branch.is_empty() => Reference::Branch(branch.clone()),
            (_, tag, _) if !tag.is_empty() => Reference::Tag(tag.clone()),
            (_, _, commit) if !commit.is_empty() => Reference::Commit(commit.clone()),
            _ => Reference::DefaultBranch,
        };
        request.timeout = PATIENCE;
        request.ca_bundle = pem(&git.ca_bundle);
        return Some(Ask::Git(request));
    }
    let artifact = |what: Followed, ca_bundle: &str, insecure: bool| {
        Some(Ask::Artifact(ArtifactRequest {
            what,
            auth: Auth::None,
            ca_bundle: pem(ca_bundle),
            insecure,
            timeout: PATIENCE,
        }))
    };
    if let Some(helm) = &spec.helm {
        let what = Followed::Chart {
            repository: helm.url.clone(),
            chart: helm.chart.clone(),
            version: helm.version.clone(),
        };
        return artifact(what, &helm.ca_bundle, helm.insecure);
    }
    let oci = spec.oci.as_ref()?;
    let reference = match (&oci.tag, &oci.semver, &oci.digest) {
        (tag, _, _) if !tag.is_empty() => OciReference::Tag(tag.clone()),
        (_, range, _) if !range.is_empty() => OciReference::Range(range.clone()),
        (_, _, digest) if !digest.is_empty() => OciReference::Digest(digest.clone()),
        _ => OciReference::Tag("latest".to_owned()),
    };
    let url = oci.url.clone();
    artifact(
        Followed::Oci { url, reference },
        &oci.ca_bundle,
        oci.insecure,
    )
}

/// Reads a Secret, by its Project and name, as credentials.
type Secrets = Box<dyn Fn(&str, &str) -> Result<Auth, String> + Send + Sync>;

/// Reads repositories, and keeps what was read last.
pub(crate) struct Reader {
    sources: Sources,
    artifacts: Artifacts,
    tips: Mutex<BTreeMap<(String, String), Tip>>,
    secrets: Secrets,
}

/// One commit, or one version of a chart or an artifact.
#[derive(Clone)]
enum Tip {
    Git(Snapshot),
    Artifact(Artifact),
}

/// The files below one path.
pub(crate) struct Files {
    /// The commit or revision.
    pub(crate) revision: String,
    /// The digest of the files, and of what else they need.
    pub(crate) digest: Digest,
    /// The files.
    pub(crate) loaded: Loaded,
    /// The charts that they need.
    pub(crate) charts: Vec<ChartPin>,
    /// The remote bases that they need.
    pub(crate) bases: Vec<BasePin>,
}

/// What stands below a path, before it is loaded.
enum Listing {
    Git(roadstead_source::Input),
    Artifact(roadstead_source::Tree),
}

impl Tip {
    fn revision(&self) -> &str {
        match self {
            Self::Git(snapshot) => &snapshot.commit,
            Self::Artifact(artifact) => &artifact.revision,
        }
    }

    fn warnings(&self) -> &[String] {
        match self {
            Self::Git(snapshot) => &snapshot.warnings,
            Self::Artifact(artifact) => &artifact.warnings,
        }
    }

    fn list(&self, path: &str) -> Result<Listing, String> {
        match self {
            Self::Git(snapshot) => snapshot.input(path).map(Listing::Git),
            Self::Artifact(artifact) => artifact.tree(path).map(Listing::Artifact),
        }
        .map_err(|error| tell(&error))
    }
}

impl Listing {
    fn digest(&self) -> Digest {
        match self {
            Self::Git(input) => input.digest,
            Self::Artifact(tree) => tree.digest,
        }
    }

    fn load(&self) -> Result<BTreeMap<String, Bytes>, String> {
        match self {
            Self::Git(input) => input.load().map_err(|error| tell(&error)),
            Self::Artifact(tree) => Ok(tree.files.clone()),
        }
    }

    /// The charts that are needed and lie elsewhere.
    fn missing(&self) -> Result<Vec<Dependency>, String> {
        const SAID: [&str; 4] = [
            "Chart.yaml",
            "Chart.lock",
            "requirements.yaml",
            "requirements.lock",
        ];
        let input = match self {
            Self::Artifact(tree) => return Ok(Dependency::missing(&tree.files)),
            Self::Git(input) => input,
        };
        if !input.files.contains_key("Chart.yaml") {
            return Ok(Vec::new());
        }
        // only what names dependencies is read; of the others the names suffice
        let files = input.files.keys().map(|name| {
            let content = if SAID.contains(&name.as_str()) {
                input.read(name).map_err(|error| tell(&error))?
            } else {
                Bytes::new()
            };
            Ok::<_, String>((name.clone(), content))
        });
        Ok(Dependency::missing(&files.collect::<Result<_, _>>()?))
    }
}

impl Reader {
    pub(crate) fn new(
        sources: Sources,
        artifacts: Artifacts,
        secrets: impl Fn(&str, &str) -> Result<Auth, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sources,
            artifacts,
            tips: Mutex::default(),
            secrets: Box::new(secrets),
        }
    }

    /// The files of a Release's input, with the charts that it needs below `charts/`, and what else it is built from.
    pub(crate) fn files(
        &self,
        wanted: &Wanted,
        input: &InputFact,
        reading: &Reading,
    ) -> Result<Loaded, String> {
        let tip = self.tip(wanted, &input.commit)?;
        let mut loaded = Loaded {
            files: tip.list(&input.path)?.load()?,
            ..Loaded::default()
        };
        let (path, files) = (&input.path, &mut loaded.files);
        self.add_charts(wanted, &tip, path, &input.charts, files)?;
        if let Some(found) = self.gather(wanted, &tip, path, reading, Some(&input.bases))? {
            Self::load_gathered(&tip, found, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Reads a path of a commit, a branch or a tag; of a chart or an artifact, the version.
    pub(crate) fn at(
        &self,
        wanted: &Wanted,
        revision: &str,
        path: &str,
        reading: &Reading,
    ) -> Result<Files, String> {
        let tip = match &wanted.ask {
            Ask::Git(_) => self.reference(wanted, revision)?,
            Ask::Artifact(_) => self.version(wanted, revision)?,
        };
        let listing = tip.list(path)?;
        let charts = self.pins(wanted, &tip, path, &listing)?;
        let mut digest = digest_of(&listing, &charts);
        let mut loaded = Loaded {
            files: listing.load()?,
            ..Loaded::default()
        };
        self.add_charts(wanted, &tip, path, &charts, &mut loaded.files)?;
        let mut bases = Vec::new();
        if let Some(found) = self.gather(wanted, &tip, path, reading, None)? {
            digest = Self::digest_gathered(&tip, digest, &found)?;
            bases.clone_from(&found.pins);
            Self::load_gathered(&tip, found, &mut loaded)?;
        }
        Ok(Files {
            revision: tip.revision().to_owned(),
            digest,
            loaded,
            charts,
            bases,
        })
    }

    fn git(&self, wanted: &Wanted, request: &GitRequest) -> Result<GitRequest, String> {
        let mut request = request.clone();
        if !wanted.secret.is_empty() {
            request.auth = (self.secrets)(&wanted.key.project, &wanted.secret)?;
        }
        Ok(request)
    }

    fn artifact(
        &self,
        wanted: &Wanted,
        request: &ArtifactRequest,
    ) -> Result<ArtifactRequest, String> {
        let mut request = request.clone();
        if !wanted.secret.is_empty() {
            request.auth = (self.secrets)(&wanted.key.project, &wanted.secret)?;
        }
        Ok(request)
    }

    fn reference(&self, wanted: &Wanted, revision: &str) -> Result<Tip, String> {
        let whole = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
        let Ask::Git(request) = &wanted.ask else {
            return self.version(wanted, revision);
        };
        if whole {
            return self.tip(wanted, revision);
        }
        let mut request = self.git(wanted, request)?;
        let mut problem = String::new();
        for reference in [
            Reference::Branch(revision.to_owned()),
            Reference::Tag(revision.to_owned()),
        ] {
            request.reference = reference;
            match self.sources.poll(&request, None, &AtomicBool::new(false)) {
                Ok(Poll::Changed(snapshot)) => return Ok(self.keep(wanted, Tip::Git(snapshot))),
                Ok(Poll::Unchanged { .. }) => {}
                // the branches that there are help more than the tags
                Err(error @ SourceError::UnknownReference { .. }) if problem.is_empty() => {
                    problem = tell(&error);
                }
                Err(SourceError::UnknownReference { .. }) => {}
                Err(error) => return Err(tell(&error)),
            }
        }
        Err(format!(
            "{revision:?} is no branch, no tag and no whole commit id: {problem}"
        ))
    }

    /// A version or a range of a chart, a tag or a digest of an artifact, or a revision as a head names it.
    fn version(&self, wanted: &Wanted, version: &str) -> Result<Tip, String> {
        if version.contains('@') {
            return self.tip(wanted, version);
        }
        let Ask::Artifact(request) = &wanted.ask else {
            return self.reference(wanted, version);
        };
        let mut request = self.artifact(wanted, request)?;
        match &mut request.what {
            Followed::Chart { version: range, .. } => version.clone_into(range),
            Followed::Oci { reference, .. } => *reference = OciReference::Tag(version.to_owned()),
        }
        let found = self.artifacts.poll(&request, None);
        match found.map_err(|error| tell(&error))? {
            ArtifactPoll::Changed(artifact) => Ok(self.keep(wanted, Tip::Artifact(artifact))),
            ArtifactPoll::Unchanged => Err(format!("version {version} could not be read")),
        }
    }

    /// What stood at a commit or a revision.
    fn tip(&self, wanted: &Wanted, revision: &str) -> Result<Tip, String> {
        let key = (wanted.ask.name(), revision.to_owned());
        if let Some(known) = self.tips.lock().get(&key) {
            return Ok(known.clone());
        }
        let tip = match &wanted.ask {
            Ask::Git(request) => {
                let mut request = self.git(wanted, request)?;
                request.reference = Reference::Commit(revision.to_owned());
                let found = self.sources.poll(&request, None, &AtomicBool::new(false));
                match found.map_err(|error| tell(&error))? {
                    Poll::Changed(snapshot) => Tip::Git(snapshot),
                    Poll::Unchanged { .. } => {
                        return Err(format!("commit {revision} could not be read"));
                    }
                }
            }
            Ask::Artifact(request) => {
                let request = self.artifact(wanted, request)?;
                let found = self.artifacts.revision(&request, revision);
                Tip::Artifact(found.map_err(|error| tell(&error))?)
            }
        };
        Ok(self.keep(wanted, tip))
    }

    fn keep(&self, wanted: &Wanted, tip: Tip) -> Tip {
        let mut kept = self.tips.lock();
        // a snapshot is a view of a clone; an artifact is its files
        let most = match tip {
            Tip::Git(_) => 256,
            Tip::Artifact(_) => 32,
        };
        if kept.len() >= most {
            kept.clear();
        }
        let key = (wanted.ask.name(), tip.revision().to_owned());
        kept.insert(key, tip.clone());
        tip
    }

    /// Polls once; the head to write if it changed.
    pub(crate) fn poll(&self, wanted: &Wanted) -> Result<Option<Head>, String> {
        // what could not be read, such as a base elsewhere, is tried again though no commit came
        let read = |input: &HeadInput| !matches!(input, HeadInput::Error(_));
        let known = wanted.head.as_ref().filter(|head| {
            let mut keys = wanted.reads.keys();
            head.origin == wanted.origin && keys.all(|key| head.inputs.get(key).is_some_and(read))
        });
        let last = known.map(|head| head.commit.as_str());
        let tip = match &wanted.ask {
            Ask::Git(request) => {
                let request = self.git(wanted, request)?;
                let found = self.sources.poll(&request, last, &AtomicBool::new(false));
                match found.map_err(|error| tell(&error))? {
                    Poll::Changed(snapshot) => Tip::Git(snapshot),
                    Poll::Unchanged { .. } => return Ok(None),
                }
            }
            Ask::Artifact(request) => {
                let request = self.artifact(wanted, request)?;
                let found = self.artifacts.poll(&request, last);
                match found.map_err(|error| tell(&error))? {
                    ArtifactPoll::Changed(artifact) => Tip::Artifact(artifact),
                    ArtifactPoll::Unchanged => return Ok(None),
                }
            }
        };
        for warning in tip.warnings() {
            tracing::warn!(source = %wanted.key, %warning, "read with a warning");
        }
        let tip = self.keep(wanted, tip);
        let inputs = wanted.reads.iter().map(|(key, (path, reading))| {
            let input = match self.head_input(wanted, &tip, path, reading) {
                Ok(input) => input,
                Err(error) => HeadInput::Error(error),
            };
            (key.clone(), input)
        });
        let inputs = inputs.collect();
        let (author, message, committed_at) = match &tip {
            Tip::Git(snapshot) => (
                snapshot.author.name.clone(),
                snapshot.title.clone(),
                snapshot.committed_at,
            ),
            Tip::Artifact(artifact) => (String::new(), artifact.title.clone(), artifact.created_at),
        };
        let head = Head {
            commit: tip.revision().to_owned(),
            author,
            message,
            committed_at: Time(committed_at.saturating_mul(1000)),
            fetched_at: now(),
            origin: wanted.origin.clone(),
            inputs,
        };
        let same = wanted.head.as_ref().is_some_and(|old| {
            let fetched_at = old.fetched_at;
            *old == Head {
                fetched_at,
                ..head.clone()
            }
        });
        Ok((!same).then_some(head))
    }

    fn head_input(
        &self,
        wanted: &Wanted,
        tip: &Tip,
        path: &str,
        reading: &Reading,
    ) -> Result<HeadInput, String> {
        let listing = tip.list(path)?;
        let charts = self.pins(wanted, tip, path, &listing)?;
        let digest = digest_of(&listing, &charts);
        if let Some(found) = self.gather(wanted, tip, path, reading, None)? {
            return Ok(HeadInput::Kustomization {
                digest: Self::digest_gathered(tip, digest, &found)?,
                bases: found.pins,
            });
        }
        Ok(if charts.is_empty() {
            HeadInput::Digest(digest)
        } else {
            HeadInput::Chart { digest, charts }
        })
    }

    /// Resolves the charts that a chart needs from elsewhere.
    fn pins(
        &self,
        wanted: &Wanted,
        tip: &Tip,
        path: &str,
        listing: &Listing,
    ) -> Result<Vec<ChartPin>, String> {
        let missing = listing.missing()?;
        let resolved = missing.into_iter().map(|dependency| {
            let revision = self.pin(wanted, tip, path, &dependency);
            let told = |problem| {
                let name = &dependency.name;
                format!("chart dependency {name:?} cannot be resolved: {problem}")
            };
            Ok(ChartPin {
                revision: revision.map_err(told)?,
                name: dependency.name,
                repository: dependency.repository,
            })
        });
        resolved.collect()
    }

    fn pin(
        &self,
        wanted: &Wanted,
        tip: &Tip,
        path: &str,
        dependency: &Dependency,
    ) -> Result<String, String> {
        let repository = &dependency.repository;
        if let Some(beside) = repository.strip_prefix("file://") {
            return Ok(tip.list(&joined(path, beside)?)?.digest().to_string());
        }
        let request = self.repository(wanted, dependency)?;
        match self.artifacts.poll(&request, None) {
            Ok(ArtifactPoll::Changed(artifact)) => Ok(artifact.revision),
            Ok(ArtifactPoll::Unchanged) => Err("it could not be read".to_owned()),
            Err(error) => Err(tell(&error)),
        }
    }

    fn repository(
        &self,
        wanted: &Wanted,
        dependency: &Dependency,
    ) -> Result<ArtifactRequest, String> {
        let repository = &dependency.repository;
        if !["https://", "http://", "oci://"]
            .iter()
            .any(|scheme| repository.starts_with(scheme))
        {
            return Err(format!(
                "its repository {repository:?} is a name that only the helm of who wrote it knows; write its URL, or commit \
                 the chart below charts/"
            ));
        }
        let allowed = |pattern: &String| roadstead_control::matches_text(pattern, repository);
        if !wanted.repositories.allowed.iter().any(allowed) {
            let project = &wanted.key.project;
            return Err(format!("project {project:?} may not read {repository:?}"));
        }
        let what = Followed::Chart {
            repository: repository.clone(),
            chart: dependency.name.clone(),
            version: dependency.version.clone(),
        };
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        let known = wanted
            .repositories
            .known
            .iter()
            .find(|spec| spec.helm.is_some() && bare(spec.url()) == bare(repository));
        let mut request = ArtifactRequest {
            what: what.clone(),
            auth: Auth::None,
            ca_bundle: None,
            insecure: false,
            timeout: PATIENCE,
        };
        // a Source of the same repository says how it is read
        if let Some(spec) = known {
            if let Some(Ask::Artifact(found)) = ask_of(spec) {
                request = ArtifactRequest { what, ..found };
            }
            if !spec.secret().is_empty() {
                request.auth = (self.secrets)(&wanted.key.project, spec.secret())?;
            }
        }
        Ok(request)
    }

    fn add_charts(
        &self,
        wanted: &Wanted,
        tip: &Tip,
        path: &str,
        charts: &[ChartPin],
        files: &mut BTreeMap<String, Bytes>,
    ) -> Result<(), String> {
        for pin in charts {
            let (folder, found) = if let Some(beside) = pin.repository.strip_prefix("file://") {
                (pin.name.clone(), tip.list(&joined(path, beside)?)?.load()?)
            } else {
                let (version, _) = pin.revision.rsplit_once('@').unwrap_or((&pin.revision, ""));
                let dependency = Dependency {
                    name: pin.name.clone(),
                    version: version.to_owned(),
                    repository: pin.repository.clone(),
                };
                let request = self.repository(wanted, &dependency)?;
                let artifact = self.artifacts.revision(&request, &pin.revision);
                let tree = artifact.and_then(|artifact| artifact.tree(""));
                let tree = tree.map_err(|error| tell(&error))?;
                (format!("{}-{version}", pin.name), tree.files)
            };
            for (name, bytes) in found {
                files.insert(format!("charts/{folder}/{name}"), bytes);
            }
        }
        Ok(())
    }
}

impl Ask {
    /// What is read, without the version that is followed: a key for what was read of it.
    fn name(&self) -> String {
        match self {
            Self::Git(request) => request.url.clone(),
            Self::Artifact(request) => match &request.what {
                Followed::Chart {
                    repository, chart, ..
                } => format!("{repository} {chart}"),
                Followed::Oci { url, .. } => url.clone(),
            },
        }
    }
}

fn digest_of(listing: &Listing, charts: &[ChartPin]) -> Digest {
    if charts.is_empty() {
        return listing.digest();
    }
    let charts: Vec<_> = charts
        .iter()
        .map(|pin| json!([pin.name, pin.repository, pin.revision]))
        .collect();
    Digest::of_value(&json!([listing.digest().to_string(), charts]))
}

/// A path beside a chart, which must not leave the tree.
fn joined(path: &str, beside: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    for part in beside.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("file://{beside} leaves the tree of the Source"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// An error with its causes and its hint, in one text.
fn tell(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(" (");
        text.push_str(&hint);
        text.push(')');
    }
    text
}

/// Reads a Secret's data as credentials.
pub(crate) fn auth_of(data: &BTreeMap<String, String>) -> Result<Auth, String> {
    let get = |key: &str| data.get(key).filter(|value| !value.is_empty());
    if let Some(key) = get("sshPrivateKey") {
        return Ok(Auth::Ssh {
            key: SshKey::Inline(key.clone()),
            known_hosts: get("knownHosts").cloned(),
        });
    }
    if let Some(token) = get("token") {
        return Ok(Auth::Token(token.clone()));
    }
    match (get("username"), get("password")) {
        (Some(user), Some(password)) => Ok(Auth::Basic {
            user: user.clone(),
            password: password.clone(),
        }),
        _ => Err("it needs `username` and `password`, `token`, or `sshPrivateKey`".to_owned()),
    }
}
