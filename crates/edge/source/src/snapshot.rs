//! One commit: who made it, and what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base_json::{Digest, Value, json};
use bytes::Bytes;
use gix::ObjectId;

use crate::SourceError;
use crate::clone::Clone as GitClone;
use crate::digests::Known;
use crate::walk::{Walk, clean};

/// One commit of one repository. Its tree is read when it is asked for, from the local clone.
#[derive(Clone)]
pub struct Snapshot {
    /// The commit id, 40 hexadecimal digits.
    pub commit: String,
    /// Who wrote the change.
    pub author: Author,
    /// When it was committed, in seconds since 1970.
    pub committed_at: i64,
    /// The first line of the message.
    pub title: String,
    /// The whole message.
    pub message: String,
    /// What the poll has to say besides, such as that a damaged clone was made again.
    pub warnings: Vec<String>,
    clone: Arc<GitClone>,
    tree: ObjectId,
}

/// Who wrote a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

/// Every file at or below one path of one commit.
#[derive(Clone)]
pub struct Input {
    /// The path, relative to the repository's root; empty for the whole tree.
    pub path: String,
    /// The digest of the list of (relative path, executable, content digest). It does not depend on the commit, nor on
    /// whether a file is there itself or through a symbolic link.
    pub digest: Digest,
    /// The files by their path relative to [`Input::path`]. A path that is a file holds itself, by its name.
    pub files: BTreeMap<String, Blob>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
    clone: Arc<GitClone>,
}

/// One file of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// The digest of its content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether Git marks it as executable.
    pub executable: bool,
    id: ObjectId,
}

impl Snapshot {
    pub(crate) fn read(clone: Arc<GitClone>, commit: ObjectId) -> Result<Self, SourceError> {
        let repo = clone.repo();
        let damaged = |e: &gix::Error| clone.damaged(format!("commit {commit}: {e}"));
        let found = repo.find_commit(commit).map_err(|e| damaged(&e))?;
        let decoded = found.decode().map_err(|e| damaged(&e))?;
        let author = decoded.author().map_err(|e| damaged(&e))?.trim();
        let message = decoded.message.to_string();
        let snapshot = Self {
            commit: commit.to_string(),
            author: Author {
                name: author.name.to_string(),
                email: author.email.to_string(),
            },
            committed_at: found.time().map_err(|e| damaged(&e))?.seconds,
            title: message.lines().next().unwrap_or_default().trim().to_owned(),
            message,
            warnings: Vec::new(),
            tree: decoded.tree(),
            clone: clone.clone(),
        };
        clone.check_complete(&repo, snapshot.tree)?;
        Ok(snapshot)
    }

    /// Reads every file at or below `path`, within the limits, and digests them.
    ///
    /// Only files whose digest is not known yet are read; a file larger than allowed is refused before it is read.
    pub fn input(&self, path: &str) -> Result<Input, SourceError> {
        let path = clean(path)?;
        let repo = self.clone.repo();
        let limits = self.clone.limits;
        let listing = Walk::new(&self.clone, &repo, &self.commit, self.tree).list(&path)?;
        let mut files = BTreeMap::new();
        let mut total = 0u64;
        let full = |name: &str| match path.as_str() {
            "" => name.to_owned(),
            // An input that is one file is that file.
            _ if path.ends_with(name) && listing.files.len() == 1 => path.clone(),
            _ => format!("{path}/{name}"),
        };
        // All sizes first: what is refused must not cost the reading of the rest.
        let mut sizes = Vec::with_capacity(listing.files.len());
        for (name, found) in &listing.files {
            let known = self.clone.digests.get(&found.id);
            let size = match known {
                Some(known) => known.size,
                None => self.clone.blob_size(&repo, found.id)?,
            };
            if size > limits.blob_bytes {
                return Err(SourceError::FileTooLarge {
                    path: full(name),
                    size,
                    limit: limits.blob_bytes,
                });
            }
            total = total.saturating_add(size);
            if total > limits.tree_bytes {
                return Err(SourceError::TreeTooLarge {
                    file: full(name),
                    path: path.clone(),
                    limit: limits.tree_bytes,
                });
            }
            sizes.push((size, known));
        }
        for ((name, found), (size, known)) in listing.files.iter().zip(sizes) {
            let digest = match known {
                Some(known) => known.digest,
                None => {
                    let digest = Digest::of(&self.clone.blob(&repo, found.id)?);
                    self.clone.digests.put(found.id, Known { digest, size });
                    digest
                }
            };
            files.insert(
                name.clone(),
                Blob {
                    digest,
                    size,
                    executable: found.executable,
                    id: found.id,
                },
            );
        }
        self.clone.digests.save();
        Ok(Input {
            digest: digest_of(&files),
            path,
            files,
            warnings: listing.warnings,
            clone: self.clone.clone(),
        })
    }

