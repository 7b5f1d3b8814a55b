//! Starts control planes that stay, or for as long as a command runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use oracle_cluster::{ControlPlane, Lifetime, Settings, State, Tools, Written, cache};

/// What `up` was told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    clusters: usize,
    /// The first one has a real node.
    node: bool,
    /// The others have so many nodes that are played.
    simulated_nodes: usize,
    folder: Option<PathBuf>,
    kubeconfigs: Option<PathBuf>,
    command: Vec<String>,
}

impl Told {
    fn read(flags: &[String]) -> anyhow::Result<Self> {
        let mut told = Self {
            clusters: 1,
            node: false,
            simulated_nodes: 0,
            folder: None,
            kubeconfigs: None,
            command: Vec::new(),
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || {
                let value = flags.next();
                value.with_context(|| format!("{flag} wants a value"))
            };
            let number = |value: &String| {
                value
                    .parse()
                    .with_context(|| format!("{flag} wants a number, got {value:?}"))
            };
            match flag.as_str() {
                "--clusters" => told.clusters = number(value()?)?,
                "--node" => told.node = true,
                "--simulated-nodes" => told.simulated_nodes = number(value()?)?,
                "--dir" => told.folder = Some(value()?.into()),
                "--kubeconfigs" => told.kubeconfigs = Some(value()?.into()),
                "--run" => {
                    told.command = flags.cloned().collect();
                    if told.command.is_empty() {
                        bail!("--run wants a command");
                    }
                    break;
                }
                other => bail!("unknown flag {other}\n{}", super::USAGE),
            }
        }
        if told.clusters == 0 {
            bail!("--clusters wants at least 1");
        }
        Ok(told)
    }
}

fn default_folder() -> PathBuf {
    cache().join("run")
}

/// Runs `cargo xtask oracle up`.
pub(super) fn up(flags: &[String]) -> anyhow::Result<ExitCode> {
    let told = Told::read(flags)?;
    let tools = Tools::find()?;
    if told.command.is_empty() {
        let folder = told.folder.clone().unwrap_or_else(default_folder);
        stay(&tools, &told, &folder)
    } else {
        while_running(&tools, &told)
    }
}

/// Runs `cargo xtask oracle down`.
pub(super) fn down(flags: &[String]) -> anyhow::Result<ExitCode> {
    let folder = match flags {
        [] => default_folder(),
        [flag, folder] if flag == "--dir" => PathBuf::from(folder),
        _ => bail!("{}", super::USAGE),
    };
    let ended = State::read(&folder)?.end(Duration::ZERO);
    State::clear(&folder)?;
    println!("oracle: {ended} processes ended");
    Ok(ExitCode::SUCCESS)
}

fn stay(tools: &Tools, told: &Told, folder: &Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make {}", folder.display()))?;
    let before = State::read(folder)?;
    let mut processes = before
        .clusters
        .iter()
        .flat_map(|cluster| &cluster.processes);
    if let Some(process) = processes.find(|process| process.is_alive()) {
        bail!(
            "{} (process {}) of an earlier `up` in {} still runs: `cargo xtask oracle down --dir {}` ends it",
            process.name,
            process.pid,
            folder.display(),
            folder.display()
        );
    }
    let mut state = State::default();
    let started = start(tools, told, folder, Lifetime::Detached, |plane| {
        state.clusters.push(written(plane));
        // one that fails later must not hide those that run
        state.write(folder)
    });
    if let Err(error) = started {
        state.end(Duration::ZERO);
        State::clear(folder)?;
        return Err(error);
    }
    println!(
        "oracle: `cargo xtask oracle down --dir {}` ends them",
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn while_running(tools: &Tools, told: &Told) -> anyhow::Result<ExitCode> {
    let temporary;
    let folder = match &told.folder {
        Some(folder) => folder.as_path(),
        None => {
            temporary = tempfile::Builder::new().prefix("oracle-").tempdir()?;
            temporary.path()
        }
    };
    let planes = start(tools, told, folder, Lifetime::Tied, |_| Ok(()))?;
    let kubeconfigs: Vec<String> = planes
        .iter()
        .map(|plane| plane.kubeconfig().display().to_string())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(async {
        let mut child = tokio::process::Command::new(&told.command[0])
            .args(&told.command[1..])
            .env("KUBECONFIG", &kubeconfigs[0])
            .env("ORACLE_KUBECONFIGS", kubeconfigs.join(":"))
            .env("ORACLE_BIN", tools.folder())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", told.command[0]))?;
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            status = child.wait() => status.context("failed to wait for the command").map(Some),
            // a terminal tells the command too
            _ = tokio::signal::ctrl_c() => {
                drop(tokio::time::timeout(Duration::from_secs(10), child.wait()).await);
                Ok(None)
            }
            _ = terminated.recv() => Ok(None),
        }
    })?;
    drop(planes);
    Ok(match status.and_then(|status| status.code()) {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::from(130),
    })
}

fn written(plane: &ControlPlane) -> Written {
    Written {
        name: plane.name().to_owned(),
        url: plane.url(),
        kubeconfig: plane.kubeconfig(),
        processes: plane.recorded(),
    }
}

fn start(
    tools: &Tools,
    told: &Told,
    folder: &Path,
    lifetime: Lifetime,
    mut started: impl FnMut(&ControlPlane) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<ControlPlane>> {
    let mut planes = Vec::new();
    for number in 1..=told.clusters {
        let begun = Instant::now();
        let name = format!("real-{number}");
        let mut settings = Settings::new(&name, &folder.join(&name));
        settings.lifetime = lifetime;
        if told.node && number == 1 {
            settings.node = Some("node-1".to_owned());
        } else {
            settings.simulated_nodes = told.simulated_nodes;
        }
        let plane = ControlPlane::start(tools, settings)?;
        started(&plane)?;
        let mut kubeconfig = plane.kubeconfig();
        if let Some(folder) = &told.kubeconfigs {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("failed to make {}", folder.display()))?;
            let copy = folder.join(format!("{name}.kubeconfig"));
            std::fs::copy(&kubeconfig, &copy)
                .with_context(|| format!("failed to write {}", copy.display()))?;
            kubeconfig = copy;
        }
        println!(
            "oracle: {name} at {} is ready after {:.1} s: export KUBECONFIG={}",
            plane.url(),
            begun.elapsed().as_secs_f64(),
            kubeconfig.display()
        );
        planes.push(plane);
    }
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &str, expected: Result<(usize, &str), &str>) {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let found = Told::read(&flags);
        match (found, expected) {
            (Ok(told), Ok((clusters, command))) => {
                assert_eq!(
                    (told.clusters, told.command.join(" ").as_str()),
                    (clusters, command)
                );
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{flags:?}: {error}");
            }
            (found, expected) => panic!("{flags:?}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn reads_flags() {
        check("", Ok((1, "")));
        check("--clusters 3 --dir /a", Ok((3, "")));
        check("--run make --clusters 3", Ok((1, "make --clusters 3")));
        check("--clusters", Err("--clusters wants a value"));
        check("--clusters many", Err("got \"many\""));
        check("--clusters 0", Err("at least 1"));
        check("--run", Err("wants a command"));
        check("--what", Err("unknown flag --what"));
    }
}
