//! One bare clone on disk, and how it goes away again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use crate::digests::Digests;
use crate::guard::lock;
use crate::{Limits, SourceError};

/// A bare repository. It is shared by every snapshot that was taken of it; once retired, its folder goes with the last
/// of them.
pub(crate) struct Clone {
    repo: gix::ThreadSafeRepository,
    dir: PathBuf,
    /// The URL, masked.
    pub(crate) url: String,
    pub(crate) limits: Limits,
    pub(crate) digests: Arc<Digests>,
    retired: AtomicBool,
    damaged: Mutex<Option<String>>,
    /// Trees below which everything was seen to be there.
    complete: Mutex<HashSet<ObjectId>>,
}

/// Trees remembered as complete, before the memory starts anew.
const MOST_COMPLETE: usize = 200_000;

impl Clone {
    /// Opens the clone in `dir`, or makes an empty one there.
    pub(crate) fn open(
        dir: PathBuf,
        url: &str,
        limits: Limits,
        digests: Arc<Digests>,
    ) -> Result<Self, SourceError> {
        let corrupt = |reason: String| SourceError::Corrupt {
            url: url.to_owned(),
            reason,
        };
        let repo = if dir.join("HEAD").is_file() {
            remove_leftovers(&dir).map_err(SourceError::cache(dir.clone()))?;
            check_packs(&dir).map_err(corrupt)?;
            options(limits).open(dir.clone())
        } else if dir.exists() {
            // A clone that was never finished.
            return Err(corrupt("it was never finished".into()));
        } else {
            gix::ThreadSafeRepository::init_opts(
                &dir,
                gix::create::Kind::Bare,
                gix::create::Options::default(),
                options(limits),
            )
        };
        let repo = repo.map_err(|e| corrupt(crate::transport::chain(e.error())))?;
        Ok(Self {
            repo,
            dir,
            url: url.to_owned(),
            limits,
            digests,
            retired: AtomicBool::new(false),
            damaged: Mutex::new(None),
            complete: Mutex::default(),
        })
    }

    /// Returns a handle for one thread.
    pub(crate) fn repo(&self) -> gix::Repository {
        let mut repo = self.repo.to_thread_local();
        repo.object_cache_size_if_unset(4 << 20);
        repo
    }

    pub(crate) fn pack_folder(&self) -> PathBuf {
        self.dir.join("objects").join("pack")
    }

    /// Counts the packs: every fetch leaves one.
    pub(crate) fn packs(&self) -> usize {
        fs::read_dir(self.pack_folder()).map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.path().extension().is_some_and(|e| e == "pack"))
                .count()
        })
    }

    /// Lets the folder go as soon as no snapshot needs it any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Remembers that something in it cannot be read, so that the next poll makes it again.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> SourceError {
        let reason = reason.into();
        *lock(&self.damaged) = Some(reason.clone());
        SourceError::Corrupt {
            url: self.url.clone(),
            reason,
        }
    }

    /// Says what was found to be damaged.
    pub(crate) fn damage(&self) -> Option<String> {
        lock(&self.damaged).clone()
    }

    /// Checks that every object below a tree is there. It reads trees, and only looks blobs up.
    pub(crate) fn check_complete(
        &self,
        repo: &gix::Repository,
        root: ObjectId,
    ) -> Result<(), SourceError> {
        let mut seen = HashSet::new();
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            if lock(&self.complete).contains(&id) || !seen.insert(id) {
                continue;
            }
            let tree = self.tree(repo, id)?;
            for entry in &tree {
                match entry.kind {
                    EntryKind::Tree => open.push(entry.id),
                    EntryKind::Commit => {}
                    _ if repo.has_object(entry.id) => {}
                    _ => return Err(self.damaged(format!("object {} is missing", entry.id))),
                }
            }
        }
        let mut complete = lock(&self.complete);
        if complete.len() + seen.len() > MOST_COMPLETE {
            complete.clear();
        }
        complete.extend(seen);
        Ok(())
    }

    /// Reads one tree.
    pub(crate) fn tree(
        &self,
        repo: &gix::Repository,
        id: ObjectId,
    ) -> Result<Vec<TreeEntry>, SourceError> {
        let damaged = |what: &str| self.damaged(format!("tree {id} {what}"));
        let object = repo
            .find_object(id)
            .map_err(|_| damaged("cannot be read"))?;
        if object.kind != gix::objs::Kind::Tree {
            return Err(damaged("is no tree"));
        }
        verify(id, object.kind, &object.data).map_err(|()| damaged("has other content"))?;
        let tree = gix::objs::TreeRef::from_bytes(&object.data, id.kind())
            .map_err(|_| damaged("cannot be read"))?;
        Ok(tree
            .entries
            .iter()
            .map(|entry| TreeEntry {
                name: entry.filename.to_vec(),
                id: entry.oid.to_owned(),
                kind: entry.mode.kind(),
            })
            .collect())
    }

    /// Reads one blob whole; the caller has looked at its size before.
    pub(crate) fn blob(
        &self,
        repo: &gix::Repository,
        id: ObjectId,
    ) -> Result<Vec<u8>, SourceError> {
        let damaged = |what: &str| self.damaged(format!("blob {id} {what}"));
        let mut object = repo
            .find_object(id)
            .map_err(|_| damaged("cannot be read"))?;
        if object.kind != gix::objs::Kind::Blob {
            return Err(damaged("is no blob"));
        }
        verify(id, object.kind, &object.data).map_err(|()| damaged("has other content"))?;
        Ok(std::mem::take(&mut object.data))
    }

    /// Reads the size of a blob without its content.
    pub(crate) fn blob_size(
        &self,
        repo: &gix::Repository,
        id: ObjectId,
    ) -> Result<u64, SourceError> {
        match repo.find_header(id) {
            Ok(header) if header.kind() == gix::objs::Kind::Blob => Ok(header.size()),
            _ => Err(self.damaged(format!("blob {id} cannot be read"))),
        }
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// One entry of a tree.
#[derive(Debug, Clone)]
pub(crate) struct TreeEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) id: ObjectId,
    pub(crate) kind: EntryKind,
}

