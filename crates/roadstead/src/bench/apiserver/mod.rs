//! `roadstead bench apiserver`: a simulated cluster's API server beside etcd and kube-apiserver, asked over the same TLS by
//! the same load, in turns.

mod connection;
mod load;
mod servers;
mod watches;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};

use self::load::{Found, JSON, apply, ask, jobs, object, requests};
use self::servers::{Memory, Server, usual_bin};
use self::watches::{Changes, fan_out};
use super::figures::median;
use crate::shell::Outcome;

/// Measures the API server.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The load is one thread that speaks TLS with a client certificate, HTTP/1.1 but where a row says HTTP/2; its requests are made before
the clock starts, and it decodes no JSON. Each connection waits for its answer before it asks again. Servers take turns: every deed
on one, then on the other.")]
pub(crate) struct Args {
    /// How often each figure is taken; the median is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many connections ask at once
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How many watches are open at once
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// How many requests of each deed; of lists a hundredth
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// How many changes the watches see, each when all have seen the one before it; and 20 times as many in a row
    #[arg(long, default_value_t = 40)]
    changes: usize,
    /// How many changes of a row are under way at a time, from at most 16 connections; kube-apiserver ends watches at 20
    #[arg(long, default_value_t = 8)]
    under_way: usize,
    /// Only this: get, list, create, apply, same, watch, streams, watch-row or streams-row
    #[arg(long, value_name = "DEED")]
    only: Option<String>,
    /// Where etcd and kube-apiserver are; without it, where `make oracle` puts them
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
    /// Leave kube-apiserver's flow control as it comes; without it, nothing holds its requests back
    #[arg(long)]
    flow_control: bool,
    /// Measure ours alone
    #[arg(long)]
    alone: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// The objects that stand there to be read.
const OBJECTS: usize = 500;

/// How many times as many changes come in a row: starting and ending should not count.
const ROW: usize = 20;

/// How many watches share a connection where they share one.
const STREAMS: usize = 50;

const DEEDS: [(&str, &str); 9] = [
    ("get", "GET"),
    ("list", "LIST of 500"),
    ("create", "create"),
    ("apply", "server-side apply, one field changed"),
    ("same", "server-side apply, nothing changed"),
    (
        "watch",
        "events to all watches, HTTP/1.1, a connection each",
    ),
    (
        "streams",
        "events to all watches, HTTP/2, 50 on a connection",
    ),
    (
        "watch-row",
        "events of changes in a row, HTTP/1.1, a connection each",
    ),
    (
        "streams-row",
        "events of changes in a row, HTTP/2, 50 on a connection",
    ),
];

/// Runs it.
pub(super) fn run(args: &Args) -> Outcome {
    let figures = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            tokio::task::LocalSet::new().block_on(&runtime, measure(args))
        });
        load.join()
            .unwrap_or_else(|_| Err(anyhow!("the load ended by a bug")))
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    }
    if cfg!(debug_assertions) {
        eprintln!("(a build without optimisation)");
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args) -> anyhow::Result<Value> {
    if let Some(only) = &args.only
        && !DEEDS.iter().any(|(deed, _)| deed == only)
    {
        bail!("there is no deed {only:?}");
    }
    let mut all = vec![Server::ours().await?];
    if !args.alone {
        let bin = args.bin.clone().or_else(usual_bin);
        let real = match &bin {
            Some(bin) => Server::real(bin, args.flow_control).await?,
            None => None,
        };
        match real {
            Some(real) => all.push(real),
            None => eprintln!("there is no kube-apiserver and no etcd: nothing beside it"),
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let empty: Vec<Memory> = all.iter().map(Server::memory).collect();
    for server in &all {
        prepare(server).await.with_context(|| server.name)?;
    }
    let mut found: BTreeMap<(&str, usize), Vec<Found>> = BTreeMap::new();
    for run in 0..args.runs {
        for (deed, _) in DEEDS {
            if args.only.as_deref().is_some_and(|only| only != deed) {
                continue;
            }
            for (index, server) in all.iter().enumerate() {
                let one = perform(args, server, deed, run).await;
                let one = one.with_context(|| format!("{deed} on {}", server.name))?;
                if !args.json {
                    println!("{:>6} {:<22} {one:.3?}", deed, server.name);
                }
                found.entry((deed, index)).or_default().push(one);
            }
        }
    }
    let full: Vec<Memory> = all.iter().map(Server::memory).collect();
    Ok(report(args, &all, &found, &empty, &full))
}

/// Puts the objects there that are read and applied.
async fn prepare(server: &Server) -> anyhow::Result<()> {
    let place = &server.place;
    for name in ["bench", "made"] {
        let body = json!({"metadata": {"name": name}}).to_string();
        let request = place.request("POST", "/api/v1/namespaces", JSON, body.as_bytes());
        let (code, answer) = ask(place, &request).await?;
        if code != 201 {
            bail!("namespace {name} is answered with {code}: {answer}");
        }
    }
    let applies = (0..OBJECTS).map(|n| apply(place, "bench", &format!("job-{n}"), "web:first"));
    requests(server, 4, applies.collect(), (&[201], 1000)).await?;
    let (code, list) = ask(place, &place.get(&jobs("bench"))).await?;
    let items = list["items"].as_array().map_or(0, Vec::len);
    let bytes = list["items"][7].to_string().len();
    if code != 200 || items != OBJECTS || bytes < 2000 {
        bail!("a list is answered with {code}, {items} objects, {bytes} bytes each");
    }
    Ok(())
}

async fn perform(args: &Args, server: &Server, deed: &str, run: usize) -> anyhow::Result<Found> {
    let place = &server.place;
    let count = args.requests.max(100);
    let name = |n: usize| format!("job-{}", n * 7919 % OBJECTS);
    let (all, expected): (Vec<Vec<u8>>, (&'static [u16], usize)) = match deed {
        "get" => {
            let get = |n| place.get(&format!("{}/{}", jobs("bench"), name(n)));
            ((0..count).map(get).collect(), (&[200], 2000))
        }
        "list" => {
            let list = place.get(&format!("{}?limit={OBJECTS}", jobs("bench")));
            (vec![list; count / 100], (&[200], OBJECTS * 2000))
        }
        "create" => {
            let create = |n| {
                let body = object("made", &format!("made-{run}-{n}"), "web:1").to_string();
                place.request("POST", &jobs("made"), JSON, body.as_bytes())
            };
            ((0..count).map(create).collect(), (&[201], 1000))
        }
        "apply" => {
            let change = |n| apply(place, "bench", &name(n), &format!("web:{run}-{n}"));
            ((0..count).map(change).collect(), (&[200], 2000))
        }
        "same" => {
            let once = (0..OBJECTS).map(|n| apply(place, "bench", &name(n), "web:same"));
            requests(server, 4, once.collect(), (&[200], 2000)).await?;
            let same = |n| apply(place, "bench", &name(n), "web:same");
            ((0..count).map(same).collect(), (&[200], 2000))
        }
        _ => {
            let on_each = if deed.starts_with("streams") {
                STREAMS
            } else {
                1
            };
            let row = deed.ends_with("row");
            let changes = Changes {
                count: args.changes.max(1) * if row { ROW } else { 1 },
                under_way: if row {
                    args.under_way.clamp(1, OBJECTS)
                } else {
                    1
                },
                run,
            };
            return fan_out(server, (args.watchers, on_each), changes).await;
        }
    };
    let found = requests(server, args.connections, all, expected).await?;
    if deed == "create" {
        let request = place.request("DELETE", &jobs("made"), "", b"");
        let (code, answer) = ask(place, &request).await?;
        if code != 200 {
            bail!("deleting what was made is answered with {code}: {answer}");
        }
    }
    Ok(found)
}

fn report(
    args: &Args,
    all: &[Server],
    found: &BTreeMap<(&str, usize), Vec<Found>>,
    empty: &[Memory],
    full: &[Memory],
) -> Value {
    let middle =
        |runs: &[Found], of: fn(&Found) -> f64| median(&runs.iter().map(of).collect::<Vec<_>>());
    let mut out = Map::new();
    let say = |line: String| {
        if !args.json {
            println!("{line}");
        }
    };
    say(format!(
        "\nmedians of {} runs, {} connections, {} watches",
        args.runs, args.connections, args.watchers
    ));
    for (deed, words) in DEEDS {
        let mut figures = Map::new();
        for (index, server) in all.iter().enumerate() {
            let Some(runs) = found.get(&(deed, index)) else {
                continue;
            };
            figures.insert(
                server.name.to_owned(),
                json!({
                    "a second": middle(runs, |one| one.rate),
                    "ms, p50": middle(runs, |one| one.p50),
                    "ms, p99": middle(runs, |one| one.p99),
                    "µs of work each": middle(runs, |one| one.work),
                    "µs of work of the load": middle(runs, |one| one.own),
                }),
            );
        }
        if let [ours, real] = all
            && let (Some(ours), Some(real)) = (figures.get(ours.name), figures.get(real.name))
        {
            let ratio = |key: &str, up: bool| {
                let (a, b) = (ours[key].as_f64(), real[key].as_f64());
                let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
                if up { a / b } else { b / a }
            };
            let ratios = json!({
                "throughput": ratio("a second", true),
                "p99": ratio("ms, p99", false),
                "work": ratio("µs of work each", false),
            });
            figures.insert("times better".to_owned(), ratios);
        }
        if figures.is_empty() {
            continue;
        }
        say(format!("{words}:"));
        for (name, values) in &figures {
            let values: Vec<String> = values
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key} {:.2}", value.as_f64().unwrap_or(0.0)))
                .collect();
            say(format!("  {name:<22} {}", values.join(", ")));
        }
        out.insert(words.to_owned(), Value::Object(figures));
    }
    const MIB: f64 = 1024.0 * 1024.0;
    let mut figures = Map::new();
    for ((server, empty), full) in all.iter().zip(empty).zip(full) {
        let memory = json!({
            "empty": empty.resident / MIB,
            "empty, without mapped files": empty.own / MIB,
            "at most": full.peak / MIB,
        });
        say(format!("MiB of {}: {memory}", server.name));
        figures.insert(server.name.to_owned(), memory);
    }
    out.insert("MiB".to_owned(), Value::Object(figures));
    Value::Object(out)
}
