//! `roadstead bench clusters`: what simulated clusters cost, empty and with fifty objects, in time and in memory.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use clap::Args as ClapArgs;
use jiff::SignedDuration;
use k8s_apiserver::Clock as _;
use k8s_cluster::{Call, Cluster as _, Reply};
use k8s_playground::{Config, Handle, Playground, VirtualTime};
use serde_json::{Map, Value, json};

use super::render::memory;
use crate::shell::Outcome;

/// Measures simulated clusters.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each cluster gets a Namespace, 5 Deployments of 3 pods and 23 ConfigMaps by server-side apply; with the ReplicaSets, the pods and
what a Namespace has these are 50 objects and some Events. Time in the clusters is virtual: what is told is how long the machine
worked.")]
pub(crate) struct Args {
    /// How many clusters are started
    #[arg(long, default_value_t = 5_000)]
    clusters: usize,
    /// How many of them get their objects
    #[arg(long, default_value_t = 1_000)]
    filled: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Outcome {
    let mut out = Map::new();
    let mut tell = |what: &str, value: f64| {
        if !args.json {
            println!("{value:>12.2}  {what}");
        }
        out.insert(what.to_owned(), json!(value));
    };
    let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse()?);
    let clock = || Arc::new(time.clone());
    let started = Instant::now();
    let playground = Playground::new(Config::default(), clock(), clock())?;
    tell("s to make the image", started.elapsed().as_secs_f64());
    let held = || memory("VmRSS") / 1024.0;
    let before = held();
    let started = Instant::now();
    let clusters: Vec<Handle> = (0..args.clusters)
        .map(|number| playground.add_cluster(&format!("cluster-{number}")))
        .collect::<Result<_, _>>()?;
    tell("s to start all", started.elapsed().as_secs_f64());
    let empty = held();
    let each = (empty - before) / args.clusters.max(1) as f64;
    tell("KiB each, empty", each);
    let filled = &clusters[..args.filled.min(clusters.len())];
    let Some(first) = filled.first() else {
        return Ok(ExitCode::SUCCESS);
    };
    let keys = || first.registry().store().stats().map(|stats| stats.keys);
    let bare = keys()?;
    let objects = objects();
    let started = Instant::now();
    fill_all(filled, &objects)?;
    let took = started.elapsed().as_secs_f64();
    tell("s to apply what the filled ones get", took);
    let count = (filled.len() * objects.len()) as f64;
    tell("µs for each apply", took * 1e6 / count);
    let started = Instant::now();
    let run = |seconds: i64| {
        let end = time.now() + SignedDuration::from_secs(seconds);
        playground.run_until(&time, end);
    };
    let own = |now: f64| each + (now - empty) / filled.len() as f64;
    run(5);
    tell("s until they are settled", started.elapsed().as_secs_f64());
    tell("objects of each, with Events", (keys()? - bare) as f64);
    tell("KiB each, just settled", own(held()));
    run(2 * 3_600);
    tell("objects of each, two hours later", (keys()? - bare) as f64);
    tell("KiB each, two hours later", own(held()));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&out)?);
    }
    if cfg!(debug_assertions) {
        eprintln!("(a build without optimisation)");
    }
    Ok(ExitCode::SUCCESS)
}

/// Applies the objects to clusters, with a thread for each processor.
fn fill_all(clusters: &[Handle], objects: &[bytes::Bytes]) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let workers: Vec<_> = clusters
            .chunks(clusters.len().div_ceil(threads))
            .map(|clusters| scope.spawn(|| fill(clusters, objects)))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a worker ended by a bug"),
            }
        }
        Ok(())
    })
}

fn fill(clusters: &[Handle], objects: &[bytes::Bytes]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for cluster in clusters {
        for object in objects {
            let call = Call::Apply {
                object: object.clone(),
                manager: "roadstead".to_owned(),
                force: false,
                dry_run: false,
            };
            match runtime.block_on(cluster.call(call)) {
                Ok(Reply::Object(_)) => {}
                Ok(other) => bail!("an apply is answered with {other:?}"),
                Err(error) => bail!("an apply failed: {error}"),
            }
        }
    }
    Ok(())
}

fn objects() -> Vec<bytes::Bytes> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let settings = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("settings-{number}"), "namespace": "shop"},
            "data": {"mode": "production", "peer": format!("peer-{number}")},
        })
    };
    let mut all = vec![namespace];
    all.extend((0..5).map(|number| deployment(&format!("web-{number}"))));
    all.extend((0..23).map(settings));
    all.iter()
        .map(|object| base_json::canonical(object).into())
        .collect()
}

fn deployment(name: &str) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "main", "image": "web:1",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "production"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }]},
            },
        },
    })
}
