//! Measures polls of a local repository of 1,000 files: `cargo run --release -p roadstead-source --example measure`.
//!
//! Prints one line a figure, in milliseconds, median of the runs. The time of `git upload-pack` is in it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use roadstead_source::{GitRequest, Limits, Poll, Snapshot, SourceError, Sources};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    let repo = root.path().join("repo");
    std::fs::create_dir(&repo)?;
    git(&repo, &["init", "-q", "-b", "main"])?;
    for n in 0..1000 {
        let path = repo.join(format!("apps/{:02}/{n}.yaml", n % 50));
        std::fs::create_dir_all(path.parent().unwrap_or(&repo))?;
        std::fs::write(path, format!("name: app-{n}\n").repeat(60))?;
    }
    commit(&repo)?;
    let sources = Sources::open(root.path().join("cache"), Limits::default())?;
    let request = GitRequest::new(format!("file://{}", repo.display()));

    let start = Instant::now();
    let snapshot = changed(&sources, &request, None)?;
    report("first clone", &mut [millis(start)]);
    let start = Instant::now();
    snapshot.input("")?;
    report("input of 1,000 files, first time", &mut [millis(start)]);

    let mut unchanged = Vec::new();
    for _ in 0..31 {
        let start = Instant::now();
        sources.poll(&request, Some(&snapshot.commit), &AtomicBool::new(false))?;
        unchanged.push(millis(start));
    }
    report("poll, unchanged", &mut unchanged);

    let (mut polls, mut whole, mut part) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = snapshot.commit.clone();
    for n in 0..31 {
        std::fs::write(repo.join("apps/07/7.yaml"), format!("change: {n}\n"))?;
        commit(&repo)?;
        let start = Instant::now();
        let snapshot = changed(&sources, &request, Some(&last))?;
        polls.push(millis(start));
        let start = Instant::now();
        snapshot.input("")?;
        whole.push(millis(start));
        let start = Instant::now();
        snapshot.input("apps/07")?;
        part.push(millis(start));
        last = snapshot.commit;
    }
    report("poll, one file changed", &mut polls);
    report("input of 1,000 files, one changed", &mut whole);
    report("input of 20 files, one changed", &mut part);
    Ok(())
}

fn changed(
    sources: &Sources,
    request: &GitRequest,
    last: Option<&str>,
) -> Result<Snapshot, SourceError> {
    match sources.poll(request, last, &AtomicBool::new(false))? {
        Poll::Changed(snapshot) => Ok(snapshot),
        // The commit was made a moment ago.
        Poll::Unchanged { commit } => panic!("still at {commit}"),
    }
}

fn commit(repo: &Path) -> std::io::Result<()> {
    git(repo, &["add", "-A"])?;
    git(repo, &["commit", "-q", "-m", "change"])
}

fn git(repo: &Path, args: &[&str]) -> std::io::Result<()> {
    let status = Command::new("git")
        .current_dir(repo)
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "gc.auto=0",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("git {args:?}: {status}")))
    }
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn report(what: &str, runs: &mut [f64]) {
    runs.sort_by(f64::total_cmp);
    println!(
        "{what:<40} {:8.1} ms (n={})",
        runs[runs.len() / 2],
        runs.len()
    );
}