    /// Digests everything at or below `path`, as [`Snapshot::input`] does: two commits that agree below a path agree
    /// here.
    pub fn subtree_digest(&self, path: &str) -> Result<Digest, SourceError> {
        self.input(path).map(|input| input.digest)
    }

    /// Lists the paths of all files at or below `path`, relative to it, without reading them.
    pub fn list(&self, path: &str) -> Result<Vec<String>, SourceError> {
        let path = clean(path)?;
        let repo = self.clone.repo();
        let listing = Walk::new(&self.clone, &repo, &self.commit, self.tree).list(&path)?;
        Ok(listing.files.into_keys().collect())
    }

    /// Is a path a folder? `None` if there is nothing, or nothing that can be read.
    pub fn is_folder(&self, path: &str) -> Option<bool> {
        let path = clean(path).ok()?;
        let repo = self.clone.repo();
        Walk::new(&self.clone, &repo, &self.commit, self.tree).is_folder(&path)
    }

    /// Reads one file.
    pub fn read_file(&self, path: &str) -> Result<Bytes, SourceError> {
        let path = clean(path)?;
        let repo = self.clone.repo();
        let found = Walk::new(&self.clone, &repo, &self.commit, self.tree).file(&path)?;
        let size = self.clone.blob_size(&repo, found.id)?;
        let limit = self.clone.limits.blob_bytes;
        if size > limit {
            return Err(SourceError::FileTooLarge { path, size, limit });
        }
        Ok(self.clone.blob(&repo, found.id)?.into())
    }
}

impl Input {
    /// Reads one file, and checks it against its digest.
    pub fn read(&self, file: &str) -> Result<Bytes, SourceError> {
        let blob = self
            .files
            .get(file)
            .ok_or_else(|| SourceError::PathMissing {
                path: format!("{}/{file}", self.path),
                commit: String::new(),
                near: Vec::new(),
            })?;
        self.content(blob)
    }

    /// Reads all files.
    pub fn load(&self) -> Result<BTreeMap<String, Bytes>, SourceError> {
        self.files
            .iter()
            .map(|(name, blob)| Ok((name.clone(), self.content(blob)?)))
            .collect()
    }

    fn content(&self, blob: &Blob) -> Result<Bytes, SourceError> {
        let bytes = self.clone.blob(&self.clone.repo(), blob.id)?;
        if Digest::of(&bytes) != blob.digest {
            return Err(self
                .clone
                .damaged(format!("blob {} has another digest", blob.id)));
        }
        Ok(bytes.into())
    }
}

fn digest_of(files: &BTreeMap<String, Blob>) -> Digest {
    let list: Vec<Value> = files
        .iter()
        .map(|(name, blob)| json!([name, blob.executable, blob.digest.to_string()]))
        .collect();
    Digest::of_value(&Value::Array(list))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("commit", &self.commit)
            .field("title", &self.title)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("path", &self.path)
            .field("digest", &self.digest)
            .field("files", &self.files.len())
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}
