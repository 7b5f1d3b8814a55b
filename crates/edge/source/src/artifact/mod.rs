//! Charts of chart repositories, and OCI artifacts, as immutable trees by digest.
//!
//! [`Artifacts::poll`] asks a repository which version a range or a tag stands for, and downloads only what it does not
//! have. An archive is kept in the cache folder by the SHA-256 of its bytes; a revision names that digest
//! (`6.7.1@sha256:…`), so what a Release was made from can be had again as long as the repository serves it.
//!
//! Everything here blocks, and nothing here keeps a timer, as with Git.

mod depends;
mod http;
mod registry;
mod repository;
mod unpack;
mod version;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base_json::{Digest, Value, json};
use bytes::Bytes;

use crate::SourceError;
use crate::request::{Auth, Limits};
use crate::walk::clean;

pub use depends::{Dependency, Pinned};

/// What to ask of a chart repository or a registry.
#[derive(Debug, Clone)]
pub struct ArtifactRequest {
    /// What is followed.
    pub what: Followed,
    /// How to prove who asks.
    pub auth: Auth,
    /// PEM certificates of authorities to trust besides the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Speaks plain HTTP with a registry.
    pub insecure: bool,
    /// How long the whole poll may take.
    pub timeout: Duration,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A chart of a chart repository, `https://…` or `oci://…`.
    Chart {
        /// The repository.
        repository: String,
        /// The chart's name.
        chart: String,
        /// The version or range; empty for the newest.
        version: String,
    },
    /// An artifact of a registry.
    Oci {
        /// The repository, `oci://registry/path`.
        url: String,
        /// What of it.
        reference: OciReference,
    },
}

/// What of an OCI repository is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OciReference {
    /// A tag.
    Tag(String),
    /// The newest tag that is a version in this range.
    Range(String),
    /// A manifest by its digest.
    Digest(String),
}

/// What a poll found.
#[derive(Debug, Clone)]
pub enum ArtifactPoll {
    /// The same revision as before.
    Unchanged,
    /// Another one.
    Changed(Artifact),
}

/// One version of a chart or an artifact.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The version or tag and the digest of the archive, `6.7.1@sha256:…`.
    pub revision: String,
    /// What it is, for people.
    pub title: String,
    /// When it was made, in seconds since 1970, where the repository says so.
    pub created_at: i64,
    /// What was passed over while choosing.
    pub warnings: Vec<String>,
    files: Arc<BTreeMap<String, Bytes>>,
}

/// Every file at or below one path of an artifact.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The digest of the list of (relative path, executable, content digest), as for Git.
    pub digest: Digest,
    /// The files by their path relative to the path.
    pub files: BTreeMap<String, Bytes>,
}

/// What an archive is kept as, and where it came from.
pub(crate) struct Archive {
    pub(crate) version: String,
    pub(crate) title: String,
    pub(crate) created_at: i64,
    pub(crate) bytes: Bytes,
    pub(crate) warnings: Vec<String>,
}

/// Where a version can be had, before it is downloaded.
pub(crate) enum Chosen {
    /// It has this digest.
    Known(String),
    /// It was downloaded.
    Got(Archive),
}

/// Downloads charts and artifacts, and keeps what was downloaded.
pub struct Artifacts {
    folder: PathBuf,
    limits: Limits,
    indexes: repository::Indexes,
}

