//! All repositories: one clone per URL, one conversation per clone at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base_json::Digest;
use gix::ObjectId;
use gix::objs::Kind;

use crate::SourceError;
use crate::clone::Clone as GitClone;
use crate::digests::Digests;
use crate::guard::{self, Stopped, lock};
use crate::remote::{self, Talk};
use crate::request::{Auth, GitRequest, Limits, Reference, SshKey};
use crate::snapshot::Snapshot;
use crate::url::RemoteUrl;

/// Packs in one clone, before it is made anew: every fetch adds one, and nothing else removes them.
const MOST_PACKS: usize = 64;

/// What a poll found.
#[derive(Debug)]
pub enum Poll {
    /// The reference stands where the caller said it last did.
    Unchanged {
        /// The commit id.
        commit: String,
    },
    /// The reference stands somewhere else, or the caller did not say where it last did.
    Changed(Snapshot),
}

/// Reads repositories through clones in one cache folder, which no other process may use meanwhile.
pub struct Sources {
    folder: PathBuf,
    limits: Limits,
    programs: Programs,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// Held for its lock.
    _lock: fs::File,
}

/// The programs that some transports need.
pub(crate) struct Programs {
    pub(crate) git: OsString,
    pub(crate) ssh: OsString,
}

/// One URL.
struct Slot {
    folder: PathBuf,
    digests: Arc<Digests>,
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    busy: bool,
    clone: Option<Arc<GitClone>>,
    /// The number of the clone to make next, once one was retired: snapshots may still read the earlier ones.
    next: Option<u64>,
    /// Digests of credentials that the remote accepted. A commit that lies here already is handed out without asking
    /// the remote only to who could have fetched it.
    accepted: BTreeSet<Digest>,
}

