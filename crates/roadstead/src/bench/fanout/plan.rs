//! `roadstead bench plan`: how long a plan takes while no agent can be asked.
//!
//! The fleet of `bench fanout` gets its Apps; then every agent is killed, and a commit that nobody has polled is planned
//! for one App after the other, as the command line asks for it: Git, rendering and the prediction are in the figure.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use http::Method;
use serde_json::{Value, json};

use super::{Bench, ended, manifests, told};
use crate::bench::figures::{median, percentile};
use crate::client::{API, Ask};
use crate::demo::fleet::until;
use crate::shell::Outcome;

/// A plan is to be there by then.
const TARGET_MS: f64 = 1000.0;

/// Measures plans without agents.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many clusters
    #[arg(long, default_value_t = 1000)]
    clusters: usize,
    /// How many Apps, of ten objects each, on every cluster
    #[arg(long, default_value_t = 50)]
    apps: usize,
    /// How often each App is planned
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    if args.clusters == 0 || args.apps == 0 || args.runs == 0 {
        bail!("--clusters, --apps and --runs must be at least 1");
    }
    let folder = tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir()?;
    let mut bench = Bench::start(folder.path().to_owned()).await?;
    // so many Apps take their time on two cores, and only what comes after them is measured
    bench.patience = Duration::from_secs(900);
    let measured = measure(&mut bench, &args).await;
    ended(&bench, measured, args.json)
}

async fn measure(bench: &mut Bench, args: &Args) -> anyhow::Result<(bool, Value)> {
    let say = |text: String| {
        if !args.json {
            println!("{text}");
        }
    };
    let began = Instant::now();
    bench.join(args.clusters).await?;
    bench.deliver_first(args.apps, args.clusters).await?;
    bench.settled().await?;
    say(format!(
        "{} clusters have {} Apps each: {:.1} s",
        args.clusters,
        args.apps,
        began.elapsed().as_secs_f64()
    ));
    for app in 0..args.apps {
        for (path, text) in manifests(app, 1) {
            bench.repository.write(&path, &text)?;
        }
        let new = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: new }\ndata: { a: b }\n";
        bench
            .repository
            .write(&format!("apps/a{app}/new.yaml"), new)?;
    }
    let commit = bench.repository.commit("Change every App")?;
    let _ = bench.agents_process.kill().await;
    until("the agents' end", bench.patience, || async {
        let page = bench.page().await?;
        let connected = page.get("roadstead_hub_agents_connected").copied();
        Ok((connected == Some(0.0)).then_some(()))
    })
    .await?;
    bench.settled().await?;

    let (mut first, mut later) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        for app in 0..args.apps {
            let path = format!("{API}/namespaces/default/apps/a{app}/plan");
            let body = json!({ "revision": commit });
            let ask = Ask::send(Method::POST, &path, "application/json", &body);
            let began = Instant::now();
            let answer = bench.client.ask(ask).await?;
            let took = began.elapsed().as_secs_f64() * 1000.0;
            check(&answer, args.clusters).with_context(|| format!("the plan of a{app}"))?;
            if run == 0 {
                first.push(took);
            } else {
                later.push(took);
            }
        }
    }
    let all: Vec<f64> = first.iter().chain(&later).copied().collect();
    let worst = percentile(&all, 100);
    say(format!(
        "one App's plan, its commit seen for the first time: median {:.0} ms, slowest {:.0} ms",
        median(&first),
        percentile(&first, 100)
    ));
    if !later.is_empty() {
        say(format!(
            "planned again: median {:.0} ms, slowest {:.0} ms",
            median(&later),
            percentile(&later, 100)
        ));
    }
    let good = worst < TARGET_MS;
    say(format!(
        "every plan within {TARGET_MS:.0} ms: {}",
        told(good)
    ));
    let figures = json!({
        "clusters": args.clusters, "apps": args.apps,
        "first_median_ms": median(&first), "first_max_ms": percentile(&first, 100),
        "again_median_ms": median(&later), "again_max_ms": percentile(&later, 100),
    });
    Ok((good, figures))
}

/// A figure counts only if the plan says what it must.
fn check(answer: &Value, clusters: usize) -> anyhow::Result<()> {
    let group = &answer["plan"]["groups"][0];
    let found = (
        group["clusters"].as_array().map_or(0, Vec::len),
        group["changes"]["changed"].as_array().map_or(0, Vec::len),
        group["changes"]["created"].as_array().map_or(0, Vec::len),
        answer["summary"]["confirmed"].as_u64(),
    );
    // without an agent the clusters are one group, and a plan that could ask one asks a hundred at most
    if found.0 == 0 || found.1 != 1 || found.2 != 1 || found.3 != Some(0) {
        bail!("is not what was committed: {found:?}");
    }
    let planned = answer["summary"]["changing"].as_u64();
    if planned != Some(clusters as u64) {
        bail!("is about {planned:?} clusters, not {clusters}");
    }
    Ok(())
}