impl Artifacts {
    /// Keeps archives in `folder`, which is made if it is not there.
    pub fn open(folder: impl Into<PathBuf>, limits: Limits) -> Result<Self, SourceError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(SourceError::cache(&folder))?;
        Ok(Self {
            folder,
            limits,
            indexes: repository::Indexes::default(),
        })
    }

    /// Asks which version is meant now. `last` is the revision that is known already.
    pub fn poll(
        &self,
        request: &ArtifactRequest,
        last: Option<&str>,
    ) -> Result<ArtifactPoll, SourceError> {
        let known = |digest: &str| {
            let mut names = last.into_iter().filter_map(|last| last.split_once('@'));
            names.any(|(_, last)| last == digest) || self.path(digest).is_some_and(|p| p.exists())
        };
        let (version, chosen) = self.choose(request, &known)?;
        let archive = match chosen {
            Chosen::Known(digest) => {
                let revision = format!("{version}@{digest}");
                if last == Some(revision.as_str()) {
                    return Ok(ArtifactPoll::Unchanged);
                }
                return Ok(ArtifactPoll::Changed(self.revision(request, &revision)?));
            }
            Chosen::Got(archive) => archive,
        };
        let artifact = self.keep(request, archive)?;
        if last == Some(artifact.revision.as_str()) {
            return Ok(ArtifactPoll::Unchanged);
        }
        Ok(ArtifactPoll::Changed(artifact))
    }

    /// Reads a revision that an earlier poll named: from the cache folder, or again from the repository, whose answer
    /// must then have the same digest.
    pub fn revision(
        &self,
        request: &ArtifactRequest,
        revision: &str,
    ) -> Result<Artifact, SourceError> {
        let Some((version, digest)) = revision.rsplit_once('@') else {
            return Err(self.moved(request, revision, "it names no digest"));
        };
        if let Some(bytes) = self.kept(digest)? {
            return self.unpacked(request, revision, version.to_owned(), 0, bytes, Vec::new());
        }
        let mut exact = request.clone();
        match &mut exact.what {
            Followed::Chart { version: range, .. } => *range = version.to_owned(),
            Followed::Oci { reference, .. } => *reference = OciReference::Tag(version.to_owned()),
        }
        let (_, chosen) = self.choose(&exact, &|_| false)?;
        let Chosen::Got(archive) = chosen else {
            return Err(self.moved(request, revision, "it cannot be downloaded"));
        };
        let artifact = self.keep(&exact, archive)?;
        if artifact.revision != revision {
            let now = format!("the repository now serves {}", artifact.revision);
            return Err(self.moved(request, revision, &now));
        }
        Ok(artifact)
    }

    /// Downloads a file, and keeps it by its digest. With the digest of an earlier download, that one is given: from the cache
    /// folder, or again from its address, whose answer must then be the same.
    pub fn file(
        &self,
        url: &str,
        auth: &Auth,
        ca_bundle: Option<&[u8]>,
        timeout: Duration,
        digest: Option<&str>,
    ) -> Result<(String, Bytes), SourceError> {
        if let Some(digest) = digest
            && let Some(bytes) = self.kept(digest)?
        {
            return Ok((digest.to_owned(), bytes));
        }
        let request = ArtifactRequest {
            what: Followed::Oci {
                url: url.to_owned(),
                reference: OciReference::Digest(String::new()),
            },
            auth: auth.clone(),
            ca_bundle: ca_bundle.map(<[u8]>::to_vec),
            insecure: false,
            timeout,
        };
        let http::Answer::Body(bytes, _) =
            http::Http::new(&request)?.get(url, self.limits.blob_bytes, None)?
        else {
            return Err(SourceError::Fetch {
                url: crate::mask_url(url),
                reason: "the server says that nothing changed, though it was not asked".to_owned(),
            });
        };
        let found = Digest::of(&bytes).to_string();
        if digest.is_some_and(|digest| digest != found) {
            return Err(SourceError::Moved {
                what: format!("file {}", crate::mask_url(url)),
                revision: digest.unwrap_or_default().to_owned(),
                reason: format!("the server now answers with {found}"),
            });
        }
        self.keep_bytes(&found, &bytes)?;
        Ok((found, bytes))
    }

    fn keep_bytes(&self, digest: &str, bytes: &[u8]) -> Result<(), SourceError> {
        let Some(path) = self.path(digest) else {
            return Ok(());
        };
        let failed = |error| SourceError::cache(&path)(error);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn choose(
        &self,
        request: &ArtifactRequest,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<(String, Chosen), SourceError> {
        match &request.what {
            Followed::Chart { repository, .. } if repository.starts_with("oci://") => {
                registry::choose(request, &self.limits, known)
            }
            Followed::Chart { .. } => {
                repository::choose(request, &self.limits, &self.indexes, known)
            }
            Followed::Oci { .. } => registry::choose(request, &self.limits, known),
        }
    }

    fn keep(&self, request: &ArtifactRequest, archive: Archive) -> Result<Artifact, SourceError> {
        let digest = Digest::of(&archive.bytes).to_string();
        let revision = format!("{}@{digest}", archive.version);
        // unpacked first: what cannot be read is not kept
        let mut artifact = self.unpacked(
            request,
            &revision,
            archive.title,
            archive.created_at,
            archive.bytes.clone(),
            archive.warnings,
        )?;
        artifact.revision = revision;
        self.keep_bytes(&digest, &archive.bytes)?;
        Ok(artifact)
    }

    fn kept(&self, digest: &str) -> Result<Option<Bytes>, SourceError> {
        let Some(path) = self.path(digest) else {
            return Ok(None);
        };
        match fs::read(&path) {
            // a torn file is downloaded again
            Ok(bytes) if Digest::of(&bytes).to_string() == digest => Ok(Some(bytes.into())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::cache(path)(error)),
        }
    }

    /// The file of a digest; `None` if the text is no digest.
    fn path(&self, digest: &str) -> Option<PathBuf> {
        let digest: Digest = digest.parse().ok()?;
        Some(self.folder.join(format!("{}.tgz", digest.hex())))
    }

    fn unpacked(
        &self,
        request: &ArtifactRequest,
        revision: &str,
        title: String,
        created_at: i64,
        bytes: Bytes,
        warnings: Vec<String>,
    ) -> Result<Artifact, SourceError> {
        let files =
            unpack::unpack(&bytes, &self.limits).map_err(|reason| SourceError::BadArchive {
                what: request.what.readable(),
                reason,
            })?;
        let files = match &request.what {
            // a chart's archive holds one folder with the chart's name
            Followed::Chart { .. } => unpack::without_folder(files),
            Followed::Oci { .. } => unpack::chart_folder(files),
        };
        Ok(Artifact {
            revision: revision.to_owned(),
            title,
            created_at,
            warnings,
            files: Arc::new(files),
        })
    }

    fn moved(&self, request: &ArtifactRequest, revision: &str, reason: &str) -> SourceError {
        SourceError::Moved {
            what: request.what.readable(),
            revision: revision.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

impl Followed {
    /// What is followed, for people.
    pub fn readable(&self) -> String {
        match self {
            Self::Chart {
                repository, chart, ..
            } => format!("chart {chart:?} of {}", crate::mask_url(repository)),
            Self::Oci { url, .. } => format!("artifact {}", crate::mask_url(url)),
        }
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Chart { repository, .. } => repository,
            Self::Oci { url, .. } => url,
        }
    }
}

impl Artifact {
    /// The files at or below a path, and their digest.
    pub fn tree(&self, path: &str) -> Result<Tree, SourceError> {
        let path = clean(path)?;
        let files: BTreeMap<String, Bytes> = self
            .files
            .iter()
            .filter_map(|(name, bytes)| {
                let relative = if path.is_empty() {
                    name.as_str()
                } else if *name == path {
                    name.rsplit('/').next().unwrap_or(name)
                } else {
                    name.strip_prefix(path.as_str())?.strip_prefix('/')?
                };
                Some((relative.to_owned(), bytes.clone()))
            })
            .collect();
        if files.is_empty() {
            return Err(SourceError::PathMissing {
                path,
                commit: self.revision.clone(),
                near: Vec::new(),
            });
        }
        Ok(Tree {
            digest: tree_digest(&files),
            files,
        })
    }
}

/// The digest of files, of which none is executable.
pub fn tree_digest(files: &BTreeMap<String, Bytes>) -> Digest {
    let list: Vec<Value> = files
        .iter()
        .map(|(name, bytes)| json!([name, false, Digest::of(bytes).to_string()]))
        .collect();
    Digest::of_value(&Value::Array(list))
}
