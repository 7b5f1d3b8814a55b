//! The real kubectl against the server, over plain HTTP: whole sessions, compared with what stands in
//! `tests/transcripts`. `UPDATE_EXPECT=1` writes them anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use k8s_apiserver::{Extensions, Rbac, Server, bootstrap_rbac};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// What differs from run to run.
fn masked(line: &str) -> Option<String> {
    if line.starts_with("diff -u") || line.starts_with("--- /") || line.starts_with("+++ /") {
        return None;
    }
    Some(line.trim_end().to_owned())
}

/// The folder of a kubectl whose words the transcripts hold; `Err` says why there is none.
fn kubectl() -> Result<PathBuf, String> {
    let built = oracle_cluster::cache().join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = "none".to_owned();
    for folder in std::iter::once(built).chain(std::env::split_paths(&path)) {
        let asked = Command::new(folder.join("kubectl"))
            .args(["version", "--client", "-o", "json"])
            .output();
        let Ok(asked) = asked else { continue };
        let version: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
        let version = version["clientVersion"]["gitVersion"].to_string();
        if version.starts_with("\"v1.36.") {
            return Ok(folder);
        }
        found = version;
    }
    Err(format!(
        "the transcripts hold the words of kubectl 1.36, found {found}: `cargo xtask oracle build kubectl`"
    ))
}

fn play(text: &str, home: &Path, kubectl: &Path) -> String {
    let mut path = std::ffi::OsString::from(kubectl);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            out.push_str(&format!("{line}\n"));
        }
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        out.push_str(&format!("{line}\n"));
        let done = Command::new("sh")
            .args(["-c", &format!("({command}) 2>&1")])
            .current_dir(folder().join("files"))
            .env("PATH", &path)
            .env("HOME", home)
            .env("KUBECONFIG", home.join("config"))
            .output()
            .expect("sh runs");
        for line in String::from_utf8_lossy(&done.stdout).lines() {
            if let Some(line) = masked(line) {
                out.push_str(&format!("{line}\n"));
            }
        }
        match done.status.code() {
            Some(0) => {}
            code => out.push_str(&format!("[exit {}]\n", code.unwrap_or(-1))),
        }
    }
    out
}

async fn check(name: &str) {
    let kubectl = match kubectl() {
        Ok(folder) => folder,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let registry = crate::common::registry();
    bootstrap_rbac(&registry).expect("writes the default roles");
    let extensions = Extensions::new().authorizer(Arc::new(Rbac::new()));
    let url = crate::over_http::listen(Server::with(registry, Arc::new(extensions))).await;
    let home = std::env::temp_dir().join(format!("apiserver-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("makes a folder");
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
    );
    std::fs::write(home.join("config"), config).expect("writes");
    let path = folder().join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).expect("is there");
    let found = tokio::task::spawn_blocking({
        let (expected, home) = (expected.clone(), home.clone());
        move || play(&expected, &home, &kubectl)
    })
    .await
    .expect("plays");
    let _ = std::fs::remove_dir_all(&home);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, found).expect("writes");
        return;
    }
    for (index, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}.txt:{}", index + 1);
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "{name}.txt"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads() {
    check("workloads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ownership() {
    check("ownership").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom() {
    check("custom").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster() {
    check("cluster").await;
}