impl Sources {
    /// Opens the cache folder, making it if need be.
    pub fn open(cache_dir: impl Into<PathBuf>, limits: Limits) -> Result<Self, SourceError> {
        let folder = cache_dir.into();
        fs::create_dir_all(folder.join("clones")).map_err(SourceError::cache(folder.clone()))?;
        let lock_path = folder.join("lock");
        let lock_file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(SourceError::cache(lock_path.clone()))?;
        // An earlier process may be on its way out; a program that it is just starting holds its files for a moment.
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match lock_file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(SourceError::CacheInUse { path: folder });
                }
                Err(fs::TryLockError::Error(source)) => {
                    return Err(SourceError::Cache {
                        path: lock_path,
                        source,
                    });
                }
            }
        }
        let private = folder.join("private");
        // Keys that a killed process left behind.
        let _ = fs::remove_dir_all(&private);
        make_private(&private).map_err(SourceError::cache(private.clone()))?;
        Ok(Self {
            folder,
            limits,
            programs: Programs {
                git: "git".into(),
                ssh: "ssh".into(),
            },
            slots: Mutex::default(),
            _lock: lock_file,
        })
    }

    /// Uses another ssh program than the `ssh` on the path. It is started as it is, without a shell.
    pub fn with_ssh_program(mut self, program: impl Into<OsString>) -> Self {
        self.programs.ssh = program.into();
        self
    }

    /// Uses another git program than the `git` on the path, for local repositories only.
    pub fn with_git_program(mut self, program: impl Into<OsString>) -> Self {
        self.programs.git = program.into();
        self
    }

    /// Removes the clones of all repositories but those at `urls`, and says how many went.
    ///
    /// A clone that a poll or a snapshot still uses stays until the next call.
    pub fn retain<'a>(
        &self,
        urls: impl IntoIterator<Item = &'a str>,
    ) -> Result<usize, SourceError> {
        let kept: BTreeSet<String> = urls
            .into_iter()
            .filter_map(|url| RemoteUrl::parse(url).ok())
            .map(|url| url.clone_key())
            .collect();
        let clones = self.folder.join("clones");
        let cache = || SourceError::cache(clones.clone());
        let mut removed = 0;
        for entry in fs::read_dir(&clones).map_err(cache())? {
            let entry = entry.map_err(cache())?;
            let key = entry.file_name().to_string_lossy().into_owned();
            if kept.contains(&key) {
                continue;
            }
            // Held to the end: a poll that begins now would find its folder gone.
            let mut slots = lock(&self.slots);
            if let Some(slot) = slots.get(&key) {
                if Arc::strong_count(slot) > 1 {
                    continue;
                }
                let state = lock(&slot.state);
                if state
                    .clone
                    .as_ref()
                    .is_some_and(|c| Arc::strong_count(c) > 1)
                {
                    continue;
                }
            }
            slots.remove(&key);
            fs::remove_dir_all(entry.path()).map_err(SourceError::cache(entry.path()))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Fetches what a name stands for where nobody says of what kind it is: a commit, else a branch, else a tag; nothing is
    /// the default branch.
    pub fn named(&self, request: &GitRequest, name: &str) -> Result<Snapshot, SourceError> {
        let whole = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let tries = match name {
            "" => vec![Reference::DefaultBranch],
            commit if whole => vec![Reference::Commit(commit.to_owned())],
            name => vec![
                Reference::Branch(name.to_owned()),
                Reference::Tag(name.to_owned()),
            ],
        };
        let mut problem = None;
        for reference in tries {
            let request = GitRequest {
                reference,
                ..request.clone()
            };
            match self.poll(&request, None, &AtomicBool::new(false)) {
                Ok(Poll::Changed(snapshot)) => return Ok(snapshot),
                Ok(Poll::Unchanged { .. }) => {}
                Err(error @ SourceError::UnknownReference { .. }) => {
                    problem = problem.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(problem.unwrap_or(SourceError::UnknownReference {
            url: crate::mask_url(&request.url),
            reference: name.to_owned(),
            known: Vec::new(),
        }))
    }

    /// Asks where a reference stands, and fetches it if that is not `last`.
    ///
    /// `last` is the commit of a snapshot that the caller still holds, or needs no more: without one (after a restart,
    /// say), the answer is always [`Poll::Changed`], and nothing is fetched that lies in the cache already.
    ///
    /// Polls of one URL wait for each other, within the request's timeout; polls of different URLs do not. `interrupt`
    /// may be set from another thread to end the poll: at once where a program carries the bytes; where HTTP does, when
    /// the next bytes come, or at the timeout.
    pub fn poll(
        &self,
        request: &GitRequest,
        last: Option<&str>,
        interrupt: &AtomicBool,
    ) -> Result<Poll, SourceError> {
        let url = RemoteUrl::parse(&request.url)?;
        remote::check_reference(&request.reference)?;
        if let (Reference::Commit(id), Some(last)) = (&request.reference, last)
            && id.eq_ignore_ascii_case(last)
        {
            return Ok(Poll::Unchanged {
                commit: last.to_owned(),
            });
        }
        let deadline = Instant::now() + request.timeout;
        let slot = self.slot(&url);
        let turn = slot.wait(&url, request, deadline, interrupt)?;
        let mut warnings = Vec::new();
        loop {
            // Who holds a snapshot of a damaged clone needs a new one, although the reference did not move.
            let last = last.filter(|_| warnings.is_empty());
            match self.attempt(&url, request, last, deadline, interrupt, &slot) {
                // Once: a clone that comes out damaged twice is no accident of this disk.
                Err(SourceError::Corrupt { reason, .. }) if warnings.is_empty() => {
                    tracing::warn!(url = %url.shown, %reason, "local clone is damaged, cloning again");
                    turn.discard();
                    warnings.push(format!(
                        "the local clone was damaged and made again: {reason}"
                    ));
                }
                Ok(Poll::Changed(mut snapshot)) => {
                    snapshot.warnings.extend(warnings);
                    return Ok(Poll::Changed(snapshot));
                }
                other => return other,
            }
        }
    }

    fn slot(&self, url: &RemoteUrl) -> Arc<Slot> {
        let key = url.clone_key();
        let mut slots = lock(&self.slots);
        let slot = slots.entry(key.clone()).or_insert_with(|| {
            let folder = self.folder.join("clones").join(key);
            Arc::new(Slot {
                digests: Arc::new(Digests::open(folder.join("digests"))),
                folder,
                state: Mutex::default(),
                free: Condvar::new(),
            })
        });
        slot.clone()
    }

    fn attempt(
        &self,
        url: &RemoteUrl,
        request: &GitRequest,
        last: Option<&str>,
        deadline: Instant,
        interrupt: &AtomicBool,
        slot: &Slot,
    ) -> Result<Poll, SourceError> {
        let clone = slot.clone(url, self.limits)?;
        let who = fingerprint(&request.auth, url);
        if let Reference::Commit(id) = &request.reference
            && lock(&slot.state).accepted.contains(&who)
            && let Ok(id) = ObjectId::from_hex(id.as_bytes())
            && clone.repo().has_object(id)
        {
            return Snapshot::read(clone, id).map(Poll::Changed);
        }
        let private = self.folder.join("private");
        let packs = clone.pack_folder();
        let limit = self.limits.clone_bytes;
        let too_large = |slot: &Slot| {
            slot.retire();
            SourceError::CloneTooLarge {
                url: url.shown.clone(),
                limit,
            }
        };
        let (result, stopped) = guard::run(
            deadline,
            interrupt,
            &packs,
            // The bound is on one fetch: what earlier ones left is dealt with below.
            limit.saturating_add(guard::folder_bytes(&packs)),
            |guard| {
                let talk = Talk {
                    url,
                    request,
                    programs: &self.programs,
                    private: &private,
                    guard,
                    object_limit: self.limits.object_bytes,
                };
                let repo = clone.repo();
                let id = remote::update(&talk, &repo, |commit| {
                    last == Some(commit.to_string().as_str()) || repo.has_object(commit)
                })?;
                if last == Some(id.to_string().as_str()) {
                    return Ok(None);
                }
                let commit = peel(url, request, &clone, &repo, id)?;
                if last == Some(commit.to_string().as_str()) {
                    return Ok(None);
                }
                Snapshot::read(clone.clone(), commit).map(Some)
            },
        );
        let result = match (result, stopped) {
            (Some(Ok(found)), _) => Ok(found),
            (_, Some(Stopped::Timeout)) => Err(SourceError::Timeout {
                url: url.shown.clone(),
                seconds: request.timeout.as_secs(),
            }),
            (_, Some(Stopped::Interrupted)) => Err(SourceError::Interrupted {
                url: url.shown.clone(),
            }),
            (_, Some(Stopped::TooLarge)) => Err(too_large(slot)),
            // The transport's own clock may strike a moment before the guard's.
            (Some(Err(_)), None) if Instant::now() >= deadline => Err(SourceError::Timeout {
                url: url.shown.clone(),
                seconds: request.timeout.as_secs(),
            }),
            (None, None) => Err(clone.damaged("reading it failed")),
            (Some(Err(error)), None) => Err(error),
        };
        let found = result?;
        lock(&slot.state).accepted.insert(who);
        Ok(match found {
            Some(snapshot) => {
                let (count, bytes) = (clone.packs(), guard::folder_bytes(&packs));
                if count <= 1 && bytes > limit {
                    return Err(too_large(slot));
                }
                if count > MOST_PACKS || bytes > limit {
                    // The next fetch starts afresh; this snapshot keeps its own.
                    slot.retire();
                }
                Poll::Changed(snapshot)
            }
            None => Poll::Unchanged {
                commit: last.unwrap_or_default().to_owned(),
            },
        })
    }
}

/// Follows a tag that the remote did not peel to its commit.
fn peel(
    url: &RemoteUrl,
    request: &GitRequest,
    clone: &GitClone,
    repo: &gix::Repository,
    id: ObjectId,
) -> Result<ObjectId, SourceError> {
    let unreadable = |e: gix::Error| clone.damaged(format!("object {id}: {e}"));
    let object = repo.find_object(id).map_err(unreadable)?;
    let object = match object.kind {
        Kind::Tag => object.peel_tags_to_end().map_err(unreadable)?,
        _ => object,
    };
    if object.kind != Kind::Commit {
        return Err(SourceError::NotACommit {
            url: url.shown.clone(),
            reference: request.reference.to_string(),
            kind: object.kind.to_string(),
        });
    }
    Ok(object.id)
}

/// The right to use one URL's clone; it ends when this is dropped.
struct Turn<'a>(&'a Slot);

impl Turn<'_> {
    /// Throws the clone away.
    fn discard(&self) {
        self.0.retire();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).busy = false;
        self.0.free.notify_one();
    }
}

impl Slot {
    fn wait(
        &self,
        url: &RemoteUrl,
        request: &GitRequest,
        deadline: Instant,
        interrupt: &AtomicBool,
    ) -> Result<Turn<'_>, SourceError> {
        let mut state = lock(&self.state);
        while state.busy {
            if interrupt.load(Ordering::Relaxed) {
                return Err(SourceError::Interrupted {
                    url: url.shown.clone(),
                });
            }
            if Instant::now() >= deadline {
                return Err(SourceError::Timeout {
                    url: url.shown.clone(),
                    seconds: request.timeout.as_secs(),
                });
            }
            state = self
                .free
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.busy = true;
        Ok(Turn(self))
    }

    /// Returns the clone that is in use, opens the one that is on disk, or makes one.
    fn clone(&self, url: &RemoteUrl, limits: Limits) -> Result<Arc<GitClone>, SourceError> {
        let mut state = lock(&self.state);
        if let Some(clone) = &state.clone {
            if let Some(reason) = clone.damage() {
                return Err(SourceError::Corrupt {
                    url: url.shown.clone(),
                    reason,
                });
            }
            return Ok(clone.clone());
        }
        let cache = || SourceError::cache(self.folder.clone());
        fs::create_dir_all(&self.folder).map_err(cache())?;
        let number = match state.next {
            Some(number) => number,
            None => {
                let mut numbers = generations(&self.folder).map_err(cache())?;
                // Only the newest was in use when the last process ended.
                let newest = numbers.pop_last().unwrap_or(1);
                for old in numbers {
                    let _ = fs::remove_dir_all(self.folder.join(format!("{old}.git")));
                }
                newest
            }
        };
        let dir = self.folder.join(format!("{number}.git"));
        let clone = match GitClone::open(dir.clone(), &url.shown, limits, self.digests.clone()) {
            Ok(clone) => Arc::new(clone),
            Err(error) => {
                fs::remove_dir_all(&dir).map_err(SourceError::cache(dir))?;
                return Err(error);
            }
        };
        state.clone = Some(clone.clone());
        Ok(clone)
    }

    /// Gives the clone up: its folder goes with the last snapshot, and the next poll makes a new one beside it.
    fn retire(&self) {
        let mut state = lock(&self.state);
        if let Some(clone) = state.clone.take() {
            clone.retire();
            let newest = generations(&self.folder).unwrap_or_default().pop_last();
            state.next = Some(newest.unwrap_or(0) + 1);
        }
    }
}

/// Lists the numbers of the clones in a folder.
fn generations(folder: &Path) -> std::io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".git"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            numbers.insert(number);
        }
    }
    Ok(numbers)
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Names who asks, without keeping the secret.
fn fingerprint(auth: &Auth, url: &RemoteUrl) -> Digest {
    let parts = match auth {
        Auth::None => vec![
            "none",
            url.url.user().unwrap_or(""),
            url.url.password().unwrap_or(""),
        ],
        Auth::Token(token) => vec!["token", token],
        Auth::Basic { user, password } => vec!["basic", user, password],
        Auth::Ssh { key, .. } => match key {
            SshKey::Path(path) => vec!["ssh-path", path.to_str().unwrap_or("")],
            SshKey::Inline(key) => vec!["ssh-key", key],
        },
    };
    Digest::of_value(&base_json::json!(parts))
}