/// Packs carry no check of single objects, so what a damaged disk answers is compared with its name.
fn verify(id: ObjectId, kind: gix::objs::Kind, data: &[u8]) -> Result<(), ()> {
    match gix::objs::compute_hash(id.kind(), kind, data) {
        Ok(found) if found == id => Ok(()),
        _ => Err(()),
    }
}

/// Options that read nothing but the repository's own configuration file.
fn options(limits: Limits) -> gix::open::Options {
    gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .open_path_as_is(true)
        // The default counts the packs there are at opening, which for a new clone is none; every fetch adds one.
        .object_store_slots(gix::odb::store::init::Slots::Given(256))
        .config_overrides([
            format!("gitoxide.objects.allocLimit={}", limits.object_bytes),
            "protocol.version=2".to_owned(),
            "pack.threads=2".to_owned(),
            "core.logAllRefUpdates=false".to_owned(),
            "gitoxide.committer.nameFallback=roadstead".to_owned(),
            "gitoxide.committer.emailFallback=roadstead@localhost".to_owned(),
            concat!("gitoxide.userAgent=roadstead/", env!("CARGO_PKG_VERSION")).to_owned(),
        ])
}

/// Removes the locks and unfinished packs that a killed process left behind.
fn remove_leftovers(dir: &Path) -> std::io::Result<()> {
    let packs = dir.join("objects").join("pack");
    for folder in [dir, &packs, &dir.join("refs").join("roadstead")] {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let ending = path
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or_default();
            let finished = matches!(ending, "pack" | "idx");
            if ending == "lock" || (folder == packs && !finished && path.is_file()) {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// Checks that each pack has its index, and is as long as that says: the index repeats the pack's last bytes.
fn check_packs(dir: &Path) -> Result<(), String> {
    let folder = dir.join("objects").join("pack");
    let entries = fs::read_dir(&folder).map_err(|e| format!("no packs: {e}"))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let damaged = |what: &str| format!("{name} {what}");
        match path.extension().and_then(|e| e.to_str()) {
            Some("pack") => {
                let index = tail(&path.with_extension("idx"), 40).ok_or(damaged("has no index"))?;
                let pack = tail(&path, 20).ok_or(damaged("is cut off"))?;
                if index[..20] != pack[..] {
                    return Err(damaged("is not what its index says"));
                }
            }
            Some("idx") if !path.with_extension("pack").is_file() => {
                return Err(damaged("has no pack"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn tail(path: &Path, bytes: usize) -> Option<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = fs::File::open(path).ok()?;
    file.seek(SeekFrom::End(-i64::try_from(bytes).ok()?)).ok()?;
    let mut tail = Vec::with_capacity(bytes);
    file.read_to_end(&mut tail).ok()?;
    (tail.len() == bytes).then_some(tail)
}
