//! A Git repository, made with the `git` program.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository in a folder of its own.
pub(crate) struct Repository {
    pub(crate) folder: PathBuf,
}

impl Repository {
    pub(crate) fn make(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let this = Self {
            folder: folder.to_owned(),
        };
        this.git(&["init", "--quiet", "--initial-branch=main"]);
        this.write("README.md", "what the fleet runs\n");
        this.commit("begin");
        this
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.folder.join(path);
        let parent = file.parent().expect("a file in a folder");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(&file, text).expect("a file");
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.join(path)).expect("a file");
    }

    /// Copies a file, or the files of a folder.
    pub(crate) fn copy(&self, from: &Path, to: &str) {
        if from.is_file() {
            self.write(to, &std::fs::read_to_string(from).expect("a text"));
            return;
        }
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            self.copy(&entry.path(), &format!("{to}/{name}"));
        }
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let file = self.folder.join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(target, file).expect("a link");
    }

    /// Commits everything; returns the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .expect("git on the path");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }
}
