//! How each contender is started and told what to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oracle_cluster::{Lifetime, Process};
use serde_json::{Value, json};

use super::{Contender, Ground};
use crate::measured::{Pair, kubectl, nouns, port};

/// Starts a program with these variables in its environment.
fn spawn(
    ground: &Ground,
    name: &str,
    program: &Path,
    variables: &[String],
    args: &[String],
) -> anyhow::Result<Process> {
    // env becomes the program: the process stays the same
    let mut all = variables.to_vec();
    all.push(program.display().to_string());
    all.extend_from_slice(args);
    let log = ground.on.folder.join(format!("{name}.log"));
    Process::start(name, Path::new("/usr/bin/env"), &all, &log, Lifetime::Tied)
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A hub, and the agent that is measured.
pub(super) fn roadstead(ground: &Ground) -> anyhow::Result<Contender> {
    let Pair {
        hub,
        agent,
        kubeconfig,
    } = Pair::start(&ground.on, &ground.program)?;
    let nouns = nouns(&ground.url, "60s", ground.apps);
    let tools = ground.on.tools.clone();
    let (to, place) = (tools.clone(), kubeconfig.clone());
    let folder = ground.on.folder.clone();
    Ok(Contender {
        name: "Roadstead's agent",
        processes: vec![agent],
        beside: vec![hub],
        begin: Box::new(move || {
            let apply = ["apply", "--server-side", "-f", "-"];
            kubectl(&tools, &kubeconfig, &apply, Some(&nouns)).map(drop)
        }),
        ask: Box::new(move || {
            let path = "/apis/roadstead.dev/v1alpha1/namespaces/default/sources/measured/poll";
            let create = ["create", "--raw", path, "-f", "-"];
            kubectl(&to, &place, &create, Some("{}")).map(drop)
        }),
        restless: false,
        noticed: Some(Box::new(move || crate::measured::noticed(&folder))),
    })
}

/// The folder of a module's source, as a module below `oracle/` pins it.
fn source_of(root: &Path, module: &str, path: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path])
        .current_dir(root.join("oracle").join(module))
        .env("GOWORK", "off")
        .output()
        .context("failed to start go")?;
    if !output.status.success() {
        bail!("go list: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(PathBuf::from(
        String::from_utf8(output.stdout)?.trim().to_owned(),
    ))
}

/// Flux's source-controller and kustomize-controller.
pub(super) fn flux(ground: &Ground) -> anyhow::Result<Contender> {
    let admin = ground.on.plane.kubeconfig();
    for (module, path) in [
        ("flux-source", "github.com/fluxcd/source-controller"),
        ("flux-kustomize", "github.com/fluxcd/kustomize-controller"),
    ] {
        let definitions = source_of(&ground.root, module, path)?.join("config/crd/bases");
        let definitions = definitions.display().to_string();
        let apply = ["apply", "--server-side", "-f", &definitions];
        kubectl(&ground.on.tools, &admin, &apply, None)?;
    }
    let names = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"flux-system"}}"#;
    kubectl(&ground.on.tools, &admin, &["apply", "-f", "-"], Some(names))?;
    let storage = port()?;
    let variables = [
        format!("KUBECONFIG={}", ground.on.file("cluster.yaml")),
        "RUNTIME_NAMESPACE=flux-system".to_owned(),
    ];
    let common = |health: u16| {
        strings(&[
            "--metrics-addr=0",
            &format!("--health-addr=127.0.0.1:{health}"),
            "--watch-all-namespaces=true",
            "--enable-leader-election=false",
            "--log-level=info",
        ])
    };
    let mut flags = common(port()?);
    std::fs::create_dir_all(ground.on.folder.join("storage"))?;
    flags.push(format!("--storage-path={}", ground.on.file("storage")));
    flags.push(format!("--storage-addr=127.0.0.1:{storage}"));
    flags.push(format!("--storage-adv-addr=127.0.0.1:{storage}"));
    let path = ground.on.tools.path("flux-source");
    let source = spawn(ground, "flux-source", &path, &variables, &flags)?;
    let path = ground.on.tools.path("flux-kustomize");
    let kustomize = spawn(
        ground,
        "flux-kustomize",
        &path,
        &variables,
        &common(port()?),
    )?;
    std::thread::sleep(Duration::from_secs(10));
    let mut nouns = vec![json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "measured", "namespace": "flux-system"},
        "spec": {"url": ground.url, "ref": {"branch": "main"}, "interval": "1m"},
    })];
    nouns.extend((0..ground.apps).map(|app| {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": format!("app-{app:03}"), "namespace": "flux-system"},
            "spec": {
                "sourceRef": {"kind": "GitRepository", "name": "measured"},
                "path": format!("./apps/{app:03}"), "interval": "10m", "prune": true,
            },
        })
    }));
    let nouns: Vec<String> = nouns.iter().map(Value::to_string).collect();
    let nouns = nouns.join("\n---\n");
    let (tools, to, place) = (
        ground.on.tools.clone(),
        ground.on.tools.clone(),
        admin.clone(),
    );
    Ok(Contender {
        name: "Flux (kustomize-controller + source-controller)",
        processes: vec![kustomize, source],
        beside: Vec::new(),
        begin: Box::new(move || {
            let apply = ["apply", "--server-side", "-f", "-"];
            kubectl(&tools, &admin, &apply, Some(&nouns)).map(drop)
        }),
        ask: Box::new(move || {
            let annotate = [
                "annotate",
                "--namespace=flux-system",
                "--overwrite",
                "gitrepository/measured",
                "reconcile.fluxcd.io/requestedAt=now",
            ];
            kubectl(&to, &place, &annotate, None).map(drop)
        }),
        restless: false,
        noticed: None,
    })
}

/// Argo CD's gitops-engine agent. It has no way to wait: it begins with its start.
pub(super) fn gitops_engine(ground: &Ground) -> anyhow::Result<Contender> {
    let port = port()?;
    let repository = ground.on.repository().display().to_string();
    // it takes a repository that it did not make itself only so
    let variables = [
        format!("KUBECONFIG={}", ground.on.file("cluster.yaml")),
        "GIT_CONFIG_COUNT=1".to_owned(),
        "GIT_CONFIG_KEY_0=safe.directory".to_owned(),
        "GIT_CONFIG_VALUE_0=*".to_owned(),
    ];
    let args = strings(&[
        &repository,
        "--path=apps",
        "--default-namespace=default",
        "--resync-seconds=5",
        &format!("--port={port}"),
    ]);
    let path = ground.on.tools.path("gitops-engine");
    let agent = spawn(ground, "gitops-engine", &path, &variables, &args)?;
    Ok(Contender {
        name: "Argo CD's gitops-engine agent, resync 5 s",
        processes: vec![agent],
        beside: Vec::new(),
        begin: Box::new(|| Ok(())),
        ask: Box::new(move || {
            // it answers when it has begun, which may be after the sync that is under way
            std::thread::spawn(move || {
                let client = oracle_cluster::Client::plain(port);
                drop(client.get("/api/v1/sync"));
            });
            Ok(())
        }),
        restless: true,
        noticed: None,
    })
}
