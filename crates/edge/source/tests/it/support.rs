//! Repositories made with the real `git`, away from anybody's configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use roadstead_source::{GitRequest, Limits, Poll, Reference, Snapshot, SourceError, Sources};
use tempfile::TempDir;

/// A folder with a repository and a cache.
pub(crate) struct World {
    pub(crate) root: TempDir,
}

impl World {
    /// Makes an empty repository with `main` as its default branch.
    pub(crate) fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.repo()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world
    }

    /// Makes a repository with these files in its first commit.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        world.commit("first", files);
        world
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.repo().display())
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        String::from_utf8(git_bytes(&self.repo(), args))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn link(&self, target: &str, path: &str) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Writes files, commits everything, and returns the commit id.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            self.write(path, content);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::open(self.cache(), Limits::default()).unwrap()
    }

    pub(crate) fn request(&self, reference: Reference) -> GitRequest {
        GitRequest {
            reference,
            ..GitRequest::new(self.url())
        }
    }

    /// Polls the default branch.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_within(Limits::default())
    }

    pub(crate) fn snapshot_within(&self, limits: Limits) -> Snapshot {
        let sources = Sources::open(self.cache(), limits).unwrap();
        changed(poll(
            &sources,
            &self.request(Reference::DefaultBranch),
            None,
        ))
    }
}

pub(crate) fn git_bytes(folder: &Path, args: &[&str]) -> Vec<u8> {
    let out = git_command(folder)
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}");
    out.stdout
}

pub(crate) fn git_command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .env("GIT_AUTHOR_NAME", "Ada Ä")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Bob")
        .env("GIT_COMMITTER_EMAIL", "bob@example.org")
        .env("GIT_AUTHOR_DATE", "1700000000 +0100")
        .env("GIT_COMMITTER_DATE", "1700000100 +0100");
    command
}

pub(crate) fn poll(
    sources: &Sources,
    request: &GitRequest,
    last: Option<&str>,
) -> Result<Poll, SourceError> {
    sources.poll(request, last, &AtomicBool::new(false))
}

#[track_caller]
pub(crate) fn changed(poll: Result<Poll, SourceError>) -> Snapshot {
    match poll {
        Ok(Poll::Changed(snapshot)) => snapshot,
        other => panic!("expected a change: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn unchanged(poll: Result<Poll, SourceError>) -> String {
    match poll {
        Ok(Poll::Unchanged { commit }) => commit,
        other => panic!("expected no change: {other:?}"),
    }
}

/// Error, hint and all, as one text.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, SourceError>) -> String {
    let error = result.expect_err("expected an error");
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}
