//! client-go's informers (`oracle/informer`, in Go), begun with a watch and begun with a list.
//!
//! Runs where `go` is on the PATH. `K8S_PLAYGROUND_SEED` makes what is done another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use k8s_playground::{Config, Timings};
use serde_json::Value;

use crate::served::{Served, run};

/// Builds the program once; `None` where there is no Go.
fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            eprintln!("skipped: go is not on the PATH, and client-go is in Go");
            return None;
        }
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("informer");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../oracle/informer");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&binary).arg(".");
        run(build.current_dir(folder).env("GOWORK", "off"), true);
        Some(binary)
    });
    built.as_deref()
}

fn check(watch_list: bool) {
    let Some(binary) = binary() else { return };
    let seed = std::env::var("K8S_PLAYGROUND_SEED").unwrap_or_else(|_| "1".to_owned());
    let served = Served::start(Config {
        timings: Timings {
            history_ms: 1000,
            ..Timings::default()
        },
        ..Config::default()
    });
    let output = Command::new(binary)
        .args(["--server", &served.url, "--seed", &seed])
        .args(["--history", "1s"])
        .arg(format!("--watch-list={watch_list}"))
        .env("KUBE_FEATURE_WatchListClient", watch_list.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let scenarios: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let good = scenarios.iter().filter(|one| one["ok"] == true).count();
    assert!(
        output.status.success() && good == 9,
        "seed {seed}, {good} of 9 scenarios:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn informers_that_begin_with_a_watch_see_what_is_done() {
    check(true);
}

#[test]
fn informers_that_begin_with_a_list_see_what_is_done() {
    check(false);
}
