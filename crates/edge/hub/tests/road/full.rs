//! The hub's disk is full: it says so, loses nothing, and goes on when there is room.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::world::{World, config_map, items, says, until};

/// A small disk of its own, which goes with the test.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one; the reason if that is not possible here.
    fn mount(at: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(at).expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=10m,mode=0700", "tmpfs"])
            .arg(at)
            .output()
            .map_err(|error| error.to_string())?;
        if mount.status.success() {
            Ok(Self(at.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned())
        }
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        for size in [64 << 10, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_is_said_and_nothing_is_lost() {
    let place = tempfile::tempdir().expect("a folder");
    let disk = match Disk::mount(&place.path().join("disk")) {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: a small disk cannot be mounted here: {why}");
            return;
        }
    };
    let data = disk.0.join("hub");
    let mut world = World::start_as(|config| config.data = data).await;
    world.join("one", json!({})).await;
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v1"));
    let commit = world.push("first").await;
    world.app("shop", json!({})).await;
    world.healthy("shop", &commit, 1).await;
    let ready = async || {
        let (code, body) = world
            .api
            .raw(Method::GET, "/readyz", "text/plain", Bytes::new())
            .await;
        (code, String::from_utf8_lossy(&body).into_owned())
    };
    assert_eq!(ready().await, (200, "ok".to_owned()));

    let filler = disk.fill();
    let path = "/api/v1/namespaces/default/configmaps";
    let big = "x".repeat(20_000);
    let mut written = Vec::new();
    let refused = loop {
        let name = format!("m{}", written.len());
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "x": big } });
        match world.api.post(path, &map).await {
            Ok(_) => written.push(name),
            Err(refused) => break refused,
        }
        assert!(written.len() < 1000, "the disk never fills");
    };
    assert!(refused.code >= 500, "{refused:?}");
    says(&refused.message, &["no room to write", "full"]);
    let (code, said) = until("the hub says that it is not ready", || async {
        let (code, said) = ready().await;
        (code == 503).then(|| (code, said.clone())).ok_or(said)
    })
    .await;
    assert_eq!(code, 503);
    says(&said, &["store: no room to write", "make room on the disk"]);
    let (code, _) = world
        .api
        .raw(Method::GET, "/livez", "text/plain", Bytes::new())
        .await;
    assert_eq!(code, 200, "a new start would not help");
    // what can be read is read, and the cluster keeps what it has
    world.api.get("clusters/one").await.expect("read");
    world
        .shown("tasks/probe-store", "says that it failed", |task| {
            task["status"]["result"] == "Failed"
        })
        .await;
    // a commit comes meanwhile
    world
        .repository
        .write("apps/shop/a.yaml", &config_map("a", "v2"));
    let commit = world.push("while it is full").await;

    std::fs::remove_file(filler).expect("removed");
    until("the hub is ready again", || async {
        let (code, said) = ready().await;
        (code == 200).then_some(()).ok_or(said)
    })
    .await;
    world.healthy("shop", &commit, 1).await;
    let list = world.api.get(path).await.expect("a list");
    let names: Vec<String> = items(&list)
        .iter()
        .map(|map| k8s_object::name(map).to_owned())
        .collect();
    for name in written {
        assert!(
            names.contains(&name),
            "{name} was acknowledged, and is lost"
        );
    }
    world.end().await;
}
